# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""The trials of a sweep file and their fingerprints: what decides numbers changes them, and nothing else does."""

import json

import pytest
from sweep_files import STACK, fingerprints, load

from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS, Classifier
from fmnist_mlp.sweepfile.layers import LAYERS, Layer
from fmnist_mlp.sweepfile.trials import NUMERICS_VERSION, fingerprint, list_trials

__all__ = ["load"]  # fixtures, used by name

# Fingerprints of these two were made when version 1 was; they change only when NUMERICS_VERSION does.
PINNED = {
    "[64, 32]": "5266cb7134fe6150f750b976f96dd850a507b0ce9f70974bc290d414405b7ddd",
    "{layers: [256, BatchNormalization, {Dropout: 0.3}], optimizer: adamw, early_stopping: {patience: 3}}": "97048b0e26375dce90d9c9d4abbbff34d328dd3b44cadc7ab4afe32bc2db71fb",
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
