"""Built models against the counts made without Keras, TensorFlow's profiler, and plain `load_model`."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from learning import keras_size

from fmnist_mlp.sweepfile.layers import (
    LAYERS,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    LayerNormalization,
    LeakyReLU,
    MaxPooling2D,
    PReLU,
    Reshape,
    SeparableConv2D,
)
from fmnist_mlp.sweepfile.stacks import count, stack_name
from fmnist_mlp.training import models

_dense_layers = st.lists(
    st.one_of(
        st.builds(
            Dense, units=st.integers(1, 40), activation=st.sampled_from(["relu", "tanh"]), use_bias=st.booleans()
        ),
        st.builds(Dropout, rate=st.floats(0, 0.9)),
        st.builds(BatchNormalization, center=st.booleans(), scale=st.booleans()),
        st.builds(LayerNormalization, center=st.booleans(), scale=st.booleans()),
        st.builds(PReLU),
        st.builds(Activation, activation=st.just("gelu")),
    ),
    max_size=5,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(layers=_dense_layers, shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), num_classes=st.integers(2, 12))
def test_sizes_with_and_without_keras_agree_for_random_stacks(layers, shape, num_classes):
    model = models.build_model(layers, shape, num_classes, seed=0)
    assert keras_size(model) == count(layers, shape, num_classes)


CONVOLUTIONAL = [
    [Conv2D(filters=3, kernel_size=3, activation="relu"), MaxPooling2D(), Dense(units=5, activation="relu")],
    [Conv2D(filters=3, kernel_size=(3, 2), strides=2, padding="same", use_bias=False), Flatten()],
    [
        SeparableConv2D(filters=4, kernel_size=3, depth_multiplier=2, activation="relu"),
        BatchNormalization(),
        GlobalAveragePooling2D(),
    ],
    [
        DepthwiseConv2D(kernel_size=3, depth_multiplier=3, padding="same"),
        AveragePooling2D(pool_size=2, padding="same"),
        LeakyReLU(),
    ],
    [
        Dense(units=36, activation="relu"),
        Reshape(target_shape=(6, 6, 1)),
        Conv2D(filters=2, kernel_size=3, activation="relu"),
    ],
]


@pytest.mark.parametrize("layers", CONVOLUTIONAL, ids=stack_name)
def test_sizes_with_and_without_keras_agree_for_convolutions(layers):
    model = models.build_model(layers, (9, 7), 4, seed=0)
    assert keras_size(model) == count(layers, (9, 7), 4)
    assert model.count_params() == count(layers, (9, 7), 4).params


@pytest.mark.parametrize(
    "layers",
    [[Dense(units=16, activation="relu"), Dense(units=8, activation="relu")], CONVOLUTIONAL[0]],
    ids=stack_name,
)
def test_flops_are_those_that_tensorflows_profiler_counts(layers):
    """An outside count, of the frozen graph; the scaling of pixels and the pooling are not in our definition."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = models.build_model(layers, (9, 7), 4, seed=0)
    function = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, 9, 7), tf.uint8))
    graph = convert_variables_to_constants_v2(function).graph
    profile = tf.compat.v1.profiler.profile(
        graph, cmd="op", options=tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    )
    by_operation, node = {}, profile
    while node.children:  # a chain: each operation's rest is its child
        node = node.children[0]
        by_operation[node.name] = node.float_ops
    counted = by_operation["MatMul"] + by_operation.get("Conv2D", 0) + by_operation["BiasAdd"]
    assert counted == count(layers, (9, 7), 4).flops, by_operation


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_named_as_keras_names_them(kind):
    """Names stand in the files of models; Keras's function for them is its own."""
    from keras.src.utils.naming import to_snake_case

    assert models.snake_case(kind) == to_snake_case(kind)


def test_initial_weights_depend_on_the_seed_alone():
    layers = [Dense(units=6, activation="relu"), Dropout(rate=0.5)]
    first = models.build_model(layers, (5, 5), 3, seed=1)
    models.build_model([Dense(units=9)], (5, 5), 3, seed=7)
    again = models.build_model(layers, (5, 5), 3, seed=1)
    other = models.build_model(layers, (5, 5), 3, seed=2)
    for a, b in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert not np.array_equal(first.layers[2].kernel.numpy(), other.layers[2].kernel.numpy())


def test_initial_weights_are_those_of_keras_set_random_seed():
    keras.utils.set_random_seed(4)
    by_hand = keras.Sequential(
        [keras.Input((5, 5)), keras.layers.Flatten(), keras.layers.Dense(6), keras.layers.Dense(3)]
    )
    ours = models.build_model([Dense(units=6, activation="linear")], (5, 5), 3, seed=4)
    for a, b in zip(ours.trainable_weights, by_hand.trainable_weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.slow
def test_the_exported_model_takes_raw_images_and_gives_probabilities(tmp_path):
    layers = [Conv2D(filters=2, kernel_size=3, activation="relu"), Dropout(rate=0.5), Dense(units=6, activation="relu")]
    model = models.build_model(layers, (8, 8), 3, seed=0)
    exported = models.exported_model(model)
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8), np.uint8)
    logits, probabilities = models.scoring_model(exported).predict_on_batch(images)
    np.testing.assert_array_equal(logits, model.predict_on_batch(images))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)

    models.save(models.as_saved(exported), tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), probabilities)


def test_exports_of_the_same_weights_are_the_same_bytes(tmp_path):
    keep = []  # so that nothing of the second model can lie where the first one's lay
    for name in ("a.keras", "b.keras"):
        model = models.build_model([Dense(units=6, activation="relu"), Dropout(rate=0.1)], (8, 8), 3, seed=0)
        models.save(models.as_saved(models.exported_model(model)), tmp_path / name)
        keep.append(model)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


# ---- images that somebody divided by 255 ----


def images_of_every_kind():
    """Raw images, the first six such as could be taken for divided ones: uint8, `(20, 6, 7)`."""
    images = np.random.default_rng(1).integers(0, 256, (20, 6, 7), dtype=np.uint8)
    images[:4] = 0
    images[1] = 1
    images[2, 3, 3] = 1
    images[3, 0, 0] = 2
    images[4] //= 128  # 0 and 1
    images[5] = 255 * (images[5] // 128)
    return images


@pytest.fixture(
    scope="module",
    params=[
        [Dense(units=5, activation="relu")],
        [Conv2D(filters=2, kernel_size=3, activation="relu"), BatchNormalization()],
        [],
    ],
    ids=["dense", "convolution", "no hidden layer"],
)
def saved(request, tmp_path_factory):
    """An exported model as it computes here, and as plain Keras loads its file."""
    exported = models.exported_model(models.build_model(request.param, (6, 7), 3, 0))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    models.save(models.as_saved(exported), path)
    return exported, keras.models.load_model(path, safe_mode=True)


@pytest.fixture(scope="module")
def expected(saved):
    """What the exported model says of `images_of_every_kind` together, and of the first eight one by one."""
    images = images_of_every_kind()
    return [saved[0].predict_on_batch(part) for part in (images, *(images[i : i + 1] for i in range(8)))]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "float64"])
def test_of_raw_images_a_saved_model_says_what_the_exported_one_does_to_the_last_bit(saved, expected, dtype):
    _, loaded = saved
    given = images_of_every_kind().astype(dtype)
    np.testing.assert_array_equal(loaded.predict(given, verbose=0), expected[0])
    for i in range(8):
        np.testing.assert_array_equal(loaded.predict_on_batch(given[i : i + 1]), expected[1 + i])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_saved_model_takes_images_divided_by_255_for_what_they_are(saved, dtype):
    """Image by image, beside raw ones in a batch too. Without the guard they are cast to 0 and 1 in silence."""
    exported, loaded = saved
    images = images_of_every_kind()[6:]
    divided, expected = (images / 255).astype(dtype), exported.predict_on_batch(images)
    atol = 0.02 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(loaded.predict(divided, verbose=0), expected, atol=atol)
    mixed = np.concatenate([images[:3].astype(dtype), divided[3:]])
    np.testing.assert_allclose(loaded.predict_on_batch(mixed), expected, atol=atol)
    assert np.abs(exported.predict_on_batch(divided) - expected).max() > 0.05


@pytest.mark.slow
def test_other_formats_are_made_without_the_guard_of_the_file(saved):
    exported, loaded = saved
    plain = models.without_guard(loaded)
    assert plain.inputs[0].dtype == "uint8"
    assert [layer.name for layer in plain.layers] == [layer.name for layer in exported.layers]
    images = images_of_every_kind()
    np.testing.assert_array_equal(plain.predict_on_batch(images), exported.predict_on_batch(images))
    assert models.without_guard(exported) is exported  # as files of before are
