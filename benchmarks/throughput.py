"""What the engine makes of the machine: two workers against one, a thousand tiny trials, edit and run again.

    FASHION_MNIST_DIR=... python benchmarks/throughput.py workers [--epochs 20] [--seeds 5] [--jobs 1 2]
    python benchmarks/throughput.py many [--trials 1000]
    FASHION_MNIST_DIR=... python benchmarks/throughput.py loop [--repeats 3]

`workers` trains the default sweep (4 stacks, 5 seeds) once with each number of workers, each time into empty folders.
Throughput after start-up is trials divided by the seconds from the first trial's start (`started_at_seconds` of the
records: a worker is up and TensorFlow imported) to the last record's being written; compiling, and the end where one
worker has nothing left to do, are in it.

`many` trains a tiny stack for one epoch on 300 generated images, over and over, and watches from outside, five times
a second, through Linux's /proc: the parent's own CPU time, the memory of every process, the records that are done.
Then it runs the same command again, when nothing is left to do.

`loop` edits a finished sweep of four stacks, three seeds each: one more seed, another learning rate for one
stack, a new stack. Each edit is saved under `sweep.py --watch`, and given to a `sweep.py` of its own; the seconds from
the save, or from the command, to the start of the first epoch are those to the first epoch's end in TensorBoard's
events less what that epoch took by its record.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import (
    ROOT,
    clean_environment,
    cpu_seconds,
    describe_machine,
    markdown_table,
    process_tree,
    real_images,
    resident_bytes,
    run_measured,
    write_report,
)
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

LIMIT = 300  # training images of a tiny trial


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        title, table, notes = options.measure(options, Path(folder))
    write_report(title, describe_machine(), table, notes, options.output)


# ---- workers ------------------------------------------------------------------------------------------------------


def _workers(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    rates: dict[int, list[float]] = {jobs: [] for jobs in options.jobs}
    wholes: dict[int, list[float]] = {jobs: [] for jobs in options.jobs}
    for repeat in range(options.repeats):
        for jobs in options.jobs:
            place = folder / f"{repeat}-{jobs}"
            numbers = ["--epochs", str(options.epochs), "--seeds", str(options.seeds), "--jobs", str(jobs)]
            limit = [] if options.limit is None else ["--limit", str(options.limit)]
            command = _sweep_command(ROOT / "architectures.yaml", place, *numbers, *limit)
            place.mkdir()
            wholes[jobs].append(run_measured(command, _environment(place), place / "log.txt").seconds)
            seconds, trials = _training_seconds(place / "results")
            rates[jobs].append(trials / seconds)
            print(f"{repeat + 1}/{options.repeats} jobs {jobs}: {wholes[jobs][-1]:.1f} s", file=sys.stderr, flush=True)
    first = statistics.median(rates[options.jobs[0]])
    rows = []
    for jobs in options.jobs:
        rate, whole = statistics.median(rates[jobs]), statistics.median(wholes[jobs])
        rows.append([str(jobs), f"{whole:.1f}", f"{rate:.3f}", f"{rate / first:.2f}"])
    header = ["workers", "whole process, s", "trials a second after start-up", "ratio"]
    notes = [f"{trials} trials, {options.epochs} epochs; medians of {options.repeats} run(s)."]
    if options.limit is not None:
        notes.append(f"Only {options.limit:,} training images.")
    return "Workers", markdown_table(header, rows, left=0), notes


def _training_seconds(results: Path) -> tuple[float, int]:
    """From the start of the first trial to the last record; and how many trials."""
    starts, ends = [], []
    for path in (results / "_records").glob("[!.]*/record.json"):
        starts.append(json.loads(path.read_text())["measured"]["started_at_seconds"])
        ends.append(path.stat().st_mtime)
    return max(ends) - min(starts), len(starts)


# ---- many ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """One look at a running sweep. `memory_bytes` holds each process by its id, `parent` that of the parent."""

    done: int
    parent_cpu_seconds: float
    parent: int
    memory_bytes: dict[int, int]


def _many(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    sweep_file = folder / "many.yaml"
    units = range(8, 8 + options.stacks)
    sweep_file.write_text(
        f"dataset: synthetic\nlimit: {LIMIT}\nseeds: {max(1, options.trials // options.stacks)}\n"
        f"training: {{epochs: 1}}\narchitectures: [{', '.join(f'[{n}]' for n in units)}]\n"
    )
    jobs = [] if options.jobs is None else ["--jobs", str(options.jobs)]
    command = _sweep_command(sweep_file, folder, *jobs)
    started = time.perf_counter()
    samples = _watch(command, folder)
    seconds = time.perf_counter() - started
    again = run_measured(command, _environment(folder), folder / "again.txt").seconds

    total = samples[-1].done
    window = max(1, min(100, total // 4))
    marks = sorted({mark for mark in (100, 200, 500, 1000, total) if window <= mark <= total})
    rows = [_row(samples, mark, window) for mark in marks]
    header = ["trials done", f"parent's CPU, ms a trial (last {window})", "parent, MiB", "workers, MiB"]
    notes = [
        f"{total:,} trials of {options.stacks} stack(s) in {seconds:.0f} s; the parent used "
        f"{1000 * samples[-1].parent_cpu_seconds / total:.1f} ms of CPU a trial in all, start included.",
        f"The same command again, with nothing to do: {again:.2f} s.",
    ]
    return "Many tiny trials", markdown_table(header, rows, left=0), notes


def _watch(command: list[str], folder: Path) -> list[_Sample]:
    records, samples = folder / "results" / "_records", []
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, env=_environment(folder), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            try:
                # Counted, not opened: watching must not cost what it watches.
                done = sum(1 for _ in records.glob("[!.]*"))
                memory = {pid: resident_bytes(pid) for pid in process_tree(process.pid)}
                samples.append(_Sample(done, cpu_seconds(process.pid), process.pid, memory))
            except OSError:  # gone between two looks
                pass
            time.sleep(0.2)
    if process.returncode or not samples:
        raise SystemExit((folder / "log.txt").read_text(errors="replace")[-2000:])
    return samples


def _row(samples: list[_Sample], mark: int, window: int) -> list[str]:
    at = next(sample for sample in samples if sample.done >= mark)
    before = [sample for sample in samples if sample.done <= at.done - window][-1]
    per_trial = (at.parent_cpu_seconds - before.parent_cpu_seconds) / (at.done - before.done)
    # Workers with TensorFlow in them; multiprocessing's small helper processes are not worth a column.
    workers = sorted(size for pid, size in at.memory_bytes.items() if pid != at.parent and size > 100 * 2**20)
    return [
        f"{at.done:,}",
        f"{1000 * per_trial:.1f}",
        f"{at.memory_bytes.get(at.parent, 0) / 2**20:.0f}",
        ", ".join(f"{size / 2**20:.0f}" for size in workers),
    ]


# ---- loop ---------------------------------------------------------------------------------------------------------

_BASE = """\
name: loop
seeds: {seeds}
training: {{epochs: 2}}
architectures:
  - [256, 128]
  - [128, 64]
  - {{name: small, layers: [64, 32], learning_rate: {learning_rate}}}
  - [32]
{more}"""
_EDITS = {
    "one more seed": {"seeds": 4},
    "another learning rate": {"learning_rate": 0.0005},
    "a new stack": {"more": "  - [48]\n"},
}


def _loop(options: argparse.Namespace, folder: Path) -> tuple[str, str, list[str]]:
    seconds = {(edit, way): [] for edit in _EDITS for way in ("watch", "anew")}
    for repeat in range(options.repeats):
        place = folder / str(repeat)
        place.mkdir()
        file = place / "loop.yaml"
        as_before = {"seeds": 3, "learning_rate": 0.001, "more": ""}
        file.write_text(_BASE.format(**as_before | {"seeds": 1}))
        command, environment = _sweep_command(file, place), _environment(place)
        run_measured(command, environment, place / "first.txt")
        finished, log = place / "finished", place / "watch.txt"
        with log.open("wb") as output:
            watch = subprocess.Popen([*command, "--watch"], env=environment, cwd=ROOT, stdout=output, stderr=output)
        try:
            _wait_for_rounds(1, log, watch)
            # What is there already is trained by nobody; this brings a program of each stack to the workers.
            file.write_text(_BASE.format(**as_before))
            _wait_for_rounds(2, log, watch)
            shutil.copytree(place / "results", finished)
            for number, (edit, change) in enumerate(_EDITS.items(), start=3):
                known, saved = _records(place), time.time()
                file.write_text(_BASE.format(**as_before | change))
                _wait_for_rounds(number, log, watch)
                seconds[edit, "watch"].append(_first_epoch_starts(_records(place) - known) - saved)
        finally:
            watch.send_signal(signal.SIGINT)
            watch.wait()

        for edit, change in _EDITS.items():
            shutil.rmtree(place / "results")
            shutil.copytree(finished, place / "results")
            file.write_text(_BASE.format(**as_before | change))
            known, begun = _records(place), time.time()
            run_measured(command, environment, place / "anew.txt")
            seconds[edit, "anew"].append(_first_epoch_starts(_records(place) - known) - begun)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    rows = [
        [
            edit,
            f"{medians[edit, 'watch']:.2f}",
            f"{medians[edit, 'anew']:.1f}",
            f"{medians[edit, 'anew'] / medians[edit, 'watch']:.0f}",
        ]
        for edit in _EDITS
    ]
    header = ["edit", "saved under --watch, s", "a new sweep.py, s", "ratio"]
    notes = [f"To the start of the first epoch; medians of {options.repeats} run(s)."]
    return "Edit and run again", markdown_table(header, rows, left=1), notes


def _wait_for_rounds(number: int, log: Path, process: subprocess.Popen) -> None:
    while log.read_text().count("watching") < number:
        if process.poll() is not None:
            raise SystemExit(f"it ended with exit code {process.returncode}: {log.read_text()}")
        time.sleep(0.02)


def _records(place: Path) -> set[Path]:
    return {*(place / "results" / "_records").glob("[!.]*/record.json")}


def _first_epoch_starts(records: set[Path]) -> float:
    """The moment in seconds since 1970, of the first of these trials."""
    moments = []
    for path in records:
        (first,) = sorted((path.parent / "events" / "train").glob("events.out.tfevents.*"))[:1]
        ends = [event.wall_time for event in EventFileLoader(str(first)).Load() if event.HasField("summary")]
        moments.append(min(ends) - json.loads(path.read_text())["measured"]["epoch_seconds"][0])
    return min(moments)


# ---- all ----------------------------------------------------------------------------------------------------------


def _sweep_command(sweep_file: Path, folder: Path, *more: str) -> list[str]:
    where = ["--results-dir", str(folder / "results"), "--logs-dir", str(folder / "logs"), "--device", "cpu"]
    return [sys.executable, "sweep.py", str(sweep_file), *where, *more]


def _environment(folder: Path) -> dict[str, str]:
    return clean_environment(programs=folder / "programs") | real_images()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="workers|many|loop")
    workers = verbs.add_parser("workers", help="the default sweep with one worker and with two")
    workers.add_argument("--epochs", type=int, default=20, metavar="N", help="default: %(default)s")
    workers.add_argument("--seeds", type=int, default=5, metavar="N", help="default: %(default)s")
    workers.add_argument("--limit", type=int, metavar="N", help="use only N training images")
    workers.add_argument("--jobs", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    workers.add_argument("--repeats", type=int, default=1, metavar="N", help="take turns N times; medians are shown")
    workers.set_defaults(measure=_workers)
    many = verbs.add_parser("many", help="a thousand tiny trials")
    many.add_argument("--trials", type=int, default=1000, metavar="N", help="default: %(default)s")
    many.add_argument("--stacks", type=int, default=1, metavar="N", help="spread them over N stacks (default: 1)")
    many.add_argument("--jobs", type=int, metavar="N", help="workers (default: the sweep's own)")
    many.set_defaults(measure=_many)
    loop = verbs.add_parser("loop", help="edit, save, and how long until the first epoch starts")
    loop.add_argument("--repeats", type=int, default=1, metavar="N", help="do it all N times; medians are shown")
    loop.set_defaults(measure=_loop)
    for verb in (workers, many, loop):
        verb.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
