"""The settings of a sweep on its page: what all architectures share, and in which they differ, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_mlp.report.content import MOST_SHOWN, Content
from fmnist_mlp.report.page import Page
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.sweepfile.trials import Trial


def show_settings(page: Page, content: Content) -> None:
    """The section of the page: what all share, and a table of what differs."""
    page.section("Settings")
    settings = _settings(content.state.trials)
    shared, differing = compare_settings(settings)
    page.facts([(_setting_words(name), _value_words(value)) for name, value in shared.items()])
    if differing:
        page.paragraph("All that has them shares the settings above; those below differ.")
    elif settings:
        page.paragraph("All that has them shares these settings; only what is trained differs.")
    rows = []
    for row in content.ordered:
        of_row = settings.get(row["architecture"], {})
        values = [_value_words(of_row[name]) if name in of_row else "" for name in differing]
        rows.append([row["architecture"], row["layers"] or "", row.get("size") or "", *values])
    if not any(size for _, _, size, *_ in rows):  # only baselines have one that parameters do not say
        rows = [[name, layers, *values] for name, layers, _, *values in rows]
    titles = ["architecture", "layers", *(["size"] if rows and len(rows[0]) > 2 + len(differing) else [])]
    page.table(
        "Architectures and the settings in which they differ",
        [*titles, *map(_setting_words, differing)],
        rows,
        text_columns=range(1, len(titles) + len(differing)),
        is_folded=len(rows) > MOST_SHOWN,
    )


def compare_settings(settings: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """What all agree on that have it, and the names of the settings in which they differ, in order of appearance.

    Args:
        settings: of each architecture, flat; one that is missing does not apply (a baseline has no epochs).
    """
    shared, differing = {}, []
    for name in dict.fromkeys(name for of_one in settings.values() for name in of_one):
        values = [of_one[name] for of_one in settings.values() if name in of_one]
        if all(value == values[0] for value in values):
            shared[name] = values[0]
        else:
            differing.append(name)
    return shared, differing


def _settings(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """Settings by architecture name, flat: those that any names, with their defaults where an architecture does not."""
    settings, of_baselines = {}, set()
    for trial in trials:
        if (name := trial.architecture.name) not in settings:
            training = trial.settings.get("training", {})
            others = {key: value for key, value in trial.settings.items() if key not in _NOT_SETTINGS}
            settings[name] = {**training, **others}
            of_baselines |= {name} if "baseline" in trial.settings else set()
    named = dict.fromkeys(key for of_one in settings.values() for key in of_one)
    defaults = {key: Training.model_fields[key].default for key in named if key in Training.model_fields}
    return {name: of_one if name in of_baselines else defaults | of_one for name, of_one in settings.items()}


# What tells trials of one architecture apart, what has a column of its own, and what nobody chooses.
_NOT_SETTINGS = ("training", "layers", "baseline", "arguments", "data", "seed", "fold", "numerics", "backend")


def _setting_words(name: str) -> str:
    return {"limit": "training images used", "loop": "training loop"}.get(name, name.replace("_", " "))


def _value_words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return (
            ", ".join(f"{_setting_words(str(name))} {_value_words(inner)}" for name, inner in value.items())
            or "default"
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_value_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
