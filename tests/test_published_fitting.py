"""Of the mistakes of published systems: fitted (C, E) or chosen (B) on images that are none of its business."""

import numpy as np
import pytest
import sweeping
from one_trial import worker
from published import draw_images, load, predictions, probabilities, quick, run_sweep, write_images

from fmnist_mlp.data.split import stratified_split
from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.results import table

__all__ = ["quick", "worker"]  # fixtures, used by name

FITTED = """
dataset: {idx: images}
seeds: 2
training: {epochs: 2, preprocess: [standardize, {pca: 9}]}
architectures:
  - name: wide
    layers: [16]
  - name: narrow
    layers: [2]
"""


@pytest.fixture(scope="module")
def make_fitted(quick, tmp_path_factory):
    """`make_fitted(arrays, *options)`: the sweep FITTED on these images, in a project of its own."""

    def make(arrays, *options):
        project = sweeping.Project(tmp_path_factory.mktemp("fitted"), FITTED)
        project.images = write_images(project.folder / "images", *arrays)
        run_sweep(project, *options)
        return project

    return make


@pytest.fixture(scope="module")
def fitted(make_fitted):
    # Of 320 images 256 are trained on, eight whole batches: a short one would be another step to compile.
    return make_fitted((*draw_images(320, 2), *draw_images(151, 3)))


@pytest.fixture(scope="module")
def other_test_images(fitted, make_fitted):
    """The same with all test images and labels changed, to what the worse of the two gets right, every one of them."""
    x_train, y_train, x_test, _ = fitted.images
    x_test = 255 - x_test
    y_test = probabilities(load(fitted, worse(fitted)), x_test).argmax(axis=1).astype(np.uint8)
    return make_fitted((x_train, y_train, x_test, y_test))


def worse(project):
    rows = project.rows()
    return min(rows, key=lambda name: float(rows[name]["val_accuracy"]))


def fixed_and_trained(project):
    """What a scaler and a PCA learned, and what the layers behind them did, of the trial `wide`, seed 0; all of it."""
    guard, *layers = load(project, "wide").layers
    assert guard.name == "raw_pixels"
    names = [layer.name for layer in layers]
    assert names[1:4] == ["standardize_1", "pca_2_flatten", "pca_2"]
    scaler, components = layers[1], layers[3].get_weights()
    fixed = [scaler.get_config()["mean"], scaler.get_config()["variance"], *(array.tolist() for array in components)]
    assert np.shape(fixed[0])[-2:] == (8, 8)
    assert np.shape(fixed[2]) == (64, 9)
    return [np.asarray(array).tobytes() for array in fixed], [
        weight.tobytes() for layer in layers[4:] for weight in layer.get_weights()
    ]


ONE_TRIAL = ("--only", "wide")


def test_e_and_c_nothing_is_fitted_on_test_images(fitted, other_test_images):
    """E fits its scaler on the test images."""
    assert fixed_and_trained(other_test_images) == fixed_and_trained(fitted)
    assert not np.array_equal(
        predictions(other_test_images, "wide")["probabilities"], predictions(fitted, "wide")["probabilities"]
    )


@pytest.mark.parametrize("changed", ["every validation image", "one training image"])
def test_e_and_c_training_images_alone_decide_what_is_fitted(fitted, make_fitted, changed):
    """The scaler, the components and the trained weights: the same bits, or, so that the tests can fail, none."""
    x_train, *others = fitted.images
    train, validation = stratified_split(others[0], 0.2, seed=0)
    x_changed, indices = x_train.copy(), validation if changed == "every validation image" else train[17:18]
    x_changed[indices] = 255 - x_changed[indices]
    project = make_fitted((x_changed, *others), *ONE_TRIAL)
    for one, other in zip(fixed_and_trained(project), fixed_and_trained(fitted), strict=True):
        if indices is validation:
            assert one == other
        else:
            assert all(a != b for a, b in zip(one, other, strict=True))
    assert project.trials()["wide", 0]["val_loss"] != fitted.trials()["wide", 0]["val_loss"]


def test_b_test_images_choose_nothing(fitted, other_test_images):
    """The best of B's kind are picked on the test images, of 30 trainings or along the way. Here the loser by
    validation gets every test image right, and everything that is chosen stays as it was."""
    loser, before, after = worse(fitted), fitted.rows(), other_test_images.rows()
    assert float(other_test_images.trials()[loser, 0]["test_accuracy"]) == 1
    assert float(after[loser]["test_accuracy"]) > max(float(r["test_accuracy"]) for n, r in after.items() if n != loser)
    assert before[loser]["verdict"] != "best"
    measured = {column.name for column in table.RESULTS_COLUMNS if column.measured}
    of_test = {name for name in before[loser] if "test" in name}
    assert {"test_accuracy", "test_behind_best"} <= of_test
    for name in before:
        for column in {*before[name]} - measured - of_test:
            assert after[name][column] == before[name][column], column
    best = [FinishedSweep(project.results, "tiny").best() for project in (fitted, other_test_images)]
    assert best[0] == best[1] != loser
    for name in before:
        models = [(p.results / f"tiny/models/{name}.keras").read_bytes() for p in (fitted, other_test_images)]
        assert models[0] == models[1]
