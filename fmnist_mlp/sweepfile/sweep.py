"""What a sweep file asks for: the `Sweep`, its architectures and baselines, what the command line overrides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pydantic import (
    Field,
    SkipValidation,
)

from fmnist_mlp.sweepfile.classifiers import Classifier
from fmnist_mlp.sweepfile.layers import Layer
from fmnist_mlp.sweepfile.names import NAME_PATTERN, name_problem
from fmnist_mlp.sweepfile.settings import SelectBy, SweepSettings, Training
from fmnist_mlp.sweepfile.stacks import StackSize, stack_name
from fmnist_mlp.words import counted


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
        line: where it, or the grid or search that it comes from, begins in the file, from 1.
        layer_lines: the line of each layer.
        key_lines: the line of each key of `training` that somebody gave, here or for the whole file.
        max_params: its own, else the sweep's; None is no limit. Decides whether it is trained, so no part of a trial.
        as_listed: the layers with the activations that the file itself gives them; none for a stack of a grid.
    """

    name: str
    layers: tuple[Layer, ...]
    training: Training
    line: int
    layer_lines: tuple[int, ...] = ()
    max_params: int | None = None
    key_lines: dict[str, int] = field(default_factory=dict, compare=False)
    as_listed: tuple[Layer, ...] = field(default=(), compare=False, repr=False)

    @property
    def in_short(self) -> str:
        """What the column `layers` says: `256-drop0.3-128`."""
        return stack_name(self.layers)


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
    classifier: Classifier
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
    """A validated sweep file. `name` is always there, `seeds` are the seeds themselves, all that may be asked for.

    Attributes:
        architectures: those listed, then what grids add to them, then the baselines.
        search: what `search:` asks for (`search.Search`), None without it.
        grid_stacks: how many stacks the grids expand to.
        grid_duplicates: how many of those are left out, being the same trials as another architecture.
        key_lines: the line of each key at the top of the file.
        doubts: lines and messages on what is hardly meant, as far as the file alone tells; `find_doubts` has them all.
        overrides: what the command line put in place of the file's own values, as far as it differs from them.
        looks: after how many of the seeds verdicts are drawn; none where that is once, after all of them.
        file_limit: the file's own, where `limit` may be overridden.
        file_seeds: the same of `seeds`.
    """

    name: str
    seeds: SkipValidation[tuple[int, ...]]
    select_by: SelectBy
    path: Path
    architectures: SkipValidation[tuple[Architecture | Baseline, ...]]
    search: SkipValidation[Any] = None  # `search` makes architectures and imports this module
    grid_stacks: int = 0
    grid_duplicates: int = 0
    key_lines: Mapping[str, int] = Field({}, repr=False)
    doubts: tuple[tuple[int, str], ...] = ()
    text: str = Field("", repr=False)  # of the file, for messages that come later
    overrides: Overrides = Overrides()
    looks: tuple[int, ...] = ()
    file_limit: int | None = None
    file_seeds: tuple[int, ...] = ()

    @property
    def refits(self) -> int:
        """How often each architecture that is refitted is trained again: as many seeds as the first look has."""
        return 0 if self.refit is None else self.refit.seeds or (*self.looks, len(self.seeds))[0]

    @property
    def quick_look(self) -> Overrides:
        """What keeps this from being what the file asks for; more seeds than those of the file do not."""
        has_all_seeds = {*self.file_seeds} <= {*self.seeds}
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
        words = [] if epochs is None else [counted(epochs, "epoch")]
        words += [] if limit is None else [counted(limit, "training image")]
        if seeds is not None:
            others = ", ".join(map(str, self.file_seeds[:10]))
            are_nested = {*self.seeds} <= {*self.file_seeds} or {*self.file_seeds} <= {*self.seeds}
            asked_for = f"{len(self.file_seeds):,}" if are_nested else f"others: {others}"
            words.append(f"{counted(seeds, 'seed')}, the file asks for {asked_for}")
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


UNKNOWN_SIZE = StackSize(params=None, trainable_params=None, flops=None)


def over_budget(sweep: Sweep, sizes: Mapping[str, StackSize]) -> frozenset[str]:
    """Names of the architectures with more parameters than their `max_params`; `sizes` are those of `check_shapes`."""
    return frozenset(item.name for item in sweep.architectures if is_over_budget(item, sizes[item.name]))


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


def is_over_budget(architecture: Architecture, size: StackSize) -> bool:
    return architecture.max_params is not None and size.params > architecture.max_params
