# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""`search:` in a sweep file: what wrong keys and values are told, by line, whatever stands under whatever key."""

import json
import re

import pytest
from test_search_space import load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import find_doubts
from fmnist_mlp.sweepfile.search import Choice
from fmnist_mlp.sweepfile.search_entry import search_entry
from fmnist_mlp.sweepfile.sweep import Overrides

__all__ = ["load"]  # fixtures, used by name


@pytest.fixture
def complain(load):
    """The lines of the SweepError that a text gets, without the user's own lines under them."""

    def complain(text, overrides=Overrides()):
        with pytest.raises(SweepError) as caught:
            load(text, overrides)
        return [line for line in str(caught.value).split("\n") if line.startswith("mine.yaml")]

    return complain


# ---- what wrong keys and values are told

TOGETHER = " (in search, which combines all values; leave some out)"
ONE_VALUE = "must be one value: candidates are compared after the same epochs, on images split alike, at the same cost"
NO_RANGE = "takes no range, for its values are no numbers: list them in brackets"
EXAMPLE = "{trials: 100, depth: [1, 2], units: {from: 32, to: 512, log: true}}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sampelr: tpe", "unknown key 'sampelr' in search; did you mean 'sampler'?"),
        ("lr: 3", "unknown key 'lr' in search; did you mean 'learning_rate'?"),
        ("width: 3", "unknown key 'width' in search; did you mean 'units'?"),
        ("n_layers: 3", "unknown key 'n_layers' in search; did you mean 'depth'?"),
        ("random_state: 3", "unknown key 'random_state' in search; did you mean 'seed'?"),
        ("dropout_rate: 0.3", "unknown key 'dropout_rate' in search; did you mean 'dropout'?"),
        ("pruner: hyperband", "unknown key 'pruner' in search; did you mean 'stop_early'?"),
        ("seeds: 3", "unknown key 'seeds' in search; it stands at the top of the file"),
        ("batchnorm: true", "unknown key 'batchnorm' in search; it is a layer: write after_each: BatchNormalization"),
        ("loss: mse", "unknown key 'loss' in search; the loss is cross-entropy for every stack: remove it"),
        ("sampler: TPE", "search sampler must be random or tpe, got 'TPE'; did you mean 'tpe'?"),
        ("sampler: [tpe]", "search sampler must be random or tpe, got a list"),
        ("seed: -1", "search seed must be from 0 to 10,000, got -1"),
        ("seed: 10001", "search seed must be from 0 to 10,000, got 10001"),
        ("seed: 1.5", "search seed must be a whole number from 0 to 10,000, got 1.5"),
        ("finalists: 0", "search finalists must be at least 1, got 0"),
        ("finalists: 101", "search finalists must be at most trials (100), got 101"),
        ("stop_early: null", "search stop_early must be true, false or a mapping such as {rungs: 3, keep: 0.33}, got null"),
        ("stop_early: 3", "search stop_early must be true, false or a mapping such as {rungs: 3, keep: 0.33}, got 3"),
        ("stop_early: {rungs: 1}", "search stop_early rungs must be from 2 to 10, got 1"),
        ("stop_early: {rungs: 11}", "search stop_early rungs must be from 2 to 10, got 11"),
        ("stop_early: {keep: 0}", "search stop_early keep must be above 0 and below 1, got 0"),
        ("stop_early: {keep: 1}", "search stop_early keep must be above 0 and below 1, got 1"),
        ("stop_early: {rung: 3}", "search stop_early has no key 'rung'; did you mean 'rungs'?"),
        ("stop_early: {rungs: 5}", "search stop_early: rungs 5 with keep 0.33 needs at least 42 epochs, here it is 20; use fewer rungs, or stop_early: false"),
        ("epochs: 4", "search stop_early: rungs 3 with keep 0.33 needs at least 5 epochs, here it is 4; use fewer rungs, or stop_early: false"),
        ("stop_early: {keep: 1e-9}", "search stop_early: rungs 3 with keep 1e-09 needs another keep; use fewer rungs, or stop_early: false"),
        ("epochs: [10, 20]", f"search epochs {ONE_VALUE}"),
        ("epochs: {from: 1, to: 3}", f"search epochs {ONE_VALUE}"),
        ("validation_split: [0.1, 0.2]", f"search validation_split {ONE_VALUE}"),
        ("threads: {from: 1, to: 2}", f"search threads {ONE_VALUE}"),
        ("epochs: 0", "search epochs must be from 1 to 100,000, got 0"),
        ("shape: cone", "search shape must be constant, funnel or free, got 'cone'"),
        ("shape: [constant, all]", "search shape must be constant, funnel or free, got 'all'; did you mean 'free'?"),
        ("shape: []", "search shape must list at least one value, got []"),
        ("shape: {from: 1, to: 2}", f"search shape {NO_RANGE}"),
        ("optimizer: {from: adam, to: sgd}", f"search optimizer {NO_RANGE}"),
        ("early_stopping: {from: 1, to: 2}", f"search early_stopping {NO_RANGE}"),
        ("optimizer: [adam, sdg]", "search optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'sdg'; did you mean 'sgd'?"),
        ("early_stopping: [{patence: 3}]", "search early_stopping has no key 'patence'; did you mean 'patience'?"),
        ("learning_rate: [1e-3, 0]", "search learning_rate must be above 0 and at most 1,000, got 0"),
        ("learning_rate: {from: 0, to: 1}", "search learning_rate 'from' must be above 0 and at most 1,000, got 0"),
        ("learning_rate: {from: 1, to: 2e3}", "search learning_rate 'to' must be above 0 and at most 1,000, got 2e3"),
        ("learning_rate: {from: 1}", "search learning_rate needs 'to': a range is written {from: 1, to: 4}"),
        ("learning_rate: {}", "search learning_rate needs 'from' and 'to': a range is written {from: 1, to: 4}"),
        ("learning_rate: {from: 0.1, to: 0.01}", "search learning_rate must have 'from' below 'to', got from: 0.1 and to: 0.01; write {from: 0.01, to: 0.1}"),
        ("learning_rate: {from: 0.1, to: 0.1}", "search learning_rate must have 'from' below 'to', got from: 0.1 and to: 0.1; for one value write 0.1"),
        ("learning_rate: {from: 0.1, to: 1, logg: true}", "search learning_rate has no key 'logg'; did you mean 'log'?"),
        ("learning_rate: {from: 0.1, high: 1}", "search learning_rate has no key 'high'; did you mean 'to'?"),
        ("learning_rate: {from: 0.1, to: 1, step: 3}", "search learning_rate has no key 'step'; known: from, to, log"),
        ("learning_rate: {from: 0.1, to: 1, log: 10}", "search learning_rate 'log' must be true or false, got 10"),
        ("learning_rate: {from: '1e-3', to: 1}", "search learning_rate 'from' must be a number above 0 and at most 1,000, got '1e-3'; write it without quotes: from: 1e-3"),
        ("learning_rate: [{from: 0.1, to: 1}]", "search learning_rate must be a number above 0 and at most 1,000, got a mapping (key: value); a range is for a key right under 'search'"),
        ("weight_decay: {from: 0, to: 0.1, log: true}", "search weight_decay must have 'from' above 0 where log is true, got from: 0; leave log out, or raise it"),
        ("batch_size: {from: 1.5, to: 3}", "search batch_size 'from' must be a whole number from 1 to 1,000,000, got 1.5"),
        ("batch_size: {from: 16, to: 64.0}", "search batch_size 'to' must be a whole number from 1 to 1,000,000, got 64.0"),
        ("dropout: 1", "search dropout must be at least 0 and below 1, got 1"),
        ("dropout: {from: 0, to: 1}", "search dropout 'to' must be at least 0 and below 1, got 1"),
        ("dropout: {from: 0, to: 0.5, log: true}", "search dropout must have 'from' above 0 where log is true, got from: 0; leave log out, or raise it"),
        ("max_params: [3]", "search max_params must be a whole number at least 1, got a list"),
        ("after_each: {Dropout: 2}", "dropout rate must be at least 0 and below 1, got 2 (after_each of search)"),
        ("activation: [relu, softmax]", "activation is that of the hidden layers, and softmax would end them: the output layer is added for you, with its softmax: remove it (in search)"),
        ("momentum: 0.9", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (in search)"),
        ("momentum: {from: 0, to: 0.9}", f"momentum is for optimizer: sgd only, here it is adam; set it to 0{TOGETHER}"),
        ("warmup_epochs: [3, 30]", f"warmup_epochs must be below epochs (20), got 30{TOGETHER}"),
        ("warmup_epochs: {from: 0, to: 20}", f"warmup_epochs must be below epochs (20), got 20{TOGETHER}"),
        (f"learning_rate: [{', '.join(map(str, range(1, 102)))}]", "search learning_rate must list at most 100 values, got 101"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_search_gets_one_message(complain, line, message):
    text = f"search:\n  trials: 100\n  depth: [1, 2]\n  units: [8, 4]\n  {line}\n"
    assert complain(text) == [f"mine.yaml:5: {message}"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("5", f"search must be a mapping such as {EXAMPLE}, got 5"),
        ("{}", f"search must be a mapping such as {EXAMPLE}, got {{}}"),
        ("[{depth: 3}]", f"search must be a mapping such as {EXAMPLE}, got a list"),
        ("{trials: 5}", f"search needs depth and units: write search: {EXAMPLE}"),
        ("{depth: 1, units: [8, 4]}", f"search needs trials: write search: {EXAMPLE}"),
        ("{trails: 5, depth: 1, units: [8, 4]}", "unknown key 'trails' in search; did you mean 'trials'?"),
        ("{trials: 0, depth: 1, units: [8, 4]}", "search trials must be from 1 to 10,000, got 0"),
        ("{trials: 10001, depth: 1, units: [8, 4]}", "search trials must be from 1 to 10,000, got 10001"),
        ("{trials: 9, depth: {from: 0, to: 3}, units: 3}", "search depth 'from' must be from 1 to 200, got 0"),
        ("{trials: 9, depth: {from: 3, to: 1}, units: 3}", "search depth must have 'from' below 'to', got from: 3 and to: 1; write {from: 1, to: 3}"),
        ("{trials: 9, depth: [1, 2], units: {from: 0, to: 8, log: true}}", "search units 'from' must be from 1 to 1,000,000, got 0"),
        ("{trials: 9, depth: 1, units: 8}", "search has nothing to search for, every key has one value; give one a list of values or a range"),
        ("{trials: 9, depth: [1], units: [8, 8]}", "search has nothing to search for, every key has one value; give one a list of values or a range"),
        ("{trials: 9, depth: {from: 1, to: 101}, units: 3, dropout: 0.2}", "at most 200 layers are allowed, got 202 (search depth 101 with 1 after each Dense)"),
        ("{trials: 9, depth: [1, 67], units: 3, dropout: [0.0, 0.2], after_each: Flatten}", "at most 200 layers are allowed, got 201 (search depth 67 with 2 after each Dense)"),
    ],
)  # fmt: skip
def test_a_search_that_is_none_gets_one_message(complain, written, message):
    assert complain(f"architectures: [[8]]\nsearch: {written}\n") == [f"mine.yaml:2: {message}"]


SMALL = "search:\n  trials: 10\n  depth: [1, 2]\n  units: 3\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: null\n", " 'architectures:' is missing, the list of layer stacks to train (or 'grid:', which makes one)"),
        (f"folds: 5\n{SMALL}", "1: folds does not go with search, where one validation part compares all candidates: remove one"),
        (f"select_by: cv_accuracy\n{SMALL}", "1: select_by: cv_accuracy needs folds; add a line such as folds: 5, or select by val_accuracy"),
        (f"refit: true\ntraining: {{early_stopping: {{patience: 3}}}}\n{SMALL}", "2: early_stopping does not go with refit, which leaves no images to stop by: set epochs to what you want, or remove refit"),
        (f"refit: true\n{SMALL}  early_stopping: [null, {{patience: 3}}]\n", "6: early_stopping does not go with refit, which leaves no images to stop by: set epochs to what you want, or remove refit"),
        (f"training: {{momentum: 0.9}}\n{SMALL}", "1: momentum is for optimizer: sgd only, here it is adam; set it to 0"),
        (f"training: {{momentum: 0.9}}\n{SMALL}  optimizer: [sgd, adam]\n", f"6: momentum is for optimizer: sgd only, here it is adam; set it to 0{TOGETHER}"),
        (f"{SMALL}  batch_size: {{from: 1, to: 9}}\n  augment: [null, {{shift: 1}}, {{mixup: 0.2}}]\n", f"6: mixup needs another image in the batch, but batch_size is 1; use 2 or more{TOGETHER}"),
        (f"{SMALL}  warmup_epochs: [0, 2]\n  schedule: [constant, one_cycle]\n", f"5: warmup_epochs does not go with schedule: one_cycle, which warms up by itself{TOGETHER}"),
        (f"training:\n  epochs: 3\n{SMALL}", "2: search stop_early: rungs 3 with keep 0.33 needs at least 5 epochs, here it is 3; use fewer rungs, or stop_early: false"),
        (f"training:\n  epochs: 3\n{SMALL}  stop_early: true\n", "7: search stop_early: rungs 3 with keep 0.33 needs at least 5 epochs, here it is 3; use fewer rungs, or stop_early: false"),
        (f"training: {{activation: softmax}}\n{SMALL}", "1: activation is that of the hidden layers, and softmax would end them: the output layer is added for you, with its softmax: remove it (in search)"),
        (f"seeds: 10000\n{SMALL}  finalists: 10\n", " asks for 100,010 trials; at most 100,000 are allowed, use fewer seeds, finalists or stacks"),
        ("sampler: tpe\narchitectures: [[8]]\n", "1: unknown key 'sampler'; it stands under 'search'"),
        ("serach: {trials: 3}\n", "1: unknown key 'serach'; did you mean 'search'?"),
        ("grid: {depth: {from: 1, to: 3}, units: 8}\n", "1: grid depth must be a whole number from 1 to 200, got a mapping (key: value); a range is for a key right under 'search'"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_search_is_named_by_its_line(complain, text, message):
    assert complain(text) == [f"mine.yaml:{message}"]


def test_every_mistake_is_named_by_its_own_line(complain):
    text = "search:\n  trials: 5\n  depth:\n  - 1\n  - 0\n  units:\n    from: 8\n    to: x\n  finalists: 0\n"
    assert [int(line.split(":")[1]) for line in complain(text)] == [5, 8, 9]


def test_warmup_is_held_against_the_epochs_of_a_quick_look(complain, load):
    text = f"{SMALL}  epochs: 30\n  warmup_epochs: [0, 8]\n"
    assert load(text).search.epochs == 30
    message = f"mine.yaml:6: warmup_epochs must be below epochs (6), got 8, with --epochs{TOGETHER}"
    assert complain(text, Overrides(epochs=6)) == [message]


def test_trials_are_counted_with_a_seed_for_each_finalist_and_one_for_each_candidate(load):
    assert len(load(f"seeds: 9999\n{SMALL}  finalists: 10\n").seeds) == 9999


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        (f"seeds: until decided\n{SMALL}", 0),
        (f"seeds: until decided\n{SMALL}  finalists: 1\n", 1),
        (f"seeds: until decided\n{SMALL}  finalists: 1\narchitectures: [[8]]\n", 0),
        (f"{SMALL}  learning_rate: {{from: 1e-3, to: 2, log: true}}\n", 1),
        (f"{SMALL}  learning_rate: {{from: 1e-3, to: 0.2, log: true}}\n", 0),
        (f"{SMALL}  validation_split: 0.8\n", 1),
    ],
)
def test_what_is_hardly_meant_in_a_search_is_a_doubt(load, text, doubts):
    found = find_doubts(load(text), (28, 28), 10)
    assert sum(line.startswith("mine.yaml") for line in "\n".join(found).split("\n")) == doubts


# ---- any value anywhere

ODD = ["null", "true", "0", "-1", "1", "3", "0.5", "1e400", ".nan", "x", "''", "[]", "{}", "[1, 2]", "[[1], [2]]"]
ODD += ["{from: 1, to: 2}", "{from: 0, to: 0.5, log: true}", "{from: x, to: []}", "[null, {}]", "[a, b]", "{to: 3}"]


@pytest.mark.parametrize("key", search_entry().model_fields)
def test_any_value_of_any_key_is_a_search_or_a_message_with_its_line(load, key):
    texts = {"trials": "30", "depth": "[1, 2]", "units": "{from: 4, to: 9}", "optimizer": "[sgd, adam]"}
    for odd in ODD:
        lines = [f"  {name}: {value}" for name, value in (texts | {key: odd}).items()]
        problem, search = "", None
        try:
            search = load("\n".join(["search:", *lines])).search
        except SweepError as error:
            problem = str(error)
        if problem:  # momentum and adam, or epochs and the rungs, are named where either stands
            assert re.match(r"mine\.yaml:\d", problem), (key, odd)
            assert 1 < int(problem.split(":")[1]) <= 1 + len(lines), (key, odd)
            continue
        json.dumps(search.canonical(), allow_nan=False)
        for share in (0.0, 0.3, 1.0):
            sampled = {
                name: share * (len(axis.values) - 1)
                if isinstance(axis, Choice)
                else axis.low + share * (axis.high - axis.low)
                for name, axis in search.axes.items()
            }
            values = search.tidy(sampled)
            assert search.architecture(values).layers
            assert json.loads(json.dumps(search.in_words(values))) == search.in_words(values)
        assert search.extremes()
