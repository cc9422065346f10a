"""How cost grows, beside Keras's `fit`: with trials, width, images and batch size; where each of the two wins.

    FASHION_MNIST_DIR=... python benchmarks/growth.py [--only width images] [--output growth.md]

One thing grows, all else stays: one stack of one layer of 64 units, one seed, 3 epochs, 10,000 training images of which
a fifth validates, batches of 32. Images beyond the 60,000 that there are repeat them. Both train on all cores:
`sweep.py` with a worker a core, `keras_fit.py` with TensorBoard as anyone would write it. Trials are seeds of 1,000
images and one epoch; `fit` trains at most ten of them, and more are reckoned from the seconds that each of those took.

Columns: seconds of the whole process, seconds an epoch after the first (median), most memory of all processes, each of
`sweep.py` and of `fit`; then `fit`'s seconds divided by `sweep.py`'s. No compiled program is kept from before.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from compare import read_trials, write_idx, write_splits
from measure import ROOT, clean_environment, describe_machine, markdown_table, run_measured, write_report

from fmnist_mlp.data.source import DataSource, load_data
from fmnist_mlp.data.split import limit_indices

MOST_TRIALS_OF_FIT = 10


@dataclass(frozen=True)
class Work:
    """What both are asked to do."""

    trials: int = 1
    width: int = 64
    images: int = 10_000
    batch_size: int = 32
    epochs: int = 3


@dataclass(frozen=True)
class Cost:
    seconds: float
    epoch_seconds: float | None
    memory_bytes: int


GROWS = {
    "trials": [replace(Work(), trials=n, images=1000, epochs=1) for n in (1, 10, 100, 500, 2000)],
    "width": [replace(Work(), width=n) for n in (16, 64, 256, 1024, 2048)],
    "images": [replace(Work(), images=n) for n in (1_000, 10_000, 60_000, 240_000)],
    "batch_size": [replace(Work(), batch_size=n) for n in (8, 32, 128, 512, 2048)],
}


def main() -> None:
    options = _options()
    tables = []
    for name in options.only or GROWS:
        rows = []
        for work in GROWS[name]:
            with tempfile.TemporaryDirectory(prefix="growth-") as folder:
                _write_images(Path(folder), work)
                costs = _sweep(Path(folder), work), _fit(Path(folder), work)
            rows.append(_row(f"{getattr(work, name):,}", *costs))
            print(name, *rows[-1], file=sys.stderr, flush=True)
        header = [name.replace("_", " "), "sweep, s", "an epoch, s", "MiB", "fit, s", "an epoch, s", "MiB"]
        tables.append(markdown_table([*header, "whole, ratio", "epoch, ratio"], rows, left=0))
    write_report("Growth", describe_machine(), "\n\n".join(tables), [], options.output)


def _row(value: str, ours: Cost, fits: Cost) -> list[str]:
    cells = [value]
    for cost in (ours, fits):
        epoch = "" if cost.epoch_seconds is None else f"{cost.epoch_seconds:.3f}"
        cells += [f"{cost.seconds:.1f}", epoch, f"{cost.memory_bytes / 2**20:,.0f}"]
    cells.append(f"{fits.seconds / ours.seconds:.1f}")
    return [*cells, f"{fits.epoch_seconds / ours.epoch_seconds:.1f}" if ours.epoch_seconds else ""]


def _write_images(folder: Path, work: Work) -> None:
    """IDX files of so many training images, and the split that the sweep will make of them."""
    images = load_data(DataSource("idx", Path(os.environ["FASHION_MNIST_DIR"])))
    pool = limit_indices(images.y_train, min(work.images, len(images.y_train)))
    pool = np.resize(pool, work.images)
    x_train, y_train = images.x_train[pool], images.y_train[pool]
    write_idx(folder, (x_train, y_train), (images.x_test, images.y_test))
    seeds = min(work.trials, MOST_TRIALS_OF_FIT)
    write_splits(folder / "split.npz", y_train, np.arange(work.images), 0.2, seeds)


def _sweep(folder: Path, work: Work) -> Cost:
    file, results = folder / "growth.yaml", folder / "results"
    file.write_text(
        f"dataset: {{idx: {json.dumps(str(folder))}}}\nseeds: {work.trials}\narchitectures: [[{work.width}]]\n"
        f"training: {{epochs: {work.epochs}, batch_size: {work.batch_size}, validation_split: 0.2}}\n"
    )
    command = [sys.executable, "sweep.py", str(file), "--device", "cpu", "--results-dir", str(results)]
    command += ["--logs-dir", str(folder / "logs")]
    run = run_measured(command, clean_environment(programs=folder / "programs"), folder / "log")
    epochs = _epoch_seconds(trial["epoch_seconds"] for trial in read_trials(results))
    return Cost(run.seconds, epochs, run.peak_bytes)


def _fit(folder: Path, work: Work) -> Cost:
    trials = min(work.trials, MOST_TRIALS_OF_FIT)
    command = [sys.executable, "benchmarks/keras_fit.py", "--stacks", str(work.width), "--seeds", str(trials)]
    command += ["--epochs", str(work.epochs), "--batch-size", str(work.batch_size), "--verbose", "0"]
    command += ["--split", str(folder / "split.npz"), "--logs", str(folder / "fit")]
    command += ["--output", str(folder / "fit.json")]
    run = run_measured(command, clean_environment() | {"FASHION_MNIST_DIR": str(folder)}, folder / "log")
    found = json.loads((folder / "fit.json").read_text())
    missing = (work.trials / trials - 1) * sum(trial["seconds"] for trial in found)
    return Cost(run.seconds + missing, _epoch_seconds(trial["epoch_seconds"] for trial in found), run.peak_bytes)


def _epoch_seconds(of_trials) -> float | None:
    """The median after the first epoch, which compiles."""
    seconds = [epoch for of_trial in of_trials for epoch in of_trial[1:]]
    return statistics.median(seconds) if seconds else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=GROWS, metavar="WHAT", help=f"of {', '.join(GROWS)}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
