"""What can be said of a whole stack of layers without Keras: what is really built, how large it is, its name.

`complete` is the one place that says what is added to the layers a user lists (Flatten, a channel axis, the output
layer); `training/models` builds exactly the layers that it returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist_mlp.sweepfile.layers import (
    SPATIAL,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Layer,
    LayerNormalization,
    Reshape,
    Shape,
    StackError,
)
from fmnist_mlp.sweepfile.names import shorten_name


@dataclass(frozen=True)
class StackSize:
    """What a complete stack costs: `params` (with moving averages), `trainable_params`, `flops` for one image.

    None is what is not known, or has nothing to count: a baseline's."""

    params: int | None
    trainable_params: int | None
    flops: int | None


def complete(layers: Sequence["Layer"], input_shape: Shape, num_classes: int) -> tuple["Layer", ...]:
    """The layers that are really built: the user's, what they need between them, and the output layer.

    - A channel axis is added (`Reshape`) where a convolution or pooling layer meets an image without one.
    - `Flatten` is added where a Dense meets an image, and before the output layer.
    - A normalisation layer in front of everything, on an image without channel axis, gets whichever of the two comes
      next: Keras normalises over the last axis, which would be the columns of the image, and nobody means that.
    - The output layer is `Dense(num_classes, activation="linear")`: one logit a class.

    Args:
        layers: the layers as listed.
        input_shape: of one image, `(28, 28)`, or of one vector, `(187,)`.
        num_classes: units of the output layer.

    Raises:
        StackError: where a layer does not fit what comes before it.

    Example:
        >>> [layer.short_name() for layer in complete((Dense(units=64),), (28, 28), 10)]
        ['flatten', '64', '10.linear']
    """
    shape = tuple(input_shape)
    completed: list[Layer] = []

    def add(layer: Layer, index: int | None) -> None:
        nonlocal shape
        try:
            shape = layer.output_shape(shape)
        except StackError as error:
            error.index = index
            raise
        completed.append(layer)

    for index, layer in enumerate(layers):
        spatial, flat = isinstance(layer, SPATIAL), isinstance(layer, Dense)
        if isinstance(layer, BatchNormalization | LayerNormalization) and len(shape) == 2 and shape == input_shape:
            follower = next((later for later in layers[index:] if isinstance(later, (*SPATIAL, Dense, Reshape))), None)
            spatial, flat = isinstance(follower, SPATIAL), not isinstance(follower, SPATIAL)
        if spatial and len(shape) == 2:
            add(Reshape(target_shape=(*shape, 1)), index)
        elif flat and len(shape) > 1:
            add(Flatten(), index)
        add(layer, index)
    if len(shape) > 1:
        add(Flatten(), None)
    add(Dense(units=num_classes, activation="linear"), None)
    return tuple(completed)


def count(layers: Sequence["Layer"], input_shape: Shape, num_classes: int) -> StackSize:
    """Exact parameters and FLOPs of the complete stack (the docstring of `layers` says what counts).

    Example:
        >>> count((Dense(units=64), Dense(units=32)), (28, 28), 10)
        StackSize(params=52650, trainable_params=52650, flops=105194)
    """
    shape, params, trainable_params, flops = tuple(input_shape), 0, 0, 0
    for layer in complete(layers, input_shape, num_classes):
        layer_params, layer_trainable_params = layer.params(shape)
        params += layer_params
        trainable_params += layer_trainable_params
        flops += layer.flops(shape)
        shape = layer.output_shape(shape)
    return StackSize(params, trainable_params, flops)


def stack_name(layers: Sequence["Layer"], default_activation: str | None = "relu") -> str:
    """A stack in short: `64-128-64-32`, `256-bn-drop0.3-128`; `linear` without hidden layers.

    Every argument that differs from its default shows (`64.tanh.nobias`), so different stacks have different names
    unless the name had to be shortened; then a hash of the whole name ends it, stable from run to run.

    Args:
        layers: with or without their activations resolved.
        default_activation: the activation that goes without saying.
    """
    return shorten_name("-".join(layer.short_name(default_activation) for layer in layers) or "linear")


def is_convolutional(layers: Sequence["Layer"]) -> bool:
    """Whether any layer is a convolution: such stacks are trained by the plain fit, all others by compiled epochs.

    A rule, not a measurement at run time, since it is part of what a trial is; docs/speed.md has what it is founded on.
    """
    return any(isinstance(layer, (Conv2D, DepthwiseConv2D)) for layer in layers)  # SeparableConv2D is a Conv2D
