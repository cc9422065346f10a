"""Clocks that jump: what is trained again, tried again or found does not depend on what the clock said."""

import os
import shutil
import time

import pytest
from commands import TINY, project, run, trained
from faults import DAY, IN_TURN, REAL_RUN_TRIAL, on_call, which
from sweeping import invented_record

from fmnist_mlp.results.store import Results
from fmnist_mlp.runner import plan as plan_module
from fmnist_mlp.training import trial

__all__ = ["project", "run", "trained"]  # fixtures, used by name


@pytest.fixture
def claimed(monkeypatch, trained):
    """As `trained`, with the claims and looks for records of a real trial; gives the trials that were trained."""
    ran = []

    def train_and_score(context, task, results):
        ran.append(which(task))
        if task.trial.architecture.name.startswith("bad"):
            raise ArithmeticError("loss became nan in epoch 1")
        return invented_record(task)

    monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", REAL_RUN_TRIAL)
    monkeypatch.setattr("fmnist_mlp.training.trial.train_and_score", train_and_score)
    return ran


def set_clock_of_records(project, seconds):
    """As if the records had been written when the clock was ahead by so much."""
    for path in project.results.glob("_records/*/record.json"):
        os.utime(path, (time.time() + seconds,) * 2)


@pytest.mark.parametrize("seconds", [-DAY, DAY, 365 * DAY])
def test_fresh_trains_again_whatever_the_clock_said_when_the_records_were_written(run, project, claimed, seconds):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    set_clock_of_records(project, seconds)
    assert run("tiny.yaml", "--jobs", "0").code == 0
    assert claimed == IN_TURN, "nothing is trained twice unasked"
    assert run("tiny.yaml", "--jobs", "0", "--fresh").code == 0
    assert claimed == IN_TURN + IN_TURN


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_what_failed_is_tried_again_whatever_the_clock_said_when_it_failed(run, project, claimed, seconds):
    project.write(TINY + "  - {name: bad, layers: [32]}\n")
    assert run("tiny.yaml", "--jobs", "0").code == 1
    set_clock_of_records(project, seconds)
    project.write(TINY + "  - {name: good, layers: [32]}\n")
    assert run("tiny.yaml", "--jobs", "0", "--retry-failed").code == 0
    assert claimed[6:] == [("good", 0), ("good", 1)]


@pytest.mark.parametrize("seconds", [-DAY, 0.0, DAY])
def test_what_another_sweep_trained_meanwhile_is_found_whatever_its_clock_says(
    run, project, claimed, monkeypatch, seconds
):
    """Both were asked to train afresh; the other was quicker with one trial, on a machine whose clock is wrong."""
    assert run("tiny.yaml", "--jobs", "0").code == 0
    del claimed[:]
    plans = []
    make_plan = plan_module.make_plan
    monkeypatch.setattr(
        "fmnist_mlp.cli.sweep.make_plan", lambda *args, **kwargs: plans.append(make_plan(*args, **kwargs)) or plans[0]
    )

    def the_other_sweep():
        (theirs,) = [one for one in plans[0].state.trials if (one.architecture.name, one.seed) == ("8", 1)]
        results = Results(project.results)
        path = results.record_folder(theirs.fingerprint) / "record.json"
        record = results.load_record(theirs.fingerprint)
        with results.draft(theirs.fingerprint) as draft:
            for name in ("model.keras", "predictions.npz"):
                shutil.copy2(path.with_name(name), draft / name)
            results.write_record(draft, record)
        os.utime(path, (time.time() + seconds,) * 2)

    on_call(monkeypatch, trial, "train_and_score", 1, the_other_sweep)
    ran = run("tiny.yaml", "--jobs", "0", "--fresh")
    assert (ran.code, claimed) == (0, IN_TURN[:3])
    assert "trained 3 trials" in ran.out
