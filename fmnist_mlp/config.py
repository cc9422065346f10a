"""The sweep file: YAML text in, one frozen and validated `Sweep` out, and the list of trials that it asks for.

`load_sweep` reads a file and either returns a `Sweep` or raises one `SweepError` that lists every problem, each with
its line, the user's own line under it, what was expected and the nearest known name. What follows never sees a dict.

Three steps, each hidden from the others: `_read_document` turns text into nodes that know their line (by
ruamel.yaml's event stream, so aliases, depth and duplicate keys are ours to judge); `_Reader` turns nodes into
settings, with pydantic for types and bounds; the rest compares architectures with each other. A key is added by adding
a field to `SweepSettings` (one for the whole file) or `Training` (also for one architecture): reading, messages, the
JSON Schema and, for `Training`, the fingerprint follow from the field.

`list_trials` gives each trial its fingerprint, the SHA-256 of everything that decides its numbers. What is known only
with the data (do the layers fit the images, does the stack fit into memory) is checked by `check_shapes`.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
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
from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError

from fmnist_mlp import stacks
from fmnist_mlp.errors import SweepError

NUMERICS_VERSION = 1  # part of every fingerprint: raise it when the arithmetic of a trial changes

MAX_FILE_BYTES = 1 << 20
MAX_LINE = 20_000  # characters; ruamel.yaml 0.19 takes quadratic time over some long lines (9 s for 1 MiB of "!")
MAX_NODES = 50_000  # values in a file after aliases are expanded: an alias bomb stops here
MAX_DEPTH = 20  # a sweep file needs 7
MAX_LAYERS = 200
MAX_PROBLEMS_SHOWN = 20
MAX_SHOWN_LINE = 100  # characters of the user's own line
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
        return IdxFolder(base / Path(value["idx"]).expanduser())
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
        for position, seed in enumerate(value):
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
                raise PydanticCustomError(
                    "item", f"must be whole numbers from 0 to {MAX_SEED:,}", {"position": position}
                )
            if seed in value[:position]:
                raise PydanticCustomError(
                    "plain", "must differ from each other, but {seed} is listed twice", {"seed": seed}
                )
        return tuple(value)
    raise ValueError("not seeds")


def _read_name(value: Any) -> Any:
    problem = name_problem(value) if isinstance(value, str) else None
    if problem:
        raise PydanticCustomError("plain", "{problem}", {"problem": problem})
    return value


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
        if conflicts:
            raise PydanticCustomError("conflict", "settings that do not go together", {"conflicts": conflicts})
        return self


class SweepSettings(_Settings):
    """The keys of a whole sweep, apart from `training` and `architectures`."""

    dataset: Dataset = Field(
        "auto",
        description="auto: Fashion-MNIST, or a generated stand-in where it cannot be had; fashion_mnist: never the "
        "stand-in; synthetic: always; {idx: FOLDER}: your own images in the same four files.",
    )
    name: Name | None = Field(None, description="Name of the sweep, and of its folder; without it the file's stem.")
    limit: int | None = Field(None, ge=1, le=10**9, description="Use only so many training images; null is all.")
    seeds: Seeds = Field((0, 1, 2, 3, 4), description="How many trainings of each architecture, or a list of seeds.")


@dataclass(frozen=True)
class Overrides:
    """What `--epochs`, `--seeds` and `--limit` put in place of the file's own values, for a quick look."""

    epochs: int | None = None
    seeds: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Architecture:
    """A named layer stack with its effective training settings.

    Attributes:
        layers: as listed, with every activation resolved; `stacks.complete` adds what is automatic.
        line: where it begins in the file, from 1.
        layer_lines: the line of each layer.
    """

    name: str
    layers: tuple[stacks.Layer, ...]
    training: Training
    line: int
    layer_lines: tuple[int, ...] = ()


class Sweep(SweepSettings):
    """A validated sweep file. `name` is always there, `seeds` are the seeds themselves."""

    name: str
    path: Path
    architectures: SkipValidation[tuple[Architecture, ...]]
    text: str = Field("", repr=False)  # of the file, for messages that come later


@dataclass(frozen=True)
class Trial:
    """One training: an architecture with a seed (and a fold), and the settings that its fingerprint was made from."""

    architecture: Architecture
    seed: int
    fold: int | None
    fingerprint: str
    settings: dict = field(repr=False)


# ---- from a file to a Sweep ----


def load_sweep(path: str | Path, overrides: Overrides = Overrides()) -> Sweep:
    """Reads and validates a sweep file.

    Args:
        path: of the file; messages show it as it is given here.
        overrides: applied before rules between keys are checked.

    Raises:
        SweepError: with all problems of the file, one line each and the user's own line under it.
    """
    given = {option: value for option, value in vars(overrides).items() if value is not None}
    _check_overrides(given)
    text = _read_text(path)
    problems = _Problems(str(path), text)
    root = _read_document(text, problems)
    if root is None:  # text that is no YAML says nothing about its settings
        raise problems.error()

    reader = _Reader(problems, given)
    settings = reader.read_settings(root, Path(path).parent)
    architectures = reader.read_architectures(root)
    _check_differ(architectures, problems, given)
    if settings.get("name") is None:
        settings["name"] = _name_from_stem(Path(path), problems)
    problems.raise_if_any()
    return Sweep.model_construct(**settings, path=Path(path), architectures=tuple(architectures), text=text)


def check_shapes(
    sweep: Sweep, image_shape: tuple[int, ...], num_classes: int, memory_limit_bytes: int | None = None
) -> dict[str, stacks.StackSize]:
    """Exact sizes of every architecture, by name, once the data set is known.

    Args:
        sweep: from `load_sweep`.
        image_shape: of one image, `(28, 28)`.
        num_classes: units of the output layer.
        memory_limit_bytes: refuse stacks whose weights, gradient and optimizer variables need more (float32).

    Raises:
        SweepError: with every stack that does not fit its images or the memory.
    """
    problems = _Problems(str(sweep.path), sweep.text)
    sizes = {}
    for architecture in sweep.architectures:
        try:
            size = stacks.count(architecture.layers, image_shape, num_classes)
        except stacks.StackError as error:
            lines = architecture.layer_lines
            line = lines[error.index] if error.index is not None and lines else architecture.line
            problems.add(line, f"{error} (architecture '{architecture.name}')")
            continue
        sizes[architecture.name] = size
        training = architecture.training
        slots = _OPTIMIZER_SLOTS[training.optimizer] + (training.optimizer == "sgd" and training.momentum > 0)
        needed = 4 * size.params * (1 + slots + 1)  # weights, optimizer variables, gradient
        if memory_limit_bytes is not None and needed > memory_limit_bytes:
            problems.add(
                architecture.line,
                f"{size.params:,} parameters need about {_in_words(needed)} to train with {training.optimizer}, "
                f"more than the {_in_words(memory_limit_bytes)} there are; use fewer units "
                f"(architecture '{architecture.name}')",
            )
    problems.raise_if_any()
    return sizes


def list_trials(sweep: Sweep, *, data_identity: str, plain_fit: bool = False) -> list[Trial]:
    """Every trial that a sweep asks for: architectures in the order of the file, seeds inside.

    Args:
        sweep: from `load_sweep`.
        data_identity: what `data` says the arrays are; part of each fingerprint.
        plain_fit: whether Keras's own loop is asked for (`--plain-fit`); convolutional stacks always take it.
    """
    trials = []
    for architecture in sweep.architectures:
        for seed in sweep.seeds:
            settings = canonical_settings(
                architecture, data_identity=data_identity, limit=sweep.limit, seed=seed, plain_fit=plain_fit
            )
            trials.append(Trial(architecture, seed, None, fingerprint(settings), settings))
    return trials


def canonical_settings(
    architecture: Architecture,
    *,
    data_identity: str,
    limit: int | None,
    seed: int,
    fold: int | None = None,
    plain_fit: bool = False,
) -> dict[str, Any]:
    """Everything that decides a trial's numbers, as plain JSON values; nothing else (no names, paths, lines).

    Layers stand with all their arguments. Training settings stand only where they differ from their default, but for
    the four that everybody asks about, so that a key of a later version leaves the fingerprints of old trials alone.
    """
    training = architecture.training
    given = training.model_dump(mode="json", exclude={"activation"})  # the layers have it already
    defaults = Training(optimizer=training.optimizer).model_dump(mode="json")
    always = ("epochs", "batch_size", "optimizer", "learning_rate")
    kept = {key: value for key, value in given.items() if key in always or value != defaults[key]}
    if training.early_stopping is not None:
        kept["early_stopping"] = training.early_stopping.model_dump(mode="json", exclude_defaults=True)
    plain = plain_fit or stacks.is_convolutional(architecture.layers)
    settings = {
        "layers": [_canonical_layer(layer) for layer in architecture.layers],
        "training": kept,
        "data": data_identity,
        "limit": limit,
        "seed": seed,
        "backend": "tensorflow",
        "loop": "plain" if plain else "compiled",
        "numerics": NUMERICS_VERSION,
    }
    return settings if fold is None else {**settings, "fold": fold}


def fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `settings`, in hexadecimal."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """JSON Schema of a sweep file, for editors; `architectures.schema.json` holds it."""
    training = _object_schema(Training)
    architecture = {
        "type": "object",
        "description": "A named architecture; any key of training may stand here too and then holds for it alone.",
        "properties": {
            "name": {**_NAME_SCHEMA, "description": "Name in tables and TensorBoard; without it made from the layers."},
            "layers": {"$ref": "#/$defs/layers"},
            **{key: {"$ref": f"#/properties/training/properties/{key}"} for key in training["properties"]},
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
        },
        "required": ["architectures"],
        "additionalProperties": False,
        "$defs": {
            "architecture": architecture,
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
        return f"must not begin with _, such names are our own; got {_quoted(name)}"
    if len(name) > stacks.MAX_NAME_LENGTH:
        return f"must be at most {stacks.MAX_NAME_LENGTH} characters long, got {len(name)}"
    if not re.fullmatch(NAME_PATTERN, name):
        return (
            "must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', "
            f"got {_quoted(name)}"
        )
    if name.split(".")[0].lower() in _DEVICE_NAMES:
        return f"must not be {_quoted(name)}, which Windows keeps for a device"
    if name.lower() in _READ_AS_MISSING:
        return f"must not be {_quoted(name)}, which pandas.read_csv takes for a missing value"
    return None


# ---- problems, and how they are shown ----


class _Problems:
    """Collects what is wrong with a file and raises it all at once, in the order of lines."""

    def __init__(self, path: str, text: str):
        self._path = _harmless(path)
        # The line breaks of ruamel.yaml's reader, so that our lines are its lines.
        self._lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
        self._found: dict[tuple[int, str], None] = {}  # a dict: what an alias or inheritance finds twice is said once

    def add(self, line: int | None, message: str) -> None:
        """`line` counts from 1; None is for what has no line, such as a missing key."""
        self._found[(line or 0, message)] = None

    def raise_if_any(self) -> None:
        if self._found:
            raise self.error()

    def error(self) -> SweepError:
        found = sorted(self._found, key=lambda problem: problem[0])
        shown = [self._show(line, message) for line, message in found[:MAX_PROBLEMS_SHOWN]]
        if len(found) > MAX_PROBLEMS_SHOWN:
            shown.append(f"{self._path}: and {len(found) - MAX_PROBLEMS_SHOWN:,} more problems")
        return SweepError("\n".join(shown))

    def _show(self, line: int, message: str) -> str:
        if line == 0:
            return f"{self._path}: {message}"
        own = _harmless(self._lines[line - 1].strip(" ")) if line <= len(self._lines) else ""
        if len(own) > MAX_SHOWN_LINE:
            own = own[: MAX_SHOWN_LINE - 1] + "…"
        return f"{self._path}:{line}: {message}" + (f"\n    {own}" if own else "")


def _harmless(text: str) -> str:
    """`text` without characters that could move the cursor or hide something in a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:2000])


def _quoted(text: str) -> str:
    shown = _harmless(text if len(text) <= 60 else text[:59] + "…")
    return f"'{shown}'"


def _listed(names: Sequence[str], word: str = "or") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _in_words(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:,.1f} MiB"


# What people write for what we call differently; other slips are found by likeness.
_SYNONYMS = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "batch": "batch_size",
    "patience": "early_stopping",
    "clipnorm": "gradient_clip",
    "hidden_layers": "layers",
    "units": "Dense",
    "bn": "BatchNormalization",
    "BatchNorm": "BatchNormalization",
    "LayerNorm": "LayerNormalization",
    "Linear": "Dense",
    "MaxPool2D": "MaxPooling2D",
    "alpha": "negative_slope",
}


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'?`, or the list of what there is where nothing is near."""
    known = list(known)
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = _SYNONYMS.get(name) or by_lower.get(name.lower())
    if near not in known:
        close = difflib.get_close_matches(name[:100].lower(), by_lower, n=1)
        near = by_lower[close[0]] if close else None
    if near:
        return f"; did you mean '{near}'?"
    return f"; known: {', '.join(known)}" if known else ""


# ---- text and YAML ----


def _read_text(path: str | Path) -> str:
    """The file's text, after everything that is wrong with it as a file."""
    shown = _harmless(str(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SweepError(
            f"{shown}: there is no such file; give the path of a sweep file, or run without one in a folder that "
            "holds architectures.yaml"
        ) from None
    except IsADirectoryError:
        raise SweepError(f"{shown}: is a folder; give the path of a sweep file, such as architectures.yaml") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        raise SweepError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise SweepError(f"{shown}: is larger than 1 MiB; a sweep file is a short text, is this the right file?")
    try:
        text = content.decode("utf-8-sig")  # takes away the byte order mark that Windows editors write
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SweepError(f"{shown}:{line}: is not UTF-8 text; save it as UTF-8, or is this the right file?") from None
    forbidden = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]", text)
    if forbidden:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise SweepError(
            f"{shown}:{line}: holds the control character U+{ord(forbidden.group()):04X}, so it is not a sweep file"
        )
    for line, content in enumerate(text.splitlines(), start=1):
        if len(content) > MAX_LINE:
            raise SweepError(f"{shown}:{line}: has {len(content):,} characters; is this the right file?")
    return text


@dataclass(frozen=True)
class _Node:
    """A value and where it stands.

    Attributes:
        value: None, bool, int, float, str, a list of nodes, or a dict from key to `(line of the key, node)`.
        line: from 1.
        size: number of values in it, aliases expanded.
        source: a scalar as the user wrote it.
    """

    value: Any
    line: int
    size: int = 1
    source: str = ""

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, (_, item) in self.value.items()}
        return self.value

    def shown(self) -> str:
        """For the end of a message: `got 1.5`, `got 'wide'`, `got a list`."""
        if isinstance(self.value, list):
            return "a list" if self.value else "[]"
        if isinstance(self.value, dict):
            return "a mapping (key: value)" if self.value else "{}"
        if self.value is None:
            return self.source or "nothing"
        return _quoted(self.value) if isinstance(self.value, str) else _quoted(self.source)[1:-1]


class _BadYaml(Exception):
    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


def _read_document(text: str, problems: _Problems) -> _Node | None:
    """The one document in `text` as nodes; text that cannot be read at all leaves a problem and gives None."""
    parser = YAML(typ="safe", pure=True)
    try:
        return _Composer(parser.parse(text), problems).compose_document()
    except _BadYaml as error:
        problems.add(error.line, str(error))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(mark.line + 1 if mark else None, _explain_syntax(error))
    except RecursionError:
        problems.add(None, f"is nested more than {MAX_DEPTH} levels deep")
    except Exception as error:  # ruamel.yaml 0.19 lets ValueError, IndexError and others out of its scanner
        problems.add(None, f"cannot be read as YAML: {_harmless(str(error))[:200]}")
    return None


# What ruamel.yaml says -> what a reader who has never seen a YAML scanner needs to know.
_SYNTAX = (
    (r"found character '\\t'|found character '\t'", "a tab stands where YAML wants spaces; indent with spaces"),
    (r"could not find expected ':'", "a ':' is missing, or a line is indented differently from its neighbours"),
    (
        r"mapping values are not allowed here",
        "a second ': ' in one line, or a line indented differently from its neighbours",
    ),
    (r"expected ',' or '\]'", "a list opened by [ is not closed, or a comma is missing"),
    (r"expected ',' or '\}'", "a mapping opened by { is not closed, or a comma is missing"),
    (r"expected <block end>", "this line is indented differently from its neighbours, or a '-' is missing"),
    (r"while scanning a quoted scalar|unexpected end of stream", "a quotation mark is not closed"),
)


def _explain_syntax(error: MarkedYAMLError) -> str:
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    words = next((words for pattern, words in _SYNTAX if re.search(pattern, said)), _harmless(said)[:200])
    began = error.context_mark.line + 1 if error.context_mark else None
    where = f" (begun in line {began})" if began and error.problem_mark and began != error.problem_mark.line + 1 else ""
    return f"this is not valid YAML: {words}{where}"


class _Composer:
    """Turns the parser's events into nodes: duplicate keys, aliases, merge keys, tags and depth are judged here."""

    def __init__(self, stream: Iterator[events.Event], problems: _Problems):
        self._stream = stream
        self._problems = problems
        self._anchors: dict[str, _Node | None] = {}  # None while the anchored value is still being read
        self._nodes = 0

    def compose_document(self) -> _Node:
        root = None
        for event in self._stream:
            if isinstance(event, events.DocumentStartEvent):
                if root is not None:
                    raise _BadYaml(_line(event), "a second document begins here (---); a sweep file holds one")
                root = self._compose(next(self._stream), depth=0)
        if root is None or root.value is None:
            raise _BadYaml(0, "the file is empty; it needs at least 'architectures:' with a list of layer stacks")
        if not isinstance(root.value, dict):
            raise _BadYaml(
                root.line, f"a sweep file is a mapping with 'architectures:' and other keys, got {root.shown()}"
            )
        return root

    def _compose(self, event: events.Event, depth: int) -> _Node:
        line = _line(event)
        if depth > MAX_DEPTH:
            raise _BadYaml(line, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, events.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, events.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, events.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        self._grow(1, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: events.AliasEvent) -> _Node:
        name = _quoted("*" + event.anchor)
        if event.anchor not in self._anchors:
            raise _BadYaml(_line(event), f"{name} names no anchor (&) that stands above it")
        node = self._anchors[event.anchor]
        if node is None:
            raise _BadYaml(_line(event), f"{name} stands inside the value that it repeats")
        self._grow(node.size, _line(event))
        return replace(node, line=_line(event))

    def _grow(self, size: int, line: int) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise _BadYaml(line, f"more than {MAX_NODES:,} values once aliases are written out")

    def _scalar(self, event: events.ScalarEvent) -> _Node:
        tag, typed = _tag(event), ("!!int", "!!float", "!!bool", "!!null")
        plain = event.style is None and tag is None
        _allow_tag(event, "!!str", *typed)
        value = _resolve(event.value) if plain or tag in typed else event.value
        return _Node(value, _line(event), source=event.value)

    def _sequence(self, event: events.SequenceStartEvent, depth: int) -> _Node:
        _allow_tag(event, "!!seq")
        items = []
        for inner in self._stream:
            if isinstance(inner, events.SequenceEndEvent):
                break
            items.append(self._compose(inner, depth + 1))
        return _Node(items, _line(event), size=1 + sum(item.size for item in items))

    def _mapping(self, event: events.MappingStartEvent, depth: int) -> _Node:
        _allow_tag(event, "!!map")
        entries: dict[str, tuple[int, _Node]] = {}
        merged: list[_Node] = []
        for inner in self._stream:
            if isinstance(inner, events.MappingEndEvent):
                break
            key_line = _line(inner)
            key = self._compose(inner, depth + 1)
            value = self._compose(next(self._stream), depth + 1)
            if isinstance(key.value, list | dict):
                raise _BadYaml(key_line, f"a key must be plain text, got {key.shown()}")
            if key.source == "<<" and key.value == "<<":
                merged.append(value)
            elif key.source in entries:
                first = entries[key.source][0]
                where = f"in line {first} and in line {key_line}" if first != key_line else f"twice in line {key_line}"
                self._problems.add(key_line, f"the key {_quoted(key.source)} is given {where}; keep one")
            else:
                entries[key.source] = (key_line, value)
        self._merge(entries, merged)
        return _Node(entries, _line(event), size=1 + sum(1 + item.size for _, item in entries.values()))

    def _merge(self, entries: dict[str, tuple[int, _Node]], merged: list[_Node]) -> None:
        """`<<: *other` fills in the keys that are not given, earlier ones first, as in YAML 1.1."""
        for node in merged:
            for source in node.value if isinstance(node.value, list) else [node]:
                if not isinstance(source.value, dict):
                    raise _BadYaml(source.line, f"<< takes a mapping or a list of mappings, got {source.shown()}")
                self._grow(source.size, source.line)
                for key, (line, value) in source.value.items():
                    entries.setdefault(key, (line, value))


def _line(event: events.Event) -> int:
    return event.start_mark.line + 1


def _tag(event: events.Event) -> str | None:
    """An explicit tag as people write it, `!!int` or `!python/object`; None without one."""
    tag = str(event.tag) if event.tag else None
    return re.sub(r"^tag:yaml\.org,2002:", "!!", tag) if tag else None


def _allow_tag(event: events.Event, *allowed: str) -> None:
    tag = _tag(event)
    if tag not in (None, "!", *allowed):
        raise _BadYaml(_line(event), f"the tag {_quoted(tag)} is not allowed; a sweep file holds plain values only")


def _resolve(text: str) -> Any:
    """A plain scalar's value by YAML 1.2's core schema, so `1e-3` is a number and `on`, `no`, `12:30:00` are text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9](_?[0-9]){0,99}", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]{1,99}", text):
        return int(text[2:], 8)
    if re.fullmatch(r"0x[0-9a-fA-F]{1,99}", text):
        return int(text[2:], 16)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    special = re.fullmatch(r"([-+]?)\.(inf|Inf|INF)", text)
    if special:
        return float(special.group(1) + "inf")
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text


# ---- nodes to settings ----


class _Reader:
    """Turns nodes into settings; what it cannot use it reports and leaves out, so that one slip gives one message."""

    def __init__(self, problems: _Problems, overrides: dict[str, int]):
        self._problems = problems
        self._overrides = overrides
        self._training: dict[str, tuple[int, _Node]] = {}  # the valid keys of the file's `training`
        self.training_is_sound = True  # else rules between keys would judge what the user did not mean

    def read_settings(self, root: _Node, folder: Path) -> dict[str, Any]:
        """The top-level keys of `SweepSettings`, complete with defaults; keeps `training` for the architectures."""
        known = [*SweepSettings.model_fields, "training", "architectures"]
        self._report_unknown(root, known)
        own = {key: entry for key, entry in root.value.items() if key in SweepSettings.model_fields}
        valid = self._read_fields(SweepSettings, own, "", context={"folder": folder})
        settings = SweepSettings.model_validate(
            {key: node.plain() for key, (_, node) in valid.items()}, context={"folder": folder}
        )
        values = {name: getattr(settings, name) for name in SweepSettings.model_fields}
        if "seeds" in self._overrides:
            values["seeds"] = tuple(range(self._overrides["seeds"]))
        if "limit" in self._overrides:
            values["limit"] = self._overrides["limit"]

        line, node = root.value.get("training", (None, _Node(None, 1)))
        if isinstance(node.value, dict):
            unknown = self._report_unknown(node, list(Training.model_fields), where=" in training")
            own = {key: entry for key, entry in node.value.items() if key in Training.model_fields}
            self._training = self._read_fields(Training, own, "")
            self.training_is_sound = not unknown and len(self._training) == len(own)
        elif node.value is not None:
            self._problems.add(line, f"training must be a mapping such as {{epochs: 20}}, got {node.shown()}")
            self.training_is_sound = False
        return values

    def read_architectures(self, root: _Node) -> list[Architecture]:
        line, node = root.value.get("architectures", (None, None))
        if node is None:
            likely = any(difflib.get_close_matches(key[:50], ["architectures"]) for key in root.value)
            if not likely:  # else it is a misspelt key, which is reported already
                self._problems.add(None, "'architectures:' is missing, the list of layer stacks to train")
            return []
        if not isinstance(node.value, list) or not node.value:
            self._problems.add(
                line,
                f"architectures must be a list of layer stacks, such as '- [64, 32]' in its own line, "
                f"got {node.shown()}",
            )
            return []
        read = (self._read_architecture(item, number) for number, item in enumerate(node.value, start=1))
        return [architecture for architecture in read if architecture is not None]

    def _read_architecture(self, node: _Node, number: int) -> Architecture | None:
        """A list of layers, or a mapping with `layers`, perhaps `name`, and keys of `Training`; None if unusable."""
        if isinstance(node.value, list):
            node = replace(node, value={"layers": (node.line, node)})
        if not isinstance(node.value, dict):
            hint = f"; write - [{node.value}]" if type(node.value) is int else ""
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
        unknown = self._report_unknown(node, ["name", "layers", *Training.model_fields], suffix)
        if "layers" not in entries and not unknown:
            self._problems.add(node.line, f"layers is missing, a list such as layers: [64, 32]{suffix}")

        own = {key: entry for key, entry in entries.items() if key in Training.model_fields}
        valid = self._read_fields(Training, own, suffix)
        if unknown or len(valid) < len(own) or not self.training_is_sound:
            return None
        training = self._effective_training(own, suffix)
        if raw is None or training is None or (named is not None and name is None):
            return None
        layers = tuple(layer.with_default_activation(training.activation) for layer in raw)
        name = name or self._automatic_name(raw, training, own)
        return Architecture(name, layers, training, node.line, layer_lines)

    def _read_own_name(self, entries: dict[str, tuple[int, _Node]]) -> tuple[str | None, _Node | None]:
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

    def _read_layers(self, node: _Node, suffix: str) -> tuple[tuple[stacks.Layer, ...] | None, tuple[int, ...]]:
        if not isinstance(node.value, list):
            self._problems.add(node.line, f"layers must be a list, such as [64, 32], got {node.shown()}{suffix}")
            return None, ()
        if len(node.value) > MAX_LAYERS:
            self._problems.add(node.line, f"at most {MAX_LAYERS} layers are allowed, got {len(node.value):,}{suffix}")
            return None, ()
        layers = [self._read_layer(item, suffix) for item in node.value]
        if any(layer is None for layer in layers):
            return None, ()
        return tuple(layers), tuple(item.line for item in node.value)

    def _read_layer(self, node: _Node, suffix: str) -> stacks.Layer | None:
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
                f"got {len(value)} keys ({_quoted(', '.join(value))[1:-1]}){suffix}",
            )
            return None
        else:
            self._problems.add(
                node.line,
                "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as "
                f"{{Dropout: 0.3}}, got {node.shown()}{suffix}",
            )
            return None
        if name not in stacks.LAYERS:
            self._problems.add(node.line, f"unknown layer {_quoted(name)}{_layer_hint(name)}{suffix}")
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
        return self._make_layer(layer, arguments, node.line, suffix)

    def _make_layer(
        self, layer: type[stacks.Layer], arguments: dict[str, tuple[int, _Node]], line: int, suffix: str
    ) -> stacks.Layer | None:
        subject = _spoken(layer.__name__)
        known = list(layer.model_fields)
        unknown = [key for key in arguments if key not in known]
        for key in unknown:
            near = _did_you_mean(key, known) if known else "; it takes none"
            self._problems.add(arguments[key][0], f"{subject} has no argument {_quoted(key)}{near}{suffix}")
        valid = self._read_fields(
            layer, {key: entry for key, entry in arguments.items() if key in known}, suffix, subject + " "
        )
        missing = [key for key, info in layer.model_fields.items() if info.is_required() and key not in arguments]
        if missing and not unknown:  # a misspelt argument is missing too, but that is one mistake
            self._problems.add(line, f"{subject} needs {_listed(missing, 'and')}: write {layer.example}{suffix}")
        if unknown or missing or len(valid) < len(arguments):
            return None
        return layer.model_validate({key: node.plain() for key, (_, node) in valid.items()})

    def _effective_training(self, own: dict[str, tuple[int, _Node]], suffix: str) -> Training | None:
        """The file's `training`, the architecture's own keys over it, and the command line's over both."""
        entries = {**self._training, **own}
        values = {key: node.plain() for key, (_, node) in entries.items()}
        if "epochs" in self._overrides:
            values["epochs"] = self._overrides["epochs"]
        try:
            return Training.model_validate(values)
        except ValidationError as error:
            for keys, message in error.errors()[0]["ctx"]["conflicts"]:
                if "epochs" in keys and "epochs" in self._overrides:
                    message += ", with --epochs"
                # Where the architecture itself says one of the keys, that is the line to change.
                key = next((key for key in keys if key in own), None) or next(key for key in keys if key in entries)
                self._problems.add(entries[key][0], message + (suffix if key in own else ""))
            return None

    def _automatic_name(
        self, layers: tuple[stacks.Layer, ...], training: Training, own: dict[str, tuple[int, _Node]]
    ) -> str:
        """The stack's name and what the architecture sets for itself: `64-32-learning_rate0.0005`, `64-32-adamw`.

        So the same stack with two learning rates needs no `name:`. The name depends on nothing but the architecture's
        own lines: another one that is added to the file, or a change of `training`, renames nobody.
        """
        parts = []
        for key in Training.model_fields:  # not the order of the file, which decides nothing
            if key not in own:
                continue
            # A quick look with --epochs renames nobody either.
            value = own[key][1].value if key == "epochs" else getattr(training, key)
            if isinstance(value, EarlyStopping):
                value = value.patience
            shown = format(value, ".12g").replace("+", "") if isinstance(value, float) else value
            parts.append(shown if isinstance(value, str) else f"{key}{'_none' if value is None else shown}")
        return stacks.shorten_name("-".join([stacks.stack_name(layers, default_activation=None), *parts]))

    def _report_unknown(self, node: _Node, known: list[str], suffix: str = "", where: str = "") -> bool:
        """Whether the mapping has keys that are not `known`; each is reported with the nearest, or where it belongs."""
        unknown = [key for key in node.value if key not in known]
        for key in unknown:
            hint = _did_you_mean(key, known)
            if "did you mean" not in hint:
                for elsewhere, place in ((Training, "under 'training'"), (SweepSettings, "at the top of the file")):
                    near = _did_you_mean(key, elsewhere.model_fields)
                    if key in elsewhere.model_fields:
                        hint = f"; it stands {place}"
                        break
                    if "did you mean" in near:
                        hint = f"{near.rstrip('?')}, {place}?"
                        break
            self._problems.add(node.value[key][0], f"unknown key {_quoted(key)}{where}{hint}{suffix}")
        return bool(unknown)

    def _read_fields(
        self,
        model: type[BaseModel],
        entries: dict[str, tuple[int, _Node]],
        suffix: str,
        subject: str = "",
        context: dict | None = None,
    ) -> dict[str, tuple[int, _Node]]:
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


def _layer_hint(name: str) -> str:
    """What to write in place of an unknown layer."""
    if name.isdecimal():
        return f"; for a Dense of {name[:20]} units write the number without quotes"
    if name in stacks.ACTIVATIONS or name in stacks.ACTIVATION_ALIASES:
        return f"; for an activation write {{Activation: {name}}}"
    return _did_you_mean(name, stacks.LAYERS)


def _spoken(layer: str) -> str:
    """A layer's name inside a sentence: dropout, dense, but BatchNormalization."""
    return layer.lower() if layer.isalpha() and layer.istitle() else layer


def _explain(model: type[BaseModel], key: str, entry: tuple[int, _Node], details: dict) -> tuple[int, str]:
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
            near = _did_you_mean(inner, nested.model_fields)
            return inner_entry[0], f"{key} has no key {_quoted(inner)}{near}"
        inner_line, message = _explain(nested, inner, inner_entry, {**details, "loc": loc[1:]})
        return inner_line, f"{key} {message}"
    if kind == "plain":
        return line, f"{key} {details['msg']}"
    if kind == "item":
        item = node.value[details["ctx"]["position"]]
        return item.line, f"{key} {details['msg']}, got {item.shown()}"
    if nested is not None:
        required = [name for name, field_info in nested.model_fields.items() if field_info.is_required()]
        return line, f"{key} must be a mapping such as {{{required[0]}: 5}}, got {node.shown()}"
    expectation, choices = _expectation(info, node.value)
    near = difflib.get_close_matches(node.value[:100], choices, n=1) if isinstance(node.value, str) else []
    hint = f"; did you mean '{near[0]}'?" if near else ""
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
            raise SweepError(f"--{option} must be {expectation}, got {_harmless(str(value))[:60]}") from None


def _check_differ(architectures: list[Architecture], problems: _Problems, overrides: dict[str, int]) -> None:
    """No two architectures may have one name, or be the same trials under two names."""
    with_epochs = " with --epochs" if "epochs" in overrides else ""
    by_name: dict[str, Architecture] = {}
    by_trials: dict[str, Architecture] = {}
    for architecture in architectures:
        settings = canonical_settings(architecture, data_identity="", limit=None, seed=0)
        first = by_trials.setdefault(fingerprint(settings), architecture)
        if first is not architecture:
            problems.add(
                architecture.line,
                f"architecture '{architecture.name}' would be the same trials as '{first.name}' "
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


def _name_from_stem(path: Path, problems: _Problems) -> str:
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


def _canonical_layer(layer: stacks.Layer) -> dict[str, Any]:
    arguments = {
        name: list(value) if isinstance(value, tuple) else value for name, value in layer.keras_arguments().items()
    }
    return {type(layer).__name__: arguments}


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
