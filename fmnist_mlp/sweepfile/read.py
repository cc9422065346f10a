"""A sweep file becomes one frozen, validated `Sweep`, or one `SweepError` that lists every problem.

Each problem has its line, the user's own line under it, what was expected and the nearest known name. `nodes` turns
text into nodes that know their line; the models of `settings` and `entries` say what may stand in them, and `explain`
what is wrong. Here entries become architectures: what they inherit, what they are called, how they differ from each
other. `checks` judges what only the data can tell.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import FailFast, Field, TypeAdapter, ValidationError

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile import misreadings, stacks
from fmnist_mlp.sweepfile.checks import FASHION_MNIST, report_pasted_ends
from fmnist_mlp.sweepfile.duplicates import check_differ, new_trials
from fmnist_mlp.sweepfile.entries import GRID_EXAMPLE, ArchitectureEntry, BaselineEntry, LayerEntry, grid_entry
from fmnist_mlp.sweepfile.explain import SECTIONS, Entry, explain
from fmnist_mlp.sweepfile.grids import DenseStacks, size_problem
from fmnist_mlp.sweepfile.layers import Dense, Layer
from fmnist_mlp.sweepfile.names import automatic_name, name_problem
from fmnist_mlp.sweepfile.nearest import nearest
from fmnist_mlp.sweepfile.nodes import Node, Problems, read_document, read_text
from fmnist_mlp.sweepfile.search import Inherited, Search, make_search
from fmnist_mlp.sweepfile.search_entry import search_entry
from fmnist_mlp.sweepfile.settings import (
    MAX_LAYERS,
    OwnImages,
    Refit,
    SelectBy,
    SweepSettings,
    Training,
    TrainingKeys,
    UntilDecided,
    own_in_name,
)
from fmnist_mlp.sweepfile.sweep import OF_A_BASELINE, Architecture, Baseline, Overrides, Sweep
from fmnist_mlp.sweepfile.wants import Checked, wanted
from fmnist_mlp.words import harmless

MAX_TRIALS = 100_000  # more than anybody trains; planning so many takes 1.2 s and 0.1 GB (Zen 5)


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
    reader.read_training(root)
    listed, compared = reader.read_architectures(root), reader.read_baselines(root)
    check_differ([*listed, *compared], problems, given)
    if not isinstance(settings["dataset"], OwnImages):  # Fashion-MNIST and its stand-in are known without looking
        report_pasted_ends(listed, *FASHION_MNIST, problems)
    expanded = reader.read_grids(root)
    search = reader.read_search(root)
    candidates, finalists = (search.trials, search.finalists) if search else (0, 0)
    _check_refit(settings["refit"], [*listed, *expanded, *(search.each_setting() if search else ())], problems)
    seeds = len(settings["seeds"])
    refits = (settings["refit"].seeds or seeds) if settings["refit"] else 0
    architectures = len(listed) + len(expanded) + len(compared) + finalists
    trials = candidates + architectures * (seeds * (settings["folds"] or 1) + refits)
    if trials > MAX_TRIALS:
        fewer = "seeds, folds or stacks" if settings["folds"] else "seeds or stacks"
        fewer = "seeds, finalists or stacks" if search else fewer
        problems.add(None, f"asks for {trials:,} trials; at most {MAX_TRIALS:,} are allowed, use fewer {fewer}")
    if settings.get("name") is None:
        settings["name"] = _name_from_stem(Path(path), problems)
    problems.raise_if_any()
    added = new_trials(expanded, [*listed, *compared])
    if settings.get("looks") and len(listed) + len(added) + len(compared) + finalists == 1:
        first = settings["looks"][0]
        words = f"seeds: until decided has nothing to decide of one architecture: it is trained with {first} seeds"
        reader.doubts.append((root.value["seeds"].line, words))
    return Sweep.model_construct(
        **settings,
        path=Path(path),
        architectures=(*listed, *added, *compared),
        search=search,
        grid_stacks=len(expanded),
        grid_duplicates=len(expanded) - len(added),
        key_lines={key: node.line for key, node in root.value.items()},
        doubts=tuple(reader.doubts),
        text=text,
        **reader.of_the_file,
        overrides=Overrides(**{option: value for option, value in given.items() if option in reader.overridden}),
    )


# ---- entries to architectures ----

_Model = TypeVar("_Model", bound=Checked)

# What people take for their one seed.
_LIKELY_SEEDS = frozenset({42, 123, 1234, 1337, 2023, 2024, 2025, 2026})


@dataclass(frozen=True)
class _Conflict:
    """A rule between keys that is broken: the line to change, what is wrong, and whether `training` alone says it."""

    keys: tuple[str, ...]
    line: int
    message: str
    is_inherited: bool


class _Reader:
    """Turns entries into architectures; what it cannot use it reports and leaves out: one slip gives one message."""

    def __init__(self, problems: Problems, overrides: dict[str, int]):
        self._problems = problems
        self._overrides = overrides
        self.overridden: set[str] = set()  # those of the overrides that are not what the file says anyway
        self.of_the_file: dict[str, Any] = {}  # what `Sweep` remembers of the file's own values
        self.doubts: list[tuple[int, str]] = []
        self._training: dict[str, Any] = {}  # the valid keys of the file's `training`
        self._training_lines: dict[str, int] = {}
        self._training_is_sound = True  # else rules between keys would judge what the user did not mean
        self._folds: int | None = None
        self._max_params: int | None = None

    def _report(self, error: ValidationError, entry: Entry) -> None:
        for line, message in explain(error, entry):
            self._problems.add(line, message)

    def _read_entry(self, model: type[_Model], entry: Entry) -> _Model | None:
        """The model of an entry; None where it is not valid, which is reported."""
        try:
            return model.model_validate(entry.node.plain())
        except ValidationError as error:
            self._report(error, entry)
            return None

    def _read_list(self, root: Node, key: str, of: str, hint: Callable[[Node], str] = lambda node: "") -> list[Node]:
        """The items of a section of the file; none where it is not there, or is no list, which is reported."""
        node = root.value.get(key, Node([], 0))
        if key in root.value and (not isinstance(node.value, list) or not node.value):
            self._problems.add(
                node.line, f"{key} must be a list of {of} in its own line, got {node.shown()}{hint(node)}"
            )
            return []
        return node.value

    def _read_keys(self, model: type[_Model], entry: Entry, context: dict | None = None) -> tuple[_Model, bool]:
        """The model of the keys that are valid, and whether that is all of them."""
        keys = entry.node.plain()
        try:
            return model.model_validate(keys, context=context), True
        except ValidationError as error:
            self._report(error, entry)
            wrong = {details["loc"][0] for details in error.errors(include_url=False, include_input=False)}
            valid = {key: value for key, value in keys.items() if key not in wrong}
            return model.model_validate(valid, context=context), False

    # -- the whole file --

    def read_settings(self, root: Node, folder: Path) -> dict[str, Any]:
        """The top-level keys of `SweepSettings`, complete with defaults."""
        entries = {key: entry for key, entry in root.value.items() if key not in SECTIONS}
        entry = Entry("top", replace(root, value=entries))
        settings, _ = self._read_keys(SweepSettings, entry, {"folder": folder})
        values = {name: getattr(settings, name) for name in SweepSettings.model_fields}
        node = entries.get("seeds", Node(None, 0))
        if type(node.value) is int and node.value in _LIKELY_SEEDS and "seeds" not in self._overrides:
            words = (
                f"seeds: {node.value} asks for {node.value:,} trainings of each architecture, with seeds 0 to "
                f"{node.value - 1:,}; for the one seed {node.value} write seeds: [{node.value}]"
            )
            self.doubts.append((node.line, words))
        self._override(values)
        values["select_by"] = self._decide_select_by(values, entries)
        self._check_folds(values, entries)
        self._folds, self._max_params = values["folds"], values["max_params"]
        return values

    def read_training(self, root: Node) -> None:
        """The file's `training`, which architectures, grids and baselines inherit."""
        node = root.value.get("training", Node(None, 0))
        if isinstance(node.value, dict):
            keys, self._training_is_sound = self._read_keys(TrainingKeys, Entry("training", node))
            self._training = keys.given
            self._training_lines = {key: value.line for key, value in node.value.items() if key in self._training}
            self._report_idle_split(node)
        elif node.value is not None:
            self._problems.add(node.line, f"training must be a mapping such as {{epochs: 20}}, got {node.shown()}")
            self._training_is_sound = False

    def _override(self, values: dict[str, Any]) -> None:
        """Put `--seeds` and `--limit` in place of the file's values, and remember those."""
        if isinstance(values["seeds"], UntilDecided):
            values["looks"] = values["seeds"].all_looks()
            values["seeds"] = tuple(range(values["looks"][-1]))
        seeds, refit = range(self._overrides.get("seeds", 0)), values["refit"]
        self.of_the_file = {"file_seeds": values["seeds"], "file_limit": values["limit"]}
        if seeds and {*seeds} != {*values["seeds"]}:
            self.overridden.add("seeds")
            if refit is not None and refit.seeds is not None and not {*values["seeds"]} <= {*seeds}:
                # A quick look is no longer than it says.
                values["refit"] = refit.model_copy(update={"seeds": min(refit.seeds, len(seeds))})
            values["seeds"] = tuple(seeds)
            values.pop("looks", None)
        if "limit" in self._overrides and values["limit"] != self._overrides["limit"]:
            self.overridden.add("limit")
            values["limit"] = self._overrides["limit"]

    def _decide_select_by(self, values: dict[str, Any], entries: dict[str, Node]) -> SelectBy:
        if values["select_by"] is None:
            return "val_accuracy" if values["folds"] is None else "cv_accuracy"
        # Folds that are there but wrong are reported already.
        if values["select_by"] == "cv_accuracy" and ("folds" not in entries or entries["folds"].value is None):
            self._problems.add(
                entries["select_by"].line,
                "select_by: cv_accuracy needs folds; add a line such as folds: 5, or select by val_accuracy",
            )
        return values["select_by"]

    def _check_folds(self, values: dict[str, Any], entries: dict[str, Node]) -> None:
        folds, limit = values["folds"], values["limit"]
        if folds is not None and limit is not None and folds > limit:
            where = ", with --limit" if "limit" in self._overrides else ""
            self._problems.add(entries["folds"].line, f"folds must be at most limit ({limit:,}), got {folds}{where}")

    def _report_idle_split(self, node: Node, suffix: Callable[[], str] = str) -> None:
        """A share for validation that decides nothing is a misunderstanding: better said than ignored."""
        if self._folds is not None and "validation_split" in node.value:
            self._problems.add(
                node.value["validation_split"].line,
                f"validation_split does not go with folds: each fold keeps 1/{self._folds} for validation{suffix()}",
            )

    # -- architectures --

    def read_architectures(self, root: Node) -> list[Architecture]:
        # One of them is there, or misspelt, which is reported already.
        given = [key for key, node in root.value.items() if key != "search" or node.value is not None]
        if not any(nearest(key, ["architectures", "grid", "baselines", "search"]) for key in given):
            self._problems.add(
                None, "'architectures:' is missing, the list of layer stacks to train (or 'grid:', which makes one)"
            )
        hint = misreadings.architectures_hint
        items = self._read_list(root, "architectures", "layer stacks, such as '- [64, 32]'", hint)
        if items and (numbers := hint(root.value["architectures"])):
            words = "architectures must be a list of layer stacks, each a list itself, got numbers alone"
            self._problems.add(root.value["architectures"].line, words + numbers)
            return []
        architectures = (self._read_architecture(item, number) for number, item in enumerate(items, start=1))
        return [architecture for architecture in architectures if architecture is not None]

    def _read_architecture(self, node: Node, number: int) -> Architecture | None:
        """A list of layers, or a mapping with `layers`, perhaps `name`, and keys of `Training`; None if unusable."""
        line = node.line
        if isinstance(node.value, list):
            node = replace(node, value={"layers": node})
        if not isinstance(node.value, dict):
            self._read_entry(ArchitectureEntry, Entry("architecture", node))
            return None
        is_pasted, node = self._without_pasted_output(node, number)
        suffix = functools.cache(lambda: _which_architecture(node, number, is_pasted))  # known where it is needed
        entry = self._read_entry(ArchitectureEntry, Entry("architecture", node, suffix))
        self._report_idle_split(node, suffix)
        if entry is None or is_pasted or not self._training_is_sound:
            return None
        own = entry.given
        lines = {key: node.value[key].line for key in own}
        training, conflicts = self._effective_training(own, lines)
        for conflict in conflicts:
            self._problems.add(conflict.line, conflict.message + ("" if conflict.is_inherited else suffix()))
        if training is None:
            return None
        layers = tuple(layer.with_default_activation(training.activation) for layer in entry.layers)
        stack_name = stacks.stack_name(entry.layers, default_activation=None)
        name = entry.name or automatic_name(stack_name, own_in_name(own, training))
        key_lines = self._training_lines | lines
        self._report_softmax(layers, key_lines, line, suffix if "activation" in own else str)
        layer_lines = tuple(item.line for item in node.value["layers"].value)
        max_params = entry.max_params if "max_params" in entry.model_fields_set else self._max_params
        return Architecture(name, layers, training, line, layer_lines, max_params, key_lines, entry.layers)

    def _without_pasted_output(self, node: Node, number: int) -> tuple[bool, Node]:
        """Whether an output layer was pasted along, which is reported; and the architecture without it."""
        layers = node.value.get("layers", Node(None, 0))
        if not isinstance(layers.value, list) or len(layers.value) > MAX_LAYERS:
            return False, node
        if (pasted := misreadings.pasted_output(layers.value)) is None:
            return False, node
        position, message = pasted
        suffix = _which_architecture(node, number, is_pasted=True)
        self._problems.add(layers.value[position].line, message + suffix)
        layers = replace(layers, value=layers.value[:position])
        return True, replace(node, value={**node.value, "layers": layers})

    def _report_softmax(
        self, layers: Sequence[Layer], key_lines: dict[str, int], line: int, suffix: Callable[[], str]
    ) -> None:
        """`activation: softmax`, meant for the output layer, would stand on every hidden one."""
        if layers and getattr(layers[-1], "activation", None) in ("softmax", "log_softmax"):
            self._problems.add(
                key_lines.get("activation", line),
                "activation is that of the hidden layers, and softmax would end them: the output layer is added for "
                f"you, with its softmax: remove it{suffix()}",
            )

    def _effective_training(
        self, own: dict[str, Any], lines: Mapping[str, int]
    ) -> tuple[Training | None, list[_Conflict]]:
        """The file's `training`, an architecture's own keys over it, and the command line's over both.

        Returns:
            None in place of the settings where they do not go together, with the rules that they break.
        """
        values = {**self._training, **own}
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
                key = next((key for key in keys if key in own), None)
                inherited = next((key for key in keys if key in self._training), None)
                line = self._training_lines[inherited] if key is None else lines[key]
                conflicts.append(_Conflict(keys, line, message, is_inherited=key is None))
            return None, conflicts

    # -- baselines --

    def read_baselines(self, root: Node) -> list[Baseline]:
        items = self._read_list(root, "baselines", "scikit-learn's classifiers, such as '- LogisticRegression'")
        baselines = (self._read_baseline(item, number) for number, item in enumerate(items, start=1))
        return [baseline for baseline in baselines if baseline is not None]

    def _read_baseline(self, node: Node, number: int) -> Baseline | None:
        """A classifier's name, or a mapping with it and its arguments, perhaps `name` and `preprocess`."""
        if isinstance(node.value, str):
            node = replace(node, value={node.value: Node(None, node.line)})
        name = _valid_name(node)
        suffix = f" (baseline '{name}')" if name else f" (baseline number {number})"
        entry = self._read_entry(BaselineEntry, Entry("baseline", node, lambda: suffix))
        if entry is None:
            return None
        own = {"preprocess": entry.preprocess} if "preprocess" in entry.model_fields_set else {}
        inherited = {key: value for key, value in self._training.items() if key in OF_A_BASELINE}
        training = Training.model_validate(inherited | own)
        name = entry.name or automatic_name(entry.classifier.short_name(), own_in_name(own, training))
        lines = {key: line for key, line in self._training_lines.items() if key in OF_A_BASELINE}
        lines |= {key: node.value[key].line for key in own}
        return Baseline(name, entry.classifier, training, node.line, lines)

    # -- grids --

    def read_grids(self, root: Node) -> list[Architecture]:
        """What `grid:` expands to, one grid after the other, with what comes twice."""
        node = root.value.get("grid")
        if node is None:
            return []
        grids = node.value if isinstance(node.value, list) else [node]
        if not grids:
            self._problems.add(node.line, f"grid must be a mapping such as {GRID_EXAMPLE}, or a list of them, got []")
        expanded: list[Architecture] = []
        for grid in grids:
            expanded += self._read_grid(grid, others=len(expanded))
        return expanded

    def _read_grid(self, node: Node, others: int) -> list[Architecture]:
        """The stacks of one grid: by depth, then shape, units and the keys of `Training` in their order."""
        if isinstance(node.value, dict):
            self._report_idle_split(node, lambda: " (in grid)")
        entry = self._read_entry(grid_entry(), Entry("grid", node))
        if entry is None or not self._training_is_sound:
            return []

        # Whether it can be expanded, before anything is.
        axes = {
            key: [*zip(_lines_of_values(node.value[key]), getattr(entry, key), strict=True)]
            for key in TrainingKeys.model_fields
            if key in entry.model_fields_set
        }
        dense = DenseStacks([*entry.depth], [*(entry.shape or ("constant",))], [*entry.units])
        depths = zip(_lines_of_values(node.value["depth"]), entry.depth, strict=True)
        if self._report_too_deep(depths, len(entry.after_each)):
            return []
        if problem := size_problem(dense, {key: len(axis) for key, axis in axes.items()}, others):
            self._problems.add(node.line, problem)
            return []
        settings = self._combine_training(axes)
        if settings is None:
            return []

        # Layers and names are made once for each stack, not once for each of its settings.
        key_lines = self._training_lines | {key: node.value[key].line for key in axes}
        after_lines = _lines_of_values(node.value["after_each"])[: len(entry.after_each)] if entry.after_each else []
        max_params = entry.max_params if "max_params" in entry.model_fields_set else self._max_params
        activations = {training.activation for training, _ in settings}
        architectures = []
        for units in dense.expand():
            raw = [layer for n in units for layer in (Dense(units=n), *entry.after_each)]
            activated = {
                activation: tuple(layer.with_default_activation(activation) for layer in raw)
                for activation in activations
            }
            layer_lines = (node.value["units"].line, *after_lines) * len(units)
            stack_name = stacks.stack_name(raw, default_activation=None)
            for training, in_name in settings:
                layers = activated[training.activation]
                self._report_softmax(layers, key_lines, node.line, lambda: " (in grid)")
                name = automatic_name(stack_name, in_name)
                architectures.append(
                    Architecture(name, layers, training, node.line, layer_lines, max_params, key_lines)
                )
        return architectures

    def _report_too_deep(self, depths: Iterable[tuple[int, int]], after_each: int, kind: str = "grid") -> bool:
        """Whether a depth, with `after_each` layers after each Dense, gives more layers than a stack may have."""
        too_deep = [(line, depth) for line, depth in depths if depth * (1 + after_each) > MAX_LAYERS]
        for line, depth in too_deep:
            self._problems.add(
                line,
                f"at most {MAX_LAYERS} layers are allowed, got {depth * (1 + after_each):,} "
                f"({kind} depth {depth} with {after_each} after each Dense)",
            )
        return bool(too_deep)

    def _combine_training(self, axes: dict[str, list[tuple[int, Any]]]) -> list[tuple[Training, list[str]]] | None:
        """Every combination of a grid's training keys, and what it adds to a stack's name; None where some conflict."""
        settings, reported = [], set()
        for values in itertools.product(*axes.values()):
            own = {key: value for key, (_, value) in zip(axes, values, strict=True)}
            lines = {key: line for key, (line, _) in zip(axes, values, strict=True)}
            training, conflicts = self._effective_training(own, lines)
            if training is not None:
                settings.append((training, own_in_name(own, training)))
            several = [key for key, axis in axes.items() if len(axis) > 1]
            self._report_conflicts(conflicts, several, reported, "in grid", "; write two grids")
        return None if reported else settings

    def _report_conflicts(
        self, conflicts: list[_Conflict], several: Iterable[str], reported: set, where: str, instead: str
    ) -> None:
        """Each rule that combinations of values break once; `several` are the keys with more than one value."""
        for conflict in conflicts:
            if conflict.keys not in reported:
                reported.add(conflict.keys)
                many = f", which combines all values{instead}" if {*conflict.keys} & {*several} else ""
                suffix = "" if conflict.is_inherited else f" ({where}{many})"
                self._problems.add(conflict.line, conflict.message + suffix)

    # -- the search --

    def read_search(self, root: Node) -> Search | None:
        """The space of `search:`, checked in all that the file alone tells of it."""
        node = root.value.get("search", Node(None, 0))
        if node.value is None:
            return None
        entry = self._read_entry(search_entry(), Entry("search", node))
        if self._folds is not None:
            words = "folds does not go with search, where one validation part compares all candidates: remove one"
            self._problems.add(root.value["folds"].line, words)
        if entry is None or not self._training_is_sound:
            return None
        epochs = self._overrides.get("epochs")
        inherited = Inherited(self._training, self._training_lines, self._max_params, epochs)
        search = make_search(entry, node, inherited, self._problems.add)
        lines = {key: value.line for key, value in node.value.items()}
        if self._report_too_deep([(lines["depth"], search.most_layers[0])], search.most_layers[1], "search"):
            return None
        several, reported = [*search.axes], set()
        for own in search.settings_to_check():
            _, conflicts = self._effective_training(own, lines)
            self._report_conflicts(conflicts, several, reported, "in search", "; leave some out")
        for activation in search.activations:
            layers = [layer.with_default_activation(activation) for layer in (Dense(units=1), *search.after_each)]
            self._report_softmax(layers, search.key_lines, search.line, lambda: " (in search)")
        return None if reported else search


def _lines_of_values(node: Node) -> list[int]:
    """The line of each value of a key of a grid."""
    return [item.line for item in node.value] if isinstance(node.value, list) else [node.line]


def _valid_name(node: Node) -> str | None:
    """An entry's own name; None where it has none, or one that no entry may have."""
    name = node.value.get("name", Node(None, 0)) if isinstance(node.value, dict) else Node(None, 0)
    return name.value if isinstance(name.value, str) and not name_problem(name.value) else None


@functools.cache  # only a file with a mistake needs it
def _layers() -> TypeAdapter:
    return TypeAdapter(Annotated[tuple[LayerEntry, ...], Field(max_length=MAX_LAYERS), FailFast()])


def _which_architecture(node: Node, number: int, is_pasted: bool) -> str:
    """The end of a message: ` (architecture 'wide')`, by its name, else by its layers, else by its number."""
    name = _valid_name(node)
    is_named = "name" in node.value and node.value["name"].value is not None
    if not is_named and not is_pasted and "layers" in node.value:
        try:
            layers = _layers().validate_python(node.value["layers"].plain())
            name = stacks.stack_name(layers, default_activation=None)
        except ValidationError:
            pass
    return f" (architecture '{name}')" if name else f" (architecture number {number})"


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
        model = TrainingKeys if option == "epochs" else SweepSettings
        whole = isinstance(value, int) and not isinstance(value, bool)
        try:
            model.model_validate({option: value if whole else "?"})
        except ValidationError:
            words = wanted(model.model_fields[option]).words.partition(" (how many)")[0]  # no list of seeds here
            raise SweepError(f"--{option} must be {words}, got {harmless(str(value))[:60]}") from None


def _check_refit(refit: Refit | None, architectures: list[Architecture], problems: Problems) -> None:
    """Early stopping asks validation images when to stop, and a refit has none."""
    stopped = [architecture for architecture in architectures if architecture.training.early_stopping is not None]
    for line in {item.key_lines.get("early_stopping", item.line): None for item in stopped} if refit else ():
        problems.add(
            line,
            "early_stopping does not go with refit, which leaves no images to stop by: set epochs to what you want, or "
            "remove refit",
        )


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
