"""Figures of merit and statistics against counts made by hand, textbooks, scikit-learn, scipy and simulation."""

import dataclasses
import itertools
import json
import math
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


@pytest.mark.slow
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


def test_the_confusion_matrix_counts_what_scikit_learn_counts():
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    labels, predicted = np.random.default_rng(0).integers(0, 7, (2, 400)).astype(np.uint8)
    labels[labels == 5] = 4  # a class that does not occur
    found = metrics.confusion_counts(labels, predicted, 7)
    assert found.tolist() == sklearn_metrics.confusion_matrix(labels, predicted, labels=range(7)).tolist()


@pytest.mark.slow
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


@pytest.mark.slow
def test_bootstrap_gives_the_same_interval_again_and_another_for_another_seed():
    rng = np.random.default_rng(13)
    a, b = rng.random(300), rng.random(300)
    assert metrics.bootstrap_difference(a, b, seed=1) == metrics.bootstrap_difference(a, b, seed=1)
    assert metrics.bootstrap_difference(a, b, seed=1) != metrics.bootstrap_difference(a, b, seed=2)


@pytest.mark.slow
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


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=12),
    st.sampled_from([0.0, 1.0, 2.5]),
)
def test_with_a_margin_a_cheaper_row_beats_what_is_better_by_less(rows, margin):
    def beats(row, other):
        better = row[1] > other[1]
        is_cheaper_and_close = row[0] < other[0] and row[1] > other[1] - margin
        return is_cheaper_and_close or (
            row[0] <= other[0] and (better or row[1] == other[1]) and (better or row[0] < other[0])
        )

    expected = [not any(beats(other, row) for other in rows) for row in rows]
    assert metrics.pareto_front([row[0] for row in rows], [row[1] for row in rows], margin=margin) == expected


def test_pareto_front_refuses_columns_of_different_length():
    with pytest.raises(ValueError, match="zip"):
        metrics.pareto_front([1, 2], [0.5])
