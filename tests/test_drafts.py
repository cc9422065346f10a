"""What is written is there whole or not at all: drafts, checkpoints, and a disk that is full."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sweeping import Made, write_checkpoint
from test_records import done

from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import store as results
from fmnist_mlp.results import views

__all__ = ["done"]  # fixtures, used by name


def files(folder):
    """What lies below a folder, but for what journals say of it and seals, which are checked by what reads them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (views.JOURNAL, "SHA256SUMS"))
    return {path.relative_to(folder): path.read_bytes() for path in paths}


# ---- drafts


def test_a_draft_is_no_record_until_its_block_ends(made):
    place = made.results.record_folder("a" * 64)
    with made.results.draft("a" * 64) as draft:
        (draft / "events").mkdir()
        (draft / "events" / "one").write_text("1")
        assert not place.exists()
    assert files(place) == {Path("events/one"): b"1"}
    assert not made.drafts()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_draft_is_removed_on_an_error(error, done):
    made, record, path = done
    before = files(path.parent)

    def write_half():
        with made.results.draft(record.fingerprint) as draft:
            (draft / "record.json").write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert files(path.parent) == before
    assert not made.drafts()


def test_a_draft_replaces_an_older_record_whole(done):
    made, record, path = done
    (path.parent / "left over").write_text("from before")
    made.put(record, model=b"another")
    names = ["SHA256SUMS", "events", "model.keras", "predictions.npz", "record.json"]
    assert sorted(p.name for p in path.parent.iterdir()) == names
    assert (path.parent / "model.keras").read_bytes() == b"another"
    assert not made.drafts()


def test_a_checkpoint_is_replaced_whole_and_dropped(made):
    for text in ("one", "two"):
        with made.results.checkpoint_draft("a" * 64) as draft:
            (draft / text).write_text(text)
    folder = made.results.checkpoint_folder("a" * 64)
    assert files(folder) == {Path("two"): b"two"}
    made.results.drop_checkpoint("a" * 64)
    made.results.drop_checkpoint("a" * 64)
    assert not folder.exists()
    assert not made.drafts()


# ---- a full disk


def _full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


WRITERS = {
    "a record": lambda made: made.put(made.record(made.plan[1])),
    "a record that replaces one": lambda made: made.put(made.record(made.plan[0], test_loss=9.0)),
    "a checkpoint": lambda made: write_checkpoint(made),
    "the tables": lambda made: made.write_tables(),
    "the claim of a sweep": lambda made: made.results.registry.claim_sweep(made.sweep, made.plan),
    "the memory of the images": lambda made: made.results.save_data_memory({"a": 1}),
}


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_said_and_harms_nothing(what, call, done, monkeypatch):
    made, _, _ = done
    before = files(made.root)
    monkeypatch.setattr(results.os, call, _full)
    with pytest.raises(SweepError, match=r"cannot write .*: No space left on device; what is finished is kept"):
        WRITERS[what](made)
    monkeypatch.undo()
    assert files(made.root) == before
    assert not made.drafts()


def test_a_record_that_cannot_be_moved_in_leaves_the_older_one(done, monkeypatch):
    made, record, path = done
    before = files(made.root)
    replace = os.replace

    def replace_but_not_there(source, target):
        return _full() if Path(target) == path.parent and ".drafts" in str(source) else replace(source, target)

    monkeypatch.setattr(results.os, "replace", replace_but_not_there)
    with pytest.raises(SweepError, match="No space left on device"):
        made.put(record.model_copy(update={"weights": "newer"}))
    monkeypatch.undo()
    assert files(made.root) == before
    assert not made.drafts()


def test_a_full_disk_while_a_model_is_copied_is_said_and_leaves_the_older_one(done, monkeypatch):
    made, record, _ = done
    made.show_models()
    made.put(record, model=b"another")
    before = files(made.root)
    monkeypatch.setattr(results.os, "replace", _full)
    with pytest.raises(SweepError, match="No space left on device"):
        made.show_models()
    monkeypatch.undo()
    assert files(made.root) == before
    assert not made.drafts()


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a small file system, which only root may mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_harms_no_finished_record(tiny_disk):
    made = Made(tiny_disk)
    made.put(made.record(made.plan[0]))
    made.write_tables()
    before = files(made.root)
    with pytest.raises(SweepError, match="No space left on device"):
        made.put(made.record(made.plan[1]), model=b"x" * 400_000)
    assert files(made.root) == before
    assert not made.drafts()
    (tiny_disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(tiny_disk).free))
    made.records[made.plan[1].fingerprint] = made.record(made.plan[1])
    with pytest.raises(SweepError, match="No space left on device"):
        made.write_tables()
    assert files(made.root) == before
    assert not made.drafts()
    (tiny_disk / "ballast").unlink()
    made.put(made.record(made.plan[1]))
    assert made.results.load_record(made.plan[0].fingerprint) == made.records[made.plan[0].fingerprint]
