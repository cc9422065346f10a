"""A page of HTML to look at and pass on: one file that needs no other and no network.

`Page` collects sections, tables and pictures and gives the whole page; `counted`, `listed` and `capitalized` put what
it says into words. Hidden here: markup and style, light and dark, from a phone's width to a wide screen, on paper, and
for who does not see the pictures. Whatever it is given is text, escaped here, never markup.

Leaves to others: what a page is about (`explore`, `report`), drawing the pictures (`plots`), where files go.
"""

import base64
import html
import itertools
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_mlp.words import capitalized, counted

# ---- The page ----


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
        markup = (
            f'<div class="wide" tabindex="0" role="region" aria-label="{_escaped(caption)}"><table{kind}>'
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
        width, height = struct.unpack(">II", png[16:24])  # a PNG file begins with its header, pixels at these places
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
        script = f"<script>{_SORT_SCRIPT}</script>\n" if self._is_sortable else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"{head}<title>{_escaped(title)}</title>\n<style>{_CSS}{style}</style>\n</head>\n"
            f"<body>\n<header>\n<h1>{_escaped(title)}</h1>\n{leads}{boxes}"
            f'<nav aria-label="Sections"><ul>\n{links}\n</ul></nav>\n</header>\n<main>\n{body}\n'
            f"</section>\n</main>\n{script}</body>\n</html>\n"
        )


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


# Charts are drawn on white; on a dark page they are turned over, lightness only, so that white becomes the page's own
# #1a1a1a and red stays red. Photos are not turned over: nobody wants a negative.
_CSS = """
:root { color-scheme: light dark; --ink: #1a1a1a; --faint: #595959; --ground: #fff; --line: #d4d4d4; --link: #005a9c;
  --alarm: #fff3cd; --stripe: #f6f6f6; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --faint: #b0b0b0; --ground: #1a1a1a; --line: #444; --link: #7cc0ff; --alarm: #4a3b00;
    --stripe: #222; }
  img.chart { filter: invert(0.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; padding-top: 0.5rem; border-top: 1px solid var(--line); }
p, dl { max-width: 44rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 0; padding: 0; list-style: none; }
.warning { padding: 0.75rem 1rem; background: var(--alarm); border-left: 0.3rem solid #e69f00; }
dl { margin: 1rem 0; }
dl div { display: grid; grid-template-columns: 12rem 1fr; gap: 0 1rem; padding: 0.25rem 0;
  border-bottom: 1px solid var(--line); }
dt { color: var(--faint); }
dd { margin: 0; font-variant-numeric: tabular-nums; }
.figures { columns: 2 30rem; column-gap: 2rem; }
figure { break-inside: avoid; max-width: 36rem; margin: 0; padding: 1rem 0; }
img { display: block; width: 100%; height: auto; }
figcaption, caption { color: var(--faint); font-size: 0.9rem; text-align: left; }
figcaption { margin: 0.5rem 0 0; }
caption { padding-bottom: 0.25rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.25rem 0.4rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: normal; }
thead th { color: var(--faint); vertical-align: bottom; }
tbody tr:nth-child(even) > * { background: var(--stripe); }
tbody tr > * { background: var(--ground); }
.text, th:first-child { text-align: left; }
th:first-child { position: sticky; left: 0; min-width: 6.5rem; max-width: 16rem; overflow-wrap: anywhere; }
thead th:first-child { background: var(--ground); }
td { white-space: nowrap; }
td.text { white-space: normal; }
th button { all: unset; cursor: pointer; color: var(--link); }
th button:focus-visible { outline: 2px solid var(--link); }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
summary { cursor: pointer; color: var(--link); }
@media (max-width: 30rem) {
  dl div { grid-template-columns: 1fr; }
  th, td { padding: 0.25rem 0.35rem; }
  th:first-child { max-width: 8rem; }
}
"""

# Without it the table is as it is. Cells without a value stay at the end either way.
_SORT_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button"), isText = head.dataset.sort === "text";
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    const value = row => row.cells[column].dataset.value ?? (column ? "" : row.cells[column].textContent);
    button.onclick = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      body.append(...[...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isText ? x.localeCompare(y, "en", {numeric: true}) : x - y);
      }));
    };
  });
}
"""
