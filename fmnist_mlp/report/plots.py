"""What all pictures share: how to draw without a screen, colours, letters, axes and names that fit.

Drawing is alike on every machine (`own_style`, `new_figure`, `to_png`), axes are not spoilt by outliers
(`choose_limits`), and colours are told apart with any kind of colour vision. Every picture names the data set, for
pictures get about without their page.

Leaves to others: the pictures (`plots_sweep`, `plots_images`, and `plots_scores` of workers, without matplotlib), what
they show (`summaries`, `image_statistics`), the words around them. matplotlib is imported only to draw.
"""

import contextlib
import io
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from fmnist_mlp.engines.machine import environment

# What a column of results.csv is called on an axis.
METRICS = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "cv_accuracy": "cross-validated accuracy",
    "test_accuracy": "test accuracy",
    "test_loss": "test loss",
}
# The same for costs, with the factor that brings them to that unit.
COSTS = {
    "params": ("parameters", 1),
    "flops": ("FLOPs for one image", 1),
    "latency_seconds": ("latency of one image, ms", 1000),
    "train_seconds": ("training time of a trial, s", 1),
}

WIDTH = 5.0  # inches: letters of 8 points stay readable where a phone shows it 375 pixels wide
INK, FAINT = "#1a1a1a", "#5a5a5a"
# Okabe and Ito's colours, told apart with any kind of colour vision; without yellow, which white swallows. Lines and
# marks differ in shape as well.
BLUE, ORANGE, AMBER = "#0072b2", "#d55e00", "#e69f00"
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#000000", "#56b4e9", AMBER)

MOST_CLASSES_NAMED = 20  # more leave no room for names and numbers in a picture


def is_loss(metric: str) -> bool:
    """Whether less of it is better; all others are fractions, and percent for people."""
    return metric.endswith("loss")


def shortened(name: str, most: int) -> str:
    """A name for pictures: on one line, in letters that matplotlib's font has; its ends where it is too long."""
    letters = "".join(letter if letter.isprintable() else " " for letter in name)
    letters = letters.encode("latin-1", "replace").decode("latin-1")
    return letters if len(letters) <= most else f"{letters[: most - 10]}...{letters[-7:]}"


def choose_limits(values: Sequence[float] | np.ndarray, reach: float = 4.0) -> tuple[float, float]:
    """The ends of an axis that shows all values but outliers, which would leave the others no room.

    Args:
        values: those that are not finite are passed over.
        reach: how many interquartile ranges an outlier is from the quartiles.
    """
    values = np.asarray(values, np.float64).reshape(-1)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    lower, upper = np.percentile(values, (25, 75))
    low, high = values.min(), values.max()
    # Not where most values are equal: there a quartile says nothing about the rest.
    if upper > lower:
        low, high = max(low, lower - reach * (upper - lower)), min(high, upper + reach * (upper - lower))
    margin = 0.06 * (high - low) or 0.02 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def short_labels(names: Sequence[str]) -> dict[str, str]:
    """Names of architectures for pictures, short and in letters that the font has, no two alike."""
    labels = {name: shortened(name, 20) for name in names}
    times = Counter(labels.values())
    numbered = {name: f"{shortened(name, 13)} ({i})" for i, name in enumerate(names, start=1)}
    return {name: label if times[label] == 1 else numbered[name] for name, label in labels.items()}


# ---- Drawing ----

_STYLE = {
    "figure.dpi": 180,
    "font.size": 8,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    # At a fixed height: else it is looked for among the ticks of every axis.
    "axes.titley": 1.0,
    # Names of folders and classes come from outside: a $ in them is not the beginning of a formula.
    "text.parse_math": False,
}


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Draws alike on every machine, whatever its matplotlibrc says; the caller's settings come back."""
    import_matplotlib()
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        yield


def import_matplotlib() -> None:
    """Import what draws; matplotlib reads MPLBACKEND meanwhile and fails where that names a module that is not here.

    A notebook's kernel sets it for all that is started in a cell. We draw into memory and need no backend.
    """
    if "matplotlib" in sys.modules:
        return
    with environment({"MPLBACKEND": None}):
        # Imported late: takes half a second, and a rerun with nothing to do needs none of it.
        import matplotlib.backends.backend_agg
        import matplotlib.figure
        import matplotlib.style
    if wanted := os.environ.get("MPLBACKEND"):
        with contextlib.suppress(ValueError, ImportError):  # it may be there, for whoever draws in this process too
            matplotlib.use(wanted)


def new_figure(height: float, background: str = "white", **options):
    """An empty figure, `WIDTH` inches wide, `height` high; `options` are those of matplotlib's Figure."""
    # Imported late: see `own_style`. The object API draws into memory by Agg and knows no screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), facecolor=background, **options)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure) -> bytes:
    """A figure as a PNG file, the same bytes for the same picture."""
    from PIL import Image  # with matplotlib, which uses it for its own PNG files

    canvas, content = figure.canvas, io.BytesIO()
    canvas.draw()
    image = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    # The pixels of `savefig`, compressed in half its time into files no larger: nothing shows through, so three
    # channels hold all, and more effort than level 3 hardly makes them smaller.
    image.convert("RGB").save(content, "png", dpi=(figure.dpi, figure.dpi), compress_level=3)
    return content.getvalue()


def titled_figure(
    height: float, title: str, subtitle: str, background: str = "white", ink: str = INK, faint: str = FAINT
):
    """A figure with its title, which takes 0.5 inches of its height."""
    figure = new_figure(height, background)
    figure.text(0.02, 1 - 0.1 / height, title, fontsize=10, fontweight="bold", color=ink, va="top")
    figure.text(0.02, 1 - 0.3 / height, subtitle, fontsize=7, color=faint, va="top")
    return figure


def add_axes(figure, left: float, top: float, width: float, height: float):
    """Axes at a place in inches from the left upper corner. (Layout engines draw everything twice to find theirs.)"""
    whole = figure.get_figheight()
    return figure.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole))


def figure_of_rows(
    title: str, subtitle: str, labels: Sequence[str], row_height: float, top: float = 0.6, below: float = 0.55
):
    """A figure and its axes, with a row for each label; lengths in inches."""
    left, height = 0.25 + 0.065 * max(map(len, labels)), row_height * len(labels)
    figure = titled_figure(top + height + below, title, subtitle)
    axes = add_axes(figure, left, top, WIDTH - left - 0.15, height)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def add_legend(figure, axes, columns: int = 0, **options) -> None:
    """What the colours of axes mean: below all, in so many columns, or beside the subtitle."""
    place = {"loc": "lower center", "ncols": columns}
    if not columns:
        corner = (0.99, 1 - 0.28 / figure.get_figheight())
        place = {"loc": "upper right", "ncols": 2, "borderpad": 0, "bbox_to_anchor": corner}
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=7, **place, **options)
