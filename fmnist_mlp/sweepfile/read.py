"""A sweep file becomes one frozen, validated `Sweep`, or one `SweepError` that lists every problem.

Each problem has its line, the user's own line under it, what was expected and the nearest known name. `nodes` turns
text into nodes that know their line; `_Reader` turns nodes into settings and grids into architectures, with pydantic
for types and bounds; the rest compares architectures with each other. What is known only with the data is left to
`checks`.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ValidationError,
)
from pydantic.fields import FieldInfo

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile import misreadings, stacks
from fmnist_mlp.sweepfile.checks import FASHION_MNIST, report_pasted_ends
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS, Classifier, LogisticRegression
from fmnist_mlp.sweepfile.grids import MAX_GRID_STACKS, DenseStacks, count_in_words
from fmnist_mlp.sweepfile.layers import LAYERS, Dense, Expected, Layer, number_in_name
from fmnist_mlp.sweepfile.nodes import Node, Problems, read_document, read_text
from fmnist_mlp.sweepfile.settings import (
    MAX_LAYERS,
    Augment,
    EarlyStopping,
    Grid,
    IdxFolder,
    Refit,
    SelectBy,
    SweepSettings,
    Training,
    listed_in_words,
    name_problem,
)
from fmnist_mlp.sweepfile.stacks import MAX_NAME_LENGTH, shorten_name
from fmnist_mlp.sweepfile.sweep import OF_A_BASELINE, Architecture, Baseline, Overrides, Sweep
from fmnist_mlp.sweepfile.trials import canonical_settings, fingerprint
from fmnist_mlp.words import harmless, quoted

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
    listed, compared = reader.read_architectures(root), reader.read_baselines(root)
    _check_differ([*listed, *compared], problems, given)
    if not isinstance(settings["dataset"], IdxFolder):  # Fashion-MNIST and its stand-in are known without looking
        report_pasted_ends(listed, *FASHION_MNIST, problems)
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


# ---- nodes to settings ----


_WithArguments = TypeVar("_WithArguments", bound=Layer | Classifier)

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
        if len(entries) == 1 and next(iter(entries)) in LAYERS:
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

    def _report_softmax(self, layers: Sequence[Layer], key_lines: dict[str, int], line: int, suffix: str) -> None:
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

    def _read_layers(self, node: Node, suffix: str) -> tuple[tuple[Layer, ...] | None, tuple[int, ...]]:
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

    def _read_layer(self, node: Node, suffix: str) -> Layer | None:
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
            first = next((key for key in value if key in LAYERS), "Dense")
            self._problems.add(
                node.line,
                f"a layer is one name with its arguments in braces, such as {LAYERS[first].example}, "
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
        if name not in LAYERS:
            hint = misreadings.layer_hint(node) or misreadings.did_you_mean(name, LAYERS)
            self._problems.add(node.line, f"unknown layer {quoted(name)}{hint}{suffix}")
            return None
        layer = LAYERS[name]
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
            self._problems.add(
                line, f"{subject} needs {listed_in_words(missing, 'and')}: write {layer.example}{suffix}"
            )
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
                f"such as {LogisticRegression.example}, got {node.shown()} (baseline number {number})",
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

    def _read_classifier(self, node: Node, suffix: str) -> Classifier | None:
        """The one classifier among the keys of a baseline, with its arguments."""
        listed = [key for key in node.value if key in CLASSIFIERS]
        unknown = [key for key in node.value if key not in (*listed, "name", "preprocess")]
        if unknown and not listed:
            line, key = node.value[unknown[0]][0], unknown[0]
            near = misreadings.did_you_mean(key, CLASSIFIERS)
            self._problems.add(line, f"unknown classifier {quoted(key)}{near}{suffix}")
            return None
        for key in unknown:
            line = node.value[key][0]
            if key in CLASSIFIERS[listed[0]].model_fields:
                example = f"{{{listed[0]}: {{{key}: ...}}}}"
                self._problems.add(line, f"{key} is an argument of {listed[0]}: write {example}{suffix}")
            elif key in Training.model_fields or key == "max_params":
                self._problems.add(line, f"{key} is for architectures, a baseline does not take it{suffix}")
            else:
                near = misreadings.did_you_mean(key, ["name", "preprocess"])
                self._problems.add(line, f"unknown key {quoted(key)}{near}{suffix}")
        if len(listed) != 1:
            got = f"{len(listed)}: {listed_in_words(listed, 'and')}" if listed else "none"
            example = LogisticRegression.example
            self._problems.add(node.line, f"a baseline is one classifier, such as {example}, got {got}{suffix}")
            return None
        line, inner = node.value[listed[0]]
        classifier = CLASSIFIERS[listed[0]]
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
            self._problems.add(line, f"grid needs {listed_in_words(missing, 'and')}: write grid: {_GRID_EXAMPLE}")
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
        dense = DenseStacks(values["depth"], values.get("shape", ["constant"]), values["units"])
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
            raw = [layer for n in units for layer in (Dense(units=n), *after_layers)]
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

    def _read_after_each(self, entries: dict[str, tuple[int, Node]]) -> list[tuple[int, Layer]] | None:
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
        self, dense: "DenseStacks", training_axes: dict[str, list[tuple[int, Node]]], line: int, others: int
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
            made_of = " + ".join(f"{count_in_words(n)} {shape}" for shape, n in counts.items())
            made_of = f"({made_of})" if factors and len(counts) > 1 else made_of
            made_of = " x ".join([made_of, *(f"{n:,} {key}" for key, n in factors.items())])
            beside = f" ({others:,} come from the grids above)" if others else ""
            self._problems.add(
                line,
                f"grid expands to {count_in_words(total)} stacks: {made_of}; at most {MAX_GRID_STACKS:,} are "
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
    return number_in_name(value) if isinstance(value, float) else str(value).lower()


def _automatic_name(stack_name: str, own_in_name: list[str]) -> str:
    """The stack's name and what the architecture sets for itself: `64-32-learning_rate0.0005`, `64-32-adamw`.

    So the same stack with two learning rates needs no `name:`. The name depends on nothing but the architecture's
    own lines: another one that is added to the file, or a change of `training`, renames nobody.
    """
    return shorten_name("-".join([stack_name, *own_in_name]))


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
    if nested is not None and not any(isinstance(part, Expected) for part in info.metadata):
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
        if isinstance(part, Expected):
            return part.words, part.choices
    annotation = info.annotation
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        words = next((part for part in get_args(annotation) if isinstance(part, Expected)), None)
        if words:
            return words.words, words.choices
    if get_origin(annotation) is Literal:
        return listed_in_words(get_args(annotation)), get_args(annotation)
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
            beginnings = ((architecture.name[: MAX_NAME_LENGTH - 1 - n], n) for n in range(8, len(key)))
            candidates = (f"{beginning.rstrip('-._')}-{key[:n]}" for beginning, n in beginnings)
            architecture = replace(architecture, name=next(name for name in candidates if name.lower() not in names))
        known.add(key)
        names.add(architecture.name.lower())
        added.append(architecture)
    return added


def _trials_key(architecture: Architecture | Baseline) -> str:
    """Equal for two architectures exactly if all their trials are the same."""
    return fingerprint(canonical_settings(architecture, data_identity="", limit=None, seed=0))


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
