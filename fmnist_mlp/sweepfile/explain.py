"""Pydantic's errors on an entry of a sweep file, each as a line and a message.

An error has a place, such as `("layers", 2, "Dropout", "rate")`. Followed along the nodes of the file it leads to the
line and to what the user wrote; its words are the subject of the message. What was wanted is in the error (`wants`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fmnist_mlp.sweepfile import misreadings
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.entries import GRID_EXAMPLE
from fmnist_mlp.sweepfile.layers import LAYERS
from fmnist_mlp.sweepfile.nearest import did_you_mean
from fmnist_mlp.sweepfile.nodes import Node
from fmnist_mlp.sweepfile.search_entry import RANGE_KEYS, SEARCH_EXAMPLE, SearchKeys, SpaceKeys
from fmnist_mlp.sweepfile.settings import Grid, SweepSettings, TrainingKeys
from fmnist_mlp.sweepfile.steps import STEP_KINDS
from fmnist_mlp.sweepfile.wants import listed_in_words, model_of
from fmnist_mlp.words import quoted

SECTIONS = ("training", "architectures", "grid", "search", "baselines")

# The keys that each kind of entry takes, in the order in which messages list them.
_KNOWN = {
    "top": [*SweepSettings.model_fields, *SECTIONS],
    "training": [*TrainingKeys.model_fields],
    "architecture": ["name", "layers", "max_params", *TrainingKeys.model_fields],
    "grid": [*Grid.model_fields, "after_each", "max_params", *TrainingKeys.model_fields],
    "search": [
        *SearchKeys.model_fields,
        *SpaceKeys.model_fields,
        "after_each",
        "max_params",
        *TrainingKeys.model_fields,
    ],
}
_ELSEWHERE = (
    (TrainingKeys, "under 'training'"),
    (SweepSettings, "at the top of the file"),
    (Grid, "under 'grid'"),
    (SearchKeys, "under 'search'"),
)
_EXAMPLES = {"grid": GRID_EXAMPLE, "search": SEARCH_EXAMPLE}

# Arguments of scikit-learn's classifiers that follow from the trial.
_NOT_FOR_THE_USER = {
    "random_state": "it is the seed of the trial",
    "n_jobs": "each trial has one core, and other trials run beside it",
}

_KINDS = {**LAYERS, **CLASSIFIERS}
_UNSAID = ("layers", "after_each", "classifier", *STEP_KINDS)  # keys that no message begins with


@dataclass(frozen=True)
class Entry:
    """What was validated, and where it stands.

    Attributes:
        kind: `top`, `training`, `architecture`, `baseline`, `grid` or `search`.
        suffix: gives the end of each message that is not on the entry as a whole, or its name:
            ` (architecture '64-32')`.
    """

    kind: str
    node: Node
    suffix: Callable[[], str] = str

    def follow(self, place: Iterable[str | int]) -> Node:
        """What stands there; as far as it goes where the file says it more shortly."""
        node = self.node
        for part in place:
            is_list = isinstance(node.value, list)
            if part in (range(len(node.value)) if is_list else node.value if isinstance(node.value, dict) else ()):
                node = node.value[part]
        return node


def explain(error: ValidationError, entry: Entry) -> Iterator[tuple[int, str]]:
    """A line and a message for each mistake, once: pydantic also misses the key that is misspelt."""
    errors = error.errors(include_url=False, include_input=False)
    unknown = {details["loc"][:-1] for details in errors if details["type"] == "extra_forbidden"}
    missing: dict[tuple, list[str]] = {}
    for details in errors:
        if details["type"] == "missing":
            missing.setdefault(details["loc"][:-1], []).append(details["loc"][-1])
    for details in errors:
        place, kind = details["loc"], details["type"]
        if kind == "extra_forbidden":
            yield from _unknown_key(entry, place)
        elif kind == "missing":
            keys = missing.pop(place[:-1], None)
            if keys and place[:-1] not in unknown:
                yield entry.follow(place[:-1]).line, _with_suffix(entry, place, _needs(entry, place[:-1], keys))
        elif not (place == ("classifier",) and () in unknown and not _classifiers(entry)):  # it is an unknown one
            line, message = _value(entry, place, details["ctx"], kind)
            yield line, _with_suffix(entry, place, message)


def _with_suffix(entry: Entry, place: tuple, message: str) -> str:
    if (entry.kind == "architecture" and place in ((), ("name",))) or (entry.kind == "baseline" and place == ("name",)):
        return message
    return message + (f" (after_each of {entry.kind})" if place[:1] == ("after_each",) else entry.suffix())


def _subject(entry: Entry, place: tuple) -> str:
    """`dropout rate`, `grid learning_rate`, `early_stopping patience`."""
    words = [_spoken(part) for part in place if (isinstance(part, str) and part not in _UNSAID) or place == (part,)]
    return " ".join([entry.kind] * (entry.kind in _EXAMPLES and place[0] != "after_each") + words)


def _spoken(name: str) -> str:
    """A layer's name inside a sentence: dropout, dense, but BatchNormalization; the ends of a range stand in quotes."""
    if name in RANGE_KEYS:
        return quoted(name)
    return name.lower() if name in LAYERS and name.isalpha() and name.istitle() else name


def _value(entry: Entry, place: tuple, context: dict[str, Any], kind: str) -> tuple[int, str]:
    node, words, hint = entry.follow(place), context["words"], context.get("hint")
    if kind == "sentence":
        return node.line, words + (f", got {node.shown()}" if context["got"] else "") + (hint(node) if hint else "")
    if kind == "problem":
        if context["position"] is not None and isinstance(node.value, list):
            node = node.value[context["position"]]
        return node.line, f"{_subject(entry, place)} {words}" + (f", got {node.shown()}" if context["got"] else "")
    key = next(part for part in reversed(place) if isinstance(part, str))
    choices = context["choices"]
    said = hint(node) if hint else misreadings.value_hint(key, node, choices, takes_number="number" in words)
    if not said and len(choices) > 10:  # too many to stand in the words
        said = f"; known: {', '.join(choices)}"
    return node.line, f"{_subject(entry, place)} must be {words}, got {node.shown()}{said}"


def _needs(entry: Entry, place: tuple, keys: list[str]) -> str:
    if not place:
        if entry.kind == "architecture":
            return "layers is missing, a list such as layers: [64, 32]"
        return f"{entry.kind} needs {listed_in_words(keys, 'and')}: write {entry.kind}: {_EXAMPLES[entry.kind]}"
    if entry.kind == "search" and {*keys} <= {*RANGE_KEYS}:
        ends = listed_in_words([quoted(key) for key in keys], "and")
        return f"{_subject(entry, place)} needs {ends}: a range is written {{from: 1, to: 4}}"
    kind = _KINDS.get(place[-1])
    example = f": write {kind.example}" if kind else ""
    return f"{_subject(entry, place)} needs {listed_in_words(keys, 'and')}{example}"


# ---- keys ----


def _unknown_key(entry: Entry, place: tuple) -> Iterator[tuple[int, str]]:
    *inside, key = place
    node = entry.follow(place)
    within = next((part for part in reversed(inside) if isinstance(part, str)), None)
    if within in _KINDS:
        message = _no_argument(within, key)
    elif within is not None:
        hint = did_you_mean(key, _keys_within(within))
        message = f"{_subject(entry, tuple(inside))} has no key {quoted(key)}{hint}"
    elif entry.kind == "baseline":
        message = _not_of_a_baseline(entry, key)
    else:
        where = f" in {entry.kind}" if entry.kind in ("training", *_EXAMPLES) else ""
        message = f"unknown key {quoted(key)}{where}{_key_hint(entry, key, node)}"
    if message:
        yield node.line, _with_suffix(entry, place, message)


def _keys_within(key: str) -> Iterable[str]:
    """The keys of the mapping that stands under a key: a model's, else those of a range."""
    fields = {**TrainingKeys.model_fields, **SweepSettings.model_fields, **SearchKeys.model_fields}
    model = model_of(fields[key]) if key in fields else None
    return RANGE_KEYS if model is None else model.model_fields


def _key_hint(entry: Entry, key: str, node: Node) -> str:
    """The nearest key, or where it belongs."""
    known = _KNOWN[entry.kind]
    if entry.kind == "search" and key in SweepSettings.model_fields:  # seeds, not seed
        return "; it stands at the top of the file"
    hint = misreadings.key_hint(key, node, entry.node.value, entry.kind) or did_you_mean(key, known)
    if not hint.startswith("; known: "):
        return hint
    if (where := next((where for model, where in _ELSEWHERE if key in model.model_fields), None)) is not None:
        return f"; it stands {where}"
    for model, where in _ELSEWHERE:
        near = did_you_mean(key, model.model_fields)
        if "did you mean" in near:
            return f"{near.rstrip('?')}, {where}?"
    return hint


def _no_argument(kind: str, key: str) -> str:
    if kind in CLASSIFIERS and key in _NOT_FOR_THE_USER:
        return f"{key} is not for a sweep file to set: {_NOT_FOR_THE_USER[key]}"
    subject = _spoken(kind)
    hint = misreadings.argument_hint(subject, key, [*_KINDS[kind].model_fields])
    return f"{subject} has no argument {quoted(key)}{hint}"


def _not_of_a_baseline(entry: Entry, key: str) -> str | None:
    """None for all but the first of several unknown keys where no classifier is known: one of them is misspelt."""
    listed = _classifiers(entry)
    if not listed:
        first = next(name for name in entry.node.value if name not in ("name", "preprocess"))
        return f"unknown classifier {quoted(key)}{did_you_mean(key, CLASSIFIERS)}" if key == first else None
    if key in CLASSIFIERS[listed[0]].model_fields:
        return f"{key} is an argument of {listed[0]}: write {{{listed[0]}: {{{key}: ...}}}}"
    if key in TrainingKeys.model_fields or key == "max_params":
        return f"{key} is for architectures, a baseline does not take it"
    return f"unknown key {quoted(key)}{did_you_mean(key, ['name', 'preprocess'])}"


def _classifiers(entry: Entry) -> list[str]:
    return [name for name in entry.node.value if name in CLASSIFIERS]
