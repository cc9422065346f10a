"""A search: the space that candidates are proposed from, after which epochs they are compared, and what each one is.

A proposal is one number for each axis of the space; `Search` says which axes there are and makes an architecture of the
numbers. Who proposes, and what becomes of the candidates, is for others.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fmnist_mlp.sweepfile.layers import Dense, Dropout, Layer
from fmnist_mlp.sweepfile.names import automatic_name
from fmnist_mlp.sweepfile.nodes import Node
from fmnist_mlp.sweepfile.search_entry import SpaceKeys, StopEarly
from fmnist_mlp.sweepfile.settings import Training, TrainingKeys, own_in_name
from fmnist_mlp.sweepfile.stacks import stack_name
from fmnist_mlp.sweepfile.sweep import Architecture

# Candidates in a round. A fixed size, for it decides which candidates come: those of a round know the same results.
ROUND = 20

_MOST_EPOCHS = 100_000  # of a sweep file

# Settings that the size of a stack depends on, or the memory that it takes to train.
_OF_ITS_SIZE = ("preprocess", "optimizer", "momentum")

_SIGNIFICANT_DIGITS = 3  # of a number that is no whole one, so that names and tables show all of it


@dataclass(frozen=True)
class Choice:
    """One of several values; sampled as its index."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both among them; with `log` proportions count, not differences."""

    low: float
    high: float
    log: bool
    is_whole: bool


@dataclass(frozen=True)
class Search:
    """What `search:` asks for, with all that a candidate inherits from the file.

    Attributes:
        trials: how many candidates are proposed.
        sampler: `random` or `tpe`.
        seed: of the search.
        finalists: how many of the best candidates are compared.
        epochs: of a whole training.
        rungs: epochs after which candidates are compared, rising; the last is `epochs`.
        keep: share of the candidates that goes on to the next rung; 1 where there is one alone.
        axes: what is proposed. The order is always depth, shape, `units_1` to `units_N`, dropout and the keys of
            `Training`, however the file has it; what has one value is no axis.
        max_params: its own, else the sweep's; None is no limit.
        line: of `search:` in the file.
        fixed: depth, shape, units and dropout, as far as they are no axes.
        training: the keys of `Training` that the search or the file gives one value.
        file_epochs: `epochs` as the file has it, whatever `--epochs` says.
        own: the keys of `Training` that the search itself gives.
        after_each: the layers after each Dense, before the Dropout.
        key_lines: the line of each key of `training` that somebody gave, in the search or for the whole file.
        layer_lines: the lines of a Dense, of each layer after it, and of a Dropout.
    """

    trials: int
    sampler: str
    seed: int
    finalists: int
    epochs: int
    rungs: tuple[int, ...]
    keep: float
    axes: Mapping[str, Choice | Range]
    max_params: int | None
    line: int
    fixed: Mapping[str, Any]
    training: Mapping[str, Any]
    file_epochs: int
    own: tuple[str, ...] = ()
    after_each: tuple[Layer, ...] = ()
    key_lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    layer_lines: tuple[int, ...] = field(default=(), compare=False)

    @property
    def rounds(self) -> int:
        """How many rounds there are; only whole ones, so there may be more candidates than `trials`."""
        return math.ceil(self.trials / ROUND)

    def tidy(self, sampled: Mapping[str, float]) -> dict[str, int | float]:
        """Sampled numbers as they are used and kept; what is no axis is left out.

        The index of a choice and whole numbers are rounded, other numbers have 3 significant digits. None leaves its
        range.
        """
        return {key: _tidy(axis, sampled[key]) for key, axis in self.axes.items() if key in sampled}

    def architecture(self, values: Mapping[str, int | float]) -> Architecture:
        """The candidate of these values, from `tidy`, of every axis; units of layers beyond its depth do not matter."""
        own = {key: self._value(key, values) for key in self._settings}
        training = Training.model_validate({**self.training, **own})
        units, rate = self._units(values), self._value("dropout", values)
        each = (*self.after_each, *([Dropout(rate=rate)] if rate else []))
        layers = [layer for n in units for layer in (Dense(units=n), *each)]
        return Architecture(
            name=automatic_name(stack_name(layers, default_activation=None), own_in_name(own, training)),
            layers=tuple(layer.with_default_activation(training.activation) for layer in layers),
            training=training,
            line=self.line,
            layer_lines=self.layer_lines[: 1 + len(each)] * len(units),
            max_params=self.max_params,
            key_lines=dict(self.key_lines),
        )

    def in_words(self, values: Mapping[str, int | float]) -> dict[str, Any]:
        """What a table shows of tidy values, by key: `{"depth": 2, "units": "96-48", "learning_rate": 0.002}`."""
        training = self.architecture(values).training
        shown = {"depth": self._value("depth", values)}
        if "shape" in self.axes:
            shown["shape"] = self._value("shape", values)
        shown["units"] = "-".join(map(str, self._units(values)))
        if "dropout" in self.axes:
            shown["dropout"] = self._value("dropout", values)
        for key in self._settings:
            value = getattr(training, key)
            is_plain = value is None or isinstance(value, str | int | float)
            shown[key] = value if is_plain else "-".join(own_in_name({key: value}, training))
        return shown

    def extremes(self) -> list[Architecture]:
        """The smallest and the largest stack of each depth and shape, for checks before anything is trained.

        Each stands with every value of what decides its size and its memory, and one with all of `each_setting`.
        """
        layers = [key for key in self.axes if key.startswith("units_")]  # their axes are all the same
        units = _by_size(self.axes["units_1"]) if layers else (None,)
        rate = _ends(self.axes["dropout"])[0] if "dropout" in self.axes else None
        first = {key: _ends(axis)[0] for key, axis in self._settings.items()}
        found = {architecture.name: architecture for architecture in self.each_setting()}
        for depth, shape, size in itertools.product(self._each("depth"), self._each("shape"), units):
            stack = {"depth": depth, "shape": shape, "dropout": rate, **dict.fromkeys(layers, size)}
            for settings in self._settings_in_turn(_OF_ITS_SIZE):
                architecture = self.architecture({**stack, **first, **settings})
                found.setdefault(architecture.name, architecture)
        return list(found.values())

    def each_setting(self) -> list[Architecture]:
        """Of one stack a candidate with every value of every setting once, of a range with its two ends."""
        stack = {key: _ends(axis)[0] for key, axis in self.axes.items()}
        return [self.architecture(stack | settings) for settings in self._settings_in_turn(TrainingKeys.model_fields)]

    def _settings_in_turn(self, keys: Iterable[str]) -> list[dict[str, int | float]]:
        """As few rows as hold every value of every setting among `keys`."""
        ends = {key: _ends(axis) for key, axis in self._settings.items() if key in keys}
        rows = range(max(map(len, ends.values()), default=1))
        return [{key: each[min(row, len(each) - 1)] for key, each in ends.items()} for row in rows]

    @property
    def most_layers(self) -> tuple[int, int]:
        """The largest depth, and how many layers at most come after each Dense."""
        depth = _largest(self.axes.get("depth"), self.fixed.get("depth"))
        has_dropout = "dropout" in self.axes or self.fixed["dropout"] > 0
        return depth, len(self.after_each) + has_dropout

    @property
    def activations(self) -> tuple[str, ...]:
        """All that the layers of a candidate may have."""
        axis = self.axes.get("activation")
        default = TrainingKeys.model_fields["activation"].default
        return (self.training.get("activation", default),) if axis is None else axis.values

    def settings_to_check(self) -> Iterator[dict[str, Any]]:
        """Of the keys of `training` that the search gives, every two values that a rule between keys could forbid.

        A range is fine in between where it is fine at both ends.
        """
        values = {key: [self._value(key, {key: end}) for end in _ends(axis)] for key, axis in self._settings.items()}
        first = {key: each[0] for key, each in values.items()}
        own = {key: value for key, value in self.training.items() if key in self.own} | first
        own |= {"epochs": self.file_epochs} if "epochs" in own else {}
        yield own
        for rule in Training().rules_between_keys():
            for pair in itertools.product(*(values.get(key, [own.get(key)]) for key in rule)):
                yield own | {key: value for key, value in zip(rule, pair, strict=True) if key in values}

    @property
    def _settings(self) -> dict[str, Choice | Range]:
        """The axes that are keys of `training`."""
        return {key: axis for key, axis in self.axes.items() if key in Training.model_fields}

    def canonical(self) -> dict[str, Any]:
        """What decides which candidates come and how they are compared, in plain JSON: no names, lines or numbers of
        trials and finalists."""
        defaults = TrainingKeys().model_dump(mode="json")
        fixed = {key: _as_json(key, value) for key, value in self.training.items() if key != "epochs"}
        return {
            "axes": {key: _axis_as_json(key, axis) for key, axis in self.axes.items()},
            "fixed": dict(self.fixed),
            "after_each": [layer.canonical() for layer in self.after_each],
            "training": {key: value for key, value in fixed.items() if value != defaults[key]},
            "sampler": self.sampler,
            "seed": self.seed,
            "rungs": list(self.rungs),
            "keep": self.keep,
            "round": ROUND,
            "max_params": self.max_params,
        }

    def _value(self, key: str, values: Mapping[str, int | float]) -> Any:
        axis = self.axes.get(key)
        if axis is None:
            return self.fixed[key]
        return axis.values[values[key]] if isinstance(axis, Choice) else values[key]

    def _units(self, values: Mapping[str, int | float]) -> list[int]:
        """The units of each Dense."""
        depth, shape = self._value("depth", values), self._value("shape", values)
        if "units_1" not in self.axes:
            first = self.fixed["units"]
        elif shape == "free":
            return [self._value(f"units_{number}", values) for number in range(1, depth + 1)]
        else:
            first = self._value("units_1", values)
        return [max(1, first >> layer) if shape == "funnel" else first for layer in range(depth)]

    def _each(self, key: str) -> Iterator[int | None]:
        """Every value of an axis of whole numbers or choices; one that does not matter of what is none."""
        axis = self.axes.get(key)
        if axis is None:
            return iter([None])
        return iter(range(len(axis.values)) if isinstance(axis, Choice) else range(int(axis.low), int(axis.high) + 1))


def _tidy(axis: Choice | Range, number: float) -> int | float:
    if isinstance(axis, Choice):
        return _clipped(_rounded(number), 0, len(axis.values) - 1)
    if axis.is_whole:
        return _clipped(_rounded(number), int(axis.low), int(axis.high))
    return _clipped(float(f"{number:.{_SIGNIFICANT_DIGITS}g}"), axis.low, axis.high)


def _clipped(number: float, low: float, high: float) -> int | float:
    return min(max(number, low), high)


def _rounded(number: float) -> int:
    """The nearest whole number, halves upward."""
    return math.floor(number + 0.5)


def _ends(axis: Choice | Range) -> list[int | float]:
    """Every value of a choice, as its index; the two ends of a range."""
    return [*range(len(axis.values))] if isinstance(axis, Choice) else [axis.low, axis.high]


def _by_size(axis: Choice | Range) -> tuple[int, int]:
    """The smallest and the largest number of units, as they are sampled."""
    if isinstance(axis, Range):
        return axis.low, axis.high
    return axis.values.index(min(axis.values)), axis.values.index(max(axis.values))


def _as_json(key: str, value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_defaults=True)
    return TrainingKeys.model_validate({key: value}).model_dump(mode="json")[key]


def _axis_as_json(key: str, axis: Choice | Range) -> dict[str, Any]:
    if isinstance(axis, Range):
        return {"low": axis.low, "high": axis.high, "log": axis.log, "whole": axis.is_whole}
    return {"values": [_as_json(key, value) if key in Training.model_fields else value for value in axis.values]}


# ---- from the file ----


@dataclass(frozen=True)
class Inherited:
    """What a search takes from the file around it: `training` with its lines, `max_params`, and `--epochs`."""

    training: Mapping[str, Any]
    lines: Mapping[str, int]
    max_params: int | None
    epochs: int | None = None


def make_search(entry: Any, node: Node, inherited: Inherited, report: Callable[[int, str], None]) -> Search:
    """The search of a valid entry; what in it does not fit together goes to `report`, as a line and a message.

    Args:
        entry: of `search_entry`.
        node: where it stands.
    """
    lines = {key: value.line for key, value in node.value.items()}
    key_lines = {**inherited.lines, **{key: line for key, line in lines.items() if key in Training.model_fields}}
    single, axes = _values_and_axes(entry)
    if not axes:
        words = "search has nothing to search for, every key has one value; give one a list of values or a range"
        report(node.line, words)
    if "finalists" in entry.model_fields_set and entry.finalists > entry.trials:
        words = f"search finalists must be at most trials ({entry.trials:,}), got {entry.finalists:,}"
        report(lines["finalists"], words)

    defaults = {key: value.default for key, value in SpaceKeys.model_fields.items() if not value.is_required()}
    given = {**defaults, **inherited.training, **single}
    given = {key: value for key, value in given.items() if key not in axes}
    fixed = {key: value for key, value in given.items() if key in SpaceKeys.model_fields}
    training = {key: value for key, value in given.items() if key in Training.model_fields}
    file_epochs = training.get("epochs", TrainingKeys.model_fields["epochs"].default)
    training["epochs"] = inherited.epochs or file_epochs

    rungs = _rungs(training["epochs"], entry.stop_early)
    if inherited.epochs is None and not _rise(rungs):  # a quick look runs, with as many rungs as rise
        line = lines.get("stop_early", key_lines.get("epochs", node.line))
        report(line, _too_few_epochs(training["epochs"], entry.stop_early))
    after = node.value.get("after_each", Node([], 0))
    after_lines = [item.line for item in after.value] if isinstance(after.value, list) else [after.line]
    return Search(
        trials=entry.trials,
        sampler=entry.sampler,
        seed=entry.seed,
        finalists=min(entry.finalists, entry.trials),
        epochs=training["epochs"],
        rungs=tuple(dict.fromkeys(rungs)),
        keep=1.0 if entry.stop_early is None else entry.stop_early.keep,
        axes=_with_units_of_each_layer(axes, fixed),
        max_params=entry.max_params if "max_params" in entry.model_fields_set else inherited.max_params,
        line=node.line,
        fixed=fixed,
        training=training,
        file_epochs=file_epochs,
        own=tuple(key for key in TrainingKeys.model_fields if key in lines),
        after_each=entry.after_each,
        key_lines=key_lines,
        layer_lines=(lines["units"], *after_lines[: len(entry.after_each)], lines.get("dropout", node.line)),
    )


def _values_and_axes(entry: Any) -> tuple[dict[str, Any], dict[str, Choice | Range]]:
    """The keys of an entry that have one value, and those that have several; in the order of the models."""
    single, axes = {}, {}
    for key in (*SpaceKeys.model_fields, *TrainingKeys.model_fields):
        given = getattr(entry, key) if key in entry.model_fields_set else ()
        if not isinstance(given, tuple):
            low = getattr(given, "from")
            axes[key] = Range(low, given.to, given.log, is_whole=isinstance(low, int))
        elif len(given) == 1:
            (single[key],) = given
        elif given:
            axes[key] = Choice(given)
    return single, axes


def _with_units_of_each_layer(axes: dict[str, Choice | Range], fixed: dict[str, Any]) -> dict[str, Choice | Range]:
    """`units_1` in place of units; where shape may be free one for each layer that there may be."""
    numbered = {}
    for key, axis in axes.items():
        if key != "units":
            numbered[key] = axis
            continue
        shapes = axes["shape"].values if "shape" in axes else (fixed["shape"],)
        layers = _largest(axes.get("depth"), fixed.get("depth")) if "free" in shapes else 1
        numbered |= {f"units_{number}": axis for number in range(1, layers + 1)}
    return numbered


def _largest(axis: Choice | Range | None, fixed: Any) -> Any:
    if axis is None:
        return fixed
    return int(axis.high) if isinstance(axis, Range) else max(axis.values)


def _rungs(epochs: int, stop_early: StopEarly | None) -> list[int]:
    """After how many epochs candidates are compared, first to last; two may be the same where there are too few."""
    if stop_early is None:
        return [epochs]
    later = range(stop_early.rungs - 1, -1, -1)
    return [max(1, _rounded(epochs * stop_early.keep**rungs)) for rungs in later]


def _rise(rungs: list[int]) -> bool:
    return all(first < second for first, second in itertools.pairwise(rungs))


def _too_few_epochs(epochs: int, stop_early: StopEarly) -> str:
    enough = next((n for n in range(epochs + 1, _MOST_EPOCHS + 1) if _rise(_rungs(n, stop_early))), None)
    what = "another keep" if enough is None else f"at least {enough:,} epochs, here it is {epochs:,}"
    return (
        f"search stop_early: rungs {stop_early.rungs} with keep {stop_early.keep:g} needs {what}; use fewer rungs, or "
        "stop_early: false"
    )
