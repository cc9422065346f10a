"""What is logged of a model's answers to test images, both invented: pictures, curves and the last hidden layer."""

import numpy as np
import pytest
from reading_logs import pixels, read

from fmnist_mlp.data.source import Dataset, DataSource
from fmnist_mlp.logs.trial_run import CONFUSION_MATRIX, MISTAKES, principal_components, projector_sample, write_scores
from fmnist_mlp.report.plots_scores import draw_confusion_counts
from fmnist_mlp.report.summaries import choose_samples


def test_the_confusion_matrix_is_blue_where_right_and_orange_where_wrong():
    drawn = pixels(draw_confusion_counts(np.array([[9, 0], [3, 9]]), ("a", "b")))
    left, top = drawn.shape[1] - 2 * 40 - 1, drawn.shape[0] - 2 * 28 - 1
    corner = {(row, column): drawn[top + 28 * row + 3, left + 40 * column + 3] for row in (0, 1) for column in (0, 1)}
    assert corner[0, 0].tolist() == [0, 114, 178], "all of its row"
    assert corner[0, 1].tolist() == [255, 255, 255], "nothing there"
    assert corner[1, 0].tolist() == [round(255 + (part - 255) * 0.5) for part in (213, 94, 0)], "a quarter of its row"
    assert corner[1, 1].tolist() == [round(255 + (part - 255) * 0.75) for part in (0, 114, 178)]


def test_mistakes_are_the_surest_first_and_never_right_ones():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), 200).astype(np.float16)
    labels, predicted = rng.integers(0, 4, 200), probabilities.argmax(axis=1)
    by_hand = sorted((i for i in range(200) if labels[i] != predicted[i]), key=lambda i: -probabilities[i].max())[:25]
    found = choose_samples(labels, predicted, probabilities.max(axis=1), most=25).confident
    assert found.tolist() == by_hand


def invented_images(image_shape=(28, 28), num_classes=10, n=300):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (n, *image_shape), np.uint8)
    y = rng.integers(0, num_classes, n).astype(np.uint8)
    names = tuple(f"class number {c}" for c in range(num_classes))
    return Dataset(DataSource("synthetic"), "invented", x[:1], y[:1], x, y, names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image_shape", "num_classes"), [((28, 28), 10), ((1, 1), 2), ((8, 200), 3), ((120, 90), 16), ((9, 9), 256)]
)
def test_whatever_the_images_and_classes_the_scores_are_drawn_and_small(image_shape, num_classes, tmp_path):
    images = invented_images(image_shape, num_classes)
    probabilities = np.random.default_rng(3).dirichlet(np.full(num_classes, 0.1), len(images.y_test))
    write_scores(tmp_path, None, images, probabilities.argmax(axis=1), probabilities.astype(np.float16))
    (path,) = (tmp_path / "events").iterdir()
    assert path.stat().st_size < 250 * 1024
    curves = {tag for tag in read(path.parent) if tag.startswith("precision_recall/")}
    assert len(curves) == num_classes


def test_a_model_without_mistakes_has_no_picture_of_them(tmp_path):
    images = invented_images()
    write_scores(tmp_path, None, images, images.y_test, np.eye(10)[images.y_test])
    assert MISTAKES not in read(tmp_path / "events")


def test_without_probabilities_there_is_the_confusion_matrix_alone(tmp_path):
    images = invented_images()
    write_scores(tmp_path, None, images, images.y_test[::-1], None)
    assert set(read(tmp_path / "events")) == {CONFUSION_MATRIX}


def test_the_sample_is_the_first_images_of_each_class():
    labels = np.array([1, 0, 1, 1, 2, 0, 2, 0] * 400, np.uint8)
    sample = projector_sample(labels)
    by_hand = sorted(i for c in range(3) for i in [k for k in range(len(labels)) if labels[k] == c][:166])
    assert sample.tolist() == by_hand


def test_a_wide_layer_is_kept_as_its_principal_components():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(4).normal(size=(60, 300)) @ np.diag(np.geomspace(1, 1e-3, 300)) + 5
    found = principal_components(x.astype(np.float32), 20)
    expected = PCA(20, svd_solver="full").fit_transform(x)
    signs = np.sign((found * expected).sum(axis=0))
    assert found * signs == pytest.approx(expected, abs=1e-4)


def test_of_a_wide_layer_no_more_than_128_numbers_an_image_are_kept(tmp_path):
    import keras

    images = invented_images()
    layers = [keras.layers.Flatten(), keras.layers.Dense(200), keras.layers.Dense(10), keras.layers.Softmax()]
    exported = keras.Sequential([keras.Input((28, 28)), *layers])
    write_scores(tmp_path, exported, images, images.y_test, np.eye(10)[images.y_test])
    with np.load(tmp_path / "events" / "last_hidden_layer.npz") as kept:
        assert kept["hidden"].shape == (300, 128)
        assert kept["hidden"].dtype == np.float16
        assert kept["units"] == 200
