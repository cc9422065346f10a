"""Sweeps as their users run them: a folder with a sweep file, `python sweep.py` in it, and what lies there afterwards.

For commands.py and test_end_to_end.py. What came out is read with the standard library alone, not with our own code.
"""

import csv
import functools
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import describe
from fmnist_mlp.engines.calls import Failure
from fmnist_mlp.logs import sweep_run
from fmnist_mlp.report import report
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.record import METRICS, Latency, Record, failed_record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.steps import count
from fmnist_mlp.sweepfile.sweep import Baseline
from fmnist_mlp.sweepfile.trials import list_trials

ROOT = Path(__file__).parent.parent
NOT_THE_USERS = ("KERAS_", "TF_", "XLA_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "FASHION_MNIST_DIR", "PYTEST_")


def done_record(
    trial,
    size=None,
    *,
    dataset="synthetic",
    epochs=3,
    seconds=2.0,
    environment=None,
    figure=0.75,
    **figures,
):
    """The record of a trial that nobody trained: `figure` for every metric that is not among the `figures`.

    The epochs after the first took half as long as the first. A refit has no validation.
    """
    size = size or StackSize(1, 1, 1)
    parts = ("test",) if trial.is_refit else ("test", "val")
    scores = {"precision": [0.5, 1.0], "recall": [1.0, 0.5], "f1": [0.75, None], "confusion_matrix": [[3, 1], [2, 4]]}
    return Record(
        fingerprint=trial.fingerprint,
        status="done",
        settings=trial.settings,
        dataset=dataset,
        params=size.params,
        trainable_params=size.trainable_params,
        flops=size.flops,
        model_bytes=1000,
        train_images=80,
        val_images=0 if trial.is_refit else 20,
        metrics={name: figures.get(name, figure) for name in METRICS if name.startswith(parts)},
        classes=dict.fromkeys(parts, scores),
        class_names=("coat", "bag"),
        history={
            name: [figure] * epochs
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            if not (trial.is_refit and name.startswith("val"))
        },
        weights="last epoch",
        environment=environment or {"device": "cpu", "tensorflow": "2.21.0", "keras": "3.15.1"},
        measured={
            "started_at": "2026-01-01T00:00:00+00:00",
            "started_at_seconds": 1767225600.0,
            "train_seconds": seconds,
            "epoch_seconds": [seconds / 2, *[seconds / 4] * (epochs - 1)],
            "peak_memory_bytes": 1_000_000,
        },
    )


def put_record(where, record, model=b"model", correct=(True, True, True, False)):
    """Put a record into a results folder, with the files of its status, its model right on these test images."""
    with where.draft(record.fingerprint) as draft:
        if record.is_done:
            (draft / "model.keras").write_bytes(model)
            correct = np.asarray(correct, bool)
            np.savez(draft / "predictions.npz", label=np.zeros(len(correct), np.uint8), predicted=1 - correct)
        events = draft / "events" / "train" / "events.out.tfevents.1.here"
        events.parent.mkdir(parents=True)
        events.write_bytes(record.fingerprint.encode())
        where.write_record(draft, record)
    return where.record_folder(record.fingerprint)


def write_checkpoint(made):
    with made.results.checkpoint_draft("c" * 64) as draft:
        (draft / "arrays.npz").write_bytes(b"x" * 100)


def invented_record(task):
    """What `trial.run_trial` leaves behind, with numbers that depend on the trial alone."""
    one = task.trial
    figure = int(one.fingerprint[:6], 16) / 16**6
    record = done_record(
        one,
        _size(one, task.source),
        dataset=task.source.dataset,
        epochs=one.architecture.training.epochs,
        figure=figure,
    )
    put_record(Results(task.results_root), record, model=one.fingerprint.encode())
    return record


def invented_latency(context, task):
    """What `latency.measure_latency` leaves behind, without a model."""
    latency = Latency(latency_seconds=0.001, latency_1000_seconds=0.01, environment={"device": "cpu"})
    Results(task.results_root).save_latency(task.key, latency)
    return latency


PICTURES = {
    "fmnist_mlp.report.report.report": report.report,
    "fmnist_mlp.logs.sweep_run.draw_cost": sweep_run.draw_cost,
}


def leave_out_pictures(patch):
    """No report and no picture in TensorBoard at the end of a sweep: they take a second and have tests of their own."""
    for name in PICTURES:
        patch.setattr(name, lambda *arguments, **options: None)


def draw_pictures(patch):
    """As if nobody had left them out."""
    for name, function in PICTURES.items():
        patch.setattr(name, function)


def _size(trial, source):
    """As planned: a finished trial of another size would say that what is remembered of the images is wrong."""
    if isinstance(trial.architecture, Baseline):
        return None
    shape, num_classes = _image_facts(source)
    return count(trial.architecture.training.preprocess, trial.architecture.layers, shape, num_classes)


@functools.cache
def _image_facts(source):
    info = describe(source, {})
    return info.image_shape, info.num_classes


SMALL = """
seeds: 2
training: {epochs: 3}
architectures:
  - [8]
  - name: deep
    layers: [8, BatchNormalization, 4]
"""


class Made:
    """A small sweep with its trials, and a results folder to put records into by hand."""

    def __init__(self, folder, text=SMALL, name="small.yaml"):
        (folder / name).write_text(text)
        self.root = folder / "results"
        self.results = Results(self.root)
        self.sweep = load_sweep(folder / name)
        self.sizes = check_shapes(self.sweep, (8, 8), 4)
        self.plan = list_trials(self.sweep, data_identity="tiny")
        self.records, self.latencies = {}, {}

    def record(self, trial, *, failed=False, **figures):
        size = self.sizes[trial.architecture.name]
        if failed:
            failure = Failure("TrainingDiverged", "loss became\nnan", "Traceback ...")
            return failed_record(trial, size, "idx:tiny", failure, environment={}, started=1767225600.0, seconds=1.0)
        return done_record(trial, size, dataset="idx:tiny", **figures)

    def put(self, record, **files):
        self.records[record.fingerprint] = record
        return put_record(self.results, record, **files)

    def put_all(self):
        """Every trial done, each with numbers and a model of its own."""
        for i, trial in enumerate(self.plan):
            record = self.record(trial, test_loss=0.1 + i / 3, test_accuracy=0.9 - i / 7, val_accuracy=0.8 - i / 9)
            self.put(record, model=f"model {i}".encode())

    @property
    def state(self):
        return table.SweepState(self.sweep, self.plan, self.records, self.sizes, "idx:tiny", latencies=self.latencies)

    def write_tables(self):
        return table.write_tables(self.state, self.results)

    def show_models(self):
        self.results.show_models(self.sweep, ranking.rank(self.state).best_trials)

    @property
    def folder(self):
        return self.root / self.sweep.name

    def drafts(self):
        """Whatever is left of something half-written, anywhere."""
        kept = {".claims", ".checkpoints", ".drafts", ".trial"}
        return [path for path in self.root.rglob("*") if path.name.startswith(".") and path.name not in kept] + list(
            (self.root / "_records" / ".drafts").glob("*")
        )


class Project:
    """A folder with `tiny.yaml` in it, where `sweep.py` is run and where everything lands."""

    def __init__(self, folder, text=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if text is not None:
            self.write(text)

    @property
    def results(self):
        return self.folder / "results"

    @property
    def logs(self):
        return self.folder / "logs"

    def trial_logs(self, sweep="tiny"):
        return self.results / "_trials" / sweep

    def write(self, text, name="tiny.yaml"):
        (self.folder / name).write_text(text, encoding="utf-8")

    def copy(self, folder):
        """The project with all that came of it, at another place and with the times of its files."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Project(folder)

    def sweep(self, *arguments, environment=None, code=0, timeout=240):
        """Run `python sweep.py tiny.yaml` here to its end, which must be this exit code."""
        options = self._options(arguments, environment)
        done = subprocess.run(**options, capture_output=True, text=True, encoding="utf-8", timeout=timeout)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def start(self, *arguments):
        """Run it in a process group of its own and return at once; `with` waits for its end."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        return subprocess.Popen(**self._options(arguments, None), **pipes, start_new_session=True)

    def _options(self, arguments, environment):
        names_a_file = any(str(argument).endswith(".yaml") for argument in arguments)
        command = [sys.executable, ROOT / "sweep.py", *([] if names_a_file else ["tiny.yaml"]), *arguments]
        return {"args": command, "cwd": self.folder, "env": self.environment() | (environment or {})}

    def environment(self):
        """A shell with an empty home, no images, and nothing of what conftest.py sets for this process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_THE_USERS)}
        home = str(self.folder / "home")
        return kept | {"HOME": home, "KERAS_HOME": f"{home}/.keras", "PYTHONPATH": str(ROOT)}

    # ---- what came out

    def rows(self, sweep="tiny"):
        """`results.csv`: architecture to row, all text."""
        return {row["architecture"]: row for row in read_csv(self.results / sweep / "results.csv")}

    def trials(self, sweep="tiny"):
        """`trials.csv`: (architecture, seed) to row, all text; a refit is `64-32 refit`."""
        rows = read_csv(self.results / sweep / "trials.csv")
        return {(row["architecture"] + " refit" * (row["refit"] == "1"), int(row["seed"])): row for row in rows}

    def record_folder(self, architecture, seed=0, sweep="tiny"):
        return self.results / "_records" / self.trials(sweep)[architecture, seed]["fingerprint"]

    def record(self, architecture, seed=0, sweep="tiny"):
        return json.loads((self.record_folder(architecture, seed, sweep) / "record.json").read_text("utf-8"))

    def numbers(self, sweep="tiny"):
        """All that must be the same to the last bit, by file: tables, records, models, predictions."""
        folder, columns = self.results / sweep, {}
        columns["results.csv"] = unmeasured(folder / "results.csv", table.RESULTS_COLUMNS)
        columns["trials.csv"] = unmeasured(folder / "trials.csv", table.TRIALS_COLUMNS)
        columns["history.csv"] = unmeasured(folder / "history.csv", table.HISTORY_COLUMNS)
        columns["classes.csv"] = unmeasured(folder / "classes.csv", table.CLASSES_COLUMNS)
        records = {}
        for row in self.trials(sweep).values():
            place = self.results / "_records" / row["fingerprint"]
            record = json.loads((place / "record.json").read_text("utf-8"))
            del record["measured"]
            for name in ("host", "commit"):  # where it was made and by which checkout, not what it is
                record["environment"].pop(name, None)
            records[row["architecture"], row["seed"], row["refit"]] = record
            for name in ("model.keras", "predictions.npz"):
                if (place / name).exists():
                    records[row["architecture"], row["seed"], row["refit"], name] = sha256(place / name)
        models = {path.name: sha256(path) for path in sorted((folder / "models").glob("*"))}
        return columns | records | {"models": models}

    def curves(self, sweep="tiny"):
        """Folders of each trial's logs that hold curves or final figures, and how many files of them."""
        found = {}
        for path in self.trial_logs(sweep).rglob("events.out.tfevents.*"):
            if path.suffix == ".scores":
                continue
            name = path.parent.relative_to(self.trial_logs(sweep)).as_posix()
            found[name] = found.get(name, 0) + 1
        return found


def different(one, other):
    """What of `Project.numbers` is not the same in both."""
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_itself(row):
    """A row without what depends on the other architectures of its table."""
    of_others = {"architecture", "verdict", "seeds_needed", "pareto"}
    return {name: cell for name, cell in row.items() if name not in of_others and "behind" not in name}


def unmeasured(path, columns):
    """A table without its measured columns: the other cells as they stand in the file."""
    measured = {column.name for column in columns if column.measured}
    return [{name: cell for name, cell in row.items() if name not in measured} for row in read_csv(path)]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(*folders):
    """Every file below the folders with what changes when it is written again or replaced by its equal."""
    found = {}
    for path in (path for folder in folders for path in Path(folder).rglob("*") if path.is_file()):
        about = path.stat()
        found[path] = (about.st_ino, about.st_mtime_ns, about.st_size)
    return found


def scalars(folder):
    """The scalars in the event files of a folder: tag to `[(step, value), ...]` in the order of writing.

    Event files are TFRecords: length (8 bytes), its checksum (4), the event, its checksum (4).
    """
    from tensorboard.compat.proto import event_pb2

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            end = 12 + int.from_bytes(content[:8], "little")
            event = event_pb2.Event.FromString(content[12:end])
            assert len(content) >= end + 4, f"{path} is cut off"
            content = content[end + 4 :]
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    found.setdefault(value.tag, []).append((event.step, scalar(value.tensor)))
    return found


def scalar(tensor):
    return tensor.float_val[0] if tensor.float_val else struct.unpack("<f", tensor.tensor_content)[0]


# ---- processes


def wait_until(condition, process=None, seconds=90.0):
    """Wait for a condition; not longer than this, and not when the process that should bring it about has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        assert process is None or process.poll() is None, f"ended first: {process.communicate()}"
        time.sleep(0.005)


def children(pid):
    """Processes that a process started, and what they started (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(after_name[1]) == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def workers(pid):
    """Those children that train: spawned by multiprocessing, other than its resource tracker."""
    return [child for child in children(pid) if "spawn_main" in command_line(child)]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def is_running(pid):
    """Whether a process lives; one that has ended and waits to be asked about it (a zombie) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def interrupt(process, number=signal.SIGINT):
    """What Ctrl-C does: the signal goes to every process of the group."""
    os.killpg(process.pid, number)
