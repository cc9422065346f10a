"""The closed list of layers, and what each does to a shape, has as parameters and costs, without Keras.

Each layer is a small frozen model with the name, the arguments and the defaults of the Keras layer that it stands for
(Keras 3.15). None of them carries code, so a sweep file from a stranger is safe to run. `stacks` says what a list of
them is together; so `--dry-run` is exact without importing TensorFlow.

Parameters are counted as Keras's `count_params()` does. FLOPs are those of one forward pass of one image at
inference: a multiply-add counts 2; a bias 1 for each output element; BatchNormalization 2 for each element (at
inference it is one scale and one shift); LayerNormalization 7 for each element (sum for the mean, subtract, square,
sum for the variance, divide, scale, shift), also where it learns no scale or shift; activations, pooling, dropout,
noise and reshaping 0. Padding is counted as if the zeros were multiplied.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fmnist_mlp.sweepfile.names import number_in_name
from fmnist_mlp.sweepfile.wants import Checked, Wants, problem

Shape = tuple[int, ...]

# keras.activations of Keras 3.15 without `glu` (halves its input) and `threshold` (cannot be called by name alone).
ACTIVATIONS = (
    "relu", "gelu", "elu", "selu", "silu", "tanh", "sigmoid", "linear", "leaky_relu", "mish", "softplus", "softsign",
    "softmax", "relu6", "celu", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "log_sigmoid",
    "log_softmax", "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink",
)  # fmt: skip

ACTIVATION_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}

MAX_UNITS = 1_000_000  # beyond this a number is a slip; what fits into memory is for `checks.check_shapes` to say

MAX_WINDOW = 1_024  # side of a kernel, a pool or a stride, in pixels


class StackError(ValueError):
    """A stack that does not fit its input; the message is a sentence about it.

    Attributes:
        index: position of the misfit in the list of layers that was given; None for the output layer.
    """

    def __init__(self, message: str, index: int | None = None):
        super().__init__(message)
        self.index = index


# ---- types of arguments ----


def _canonical_activation(name: str) -> str:
    name = ACTIVATION_ALIASES.get(name, name)
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}")
    return name


def _as_pair(value: Any) -> Any:
    """Keras takes one number or a pair; we keep a pair, so that 3 and [3, 3] are the same layer."""
    if isinstance(value, int):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _as_target_shape(value: Any) -> Any:
    value = (value,) if isinstance(value, int) and not isinstance(value, bool) else value
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, tuple) and value.count(-1) > 1:
        raise problem("may leave only one size open (-1)")
    if isinstance(value, tuple) and 0 in value:
        raise ValueError("a size of zero")
    return value


ActivationName = Annotated[
    str,
    AfterValidator(_canonical_activation),
    Wants("the name of an activation (linear is none)", choices=(*ACTIVATIONS, *ACTIVATION_ALIASES)),
    WithJsonSchema({"type": "string", "enum": [*ACTIVATIONS, *ACTIVATION_ALIASES]}),
]

_Units = Annotated[int, Field(ge=1, le=MAX_UNITS)]

_Rate = Annotated[float, Field(ge=0, lt=1)]

_Side = Annotated[int, Field(ge=1, le=MAX_WINDOW)]

_SIDE_SCHEMA = {"type": "integer", "minimum": 1, "maximum": MAX_WINDOW}

_WINDOW_SCHEMA = {"anyOf": [_SIDE_SCHEMA, {"type": "array", "items": _SIDE_SCHEMA, "minItems": 2, "maxItems": 2}]}

_WINDOW_WORDS = Wants(f"a whole number from 1 to {MAX_WINDOW:,} or a pair of them")

_Window = Annotated[tuple[_Side, _Side], BeforeValidator(_as_pair), _WINDOW_WORDS, WithJsonSchema(_WINDOW_SCHEMA)]

_OptionalWindow = Annotated[
    tuple[_Side, _Side] | None,
    BeforeValidator(_as_pair),
    _WINDOW_WORDS,
    WithJsonSchema({"anyOf": [*_WINDOW_SCHEMA["anyOf"], {"type": "null"}]}),
]

_Padding = Literal["valid", "same"]

_TargetShape = Annotated[
    tuple[Annotated[int, Field(ge=-1, le=MAX_UNITS)], ...],
    Field(min_length=1, max_length=6),
    BeforeValidator(_as_target_shape),
    Wants("a list of 1 to 6 whole numbers, such as [28, 28, 1]"),
    WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1, "maxItems": 6}),
]


# ---- layers ----


class Layer(Checked):
    """What every layer has; the classes below are the closed list.

    Class attributes:
        shorthand: the argument that may stand alone, as `rate` in `{Dropout: 0.3}`.
        example: how to write the layer in a sweep file.
        label: begins its automatic name.
    """

    shorthand: ClassVar[str | None] = None
    example: ClassVar[str]
    label: ClassVar[str]

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one image after this layer; raises StackError where the layer does not fit."""
        return input_shape

    def params(self, input_shape: Shape) -> tuple[int, int]:
        """Parameters, and how many of them training changes by gradient."""
        return 0, 0

    def flops(self, input_shape: Shape) -> int:
        """FLOPs of one image, as the module's docstring defines them."""
        return 0

    def keras_arguments(self) -> dict[str, Any]:
        """Every argument for the Keras layer of the same name."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def canonical(self) -> dict[str, Any]:
        """As part of what a trial is, in plain JSON: `{"Dense": {"units": 64, ...}}`, with every argument."""
        arguments = self.keras_arguments().items()
        return {type(self).__name__: {key: list(v) if isinstance(v, tuple) else v for key, v in arguments}}

    @staticmethod
    def from_canonical(written: dict[str, Any]) -> "Layer":
        """The layer of such a form; raises ValueError, TypeError or LookupError where it is none."""
        ((name, arguments),) = written.items()
        return LAYERS[name].model_validate(arguments)

    def with_default_activation(self, activation: str) -> Self:
        """This layer, with `activation` where it has such an argument and leaves it open."""
        if "activation" in type(self).model_fields and self.activation is None:
            return self.model_copy(update={"activation": activation})
        return self

    def short_name(self, default_activation: str | None = "relu") -> str:
        """Its part of an automatic name: `64`, `drop0.3`, `conv16x3.same`; `default_activation` goes without saying."""
        beginning, shown = self._beginning()
        parts = [beginning]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in shown or value == field.default or (name == "activation" and value == default_activation):
                continue
            if isinstance(value, bool):  # use_bias, center, scale: all true by default
                parts.append("no" + name.removeprefix("use_"))
            else:
                parts.append(value if isinstance(value, str) else name + _compact(value))
        return ".".join(parts)

    def _beginning(self) -> tuple[str, tuple[str, ...]]:
        """How its short name begins, and the arguments that this shows already."""
        if self.shorthand is None:
            return self.label, ()
        return self.label + _compact(getattr(self, self.shorthand)), (self.shorthand,)


def _compact(value: Any) -> str:
    """A number or a pair in the letters that a name may have: 0.3, 1e-05, 3, 3x5."""
    if isinstance(value, tuple):
        same = len(value) == 2 and value[0] == value[1]
        return _compact(value[0]) if same else "x".join(_compact(part) for part in value)
    return number_in_name(value) if isinstance(value, float) else str(value)


def _activation_field() -> Any:
    """None stands for what `training: activation` says; Keras's own default (none) is written `linear`."""
    return Field(None, description="Activation; without it the one of `training` is used, `linear` is none.")


def _padding_field() -> Any:
    return Field("valid", description="valid: only where the window fits; same: edges padded with zeros.")


def _pooling_strides_field() -> Any:
    return Field(None, description="Step of the window in pixels; without it the pool size.")


class Dense(Layer):
    """Fully connected layer."""

    shorthand: ClassVar = "units"
    example: ClassVar = "{Dense: 64}"
    label: ClassVar = ""

    units: _Units = Field(description="Number of outputs.")
    activation: ActivationName = _activation_field()
    use_bias: bool = Field(True, description="Whether a bias is added.")

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def params(self, input_shape: Shape) -> tuple[int, int]:
        weights = input_shape[-1] * self.units + self.use_bias * self.units
        return weights, weights

    def flops(self, input_shape: Shape) -> int:
        return math.prod(self.output_shape(input_shape)) * (2 * input_shape[-1] + self.use_bias)


class Dropout(Layer):
    """Sets a share of its inputs to zero while training."""

    shorthand: ClassVar = "rate"
    example: ClassVar = "{Dropout: 0.3}"
    label: ClassVar = "drop"

    rate: _Rate = Field(description="Share of the inputs that is dropped.")


class AlphaDropout(Layer):
    """Dropout that keeps mean and variance; for selu."""

    shorthand: ClassVar = "rate"
    example: ClassVar = "{AlphaDropout: 0.1}"
    label: ClassVar = "alphadrop"

    rate: _Rate = Field(description="Share of the inputs that is dropped.")


class GaussianNoise(Layer):
    """Adds normal noise while training."""

    shorthand: ClassVar = "stddev"
    example: ClassVar = "{GaussianNoise: 0.1}"
    label: ClassVar = "noise"

    stddev: Annotated[float, Field(ge=0, le=1)] = Field(description="Standard deviation of the noise.")


class _Normalization(Layer):
    """What the two normalisation layers share: they work on the last axis."""

    epsilon: Annotated[float, Field(gt=0, le=1)] = Field(1e-3, description="Added to the variance.")
    center: bool = Field(True, description="Whether an offset (beta) is learned.")
    scale: bool = Field(True, description="Whether a factor (gamma) is learned.")

    def _learned(self, input_shape: Shape) -> int:
        return (self.center + self.scale) * input_shape[-1]


class BatchNormalization(_Normalization):
    """Normalises each feature over the batch; at inference by moving averages."""

    example: ClassVar = "BatchNormalization"
    label: ClassVar = "bn"

    momentum: Annotated[float, Field(ge=0, le=1)] = Field(0.99, description="Momentum of the moving averages.")

    def params(self, input_shape: Shape) -> tuple[int, int]:
        moving_averages = 2 * input_shape[-1]
        return self._learned(input_shape) + moving_averages, self._learned(input_shape)

    def flops(self, input_shape: Shape) -> int:
        return 2 * math.prod(input_shape)


class LayerNormalization(_Normalization):
    """Normalises the features of each image."""

    example: ClassVar = "LayerNormalization"
    label: ClassVar = "ln"
    flops_per_element: ClassVar[int] = 7  # the module's docstring says which

    def params(self, input_shape: Shape) -> tuple[int, int]:
        return self._learned(input_shape), self._learned(input_shape)

    def flops(self, input_shape: Shape) -> int:
        return self.flops_per_element * math.prod(input_shape)


class Activation(Layer):
    """An activation on its own, for instance behind BatchNormalization."""

    shorthand: ClassVar = "activation"
    example: ClassVar = "{Activation: gelu}"
    label: ClassVar = ""

    activation: ActivationName = Field(description="Name of the activation.")


class LeakyReLU(Layer):
    """relu that lets a share of the negative inputs through."""

    shorthand: ClassVar = "negative_slope"
    example: ClassVar = "{LeakyReLU: 0.1}"
    label: ClassVar = "leakyrelu"

    negative_slope: Annotated[float, Field(ge=0)] = Field(0.3, description="Slope for negative inputs.")


class PReLU(Layer):
    """relu with a learned slope for negative inputs, one for each input."""

    example: ClassVar = "PReLU"
    label: ClassVar = "prelu"

    def params(self, input_shape: Shape) -> tuple[int, int]:
        return math.prod(input_shape), math.prod(input_shape)


class ELU(Layer):
    """Exponential linear unit."""

    shorthand: ClassVar = "alpha"
    example: ClassVar = "{ELU: 1.0}"
    label: ClassVar = "elu"

    alpha: Annotated[float, Field(ge=0)] = Field(1.0, description="Scale of the negative part.")


class Flatten(Layer):
    """Image to vector; put automatically where a Dense meets an image."""

    example: ClassVar = "Flatten"
    label: ClassVar = "flatten"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


class Reshape(Layer):
    """Another shape of the same size; one size may be -1."""

    shorthand: ClassVar = "target_shape"
    example: ClassVar = "{Reshape: [28, 28, 1]}"
    label: ClassVar = "reshape"

    target_shape: _TargetShape = Field(description="Shape of one image, without the batch.")

    def output_shape(self, input_shape: Shape) -> Shape:
        size = math.prod(input_shape)
        known = math.prod(part for part in self.target_shape if part != -1)
        shape = tuple(size // known if part == -1 else part for part in self.target_shape)
        if math.prod(shape) != size:
            raise StackError(
                f"Reshape to {_times(self.target_shape)} does not fit its input of {size:,} values "
                f"(shape {_times(input_shape)})"
            )
        return shape

    def _beginning(self) -> tuple[str, tuple[str, ...]]:
        sizes = "x".join("any" if size == -1 else str(size) for size in self.target_shape)
        return self.label + sizes, ("target_shape",)


class _Windowed(Layer):
    """What convolutions and pooling share: a window that moves over an image with channels."""

    def _moved(self, input_shape: Shape, window: tuple[int, int], strides: tuple[int, int]) -> Shape:
        """Height and width after the window has passed, by Keras's `compute_conv_output_shape`."""
        name = type(self).__name__
        _require_image(name, input_shape)
        image = input_shape[:2]
        if self.padding == "same":
            return tuple((size - 1) // stride + 1 for size, stride in zip(image, strides, strict=True))
        if window[0] > image[0] or window[1] > image[1]:
            raise StackError(
                f"{name}'s window of {_times(window)} is larger than its input of {_times(image)}; "
                "make it smaller, pool less before it, or set padding: same"
            )
        return tuple((size - side) // stride + 1 for size, side, stride in zip(image, window, strides, strict=True))


def _require_image(name: str, input_shape: Shape) -> None:
    if len(input_shape) != 3:
        what = "a vector" if len(input_shape) == 1 else "an input"
        raise StackError(
            f"{name} needs an image of height x width x channels, but gets {what} of {_times(input_shape)} values; "
            "put it before the Dense and Flatten layers, or a Reshape before it"
        )


def _times(shape: Shape) -> str:
    return " x ".join(f"{size:,}" for size in shape)


class Conv2D(_Windowed):
    """Convolution."""

    example: ClassVar = "{Conv2D: {filters: 16, kernel_size: 3}}"
    label: ClassVar = "conv"

    filters: _Units = Field(description="Number of output channels.")
    kernel_size: _Window = Field(description="Side of the window in pixels, or height and width.")
    strides: _Window = Field((1, 1), description="Step of the window in pixels, or down and across.")
    padding: _Padding = _padding_field()
    activation: ActivationName = _activation_field()
    use_bias: bool = Field(True, description="Whether a bias is added.")

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*self._moved(input_shape, self.kernel_size, self.strides), self.filters)

    def params(self, input_shape: Shape) -> tuple[int, int]:
        weights = math.prod(self.kernel_size) * input_shape[-1] * self.filters + self.use_bias * self.filters
        return weights, weights

    def flops(self, input_shape: Shape) -> int:
        multiply_adds = math.prod(self.kernel_size) * input_shape[-1]  # for each output element
        return math.prod(self.output_shape(input_shape)) * (2 * multiply_adds + self.use_bias)

    def _beginning(self) -> tuple[str, tuple[str, ...]]:
        return f"{self.label}{self.filters}x{_compact(self.kernel_size)}", ("filters", "kernel_size")


class SeparableConv2D(Conv2D):
    """Depthwise convolution followed by a pointwise one."""

    example: ClassVar = "{SeparableConv2D: {filters: 16, kernel_size: 3}}"
    label: ClassVar = "sepconv"

    depth_multiplier: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Channels that the depthwise step makes of each input channel."
    )

    def params(self, input_shape: Shape) -> tuple[int, int]:
        depthwise = math.prod(self.kernel_size) * input_shape[-1] * self.depth_multiplier
        pointwise = input_shape[-1] * self.depth_multiplier * self.filters
        weights = depthwise + pointwise + self.use_bias * self.filters
        return weights, weights

    def flops(self, input_shape: Shape) -> int:
        height, width, filters = self.output_shape(input_shape)
        depthwise = 2 * math.prod(self.kernel_size) * input_shape[-1] * self.depth_multiplier
        pointwise = 2 * input_shape[-1] * self.depth_multiplier * filters
        return height * width * (depthwise + pointwise + self.use_bias * filters)


class DepthwiseConv2D(_Windowed):
    """Convolution of each channel on its own."""

    shorthand: ClassVar = "kernel_size"
    example: ClassVar = "{DepthwiseConv2D: 3}"
    label: ClassVar = "dwconv"

    kernel_size: _Window = Field(description="Side of the window in pixels, or height and width.")
    strides: _Window = Field((1, 1), description="Step of the window in pixels, or down and across.")
    padding: _Padding = _padding_field()
    depth_multiplier: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Output channels for each input channel."
    )
    activation: ActivationName = _activation_field()
    use_bias: bool = Field(True, description="Whether a bias is added.")

    def output_shape(self, input_shape: Shape) -> Shape:
        moved = self._moved(input_shape, self.kernel_size, self.strides)
        return (*moved, input_shape[-1] * self.depth_multiplier)

    def params(self, input_shape: Shape) -> tuple[int, int]:
        channels = input_shape[-1] * self.depth_multiplier
        weights = (math.prod(self.kernel_size) + self.use_bias) * channels
        return weights, weights

    def flops(self, input_shape: Shape) -> int:
        return math.prod(self.output_shape(input_shape)) * (2 * math.prod(self.kernel_size) + self.use_bias)


class _Pooling(_Windowed):
    """What the two pooling layers share."""

    shorthand: ClassVar = "pool_size"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*self._moved(input_shape, self.pool_size, self.strides or self.pool_size), input_shape[-1])

    def keras_arguments(self) -> dict[str, Any]:
        return {**super().keras_arguments(), "strides": self.strides or self.pool_size}


class MaxPooling2D(_Pooling):
    """Largest value of each window."""

    example: ClassVar = "{MaxPooling2D: 2}"
    label: ClassVar = "maxpool"

    pool_size: _Window = Field((2, 2), description="Side of the window in pixels, or height and width.")
    strides: _OptionalWindow = _pooling_strides_field()
    padding: _Padding = _padding_field()


class AveragePooling2D(_Pooling):
    """Mean of each window."""

    example: ClassVar = "{AveragePooling2D: 2}"
    label: ClassVar = "avgpool"

    pool_size: _Window = Field(description="Side of the window in pixels, or height and width.")
    strides: _OptionalWindow = _pooling_strides_field()
    padding: _Padding = _padding_field()


class GlobalAveragePooling2D(Layer):
    """Mean of each channel over the whole image."""

    example: ClassVar = "GlobalAveragePooling2D"
    label: ClassVar = "gap"

    def output_shape(self, input_shape: Shape) -> Shape:
        _require_image(type(self).__name__, input_shape)
        return input_shape[-1:]


_CLOSED_LIST = (
    Dense, Dropout, AlphaDropout, GaussianNoise, BatchNormalization, LayerNormalization, Activation, LeakyReLU, PReLU,
    ELU, Flatten, Reshape, Conv2D, SeparableConv2D, DepthwiseConv2D, MaxPooling2D, AveragePooling2D,
    GlobalAveragePooling2D,
)  # fmt: skip

LAYERS: dict[str, type[Layer]] = {layer.__name__: layer for layer in _CLOSED_LIST}

SPATIAL = (Conv2D, DepthwiseConv2D, _Pooling, GlobalAveragePooling2D)
