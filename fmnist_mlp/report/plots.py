"""The pictures of a sweep, drawn with matplotlib: each function takes what it shows and gives a PNG file.

Hidden here: drawing without a screen and alike on every machine (`own_style`, `new_figure`, `to_png`, which serve
`explore` too), axes that outliers do not spoil (`choose_limits`), names that fit, colours and marks that are told apart
with any kind of colour vision, and what no picture can be made of as it is (one epoch, 200 architectures, 256 classes).

Every picture names the data set, for pictures get about without their page. Leaves to others: the figures and which of
them are shown (`table`, `report`), the words around a picture (`page`). matplotlib is imported only to draw.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
_BLUE, _ORANGE = "#0072b2", "#d55e00"
_COLOURS = (_BLUE, _ORANGE, "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
_LINES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_MARKS = "os^Dv<>PX*hp"

FEW_IMAGES = 30  # whose accuracy is mostly chance
_MOST_CLASSES_NAMED = 20  # more leave no room for names and numbers in a picture
_MOST_LABELS = 8  # names written into a scatter plot
_REACH_OF_CURVES = 8.0  # the first epoch is far from the others and no outlier


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


# ---- What every picture shares ----

# The style of the charts here.
CHARTS = {
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
}


def import_matplotlib() -> None:
    """Import matplotlib, which reads MPLBACKEND meanwhile and fails where that names a module that is not here.

    A notebook's kernel sets it for all that is started in a cell. We draw into memory and need no backend.
    """
    if "matplotlib" in sys.modules:
        return
    with environment({"MPLBACKEND": None}):
        # Imported late: takes a fifth of a second, and a rerun with nothing to do needs none of it.
        import matplotlib
    if wanted := os.environ.get("MPLBACKEND"):
        with contextlib.suppress(ValueError, ImportError):  # it may be there, for whoever draws in this process too
            matplotlib.use(wanted)


@contextlib.contextmanager
def own_style(style: Mapping[str, Any] = CHARTS) -> Iterator[None]:
    """Draws alike on every machine, whatever its matplotlibrc says; the caller's settings come back.

    Args:
        style: matplotlib's settings, beside those that all pictures share.
    """
    import_matplotlib()
    import matplotlib.style

    shared = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        # At a fixed height: else it is looked for among the ticks of every axis.
        "axes.titley": 1.0,
        # Names of folders and classes come from outside: a $ in them is not the beginning of a formula.
        "text.parse_math": False,
    }
    with matplotlib.style.context(["default", {**shared, **style}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        yield


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


def _titled_figure(
    height: float, title: str, subtitle: str, background: str = "white", ink: str = INK, faint: str = FAINT
):
    """A figure with its title, which takes 0.5 inches of its height."""
    figure = new_figure(height, background)
    figure.text(0.02, 1 - 0.1 / height, title, fontsize=10, fontweight="bold", color=ink, va="top")
    figure.text(0.02, 1 - 0.3 / height, subtitle, fontsize=7, color=faint, va="top")
    return figure


def _add_axes(figure, left: float, top: float, width: float, height: float):
    """Axes at a place in inches from the left upper corner. (Layout engines draw everything twice to find theirs.)"""
    whole = figure.get_figheight()
    return figure.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole))


def _with_unit(metric: str) -> str:
    return f"{METRICS[metric]}, {'nats' if is_loss(metric) else '%'}"


def _scaled(metric: str, value):
    """A figure as people read it: losses as they are, all others in percent."""
    return value if is_loss(metric) else 100 * value


# ---- Against costs ----


def draw_cost(
    subtitle: str,
    rows: Sequence[dict],
    labels: Mapping[str, str],
    metric: str,
    cost: str,
    *,
    front: Sequence[str],
    joins_front: bool,
    best: str,
) -> tuple[bytes, list[str]]:
    """A figure against a cost, a point an architecture with its interval.

    Args:
        rows: of the table, each with that figure and that cost.
        labels: short names by architecture name.
        metric: a key of `METRICS`.
        cost: a key of `COSTS`.
        front: names of the architectures on the Pareto front, which are filled.
        joins_front: whether steps join them: where the front is one of what is shown.
        best: the name that is written into the crowded chart too.

    Returns:
        The picture, and the names of those whose figures lie beyond the axis.
    """
    words, scale = COSTS[cost]
    names = [row["architecture"] for row in rows]
    costs, values, ends = np.array([row[cost] for row in rows], float), *_values_with_ends(rows, metric)
    is_on_front = np.array([name in front for name in names])
    low, high = _limits_with_ends(values, ends)
    is_beyond = (values < low) | (values > high)
    x, y = scale * costs, np.clip(values, low, high)

    figure = _titled_figure(3.0, f"{METRICS[metric].capitalize()} against {words}", subtitle)
    axes = _add_axes(figure, 0.6, 0.6, 4.25, 1.9)
    _scale_costs(axes, x, cost)
    axes.set(ylim=(low, high), xlabel=words, ylabel=_with_unit(metric))
    if joins_front:
        order = np.flatnonzero(is_on_front)[np.argsort(x[is_on_front], kind="stable")]
        axes.step(x[order], y[order], where="post", color=_BLUE, linewidth=0.9, linestyle="--")
    axes.vlines(x, *np.clip(ends, low, high), color=FAINT, linewidth=0.7, alpha=0.6)
    is_other = ~is_on_front & ~is_beyond
    axes.plot(x[is_other], y[is_other], "o", markersize=4.5, markerfacecolor="white", color=FAINT)
    axes.plot(x[is_on_front], y[is_on_front], "D", markersize=5, color=_BLUE)
    for far, mark in ((values < low, "v"), (values > high, "^")):
        axes.plot(x[far], y[far], mark, markersize=5, color=_ORANGE, clip_on=False)

    # On a crowded chart, some of the front from its one end to the other.
    labelled = {*front[:: -(-len(front) // _MOST_LABELS) or 1], best} if len(rows) > _MOST_LABELS else {*names}
    _write_labels(axes, x, y, [labels[name] if name in labelled else "" for name in names])
    return to_png(figure), [name for name, far in zip(names, is_beyond, strict=True) if far]


def _values_with_ends(rows: Sequence[dict], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Means `(rows,)` and the ends of their intervals `(2, rows)`, as people read them."""
    means = np.array([row[metric] for row in rows], float)
    ends = np.array([[_end(row, metric, side) for row in rows] for side in ("low", "high")], float)
    return _scaled(metric, means), _scaled(metric, ends)


def _end(row: dict, name: str, side: str) -> float:
    """An end of the interval; one trial has none, and its point stands for it."""
    end = row[f"{name}_ci95_{side}"]
    return row[name] if end is None else end


def _limits_with_ends(values: np.ndarray, ends: np.ndarray) -> tuple[float, float]:
    """As `choose_limits`, with room for intervals, unless these are far wider than what they are to tell apart."""
    low, high = choose_limits(values)
    if len(values) < 2 or not np.ptp(values):
        return choose_limits(ends)
    inside = (low <= values) & (values <= high)
    room, margin = 1.5 * (high - low), 0.05 * (high - low)
    lowest, highest = ends[0, inside].min() - margin, ends[1, inside].max() + margin
    return max(low - room, min(low, lowest)), min(high + room, max(high, highest))


def _scale_costs(axes, x: np.ndarray, cost: str) -> None:
    """Logarithmic where costs differ by more than ten times; ticks as people write them."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    low, high = float(x.min()), float(x.max())
    if low > 0 and high > 10 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,), numticks=12))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.get_major_locator().set_params(nbins=6)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if cost in ("params", "flops") else "{x:g}")


def _write_labels(axes, x: np.ndarray, y: np.ndarray, texts: Sequence[str]) -> None:
    """Writes names beside points, where neither names nor points are yet; a name without such a place is left out."""
    size = axes.bbox.size / axes.figure.dpi  # inches
    points = axes.transAxes.inverted().transform(axes.transData.transform(np.column_stack([x, y]))) * size
    line, letter, gap, farthest = 0.13, 0.062, 0.08, 0.4  # inches, for letters of 7 points
    taken = np.empty((0, 3))  # middle, height and width of the names that stand already
    for k in np.argsort(points[:, 1], kind="stable"):
        width = letter * len(texts[k])
        # Beside, not above: an interval goes straight up and down.
        places = [
            (points[k, 0] + side * (gap + width / 2), points[k, 1] + sign * step * line / 3)
            for step in range(int(3 * farthest / line) + 1)
            for sign in (1, -1)
            for side in (1, -1)
        ]
        for middle, height in places if texts[k] else ():
            is_inside = width / 2 <= middle <= size[0] - width / 2 and 0 <= height <= size[1]
            other_points = np.abs(points - (middle, height)) < (width / 2 + 0.04, line / 2)
            other_names = np.abs(taken[:, :2] - (middle, height)) < np.column_stack(
                [(taken[:, 2] + width) / 2, np.full(len(taken), line)]
            )
            if is_inside and not other_points.all(axis=1).any() and not other_names.all(axis=1).any():
                taken = np.vstack([taken, (middle, height, width)])
                style = {"fontsize": 7, "ha": "center", "va": "center", "transform": axes.transAxes}
                box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.3}
                axes.text(middle / size[0], height / size[1], texts[k], bbox=box, **style)
                break


# ---- Curves and points ----


class Curve(NamedTuple):
    """A figure against epochs over the trials of an architecture; all `(epochs,)`, NaN where no trial has a number."""

    mean: np.ndarray
    low: np.ndarray  # of the trials the lowest
    high: np.ndarray
    trials: np.ndarray  # int: how many have a number there


def draw_curves(subtitle: str, curves: Mapping[str, Mapping[str, Curve]], labels: Mapping[str, str]) -> bytes:
    """Validation loss and accuracy, a line an architecture.

    Args:
        curves: `val_loss` and `val_accuracy` of each architecture, by its name.
        labels: short names by architecture name.
    """
    columns = 2 if max(len(labels[name]) for name in curves) > 14 else 3
    below = 0.2 + 0.16 * -(-len(curves) // columns)
    figure = _titled_figure(4.75 + below, "Validation loss and accuracy against epochs", subtitle)
    for k, metric in enumerate(("val_loss", "val_accuracy")):
        axes = _add_axes(figure, 0.6, 0.6 + 2.1 * k, 4.25, 1.8)
        means = [_scaled(metric, those[metric].mean) for those in curves.values()]
        limits = choose_limits(np.concatenate(means), _REACH_OF_CURVES)
        for i, (name, mean) in enumerate(zip(curves, means, strict=True)):
            style = {
                "color": _COLOURS[i % len(_COLOURS)],
                "linestyle": _LINES[i // len(_COLOURS) % len(_LINES)],
                "marker": _MARKS[i % len(_MARKS)],
                "markersize": 3,
                # Marks of different lines at different epochs.
                "markevery": (i % 5, 5) if len(mean) > 10 else None,
                "linewidth": 1.1,
            }
            axes.plot(_epochs(mean), _cut(mean, limits), **style, label=labels[name])
        _finish_curves(axes, limits, max(map(len, means)))
        axes.set_ylabel(_with_unit(metric))
    axes.set_xlabel("epoch")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=7, handlelength=3)
    return to_png(figure)


def draw_panels(
    subtitle: str, curves: Mapping[str, Mapping[str, Curve]], labels: Mapping[str, str], name: str
) -> bytes:
    """A panel an architecture, training and validation, all on one scale.

    Args:
        curves: of each architecture, by its name.
        labels: short names by architecture name.
        name: which of the curves: `loss` or `accuracy`, beside `val_loss` or `val_accuracy`.
    """
    columns = {1: 1, 2: 2, 4: 2}.get(len(curves), 3)
    rows = -(-len(curves) // columns)
    width, height = (4.35 - 0.15 * (columns - 1)) / columns, {1: 2.4, 2: 1.55}.get(columns, 1.15)
    figure = _titled_figure(
        0.95 + rows * (height + 0.25), f"{name.capitalize()} against epochs, training and validation", subtitle
    )
    metric, loss = f"val_{name}", name == "loss"
    factor = 1 if loss else 100
    means = [factor * those[key].mean for those in curves.values() for key in (name, metric)]
    limits = choose_limits(np.concatenate(means), _REACH_OF_CURVES)
    epochs = max(map(len, means))
    for i, (architecture, those) in enumerate(curves.items()):
        row, column = divmod(i, columns)
        axes = _add_axes(figure, 0.5 + column * (width + 0.15), 0.75 + row * (height + 0.25), width, height)
        for key, colour, line, label in (
            (name, _ORANGE, (0, (4, 1.5)), "training"),
            (metric, _BLUE, "-", "validation"),
        ):
            curve = those[key]
            x = _epochs(curve.mean)
            mean, low, high = (_cut(factor * values, limits) for values in curve[:3])
            axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
            is_whole = curve.trials == curve.trials.max(initial=0)
            style = {"color": colour, "linestyle": line, "marker": "o" if len(x) == 1 else None, "markersize": 3}
            axes.plot(x, mean, linewidth=0.6, **style)
            axes.plot(x, np.where(is_whole, mean, np.nan), linewidth=1.3, label=label, **style)
        _finish_curves(axes, limits, epochs)
        axes.set_title(labels[architecture], fontsize=7.5, loc="left", pad=3)
        axes.tick_params(labelsize=7, labelleft=column == 0, labelbottom=i + columns >= len(curves))
    figure.text(
        0.5, 0.06 / figure.get_figheight(), f"epoch ({name}{'' if loss else ' in %'})", ha="center", fontsize=7.5
    )
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper right",
        ncols=2,
        frameon=False,
        fontsize=7,
        handlelength=2.5,
        borderpad=0,
        bbox_to_anchor=(0.99, 1 - 0.28 / figure.get_figheight()),
    )
    return to_png(figure)


def _epochs(values: np.ndarray) -> np.ndarray:
    return np.arange(1, len(values) + 1)


def _cut(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Values far beyond an axis, where drawing them overflows, moved to just beyond it."""
    low, high = limits
    return np.clip(values, low - (high - low), high + (high - low))


def _finish_curves(axes, limits: tuple[float, float], epochs: int) -> None:
    axes.set_xlim(1 - 0.03 * epochs, epochs + 0.03 * epochs)
    axes.set_ylim(*limits)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    axes.yaxis.get_major_locator().set_params(nbins=5)


def draw_trials(subtitle: str, trials: Mapping[str, Mapping[str, Sequence[float]]], labels: Mapping[str, str]) -> bytes:
    """Accuracy of every trial as a point, a line an architecture.

    Args:
        trials: `test_accuracy` and `val_accuracy` of each architecture's trials, by its name.
        labels: short names by architecture name.
    """
    named = [labels[name] for name in trials]
    left, height = _label_width(named), 0.34 * len(trials)
    figure = _titled_figure(1.3 + height, "Accuracy of every trial", subtitle)
    axes = _add_axes(figure, left, 0.75, WIDTH - left - 0.15, height)
    everything = []
    for i, those in enumerate(trials.values()):
        for metric, mark, colour, shift in (("test_accuracy", "^", _ORANGE, -0.17), ("val_accuracy", "o", _BLUE, 0.17)):
            values = 100 * np.array(those[metric])
            if not len(values):
                continue
            everything.append(values)
            label = {"test_accuracy": "test", "val_accuracy": "validation"}[metric] if not i else None
            style = {"markerfacecolor": "none", "markersize": 4.5, "color": colour, "markeredgewidth": 0.9}
            axes.plot(values, np.full(len(values), i + shift), mark, label=label, **style)
            axes.vlines(values.mean(), i + shift - 0.15, i + shift + 0.15, color=INK, linewidth=1.6)
    _name_rows(axes, named)
    limits = choose_limits(np.concatenate(everything or [[0.0]]))
    axes.set_xlim(*limits)
    axes.set_xlabel("accuracy, %")
    figure.legend(
        loc="upper right",
        ncols=2,
        frameon=False,
        fontsize=7,
        borderpad=0,
        handletextpad=0.2,
        bbox_to_anchor=(0.99, 1 - 0.28 / figure.get_figheight()),
    )
    return to_png(figure)


def _label_width(labels: Sequence[str]) -> float:
    """Inches to the left of axes that name an architecture a row."""
    return 0.25 + 0.065 * max(map(len, labels))


def _name_rows(axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def draw_calibration_errors(subtitle: str, rows: Sequence[dict], labels: Mapping[str, str]) -> bytes:
    """Expected calibration error with its interval, a line an architecture.

    Args:
        rows: of the table, each with a `test_ece`.
        labels: short names by architecture name.
    """
    named = [labels[row["architecture"]] for row in rows]
    left, height = _label_width(named), 0.26 * len(rows)
    figure = _titled_figure(1.15 + height, "Expected calibration error", subtitle)
    axes = _add_axes(figure, left, 0.6, WIDTH - left - 0.15, height)
    values, ends = _values_with_ends(rows, "test_ece")
    low, high = _limits_with_ends(values, ends)
    axes.hlines(range(len(rows)), *np.clip(ends, low, high), color=_BLUE, linewidth=1.2)
    axes.plot(np.clip(values, low, high), range(len(rows)), "D", markersize=4.5, color=_BLUE)
    _name_rows(axes, named)
    axes.set_xlim(low, high)
    axes.set_xlabel("expected calibration error, %")
    return to_png(figure)


# ---- Classes ----


def draw_f1(subtitle: str, scores: np.ndarray, labels: Sequence[str], class_names: Sequence[str]) -> bytes:
    """A heat map of F1 scores.

    Args:
        scores: fractions, `(architectures, classes)`, NaN for none.
        labels: short names of the architectures.
    """
    values = 100 * scores
    left, height = _label_width(labels), max(0.24 * len(labels), 0.3)
    is_named = len(class_names) <= _MOST_CLASSES_NAMED
    figure = _titled_figure(1.5 + height, "F1 of each class, %", subtitle)
    axes = _add_axes(figure, left, 0.6, WIDTH - left - 0.15, height)
    axes.set_yticks(range(len(labels)), labels)
    low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
    _draw_cells(axes, values, low, 100.0, is_named)
    _name_classes(axes.set_xticks, class_names, is_named)
    axes.tick_params(axis="x", rotation=90 if is_named else 0)
    if not is_named:
        axes.set_xlabel(f"class (light {low:.0f} %, dark 100 %)")
    return to_png(figure)


def draw_confusions(subtitle: str, label: str, counts: np.ndarray, class_names: Sequence[str]) -> bytes:
    """A confusion matrix in percent of each class.

    Args:
        label: the architecture's short name.
        counts: `(classes, classes)`: rows are labels.
    """
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_named = len(counts) <= _MOST_CLASSES_NAMED
    left = 1.05 if is_named else 0.6
    side = WIDTH - left - 0.15
    figure = _titled_figure(0.6 + side + left, f"Confusion matrix of {label}, %", subtitle)
    axes = _add_axes(figure, left, 0.6, side, side)
    _draw_cells(axes, shares, 0.0, 100.0, is_named, root=True)
    _name_classes(axes.set_xticks, class_names, is_named)
    _name_classes(axes.set_yticks, class_names, is_named)
    axes.tick_params(axis="x", rotation=90 if is_named else 0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return to_png(figure)


def _draw_cells(axes, values: np.ndarray, low: float, high: float, with_numbers: bool, root: bool = False) -> None:
    """A matrix in shades of one colour from `low` (light) to `high` (dark), with its numbers where there is room."""
    import matplotlib  # loaded already, by `_own_style`

    shades = np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0) ** (0.5 if root else 1.0)
    axes.imshow(shades, cmap=matplotlib.colormaps["Blues"], vmin=0.0, vmax=1.25, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    size = 7.5 if values.shape[1] <= 10 else 5
    for (i, j), value in np.ndenumerate(values) if with_numbers else ():
        if not np.isfinite(value):
            axes.text(j, i, "-", ha="center", va="center", fontsize=size, color=FAINT)
            continue
        # Whoever looks for mistakes wants a digit more; what rounds to none at all stays empty.
        text = "" if root and value < 0.05 else f"{value:.0f}" if value >= 9.95 or not root else f"{value:.1f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if shades[i, j] > 0.72 else INK)


def _name_classes(set_ticks, names: Sequence[str], is_named: bool) -> None:
    if is_named:
        set_ticks(range(len(names)), [shortened(name, 14) for name in names])
    else:
        step = -(-len(names) // 8)
        set_ticks(range(0, len(names), step), [str(k) for k in range(0, len(names), step)])


# ---- Calibration and samples ----


class Reliability(NamedTuple):
    """How confidence compares with accuracy in bins of confidence, all `(bins,)`."""

    confidence: np.ndarray  # mean of the bin's images; NaN where it is empty
    accuracy: np.ndarray
    images: np.ndarray  # int


def draw_reliability(subtitle: str, label: str, reliability: Reliability) -> bytes:
    """Accuracy against confidence, and below how many images have that confidence.

    Args:
        label: the architecture's short name.
    """
    figure = _titled_figure(4.75, f"Reliability of {label}", subtitle)
    axes = _add_axes(figure, 0.65, 0.6, 4.2, 2.6)
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=0.8, linestyle="--")
    is_there = reliability.images > 0
    x, y = 100 * reliability.confidence[is_there], 100 * reliability.accuracy[is_there]
    is_few = reliability.images[is_there] < FEW_IMAGES
    axes.plot(x, y, color=_BLUE, linewidth=0.9)
    axes.plot(x[~is_few], y[~is_few], "o", color=_BLUE, markersize=5)
    axes.plot(x[is_few], y[is_few], "o", color=_BLUE, markersize=5, markerfacecolor="white")
    axes.text(3, 8, "as sure as right", fontsize=7, color=FAINT, rotation=32, rotation_mode="anchor")
    axes.set(xlim=(0, 100), ylim=(0, 102), ylabel="accuracy, %")
    below = _add_axes(figure, 0.65, 3.4, 4.2, 0.85)
    edges = np.linspace(0, 100, len(reliability.images) + 1)
    below.bar(
        edges[:-1], reliability.images, width=edges[1], align="edge", color=_BLUE, edgecolor="white", linewidth=0.5
    )
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.set(xlim=(0, 100), ylim=(0.5, 2 * reliability.images.max()), xlabel="confidence, %", ylabel="images")
    axes.tick_params(labelbottom=False)
    return to_png(figure)


def draw_samples(subtitle: str, title: str, kinds: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]]) -> bytes:
    """Sheets of test images on black, their own ground.

    Args:
        kinds: a heading each, with its images, uint8 `(height, width)`, all of one shape, and what stands below them.
    """
    kinds = [(heading, tiles) for heading, tiles in kinds if tiles]
    columns, cell = 5, (WIDTH - 0.2) / 5
    shape = kinds[0][1][0][0].shape
    ratio = float(np.clip(shape[0] / shape[1], 0.25, 4))  # flatter or taller images are stretched
    width = min(0.62, 0.9 / ratio)
    height = width * ratio + 0.42
    lines = sum(-(-len(tiles) // columns) for _, tiles in kinds)
    ink, faint = "#f2f2f2", "#c0c0c0"
    total = 0.6 + 0.25 * len(kinds) + lines * height
    figure = _titled_figure(total, title, subtitle, background="#111111", ink=ink, faint=faint)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0.5
    for heading, tiles in kinds:
        axes.text(0.1, top + 0.1, heading, fontsize=8.5, fontweight="bold", color=ink, va="center")
        top += 0.25
        for k, (image, text) in enumerate(tiles):
            row, column = divmod(k, columns)
            centre, y = 0.1 + (column + 0.5) * cell, top + row * height
            extent = (centre - width / 2, centre + width / 2, y + width * ratio, y)
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
            axes.text(
                centre, y + width * ratio + 0.04, text, fontsize=6, color=ink, ha="center", va="top", linespacing=1.25
            )
        top += -(-len(tiles) // columns) * height
    axes.set(xlim=(0, WIDTH), ylim=(total, 0), aspect="auto")
    return to_png(figure)
