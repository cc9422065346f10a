"""Fitted steps against scikit-learn and numpy, and the layers they become against both."""

import keras
import numpy as np
import pytest
import sweeping
from learning import keras_size
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from fmnist_mlp.sweepfile.layers import Conv2D, Dense, StackError
from fmnist_mlp.sweepfile.names import name_problem
from fmnist_mlp.sweepfile.steps import Pca, Rescale, Standardize, count, has_open_size, input_shape_of
from fmnist_mlp.training import models, preprocess


@pytest.fixture(scope="module")
def images():
    """300 images of 7x5 whose pixels go together in threes, one pixel always 0 and one always 255."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 200, (300, 7, 5)) // 2 + np.repeat(rng.integers(0, 150, (300, 7, 2)), 3, axis=2)[:, :, :5]
    x[:, 0, 0], x[:, 6, 4] = 0, 255
    return x.astype(np.uint8)


def flat(images):
    return images.reshape(len(images), -1) / 255.0


def by_scikit_learn(steps, train, x):
    """What scikit-learn's own transformers make of `x`, fitted on `train`; float64."""
    fitted, transformed = flat(train), flat(x)
    for step in steps:
        if isinstance(step, Rescale):
            fitted, transformed = ((a - step.center) / step.scale for a in (fitted, transformed))
            continue
        if isinstance(step, Standardize):
            transformer = StandardScaler().fit(fitted)
        else:
            transformer = PCA(step.components, whiten=step.whiten, svd_solver="covariance_eigh").fit(fitted)
        fitted, transformed = transformer.transform(fitted), transformer.transform(transformed)
    return transformed


CHAINS = {
    "nothing": (),
    "standardize": (Standardize(),),
    "minus one to one": (Rescale(0.5, 0.5),),
    "pca": (Pca(6),),
    "share": (Pca(0.9),),
    "whitened": (Pca(6, whiten=True),),
    "standardize and pca": (Standardize(), Pca(0.8)),
    "everything": (Rescale(0.2, 3.0), Standardize(), Standardize(), Pca(9), Standardize(), Rescale(-1.0, 0.5)),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_steps_are_those_of_scikit_learn_fitted_on_the_training_images(chain, images):
    train, other = images[:200], images[200:]
    fitted = preprocess.fit(CHAINS[chain], train)
    expected = by_scikit_learn(CHAINS[chain], train, other)
    found = fitted.transform(other, np.float64)
    assert found.shape == (100, *fitted.input_shape)
    np.testing.assert_allclose(found.reshape(100, -1), expected, rtol=1e-9, atol=1e-9)
    assert fitted.transform(other).dtype == np.float32
    np.testing.assert_allclose(fitted.transform(other), found, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS)
def test_the_exported_model_does_to_raw_images_what_scikit_learn_does(chain, images, tmp_path):
    """Saved, and loaded by plain Keras: its first layers against scikit-learn, its end against a product by hand."""
    train, other = images[:200], images[200:]
    fitted = preprocess.fit(CHAINS[chain], train)
    model = models.build_model([Dense(units=6, activation="relu")], (7, 5), 3, 1, fitted)
    models.save(models.as_saved(models.exported_model(model, fitted)), tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    names = [layer.name for layer in loaded.layers]
    stack = [layer.name for layer in model.layers]
    fixed = names[: -len(stack) - 1]
    assert names == [*fixed, *stack, "probabilities"]
    assert fixed[:2] == ["raw_pixels", "rescaling"]
    assert not [v for layer in loaded.layers[: len(fixed)] for v in layer.trainable_weights]
    assert len(loaded.trainable_weights) == 4

    inputs = keras.Model(loaded.inputs, loaded.layers[len(fixed) - 1].output).predict_on_batch(other)
    x = by_scikit_learn(CHAINS[chain], train, other)
    np.testing.assert_allclose(inputs.reshape(100, -1), x, rtol=1e-4, atol=1e-4)
    hidden_kernel, hidden_bias, logit_kernel, logit_bias = (w.numpy() for w in model.trainable_weights)
    logits = np.maximum(x @ hidden_kernel + hidden_bias, 0) @ logit_kernel + logit_bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.predict_on_batch(other), probabilities, rtol=1e-3, atol=1e-5)


def test_fixed_layers_are_named_by_their_step_and_its_position(images):
    fitted = preprocess.fit((Standardize(), Pca(4), Rescale(0.0, 2.0), Standardize()), images)
    model = models.build_model([Dense(units=3)], (7, 5), 2, 0, fitted)
    assert [layer.name for layer in models.exported_model(model, fitted).layers] == [
        "rescaling", "standardize_1", "pca_2_flatten", "pca_2", "rescale_3", "standardize_4",
        "dense_1", "logits", "probabilities",
    ]  # fmt: skip


def test_a_convolution_sees_standardized_images(images):
    fitted = preprocess.fit((Standardize(),), images)
    layers = [Conv2D(filters=2, kernel_size=3, activation="relu")]
    model = models.build_model(layers, (7, 5), 3, 0, fitted)
    exported = models.exported_model(model, fitted)
    logits, _ = models.scoring_model(exported).predict_on_batch(images)
    expected = model.predict_on_batch(by_scikit_learn((Standardize(),), images, images).reshape(-1, 7, 5))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_components_are_numpys_singular_vectors_with_their_largest_entry_positive(images):
    fitted = preprocess.fit((Pca(6),), images)
    x = flat(images)
    _, singular, vectors = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    vectors = vectors[:6] * np.sign(vectors[np.arange(6), np.abs(vectors[:6]).argmax(axis=1)])[:, None]
    kernel, bias = fitted.maps[0].arrays
    np.testing.assert_allclose(kernel, vectors.T, atol=1e-9)
    np.testing.assert_allclose(bias, -x.mean(axis=0) @ vectors.T, atol=1e-9)
    scores = fitted.transform(images, np.float64)
    np.testing.assert_allclose(scores.var(axis=0, ddof=1), singular[:6] ** 2 / (len(x) - 1), rtol=1e-9)
    whitened = preprocess.fit((Pca(6, whiten=True),), images).transform(images, np.float64)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(6), atol=1e-9)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
def test_a_share_of_the_variance_takes_the_fewest_components_that_keep_it(share, images):
    x = flat(images)
    variances = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    kept = np.cumsum(variances) / variances.sum()
    expected = int((kept <= share).sum()) + 1
    assert preprocess.fit((Pca(share),), images).input_shape == (expected,)


def test_pixels_that_never_change_are_centred_and_no_more(images):
    found = preprocess.fit((Standardize(),), images[:200]).transform(images)
    assert (found[:, 0, 0] == 0).all()
    np.testing.assert_allclose(found[:, 6, 4], 0, atol=1e-6)
    changed = images.copy()
    changed[:, 0, 0] = 51
    np.testing.assert_allclose(preprocess.fit((Standardize(),), images).transform(changed)[:, 0, 0], 0.2, rtol=1e-6)


def test_one_image_a_class_is_enough_for_as_many_components_as_images(images):
    few = images[:4]
    fitted = preprocess.fit((Standardize(), Pca(4)), few)
    np.testing.assert_allclose(
        fitted.transform(few, np.float64), by_scikit_learn((Standardize(), Pca(4)), few, few), atol=1e-9
    )
    with pytest.raises(StackError, match=r"pca can have at most 4 components, for 4 training images, got 5"):
        preprocess.fit((Pca(5),), few)


def test_components_that_do_not_exist_are_refused(images):
    with pytest.raises(ValueError, match="pca cannot whiten 35 components: only 33 of them vary"):  # two never change
        preprocess.fit((Pca(35, whiten=True),), images)
    assert np.isfinite(preprocess.fit((Pca(33, whiten=True),), images).transform(images)).all()
    for steps in ((Pca(0.9),), (Pca(2),), (Standardize(), Pca(2))):
        with pytest.raises(ValueError, match="pca finds no variance: all training images of this trial are the same"):
            preprocess.fit(steps, np.repeat(images[:1], 9, axis=0))


def test_a_fit_changes_neither_the_images_nor_with_the_number_of_its_chunks(images, monkeypatch):
    before = images.copy()
    whole = preprocess.fit((Standardize(), Rescale(0.1, 2.0), Pca(5)), images)
    monkeypatch.setattr("fmnist_mlp.training.preprocess._CHUNK", 37)
    pieces = preprocess.fit((Standardize(), Rescale(0.1, 2.0), Pca(5)), images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(pieces.transform(images, np.float64), whole.transform(images, np.float64), atol=1e-9)


# ---- what can be said without fitting


def test_the_published_stack_on_187_components_has_12682_parameters():
    size = count((Pca(187),), (Dense(units=64),), (28, 28), 10)
    stack = 187 * 64 + 64 + 64 * 10 + 10
    flops = 187 * (2 * 784 + 1) + 64 * (2 * 187 + 1) + 10 * (2 * 64 + 1)
    assert (size.params, size.trainable_params, size.flops) == (stack, stack, flops)
    assert stack == 12_682


@pytest.mark.parametrize("chain", CHAINS)
def test_sizes_before_and_after_fitting_agree(chain, images):
    """With the true number of components in the place of a share."""
    fitted, layers = preprocess.fit(CHAINS[chain], images), (Dense(units=6, activation="relu"),)
    steps = fitted.with_true_components(CHAINS[chain])
    assert not has_open_size(steps)
    model = models.build_model(layers, (7, 5), 3, 0, fitted)
    size = count(steps, layers, (7, 5), 3)
    assert keras_size(model, fitted) == size
    assert input_shape_of(steps, (7, 5)) == fitted.input_shape
    exported = models.exported_model(model, fitted)
    by_layers = sum(
        layer.kernel.shape[1] * (2 * layer.kernel.shape[0] + 1) if isinstance(layer, keras.layers.Dense)
        else 2 * int(np.prod(layer.output.shape[1:])) if "_" in layer.name and "flatten" not in layer.name else 0
        for layer in exported.layers
    )  # fmt: skip
    assert size.flops == by_layers


@pytest.mark.parametrize("chain", CHAINS)
def test_unfitted_steps_have_the_layers_of_fitted_ones(chain, images):
    stand_in, fitted = preprocess.unfitted(CHAINS[chain], (7, 5)), preprocess.fit(CHAINS[chain], images)
    assert [(fixed.name, fixed.layer) for fixed in stand_in.maps] == [(f.name, f.layer) for f in fitted.maps]
    if not has_open_size(CHAINS[chain]):
        assert stand_in.input_shape == fitted.input_shape
        shapes = [[array.shape for fixed in each.maps for array in fixed.arrays] for each in (stand_in, fitted)]
        assert shapes[0] == shapes[1]
    else:
        assert stand_in.input_shape == (35,)


def test_a_share_is_planned_as_the_most_it_can_be():
    assert has_open_size((Standardize(), Pca(0.95)))
    assert not has_open_size((Standardize(), Pca(95)))
    assert input_shape_of((Pca(0.95),), (28, 28)) == (784,)
    assert input_shape_of((Pca(0.95),), (28, 28), images=50) == (50,)
    with pytest.raises(StackError, match=r"pca can have at most 784 components, for 784 values, got 785"):
        input_shape_of((Pca(785),), (28, 28))


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bits(tmp_path):
    """In the process itself and in two workers; with steps that are fitted and images that are augmented."""
    text = """
dataset: synthetic
limit: 600
seeds: 2
training: {epochs: 2}
architectures:
- {name: steps, layers: [16], preprocess: [standardize, {pca: 0.8}]}
- {name: both, layers: [16, {Dropout: 0.2}], preprocess: {pca: 20}, augment: {horizontal_flip: true, shift: 2, erase: 0.5, mixup: 0.3}}
- {name: conv, layers: [{Conv2D: {filters: 2, kernel_size: 3, strides: 3}}], augment: {vertical_flip: true, shift: 1}}
"""  # fmt: skip  # noqa: E501
    found = []
    for jobs in (2, 0):
        project = sweeping.Project(tmp_path / str(jobs), text)
        project.sweep("--jobs", str(jobs))
        found.append(project.numbers())
    assert not sweeping.different(*found)


def test_names_of_steps_differ_where_the_steps_do():
    steps = [Standardize(), Rescale(0.5, 0.5), Rescale(0.5, 0.25), Pca(9), Pca(0.9), Pca(0.9, True), Pca(0.95)]
    names = [step.short_name() for step in steps]
    assert names[:2] == ["standardize", "center0.5-scale0.5"]
    assert names[3:6] == ["pca9", "pca0.9", "pca0.9.whiten"]
    assert len(set(names)) == len(names)
    assert all(name_problem(name) is None for name in names)
