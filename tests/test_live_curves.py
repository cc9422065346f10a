"""Curves while a trial trains: read as they grow, kept whole or not at all, after a resumption once an epoch."""

import io
import shutil
from unittest.mock import ANY

import numpy as np
import pytest
from one_trial import Asked, run, source, tiny_trials, worker  # noqa: F401 (fixtures)
from reading_logs import read, tagged, write_events
from test_tensorboard_logs import SWEEP

from fmnist_mlp.errors import SweepError
from fmnist_mlp.logs.events import event_file, events_in, is_whole, text_value
from fmnist_mlp.logs.live import LiveLog, keep_events
from fmnist_mlp.results.store import Results


def test_a_trial_starts_with_an_empty_folder(tmp_path):
    folder = tmp_path / "live"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "events.out.tfevents.1").write_text("of a process that was killed")
    LiveLog(folder)
    assert not list(folder.iterdir())


def test_curves_can_be_read_as_soon_as_they_are_added(tmp_path):
    before = "events.out.tfevents.0000000001.here.v2"
    write_events(tmp_path / "checkpoint" / "events" / "train" / before, "of an earlier run")
    with LiveLog(tmp_path / "live", tmp_path / "checkpoint") as log:
        log.add(3, {"loss": 0.5, "learning_rate": 1e-3, "val_loss": 0.75}, {"weights": [[1.0, 2.0], [np.nan, 1.0]]})
        log.add(4, {"loss": 0.25})
        first, last = sorted((tmp_path / "live" / "train").iterdir())
        assert first.name == before
        first.unlink()
        curves = read(tmp_path / "live" / "train")
        assert curves == {"epoch_loss": [(3, 0.5), (4, 0.25)], "learning_rate": ANY, "weights": []}
        assert read(tmp_path / "live" / "validation") == {"epoch_loss": [(3, 0.75)]}
    (buckets,) = tagged(tmp_path / "live" / "train")["weights"]
    assert (buckets[0].tolist(), buckets[-1, 1:].tolist()) == ([1.0, pytest.approx(1 + 1 / 30), 2.0], [2.0, 1.0])
    assert is_whole(last)


def test_curves_that_cannot_be_written_are_the_users_to_mend(tmp_path):
    log = LiveLog(tmp_path / "live")
    (tmp_path / "live" / "train").write_text("a file where the folder should be")
    with pytest.raises(SweepError, match="cannot write"):
        log.add(0, {"loss": 1.0})


def test_a_resumed_trial_starts_with_the_curves_of_its_checkpoint(tmp_path):
    live, checkpoint = tmp_path / "live", tmp_path / "checkpoint"
    path = live / "train" / "events.out.tfevents.1"
    two_epochs = write_events(path, "one epoch", "two epochs")
    keep_events(live, checkpoint)
    with path.open("ab") as file:
        file.write(b", and half of a third")
    LiveLog(live, checkpoint)
    assert path.read_bytes() == two_epochs
    with path.open("ab") as file:
        file.write(b", and more")
    kept = checkpoint / "events" / "train" / path.name
    assert kept.read_bytes() == two_epochs, "a copy: it may be needed again"


def test_records_and_checkpoints_take_copies_of_the_event_files_alone(tmp_path):
    live = tmp_path / "live"
    path = live / "validation" / "events.out.tfevents.1"
    curves = write_events(path, "curves")
    (live / "else").write_text("no events")
    keep_events(live, tmp_path / "draft")
    kept = tmp_path / "draft" / "events" / "validation" / path.name
    assert kept.read_bytes() == curves
    assert not kept.samefile(path)
    assert [p.name for p in (tmp_path / "draft").rglob("*") if p.is_file()] == [path.name]


def test_event_files_are_to_the_byte_what_tensorboards_own_writer_makes():
    from tensorboard.summary.writer.record_writer import RecordWriter

    _, content = event_file("any", [(step, [text_value("text", "x" * 10**step)]) for step in range(5)])
    rewritten = io.BytesIO()
    for event in events_in(content):
        RecordWriter(rewritten).write(event.SerializeToString())
    assert rewritten.getvalue() == content


def test_event_files_cut_at_any_byte_are_never_kept(tmp_path):
    """TensorFlow's writer is silent when the disk is full; the curves would simply end."""
    path = tmp_path / "live" / "events.out.tfevents.1"
    whole = write_events(path, "one", "two")
    ends = {0, len(whole) // 2, len(whole)}
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length in ends - {0}:
            keep_events(path.parent, tmp_path / f"draft-{length}")
        else:
            with pytest.raises(SweepError, match="is cut off"):
                keep_events(path.parent, tmp_path / f"draft-{length}")


@pytest.mark.slow
def test_a_resumed_trial_has_every_epoch_once(source, tmp_path):  # noqa: F811
    from fmnist_mlp.engines.calls import Stopped

    one = tiny_trials(tmp_path, SWEEP)[2]  # the worker has its program at hand
    with pytest.raises(Stopped):
        run(one, source, tmp_path, stop_after=2)
    record = run(one, source, tmp_path)
    events = Results(tmp_path / "results").record_folder(one.fingerprint) / "events"
    for name in ("train", "validation"):
        points = sorted(read(events / name)["epoch_loss"])
        assert [step for step, _ in points] == [0, 1, 2]
    assert [value for _, value in points] == pytest.approx(record.history["val_loss"], rel=1e-6)


@pytest.mark.slow
def test_curves_grow_while_one_watches(source, tmp_path):  # noqa: F811
    """At the end of the first epoch its point can be read already."""
    one = tiny_trials(tmp_path, SWEEP)[2]  # the worker has its program at hand
    seen = []

    class Watching(Asked):
        def report(self, message):
            if message["epoch"] == 1:
                live = Results(tmp_path / "results").live_folder(one.fingerprint)
                seen.append(read(live / "validation").get("epoch_loss"))

    from fmnist_mlp.training import trial

    trial.run_trial(Watching(), trial.Task(one, source, None, tmp_path / "results", 0.0))
    assert [[step for step, _ in points] for points in seen] == [[0]]
    assert not Results(tmp_path / "results").live_folder(one.fingerprint).exists(), "the record has them"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "validation"])
def test_curves_that_are_deleted_while_a_trial_trains_are_made_anew_and_it_is_said(part, source, tmp_path):  # noqa: F811
    from fmnist_mlp.training import trial

    one = tiny_trials(tmp_path, SWEEP)[2]

    class Deleting(Asked):
        def report(self, message):
            super().report(message)
            if message.get("epoch") == 2:
                shutil.rmtree(Results(tmp_path / "results").live_folder(one.fingerprint) / part)

    asked = Deleting()
    record = trial.run_trial(asked, trial.Task(one, source, None, tmp_path / "results", 0.0))
    events = Results(tmp_path / "results").record_folder(one.fingerprint) / "events"
    for name, prefix in (("train", ""), ("validation", "val_")):
        curves = read(events / name)
        for measure in ("loss", "accuracy"):
            assert dict(curves[f"epoch_{measure}"]) == pytest.approx(
                dict(enumerate(record.history[prefix + measure])), rel=1e-6
            )
    (note,) = record.notes
    assert note.startswith("its curves were deleted while it trained")
    assert [message["notice"] for message in asked.messages if "notice" in message] == [f"{one.in_words}: {note}"]
