"""Figures of merit and the statistics of a sweep, from labels, predictions and plain numbers.

A trial needs `cross_entropy` and `classification_scores`: counted over images, never averaged over batches,
where a short last one would weigh too much. The table needs the rest: how uncertain a mean is (`mean_interval`), how
far each architecture is behind the best (`behind_best`), which are worse than it and which only look so
(`compare_with_best`), how many seeds would settle it (`seeds_for_power`), what the choice of test images contributes
(`bootstrap_difference`), and which rows nobody beats at their cost (`pareto_front`). How a table words this, and what
is saved, is decided elsewhere: nothing here knows of trials, files or Keras.

Only numpy is imported at the top: scipy.special takes 0.15 s, scipy.stats and scikit-learn another 0.3 s each, which a
rerun with nothing to do, and a worker about to train, can spare.
"""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

Verdict = Literal["best", "tied with best", "worse", "too few seeds"]

CALIBRATION_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 5
MOST_SEEDS = 10_000  # nobody trains more: the number stands for itself and all above it


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
    # Here, because it takes a third of a second to import.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = np.arange(probabilities.shape[1])
    # Two classes at least: of a matrix of one cell scikit-learn warns, however it was asked for.
    counts = confusion_matrix(labels, predicted, labels=np.arange(max(2, len(classes))))[classes][:, classes]
    by_class = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)[:3]
    # scikit-learn's own macro average is over the classes that occur in either; the others are 0 only for want of data.
    exists = counts.sum(axis=0) + counts.sum(axis=1) > 0
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


@dataclass(frozen=True)
class Comparison:
    """Where an architecture stands against the best one; in the units of the metric, positive is worse."""

    verdict: Verdict
    behind: float  # 0 for the best itself
    behind_low: float | None  # simultaneous interval; None for the best, and where seeds are too few for one
    behind_high: float | None
    seeds_needed: int | None  # for "tied with best": blocks that would show such a difference; see `seeds_for_power`


def behind_best(
    values: Mapping[str, Mapping[Hashable, float | None]], higher_is_better: bool = True
) -> dict[str, float]:
    """How far each architecture's mean is behind the best: the `behind` of `compare_with_best`, with numpy alone.

    Means are estimated over blocks as there, so that one who lacks a block is not judged by how hard that was. Means
    that differ by rounding alone are level: of several that are level with the best, the first is the best.

    Returns:
        0 or more for each architecture that has a value, in the order given.
    """
    names, table = _arrange_in_blocks(values)
    if not names:
        return {}
    behind = _fit_additive_model(table if higher_is_better else -table).behind
    return dict(zip(names, behind.tolist(), strict=True))


def compare_with_best(
    values: Mapping[str, Mapping[Hashable, float | None]],
    higher_is_better: bool = True,
    correction: float = 0.0,
    alpha: float = 0.05,
) -> dict[str, Comparison]:
    """Which architectures are worse than the best, and which cannot be told from it.

    Tukey's range test in blocks. A block is what architectures share, a seed or a seed and fold: some splits are harder
    than others, for all. The model is value = architecture + block + error, fitted by least squares. Two architectures
    differ where their estimated means are further apart than the range of all of them would be, by chance, in all but
    `alpha` of sweeps of equal architectures. So the best may be picked after looking, and asking about every row raises
    no more false alarms than `alpha` for the whole sweep; t-tests against the best seen raise more
    (`benchmarks/verdicts.py` shows both). The promise is for errors that are roughly normal: with outliers (t of 5
    degrees of freedom) it holds for few, but 10 architectures raised 5 to 6 %, 20 raised 6 to 8 % and 50 even 10
    to 16 %.

    Blocks may be incomplete (a trial failed, or is not trained yet): means are then estimated as if every architecture
    had been trained in every block, and each difference has its own standard error (Tukey-Kramer). Architectures that
    no chain of shared blocks connects with the best cannot be compared with it: they are "too few seeds", for them
    `behind` compares means over different blocks, and they count for the spread and the range only. With one block, or
    as many unknowns as values, there is no measure of chance and all but the best are "too few seeds". Where repeats
    agree exactly, any difference counts.

    Args:
        values: architecture -> block -> metric on validation images. None and what is not finite count as missing.
        higher_is_better: False for a loss.
        correction: as for `mean_interval`; the variance of a difference becomes std² 2 (1/n + correction).
        alpha: share of sweeps of equal architectures in which any row may be called "worse".

    Returns:
        A `Comparison` for each architecture that has a value, in the order given. Exactly one is "best": of equal
        ones the first.
    """
    names, table = _arrange_in_blocks(values)
    if not names:
        return {}
    fit = _fit_additive_model(table if higher_is_better else -table)
    behind, best = fit.behind, int(np.argmin(fit.behind))
    comparable = (fit.part == fit.part[best]) & (fit.df > 0)
    comparable[best] = False
    half = np.zeros(len(names))  # of each simultaneous interval
    if comparable.any() and fit.std > 0:
        covariance = fit.inverse  # of the estimated means, in units of std²; only differences have a meaning
        variance = covariance[best, best] + covariance.diagonal() - 2 * covariance[best] + 2 * correction
        half[comparable] = _critical_range(len(names), fit.df, alpha) * fit.std * np.sqrt(variance[comparable] / 2)

    comparisons = {}
    for i, name in enumerate(names):
        low = high = seeds_needed = None
        if i == best:
            verdict = "best"
        elif not comparable[i]:
            verdict = "too few seeds"
        else:
            low, high = float(behind[i] - half[i]), float(behind[i] + half[i])
            verdict = "worse" if low > 0 else "tied with best"
        if verdict == "tied with best":
            seeds_needed = seeds_for_power(behind[i], fit.std, len(names), alpha=alpha, correction=correction)
            if seeds_needed is not None:  # an architecture that lacks blocks must first have those that there are
                seeds_needed = max(seeds_needed, table.shape[1])
        comparisons[name] = Comparison(verdict, float(behind[i]), low, high, seeds_needed)
    return comparisons


def seeds_for_power(
    difference: float,
    std: float,
    architectures: int,
    power: float = 0.8,
    alpha: float = 0.05,
    correction: float = 0.0,
    at_most: int = MOST_SEEDS,
) -> int | None:
    """Fewest blocks with which `compare_with_best` finds a true difference of this size, with this power.

    A block is a seed, or a seed and fold, in which every architecture is trained. The power is that for one given pair:
    t of their difference is noncentral, its critical value is Tukey's for all architectures. With a difference that was
    seen, not known, this is a rough plan: the true one may be half or twice as large.

    Args:
        difference: true difference of the two means; its sign does not matter.
        std: standard deviation of one value about architecture plus block.
        architectures: how many are compared, 2 or more.
        correction: as for `mean_interval`, of folds that stay as they are while there are more of them.
        at_most: where to stop looking.

    Returns:
        2 to `at_most`, which means that many or more; None where no number is enough: the difference is zero, or
        less than what `correction` leaves however many blocks there are.

    Raises:
        ValueError: fewer than two architectures, or a negative `std`.
    """
    if architectures < 2 or std < 0:
        raise ValueError(f"expected at least 2 architectures and a std of at least 0, got {architectures} and {std}")
    if difference == 0:
        return None
    if std == 0:
        return 2
    blocks = np.arange(2, at_most + 1)
    size = abs(float(difference)) / float(std)
    noncentrality, limit = _noncentrality_needed(architectures, power, alpha, at_most)
    is_enough = noncentrality * np.sqrt(2 * (1 / blocks + correction)) <= size
    if is_enough.any():
        return int(blocks[is_enough.argmax()])
    return at_most if limit * math.sqrt(2 * correction) < size else None


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
    costs: Sequence[float | None], values: Sequence[float | None], higher_is_better: bool = True
) -> list[bool]:
    """Which rows no other row beats: at most the same cost, at least as good, and strictly better in one of the two.

    Equal rows are on the front together. A row without a cost or value (None, NaN) is never on it and beats none.
    """
    points: list[tuple[float, float] | None] = []  # less of both is better
    for cost, value in zip(costs, values, strict=True):
        is_known = not any(number is None or math.isnan(number) for number in (cost, value))
        points.append((cost, -value if higher_is_better else value) if is_known else None)
    # From the cheapest on, and among equally cheap ones from the best: each must be better than all before it.
    front: list[tuple[float, float]] = []
    for point in sorted({point for point in points if point is not None}):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    on_front = set(front)
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


# ---- the additive model ----


def _arrange_in_blocks(values: Mapping[str, Mapping[Hashable, float | None]]) -> tuple[list[str], np.ndarray]:
    """Names, and a table `(architectures, blocks)`, NaN where a value is missing; without empty rows and columns."""
    present = {}
    for name, by_block in values.items():
        kept = {block: value for block, value in by_block.items() if value is not None and math.isfinite(value)}
        if kept:
            present[name] = kept
    column = {block: i for i, block in enumerate(dict.fromkeys(block for row in present.values() for block in row))}
    table = np.full((len(present), len(column)), np.nan)
    for row, by_block in zip(table, present.values(), strict=True):
        row[[column[block] for block in by_block]] = list(by_block.values())
    return list(present), table


class _Fit(NamedTuple):
    """value = architecture + block + error, by least squares."""

    means: np.ndarray  # (architectures,) estimated means over all blocks of an architecture's part
    inverse: np.ndarray  # (architectures, architectures): variance of means[i] - means[j] is std² (ii + jj - 2 ij)
    part: np.ndarray  # (architectures,) architectures with the same number are connected by shared blocks
    std: float  # of the error; 0 where df is 0
    df: int  # values less the unknowns that they can tell apart
    rounding: float  # differences up to this are floating point's, not the data's

    @property
    def behind(self) -> np.ndarray:
        """How far behind the highest mean, `(architectures,)`; means that differ by rounding alone are level."""
        levels, level = np.empty_like(self.means), math.inf
        for i in np.argsort(-self.means, kind="stable"):
            if level - self.means[i] > self.rounding:
                level = self.means[i]
            levels[i] = level
        return levels.max() - levels


def _fit_additive_model(table: np.ndarray) -> _Fit:
    seen = np.isfinite(table)  # (architectures, blocks)
    part = _connect(seen)
    membership = (part[:, None] == np.arange(part.max() + 1)).astype(np.float64)  # (architectures, parts)
    rounding = 1e-12 * np.abs(table[seen]).max()
    level = table[seen].mean()
    y = np.where(seen, table - level, 0.0)

    # Normal equations with the blocks eliminated: a matrix of architectures only. It is singular: a constant added to a
    # whole part changes no difference; with the part's outer product added, its effects sum to zero instead.
    incidence = seen.astype(np.float64)
    trained_in_block = incidence.sum(axis=0)  # (blocks,)
    share = incidence / trained_in_block
    information = np.diag(incidence.sum(axis=1)) - share @ incidence.T
    inverse = np.linalg.inv(information + membership @ membership.T)
    effects = inverse @ (y.sum(axis=1) - share @ y.sum(axis=0))  # (architectures,)
    block_effects = (y.sum(axis=0) - effects @ incidence) / trained_in_block  # (blocks,)

    residuals = incidence * (y - effects[:, None] - block_effects)
    rank = len(effects) + len(block_effects) - membership.shape[1]
    df = int(seen.sum()) - rank
    std = math.sqrt((residuals**2).sum() / df) if df > 0 else 0.0
    blocks_of_part = (membership.T @ incidence > 0).astype(np.float64)  # (parts, blocks)
    level_of_part = blocks_of_part @ block_effects / blocks_of_part.sum(axis=1)
    means = level + effects + level_of_part[part]
    return _Fit(means, inverse, part, std if std > rounding else 0.0, df, rounding)


def _connect(seen: np.ndarray) -> np.ndarray:
    """A number 0, 1, ... for each architecture, the same for those that a chain of shared blocks connects."""
    part, before = np.arange(len(seen)), None
    while before is None or (part != before).any():  # each takes the lowest number that it shares a block with
        before = part
        of_block = np.where(seen, part[:, None], len(seen)).min(axis=0)
        part = np.where(seen, of_block, len(seen)).min(axis=1)
    return np.unique(part, return_inverse=True)[1]


# ---- Tukey's range ----


@lru_cache(maxsize=1024)
def _critical_range(architectures: int, df: float, alpha: float) -> float:
    """Quantile 1 - alpha of the studentized range.

    scipy 1.17 was compared, for 2 to 500 architectures and 1 to 90,000 degrees of freedom at 0.95, with a quadrature of
    the tests' own: the probabilities agree to 1e-10. The printed tables agree in all their digits.
    """
    if architectures == 2:  # the range of two is their difference: Student's t, exactly and at once
        # Here, because it takes a seventh of a second to import.
        from scipy.special import stdtrit

        return math.sqrt(2) * float(stdtrit(df, 1 - alpha / 2))
    # Here, because it takes half a second to import.
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - alpha, architectures, df))  # 0.05 to 0.2 s


@lru_cache(maxsize=64)
def _noncentrality_needed(architectures: int, power: float, alpha: float, at_most: int) -> tuple[np.ndarray, float]:
    """Noncentrality of t at which a pair is found with this power, `(at_most - 1,)` for 2, 3, ... blocks; its limit.

    The studentized range has no quick quantiles, and this takes thousands. They are had from Student's t: with the tail
    that makes the two equal at infinite degrees of freedom, the ratio of their quantiles goes smoothly to 1 as 1/df
    goes to 0. A polynomial in 1/df through a few exact ratios is right to about 1 part in 1,000 at worst (52
    architectures, 3 blocks), to 1 in 100,000 for fewer than 27 (`tests/test_metrics.py`).
    """
    # Here, because it takes a seventh of a second to import.
    from scipy.special import nctdtrinc, ndtr, ndtri, stdtrit

    limit = _critical_range(architectures, math.inf, alpha) / math.sqrt(2)
    df_per_block = architectures - 1
    nodes = [df_per_block * blocks for blocks in (1, 2, 4, 8) if blocks == 1 or df_per_block * blocks <= 100]
    exact = [_critical_range(architectures, df, alpha) / math.sqrt(2) for df in nodes]
    ratios = [t / stdtrit(df, ndtr(limit)) for df, t in zip(nodes, exact, strict=True)]
    # Through (0, 1) too: as many coefficients as points.
    curve = np.polynomial.Polynomial.fit([0.0, *(1 / df for df in nodes)], [1.0, *ratios], len(nodes))
    df = df_per_block * np.arange(1.0, at_most)  # (at_most - 1,)
    critical_t = curve(1 / df) * stdtrit(df, ndtr(limit))
    return nctdtrinc(df, 1 - power, critical_t), float(limit + ndtri(power))
