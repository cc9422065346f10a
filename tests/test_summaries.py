"""What the report computes: curves, bins of confidence, confusions, samples and settings against numbers by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_mlp.report.settings import compare_settings
from fmnist_mlp.report.summaries import average_histories, bin_confidences, choose_samples, count_confusions
from fmnist_mlp.results import statistics as metrics


def test_curves_are_means_and_ranges_over_the_trials_that_got_there():
    histories = [
        {"loss": [4.0, 1.0, None, 7.0]},
        {"loss": [2.0, 3.0, None]},
        {"loss": [3.0, float("inf")], "val_loss": [1.0]},
        {},
    ]
    curve = average_histories(histories, "loss")
    np.testing.assert_array_equal(curve.mean, [3.0, 2.0, np.nan, 7.0])
    np.testing.assert_array_equal(curve.low, [2.0, 1.0, np.nan, 7.0])
    np.testing.assert_array_equal(curve.high, [4.0, 3.0, np.nan, 7.0])
    assert curve.trials.tolist() == [3, 2, 0, 1]
    assert average_histories(histories, "val_loss").mean.tolist() == [1.0]
    assert [len(part) for part in average_histories(histories, "val_accuracy")] == [0, 0, 0, 0]
    assert [len(part) for part in average_histories([], "loss")] == [0, 0, 0, 0]


@given(st.lists(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_curves_agree_with_plain_python(lists):
    curve = average_histories([{"loss": numbers} for numbers in lists], "loss")
    assert len(curve.mean) == max(map(len, lists))
    for epoch, (mean, low, high, trials) in enumerate(zip(*curve, strict=True)):
        there = [numbers[epoch] for numbers in lists if len(numbers) > epoch and numbers[epoch] is not None]
        assert trials == len(there)
        if there:
            assert (low, high) == (min(there), max(there))
            assert mean == pytest.approx(sum(there) / len(there), rel=1e-9, abs=1e-6)
        else:
            assert np.isnan([mean, low, high]).all()


def test_numbers_whose_sum_overflows_are_left_out_without_a_warning():
    curve = average_histories([{"loss": [1e308, 1.0]}, {"loss": [1.5e308, 2.0]}], "loss")
    assert curve.trials.tolist() == [0, 2]
    np.testing.assert_array_equal(curve.mean, [np.nan, 1.5])


def test_bins_of_confidence_agree_with_a_loop_over_images_and_with_the_calibration_error():
    rng = np.random.default_rng(3)
    confidence = np.concatenate([rng.random(500), [1.0, 1 / 15, 2 / 15]])  # edges too
    is_correct = rng.random(503) < confidence
    found = bin_confidences(confidence, is_correct)
    for k in range(15):
        inside = [i for i, c in enumerate(confidence) if k / 15 < c <= (k + 1) / 15]
        assert found.images[k] == len(inside)
        assert found.accuracy[k] == pytest.approx(np.mean([is_correct[i] for i in inside]))
        assert found.confidence[k] == pytest.approx(np.mean([confidence[i] for i in inside]))
    chances = np.column_stack([confidence, np.zeros(503)])
    scores = metrics.classification_scores(np.where(is_correct, 0, 1), np.zeros(503, int), chances)
    assert (found.images * np.abs(found.accuracy - found.confidence)).sum() / 503 == pytest.approx(scores.ece)


def test_an_empty_bin_has_no_accuracy():
    found = bin_confidences(np.array([0.99, 0.98]), np.array([True, False]))
    assert found.images.tolist() == [0] * 14 + [2]
    assert np.isnan(found.accuracy[:14]).all()
    assert found.accuracy[14] == 0.5
    assert found.confidence[14] == pytest.approx(0.985)


def test_confusions_are_listed_from_the_most_frequent_and_of_equals_the_first():
    counts = np.array([[5, 3, 2], [3, 7, 0], [4, 0, 0]])
    assert count_confusions(counts, most=10) == [(2, 0, 4, 1.0), (0, 1, 3, 0.3), (1, 0, 3, 0.3), (0, 2, 2, 0.2)]
    assert count_confusions(counts, most=1) == [(2, 0, 4, 1.0)]
    assert count_confusions(np.diag([3, 4]), most=10) == []


def test_samples_are_the_first_of_each_class_and_the_surest_mistakes():
    labels = np.array([0, 0, 1, 1, 0, 2, 1, 0])
    predicted = np.array([1, 0, 1, 0, 0, 0, 1, 2])
    confidence = np.array([0.6, 0.9, 0.8, 0.7, 0.5, 0.7, 0.9, 0.9])
    chosen = choose_samples(labels, predicted, confidence, most=10)
    assert [part.tolist() for part in chosen] == [[1, 2], [0, 3, 5], [7, 3, 5, 0]]
    assert [part.tolist() for part in choose_samples(labels, predicted, confidence, most=1)] == [[1], [0], [7]]
    assert [part.tolist() for part in choose_samples(labels, labels, confidence, most=10)] == [[0, 2, 5], [], []]


def test_settings_are_shared_or_differ_among_those_that_have_them():
    settings = {"a": {"epochs": 20, "optimizer": "adam"}, "b": {"epochs": 20, "optimizer": "sgd"}, "c": {"limit": 5}}
    assert compare_settings(settings) == ({"epochs": 20, "limit": 5}, ["optimizer"])
    assert compare_settings({}) == ({}, [])
