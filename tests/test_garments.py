"""The generated stand-in: shape, balance, the same bits everywhere, classes neither trivial nor hopeless."""

import hashlib

import numpy as np
import pytest

from fmnist_mlp.data import synthetic as garments


@pytest.fixture(scope="module")
def drawn():
    return garments.make_garments()


def test_there_are_12000_and_2000_images_of_28x28_bytes_and_every_class_has_its_tenth(drawn):
    for (images, labels), n in zip(drawn, (12_000, 2_000), strict=True):
        assert images.shape == (n, 28, 28)
        assert images.dtype == labels.dtype == np.uint8
        assert np.bincount(labels).tolist() == [n // 10] * 10


def test_the_pixels_are_the_same_on_every_machine(drawn):
    # Whoever changes a pixel raises GARMENTS_VERSION (it is part of the identity of the data) and this digest.
    digest = hashlib.sha256()
    for images, labels in drawn:
        digest.update(images)
        digest.update(labels)
    assert (garments.GARMENTS_VERSION, digest.hexdigest()) == (
        1,
        "7cbd01679195f2173649a26cf5ba8bc98bad3d0efa2146cdca87aa530bb465d1",
    )


def test_all_arithmetic_is_float32():
    """float64 creeps in where numpy has no float32 to go by, as in `np.where(condition, 0.0, 1.0)`: twice as slow."""
    placed = garments._placed_grid(garments._Random((1,), 3))
    assert {array.dtype for array in placed} == {np.dtype(np.float32)}
    for drawing in garments._DRAWINGS:
        rand = garments._Random((1,), 3)
        silhouette, brightness = drawing(rand, *garments._placed_grid(rand))
        assert silhouette.dtype == brightness.dtype == np.float32, drawing.__name__
        assert silhouette.shape == brightness.shape == (3, 28, 28), drawing.__name__
        assert np.isfinite(silhouette).all(), drawing.__name__
        assert np.isfinite(brightness).all(), drawing.__name__


@pytest.mark.slow
def test_no_image_is_empty_or_cut_by_the_frame_or_drawn_twice(drawn):
    images = np.concatenate([drawn[0][0], drawn[1][0]])
    lit = (images > 10).mean(axis=(1, 2))
    assert lit.min() > 0.04
    assert lit.max() < 0.75
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 0).mean() < 0.02
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_the_order_is_mixed(drawn):
    for _, labels in drawn:
        # Neighbours share a class about one time in ten.
        assert 0.07 < (labels[1:] == labels[:-1]).mean() < 0.13


def test_the_classes_can_be_told_apart_but_not_by_their_mean_image(drawn):
    (x_train, y_train), (x_test, y_test) = drawn
    means = np.stack([x_train[y_train == label].mean(axis=0).ravel() for label in range(10)])
    scores = x_test.reshape(-1, 784) @ means.T - 0.5 * np.square(means).sum(axis=1)
    assert 0.5 < (scores.argmax(axis=1) == y_test).mean() < 0.75


@pytest.mark.slow
def test_a_dense_stack_lands_between_80_and_95_percent(drawn):
    sklearn_neural = pytest.importorskip("sklearn.neural_network", reason="needs scikit-learn")
    (x_train, y_train), (x_test, y_test) = drawn
    model = sklearn_neural.MLPClassifier((64, 32), batch_size=32, max_iter=20, n_iter_no_change=20, random_state=0)
    with np.errstate(all="ignore"), pytest.warns(Warning, match="Maximum iterations"):
        model.fit(x_train[:9600].reshape(-1, 784) / 255.0, y_train[:9600])
    assert 0.80 < model.score(x_test.reshape(-1, 784) / 255.0, y_test) < 0.95
