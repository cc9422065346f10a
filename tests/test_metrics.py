"""Figures of merit and statistics against counts made by hand, textbooks, scikit-learn, scipy and simulation."""

import dataclasses
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fmnist_mlp.results import statistics as metrics

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("labels", "logits", "expected"),
    [
        ([0, 3], np.zeros((2, 4)), math.log(4)),
        ([1], [[0.0, math.log(3)]], math.log(4 / 3)),
        ([0, 1], [[0.0, math.log(3)], [0.0, math.log(3)]], (math.log(4) + math.log(4 / 3)) / 2),
        ([0], [[1e4, 0.0]], 0.0),
        ([1], [[1e4, 0.0]], 1e4),
        ([1], [[-1e4, 0.0]], 0.0),
    ],
    ids=["no idea", "three to one", "a mean", "sure and right", "sure and wrong", "large negative logits"],
)
def test_cross_entropy_agrees_with_hand_made_cases(labels, logits, expected):
    result = metrics.cross_entropy(np.array(labels), np.array(logits, np.float32))
    assert result == pytest.approx(expected, rel=1e-6)
    assert type(result) is float


def test_cross_entropy_is_finite_where_the_probability_rounds_to_zero():
    logits = np.array([[0.0, 200.0]], np.float32)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float32)
    assert probabilities[0, 0] == 0, "the case is what it claims to be: -log of it would be infinite"
    assert metrics.cross_entropy(np.array([0]), logits) == 200.0


def test_cross_entropy_leaves_the_logits_as_they_are():
    """In float64 no copy is needed to convert, so one in place would spoil the caller's array."""
    logits = np.array([[1.0, 2.0], [5.0, 3.0]])
    before = logits.copy()
    metrics.cross_entropy(np.array([0, 1]), logits)
    np.testing.assert_array_equal(logits, before)


def test_images_count_alike_however_they_might_be_batched():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 10, 1001), rng.normal(size=(1001, 10))
    first, rest = (metrics.cross_entropy(labels[part], logits[part]) for part in (slice(1000), slice(1000, None)))
    assert metrics.cross_entropy(labels, logits) == pytest.approx((1000 * first + rest) / 1001, rel=1e-12)


@settings(deadline=None)  # the first example imports scikit-learn
@given(
    logits=npst.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(5)), elements=st.floats(-30, 30, width=32)),
    seed=st.integers(0, 99),
)
def test_cross_entropy_agrees_with_scikit_learn(logits, seed):
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    labels = np.random.default_rng(seed).integers(0, 5, len(logits))
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = sklearn_metrics.log_loss(labels, probabilities, labels=range(5))
    # scikit-learn cuts probabilities off at 2.2e-16, which the range of the logits stays away from
    # up to a loss of 36; beyond it the reference is the one that is wrong.
    if probabilities.min() > 1e-15:
        assert metrics.cross_entropy(labels, logits) == pytest.approx(expected, rel=1e-9, abs=1e-12)


# ---- scores of classes ----


def test_scores_of_classes_agree_with_a_count_by_hand():
    """Four images of classes 0, 0, 1, 3 taken for 0, 1, 1, 1: class 2 is out of it, class 3 is never predicted."""
    labels, predicted = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 1])
    scores = metrics.classification_scores(labels, predicted, np.eye(4)[predicted])
    assert scores.confusion_matrix == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert scores.precision == [1.0, pytest.approx(1 / 3), None, 0.0]
    assert scores.recall == [0.5, 1.0, None, 0.0]
    assert scores.f1 == [pytest.approx(2 / 3), 0.5, None, 0.0]
    assert scores.macro_precision == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert scores.macro_recall == pytest.approx(0.5)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores.ece == pytest.approx(0.5), "sure of everything and right in half"


@settings(deadline=None)  # the first example imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_of_classes_agree_with_scikit_learn(pairs):
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    labels, predicted = np.array(pairs).T
    scores = metrics.classification_scores(labels, predicted, np.eye(5)[predicted])  # class 4 never comes
    expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert (scores.macro_precision, scores.macro_recall, scores.macro_f1) == pytest.approx(expected[:3], rel=1e-12)
    assert scores.confusion_matrix == [[pairs.count((row, column)) for column in range(5)] for row in range(5)]
    for i in range(5):
        if i in labels or i in predicted:
            one = {"labels": [i], "average": "macro", "zero_division": 0}
            assert scores.precision[i] == sklearn_metrics.precision_score(labels, predicted, **one)
            assert scores.recall[i] == sklearn_metrics.recall_score(labels, predicted, **one)
            assert scores.f1[i] == pytest.approx(sklearn_metrics.f1_score(labels, predicted, **one), rel=1e-12)
        else:
            assert scores.precision[i] is scores.recall[i] is scores.f1[i] is None


def test_scores_are_plain_numbers_that_json_takes():
    labels = np.array([0, 1, 1], np.uint8)
    scores = metrics.classification_scores(labels, np.array([0, 1, 0]), np.full((3, 10), 0.1, np.float16))
    assert json.loads(json.dumps(dataclasses.asdict(scores))) == dataclasses.asdict(scores)


@pytest.mark.parametrize(
    ("labels", "predicted", "probabilities", "f1", "ece"),
    [
        ([2], [2], [[0.1, 0.2, 0.7]], 1.0, 0.3),
        ([2], [1], [[0.1, 0.7, 0.2]], 0.0, 0.7),
        ([0, 0], [0, 0], [[1.0], [1.0]], 1.0, 0.0),
        ([1, 1], [1, 1], [[0.5, 0.5], [0.25, 0.75]], 1.0, 0.375),
    ],
    ids=["one image, right", "one image, wrong", "one class there is", "one class there comes"],
)
def test_little_data_has_scores_too(labels, predicted, probabilities, f1, ece):
    scores = metrics.classification_scores(np.array(labels), np.array(predicted), np.array(probabilities))
    assert scores.macro_f1 == f1
    assert scores.ece == pytest.approx(ece)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_calibration_error_agrees_with_its_definition_bin_by_bin(dtype):
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(10, 0.3), 5000).astype(dtype)
    assert dtype == np.float64 or (probabilities.astype(float).sum(axis=1) != 1).any(), (
        "rounded: rows do not sum to one"
    )
    predicted = probabilities.argmax(axis=1)
    labels = np.where(rng.random(5000) < 0.6, predicted, rng.integers(0, 10, 5000))
    expected = 0.0
    for i in range(15):
        in_bin = [
            (float(row.max()), label == guess)
            for row, label, guess in zip(probabilities, labels, predicted, strict=True)
            if i / 15 < float(row.max()) <= (i + 1) / 15
        ]
        if in_bin:
            confidence = sum(sure for sure, _ in in_bin) / len(in_bin)
            right = sum(is_right for _, is_right in in_bin) / len(in_bin)
            expected += len(in_bin) / 5000 * abs(right - confidence)
    assert expected > 0.05
    assert metrics.classification_scores(labels, predicted, probabilities).ece == pytest.approx(expected, rel=1e-9)


def test_a_model_that_is_right_as_often_as_it_claims_has_no_calibration_error():
    labels = np.array([0, 0, 0, 1])  # three quarters sure of class 0, and right in three of four
    scores = metrics.classification_scores(labels, np.zeros(4, int), np.tile([0.75, 0.25], (4, 1)))
    assert scores.ece == pytest.approx(0.0, abs=1e-12)


def test_bins_of_calibration_are_closed_above():
    """0.6 is the upper edge of the bin of 0.55: one is right and one wrong there, at a mean confidence of 0.575."""
    probabilities = np.array([[0.6, 0.4], [0.55, 0.45]])
    scores = metrics.classification_scores(np.array([0, 1]), np.array([0, 0]), probabilities)
    assert scores.ece == pytest.approx(abs(0.5 - 0.575))


# ---- a mean and its interval ----


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(deadline=None)  # the first example imports scipy
def test_interval_of_a_mean_agrees_with_scipy(values, confidence):
    stats = pytest.importorskip("scipy.stats")
    interval = metrics.mean_interval(values, confidence=confidence)
    assert (interval.mean, interval.n) == (pytest.approx(np.mean(values), abs=1e-12), len(values))
    assert interval.std == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-9)
    half = stats.t(len(values) - 1).ppf(0.5 + confidence / 2) * np.std(values, ddof=1) / math.sqrt(len(values))
    assert (interval.low, interval.high) == pytest.approx((interval.mean - half, interval.mean + half), abs=1e-7)


def test_folds_that_share_images_have_a_wider_interval():
    """Ten folds of one data set: 1/10 + 1/9 in place of 1/10; 2.262157 is the t of 9 degrees of freedom."""
    values = [0.88, 0.89, 0.87, 0.9, 0.88, 0.86, 0.89, 0.88, 0.87, 0.88]
    interval = metrics.mean_interval(values, correction=1 / 9)
    half = 2.262157 * np.std(values, ddof=1) * math.sqrt(1 / 10 + 1 / 9)
    assert (interval.low, interval.high) == pytest.approx((0.88 - half, 0.88 + half), abs=1e-7)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None, None, None, 0)),
        ([0.1], (0.1, None, None, None, 1)),
        ([0.1] * 3, (0.1, 0.0, 0.1, 0.1, 3)),
        (np.full(7, 0.8871, np.float32), (float(np.float32(0.8871)), 0.0, *[float(np.float32(0.8871))] * 2, 7)),
    ],
    ids=["nothing", "one value", "equal values", "equal values of numpy"],
)
def test_too_little_for_an_interval_and_no_spread_at_all(values, expected):
    interval = metrics.mean_interval(values)
    assert interval == expected
    assert all(type(number) in (float, int, type(None)) for number in interval)


# ---- verdicts ----


def by_name(table, first=0):
    """Rows as architectures "a0", "a1", ..., columns as seeds; NaN is left out as a trial without a value would be."""
    return {
        f"a{i}": {first + seed: float(value) for seed, value in enumerate(row) if not np.isnan(value)}
        for i, row in enumerate(table)
    }


def verdicts(comparisons):
    return [comparison.verdict for comparison in comparisons.values()]


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


def test_a_textbook_experiment_in_blocks_is_judged_as_in_the_textbook():
    comparisons = metrics.compare_with_best(by_name(GRAFTS))
    assert verdicts(comparisons) == ["best", "tied with best", "tied with best", "worse"]
    half = GRAFTS_CRITICAL_RANGE * math.sqrt(7.33 / 6)
    for comparison, mean in list(zip(comparisons.values(), [92.82, 91.68, 88.92, 85.77], strict=True))[1:]:
        assert comparison.behind == pytest.approx(92.82 - mean, abs=0.011)
        assert comparison.behind_low == pytest.approx(92.82 - mean - half, abs=0.02)
        assert comparison.behind_high == pytest.approx(92.82 - mean + half, abs=0.02)


def test_complete_blocks_reduce_to_the_classical_formula():
    stats = pytest.importorskip("scipy.stats")
    table = np.random.default_rng(2).normal(size=(5, 4)) + np.arange(4) * 3
    comparisons = metrics.compare_with_best(by_name(table))
    row, column = table.mean(axis=1, keepdims=True), table.mean(axis=0)
    mean_square = ((table - row - column + table.mean()) ** 2).sum() / (4 * 3)
    half = stats.studentized_range.ppf(0.95, 5, 12) * math.sqrt(mean_square / 4)
    for comparison, mean in zip(comparisons.values(), row[:, 0], strict=True):
        assert comparison.behind == pytest.approx(row.max() - mean, abs=1e-12)
        if comparison.verdict != "best":
            assert comparison.behind_low == pytest.approx(comparison.behind - half, rel=1e-12)
            assert comparison.behind_high == pytest.approx(comparison.behind + half, rel=1e-12)


@pytest.mark.parametrize("correction", [0.0, 0.25])
def test_two_architectures_are_compared_as_by_a_t_test_in_pairs(correction):
    """With a correction as by Nadeau and Bengio's. A seed that only one of them has tells nothing."""
    stats = pytest.importorskip("scipy.stats")
    a, b = np.random.default_rng(3).normal(size=(2, 6))
    difference = a - b if a.mean() > b.mean() else b - a
    values = by_name([a, b])
    values["a1"][77] = a.mean() + b.mean()
    comparisons = metrics.compare_with_best(values, correction=correction)
    (other,) = (comparison for comparison in comparisons.values() if comparison.verdict != "best")
    interval = stats.ttest_1samp(difference, 0).confidence_interval()
    widening = math.sqrt((1 / 6 + correction) / (1 / 6))
    half = (interval.high - interval.low) / 2 * widening
    assert other.behind == pytest.approx(difference.mean())
    assert (other.behind_low, other.behind_high) == pytest.approx((other.behind - half, other.behind + half))


def fit_dummy_variables(table):
    """Effects of the architectures, and a function from a pair of them to half its simultaneous interval.

    Written as a statistics package would: a column for each architecture and block, a generalised inverse for the rest.
    """
    stats = pytest.importorskip("scipy.stats")
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
    hole[0, :] = hole[:, 0] = False  # the first row and column keep all connected
    table[hole] = np.nan

    effects, half = fit_dummy_variables(table)
    best = effects.argmax()
    comparisons = list(metrics.compare_with_best(by_name(table)).values())
    assert comparisons[best].verdict == "best"
    for i in set(range(architectures)) - {best}:
        assert comparisons[i].behind == pytest.approx(effects[best] - effects[i], abs=1e-9)
        assert comparisons[i].behind_low == pytest.approx(comparisons[i].behind - half(best, i), abs=1e-9)
        assert comparisons[i].behind_high == pytest.approx(comparisons[i].behind + half(best, i), abs=1e-9)
        assert comparisons[i].verdict == ("worse" if comparisons[i].behind > half(best, i) else "tied with best")


def test_a_hard_seed_that_only_some_were_trained_on_does_not_count_against_them():
    """a0 is a tenth better on every seed they share, though its plain mean is lower: only it met the hard seed 2."""
    values = {"a0": {0: 0.901, 1: 0.9, 2: 0.5, 3: 0.899}, "a1": {0: 0.801, 1: 0.8, 3: 0.799}}
    comparisons = metrics.compare_with_best(values)
    assert comparisons["a0"].verdict == "best"
    assert comparisons["a1"].behind == pytest.approx(0.1)
    assert comparisons["a1"].verdict == "worse"


def test_a_loss_is_compared_like_its_negative():
    table = np.random.default_rng(4).normal(size=(6, 5))
    assert metrics.compare_with_best(by_name(table), higher_is_better=False) == metrics.compare_with_best(
        by_name(-table)
    )


@given(
    npst.arrays(
        float, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.sampled_from([0.1, 0.2, 0.3, np.nan])
    ),
    st.sampled_from([0.0, 0.25]),
)
@settings(deadline=None)  # quantiles of the studentized range take their time
def test_every_pattern_of_missing_and_equal_values_has_verdicts_without_a_warning(table, correction):
    comparisons = metrics.compare_with_best(by_name(table), correction=correction)
    known = ~np.isnan(table).all(axis=1)
    assert list(comparisons) == [f"a{i}" for i in np.flatnonzero(known)]
    assert verdicts(comparisons).count("best") == min(1, known.sum())
    blocks = (~np.isnan(table)).any(axis=0).sum()
    for comparison in comparisons.values():
        assert comparison.behind >= 0
        if comparison.verdict in ("best", "too few seeds"):
            assert comparison.behind_low is comparison.behind_high is comparison.seeds_needed is None
        else:
            assert comparison.behind_low <= comparison.behind <= comparison.behind_high
            assert (comparison.verdict == "worse") == (comparison.behind_low > 0)
        if comparison.seeds_needed is not None:
            assert comparison.verdict == "tied with best"
            assert max(2, blocks) <= comparison.seeds_needed <= 10_000


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"a": {}, "b": {0: None}, "c": {0: math.nan, 1: math.inf}}, {}),
        ({"a": {0: 0.9}}, {"a": "best"}),
        ({"a": {0: 0.9}, "b": {}}, {"a": "best"}),
        ({"a": {0: 0.8}, "b": {0: 0.9}}, {"a": "too few seeds", "b": "best"}),
        ({"a": {0: 0.8, 1: 0.9}, "b": {2: 0.7, 3: 0.7}}, {"a": "best", "b": "too few seeds"}),
        ({"a": {0: 0.9, 1: 0.9}, "b": {0: 0.9, 1: 0.9}}, {"a": "best", "b": "tied with best"}),
        ({"a": {0: 0.9, 1: 0.9}, "b": {0: 0.95, 1: 0.95}}, {"a": "worse", "b": "best"}),
        ({"a": {0: 0.1, 1: 0.2, 2: 0.3}, "b": {0: 0.3, 1: 0.1, 2: 0.2}}, {"a": "best", "b": "tied with best"}),
        ({"a": {0: 0.3, 1: 0.1, 2: 0.2}, "b": {0: 0.1, 1: 0.2, 2: 0.3}}, {"a": "best", "b": "tied with best"}),
        ({"a": {0: 0.8, 1: None, 2: 0.8}, "b": {0: 0.9, 2: 0.9}}, {"a": "worse", "b": "best"}),
        ({"a": {0: 0.9, 1: 0.8}, "b": {1: 0.7, 2: 0.8}}, {"a": "best", "b": "too few seeds"}),
        ({"a": {(0, 0): 0.9, (0, 1): 0.9}, "b": {(0, 0): 0.8, (0, 1): 0.8}}, {"a": "best", "b": "worse"}),
        ({"a": {0: 0, 1: 0}, "b": {0: 0, 1: 0}}, {"a": "best", "b": "tied with best"}),
    ],
    ids=[
        "nothing",
        "no values",
        "one architecture",
        "one with a value",
        "one seed",
        "no seed in common",
        "all equal",
        "no spread but a difference",
        "equal but for rounding",
        "equal but for rounding, the other way",
        "a trial without a value",
        "as many unknowns as values",
        "folds",
        "zeros",
    ],
)
def test_ugly_cases_have_a_verdict(values, expected):
    comparisons = metrics.compare_with_best(values)
    assert {name: comparison.verdict for name, comparison in comparisons.items()} == expected
    for comparison in comparisons.values():
        assert type(comparison.behind) is float
        assert not math.isnan(comparison.behind)


def test_the_same_values_in_another_order_are_not_behind_by_a_rounding_error():
    values = np.random.default_rng(15).random(7)
    orders = [np.roll(values, shift) for shift in range(7)]
    assert len({float(sum(row)) for row in orders}) > 1, "the case is what it claims to be: the sums differ"
    comparisons = metrics.compare_with_best(by_name([*orders, values - 5]))
    assert verdicts(comparisons) == ["best"] + ["tied with best"] * 6 + ["worse"]
    level = list(comparisons.values())[:7]
    assert {(comparison.behind, comparison.seeds_needed) for comparison in level} == {(0.0, None)}


def test_architectures_that_differ_by_the_same_on_every_seed_have_an_interval_without_width():
    values = np.array([0.713, 0.829, 0.917, 0.771])
    comparison = metrics.compare_with_best(by_name([values, values - 0.1, values - 0.07]))["a1"]
    assert comparison.verdict == "worse"
    assert comparison.behind_low == comparison.behind == comparison.behind_high == pytest.approx(0.1)


def test_what_cannot_be_connected_with_the_best_does_not_spoil_the_rest():
    table = np.full((4, 6), np.nan)
    table[:2, :4] = np.random.default_rng(5).normal(size=(2, 4)) / 100 + [[0.9], [0.5]]
    table[2:, 4:] = [[0.6, 0.61], [0.4, 0.42]]
    comparisons = metrics.compare_with_best(by_name(table))
    assert verdicts(comparisons) == ["best", "worse", "too few seeds", "too few seeds"]
    assert comparisons["a2"].behind == pytest.approx(table[0, :4].mean() - 0.605)
    half = fit_dummy_variables(table)[1](0, 1)
    assert comparisons["a1"].behind_high == pytest.approx(comparisons["a1"].behind + half)


def test_many_architectures_ask_for_few_of_the_slow_quantiles(monkeypatch):
    """Each takes a tenth of a second and more; the verdicts and seeds needed of 201 rows would be thousands."""
    stats = pytest.importorskip("scipy.stats")
    asked = []

    def count(*args):
        asked.append(args)
        return exact(*args)

    exact = stats.studentized_range.ppf
    metrics._critical_range.cache_clear()
    metrics._noncentrality_needed.cache_clear()
    monkeypatch.setattr(stats.studentized_range, "ppf", count)
    table = np.random.default_rng(6).normal(size=(201, 10))
    comparisons = metrics.compare_with_best(by_name(table))
    assert sum(comparison.seeds_needed is not None for comparison in comparisons.values()) > 100
    assert 1 <= len(asked) <= 3
    assert metrics.compare_with_best(by_name(table[::-1])).keys() == comparisons.keys()
    assert len(asked) <= 3, "remembered"


# ---- seeds needed ----


def power_of(seeds, difference, std, architectures, alpha=0.05, correction=0.0):
    """Of Tukey's test for one pair among the architectures, with scipy's own distributions."""
    stats = pytest.importorskip("scipy.stats")
    df = (architectures - 1) * (seeds - 1)
    critical_t = stats.studentized_range.ppf(1 - alpha, architectures, df) / math.sqrt(2)
    return stats.nct.sf(critical_t, df, difference / (std * math.sqrt(2 * (1 / seeds + correction))))


@pytest.mark.parametrize(
    "case",
    [
        {"difference": 1.0, "std": 1.0, "architectures": 2},
        {"difference": 2.5, "std": 1.0, "architectures": 3},
        {"difference": 0.02, "std": 0.01, "architectures": 4},
        {"difference": 1.4, "std": 1.0, "architectures": 12, "power": 0.95},
        {"difference": 2.0, "std": 1.0, "architectures": 60, "alpha": 0.01},
        {"difference": 4.0, "std": 1.0, "architectures": 5, "correction": 0.25},
    ],
    ids=str,
)
def test_seeds_needed_are_the_fewest_that_have_the_power_by_scipys_distributions(case):
    seeds = metrics.seeds_for_power(**case)
    power = case.pop("power", 0.8)
    assert seeds > 3, "the case is what it claims to be: more than the fewest"
    assert power_of(seeds - 1, **case) < power <= power_of(seeds, **case)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.0, 1.0, 4), None),
        ((0.0, 0.0, 4), None),
        ((0.1, 0.0, 4), 2),
        ((1e9, 1.0, 4), 2),
        ((1e308, 1e-308, 4), 2),
        ((1e-9, 1.0, 4), 10_000),
        ((1e-320, 1.0, 4), 10_000),
    ],
    ids=["no difference", "nothing at all", "no spread", "obvious", "beyond floats", "invisible", "below floats"],
)
def test_seeds_needed_at_the_extremes(arguments, expected):
    assert metrics.seeds_for_power(*arguments) == expected
    assert metrics.seeds_for_power(-arguments[0], *arguments[1:]) == expected


def test_no_number_of_repeats_of_the_same_folds_shows_a_small_difference():
    """For five folds the variance never falls below 2/4 std²; without the correction it does."""
    assert metrics.seeds_for_power(0.8, 1.0, 4) < 100
    assert metrics.seeds_for_power(0.8, 1.0, 4, correction=1 / 4) is None
    at_the_limit = (3.633160 / math.sqrt(2) + 0.841621) * math.sqrt(2 / 4)  # q of infinite df; the normal's 80 %
    assert metrics.seeds_for_power(at_the_limit * 0.9999, 1.0, 4, correction=1 / 4) is None
    assert metrics.seeds_for_power(at_the_limit * 1.000001, 1.0, 4, correction=1 / 4) == 10_000


@pytest.mark.parametrize(("std", "architectures"), [(1.0, 1), (-1.0, 3)])
def test_seeds_for_a_comparison_that_cannot_be_are_refused(std, architectures):
    with pytest.raises(ValueError, match="at least 2 architectures and a std of at least 0, got"):
        metrics.seeds_for_power(1.0, std, architectures)


def test_a_tied_row_says_how_many_seeds_would_show_the_difference_seen():
    comparisons = metrics.compare_with_best(by_name(GRAFTS))
    mean_square = 109.8862 / 15  # sum of squares of the error, from the textbook's analysis of variance
    for name in ("a1", "a2"):
        pair = comparisons[name].behind, math.sqrt(mean_square), 4
        seeds = comparisons[name].seeds_needed
        assert power_of(seeds - 1, *pair) < 0.8 <= power_of(seeds, *pair)
    assert comparisons["a0"].seeds_needed is comparisons["a3"].seeds_needed is None


def test_no_fewer_seeds_are_needed_than_there_are():
    """a2 has two seeds of twelve, so a large difference ties it; nine would do, but others have twelve already."""
    table = np.random.default_rng(7).normal(size=(3, 12))
    table[2] = np.nan
    table[2, :2] = table[:2, :2].mean(axis=0) - 1.4
    comparisons = metrics.compare_with_best(by_name(table))
    assert comparisons["a2"].verdict == "tied with best"
    assert metrics.seeds_for_power(comparisons["a2"].behind, 1.0, 3) < 12, "the case is what it claims to be"
    assert comparisons["a2"].seeds_needed == 12


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
    assert metrics._critical_range(architectures, df, 0.05) == pytest.approx(expected, abs=0.0051)


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


@pytest.mark.parametrize("df", [1, 18, 4491])
@pytest.mark.parametrize("architectures", [3, 50, 500])
def test_critical_ranges_beyond_the_tables_agree_with_quadrature(architectures, df):
    critical = metrics._critical_range(architectures, df, 0.05)
    assert range_probability(critical, architectures, df) == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize("architectures", [2, 3, 26, 52])
def test_interpolated_critical_ranges_are_right_to_about_a_part_in_a_thousand(architectures):
    special = pytest.importorskip("scipy.special")
    noncentrality, limit = metrics._noncentrality_needed(architectures, 0.8, 0.05, 10_000)
    tolerance = 2e-5 if architectures < 27 else 1.1e-3
    for seeds in (2, 3, 4, 6, 12, 60):
        df = (architectures - 1) * (seeds - 1)
        exact = special.nctdtrinc(df, 0.2, metrics._critical_range(architectures, df, 0.05) / math.sqrt(2))
        assert noncentrality[seeds - 2] == pytest.approx(exact, rel=tolerance)
    assert noncentrality[-1] == pytest.approx(limit, rel=1e-3)


def share_of_false_alarms(architectures, seeds, repeats, rng, correction=0.0):
    """How often any of some equal architectures is called worse; seeds differ more than architectures do."""
    alarms = 0
    for _ in range(repeats):
        table = rng.normal(size=(architectures, seeds)) + 3 * rng.normal(size=seeds)
        alarms += "worse" in verdicts(metrics.compare_with_best(by_name(table), correction=correction))
    return alarms / repeats


@pytest.mark.parametrize(("architectures", "seeds"), [(2, 5), (3, 3), (5, 5)])
def test_of_sweeps_of_equal_architectures_one_in_twenty_calls_any_worse(architectures, seeds):
    share = share_of_false_alarms(architectures, seeds, 2000, np.random.default_rng(8))
    assert abs(share - 0.05) < 3.3 * math.sqrt(0.05 * 0.95 / 2000)  # a sound procedure fails one seed in a thousand


@pytest.mark.slow
@pytest.mark.parametrize(("architectures", "seeds"), [(4, 10), (50, 3)])
def test_many_equal_architectures_raise_no_more_false_alarms(architectures, seeds):
    share = share_of_false_alarms(architectures, seeds, 4000, np.random.default_rng(9))
    assert abs(share - 0.05) < 3.3 * math.sqrt(0.05 * 0.95 / 4000)


def test_overlapping_folds_with_their_correction_raise_fewer_alarms_not_more():
    """Errors here are independent, so the correction can only make the procedure cautious."""
    assert share_of_false_alarms(3, 5, 500, np.random.default_rng(10), correction=1 / 4) < 0.02


@pytest.mark.parametrize(("architectures", "difference"), [(2, 1.5), (4, 1.0)])
def test_the_seeds_asked_for_find_the_difference_as_often_as_promised(architectures, difference):
    """The third and fourth architecture stand far below: they count for the critical value and the spread alone."""
    rng = np.random.default_rng(11)
    seeds = metrics.seeds_for_power(difference, 1.0, architectures)
    found = 0
    for _ in range(1500):
        table = rng.normal(size=(architectures, seeds)) + rng.normal(size=seeds)
        table[1] -= difference
        table[2:] -= 100
        found += verdicts(metrics.compare_with_best(by_name(table)))[:2] == ["best", "worse"]
    expected = power_of(seeds, difference, 1.0, architectures)
    assert 0.8 <= expected < 0.87
    assert abs(found / 1500 - expected) < 3.3 * math.sqrt(expected * (1 - expected) / 1500)


# ---- test images drawn anew ----


def test_bootstrap_agrees_with_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(12)
    a = rng.binomial(5, rng.beta(4, 1, 2000)) / 5
    b = np.clip(a + rng.choice([-0.2, 0.0, 0.2], 2000, p=[0.12, 0.8, 0.08]), 0, 1)
    expected = stats.bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=rng,
        batch=1000,
    )
    mean, low, high = metrics.bootstrap_difference(a, b)
    assert mean == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    # A percentile of 10,000 resamples is itself uncertain: by 2.7 % of a standard error (2.5 % point of a normal).
    tolerance = 4 * math.sqrt(2) * 0.027 * expected.standard_error
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=tolerance)


def test_bootstrap_of_three_images_agrees_with_all_their_resamples():
    """Differences -1, 0, 1: 1 of 27 ordered draws has the mean -1 and 3 have -2/3, so 2.5 % is -1 and 97.5 % is 1."""
    a, b = np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0])
    means = [np.mean(draw) for draw in itertools.product(a - b, repeat=3)]
    expected = np.percentile(np.tile(means, 1000), [2.5, 97.5])
    assert metrics.bootstrap_difference(a, b) == (0.0, *expected)


def test_bootstrap_gives_the_same_interval_again_and_another_for_another_seed():
    rng = np.random.default_rng(13)
    a, b = rng.random(300), rng.random(300)
    assert metrics.bootstrap_difference(a, b, seed=1) == metrics.bootstrap_difference(a, b, seed=1)
    assert metrics.bootstrap_difference(a, b, seed=1) != metrics.bootstrap_difference(a, b, seed=2)


def test_bootstrap_takes_images_that_all_differ_in_pieces():
    """Ten thousand distinct values; the pieces do not divide the resamples; the normal interval is the reference."""
    rng = np.random.default_rng(14)
    a, b = rng.normal(size=10_000), np.zeros(10_000)
    mean, low, high = metrics.bootstrap_difference(a, b, resamples=1234)
    error = a.std() / 100
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.3 * error)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_bootstrap_of_a_difference_that_all_images_have_is_that_difference(share):
    a = np.array([0.2, 0.6, 0.8, 1.0])
    assert metrics.bootstrap_difference(a, a - share) == pytest.approx((share, share, share), abs=1e-12)


# ---- the front ----


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 4), st.just(math.nan)),
            st.one_of(st.none(), st.integers(0, 4), st.sampled_from([math.nan, math.inf, -math.inf])),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_pareto_front_agrees_with_comparing_every_row_with_every_other(rows, higher_is_better):
    def is_known(row):
        return not any(number is None or math.isnan(number) for number in row)

    def beats(row, other):
        better = row[1] > other[1] if higher_is_better else row[1] < other[1]
        return row[0] <= other[0] and (better or row[1] == other[1]) and (better or row[0] < other[0])

    expected = [is_known(row) and not any(is_known(other) and beats(other, row) for other in rows) for row in rows]
    costs, values = [row[0] for row in rows], [row[1] for row in rows]
    assert metrics.pareto_front(costs, values, higher_is_better) == expected


def test_pareto_front_of_a_table_one_can_see_through():
    parameters, val_accuracy = [50, 60, 60, 100, 100, 50], [0.88, 0.87, 0.89, 0.89, None, 0.88]
    assert metrics.pareto_front(parameters, val_accuracy) == [True, False, True, False, False, True]
    assert metrics.pareto_front([], []) == []


def test_pareto_front_refuses_columns_of_different_length():
    with pytest.raises(ValueError, match="zip"):
        metrics.pareto_front([1, 2], [0.5])


# ---- as a whole ----


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "rows"), [("alarms", 3 * 7 * 3), ("power", 7 * 3)])
def test_the_benchmark_of_the_verdicts_prints_its_table(verb, rows, tmp_path):
    report = tmp_path / "report.md"
    command = [sys.executable, "-W", "error", "benchmarks/verdicts.py", verb, "--repeats", "3", "--output", str(report)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert report.read_text().splitlines()[2:-1] != []
    assert sum("%" in line and line.startswith("|") for line in run.stdout.splitlines()) == rows
