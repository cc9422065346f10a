# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""Sweep files: what a good one means. What a person reads who got one wrong is in test_mistakes.py."""

import dataclasses
import pickle
import re
from pathlib import Path

import pytest
from sweep_files import STACK, complain, fingerprints, load
from sweeping import ROOT

from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.names import name_problem
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.settings import IdxFolder, NpzFile, Training
from fmnist_mlp.sweepfile.trials import list_trials

__all__ = ["complain", "load"]  # fixtures, used by name


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


def test_files_that_windows_editors_write_are_read(load):
    assert load(b"\xef\xbb\xbf" + STACK.replace("\n", "\r\n").encode()).architectures[0].name == "64-32"


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
