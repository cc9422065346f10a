# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""What is called otherwise elsewhere: from a phrase to what was written and the line that should have been."""

import difflib
import re

import pytest
from sweep_files import complain, load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes, find_doubts

__all__ = ["complain", "load"]  # fixtures, used by name

OUTPUT = "the output layer is added for you: remove it"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[8, {Dense: {units: 10, activation: softmax}}]", OUTPUT),
        ("[8, {Dense: {units: 3, activation: softmax}}]", OUTPUT),
        ("[8, {Dense: {units: 10, activation: Softmax}}]", OUTPUT),
        ("[8, {Dense: {units: num_classes, activation: softmax}}]", OUTPUT),
        ("[8, {Dense: {units: 10, activation: softmax, name: out}}]", OUTPUT),
        ("[8, {Dense: {units: 10, activation: log_softmax}}]", OUTPUT),
        ("[8, {dense: {units: 10, activation: softmax}}]", OUTPUT),
        ("[8, {class_name: Dense, config: {units: 10, activation: softmax}}]", OUTPUT),
        ("[8, {type: Dense, units: 10, activation: softmax}]", OUTPUT),
        ("[8, {Dense: 10, activation: softmax}]", OUTPUT),
        ("[8, {Dense: {units: 1, activation: sigmoid}}]", OUTPUT),
        ('[8, "Dense(10, activation=\'softmax\')"]', OUTPUT),
        ("[8, 10, {Activation: softmax}]", f"{OUTPUT}, and the Dense of 10 units before it if that gives a value a class"),
        ("[8, 10, softmax]", f"{OUTPUT}, and the Dense of 10 units before it if that gives a value a class"),
        ("[8, 10, Softmax]", f"{OUTPUT}, and the Dense of 10 units before it if that gives a value a class"),
        ("[8, 10, {Softmax: {axis: -1}}]", f"{OUTPUT}, and the Dense of 10 units before it if that gives a value a class"),
        ("[GlobalAveragePooling2D, {Activation: softmax}]", f"{OUTPUT}, and the layer before it if that gives a value a class"),
        ("[8, {Dense: {units: 10, activation: linear}}]", f"{OUTPUT}; it has 10 units, one for each class"),
        ("[8, {Dense: {units: 10, activation: sigmoid}}]", f"{OUTPUT}; it has 10 units, one for each class"),
        ("[8, 10, {Activation: sigmoid}]", f"{OUTPUT}, and the Dense of as many units as there are classes before it"),
        ("[784, 8, 10]", "the input (784) and the output layer (10) are added for you: remove both"),
        ("[Flatten, {Dense: 784}, 8, {Dense: 10}]", "the input (784) and the output layer (10) are added for you: remove both"),
        ("[8, {Dense: {units: 10, activation: softmax}}, {Dropout: 0.1}]", OUTPUT),
        ("[8, Dense 10 softmax]", OUTPUT),
        ("[8, 10 softmax]", OUTPUT),
        ("[Input, 8]", "unknown layer 'Input'; the input is known from the images: remove it"),
        ("[{InputLayer: {shape: [28, 28]}}, 8]", "unknown layer 'InputLayer'; the input is known from the images: remove it"),
        ("[{Flatten: {input_shape: [28, 28]}}, 8]", "flatten has no argument 'input_shape'; the input is known from the images: remove it"),
        ("[{Dense: {units: 8, input_dim: 784}}]", "dense has no argument 'input_dim'; the input is known from the images: remove it"),
        ("[{Rescaling: 0.0039}, 8]", "unknown layer 'Rescaling'; pixels are scaled to 0-1 for you: remove it, or see preprocess"),
        ("[Normalization, 8]", "unknown layer 'Normalization'; write preprocess: standardize in its place, a key beside layers"),
    ],
)  # fmt: skip
def test_a_pasted_input_or_output_layer_is_an_error_by_line(complain, layers, message):
    shown, _ = complain(f"architectures:\n- name: pasted\n  layers: {layers}\n")
    assert shown == f"architectures.yaml:3: {message} (architecture 'pasted')"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("training: {activation: softmax}\narchitectures:\n- [8]\n- [9]\n", "1: {} you, with its softmax: remove it"),
        ("architectures:\n- {name: a, layers: [8], activation: softmax}\n", "2: {} you, with its softmax: remove it (architecture 'a')"),
        ("grid:\n  depth: [1, 2]\n  units: [8, 4]\n  activation: [relu, softmax]\n", "4: {} you, with its softmax: remove it (in grid)"),
    ],
)  # fmt: skip
def test_softmax_as_the_activation_of_every_layer_is_meant_for_the_output(complain, text, line):
    words = "activation is that of the hidden layers, and softmax would end them: the output layer is added for"
    assert complain(text)[0] == f"architectures.yaml:{line.format(words)}"
    assert len(complain(text)) == 2


def test_softmax_and_sigmoid_inside_a_stack_are_nobody_elses_business(load):
    sweep = load(
        "architectures:\n- [{Dense: {units: 8, activation: softmax}}, 8]\n- [{Dense: {units: 10, activation: linear}}, {Activation: softmax}, 8]\n"
        "- [{Dense: {units: 64, activation: sigmoid}}]\n- [{Dense: {units: 10, activation: relu}}]\n- {layers: [32], activation: sigmoid}\n"
        "- [8, {Dense: {units: 8, activation: softmax}}, {Activation: linear}]\n"
    )  # fmt: skip
    assert len(check_shapes(sweep, (28, 28), 10)) == 6
    assert find_doubts(sweep, (28, 28), 10) == []


@pytest.mark.parametrize("after", ["BatchNormalization", "{Activation: linear}", "{Dropout: 0.2}, LayerNormalization"])
def test_a_pasted_softmax_is_found_behind_what_only_hands_it_on(complain, after):
    (said, _) = complain(f"architectures:\n- [64, {{Dense: {{units: 10, activation: softmax}}}}, {after}]\n")
    assert said.startswith(f"architectures.yaml:2: {OUTPUT}; it has 10 units, one for each class")


def test_with_images_of_ones_own_the_ends_are_judged_by_them(load):
    sweep = load(
        "dataset: {idx: x}\narchitectures:\n- [64, {Dense: {units: 3, activation: linear}}]\n- [20, 8, 3]\n- [784, 8, 10]\n"
    )
    with pytest.raises(SweepError) as caught:
        check_shapes(sweep, (4, 5), 3)
    assert str(caught.value).split("\n")[::2] == [
        f"architectures.yaml:3: {OUTPUT}; it has 3 units, one for each class (architecture '64-3.linear')",
        "architectures.yaml:4: the input (20) and the output layer (3) are added for you: remove both (architecture '20-8-3')",
    ]
    assert len(check_shapes(load("dataset: {idx: x}\narchitectures:\n- [784, 8, 10]\n"), (4, 5), 3)) == 1


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("hidden_layer_sizes: [64, 32]", "unknown key 'hidden_layer_sizes'; write layers: [64, 32]"),
        ("net_arch: [64, 32]", "unknown key 'net_arch'; write layers: [64, 32]"),
        ("neurons: [64, 32]", "unknown key 'neurons'; write layers: [64, 32]"),
        ("layer_sizes: (64, 32)", "unknown key 'layer_sizes'; write layers: [64, 32]"),
        ("hidden_units: 64", "unknown key 'hidden_units'; write layers: [64]"),
        ("hiddenLayerSizes: 64-32", "unknown key 'hiddenLayerSizes'; write layers: [64, 32]"),
        ("hidden_layers: [64, {dropout: 0.2}, 32, {Dense: {units: 10, activation: softmax}}]", "unknown key 'hidden_layers'; write layers: [64, {Dropout: 0.2}, 32]"),
        ("{n_layers: 3, units: 32}", "unknown key 'n_layers'; list the units of each layer: write layers: [32, 32, 32]"),
        ("small: [64]", "unknown key 'small'; write - {name: small, layers: [64]}"),
        ("my net: [64, {Dropout: 0.2}]", "unknown key 'my net'; write - {name: my-net, layers: [64, {Dropout: 0.2}]}"),
        ("{large: [128, 64], epochs: 5}", "unknown key 'large'; write - {name: large, layers: [128, 64], epochs: 5}"),
        ("64-32", "an architecture is a list of layers, such as [64, 32], or a mapping with layers, got '64-32'; write - [64, 32]"),
        ("small: {layers: [64]}", "unknown key 'small'; write - {name: small, layers: [64]}"),
        ("{layers: '64, 32'}", "layers must be a list, such as [64, 32], got '64, 32'; write layers: [64, 32]"),
        ("{layers: 64-32}", "layers must be a list, such as [64, 32], got '64-32'; write layers: [64, 32]"),
        ("{layers: {Dense: 64, Dropout: 0.2}}", "layers must be a list, such as [64, 32], got a mapping (key: value); write layers: [64, {Dropout: 0.2}]"),
        ("{class_name: Sequential, config: {layers: [{class_name: InputLayer, config: {}}, {class_name: Flatten, config: {}}, {class_name: Dense, config: {units: 64, activation: relu}}, {class_name: Dense, config: {units: 10, activation: softmax}}]}}",
         "unknown key 'class_name'; this is Keras's own form: write layers: [Flatten, {Dense: {units: 64, activation: relu}}] without the output layer"),
        ("{layers: [128, 64], dropout: 0.3}", "unknown key 'dropout'; dropout is a layer: write layers: [128, {Dropout: 0.3}, 64, {Dropout: 0.3}]"),
        ("{layers: [128], batch_norm: true}", "unknown key 'batch_norm'; it is a layer: write layers: [128, BatchNormalization]"),
        ("{layers: [8], loss: sparse_categorical_crossentropy}", "unknown key 'loss'; the loss is cross-entropy for every stack: remove it"),
        ("{layers: [8], output_activation: softmax}", "unknown key 'output_activation'; the output layer, with its softmax, is added for you: remove it"),
        ("{layers: [8], seed: 42}", "unknown key 'seed'; write seeds: [42], at the top of the file"),
    ],
)  # fmt: skip
def test_an_architecture_by_another_name_gets_the_line_to_write(complain, item, message):
    shown = complain(f"architectures:\n- {item}\n")[0]
    assert re.sub(r" \(architecture .*\)$", "", shown) == f"architectures.yaml:2: {message}"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("{class_name: Dense, config: {units: 64, activation: relu}}", "got 2 keys (class_name, config); write {Dense: {units: 64, activation: relu}}"),
        ("{class_name: Dropout, config: {rate: 0.2, seed: null, noise_shape: null, dtype: float32}}", "got 2 keys (class_name, config); write {Dropout: 0.2}"),
        ("{module: keras.layers, class_name: BatchNormalization, config: {axis: 1}}", "got 3 keys (module, class_name, config); write BatchNormalization"),
        ("{type: Linear, units: 64}", "got 2 keys (type, units); write 64"),
        ("{units: 64, activation: ReLU}", "got 2 keys (units, activation); write {Dense: {units: 64, activation: relu}}"),
        ("{Dropout: 0.2, seed: 1}", "got 2 keys (Dropout, seed); write {Dropout: 0.2}"),
        ("ReLU", "unknown layer 'ReLU'; for an activation write {Activation: relu}"),
        ("{GELU: {}}", "unknown layer 'GELU'; for an activation write {Activation: gelu}"),
        ("nn.ReLU", "unknown layer 'nn.ReLU'; for an activation write {Activation: relu}"),
        ("nn.ReLU()", "unknown layer 'nn.ReLU()'; for an activation write {Activation: relu}"),
        ("softmax", "unknown layer 'softmax'; for an activation write {Activation: softmax}"),
        ("Softmax", f"unknown layer 'Softmax'; {OUTPUT}; for an activation between layers write {{Activation: softmax}}"),
        ("dropout", "unknown layer 'dropout'; did you mean 'Dropout'?"),
        ("leaky_relu_", "unknown layer 'leaky_relu_'; did you mean 'LeakyReLU'?"),
        ("BatchNorm1d", "unknown layer 'BatchNorm1d'; did you mean 'BatchNormalization'?"),
        ("keras.layers.Dense", "unknown layer 'keras.layers.Dense'; did you mean 'Dense'?"),
        ("Dense(64)", "unknown layer 'Dense(64)'; write 64"),
        ('"layers.Dense(64, activation=\'tanh\')"', "unknown layer 'layers.Dense(64, activation='tanh')'; write {Dense: {units: 64, activation: tanh}}"),
        ('"nn.Linear(784, 64)"', "unknown layer 'nn.Linear(784, 64)'; write 64"),
        ("Dropout(0.2)", "unknown layer 'Dropout(0.2)'; write {Dropout: 0.2}"),
        ("64x3", "unknown layer '64x3'; for 3 Dense of 64 units write 64, 64, 64"),
        ("Dense-128", "unknown layer 'Dense-128'; write 128"),
        ("Dense 128 tanh", "unknown layer 'Dense 128 tanh'; write {Dense: {units: 128, activation: tanh}}"),
        ("Dropout 0.2", "unknown layer 'Dropout 0.2'; write {Dropout: 0.2}"),
        ("128 tanh", "unknown layer '128 tanh'; write {Dense: {units: 128, activation: tanh}}"),
        ("64:relu", "unknown layer '64:relu'; write {Dense: {units: 64, activation: relu}}"),
        ("activation='relu')", "unknown layer 'activation='relu')'; did you mean 'Activation'?"),
        ("{Dense: {units: 64}, Dropout: {rate: 0.2}}", "got 2 keys (Dense, Dropout); write each as a layer of its own: 64, {Dropout: 0.2}"),
        ("{units: 64}", "unknown layer 'units'; write 64"),
        ("2*128", "unknown layer '2*128'; for 2 Dense of 128 units write 128, 128"),
        ("{Dense: {units: 8, kernel_initializer: he_normal}}", "dense has no argument 'kernel_initializer'; it is Keras's default here: remove it"),
        ("{Dense: {units: 8, kernel_regularizer: l2}}", "dense has no argument 'kernel_regularizer'; remove it; weight_decay in training is what there is of the kind"),
        ("{Dense: {units: 8, name: fc1}}", "dense has no argument 'name'; it is for Keras to decide here: remove it"),
        ("{Dense: {units: 8, dropout: 0.2}}", "dense has no argument 'dropout'; dropout is a layer: write {Dropout: 0.3} after the dense"),
        ("{Dense: {units: 8, activation: ReLU}}", "dense activation must be the name of an activation (linear is none), got 'ReLU'; did you mean 'relu'?"),
        ("{Dropout: {p: 0.2}}", "dropout has no argument 'p'; did you mean 'rate'?"),
        ("{Dropout: {rate: 0.2, seed: 1}}", "dropout has no argument 'seed'; it is the seed of the trial: remove it"),
        ("{Dropout: 20%}", "dropout rate must be a number at least 0 and below 1, got '20%'; write rate: 0.2"),
    ],
)  # fmt: skip
def test_a_layer_in_other_words_gets_the_line_to_write(complain, layer, message):
    shown = complain(f"architectures:\n- name: a\n  layers: [{layer}, 8]\n")[0]
    beginning = "a layer is one name with its arguments in braces, such as "
    found = re.sub(r" \(architecture 'a'\)$", "", shown).removeprefix("architectures.yaml:3: ")
    assert re.sub(f"^{beginning}.*?, got ", "got ", found) == message


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("{small: [64], large: [128, 64]}", "got a mapping (key: value); write - {name: small, layers: [64]}"),
        ("{small: {layers: [64], epochs: 3}}", "got a mapping (key: value); write - {name: small, layers: [64], ...}"),
        ("{hidden_layer_sizes: [64, 32]}", "got a mapping (key: value); write - layers: [64, 32]"),
        ("[64, 32]", "got numbers alone; write - [64, 32] for one stack of these layers"),
    ],
)
def test_architectures_that_are_no_list_of_stacks_get_the_line_to_write(complain, written, hint):
    (shown, _) = complain(f"architectures: {written}\n")
    assert shown.startswith("architectures.yaml:1: architectures must be a list of layer stacks, ")
    assert shown.endswith(hint)


@pytest.mark.slow
def test_thousands_of_misspelt_layers_are_each_searched_for_once(complain, monkeypatch):
    """A search for likeness is what takes time: about one a name, among three words at most."""
    searched, search = [], difflib.get_close_matches
    monkeypatch.setattr("difflib.get_close_matches", lambda *words, n: searched.append(words) or search(*words, n=n))
    names = (f"D{number:x}nseLayr{number % 7}" for number in range(15_000))
    text = "architectures:\n" + "".join(f"- [{', '.join(group)}]\n" for group in zip(*[names] * 100, strict=True))
    assert complain(text)[-1] == "architectures.yaml: and 14,980 more problems"
    assert 10_000 < len(searched) <= 15_500  # more than one is for the few that are shown
    assert max(len(known) for _, known in searched) == 3
