"""The pictures of images, drawn with matplotlib: sheets of them, and charts of what was computed of a data set.

Each function gives a PNG file. Hidden here: many classes, one class, images that are far taller than wide. Call them
within `plots.own_style`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fmnist_mlp.report.plots import (
    AMBER,
    BLUE,
    FAINT,
    INK,
    MOST_CLASSES_NAMED,
    WIDTH,
    add_axes,
    add_legend,
    figure_of_rows,
    titled_figure,
    to_png,
)
from fmnist_mlp.words import counted

RATIOS = 1 / 8, 4  # height to width; what is flatter or taller (a row of 784 pixels) is stretched to be seen at all
_BOX = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}  # under what is written over points
# After Paul Tol's muted scheme, neither light nor dark so that they show on white and turned over (see `page.css`). Ten
# colours are more than anybody tells apart for sure: shapes and the names written on a map do so as well.
_CLASS_COLOURS = [
    "#4040b0",
    "#e07020",
    "#117733",
    "#44a5d8",
    "#882255",
    "#22a088",
    "#cc6677",
    "#99992a",
    "#aa4499",
    "#777777",
]
_SHAPES = {"o": 1.0, "s": 0.8, "^": 1.1, "D": 0.6, "v": 1.1, "P": 1.2, "<": 1.1, "X": 1.2, ">": 1.1, "*": 1.8}  # areas


# ---- Sheets ----


@dataclass(frozen=True)
class Tile:
    """One image of a sheet with what stands above it: `(height, width)`, NaN for nothing; None leaves it empty."""

    image: np.ndarray | None
    title: str = ""
    colours: str = "gray"
    low: float = 0.0
    high: float = 255.0


@dataclass(frozen=True)
class Row:
    """Images side by side, as many below one another as there are; a label to their left, a heading above them."""

    tiles: Sequence[Tile]
    label: str = ""
    heading: str = ""


def draw_sheet(
    title: str, subtitle: str, rows: Sequence[Row], columns: int, is_dark: bool = True, title_size: float = 8
) -> bytes:
    """A sheet of small images, all of one shape, on black like the images' own ground unless told otherwise."""
    import matplotlib  # loaded already, by `own_style`

    ink, faint, ground = ("#f2f2f2", "#b4b4b4", "#111111") if is_dark else (INK, FAINT, "white")
    longest = max((len(line) for row in rows for line in row.label.split("\n")), default=0)
    left = 1.0 if longest > 4 else 0.5 if longest else 0.1
    cell = (WIDTH - left - 0.1) / columns
    tiles = [tile for row in rows for tile in row.tiles]
    line = max((tile.title.count("\n") + 1 for tile in tiles if tile.title), default=0) * title_size / 50  # inches
    shape = next(tile.image.shape for tile in tiles if tile.image is not None)
    ratio = float(np.clip(shape[0] / shape[1], *RATIOS))
    width = min(0.92, 1.5 / ratio) * cell  # inches; a sheet of tall images stays a sheet
    height = width * ratio

    lines, y = [], 0.55  # of tiles, with their row and inches from above
    for row in rows:
        y += 0.25 if row.heading else 0.0
        for start in range(0, max(1, len(row.tiles)), columns):
            of_line = row.tiles[start : start + columns]
            y += (line if any(tile.title for tile in of_line) else 0.0) + 0.04
            lines.append((row, start, of_line, y))
            y += max(height, 0.15 if row.label else 0.0) + 0.04
    figure = titled_figure(y + 0.06, title, subtitle, background=ground, ink=ink, faint=faint)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, start, of_line, top in lines:
        if not start:
            axes.text(left - 0.08, top + height / 2, row.label, fontsize=8.5, color=ink, ha="right", va="center")
            axes.text(0.1, top - 0.08 - line, row.heading, fontsize=8.5, fontweight="bold", color=ink, va="bottom")
        for column, tile in enumerate(of_line):
            centre, style = left + (column + 0.5) * cell, {"ha": "center", "va": "bottom", "linespacing": 1.1}
            axes.text(centre, top - 0.04, tile.title, fontsize=title_size, color=ink, **style)
            if tile.image is None:
                continue
            step = -(-max(tile.image.shape) // 400)  # more pixels than the paper has dots only cost time
            axes.imshow(
                tile.image[::step, ::step],
                cmap=matplotlib.colormaps[tile.colours],
                vmin=tile.low,
                vmax=tile.high,
                extent=(centre - width / 2, centre + width / 2, top + height, top),
                interpolation="nearest",
            )
    axes.set(xlim=(0, WIDTH), ylim=(y + 0.06, 0), aspect="auto")
    return to_png(figure)


# ---- Charts ----


def draw_counts(subtitle: str, names: Sequence[str], train: np.ndarray, test: np.ndarray) -> bytes:
    """How many images each class has; `names` and both counts are `(classes,)`."""
    parts = ((train, "training", BLUE, -0.2), (test, "test", AMBER, 0.2))
    if len(names) <= MOST_CLASSES_NAMED:
        figure, axes = figure_of_rows("Images a class", subtitle, names, 0.3, below=0.7)
        for counts, part, colour, shift in parts:
            axes.barh(np.arange(len(names)) + shift, counts, 0.38, color=colour, label=part)
        axes.set_xlabel("images")
        count_axis = axes.xaxis
    else:
        figure = titled_figure(3.5, "Images a class", subtitle)
        axes = add_axes(figure, 0.65, 0.6, 4.2, 2.2)
        for counts, part, colour, _ in parts:
            axes.fill_between(np.arange(len(names)), counts, step="mid", color=colour, label=part)
        axes.set(xlabel="class", ylabel="images")
        axes.set_ylim(bottom=0)
        count_axis = axes.yaxis
    count_axis.get_major_locator().set_params(integer=True, nbins=6)
    count_axis.set_major_formatter("{x:,.0f}")
    add_legend(figure, axes, columns=2)
    return to_png(figure)


def draw_spectrum(subtitle: str, shares: np.ndarray, marks: Mapping[float, int]) -> bytes:
    """What share of the variance the first principal components explain together.

    Args:
        shares: of each component, `(components,)`, the largest first.
        marks: how many components certain shares need.
    """
    figure = titled_figure(3.4, "How many components the images need", subtitle)
    axes = add_axes(figure, 0.6, 0.6, 4.2, 2.35)
    numbers = np.arange(1, len(shares) + 1)
    axes.plot(numbers, 100 * np.cumsum(shares), color=BLUE, marker="o" if len(shares) < 30 else None)
    for share, needed in marks.items():
        axes.plot([0, needed, needed], [100 * share, 100 * share, 0], color=FAINT, linewidth=0.8, linestyle="--")
    # Both marks lie close together on the curve, so what they say goes where the curve never is.
    texts = [f"{100 * share:.0f} %: {counted(needed, 'component')}" for share, needed in marks.items()]
    style = {"ha": "right", "va": "bottom", "linespacing": 1.5, "bbox": _BOX}
    axes.text(0.97, 0.06, "\n".join(texts), transform=axes.transAxes, **style)
    axes.set(xlim=(0, max(len(shares), 2)), ylim=(0, 101))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="principal components", ylabel="cumulative explained variance, %")
    return to_png(figure)


def draw_map(
    title: str,
    subtitle: str,
    points: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    axis_labels: tuple[str, str] | None,
) -> bytes:
    """A point an image, coloured and shaped by class.

    Args:
        points: `(n, 2)`.
        labels: of the images, `(n,)`.
        axis_labels: None where the axes mean nothing.
    """
    classes = np.unique(labels)
    names = [class_names[label] for label in classes]
    columns = 4 if max(map(len, names)) < 8 else 3
    is_named = len(classes) <= MOST_CLASSES_NAMED
    below = 0.25 + 0.16 * -(-len(classes) // columns) if is_named else 0.7
    left, axis = (0.55, 0.4) if axis_labels else (0.15, 0.0)
    figure = titled_figure(4.6 + axis + below, title, subtitle)
    axes = add_axes(figure, left, 0.6, WIDTH - left - 0.15, 4.0)
    axes.grid(False)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high - low > 1e-9, 0.04 * (high - low), 1.0)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    size = float(np.clip(12000 / len(points), 6, 30))  # square points
    if is_named:
        for k, label in enumerate(classes):
            colour = _CLASS_COLOURS[k % len(_CLASS_COLOURS)]
            shape, area = list(_SHAPES.items())[(k + k // len(_CLASS_COLOURS)) % len(_SHAPES)]
            style = {"c": colour, "marker": shape, "linewidths": 0}
            axes.scatter(*points[labels == label].T, s=size * area, alpha=0.7, **style)
            axes.scatter([], [], s=30 * area, label=names[k], **style)  # what the legend shows
        middles = np.array([np.median(points[labels == label], axis=0) for label in classes])
        _write_names(axes, names, (middles - low + margin) / (high - low + 2 * margin))
        add_legend(figure, axes, columns)
    else:
        drawn = axes.scatter(*points.T, s=size, c=labels, cmap="viridis", linewidths=0, alpha=0.7)
        colours = add_axes(figure, 0.75, 4.75 + axis, 3.5, 0.12)
        figure.colorbar(drawn, cax=colours, orientation="horizontal", label="class")
    if axis_labels:
        axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    else:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
    return to_png(figure)


def _write_names(axes, names: Sequence[str], places: np.ndarray) -> None:
    """Writes the classes' names on a map, each in the middle of its points or as near above as there is room.

    Args:
        places: `(classes, 2)`, shares of the axes' width and height.
    """
    line = 0.045  # the height of a name as a share of the axes'
    taken = []  # (x, y, half width) of the names that stand already
    for k in np.argsort(places[:, 1], kind="stable"):
        x, y, half = *places[k], 0.009 * len(names[k]) + 0.01
        while any(abs(x - x2) < half + half2 and abs(y - y2) < 0.99 * line for x2, y2, half2 in taken):
            y += line / 4
        taken.append((x, y, half))
        axes.text(x, y, names[k], transform=axes.transAxes, fontsize=8, ha="center", va="center", bbox=_BOX)
