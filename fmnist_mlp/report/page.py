"""A page of HTML to look at and pass on: one file that needs no other and no network.

`Page` collects sections, tables and pictures and gives the whole page. Hidden here, in `page.css` and in `page.js`:
markup and style, light and dark, from a phone's width to a wide screen, on paper, and for who does not see the
pictures. Whatever it is given is text, escaped here, never markup.

Leaves to others: what a page is about (`explore`, `report`), drawing the pictures (`plots`), where files go.
"""

import base64
import html
import itertools
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_mlp.words import capitalized, counted

MOST_ROWS = 40  # of a table; a longer one scrolls in a frame of its own, for what follows to be found


class Page:
    """Collects the sections of a page, in order.

    `pictures` holds the PNG files that the page shows, by the name under which to save them.
    """

    def __init__(self):
        self.pictures: dict[str, bytes] = {}
        self._titles: list[str] = []
        self._parts: list[str] = []
        self._is_sortable = False

    def section(self, title: str) -> None:
        """Begins a section; what is added from here on is in it."""
        if self._titles:
            self._parts.append("</section>")
        self._titles.append(title)
        number = len(self._titles)
        self._parts.append(f'<section id="s{number}" aria-labelledby="h{number}">')
        self._parts.append(f'<h2 id="h{number}">{_escaped(title)}</h2>')

    def paragraph(self, text: str) -> None:
        """A paragraph; it begins with a capital letter."""
        self._parts.append(f"<p>{_escaped(capitalized(text))}</p>")

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names with what is to be said of each; nothing where there are none."""
        rows = "".join(f"<div><dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd></div>" for name, value in facts)
        self._parts.append(f"<dl>{rows}</dl>" if facts else "")

    def table(
        self,
        caption: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        text_columns: Sequence[int] = (),
        sorted_by: Mapping[int, bool] | None = None,
        is_folded: bool = False,
    ) -> None:
        """A table. All columns but `text_columns` and row headings are numbers.

        Args:
            columns: their headings; an empty one is none.
            rows: cells are texts, or pairs of a text and the value that the column sorts by (None where there is none).
            sorted_by: for a table that can be sorted, whether a column's values are text, by its number.
            is_folded: shown only when asked for.
        """
        head = "".join(
            _heading(name, k in text_columns, bool(sorted_by and sorted_by[k])) for k, name in enumerate(columns)
        )
        body = "\n".join(
            f"<tr>{''.join(_cell(cell, k in text_columns, k == 0) for k, cell in enumerate(row))}</tr>" for row in rows
        )
        self._is_sortable |= bool(sorted_by)
        kind = ' class="sortable"' if sorted_by else ""
        fit = "wide long" if len(rows) > MOST_ROWS else "wide"
        markup = (
            f'<div class="{fit}" tabindex="0" role="region" aria-label="{_escaped(caption)}"><table{kind}>'
            f"<caption>{_escaped(caption)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )
        if is_folded:
            markup = f"<details><summary>{_escaped(caption)}: {counted(len(rows), 'row')}</summary>{markup}</details>"
        self._parts.append(markup)

    def picture(self, name: str, png: bytes, *, alt: str, caption: str, is_photo: bool = False) -> None:
        """A picture, on the page and to be saved as `name`; photos keep their colours on a dark page.

        Args:
            alt: says what it shows to who does not see it.
        """
        self.pictures[name] = png
        width, height = png_size(png)
        kind = "photo" if is_photo else "chart"
        self._parts.append(
            f'<figure><img class="{kind}" width="{width}" height="{height}" alt="{_escaped(alt)}"\n'
            f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">\n'
            f"<figcaption>{_escaped(capitalized(caption))}</figcaption></figure>"
        )

    def to_html(
        self, title: str, *, lead: Sequence[str], warnings: Sequence[str] = (), style: str = "", head: str = ""
    ) -> str:
        """The whole page.

        Args:
            lead: paragraphs below the title.
            warnings: what a reader must not overlook, below them.
            style: CSS that only this page needs.
            head: markup at the beginning of the head.
        """
        links = "\n".join(f'<li><a href="#s{k}">{_escaped(name)}</a></li>' for k, name in enumerate(self._titles, 1))
        leads = "".join(f"<p>{_escaped(paragraph)}</p>\n" for paragraph in lead)
        boxes = "".join(
            f'<p class="warning" role="note">{_escaped(capitalized(warning))}</p>\n' for warning in warnings
        )
        # Pictures that follow one another stand side by side where there is room.
        groups = itertools.groupby(self._parts, key=lambda part: part.startswith("<figure"))
        joined = ((is_picture, "\n".join(parts)) for is_picture, parts in groups)
        body = "\n".join(f'<div class="figures">{part}</div>' if is_picture else part for is_picture, part in joined)
        script = f"<script>\n{_beside('page.js')}</script>\n" if self._is_sortable else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"{head}<title>{_escaped(title)}</title>\n<style>\n{_beside('page.css')}{style}</style>\n</head>\n"
            f"<body>\n<header>\n<h1>{_escaped(title)}</h1>\n{leads}{boxes}"
            f'<nav aria-label="Sections"><ul>\n{links}\n</ul></nav>\n</header>\n<main>\n{body}\n'
            f"</section>\n</main>\n{script}</body>\n</html>\n"
        )


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    return struct.unpack(">II", png[16:24])  # a PNG file begins with its header


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _heading(name: str, is_text: bool, sorts_as_text: bool) -> str:
    if not name:
        return "<td></td>"
    attributes = f"{' class=text' if is_text else ''}{' data-sort=text' if sorts_as_text else ''}"
    return f'<th scope="col"{attributes}>{_escaped(name)}</th>'


def _cell(cell: Any, is_text: bool, is_heading: bool) -> str:
    text, value = cell if isinstance(cell, tuple) else (cell, None)
    attributes = ' class="text"' if is_text else ""
    attributes += "" if value is None else f' data-value="{_escaped(value)}"'
    return (
        f'<th scope="row"{attributes}>{_escaped(text)}</th>' if is_heading else f"<td{attributes}>{_escaped(text)}</td>"
    )


def _escaped(text: Any) -> str:
    # A file name that is no UTF-8 reaches Python with surrogates, which no page can hold.
    return html.escape(str(text).encode("utf-8", "replace").decode("utf-8"))
