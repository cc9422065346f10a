"""How often the intervals of validation accuracy hold the true one: over seeds, and for new data.

    python benchmarks/coverage.py [--repeats 200]

A nearest centroid learns four overlapping classes in ten dimensions from 400 points, of which a seed leaves a tenth of
the training part out (as a network's seed has luck of its own). Each seed is another split by `validation_split: 0.2`,
or five `folds`. Two things are true: what this training gives on this data set, the mean over many seeds; and what it
gives on data of this kind, the mean over data sets. The interval over seeds is for the first, that for new data for the
second; the table shows how often each holds which, and how wide it is.

Shares have a standard error of 1.5 points at the 200 data sets of the default. Two minutes on one core; needs neither
images nor TensorFlow.
"""

import argparse
from pathlib import Path

import numpy as np
from measure import describe_machine, markdown_table, write_report

from fmnist_mlp.data.split import stratified_folds, stratified_split
from fmnist_mlp.results.statistics import Interval, mean_interval

CLASSES, DIMENSIONS, POINTS = 4, 10, 400
SEEDS = (1, 2, 5, 10, 25)
SEEDS_FOR_TRUTH = 250  # more seeds, whose mean stands for this data set's accuracy
FOLDS = 5


def main() -> None:
    options = _options()
    centres = np.random.default_rng(options.seed).normal(size=(CLASSES, DIMENSIONS)) * 0.55
    rows = []
    for folds in (None, FOLDS):
        accuracies = np.array(
            [_accuracies(np.random.default_rng([options.seed, k]), centres, folds) for k in range(options.repeats)]
        )  # (data sets, seeds, folds or 1)
        of_data_set = accuracies[:, max(SEEDS) :].mean(axis=(1, 2))
        for seeds in SEEDS:
            rows += _row(accuracies[:, :seeds], of_data_set, folds)
    header = ["split by", "seeds", "over seeds: this data set", "over seeds: the kind", "width, points"]
    header += ["new data: the kind", "width, points"]
    notes = [f"{options.repeats:,} data sets of {POINTS} points; shares of intervals that hold the truth named."]
    title = "Coverage of 95 % intervals of validation accuracy"
    write_report(title, describe_machine(), markdown_table(header, rows), notes, options.output)


def _accuracies(rng: np.random.Generator, centres: np.ndarray, folds: int | None) -> np.ndarray:
    """Validation accuracy of each training of one data set, `(seeds, folds or 1)`."""
    labels = np.arange(POINTS) % CLASSES
    points = centres[labels] + rng.normal(size=(POINTS, DIMENSIONS))
    accuracies = np.empty((max(SEEDS) + SEEDS_FOR_TRUTH, folds or 1))
    for row, seed in zip(accuracies, rng.integers(2**31, size=len(accuracies)), strict=True):
        for fold in range(len(row)):
            split = stratified_folds(labels, folds, fold, seed) if folds else stratified_split(labels, 1 / FOLDS, seed)
            training, validation = (np.asarray(part) for part in split)
            kept = training[rng.random(len(training)) < 0.9]
            sums = np.zeros((CLASSES, DIMENSIONS))
            np.add.at(sums, labels[kept], points[kept])
            means = sums / np.bincount(labels[kept], minlength=CLASSES)[:, None]
            distances = ((points[validation, None] - means) ** 2).sum(axis=2)
            row[fold] = (distances.argmin(axis=1) == labels[validation]).mean()
    return accuracies


def _row(accuracies: np.ndarray, of_data_set: np.ndarray, folds: int | None) -> list[list[str]]:
    """Shares of intervals over these seeds that hold the accuracy of their data set, and of the kind of data."""
    of_kind, seeds = of_data_set.mean(), accuracies.shape[1]
    over_seeds = [mean_interval(of_one.mean(axis=1).tolist()) for of_one in accuracies]
    new_data = [mean_interval(of_one.ravel().tolist(), 1 / (FOLDS - 1)) for of_one in accuracies]
    cells = [
        _share(over_seeds, of_data_set),
        _share(over_seeds, [of_kind] * len(over_seeds)),
        _width(over_seeds),
        _share(new_data, [of_kind] * len(new_data)),
        _width(new_data),
    ]
    return [[f"{folds} folds" if folds else "validation_split", str(seeds), *cells]] if any(cells) else []


def _share(intervals: list[Interval], truths) -> str:
    if intervals[0].low is None:
        return ""
    return f"{np.mean([i.low <= truth <= i.high for i, truth in zip(intervals, truths, strict=True)]):.1%}"


def _width(intervals: list[Interval]) -> str:
    return "" if intervals[0].low is None else f"{100 * np.mean([i.high - i.low for i in intervals]):.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="data sets; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the report into this file too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
