"""A trial that is trained only so far, and then further: against the same training without a stop."""

import dataclasses
import json
from threading import Event

import pytest
from one_trial import DIVERGES, Asked, content, folder_of, run, source, tiny_trials, worker

from fmnist_mlp import files
from fmnist_mlp.engines.calls import Call, Context, Outcome, Stopped
from fmnist_mlp.logs.events import epochs_in
from fmnist_mlp.results import ranking
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner import cluster
from fmnist_mlp.training import trial
from fmnist_mlp.training import worker as worker_module

RUN_TRIAL = "fmnist_mlp.training.trial:run_trial"

__all__ = ["source", "worker"]  # fixtures, used by name

SWEEP = """
seeds: 1
training: {epochs: 6, batch_size: 32}
architectures:
  - name: small
    layers: [16, {Dropout: 0.2}]
"""
# Nothing is better than the first epoch by so much, so its weights are restored after the sixth and last.
RICH = SWEEP.replace(
    "epochs: 6",
    "epochs: 6, optimizer: adamw, weight_decay: 0.01, schedule: cosine, early_stopping: {patience: 5, min_delta: 100}",
)
ENDS_ITSELF = RICH.replace("patience: 5", "patience: 2")  # after three epochs
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


def candidate(one, until):
    return dataclasses.replace(one, until=until)


@pytest.fixture(scope="module", params=[SWEEP, RICH], ids=["plain", "rich"])
def whole(request, source, tmp_path_factory):
    """A trial, and the record and files of its uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    (one,) = tiny_trials(folder, request.param)
    record = run(one, source, folder)
    assert (record.status, record.error) == ("done", None)
    return one, record, content(folder, record)


@pytest.fixture(scope="module")
def plain(source, tmp_path_factory):
    """As `whole`, of SWEEP only."""
    folder = tmp_path_factory.mktemp("plain")
    (one,) = tiny_trials(folder, SWEEP)
    record = run(one, source, folder)
    return one, record, content(folder, record)


def first_epochs(record, epochs):
    return {name: values[:epochs] for name, values in record.history.items()}


def checkpoint_of(one, folder):
    return Results(folder / "results").checkpoint_folder(one.fingerprint)


def trained_epochs(messages):
    """Which epochs a trial said it trained, of how many."""
    return [(m["epoch"], m["epochs"]) for m in messages if m.get("epoch")]


# ---- the same bits


@pytest.mark.slow
@pytest.mark.parametrize("is_new_process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_trial_trained_in_parts_is_the_trial_trained_at_once(is_new_process, whole, source, tmp_path):
    one, expected, expected_content = whole
    done = 0
    for until in (1, 3):
        if is_new_process:
            worker_module.current().forget()
        messages = []
        record = run(candidate(one, until), source, tmp_path, messages=messages)
        assert (record.status, record.history) == ("stopped early", first_epochs(expected, until))
        assert record.epochs_done == len(record.measured["epoch_seconds"]) == until
        assert trained_epochs(messages) == [(epoch, until) for epoch in range(done + 1, until + 1)]
        assert Results(tmp_path / "results").load_record(one.fingerprint) == record
        assert json.loads((checkpoint_of(one, tmp_path) / "state.json").read_text())["is_stopped"] is False
        done = until
    messages = []
    record = run(one, source, tmp_path, messages=messages)
    assert trained_epochs(messages) == [(epoch, 6) for epoch in (4, 5, 6)]
    assert content(tmp_path, record) == expected_content
    assert not checkpoint_of(one, tmp_path).exists()
    for part in ("train", "validation"):
        assert epochs_in(folder_of(record, tmp_path) / "events" / part) == {*range(6)}


@pytest.mark.slow
def test_a_candidate_that_is_killed_goes_on_to_its_rung_and_beyond(plain, source, tmp_path):
    one, expected, expected_content = plain
    with pytest.raises(Stopped):
        run(candidate(one, 3), source, tmp_path, stop_after=2)
    assert Results(tmp_path / "results").load_record(one.fingerprint) is None
    record = run(candidate(one, 3), source, tmp_path)
    assert (record.status, record.history) == ("stopped early", first_epochs(expected, 3))
    with pytest.raises(Stopped):
        run(candidate(one, 5), source, tmp_path, stop_after=5)
    assert Results(tmp_path / "results").load_record(one.fingerprint) == record, "the older one, until there is another"
    messages = []
    record = run(candidate(one, 5), source, tmp_path, messages=messages)
    assert (record.history, trained_epochs(messages)) == (first_epochs(expected, 5), [])
    with pytest.raises(Stopped):
        run(one, source, tmp_path, stop_after=6)
    assert content(tmp_path, run(one, source, tmp_path)) == expected_content


@pytest.mark.slow
def test_a_checkpoint_beyond_the_rung_is_not_trained_further_and_stays(plain, source, tmp_path):
    one, expected, expected_content = plain
    with pytest.raises(Stopped):
        run(one, source, tmp_path, stop_after=4)
    messages = []
    record = run(candidate(one, 2), source, tmp_path, messages=messages)
    assert (record.status, record.history) == ("stopped early", first_epochs(expected, 4))
    assert (trained_epochs(messages), len(record.measured["epoch_seconds"])) == ([], 4)
    assert content(tmp_path, run(one, source, tmp_path)) == expected_content


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_time_and_changes_no_bit(plain, source, tmp_path):
    one, expected, expected_content = plain
    run(candidate(one, 1), source, tmp_path)
    for go_on in (candidate(one, 3), one):
        arrays = checkpoint_of(one, tmp_path) / "arrays.npz"
        spoilt = bytearray(arrays.read_bytes())
        spoilt[900] ^= 255
        arrays.write_bytes(spoilt)
        messages = []
        record = run(go_on, source, tmp_path, messages=messages)
        (notice,) = [message["notice"] for message in messages if "notice" in message]
        assert notice.endswith("small seed 0 starts again without this checkpoint")
        assert trained_epochs(messages)[0][0] == 1
        assert record.history == first_epochs(expected, go_on.epochs)
    assert content(tmp_path, record) == expected_content


@pytest.mark.slow
def test_what_a_worker_keeps_of_candidates_scores_the_whole_trials_after_them(source, tmp_path):
    """Two seeds with fitted steps of their own, their candidates in turn, then both whole by the same programs."""
    text = SWEEP.replace("seeds: 1", "seeds: 2").replace("epochs: 6", "epochs: 3, preprocess: [standardize, {pca: 9}]")
    trials = tiny_trials(tmp_path, text)
    alone = []
    for one in trials:
        worker_module.current().forget()
        alone.append(content(tmp_path / "alone", run(one, source, tmp_path / "alone")))
    worker_module.current().forget()
    for until in (1, 2):
        for one in trials:
            assert run(candidate(one, until), source, tmp_path).status == "stopped early"
    for one, expected in zip(trials, alone, strict=True):
        assert content(tmp_path, run(one, source, tmp_path)) == expected


@pytest.mark.slow
def test_a_convolution_in_parts_by_keras_own_loop_is_the_same_too(source, tmp_path):
    layers = "[{Conv2D: {filters: 2, kernel_size: 3}}, Flatten, {Dropout: 0.2}]"
    text = SWEEP.replace("[16, {Dropout: 0.2}]", layers).replace("epochs: 6", "epochs: 3")
    (one,) = tiny_trials(tmp_path, text)
    expected = content(tmp_path / "whole", run(one, source, tmp_path / "whole"))
    for until in (1, 2):
        assert run(candidate(one, until), source, tmp_path).epochs_done == until
    assert content(tmp_path, run(one, source, tmp_path)) == expected


# ---- how it ended


@pytest.mark.slow
def test_a_candidate_that_was_trained_to_its_end_is_only_validated(plain, source, tmp_path):
    one, expected, expected_content = plain
    record = run(candidate(one, 6), source, tmp_path)
    assert (record.status, record.history, record.epochs_done) == ("only validated", expected.history, 6)
    assert not checkpoint_of(one, tmp_path).exists()
    assert run(candidate(one, 9), source, tmp_path) == record, "there is no more of it"
    assert content(tmp_path, run(one, source, tmp_path)) == expected_content


@pytest.mark.slow
@pytest.mark.parametrize("until", [2, 3, 5])
def test_a_candidate_may_be_ended_by_its_own_early_stopping(until, source, tmp_path):
    (one,) = tiny_trials(tmp_path, ENDS_ITSELF)
    record = run(candidate(one, until), source, tmp_path)
    is_whole = until >= 3
    assert (record.status, record.epochs_done) == ("only validated" if is_whole else "stopped early", min(until, 3))
    assert checkpoint_of(one, tmp_path).exists() == (not is_whole)


@pytest.mark.slow
def test_a_checkpoint_that_early_stopping_ended_makes_a_whole_candidate(source, tmp_path):
    (one,) = tiny_trials(tmp_path, ENDS_ITSELF)
    with pytest.raises(Stopped):
        run(one, source, tmp_path, stop_after=3)
    assert run(candidate(one, 5), source, tmp_path).status == "only validated"


@pytest.mark.slow
def test_an_unscored_record_has_curves_and_nothing_of_test_images(plain, source, tmp_path):
    one, expected, _ = plain
    record = run(candidate(one, 3), source, tmp_path)
    folder = folder_of(record, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"record.json", files.SUMS}
    assert not {"test", "confusion", "precision", "model.keras"} & {*(folder / "record.json").read_text().split('"')}
    assert (record.metrics, record.classes, record.class_names, record.model_bytes) == ({}, {}, (), 0)
    assert (record.is_done, record.is_failed, record.is_unscored) == (False, False, True)
    assert not record.is_tried_again()
    for name in ("settings", "dataset", "params", "flops", "train_images", "val_images", "environment"):
        assert getattr(record, name) == getattr(expected, name)
    assert not Results(tmp_path / "results").live_folder(one.fingerprint).exists()


@pytest.mark.slow
def test_an_unscored_record_of_a_long_training_takes_at_most_60_kib(source, tmp_path):
    (one,) = tiny_trials(tmp_path, SWEEP.replace("epochs: 6", "epochs: 101"))
    folder = folder_of(run(candidate(one, 100), source, tmp_path), tmp_path)
    blocks = [-(-path.stat().st_size // 4096) for path in folder.iterdir()]
    assert 4096 * (1 + sum(blocks)) <= 60 * 1024, "the folder is a block of its own"


@pytest.mark.slow
def test_a_candidate_that_diverges_has_failed(source, tmp_path):
    (one,) = tiny_trials(tmp_path, DIVERGES)
    record = run(candidate(one, 1), source, tmp_path)
    assert (record.status, record.error["type"]) == ("failed", "TrainingDiverged")
    assert (record.is_failed, record.is_unscored, record.is_tried_again()) == (True, False, False)
    assert not checkpoint_of(one, tmp_path).exists()


# ---- which record will do


def planned_before(one, source, folder, **changes):
    """Run a trial whose record another sweep has made since the plan; with what it said."""
    context = Asked()
    task = trial.Task(one, source, None, folder / "results", replaces=None, wait=True)
    record = trial.run_trial(context, dataclasses.replace(task, **changes))
    return record, {"found": True} in context.messages


@pytest.mark.slow
def test_only_a_record_with_enough_will_do(plain, source, tmp_path):
    one, _, expected_content = plain
    three = run(candidate(one, 3), source, tmp_path)
    assert planned_before(candidate(one, 2), source, tmp_path) == (three, True)
    assert planned_before(candidate(one, 3), source, tmp_path, fresh=True) == (three, True)
    assert run(candidate(one, 3), source, tmp_path) == three, "also that of an earlier run"
    four, was_found = planned_before(candidate(one, 4), source, tmp_path)
    assert (four.epochs_done, was_found) == (4, False)
    done, was_found = planned_before(one, source, tmp_path)
    assert (content(tmp_path, done), was_found) == (expected_content, False)
    assert planned_before(candidate(one, 5), source, tmp_path) == (done, True)


def test_a_fresh_candidate_takes_no_older_record(plain, source, tmp_path):
    one, _, _ = plain
    first = run(candidate(one, 6), source, tmp_path)
    again = run(candidate(one, 6), source, tmp_path, fresh=True)
    assert again.history == first.history
    assert again.measured != first.measured


def test_a_candidate_is_in_no_mean_not_done_and_not_failed(made):
    one, *others = made.plan
    for other in others:
        made.put(made.record(other, val_accuracy=0.5))
    made.write_tables()
    without, tables = made.state, tables_of(made)
    made.records = made.records | {one.fingerprint: unscored(one)}
    made.write_tables()
    state = made.state
    assert (state.failed, state.done) == ([], without.done)
    assert state.by_architecture() == without.by_architecture()
    assert state.ended_seeds() == without.ended_seeds()
    assert ranking.rank(state).behind == ranking.rank(without).behind
    assert tables_of(made) == tables
    made.put(made.record(one, failed=True))
    assert [each.fingerprint for each in made.state.failed] == [one.fingerprint]


def tables_of(made):
    """What the tables say, to the last byte."""
    tables = {path.name: path.read_bytes() for path in made.folder.glob("*.csv")}
    assert {"results.csv", "trials.csv", "history.csv"} <= {*tables}
    return tables


# ---- records that are none


def unscored(one, **changes):
    values = {
        "fingerprint": one.fingerprint,
        "status": "stopped early",
        "settings": one.settings,
        "dataset": "idx:tiny",
        "params": 1,
        "trainable_params": 1,
        "flops": 1,
        "history": {name: [0.5, 0.25] for name in CURVES},
        "measured": {"train_seconds": 1.0, "epoch_seconds": [0.5, 0.5], "started_at_seconds": 1.0},
    }
    return Record(**values | changes)


MEASURED = {"train_seconds": 1.0, "epoch_seconds": [0.5, 0.5]}
WRONG = {
    "without curves": {"history": {}},
    "with curves of no epoch": {"history": {name: [] for name in CURVES}},
    "without validation": {"history": {"loss": [0.5], "accuracy": [0.5]}},
    "with a shorter curve": {"history": {name: [0.5, 0.5] for name in CURVES} | {"val_loss": [0.5]}},
    "with a gap": {"history": {name: [0.5] for name in CURVES} | {"val_accuracy": [None]}},
    "with a figure on test images": {"metrics": {"test_accuracy": 0.5}},
    "without its seconds": {"measured": {"epoch_seconds": [0.5, 0.5]}},
    "with seconds that are none": {"measured": MEASURED | {"train_seconds": "x"}},
    "without the seconds of its epochs": {"measured": {"train_seconds": 1.0}},
    "with epochs that took no time": {"measured": MEASURED | {"epoch_seconds": []}},
    "at no moment": {"measured": MEASURED | {"started_at_seconds": float("nan")}},
    "with another word for its status": {"status": "stopped"},
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("status", ["stopped early", "only validated"])
def test_an_unscored_record_has_what_the_search_shows(what, status, made):
    one = made.plan[0]
    assert unscored(one, status=status).epochs_done == 2
    with pytest.raises(ValueError, match="1 validation error for Record"):
        unscored(one, **{"status": status} | WRONG[what])


def test_a_wrong_byte_or_a_missing_file_is_a_damaged_record(made):
    one = made.plan[0]
    for name in ("record.json", files.SUMS):
        for where in (0, 0.5, 1, None):
            with made.results.draft(one.fingerprint) as draft:
                made.results.write_record(draft, unscored(one))
            assert made.results.load_record(one.fingerprint) == unscored(one)
            path = made.results.record_folder(one.fingerprint) / name
            spoilt = bytearray(path.read_bytes())
            if where is None:
                path.unlink()
            else:
                spoilt[round(where * (len(spoilt) - 1))] ^= 0x15
                path.write_bytes(spoilt)
            with pytest.raises(DamagedRecord):
                made.results.load_record(one.fingerprint)


# ---- on a cluster


@pytest.mark.slow
def test_record_and_checkpoint_of_a_candidate_travel_there_and_back(plain, source, tmp_path, monkeypatch):
    """As `Pool` has it: prepared by the driver, run in a scratch folder, every message heard, the files taken in."""
    one, expected, expected_content = plain
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the scratch folder lies
    results, heard = Results(tmp_path / "results"), []

    def run_there(each):
        call = Call(each.fingerprint, RUN_TRIAL, (trial.Task(each, source, None, results.root, None),))
        with cluster.Home(results) as home:
            home._on_message = lambda call, message: heard.append(message)
            prepared = home.prepare_call(call)
            sent = cluster.run_trial_there(Context(lambda m: home.hear(call, m), Event()), *prepared.args)
            return home._take_in(Outcome(call, "done", sent)).value

    for until, epochs in ((1, [1]), (3, [2, 3]), (None, [4, 5, 6])):
        heard.clear()
        record = run_there(candidate(one, until))
        assert [epoch for epoch, _ in trained_epochs(heard)] == epochs
        assert record.history == first_epochs(expected, until)
        assert results.load_record(one.fingerprint) == record
        assert checkpoint_of(one, tmp_path).exists() == (until is not None)
    assert content(tmp_path, record) == expected_content
