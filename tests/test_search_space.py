"""`search:` in a sweep file: what is proposed, what a proposal becomes, and what makes it another search."""

import itertools
import json
import pickle
from pathlib import Path

import pytest

from fmnist_mlp.sweepfile import stacks
from fmnist_mlp.sweepfile.layers import BatchNormalization, Dense, Dropout
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.search import ROUND, Choice, Range
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.sweepfile.sweep import Overrides

SPACE = """\
search:
  trials: 100
  depth: {from: 1, to: 3}
  units: {from: 32, to: 512, log: true}
  dropout: {from: 0.0, to: 0.5}
  activation: [relu, gelu]
  optimizer: adamw
  learning_rate: {from: 1e-4, to: 1e-2, log: true}
  batch_size: [32, 64, 32]
max_params: 110000
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads text as `mine.yaml` of an empty folder; messages then show that name alone."""
    monkeypatch.chdir(tmp_path)

    def load(text, overrides=Overrides()):
        Path("mine.yaml").write_text(text, encoding="utf-8")
        return load_sweep("mine.yaml", overrides)

    return load


@pytest.fixture
def search(load):
    """The search of the keys that are given, beside those that every search needs."""

    def search(more="", before="", overrides=Overrides()):
        keys = "" if "trials:" in more else "trials: 30, "
        keys += "" if "depth:" in more else "depth: [1, 2], "
        keys += "" if "units:" in more else "units: [8, 4], "
        return load(f"{before}search: {{{keys}{more}}}\n", overrides).search

    return search


# ---- the space


def test_what_is_proposed_is_listed_in_a_fixed_order(load):
    search = load(SPACE).search
    units = Range(32, 512, log=True, is_whole=True)
    assert list(search.axes.items()) == [
        ("depth", Range(1, 3, log=False, is_whole=True)),
        ("units_1", units),
        ("units_2", units),
        ("units_3", units),
        ("dropout", Range(0.0, 0.5, log=False, is_whole=False)),
        ("batch_size", Choice((32, 64))),
        ("learning_rate", Range(1e-4, 1e-2, log=True, is_whole=False)),
        ("activation", Choice(("relu", "gelu"))),
    ]
    assert (search.trials, search.rounds, search.sampler, search.seed, search.finalists) == (100, 5, "tpe", 0, 5)
    assert (search.epochs, search.rungs, search.keep) == (20, (2, 7, 20), 0.33)
    assert (search.max_params, search.line) == (110_000, 1)


def test_the_order_of_the_keys_in_the_file_decides_nothing(load):
    lines = SPACE.splitlines()[1:-1]
    search = load(SPACE).search
    for order in itertools.islice(itertools.permutations(lines), 1, 5000, 999):
        other = load("\n".join(["max_params: 110000", "search:", *order])).search
        assert list(other.axes.items()) == list(search.axes.items())
        assert json.dumps(other.canonical()) == json.dumps(search.canonical())


@pytest.mark.parametrize(
    ("more", "axes"),
    [
        ("", ["depth", "units_1", "units_2"]),
        ("shape: constant", ["depth", "units_1"]),
        ("shape: [funnel]", ["depth", "units_1"]),
        ("shape: [funnel, constant]", ["depth", "shape", "units_1"]),
        ("shape: [funnel, free]", ["depth", "shape", "units_1", "units_2"]),
        ("depth: [3, 1]", ["depth", "units_1", "units_2", "units_3"]),
        ("depth: 2", ["units_1", "units_2"]),
        ("units: 8", ["depth"]),
        ("units: [8, 8], dropout: [0.0]", ["depth"]),
        ("dropout: [0.0, 0.2], seed: 4, epochs: 7", ["depth", "units_1", "units_2", "dropout"]),
        ("momentum: {from: 0, to: 0.9}, optimizer: sgd", ["depth", "units_1", "units_2", "momentum"]),
    ],
)
def test_what_has_one_value_is_not_proposed(search, more, axes):
    assert list(search(more).axes) == axes


def test_a_search_inherits_what_it_does_not_say(search):
    before = "training: {epochs: 40, batch_size: 64, optimizer: sgd}\nmax_params: 5000\n"
    own = search("optimizer: [adam, lion]", before)
    assert (own.epochs, own.rungs, own.max_params) == (40, (4, 13, 40), 5000)
    architecture = own.architecture({"depth": 0, "units_1": 1, "units_2": 0, "optimizer": 1})
    training = architecture.training
    assert (training.epochs, training.batch_size, training.optimizer, training.learning_rate) == (40, 64, "lion", 1e-3)
    assert architecture.key_lines == {"epochs": 1, "batch_size": 1, "optimizer": 3}
    assert search("max_params: null, epochs: 9", before).max_params is None
    assert search("epochs: 9", before).epochs == 9
    assert search("epochs: 9", before, Overrides(epochs=2)).epochs == 2
    assert (
        search("epochs: 9", before, Overrides(epochs=2)).architecture({"depth": 0, "units_1": 0}).training.epochs == 2
    )


@pytest.mark.parametrize(
    ("more", "overrides", "rungs"),
    [
        ("stop_early: false, epochs: 7", None, (7,)),
        ("stop_early: true, epochs: 30", None, (3, 10, 30)),
        ("epochs: 5", None, (1, 2, 5)),
        ("stop_early: {rungs: 2}, epochs: 10", None, (3, 10)),
        ("stop_early: {rungs: 4, keep: 0.5}, epochs: 8", None, (1, 2, 4, 8)),
        ("stop_early: {rungs: 2, keep: 0.5}, epochs: 9", None, (5, 9)),
        ("stop_early: {rungs: 3, keep: 0.1}, epochs: 1000", None, (10, 100, 1000)),
        ("epochs: 30", 4, (1, 4)),
        ("epochs: 30", 1, (1,)),
        ("epochs: 30", 2, (1, 2)),
        ("stop_early: false, epochs: 30", 3, (3,)),
    ],
)
def test_rungs_are_shares_of_the_epochs_and_a_quick_look_has_those_that_rise(search, more, overrides, rungs):
    assert search(more, overrides=Overrides(epochs=overrides)).rungs == rungs


def test_a_quick_look_at_a_search_is_one(load):
    sweep = load(SPACE, Overrides(epochs=4))
    assert (sweep.quick_look, sweep.folder_name) == (Overrides(epochs=4), "mine+epochs-4")
    assert not load(SPACE, Overrides(epochs=20)).is_quick_look
    own = SPACE.replace("search:", "search:\n  epochs: 30")
    assert load(own, Overrides(epochs=20)).is_quick_look
    assert not load(own, Overrides(epochs=30)).is_quick_look


# ---- a candidate


def test_sampled_numbers_are_tidied_by_their_axis(load):
    search = load(SPACE).search
    sampled = {"depth": 2.5, "units_1": 96.49, "units_2": 513.2, "units_3": 31.0, "dropout": 0.123456}
    sampled |= {"batch_size": 0.6, "learning_rate": 0.00123456, "activation": 5, "momentum": 0.5, "units_4": 40}
    tidy = search.tidy(sampled)
    assert tidy == {
        "depth": 3,
        "units_1": 96,
        "units_2": 512,
        "units_3": 32,
        "dropout": 0.123,
        "batch_size": 1,
        "learning_rate": 0.00123,
        "activation": 1,
    }
    assert list(tidy) == list(search.axes)
    assert {key for key, value in tidy.items() if isinstance(value, float)} == {"dropout", "learning_rate"}
    assert search.tidy(tidy) == tidy


def test_tidying_never_leaves_the_range(search):
    space = search("dropout: {from: 0.12346, to: 0.9999}, learning_rate: {from: 0.0012345, to: 0.0012346}")
    assert space.tidy({"dropout": 0.12346, "learning_rate": 0.00123455}) == {
        "dropout": 0.12346,
        "learning_rate": 0.0012345,
    }
    assert space.tidy({"dropout": 0.9999, "learning_rate": 1}) == {"dropout": 0.9999, "learning_rate": 0.0012346}


VALUES = {"units_1": 96, "units_2": 48, "units_3": 32, "batch_size": 1, "learning_rate": 0.002, "activation": 1}


def test_a_candidate_is_the_architecture_of_its_values(load):
    search = load(SPACE).search
    architecture = search.architecture({**VALUES, "depth": 2, "dropout": 0.2})
    assert architecture.layers == (
        Dense(units=96, activation="gelu"),
        Dropout(rate=0.2),
        Dense(units=48, activation="gelu"),
        Dropout(rate=0.2),
    )
    # 784 x 96 + 96, 96 x 48 + 48, 48 x 10 + 10
    assert stacks.count(architecture.layers, (28, 28), 10).params == 75_360 + 4_656 + 490
    wanted = Training(optimizer="adamw", batch_size=64, learning_rate=0.002, activation="gelu")
    assert architecture.training == wanted
    assert architecture.name == "96-drop0.2-48-drop0.2-batch_size64-learning_rate0.002-gelu"
    assert (architecture.line, architecture.layer_lines, architecture.max_params) == (1, (4, 5, 4, 5), 110_000)
    assert architecture.key_lines == {"activation": 6, "optimizer": 7, "learning_rate": 8, "batch_size": 9}
    shallow = search.architecture({**VALUES, "depth": 1, "dropout": 0.0})
    assert shallow.layers == (Dense(units=96, activation="gelu"),)
    assert shallow.layer_lines == (4,)


def test_a_candidate_listed_by_hand_is_the_same_trials_under_the_same_name(load):
    search = load(SPACE).search
    own = search.architecture({**VALUES, "depth": 2, "dropout": 0.2})
    settings = "batch_size: 64, learning_rate: 0.002, activation: gelu"
    listed = f"{{layers: [96, {{Dropout: 0.2}}, 48, {{Dropout: 0.2}}], {settings}}}"
    (by_hand,) = load(f"training: {{optimizer: adamw}}\narchitectures:\n- {listed}\n").architectures
    assert (by_hand.name, by_hand.layers, by_hand.training) == (own.name, own.layers, own.training)


@pytest.mark.parametrize(
    ("shape", "units"),
    [("constant", [20, 20, 20, 20, 20, 20]), ("funnel", [20, 10, 5, 2, 1, 1]), ("free", [20, 6, 5, 4, 3, 2])],
)
def test_the_shape_says_the_units_of_each_layer(search, shape, units):
    space = search(f"depth: {{from: 1, to: 6}}, units: {{from: 2, to: 32}}, shape: {shape}")
    values = {"depth": 6, **{f"units_{number}": 8 - number for number in range(1, 7)}, "units_1": 20}
    assert [layer.units for layer in space.architecture(values).layers] == units
    assert space.in_words(values) == {"depth": 6, "units": "-".join(map(str, units))}


def test_other_layers_come_before_the_dropout(search):
    space = search("depth: 1, after_each: [BatchNormalization], dropout: 0.25")
    layers = (Dense(units=4, activation="relu"), BatchNormalization(), Dropout(rate=0.25))
    assert space.architecture({"units_1": 1}).layers == layers


def test_a_table_shows_values_not_their_indices(search):
    space = search(
        "shape: [constant, funnel], dropout: [0.0, 0.5], optimizer: [adam, sgd], learning_rate: [null, 3e-3], "
        "early_stopping: [null, {patience: 3}], preprocess: [[], [standardize, {pca: 9}]]"
    )
    values = {"depth": 1, "shape": 1, "units_1": 0, "dropout": 1, "optimizer": 1, "learning_rate": 0}
    assert space.in_words(values | {"early_stopping": 1, "preprocess": 1}) == {
        "depth": 2,
        "shape": "funnel",
        "units": "8-4",
        "dropout": 0.5,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "early_stopping": "early_stopping3",
        "preprocess": "standardize-pca9",
    }
    shown = space.in_words(values | {"early_stopping": 0, "preprocess": 0})
    assert (shown["early_stopping"], shown["preprocess"]) == (None, "preprocess_none")


def test_the_extremes_hold_the_smallest_and_the_largest_stack(load):
    found = load(SPACE).search.extremes()
    sizes = {item.name: stacks.count(item.layers, (28, 28), 10).params for item in found}
    by_units = {name.partition("-batch")[0]: size for name, size in sizes.items()}
    smallest, largest = 784 * 32 + 32, 784 * 512 + 512
    assert by_units == {
        "32": smallest + 330,
        "512": largest + 5_130,
        "32-32": smallest + 1_056 + 330,
        "512-512": largest + 262_656 + 5_130,
        "32-32-32": smallest + 2 * 1_056 + 330,
        "512-512-512": largest + 2 * 262_656 + 5_130,
    }
    assert {(item.training.batch_size, item.training.learning_rate) for item in found} == {(32, 1e-4), (64, 1e-2)}
    assert {item.training.activation for item in found} == {"relu", "gelu"}
    assert {item.max_params for item in found} == {110_000}


def test_the_extremes_have_every_shape_and_every_setting(search):
    space = search(
        "depth: [3, 1], units: [4, 16, 8], shape: [constant, funnel], dropout: [0.1, 0.3], "
        "preprocess: [[], standardize, {pca: 5}], optimizer: [sgd, adam]"
    )
    found = space.extremes()
    stacks_found = {tuple(layer.units for layer in item.layers if isinstance(layer, Dense)) for item in found}
    assert stacks_found == {(4, 4, 4), (16, 16, 16), (4, 2, 1), (16, 8, 4), (4,), (16,)}
    assert len(found) == 6 * 3
    assert len({(item.training.preprocess, item.training.optimizer) for item in found}) == 3
    assert [item.name for item in search("depth: 1, optimizer: [sgd, adam], units: 8").extremes()] == [
        "8-sgd",
        "8-adam",
    ]


# ---- what a search is

SAME = [
    ("trials: 100", "trials: 200"),
    ("search:\n", "# a comment\n\nsearch:\n  finalists: 3\n"),
    ("search:\n", "search:\n  sampler: tpe\n  seed: 0\n  shape: free\n  stop_early: {rungs: 3, keep: 0.33}\n"),
    (
        "search:\n",
        "seeds: 3\nrefit: true\nsearch:\n  schedule: constant\n  augment: {}\n  epochs: 20\n  after_each: []\n",
    ),
    ("  optimizer: adamw", "  optimizer: [adamw]"),
    ("{from: 1e-4, to: 1e-2, log: true}", "{log: true, to: 0.01, from: 0.0001}"),
    ("max_params: 110000", "max_params: 110000\ntraining: {optimizer: sgd, batch_size: 128}"),
]
OTHERS = [
    ("depth: {from: 1, to: 3}", "depth: [1, 2, 3]"),
    ("depth: {from: 1, to: 3}", "depth: 3"),
    ("log: true", "log: false"),
    ("relu, gelu", "gelu, relu"),
    ("adamw", "adam"),
    ("search:", "search:\n  seed: 1"),
    ("search:", "search:\n  sampler: random"),
    ("search:", "search:\n  shape: funnel"),
    ("search:", "search:\n  epochs: 21"),
    ("search:", "search:\n  stop_early: false"),
    ("search:", "search:\n  stop_early: {keep: 0.34}"),
    ("search:", "search:\n  after_each: BatchNormalization"),
    ("search:", "search:\n  early_stopping: {patience: 3}"),
    ("search:", "training: {label_smoothing: 0.1}\nsearch:"),
    ("110000", "110001"),
    ("[32, 64, 32]", "[32, 65]"),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_these_change_no_candidate(load, old, new):
    text = SPACE.replace(old, new)
    assert text != SPACE
    assert load(text).search.canonical() == load(SPACE).search.canonical()


@pytest.mark.parametrize(("old", "new"), OTHERS)
def test_these_make_another_search(load, old, new):
    assert load(SPACE.replace(old, new)).search.canonical() != load(SPACE).search.canonical()


def test_what_a_search_is_can_be_kept_as_json(search):
    space = search(
        "optimizer: [adam, sgd], augment: [null, {shift: 2}], preprocess: [[], {pca: 9}], after_each: Flatten"
    )
    canonical = space.canonical()
    assert json.loads(json.dumps(canonical)) == canonical
    assert canonical["round"] == ROUND
    assert canonical["axes"]["augment"] == {"values": [None, {"shift": 2}]}
    assert pickle.loads(pickle.dumps(space)).canonical() == canonical


def test_a_search_stands_alone_or_beside_the_others(load):
    assert load(SPACE).architectures == ()
    sweep = load(SPACE + "architectures:\n- [8]\ngrid: {depth: 1, units: 4}\nbaselines: [LogisticRegression]\n")
    assert [item.name for item in sweep.architectures] == ["8", "4", "LogisticRegression"]
    assert sweep.search.canonical() == load(SPACE).search.canonical()
    assert load("architectures:\n- [8]\nsearch: null\n").search is None
    assert load("architectures:\n- [8]\n").search is None


def test_fewer_candidates_than_finalists_by_default_are_all_finalists(search):
    assert search("trials: 3").finalists == 3
    assert search("trials: 1").rounds == 1
    assert search(f"trials: {ROUND}").rounds == 1
    assert search(f"trials: {ROUND + 1}").rounds == 2
