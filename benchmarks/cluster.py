"""What Ray costs: sweeps on it against local workers, and a driver with 10,000 trials and 100 workers.

    FASHION_MNIST_DIR=... python benchmarks/cluster.py sweeps [--short 200] [--repeats 1] [--only default|short]
    python benchmarks/cluster.py growth [--trials 10000] [--workers 100]

`sweeps` runs the default sweep, and many short trials (one epoch, `--limit 2000`), with local workers and with as many
on a Ray cluster of this machine, in turns and into empty folders. The cluster is started before and given half a
minute to come to rest, as one that stands. Compared is the time after start-up: from the first trial's start to the
last record's being written. Ray runs workers with niceness 15, so on a machine that does other work, too, the
comparison is unfair to it; both are run with that niceness here.

`growth` is the driver alone: the real loop, hand-out, claims, unpacking and records, over workers that are stubs in
this process: all of them have a trial, and so a claim, before any answers, with a record folder of real size. It says
what a trial costs the driver: seconds of CPU, memory, calls to the file system (counted by Python's audit hook:
open, rename, remove, mkdir, listdir and the like; fsync and stat are not audited).
"""

import argparse
import contextlib
import json
import os
import pickle
import resource
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path

from measure import (
    ROOT,
    clean_environment,
    describe_machine,
    markdown_table,
    process_tree,
    real_images,
    run_measured,
    write_report,
)

from fmnist_mlp.engines.calls import Call

sys.path.insert(0, str(ROOT / "tests"))

_RAY_REST_SECONDS = 30.0  # its start takes some ten seconds of both cores
_RECORD_BYTES = {"model.keras": 300_000, "predictions.npz": 150_000, "events/train/e": 20_000}


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        title, table, notes = options.measure(options, Path(folder))
    write_report(title, describe_machine(), table, notes, options.output)


# ---- sweeps -------------------------------------------------------------------------------------------------------


def _sweeps(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    stacks = 4  # in architectures.yaml
    kinds = {
        "default": ("default sweep, 20 trials of 20 epochs", ["--epochs", str(options.epochs), "--seeds", "5"]),
        "short": (
            f"{options.short} trials of one epoch on 2,000 images",
            ["--epochs", "1", "--limit", "2000", "--seeds", str(options.short // stacks)],
        ),
    }
    rows = []
    for kind, (words, numbers) in kinds.items():
        if options.only not in (None, kind):
            continue
        seconds, wholes = {"local": [], "ray": []}, {"local": [], "ray": []}
        for repeat in range(options.repeats):
            for engine in seconds:
                place = folder / f"{kind}-{repeat}-{engine}"
                place.mkdir()
                with _cluster(options.jobs) if engine == "ray" else contextlib.nullcontext((None, {})) as (at, token):
                    wholes[engine].append(_run_sweep(at, token, numbers, options.jobs, place))
                seconds[engine].append(_training_seconds(place / "results"))
        medians = {engine: statistics.median(times) for engine, times in seconds.items()}
        for engine, median in medians.items():
            whole = statistics.median(wholes[engine])
            rows.append([words, engine, f"{median:.1f}", f"{median / medians['local']:.2f}", f"{whole:.1f}"])
    header = ["sweep", "engine", "after start-up, s", "ratio", "whole process, s"]
    return "Ray against local workers", markdown_table(header, rows, left=2), [f"{options.jobs} workers each."]


@contextlib.contextmanager
def _cluster(cores: int):
    """A Ray cluster of its own on this machine: its address, and the token that its drivers need, as variables."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # Ray's sockets lie there: a short path
        token["RAY_TMPDIR"] = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [Path(sys.executable).with_name("ray"), "start", "--block", "--head", f"--port={port}"]
        command += [f"--num-cpus={cores}", "--include-dashboard=false"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        head = subprocess.Popen(command, env=clean_environment() | token, **quiet, start_new_session=True)
        try:
            time.sleep(_RAY_REST_SECONDS)
            yield f"127.0.0.1:{port}", token
        finally:
            members = process_tree(head.pid)
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            head.wait()


def _run_sweep(ray_address: str | None, token: dict[str, str], numbers: list[str], jobs: int, place: Path) -> float:
    """The seconds of the whole process; without an address on local workers."""
    where = ["--results-dir", str(place / "results"), "--logs-dir", str(place / "logs"), "--device", "cpu"]
    command = [sys.executable, "sweep.py", "architectures.yaml", *where, *numbers, "--jobs", str(jobs)]
    if ray_address is not None:
        command += ["--ray-address", ray_address]
    environment = clean_environment(programs=place / "programs") | real_images() | token
    return run_measured(["nice", "-n", "15", *command], environment, place / "log.txt").seconds


def _training_seconds(results: Path) -> float:
    """From the start of the first trial to the last record."""
    starts, ends = [], []
    for path in (results / "_records").glob("[!.]*/record.json"):
        starts.append(json.loads(path.read_text())["measured"]["started_at_seconds"])
        ends.append(path.parent.stat().st_ctime)  # moved into place
    return max(ends) - min(starts)


# ---- growth -------------------------------------------------------------------------------------------------------


def _growth(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    from sweeping import Made

    from fmnist_mlp.data.source import DataSource
    from fmnist_mlp.engines.calls import WorkerSettings
    from fmnist_mlp.engines.pool import Pool
    from fmnist_mlp.runner import cluster, loop
    from fmnist_mlp.training.trial import Task

    made = Made(folder, f"dataset: synthetic\nseeds: {options.trials}\narchitectures: [[8]]\n", "growth.yaml")
    operations, is_counting = Counter(), [False]

    def audit(event, arguments):
        if is_counting[0] and (event == "open" or event.startswith(("os.", "shutil."))):
            operations[event] += 1

    sys.addaudithook(audit)
    rows = []
    with cluster.Home(made.results) as home:
        home._on_message = lambda call, message: None
        tasks = [Task(one, DataSource("synthetic"), None, made.root, folder, None) for one in made.plan]
        calls = [Call(task.trial.fingerprint, loop.RUN_TRIAL, (task,)) for task in tasks]
        files = {name: os.urandom(size) for name, size in _RECORD_BYTES.items()}
        stubs = _Stubs(lambda call: _answer(made, call, files))
        hooks = {"prepare_call": home.prepare_call, "on_message": home.hear}
        engine = Pool(options.workers, WorkerSettings(), stubs, **hooks)
        before, is_counting[0] = resource.getrusage(resource.RUSAGE_SELF), True
        started = at_mark = time.perf_counter()
        cpu_at_mark, done_at_mark = before.ru_utime + before.ru_stime - stubs.seconds, 0
        marks = {options.trials // 10, options.trials // 2, options.trials}
        for done, _ in enumerate(home.run(engine, calls), 1):
            if done in marks:
                usage = resource.getrusage(resource.RUSAGE_SELF)
                cpu, now = usage.ru_utime + usage.ru_stime - stubs.seconds, time.perf_counter()
                count, operations_so_far = done - done_at_mark, sum(operations.values())
                rows.append(
                    [
                        f"{done:,}",
                        f"{1000 * (now - at_mark) / count:.2f}",
                        f"{1000 * (cpu - cpu_at_mark) / count:.2f}",
                        f"{usage.ru_maxrss / 1024:.0f}",
                        f"{operations_so_far / done:.1f}",
                    ]
                )
                at_mark, cpu_at_mark, done_at_mark = now, cpu, done
        is_counting[0] = False
    header = ["trials done", "ms a trial", "CPU, ms a trial", "peak memory, MiB", "file operations a trial"]
    size = sum(_RECORD_BYTES.values())
    kinds = ", ".join(f"{name} {count / options.trials:.1f}" for name, count in operations.most_common(6))
    notes = [
        f"{options.trials:,} trials on {options.workers} stub workers, records of {size / 1e6:.2f} MB, in "
        f"{time.perf_counter() - started:.1f} s. Of a trial's file operations: {kinds}."
    ]
    return "What the driver costs", markdown_table(header, rows, left=0), notes


def _answer(made, call, files: dict[str, bytes]) -> bytes:
    """What a worker sends of a trial: its record and the files of its folder."""
    from sweeping import done_record

    record = done_record(call.args[0].trial, epochs=20)
    content = record.model_dump_json(indent=1).encode()
    return pickle.dumps((record, files | {"record.json": content}))


class _Stubs:
    """A workplace whose workers answer by themselves; the pool's loop, hand-out and bookkeeping are the real ones."""

    longest_wait, may_kill_at_any_time = 60.0, True

    def __init__(self, answer):
        self.answer = answer
        self.seconds = 0.0  # of CPU that workers would spend, not the driver

    def make_process(self, number, settings, wake):
        return _StubProcess(self, wake)

    def look_after(self, processes):
        pass


class _StubProcess:
    sources = ()

    def __init__(self, stubs, wake):
        self.stubs, self.wake, self.inbox, self.has_ended = stubs, wake, deque(), False

    def start(self):
        self._say(("ready", pickle.dumps({})))

    def send(self, message):
        kind, *content = message
        if kind == "call":
            began = time.process_time()
            _, args = pickle.loads(*content)
            answer = self.stubs.answer(Call("", "", args))
            messages = [("message", pickle.dumps({"epoch": epoch, "epochs": 20})) for epoch in range(21)]
            self.stubs.seconds += time.process_time() - began
            self._say(*messages, ("result", "done", answer, None, 0.0, 0))
        elif kind == "end":
            self.kill()

    def poll(self):
        return bool(self.inbox) or self.has_ended

    def receive(self):
        if not self.inbox:
            raise EOFError
        message = self.inbox.popleft()
        if self.poll():
            self.wake()
        return message

    def kill(self):
        self.has_ended = True
        self.wake()

    def end(self, patience):
        return "ended"

    def has_lost_its_machine(self):
        return False

    def _say(self, *messages):
        self.inbox += messages
        self.wake()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="sweeps|growth")
    sweeps = verbs.add_parser("sweeps", help="the default sweep and short trials, on Ray and on local workers")
    sweeps.add_argument("--epochs", type=int, default=20, metavar="N", help="of the default sweep (%(default)s)")
    sweeps.add_argument("--short", type=int, default=200, metavar="N", help="short trials (default: %(default)s)")
    sweeps.add_argument("--jobs", type=int, default=2, metavar="N", help="workers (default: %(default)s)")
    sweeps.add_argument("--repeats", type=int, default=1, metavar="N", help="take turns N times; medians are shown")
    sweeps.add_argument("--only", choices=("default", "short"), help="one of the two")
    sweeps.set_defaults(measure=_sweeps)
    growth = verbs.add_parser("growth", help="the driver with many trials and workers that are stubs")
    growth.add_argument("--trials", type=int, default=10_000, metavar="N", help="default: %(default)s")
    growth.add_argument("--workers", type=int, default=100, metavar="N", help="default: %(default)s")
    growth.set_defaults(measure=_growth)
    for verb in (sweeps, growth):
        verb.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
