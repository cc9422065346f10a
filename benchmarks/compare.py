"""The same work side by side, in one go: Keras's `fit`, the sweep, and other ways to train the same stacks.

    FASHION_MNIST_DIR=... python benchmarks/compare.py [--epochs 20] [--repeats 3] [--output compare.md]

The work: the stacks of architectures.yaml, one seed, 20 epochs, batches of 32, adam, validation on the same fifth of
the training images after every epoch, the test images once. Every way is a process of its own, measured from outside,
one after another; with `--repeats` they take turns, so that a slow minute of the machine meets all of them.

Columns: seconds of the whole process (start, imports, reading, compiling, all trials, writing); seconds an epoch
after the first, validation and logging included (median over a trial's epochs, then mean over trials); CPU seconds of
the whole process with its children; most memory at one time, over all its processes; `fit`'s seconds divided by this
way's, whole and by epoch; mean test accuracy, as a check that it is the same work. Every number is the median over
the repeats. A way needs what it needs: one whose package is not installed is left out with a line.
"""

import argparse
import csv
import importlib.util
import json
import os
import re
import statistics
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from measure import ROOT, Run, clean_environment, describe_machine, markdown_table, run_measured, write_report
from other_ways import layer_units, product_flops

from fmnist_mlp.data.source import find_data, load_data
from fmnist_mlp.data.split import limit_indices, stratified_split
from fmnist_mlp.report import plots
from fmnist_mlp.sweepfile.layers import Dense
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.words import counted

SWEEP_FILE = ROOT / "architectures.yaml"
BASELINE = "fit"


@dataclass(frozen=True)
class Way:
    """One row of the table.

    Args:
        label: as the table names it.
        command: from the work to the arguments of `python`.
        needs: a package that may be missing.
        environment: more environment variables.
        threads: of BLAS; None is all cores.
        is_sweep: whether `sweep.py` itself writes what is read afterwards.
        has_programs: whether a sweep of these stacks was here before, so that its compiled programs are kept.
    """

    label: str
    command: Callable[["Work"], list[str]]
    needs: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    threads: int | None = None
    is_sweep: bool = False
    has_programs: bool = False


@dataclass(frozen=True)
class Work:
    """What all ways are asked to do, and where."""

    names: list[str]
    epochs: int
    seeds: int
    limit: int | None
    sweep_file: Path
    images: Path
    is_fashion_mnist: bool
    split: Path
    folder: Path  # of this run, empty

    @property
    def output(self) -> Path:
        return self.folder / "trials.json"


def _keras(*more: str):
    def command(work: Work) -> list[str]:
        return ["benchmarks/keras_fit.py", "--logs", str(work.folder / "logs"), *more, *_common(work)]

    return command


def _other(name: str, program: str = "other_ways.py"):
    return lambda work: [f"benchmarks/{program}", name, *_common(work)]


def _common(work: Work) -> list[str]:
    which = ["--stacks", *work.names, "--seeds", str(work.seeds), "--epochs", str(work.epochs)]
    return [*which, "--split", str(work.split), "--output", str(work.output)]


def _sweep(*more: str):
    def command(work: Work) -> list[str]:
        which = [text for name in work.names for text in ("--only", name)]
        limit = [] if work.limit is None else ["--limit", str(work.limit)]
        where = ["--results-dir", str(work.folder / "results"), "--logs-dir", str(work.folder / "logs")]
        where += ["--device", "cpu"]
        numbers = ["--seeds", str(work.seeds), "--epochs", str(work.epochs)]
        return ["sweep.py", str(work.sweep_file), *numbers, *which, *limit, *where, *more]

    return command


_JAX = (("KERAS_BACKEND", "jax"),)
WAYS = {
    BASELINE: Way("Keras `fit`, TensorBoard, all cores", _keras()),
    "sweep-1": Way("`sweep.py --jobs 1`: one worker, one core", _sweep("--jobs", "1"), is_sweep=True),
    "sweep": Way("`sweep.py`: a worker a core", _sweep(), is_sweep=True),
    "sweep-kept": Way("`sweep.py`, compiled programs kept from before", _sweep(), is_sweep=True, has_programs=True),
    "fit-silent": Way("Keras `fit` with `verbose=0`", _keras("--verbose", "0")),
    "fit-100": Way("Keras `fit`, 100 steps an execution, XLA", _keras("--steps-per-execution", "100", "--jit-compile")),
    "fit-1500": Way(
        "Keras `fit`, 1,500 steps an execution, XLA", _keras("--steps-per-execution", "1500", "--jit-compile")
    ),
    "sklearn": Way("scikit-learn MLPClassifier, no logging", _other("sklearn"), needs="sklearn"),
    "jax": Way("Keras `fit` on JAX, TensorBoard", _keras(), needs="jax", environment=_JAX),
    "jax-1500": Way(
        "Keras `fit` on JAX, 1,500 steps an execution",
        _keras("--steps-per-execution", "1500"),
        needs="jax",
        environment=_JAX,
    ),
    "kerastuner": Way("KerasTuner GridSearch, Keras `fit`", _other("kerastuner", "tuners.py"), needs="keras_tuner"),
    "optuna": Way("Optuna's grid, Keras `fit`", _other("optuna", "tuners.py"), needs="optuna"),
    "ray": Way("Ray Tune's grid, Keras `fit`, a trial a core", _other("ray", "tuners.py"), needs="ray"),
    "torch": Way("PyTorch on resident tensors, no logging", _other("torch"), needs="torch"),
    "torch-loader": Way("PyTorch with a DataLoader, no logging", _other("torch-loader"), needs="torch"),
    "products": Way("the matrix products alone, BLAS, all threads", _other("products")),
    "products-1": Way("the matrix products alone, BLAS, one thread", _other("products"), threads=1),
}
# Rows that are computed: the same products at the measured peak, by threads.
PEAKS = {"those products at the peak, all threads": None, "those products at the peak, one thread": 1}


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        work, notes = _prepare(options, Path(folder))
        ways = {}
        for name in options.only or WAYS:
            if WAYS[name].needs and importlib.util.find_spec(WAYS[name].needs) is None:
                notes.append(f"`{name}` is left out: {WAYS[name].needs} is not installed.")
            else:
                ways[name] = WAYS[name]
        measured: dict[str, list[Measured]] = {name: [] for name in ways}
        peaks = dict.fromkeys(PEAKS, 0.0)
        for repeat in range(options.repeats):
            for name, way in ways.items():
                measured[name].append(_measure(name, way, work, options.fit_seeds))
                seconds = measured[name][-1].run.seconds
                print(f"{repeat + 1}/{options.repeats} {name}: {seconds:.1f} s", file=sys.stderr, flush=True)
            for label, threads in PEAKS.items():
                peaks[label] = max(peaks[label], _peak_gflops(threads, work))
        flops = _flops(work)
    notes += [f"{label.capitalize()}: at {gflops:.0f} GFLOP/s in float32." for label, gflops in peaks.items()]
    limit_rows = {label: {n: flops[n] / gflops / 1e9 for n in work.names} for label, gflops in peaks.items()}
    tables = [_table(measured, limit_rows), _table_by_stack(measured, limit_rows, work.names)]
    write_report("The same work, side by side", describe_machine(), "\n\n".join(tables), notes, options.output)
    if options.picture is not None:
        counts = counted(len(work.names), "stack"), counted(work.seeds, "seed"), counted(work.epochs, "epoch")
        _draw(measured, ", ".join(counts), options.picture)


# ---- the work -----------------------------------------------------------------------------------------------------


def _prepare(options: argparse.Namespace, folder: Path) -> tuple[Work, list[str]]:
    """Find the images, write down which are for validation, and a sweep file that asks for just these."""
    given = os.environ.get("FASHION_MNIST_DIR")
    source = find_data("auto", Path(given) if given else None)
    images = load_data(source)
    notes, place, text = [], source.folder, SWEEP_FILE.read_text(encoding="utf-8")
    if source.kind == "synthetic":
        place = folder / "images"
        place.mkdir()
        write_idx(place, (images.x_train, images.y_train), (images.x_test, images.y_test))
        notes.append(f"STAND-IN DATA, generated, not Fashion-MNIST: {source.fallback_reason}.")
        text = re.sub(r"(?m)^dataset:.*$", f"dataset: {{idx: {json.dumps(str(place))}}}", text)
    sweep_file = folder / "compare.yaml"
    sweep_file.write_text(text, encoding="utf-8")

    architectures = load_sweep(sweep_file).architectures[: options.stacks]
    for architecture in architectures:
        training = architecture.training
        dense = all(isinstance(layer, Dense) for layer in architecture.layers)
        if not dense or (training.batch_size, training.optimizer, training.learning_rate) != (32, "adam", 1e-3):
            raise SystemExit(f"{SWEEP_FILE.name}: {architecture.name}: only plain Dense stacks with adam are compared")
    split, pool = folder / "split.npz", limit_indices(images.y_train, options.limit)
    splits = write_splits(split, images.y_train, pool, training.validation_split, options.seeds)
    images_text = f"{len(splits['train-0']):,} training, {len(splits['validation-0']):,} validation"
    notes.append(
        f"{len(architectures)} stacks, {options.seeds} seed(s), {options.epochs} epochs; {images_text} and "
        f"{len(images.x_test):,} test images ({images.source.dataset}); medians of {options.repeats} run(s)."
    )
    if options.fit_seeds < options.seeds:
        notes.append(
            f"Only the sweeps trained all seeds; the other ways trained {options.fit_seeds}, and their whole-process "
            "and CPU seconds are the measured ones plus the missing seeds at the measured seconds a trial."
        )
    names = [architecture.name for architecture in architectures]
    is_fashion_mnist = source.kind == "fashion_mnist"
    counts = names, options.epochs, options.seeds, options.limit
    return Work(*counts, sweep_file, place, is_fashion_mnist, split, folder), notes


def write_idx(folder: Path, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> None:
    """The four IDX files of images and labels."""
    for part, (x, y) in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)  # 8: unsigned bytes
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


def write_splits(path: Path, y_train: np.ndarray, pool: np.ndarray, share: float, seeds: int) -> dict[str, np.ndarray]:
    """The split that a sweep makes of these images for each seed, for the others: `train-0`, `validation-0`, ..."""
    splits = {}
    for seed in range(seeds):
        shares = stratified_split(y_train[pool], share, seed)
        splits |= {f"{part}-{seed}": pool[s] for part, s in zip(("train", "validation"), shares, strict=True)}
    np.savez(path, **splits)
    return splits


def _flops(work: Work) -> dict[str, int]:
    with np.load(work.split) as split:
        counts = len(split["train-0"]), len(split["validation-0"])
    return {name: product_flops(layer_units(name), *counts) for name in work.names}


# ---- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """One run of one way; each trial has `stack`, `epoch_seconds` and, where it learns, `test_accuracy`."""

    run: Run
    trials: list[dict]

    def epoch_seconds(self, stack: str | None = None) -> float:
        """Seconds an epoch after the first: median over the epochs of a trial, mean over trials."""
        return statistics.mean(
            statistics.median(trial["epoch_seconds"][1:]) for trial in self.trials if stack in (None, trial["stack"])
        )

    def test_accuracy(self) -> float | None:
        accuracies = [trial["test_accuracy"] for trial in self.trials if "test_accuracy" in trial]
        return statistics.mean(accuracies) if accuracies else None


def _measure(name: str, way: Way, work: Work, fit_seeds: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=work.folder) as folder:
        all_seeds = work.seeds
        seeds = all_seeds if way.is_sweep else min(fit_seeds, all_seeds)
        work = replace(work, folder=Path(folder), seeds=seeds)
        if way.has_programs:
            before = replace(work, folder=work.folder / "before", seeds=1, epochs=2)
            before.folder.mkdir()
            run_measured([sys.executable, *way.command(before)], _environment(way, work), work.folder / "log.txt")
        run = run_measured([sys.executable, *way.command(work)], _environment(way, work), work.folder / "log.txt")
        trials = read_trials(work.folder / "results") if way.is_sweep else json.loads(work.output.read_text())
    if seeds < all_seeds and "seconds" in trials[0]:
        missing = sum(trial["seconds"] for trial in trials) * (all_seeds / seeds - 1)
        busy = run.cpu_seconds / run.seconds  # cores
        run = replace(run, seconds=run.seconds + missing, cpu_seconds=run.cpu_seconds + busy * missing)
    return Measured(run, trials)


def _environment(way: Way, work: Work) -> dict[str, str]:
    own = {"FASHION_MNIST_DIR": str(work.images)} if work.is_fashion_mnist or not way.is_sweep else {}
    if not way.is_sweep:
        own["PYTHONPATH"] = _with_root_first()
    return clean_environment(way.threads, work.folder / "programs") | own | dict(way.environment)


def _with_root_first() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def read_trials(results: Path) -> list[dict]:
    """From the table and the records that a sweep left."""
    trials = []
    (path,) = results.glob("*/trials.csv")  # a quick look has a folder of its own
    with path.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            record = json.loads((results / "_records" / row["fingerprint"] / "record.json").read_text())
            seconds = record["measured"]["epoch_seconds"]
            accuracy = record["metrics"]["test_accuracy"]
            trials.append({"stack": row["architecture"], "test_accuracy": accuracy, "epoch_seconds": seconds})
    return trials


def _peak_gflops(threads: int | None, work: Work) -> float:
    way = Way("", _other("peak"), threads=threads)
    with tempfile.TemporaryDirectory(dir=work.folder) as folder:
        work = replace(work, folder=Path(folder))
        run_measured([sys.executable, *way.command(work)], _environment(way, work), work.folder / "log.txt")
        return json.loads(work.output.read_text())["gflops"]


# ---- the tables ---------------------------------------------------------------------------------------------------


def _table(measured: dict[str, list[Measured]], limit_rows: dict[str, dict[str, float]]) -> str:
    base = measured.get(BASELINE)
    base_whole = base and statistics.median(m.run.seconds for m in base)
    base_epoch = base and statistics.median(m.epoch_seconds() for m in base)
    rows = []
    for name, runs in measured.items():
        learns = runs[0].test_accuracy() is not None  # the products alone are no process to compare
        whole = statistics.median(m.run.seconds for m in runs)
        epoch = statistics.median(m.epoch_seconds() for m in runs)
        cpu = statistics.median(m.run.cpu_seconds for m in runs)
        memory = statistics.median(m.run.peak_bytes for m in runs) / 2**30
        accuracy = statistics.median(m.test_accuracy() for m in runs) if learns else None
        row = [WAYS[name].label, f"{whole:.1f}" if learns else "", _ratio(base_whole, whole) if learns else ""]
        row += [f"{epoch:.3f}", _ratio(base_epoch, epoch), f"{cpu:.0f}" if learns else ""]
        rows.append([*row, f"{memory:.2f}" if learns else "", "" if accuracy is None else f"{accuracy:.4f}"])
    for label, by_stack in limit_rows.items():
        epoch = statistics.mean(by_stack.values())
        rows.append([label, "", "", f"{epoch:.3f}", _ratio(base_epoch, epoch), "", "", ""])
    header = ["way", "whole, s", "ratio", "epoch, s", "ratio", "CPU s", "memory, GiB", "test accuracy"]
    return markdown_table(header, rows)


def _table_by_stack(measured: dict[str, list[Measured]], limit_rows: dict[str, dict[str, float]], names) -> str:
    rows = []
    for name, runs in measured.items():
        seconds = [statistics.median(m.epoch_seconds(stack) for m in runs) for stack in names]
        rows.append([WAYS[name].label, *(f"{s:.3f}" for s in seconds)])
    rows += [[label, *(f"{by_stack[stack]:.3f}" for stack in names)] for label, by_stack in limit_rows.items()]
    return markdown_table(["seconds an epoch after the first", *names], rows)


def _draw(measured: dict[str, list[Measured]], title: str, path: Path) -> None:
    """A bar a way, the slowest on top: seconds of the whole process."""
    whole = {name: statistics.median(m.run.seconds for m in runs) for name, runs in measured.items()}
    learning = [name for name in sorted(whole, key=whole.get) if measured[name][0].test_accuracy() is not None]
    labels = [WAYS[name].label.replace("`", "") for name in learning]
    colours = [plots.BLUE if WAYS[name].is_sweep else plots.FAINT for name in learning]
    with plots.own_style():
        figure = plots.new_figure(0.6 + 0.22 * len(learning), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(labels, [whole[name] for name in learning], color=colours)
        axes.bar_label(bars, [f"{whole[name]:.0f} s" for name in learning], padding=3)
        axes.set(xlabel="seconds of the whole process", title=title)
        axes.grid(visible=False)
        axes.margins(x=0.12)
        path.write_bytes(plots.to_png(figure))


def _ratio(base: float | None, value: float) -> str:
    return f"{base / value:.1f}" if base else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="default: %(default)s; at least 2")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--fit-seeds", type=int, metavar="N", help="seeds for all but the sweeps; the rest is scaled")
    parser.add_argument("--stacks", type=int, metavar="N", help="only the first N stacks")
    parser.add_argument("--limit", type=int, metavar="N", help="use only N training images")
    parser.add_argument("--only", action="append", choices=WAYS, metavar="WAY", help=f"one of {', '.join(WAYS)}")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="take turns N times; medians are shown")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the seconds of the whole process (PNG)")
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs: at least 2, because the first holds the compilation")
    options.fit_seeds = options.fit_seeds or options.seeds
    return options


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
