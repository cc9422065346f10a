"""Which architectures are worse than the best, which are as good for all that matters, and which are undecided.

Everything is read from one interval a pair, how far an architecture is behind the best. It is the hull of two: one by
the spread that all architectures share (Tukey's range in blocks), one by the pair's own spread (Student's t of the
paired differences). The first alone is wrong where spreads differ: among ten equal architectures, one of which has five
times the spread, it calls some worse in a fifth of all sweeps. Each holds for all pairs and all looks together
(`boundaries`), so the best may be picked after looking, and any pair may be read.

Figures come as architecture -> block -> figure. A block is what architectures share, a seed: some splits are harder
than others, for all. Nothing here knows of trials, files or Keras. Only numpy is imported at the top: scipy.special
takes 0.15 s, scipy.stats another 0.3 s, which a rerun with nothing to do can spare.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from fmnist_mlp.results.boundaries import ALPHA

Verdict = Literal["best", "worse", "equivalent", "not worse than the margin", "undecided", "too few seeds"]
Figures = Mapping[str, Mapping[Hashable, float | None]]

MOST_SEEDS = 10_000  # nobody trains more: the number stands for itself and all above it
POWER = 0.8  # with which `seeds_for_margin` plans
GROSS = 10.0  # spreads between seeds: where not even such a difference would be told, seeds are too few


class Look(NamedTuple):
    """How strict verdicts are at one look: nominal levels from `boundaries.levels`."""

    stacks: int
    range: float
    pair: float


@dataclass(frozen=True)
class Comparison:
    """Where an architecture stands against the best one; in the units of the metric, positive is worse."""

    verdict: Verdict
    behind: float  # 0 for the best itself
    low: float | None = None  # simultaneous interval; None for the best, and where seeds are too few for one
    high: float | None = None
    seeds_needed: int | None = None  # where it is open and a margin is named: see `seeds_for_margin`

    @property
    def is_open(self) -> bool:
        """Whether more seeds may still change what is said."""
        return self.verdict in ("undecided", "too few seeds")


def behind_best(figures: Figures, higher_is_better: bool = True) -> dict[str, float]:
    """How far each architecture's mean is behind the best: the `behind` of `compare_with_best`, with numpy alone.

    Means are estimated over blocks as there, so that one who lacks a block is not judged by how hard that was. Means
    that differ by rounding alone are level: of several that are level with the best, the first is the best.

    Returns:
        0 or more for each architecture that has a value, in the order given.
    """
    names, table = _arrange_in_blocks(figures)
    if not names:
        return {}
    behind = _fit_additive_model(table if higher_is_better else -table).behind
    return dict(zip(names, behind.tolist(), strict=True))


def compare_with_best(
    figures: Figures,
    look: Look,
    *,
    higher_is_better: bool = True,
    margin: float | None = None,
) -> dict[str, Comparison]:
    """Which architectures can be told from the best.

    Blocks may be incomplete (a trial failed, or is not trained). By the shared spread means are estimated as if every
    architecture had been trained in every block (value = architecture + block + error, by least squares), and each
    difference has its own standard error (Tukey-Kramer); by the pair's own, the blocks that both have count. Of
    architectures that no chain of shared blocks connects with the best, of fewer than two shared blocks, and where not
    even a difference of `GROSS` spreads would be told, is said "too few seeds". Where repeats agree exactly, any
    difference counts.

    Args:
        figures: on validation images. None and what is not finite count as missing.
        look: how strict it is.
        higher_is_better: False for a loss.
        margin: the difference that matters. An architecture whose interval lies below it is "equivalent", and where
            the interval lies above 0 as well, "not worse than the margin".

    Returns:
        A `Comparison` for each architecture that has a value, in the order given. Exactly one is "best": of equal
        ones the first.
    """
    names, table = _arrange_in_blocks(figures)
    if not names:
        return {}
    table = table if higher_is_better else -table
    fit = _fit_additive_model(table)
    behind = fit.behind
    best = int(np.argmin(behind))
    return {
        name: Comparison("best", 0.0) if i == best else _compare(table, fit, best, i, float(behind[i]), look, margin)
        for i, name in enumerate(names)
    }


def _compare(
    table: np.ndarray, fit: "_Fit", best: int, other: int, behind: float, look: Look, margin: float | None
) -> Comparison:
    differences = table[best] - table[other]
    differences = differences[np.isfinite(differences)]  # of the blocks that both have
    blocks = len(differences)
    if fit.part[best] != fit.part[other] or fit.df < 1 or blocks < 2:
        return Comparison("too few seeds", behind)

    # Half of each interval, in spreads between seeds: what would be told of a difference that is so large.
    inverse = fit.inverse
    variance = inverse[best, best] + inverse[other, other] - 2 * inverse[best, other]
    by_range = critical_range(look.stacks, fit.df, look.range) * math.sqrt(variance / 2)
    by_pair = critical_t(blocks - 1, look.pair) * math.sqrt(2 / blocks)
    own_mean, own_std = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(2)
    own_std = own_std if own_std > fit.rounding else 0.0
    low = min(behind - by_range * fit.std, own_mean - by_pair * own_std)
    high = max(behind + by_range * fit.std, own_mean + by_pair * own_std)
    verdict = "too few seeds" if max(by_range, by_pair) > GROSS else _verdict(low, high, margin)
    comparison = Comparison(verdict, behind, low, high)
    if margin is None or not comparison.is_open:
        return comparison
    spread = max(_upper_limit(own_std, blocks - 1), _upper_limit(fit.std, fit.df))
    needed = seeds_for_margin(margin, spread, look.stacks)
    return Comparison(verdict, behind, low, high, seeds_needed=max(needed, table.shape[1]))


def _verdict(low: float, high: float, margin: float | None) -> Verdict:
    if margin is not None and high < margin:
        return "not worse than the margin" if low > 0 else "equivalent"
    return "worse" if low > 0 else "undecided"


# ---- how many seeds a margin needs ----


def seeds_for_margin(margin: float, spread: float, stacks: int, power: float = POWER) -> int:
    """Fewest seeds that show a difference of the margin at a single look, with this power.

    The power is that of the pair's own t for one given pair (noncentral t), at the level that Bonferroni leaves each
    pair of so many architectures.

    Args:
        margin: above 0.
        spread: standard deviation of one figure about architecture plus block: an upper limit, where it is estimated.
        stacks: how many are compared, 2 or more.

    Returns:
        2 to `MOST_SEEDS`, which means that many or more.
    """
    # Here, because it takes a seventh of a second to import.
    from scipy.special import nctdtr

    if spread == 0:
        return 2
    level = ALPHA / math.comb(stacks, 2)

    def is_enough(seeds: int) -> bool:
        noncentrality = margin / spread * math.sqrt(seeds / 2)
        return 1 - nctdtr(seeds - 1, noncentrality, critical_t(seeds - 1, level)) >= power

    low, high = 1, MOST_SEEDS  # more than `low` are needed, no more than `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _upper_limit(std: float, df: int, confidence: float = 0.8) -> float:
    """What the true spread exceeds only in 1 - `confidence` of such samples, by the chi-square distribution."""
    # Here, because it takes a seventh of a second to import.
    from scipy.special import chdtri

    return std * math.sqrt(df / float(chdtri(df, confidence)))


# ---- critical values ----


@lru_cache(maxsize=1024)
def critical_range(architectures: int, df: float, level: float) -> float:
    """What the studentized range exceeds with the probability `level`.

    scipy 1.17 was compared, for 2 to 500 architectures and 1 to 90,000 degrees of freedom at 0.95, with a quadrature of
    the tests' own: the probabilities agree to 1e-10. The printed tables agree in all their digits.
    """
    if architectures == 2:  # the range of two is their difference: Student's t, exactly and at once
        return math.sqrt(2) * critical_t(df, level)
    # Here, because it takes half a second to import.
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - level, architectures, df))  # 0.05 to 0.2 s


@lru_cache(maxsize=1024)
def critical_t(df: float, level: float) -> float:
    """What the size of Student's t exceeds with the probability `level`."""
    # Here, because it takes a seventh of a second to import.
    from scipy.special import stdtrit

    return float(-stdtrit(df, level / 2))


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
