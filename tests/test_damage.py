"""A wrong byte in any file under `results/`: header, middle and end of every kind of file, once.

Whatever it is, the next run is whole again: the same table, every other record as it was, a record that is damaged
named and trained again, a view that was changed kept beside the one that takes its place; and the run after that has
nothing to say. Files of checkpoints are in test_trial.py, events under `logs/` in test_log_views.py.
"""

from pathlib import Path

import pytest
from commands import TINY, drawn, project, run, trained
from one_trial import write_images
from sweeping import Project, state

__all__ = ["drawn", "project", "run", "trained"]  # fixtures, used by name

RECORD = "_records/[0-9a-f]*/"
REMEMBERED = ("_records/.digests.json", "_data.json", "_sweeps/tiny.json", "tiny/_comparison.json", "_latency/*.json")
OF_A_RECORD = tuple(
    RECORD + name for name in ("record.json", "model.keras", "predictions.npz", "SHA256SUMS", "events/*/events.*")
)
VIEWS = (
    *(f"tiny/{name}.csv" for name in ("results", "trials", "history", "classes")),
    *("tiny/results.md", "tiny/report.html", "tiny/plots/*.png", "tiny/models/*.keras"),
)
# Trials as TensorBoard sees them: as below `logs/`, files that were changed give way to new ones.
OF_TENSORBOARD = ("_trials/tiny/**/events.*", "_trials/tiny/*/*/.trial", "_trials/tiny/_journal")
KINDS = (*OF_A_RECORD, *REMEMBERED, *VIEWS, *OF_TENSORBOARD, "tiny/_journal")


def one_of(results, kind):
    return sorted(results.glob(kind))[0]


def change_byte(path, where):
    content = bytearray(path.read_bytes())
    content[round(where * (len(content) - 1))] ^= 0x15
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def views_of(results):
    """What people look at, by name: every file below the sweep's folder but what is ours alone."""
    paths = (path for path in (results / "tiny").rglob("*") if path.is_file() and not path.name.startswith("_"))
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Where the finished project is kept, and the trials that were trained for it."""
    return tmp_path_factory.mktemp("finished") / "project", []


@pytest.fixture
def finished(run, project, drawn, once):
    """A copy of a sweep over images of its own that has run, twice: the second run has nothing to do or to say."""
    kept, trials = once
    if kept.exists():
        project = Project(kept).copy(project.folder)
        drawn += trials
    else:
        write_images(project.folder / "images")
        project.write(TINY.replace("synthetic", "{idx: images}"))
        assert (run("tiny.yaml", "--jobs", "0").code, len(drawn)) == (0, 4)
        trials += drawn
        project.copy(kept)
    ran = run("tiny.yaml", "--jobs", "0")
    assert (ran.code, ran.err, drawn) == (0, "", trials)
    return project


@pytest.mark.slow
def test_every_kind_of_file_is_tried(finished):
    kept = {path for path in finished.results.rglob("*") if path.is_file()}
    assert kept == {path for kind in KINDS for path in finished.results.glob(kind)}


@pytest.mark.slow
@pytest.mark.parametrize("where", [0, 0.5, 1], ids=["header", "middle", "end"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_byte_costs_no_more_than_the_file_that_has_it(finished, run, drawn, kind, where):
    before, path = views_of(finished.results), one_of(finished.results, kind)
    others = [folder for folder in finished.results.glob(RECORD) if folder not in path.parents]
    kept = state(*others)
    change_byte(path, where)
    changed = path.read_bytes()

    ran = run("tiny.yaml", "--jobs", "0")
    assert ran.code == 0, ran.err
    assert state(*others) == kept, "every other record is as it was"
    after = views_of(finished.results)
    set_aside = {name: after.pop(name) for name in [*after] if ".edited-" in name}
    assert after == before
    if kind in OF_A_RECORD:
        assert len(drawn) == 5, "this trial alone was trained again"
        assert any(path.parent.name in line or path.parent.parent.parent.name in line for line in ran.errors), ran.err
    else:
        assert len(drawn) == 4, "nothing was trained again"
    if kind in VIEWS:
        assert list(set_aside.values()) == [changed]
        assert len(ran.errors) == 1
        assert path.name in ran.err
    elif kind != "tiny/_journal":
        assert set_aside == {}

    last = run("tiny.yaml", "--jobs", "0")
    assert (last.code, last.err) == (0, "")
    assert len(drawn) == (5 if kind in OF_A_RECORD else 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_or_deleted_is_made_again(finished, run, drawn, kind):
    for damage in (cut_off, Path.unlink):
        before, path = views_of(finished.results), one_of(finished.results, kind)
        damage(path)
        ran = run("tiny.yaml", "--jobs", "0")
        assert ran.code == 0, ran.err
        after = {name: content for name, content in views_of(finished.results).items() if ".edited-" not in name}
        assert after == {name: content for name, content in before.items() if ".edited-" not in name}
    last = run("tiny.yaml", "--jobs", "0")
    assert (last.code, last.err) == (0, "")
