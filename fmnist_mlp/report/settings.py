"""The settings of a sweep on its page: what all architectures share, and in which they differ, in words."""

from collections.abc import Mapping
from typing import Any

from fmnist_mlp.report.content import MOST_SHOWN, Content
from fmnist_mlp.report.page import Page
from fmnist_mlp.sweepfile.in_words import setting_in_words, settings_of_architectures, value_in_words


def show_settings(page: Page, content: Content) -> None:
    """The section of the page: what all share, and a table of what differs."""
    page.section("Settings")
    settings = settings_of_architectures(content.state.trials)
    shared, differing = compare_settings(settings)
    page.facts([(setting_in_words(name), value_in_words(value)) for name, value in shared.items()])
    if differing:
        page.paragraph("All that has them shares the settings above; those below differ.")
    elif settings:
        page.paragraph("All that has them shares these settings; only what is trained differs.")
    rows = []
    for row in content.ordered:
        of_row = settings.get(row.architecture, {})
        values = [value_in_words(of_row[name]) if name in of_row else "" for name in differing]
        rows.append([row.architecture, row.layers, row.size or "", *values])
    if not any(size for _, _, size, *_ in rows):  # only baselines have one that parameters do not say
        rows = [[name, layers, *values] for name, layers, _, *values in rows]
    titles = ["architecture", "layers", *(["size"] if rows and len(rows[0]) > 2 + len(differing) else [])]
    page.table(
        "Architectures and the settings in which they differ",
        [*titles, *map(setting_in_words, differing)],
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
