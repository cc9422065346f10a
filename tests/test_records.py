"""Records: they come back as they were written, and are refused and named where anything of them is damaged."""

import json
import math
import os
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fmnist_mlp.files import seal
from fmnist_mlp.results import store as results
from fmnist_mlp.results.record import DamagedRecord, Record, is_of_the_machine
from fmnist_mlp.results.store import Results


@pytest.fixture
def done(made):
    """A whole record of the first trial: (made, record, its record.json)."""
    record = made.record(made.plan[0])
    return made, record, made.put(record) / "record.json"


def is_refused(made, record):
    with pytest.raises(DamagedRecord) as caught:
        made.results.load_record(record.fingerprint)
    return str(caught.value)


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


@pytest.mark.slow
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
