"""Disks that are read-only or fill up: one line that names the place, and only the running trial is lost."""

import re
import shutil
from pathlib import Path

import pytest
from commands import project, run, trained
from faults import IN_TURN, REAL_RUN_TRIAL, disk, is_one_line, on_call, which
from sweeping import Project, different, invented_record

from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results.registry import Registry
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import Views
from fmnist_mlp.training import trial

__all__ = ["disk", "project", "run", "trained"]  # fixtures, used by name


# ---- places that cannot be written


@pytest.mark.parametrize("option", ["--results-dir", "--logs-dir"])
@pytest.mark.parametrize("place", ["disk", "disk/deeper"])
def test_a_read_only_disk_is_one_line_before_anything_is_trained(run, trained, disk, option, place):
    disk.make_read_only()
    assert is_one_line(
        run("tiny.yaml", "--jobs", "0", option, place), rf"cannot write {place}.*: Read-only file system"
    )
    assert trained == []


def test_a_finished_sweep_is_shown_from_a_read_only_disk(run, project, trained, disk):
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    first = run("tiny.yaml", "--jobs", "0", *places)
    disk.make_read_only()
    again = run("tiny.yaml", *places)
    assert (again.code, again.err, len(trained)) == (0, "", 4)
    assert "4 done, 0 to train" in again.out
    assert Project(disk.folder).rows()["wide"]["test_accuracy"][:5] in first.out


@pytest.mark.parametrize("part", ["results", "logs"])
def test_a_disk_that_turns_read_only_costs_the_running_trial_only(run, project, trained, disk, monkeypatch, part):
    """After the first trial's record: the second cannot be kept or shown, and the rerun ends as if nothing had been."""
    assert run("tiny.yaml", "--jobs", "0").code == 0
    numbers = project.numbers()
    elsewhere = Project(project.folder / "elsewhere")
    places = [
        f"--{name}-dir={disk.folder if name == part else elsewhere.folder}/{name}" for name in ("results", "logs")
    ]
    del trained[:]
    on_call(monkeypatch, trial, "run_trial", 2, disk.make_read_only)
    assert is_one_line(
        run("tiny.yaml", "--jobs", "0", *places), rf"cannot write .*disk/{part}.*: Read-only file system"
    )
    assert part == "logs" or trained == IN_TURN[:2]
    disk.recover()
    assert run("tiny.yaml", "--jobs", "0", *places).code == 0
    # Logs that cannot be shown are noticed within a second; the records that were written by then are kept.
    assert sorted(trained) == sorted([*IN_TURN, *(IN_TURN[1:2] if part == "results" else [])])
    assert different((Project(disk.folder) if part == "results" else elsewhere).numbers(), numbers) == []


def test_what_cannot_be_deleted_is_one_line(project, run, trained, disk, capsys):
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    assert run("tiny.yaml", "--jobs", "0", *places).code == 0
    (project.folder / "tiny.yaml").unlink()
    disk.make_read_only()
    capsys.readouterr()
    assert verbs(["clean", "--yes", *places]) == 2
    assert re.fullmatch(r"cannot .*disk/.*Read-only file system.*\n", capsys.readouterr().err)


# ---- a disk that fills


def drafts(folder):
    """Files that somebody began to write and left."""
    return [
        path for path in Path(folder).rglob("*") if ".drafts/" in f"{path}" or path.name.startswith((".draft-", ".r"))
    ]


# At which call of which method (with which file) the disk is full, and how many of the four trials are done by then.
MOMENTS = {
    "the sweep's mark": (Registry, "claim_sweep", "", 1, 0),
    "the first table": (Views, "write", "results.csv", 1, 0),
    "the claim of a trial": (Results, "claim", "", 2, 1),
    "a record": (Results, "draft", "", 2, 1),
    "an event file of what is shown": (SweepLogs, "show", "", 2, 2),
    "the table": (Views, "write", "results.csv", 3, 2),
    "the other table": (Views, "write", "trials.csv", 3, 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_disk_that_fills_costs_the_running_trial_only(run, project, disk, monkeypatch, trained, moment):
    """The disk is really full from that moment on: of bytes and of files. A rerun with space again completes it."""
    owner, method, name, number, done = MOMENTS[moment]
    monkeypatch.setattr(
        "fmnist_mlp.training.trial.run_trial", REAL_RUN_TRIAL
    )  # for its claim; what it trains is invented
    ran = []
    monkeypatch.setattr(
        "fmnist_mlp.training.trial.train_and_score",
        lambda context, task, results: ran.append(which(task)) or invented_record(task),
    )
    monkeypatch.setattr("fmnist_mlp.runner.loop._SECONDS_BETWEEN_TABLES", 0.0)
    monkeypatch.setattr("fmnist_mlp.runner.loop._SHARE_OF_TABLES", 0.0)
    assert run("tiny.yaml", "--jobs", "0").code == 0
    numbers = project.numbers()

    del ran[:]
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    with monkeypatch.context() as patch:
        on_call(patch, owner, method, number, disk.fill, name)
        failed = run("tiny.yaml", "--jobs", "0", *places)
    assert is_one_line(failed, r"^cannot write disk/.*: No space left on device; .*free space there"), failed.err
    kept = sorted(path.parent.name for path in disk.folder.glob("results/_records/*/record.json"))
    assert len(kept) == done
    assert drafts(disk.folder) == []

    disk.recover()
    tried = len(ran)
    again = run("tiny.yaml", "--jobs", "0", *places)
    assert (again.code, again.err) == (0, "")
    assert f"{done} done, {4 - done} to train" in again.out
    assert sorted(ran[tried:]) == sorted(IN_TURN[done:])
    assert different(Project(disk.folder).numbers(), numbers) == []
    assert Project(disk.folder).curves() == project.curves()


def test_a_disk_that_fills_while_an_old_record_is_shown_leaves_a_folder_that_is_still_ours(
    run, project, trained, disk, monkeypatch
):
    """Logs thrown away, or a new name: some of a trial's event files are there again, and then the disk is full."""
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    assert run("tiny.yaml", "--jobs", "0", *places).code == 0
    curves = Project(disk.folder).curves()
    shutil.rmtree(disk.folder / "logs")
    with monkeypatch.context() as patch:
        on_call(patch, Views, "_put", 2, disk.fill)
        assert is_one_line(run("tiny.yaml", *places), r"^cannot write disk/logs/.*: No space left on device")
    disk.recover()
    again = run("tiny.yaml", *places)
    assert (again.code, again.err, len(trained)) == (0, "", 4)
    assert Project(disk.folder).curves() == curves
