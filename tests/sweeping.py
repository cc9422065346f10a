"""Sweeps as their users run them: a folder with a sweep file, `python sweep.py` in it, and what lies there afterwards.

For test_cli.py and test_end_to_end.py. What came out is read with the standard library alone, not with our own code.
"""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from fmnist_mlp import results

ROOT = Path(__file__).parent.parent
NOT_THE_USERS = ("KERAS_", "TF_", "XLA_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "FASHION_MNIST_DIR", "PYTEST_")


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
        """`trials.csv`: (architecture, seed) to row, all text."""
        return {(row["architecture"], int(row["seed"])): row for row in read_csv(self.results / sweep / "trials.csv")}

    def record_folder(self, architecture, seed=0, sweep="tiny"):
        return self.results / "_records" / self.trials(sweep)[architecture, seed]["fingerprint"]

    def record(self, architecture, seed=0, sweep="tiny"):
        return json.loads((self.record_folder(architecture, seed, sweep) / "record.json").read_text("utf-8"))

    def numbers(self, sweep="tiny"):
        """All that must be the same to the last bit, by file: tables, records, models, predictions."""
        folder, columns = self.results / sweep, {}
        columns["results.csv"] = unmeasured(folder / "results.csv", results.RESULTS_COLUMNS)
        columns["trials.csv"] = unmeasured(folder / "trials.csv", results.TRIALS_COLUMNS)
        records = {}
        for row in self.trials(sweep).values():
            place = self.results / "_records" / row["fingerprint"]
            record = json.loads((place / "record.json").read_text("utf-8"))
            del record["measured"]
            for name in ("host", "commit"):  # where it was made and by which checkout, not what it is
                record["environment"].pop(name, None)
            records[row["architecture"], row["seed"]] = record
            for name in ("model.keras", "predictions.npz"):
                if (place / name).exists():
                    records[row["architecture"], row["seed"], name] = sha256(place / name)
        models = {path.name: sha256(path) for path in sorted((folder / "models").glob("*"))}
        return columns | records | {"models": models}

    def curves(self, sweep="tiny"):
        """Folders below `logs/<sweep>` that hold event files, and how many."""
        found = {}
        for path in (self.logs / sweep).rglob("events.out.tfevents.*"):
            name = path.parent.relative_to(self.logs / sweep).as_posix()
            found[name] = found.get(name, 0) + 1
        return found


def different(one, other):
    """What of `Project.numbers` is not the same in both."""
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
    import struct

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
