# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""Sweep files: what they mean, and what a person reads who got one wrong. Tables from a phrase to text and message."""

import copy
import dataclasses
import difflib
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes, find_doubts
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS, Classifier
from fmnist_mlp.sweepfile.layers import ACTIVATION_ALIASES, ACTIVATIONS, LAYERS, Layer
from fmnist_mlp.sweepfile.names import MAX_NAME_LENGTH, name_problem
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.schema import json_schema
from fmnist_mlp.sweepfile.settings import Grid, IdxFolder, NpzFile, SweepSettings, Training
from fmnist_mlp.sweepfile.sweep import Overrides, over_budget, read_folder_name
from fmnist_mlp.sweepfile.trials import NUMERICS_VERSION, canonical_settings, fingerprint, list_trials

ROOT = Path(__file__).parent.parent
STACK = "architectures:\n  - [64, 32]\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads text as `architectures.yaml` of an empty folder; messages then show that name alone."""
    monkeypatch.chdir(tmp_path)

    def load(text, overrides=None, name="architectures.yaml"):
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_sweep(name, overrides or Overrides())

    return load


@pytest.fixture
def complain(load):
    """The lines of the SweepError that a text gets."""

    def complain(text, *args, **kwargs):
        with pytest.raises(SweepError) as caught:
            load(text, *args, **kwargs)
        return str(caught.value).split("\n")

    return complain


# ---- what a good file means ----


def test_the_shipped_file_is_the_four_published_stacks():
    sweep = load_sweep(ROOT / "architectures.yaml")
    assert (sweep.name, sweep.dataset, sweep.limit, sweep.seeds) == ("architectures", "auto", None, (0, 1, 2, 3, 4))
    assert [architecture.name for architecture in sweep.architectures] == [
        "64-128-64-32",
        "64-128-32",
        "64-32",
        "128-64",
    ]
    assert all(architecture.training == Training() for architecture in sweep.architectures)
    params = [size.params for size in check_shapes(sweep, (28, 28), 10).values()]
    assert params == [69_226, 63_018, 52_650, 109_386]


def test_the_shipped_examples_are_valid_when_their_comment_marks_are_removed(load):
    text = (ROOT / "architectures.yaml").read_text().replace("  validation_split: 0.2\n", "")  # folds take its place
    keys = r"(?:name|limit|folds|\w+_\w+|schedule|threads|grid):|  (?:layers|depth|units|shape|learning_rate): "
    sweep = load(re.sub(rf"(?m)^( *)# ({keys}|- )", r"\1\2", text))
    assert sweep.name == "my_sweep"
    assert sweep.limit == 10_000
    assert (sweep.folds, sweep.select_by, sweep.max_params, sweep.grid_stacks) == (5, "val_accuracy", 100_000, 36)
    assert [architecture.name for architecture in sweep.architectures[4:7]] == [
        "regularised",
        "256.gelu-noise0.1-64",
        "small_cnn",
    ]
    assert sweep.architectures[0].training.warmup_epochs == 2


def test_an_architectures_own_settings_stand_over_those_of_the_file(load):
    sweep = load(
        "training: {epochs: 5, activation: tanh}\n"
        "architectures:\n"
        "  - [64]\n"
        "  - {name: own, layers: [64, {Dense: {units: 3, activation: swish}}], activation: gelu, learning_rate: 5e-4}\n"
    )
    first, own = sweep.architectures
    assert (first.training.epochs, first.training.learning_rate, first.layers[0].activation) == (5, 0.001, "tanh")
    assert (own.training.epochs, own.training.learning_rate) == (5, 0.0005)
    assert [layer.activation for layer in own.layers] == ["gelu", "silu"]
    assert (first.line, own.line, own.layer_lines) == (3, 4, (4, 4))


def test_yaml_values_that_other_readers_turn_into_something_else(load):
    sweep = load("seeds: [0, 1]\nlimit: 10_000\ntraining: {learning_rate: 1e-3}\n" + STACK)
    assert sweep.architectures[0].training.learning_rate == 0.001
    assert sweep.limit == 10_000
    named = [load(f"name: {text}\n{STACK}").name for text in ("on", "no", "1.2.3", "2001-01-01")]
    assert named == ["on", "no", "1.2.3", "2001-01-01"]
    assert load("name: '64'\n" + STACK).name == "64"


def test_anchors_aliases_and_merge_keys(load):
    sweep = load(
        "architectures:\n  - &base {name: a, layers: &layers [64, 32], epochs: 3}\n"
        "  - {<<: *base, name: b, epochs: 4}\n  - {layers: *layers}\n"
    )
    assert [(item.name, item.training.epochs) for item in sweep.architectures] == [("a", 3), ("b", 4), ("64-32", 20)]
    assert [item.line for item in sweep.architectures] == [2, 3, 4]


@pytest.mark.parametrize(
    ("written", "seeds"), [("3", (0, 1, 2)), ("1", (0,)), ("[7, 0]", (7, 0)), ("[2147483647]", (2147483647,))]
)
def test_seeds_are_a_number_or_a_list(load, written, seeds):
    assert load(f"seeds: {written}\n{STACK}").seeds == seeds


def test_a_data_folder_lies_beside_the_sweep_file(tmp_path, load):
    (tmp_path / "sub").mkdir()
    assert load("dataset: {idx: images}\n" + STACK).dataset == IdxFolder(Path("images"))
    sweep = load("dataset: {idx: images}\n" + STACK, name="sub/other.yaml")
    assert sweep.dataset == IdxFolder(Path("sub/images"))
    assert sweep.name == "other"
    assert load("dataset: {idx: /data/kmnist}\n" + STACK).dataset == IdxFolder(Path("/data/kmnist"))
    assert load("dataset: {npz: mine.npz}\n" + STACK, name="sub/other.yaml").dataset == NpzFile(Path("sub/mine.npz"))
    assert load("dataset: {npz: /data/mine}\n" + STACK).dataset == NpzFile(Path("/data/mine"))


@pytest.mark.parametrize(
    ("written", "learning_rate", "weight_decay"),
    [
        ("{}", 0.001, None),
        ("{optimizer: sgd}", 0.01, None),
        ("{optimizer: adamw}", 0.001, 0.004),
        ("{optimizer: adamw, weight_decay: 0}", 0.001, 0.0),
        ("{optimizer: lion, weight_decay: 0.0, learning_rate: 1}", 1.0, None),
        ("{optimizer: adam, weight_decay: 0.1, learning_rate: null}", 0.001, 0.1),
    ],
)
def test_what_is_left_open_is_keras_own_default(load, written, learning_rate, weight_decay):
    training = load(f"training: {written}\n{STACK}").architectures[0].training
    assert (training.learning_rate, training.weight_decay) == (learning_rate, weight_decay)


def test_overrides_replace_what_the_file_says(load):
    text = "seeds: [3, 4]\nlimit: 5\n" + STACK + "  - {layers: [8], epochs: 40}\n"
    sweep = load(text, Overrides(epochs=2, seeds=1, limit=100))
    assert (sweep.seeds, sweep.limit, [item.training.epochs for item in sweep.architectures]) == ((0,), 100, [2, 2])
    names = [item.name for item in sweep.architectures]
    assert names == [item.name for item in load(text).architectures] == ["64-32", "8-epochs40"]


@pytest.mark.parametrize(
    ("more", "overrides", "folder_name", "words"),
    [
        ("", Overrides(), "mine", ""),
        ("", Overrides(epochs=20), "mine", ""),
        ("training: {epochs: 2}\n", Overrides(epochs=2), "mine", ""),
        ("", Overrides(epochs=1), "mine+epochs-1", ", a quick look (1 epoch)"),
        ("", Overrides(epochs=50), "mine+epochs-50", ", a quick look (50 epochs)"),
        ("limit: 9\n", Overrides(limit=9), "mine", ""),
        ("", Overrides(limit=1000), "mine+limit-1000", ", a quick look (1,000 training images)"),
        ("limit: 9\n", Overrides(limit=1), "mine+limit-1", ", a quick look (1 training image)"),
        ("", Overrides(seeds=5), "mine", ""),
        ("", Overrides(seeds=10), "mine", " (10 seeds, the file asks for 5)"),
        ("", Overrides(seeds=1), "mine+seeds-1", ", a quick look (1 seed, the file asks for 5)"),
        ("seeds: [1, 0]\n", Overrides(seeds=2), "mine", ""),
        ("seeds: [1, 0]\n", Overrides(seeds=3), "mine", " (3 seeds, the file asks for 2)"),
        ("seeds: [7, 1]\n", Overrides(seeds=2), "mine+seeds-2", ", a quick look (2 seeds, the file asks for others: 7, 1)"),
        ("seeds: 2\nrefit: {seeds: 5}\n", Overrides(seeds=2), "mine", ""),
        ("seeds: 2\nrefit: {seeds: 5}\n", Overrides(seeds=3), "mine", " (3 seeds, the file asks for 2)"),
        ("seeds: 2\nrefit: {seeds: 5}\n", Overrides(seeds=5), "mine", " (5 seeds, the file asks for 2)"),
        ("", Overrides(epochs=2, limit=1000, seeds=1), "mine+epochs-2+limit-1000+seeds-1", ", a quick look (2 epochs, 1,000 training images, 1 seed, the file asks for 5)"),
        ("", Overrides(epochs=2, seeds=6), "mine+epochs-2", ", a quick look (2 epochs, 6 seeds, the file asks for 5)"),
    ],
)  # fmt: skip
def test_what_really_differs_from_the_file_makes_a_quick_look(load, more, overrides, folder_name, words):
    sweep = load(f"name: mine\n{more}{STACK}", overrides)
    assert (sweep.folder_name, sweep.title) == (folder_name, "mine" + words)
    assert read_folder_name(folder_name) == ("mine", sweep.quick_look)
    assert load(f"name: mine\n{more}{STACK}", sweep.quick_look).folder_name == folder_name


def test_epochs_that_any_architecture_has_otherwise_make_a_quick_look(load):
    text = "name: mine\ntraining: {epochs: 2}\narchitectures:\n  - [8]\n  - {layers: [4], epochs: 3}\n"
    assert load(text, Overrides(epochs=2)).folder_name == "mine+epochs-2"
    assert load("name: mine\ngrid: {depth: 1, units: 8, epochs: [5, 10]}\n", Overrides(epochs=5)).is_quick_look
    baselines = "name: mine\nbaselines: [LogisticRegression]\n"
    assert not load(baselines, Overrides(epochs=1)).is_quick_look, "a baseline has no epochs"


@pytest.mark.parametrize(
    "text", ["", "+epochs-1", "a+", "a+epochs-", "a+limit-1+epochs-1", "a+b", "../a", "a/b+seeds-1", "_a"]
)
def test_no_other_text_names_the_folder_of_a_sweep(text):
    assert read_folder_name(text) is None


def test_a_name_with_a_plus_is_no_name_of_a_sweep(complain):
    assert "name must be letters" in complain("name: mine+epochs-1\n" + STACK)[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(epochs=0), "--epochs must be a whole number from 1 to 100,000, got 0"),
        (Overrides(seeds=-1), "--seeds must be a whole number from 1 to 10,000, got -1"),
        (Overrides(limit=True), "--limit must be a whole number from 1 to 1,000,000,000, got True"),
    ],
)
def test_bad_overrides_name_their_option(complain, overrides, message):
    assert complain(STACK, overrides) == [message]


def test_automatic_names_show_what_an_architecture_sets_for_itself(load):
    sweep = load(
        "architectures:\n- [64]\n- {layers: [64], learning_rate: 5e-4}\n- {layers: [64], optimizer: sgd, momentum: 0.9}\n"
        "- {layers: [64], activation: tanh}\n- {layers: [64], early_stopping: {patience: 3}}\n- []\n"
    )
    names = [architecture.name for architecture in sweep.architectures]
    assert names == ["64", "64-learning_rate0.0005", "64-sgd-momentum0.9", "64-tanh", "64-early_stopping3", "linear"]
    assert all(name_problem(name) is None for name in names)


def test_a_sweep_is_frozen_and_travels_to_workers(load):
    sweep = load(STACK)
    with pytest.raises(ValueError, match="frozen"):
        sweep.limit = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        sweep.architectures[0].name = "other"
    trial = list_trials(sweep, data_identity="x")[0]
    assert pickle.loads(pickle.dumps(trial)) == trial


# ---- what a wrong file gets: one message for one mistake ----

ONE_LAYER = "architectures:\n  - name: wide\n    layers: [256, {}]\n"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("{Dropout: 1.5}", "dropout rate must be at least 0 and below 1, got 1.5"),
        ("{Dropout: {rate: 1}}", "dropout rate must be at least 0 and below 1, got 1"),
        ("{Dropout: high}", "dropout rate must be a number at least 0 and below 1, got 'high'"),
        ("{Dropout: .nan}", "dropout rate must be a number at least 0 and below 1, got .nan"),
        ("{Dropout: .inf}", "dropout rate must be a number at least 0 and below 1, got .inf"),
        ("{Dropout: true}", "dropout rate must be a number at least 0 and below 1, got true"),
        ("{Dropout: [0.1, 0.2]}", "dropout rate must be a number at least 0 and below 1, got a list"),
        ("{Dropout: {rat: 0.3}}", "dropout has no argument 'rat'; did you mean 'rate'?"),
        ("Dropout", "dropout needs rate: write {Dropout: 0.3}"),
        ("{Dropout: }", "dropout needs rate: write {Dropout: 0.3}"),
        ("{Conv2D: {filters: 3}}", "Conv2D needs kernel_size: write {Conv2D: {filters: 16, kernel_size: 3}}"),
        ("{Conv2D: {filters: 3, kernel_size: [3, 3, 3]}}", "Conv2D kernel_size must be a whole number from 1 to 1,024 or a pair of them, got a list"),
        ("{Conv2D: 16}", "Conv2D takes its arguments by name (filters, kernel_size, strides, padding, activation, use_bias), as {Conv2D: {filters: 16, kernel_size: 3}}, got 16"),
        ("{BatchNormalization: {momentum: 2}}", "BatchNormalization momentum must be from 0 to 1, got 2"),
        ("{BatchNormalization: {center: 1}}", "BatchNormalization center must be true or false, got 1"),
        ("{Flatten: {axis: 1}}", "flatten has no argument 'axis'; it takes none"),
        ("{MaxPooling2D: {padding: sane}}", "MaxPooling2D padding must be valid or same, got 'sane'; did you mean 'same'?"),
        ("{Reshape: [-1, -1]}", "reshape target_shape may leave only one size open (-1)"),
        ("{Reshape: [0]}", "reshape target_shape must be a list of 1 to 6 whole numbers, such as [28, 28, 1], got a list"),
        ("{Activation: rellu}", "activation activation must be the name of an activation (linear is none), got 'rellu'; did you mean 'relu'?"),
        ("0", "dense units must be from 1 to 1,000,000, got 0"),
        ("-64", "dense units must be from 1 to 1,000,000, got -64"),
        ("1e3", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got 1e3"),
        ("true", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got true"),
        ("[64]", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got a list; write its layers without the inner brackets: 64"),
        ("~", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got ~"),
        ("'64'", "unknown layer '64'; for a Dense of 64 units write the number without quotes"),
        ("{Dense: '64'}", "dense units must be a whole number from 1 to 1,000,000, got '64'; write it without quotes: units: 64"),
        ("relu", "unknown layer 'relu'; for an activation write {Activation: relu}"),
        ("batchnorm", "unknown layer 'batchnorm'; did you mean 'BatchNormalization'?"),
        ("{dense: 3}", "unknown layer 'dense'; did you mean 'Dense'?"),
        ("{Lambda: x}", f"unknown layer 'Lambda'; known: {', '.join(LAYERS)}"),
        ("{Dense: 3, activation: relu}", "a layer is one name with its arguments in braces, such as {Dense: 64}, got 2 keys (Dense, activation); write {Dense: {units: 3, activation: relu}}"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_layer_gets_one_message(complain, layer, message):
    own = f"    layers: [256, {layer}]"
    shown, echo = complain(f"architectures:\n  - name: wide\n{own}\n")
    assert shown == f"architectures.yaml:3: {message} (architecture 'wide')"
    assert echo == "    " + own.strip()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs: 5", "unknown key 'epochs'; it stands under 'training'"),
        ("epoch: 5", "unknown key 'epoch'; did you mean 'epochs', under 'training'?"),
        ("sede: 5", "unknown key 'sede'; did you mean 'seeds'?"),
        ("zzz: 5", "unknown key 'zzz'; known: dataset, class_names, name, limit, seeds, margin, folds, select_by, refit, ensemble, max_params, tensorboard, training, architectures, grid, search, baselines"),
        ("seeds: until", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got 'until'"),
        ("seeds: until decide", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got 'until decide'; did you mean 'until decided'?"),
        ("seeds: {at_most: 5}", "seeds needs until"),
        ("seeds: {until: never}", "seeds until must be decided, got 'never'"),
        ("seeds: {until: decided, atmost: 9}", "seeds has no key 'atmost'; did you mean 'at_most'?"),
        ("seeds: {until: decided, at_most: 3}", "seeds at_most must be at least the first look (5 seeds); name others with looks: [2, 4], got 3"),
        ("seeds: {until: decided, looks: 5}", "seeds looks must be a rising list of numbers of seeds, such as [5, 10, 20, 40], got 5"),
        ("seeds: {until: decided, looks: [5, 5]}", "seeds looks must rise, but 5 follows 5"),
        ("seeds: {until: decided, looks: [1, 5]}", "seeds looks must be numbers of seeds from 2 to 10,000, got 1"),
        ("seeds: {until: decided, looks: [2, 5], at_most: 7}", "seeds at_most must be the last of looks (5), or be left out, got 7"),
        ("margin: 0", "margin must be above 0 and at most 1, got 0"),
        ("margin: 1.5", "margin must be above 0 and at most 1, got 1.5"),
        ("margin: '0.1'", "margin must be a number above 0 and at most 1, got '0.1'; write it without quotes: margin: 0.1"),
        ("seeds: 0", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got 0"),
        ("seeds: true", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got true"),
        ("seeds: []", "seeds must list at least one seed, got []"),
        ("seeds: [1, 2, 1]", "seeds must differ from each other, but 1 is listed twice"),
        ("seeds: [1, -2]", "seeds must be whole numbers from 0 to 2,147,483,647, got -2"),
        ("seeds: [2147483648]", "seeds must be whole numbers from 0 to 2,147,483,647, got 2147483648"),
        ("limit: 0", "limit must be from 1 to 1,000,000,000, got 0"),
        ("limit: many", "limit must be a whole number from 1 to 1,000,000,000, got 'many'"),
        ("dataset: mnist", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got 'mnist'; other data sets are read from their four IDX files: {idx: FOLDER}, or from arrays: {npz: FILE}"),
        ("dataset: {idx: }", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got a mapping (key: value)"),
        ("name: a/b", "name must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', got 'a/b'"),
        ("name: 64", "name must be text, got 64; write it in quotes: '64'"),
        ("name: _records", "name must not begin with _, such names are our own; got '_records'"),
        ("class_names: [a, b, a]", "class_names must differ from each other, but 'a' names classes 0 and 2"),
        ("class_names: [Bag, bag]", "class_names must differ from each other, but 'bag' names classes 0 and 1"),
        ("class_names: [a, 7]", "class_names must be text, got 7; write it in quotes"),
        ("class_names: [a, no, true]", "class_names must be text, got true; write it in quotes"),
        ("class_names: [a, ]", "class_names must name each class, so at least two"),
        ("class_names: [a, ' ']", "class_names must not be empty, got ' '"),
        ('class_names: [a, "b\\e[2J"]', "class_names must be printable characters in one line, got 'b\\x1b[2J'"),
        ("class_names: T-shirt", "class_names must be a list of the names of the classes, in the order of the labels, such as [cat, dog], got 'T-shirt'"),
        ("class_names: {0: a, 1: b}", "class_names must be a list of the names of the classes, in the order of the labels, such as [cat, dog], got a mapping (key: value)"),
        ("labels: [a, b]", "unknown key 'labels'; did you mean 'class_names'?"),
        ("folds: 1", "folds must be from 2 to 50, got 1"),
        ("folds: 2.5", "folds must be a whole number from 2 to 50, got 2.5"),
        ("fold: 5", "unknown key 'fold'; did you mean 'folds'?"),
        ("cv: 5", "unknown key 'cv'; did you mean 'folds'?"),
        ("select_by: cv_accuracy", "select_by: cv_accuracy needs folds; add a line such as folds: 5, or select by val_accuracy"),
        ("select_by: test_accuracy", "select_by must be val_accuracy, val_loss or cv_accuracy, got 'test_accuracy'; did you mean 'cv_accuracy'?"),
        ("max_params: 0", "max_params must be at least 1, got 0"),
        ("max_params: 60k", "max_params must be a whole number at least 1, got '60k'; write max_params: 60000"),
        ("training: {learning_rate: '0,001'}", "learning_rate must be a number above 0 and at most 1,000, got '0,001'; write learning_rate: 0.001"),
        ("depth: 3", "unknown key 'depth'; it stands under 'grid'"),
        ("training: {max_params: 5}", "unknown key 'max_params' in training; it stands at the top of the file"),
        ("training: 5", "training must be a mapping such as {epochs: 20}, got 5"),
        ("training: {seeds: 5}", "unknown key 'seeds' in training; it stands at the top of the file"),
        ("training: {lr: 5}", "unknown key 'lr' in training; did you mean 'learning_rate'?"),
        ("training: {epochs: 1e3}", "epochs must be a whole number from 1 to 100,000, got 1e3"),
        ("training: {epochs: true}", "epochs must be a whole number from 1 to 100,000, got true"),
        ("training: {epochs: 0, warmup_epochs: 1}", "epochs must be from 1 to 100,000, got 0"),
        ("training: {learning_rate: 0}", "learning_rate must be above 0 and at most 1,000, got 0"),
        ("training: {learning_rate: 1e999}", "learning_rate must be a number above 0 and at most 1,000, got 1e999"),
        ("training: {learning_rate: {a: 1}}", "learning_rate must be a number above 0 and at most 1,000, got a mapping (key: value)"),
        ("training: {optimizer: adm}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'adm'; did you mean 'adam'?"),
        ("training: {optimizer: [adam]}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got a list"),
        ("training: {validation_split: 1}", "validation_split must be above 0 and below 1, got 1"),
        ("training: {early_stopping: 5}", "early_stopping must be a mapping such as {patience: 5}, got 5"),
        ("training: {early_stopping: {}}", "early_stopping needs patience"),
        ("training: {early_stopping: {patence: 1}}", "early_stopping has no key 'patence'; did you mean 'patience'?"),
        ("training: {early_stopping: {patience: -1}}", "early_stopping patience must be from 0 to 100,000, got -1"),
        ("training: {threads: 257}", "threads must be from 1 to 256, got 257"),
        ("training: {momentum: 0.9}", "momentum is for optimizer: sgd only, here it is adam; set it to 0"),
        ("training: {warmup_epochs: 20}", "warmup_epochs must be below epochs (20), got 20"),
        ("training: {schedule: one_cycle, warmup_epochs: 2}", "warmup_epochs does not go with schedule: one_cycle, which warms up by itself"),
        ("training: {preprocess: 5}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got 5"),
        ("training: {preprocess: standardise}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got 'standardise'; did you mean 'standardize'?"),
        ("training: {preprocess: {}}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got a mapping"),
        ("training: {preprocess: [[standardize]]}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got a list"),
        ("training: {preprocess: {standardize: true}}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got {standardize: true}"),
        ("training: {preprocess: {pca: 3, wihten: true}}", "preprocess pca is written {pca: 187} or {pca: 0.95, whiten: true}, got {pca: 3, wihten: true}"),
        ("training: {preprocess: pca}", "preprocess pca is written {pca: 187} or {pca: 0.95, whiten: true}, got 'pca'"),
        ("training: {preprocess: {pca: 0}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got 0"),
        ("training: {preprocess: {pca: 1.0}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got 1.0"),
        ("training: {preprocess: {pca: true}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got true"),
        ("training: {preprocess: {pca: .nan}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got .nan"),
        ("training: {preprocess: {pca: }}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got nothing"),
        ("training: {preprocess: {pca: 9, whiten: 1}}", "preprocess whiten must be true or false, got 1"),
        ("training: {preprocess: {scale: 0}}", "preprocess scale must be a number from 0.000001 to 1,000, got 0"),
        ("training: {preprocess: {center: .inf}}", "preprocess center must be a number from -1,000 to 1,000, got .inf"),
        ("training: {preprocess: {center: half}}", "preprocess center must be a number from -1,000 to 1,000, got 'half'"),
        ("training: {preprocess: [{pca: 9}, {pca: 3}]}", "preprocess may have pca once: a second one would only drop components of the first"),
        (f"training: {{preprocess: [{', '.join(['standardize'] * 11)}]}}", "preprocess may have at most 10 steps, got 11"),
        ("training: {augment: true}", "augment must be a mapping such as {horizontal_flip: true}, got true"),
        ("training: {augment: {flip: true}}", "augment has no key 'flip'; known: horizontal_flip, vertical_flip, shift, erase, mixup"),
        ("training: {augment: {shift: -1}}", "augment shift must be from 0 to 1,000, got -1"),
        ("training: {augment: {shift: 1.5}}", "augment shift must be a whole number from 0 to 1,000, got 1.5"),
        ("training: {augment: {vertical_flip: 1}}", "augment vertical_flip must be true or false, got 1"),
        ("training: {augment: {erase: 10}}", "augment erase must be from 0 to 1, got 10"),
        ("training: {augment: {mixup: alpha}}", "augment mixup must be a number from 0 to 100, got 'alpha'"),
        ("training: {optimizer: SGD}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'SGD'; did you mean 'sgd'?"),
        ("training: {optimizer: Adam}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'Adam'; did you mean 'adam'?"),
        ("training: {optimizer: keras.optimizers.AdamW}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'keras.optimizers.AdamW'; did you mean 'adamw'?"),
        ("training: {optimizer: Adam(1e-3)}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'Adam(1e-3)'; did you mean 'adam'?"),
        ("training: {optimizer: {name: Adam, learning_rate: 1e-3}}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got a mapping (key: value); write optimizer: adam, and its arguments as keys of their own, as learning_rate: 1e-3"),
        ("training: {optimizer: {adam: {lr: 1e-3}}}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got a mapping (key: value); write optimizer: adam, and its arguments as keys of their own, as learning_rate: 1e-3"),
        ("training: {activation: ReLU}", "activation must be the name of an activation (linear is none), got 'ReLU'; did you mean 'relu'?"),
        ("training: {activation: LeakyReLU}", "activation must be the name of an activation (linear is none), got 'LeakyReLU'; did you mean 'leaky_relu'?"),
        ("training: {learning_rate: '1e-3'}", "learning_rate must be a number above 0 and at most 1,000, got '1e-3'; write it without quotes: learning_rate: 1e-3"),
        ("training: {epochs: '20'}", "epochs must be a whole number from 1 to 100,000, got '20'; write it without quotes: epochs: 20"),
        ("training: {validation_split: 20%}", "validation_split must be a number above 0 and below 1, got '20%'; write validation_split: 0.2"),
        ("limit: 10k", "limit must be a whole number from 1 to 1,000,000,000, got '10k'; write limit: 10000"),
        ("limit: '10,000'", "limit must be a whole number from 1 to 1,000,000,000, got '10,000'; write limit: 10_000"),
        ("training: {epoch: 5}", "unknown key 'epoch' in training; did you mean 'epochs'?"),
        ("training: {batch: 5}", "unknown key 'batch' in training; did you mean 'batch_size'?"),
        ("training: {batchSize: 5}", "unknown key 'batchSize' in training; did you mean 'batch_size'?"),
        ("training: {learning-rate: 5}", "unknown key 'learning-rate' in training; did you mean 'learning_rate'?"),
        ("training: {solver: sgd}", "unknown key 'solver' in training; did you mean 'optimizer'?"),
        ("training: {dropout: 0.3}", "unknown key 'dropout' in training; dropout is a layer: write {Dropout: 0.3} in layers, after the Dense that it is for"),
        ("training: {loss: mse}", "unknown key 'loss' in training; the loss is cross-entropy for every stack: remove it"),
        ("training: {metrics: [accuracy]}", "unknown key 'metrics' in training; which figures are taken is the same for every stack (results/README.md): remove it"),
        ("training: {validation_data: x}", "unknown key 'validation_data' in training; validation images are set aside from the training images, see validation_split: remove it"),
        ("training: {verbose: 2}", "unknown key 'verbose' in training; --quiet on the command line says less: remove it"),
        ("training: {shuffle: true}", "unknown key 'shuffle' in training; images are shuffled in every epoch, by seed: remove it"),
        ("training: {pca: 50}", "unknown key 'pca' in training; write preprocess: {pca: 50}"),
        ("training: {normalize: true}", "unknown key 'normalize' in training; write preprocess: standardize (pixels are scaled to 0-1 anyway)"),
        ("seed: 42", "unknown key 'seed'; write seeds: [42]"),
        ("models: [[64]]", "unknown key 'models'; did you mean 'architectures'?"),
        ("dataset: /data/mine", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got '/data/mine'; write dataset: {idx: /data/mine}"),
        ("dataset: data/mine.npz", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got 'data/mine.npz'; write dataset: {npz: data/mine.npz}"),
        ("dataset: {npz: [a]}", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got a mapping (key: value)"),
        ('dataset: {npz: "a\\tb"}', "dataset {npz: FILE} must be a path of printable characters, got 'a\\tb'"),
        ("dataset: {path: ../mine}", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got a mapping (key: value); write dataset: {idx: ../mine}"),
        ("dataset: KMNIST", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got 'KMNIST'; other data sets are read from their four IDX files: {idx: FOLDER}, or from arrays: {npz: FILE}"),
        ("_defaults: {epochs: 3}", "unknown key '_defaults'; write x-defaults, for keys of your own begin with x-"),
        ("defaults: {epochs: 3}", "unknown key 'defaults'; write x-defaults, for keys of your own begin with x-"),
        ("training: {activation: [relu, tanh]}", "activation must be the name of an activation (linear is none), got a list; each layer has one of its own: write {Dense: {units: 64, activation: relu}} in layers"),
        ("training: {activation: None}", "activation must be the name of an activation (linear is none), got 'None'; did you mean 'linear'?"),
        ("n_jobs: 4", "unknown key 'n_jobs'; --jobs on the command line says how many train side by side: remove it"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_setting_gets_one_message(complain, line, message):
    """Two architectures: what both inherit is said once."""
    shown, echo = complain(f"{line}\n{STACK}  - [8]\n")
    assert shown == f"architectures.yaml:1: {message}"
    assert f"    {line}".startswith(echo.removesuffix("…"))  # a long line is cut


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("64", "an architecture is a list of layers, such as [64, 32], or a mapping with layers, got 64; write - [64]"),
        ("Flatten", "an architecture is a list of layers, such as [64, 32], or a mapping with layers, got 'Flatten'"),
        ("Dense: 64", "an architecture is a list of layers; write - [{Dense: ...}], in brackets"),
        ("{layer: [64]}", "unknown key 'layer'; did you mean 'layers'? (architecture number 1)"),
        ("{name: x}", "layers is missing, a list such as layers: [64, 32] (architecture 'x')"),
        ("{layers: 64}", "layers must be a list, such as [64, 32], got 64; write layers: [64] (architecture number 1)"),
        ("{layers: [8], epochs: 0}", "epochs must be from 1 to 100,000, got 0 (architecture '8')"),
        ("{layers: [8], seeds: 3}", "unknown key 'seeds'; it stands at the top of the file (architecture '8')"),
        ("{layers: [8], name: 1e-3}", "name must be text, got 1e-3; write it in quotes: '1e-3'"),
        ("{layers: [8], name: a b}", "name must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', got 'a b'"),
        ("{layers: [8], name: NUL.txt}", "name must not be 'NUL.txt', which Windows keeps for a device"),
        ("{layers: [8], activation: }", f"activation must be the name of an activation (linear is none), got nothing; known: {', '.join([*ACTIVATIONS, *ACTIVATION_ALIASES])} (architecture '8')"),
        ("{layers: [8], momentum: 0.9}", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (architecture '8')"),
        ("{layers: [8], max_params: 0}", "max_params must be at least 1, got 0 (architecture '8')"),
        ("{layers: [8], folds: 5}", "unknown key 'folds'; it stands at the top of the file (architecture '8')"),
        (f"[{'8,' * 201}]", "at most 200 layers are allowed, got 201 (architecture number 1)"),
    ],
)  # fmt: skip
def test_one_mistake_in_an_architecture_gets_one_message(complain, item, message):
    shown, _ = complain(f"architectures:\n  - {item}\n")
    assert shown == f"architectures.yaml:2: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "architectures.yaml: the file is empty; it needs at least 'architectures:'", id="empty"),
        pytest.param("# only\n", "architectures.yaml: the file is empty", id="comments only"),
        pytest.param("- [64]\n", "architectures.yaml:1: a sweep file is a mapping", id="a list"),
        pytest.param("just text", "architectures.yaml:1: a sweep file is a mapping", id="text"),
        pytest.param("seeds: 5\n", "architectures.yaml: 'architectures:' is missing", id="no architectures"),
        pytest.param("archtectures:\n- [64]\n", "architectures.yaml:1: unknown key 'archtectures'; did you mean 'archit", id="misspelt"),
        pytest.param("architectures:\n", "architectures.yaml:1: architectures must be a list of layer stacks", id="empty list"),
        pytest.param("seeds: 5\nlimit: 3\nseeds: 6\n" + STACK, "architectures.yaml:3: the key 'seeds' is given in line 1 and in line 3; keep one", id="key given twice"),
    ],
)  # fmt: skip
def test_a_file_without_stacks_says_what_is_missing(complain, text, message):
    lines = complain(text)
    assert lines[0].startswith(message)
    assert len(lines) <= 2
    assert sum(map(len, lines)) < 500


def test_files_that_windows_editors_write_are_read(load):
    assert load(b"\xef\xbb\xbf" + STACK.replace("\n", "\r\n").encode()).architectures[0].name == "64-32"


def test_all_problems_are_reported_at_once_in_the_order_of_lines(complain):
    text = "seeds: 0\nseeds: 1\ntraining: {epochs: 0}\nlimitt: 3\narchitectures:\n- [64, Dropout]\n- {layers: [0], epochs: x}\n"
    lines = complain(text)
    assert [line.split(":")[1] for line in lines[::2]] == ["1", "2", "3", "4", "6", "7", "7"]
    assert lines[1::2] == ["    " + text.split("\n")[int(line.split(":")[1]) - 1] for line in lines[::2]]


def test_very_many_problems_are_cut_short(complain):
    lines = complain("architectures:\n" + "- [0]\n" * 100)
    assert len(lines) == 41
    assert lines[-1] == "architectures.yaml: and 80 more problems"


def test_a_rule_between_keys_names_the_line_to_change(complain):
    text = "training: {optimizer: sgd, momentum: 0.9}\narchitectures:\n- [8]\n- {layers: [8], optimizer: adam}\n"
    message = "momentum is for optimizer: sgd only, here it is adam; set it to 0 (architecture '8')"
    assert complain(text)[0] == f"architectures.yaml:4: {message}"
    lines = complain("training: {warmup_epochs: 3}\n" + STACK + "- [8]\n".replace("-", "  -"), Overrides(epochs=2))
    assert lines[0] == "architectures.yaml:1: warmup_epochs must be below epochs (2), got 3, with --epochs"
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("architectures:\n- [64, 32]\n- [8]\n- {name: again, layers: [64, {Dense: 32}], epochs: 20}\n", "architectures.yaml:4: architecture 'again' would be the same trials as '64-32' in line 2; remove line 2 or line 4, or change one"),
        ("architectures:\n- {name: a, layers: [8]}\n- {name: A, layers: [9]}\n", "architectures.yaml:3: two architectures are named 'A', in line 2 (as 'a': upper and lower case do not count) and in line 3; give one of them another name:"),
        ("architectures:\n- {name: a, layers: [8]}\n- {name: a, layers: [9]}\n", "architectures.yaml:3: two architectures are named 'a', in line 2 and in line 3; give one of them another name:"),
        ("architectures:\n- {layers: [8], name: '64'}\n- [64]\n", "architectures.yaml:3: two architectures are named '64', in line 2 and in line 3; give one of them another name:"),
    ],
)  # fmt: skip
def test_architectures_that_are_the_same_are_reported_with_both_lines(complain, text, message):
    assert complain(text)[0] == message
    assert len(complain(text)) == 2


def test_a_file_name_that_cannot_name_a_sweep_offers_one_that_can(load, complain):
    lines = complain(STACK, name="my sweep (1).yaml")
    assert len(lines) == 1
    assert lines[0].startswith("my sweep (1).yaml: the file's name cannot name the sweep")
    assert lines[0].endswith("rename the file or add a line such as name: my-sweep-1")
    assert load("name: fine\n" + STACK, name="my sweep (1).yaml").name == "fine"


def test_messages_cannot_move_the_cursor_and_stay_short(complain):
    lines = complain('a\x85b: 1\n"\\e[2J\\u202e": 2\nc: "' + "x" * 5000 + '"\n' + STACK)
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 220  # the list of all keys at the top


def test_shapes_that_do_not_fit_are_named_with_the_line_of_the_layer(load):
    sweep = load(
        "architectures:\n- [64]\n- name: late\n  layers:\n  - 64\n  - {Conv2D: {filters: 3, kernel_size: 3}}\n"
        "- {name: huge, layers: [1000000, 1000000]}\n"
    )
    with pytest.raises(SweepError) as caught:
        check_shapes(sweep, (28, 28), 10, memory_limit_bytes=2**30)
    late, _, huge, _ = str(caught.value).split("\n")
    assert late.startswith(
        "architectures.yaml:6: Conv2D needs an image of height x width x channels, but gets a vector"
    )
    assert late.endswith("(architecture 'late')")
    assert huge.startswith(
        "architectures.yaml:7: 1,000,796,000,010 parameters need about 14,913.0 GiB to train with adam"
    )
    with pytest.raises(SweepError, match="late"):
        check_shapes(sweep, (28, 28), 10)


# ---- what is called otherwise elsewhere: from a phrase to what was written and the line that should have been ----

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
    ("text", "words"),
    [
        ("architectures:\n- [64, 10]\n", "2: the last hidden layer has 10 units, one for each class. If it is the output layer: that is added for you, remove it; to keep it, write {Dense: {units: 10, activation: relu}} (architecture '64-10')"),
        ("architectures:\n- [64, 1]\n", "2: the last hidden layer has 1 unit, of which all classes would have to be told. If it is the output layer: that is added for you, remove it; to keep it, write {Dense: {units: 1, activation: relu}} (architecture '64-1')"),
        ("architectures:\n- {layers: [784, 64], activation: tanh}\n", "2: the first hidden layer has 784 units, as many as an image has pixels. If it is the input: that is known from the images, remove it; to keep it, write {Dense: {units: 784, activation: tanh}} (architecture '784-64-tanh')"),
        ("architectures:\n- [64, BatchNormalization, {Activation: relu}]\n", "2: this Dense has relu of its own, as Dense without a word has here, and relu follows; for the second alone give it activation: linear (architecture '64-bn-relu')"),
        ("architectures:\n- [{Dense: 64}, LeakyReLU]\n", "2: this Dense has relu of its own, as Dense without a word has here, and LeakyReLU follows; for the second alone give it activation: linear (architecture '64-leakyrelu0.3')"),
        ("architectures:\n- [64, {BatchNormalization: {momentum: 0.1}}]\n", "2: BatchNormalization keeps 0.1 of its averages at each step, as Keras counts; PyTorch's momentum 0.1 is written momentum: 0.9 here (architecture '64-bn.momentum0.1')"),
        ("training:\n  preprocess: {center: 127.5, scale: 127.5}\narchitectures:\n- [8]\n- [9]\n", "2: preprocess gets pixels between 0 and 1, not 0 to 255: to bring them to [-1, 1] write preprocess: {center: 0.5, scale: 0.5}"),
        ("architectures:\n- [64, 10, {Dropout: 0.2}]\n", "2: the last hidden layer has 10 units, one for each class. If it is the output layer: that is added for you, remove it; to keep it, write {Dense: {units: 10, activation: relu}} (architecture '64-10-drop0.2')"),
        ("training: {preprocess: {scale: 0.00392}}\narchitectures:\n- [8]\n", "1: preprocess gets pixels between 0 and 1, not 0 to 255: to bring them to [-1, 1] write preprocess: {center: 0.5, scale: 0.5}"),
        ("training: {validation_split: 0.8}\narchitectures:\n- [8]\n", "1: validation_split is the share of the images that validates: 0.8 leaves 0.2 to train on; for the other way round write validation_split: 0.2"),
        ("training: {learning_rate: 10}\narchitectures:\n- [8]\n", "1: learning_rate: 10 moves every weight by about so much in a step of adam; usual are 1e-4 to 1e-2"),
        ("class_names: [Trouser, T-shirt/top, c, d, e, f, g, h, i, j]\narchitectures:\n- [8]\n", "1: class_names calls class 0 'Trouser', which is class 1 of Fashion-MNIST; its names are known: remove the key"),
        ("seeds: until decided\narchitectures:\n- [8]\n", "1: seeds: until decided has nothing to decide of one architecture: it is trained with 5 seeds"),
        ("seeds: 42\narchitectures:\n- [8]\n", "1: seeds: 42 asks for 42 trainings of each architecture, with seeds 0 to 41; for the one seed 42 write seeds: [42]"),
    ],
)  # fmt: skip
def test_what_is_allowed_and_hardly_meant_is_a_warning_by_line(load, text, words):
    (said,) = find_doubts(load(text), (28, 28), 10)
    assert said.split("\n")[0] == f"architectures.yaml:{words}"


@pytest.mark.parametrize(
    "text",
    [
        "- [64, {Dense: {units: 10, activation: relu}}]", "- [64, 10, 64]", "- [64, {Activation: relu}]", "- [{Dense: {units: 64, activation: linear}}, BatchNormalization, {Activation: relu}]",
        "- [{Dense: {units: 784, activation: relu}}, 64]", "- {layers: [64, BatchNormalization, {Activation: relu}], activation: linear}", "- [MaxPooling2D, {Activation: tanh}, 64]",
        "- {layers: [64], preprocess: [standardize, {center: 3, scale: 5}]}", "- {layers: [64], preprocess: {center: 0.2860, scale: 0.3530}}", "- [64, 11]",
        "- {layers: [64], optimizer: sgd, learning_rate: 1}", "- {layers: [64], validation_split: 0.5}",
    ],
)  # fmt: skip
def test_what_is_meant_gets_no_warning(load, text):
    assert find_doubts(load(f"architectures:\n{text}\ngrid: {{depth: 1, units: [10, 784]}}\n"), (28, 28), 10) == []


@pytest.mark.parametrize(
    "path", sorted([ROOT / "architectures.yaml", *(ROOT / "sweeps").glob("*.yaml")]), ids=lambda path: path.stem
)
def test_nothing_in_the_shipped_files_is_doubtful(path):
    assert find_doubts(load_sweep(path), (28, 28), 10) == []


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


def test_keys_that_begin_with_x_are_a_place_for_ones_own_anchors(load, complain):
    text = "x-defaults: &d\n  learning_rate: 5e-4\n  epochs: 2\narchitectures:\n- {<<: *d, layers: [64]}\n- {<<: [*d], layers: [32], epochs: 3}\n"
    first, second = load(f"{text}x-unused: [anything, {{at: all}}]\n").architectures
    assert (first.training.learning_rate, first.training.epochs, second.training.epochs) == (0.0005, 2, 3)
    plain = (
        "training: {learning_rate: 5e-4}\narchitectures:\n- {layers: [64], epochs: 2}\n- {layers: [32], epochs: 3}\n"
    )
    assert {*fingerprints(load(text)).values()} == {*fingerprints(load(plain)).values()}
    # A mistake in it is named where it stands; elsewhere no key of one's own is taken.
    assert complain(text.replace("epochs: 2", "epochs: 0"))[0].startswith("architectures.yaml:3: epochs must be from 1")
    assert complain("training: {x-mine: 1}\n" + STACK)[0].startswith(
        "architectures.yaml:1: unknown key 'x-mine' in training"
    )


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


TEN = "[a, b, c, d, e, f, g, h, i, j]"


def test_names_of_classes_are_no_part_of_a_trial(load):
    named = load(f"class_names: {TEN}\n{STACK}")
    assert named.class_names == tuple("abcdefghij")
    assert fingerprints(named) == fingerprints(load(STACK))
    assert check_shapes(named, (28, 28), 10)


def test_names_must_be_as_many_as_classes(load):
    with pytest.raises(SweepError) as caught:
        check_shapes(load("seeds: 1\nclass_names: [cat, dog]\n" + STACK), (28, 28), 10)
    assert str(caught.value).split("\n") == [
        "architectures.yaml:2: class_names must name each of the 10 classes (labels 0 to 9), got 2 names",
        "    class_names: [cat, dog]",
    ]


# ---- trials and fingerprints ----

# Fingerprints of these two were made when version 1 was; they change only when NUMERICS_VERSION does.
PINNED = {
    "[64, 32]": "5266cb7134fe6150f750b976f96dd850a507b0ce9f70974bc290d414405b7ddd",
    "{layers: [256, BatchNormalization, {Dropout: 0.3}], optimizer: adamw, early_stopping: {patience: 3}}": "97048b0e26375dce90d9c9d4abbbff34d328dd3b44cadc7ab4afe32bc2db71fb",
}


def fingerprints(sweep, **options):
    return {
        trial.architecture.name: trial.fingerprint for trial in list_trials(sweep, **({"data_identity": "d"} | options))
    }


@pytest.mark.parametrize(("item", "expected"), PINNED.items())
def test_fingerprints_do_not_change_from_version_to_version(load, item, expected):
    (found,) = fingerprints(load(f"seeds: 1\narchitectures:\n- {item}\n")).values()
    assert found == expected


def test_the_fingerprint_of_a_fold_does_not_change_from_version_to_version(load):
    first, *_ = list_trials(load("seeds: 1\nfolds: 5\narchitectures:\n- [64, 32]\n"), data_identity="d")
    assert first.fingerprint == "be4ae86880f2d4f4d1a369cd325f7324337de876b541cca8c27e8213b940701e"


def test_trials_come_in_the_order_of_the_file_with_seeds_inside(load):
    trials = list_trials(load("seeds: [5, 3]\n" + STACK + "  - [8]\n"), data_identity="d")
    assert [(trial.architecture.name, trial.seed, trial.fold) for trial in trials] == [
        ("64-32", 5, None), ("64-32", 3, None), ("8", 5, None), ("8", 3, None),
    ]  # fmt: skip
    assert len({trial.fingerprint for trial in trials}) == 4
    assert all(fingerprint(trial.settings) == trial.fingerprint for trial in trials)
    assert json.loads(json.dumps(trials[0].settings)) == trials[0].settings


def test_a_fingerprint_is_made_of_what_decides_the_numbers(load):
    trial = list_trials(load("seeds: [7]\n" + STACK), data_identity="d")[0]
    dense = [{"Dense": {"units": units, "activation": "relu", "use_bias": True}} for units in (64, 32)]
    assert trial.settings == {
        "layers": dense,
        "training": {"epochs": 20, "batch_size": 32, "optimizer": "adam", "learning_rate": 0.001},
        "data": "d",
        "limit": None,
        "seed": 7,
        "backend": "tensorflow",
        "loop": "compiled",
        "numerics": NUMERICS_VERSION,
    }


def test_layers_and_classifiers_are_read_back_from_what_a_record_says(load):
    """Each by the example of its own documentation, as a sweep file and as plain JSON."""
    layers = [kind.example for kind in LAYERS.values()]
    classifiers = [kind.example for kind in CLASSIFIERS.values()]
    listed = "".join(f"- [{example}]\n" for example in layers) + "baselines:\n"
    sweep = load("seeds: 1\narchitectures:\n" + listed + "".join(f"- {example}\n" for example in classifiers))
    assert len(sweep.architectures) == len(LAYERS) + len(CLASSIFIERS)
    for trial in list_trials(sweep, data_identity="d"):
        settings = json.loads(json.dumps(trial.settings))
        if "baseline" in settings:
            assert Classifier.from_canonical(settings) == trial.architecture.classifier
        else:
            layers = [Layer.from_canonical(layer) for layer in settings["layers"]]
            assert [layer.canonical() for layer in layers] == settings["layers"]
            assert [type(layer) for layer in layers] == [type(layer) for layer in trial.architecture.layers]


@pytest.mark.parametrize(
    ("phrase", "one", "other"),
    [
        ("a number in two spellings", "{layers: [8], learning_rate: 1e-3}", "{layers: [8], learning_rate: 0.00100}"),
        ("a whole number for a fraction", "{layers: [8], gradient_clip: 1}", "{layers: [8], gradient_clip: 1.0}"),
        ("a name", "[8]", "{name: other, layers: [8]}"),
        ("the order of keys", "{layers: [8], epochs: 2, batch_size: 8}", "{batch_size: 8, epochs: 2, layers: [8]}"),
        ("a default written out", "[8]", "{layers: [8], label_smoothing: 0, threads: 1, schedule: constant}"),
        ("an alias", "[8, {Activation: swish}]", "[8, {Activation: {activation: silu}}]"),
        ("a number for a pair", "[{MaxPooling2D: 2}]", "[{MaxPooling2D: {pool_size: [2, 2], strides: 2}}]"),
        ("the default activation", "{layers: [8], activation: tanh}", "[{Dense: {units: 8, activation: tanh}}]"),
        ("no decay", "{layers: [8], weight_decay: 0}", "[8]"),
        ("Keras's own decay", "{layers: [8], optimizer: adamw}", "{layers: [8], optimizer: adamw, weight_decay: 4e-3}"),
        ("a comment", "[8]", "[8]  # wide"),
    ],
)
def test_these_do_not_change_a_fingerprint(load, phrase, one, other):
    first, second = (load(f"seeds: 1\narchitectures:\n- {item}\n") for item in (one, other))
    assert set(fingerprints(first).values()) == set(fingerprints(second).values()), phrase


def test_what_decides_no_number_does_not_change_a_fingerprint(load):
    plain = load(f"seeds: 1\n{STACK}")
    limited = load(f"seeds: 1\nselect_by: val_loss\nmax_params: 5\n{STACK}")
    assert fingerprints(plain) == fingerprints(limited)


def test_these_change_a_fingerprint(load):
    items = [
        "[8]", "[9]", "[8, Flatten]", "[8, {Dropout: 0.1}]", "[{Dense: {units: 8, use_bias: false}}]",
        "{layers: [8], activation: tanh}", "{layers: [8], epochs: 21}", "{layers: [8], optimizer: lion}",
        "{layers: [8], learning_rate: 2e-3}", "{layers: [8], threads: 2}", "{layers: [8], validation_split: 0.1}",
        "{layers: [8], early_stopping: {patience: 3}}", "{layers: [8], early_stopping: {patience: 4}}",
        "{layers: [8], optimizer: adamw, weight_decay: 0}", "{layers: [8], optimizer: adamw}",
    ]  # fmt: skip
    sweep = load("seeds: 1\narchitectures:\n" + "".join(f"- {item}\n" for item in items).replace(
        "- {layers: [8], early_stopping: {patience: 4}}", "- {name: four, layers: [8], early_stopping: {patience: 4}}"
    ).replace("[8], optimizer: adamw, weight", "[8], name: no_decay, optimizer: adamw, weight"))  # fmt: skip
    assert len(set(fingerprints(sweep).values())) == len(items)
    found = {
        *fingerprints(load(f"seeds: 1\n{STACK}")).values(),
        *fingerprints(load(f"seeds: 1\n{STACK}"), plain_fit=True).values(),
        *fingerprints(load(f"seeds: 1\n{STACK}"), data_identity="e").values(),
        *fingerprints(load(f"seeds: [1]\n{STACK}")).values(),
        *fingerprints(load(f"seeds: 1\nlimit: 5\n{STACK}")).values(),
    }
    assert len(found) == 5


def test_convolutions_take_the_plain_loop_whatever_is_asked_for(load):
    sweep = load("seeds: 1\narchitectures:\n- [8]\n- [{Conv2D: {filters: 2, kernel_size: 3}}]\n")
    loops = [
        [trial.settings["loop"] for trial in list_trials(sweep, data_identity="d", plain_fit=plain)] for plain in (0, 1)
    ]
    assert loops == [["compiled", "plain"], ["plain", "plain"]]


# ---- cross-validation and what the best is chosen by ----


@pytest.mark.parametrize(
    ("written", "select_by"),
    [
        ("", "val_accuracy"),
        ("select_by: null\n", "val_accuracy"),
        ("folds: null\n", "val_accuracy"),
        ("select_by: val_loss\n", "val_loss"),
        ("folds: 5\n", "cv_accuracy"),
        ("folds: 5\nselect_by: cv_accuracy\n", "cv_accuracy"),
        ("folds: 5\nselect_by: val_loss\n", "val_loss"),
    ],
)
def test_what_the_best_is_chosen_by_is_decided_once(load, written, select_by):
    assert load(written + STACK).select_by == select_by


def test_each_fold_is_a_trial_inside_its_seed(load):
    trials = list_trials(load("folds: 3\nseeds: [5, 3]\n" + STACK + "  - [8]\n"), data_identity="d")
    assert [(trial.architecture.name, trial.seed, trial.fold) for trial in trials] == [
        (name, seed, fold) for name in ("64-32", "8") for seed in (5, 3) for fold in (0, 1, 2)
    ]
    assert len({trial.fingerprint for trial in trials}) == 12
    assert all(fingerprint(trial.settings) == trial.fingerprint for trial in trials)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 10000\nfolds: 50\n", "asks for 500,000 trials; at most 100,000 are allowed, use fewer seeds, folds or "),
        ("seeds: 10000\nrefit: {seeds: 5}\n", "asks for 110,055 trials; at most 100,000 are allowed, use fewer seeds or stacks"),
    ],
)  # fmt: skip
def test_more_trials_than_can_be_planned_at_once_are_too_many(load, text, message):
    architectures = STACK + "".join(f"  - [{units}]\n" for units in range(1, 11)) * ("refit" in text)
    with pytest.raises(SweepError, match=re.escape(message)):
        load(text + architectures)


def test_a_fold_stands_in_the_settings_in_place_of_the_validation_split(load):
    (plain,) = list_trials(load("seeds: 1\n" + STACK), data_identity="d")
    folds = list_trials(load("seeds: 1\nfolds: 4\n" + STACK), data_identity="d")
    assert [trial.settings for trial in folds] == [plain.settings | {"fold": fold, "folds": 4} for fold in range(4)]
    # A split of its own, which no file with folds may give, would decide nothing.
    (split,) = load("seeds: 1\narchitectures:\n- {layers: [64, 32], validation_split: 0.3}\n").architectures
    options = {"data_identity": "d", "limit": None, "seed": 0}
    assert canonical_settings(split, **options)["training"]["validation_split"] == 0.3
    assert canonical_settings(split, **options, fold=0, folds=4) == folds[0].settings


@pytest.mark.parametrize(
    ("text", "line", "where"),
    [
        ("folds: 4\ntraining:\n  validation_split: 0.2\n" + STACK, 3, ""),
        ("folds: 4\narchitectures:\n- layers: [8]\n  validation_split: 0.1\n", 4, " (architecture '8')"),
        ("folds: 4\ngrid:\n  depth: 1\n  units: [4, 8]\n  validation_split: [0.1, 0.2]\n", 5, " (in grid)"),
    ],
)
def test_a_validation_split_beside_folds_is_reported_at_its_line(complain, text, line, where):
    shown, _ = complain(text)
    words = "validation_split does not go with folds: each fold keeps 1/4 for validation"
    assert shown == f"architectures.yaml:{line}: {words}{where}"


def test_more_folds_than_images_are_refused(complain):
    words = "architectures.yaml:1: folds must be at most limit (4), got 5"
    assert complain("folds: 5\nlimit: 4\n" + STACK)[0] == words
    assert complain("folds: 5\nlimit: 400\n" + STACK, Overrides(limit=4))[0] == words + ", with --limit"


def test_folds_that_are_wrong_are_not_also_missing(complain):
    lines = complain("select_by: cv_accuracy\nfolds: 0\n" + STACK)
    assert [line for line in lines if not line.startswith(" ")] == [
        "architectures.yaml:2: folds must be from 2 to 50, got 0"
    ]


# ---- a limit of parameters ----


def test_an_architectures_own_limit_stands_over_the_sweeps_and_null_lifts_it(load):
    sweep = load(
        "max_params: 60000\narchitectures:\n- [64, 32]\n- [64, 128, 64, 32]\n- {layers: [128, 64], max_params: null}\n"
        "- {name: at, layers: [4], max_params: 3190}\n- {name: above, layers: [4, 4], max_params: 3189}\n"
        "grid:\n- {depth: 1, units: [75, 76]}\n- {depth: 1, units: 100, max_params: 1000000}\n"
    )
    assert [item.max_params for item in sweep.architectures] == [
        60_000,
        60_000,
        None,
        3190,
        3189,
        60_000,
        60_000,
        10**6,
    ]
    sizes = check_shapes(sweep, (28, 28), 10)
    # By hand, with the output layer: 52,650 and 69,226 (as published), 784*4+4 + 4*10+10, that + 4*4+4, 795*units + 10.
    assert [size.params for size in sizes.values()] == [52_650, 69_226, 109_386, 3_190, 3_210, 59_635, 60_430, 79_510]
    over = over_budget(sweep, sizes)
    assert over == {"64-128-64-32", "above", "76"}
    left = list_trials(sweep, data_identity="d", skip=over)
    assert left == [trial for trial in list_trials(sweep, data_identity="d") if trial.architecture.name not in over]
    assert len(left) == 5 * 5


def test_no_memory_is_needed_for_what_is_over_its_budget(load):
    text = "architectures:\n- {name: huge, layers: [1000000, 1000000], max_params: 60000}\n"
    sizes = check_shapes(load(text), (28, 28), 10, memory_limit_bytes=2**20)
    assert sizes["huge"].params == 1_000_796_000_010
    with pytest.raises(SweepError, match="parameters need about"):
        check_shapes(load(text.replace("60000", "null")), (28, 28), 10, memory_limit_bytes=2**20)


def test_two_architectures_that_differ_in_their_limit_only_are_the_same_trials(complain):
    lines = complain("architectures:\n- [8]\n- {name: b, layers: [8], max_params: 60000}\n")
    assert "would be the same trials as '8' in line 2" in lines[0]


# ---- preprocessing and augmentation ----


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("null", []),
        ("[]", []),
        ("standardize", ["standardize"]),
        ("{standardize: }", ["standardize"]),
        ("{pca: 187}", [{"pca": 187}]),
        ("{pca: 0.95, whiten: true}", [{"pca": 0.95, "whiten": True}]),
        ("{pca: 9, whiten: false}", [{"pca": 9}]),
        ("{center: 0.5, scale: 0.5}", [{"center": 0.5, "scale": 0.5}]),
        ("{center: 1}", [{"center": 1.0, "scale": 1.0}]),
        ("[standardize, {pca: 3}, standardize, {scale: 2}]", ["standardize", {"pca": 3}, "standardize", {"center": 0.0, "scale": 2.0}]),
    ],
)  # fmt: skip
def test_steps_in_front_of_a_stack(load, written, steps):
    """For the whole file or for one architecture; a step alone is a list of one."""
    for text in (f"training: {{preprocess: {written}}}\n{STACK}", f"architectures:\n- {{layers: [64, 32], preprocess: {written}}}\n"):  # fmt: skip
        (trial,) = list_trials(load("seeds: 1\n" + text), data_identity="d")
        assert trial.settings["training"].get("preprocess", []) == steps
        assert ("preprocess" in trial.settings["training"]) == bool(steps)
        assert pickle.loads(pickle.dumps(trial)) == trial
    own = load(
        f"seeds: 1\ntraining: {{preprocess: {{pca: 5}}}}\narchitectures:\n- {{layers: [64, 32], preprocess: {written}}}\n"
    )
    assert fingerprints(own) == fingerprints(load(f"seeds: 1\n{text}"))


def test_a_wrong_step_is_named_by_its_own_line(complain):
    shown, echo = complain("training:\n  preprocess:\n  - standardize\n  - {pca: 2.5}\n" + STACK)
    assert shown.startswith("architectures.yaml:4: preprocess pca must be a whole number")
    assert echo == "    - {pca: 2.5}"


def test_mixup_needs_two_images_in_a_batch(complain):
    shown, _ = complain("training: {batch_size: 1}\narchitectures:\n- layers: [8]\n  augment: {mixup: 0.2}\n")
    assert shown == (
        "architectures.yaml:4: mixup needs another image in the batch, but batch_size is 1; use 2 or more "
        "(architecture '8')"
    )


def test_names_say_what_is_done_to_the_images(load):
    sweep = load(
        "architectures:\n- {layers: [64], preprocess: {pca: 187}}\n- {layers: [64], preprocess: [standardize, {pca: 0.95, whiten: true}]}\n"
        "- {layers: [64], preprocess: {center: 0.5, scale: 0.5}}\n- {layers: [64], preprocess: null}\n"
        "- {layers: [64], augment: {horizontal_flip: true, shift: 2, mixup: 0.2}, epochs: 3}\n"
        "- {layers: [64], augment: null, epochs: 4}\n"
    )
    names = [architecture.name for architecture in sweep.architectures]
    assert names == [
        "64-pca187", "64-standardize-pca0.95.whiten", "64-center0.5-scale0.5", "64-preprocess_none",
        "64-epochs3-augment.horizontal_flip.shift2.mixup0.2", "64-epochs4-augment_none",
    ]  # fmt: skip
    assert all(name_problem(name) is None for name in names)


def test_in_a_grid_a_list_of_steps_stands_in_a_list_of_values(load):
    names = [item.name for item in expanded(load, "{depth: 1, units: 8, preprocess: [null, standardize, [standardize, {pca: 9}]], augment: [null, {shift: 1}]}")]  # fmt: skip
    assert names == [
        f"8-{steps}-augment{augment}"
        for steps in ("preprocess_none", "standardize", "standardize-pca9")
        for augment in ("_none", ".shift1")
    ]


def test_augmentation_that_changes_nothing_is_no_part_of_a_trial(load):
    idle = load("seeds: 1\ntraining: {augment: {horizontal_flip: false, shift: 0, mixup: 0}}\n" + STACK)
    assert fingerprints(idle) == fingerprints(load("seeds: 1\n" + STACK))
    (trial,) = list_trials(load("seeds: 1\ntraining: {augment: {erase: 1}}\n" + STACK), data_identity="d")
    assert trial.settings["training"]["augment"] == {"erase": 1.0}


def test_every_change_of_steps_or_augmentation_is_another_trial(load):
    values = [
        "", "preprocess: standardize", "preprocess: [standardize, standardize]", "preprocess: {pca: 9}", "preprocess: {pca: 0.9}",
        "preprocess: {pca: 9, whiten: true}", "preprocess: {center: 0.5}", "preprocess: {scale: 0.5}", "augment: {shift: 1}",
        "augment: {shift: 2}", "augment: {horizontal_flip: true}", "augment: {vertical_flip: true}", "augment: {erase: 0.1}", "augment: {mixup: 0.1}",
    ]  # fmt: skip
    found = {
        each for value in values for each in fingerprints(load(f"seeds: 1\ntraining: {{{value}}}\n{STACK}")).values()
    }
    assert len(found) == len(values)


def test_sizes_are_those_behind_the_steps(load):
    sweep = load(
        "architectures:\n- {layers: [64], preprocess: {pca: 187}}\n- {layers: [64], preprocess: [standardize, {pca: 0.95}]}\n"
        "- {layers: [64], preprocess: standardize}\n"
    )
    sizes = list(check_shapes(sweep, (28, 28), 10, class_counts=(6000,) * 10).values())
    assert [size.params for size in sizes] == [12_682, 50_890, 50_890]  # a share: at most 784 components
    assert sizes[0].flops == 187 * (2 * 784 + 1) + 64 * (2 * 187 + 1) + 10 * (2 * 64 + 1)
    assert sizes[2].flops == 2 * 784 + 64 * (2 * 784 + 1) + 10 * (2 * 64 + 1)
    (size,) = check_shapes(load("training: {preprocess: {pca: 0.95}}\nlimit: 50\n" + STACK), (28, 28), 10, class_counts=(6000,) * 10).values()  # fmt: skip
    assert size.params == 41 * 64 - 64 + 64 + 65 * 32 + 33 * 10  # 40 images to train on, so at most 40 components


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("training:\n  preprocess: {pca: 785}\narchitectures:\n- [8]\n- [4]\n", ["2: preprocess pca can have at most 784 components, for 784 values, got 785"]),
        ("limit: 100\narchitectures:\n- [8]\n- layers: [4]\n  preprocess:\n  - {pca: 81}\n", ["5: preprocess pca can have at most 80 components, for 80 training images, got 81"]),
        ("limit: 100\nfolds: 3\ntraining: {preprocess: {pca: 67}}\narchitectures:\n- [8]\n", ["3: preprocess pca can have at most 66 components, for 66 training images, got 67"]),
        ("training: {preprocess: {pca: 9}}\narchitectures:\n- layers:\n  - 8\n  - {Conv2D: {filters: 2, kernel_size: 3}}\n", ["5: Conv2D needs an image of height x width x channels, but gets a vector of 8 values; put it before the Dense and Flatten layers, or a Reshape before it; pca leaves no image, only its components (architecture '8-conv2x3')"]),
        ("training: {preprocess: {pca: 9}}\narchitectures:\n- [MaxPooling2D]\n- [{Reshape: [3, 3, 1]}, MaxPooling2D]\n", ["3: MaxPooling2D needs an image of height x width x channels, but gets a vector of 9 values; put it before the Dense and Flatten layers, or a Reshape before it; pca leaves no image, only its components (architecture 'maxpool2')"]),
        ("limit: 80\ntraining: {validation_split: 0.5, preprocess: {pca: 40, whiten: true}}\narchitectures:\n- [8]\n", ["2: preprocess pca can whiten at most 39 components of 40 training images"]),
        ("limit: 10\ntraining: {epochs: 2}\narchitectures:\n- [8]\n- layers: [4]\n  validation_split: 0.3\n", ["4: validation_split 0.2 of 10 training images leaves none to validate with, for each class keeps one to train on; use 20 images or more (limit), or a larger share", "6: validation_split 0.3 of 10 training images leaves none to validate with, for each class keeps one to train on; use 20 images or more (limit), or a larger share"]),
        ("limit: 20\ntraining: {validation_split: 0.01}\narchitectures: [[8]]\n", ["2: validation_split 0.01 of 20 training images leaves none to validate with, for each class keeps one to train on; use 100 images or more (limit), or a larger share"]),
        ("limit: 20\nbaselines:\n- {KNeighborsClassifier: {n_neighbors: 17}}\n- {KNeighborsClassifier: {n_neighbors: 16}}\n", ["3: n_neighbors must be at most the 16 training images (baseline 'KNeighborsClassifier-n_neighbors17')"]),
        ("training: {augment: {shift: 28}}\n" + STACK, ["1: augment shift must be below the images' 28 pixels, got 28"]),
        ("training: {augment: {shift: 27}, preprocess: {pca: 784}}\n" + STACK, []),
    ],
)  # fmt: skip
def test_steps_that_do_not_fit_the_images_are_named_by_line(load, text, messages):
    sweep = load(text)
    if not messages:
        assert check_shapes(sweep, (28, 28), 10, class_counts=(6000,) * 10)
        return
    with pytest.raises(SweepError) as caught:
        check_shapes(sweep, (28, 28), 10, class_counts=(6000,) * 10)
    assert str(caught.value).split("\n")[::2] == [f"architectures.yaml:{message}" for message in messages]


def test_more_folds_than_the_data_set_has_images_are_refused(load):
    with pytest.raises(SweepError, match=r"^architectures\.yaml: folds must be at most the 4 training images, got 5$"):
        check_shapes(load("folds: 5\n" + STACK), (28, 28), 2, class_counts=(2, 2))
    assert check_shapes(load("folds: 4\n" + STACK), (28, 28), 2, class_counts=(2, 2))


# ---- grids ----


def expanded(load, grid, before=""):
    return load(f"{before}grid: {grid}\n").architectures


@pytest.mark.parametrize(
    ("phrase", "grid", "names"),
    [
        ("one value each", "{depth: 2, units: 32}", ["32-32"]),
        ("depth by depth", "{depth: [2, 1], units: [8, 4]}", ["8-8", "4-4", "8", "4"]),
        ("funnel", "{depth: [1, 3], units: [64, 9], shape: funnel}", ["64", "9", "64-32-16", "9-4-2"]),
        ("a funnel that would come to 0", "{depth: [2, 3], units: [4, 3], shape: funnel}", ["4-2", "3-1", "4-2-1"]),
        ("all", "{depth: [1, 2], units: [8, 4], shape: all}", ["8", "4", "8-8", "8-4", "4-8", "4-4"]),
        ("shapes inside depth", "{depth: [1, 2], units: [8, 4], shape: [constant, funnel]}", ["8", "4", "8-8", "4-4", "8-4", "4-2"]),
        ("layers after each Dense", "{depth: 2, units: 8, after_each: [BatchNormalization, {Dropout: 0.2}]}", ["8-bn-drop0.2-8-bn-drop0.2"]),
        ("one layer after each Dense", "{depth: 2, units: 8, after_each: {Dropout: 0.2}}", ["8-drop0.2-8-drop0.2"]),
        ("nothing after each Dense", "[{depth: 1, units: 8, after_each: []}, {depth: 1, units: 4, after_each: }]", ["8", "4"]),
        ("training keys, in the order of Training", "{learning_rate: [0.1, 0.2], optimizer: [sgd, lion], units: [8, 4], depth: 1}",
         [f"{units}-{optimizer}-learning_rate{rate}" for units in (8, 4) for optimizer in ("sgd", "lion") for rate in (0.1, 0.2)]),
        ("activation", "{depth: 1, units: 8, activation: [tanh, swish]}", ["8-tanh", "8-silu"]),
        ("early stopping", "{depth: 1, units: 8, early_stopping: [null, {patience: 3}]}", ["8-early_stopping_none", "8-early_stopping3"]),
        ("several grids", "[{depth: 1, units: 8}, {depth: 2, units: 4}]", ["8", "4-4"]),
        ("an alias", "[{depth: &d [1, 2], units: 8}, {depth: *d, units: 4}]", ["8", "8-8", "4", "4-4"]),
        ("a merge key", "[&g {depth: 1, units: 8}, {<<: *g, units: 4}]", ["8", "4"]),
    ],
)  # fmt: skip
def test_a_grid_is_every_combination_in_a_readable_order(load, phrase, grid, names):
    assert [item.name for item in expanded(load, grid)] == names, phrase


def test_a_grid_sets_what_a_listed_architecture_sets(load):
    first, second = expanded(
        load,
        "\n  depth: 1\n  units: 8\n  after_each:\n  - {Activation: gelu}\n  activation: tanh\n  epochs: [3, 4]\n  max_params: 7",
        before="training: {batch_size: 8}\n",
    )
    assert [layer.activation for layer in first.layers] == ["tanh", "gelu"]
    assert (first.training.epochs, second.training.epochs, first.training.batch_size) == (3, 4, 8)
    assert (first.line, first.layer_lines, first.max_params) == (2, (4, 6), 7)


@pytest.mark.parametrize("name", ["quick", "plain"])
def test_a_stack_moved_from_a_grid_to_the_list_keeps_its_name_and_its_trials(load, name):
    overrides = Overrides(epochs=1) if name == "quick" else None
    stops = ["{patience: 3}", "{patience: 3, monitor: val_accuracy, min_delta: 0.01}", "null"]
    rates, after = ["1e-3", "0.1000000000000001", "0.1"], "BatchNormalization"
    grid = f"{{depth: 2, units: [8, 64], shape: funnel, after_each: {after}, learning_rate: [{', '.join(rates)}], early_stopping: [{', '.join(stops)}], epochs: 7}}"
    listed = [
        f"- {{layers: [{units}, {after}, {units // 2}, {after}], learning_rate: {rate}, early_stopping: {stop}, epochs: 7}}\n"
        for units in (8, 64) for rate in rates for stop in stops
    ]  # fmt: skip
    from_grid = load(f"training: {{schedule: cosine}}\ngrid: {grid}\n", overrides)
    from_list = load("training: {schedule: cosine}\narchitectures:\n" + "".join(listed), overrides)
    assert fingerprints(from_grid) == fingerprints(from_list)
    assert list(fingerprints(from_grid)) == list(fingerprints(from_list))
    assert len(fingerprints(from_grid)) == from_grid.grid_stacks == 18


@pytest.mark.parametrize(
    ("phrase", "text", "names", "stacks_and_duplicates"),
    [
        ("constant and funnel are one at depth 1", "grid: {depth: [1, 2], units: [8, 4], shape: [constant, funnel]}", ["8", "4", "8-8", "4-4", "8-4", "4-2"], (8, 2)),
        ("a value listed twice", "grid: {depth: [1, 1], units: [8, 8], shape: all}", ["8"], (4, 3)),
        ("a default written out", "grid: {depth: 1, units: 8, learning_rate: [1e-3, 0.001, 2e-3]}", ["8-learning_rate0.001", "8-learning_rate0.002"], (3, 1)),
        ("two grids", "grid: [{depth: 1, units: [8, 4]}, {depth: 1, units: [4, 2]}]", ["8", "4", "2"], (4, 1)),
        ("the listed one wins", "architectures:\n- {name: mine, layers: [8]}\ngrid: {depth: 1, units: [8, 4]}", ["mine", "4"], (2, 1)),
        ("whatever its limit of parameters", "architectures:\n- [8]\ngrid: {depth: 1, units: [8, 4], max_params: 5}", ["8", "4"], (2, 1)),
        ("no grid", "architectures:\n- [8]", ["8"], (0, 0)),
    ],
)  # fmt: skip
def test_what_a_grid_gives_twice_is_dropped_and_counted(load, phrase, text, names, stacks_and_duplicates):
    sweep = load(text + "\n")
    assert [item.name for item in sweep.architectures] == names, phrase
    assert (sweep.grid_stacks, sweep.grid_duplicates) == stacks_and_duplicates, phrase


def test_a_quick_look_at_a_grid_over_epochs_drops_what_becomes_the_same(load):
    sweep = load("grid: {depth: 1, units: 8, epochs: [5, 10]}\n", Overrides(epochs=2))
    assert [(item.name, item.training.epochs) for item in sweep.architectures] == [("8-epochs5", 2)]
    assert sweep.grid_duplicates == 1


def test_different_stacks_of_grids_that_come_to_one_name_stay_apart(load):
    """The later one gets a hash; the name of one listed or expanded before never changes."""
    sweep = load(
        "architectures:\n- {name: 4-4, layers: [4]}\n"
        "grid:\n- {depth: 1, units: 8, activation: tanh}\n- {depth: 1, units: 8, after_each: {Activation: tanh}}\n"
        "- {depth: 2, units: 4}\n"
    )
    names = [item.name for item in sweep.architectures]
    assert names[:2] == ["4-4", "8-tanh"]
    assert re.fullmatch(r"8-tanh-[0-9a-f]{8}", names[2])
    assert re.fullmatch(r"4-4-[0-9a-f]{8}", names[3])
    assert len(set(fingerprints(sweep).values())) == 4


def test_long_names_of_grids_are_short_different_and_the_same_again(load, monkeypatch):
    grid = "{depth: [9, 10], units: [100, 101, 102], shape: [constant, funnel], after_each: [BatchNormalization, {Dropout: 0.25}]}"
    names = [item.name for item in expanded(load, grid)]
    assert len(set(names)) == len(names) == 6  # no funnel: one of 100 units comes to 0 after seven layers
    assert all(name_problem(name) is None for name in names)
    assert names == [item.name for item in expanded(load, grid)]
    # Shortened names that coincide, as two hashes of 32 bits can: made certain by taking the hash away.
    for module in ("sweepfile.stacks", "sweepfile.names"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.shorten_name", lambda name: name[:MAX_NAME_LENGTH].rstrip("-._"))
    collided = expanded(load, "{depth: [40, 41], units: 100, after_each: Flatten}")
    assert len({item.name for item in collided}) == len(collided) == 2
    assert all(name_problem(item.name) is None for item in collided)


GRID = "grid:\n  depth: 2\n  units: 8\n  {}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("unit: 3", "unknown key 'unit' in grid; did you mean 'units'?"),
        ("widths: 3", "unknown key 'widths' in grid; did you mean 'units'?"),
        ("lr: 3", "unknown key 'lr' in grid; did you mean 'learning_rate'?"),
        ("seeds: 3", "unknown key 'seeds' in grid; it stands at the top of the file"),
        ("shape: cone", "grid shape must be constant, funnel or all, got 'cone'"),
        ("shape: [constant, funel]", "grid shape must be constant, funnel or all, got 'funel'; did you mean 'funnel'?"),
        ("shape: []", "grid shape must list at least one value, got []"),
        ("learning_rate: [1e-3, 0]", "grid learning_rate must be above 0 and at most 1,000, got 0"),
        ("learning_rate: [[1e-3]]", "grid learning_rate must be a number above 0 and at most 1,000, got a list"),
        ("epochs: []", "grid epochs must list at least one value, got []"),
        ("early_stopping: [{patience: 3}, 4]", "grid early_stopping must be a mapping such as {patience: 5}, got 4"),
        ("early_stopping: [{patence: 3}]", "grid early_stopping has no key 'patence'; did you mean 'patience'?"),
        ("after_each: [{Dropout: 2}]", "dropout rate must be at least 0 and below 1, got 2 (after_each of grid)"),
        ("after_each: batchnorm", "unknown layer 'batchnorm'; did you mean 'BatchNormalization'? (after_each of grid)"),
        ("max_params: 0", "grid max_params must be at least 1, got 0"),
        ("max_params: [60000]", "grid max_params must be a whole number at least 1, got a list"),
        ("momentum: 0.9", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (in grid)"),
        ("momentum: [0.7, 0.8, 0.9]", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (in grid, which combines all values; write two grids)"),
        ("warmup_epochs: [30, 40, 50]", "warmup_epochs must be below epochs (20), got 30 (in grid, which combines all values; write two grids)"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_grid_gets_one_message(complain, line, message):
    shown, echo = complain(GRID.format(line))
    assert shown == f"architectures.yaml:4: {message}"
    assert echo == "    " + line


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("5", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got 5"),
        ("", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got nothing"),
        ("{}", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got {}"),
        ("[]", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, or a list of them, got []"),
        ("[[8]]", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got a list"),
        ("{units: 8}", "grid needs depth: write grid: {depth: [1, 2], units: [32, 64]}"),
        ("{shape: all}", "grid needs depth and units: write grid: {depth: [1, 2], units: [32, 64]}"),
        ("{depth: 1, unit: 8}", "unknown key 'unit' in grid; did you mean 'units'?"),
        ("{depth: 0, units: 8}", "grid depth must be from 1 to 200, got 0"),
        ("{depth: [1, x], units: 8}", "grid depth must be a whole number from 1 to 200, got 'x'"),
        ("{depth: [1, true], units: 8}", "grid depth must be a whole number from 1 to 200, got true"),
        ("{depth: 1, units: [8, 4.0]}", "grid units must be a whole number from 1 to 1,000,000, got 4.0"),
        ("{depth: 1, units: [8, null]}", "grid units must be a whole number from 1 to 1,000,000, got null"),
        ("{depth: 101, units: 8, after_each: Flatten}", "at most 200 layers are allowed, got 202 (grid depth 101 with 1 after each Dense)"),
        ("{depth: [4, 9], units: [7, 5], shape: funnel}", "grid has no stack: a funnel halves its units from layer to layer, and 7 of them are enough for 3 layers; use a smaller depth or more units"),
        ("{depth: [1, 5, 2], units: [9, 8, 7, 6, 5, 4, 3], shape: [funnel, all], batch_size: [1, 2]}", "grid expands to 33,754 stacks: (14 funnel + 16,863 all) x 2 batch_size; at most 10,000 are allowed, list fewer values"),
        ("{depth: 200, units: [8, 4], shape: all}", "grid expands to about 10^60 stacks: about 10^60 all; at most 10,000 are allowed, list fewer values"),
        ("[{depth: 13, units: [2, 1], shape: all}, {depth: 11, units: [2, 1], shape: all}]", "grid expands to 2,048 stacks: 2,048 all; at most 10,000 are allowed (8,192 come from the grids above), list fewer values"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_expanded_gets_one_message(complain, grid, message):
    shown, _ = complain(f"grid: {grid}\n")
    assert shown == f"architectures.yaml:1: {message}"


def test_each_value_of_a_grid_is_judged_at_its_own_line(complain):
    lines = complain("grid:\n  depth:\n  - 1\n  - 0\n  units:\n  - 8\n  - x\n  epochs:\n  - 0\n  - 1\n")
    assert [line.split(":")[1] for line in lines[::2]] == ["4", "7", "9"]


def test_a_grid_inherits_a_conflict_of_the_whole_file_once(complain):
    lines = complain("training: {momentum: 0.9}\narchitectures:\n- [8]\ngrid: {depth: [1, 2], units: [8, 4]}\n")
    assert lines[0] == "architectures.yaml:1: momentum is for optimizer: sgd only, here it is adam; set it to 0"
    assert len(lines) == 2


def test_a_grid_with_thousands_of_values_is_counted_before_it_is_expanded(complain):
    """Counted value by value, these would be 10^10."""
    depths, units = ", ".join(["200"] * 3000), ", ".join(["3"] * 3000)
    lines = complain(
        f"grid: {{depth: [{depths}],\n units: [{units}],\n shape: [funnel, {', '.join(['all'] * 3000)}]}}\n"
    )
    assert lines[0].startswith("architectures.yaml:1: grid expands to about 10^")


def test_shapes_of_a_grid_that_do_not_fit_are_named_with_the_line_of_the_layer(load):
    sweep = load("grid:\n  depth: 1\n  units: 8\n  after_each:\n  - {Conv2D: {filters: 3, kernel_size: 3}}\n")
    with pytest.raises(SweepError, match=r"architectures\.yaml:5: Conv2D needs an image"):
        check_shapes(sweep, (28, 28), 10)


# ---- anything at all ----

VALID = {
    "dataset": "auto",
    "seeds": [0, 1],
    "training": {"epochs": 3, "optimizer": "sgd", "momentum": 0.5, "early_stopping": {"patience": 2}},
    "architectures": [
        [64, "BatchNormalization", {"Dropout": 0.3}],
        {"name": "b", "layers": [{"Conv2D": {"filters": 2, "kernel_size": [3, 3]}}, "Flatten"], "epochs": 4},
        {"layers": [3], "preprocess": ["standardize", {"pca": 2}], "augment": {"shift": 2, "mixup": 0.5}},
    ],
    "folds": 3,
    "max_params": 1000,
    "grid": [
        {"depth": [1, 2], "units": [8, 3], "shape": ["funnel", "all"], "learning_rate": [0.1, 0.2]},
        {
            "depth": 1,
            "units": 8,
            "after_each": ["Flatten", {"Dropout": 0.5}],
            "early_stopping": [None, {"patience": 1}],
        },
    ],
}
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["Dense", "Dropout", "layers", "adam", "relu", "idx", -1, 0, 1, 2**31, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def mutated(draw):
    """A valid file with one to three values replaced, removed or added to."""
    tree = [copy.deepcopy(VALID)]
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([(0, *place) for place in places(tree[0])]))
        parent = tree
        for key in path:
            parent = parent[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        target = parent[last]
        if action == "add" and isinstance(target, dict):
            keys = [*Training.model_fields, *SweepSettings.model_fields, *Grid.model_fields, "after_each", "x"]
            target[draw(st.sampled_from(keys))] = draw(junk)
        elif action == "add" and isinstance(target, list):
            target.append(draw(junk | st.sampled_from(list(LAYERS)).map(lambda name: {name: 2})))
        elif action == "remove" and path:
            del parent[last]
        else:
            parent[last] = draw(junk)
    return json.dumps(tree[0], indent=draw(st.sampled_from([None, 1])))  # JSON is YAML


def only_a_sweep_or_a_sweep_error(path, content):
    path.write_bytes(content)
    try:
        sweep = load_sweep(path)
    except SweepError as error:
        message = str(error)
    else:
        assert list_trials(sweep, data_identity="d")
        return
    assert message.replace("\n", "").isprintable()
    assert len(message) < 50_000


anything = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@anything
@given(mutated())
def test_a_mutated_file_is_a_sweep_or_a_sweep_error(tmp_path, text):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", text.encode())


values = st.lists(st.integers(1, 20), min_size=1, max_size=3)
grids = st.fixed_dictionaries(
    {"depth": st.lists(st.integers(1, 4), min_size=1, max_size=3), "units": values},
    optional={
        "shape": st.lists(st.sampled_from(["constant", "funnel", "all"]), min_size=1, max_size=4),
        "learning_rate": st.lists(st.sampled_from([0.1, 0.001, 1.0]), min_size=1, max_size=3),
        "batch_size": st.lists(st.integers(1, 3), min_size=1, max_size=2),
    },
)


def by_hand(grid):
    """The stacks of a grid as `(units, batch_size, learning_rate)`, those that come twice as often as they come."""
    found = []
    for depth in grid["depth"]:
        for shape in grid.get("shape", ["constant"]):
            stacks_of_shape = [[]] if shape == "all" else [[units] for units in grid["units"]]
            for _ in range(depth if shape == "all" else depth - 1):
                if shape == "all":
                    stacks_of_shape = [[*stack, units] for stack in stacks_of_shape for units in grid["units"]]
                else:
                    stacks_of_shape = [
                        [*stack, stack[-1] // 2 if shape == "funnel" else stack[-1]] for stack in stacks_of_shape
                    ]
            found += [tuple(stack) for stack in stacks_of_shape if 0 not in stack]
    return [
        (stack, batch_size, rate)
        for stack in found
        for batch_size in grid.get("batch_size", [32])
        for rate in grid.get("learning_rate", [0.001])
    ]


@anything
@given(grids)
def test_a_grid_is_what_loops_by_hand_make_of_it(tmp_path, grid):
    path, expected = tmp_path / "architectures.yaml", by_hand(grid)
    path.write_text(json.dumps({"grid": grid}))
    if not expected:
        with pytest.raises(SweepError, match="grid has no stack"):
            load_sweep(path)
        return
    sweep = load_sweep(path)
    found = [
        (tuple(layer.units for layer in item.layers), item.training.batch_size, item.training.learning_rate)
        for item in sweep.architectures
    ]
    assert found == list(dict.fromkeys(expected))
    assert (sweep.grid_stacks, sweep.grid_duplicates) == (len(expected), len(expected) - len(found))
    assert len({item.name.lower() for item in sweep.architectures}) == len(found)


@anything
@given(
    st.dictionaries(
        st.sampled_from([*Grid.model_fields, "after_each", "max_params", "epochs", "momentum"]), junk | values
    )
)
def test_any_grid_is_a_sweep_or_a_sweep_error(tmp_path, grid):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", json.dumps({"grid": grid}).encode())


@anything
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_a_sweep_error(tmp_path, content):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", content)


@anything
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%#@`, \n\t<~0123.e\\", max_size=60), st.booleans())
def test_random_punctuation_is_a_sweep_error(tmp_path, text, after_a_stack):
    only_a_sweep_or_a_sweep_error(tmp_path / "architectures.yaml", ((STACK if after_a_stack else "") + text).encode())


# ---- the schema ----


def test_the_schema_file_is_what_its_command_prints():
    command = [sys.executable, "-m", "fmnist_mlp.sweepfile.schema"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rewrite = "python -m fmnist_mlp.sweepfile.schema > architectures.schema.json"
    assert (ROOT / "architectures.schema.json").read_text() == printed, f"out of step; rewrite it with: {rewrite}"
    assert json.loads(printed) == json_schema()
    text = (ROOT / "architectures.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=architectures.schema.json\n")


def test_every_key_and_layer_is_described_in_the_schema():
    schema = json_schema()
    definitions = schema["$defs"]
    properties = {name: part.get("properties", {}) for name, part in definitions.items()}
    training, architecture, grid = (properties[name] for name in ("TrainingKeys", "ArchitectureEntry", "Grid"))
    assert set(training) == set(Training.model_fields)
    assert set(architecture) == {"name", "layers", "max_params", *training}
    assert set(grid) == {"depth", "units", "shape", "after_each", "max_params", *training}
    sections = {"training", "architectures", "grid", "search", "baselines"}
    assert set(schema["properties"]) == {*SweepSettings.model_fields, *sections}
    for key, part in [*schema["properties"].items(), *(item for keys in properties.values() for item in keys.items())]:
        reference = part.get("$ref", "").removeprefix("#/$defs/")
        assert part.get("description") or definitions[reference]["description"], key
    layers = [option["properties"] for option in definitions["LayerEntry"]["anyOf"] if "properties" in option]
    assert [next(iter(properties)) for properties in layers] == list(LAYERS)
    assert all(part["description"] for properties in layers for part in properties.values())
