"""Stacks against counts made by hand; `test_models` holds them against Keras itself."""

import doctest
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_mlp.sweepfile import layers as stacks
from fmnist_mlp.sweepfile.layers import LAYERS, Dense, StackError
from fmnist_mlp.sweepfile.names import number_in_name
from fmnist_mlp.sweepfile.stacks import StackSize, complete, count, is_convolutional, stack_name


def layer(name, **arguments):
    return LAYERS[name](**arguments)


def dense(*units):
    return tuple(Dense(units=n) for n in units)


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(stacks).failed == 0


@pytest.mark.parametrize(
    ("units", "params"),
    [((64, 128, 64, 32), 69_226), ((64, 128, 32), 63_018), ((64, 32), 52_650), ((128, 64), 109_386)],
)
def test_published_stacks_have_their_published_parameters(units, params):
    size = count(dense(*units), (28, 28), 10)
    assert size.params == size.trainable_params == params
    assert stack_name(dense(*units)) == "-".join(map(str, units))


# By hand, for images of 28 x 28 and 10 classes; the output layer is counted in.
@pytest.mark.parametrize(
    ("layers", "size"),
    [
        pytest.param((), StackSize(7_850, 7_850, 784 * 10 * 2 + 10), id="no hidden layer"),
        pytest.param(
            (layer("Dense", units=4, use_bias=False),),
            StackSize(784 * 4 + 50, 784 * 4 + 50, 784 * 4 * 2 + 4 * 10 * 2 + 10),
            id="no bias",
        ),
        pytest.param(
            (*dense(4), layer("BatchNormalization")),
            StackSize(3_140 + 16 + 50, 3_140 + 8 + 50, 6_272 + 4 + 2 * 4 + 90),
            id="batch norm: 2 trained, 2 moving",
        ),
        pytest.param(
            (*dense(4), layer("BatchNormalization", scale=False)),
            StackSize(3_140 + 12 + 50, 3_140 + 4 + 50, 6_272 + 4 + 2 * 4 + 90),
            id="batch norm without scale",
        ),
        pytest.param(
            (*dense(4), layer("LayerNormalization"), layer("PReLU"), layer("Dropout", rate=0.5)),
            StackSize(3_140 + 8 + 4 + 50, 3_140 + 8 + 4 + 50, 6_272 + 4 + 7 * 4 + 90),
            id="layer norm, PReLU, dropout",
        ),
        pytest.param(
            (layer("Conv2D", filters=2, kernel_size=3), layer("MaxPooling2D")),
            StackSize(20 + 338 * 10 + 10, 20 + 338 * 10 + 10, 26 * 26 * 2 * (2 * 9 + 1) + 2 * 338 * 10 + 10),
            id="convolution: 26 x 26 x 2, pooled to 13 x 13 x 2",
        ),
        pytest.param(
            (
                layer("Conv2D", filters=2, kernel_size=3, padding="same", strides=2),
                layer("SeparableConv2D", filters=5, kernel_size=3, depth_multiplier=2),
                layer("GlobalAveragePooling2D"),
            ),
            # 14 x 14 x 2; depthwise 3*3*2*2 = 36, pointwise 4*5 = 20, bias 5 on 12 x 12; then 5 -> 10
            StackSize(20 + 61 + 60, 20 + 61 + 60, 196 * 2 * 19 + 144 * (2 * 36 + 2 * 20 + 5) + 110),
            id="separable convolution",
        ),
        pytest.param(
            (layer("DepthwiseConv2D", kernel_size=5, depth_multiplier=3), layer("GlobalAveragePooling2D")),
            StackSize(78 + 40, 78 + 40, 24 * 24 * 3 * (2 * 25 + 1) + 70),
            id="depthwise convolution",
        ),
    ],
)
def test_sizes_agree_with_a_count_by_hand(layers, size):
    assert count(layers, (28, 28), 10) == size


def names(layers, input_shape=(28, 28)):
    return [type(part).__name__ for part in complete(layers, input_shape, 10)]


def test_flatten_channel_axis_and_output_layer_are_added():
    norm, conv = layer("BatchNormalization"), layer("Conv2D", filters=2, kernel_size=3)
    assert names(dense(64)) == ["Flatten", "Dense", "Dense"]
    assert names(()) == ["Flatten", "Dense"]
    assert names(dense(64), (187,)) == ["Dense", "Dense"]
    assert names((layer("Dropout", rate=0.2), *dense(64))) == ["Dropout", "Flatten", "Dense", "Dense"]
    assert names((conv,)) == ["Reshape", "Conv2D", "Flatten", "Dense"]
    assert names((conv,), (28, 28, 3)) == ["Conv2D", "Flatten", "Dense"]
    assert names((conv, *dense(8))) == ["Reshape", "Conv2D", "Flatten", "Dense", "Dense"]
    assert names((layer("Flatten"), *dense(64))) == ["Flatten", "Dense", "Dense"]
    output = complete(dense(64), (28, 28), 7)[-1]
    assert (output.units, output.activation) == (7, "linear")
    # In front of everything, normalisation is over pixels or channels, never over the columns of the image.
    assert names((norm, *dense(64))) == ["Flatten", "BatchNormalization", "Dense", "Dense"]
    assert names((norm, conv)) == ["Reshape", "BatchNormalization", "Conv2D", "Flatten", "Dense"]


@pytest.mark.parametrize(
    ("layers", "index", "message"),
    [
        ((*dense(64), layer("Conv2D", filters=2, kernel_size=3)), 1, "Conv2D needs an image"),
        ((layer("Flatten"), layer("MaxPooling2D")), 1, "MaxPooling2D needs an image"),
        ((layer("Conv2D", filters=2, kernel_size=29),), 0, "window of 29 x 29 is larger than its input of 28 x 28"),
        ((layer("MaxPooling2D", pool_size=20), layer("MaxPooling2D")), 1, "is larger than its input of 1 x 1"),
        ((layer("Reshape", target_shape=[28, 27]),), 0, "Reshape to 28 x 27 does not fit its input of 784 values"),
        ((layer("Reshape", target_shape=[5, -1]),), 0, "does not fit"),
        ((layer("GlobalAveragePooling2D"), layer("GlobalAveragePooling2D")), 1, "needs an image"),
    ],
)
def test_a_layer_that_does_not_fit_is_named_with_its_position(layers, index, message):
    with pytest.raises(StackError, match=re.escape(message)) as caught:
        count(layers, (28, 28), 10)
    assert caught.value.index == index


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ((), "linear"),
        ((*dense(256), layer("BatchNormalization"), layer("Dropout", rate=0.3), *dense(128)), "256-bn-drop0.3-128"),
        ((layer("Dense", units=64, activation="tanh", use_bias=False),), "64.tanh.nobias"),
        ((layer("Dense", units=64, activation="relu"),), "64"),
        ((layer("GaussianNoise", stddev=1e-5), layer("Activation", activation="swish")), "noise1e-05-silu"),
        ((layer("BatchNormalization", momentum=0.9, center=False),), "bn.nocenter.momentum0.9"),
        ((layer("Conv2D", filters=16, kernel_size=[3, 5], padding="same", strides=2),), "conv16x3x5.strides2.same"),
        ((layer("MaxPooling2D", pool_size=2), layer("GlobalAveragePooling2D")), "maxpool2-gap"),
        ((layer("Reshape", target_shape=[-1, 28]), layer("LeakyReLU")), "reshapeanyx28-leakyrelu0.3"),
    ],
)
def test_automatic_names(layers, name):
    assert stack_name(layers) == name


def test_long_names_are_shortened_and_stay_different():
    long, longer = stack_name(dense(*[100] * 30)), stack_name(dense(*[100] * 31))
    assert long != longer
    assert len(long) <= 80
    assert len(longer) <= 80
    assert long == stack_name(dense(*[100] * 30))


def test_a_number_and_a_pair_of_it_are_the_same_layer():
    assert layer("Conv2D", filters=2, kernel_size=3) == layer("Conv2D", filters=2, kernel_size=[3, 3])
    assert layer("MaxPooling2D", strides=2).keras_arguments() == layer("MaxPooling2D").keras_arguments()
    assert layer("Dense", units=2, activation="swish") == layer("Dense", units=2, activation="silu")


def test_only_convolutions_make_a_stack_convolutional():
    convolutions = {"Conv2D", "SeparableConv2D", "DepthwiseConv2D"}
    examples = {name: layer(name, **ARGUMENTS.get(name, {})) for name in LAYERS}
    assert {name for name, example in examples.items() if is_convolutional([example])} == convolutions


def test_a_default_activation_reaches_the_layers_that_leave_it_open():
    open_layer, own, other = Dense(units=2), Dense(units=2, activation="linear"), layer("Flatten")
    assert open_layer.with_default_activation("gelu").activation == "gelu"
    assert own.with_default_activation("gelu") is own
    assert other.with_default_activation("gelu") is other


ARGUMENTS = {
    "Dense": {"units": 5},
    "Dropout": {"rate": 0.25},
    "AlphaDropout": {"rate": 0.1},
    "GaussianNoise": {"stddev": 0.1},
    "Activation": {"activation": "gelu"},
    "Reshape": {"target_shape": [7, -1]},
    "Conv2D": {"filters": 3, "kernel_size": 3},
    "SeparableConv2D": {"filters": 3, "kernel_size": 3},
    "DepthwiseConv2D": {"kernel_size": 3},
    "AveragePooling2D": {"pool_size": 2},
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(sorted(LAYERS)), max_size=8), st.sampled_from([(28, 28), (28, 28, 3), (49,)]))
def test_random_stacks_fit_or_say_why_and_have_valid_names(kinds, input_shape):
    layers = tuple(layer(kind, **ARGUMENTS.get(kind, {})) for kind in kinds)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", stack_name(layers))
    size = misfit = None
    try:
        size = count(layers, input_shape, 10)
    except StackError as error:
        misfit = error.index
    if size is None:
        assert misfit in range(len(layers))
        return
    shape, params = input_shape, 0
    for part in complete(layers, input_shape, 10):
        params += part.params(shape)[0]
        shape = part.output_shape(shape)
        assert all(side >= 1 for side in shape)
    assert shape == (10,)
    assert (size.params, size.trainable_params <= size.params, size.flops > 0) == (params, True, True)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.3, "0.3"),
        (1e-05, "1e-05"),
        (1e20, "1e20"),
        (2.0, "2"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-300, "1e-300"),
    ],
)
def test_a_number_in_a_name_is_as_short_as_it_can_be(value, shown):
    assert number_in_name(value) == shown


@given(st.floats(0, 1e6), st.integers(-3, 3))
def test_two_numbers_that_differ_never_look_the_same_in_a_name(value, steps):
    other = value
    for _ in range(abs(steps)):
        other = math.nextafter(other, math.inf if steps > 0 else 0.0)
    names = {number_in_name(number) for number in (value, other)}
    assert len(names) == len({value, other})
    assert all(re.fullmatch(r"[0-9][0-9a-z.-]*", name) for name in names)
