"""What pictures show of many trials or many images: means of curves, bins of confidence, confusions, choices of images.

Numpy alone and no drawing: the report, TensorBoard's run of a sweep and the worker that scores a model share these.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fmnist_mlp.results import statistics as metrics


class Curve(NamedTuple):
    """A figure against epochs over the trials of an architecture; all `(epochs,)`, NaN where no trial has a number."""

    mean: np.ndarray
    low: np.ndarray  # of the trials the lowest
    high: np.ndarray
    trials: np.ndarray  # int: how many have a number there


def average_histories(histories: Sequence[Mapping[str, Sequence[float | None]]], name: str) -> Curve:
    """Mean, lowest and highest of a figure at each epoch, over those trials that got there with a finite number.

    Args:
        histories: `Record.history` of each trial; they may differ in length and lack `name`.
        name: `loss`, `val_accuracy`, ...
    """
    lists = [history[name] for history in histories if history.get(name)]
    values = np.full((len(lists), max(map(len, lists), default=0)), np.nan)  # (trials, epochs)
    for row, numbers in zip(values, lists, strict=True):
        row[: len(numbers)] = [math.nan if number is None else number for number in numbers]
    # Numbers whose sum floating point cannot hold are as good as infinite.
    is_finite = np.abs(values) < np.finfo(np.float64).max / max(1, len(lists))
    trials = is_finite.sum(axis=0)
    totals = np.where(is_finite, values, 0.0).sum(axis=0)
    low = np.where(is_finite, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(is_finite, values, -np.inf).max(axis=0, initial=-np.inf)
    mean, low, high = (np.where(trials > 0, part, np.nan) for part in (totals / np.maximum(trials, 1), low, high))
    return Curve(mean, low, high, trials)


class Reliability(NamedTuple):
    """How confidence compares with accuracy in bins of confidence, all `(bins,)`."""

    confidence: np.ndarray  # mean of the bin's images; NaN where it is empty
    accuracy: np.ndarray
    images: np.ndarray  # int


def bin_confidences(confidence: np.ndarray, is_correct: np.ndarray) -> Reliability:
    """Sorts images into the bins of the expected calibration error, `statistics.calibration_bins`.

    Args:
        confidence: highest probability of each image, `(n,)`.
        is_correct: bool, `(n,)`.
    """
    places, bins = metrics.calibration_bins(confidence), metrics.CALIBRATION_BINS
    images = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, weights=weights, minlength=bins) for weights in (confidence, is_correct))
    means = (np.where(images > 0, total / np.maximum(images, 1), np.nan) for total in sums)
    return Reliability(*means, images)


class Confusion(NamedTuple):
    """How often images of one class were taken for another."""

    label: int
    predicted: int
    images: int
    share: float  # of the images of `label`


def count_confusions(counts: np.ndarray, most: int) -> list[Confusion]:
    """The most frequent confusions, of equals the first.

    Args:
        counts: confusion matrix, `(classes, classes)`: rows are labels.
    """
    wrong = counts - np.diag(counts.diagonal())
    places = sorted(zip(*np.nonzero(wrong), strict=True), key=lambda place: (-wrong[place], place))[:most]
    return [Confusion(int(i), int(j), int(wrong[i, j]), float(wrong[i, j] / counts[i].sum())) for i, j in places]


class Samples(NamedTuple):
    """Indices of test images, each `(k,)`."""

    right: np.ndarray  # the first of each class that is classified correctly
    wrong: np.ndarray  # the first of each class that is not
    confident: np.ndarray  # mistakes, the most confident first


def choose_samples(labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, most: int) -> Samples:
    """Images to show, at most so many of each kind, by a rule that leaves nothing to taste.

    Args:
        labels, predicted: integers, `(n,)`.
        confidence: probability of the predicted class, `(n,)`; of equals the first image comes first.
    """
    is_correct = labels == predicted
    right, wrong = (np.flatnonzero(which) for which in (is_correct, ~is_correct))
    firsts = [which[np.unique(labels[which], return_index=True)[1]][:most] for which in (right, wrong)]
    return Samples(*firsts, wrong[np.argsort(-confidence[wrong], kind="stable")][:most])
