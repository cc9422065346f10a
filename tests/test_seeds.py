"""Seeds that no sweep file can name: fresh in every choice that a seed decides."""

import itertools

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from fmnist_mlp.data.split import epoch_order, stratified_folds, stratified_split
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.layers import Dense, Dropout
from fmnist_mlp.sweepfile.seeds import MAX_SEED, reserved, seed_in_words, seed_number
from fmnist_mlp.sweepfile.settings import Augment

NUMBERS = (0, 1, 7)
# What a reserved seed would be where somebody cut it to 31 bits.
OTHERS = sorted({0, 1, 7, MAX_SEED, *(reserved("refit", number) & MAX_SEED for number in NUMBERS)})
SEEDS = [*OTHERS, *(reserved("refit", number) for number in NUMBERS)]


def test_reserved_seeds_are_none_of_a_sweep_file_and_fit_wherever_a_seed_goes():
    """numpy's SeedSequence reads a seed of 2**32 or more as two; scikit-learn takes none above 2**32 - 1."""
    for number in (*NUMBERS, 9_999, 2**24 - 1):
        seed = reserved("refit", number)
        assert MAX_SEED < seed < 2**32
        assert (seed_number(seed), seed_in_words(seed)) == (number, f"refit {number}")
    # The first is part of what people's records are called by.
    assert (reserved("refit", 0), reserved("refit", 5)) == (2_147_483_648, 2_147_483_653)


def test_the_seeds_of_a_search_are_those_of_no_refit():
    for number in (*NUMBERS, 2**24 - 1):
        seed = reserved("search", number)
        assert reserved("refit", 2**24 - 1) < seed < 2**32
        assert (seed_number(seed), seed_in_words(seed)) == (number, f"search seed {number}")
    assert reserved("search", 0) == 2_164_260_864


@pytest.mark.parametrize("number", [-1, 2**24])
def test_a_number_that_would_be_another_streams_is_refused(number):
    with pytest.raises(ValueError, match="16,777,216 seeds"):
        reserved("refit", number)


@pytest.mark.parametrize("seed", [0, 3, MAX_SEED])
def test_a_seed_of_a_sweep_file_is_called_what_the_file_calls_it(seed):
    assert (seed_number(seed), seed_in_words(seed)) == (seed, f"seed {seed}")


def assert_all_differ(results):
    """Of what each seed gives, as bytes."""
    contents = [b"".join(np.ascontiguousarray(array).tobytes() for array in arrays) for arrays in results]
    assert len({*contents}) == len(contents)


def test_split_folds_and_the_order_of_images_are_fresh():
    labels = np.arange(200) % 4
    assert_all_differ(stratified_split(labels, 0.3, seed) for seed in SEEDS)
    assert_all_differ(stratified_folds(labels, 4, 1, seed) for seed in SEEDS)
    # Of every epoch, too: (seed, epoch) is no other seed's (seed, epoch).
    assert_all_differ([epoch_order(200, seed, epoch)] for seed, epoch in itertools.product(SEEDS, range(4)))


def test_a_seed_above_32_bits_would_be_anothers_in_another_epoch():
    """Why reserved seeds are not simply 2**32 + number: numpy takes 2**32 + 5 for the words 5 and 1."""
    assert np.array_equal(epoch_order(200, 2**32 + 5, 0), epoch_order(200, 5, 1))


@pytest.mark.slow
def test_augmentation_is_fresh():
    from fmnist_mlp.training.augment import Augmentation

    augmentation = Augmentation(Augment(horizontal_flip=True, shift=2, erase=0.5, mixup=0.2), (8, 8), 32)
    draws = [augmentation.draw(200, seed, epoch) for seed, epoch in itertools.product(SEEDS, range(3))]
    assert len(draws[0]) >= 4
    for name in draws[0]:
        assert_all_differ([draw[name]] for draw in draws)


@pytest.mark.slow
def test_initial_weights_and_dropout_are_fresh():
    from fmnist_mlp.training.models import build_model

    weights, masks = [], []
    for seed in SEEDS:
        model = build_model((Dense(units=16, activation="relu"), Dropout(rate=0.5)), (4, 4), 3, seed)
        weights.append([np.asarray(variable) for variable in model.trainable_variables if "kernel" in variable.path])
        (dropout,) = [layer for layer in model.layers if type(layer).__name__ == "Dropout"]
        masks.append([np.asarray(dropout(np.ones((20, 16), "float32"), training=True))])
    assert_all_differ(weights)
    assert_all_differ(masks)


def test_a_classifier_takes_a_reserved_seed_as_its_random_state():
    from fmnist_mlp.training import baseline

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 6)).astype(np.float32), rng.integers(0, 3, 120)
    classifier = CLASSIFIERS["ExtraTreesClassifier"](n_estimators=5)
    seeds = [0, 1, reserved("refit", 0), reserved("refit", 1)]
    predicted = [baseline.fit(classifier, x, y, 3, seed).predict(x * 1.5).probabilities for seed in seeds]
    assert_all_differ([one] for one in predicted)
    for seed, one in zip(seeds, predicted, strict=True):
        own = ExtraTreesClassifier(n_estimators=5, random_state=seed).fit(x, y)
        assert np.array_equal(own.predict_proba(x * 1.5), one)
