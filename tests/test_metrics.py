"""Figures of merit against counts made by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fmnist_mlp import metrics


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 1, 2], [[9, 1, 1], [1, 9, 1], [1, 1, 9]], 1.0),
        ([2, 0, 1], [[9, 1, 1], [1, 9, 1], [1, 1, 9]], 0.0),
        ([0, 1, 1, 0], [[1, 0], [1, 0], [0, 1], [0, 1]], 0.5),
        ([0], [[0.5, 0.5]], 1.0),
        ([1], [[0.5, 0.5]], 0.0),
        ([1], [[-math.inf, -1e30]], 1.0),
    ],
    ids=["all", "none", "half", "first of equals is right", "first of equals is wrong", "far below zero"],
)
def test_accuracy_is_the_share_of_images_whose_highest_score_is_their_labels(labels, scores, expected):
    result = metrics.accuracy(np.array(labels), np.array(scores, np.float32))
    assert result == expected
    assert type(result) is float


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
    for metric in (metrics.accuracy, metrics.cross_entropy):
        first, rest = metric(labels[:1000], logits[:1000]), metric(labels[1000:], logits[1000:])
        assert metric(labels, logits) == pytest.approx((1000 * first + rest) / 1001, rel=1e-12)


@settings(deadline=None)  # the first example imports scikit-learn
@given(
    logits=npst.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(5)), elements=st.floats(-30, 30, width=32)),
    seed=st.integers(0, 99),
)
def test_accuracy_and_cross_entropy_agree_with_scikit_learn(logits, seed):
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    labels = np.random.default_rng(seed).integers(0, 5, len(logits))
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    # Of equal scores both take the first class, but only before the exponential makes near ones equal.
    assert metrics.accuracy(labels, logits) == sklearn_metrics.accuracy_score(labels, logits.argmax(axis=1))
    expected = sklearn_metrics.log_loss(labels, probabilities, labels=range(5))
    # scikit-learn cuts probabilities off at 2.2e-16, which the range of the logits stays away from
    # up to a loss of 36; beyond it the reference is the one that is wrong.
    if probabilities.min() > 1e-15:
        assert metrics.cross_entropy(labels, logits) == pytest.approx(expected, rel=1e-9, abs=1e-12)
