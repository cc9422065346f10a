"""Kill a sweep or one of its workers at random moments, over and over; then let it finish and compare.

`python tests/kill_at_random.py --kills 100` runs for as long as one likes; a short form is in test_kill.py. Whatever
was killed and when, the finished sweep must be that of an uninterrupted run in everything but *measured* columns.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sweeping  # noqa: E402 - after the path to what it imports

SWEEP = """
dataset: synthetic
limit: 4000
seeds: 3
training: {epochs: 12, batch_size: 16, schedule: cosine, early_stopping: {patience: 8}}
architectures:
  - [48, BatchNormalization, {Dropout: 0.2}, 32]
  - name: plain
    layers: [64, 32]
    optimizer: nadam
"""
VANISH_SECONDS = 10.0


def kill_and_compare(folder: Path, kills: int, seed: int, say=print) -> int:
    """Run the sweep undisturbed and tortured; assert that they agree.

    Returns:
        How many kills hit a running process (one that finished before its time is not counted).
    """
    rng, sweep_file, hits = random.Random(seed), folder / "torture.yaml", 0
    sweep_file.write_text(SWEEP, encoding="utf-8")
    reference, tortured = folder / "reference", folder / "tortured"
    started = time.monotonic()
    assert _start(sweep_file, reference).wait() == 0
    whole = time.monotonic() - started

    while hits < kills:
        sweep = _start(sweep_file, tortured)
        is_parent = rng.random() < 0.5
        with contextlib.suppress(subprocess.TimeoutExpired):
            sweep.wait(rng.uniform(0, whole))
        workers = sweeping.workers(sweep.pid)
        if sweep.poll() is None and is_parent:
            sweep.kill()
            hits += 1
        elif sweep.poll() is None and workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
                hits += 1
            with contextlib.suppress(subprocess.TimeoutExpired):  # let it cope for a while, then end it as well
                sweep.wait(rng.uniform(0, whole))
            sweep.kill()
        sweep.wait()
        sweeping.wait_until(lambda pids=workers: not any(map(sweeping.is_running, pids)), seconds=VANISH_SECONDS)
        say(f"{hits}/{kills}: killed {'the parent' if is_parent else 'a worker'}, records: {_done(tortured)}")
        if _done(tortured) == 6:  # nothing is left to disturb
            say("finished; once more from the beginning")
            assert _start(sweep_file, tortured).wait() == 0
            _compare(reference, tortured)
            shutil.rmtree(tortured)

    assert _start(sweep_file, tortured).wait() == 0
    _compare(reference, tortured)
    return hits


def _start(sweep_file: Path, results: Path) -> subprocess.Popen:
    options = ["--jobs", "2", "--checkpoint-every", "0.3", "--retry-failed"]
    command = [sys.executable, ROOT / "sweep.py", sweep_file, *options]
    command += ["--results-dir", results / "results", "--logs-dir", results / "logs"]
    results.mkdir(exist_ok=True)
    with (results / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=results, stdout=output, stderr=output, stdin=subprocess.DEVNULL)


def _done(folder: Path) -> int:
    return len(list((folder / "results/_records").glob("[0-9a-f]*/record.json")))


def _compare(reference: Path, tortured: Path) -> None:
    one, other = (sweeping.Project(folder) for folder in (reference, tortured))
    assert sweeping.different(one.numbers("torture"), other.numbers("torture")) == []
    tables = [(project.results / "torture/results.md").read_text("utf-8") for project in (one, other)]
    assert tables[0] == tables[1], "results.md differs"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        hits = kill_and_compare(Path(scratch), parsed.kills, parsed.seed)
    print(f"{hits} kills survived: tables, records, models and predictions are those of an uninterrupted run")
