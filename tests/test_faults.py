"""Faults in the middle of real trainings, a full disk and a clock that jumps: against the same training undisturbed."""

import itertools
import json
import re
import time
from types import SimpleNamespace

import pytest
import sweeping
from commands import project, run
from faults import DAY, disk, on_call
from one_trial import worker, write_images
from sweeping import Project, different

from fmnist_mlp.cli.display import Display
from fmnist_mlp.cli.sweep import main
from fmnist_mlp.results.store import Results

__all__ = ["disk", "project", "run", "worker"]  # fixtures, used by name

REAL = """\
dataset: {idx: images}
seeds: 2
training: {epochs: 3}
architectures:
  - [8, {Dropout: 0.2}]
"""


@pytest.fixture
def real(run, project, worker, undisturbed, monkeypatch):
    """`real("--logs-dir", ...)` trains REAL in this process; the worker stays, with what it has compiled."""
    sweeping.leave_out_pictures(monkeypatch)
    monkeypatch.setattr("fmnist_mlp.training.worker.start_worker", lambda *arguments: worker)
    project.write(undisturbed.text, "real.yaml")
    return lambda *options: run("real.yaml", "--jobs", "0", "--checkpoint-every", "1e-9", *options)


@pytest.fixture(scope="module")
def undisturbed(worker, tmp_path_factory):
    """What REAL says and gives where nothing happens: `text` and `numbers`."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    text = REAL.replace("images", str(write_images(project.folder / "images").folder))
    project.write(text, "real.yaml")
    places = [f"--{name}-dir={project.folder / name}" for name in ("results", "logs")]
    with pytest.MonkeyPatch.context() as patch:
        sweeping.leave_out_pictures(patch)
        assert main([str(project.folder / "real.yaml"), "--jobs", "0", "--quiet", *places]) == 0
    return SimpleNamespace(text=text, numbers=project.numbers("real"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "owner", "method", "number"),
    [
        ("a checkpoint", Results, "checkpoint_draft", 3),
        ("a record", Results, "draft", 2),
        ("an event file, between epochs", Display, "trial_progress", 6),
        ("an event file, before the first epoch", Display, "trial_progress", 5),
    ],
)
def test_a_disk_that_fills_during_a_real_training_loses_no_finished_trial(
    real, undisturbed, disk, monkeypatch, moment, owner, method, number
):
    """In this process, so that the moment is exact; a checkpoint after every epoch, so that the rerun goes on from one.

    TensorFlow's writer of event files says little or nothing of a full disk: that it is noticed is what matters here.
    """
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    with monkeypatch.context() as patch:
        on_call(patch, owner, method, number, disk.fill)
        failed = real(*places)
    assert failed.code == 2, failed.err
    assert re.search(r"disk/.*(No space left on device|is the disk full\?)", failed.errors[-1]), failed.err
    assert len(failed.errors) == 1, failed.err
    first = list(disk.folder.glob("results/_records/*/record.json"))
    before = [path.read_bytes() for path in first]
    assert [json.loads(content)["status"] for content in before] == ["done"]

    disk.recover()
    again = real(*places)
    assert (again.code, again.err) == (0, "")
    assert [path.read_bytes() for path in first] == before
    assert different(Project(disk.folder).numbers("real"), undisturbed.numbers) == []


@pytest.mark.slow
@pytest.mark.parametrize("jump", [-DAY, 365 * DAY], ids=["back by a day", "forward by a year"])
def test_a_clock_that_jumps_all_the_time_changes_no_number_and_measures_nothing_absurd(
    real, undisturbed, project, monkeypatch, jump
):
    """`time.time` jumps at every single call; what is measured must come from clocks that do not (time.monotonic)."""
    now, calls = time.time, itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + jump * next(calls))
        ran = real("--results-dir", "jumped/results", "--logs-dir", "jumped/logs")
    assert next(calls) > 3, "somebody asked for the time"
    assert (ran.code, ran.err) == (0, "")
    jumped = Project(project.folder / "jumped")
    assert different(jumped.numbers("real"), undisturbed.numbers) == []
    assert not re.search(r"-\d[\d.]* s|\d h", ran.out)
    for seed in (0, 1):
        measured = jumped.record("8-drop0.2", seed, "real")["measured"]
        durations = [
            v
            for k, v in measured.items()
            if k.endswith("_seconds") and k not in ("started_at_seconds", "epoch_seconds")
        ]
        assert len(durations) == 2
        assert all(0 <= seconds < 600 for seconds in [*durations, *measured["epoch_seconds"]]), measured
