"""What lies under `results/`: records that are whole or refused, tables that pandas reads, files that never tear."""

import errno
import io
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sweeping import Made

from fmnist_mlp.data.class_names import carried_by
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results import ranking, table, views
from fmnist_mlp.results import store as results
from fmnist_mlp.results.record import DamagedRecord, Latency, Record, is_of_the_machine
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.trials import list_trials

README = Path(__file__).parent.parent / "results" / "README.md"


@pytest.fixture
def done(made):
    """A whole record of the first trial: (made, record, its record.json)."""
    record = made.record(made.plan[0])
    return made, record, made.put(record) / "record.json"


def is_refused(made, record):
    with pytest.raises(DamagedRecord) as caught:
        made.results.load_record(record.fingerprint)
    return str(caught.value)


def files(folder):
    """What lies below a folder, but for what journals say of it and seals, which are checked by what reads them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (views.JOURNAL, "SHA256SUMS"))
    return {path.relative_to(folder): path.read_bytes() for path in paths}


# ---- records


def test_a_record_comes_back_as_it_was_written(made):
    numbers = [0.1 + 0.2, 1e-300, 5e-324, 1.7976931348623157e308, 1 / 3, -0.0]
    record = made.record(made.plan[0]).model_copy(
        update={"history": {"loss": numbers, "accuracy": numbers}, "weights": "best val_loss: epoch 2 \u00e9\U0001f45f"}
    )
    made.put(record)
    loaded = made.results.load_record(record.fingerprint)
    assert loaded == record
    assert [x.hex() for x in loaded.history["loss"]] == [x.hex() for x in numbers]


@pytest.mark.parametrize(
    ("error_type", "message", "expected"),
    [
        ("MemoryError", "", True),
        ("_ArrayMemoryError", "Unable to allocate 8.00 GiB for an array", True),
        ("ResourceExhaustedError", "OOM when allocating tensor with shape[1000,1000]", True),
        ("InternalError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 42 bytes", True),
        ("InternalError", "failed call to cuInit: CUDA_ERROR_UNKNOWN", True),
        ("OSError", "[Errno 28] No space left on device: '/tmp/x'", True),
        ("OSError", "[Errno 24] Too many open files", True),
        ("RuntimeError", "can't start new thread", True),
        ("WorkerDied", "killed by SIGKILL (out of memory?)", True),
        ("TrainingDiverged", "loss became nan in epoch 1", False),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'x'", False),
        ("InvalidArgumentError", "Incompatible shapes: [32,8] vs. [32,4]", False),
        ("TimedOut", "no result after 30 s", False),
    ],
)
def test_a_failure_is_the_machines_or_the_trials(error_type, message, expected):
    assert is_of_the_machine(error_type, message) == expected


def test_a_record_from_before_failures_were_counted_is_tried_again_where_the_machine_failed(made):
    record = made.record(made.plan[0], failed=True)
    assert not record.is_tried_again()
    died = record.model_copy(update={"error": {"type": "WorkerDied", "message": "killed by SIGKILL"}})
    assert died.is_tried_again()


def test_a_failed_record_needs_no_model(made):
    record = made.record(made.plan[0], failed=True)
    made.put(record)
    assert made.results.load_record(record.fingerprint) == record


def test_a_history_that_is_not_finite_comes_back_as_nothing(made):
    record = made.record(made.plan[0]).model_copy(
        update={"history": {"loss": [1.0, math.nan, math.inf], "accuracy": [0.5]}}
    )
    made.put(record)
    assert made.results.load_record(record.fingerprint).history["loss"] == [1.0, None, None]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_refused_when_written_not_when_read(made, value):
    """Else its trial would look done, be found damaged by the next run, and be trained again by every run."""
    with pytest.raises(ValueError, match="finite"):
        Record.model_validate(made.record(made.plan[0]).model_dump() | {"metrics": {"test_loss": value}})


def test_there_is_no_record_before_there_is_one(made):
    assert made.results.load_record(made.plan[0].fingerprint) is None
    assert not made.root.exists(), "looking writes nothing"


def test_a_record_cut_at_any_byte_is_refused(done):
    made, record, path = done
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert f"{path}: is damaged or was edited" in is_refused(made, record)
    (path.parent / "SHA256SUMS").unlink()
    for length in range(len(content) - 1):  # without its last newline it is still whole
        path.write_bytes(content[:length])
        assert "is not a whole record" in is_refused(made, record)


@pytest.mark.parametrize("name", ["record.json", "model.keras", "predictions.npz", "SHA256SUMS", "events/train/e"])
@pytest.mark.parametrize("where", [0, 0.5, 1])
@pytest.mark.parametrize("is_kept_time", [True, False])
def test_a_changed_byte_of_any_file_of_a_record_is_named(name, where, is_kept_time, done):
    made, record, path = done
    file = next(path.parent.glob(f"{name}*"))
    content, about = bytearray(file.read_bytes()), file.stat()
    content[round(where * (len(content) - 1))] ^= 1
    file.write_bytes(content)
    if is_kept_time:
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert str(file if name != "SHA256SUMS" else path.parent) in is_refused(made, record)


def test_a_digit_that_makes_a_record_better_is_found(done):
    """One that a checksum alone shows: the record is whole and agrees with its fingerprint."""
    made, record, path = done
    path.write_text(path.read_text().replace('"test_accuracy": 0.75', '"test_accuracy": 0.85', 1))
    assert json.loads(path.read_text())["metrics"]["test_accuracy"] == 0.85
    assert is_refused(made, record) == f"{path}: is damaged or was edited: its SHA-256 is not the one in SHA256SUMS"


def test_damage_that_leaves_no_trace_in_times_is_found_when_it_is_read_and_by_the_next_run(done, monkeypatch):
    """A disk that flips a bit changes no clock: what is remembered of the file is forgotten."""
    made, record, path = done
    made.results.load_record(record.fingerprint)
    made.results.remember_digests()
    predictions = path.parent / "predictions.npz"
    real, stamp = results.files.stamp, results.files.stamp(predictions)
    predictions.write_bytes(predictions.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(results.files, "stamp", lambda path: stamp if str(path) == str(predictions) else real(path))
    later = Results(made.root)
    assert later.load_record(record.fingerprint) == record
    with pytest.raises(DamagedRecord, match=r"predictions\.npz: is damaged"):
        later.load_correct(record.fingerprint)
    assert list(later.damaged) == [predictions]
    later.remember_digests()
    with pytest.raises(DamagedRecord, match=r"predictions\.npz: is damaged"):
        Results(made.root).load_record(record.fingerprint)


def test_a_record_that_is_replaced_while_it_is_read_is_not_damaged(done, monkeypatch):
    made, record, _ = done
    read_sums, newer = results.files.read_sums, [made.record(made.plan[0], test_loss=0.5)]

    def replaced_in_between(folder):
        if newer:
            made.put(newer.pop())
        return read_sums(folder)

    monkeypatch.setattr(results.files, "read_sums", replaced_in_between)
    assert made.results.load_record(record.fingerprint).metrics["test_loss"] == 0.5


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@example(position=0, byte=0)
def test_a_record_that_was_sealed_with_a_wrong_byte_is_refused_or_can_be_tabulated(done, position, byte):
    """Never a traceback: what is accepted has all that tables, logs and models ask of it."""
    made, record, path = done
    whole = path.read_bytes()
    content = bytearray(whole)
    content[position % len(content)] = byte
    path.write_bytes(content)
    seal(path.parent)
    try:
        found = made.results.load_record(record.fingerprint)
    except DamagedRecord:
        return
    finally:
        path.write_bytes(whole)
    made.records = {record.fingerprint: found}
    made.write_tables()
    made.show_models()


def _without(*keys):
    def change(content):
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return json.dumps(content)

    return change


DAMAGES = {
    "no bytes": lambda content: "",
    "null bytes, as after a power cut": lambda content: "\0" * 500,
    "not JSON": lambda content: "status: done",
    "a list": lambda content: "[]",
    "a number": lambda content: "1",
    "null": lambda content: "null",
    "an empty object": lambda content: "{}",
    "deep nesting": lambda content: "[" * 100_000,
    "deep nesting in an object": lambda content: '{"settings":' * 50_000,
    "a number of 5,000 digits": lambda content: "1" * 5_000,
    "a newer format": lambda content: json.dumps(content | {"format": 99}),
    "a format that is no number": lambda content: json.dumps(content | {"format": [1]}),
    "another trial's": lambda content: json.dumps(content | {"fingerprint": "0" * 64}),
    "settings of another trial": lambda content: json.dumps(content | {"settings": content["settings"] | {"seed": 7}}),
    "an unknown key": lambda content: json.dumps(content | {"surprise": 1}),
    "an unknown status": lambda content: json.dumps(content | {"status": "nearly"}),
    "text for a number": lambda content: json.dumps(content | {"params": "many"}),
    "no settings": _without("settings"),
    "no metrics": lambda content: json.dumps(content | {"metrics": {}}),
    "a metric too few": _without("metrics", "val_accuracy"),
    "a metric of null": lambda content: json.dumps(content | {"metrics": content["metrics"] | {"test_loss": None}}),
    "no history": lambda content: json.dumps(content | {"history": {}}),
    "no loss in the history": _without("history", "loss"),
    "an empty history": lambda content: json.dumps(content | {"history": {"loss": [], "accuracy": []}}),
    "no classes": lambda content: json.dumps(content | {"classes": {}}),
    "a class too few": lambda content: json.dumps(content | {"class_names": ["coat"]}),
    "a class without a row": _without("classes", "test", "confusion_matrix", 0),
    "memory of text": lambda content: json.dumps(
        content | {"measured": content["measured"] | {"peak_memory_bytes": "much"}}
    ),
    "no clocks": lambda content: json.dumps(content | {"measured": {}}),
    "clocks of text": lambda content: json.dumps(
        content | {"measured": {"train_seconds": "long", "epoch_seconds": ["a"]}}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_refused_and_the_file_named(damage, done):
    made, record, path = done
    path.write_text(DAMAGES[damage](json.loads(path.read_text())))
    seal(path.parent)
    assert str(path) in is_refused(made, record)


def test_a_record_of_a_newer_version_says_so(done):
    made, record, path = done
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 7}))
    seal(path.parent)
    assert is_refused(made, record) == f"{path}: has format 7, this version reads 3"


@pytest.mark.parametrize("missing", [["model.keras"], ["predictions.npz"], ["model.keras", "predictions.npz"]])
def test_a_done_record_without_its_files_is_refused(missing, done):
    made, record, path = done
    for name in missing:
        (path.parent / name).unlink()
    assert is_refused(made, record) == f"{path.parent}: lacks {', '.join(missing)}"


def test_something_else_at_a_records_place_is_refused_and_replaced(done):
    made, record, path = done
    shutil.rmtree(path.parent)
    path.parent.write_text("a file, not a folder")
    is_refused(made, record)
    made.put(record)
    assert made.results.load_record(record.fingerprint) == record
    path.unlink()
    path.mkdir()
    is_refused(made, record)
    made.put(record)
    assert made.results.load_record(record.fingerprint) == record


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
    "a checkpoint": lambda made: _write_checkpoint(made),
    "the tables": lambda made: made.write_tables(),
    "the claim of a sweep": lambda made: made.results.registry.claim_sweep(made.sweep, made.plan),
    "the memory of the images": lambda made: made.results.save_data_memory({"a": 1}),
}


def _write_checkpoint(made):
    with made.results.checkpoint_draft("c" * 64) as draft:
        (draft / "arrays.npz").write_bytes(b"x" * 100)


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


# ---- which sweep a folder belongs to


def test_a_sweep_folder_belongs_to_its_file_and_to_no_other_of_its_name(tmp_path):
    ours, theirs = (Made(_folder(tmp_path / name)) for name in ("ours", "theirs"))
    theirs.results = ours.results
    ours.results.registry.claim_sweep(ours.sweep, ours.plan)
    ours.results.registry.claim_sweep(ours.sweep, ours.plan)
    with pytest.raises(SweepError) as caught:
        theirs.results.registry.claim_sweep(theirs.sweep, theirs.plan)
    assert str(ours.sweep.path.resolve()) in str(caught.value)
    assert "name: ..." in str(caught.value)
    assert "--results-dir" in str(caught.value)
    ours.sweep.path.unlink()
    theirs.results.registry.claim_sweep(theirs.sweep, theirs.plan)


def _folder(path):
    path.mkdir()
    return path


def test_a_project_folder_may_be_moved_with_its_results(tmp_path):
    made = Made(_folder(tmp_path / "before"))
    made.results.registry.claim_sweep(made.sweep, made.plan)
    shutil.copytree(tmp_path / "before", tmp_path / "copy")
    moved = Made(tmp_path / "copy")
    moved.results.registry.claim_sweep(moved.sweep, moved.plan)


@pytest.mark.parametrize("content", ["", "[]", '{"sweep_file": 3}', "{" * 9999, '{"architectures": []}'])
def test_a_damaged_mark_of_a_sweep_folder_is_written_again(content, made):
    memory = made.root / "_sweeps" / "small.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content)
    assert made.results.registry.last_plan(made.sweep) == {}
    made.results.registry.claim_sweep(made.sweep, made.plan)
    assert json.loads(memory.read_text())["content"]["sweep_file"] == "../small.yaml"


def test_what_a_sweep_once_asked_for_is_remembered(made):
    first, *others = made.plan
    made.results.registry.claim_sweep(made.sweep, [first])
    made.results.registry.claim_sweep(made.sweep, others[:1], refits=others[1:])
    known = made.results.registry.known_sweep("small")
    assert known.asked_for == {trial.fingerprint for trial in made.plan}
    assert list(made.results.registry.last_plan(made.sweep)) == [others[0].architecture.name]


def test_the_mark_of_an_earlier_version_is_taken_over(made):
    older = made.folder / "sweep.json"
    older.parent.mkdir(parents=True)
    older.write_text(json.dumps({"sweep_file": "../small.yaml", "architectures": {"8": {"seed": 0}}}))
    assert made.results.registry.last_plan(made.sweep) == {"8": {"seed": 0}}
    assert made.results.registry.sweeps() == [("small", made.sweep.path.resolve())]
    made.results.registry.claim_sweep(made.sweep, made.plan)
    assert not older.exists()
    assert made.results.registry.sweeps() == [("small", made.sweep.path.resolve())]


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.text(max_size=20), st.text(alphabet="a./\\~:-_\0 ", min_size=1, max_size=8)))
@example(name="..")
@example(name="../../etc")
@example(name="/etc/passwd")
@example(name="a/../../b")
@example(name="_records")
@example(name="C:\\x")
def test_no_name_in_a_sweep_file_leads_out_of_its_folders(tmp_path, name):
    text = json.dumps({"name": name, "architectures": [{"name": name, "layers": [8]}]})
    (tmp_path / "any.yaml").write_text(text, encoding="utf-8")
    try:
        sweep = load_sweep(tmp_path / "any.yaml")
    except SweepError:
        return
    root = (tmp_path / "out").resolve()
    trial = list_trials(sweep, data_identity="tiny")[0]
    folder = Results(root).sweep_folder(sweep)
    assert folder.parent == folder.resolve().parent == root
    assert not folder.name.startswith(("_", "."))
    logs = SweepLogs(root / "logs", sweep, Results(root))
    assert logs.folder.resolve().parent == root / "logs"
    assert logs.trial_folder(trial).resolve().parent.parent.parent == root / "_trials"


# ---- models


def models(made):
    return {path.name: path.read_bytes() for path in (made.folder / "models").iterdir()}


def test_the_best_trial_by_validation_gives_the_model_whatever_it_does_on_test_images(made):
    first, second, *_ = made.plan
    made.put(made.record(first, test_accuracy=0.99, test_loss=0.01, val_accuracy=0.6), model=b"lucky on test")
    made.put(made.record(second, test_accuracy=0.5, test_loss=1.0, val_accuracy=0.7), model=b"best by validation")
    made.show_models()
    assert models(made) == {"8.keras": b"best by validation"}


def test_of_equal_trials_the_first_seed_gives_the_model(made):
    for trial in reversed(made.plan):
        made.put(made.record(trial), model=f"seed {trial.seed}".encode())
    made.show_models()
    assert models(made) == {"8.keras": b"seed 0", "deep.keras": b"seed 0"}


def test_models_follow_the_records(made):
    made.put_all()
    made.show_models()
    assert models(made) == {"8.keras": b"model 0", "deep.keras": b"model 2"}
    about = (made.folder / "models" / "8.keras").stat()
    made.show_models()
    assert (made.folder / "models" / "8.keras").stat().st_ino == about.st_ino
    made.put(made.record(made.plan[1], val_accuracy=0.95), model=b"better")
    del made.records[made.plan[2].fingerprint], made.records[made.plan[3].fingerprint]
    (made.folder / "models" / "notes.txt").write_text("mine")
    made.show_models()
    assert models(made) == {"8.keras": b"better", "notes.txt": b"mine"}


def test_a_failed_trial_gives_no_model(made):
    made.put(made.record(made.plan[0], failed=True))
    made.show_models()
    assert not (made.folder / "models").exists()


def test_a_model_is_a_copy_and_what_is_written_to_it_does_not_reach_the_record(made):
    made.put_all()
    made.show_models()
    record, model = made.results.record_folder(made.plan[0].fingerprint), made.folder / "models" / "8.keras"
    with model.open("ab") as file:  # into the file that is there, as Keras saves
        file.write(b", fine-tuned")
    assert (record / "model.keras").read_bytes() == b"model 0"
    made.show_models()
    assert models(made) == {"8.keras": b"model 0", "8.edited-1.keras": b"model 0, fine-tuned", "deep.keras": b"model 2"}
    assert made.results.take_notices() == [f"{model} was changed since it was written: it is kept as 8.edited-1.keras"]
    made.show_models()
    assert made.results.take_notices() == []


def test_models_that_an_earlier_version_linked_to_their_records_become_copies(made):
    """Also those that the sweep does not ask for any more: each was a door to a record."""
    made.put_all()
    folder = made.folder / "models"
    folder.mkdir(parents=True)
    for trial, name in zip(made.plan, ("8", "deep", "dropped", "dropped-too"), strict=True):
        os.link(made.results.record_folder(trial.fingerprint) / "model.keras", folder / f"{name}.keras")
    (folder / "8-finetuned.keras").write_bytes(b"mine")
    made.show_models()
    assert models(made) == {"8.keras": b"model 0", "deep.keras": b"model 2", "8-finetuned.keras": b"mine"}
    assert {path.stat().st_nlink for path in folder.iterdir()} == {1}
    assert made.results.take_notices() == []


# ---- the README that explains all this


def explained(heading):
    """Rows of the table under a heading of results/README.md: first cell to the others."""
    section = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(heading + "\n"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    names = [row[0].strip("`") for row in rows]
    assert len(names) == len(set(names)), "nothing is explained twice"
    return dict(zip(names, (row[1:] for row in rows), strict=True))


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("results.csv", table.RESULTS_COLUMNS),
        ("trials.csv", table.TRIALS_COLUMNS),
        ("history.csv", table.HISTORY_COLUMNS),
        ("classes.csv", table.CLASSES_COLUMNS),
    ],
)
def test_every_column_is_explained_in_order_and_measured_ones_are_marked(heading, columns):
    rows = explained(heading)
    assert list(rows) == [column.name for column in columns]
    assert {name: cells[0] == "measured" for name, cells in rows.items()} == {c.name: c.measured for c in columns}
    assert all(len(cells[-1]) > 5 for cells in rows.values())


def test_every_key_of_a_record_is_explained():
    assert list(explained("record.json")) == list(Record.model_fields)


def test_every_file_that_is_written_is_explained(made):
    made.put_all()
    made.results.registry.claim_sweep(made.sweep, made.plan)
    made.results.save_data_memory({})
    made.results.save_latency("a" * 64, Latency())
    made.write_tables()
    made.show_models()
    _write_checkpoint(made)
    with made.results.claim("a" * 64, may_wait=lambda: False) as is_ours:
        assert is_ours
        found = {path.relative_to(made.root).as_posix() for path in made.root.rglob("*") if path.is_file()}
    found = {re.sub(r"^_records/[0-9a-f]{64}/", "_records/<fingerprint>/", path) for path in found}
    found = {re.sub(r"^small/", "<sweep>/", path).replace("models/8.", "models/<architecture>.") for path in found}
    found = {path.replace("models/deep.", "models/<architecture>.") for path in found}
    found = {path.replace("_sweeps/small.", "_sweeps/<sweep>.") for path in found}
    found = {re.sub(r"/events/.*", "/events/", path) for path in found}
    known = list(explained("Files"))
    unexplained = {path for path in found if not any(path == k or (k[-1] == "/" and path.startswith(k)) for k in known)}
    # A record's folder and its files are explained one by one.
    assert not unexplained
    assert {path for path in found if path.startswith("_records/<")} <= set(known)


def test_predictions_are_explained():
    assert list(explained("predictions.npz")) == [
        *("label", "predicted", "probabilities", "val_label", "val_predicted", "val_probabilities"),
    ]  # test_trial reads a real one


# ---- two sweeps at once


def test_a_trial_is_one_sweeps_at_a_time(made):
    asked = itertools.count()
    with made.results.claim("a" * 64, may_wait=lambda: False) as ours:
        with Results(made.root).claim("a" * 64, may_wait=lambda: next(asked) < 2) as theirs:
            assert (ours, theirs) == (True, False)
        with Results(made.root).claim("b" * 64, may_wait=lambda: False) as another:
            assert another
    with Results(made.root).claim("a" * 64, may_wait=lambda: False) as free_again:
        assert free_again


def test_whoever_takes_a_trial_clears_away_what_a_killed_process_left_of_it(made):
    abandoned = made.results.draft("a" * 64)
    folder = abandoned.__enter__()  # and never left
    (folder / "record.json").write_text("half")
    with made.results.claim("a" * 64, may_wait=lambda: False):
        assert not folder.exists()


# ---- names of classes


def test_the_models_that_people_see_carry_the_names_of_today_and_records_none(tmp_path):
    made = Made(tmp_path)
    for i, trial in enumerate(made.plan):
        with io.BytesIO() as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("config.json", str(i))
            made.put(made.record(trial, val_accuracy=0.5 + i / 10), model=file.getvalue())
    best, folder = ranking.rank(made.state).best_trials, made.root / "small" / "models"
    records = [made.results.record_folder(trial.fingerprint) / "model.keras" for trial in made.plan]
    before = [path.read_bytes() for path in records]

    def carried():
        return [carried_by(path) for path in sorted(folder.glob("*.keras"))]

    made.results.show_models(made.sweep, best, ("cat", "dog"))
    assert carried() == [("cat", "dog")] * 2
    stamps = [path.stat().st_mtime_ns for path in sorted(folder.glob("*.keras"))]
    Results(made.root).show_models(made.sweep, best, ("cat", "dog"))
    assert [path.stat().st_mtime_ns for path in sorted(folder.glob("*.keras"))] == stamps
    Results(made.root).show_models(made.sweep, best, ("Katze", "Hund"))
    assert carried() == [("Katze", "Hund")] * 2
    assert len([*folder.iterdir()]) == 2  # renamed classes are no change of somebody's
    Results(made.root).show_models(made.sweep, {}, ("Katze", "Hund"))
    assert not [*folder.glob("*")]
    assert [path.read_bytes() for path in records] == before


def test_a_sweep_remembers_what_it_called_the_classes(tmp_path):
    made = Made(tmp_path)
    assert made.results.registry.class_names("small") == ()
    made.results.registry.claim_sweep(made.sweep, made.plan, ("cat", "dog"))
    assert made.results.registry.class_names("small") == ("cat", "dog")
    for damage in ('{"class_names": [1]}', '{"class_names": "ab"}', "", "{"):
        (made.root / "_sweeps" / "small.json").write_text(damage)
        assert made.results.registry.class_names("small") == ()
