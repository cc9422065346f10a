"""How strict a verdict must be at each look, so that all looks together raise at most 5 % false alarms.

Two statistics are computed for every pair of architectures at every look: the studentized range (the difference by the
spread that all architectures share) and the pair's own t (the paired differences by their own spread). Each has its own
boundaries over the looks, and for each the chance that any pair of equal architectures ever crosses them is `ALPHA`.
Under normal errors both have laws that depend on the number of architectures and the looks alone, so boundaries come
from one simulation of standard normals. They are kept as nominal levels, the tail that the boundary cuts off at that
look, which hold where a trial is missing too: the tail stays, the degrees of freedom become fewer (the significance
level approach of Jennison and Turnbull, Group Sequential Methods, 2000, 4.4).

What is spent by look l is ALPHA (n_l / n_last)² (Kim and DeMets, Biometrika 74, 1987), so early looks decide rarely.

`boundaries.json` beside this file remembers the usual designs (`python benchmarks/verdicts.py boundaries` wrote it), a
sweep's own memory the others; both hold what `simulate` gives, so that without them the same is computed again.
"""

import functools
import json
import math
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

ALPHA = 0.05
PATHS = 1_000_000  # the first of four looks spends 0.08 %: some 780 paths lie beyond its boundary

# Numbers of architectures that are simulated; another counts as the next of them. More than these would take minutes.
STACKS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 50)

# Numbers of seeds that are simulated for a single look. Another has the levels of the last one below it, which are
# stricter: the more seeds, the more the pairs of one sweep agree.
SINGLE_LOOKS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
USUAL_LOOKS = (5, 10, 20, 40)

_FILE = Path(__file__).with_name("boundaries.json")
_SEED = 20_261_128
_CHUNK_NUMBERS = 250_000  # of one array, so that a processor's cache holds it; part of what is simulated


class Levels(NamedTuple):
    """Nominal levels at each look: the tail of the studentized range, and the two tails of one pair's own t.

    `stacks` is the number of architectures whose range it is: the next that is simulated, or that many.
    """

    stacks: int
    range: tuple[float, ...]
    pair: tuple[float, ...]


def levels(stacks: int, looks: Iterable[int], memory: MutableMapping[str, list] | None = None) -> Levels:
    """How strict each of the looks is.

    Args:
        stacks: architectures that are compared, or were ever: 2 or more.
        looks: seeds at each look, rising from 2 on.
        memory: of what was simulated for other designs than the usual ones; what is new is added.
    """
    looks = tuple(looks)
    if stacks > STACKS[-1]:  # never laxer than what a simulation would give, and some 3 % wider
        return _by_bonferroni(stacks, looks)
    stacks = next(number for number in STACKS if number >= stacks)
    if len(looks) == 1:
        looks = (max(number for number in SINGLE_LOOKS if number <= looks[0]),)
    bound = _by_bonferroni(stacks, looks)
    if stacks == 2 and len(looks) == 1:  # one pair, one look: nothing is shared
        return bound
    memory, key = {} if memory is None else memory, design_key(stacks, looks)
    remembered = next((known[key] for known in (usual(), memory) if _is_sound(known.get(key), len(looks))), None)
    if remembered is None:
        remembered = memory[key] = simulate(stacks, looks)
    # Both are valid, at each look by itself: of the rare paths of a first look a simulation knows few.
    return Levels(stacks, *(tuple(map(max, *two)) for two in zip(bound[1:], remembered, strict=True)))


def _by_bonferroni(stacks: int, looks: tuple[int, ...]) -> Levels:
    """What Bonferroni's inequality allows over pairs and looks."""
    steps = np.diff([0.0, *spent(looks)])
    return Levels(stacks, tuple(steps.tolist()), tuple((steps / math.comb(stacks, 2)).tolist()))


def spent(looks: Iterable[int]) -> list[float]:
    """What share of false alarms is spent by each look."""
    *_, last = looks = list(looks)
    return [ALPHA * (look / last) ** 2 for look in looks]


def design_key(stacks: int, looks: Iterable[int]) -> str:
    return f"{stacks} stacks, looks at {','.join(map(str, looks))}"


@functools.cache
def usual() -> Mapping[str, list]:
    """What the package remembers."""
    return json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.exists() else {}


def _is_sound(remembered: object, looks: int) -> bool:
    """Whether it is two lists of a level for each look."""
    return isinstance(remembered, list) and [len(part) if isinstance(part, list) else 0 for part in remembered] == [
        looks,
        looks,
    ]


# ---- the simulation ----


def simulate(stacks: int, looks: tuple[int, ...], paths: int = PATHS, seed: int = _SEED) -> list[list[float]]:
    """The levels of the range and of the pairs at each look, rounded down, so that boundaries are rounded up.

    A single look asks the range no simulation: its level is ALPHA itself.
    """
    # Here, because they take half a second to import.
    from scipy.special import stdtr
    from scipy.stats import studentized_range

    ranges, pairs = simulate_paths(stacks, looks, paths, seed)
    of_range = [
        float(studentized_range.sf(boundary, stacks, (stacks - 1) * (look - 1)))
        for boundary, look in zip(_boundaries(ranges, looks), looks, strict=True)
    ]
    of_pair = [
        float(2 * stdtr(look - 1, -boundary)) for boundary, look in zip(_boundaries(pairs, looks), looks, strict=True)
    ]
    return [[ALPHA] if len(looks) == 1 else [*map(_rounded_down, of_range)], [*map(_rounded_down, of_pair)]]


def simulate_paths(stacks: int, looks: tuple[int, ...], paths: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of equal architectures: the studentized range, and the largest own t of all pairs, each `(looks, paths)`."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, stacks, *looks]))
    ranges, pairs = np.empty((len(looks), paths)), np.empty((len(looks), paths))
    chunk = max(128, _CHUNK_NUMBERS // (stacks * max(stacks, *np.diff([0, *looks]))))
    for start in range(0, paths, chunk):
        here = slice(start, min(start + chunk, paths))
        size = here.stop - here.start
        sums, products = np.zeros((stacks, size)), np.zeros((stacks, stacks, size))  # of i and j >= i alone
        for number, (before, look) in enumerate(zip((0, *looks), looks, strict=False)):
            values = rng.standard_normal((stacks, look - before, size))
            sums += values.sum(axis=1)
            for i in range(stacks):
                products[i, i:] += np.einsum("jbp,bp->jp", values[i:], values[i])
            ranges[number, here] = _studentized_range(sums, products, look)
            pairs[number, here] = _largest_t(sums, products, look)
    return ranges, pairs


def _studentized_range(sums: np.ndarray, products: np.ndarray, seeds: int) -> np.ndarray:
    stacks = len(sums)
    squares = np.einsum("iip->p", products)
    of_blocks = (2 * products.sum(axis=(0, 1)) - squares) / stacks
    of_stacks, of_all = (sums**2).sum(axis=0) / seeds, sums.sum(axis=0) ** 2 / (stacks * seeds)
    variance = (squares - of_stacks - of_blocks + of_all) / ((stacks - 1) * (seeds - 1))
    return (sums.max(axis=0) - sums.min(axis=0)) / np.sqrt(seeds * variance)


def _largest_t(sums: np.ndarray, products: np.ndarray, seeds: int) -> np.ndarray:
    squares, largest = np.einsum("iip->ip", products), np.zeros(sums.shape[1])
    for i in range(len(sums) - 1):
        between = (sums[i + 1 :] - sums[i]) ** 2 / seeds
        within = squares[i + 1 :] + squares[i] - 2 * products[i, i + 1 :] - between
        np.maximum(largest, (between / within).max(axis=0), out=largest)
    return np.sqrt(largest * (seeds - 1))


def _boundaries(statistics: np.ndarray, looks: tuple[int, ...]) -> list[float]:
    """What the share of paths that has been above any boundary so far is what is spent by each look."""
    crossed, boundaries = np.zeros(statistics.shape[1], bool), []
    for of_look, by_now in zip(statistics, spent(looks), strict=True):
        others = np.sort(of_look[~crossed])
        may_cross = math.floor(by_now * len(crossed)) - int(crossed.sum())
        boundaries.append(float(others[-may_cross - 1]))
        crossed |= of_look > boundaries[-1]
    return boundaries


def _rounded_down(level: float) -> float:
    """Two digits."""
    unit = 10.0 ** (math.floor(math.log10(level)) - 1)
    return float(f"{math.floor(level / unit * (1 + 1e-12)) * unit:.1e}")
