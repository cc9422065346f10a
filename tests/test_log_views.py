"""Trials under `logs/` follow the records, live curves too; what a person put or changed there is never lost."""

import dataclasses
import os
import shutil

import pytest
from reading_logs import write_events
from sweeping import Made

from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.logs.overview import run_of
from fmnist_mlp.logs.views import SweepLogs


@pytest.fixture
def made(tmp_path):
    """Records by hand, each with one event file of its own, and the logs of their sweep."""
    made = Made(tmp_path, "seeds: 2\ntraining: {epochs: 3}\narchitectures: [[8], [4]]\n")
    made.logs_root = tmp_path / "logs"
    made.logs = SweepLogs(made.logs_root, made.sweep, made.results)
    for one in made.plan:
        put(made, made.record(one), f"curves of {one.fingerprint}")
    return made


def put(made, record, curves):
    folder = made.put(record)
    for name in ("train", "validation"):
        (folder / "events" / name).mkdir(parents=True, exist_ok=True)
        (folder / "events" / name / "events.out.tfevents.1").write_text(curves)
    seal(folder)


def sync(made):
    made.logs.sync(made.plan, made.records)


def shown(made):
    """Trial folder to the text of its training curves (None without), for all of the sweep."""
    found = {}
    for marker in made.logs.trials_folder.rglob(".trial"):
        curves = marker.parent / "train" / "events.out.tfevents.1"
        name = marker.parent.relative_to(made.logs.trials_folder).as_posix()
        found[name] = curves.read_text() if curves.exists() else None
    return found


def state(folder):
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def expected(made):
    return {f"{t.architecture.name}/seed-{t.seed}": f"curves of {t.fingerprint}" for t in made.plan}


def test_every_trial_is_shown_under_its_name_and_seed(made):
    sync(made)
    assert shown(made) == expected(made)


def test_what_is_in_step_is_left_alone(made):
    sync(made)
    before = state(made.logs_root)
    sync(made)
    assert state(made.logs_root) == before


def test_a_rename_moves_the_curves_along(made):
    sync(made)
    text = made.sweep.path.read_text().replace("[[8]", "[{name: wide, layers: [8]}")
    renamed = Made(made.sweep.path.parent, text)
    made.plan, made.sweep = renamed.plan, renamed.sweep
    again(made)
    sync(made)
    assert shown(made) == expected(made)
    assert sorted(path.name for path in made.logs.trials_folder.glob("[!_]*")) == ["4", "wide"]


def test_a_trial_that_nobody_asks_for_any_more_is_removed_with_its_folder(made):
    sync(made)
    made.plan = [t for t in made.plan if t.architecture.name == "8" and t.seed == 0]
    sync(made)
    assert list(shown(made)) == ["8/seed-0"]
    assert [path.name for path in made.logs.trials_folder.glob("[!_]*")] == ["8"]
    made.plan = []
    sync(made)
    assert not made.logs.folder.exists() or not list(made.logs.folder.iterdir())


def test_a_folder_that_is_not_ours_stays(made):
    foreign = [made.logs.folder / "8" / "my-notes", made.logs.folder / "other", made.logs_root / "another-sweep"]
    for folder in foreign:
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.7").write_text("mine")
    sync(made)
    made.plan = []
    sync(made)
    assert all((folder / "events.out.tfevents.7").read_text() == "mine" for folder in foreign)
    assert not shown(made)


def test_curves_in_a_trials_own_place_that_are_not_ours_stay(made):
    """Somebody's own run in the folder of seed 0, made before the sweep had such a trial."""
    folder = made.logs.trial_folder(made.plan[0]) / "train"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.7").write_text("mine")
    with pytest.raises(SweepError, match=r"seed-0 holds files of somebody else: move them away"):
        sync(made)
    assert [p for p in made.logs.trials_folder.rglob("events.out.tfevents.7*") if p.read_text() == "mine"]


def test_a_trial_trained_anew_shows_the_new_curves_only(made):
    sync(made)
    one = made.plan[0]
    train_some(made, one, "live", name="events.out.tfevents.0")
    assert shown(made)["8/seed-0"] is None
    assert list(made.logs.trials_folder.rglob("events.out.tfevents.0"))
    put(made, made.record(one, loss=2.0), "new curves")
    made.logs.show(one, made.records[one.fingerprint])
    assert shown(made)["8/seed-0"] == "new curves"
    assert not list(made.logs.trials_folder.rglob("events.out.tfevents.0"))


def test_a_quick_look_leaves_no_curves_under_a_full_trials_name(made):
    sync(made)
    full = dict(expected(made))
    quick = Made(made.sweep.path.parent, made.sweep.path.read_text().replace("epochs: 3", "epochs: 1"))
    plan, made.plan = made.plan, quick.plan
    sync(made)
    assert not shown(made), "trials of one epoch have no record yet"
    made.plan = plan
    sync(made)
    assert shown(made) == full


def train_some(made, one, curves, name="events.out.tfevents.1", logs=None, at_once=True):
    """What a trial in training has written so far, and its view brought in step."""
    live = made.results.live_folder(one.fingerprint)
    (live / "train").mkdir(parents=True, exist_ok=True)
    (live / "train" / name).write_text(curves)
    (logs or made.logs).mirror(one, live, at_once=at_once)


def view_of(made, one):
    return made.logs.trial_folder(one) / "train" / "events.out.tfevents.1"


def test_the_live_curves_of_an_interrupted_trial_stay_while_it_is_asked_for(made):
    one = made.plan[0]
    del made.records[one.fingerprint]
    train_some(made, one, "live")
    view = view_of(made, one)
    again(made)
    sync(made)
    assert view.read_text() == "live"
    made.plan = made.plan[1:]
    sync(made)
    assert not view.exists()
    assert made.logs.take_notices() == []


def test_the_live_curves_of_another_trial_go_even_before_this_one_has_a_record(made):
    one = made.plan[0]
    other = dataclasses.replace(one, fingerprint="0" * 64)
    train_some(made, other, "live")
    del made.records[one.fingerprint]
    again(made)
    sync(made)
    assert not made.logs.trial_folder(one).exists()


def again(made):
    """The next run."""
    made.logs = SweepLogs(made.logs_root, made.sweep, made.results)


def test_curves_in_training_grow_in_the_file_that_a_reader_has_open_until_they_are_the_records(made):
    one = made.plan[0]
    del made.records[one.fingerprint]
    train_some(made, one, "one epoch")
    with view_of(made, one).open() as reader:
        assert reader.read() == "one epoch"
        train_some(made, one, "one epoch, two epochs")
        assert reader.read() == ", two epochs"
        put(made, made.record(one), "one epoch, two epochs, the end")
        made.logs.show(one, made.records[one.fingerprint])
        assert reader.read() == ", the end"
    assert shown(made)["8/seed-0"] == "one epoch, two epochs, the end"
    assert made.logs.take_notices() == []


def test_a_trial_is_shown_at_most_once_a_second_while_it_trains(made, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("fmnist_mlp.logs.views.time.monotonic", lambda: clock[0])
    one, seen = made.plan[0], []
    for clock[0], text in ((100.0, "a"), (100.5, "ab"), (101.0, "abc")):
        train_some(made, one, text, at_once=False)
        seen.append(view_of(made, one).read_text())
    assert seen == ["a", "a", "abc"]


def test_logs_that_are_deleted_while_a_trial_trains_come_back(made):
    one = made.plan[0]
    train_some(made, one, "one epoch")
    shutil.rmtree(made.logs.trials_folder)
    train_some(made, one, "one epoch, two epochs")
    assert shown(made) == {"8/seed-0": "one epoch, two epochs"}


def test_a_folder_that_shows_another_runs_trial_by_now_is_left_to_it(made):
    """Two runs of one file, edited in between: each keeps its own curves beside the records, one has the name."""
    one = made.plan[0]
    other = dataclasses.replace(one, fingerprint="0" * 64)
    theirs = SweepLogs(made.logs_root, made.sweep, made.results)
    train_some(made, one, "ours")
    theirs.sync([other], {})
    train_some(made, other, "theirs", logs=theirs)
    train_some(made, one, "ours, longer")
    assert shown(made) == {"8/seed-0": "theirs"}


def test_what_a_person_did_to_a_view_gets_another_name_out_of_tensorboards_sight(made):
    sync(made)
    view = view_of(made, made.plan[0])
    kept = made.results.record_folder(made.plan[0].fingerprint) / "events/train" / view.name
    before = kept.read_bytes()
    with view.open("a") as file:
        file.write(", and mine")
    again(made)
    sync(made)
    assert kept.read_bytes() == before
    assert shown(made) == expected(made)
    assert made.logs.take_notices() == [f"{view} was changed since it was written: it is kept as events.out.edited-1.1"]
    assert (view.parent / "events.out.edited-1.1").read_text().endswith(", and mine")


def test_what_a_person_put_beside_the_views_stays_when_they_go(made):
    sync(made)
    mine = [made.logs.trial_folder(made.plan[0]) / "notes.ipynb", made.logs.trials_folder / "8" / "picture.png"]
    for path in mine:
        path.write_text("mine")
    made.plan = [one for one in made.plan if one.architecture.name != "8"]
    again(made)
    sync(made)
    assert [path.read_text() for path in mine] == ["mine", "mine"]
    assert not list(made.logs.trials_folder.glob("8/**/events*"))


def test_logs_of_an_earlier_version_are_taken_over(made):
    """It had trials here, linked event files to the records and marked folders; what is not surely its own stays."""
    done, interrupted = made.plan[0], made.plan[2]
    del made.records[interrupted.fingerprint]
    for one, state in ((done, "done 1"), (interrupted, "training")):
        folder = made.logs.folder / run_of(one)
        (folder / "train").mkdir(parents=True)
        (folder / ".trial").write_text(f"{one.fingerprint} {state}\n")
    folder = made.logs.folder / run_of(done)
    record = made.results.record_folder(done.fingerprint) / "events" / "train" / "events.out.tfevents.1"
    os.link(record, folder / "train" / record.name)
    write_events(folder / "events.out.tfevents.7.here.session", "from before")
    (folder / "train" / "events.out.tfevents.9.mine").write_text("mine")
    (made.logs.folder / run_of(interrupted) / "train" / "events.out.tfevents.8").write_text("half a training")
    sync(made)
    assert shown(made) == {name: text for name, text in expected(made).items() if name != "4/seed-0"}
    assert not (folder / "train" / record.name).exists()
    assert not (folder / "events.out.tfevents.7.here.session").exists()
    assert (folder / "train" / "events.out.tfevents.9.mine").read_text() == "mine"
    left = made.logs.folder / run_of(interrupted) / "train"
    assert {path.name: path.read_text() for path in left.iterdir()} == {"events.out.edited-1.8": "half a training"}
    assert len(made.logs.take_notices()) == 1


def test_logs_that_cannot_be_written_are_the_users_to_mend(made):
    made.logs_root.write_text("a file where the folder should be")
    with pytest.raises(SweepError, match="cannot write"):
        sync(made)
