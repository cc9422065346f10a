"""Fixed steps between the pixels and a stack, as the sweep file says them: standardising, centring, PCA.

Without any image a step knows what it makes of a shape, what it costs and how it is called; `training/preprocess`
fits it. The fixed steps are no parameters of a stack, for nothing trains them; they do run at inference, so their
FLOPs count: 2 for each element that is standardised or centred, `2 n + 1` for each component of n values. (The scaling
of pixels to 0-1, before the first step, counts 0, with steps and without.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Any

from pydantic import BeforeValidator, SkipValidation, WithJsonSchema
from typing_extensions import TypeAliasType

from fmnist_mlp.sweepfile import stacks
from fmnist_mlp.sweepfile.layers import MAX_UNITS, Layer, Shape, StackError
from fmnist_mlp.sweepfile.names import number_in_name
from fmnist_mlp.sweepfile.nearest import did_you_mean
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.wants import in_message, problem


@dataclass(frozen=True)
class Standardize:
    """Each value minus its mean over the training images, divided by its standard deviation there."""

    def output_shape(self, input_shape: Shape, images: int | None = None) -> Shape:
        return input_shape

    def flops(self, input_shape: Shape, images: int | None = None) -> int:
        return 2 * prod(input_shape)

    def written(self) -> str:
        """As the sweep file says it."""
        return "standardize"

    def short_name(self) -> str:
        return "standardize"


@dataclass(frozen=True)
class Rescale:
    """`(x - center) / scale`, the same for every value; 0.5 and 0.5 bring pixels to [-1, 1]."""

    center: float = 0.0
    scale: float = 1.0

    def output_shape(self, input_shape: Shape, images: int | None = None) -> Shape:
        return input_shape

    def flops(self, input_shape: Shape, images: int | None = None) -> int:
        return 2 * prod(input_shape)

    def written(self) -> dict[str, float]:
        return {"center": self.center, "scale": self.scale}

    def short_name(self) -> str:
        return f"center{number_in_name(self.center)}-scale{number_in_name(self.scale)}"


@dataclass(frozen=True)
class Pca:
    """Principal components of the training images, largest variance first.

    Args:
        components: a whole number of them, or the share of the variance that they keep at least, above 0 and below 1.
            How many a share takes is known only after fitting and may differ from seed to seed; until then shapes and
            costs are those of the most that it can be.
        whiten: whether each component is divided by its standard deviation.
    """

    components: int | float
    whiten: bool = False

    @property
    def is_share(self) -> bool:
        return isinstance(self.components, float)

    def output_shape(self, input_shape: Shape, images: int | None = None) -> Shape:
        """Raises StackError where there are fewer values, or fewer training images, than components."""
        values = prod(input_shape)
        most = values if images is None else min(values, images)
        if self.is_share:
            return (most,)
        if self.components > most:
            what = f"{values:,} values" if most == values else f"{images:,} training images"
            raise StackError(f"pca can have at most {most:,} components, for {what}, got {self.components:,}")
        if self.whiten and self.components == images:  # their mean is taken off, so one component does not vary
            raise StackError(f"pca can whiten at most {images - 1:,} components of {images:,} training images")
        return (self.components,)

    def flops(self, input_shape: Shape, images: int | None = None) -> int:
        (components,) = self.output_shape(input_shape, images)
        return components * (2 * prod(input_shape) + 1)

    def written(self) -> dict[str, int | float | bool]:
        return {"pca": self.components} | ({"whiten": True} if self.whiten else {})

    def short_name(self) -> str:
        components = number_in_name(self.components) if self.is_share else str(self.components)
        return f"pca{components}" + (".whiten" if self.whiten else "")


Step = Standardize | Rescale | Pca


def input_shape_of(steps: Sequence[Step], image_shape: Shape, images: int | None = None) -> Shape:
    """What a stack gets of one image: `(28, 28)`, or `(187,)` after `Pca(187)`; of a share, the most it can be.

    Args:
        steps: in their order.
        image_shape: `(height, width)`.
        images: training images of a trial, where they are known; there are no more components than images.

    Raises:
        stacks.StackError: more components than that.
    """
    shape = tuple(image_shape)
    for step in steps:
        shape = step.output_shape(shape, images)
    return shape


def fixed_flops(steps: Sequence[Step], image_shape: Shape, images: int | None = None) -> int:
    """FLOPs of the steps for one image, as the module's docstring defines them; of a share, the most it can be."""
    shape, flops = tuple(image_shape), 0
    for step in steps:
        flops += step.flops(shape, images)
        shape = step.output_shape(shape, images)
    return flops


def has_open_size(steps: Sequence[Step]) -> bool:
    """Whether the number of components is known only after fitting, so that sizes planned are the most they can be."""
    return any(isinstance(step, Pca) and step.is_share for step in steps)


def count(
    steps: Sequence[Step],
    layers: Sequence[Layer],
    image_shape: Shape,
    num_classes: int,
    images: int | None = None,
) -> StackSize:
    """Size of a complete stack behind its steps: parameters of the stack alone, FLOPs of both.

    Raises:
        stacks.StackError: a step or a layer does not fit what comes before it.

    Example:
        >>> count((Pca(187),), (stacks.Dense(units=64),), (28, 28), 10).params  # 187 * 64 + 64 + 64 * 10 + 10
        12682
    """
    size = stacks.count(layers, input_shape_of(steps, image_shape, images), num_classes)
    return replace(size, flops=size.flops + fixed_flops(steps, image_shape, images))


# ---- as a sweep file has them ----

_MAX_STEPS = 10

_STEP_WORDS = ("standardize", "center", "scale", "pca", "whiten")

STEPS_IN_WORDS = "standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}"


def _read_preprocess(value: Any) -> Any:
    """One step stands for a list of one; null for none, so that one architecture can do without the file's."""
    if value is None:
        return ()
    if isinstance(value, tuple):  # settings made in Python: steps already
        return value
    written = value if isinstance(value, list) else [value]
    if len(written) > _MAX_STEPS:
        raise problem(f"may have at most {_MAX_STEPS} steps, got {len(written)}")
    steps = []
    for position, each in enumerate(written):
        try:
            step = _read_step(each)
        except ValueError as error:
            raise problem(str(error), position) from None
        if isinstance(step, Pca) and any(isinstance(before, Pca) for before in steps):
            raise problem("may have pca once: a second one would only drop components of the first", position)
        steps.append(step)
    return tuple(steps)


def _read_step(written: Any) -> Step:
    """Raises ValueError with what is wrong, to be put after the word `preprocess`."""
    keys = set(written) if isinstance(written, dict) else {written} if isinstance(written, str) else set()
    if keys == {"standardize"} and (written == "standardize" or written["standardize"] is None):
        return Standardize()
    if isinstance(written, dict) and keys and keys <= {"center", "scale"}:
        center = _number(written.get("center", 0.0), "center", lambda x: -1000 <= x <= 1000, "from -1,000 to 1,000")
        scale = _number(written.get("scale", 1.0), "scale", lambda x: 1e-6 <= x <= 1000, "from 0.000001 to 1,000")
        return Rescale(float(center), float(scale))
    if isinstance(written, dict) and "pca" in keys and keys <= {"pca", "whiten"}:
        components, whiten = written["pca"], written.get("whiten", False)
        if not isinstance(whiten, bool):
            raise ValueError(f"whiten must be true or false, got {in_message(whiten)}")
        is_number = isinstance(components, int | float) and not isinstance(components, bool)
        is_whole = is_number and isinstance(components, int)
        if not is_number or not (1 <= components <= MAX_UNITS if is_whole else 0 < components < 1):
            raise ValueError(
                "pca must be a whole number of components, or the share of the variance that they keep, above 0 and "
                f"below 1, got {in_message(components)}"
            )
        return Pca(components, whiten)
    if keys & {"pca"}:
        raise ValueError(f"pca is written {{pca: 187}} or {{pca: 0.95, whiten: true}}, got {in_message(written)}")
    unknown = [key for key in keys if isinstance(key, str) and key not in _STEP_WORDS]
    near = did_you_mean(unknown[0], _STEP_WORDS) if len(unknown) == 1 else ""
    hint = near if "did you mean" in near else ""
    raise ValueError(f"steps are {STEPS_IN_WORDS}, got {in_message(written)}{hint}")


def _number(value: Any, name: str, is_allowed: Callable[[float], bool], words: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_allowed(value):
        raise ValueError(f"{name} must be a number {words}, got {in_message(value)}")
    return value


_STEP_SCHEMA = {
    "anyOf": [
        {"type": "string", "enum": ["standardize"]},
        {
            "type": "object",
            "properties": {"standardize": {"type": "null"}},
            "required": ["standardize"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "center": {"type": "number", "minimum": -1000, "maximum": 1000},
                "scale": {"type": "number", "minimum": 1e-6, "maximum": 1000},
            },
            "minProperties": 1,
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "pca": {
                    "description": "Number of components, or the share of the variance that they keep.",
                    "anyOf": [
                        {"type": "integer", "minimum": 1, "maximum": MAX_UNITS},
                        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    ],
                },
                "whiten": {"type": "boolean", "description": "Whether components are brought to one variance."},
            },
            "required": ["pca"],
            "additionalProperties": False,
        },
    ]
}

_STEPS_SCHEMA = {
    "anyOf": [_STEP_SCHEMA, {"type": "array", "items": _STEP_SCHEMA, "maxItems": _MAX_STEPS}, {"type": "null"}]
}

Steps = TypeAliasType(
    "Steps",
    Annotated[SkipValidation[tuple[Step, ...]], BeforeValidator(_read_preprocess), WithJsonSchema(_STEPS_SCHEMA)],
)
