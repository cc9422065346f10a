"""Which images are chosen: splits, folds and limits against counts and scikit-learn, and the order of an epoch."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from fmnist_mlp.data.source import find_data
from fmnist_mlp.data.split import count_parts, epoch_order, limit_indices, stratified_folds, stratified_split

labels = st.lists(st.integers(0, 9), min_size=1, max_size=200).map(lambda values: np.array(values, np.uint8))
shares = st.floats(0.0, 1.0, exclude_max=True)
seeds = st.integers(0, 2**40)


@settings(deadline=None)
@given(y_train=labels, validation_split=shares, seed=seeds)
def test_a_split_is_disjoint_complete_stratified_and_exact(y_train, validation_split, seed):
    train, validation = stratified_split(y_train, validation_split, seed)
    assert train.dtype == validation.dtype == np.int32
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(y_train)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    counts = np.bincount(y_train, minlength=10)
    chosen = np.bincount(y_train[validation], minlength=10)
    assert (np.abs(chosen - counts * validation_split) <= 1 + 1e-9).all()
    assert (counts - chosen >= (counts > 0)).all()  # no class loses its last training image
    possible = np.minimum(np.ceil(counts * validation_split), np.maximum(counts - 1, 0)).sum()
    assert len(validation) == min(round(len(y_train) * validation_split), possible)


@settings(deadline=None)
@given(y_train=labels, limit=st.integers(1, 250))
def test_a_limit_keeps_every_class_in_its_share(y_train, limit):
    chosen = limit_indices(y_train, limit)
    assert chosen.dtype == np.int32
    assert len(chosen) == min(limit, len(y_train))
    assert (np.diff(chosen) > 0).all()
    classes = len(np.unique(y_train))
    if limit >= classes:
        assert len(np.unique(y_train[chosen])) == classes
    assert np.array_equal(chosen, limit_indices(y_train, limit))


def test_no_limit_means_all_images():
    y_train = np.arange(10, dtype=np.uint8)
    for limit in (None, 10, 11):
        assert limit_indices(y_train, limit).tolist() == list(range(10))


def test_split_and_limit_differ_by_seed_and_share_nothing_but_the_share():
    y_train = np.repeat(np.arange(10, dtype=np.uint8), 100)
    first = stratified_split(y_train, 0.2, 0)
    assert [half.tolist() for half in first] == [half.tolist() for half in stratified_split(y_train, 0.2, 0)]
    assert np.bincount(y_train[first[1]]).tolist() == [20] * 10
    assert first[1].tolist() != stratified_split(y_train, 0.2, 1)[1].tolist()
    assert np.bincount(y_train[limit_indices(y_train, 250)]).tolist() == [25] * 10


def test_a_split_of_nothing_or_of_one_image_leaves_the_training_images():
    y_train = np.array([0, 1, 1, 1, 1, 5], np.uint8)
    train, validation = stratified_split(y_train, 0.0, 0)
    assert (len(train), len(validation)) == (6, 0)
    train, validation = stratified_split(y_train, 0.5, 0)
    assert np.bincount(y_train[train], minlength=6).tolist() == [1, 2, 0, 0, 0, 1]
    train, validation = stratified_split(y_train[:1], 0.5, 0)
    assert (train.tolist(), validation.tolist()) == ([0], [])


@settings(deadline=None)
@given(y_train=labels.filter(lambda y_train: len(y_train) >= 2), seed=seeds, data=st.data())
def test_folds_share_out_every_class_as_scikit_learn_does(y_train, seed, data):
    folds = data.draw(st.integers(2, min(50, len(y_train))))
    ours = [stratified_folds(y_train, folds, fold, seed) for fold in range(folds)]
    for train, validation in ours:
        assert train.dtype == validation.dtype == np.int32
        assert (np.diff(train) > 0).all()
        assert (np.diff(validation) > 0).all()
        assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(y_train)))
    assert np.array_equal(np.sort(np.concatenate([validation for _, validation in ours])), np.arange(len(y_train)))
    counts = np.array([np.bincount(y_train[validation], minlength=10) for _, validation in ours])  # (folds, 10)
    assert np.ptp(counts.sum(axis=1)) <= 1
    if np.bincount(y_train).max() < folds:  # scikit-learn refuses these
        assert counts.max() <= 1
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns of classes with fewer images than folds
        theirs = [part for _, part in StratifiedKFold(folds).split(y_train, y_train)]
    expected = np.array([np.bincount(y_train[part], minlength=10) for part in theirs])
    # Which fold gets the odd image is anybody's choice; how many get one is not.
    assert np.array_equal(np.sort(counts, axis=0), np.sort(expected, axis=0))
    assert np.array_equal(np.sort(counts.sum(axis=1)), np.sort(expected.sum(axis=1)))


def test_folds_differ_by_seed_and_from_the_split():
    y_train = np.repeat(np.arange(10, dtype=np.uint8), 100)
    parts = [stratified_folds(y_train, 5, fold, 0)[1].tolist() for fold in range(5)]
    assert parts == [stratified_folds(y_train, 5, fold, 0)[1].tolist() for fold in range(5)]
    others = [stratified_folds(y_train, 5, fold, 1)[1].tolist() for fold in range(5)]
    others.append(stratified_split(y_train, 0.2, 0)[1].tolist())
    # Two random fifths share a fifth; 200 +- 12 images of 1,000, so 40 +- 6 of these 200.
    shared = [len(set(part) & set(other)) for part in parts for other in others]
    assert max(shared) < 80
    assert [np.bincount(y_train[part]).tolist() for part in parts] == [[20] * 10] * 5


def test_folds_of_very_few_images():
    y_train = np.array([0, 1, 1, 1, 1, 5], np.uint8)
    parts = [stratified_folds(y_train, 6, fold, 3) for fold in range(6)]
    assert sorted(validation.tolist() for _, validation in parts) == [[index] for index in range(6)]
    # A class of one image is missing from the training of the fold that it validates.
    alone = [5 in y_train[train] for train, validation in parts if y_train[validation].tolist() == [5]]
    assert alone == [False]
    train, validation = stratified_folds(y_train[:2], 2, 1, 0)
    assert sorted([*train, *validation]) == [0, 1]
    assert len(validation) == 1


@settings(deadline=None)
@given(
    y_train=labels, limit=st.none() | st.integers(1, 250), share=shares, folds=st.none() | st.integers(2, 9), seed=seeds
)
def test_parts_are_counted_beforehand_as_they_are_chosen(y_train, limit, share, folds, seed):
    chosen = y_train[limit_indices(y_train, limit)]
    folds = folds if folds is not None and folds <= len(chosen) else None
    parts = stratified_split(chosen, share, seed) if folds is None else stratified_folds(chosen, folds, 0, seed)
    counted = count_parts(np.bincount(y_train), limit, share, folds)
    for part, counts in zip(parts, counted, strict=True):
        assert np.bincount(chosen[part], minlength=len(counts)).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("images", "folds", "fold", "message"),
    [
        (3, 1, 0, r"folds must be at least 2 and at most the number of training images \(3\), got 1"),
        (3, 4, 0, r"at most the number of training images \(3\), got 4"),
        (1, 2, 0, r"at most the number of training images \(1\), got 2"),
        (0, 2, 0, r"at most the number of training images \(0\), got 2"),
        (9, 3, 3, "fold must be from 0 to 2, got 3"),
        (9, 3, -1, "fold must be from 0 to 2, got -1"),
    ],
)
def test_folds_that_cannot_be_made_are_errors_of_ours(images, folds, fold, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(np.zeros(images, np.uint8), folds, fold, 0)


def test_choices_out_of_range_are_errors_of_ours():
    y_train = np.zeros(3, np.uint8)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        limit_indices(y_train, 0)
    with pytest.raises(ValueError, match="validation_split must be"):
        stratified_split(y_train, 1.0, 0)
    with pytest.raises(ValueError, match="unknown dataset 'mnist'"):
        find_data("mnist")


@settings(deadline=None)
@given(n=st.integers(0, 300), seed=seeds, epoch=st.integers(0, 10_000))
def test_an_epochs_order_is_a_permutation_and_a_function_of_its_arguments(n, seed, epoch):
    order = epoch_order(n, seed, epoch)
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order), np.arange(n))
    assert np.array_equal(order, epoch_order(n, seed, epoch))


def test_orders_differ_by_epoch_and_seed():
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_the_choices_of_today_are_those_of_tomorrow():
    """A resumed trial and a record of last month rest on these; who changes them raises the numerics version."""
    y_train = np.arange(20, dtype=np.uint8) % 4
    assert epoch_order(8, 0, 1).tolist() == [3, 0, 5, 2, 1, 6, 4, 7]
    assert stratified_split(y_train, 0.25, 0)[1].tolist() == [0, 7, 10, 13, 16]
    assert limit_indices(y_train, 6).tolist() == [1, 2, 8, 13, 16, 19]
    assert stratified_folds(y_train, 4, 1, 0)[1].tolist() == [6, 8, 11, 13, 17]
