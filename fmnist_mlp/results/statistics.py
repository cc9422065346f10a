"""Figures of merit and the statistics of a sweep, from labels, predictions and plain numbers.

A trial needs `cross_entropy` and `classification_scores`: counted over images, never averaged over batches, where a
short last one would weigh too much. The table needs the rest: how uncertain a mean is (`mean_interval`), what the
choice of test images contributes (`bootstrap_difference`), and which rows nobody beats at their cost
(`pareto_front`). What is worse than what, `verdicts` says. How a table words this, and what is saved, is decided
elsewhere: nothing here knows of trials, files or Keras.

Only numpy is imported at the top: scipy.special takes 0.15 s, which a rerun with nothing to do, and a worker about to
train, can spare.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CALIBRATION_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 5


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean of -log softmax(logits)[label] in nats, in float64: probabilities rounded to zero would make it infinite.

    Args:
        labels: integers `(n,)`.
        logits: `(n, num_classes)`.
    """
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_normaliser = np.log(np.exp(logits).sum(axis=1))
    return float(np.mean(log_normaliser - logits[np.arange(len(labels)), labels]))


@dataclass(frozen=True)
class ClassificationScores:
    """What accuracy hides; plain floats, ints and lists, ready for JSON.

    `precision`, `recall` and `f1` hold one number a class, None for a class that neither occurs nor is predicted: it
    has no score, and the macro means leave it out. A class that occurs and is never predicted has a precision of 0.
    """

    macro_precision: float
    macro_recall: float
    macro_f1: float
    ece: float  # expected calibration error, 0 (confident exactly as often as right) to 1
    precision: list[float | None]
    recall: list[float | None]
    f1: list[float | None]
    confusion_matrix: list[list[int]]  # (num_classes, num_classes): rows are labels, columns predictions


def classification_scores(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> ClassificationScores:
    """Scores of each class, their plain means over classes, and how far confidence is from accuracy.

    Args:
        labels: integers `(n,)`, at least one.
        predicted: integers `(n,)`. Not taken from `probabilities`: in float16 these can tie where logits differ.
        probabilities: `(n, num_classes)`, any float type; rows need not sum to one. The highest is the confidence.
    """
    counts = confusion_counts(labels, predicted, probabilities.shape[1])
    # As sklearn.metrics.precision_recall_fscore_support has them, whose import would take every worker a second.
    right, of_label, of_prediction = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    by_class = [
        np.divide(share, whole, out=np.zeros(len(counts)), where=whole > 0)
        for share, whole in ((right, of_prediction), (right, of_label), (2 * right, of_label + of_prediction))
    ]
    exists = of_label + of_prediction > 0  # the others are 0 only for want of data
    precision, recall, f1 = (
        [float(score) if known else None for score, known in zip(scores, exists, strict=True)] for scores in by_class
    )
    return ClassificationScores(
        *(float(scores[exists].mean()) for scores in by_class),
        ece=_calibration_error(predicted == labels, probabilities.max(axis=1).astype(np.float64)),
        precision=precision,
        recall=recall,
        f1=f1,
        confusion_matrix=counts.tolist(),
    )


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many images of each class (row) were given which class (column), integers `(num_classes, num_classes)`."""
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


class Interval(NamedTuple):
    """A mean of `n` values, their sample standard deviation, and a confidence interval of the mean."""

    mean: float | None  # None where there is no value at all
    std: float | None  # None, like the two below, for fewer than two values
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], correction: float = 0.0, confidence: float = 0.95) -> Interval:
    """Student's t interval for the mean of a figure over trials.

    Folds of one data set share training images, so their figures vary less than independent ones would. The variance
    of the mean is therefore taken as std² (1/n + correction): Nadeau and Bengio, "Inference for the Generalization
    Error", Machine Learning 52, 2003; for repeated folds, Bouckaert and Frank, PAKDD 2004.

    Args:
        values: one number a trial.
        correction: images tested on / images trained on in one fold, 1/(k-1) for k folds; 0 for trials without folds.
        confidence: how often intervals made in this way hold the true mean.
    """
    values = [float(value) for value in values]
    n = len(values)
    # Exact sums: three times 0.1 has a mean of 0.1 and no spread, where floating point would leave 1e-17 of one.
    mean = statistics.mean(values) if values else None
    if n < 2:
        return Interval(mean, None, None, None, n)
    # Here, because it takes a seventh of a second to import.
    from scipy.special import stdtrit

    std = statistics.stdev(values)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * std * math.sqrt(1 / n + correction)
    return Interval(mean, std, mean - half, mean + half, n)


class Difference(NamedTuple):
    """How far apart two means are, and a 95 % interval of that; None where that is not known."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


def bootstrap_difference(
    shares_a: np.ndarray, shares_b: np.ndarray, seed: int = 0, resamples: int = 10_000
) -> Difference:
    """How much a - b owes to which test images there are: paired bootstrap over images, of the models as trained.

    Args:
        shares_a: float `(n_images,)`: share of seeds whose model classified the image correctly.
        shares_b: the same for the other architecture, the images in the same order.
        seed: of the resampling; the same numbers give the same interval.
        resamples: how many times the images are drawn anew.
    """
    differences = np.asarray(shares_a, np.float64) - np.asarray(shares_b, np.float64)  # (n_images,)
    # Rounded, 0.6 - 0.4 and 0.8 - 0.6 are one value, and with s seeds there are 2s + 1. Drawing n images with
    # replacement is drawing how often each value comes, multinomially: the same distribution, ten times as fast.
    distinct, counts = np.unique(differences.round(12), return_counts=True)
    rng = np.random.default_rng(seed)
    chunk = max(1, 1_000_000 // len(distinct))  # bounds the memory where, against expectation, all values differ
    means = [
        rng.multinomial(len(differences), counts / len(differences), size=min(chunk, resamples - done)) @ distinct
        for done in range(0, resamples, chunk)
    ]
    low, high = np.percentile(np.concatenate(means) / len(differences), [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))


def pareto_front(
    costs: Sequence[float | None],
    values: Sequence[float | None],
    higher_is_better: bool = True,
    margin: float = 0.0,
) -> list[bool]:
    """Which rows no other row beats: at most the same cost, at least as good, and strictly better in one of the two.

    Equal rows are on the front together. A row without a cost or value (None, NaN) is never on it and beats none.

    Args:
        margin: the difference in value that matters: a cheaper row beats another where it is better, or less than so
            much behind.
    """
    points: list[tuple[float, float] | None] = []  # less of both is better
    for cost, value in zip(costs, values, strict=True):
        is_known = not any(number is None or math.isnan(number) for number in (cost, value))
        points.append((cost, -value if higher_is_better else value) if is_known else None)
    # From the cheapest on, and among equally cheap ones from the best: each must be better than all before it.
    on_front: set[tuple[float, float]] = set()
    best = best_of_cheaper = cost_before = None
    for cost, value in sorted({point for point in points if point is not None}):
        if cost != cost_before:
            best_of_cheaper, cost_before = best, cost
        if best is None or (value < best and (best_of_cheaper is None or value <= best_of_cheaper - margin)):
            on_front.add((cost, value))
        best = value if best is None else min(best, value)
    return [point in on_front for point in points]


# ---- calibration ----


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """Which of `CALIBRATION_BINS` bins of equal width each image's confidence falls in, `(n,)`.

    Bins are open below and closed above, (0, 1/15], (1/15, 2/15], ..., as in Guo et al. 2017.
    """
    return np.searchsorted(np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS, confidence, side="left")


def _calibration_error(is_correct: np.ndarray, confidence: np.ndarray) -> float:
    """Mean over images of |accuracy - mean confidence| of the bin that an image's confidence falls in."""
    # What falls in a bin adds up to n_bin (accuracy - confidence), so no bin is divided by its number of images.
    gaps = np.bincount(calibration_bins(confidence), weights=is_correct - confidence)
    return float(np.abs(gaps).sum() / len(confidence))
