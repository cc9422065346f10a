"""Faults made to order for a whole sweep: a disk that fills, something before a certain call, memory that is counted.

For test_hostile_names.py, test_hostile_images.py and test_hostile_sweep_files.py, test_wrong_records.py, test_disks.py,
test_clocks.py and test_faults.py. Every answer is the same: an exit code of 2 with one line that names the file, or the
sweep goes on, and nothing is lost afterwards. Most drive `cli.main` with the invented trials of commands.py; real ones
train where the fault lies inside a training. A disk that is full or read-only is a real one: a tmpfs of its own, which
only root may mount. What one writer or reader does with a fault of its own stands with its tests.
"""

import contextlib
import itertools
import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from fmnist_mlp.training import trial

IN_TURN = [("wide", 0), ("wide", 1), ("8", 0), ("8", 1)]  # of TINY: the larger stack first
DAY = 86_400.0
MEBIBYTE = 2**20


@contextlib.contextmanager
def memory_within(limit_bytes):
    """What Python and numpy allocate inside the block, at its peak."""
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < limit_bytes, f"{peak_bytes / MEBIBYTE:.1f} MiB"


def is_one_line(ran, message, code=2):
    """The answer to what the user can mend: one line on stderr that a terminal shows as it is."""
    assert (ran.code, len(ran.errors)) == (code, 1), ran.err
    assert ran.errors[0].isprintable(), ran.errors[0]
    assert re.search(message, ran.errors[0]), ran.errors[0]
    return True


class Disk:
    """A small file system of its own, which fills up, becomes read-only and recovers as a test says."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._hoard = self.folder / "hoard"

    def fill(self):
        """Take every byte and every file that is left."""
        self._hoard.mkdir()
        with contextlib.suppress(OSError), (self._hoard / "bytes").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (self._hoard / str(number)).touch(exist_ok=False)

    def recover(self):
        self._mount("remount,rw")
        shutil.rmtree(self._hoard, ignore_errors=True)

    def make_read_only(self):
        self._mount("remount,ro")

    def _mount(self, options):
        subprocess.run(["mount", "-o", options, self.folder], check=True, capture_output=True)


@pytest.fixture
def disk(project):
    folder = project.folder / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=2k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a file system of its own, which only root may mount")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


REAL_RUN_TRIAL = trial.run_trial


def on_call(monkeypatch, owner, name, number, act, file=""):
    """`act()` just before the `number`-th call of a method, counted from 1; the call itself is made as always.

    With `file`, only calls whose first argument is that are counted.
    """
    method, calls = getattr(owner, name), itertools.count(1)

    def called(*args, **kwargs):
        if (not file or args[1] == file) and next(calls) == number:
            act()
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)


def which(task):
    return task.trial.architecture.name, task.trial.seed
