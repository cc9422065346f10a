"""Verdicts against a textbook, scipy, least squares on dummy variables, and simulated sweeps."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fmnist_mlp.results import boundaries, verdicts
from fmnist_mlp.results.verdicts import Look, compare_with_best

stats = pytest.importorskip("scipy.stats")

ROOT = Path(__file__).parents[1]
NOTHING = 1.0  # a level at which an interval has no width


def by_name(table):
    """Rows as architectures "a0", "a1", ..., columns as seeds; NaN is left out as a trial without a value would be."""
    return {
        f"a{i}": {seed: float(value) for seed, value in enumerate(row) if not np.isnan(value)}
        for i, row in enumerate(table)
    }


def words(comparisons):
    return [comparison.verdict for comparison in comparisons.values()]


def single_look(architectures, seeds):
    levels = boundaries.levels(architectures, [seeds])
    return Look(levels.stacks, levels.range[0], levels.pair[0])


# ---- one interval ----

# Montgomery, "Design and Analysis of Experiments", the vascular graft experiment: yields at four extrusion pressures
# (rows) in six batches of resin (columns). The book's mean square error is 7.33 with 15 degrees of freedom.
GRAFTS = np.array(
    [
        [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
        [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
        [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
        [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
    ]
)
GRAFTS_CRITICAL_RANGE = 4.08  # 5 %, four means, 15 degrees of freedom: any printed table


def test_by_the_shared_spread_a_textbook_experiment_in_blocks_is_judged_as_in_the_textbook():
    comparisons = compare_with_best(by_name(GRAFTS), Look(4, 0.05, NOTHING))
    assert words(comparisons) == ["best", "undecided", "undecided", "worse"]
    half = GRAFTS_CRITICAL_RANGE * math.sqrt(7.33 / 6)
    for comparison, mean in list(zip(comparisons.values(), [92.82, 91.68, 88.92, 85.77], strict=True))[1:]:
        assert comparison.behind == pytest.approx(92.82 - mean, abs=0.011)
        assert comparison.low == pytest.approx(92.82 - mean - half, abs=0.02)
        assert comparison.high == pytest.approx(92.82 - mean + half, abs=0.02)


def test_by_its_own_spread_a_pair_is_compared_as_by_a_t_test_of_differences():
    comparisons = compare_with_best(by_name(GRAFTS), Look(4, NOTHING, 0.01))
    for i, comparison in enumerate(list(comparisons.values())[1:], start=1):
        interval = stats.ttest_rel(GRAFTS[0], GRAFTS[i]).confidence_interval(0.99)
        assert (comparison.low, comparison.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_the_interval_is_the_hull_of_both():
    values = by_name(GRAFTS)
    both = compare_with_best(values, Look(4, 0.05, 0.035))
    looks = Look(4, 0.05, NOTHING), Look(4, NOTHING, 0.035)
    by_range, by_pair = (compare_with_best(values, look) for look in looks)
    widest = set()
    for name in ("a1", "a2", "a3"):
        assert both[name].low == min(by_range[name].low, by_pair[name].low)
        assert both[name].high == max(by_range[name].high, by_pair[name].high)
        widest.add(by_range[name].high > by_pair[name].high)
    assert widest == {True, False}, "the case is what it claims to be: each is the wider one somewhere"


def fit_dummy_variables(table):
    """Effects of the architectures, and a function from a pair of them to half its simultaneous interval.

    Written as a statistics package would: a column for each architecture and block, a generalised inverse for the rest.
    """
    architectures, seeds = table.shape
    rows, columns = np.nonzero(~np.isnan(table))
    design = np.zeros((len(rows), architectures + seeds))
    design[np.arange(len(rows)), rows] = design[np.arange(len(rows)), architectures + columns] = 1
    y = table[rows, columns]
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    std = math.sqrt(((y - design @ solution) ** 2).sum() / (len(rows) - rank))
    covariance = np.linalg.pinv(design.T @ design)
    critical = stats.studentized_range.ppf(0.95, architectures, len(rows) - rank)

    def half(i, j):
        contrast = np.zeros(architectures + seeds)
        contrast[[i, j]] = 1, -1
        return critical * std * math.sqrt(contrast @ covariance @ contrast / 2)

    return solution[:architectures], half


@pytest.mark.parametrize("seed", range(6))
def test_incomplete_blocks_agree_with_least_squares_on_dummy_variables(seed):
    rng = np.random.default_rng(seed)
    architectures, seeds = rng.integers(3, 7), rng.integers(4, 8)
    table = rng.normal(size=(architectures, seeds)) + 5 * rng.normal(size=seeds)
    hole = rng.random(table.shape) < 0.3
    hole[0, :] = hole[:, :2] = False  # the first row and two columns keep all connected, and pairs of two
    table[hole] = np.nan

    effects, half = fit_dummy_variables(table)
    best = effects.argmax()
    comparisons = list(compare_with_best(by_name(table), Look(architectures, 0.05, NOTHING)).values())
    assert comparisons[best].verdict == "best"
    for i in set(range(architectures)) - {best}:
        own = np.nanmean(table[best] - table[i])  # an interval without width, but the hull holds it
        behind = effects[best] - effects[i]
        assert comparisons[i].behind == pytest.approx(behind, abs=1e-9)
        assert comparisons[i].low == pytest.approx(min(own, behind - half(best, i)), abs=1e-9)
        assert comparisons[i].high == pytest.approx(max(own, behind + half(best, i)), abs=1e-9)


def test_of_a_pair_only_the_seeds_that_both_have_count():
    table = np.random.default_rng(3).normal(size=(2, 9))
    table[0, 7], table[1, 8] = 1e3, -1e3
    table[1, 7] = table[0, 8] = np.nan
    (other,) = (c for c in compare_with_best(by_name(table), Look(2, 0.05, 0.05)).values() if c.verdict != "best")
    interval = stats.ttest_rel(*table[:, :7]).confidence_interval()
    assert other.high - other.low == pytest.approx(interval.high - interval.low)


def test_a_hard_seed_that_only_some_were_trained_on_does_not_count_against_them():
    """a0 is a tenth better on every seed they share, though its plain mean is lower: only it met the hard seed 2."""
    values = {"a0": {0: 0.901, 1: 0.9, 2: 0.5, 3: 0.899}, "a1": {0: 0.801, 1: 0.8, 3: 0.799}}
    comparisons = compare_with_best(values, single_look(2, 3))
    assert comparisons["a0"].verdict == "best"
    assert comparisons["a1"].behind == pytest.approx(0.1)
    assert comparisons["a1"].verdict == "worse"


def test_a_loss_is_compared_like_its_negative():
    table, look = np.random.default_rng(4).normal(size=(6, 5)), single_look(6, 5)
    negative = compare_with_best(by_name(-table), look)
    assert compare_with_best(by_name(table), look, higher_is_better=False) == negative


def test_unequal_spreads_are_judged_each_by_its_own():
    """The wild one widens what all share; what it does not do is make the steady ones worse than they are."""
    rng = np.random.default_rng(7)
    table = rng.normal(size=(3, 30)) * np.array([[1], [1], [20]])
    table[1] -= 2
    own = stats.ttest_rel(table[0], table[1]).confidence_interval()
    comparison = compare_with_best(by_name(table), Look(3, 0.05, 0.05))["a1"]
    assert comparison.verdict == "undecided"
    assert comparison.low < own.low < own.high < comparison.high


# ---- verdicts ----


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (-1, 2, None, "undecided"),
        (0.1, 2, None, "worse"),
        (-1, 2, 2.1, "equivalent"),
        (-1, 2, 1.9, "undecided"),
        (0.1, 2, 2.1, "not worse than the margin"),
        (0.1, 2, 1.9, "worse"),
        (1.5, 2, 1, "worse"),
    ],
)
def test_every_verdict_is_read_from_the_interval_and_the_margin(low, high, margin, verdict):
    standard = stats.zscore(np.arange(10.0), ddof=1) * math.sqrt(10) / stats.t.isf(0.025, 9)  # an interval of -1 to 1
    table = np.array([np.zeros(10), -((low + high) / 2 + (high - low) / 2 * standard)])
    comparison = compare_with_best(by_name(table), Look(2, 0.05, 0.05), margin=margin)["a1"]
    assert (comparison.low, comparison.high) == pytest.approx((low, high))
    assert comparison.verdict == verdict


def test_where_not_even_a_gross_difference_would_be_told_seeds_are_too_few():
    """Stacks of 4 and 64 units with two seeds each; t of one degree of freedom needs 12.7 spreads to be 5 %."""
    figures = {"4": {0: 0.344, 1: 0.36}, "64": {0: 0.746, 1: 0.75}}
    comparison = compare_with_best(figures, single_look(2, 2))["4"]
    assert comparison.verdict == "too few seeds"
    assert comparison.behind == pytest.approx(0.396)
    more = {name: {**by_seed, 2: by_seed[0]} for name, by_seed in figures.items()}
    assert compare_with_best(more, single_look(2, 3))["4"].verdict == "worse"


@pytest.mark.slow
@given(
    npst.arrays(
        float, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.sampled_from([0.1, 0.2, 0.3, np.nan])
    ),
    st.sampled_from([None, 0.05]),
)
@settings(deadline=None)  # quantiles of the studentized range take their time
def test_every_pattern_of_missing_and_equal_values_has_verdicts_without_a_warning(table, margin):
    comparisons = compare_with_best(by_name(table), single_look(max(2, len(table)), 5), margin=margin)
    known = ~np.isnan(table).all(axis=1)
    assert list(comparisons) == [f"a{i}" for i in np.flatnonzero(known)]
    assert words(comparisons).count("best") == min(1, known.sum())
    for comparison in comparisons.values():
        assert comparison.behind >= 0
        if comparison.low is None:
            assert comparison.verdict in ("best", "too few seeds")
            assert comparison.high is comparison.seeds_needed is None
        else:
            assert comparison.low <= comparison.behind <= comparison.high
        if comparison.verdict in ("worse", "not worse than the margin"):
            assert comparison.low > 0
        assert (comparison.seeds_needed is not None) == (
            margin is not None and comparison.is_open and comparison.low is not None
        )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"a": {}, "b": {0: None}, "c": {0: math.nan, 1: math.inf}}, {}),
        ({"a": {0: 0.9}}, {"a": "best"}),
        ({"a": {0: 0.9}, "b": {}}, {"a": "best"}),
        ({"a": {0: 0.8}, "b": {0: 0.9}}, {"a": "too few seeds", "b": "best"}),
        ({"a": {0: 0.8, 1: 0.9}, "b": {2: 0.7, 3: 0.7}}, {"a": "best", "b": "too few seeds"}),
        ({"a": {0: 0.9, 1: 0.9}, "b": {0: 0.9, 1: 0.9}}, {"a": "best", "b": "too few seeds"}),
        ({"a": [0.9] * 3, "b": [0.9] * 3}, {"a": "best", "b": "undecided"}),
        ({"a": [0.9] * 3, "b": [0.95] * 3}, {"a": "worse", "b": "best"}),
        ({"a": [0.1, 0.2, 0.3], "b": [0.3, 0.1, 0.2]}, {"a": "best", "b": "undecided"}),
        ({"a": [0.3, 0.1, 0.2], "b": [0.1, 0.2, 0.3]}, {"a": "best", "b": "undecided"}),
        ({"a": [0.8, None, 0.8, 0.8], "b": {0: 0.9, 2: 0.9, 3: 0.9}}, {"a": "worse", "b": "best"}),
        ({"a": {0: 0.9, 1: 0.8}, "b": {1: 0.7, 2: 0.8}}, {"a": "best", "b": "too few seeds"}),
        ({"a": [0] * 3, "b": [0] * 3}, {"a": "best", "b": "undecided"}),
    ],
    ids=[
        "nothing",
        "no values",
        "one architecture",
        "one with a value",
        "one seed",
        "no seed in common",
        "two equal seeds",
        "all equal",
        "no spread but a difference",
        "equal but for rounding",
        "equal but for rounding, the other way",
        "a trial without a value",
        "as many unknowns as values",
        "zeros",
    ],
)
def test_ugly_cases_have_a_verdict(values, expected):
    values = {name: dict(enumerate(row)) if isinstance(row, list) else row for name, row in values.items()}
    comparisons = compare_with_best(values, single_look(2, 3))
    assert {name: comparison.verdict for name, comparison in comparisons.items()} == expected
    for comparison in comparisons.values():
        assert type(comparison.behind) is float
        assert not math.isnan(comparison.behind)


def test_the_same_values_in_another_order_are_not_behind_by_a_rounding_error():
    values = np.random.default_rng(15).random(7)
    orders = [np.roll(values, shift) for shift in range(7)]
    assert len({float(sum(row)) for row in orders}) > 1, "the case is what it claims to be: the sums differ"
    comparisons = compare_with_best(by_name([*orders, values - 5]), single_look(8, 7))
    assert words(comparisons) == ["best"] + ["undecided"] * 6 + ["worse"]
    assert {comparison.behind for comparison in list(comparisons.values())[:7]} == {0.0}


def test_architectures_that_differ_by_the_same_on_every_seed_have_an_interval_without_width():
    values = np.array([0.713, 0.829, 0.917, 0.771])
    comparison = compare_with_best(by_name([values, values - 0.1, values - 0.07]), single_look(3, 4))["a1"]
    assert comparison.verdict == "worse"
    assert comparison.low == pytest.approx(comparison.high)
    assert comparison.behind == pytest.approx(0.1)


def test_what_cannot_be_connected_with_the_best_does_not_spoil_the_rest():
    table = np.full((4, 6), np.nan)
    table[:2, :4] = np.random.default_rng(5).normal(size=(2, 4)) / 100 + [[0.9], [0.5]]
    table[2:, 4:] = [[0.6, 0.61], [0.4, 0.42]]
    comparisons = compare_with_best(by_name(table), Look(4, 0.05, NOTHING))
    assert words(comparisons) == ["best", "worse", "too few seeds", "too few seeds"]
    assert comparisons["a2"].behind == pytest.approx(table[0, :4].mean() - 0.605)
    half = fit_dummy_variables(table)[1](0, 1)
    assert comparisons["a1"].high == pytest.approx(comparisons["a1"].behind + half)


@pytest.mark.slow
def test_many_architectures_ask_for_few_of_the_slow_quantiles(monkeypatch):
    """Each takes a tenth of a second and more; those of 201 rows would be hundreds."""
    asked = []

    def count(*args):
        asked.append(args)
        return exact(*args)

    exact = stats.studentized_range.ppf
    verdicts.critical_range.cache_clear()
    monkeypatch.setattr(stats.studentized_range, "ppf", count)
    table = np.random.default_rng(6).normal(size=(201, 10))
    compare_with_best(by_name(table), single_look(201, 10), margin=0.1)
    assert len(asked) == 1


# ---- how many seeds a margin needs ----


def power_of(seeds, margin, spread, architectures):
    level = 0.05 / math.comb(architectures, 2)
    critical = stats.t.ppf(1 - level / 2, seeds - 1)
    return stats.nct.sf(critical, seeds - 1, margin / spread * math.sqrt(seeds / 2))


@pytest.mark.parametrize(
    ("margin", "spread", "architectures"), [(0.003, 0.004, 4), (0.01, 0.002, 2), (0.003, 0.003, 50), (1.0, 20.0, 3)]
)
def test_seeds_needed_are_the_fewest_that_have_the_power_by_scipys_distributions(margin, spread, architectures):
    seeds = verdicts.seeds_for_margin(margin, spread, architectures)
    assert power_of(seeds - 1, margin, spread, architectures) < 0.8 <= power_of(seeds, margin, spread, architectures)


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 2), (1e-9, 2), (1e6, verdicts.MOST_SEEDS)])
def test_seeds_needed_at_the_extremes(spread, expected):
    assert verdicts.seeds_for_margin(0.003, spread, 2) == expected


def test_seeds_needed_follow_from_the_margin_and_an_upper_limit_of_the_spread_not_from_the_difference_seen():
    rng = np.random.default_rng(8)
    noise = stats.zscore(rng.normal(size=(2, 12)), axis=1)
    tables = [noise - [[0], [shift]] for shift in (0.1, 0.4)]
    needed = {compare_with_best(by_name(t), single_look(2, 12), margin=0.5)["a1"].seeds_needed for t in tables}
    std = (noise[0] - noise[1]).std(ddof=1) / math.sqrt(2)
    upper = std * math.sqrt(11 / stats.chi2.ppf(0.2, 11))
    assert needed == {max(12, verdicts.seeds_for_margin(0.5, upper, 2))}
    assert compare_with_best(by_name(tables[0]), single_look(2, 12))["a1"].seeds_needed is None


# ---- the range of equal architectures ----


@pytest.mark.parametrize(
    ("architectures", "df", "expected"),
    [
        (2, 1, 17.97), (2, 10, 3.15), (3, 1, 26.98), (3, 2, 8.33), (3, 5, 4.60), (3, 10, 3.88), (4, 15, 4.08),
        (5, 20, 4.23), (10, 2, 13.99), (10, 5, 6.99), (10, 20, 5.01), (10, 120, 4.56), (10, math.inf, 4.47),
        (20, 1, 59.56), (20, 10, 6.47), (20, 60, 5.24), (20, 120, 5.13), (20, math.inf, 5.01),
    ],
)  # fmt: skip
def test_critical_ranges_are_those_of_the_printed_tables(architectures, df, expected):
    """The 5 % points that textbooks reprint; they go back to Harter, Annals of Mathematical Statistics 31, 1960."""
    assert verdicts.critical_range(architectures, df, 0.05) == pytest.approx(expected, abs=0.0051)


def range_probability(q, architectures, df):
    """P(range / s <= q) for normal values and an independent s, by Gauss-Legendre quadrature in panels."""
    special = pytest.importorskip("scipy.special")
    nodes, weights = np.polynomial.legendre.leggauss(20)

    def panels(edges):
        half = np.diff(edges)[:, None] / 2
        return (edges[:-1, None] + half + half * nodes).ravel(), (half * weights).ravel()

    z, z_weights = panels(np.linspace(-9, 9, 37))
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    low, high = max(0.0, 1 - 9 / math.sqrt(2 * df)), 1 + 9 / math.sqrt(2 * df)
    s, s_weights = panels(low + (high - low) * np.linspace(0, 1, 41) ** (3 if low == 0 else 1))  # finer towards 0
    log_density_s = (
        math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(s) - df * s * s / 2
    )
    between = special.ndtr(z) - special.ndtr(z - q * s[:, None])  # (s, z): the others lie within the range below z
    given_s = (architectures * density * between ** (architectures - 1)) @ z_weights
    return float((s_weights * np.exp(log_density_s)) @ given_s)


@pytest.mark.slow
@pytest.mark.parametrize("df", [1, 18, 4491])
@pytest.mark.parametrize("architectures", [3, 50, 500])
@pytest.mark.parametrize("level", [0.05, 0.0007])
def test_critical_ranges_beyond_the_tables_agree_with_quadrature(architectures, df, level):
    critical = verdicts.critical_range(architectures, df, level)
    if level == 0.05 or df > 1:  # at one degree of freedom the far tail is beyond the quadrature
        assert range_probability(critical, architectures, df) == pytest.approx(1 - level, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architectures", "seeds", "spreads"),
    [(2, 5, "equal"), (4, 5, "equal"), (4, 5, "one wide"), (10, 3, "one wide")],
)
def test_of_sweeps_of_equal_architectures_at_most_one_in_twenty_calls_any_worse(architectures, seeds, spreads):
    """Seeds differ more than architectures do. With one look and equal spreads of two it is one in twenty exactly."""
    rng, look, alarms = np.random.default_rng(8), single_look(architectures, seeds), 0
    spread = np.ones((architectures, 1))
    spread[0] = 5 if spreads == "one wide" else 1
    for _ in range(2000):
        table = spread * rng.normal(size=(architectures, seeds)) + 3 * rng.normal(size=seeds)
        alarms += "worse" in words(compare_with_best(by_name(table), look))
    tolerance = 3.3 * math.sqrt(0.05 * 0.95 / 2000)  # a sound procedure fails one seed in a thousand
    assert alarms / 2000 < 0.05 + tolerance
    if architectures == 2 and spreads == "equal":
        assert alarms / 2000 > 0.05 - tolerance


# ---- the benchmark


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "rows"), [("alarms --stacks 2", 16), ("power", 4), ("coverage", 8)])
def test_the_benchmark_of_the_verdicts_prints_its_table(verb, rows, tmp_path):
    report = tmp_path / "report.md"
    command = [sys.executable, "-W", "error", "benchmarks/verdicts.py", *verb.split(), "--repeats", "3"]
    run = subprocess.run([*command, "--output", str(report)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert report.read_text() in run.stdout
    assert sum("%" in line and line.startswith("|") for line in run.stdout.splitlines()) == rows
