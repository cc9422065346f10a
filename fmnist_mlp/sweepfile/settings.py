"""The keys of a sweep file, one field a key, with types, bounds and the words that the JSON Schema shows.

A key is added by adding a field to `SweepSettings` (one for the whole file), `Training` (also for one architecture, and
a list of values in a grid) or `Grid`: reading, messages, the schema and, for `Training`, the fingerprint follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SkipValidation,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fmnist_mlp.data import class_names
from fmnist_mlp.sweepfile import misreadings
from fmnist_mlp.sweepfile.layers import MAX_UNITS, ActivationName
from fmnist_mlp.sweepfile.names import MAX_NAME_LENGTH, NAME_PATTERN, name_problem, number_in_name
from fmnist_mlp.sweepfile.seeds import MAX_SEED
from fmnist_mlp.sweepfile.steps import STEPS_IN_WORDS, Steps
from fmnist_mlp.sweepfile.wants import AlsoWritten, Checked, Wants, in_message, problem
from fmnist_mlp.words import quoted

MAX_LAYERS = 200

MOST_SEEDS = 10_000
MOST_LOOKS = 10

_FIRST_AND_LAST_LOOK = (5, 40)  # of `until: decided` where nothing else is said; each look doubles the seeds

# Keras 3.15's own defaults.
_LEARNING_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "nadam": 0.001, "lion": 0.001}

_WEIGHT_DECAYS = {"adamw": 0.004}  # the others have none


@dataclass(frozen=True)
class IdxFolder:
    """A data set of one's own: a folder with four IDX files."""

    path: Path
    kind: ClassVar[str] = "idx"


@dataclass(frozen=True)
class NpzFile:
    """A data set of one's own: a file of numpy's with four arrays."""

    path: Path
    kind: ClassVar[str] = "npz"


OwnImages = IdxFolder | NpzFile


def _read_dataset(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) and value in _DATASETS:
        return value
    if isinstance(value, OwnImages):
        return value
    kind, path = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (None, None)
    if kind not in _OWN or not isinstance(path, str) or not path.strip():
        raise ValueError("not a data set")
    base = (info.context or {}).get("folder", Path())  # a relative path begins beside the sweep file
    make, what = _OWN[kind]
    try:
        if path.isprintable():
            return make(base / Path(path).expanduser())
        words = "must be a path of printable characters"
    except RuntimeError:  # ~somebody
        words = "must begin with the home folder of somebody here"
    raise problem(f"{{{kind}: {what}}} {words}, got {quoted(path)}")


def _read_seeds(value: Any) -> Any:
    """`5` stands for 0, 1, 2, 3, 4."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST_SEEDS:
            raise ValueError("not a number of seeds")
        return tuple(range(value))
    if isinstance(value, list | tuple):
        if not value:
            raise problem("must list at least one seed, got []")
        seen = set()
        for position, seed in enumerate(value):
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
                raise problem(f"must be whole numbers from 0 to {MAX_SEED:,}", position, got=True)
            if seed in seen:
                raise problem(f"must differ from each other, but {seed} is listed twice")
            seen.add(seed)
        return tuple(value)
    raise ValueError("not seeds")


def _read_seeds_or_until(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """`until decided` stands for a mapping that leaves all else open."""
    if isinstance(value, UntilDecided):
        return value
    if isinstance(value, dict) or value == "until decided":
        return read(value if isinstance(value, dict) else {"until": "decided"})
    return _read_seeds(value)


def _read_at_most(value: int, info: ValidationInfo) -> int:
    first, *_, last = info.data.get("looks") or _FIRST_AND_LAST_LOOK
    if value < first:
        raise problem(f"must be at least the first look ({first} seeds); name others with looks: [2, 4]", got=True)
    if info.data.get("looks") and value != last:
        raise problem(f"must be the last of looks ({last}), or be left out", got=True)
    return value


def _read_looks(value: Any) -> Any:
    if value is None or isinstance(value, tuple):
        return value
    if not isinstance(value, list) or not value:
        raise ValueError("not looks")
    for position, look in enumerate(value):
        if isinstance(look, bool) or not isinstance(look, int) or not 2 <= look <= MOST_SEEDS:
            raise problem(f"must be numbers of seeds from 2 to {MOST_SEEDS:,}", position, got=True)
        if position and look <= value[position - 1]:
            raise problem(f"must rise, but {look} follows {value[position - 1]}", position)
    if len(value) > MOST_LOOKS:
        raise problem(f"must be at most {MOST_LOOKS}, got {len(value)}")
    return tuple(value)


def _read_refit(value: Any) -> Any:
    """`true` stands for the best as often as the sweep has seeds, `all` for every architecture, `false` for none."""
    if isinstance(value, bool):
        return {} if value else None
    if value is None or (isinstance(value, str) and value != "all"):
        raise ValueError("not what refit takes")
    return {"which": "all"} if value == "all" else value


def _read_refits(value: Any) -> Any:
    """A number. Earlier versions took a list of seeds too, among them those that had chosen the best."""
    if isinstance(value, list):
        how_many = f"write seeds: {len(value)}" if value else "write such as seeds: 5"
        raise problem(
            "says how many refits, not which seeds: refits have fresh seeds of their own, so that none that chose the "
            f"best trains it again; {how_many}"
        )
    return value


def _read_name(value: Any) -> Any:
    if isinstance(value, str) and (words := name_problem(value)):
        raise problem(words)
    return value


def _read_class_names(value: Any) -> Any:
    if value is None or isinstance(value, tuple):
        return value
    if not isinstance(value, list):
        raise ValueError("not names")
    for position, name in enumerate(value):
        if words := class_names.problem_with(name):
            quotes = "; write it in quotes" if name is not None and not isinstance(name, str | list | dict) else ""
            raise problem(f"{words}, got {in_message(name)}{quotes}", position)
    if twice := class_names.first_twice(value):
        first, second = twice
        words = f"must differ from each other, but {quoted(value[second])} names classes {first} and {second}"
        raise problem(words, second)
    if len(value) < 2:
        raise problem("must name each class, so at least two")
    return tuple(value)


_DATASETS = ("auto", "fashion_mnist", "synthetic")

_OWN = {"idx": (IdxFolder, "FOLDER"), "npz": (NpzFile, "FILE")}


def _own_schema(kind: str, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {kind: {"type": "string", "minLength": 1, "description": description}},
        "required": [kind],
        "additionalProperties": False,
    }


Dataset = Annotated[
    SkipValidation[str | OwnImages],
    BeforeValidator(_read_dataset),
    Wants("auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}", choices=_DATASETS),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(_DATASETS)},
                _own_schema("idx", "Folder with the four IDX files."),
                _own_schema("npz", "File of numpy's with the arrays x_train, y_train, x_test and y_test."),
            ]
        }
    ),
]

_HOW_MANY = {"type": "integer", "minimum": 1, "maximum": MOST_SEEDS}

_LIST_OF_SEEDS = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
    "minItems": 1,
    "uniqueItems": True,
}

Seeds = Annotated[
    SkipValidation[tuple[int, ...]],
    BeforeValidator(_read_seeds),
    Wants("a whole number from 1 to 10,000 (how many), or a list of seeds such as [0, 1, 2]"),
    WithJsonSchema({"anyOf": [_HOW_MANY, _LIST_OF_SEEDS]}),
]


class UntilDecided(Checked):
    """Seeds are added until every architecture has a verdict; looks are fixed beforehand."""

    until: Literal["decided"] = Field(description="decided: until every architecture has a verdict.")
    looks: Annotated[
        SkipValidation[tuple[int, ...] | None],
        BeforeValidator(_read_looks),
        Wants("a rising list of numbers of seeds, such as [5, 10, 20, 40]"),
        WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 2, "maximum": MOST_SEEDS}}),
    ] = Field(None, description="After how many seeds verdicts are drawn; without it 5, twice as many, ... at_most.")
    at_most: Annotated[int, AfterValidator(_read_at_most)] = Field(
        _FIRST_AND_LAST_LOOK[1], ge=2, le=MOST_SEEDS, description="Seeds of the last look."
    )

    def all_looks(self) -> tuple[int, ...]:
        """`(5, 10, 20, 40)`."""
        if self.looks:
            return self.looks
        looks = [_FIRST_AND_LAST_LOOK[0]]
        while looks[-1] < self.at_most:
            looks.append(min(2 * looks[-1], self.at_most))
        return tuple(looks)


ClassNames = Annotated[
    SkipValidation[tuple[str, ...]],
    BeforeValidator(_read_class_names),
    Wants("a list of the names of the classes, in the order of the labels, such as [cat, dog]"),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": class_names.MAX_LENGTH},
            "minItems": 2,
            "uniqueItems": True,
        }
    ),
]

MaxParams = Annotated[
    int | None,
    Field(ge=1, description="Stacks with more parameters are listed as over budget and not trained; null is no limit."),
]

_NAME_SCHEMA = {"type": "string", "pattern": f"^{NAME_PATTERN}$", "maxLength": MAX_NAME_LENGTH}

_NAME_WORDS = Wants("text", hint=misreadings.quotes_hint)

Name = Annotated[str, BeforeValidator(_read_name), _NAME_WORDS, WithJsonSchema(_NAME_SCHEMA)]


class EarlyStopping(Checked):
    """Stops a training that no longer improves, by validation only."""

    patience: int = Field(ge=0, le=100_000, description="Epochs without improvement before training stops.")
    monitor: Literal["val_loss", "val_accuracy"] = Field("val_loss", description="What has to improve.")
    min_delta: float = Field(0.0, ge=0, description="Smaller changes do not count as improvement.")
    restore_best_weights: bool = Field(True, description="Whether the weights of the best epoch are kept.")


class Augment(Checked):
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


class TrainingKeys(Checked):
    """How an architecture is trained, each key on its own: `model_fields_set` are those that are given."""

    epochs: int = Field(20, ge=1, le=100_000, description="Passes over the training images.")
    batch_size: int = Field(32, ge=1, le=1_000_000, description="Images in one step of the optimizer.")
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "nadam", "lion"] = Field("adam", description="Optimizer.")
    learning_rate: float | None = Field(
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
    activation: ActivationName = Field("relu", description="Activation of every Dense and convolution that names none.")
    validation_split: float = Field(
        0.2, gt=0, lt=1, description="Share of the training images kept for validation, stratified by class."
    )
    early_stopping: EarlyStopping | None = Field(None, description="When to stop before the last epoch; null is never.")
    preprocess: Steps = Field(
        (),
        description="Steps after the scaling of pixels to 0-1, fitted on the training images of each trial: "
        f"{STEPS_IN_WORDS}; one, or a list in their order; null is none. They become layers of the exported model. "
        "(In a grid a list is one of values: write a list of lists.)",
    )
    augment: Annotated[Augment | None, AfterValidator(_none_where_idle)] = Field(
        None, description="Random changes of the training images, never of others; null is none."
    )
    threads: int = Field(1, ge=1, le=256, description="Cores that one trial computes on; more only for wide networks.")

    @property
    def given(self) -> dict[str, Any]:
        """The keys of `Training` that are given, in the order of the fields."""
        return {key: getattr(self, key) for key in TrainingKeys.model_fields if key in self.model_fields_set}


class Training(TrainingKeys):
    """How an architecture is trained; what the file leaves open holds its default, Keras's where it has one."""

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
        conflicts = [(keys, message) for keys, (is_broken, message) in self.rules_between_keys().items() if is_broken]
        if conflicts:
            raise PydanticCustomError("conflict", "settings that do not go together", {"conflicts": conflicts})
        return self

    def rules_between_keys(self) -> dict[tuple[str, str], tuple[Any, str]]:
        """By the two keys of each rule, so that the reader can point at the line to change: is it broken, the message.

        That a rule is between two keys alone is what a search relies on.
        """
        return {
            ("momentum", "optimizer"): (
                self.momentum and self.optimizer != "sgd",
                f"momentum is for optimizer: sgd only, here it is {self.optimizer}; set it to 0",
            ),
            # One cycle rises by itself; a second ramp in front of it would be neither.
            ("warmup_epochs", "schedule"): (
                self.warmup_epochs and self.schedule == "one_cycle",
                "warmup_epochs does not go with schedule: one_cycle, which warms up by itself",
            ),
            ("warmup_epochs", "epochs"): (
                self.warmup_epochs >= self.epochs,
                f"warmup_epochs must be below epochs ({self.epochs}), got {self.warmup_epochs:g}",
            ),
            ("augment", "batch_size"): (
                self.augment is not None and self.augment.mixup and self.batch_size == 1,
                "mixup needs another image in the batch, but batch_size is 1; use 2 or more",
            ),
        }

    def canonical(self) -> dict[str, Any]:
        """As part of what a trial is, in plain JSON: what differs from its default, and what everybody asks about.

        Not the activation, which stands in the layers.
        """
        given = self.model_dump(mode="json", exclude={"activation"})
        defaults = Training(optimizer=self.optimizer).model_dump(mode="json")
        always = ("epochs", "batch_size", "optimizer", "learning_rate")
        kept = {key: value for key, value in given.items() if key in always or value != defaults[key]}
        for key in ("early_stopping", "augment"):
            if (nested := getattr(self, key)) is not None:
                kept[key] = nested.model_dump(mode="json", exclude_defaults=True)
        return kept


class TensorBoard(Checked):
    """What is logged beside curves and pictures; decides no numbers, so it is no part of a trial."""

    histograms: bool = Field(
        False,
        description="Whether trials trained from now on log histograms of their weights and gradient norms, each "
        "epoch; for four layers some 0.1 s and 20 KB an epoch.",
    )


class Refit(Checked):
    """What is trained again once validation has shown which architecture is the best."""

    which: Literal["best", "all"] = Field("best", description="The best architecture by select_by, or every one.")
    seeds: Annotated[
        int | None,
        Field(ge=1, le=10_000),
        BeforeValidator(_read_refits),
        Wants("a whole number from 1 to 10,000 (how many)"),
    ] = Field(
        None,
        description="How many trainings, with fresh seeds that no sweep file can name; null is as many as the sweep "
        "has seeds.",
    )


class SweepSettings(Checked):
    """The keys of a whole sweep, apart from `training`, `architectures` and `grid`."""

    dataset: Dataset = Field(
        "auto",
        description="auto: Fashion-MNIST, or a generated stand-in where it cannot be had; fashion_mnist: never the "
        "stand-in; synthetic: always; {idx: FOLDER}: your own images in the same four files; {npz: FILE}: in one of "
        "numpy's, with x_train, y_train, x_test and y_test.",
    )
    class_names: ClassNames | None = Field(
        None,
        description="Names of the classes, in the order of the labels; no part of a trial. Without them those of "
        "labels.txt beside your own files, Fashion-MNIST's, or the numbers.",
    )
    name: Name | None = Field(None, description="Name of the sweep, and of its folder; without it the file's stem.")
    limit: int | None = Field(None, ge=1, le=10**9, description="Use only so many training images; null is all.")
    seeds: Annotated[
        UntilDecided,
        WrapValidator(_read_seeds_or_until),
        Wants(
            "a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided",
            choices=("until decided",),
        ),
        AlsoWritten({"enum": ["until decided"]}, _HOW_MANY, _LIST_OF_SEEDS),
    ] = Field(
        (0, 1, 2, 3, 4),
        description="How many trainings of each architecture, or a list of seeds. until decided: 5 first, then more of "
        "those that are not decided, at most 40; {until: decided, at_most: 20} or {until: decided, looks: [5, 15]} "
        "says more.",
    )
    margin: float | None = Field(
        None,
        gt=0,
        le=1,
        description="The difference in what is selected by that matters to you, such as 0.003: the table then says "
        "which architectures are as good as the best for all that matters, and which of these is the cheapest.",
    )
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
        Wants("true (the best architecture), all (every one), false or a mapping such as {seeds: 5}", choices=("all",)),
        AlsoWritten({"type": "boolean"}, {"enum": ["all"]}, takes_null=False),
    ] = Field(
        None,
        description="true: once all is trained, the best architecture by select_by is trained again, as often "
        "as it was for the choice and with fresh seeds, on all training images, without a validation part; all: every "
        "architecture is. Their test figures stand in "
        "columns of their own. {seeds: 5, which: all} says more.",
    )
    ensemble: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="Seeds that are taken together: the table also says how good the mean of their probabilities is, "
        "for each so many of an architecture's seeds (of its refits, where there are any; with folds, in each "
        "fold); null is none.",
    )
    max_params: MaxParams = None
    tensorboard: TensorBoard = Field(TensorBoard(), description="What is logged beside curves and pictures.")


class Grid(Checked):
    """Stacks of Dense layers in every combination of the values listed: each key takes one value or a list of them.

    These are the keys that make the layers. `after_each` and `max_params` may stand beside them, and every key of
    `Training`, with one value or a list too.

    Example: `{depth: [1, 2], units: [64, 32], shape: funnel}` -> `[64]`, `[32]`, `[64, 32]`, `[32, 16]`.
    """

    depth: int = Field(ge=1, le=MAX_LAYERS, description="Number of Dense layers.")
    units: int = Field(ge=1, le=MAX_UNITS, description="Units of the first Dense; shape says those of the others.")
    shape: Literal["constant", "funnel", "all"] = Field(
        "constant",
        description="constant: every Dense has the same units; funnel: each has half the units of the one before, "
        "rounded down, and a funnel that would come to 0 is left out; all: every combination of the units listed.",
    )


def own_in_name(own: Mapping[str, Any], training: Training) -> list[str]:
    """What an architecture sets for itself, for its automatic name: `["adamw", "learning_rate0.0005"]`."""
    parts = []
    for key in Training.model_fields:  # not the order of the file, which decides nothing
        if key not in own:
            continue
        if key == "preprocess" and training.preprocess:  # the steps speak for themselves
            parts += [step.short_name() for step in training.preprocess]
            continue
        # A quick look with --epochs renames nobody either.
        value = own[key] if key == "epochs" else getattr(training, key)
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
    return number_in_name(value) if isinstance(value, float) else str(value).lower()
