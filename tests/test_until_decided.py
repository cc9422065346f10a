"""Seeds until the verdict: runs whose trials are made up, killed and not, and what a sweep remembers of its looks."""

import dataclasses
import json

import fake_sweep
import numpy as np
import pytest
from fake_sweep import Fake
from sweeping import done_record, put_record

from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.results import sentences, table
from fmnist_mlp.results.ranking import rank
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.loop import Listener

UNTIL = """
dataset: {idx: images}
seeds: until decided
margin: 0.002
training: {epochs: 3}
architectures:
  - {name: far, layers: [8]}
  - {name: near, layers: [16]}
  - {name: best, layers: [24]}
"""
LEVELS = {"far": 0.5, "near": 0.8965, "best": 0.9, "new": 0.9}


def figure(name, seed):
    """Of the seed 0.01, of the trial 0.002."""
    of_seed = np.random.default_rng([1, seed]).normal()
    of_trial = np.random.default_rng([2, seed, *name.encode()]).normal()
    return LEVELS[name] + 0.01 * of_seed + 0.002 * of_trial


@pytest.fixture
def until(tmp_path, monkeypatch):
    def invented_record(task):
        one = task.trial
        figures = {} if one.is_refit else {"val_accuracy": figure(one.architecture.name, one.seed)}
        record = done_record(one, dataset=task.source.dataset, **figures)
        put_record(Results(task.results_root), record)
        return record

    fake = Fake(tmp_path, monkeypatch, text=UNTIL)
    monkeypatch.setattr(fake_sweep, "invented_record", invented_record)
    return fake


def seeds_of(fake):
    rows = [row for row in fake.rows() if row["refit"] == "0"]
    return {name: sorted(int(r["seed"]) for r in rows if r["architecture"] == name) for name in ("far", "near", "best")}


class Heard(Listener):
    def __init__(self):
        self.added = []

    def trials_added(self, trials, state):
        self.added.append((len(trials), sentences.of_the_looks(state)))


@pytest.mark.slow
def test_after_each_look_only_those_still_open_and_the_best_are_trained(until):
    heard = Heard()
    plan, summary = until.run(heard)
    assert len(plan.to_train) == 15, "the first look alone is planned"
    assert seeds_of(until) == {"far": [*range(5)], "near": [*range(20)], "best": [*range(20)]}
    assert heard.added == [
        (10, ["Look 1 of 4 (5 seeds): 1 architecture is still open; at most 70 trainings more."]),
        (20, ["Look 2 of 4 (10 seeds): 1 architecture is still open; at most 60 trainings more."]),
    ]
    rows = {row["architecture"]: row["verdict"] for row in until.rows("results.csv")}
    assert rows == {"far": "worse", "near": "worse", "best": "best"}
    assert "Decided at an earlier look, and not trained on (trials): far (5)." in table.notes(
        summary.state, summary.rows
    )
    assert (
        sentences.found(summary.state, summary.rows)[-1]
        == "Look 3 of 4 (20 seeds): every architecture has its verdict."
    )
    again, summary = until.run()
    assert (again.to_train, until.trained) == ((), [])


def kept(fake):
    folder = fake.folder / "results" / "fake"
    return {path.name: path.read_bytes() for path in folder.glob("*.*") if path.name != "_comparison.json"}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [("near", 3), ("best", 7), ("near", 19)])
def test_a_run_that_dies_between_or_inside_looks_goes_on_to_the_same(stop, until, tmp_path, monkeypatch):
    until.run()
    whole = kept(until)
    other = Fake(tmp_path / "other", monkeypatch, text=UNTIL)
    other.fate[stop] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        other.run()
    other.fate.clear()
    other.run()
    assert kept(other) == whole


def test_failures_are_records_that_a_look_does_not_wait_for(until):
    for seed in range(5):
        until.fate["near", seed] = ValueError("no")
    until.run()
    assert seeds_of(until) == {"far": [*range(5)], "near": [*range(5)], "best": [*range(5)]}
    rows = {row["architecture"]: row["verdict"] for row in until.rows("results.csv")}
    assert rows == {"far": "worse", "near": "failed", "best": "best"}


@pytest.mark.slow
def test_a_stack_that_fails_for_some_seeds_only_is_judged_on_the_others(until):
    until.fate["near", 2] = ValueError("no")
    _, summary = until.run()
    assert [*map(len, seeds_of(until).values())] == [5, 20, 20]
    near = next(row for row in summary.rows if row.architecture == "near")
    assert (near.trials, near.failed, near.verdict) == (19, 1, "worse")


def test_a_stopped_sweep_has_the_verdicts_of_its_last_whole_look(until):
    until.fate["near", 7] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        until.run()
    rows = {row["architecture"]: row for row in until.rows("results.csv")}
    assert {name: row["verdict"] for name, row in rows.items()} == {"far": "worse", "near": "undecided", "best": "best"}


@pytest.mark.slow
def test_refits_follow_the_last_look_as_many_as_the_first_has_seeds(until):
    until.write(UNTIL + "refit: true\n")
    _, summary = until.run()
    assert len(summary.state.refits) == 5
    assert {trial.architecture.name for trial in summary.state.refits} == {"best"}


def test_only_some_architectures_wait_for_the_others_without_end(until):
    _, summary = until.run(only=("best",))
    assert until.trained == [("best", seed) for seed in range(5)]
    assert rank(summary.state).progress.look == 0
    assert {row.verdict for row in summary.rows} == {"too few seeds", "not trained"}


@pytest.mark.slow
def test_whoever_uses_the_sweep_without_its_memory_finds_the_same_verdicts(until):
    """Also where another sweep has trained seeds that this one never asked for."""
    until.write(UNTIL.replace("until decided", "40") + "name: others\n")
    until.run()
    until.write(UNTIL)
    _, summary = until.run()
    (until.folder / "results" / "fake" / "_comparison.json").unlink()
    found = FinishedSweep(until.folder / "results", "fake").rows()
    assert [(r.trials, r.verdict, r.behind_best, r.val_accuracy) for r in found] == [
        (r.trials, r.verdict, r.behind_best, r.val_accuracy) for r in summary.rows
    ]
    assert [row.trials for row in found] == [5, 20, 20]


# ---- what is remembered of it


def notes_of(fake, **options):
    _, summary = fake.run(**options)
    return summary, " ".join(table.notes(summary.state, summary.rows))


@pytest.mark.slow
def test_whoever_was_ever_compared_counts_for_how_strict_verdicts_are(until):
    until.run()
    with_new = UNTIL + "  - {name: new, layers: [32]}\n"
    until.write(with_new)
    _, said = notes_of(until)
    assert "compared here before" not in said
    until.write(UNTIL)
    summary, said = notes_of(until)
    assert "They are as wide as 4 architectures need: 1 other was compared here before." in said
    assert rank(summary.state).design.stacks == 4
    until.write(UNTIL.replace("epochs: 3", "epochs: 4"))
    assert rank(notes_of(until)[0].state).design.stacks == 7


@pytest.mark.slow
def test_what_was_never_trained_was_never_compared(until):
    until.write(UNTIL + "  - {name: new, layers: [32]}\n")
    until.fate["new", 0] = KeyboardInterrupt()
    until.options = dataclasses.replace(until.options, only=("new",))
    with pytest.raises(KeyboardInterrupt):
        until.run()
    until.options = dataclasses.replace(until.options, only=())
    until.write(UNTIL)
    assert rank(notes_of(until)[0].state).design.stacks == 3


@pytest.mark.slow
def test_seeds_that_are_raised_by_hand_and_a_changed_margin_are_said(until):
    for seeds, margin in (("5", 0.002), ("10", 0.002), ("20", 0.004)):
        until.write(UNTIL.replace("until decided", seeds).replace("0.002", str(margin)))
        _, said = notes_of(until)
    assert (
        "Verdicts were drawn before in another way (5 seeds by val_accuracy, 10 seeds by val_accuracy): each way is "
        "wrong in 5 of 100 sweeps, all of them together in up to 15." in said
    )
    assert "The margin was 0.002 before: what is within a margin is promised for one that is named beforehand." in said


def test_as_many_seeds_from_another_list_are_another_way(until):
    for seeds in ("5", "[10, 11, 12, 13, 14]"):
        until.write(UNTIL.replace("until decided", seeds))
        _, said = notes_of(until)
    assert "Verdicts were drawn before in another way (5 other seeds by val_accuracy): each way" in said


@pytest.mark.slow
def test_a_rerun_of_the_same_is_no_other_way_and_a_damaged_memory_is_none(until):
    until.run()
    memory = until.folder / "results" / "_sweeps" / "fake.json"
    assert len(json.loads(memory.read_text())["content"]["designs"]) == 1
    _, said = notes_of(until)
    assert "another way" not in said
    memory.write_text("{}")
    looks = until.folder / "results" / "fake" / "_comparison.json"
    before = kept(until)
    looks.write_text("damaged")
    summary, said = notes_of(until)
    assert kept(until) == before
    assert rank(summary.state).design.stacks == 3
