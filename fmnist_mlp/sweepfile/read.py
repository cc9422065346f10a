"""The sweep file: YAML text in, one frozen and validated `Sweep` out, and the list of trials that it asks for.

`load_sweep` reads a file and either returns a `Sweep` or raises one `SweepError` that lists every problem, each with
its line, the user's own line under it, what was expected and the nearest known name. What follows never sees a dict.

Three steps, each hidden from the others: `yaml_nodes` turns text into nodes that know their line; `_Reader` turns
nodes into settings and grids into architectures, with pydantic for types and bounds; the rest compares architectures
with each other. A key is added by adding a field to `SweepSettings` (one for the whole file), `Training` (also for one
architecture, and a list of values in a grid) or `Grid`: reading, messages, the JSON Schema and, for `Training`, the
fingerprint follow from the field.

`list_trials` gives each trial its fingerprint, the SHA-256 of everything that decides its numbers. What is known only
with the data (do the layers fit the images, does the stack fit into memory) is checked by `check_shapes`.
"""

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from fmnist_mlp.data import class_names
from fmnist_mlp.data import source as data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile import classifiers as baselines
from fmnist_mlp.sweepfile import layers as stacks
from fmnist_mlp.sweepfile import misreadings
from fmnist_mlp.sweepfile.nodes import Node, Problems, harmless, quoted, read_document, read_text
from fmnist_mlp.training import preprocess

NUMERICS_VERSION = 1  # part of every fingerprint: raise it when the arithmetic of a trial changes

MAX_LAYERS = 200
MAX_TRIALS = 100_000  # more than anybody trains; planning so many takes 1.2 s and 0.1 GB (Zen 5)
MAX_GRID_STACKS = 10_000
MAX_SEED = 2**31 - 1

NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_-])?"
# Windows opens a device, not a file, for these, whatever the extension.
_DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}

# Keras 3.15's own defaults.
_LEARNING_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "nadam": 0.001, "lion": 0.001}
_WEIGHT_DECAYS = {"adamw": 0.004}  # the others have none
# Variables of the size of the weights that an optimizer keeps (sgd: one more with momentum).
_OPTIMIZER_SLOTS = {"sgd": 0, "adam": 2, "adamw": 2, "rmsprop": 1, "nadam": 2, "lion": 1}


# ---- the settings of a sweep file: one field a key ----


@dataclass(frozen=True)
class IdxFolder:
    """A data set of one's own: a folder with four IDX files."""

    path: Path


def _read_dataset(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) and value in _DATASETS:
        return value
    if isinstance(value, dict) and set(value) == {"idx"} and isinstance(value["idx"], str) and value["idx"].strip():
        base = (info.context or {}).get("folder", Path())  # a relative folder lies beside the sweep file
        try:
            if value["idx"].isprintable():
                return IdxFolder(base / Path(value["idx"]).expanduser())
            problem = "must be a path of printable characters"
        except RuntimeError:  # ~somebody
            problem = "must begin with the home folder of somebody here"
        raise PydanticCustomError(
            "plain",
            "{problem}, got {folder}",
            {"problem": f"{{idx: FOLDER}} {problem}", "folder": quoted(value["idx"])},
        )
    if isinstance(value, IdxFolder):
        return value
    raise ValueError("not a data set")


def _read_seeds(value: Any) -> Any:
    """`5` stands for 0, 1, 2, 3, 4."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 10_000:
            raise ValueError("not a number of seeds")
        return tuple(range(value))
    if isinstance(value, list | tuple):
        if not value:
            raise PydanticCustomError("plain", "must list at least one seed, got []")
        seen = set()
        for position, seed in enumerate(value):
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
                raise PydanticCustomError(
                    "item", f"must be whole numbers from 0 to {MAX_SEED:,}", {"position": position}
                )
            if seed in seen:
                raise PydanticCustomError(
                    "plain", "must differ from each other, but {seed} is listed twice", {"seed": seed}
                )
            seen.add(seed)
        return tuple(value)
    raise ValueError("not seeds")


def _read_refit(value: Any) -> Any:
    """`true` stands for the best with the sweep's seeds, `all` for every architecture, `false` for none."""
    if isinstance(value, bool):
        return {} if value else None
    if value is None or (isinstance(value, str) and value != "all"):
        raise ValueError("not what refit takes")
    return {"which": "all"} if value == "all" else value


def _read_name(value: Any) -> Any:
    problem = name_problem(value) if isinstance(value, str) else None
    if problem:
        raise PydanticCustomError("plain", "{problem}", {"problem": problem})
    return value


def _read_class_names(value: Any) -> Any:
    if value is None or isinstance(value, tuple):
        return value
    if not isinstance(value, list):
        raise ValueError("not names")
    for position, name in enumerate(value):
        if problem := class_names.problem_with(name):
            quotes = "; write it in quotes" if name is not None and not isinstance(name, str | list | dict) else ""
            raise PydanticCustomError(
                "plain",
                "{problem}",
                {"problem": f"{problem}, got {_in_message(name)}{quotes}", "position": position},
            )
    if twice := class_names.first_twice(value):
        first, second = twice
        problem = f"must differ from each other, but {quoted(value[second])} names classes {first} and {second}"
        raise PydanticCustomError("plain", "{problem}", {"problem": problem, "position": second})
    if len(value) < 2:
        raise PydanticCustomError("plain", "must name each class, so at least two")
    return tuple(value)


def _read_preprocess(value: Any) -> Any:
    """One step stands for a list of one; null for none, so that one architecture can do without the file's."""
    if value is None:
        return ()
    if isinstance(value, tuple):  # settings made in Python: steps already
        return value
    written = value if isinstance(value, list) else [value]
    if len(written) > _MAX_STEPS:
        raise PydanticCustomError(
            "plain", "may have at most {most} steps, got {n}", {"most": _MAX_STEPS, "n": len(written)}
        )
    steps = []
    for position, each in enumerate(written):
        problem, step = None, None
        try:
            step = _read_step(each)
        except ValueError as error:
            problem = str(error)
        if isinstance(step, preprocess.Pca) and any(isinstance(before, preprocess.Pca) for before in steps):
            problem = "may have pca once: a second one would only drop components of the first"
        if problem:
            raise PydanticCustomError("plain", "{problem}", {"problem": problem, "position": position})
        steps.append(step)
    return tuple(steps)


def _read_step(written: Any) -> preprocess.Step:
    """Raises ValueError with what is wrong, to be put after the word `preprocess`."""
    keys = set(written) if isinstance(written, dict) else {written} if isinstance(written, str) else set()
    if keys == {"standardize"} and (written == "standardize" or written["standardize"] is None):
        return preprocess.Standardize()
    if isinstance(written, dict) and keys and keys <= {"center", "scale"}:
        center = _number(written.get("center", 0.0), "center", lambda x: -1000 <= x <= 1000, "from -1,000 to 1,000")
        scale = _number(written.get("scale", 1.0), "scale", lambda x: 1e-6 <= x <= 1000, "from 0.000001 to 1,000")
        return preprocess.Rescale(float(center), float(scale))
    if isinstance(written, dict) and "pca" in keys and keys <= {"pca", "whiten"}:
        components, whiten = written["pca"], written.get("whiten", False)
        if not isinstance(whiten, bool):
            raise ValueError(f"whiten must be true or false, got {_in_message(whiten)}")
        is_number = isinstance(components, int | float) and not isinstance(components, bool)
        is_whole = is_number and isinstance(components, int)
        if not is_number or not (1 <= components <= stacks.MAX_UNITS if is_whole else 0 < components < 1):
            raise ValueError(
                "pca must be a whole number of components, or the share of the variance that they keep, above 0 and "
                f"below 1, got {_in_message(components)}"
            )
        return preprocess.Pca(components, whiten)
    if keys & {"pca"}:
        raise ValueError(f"pca is written {{pca: 187}} or {{pca: 0.95, whiten: true}}, got {_in_message(written)}")
    unknown = [key for key in keys if isinstance(key, str) and key not in _STEP_WORDS]
    near = misreadings.did_you_mean(unknown[0], _STEP_WORDS) if len(unknown) == 1 else ""
    hint = near if "did you mean" in near else ""
    raise ValueError(f"steps are {_STEPS_IN_WORDS}, got {_in_message(written)}{hint}")


def _number(value: Any, name: str, is_allowed: Callable[[float], bool], words: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_allowed(value):
        raise ValueError(f"{name} must be a number {words}, got {_in_message(value)}")
    return value


def _in_message(value: Any) -> str:
    """A value as a person would have written it, in one short line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict) and value and all(isinstance(v, str | int | float | None) for v in value.values()):
        value = f"{{{', '.join(f'{key}: {_in_message(inner)}' for key, inner in value.items())}}}"
    elif isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = {None: "nothing", True: "true", False: "false"}[value] if isinstance(value, bool | None) else str(value)
    return harmless(text if len(text) <= 60 else f"{text[:57]}...")


_MAX_STEPS = 10
_STEP_WORDS = ("standardize", "center", "scale", "pca", "whiten")
_STEPS_IN_WORDS = "standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}"
_DATASETS = ("auto", "fashion_mnist", "synthetic")
_IDX_SCHEMA = {
    "type": "object",
    "properties": {"idx": {"type": "string", "minLength": 1, "description": "Folder with the four IDX files."}},
    "required": ["idx"],
    "additionalProperties": False,
}
Dataset = Annotated[
    SkipValidation[str | IdxFolder],
    BeforeValidator(_read_dataset),
    stacks.Expected("auto, fashion_mnist, synthetic or {idx: FOLDER}", choices=_DATASETS),
    WithJsonSchema({"anyOf": [{"type": "string", "enum": list(_DATASETS)}, _IDX_SCHEMA]}),
]
Seeds = Annotated[
    SkipValidation[tuple[int, ...]],
    BeforeValidator(_read_seeds),
    stacks.Expected("a whole number from 1 to 10,000 (how many), or a list of seeds such as [0, 1, 2]"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 10_000},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ]
        }
    ),
]
_STEP_SCHEMA = {
    "anyOf": [
        {"type": "string", "enum": ["standardize"]},
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
                        {"type": "integer", "minimum": 1, "maximum": stacks.MAX_UNITS},
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
Steps = Annotated[
    SkipValidation[tuple[preprocess.Step, ...]],
    BeforeValidator(_read_preprocess),
    WithJsonSchema(
        {"anyOf": [_STEP_SCHEMA, {"type": "array", "items": _STEP_SCHEMA, "maxItems": _MAX_STEPS}, {"type": "null"}]}
    ),
]
ClassNames = Annotated[
    SkipValidation[tuple[str, ...]],
    BeforeValidator(_read_class_names),
    stacks.Expected("a list of the names of the classes, in the order of the labels, such as [cat, dog]"),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": class_names.MAX_LENGTH},
            "minItems": 2,
            "uniqueItems": True,
        }
    ),
]
_NAME_SCHEMA = {"type": "string", "pattern": f"^{NAME_PATTERN}$", "maxLength": stacks.MAX_NAME_LENGTH}
Name = Annotated[str, BeforeValidator(_read_name), stacks.Expected("text"), WithJsonSchema(_NAME_SCHEMA)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class EarlyStopping(_Settings):
    """Stops a training that no longer improves, by validation only."""

    patience: int = Field(ge=0, le=100_000, description="Epochs without improvement before training stops.")
    monitor: Literal["val_loss", "val_accuracy"] = Field("val_loss", description="What has to improve.")
    min_delta: float = Field(0.0, ge=0, description="Smaller changes do not count as improvement.")
    restore_best_weights: bool = Field(True, description="Whether the weights of the best epoch are kept.")


class Augment(_Settings):
    """Random changes of the training images, new ones in each epoch; in this order."""

    horizontal_flip: bool = Field(False, description="Whether images are mirrored left to right, each by a coin.")
    vertical_flip: bool = Field(False, description="Whether images are mirrored top to bottom, each by a coin.")
    shift: int = Field(
        0, ge=0, le=1000, description="Most pixels that an image moves, up or down and left or right; zeros come in."
    )
    erase: float = Field(0.0, ge=0, le=1, description="Share of the images in which a random rectangle is set to 0.")
    mixup: float = Field(
        0.0,
        ge=0,
        le=100,
        description="alpha of the Beta(alpha, alpha) by which an image is mixed with another of its batch, and its "
        "label; 0 is none.",
    )


def _none_where_idle(augment: Augment | None) -> Augment | None:
    """Augmentation that changes nothing is none: the same trials."""
    return None if augment == Augment() else augment


SelectBy = Literal["val_accuracy", "val_loss", "cv_accuracy"]


class Training(_Settings):
    """How an architecture is trained; what the file leaves open holds its default, Keras's where it has one."""

    epochs: int = Field(20, ge=1, le=100_000, description="Passes over the training images.")
    batch_size: int = Field(32, ge=1, le=1_000_000, description="Images in one step of the optimizer.")
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "nadam", "lion"] = Field("adam", description="Optimizer.")
    learning_rate: float = Field(
        None,
        gt=0,
        le=1000,
        description="Learning rate; without it Keras's default: 0.01 for sgd, 0.001 for the others.",
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum; for sgd only.")
    weight_decay: float | None = Field(
        None, ge=0, le=1, description="Decoupled weight decay; without it Keras's default: 0.004 for adamw, else none."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of each label that is spread over all classes.")
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest global norm of the gradient; null is no limit."
    )
    schedule: Literal["constant", "cosine", "one_cycle"] = Field(
        "constant", description="How the learning rate moves from epoch to epoch; one_cycle has its own warm-up."
    )
    warmup_epochs: float = Field(
        0.0, ge=0, description="Epochs over which the learning rate rises from 0; may be a fraction, below epochs."
    )
    activation: stacks.ActivationName = Field(
        "relu", description="Activation of every Dense and convolution that names none."
    )
    validation_split: float = Field(
        0.2, gt=0, lt=1, description="Share of the training images kept for validation, stratified by class."
    )
    early_stopping: EarlyStopping | None = Field(None, description="When to stop before the last epoch; null is never.")
    preprocess: Steps = Field(
        (),
        description="Steps after the scaling of pixels to 0-1, fitted on the training images of each trial: "
        f"{_STEPS_IN_WORDS}; one, or a list in their order; null is none. They become layers of the exported model. "
        "(In a grid a list is one of values: write a list of lists.)",
    )
    augment: Annotated[Augment | None, AfterValidator(_none_where_idle)] = Field(
        None, description="Random changes of the training images, never of others; null is none."
    )
    threads: int = Field(1, ge=1, le=256, description="Cores that one trial computes on; more only for wide networks.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_keras_defaults(cls, given: Any) -> Any:
        optimizer = given.get("optimizer", "adam") if isinstance(given, dict) else None
        if not isinstance(optimizer, str) or optimizer not in _LEARNING_RATES:
            return given
        filled = dict(given)
        if filled.get("learning_rate") is None:
            filled["learning_rate"] = _LEARNING_RATES[optimizer]
        # No decay is 0 for adamw, which insists on a number, and None elsewhere, where Keras then computes nothing.
        decay = filled.get("weight_decay")
        is_zero = type(decay) in (int, float) and decay == 0
        if decay is None or (is_zero and optimizer not in _WEIGHT_DECAYS):
            filled["weight_decay"] = _WEIGHT_DECAYS.get(optimizer)
        return filled

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Training":
        """Rules between keys. Each names its keys, so that the reader can point at the line to change."""
        conflicts: list[tuple[tuple[str, ...], str]] = []
        if self.momentum and self.optimizer != "sgd":
            conflicts.append(
                (
                    ("momentum", "optimizer"),
                    f"momentum is for optimizer: sgd only, here it is {self.optimizer}; set it to 0",
                )
            )
        if self.warmup_epochs and self.schedule == "one_cycle":
            # One cycle rises by itself; a second ramp in front of it would be neither.
            conflicts.append(
                (
                    ("warmup_epochs", "schedule"),
                    "warmup_epochs does not go with schedule: one_cycle, which warms up by itself",
                )
            )
        if self.warmup_epochs >= self.epochs:
            conflicts.append(
                (
                    ("warmup_epochs", "epochs"),
                    f"warmup_epochs must be below epochs ({self.epochs}), got {self.warmup_epochs:g}",
                )
            )
        if self.augment is not None and self.augment.mixup and self.batch_size == 1:
            conflicts.append(
                (
                    ("augment", "batch_size"),
                    "mixup needs another image in the batch, but batch_size is 1; use 2 or more",
                )
            )
        if conflicts:
            raise PydanticCustomError("conflict", "settings that do not go together", {"conflicts": conflicts})
        return self


class TensorBoard(_Settings):
    """What is logged beside curves and pictures; decides no numbers, so it is no part of a trial."""

    histograms: bool = Field(
        False,
        description="Whether trials trained from now on log histograms of their weights and gradient norms, each "
        "epoch; for four layers some 0.1 s and 20 KB an epoch.",
    )


class Refit(_Settings):
    """What is trained again once validation has shown which architecture is the best."""

    which: Literal["best", "all"] = Field("best", description="The best architecture by select_by, or every one.")
    seeds: Seeds | None = Field(None, description="How many trainings, or a list of seeds; null is those of the sweep.")


class SweepSettings(_Settings):
    """The keys of a whole sweep, apart from `training`, `architectures` and `grid`."""

    dataset: Dataset = Field(
        "auto",
        description="auto: Fashion-MNIST, or a generated stand-in where it cannot be had; fashion_mnist: never the "
        "stand-in; synthetic: always; {idx: FOLDER}: your own images in the same four files.",
    )
    class_names: ClassNames | None = Field(
        None,
        description="Names of the classes, in the order of the labels; no part of a trial. Without them those of "
        "labels.txt beside your own IDX files, Fashion-MNIST's, or the numbers.",
    )
    name: Name | None = Field(None, description="Name of the sweep, and of its folder; without it the file's stem.")
    limit: int | None = Field(None, ge=1, le=10**9, description="Use only so many training images; null is all.")
    seeds: Seeds = Field((0, 1, 2, 3, 4), description="How many trainings of each architecture, or a list of seeds.")
    folds: int | None = Field(
        None,
        ge=2,
        le=50,
        description="Cross-validation over the training images: so many trainings for each seed, each validated by "
        "another part of them; null is one training, validated by validation_split.",
    )
    select_by: SelectBy | None = Field(
        None,
        description="What the best architecture is chosen by, never the test images; without it val_accuracy, or "
        "cv_accuracy where folds are asked for.",
    )
    refit: Annotated[
        Refit | None,
        BeforeValidator(_read_refit),
        stacks.Expected(
            "true (the best architecture), all (every one), false or a mapping such as {seeds: 5}", choices=("all",)
        ),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["all"]}, Refit.model_json_schema()]}),
    ] = Field(
        None,
        description="true: once all is trained, the best architecture by select_by is trained again, with every seed, "
        "on all training images, without a validation part; all: every architecture is. Their test figures stand in "
        "columns of their own. {seeds: 5, which: all} says more.",
    )
    ensemble: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="Seeds that are taken together: the table also says how good the mean of their probabilities is, "
        "for each so many of an architecture's trials (of its refits, where there are any; with folds, of the same "
        "fold); null is none.",
    )
    max_params: int | None = Field(
        None,
        ge=1,
        description="Stacks with more parameters are listed as over budget and not trained; null is no limit.",
    )
    tensorboard: TensorBoard = Field(TensorBoard(), description="What is logged beside curves and pictures.")


class Grid(_Settings):
    """Stacks of Dense layers in every combination of the values listed: each key takes one value or a list of them.

    These are the keys that make the layers. `after_each` and `max_params` may stand beside them, and every key of
    `Training`, with one value or a list too.

    Example: `{depth: [1, 2], units: [64, 32], shape: funnel}` -> `[64]`, `[32]`, `[64, 32]`, `[32, 16]`.
    """

    depth: int = Field(ge=1, le=MAX_LAYERS, description="Number of Dense layers.")
    units: int = Field(
        ge=1, le=stacks.MAX_UNITS, description="Units of the first Dense; shape says those of the others."
    )
    shape: Literal["constant", "funnel", "all"] = Field(
        "constant",
        description="constant: every Dense has the same units; funnel: each has half the units of the one before, "
        "rounded down, and a funnel that would come to 0 is left out; all: every combination of the units listed.",
    )


@dataclass(frozen=True)
class Overrides:
    """What `--epochs`, `--seeds` and `--limit` put in place of the file's own values, for a quick look."""

    epochs: int | None = None
    seeds: int | None = None
    limit: int | None = None

    @property
    def options(self) -> str:
        """As they are typed: `--epochs 2 --limit 1000`."""
        return " ".join(f"--{option} {value}" for option, value in self.given.items())

    @property
    def given(self) -> dict[str, int]:
        """Those that there are, by the name of the option, always in one order."""
        return {option: value for option, value in sorted(vars(self).items()) if value is not None}


@dataclass(frozen=True)
class Architecture:
    """A named layer stack with its effective training settings.

    Attributes:
        layers: as listed, with every activation resolved; `stacks.complete` adds what is automatic.
        line: where it, or the grid that it comes from, begins in the file, from 1.
        layer_lines: the line of each layer.
        key_lines: the line of each key of `training` that somebody gave, here or for the whole file.
        max_params: its own, else the sweep's; None is no limit. Decides whether it is trained, so no part of a trial.
        as_listed: the layers with the activations that the file itself gives them; none for a stack of a grid.
    """

    name: str
    layers: tuple[stacks.Layer, ...]
    training: Training
    line: int
    layer_lines: tuple[int, ...] = ()
    max_params: int | None = None
    key_lines: dict[str, int] = field(default_factory=dict, compare=False)
    as_listed: tuple[stacks.Layer, ...] = field(default=(), compare=False, repr=False)

    @property
    def in_short(self) -> str:
        """What the column `layers` says: `256-drop0.3-128`."""
        return stacks.stack_name(self.layers)


@dataclass(frozen=True)
class Baseline:
    """A classifier of scikit-learn. It stands wherever an architecture does: in a sweep, in a trial, in the table.

    Attributes:
        training: of it only what says which images it is trained on, and as what: `OF_A_BASELINE`.
        line: where it begins in the file, from 1.
        key_lines: the line of each of these keys that somebody gave, here or for the whole file.
        max_params: none; a budget of parameters says little of trees and neighbours.
    """

    name: str
    classifier: baselines.Classifier
    training: Training
    line: int
    key_lines: dict[str, int] = field(default_factory=dict, compare=False)
    max_params: None = None

    @property
    def in_short(self) -> str:
        """What the column `layers` says: `LogisticRegression(C=0.1)`."""
        return self.classifier.in_short()


# The keys of `Training` that concern a baseline; no other decides anything of it.
OF_A_BASELINE = ("validation_split", "preprocess")


class Sweep(SweepSettings):
    """A validated sweep file. `name` is always there, `seeds` are the seeds themselves, `select_by` is decided.

    Attributes:
        architectures: those listed, then what grids add to them, then the baselines.
        grid_stacks: how many stacks the grids expand to.
        grid_duplicates: how many of those are left out, being the same trials as another architecture.
        key_lines: the line of each key at the top of the file.
        doubts: lines and messages on what is hardly meant, as far as the file alone tells; `find_doubts` has them all.
        overrides: what the command line put in place of the file's own values, as far as it differs from them.
        file_limit: the file's own, where `limit` may be overridden.
        file_seeds: the same of `seeds`.
        file_refit_seeds: the same of `refit`; empty where it names none.
    """

    name: str
    select_by: SelectBy
    path: Path
    architectures: SkipValidation[tuple[Architecture | Baseline, ...]]
    grid_stacks: int = 0
    grid_duplicates: int = 0
    key_lines: Mapping[str, int] = Field({}, repr=False)
    doubts: tuple[tuple[int, str], ...] = ()
    text: str = Field("", repr=False)  # of the file, for messages that come later
    overrides: Overrides = Overrides()
    file_limit: int | None = None
    file_seeds: tuple[int, ...] = ()
    file_refit_seeds: tuple[int, ...] = ()

    @property
    def quick_look(self) -> Overrides:
        """What keeps this from being what the file asks for; more seeds than those of the file do not."""
        has_all_seeds = {*self.file_seeds, *self.file_refit_seeds} <= {*self.seeds}
        return replace(self.overrides, seeds=None) if has_all_seeds else self.overrides

    @property
    def is_quick_look(self) -> bool:
        return self.quick_look != Overrides()

    @property
    def folder_name(self) -> str:
        """Of its folders under results and logs; a quick look has its own: `architectures+epochs-2+limit-1000`."""
        return "+".join([self.name, *(f"{option}-{value}" for option, value in self.quick_look.given.items())])

    @property
    def title(self) -> str:
        """The name, and in words what is not as the file has it: `architectures, a quick look (2 epochs)`."""
        if self.is_quick_look:
            return f"{self.name}, a quick look ({self.overrides_in_words})"
        return f"{self.name} ({self.overrides_in_words})" if self.overrides.seeds else self.name

    @property
    def overrides_in_words(self) -> str:
        """`2 epochs, 1,000 training images, 1 seed (the file asks for 5)`; nothing where all is as in the file."""
        epochs, limit, seeds = self.overrides.epochs, self.overrides.limit, self.overrides.seeds
        words = [] if epochs is None else [f"{epochs:,} epoch{'s' * (epochs != 1)}"]
        words += [] if limit is None else [f"{limit:,} training image{'s' * (limit != 1)}"]
        if seeds is not None:
            others = ", ".join(map(str, self.file_seeds[:10]))
            are_nested = {*self.seeds} <= {*self.file_seeds} or {*self.file_seeds} <= {*self.seeds}
            asked_for = f"{len(self.file_seeds):,}" if are_nested else f"others: {others}"
            if not {*self.file_refit_seeds} <= {*self.seeds}:
                asked_for += f" and {len(self.file_refit_seeds):,} refits"
            words.append(f"{seeds:,} seed{'s' * (seeds != 1)}, the file asks for {asked_for}")
        return ", ".join(words)

    def with_images(self, train_images: int) -> Self:
        """The same once the data set is known: as many images as there are is no limit, here or in the file."""
        limit, file_limit = (
            None if limit is None or limit >= train_images else limit for limit in (self.limit, self.file_limit)
        )
        overrides = self.overrides
        if overrides.limit is not None:
            overrides = replace(overrides, limit=None if limit == file_limit else min(overrides.limit, train_images))
        return self.model_copy(update={"limit": limit, "file_limit": file_limit, "overrides": overrides})


@dataclass(frozen=True)
class Trial:
    """One training: an architecture with a seed (and a fold), and the settings that its fingerprint was made from.

    A baseline may stand in the architecture's place. `fold` counts from 0, of `settings["folds"]`; None without
    cross-validation.
    """

    architecture: Architecture | Baseline
    seed: int
    fold: int | None
    fingerprint: str
    settings: dict = field(repr=False)

    @property
    def is_refit(self) -> bool:
        """Whether it trains on all training images, with none for validation."""
        return "refit" in self.settings

    @property
    def in_words(self) -> str:
        """`64-32 seed 0 fold 1`."""
        refit = " refit" if self.is_refit else ""
        fold = "" if self.fold is None else f" fold {self.fold}"
        return f"{self.architecture.name}{refit} seed {self.seed}{fold}"


# ---- from a file to a Sweep ----


def load_sweep(path: str | Path, overrides: Overrides = Overrides()) -> Sweep:
    """Reads and validates a sweep file.

    Args:
        path: of the file; messages show it as it is given here.
        overrides: applied before rules between keys are checked.

    Raises:
        SweepError: with all problems of the file, one line each and the user's own line under it.
    """
    given = overrides.given
    _check_overrides(given)
    text = read_text(path)
    problems = Problems(str(path), text)
    root = read_document(text, problems)
    if root is None or not _is_mapping(root, problems):  # text that is no YAML says nothing about its settings
        raise problems.error()

    # Keys of one's own, a place for anchors.
    root = replace(root, value={key: entry for key, entry in root.value.items() if not key.startswith("x-")})
    reader = _Reader(problems, given)
    settings = reader.read_settings(root, Path(path).parent)
    listed, compared = reader.read_architectures(root), reader.read_baselines(root)
    _check_differ([*listed, *compared], problems, given)
    if not isinstance(settings["dataset"], IdxFolder):  # Fashion-MNIST and its stand-in are known without looking
        _report_pasted_ends(listed, *_FASHION_MNIST, problems)
    expanded = reader.read_grids(root)
    _check_refit(settings["refit"], [*listed, *expanded], problems)
    refit_seeds = len(settings["refit"].seeds or settings["seeds"]) if settings["refit"] else 0
    seeds = len(settings["seeds"]) * (settings["folds"] or 1) + refit_seeds
    trials = (len(listed) + len(expanded) + len(compared)) * seeds
    if trials > MAX_TRIALS:
        fewer = "seeds, folds or stacks" if settings["folds"] else "seeds or stacks"
        problems.add(None, f"asks for {trials:,} trials; at most {MAX_TRIALS:,} are allowed, use fewer {fewer}")
    if settings.get("name") is None:
        settings["name"] = _name_from_stem(Path(path), problems)
    problems.raise_if_any()
    added = _new_trials(expanded, [*listed, *compared])
    return Sweep.model_construct(
        **settings,
        path=Path(path),
        architectures=(*listed, *added, *compared),
        grid_stacks=len(expanded),
        grid_duplicates=len(expanded) - len(added),
        key_lines={key: line for key, (line, _) in root.value.items()},
        doubts=tuple(reader.doubts),
        text=text,
        **reader.of_the_file,
        overrides=Overrides(**{option: value for option, value in given.items() if option in reader.overridden}),
    )


UNKNOWN_SIZE = stacks.StackSize(params=None, trainable_params=None, flops=None)


def check_shapes(
    sweep: Sweep,
    image_shape: tuple[int, ...],
    num_classes: int,
    memory_limit_bytes: int | None = None,
    class_counts: Sequence[int] = (),
) -> dict[str, stacks.StackSize]:
    """Exact sizes of every architecture, by name, once the data set is known; a baseline's are known when it is fitted.

    Args:
        sweep: from `load_sweep`.
        image_shape: of one image, `(28, 28)`.
        num_classes: units of the output layer.
        memory_limit_bytes: refuse stacks whose weights, gradient and optimizer variables need more (float32), unless
            they are over their `max_params` and so never built.
        class_counts: training images of each class. Where they are known, what needs more of them is refused: images to
            validate with, PCA, a baseline.

    Returns:
        Parameters of the stack alone, FLOPs with the steps of `preprocess`. Behind `{pca: 0.95}` both are the most
        that they can be (`preprocess.has_open_size`): the records have the true ones.

    Raises:
        SweepError: with every stack that does not fit its images, their number or the memory.
    """
    problems = Problems(str(sweep.path), sweep.text)
    if sweep.class_names is not None and len(sweep.class_names) != num_classes:
        problems.add(
            sweep.key_lines.get("class_names"),
            f"class_names must name each of the {num_classes} classes (labels 0 to {num_classes - 1}), got "
            f"{len(sweep.class_names)} names",
        )
    sizes, reported, parts = {}, set(), {}
    for architecture in sweep.architectures:
        steps, split = architecture.training.preprocess, architecture.training.validation_split
        if class_counts and split not in parts:
            parts[split] = _parts_of_images(sweep, split, class_counts)
        train, validation = parts.get(split, (None, None))
        images = None if train is None else sum(train)
        misfits = _misfits_of_images(architecture, image_shape, train, validation)
        for key, message in misfits:
            line = architecture.key_lines.get(key, architecture.line)
            if (line, message) not in reported:  # else the whole file's key would be judged for each architecture
                problems.add(line, message)
            reported.add((line, message))
        if misfits:
            continue
        if isinstance(architecture, Baseline):
            sizes[architecture.name] = UNKNOWN_SIZE
            continue
        try:
            size = preprocess.count(steps, architecture.layers, image_shape, num_classes, images)
        except stacks.StackError as error:
            lines = architecture.layer_lines
            line = lines[error.index] if error.index is not None and lines else architecture.line
            has_pca = any(isinstance(step, preprocess.Pca) for step in steps)
            why = "; pca leaves no image, only its components" if has_pca else ""
            problems.add(line, f"{error}{why} (architecture '{architecture.name}')")
            continue
        sizes[architecture.name] = size
        _report_pasted_ends([architecture], image_shape, num_classes, problems)
        training = architecture.training
        needed = training_bytes(architecture, size)
        if memory_limit_bytes is not None and needed > memory_limit_bytes and not _is_over_budget(architecture, size):
            problems.add(
                architecture.line,
                f"{size.params:,} parameters need about {_in_words(needed)} to train with {training.optimizer}, "
                f"more than the {_in_words(memory_limit_bytes)} there are; use fewer units "
                f"(architecture '{architecture.name}')",
            )
    problems.raise_if_any()
    return sizes


def _parts_of_images(sweep: Sweep, validation_split: float, class_counts: Sequence[int]) -> tuple[list, list]:
    """Training and validation images of each class in the trial that trains on the fewest.

    Raises:
        SweepError: there are more folds than images.
    """
    images = min(sweep.limit or math.inf, sum(class_counts))
    if sweep.folds is not None and sweep.folds > images:
        raise SweepError(f"{sweep.path}: folds must be at most the {images:,} training images, got {sweep.folds}")
    parts = data.count_parts(class_counts, sweep.limit, validation_split, sweep.folds)
    return parts[0].tolist(), parts[1].tolist()


def find_doubts(sweep: Sweep, image_shape: tuple[int, ...], num_classes: int) -> list[str]:
    """What is allowed and yet hardly meant, for a warning: each with its line, as the messages of `SweepError` have it.

    Writing the activation out says that a layer is meant as it stands, and silences the warning on it.
    """
    doubts = Problems(str(sweep.path), sweep.text)
    for line, message in sweep.doubts:
        doubts.add(line, message)
    for architecture in sweep.architectures:
        if isinstance(architecture, Architecture) and architecture.as_listed:
            for line, message in _doubts_of_layers(architecture, image_shape, num_classes):
                doubts.add(line, f"{message} (architecture '{architecture.name}')")
    for architecture in sweep.architectures:
        for key, message in _doubts_of_training(architecture.training):
            doubts.add(architecture.key_lines.get(key, architecture.line), message)
    if sweep.class_names is not None and isinstance(sweep.dataset, str):
        known = data.CLASS_NAMES
        for label, name in enumerate(sweep.class_names):
            if name in known and known.index(name) != label:
                message = (
                    f"class_names calls class {label} '{name}', which is class {known.index(name)} of Fashion-MNIST; "
                    "its names are known: remove the key"
                )
                doubts.add(sweep.key_lines.get("class_names"), message)
                break
    return doubts.lines("doubts")


def _doubts_of_training(training: Training) -> Iterator[tuple[str, str]]:
    """Keys, and what is hardly meant by their values."""
    step = next(iter(training.preprocess), None)
    if isinstance(step, preprocess.Rescale) and (abs(step.center) > 1 or not 0.01 < step.scale <= 2):
        yield (
            "preprocess",
            "preprocess gets pixels between 0 and 1, not 0 to 255: to bring them to [-1, 1] write "
            "preprocess: {center: 0.5, scale: 0.5}",
        )
    split = training.validation_split
    if split > 0.5:
        yield (
            "validation_split",
            f"validation_split is the share of the images that validates: {split:g} leaves {1 - split:g} to train on; "
            f"for the other way round write validation_split: {1 - split:g}",
        )
    if training.learning_rate >= 1 and training.optimizer != "sgd":
        yield (
            "learning_rate",
            f"learning_rate: {training.learning_rate:g} moves every weight by about so much in a step of "
            f"{training.optimizer}; usual are 1e-4 to 1e-2",
        )


_FASHION_MNIST = (28, 28), 10  # shape of an image, number of classes


def _report_pasted_ends(
    architectures: Iterable[Architecture], image_shape: tuple[int, ...], num_classes: int, problems: Problems
) -> None:
    for architecture in architectures:
        for line, message in _pasted_ends(architecture, image_shape, num_classes):
            problems.add(line, f"{message} (architecture '{architecture.name}')")


def _pasted_ends(
    architecture: Architecture, image_shape: tuple[int, ...], num_classes: int
) -> Iterator[tuple[int, str]]:
    """Lines and messages on input and output layers that were pasted along, as only the data can tell."""
    layers, lines = architecture.as_listed, architecture.layer_lines
    if not layers:
        return
    *others, last = layers
    before = others[-1] if others else None
    ends = isinstance(last, stacks.Activation | stacks.Dense) and last.activation in ("linear", "sigmoid")
    if _units(layers[end := _end(layers)]) == num_classes and layers[end].activation in ("softmax", "log_softmax"):
        yield lines[end], f"{misreadings.PASTED_OUTPUT}; it has {num_classes} units, one for each class"
    elif ends and isinstance(last, stacks.Activation) and _units(before) in (1, num_classes):
        if before.activation in (None, "linear"):
            yield (
                lines[-1],
                f"{misreadings.PASTED_OUTPUT}, and the Dense of as many units as there are classes before it",
            )
    elif ends and _units(last) == num_classes:
        yield lines[-1], f"{misreadings.PASTED_OUTPUT}; it has {num_classes} units, one for each class"
    elif _is_open(last, num_classes) and len(layers) > 1 and _is_open(_first_dense(layers), math.prod(image_shape)):
        yield (
            lines[0],
            f"the input ({math.prod(image_shape)}) and the output layer ({num_classes}) are added for you: remove both",
        )


def _doubts_of_layers(
    architecture: Architecture, image_shape: tuple[int, ...], num_classes: int
) -> Iterator[tuple[int, str]]:
    layers, lines = architecture.as_listed, architecture.layer_lines
    pixels, keep = math.prod(image_shape), "to keep it, write {Dense: {units: %d, activation: %s}}"
    activation = architecture.training.activation
    if layers and _is_open(layers[end := _end(layers)], num_classes, 1):
        units = layers[end].units
        which = "one for each class" if units == num_classes else "of which all classes would have to be told"
        yield (
            lines[end],
            f"the last hidden layer has {units:,} unit{'s' * (units > 1)}, {which}. If it is the output layer: that is "
            f"added for you, remove it; {keep % (units, activation)}",
        )
    if layers and _is_open(_first_dense(layers), pixels):
        yield (
            lines[0],
            f"the first hidden layer has {pixels:,} units, as many as an image has pixels. If it is the input: that is "
            f"known from the images, remove it; {keep % (pixels, activation)}",
        )
    for position, layer in enumerate(layers):
        if isinstance(layer, stacks.BatchNormalization) and layer.momentum <= 0.3:
            yield (
                lines[position],
                f"BatchNormalization keeps {layer.momentum:g} of its averages at each step, as Keras counts; "
                f"PyTorch's momentum {layer.momentum:g} is written momentum: {1 - layer.momentum:g} here",
            )
        is_activation = isinstance(layer, stacks.Activation | stacks.LeakyReLU | stacks.PReLU | stacks.ELU)
        if not is_activation or activation == "linear":
            continue
        between = list(itertools.takewhile(_passes_on, reversed(layers[:position])))
        weighted = next(iter(layers[: position - len(between)][::-1]), None)
        is_twice = not between and getattr(layer, "activation", None) == activation == "relu"  # relu of relu is relu
        if hasattr(weighted, "use_bias") and weighted.activation is None and not is_twice:
            name, own = type(weighted).__name__, getattr(layer, "activation", type(layer).__name__)
            yield (
                lines[position - len(between) - 1],
                f"this {name} has {activation} of its own, as {name} without a word has here, and {own} follows; "
                "for the second alone give it activation: linear",
            )


def _end(layers: Sequence[stacks.Layer]) -> int:
    """Where the last layer stands that computes something; the first where none does."""
    position = len(layers) - 1
    while position > 0 and (_passes_on(layers[position]) or layers[position] == stacks.Activation(activation="linear")):
        position -= 1
    return position


def _first_dense(layers: Sequence[stacks.Layer]) -> stacks.Layer | None:
    return next((layer for layer in layers if not isinstance(layer, stacks.Flatten)), None)


def _units(layer: stacks.Layer | None) -> int | None:
    return layer.units if isinstance(layer, stacks.Dense) else None


def _is_open(layer: stacks.Layer | None, *units: int) -> bool:
    """Whether it is a Dense of so many units that the file gives no activation, as `10` and `{Dense: 10}` do."""
    return _units(layer) in units and layer.activation is None


def _passes_on(layer: stacks.Layer) -> bool:
    """Whether it hands on what comes, but for normalising it or leaving out some."""
    kinds = (stacks.BatchNormalization, stacks.LayerNormalization, stacks.Dropout, stacks.AlphaDropout)
    return isinstance(layer, (*kinds, stacks.GaussianNoise))


def _misfits_of_images(
    architecture: Architecture | Baseline,
    image_shape: tuple[int, ...],
    train: list[int] | None,
    validation: list[int] | None,
) -> list[tuple[str, str]]:
    """Settings that do not fit the images: the key, and what is wrong. `train` and `validation` count each class."""
    found, training = [], architecture.training
    if validation is not None and not sum(validation):
        enough = max(2 * sum(count > 0 for count in train), math.ceil(1 / training.validation_split))
        problem = (
            f"validation_split {training.validation_split:g} of {sum(train):,} training images leaves none to validate "
            f"with, for each class keeps one to train on; use {enough:,} images or more (limit), or a larger share"
        )
        return [("validation_split", problem)]
    try:
        preprocess.input_shape_of(training.preprocess, image_shape, None if train is None else sum(train))
    except stacks.StackError as error:
        found.append(("preprocess", f"preprocess {error}"))
    side = min(image_shape)
    if training.augment is not None and training.augment.shift >= side:
        found.append(
            ("augment", f"augment shift must be below the images' {side} pixels, got {training.augment.shift}")
        )
    if train is not None and isinstance(architecture, Baseline):
        problem = architecture.classifier.misfit([count for count in train if count])
        found += [("", f"{problem} (baseline '{architecture.name}')")] if problem else []
    return found


def training_bytes(architecture: Architecture, size: stacks.StackSize) -> int:
    """Memory that the weights of a stack take in training, in float32: their gradient and optimizer variables too."""
    training = architecture.training
    slots = _OPTIMIZER_SLOTS[training.optimizer] + (training.optimizer == "sgd" and training.momentum > 0)
    return 4 * size.params * (1 + slots + 1)


def over_budget(sweep: Sweep, sizes: Mapping[str, stacks.StackSize]) -> frozenset[str]:
    """Names of the architectures with more parameters than their `max_params`; `sizes` are those of `check_shapes`."""
    return frozenset(item.name for item in sweep.architectures if _is_over_budget(item, sizes[item.name]))


def list_trials(
    sweep: Sweep, *, data_identity: str, plain_fit: bool = False, skip: Collection[str] = frozenset()
) -> list[Trial]:
    """Every trial that chooses among a sweep's architectures: these in their order, seeds inside, folds inside those.

    What is trained again after the choice is listed by `list_refits`.

    Args:
        sweep: from `load_sweep`.
        data_identity: what `data` says the arrays are; part of each fingerprint.
        plain_fit: whether Keras's own loop is asked for (`--plain-fit`); convolutional stacks always take it.
        skip: names of architectures to leave out, those of `over_budget`.
    """
    trials = []
    folds = (None,) if sweep.folds is None else range(sweep.folds)
    for architecture in sweep.architectures:
        if architecture.name in skip:
            continue
        # A sweep may have tens of thousands of trials: what all those of an architecture share is made once.
        shared = canonical_settings(
            architecture,
            data_identity=data_identity,
            limit=sweep.limit,
            seed=sweep.seeds[0],
            fold=folds[0],
            folds=sweep.folds,
            plain_fit=plain_fit,
        )
        for seed in sweep.seeds:
            for fold in folds:
                settings = {**shared, "seed": seed}
                if fold is not None:
                    settings["fold"] = fold
                trials.append(Trial(architecture, seed, fold, fingerprint(settings), settings))
    return trials


def list_refits(
    sweep: Sweep,
    architectures: Iterable[Architecture | Baseline],
    *,
    data_identity: str,
    plain_fit: bool = False,
) -> list[Trial]:
    """The trials that train these architectures on all training images, one a seed; arguments as in `list_trials`."""
    trials = []
    for architecture in architectures:
        for seed in sweep.refit.seeds or sweep.seeds:
            settings = canonical_settings(
                architecture,
                data_identity=data_identity,
                limit=sweep.limit,
                seed=seed,
                plain_fit=plain_fit,
                refit=True,
            )
            trials.append(Trial(architecture, seed, None, fingerprint(settings), settings))
    return trials


def canonical_settings(
    architecture: Architecture | Baseline,
    *,
    data_identity: str,
    limit: int | None,
    seed: int,
    fold: int | None = None,
    folds: int | None = None,
    plain_fit: bool = False,
    refit: bool = False,
) -> dict[str, Any]:
    """Everything that decides a trial's numbers, as plain JSON values; nothing else (no names, paths, lines).

    Layers stand with all their arguments. Training settings stand only where they differ from their default, but for
    the four that everybody asks about, so that a key of a later version leaves the fingerprints of old trials alone.
    `fold` and `folds` stand only in a cross-validation, which has no `validation_split`: the folds say what validates.
    `refit` stands only where nothing validates.
    A baseline has its classifier in place of layers, with the arguments that differ from their defaults.
    """
    settings = {
        "training": _canonical_training(architecture.training),
        "data": data_identity,
        "limit": limit,
        "seed": seed,
        "numerics": NUMERICS_VERSION,
    }
    if isinstance(architecture, Baseline):
        settings |= _canonical_classifier(architecture.classifier)
        settings["training"] = {key: v for key, v in settings["training"].items() if key in OF_A_BASELINE}
    else:
        plain = plain_fit or stacks.is_convolutional(architecture.layers)
        settings |= {
            "layers": [_canonical_layer(layer) for layer in architecture.layers],
            "backend": "tensorflow",
            "loop": "plain" if plain else "compiled",
        }
    if folds is not None:
        settings["training"].pop("validation_split", None)
        settings |= {"fold": fold, "folds": folds}
    if refit:
        settings["training"].pop("validation_split", None)
        settings["refit"] = True
    return settings


def fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `settings`, in hexadecimal."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """JSON Schema of a sweep file, for editors; `architectures.schema.json` holds it."""
    training = _object_schema(Training)
    training_keys = {key: {"$ref": f"#/properties/training/properties/{key}"} for key in training["properties"]}
    architecture = {
        "type": "object",
        "description": "A named architecture; any key of training may stand here too and then holds for it alone.",
        "properties": {
            "name": {**_NAME_SCHEMA, "description": "Name in tables and TensorBoard; without it made from the layers."},
            "layers": {"$ref": "#/$defs/layers"},
            "max_params": {"$ref": "#/properties/max_params"},
            **training_keys,
        },
        "required": ["layers"],
        "additionalProperties": False,
    }
    settings = _object_schema(SweepSettings)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",  # the draft that YAML plug-ins of editors know best
        "title": "A sweep of Keras architectures over Fashion-MNIST",
        "type": "object",
        "properties": {
            **settings["properties"],
            "training": {**training, "description": "Settings of every architecture, unless it says otherwise."},
            "architectures": {
                "type": "array",
                "description": "What to train: lists of layers, or mappings with layers and more.",
                "minItems": 1,
                "items": {"anyOf": [{"$ref": "#/$defs/layers"}, {"$ref": "#/$defs/architecture"}]},
            },
            "baselines": {
                "type": "array",
                "description": "Classifiers of scikit-learn to compare with: names, or mappings with arguments.",
                "minItems": 1,
                "items": {
                    "anyOf": [{"type": "string", "enum": [*baselines.CLASSIFIERS]}, {"$ref": "#/$defs/baseline"}]
                },
            },
            "grid": {
                "description": "What to train in every combination of the values listed; or a list of such grids.",
                "anyOf": [
                    {"$ref": "#/$defs/grid"},
                    {"type": "array", "items": {"$ref": "#/$defs/grid"}, "minItems": 1},
                ],
            },
        },
        "anyOf": [{"required": [key]} for key in ("architectures", "grid", "baselines")],
        "patternProperties": {
            "^x-": {"description": "Ignored: a place for anchors of your own, as x-mine: &mine {...}."}
        },
        "additionalProperties": False,
        "$defs": {
            "architecture": architecture,
            "baseline": _baseline_schema(training_keys),
            "grid": _grid_schema(training_keys),
            "layers": {
                "type": "array",
                "description": "Hidden layers, first to last; Flatten and the output layer are added automatically.",
                "items": {"$ref": "#/$defs/layer"},
                "maxItems": MAX_LAYERS,
            },
            "layer": _layer_schema(),
        },
    }


# Of the words that pandas takes for missing, those that a name could be.
_READ_AS_MISSING = {"na", "nan", "null", "none"}


def name_problem(name: str) -> str | None:
    """What is wrong with a name for a sweep or an architecture; None if nothing is."""
    if name.startswith("_"):
        return f"must not begin with _, such names are our own; got {quoted(name)}"
    if len(name) > stacks.MAX_NAME_LENGTH:
        return f"must be at most {stacks.MAX_NAME_LENGTH} characters long, got {len(name)}"
    if not re.fullmatch(NAME_PATTERN, name):
        return (
            "must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', "
            f"got {quoted(name)}"
        )
    if name.split(".")[0].lower() in _DEVICE_NAMES:
        return f"must not be {quoted(name)}, which Windows keeps for a device"
    if name.lower() in _READ_AS_MISSING:
        return f"must not be {quoted(name)}, which pandas.read_csv takes for a missing value"
    return None


# The one place that says how `Sweep.folder_name` looks.
_FOLDER_NAME = re.compile(
    rf"(?P<name>{NAME_PATTERN})(\+epochs-(?P<epochs>\d{{1,9}}))?(\+limit-(?P<limit>\d{{1,10}}))?"
    r"(\+seeds-(?P<seeds>\d{1,9}))?"
)


def read_folder_name(text: str) -> tuple[str, Overrides] | None:
    """The sweep's name and what was overridden, from what `Sweep.folder_name` gives; None for any other text."""
    parts = _FOLDER_NAME.fullmatch(text)
    if parts is None or name_problem(parts["name"]) is not None:
        return None
    return parts["name"], Overrides(**{key: int(parts[key]) for key in ("epochs", "limit", "seeds") if parts[key]})


# ---- words for messages ----


def _listed(names: Sequence[str], word: str = "or") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _in_words(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:,.1f} MiB"


# ---- nodes to settings ----

_WithArguments = TypeVar("_WithArguments", bound=stacks.Layer | baselines.Classifier)
_GRID_EXAMPLE = "{depth: [1, 2], units: [32, 64]}"


class _Reader:
    """Turns nodes into settings; what it cannot use it reports and leaves out, so that one slip gives one message."""

    def __init__(self, problems: Problems, overrides: dict[str, int]):
        self._problems = problems
        self._overrides = overrides
        self.overridden: set[str] = set()  # those of the overrides that are not what the file says anyway
        self.of_the_file: dict[str, Any] = {}  # what `Sweep` remembers of the file's own values
        self._training: dict[str, tuple[int, Node]] = {}  # the valid keys of the file's `training`
        self.doubts: list[tuple[int, str]] = []
        self.training_is_sound = True  # else rules between keys would judge what the user did not mean
        self._folds: int | None = None
        self._max_params: int | None = None

    def read_settings(self, root: Node, folder: Path) -> dict[str, Any]:
        """The top-level keys of `SweepSettings`, complete with defaults; keeps what architectures and grids inherit."""
        known = [*SweepSettings.model_fields, "training", "architectures", "grid", "baselines"]
        self._report_unknown(root, known, "top")
        own = {key: entry for key, entry in root.value.items() if key in SweepSettings.model_fields}
        valid = self._read_fields(SweepSettings, own, "", context={"folder": folder})
        settings = SweepSettings.model_validate(
            {key: node.plain() for key, (_, node) in valid.items()}, context={"folder": folder}
        )
        values = {name: getattr(settings, name) for name in SweepSettings.model_fields}
        line, node = valid.get("seeds", (0, Node(None, 0)))
        if type(node.value) is int and node.value in _LIKELY_SEEDS and "seeds" not in self._overrides:
            self.doubts.append(
                (
                    line,
                    f"seeds: {node.value} asks for {node.value:,} trainings of each architecture, with seeds 0 to "
                    f"{node.value - 1:,}; for the one seed {node.value} write seeds: [{node.value}]",
                )
            )
        self._override(values)
        values["select_by"] = self._decide_select_by(values, own)
        self._check_folds(values, own)
        self._folds, self._max_params = values["folds"], values["max_params"]

        line, node = root.value.get("training", (None, Node(None, 1)))
        if isinstance(node.value, dict):
            unknown = self._report_unknown(node, list(Training.model_fields), "training", where=" in training")
            own = {key: entry for key, entry in node.value.items() if key in Training.model_fields}
            self._training = self._read_fields(Training, own, "")
            self._report_idle_split(own)
            self.training_is_sound = not unknown and len(self._training) == len(own)
        elif node.value is not None:
            self._problems.add(line, f"training must be a mapping such as {{epochs: 20}}, got {node.shown()}")
            self.training_is_sound = False
        return values

    def _override(self, values: dict[str, Any]) -> None:
        """Put `--seeds` and `--limit` in place of the file's values, and remember those."""
        seeds, refit = range(self._overrides.get("seeds", 0)), values["refit"]
        self.of_the_file = {"file_seeds": values["seeds"], "file_limit": values["limit"]}
        self.of_the_file["file_refit_seeds"] = (refit and refit.seeds) or ()
        if seeds and {*seeds} != {*values["seeds"]}:
            self.overridden.add("seeds")
            values["seeds"] = tuple(seeds)
            if refit is not None:
                values["refit"] = refit.model_copy(update={"seeds": None})
        if "limit" in self._overrides and values["limit"] != self._overrides["limit"]:
            self.overridden.add("limit")
            values["limit"] = self._overrides["limit"]

    def _decide_select_by(self, values: dict[str, Any], own: dict[str, tuple[int, Node]]) -> SelectBy:
        if values["select_by"] is None:
            return "val_accuracy" if values["folds"] is None else "cv_accuracy"
        # Folds that are there but wrong are reported already.
        if values["select_by"] == "cv_accuracy" and ("folds" not in own or own["folds"][1].value is None):
            self._problems.add(
                own["select_by"][0],
                "select_by: cv_accuracy needs folds; add a line such as folds: 5, or select by val_accuracy",
            )
        return values["select_by"]

    def _check_folds(self, values: dict[str, Any], own: dict[str, tuple[int, Node]]) -> None:
        folds, limit = values["folds"], values["limit"]
        if folds is not None and limit is not None and folds > limit:
            where = ", with --limit" if "limit" in self._overrides else ""
            self._problems.add(own["folds"][0], f"folds must be at most limit ({limit:,}), got {folds}{where}")

    def _report_idle_split(self, own: dict[str, tuple[int, Node]], suffix: str = "") -> None:
        """A share for validation that decides nothing is a misunderstanding: better said than ignored."""
        if self._folds is not None and "validation_split" in own:
            self._problems.add(
                own["validation_split"][0],
                f"validation_split does not go with folds: each fold keeps 1/{self._folds} for validation{suffix}",
            )

    def read_architectures(self, root: Node) -> list[Architecture]:
        line, node = root.value.get("architectures", (None, None))
        if node is None:
            sources = ["architectures", "grid", "baselines"]
            likely = any(misreadings.nearest(key, sources) for key in root.value)
            if not likely:  # else it is there, or a misspelt key, which is reported already
                self._problems.add(
                    None, "'architectures:' is missing, the list of layer stacks to train (or 'grid:', which makes one)"
                )
            return []
        if not isinstance(node.value, list) or not node.value:
            self._problems.add(
                line,
                f"architectures must be a list of layer stacks, such as '- [64, 32]' in its own line, "
                f"got {node.shown()}{misreadings.architectures_hint(node)}",
            )
            return []
        if hint := misreadings.architectures_hint(node):
            self._problems.add(
                line, f"architectures must be a list of layer stacks, each a list itself, got numbers alone{hint}"
            )
            return []
        read = (self._read_architecture(item, number) for number, item in enumerate(node.value, start=1))
        return [architecture for architecture in read if architecture is not None]

    def _read_architecture(self, node: Node, number: int) -> Architecture | None:
        """A list of layers, or a mapping with `layers`, perhaps `name`, and keys of `Training`; None if unusable."""
        if isinstance(node.value, list):
            node = replace(node, value={"layers": (node.line, node)})
        if not isinstance(node.value, dict):
            hint = f"; write - [{node.value}]" if type(node.value) is int else misreadings.architectures_hint(node)
            self._problems.add(
                node.line,
                f"an architecture is a list of layers, such as [64, 32], or a mapping with layers, "
                f"got {node.shown()}{hint}",
            )
            return None
        entries = node.value
        if len(entries) == 1 and next(iter(entries)) in stacks.LAYERS:
            self._problems.add(
                node.line, f"an architecture is a list of layers; write - [{{{next(iter(entries))}: ...}}], in brackets"
            )
            return None
        name, named = self._read_own_name(entries)
        suffix = f" (architecture '{name}')" if name else f" (architecture number {number})"
        if "layers" in entries:
            raw, layer_lines = self._read_layers(entries["layers"][1], suffix)
        else:
            raw, layer_lines = None, ()
        if raw is not None and name is None and named is None:
            suffix = f" (architecture '{stacks.stack_name(raw, default_activation=None)}')"
        known = ["name", "layers", "max_params", *Training.model_fields]
        unknown = self._report_unknown(node, known, "architecture", suffix)
        if "layers" not in entries and not unknown:
            self._problems.add(node.line, f"layers is missing, a list such as layers: [64, 32]{suffix}")

        own = {key: entry for key, entry in entries.items() if key in Training.model_fields}
        valid = self._read_fields(Training, own, suffix)
        self._report_idle_split(own, suffix)
        max_params = self._read_max_params(entries, suffix)
        if unknown or len(valid) < len(own) or not self.training_is_sound:
            return None
        training, conflicts = self._effective_training(own)
        for conflict in conflicts:
            self._problems.add(conflict.line, conflict.message + ("" if conflict.is_inherited else suffix))
        if raw is None or training is None or (named is not None and name is None):
            return None
        layers = tuple(layer.with_default_activation(training.activation) for layer in raw)
        if name is None:
            name = _automatic_name(stacks.stack_name(raw, default_activation=None), _own_in_name(own, training))
        key_lines = {key: line for key, (line, _) in (self._training | own).items()}
        self._report_softmax(layers, key_lines, node.line, suffix if "activation" in own else "")
        return Architecture(name, layers, training, node.line, layer_lines, max_params, key_lines, raw)

    def _report_softmax(
        self, layers: Sequence[stacks.Layer], key_lines: dict[str, int], line: int, suffix: str
    ) -> None:
        """`activation: softmax`, meant for the output layer, would stand on every hidden one."""
        if layers and getattr(layers[-1], "activation", None) in ("softmax", "log_softmax"):
            self._problems.add(
                key_lines.get("activation", line),
                "activation is that of the hidden layers, and softmax would end them: the output layer is added for "
                f"you, with its softmax: remove it{suffix}",
            )

    def _read_own_name(self, entries: dict[str, tuple[int, Node]]) -> tuple[str | None, Node | None]:
        """The name if it is given and valid, and its node if it is given at all."""
        line, node = entries.get("name", (None, None))
        if node is None or node.value is None:
            return None, None
        if not isinstance(node.value, str):
            # 64 or 1e-3 as a name: YAML sees a number, the user sees a name.
            quotes = f"; write it in quotes: '{node.source}'" if node.source else ""
            self._problems.add(line, f"name must be text, got {node.shown()}{quotes}")
            return None, node
        problem = name_problem(node.value)
        if problem:
            self._problems.add(line, f"name {problem}")
        return (None if problem else node.value), node

    def _read_max_params(self, entries: dict[str, tuple[int, Node]], suffix: str, subject: str = "") -> int | None:
        """The architecture's own limit, which null lifts, else the sweep's."""
        own = {key: entry for key, entry in entries.items() if key == "max_params"}
        valid = self._read_fields(SweepSettings, own, suffix, subject)
        return valid["max_params"][1].value if valid else self._max_params

    def _read_layers(self, node: Node, suffix: str) -> tuple[tuple[stacks.Layer, ...] | None, tuple[int, ...]]:
        if not isinstance(node.value, list):
            hint = misreadings.layers_hint(node)
            self._problems.add(node.line, f"layers must be a list, such as [64, 32], got {node.shown()}{hint}{suffix}")
            return None, ()
        if len(node.value) > MAX_LAYERS:
            self._problems.add(node.line, f"at most {MAX_LAYERS} layers are allowed, got {len(node.value):,}{suffix}")
            return None, ()
        pasted = misreadings.pasted_output(node.value)
        if pasted:
            self._problems.add(node.value[pasted[0]].line, f"{pasted[1]}{suffix}")
        items = node.value[: pasted[0]] if pasted else node.value
        layers = [self._read_layer(item, suffix) for item in items]
        if pasted or any(layer is None for layer in layers):
            return None, ()
        return tuple(layers), tuple(item.line for item in node.value)

    def _read_layer(self, node: Node, suffix: str) -> stacks.Layer | None:
        """An integer, a layer's name, or one name with its arguments."""
        value, name, arguments = node.value, None, {}
        if type(value) is int:
            name, arguments = "Dense", {"units": (node.line, node)}
        elif isinstance(value, str):
            name = value
        elif isinstance(value, dict) and len(value) == 1:
            (name, (_, inner)) = next(iter(value.items()))
            if isinstance(inner.value, dict):
                arguments = inner.value
            elif inner.value is not None:
                arguments = {None: (inner.line, inner)}
        elif isinstance(value, dict) and value:
            first = next((key for key in value if key in stacks.LAYERS), "Dense")
            self._problems.add(
                node.line,
                f"a layer is one name with its arguments in braces, such as {stacks.LAYERS[first].example}, "
                f"got {len(value)} keys ({quoted(', '.join(value))[1:-1]}){misreadings.layer_hint(node)}{suffix}",
            )
            return None
        else:
            self._problems.add(
                node.line,
                "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as "
                f"{{Dropout: 0.3}}, got {node.shown()}{misreadings.layer_hint(node)}{suffix}",
            )
            return None
        if name not in stacks.LAYERS:
            hint = misreadings.layer_hint(node) or misreadings.did_you_mean(name, stacks.LAYERS)
            self._problems.add(node.line, f"unknown layer {quoted(name)}{hint}{suffix}")
            return None
        layer = stacks.LAYERS[name]
        if None in arguments:
            if layer.shorthand is None:
                known = ", ".join(layer.model_fields) or "none"
                self._problems.add(
                    node.line,
                    f"{name} takes its arguments by name ({known}), as {layer.example}, "
                    f"got {arguments[None][1].shown()}{suffix}",
                )
                return None
            arguments = {layer.shorthand: arguments[None]}
        return self._read_arguments(layer, arguments, node.line, suffix)

    def _read_arguments(
        self, layer: type[_WithArguments], arguments: dict[str, tuple[int, Node]], line: int, suffix: str
    ) -> _WithArguments | None:
        """A layer, or a classifier, with these arguments."""
        subject = _spoken(layer.__name__)
        known = list(layer.model_fields)
        unknown = [key for key in arguments if key not in known]
        for key in unknown:
            hint = misreadings.argument_hint(subject, key, known)
            self._problems.add(arguments[key][0], f"{subject} has no argument {quoted(key)}{hint}{suffix}")
        valid = self._read_fields(
            layer, {key: entry for key, entry in arguments.items() if key in known}, suffix, subject + " "
        )
        missing = [key for key, info in layer.model_fields.items() if info.is_required() and key not in arguments]
        if missing and not unknown:  # a misspelt argument is missing too, but that is one mistake
            self._problems.add(line, f"{subject} needs {_listed(missing, 'and')}: write {layer.example}{suffix}")
        if unknown or missing or len(valid) < len(arguments):
            return None
        return layer.model_validate({key: node.plain() for key, (_, node) in valid.items()})

    def _effective_training(self, own: dict[str, tuple[int, Node]]) -> tuple[Training | None, list["_Conflict"]]:
        """The file's `training`, the architecture's own keys over it, and the command line's over both.

        Returns:
            None in place of the settings where they do not go together, with the rules that they break.
        """
        entries = {**self._training, **own}
        values = {key: node.plain() for key, (_, node) in entries.items()}
        if "epochs" in self._overrides:
            if values.get("epochs", Training.model_fields["epochs"].default) != self._overrides["epochs"]:
                self.overridden.add("epochs")
            values["epochs"] = self._overrides["epochs"]
        try:
            return Training.model_validate(values), []
        except ValidationError as error:
            conflicts = []
            for keys, message in error.errors()[0]["ctx"]["conflicts"]:
                if "epochs" in keys and "epochs" in self._overrides:
                    message += ", with --epochs"
                # Where the architecture itself says one of the keys, that is the line to change.
                key = next((key for key in keys if key in own), None) or next(key for key in keys if key in entries)
                conflicts.append(_Conflict(keys, entries[key][0], message, is_inherited=key not in own))
            return None, conflicts

    # -- baselines --

    def read_baselines(self, root: Node) -> list[Baseline]:
        line, node = root.value.get("baselines", (None, None))
        if node is None:
            return []
        if not isinstance(node.value, list) or not node.value:
            self._problems.add(
                line,
                "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own "
                f"line, got {node.shown()}",
            )
            return []
        read = (self._read_baseline(item, number) for number, item in enumerate(node.value, start=1))
        return [baseline for baseline in read if baseline is not None]

    def _read_baseline(self, node: Node, number: int) -> Baseline | None:
        """A classifier's name, or a mapping with it and its arguments, perhaps `name` and `preprocess`."""
        if isinstance(node.value, str):
            node = replace(node, value={node.value: (node.line, Node(None, node.line))})
        if not isinstance(node.value, dict) or not node.value:
            self._problems.add(
                node.line,
                "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments "
                f"such as {baselines.LogisticRegression.example}, got {node.shown()} (baseline number {number})",
            )
            return None
        name, named = self._read_own_name(node.value)
        suffix = f" (baseline '{name}')" if name else f" (baseline number {number})"
        classifier = self._read_classifier(node, suffix)
        own = {key: entry for key, entry in node.value.items() if key == "preprocess"}
        valid = self._read_fields(Training, own, suffix)
        if classifier is None or len(valid) < len(own) or (named is not None and name is None):
            return None
        entries = {key: entry for key, entry in self._training.items() if key in OF_A_BASELINE} | own
        training = Training.model_validate({key: entry.plain() for key, (_, entry) in entries.items()})
        if name is None:
            name = _automatic_name(classifier.short_name(), _own_in_name(own, training))
        return Baseline(name, classifier, training, node.line, {key: line for key, (line, _) in entries.items()})

    def _read_classifier(self, node: Node, suffix: str) -> baselines.Classifier | None:
        """The one classifier among the keys of a baseline, with its arguments."""
        listed = [key for key in node.value if key in baselines.CLASSIFIERS]
        unknown = [key for key in node.value if key not in (*listed, "name", "preprocess")]
        if unknown and not listed:
            line, key = node.value[unknown[0]][0], unknown[0]
            near = misreadings.did_you_mean(key, baselines.CLASSIFIERS)
            self._problems.add(line, f"unknown classifier {quoted(key)}{near}{suffix}")
            return None
        for key in unknown:
            line = node.value[key][0]
            if key in baselines.CLASSIFIERS[listed[0]].model_fields:
                example = f"{{{listed[0]}: {{{key}: ...}}}}"
                self._problems.add(line, f"{key} is an argument of {listed[0]}: write {example}{suffix}")
            elif key in Training.model_fields or key == "max_params":
                self._problems.add(line, f"{key} is for architectures, a baseline does not take it{suffix}")
            else:
                near = misreadings.did_you_mean(key, ["name", "preprocess"])
                self._problems.add(line, f"unknown key {quoted(key)}{near}{suffix}")
        if len(listed) != 1:
            got = f"{len(listed)}: {_listed(listed, 'and')}" if listed else "none"
            example = baselines.LogisticRegression.example
            self._problems.add(node.line, f"a baseline is one classifier, such as {example}, got {got}{suffix}")
            return None
        line, inner = node.value[listed[0]]
        classifier = baselines.CLASSIFIERS[listed[0]]
        if not isinstance(inner.value, dict | None):
            known = ", ".join(classifier.model_fields)
            self._problems.add(
                line,
                f"{listed[0]} takes its arguments by name ({known}), as {classifier.example}, "
                f"got {inner.shown()}{suffix}",
            )
            return None
        arguments = inner.value or {}
        ours = [key for key in arguments if key in _NOT_FOR_THE_USER]
        for key in ours:
            self._problems.add(
                arguments[key][0], f"{key} is not for a sweep file to set: {_NOT_FOR_THE_USER[key]}{suffix}"
            )
        theirs = {key: entry for key, entry in arguments.items() if key not in ours}
        read = self._read_arguments(classifier, theirs, line, suffix)
        return None if unknown or ours else read

    # -- grids --

    def read_grids(self, root: Node) -> list[Architecture]:
        """What `grid:` expands to, one grid after the other, with what comes twice."""
        line, node = root.value.get("grid", (None, None))
        if node is None:
            return []
        grids = [(item.line, item) for item in node.value] if isinstance(node.value, list) else [(line, node)]
        if not grids:
            self._problems.add(line, f"grid must be a mapping such as {_GRID_EXAMPLE}, or a list of them, got []")
        expanded: list[Architecture] = []
        for grid_line, grid in grids:
            expanded += self._read_grid(grid, grid_line, others=len(expanded))
        return expanded

    def _read_grid(self, node: Node, line: int, others: int) -> list[Architecture]:
        """The stacks of one grid: by depth, then shape, units and the keys of `Training` in their order."""
        if not isinstance(node.value, dict) or not node.value:
            self._problems.add(line, f"grid must be a mapping such as {_GRID_EXAMPLE}, got {node.shown()}")
            return []
        # What each key says.
        entries = node.value
        known = [*Grid.model_fields, "after_each", "max_params", *Training.model_fields]
        unknown = self._report_unknown(node, known, "grid", where=" in grid")
        missing = [key for key in ("depth", "units") if key not in entries]
        if missing and not unknown:  # a misspelt key is missing too, but that is one mistake
            self._problems.add(line, f"grid needs {_listed(missing, 'and')}: write grid: {_GRID_EXAMPLE}")
        axes = {
            key: self._read_axis(model, key, entries[key])
            for model in (Grid, Training)
            for key in model.model_fields
            if key in entries
        }
        after_each = self._read_after_each(entries)
        max_params = self._read_max_params(entries, "", "grid ")
        self._report_idle_split(entries, " (in grid)")
        if unknown or missing or None in axes.values() or after_each is None or not self.training_is_sound:
            return []

        # Whether it can be expanded, before anything is.
        training_axes = {key: axes.pop(key) for key in Training.model_fields if key in axes}
        key_lines = {key: line for key, (line, _) in (self._training | entries).items() if key in Training.model_fields}
        values = {key: [node.value for _, node in axis] for key, axis in axes.items()}
        dense = _DenseStacks(values["depth"], values.get("shape", ["constant"]), values["units"])
        if self._report_too_deep(axes["depth"], len(after_each)):
            return []
        if not self._has_sound_size(dense, training_axes, line, others):
            return []
        settings = self._combine_training(training_axes)
        if settings is None:
            return []

        # Layers and names are made once for each stack, not once for each of its settings.
        architectures = []
        after_lines, after_layers = [at for at, _ in after_each], [layer for _, layer in after_each]
        activations = {training.activation for training, _ in settings}
        for units in dense.expand():
            raw = [layer for n in units for layer in (stacks.Dense(units=n), *after_layers)]
            activated = {
                activation: tuple(layer.with_default_activation(activation) for layer in raw)
                for activation in activations
            }
            layer_lines = (entries["units"][0], *after_lines) * len(units)
            stack_name = stacks.stack_name(raw, default_activation=None)
            for training, own_in_name in settings:
                self._report_softmax(activated[training.activation], key_lines, line, " (in grid)")
                name, layers = _automatic_name(stack_name, own_in_name), activated[training.activation]
                architectures.append(Architecture(name, layers, training, line, layer_lines, max_params, key_lines))
        return architectures

    def _read_axis(self, model: type[BaseModel], key: str, entry: tuple[int, Node]) -> list[tuple[int, Node]] | None:
        """The values of one key of a grid, each with its line; None where one of them is not valid."""
        line, node = entry
        values = [(item.line, item) for item in node.value] if isinstance(node.value, list) else [entry]
        if not values:
            self._problems.add(line, f"grid {key} must list at least one value, got []")
        valid = [self._read_fields(model, {key: value}, "", "grid ") for value in values]
        return values if values and all(valid) else None

    def _read_after_each(self, entries: dict[str, tuple[int, Node]]) -> list[tuple[int, stacks.Layer]] | None:
        """The layers put after each Dense, each with its line; None where one of them is not valid."""
        _, node = entries.get("after_each", (None, Node(None, 1)))
        if node.value is None:
            return []
        items = node.value if isinstance(node.value, list) else [node]
        layers = [(item.line, self._read_layer(item, " (after_each of grid)")) for item in items]
        return None if any(layer is None for _, layer in layers) else layers

    def _report_too_deep(self, depths: list[tuple[int, Node]], after_each: int) -> bool:
        """Whether a depth, with `after_each` layers after each Dense, gives more layers than a stack may have."""
        too_deep = [(line, node.value) for line, node in depths if node.value * (1 + after_each) > MAX_LAYERS]
        for line, depth in too_deep:
            self._problems.add(
                line,
                f"at most {MAX_LAYERS} layers are allowed, got {depth * (1 + after_each):,} "
                f"(grid depth {depth} with {after_each} after each Dense)",
            )
        return bool(too_deep)

    def _has_sound_size(
        self, dense: "_DenseStacks", training_axes: dict[str, list[tuple[int, Node]]], line: int, others: int
    ) -> bool:
        """Whether a grid expands to a stack, and with the `others` above it to no more than a file may have."""
        counts = dense.count()
        factors = {key: len(axis) for key, axis in training_axes.items() if len(axis) > 1}
        total = sum(counts.values()) * math.prod(factors.values())
        if total == 0:
            most = max(dense.units)
            self._problems.add(
                line,
                f"grid has no stack: a funnel halves its units from layer to layer, and {most:,} of them are enough "
                f"for {most.bit_length()} layers; use a smaller depth or more units",
            )
        if others + total > MAX_GRID_STACKS:
            made_of = " + ".join(f"{_count_in_words(n)} {shape}" for shape, n in counts.items())
            made_of = f"({made_of})" if factors and len(counts) > 1 else made_of
            made_of = " x ".join([made_of, *(f"{n:,} {key}" for key, n in factors.items())])
            beside = f" ({others:,} come from the grids above)" if others else ""
            self._problems.add(
                line,
                f"grid expands to {_count_in_words(total)} stacks: {made_of}; at most {MAX_GRID_STACKS:,} are "
                f"allowed{beside}, list fewer values",
            )
        return 0 < total <= MAX_GRID_STACKS - others

    def _combine_training(self, axes: dict[str, list[tuple[int, Node]]]) -> list[tuple[Training, list[str]]] | None:
        """Every combination of a grid's training keys, and what it adds to a stack's name; None where some conflict."""
        settings, reported = [], set()
        for values in itertools.product(*axes.values()):
            own = dict(zip(axes, values, strict=True))
            training, conflicts = self._effective_training(own)
            if training is not None:
                settings.append((training, _own_in_name(own, training)))
            for conflict in conflicts:
                if conflict.keys in reported:  # else a grid would say the same of each of its combinations
                    continue
                reported.add(conflict.keys)
                many = any(len(axes.get(key, ())) > 1 for key in conflict.keys)
                where = " (in grid, which combines all values; write two grids)" if many else " (in grid)"
                self._problems.add(conflict.line, conflict.message + ("" if conflict.is_inherited else where))
        return None if reported else settings

    # -- keys and values --

    def _report_unknown(self, node: Node, known: list[str], place: str, suffix: str = "", where: str = "") -> bool:
        """Whether the mapping has keys that are not `known`; each is reported with the nearest, or where it belongs."""
        unknown = [key for key in node.value if key not in known]
        for key in unknown:
            hint = misreadings.key_hint(key, node.value[key][1], node.value, place)
            hint = hint or misreadings.did_you_mean(key, known)
            if hint.startswith("; known: "):
                for elsewhere, where_else in (
                    (Training, "under 'training'"),
                    (SweepSettings, "at the top of the file"),
                    (Grid, "under 'grid'"),
                ):
                    near = misreadings.did_you_mean(key, elsewhere.model_fields)
                    if key in elsewhere.model_fields:
                        hint = f"; it stands {where_else}"
                        break
                    if "did you mean" in near:
                        hint = f"{near.rstrip('?')}, {where_else}?"
                        break
            self._problems.add(node.value[key][0], f"unknown key {quoted(key)}{where}{hint}{suffix}")
        return bool(unknown)

    def _read_fields(
        self,
        model: type[BaseModel],
        entries: dict[str, tuple[int, Node]],
        suffix: str,
        subject: str = "",
        context: dict | None = None,
    ) -> dict[str, tuple[int, Node]]:
        """The entries whose values `model` takes; of the others each leaves one problem, at its own line."""
        try:
            model.model_validate({key: node.plain() for key, (_, node) in entries.items()}, context=context)
        except ValidationError as error:
            # "missing" is the caller's to say; rules between keys are checked on the effective settings.
            found = [
                details
                for details in error.errors(include_url=False)
                if details["loc"][:1] and details["loc"][0] in entries
            ]
            bad = {details["loc"][0] for details in found}
            misspelt = {details["loc"][0] for details in found if details["type"] == "extra_forbidden"}
            said = set()
            for details in found:
                key = details["loc"][0]
                # One message for each nested setting, and one for a field whatever pydantic finds inside it.
                place = details["loc"][:2] if _nested_model(model.model_fields[key]) else key
                if place in said or (details["type"] == "missing" and key in misspelt):
                    continue
                said.add(place)
                line, message = _explain(model, key, entries[key], details)
                self._problems.add(line, f"{subject}{message}{suffix}")
            return {key: entry for key, entry in entries.items() if key not in bad}
        return entries


# What people take for their one seed.
_LIKELY_SEEDS = frozenset({42, 123, 1234, 1337, 2023, 2024, 2025, 2026})
# Arguments of scikit-learn's classifiers that follow from the trial.
_NOT_FOR_THE_USER = {
    "random_state": "it is the seed of the trial",
    "n_jobs": "each trial has one core, and other trials run beside it",
}


@dataclass(frozen=True)
class _Conflict:
    """A rule between keys that is broken: the line to change, what is wrong, and whether `training` alone says it."""

    keys: tuple[str, ...]
    line: int
    message: str
    is_inherited: bool


@dataclass(frozen=True)
class _DenseStacks:
    """The units of the Dense layers of a grid; its three arguments are lists, as `Grid` explains their values."""

    depths: list[int]
    shapes: list[str]
    units: list[int]

    def expand(self) -> Iterator[tuple[int, ...]]:
        """By depth, then shape, then units."""
        for depth in self.depths:
            for shape in self.shapes:
                if shape == "all":
                    yield from itertools.product(self.units, repeat=depth)
                    continue
                for first in self.units:
                    if shape == "constant":
                        yield (first,) * depth
                    elif _funnel_reaches(depth, first):
                        yield tuple(first >> halvings for halvings in range(depth))

    def count(self) -> dict[str, int]:
        """How many there are of each shape, without expanding them."""
        counts = dict.fromkeys(self.shapes, 0)
        shapes, depths = Counter(self.shapes), Counter(self.depths)  # as a file may repeat them thousands of times
        for (shape, times), (depth, times_depth) in itertools.product(shapes.items(), depths.items()):
            if shape == "all":
                found = len(self.units) ** depth
            elif shape == "constant":
                found = len(self.units)
            else:
                found = sum(_funnel_reaches(depth, first) for first in self.units)
            counts[shape] += found * times * times_depth
        return counts


def _funnel_reaches(depth: int, first_units: int) -> bool:
    """Whether halving leaves at least one unit for the last layer."""
    return first_units >> (depth - 1) >= 1


def _count_in_words(n: int) -> str:
    return f"{n:,}" if n < 10**12 else f"about 10^{len(str(n)) - 1}"


def _own_in_name(own: dict[str, tuple[int, Node]], training: Training) -> list[str]:
    """What an architecture sets for itself, for its automatic name: `["adamw", "learning_rate0.0005"]`."""
    parts = []
    for key in Training.model_fields:  # not the order of the file, which decides nothing
        if key not in own:
            continue
        if key == "preprocess" and training.preprocess:  # the steps speak for themselves
            parts += [step.short_name() for step in training.preprocess]
            continue
        # A quick look with --epochs renames nobody either.
        value = own[key][1].value if key == "epochs" else getattr(training, key)
        parts.append(value if isinstance(value, str) else key + _value_in_name(value))
    return parts


def _value_in_name(value: Any) -> str:
    if isinstance(value, EarlyStopping):
        others = value.model_dump(exclude={"patience"}, exclude_defaults=True)
        return ".".join([str(value.patience), *(f"{key}_{_value_in_name(other)}" for key, other in others.items())])
    if isinstance(value, Augment):  # augment.horizontal_flip.shift2
        given = value.model_dump(exclude_defaults=True)
        return "".join(f".{key}" if v is True else f".{key}{_value_in_name(v)}" for key, v in given.items())
    if value is None or value == ():
        return "_none"
    return stacks.number_in_name(value) if isinstance(value, float) else str(value).lower()


def _automatic_name(stack_name: str, own_in_name: list[str]) -> str:
    """The stack's name and what the architecture sets for itself: `64-32-learning_rate0.0005`, `64-32-adamw`.

    So the same stack with two learning rates needs no `name:`. The name depends on nothing but the architecture's
    own lines: another one that is added to the file, or a change of `training`, renames nobody.
    """
    return stacks.shorten_name("-".join([stack_name, *own_in_name]))


def _spoken(layer: str) -> str:
    """A layer's name inside a sentence: dropout, dense, but BatchNormalization."""
    return layer.lower() if layer.isalpha() and layer.istitle() else layer


def _explain(model: type[BaseModel], key: str, entry: tuple[int, Node], details: dict) -> tuple[int, str]:
    """Line and plain English for one of pydantic's errors; `details["loc"]` leads into nested settings."""
    line, node = entry
    info = model.model_fields[key]
    nested = _nested_model(info)
    kind, loc = details["type"], details["loc"]
    if nested is not None and isinstance(node.value, dict) and len(loc) > 1:
        inner = loc[1]
        if kind == "missing":
            return line, f"{key} needs {inner}"
        inner_entry = node.value[inner]
        if kind == "extra_forbidden":
            near = misreadings.did_you_mean(inner, nested.model_fields)
            return inner_entry[0], f"{key} has no key {quoted(inner)}{near}"
        inner_line, message = _explain(nested, inner, inner_entry, {**details, "loc": loc[1:]})
        return inner_line, f"{key} {message}"
    if kind == "plain":
        position = details.get("ctx", {}).get("position")
        is_item = position is not None and isinstance(node.value, list)
        return (node.value[position].line if is_item else line), f"{key} {details['msg']}"
    if kind == "item":
        item = node.value[details["ctx"]["position"]]
        return item.line, f"{key} {details['msg']}, got {item.shown()}"
    if nested is not None and not any(isinstance(part, stacks.Expected) for part in info.metadata):
        fields = sorted(nested.model_fields.items(), key=lambda item: not item[1].is_required())  # required ones first
        example = f"{fields[0][0]}: {'true' if fields[0][1].annotation is bool else 5}"
        return line, f"{key} must be a mapping such as {{{example}}}, got {node.shown()}"
    expectation, choices = _expectation(info, node.value)
    hint = misreadings.value_hint(key, node, choices, takes_number="number" in expectation)
    if not hint and len(choices) > 10:  # too many to stand in the expectation
        hint = f"; known: {', '.join(choices)}"
    return line, f"{key} must be {expectation}, got {node.shown()}{hint}"


def _nested_model(info: FieldInfo) -> type[BaseModel] | None:
    for part in (info.annotation, *get_args(info.annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _expectation(info: FieldInfo, value: Any) -> tuple[str, Sequence[str]]:
    """What a field takes, in words, and its choices if it is one of a list."""
    for part in info.metadata:
        if isinstance(part, stacks.Expected):
            return part.words, part.choices
    annotation = info.annotation
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        words = next((part for part in get_args(annotation) if isinstance(part, stacks.Expected)), None)
        if words:
            return words.words, words.choices
    if get_origin(annotation) is Literal:
        return _listed(get_args(annotation)), get_args(annotation)
    if annotation is bool:
        return "true or false", ()
    bounds = _bounds(info)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if annotation is int:
        return (bounds if is_number and isinstance(value, int) else f"a whole number {bounds}"), ()
    return (bounds if is_number else f"a number {bounds}"), ()


def _bounds(info: FieldInfo) -> str:
    """`at least 0 and below 1`, `from 1 to 256`, `above 0`."""
    limits = {
        name: getattr(part, name) for part in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(part, name)
    }
    if "ge" in limits and "le" in limits:
        return f"from {limits['ge']:,} to {limits['le']:,}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return " and ".join(f"{words[name]} {limits[name]:,}" for name in words if name in limits)


# ---- what concerns the whole file ----


def _is_mapping(root: Node, problems: Problems) -> bool:
    if root.value is None:
        problems.add(None, "the file is empty; it needs at least 'architectures:' with a list of layer stacks")
    elif not isinstance(root.value, dict):
        problems.add(root.line, f"a sweep file is a mapping with 'architectures:' and other keys, got {root.shown()}")
    return isinstance(root.value, dict)


def _check_overrides(given: dict[str, int]) -> None:
    """`--epochs`, `--seeds` and `--limit` obey the rules of the keys that they override."""
    for option, value in given.items():
        model = Training if option == "epochs" else SweepSettings
        whole = isinstance(value, int) and not isinstance(value, bool)
        try:
            model.model_validate({option: value if whole else "?"})
        except ValidationError:
            expectation, _ = _expectation(model.model_fields[option], "?")
            expectation = expectation.partition(" (how many)")[0]  # on the command line there is no list of seeds
            raise SweepError(f"--{option} must be {expectation}, got {harmless(str(value))[:60]}") from None


def _check_differ(architectures: list[Architecture | Baseline], problems: Problems, overrides: dict[str, int]) -> None:
    """No two architectures may have one name, or be the same trials under two names."""
    with_epochs = " with --epochs" if "epochs" in overrides else ""
    by_name: dict[str, Architecture | Baseline] = {}
    by_trials: dict[str, Architecture | Baseline] = {}
    for architecture in architectures:
        kind = "baseline" if isinstance(architecture, Baseline) else "architecture"
        first = by_trials.setdefault(_trials_key(architecture), architecture)
        if first is not architecture:
            problems.add(
                architecture.line,
                f"{kind} '{architecture.name}' would be the same trials as '{first.name}' "
                f"in line {first.line}{with_epochs}; remove line {first.line} or line "
                f"{architecture.line}, or change one",
            )
            continue
        # macOS and Windows keep one folder for two names that differ in case only.
        first = by_name.setdefault(architecture.name.lower(), architecture)
        if first is not architecture:
            case = "" if first.name == architecture.name else f" (as '{first.name}': upper and lower case do not count)"
            problems.add(
                architecture.line,
                f"two architectures are named '{architecture.name}', in line {first.line}{case} and in line "
                f"{architecture.line}; give one of them another name:",
            )


def _check_refit(refit: Refit | None, architectures: list[Architecture], problems: Problems) -> None:
    """Early stopping asks validation images when to stop, and a refit has none."""
    stopped = [architecture for architecture in architectures if architecture.training.early_stopping is not None]
    for line in {item.key_lines.get("early_stopping", item.line): None for item in stopped} if refit else ():
        problems.add(
            line,
            "early_stopping does not go with refit, which leaves no images to stop by: set epochs to what you want, or "
            "remove refit",
        )


def _new_trials(expanded: list[Architecture], listed: list[Architecture | Baseline]) -> list[Architecture]:
    """The stacks of grids that are not the same trials as one listed or one before; no two have one name.

    Two stacks can come to one automatic name, such as `[64]` with `activation: tanh` and `[64, {Activation: tanh}]`.
    Nobody can name a stack of a grid by hand, so the later one has a hash of what it is at the end of its name.
    """
    known = {_trials_key(architecture) for architecture in listed}
    names = {architecture.name.lower() for architecture in listed}  # upper and lower case do not count
    added = []
    for architecture in expanded:
        key = _trials_key(architecture)
        if key in known:
            continue
        if architecture.name.lower() in names:
            beginnings = ((architecture.name[: stacks.MAX_NAME_LENGTH - 1 - n], n) for n in range(8, len(key)))
            candidates = (f"{beginning.rstrip('-._')}-{key[:n]}" for beginning, n in beginnings)
            architecture = replace(architecture, name=next(name for name in candidates if name.lower() not in names))
        known.add(key)
        names.add(architecture.name.lower())
        added.append(architecture)
    return added


def _trials_key(architecture: Architecture | Baseline) -> str:
    """Equal for two architectures exactly if all their trials are the same."""
    return fingerprint(canonical_settings(architecture, data_identity="", limit=None, seed=0))


def _is_over_budget(architecture: Architecture, size: stacks.StackSize) -> bool:
    return architecture.max_params is not None and size.params > architecture.max_params


def _name_from_stem(path: Path, problems: Problems) -> str:
    problem = name_problem(path.stem)
    if problem:
        usable = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_")[:60]
        usable = usable if usable and not name_problem(usable) else "my_sweep"
        problems.add(
            None,
            f"the file's name cannot name the sweep: it {problem}; "
            f"rename the file or add a line such as name: {usable}",
        )
    return path.stem


# ---- canonical JSON and JSON Schema ----


def _canonical_training(training: Training) -> dict[str, Any]:
    given = training.model_dump(mode="json", exclude={"activation", "preprocess"})  # the layers have the first already
    defaults = Training(optimizer=training.optimizer).model_dump(mode="json")
    always = ("epochs", "batch_size", "optimizer", "learning_rate")
    kept = {key: value for key, value in given.items() if key in always or value != defaults[key]}
    if training.early_stopping is not None:
        kept["early_stopping"] = training.early_stopping.model_dump(mode="json", exclude_defaults=True)
    if training.preprocess:
        kept["preprocess"] = [step.written() for step in training.preprocess]
    if training.augment is not None:
        kept["augment"] = training.augment.model_dump(mode="json", exclude_defaults=True)
    return kept


def _canonical_layer(layer: stacks.Layer) -> dict[str, Any]:
    arguments = {
        name: list(value) if isinstance(value, tuple) else value for name, value in layer.keras_arguments().items()
    }
    return {type(layer).__name__: arguments}


def _canonical_classifier(classifier: baselines.Classifier) -> dict[str, Any]:
    return {
        "baseline": type(classifier).__name__,
        "arguments": classifier.model_dump(mode="json", exclude_defaults=True),
    }


def _object_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Pydantic's schema of a model, without the titles that editors would show in place of the descriptions."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def cleaned(part: Any) -> Any:
        if isinstance(part, list):
            return [cleaned(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return cleaned(definitions[part["$ref"].rsplit("/", 1)[1]])
        kept = {key: cleaned(value) for key, value in part.items() if key != "title" or not isinstance(value, str)}
        if kept.get("default", 0) is None:
            del kept["default"]  # "no value" is not a value that an editor should fill in
        return kept

    return cleaned(schema)


def _baseline_schema(training_keys: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly one classifier's name, and perhaps a name of its own and preprocessing."""
    classifiers = {}
    for name, classifier in baselines.CLASSIFIERS.items():
        schema = {key: value for key, value in _object_schema(classifier).items() if key != "description"}
        description = f"{classifier.__doc__} {classifier.example}"
        classifiers[name] = {"description": description, "anyOf": [schema, {"type": "null"}]}
    return {
        "type": "object",
        "description": "A classifier with its arguments, by scikit-learn's names.",
        "properties": {
            "name": {
                **_NAME_SCHEMA,
                "description": "Name in tables and TensorBoard; without it made from the arguments.",
            },
            "preprocess": training_keys["preprocess"],
            **classifiers,
        },
        "oneOf": [{"required": [name]} for name in classifiers],
        "additionalProperties": False,
    }


def _grid_schema(training_keys: dict[str, Any]) -> dict[str, Any]:
    """An object whose keys, but for two, take one value or a list of them."""
    described = {key: info.description for model in (Grid, Training) for key, info in model.model_fields.items()}
    own_keys = {
        key: {word: value for word, value in schema.items() if word not in ("description", "default")}
        for key, schema in _object_schema(Grid)["properties"].items()
    }
    return {
        "type": "object",
        "description": "Stacks of Dense layers; any key of training may stand here too, with one value or a list.",
        "properties": {
            **{
                key: {
                    "description": described[key],
                    "anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}],
                }
                for key, schema in (own_keys | training_keys).items()
            },
            "after_each": {
                "description": "A layer, or a list of layers, put after each Dense.",
                "anyOf": [{"$ref": "#/$defs/layer"}, {"$ref": "#/$defs/layers"}],
            },
            "max_params": {"$ref": "#/properties/max_params"},
        },
        "required": ["depth", "units"],
        "additionalProperties": False,
    }


def _layer_schema() -> dict[str, Any]:
    """An integer, the name of a layer that needs no arguments, or an object with exactly one layer's name."""
    with_arguments = []
    for name, layer in stacks.LAYERS.items():
        schema = _object_schema(layer)
        options = [{key: value for key, value in schema.items() if key != "description"}]
        if layer.shorthand:
            options.append(schema["properties"][layer.shorthand])
        if not schema.get("required"):
            options.append({"type": "null"})
        with_arguments.append(
            {
                "type": "object",
                "properties": {name: {"description": f"{layer.__doc__} {layer.example}", "anyOf": options}},
                "required": [name],
                "additionalProperties": False,
            }
        )
    bare = [name for name, layer in stacks.LAYERS.items() if not _object_schema(layer).get("required")]
    return {
        "description": "Units of a Dense, the name of a Keras layer, or one name with its arguments.",
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": stacks.MAX_UNITS, "description": "Units of a Dense."},
            {"type": "string", "enum": bare},
            *with_arguments,
        ],
    }
