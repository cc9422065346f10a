"""Boundaries over the looks against an independent audit's figures, and against simulations written another way."""

import itertools
import math

import numpy as np
import pytest

from fmnist_mlp.results import boundaries

stats = pytest.importorskip("scipy.stats")

USUAL = (5, 10, 20, 40)


def as_boundaries(stacks, looks):
    """The levels as boundaries on the scale of the studentized range: of the range, and of the pairs' own t."""
    levels = boundaries.levels(stacks, looks)
    of_range = [
        stats.studentized_range.isf(level, levels.stacks, (levels.stacks - 1) * (look - 1))
        for level, look in zip(levels.range, looks, strict=True)
    ]
    of_pair = [math.sqrt(2) * stats.t.isf(level / 2, look - 1) for level, look in zip(levels.pair, looks, strict=True)]
    return of_range, of_pair


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stacks", "of_range", "of_pair"),
    [(4, (7.62, 5.58, 4.63, 3.79), (18.4, 7.6, 5.1, 3.9)), (10, None, (31, 9.7, 6.2, 4.9))],
)
def test_boundaries_are_about_those_that_an_audit_found_with_fewer_paths(stacks, of_range, of_pair):
    found = as_boundaries(stacks, USUAL)
    assert found[1] == pytest.approx(of_pair, rel=0.12)  # the first look is a tail of 0.08 %
    if of_range:
        assert found[0] == pytest.approx(of_range, rel=0.02)


def naive_paths(stacks, looks, paths, rng):
    """Range and largest own t of each sweep at each look, one sweep after the other, by numpy's and scipy's words."""
    found = np.empty((2, paths, len(looks)))
    for path in range(paths):
        sweep = rng.normal(size=(stacks, looks[-1])) + rng.normal(size=looks[-1])
        for number, look in enumerate(looks):
            y = sweep[:, :look]
            residuals = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
            std = math.sqrt((residuals**2).sum() / ((stacks - 1) * (look - 1)))
            found[0, path, number] = np.ptp(y.mean(axis=1)) * math.sqrt(look) / std
            largest = 0.0
            for i in range(stacks):
                d = y[i] - y[i + 1 :]
                if len(d):
                    largest = max(largest, np.abs(d.mean(axis=1) / d.std(axis=1, ddof=1)).max() * math.sqrt(look))
            found[1, path, number] = math.sqrt(2) * largest
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("stacks", "looks"), [(3, USUAL), (6, USUAL), (4, (5,)), (5, (3,))])
def test_of_equal_architectures_one_sweep_in_twenty_crosses_any_boundary(stacks, looks):
    paths = 3000
    found = naive_paths(stacks, looks, paths, np.random.default_rng(3))
    for statistic, limits in zip(found, as_boundaries(stacks, looks), strict=True):
        share = (statistic > limits).any(axis=1).mean()
        assert share < 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / paths)
        assert share > 0.04 - 3.3 * math.sqrt(0.05 * 0.95 / paths), "rounding makes it a little stricter, no more"


def test_little_is_spent_early():
    assert boundaries.spent(USUAL) == pytest.approx([0.05 / 64, 0.05 / 16, 0.05 / 4, 0.05])
    levels = boundaries.levels(4, USUAL)
    assert levels.pair == tuple(sorted(levels.pair))


@pytest.mark.slow
@pytest.mark.parametrize("design", [(3, (5,)), pytest.param((4, USUAL), marks=pytest.mark.slow)], ids=str)
def test_what_the_package_remembers_is_what_is_simulated(design):
    remembered = boundaries.usual()[boundaries.design_key(*design)]
    assert boundaries.simulate(*design) == remembered


def test_every_usual_design_is_remembered_by_the_package():
    for stacks in boundaries.STACKS:
        for looks in (USUAL, *((number,) for number in boundaries.SINGLE_LOOKS)):
            if stacks > 2 or len(looks) > 1:
                assert boundaries.design_key(stacks, looks) in boundaries.usual()


def test_more_architectures_and_fewer_seeds_are_judged_more_strictly():
    by_stacks = [boundaries.levels(stacks, USUAL).pair for stacks in (2, 4, 11, 50, 51, 400)]
    assert all(later < earlier for earlier, later in itertools.pairwise(by_stacks))
    by_seeds = [boundaries.levels(20, [seeds]).pair[0] for seeds in (2, 5, 13, 40, 5000)]
    assert by_seeds == sorted(by_seeds)


def test_where_nothing_is_simulated_bonferroni_is_never_laxer():
    simulated, bound = boundaries.levels(50, USUAL), boundaries.levels(51, USUAL)
    assert bound.pair == pytest.approx([step / math.comb(51, 2) for step in np.diff([0, *boundaries.spent(USUAL)])])
    assert all(b <= s for b, s in zip(bound.pair + bound.range, simulated.pair + simulated.range, strict=True))
    assert all(b > 0.7 * s for b, s in zip(bound.pair, simulated.pair, strict=True))


def test_other_designs_are_simulated_once_and_without_the_memory_again_to_the_same(monkeypatch):
    simulated = []

    def simulate(stacks, looks):
        simulated.append((stacks, looks))
        return real(stacks, looks, paths=2000)

    real = boundaries.simulate
    monkeypatch.setattr(boundaries, "simulate", simulate)
    memory = {}
    first = boundaries.levels(3, (4, 9), memory)
    assert first.pair[1] == memory["3 stacks, looks at 4,9"][1][1] > 0.04 / 3
    assert boundaries.levels(3, (4, 9), memory) == first
    assert simulated == [(3, (4, 9))]
    for damaged in ({}, dict.fromkeys(memory, "x"), {key: [[0.1], [0.1]] for key in memory}):
        assert boundaries.levels(3, (4, 9), damaged) == first
    assert simulated == [(3, (4, 9))] * 4


def test_one_pair_at_one_look_is_students_t():
    levels = boundaries.levels(2, [7])
    assert levels == (2, pytest.approx((0.05,)), pytest.approx((0.05,)))
