"""For tests that train models: a learner at its start, one training of it, and what two trainings must share."""

import keras
import numpy as np

from fmnist_mlp.sweepfile.layers import LayerNormalization
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.training import models
from fmnist_mlp.training.compiled_epoch import ResidentData
from fmnist_mlp.training.fit import Learner

TRAIN, VALIDATION = np.arange(0, 171), np.arange(171, 203)  # 171 = 5 batches of 32 and one of 11


class Interrupted(Exception):
    """A training ends here."""


def new_learner(layers, settings, seed=3, *, fitted=None, images=171, **options):
    """At its start, for the images of `tiny_images`; `fitted` is what `preprocess.fit` gives."""
    return Learner(new_model(layers, seed, fitted), settings, images, **options)


def new_model(layers, seed, fitted=None):
    return models.build_model(layers, (8, 8), 4, seed, fitted)


def start_again(learner, layers, seed=3, fitted=None):
    """The learner at its start, with the programs that it has compiled: they are what a training costs here.

    That nothing else is left of the first training is held by test_compiled_epoch.py.
    """
    learner.restart(new_model(layers, seed, fitted), learner.settings)
    return learner


def train(learner, images, seed=3, *, fitted=None, train_indices=TRAIN, **options):
    data = ResidentData(*images, 4, preprocessing=fitted)
    return learner.train(data, seed=seed, train_indices=train_indices, validation_indices=VALIDATION, **options)


def interrupt_after(epochs, folder):
    """For `at_epoch_end`: writes a checkpoint and raises `Interrupted`."""

    def at_epoch_end(epochs_done, logs, write_checkpoint):
        if epochs_done == epochs:
            write_checkpoint(folder)
            raise Interrupted

    return at_epoch_end


def bits(model):
    """Everything that a model and its optimizer hold, as it is now."""
    return {each.path: each.numpy() for each in (*model.variables, *model.optimizer.variables)}


def assert_same_bits(model, expected):
    """`expected` is another model, or what `bits` gave."""
    expected = expected if isinstance(expected, dict) else bits(expected)
    for (path, ours), theirs in zip(bits(model).items(), expected.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=path)


def assert_agree(model, history, expected_model, expected_history, rtol):
    """To so many digits, of everything that a model and its optimizer hold, and of the names in `expected_history`."""
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=rtol, err_msg=name)
    ours, theirs = ([*each.variables, *each.optimizer.variables] for each in (model, expected_model))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=rtol, atol=rtol, err_msg=a.path)


def keras_size(model, preprocessing=None):
    """Parameters and FLOPs read off Keras's own weights and shapes: a second opinion on `stacks.count`."""
    weights = [weight for weight in model.weights if "seed_generator" not in weight.path]
    params, trainable = (sum(map(_elements, each)) for each in (weights, model.trainable_weights))
    flops = sum(map(_layer_flops, model.layers)) + (0 if preprocessing is None else _fixed_flops(preprocessing))
    return StackSize(params, trainable, flops)


def _fixed_flops(preprocessing):
    """A product and a sum for each entry of a matrix, and for each value that is divided or scaled."""
    values, flops = int(np.prod(preprocessing.image_shape)), 0
    for fixed in preprocessing.maps:
        components = fixed.arrays[0].shape[-1] if fixed.layer == "Dense" else values
        flops += components * (2 * values + 1) if fixed.layer == "Dense" else 2 * values
        values = components
    return flops


def _layer_flops(layer):
    outputs, kind = _elements(layer.output, skip=1), type(layer).__name__
    if kind in ("Dense", "Conv2D", "DepthwiseConv2D"):
        kernel = layer.kernel.shape
        # A depthwise kernel is (height, width, channels, multiplier): each output sees one channel only.
        fan_in = np.prod(kernel[:2] if kind == "DepthwiseConv2D" else kernel[:-1], dtype=int)
        return outputs * (2 * fan_in + bool(layer.use_bias))
    if kind == "SeparableConv2D":
        positions = np.prod(layer.output.shape[1:-1], dtype=int)
        kernels = _elements(layer.depthwise_kernel) + _elements(layer.pointwise_kernel)
        return positions * 2 * kernels + outputs * bool(layer.use_bias)
    per_output = {"BatchNormalization": 2, "LayerNormalization": LayerNormalization.flops_per_element}
    return per_output.get(kind, 0) * outputs


def _elements(tensor, skip=0):
    return int(np.prod(tensor.shape[skip:], dtype=int))


def compute_in(dtype):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # Keras keeps the one that the first layer of the process was made with
