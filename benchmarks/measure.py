"""What the benchmarks share: a process measured from outside, the machine in words, a report in Markdown.

A measured process is watched with its children through Linux's /proc: memory is the sum over the tree, sampled ten
times a second, so libraries that processes share are counted in each. Where there is no /proc, memory is that of the
largest single process.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package, for the programs that import this
_PROC = Path("/proc")
_PAGE_BYTES, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """How a process did.

    Args:
        seconds: wall clock, from start to exit.
        cpu_seconds: of the process and its children, user and system.
        peak_bytes: largest resident memory of the tree at one time.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_measured(command: list[str], environment: dict[str, str], log: Path, cwd: Path = ROOT) -> Run:
    """Run a command to its end; what it prints goes to `log`.

    Raises:
        RuntimeError: it failed; the message holds the end of the log.
    """
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
        with _MemoryWatch(process.pid) as memory:
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        end = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{shlex.join(command)}: exit code {process.returncode}\n{end}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # of one process: this one or a child
    return Run(seconds, usage.ru_utime + usage.ru_stime, max(memory.peak_bytes, largest))


def process_tree(pid: int) -> list[int]:
    """The process and its descendants, as they are now; empty where it is gone or there is no /proc."""
    parents = {}
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    tree = [pid] if pid in parents else []
    for member in tree:  # grows while it is walked
        tree += [child for child, parent in parents.items() if parent == member]
    return tree


def resident_bytes(pid: int) -> int:
    """Resident memory of one process; 0 where it is gone."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def cpu_seconds(pid: int) -> float:
    """User and system time of one process, without its children; in steps of 10 ms.

    Raises:
        OSError: it is gone.
    """
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name (which may hold spaces): state, parent, ... (proc_pid_stat(5))."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


class _MemoryWatch:
    """Samples the memory of a process tree until it is left."""

    def __init__(self, pid: int):
        self.pid, self.peak_bytes = pid, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.1):
            self.peak_bytes = max(self.peak_bytes, sum(map(resident_bytes, process_tree(self.pid))))


def clean_environment(threads: int | None = None, programs: Path | None = None) -> dict[str, str]:
    """This process's environment without what would slow or change a measured one; computing on the CPU.

    Args:
        threads: of OpenBLAS and its like; None leaves all cores.
        programs: where a sweep keeps what it compiles, and finds it; None for nowhere. Never the user's own folder.
    """
    prefixes = ("KERAS_", "TF_", "XLA_", "OMP_", "OPENBLAS_", "MKL_", "FASHION_MNIST_DIR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment["FMNIST_MLP_PROGRAMS"] = "off" if programs is None else str(programs)
    if threads is not None:
        environment |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    return environment


def way_options(description: str, ways: list[str]) -> argparse.Namespace:
    """What a program that trains by one of several ways is asked by `compare.py`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=ways)
    parser.add_argument("--stacks", nargs="+", default=["64-128-64-32", "64-128-32", "64-32", "128-64"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--split", type=Path, metavar="FILE", help=".npz with train-SEED and validation-SEED")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="clocks and accuracies (JSON)")
    return parser.parse_args()


def real_images() -> dict[str, str]:
    """The variable that says where the real images are, if it is set; without it `sweep.py` draws its stand-in."""
    return {name: os.environ[name] for name in ("FASHION_MNIST_DIR",) if name in os.environ}


def describe_machine() -> str:
    """CPU, cores, memory, versions and date, in two lines of Markdown."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = (_PROC / "cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES / 2**30
    versions = [f"Python {platform.python_version()}"]
    for package in ("tensorflow", "keras", "numpy", "scikit-learn", "jax", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{cpu}, {_cores()} cores, {memory:.0f} GiB; {platform.system()}; {date}.\n{', '.join(versions)}."


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def markdown_table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A Markdown table that also reads well as it is; the first `left` columns stand left, numbers right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = []
    for row in (header, rule, *rows):
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_report(title: str, machine: str, table: str, notes: list[str], output: Path | None) -> None:
    """Print table, notes, machine and the command that made them; into `output` too if there is one."""
    command = shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])
    parts = [f"## {title}", table, *notes, machine, f"`{command}`"]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")
