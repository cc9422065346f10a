"""Fixed steps between the pixels and a stack, as the sweep file says them: standardising, centring, PCA.

Without any image a step knows what it makes of a shape, what it costs and how it is called; `training/preprocess`
fits it. The fixed steps are no parameters of a stack, for nothing trains them; they do run at inference, so their
FLOPs count: 2 for each element that is standardised or centred, `2 n + 1` for each component of n values. (The scaling
of pixels to 0-1, before the first step, counts 0, with steps and without.)
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from typing_extensions import TypeAliasType

from fmnist_mlp.sweepfile import stacks
from fmnist_mlp.sweepfile.layers import MAX_UNITS, Layer, Shape, StackError
from fmnist_mlp.sweepfile.names import number_in_name
from fmnist_mlp.sweepfile.nearest import did_you_mean
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.wants import AlsoWritten, Checked, OneOrMany, Wants, in_message, problem


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

STEPS_IN_WORDS = "standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}"

_PCA_WORDS = "a whole number of components, or the share of the variance that they keep, above 0 and below 1"

_Count = Annotated[int, Field(ge=1, le=MAX_UNITS)]

_Share = Annotated[float, Field(gt=0, lt=1)]


class StandardizeEntry(Checked):
    """Standardising; `standardize` alone says it too."""

    standardize: None = Field(description="Takes nothing.")

    def step(self) -> Standardize:
        return Standardize()


class RescaleEntry(Checked):
    """Centring and scaling by numbers that are given."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    center: Annotated[float, Wants("a number from -1,000 to 1,000")] = Field(
        0.0, ge=-1000, le=1000, description="What each value is moved down by."
    )
    scale: Annotated[float, Wants("a number from 0.000001 to 1,000")] = Field(
        1.0, ge=1e-6, le=1000, description="What each value is then divided by."
    )

    def step(self) -> Rescale:
        return Rescale(self.center, self.scale)


class PcaEntry(Checked):
    """Principal components."""

    pca: Annotated[_Count | _Share, Wants(_PCA_WORDS)] = Field(
        description="Number of components, or the share of the variance that they keep."
    )
    whiten: bool = Field(False, description="Whether components are brought to one variance.")

    def step(self) -> Pca:
        return Pca(self.pca, self.whiten)


_ENTRIES = {"a standardize": StandardizeEntry, "a rescale": RescaleEntry, "a pca": PcaEntry}

STEP_KINDS = tuple(_ENTRIES)  # in the places of errors; no key of a file looks like these


def _kind_of(written: Any) -> str:
    """Which step it is by its keys, or what is wrong with these, to be put after the word `preprocess`."""
    keys = {*written} if isinstance(written, dict) else {written} if isinstance(written, str) else set()
    if isinstance(written, dict) and keys and written.get("standardize") is None:
        fitting = [kind for kind, entry in _ENTRIES.items() if keys <= {*entry.model_fields}]
        if fitting and keys != {"whiten"}:
            return fitting[0]
    if "pca" in keys:
        raise problem(f"pca is written {{pca: 187}} or {{pca: 0.95, whiten: true}}, got {in_message(written)}")
    known = [key for entry in _ENTRIES.values() for key in entry.model_fields]
    unknown = [key for key in keys if isinstance(key, str) and key not in known]
    near = did_you_mean(unknown[0], known) if len(unknown) == 1 else ""
    hint = near if "did you mean" in near else ""
    raise problem(f"steps are {STEPS_IN_WORDS}, got {in_message(written)}{hint}")


def _check_kind(written: Any) -> Any:
    written = {written: None} if written == "standardize" else written
    _kind_of(written)
    return written


_OneStep = functools.reduce(operator.or_, (Annotated[entry, Tag(kind)] for kind, entry in _ENTRIES.items()))

_StepEntry = Annotated[
    Annotated[_OneStep, Discriminator(_kind_of)],
    BeforeValidator(_check_kind),
    AlsoWritten({"type": "string", "enum": ["standardize"]}),
]


def _read_steps(written: Any, read: ValidatorFunctionWrapHandler) -> tuple[Step, ...]:
    """One step stands for a list of one; null for none, so that one architecture can do without the file's."""
    if isinstance(written, tuple):  # settings made in Python: steps already
        return written
    written = [] if written is None else written if isinstance(written, list) else [written]
    if len(written) > _MAX_STEPS:
        raise problem(f"may have at most {_MAX_STEPS} steps, got {len(written)}")
    steps = tuple(entry.step() for entry in read(tuple(written)))
    second = [position for position, step in enumerate(steps) if isinstance(step, Pca)][1:]
    if second:
        raise problem("may have pca once: a second one would only drop components of the first", second[0])
    return steps


Steps = TypeAliasType(
    "Steps",
    Annotated[
        tuple[_StepEntry, ...],
        Field(max_length=_MAX_STEPS),
        WrapValidator(_read_steps),
        PlainSerializer(lambda steps: [step.written() for step in steps]),
        OneOrMany(least=0),
    ],
)
