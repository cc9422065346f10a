"""The pictures of a sweep: each function takes what it shows and gives a PNG file, drawn with matplotlib.

Hidden here: what no picture can be made of as it is (one epoch, 200 architectures, 256 classes). The report and
TensorBoard show the same ones. Call them within `plots.own_style`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fmnist_mlp.report.plots import (
    BLUE,
    COLOURS,
    COSTS,
    FAINT,
    INK,
    METRICS,
    MOST_CLASSES_NAMED,
    ORANGE,
    WIDTH,
    add_axes,
    add_legend,
    choose_limits,
    figure_of_rows,
    is_loss,
    short_labels,
    shortened,
    titled_figure,
    to_png,
)
from fmnist_mlp.report.summaries import Curve, Reliability
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.ranking import best_first
from fmnist_mlp.results.statistics import pareto_front

FEW_IMAGES = 30  # whose accuracy is mostly chance
_LINES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_MARKS = "os^Dv<>PX*hp"
_MOST_LARGE = 40  # architectures in a scatter plot with large marks
_MOST_LABELS = 8  # names written into a scatter plot
_REACH_OF_CURVES = 8.0  # the first epoch is far from the others and no outlier


def _with_unit(metric: str) -> str:
    return f"{METRICS[metric]}, {'nats' if is_loss(metric) else '%'}"


def _scaled(metric: str, value):
    """A figure as people read it: losses as they are, all others in percent."""
    return value if is_loss(metric) else 100 * value


# ---- Against costs ----


class CostPicture(NamedTuple):
    """A figure against a cost, with the names of the architectures that it shows: all, the Pareto front, ..."""

    png: bytes
    names: list[str]
    front: list[str]
    beyond: list[str]  # whose figures, of a mean or a trial, lie beyond the axis


def draw_cost(
    subtitle: str,
    rows: Sequence[TableRow],
    metric: str,
    cost: str,
    select_by: str,
    trials: Mapping[str, Sequence[float]] = MappingProxyType({}),
    margin: float = 0.0,
) -> CostPicture | None:
    """A figure against a cost, a mark an architecture with its interval; None where no architecture has both.

    The Pareto front is that of what decides, never of test images; it is filled, and joined by steps where it is one of
    what is shown.

    Args:
        rows: of the final table.
        metric: a key of `METRICS`.
        cost: a key of `COSTS`.
        select_by: the figure that decides which architecture is the best.
        trials: that figure of each trial, a dot each, by architecture name; none for means alone.
        margin: as for `pareto_front`.
    """
    labels = short_labels([row.architecture for row in rows])
    best = next((row.architecture for row in best_first(rows) if row.trials), None)
    rows = [row for row in rows if row[cost] is not None and row[metric] is not None]
    if not rows:
        return None
    words, scale = COSTS[cost]
    names = [row.architecture for row in rows]
    costs, values, ends = np.array([getattr(row, cost) for row in rows], float), *_values_with_ends(rows, metric)
    behind = [row.behind_best.mean for row in rows]
    is_on_front = np.array(pareto_front(costs.tolist(), behind, higher_is_better=False, margin=margin))
    front = [name for name, is_on in zip(names, is_on_front, strict=True) if is_on]
    dots = [_scaled(metric, np.array(trials.get(name, ()), float)) for name in names]
    low, high = _limits_with_ends(values, ends)
    if trials:
        dots_low, dots_high = choose_limits(np.concatenate([values, *dots]))
        low, high = min(low, dots_low), max(high, dots_high)
    if not is_loss(metric):
        low, high = max(low, -3.0), min(high, 103.0)  # no accuracy is beyond; room for the marks
    is_beyond = (values < low) | (values > high)
    x, y = scale * costs, np.clip(values, low, high)

    figure = titled_figure(3.0, f"{METRICS[metric].capitalize()} against {words}", subtitle)
    axes = add_axes(figure, 0.6, 0.6, 4.25, 1.9)
    scale_costs(axes, x, cost)
    axes.set(ylim=(low, high), xlabel=words, ylabel=_with_unit(metric))
    if metric == select_by:
        order = np.flatnonzero(is_on_front)[np.argsort(x[is_on_front], kind="stable")]
        axes.step(x[order], y[order], where="post", color=BLUE, linewidth=0.9, linestyle="--")
    axes.vlines(x, *np.clip(ends, low, high), color=FAINT, linewidth=0.7, alpha=0.6)
    if trials:
        _draw_dots(axes, x, dots, is_on_front, (low, high))
        size, width = (7, 1.2) if len(rows) <= _MOST_LARGE else (3.5, 0.8)
        axes.plot(x[~is_beyond], y[~is_beyond], "_", markersize=size, markeredgewidth=width, color=INK)
    else:
        is_other = ~is_on_front & ~is_beyond
        axes.plot(x[is_other], y[is_other], "o", markersize=4.5, markerfacecolor="white", color=FAINT)
        axes.plot(x[is_on_front], y[is_on_front], "D", markersize=5, color=BLUE)
    for far, mark in ((values < low, "v"), (values > high, "^")):
        axes.plot(x[far], y[far], mark, markersize=5, color=ORANGE, clip_on=False)

    # On a crowded chart, some of the front from its one end to the other.
    named = {*front[:: -(-len(front) // _MOST_LABELS) or 1], best} if len(rows) > _MOST_LABELS else {*names}
    _write_labels(axes, x, y, [labels[name] if name in named else "" for name in names])
    is_beyond |= [bool(((of_trials < low) | (of_trials > high)).any()) for of_trials in dots]
    beyond = [name for name, far in zip(names, is_beyond, strict=True) if far]
    return CostPicture(to_png(figure), names, front, beyond)


def _draw_dots(axes, x: np.ndarray, dots: Sequence[np.ndarray], is_blue: np.ndarray, limits) -> None:
    """A dot a trial, above the cost of its architecture; those beyond the axis as triangles at its end."""
    low, high = limits
    size = 4 if len(x) <= _MOST_LARGE else 2.5
    for k in np.argsort(is_blue, kind="stable"):  # blue ones over the others
        place, values = x[k], dots[k]
        style = {"color": BLUE, "alpha": 0.7} if is_blue[k] else {"color": FAINT, "alpha": 0.45}
        for far, mark, look in (
            ((low <= values) & (values <= high), "o", {"markersize": size} | style),
            (values < low, "v", {"markersize": 4, "color": ORANGE, "clip_on": False}),
            (values > high, "^", {"markersize": 4, "color": ORANGE, "clip_on": False}),
        ):
            shown = np.clip(values[far], low, high)
            axes.plot(np.full(len(shown), place), shown, mark, markeredgewidth=0, zorder=4, **look)  # over names, too


def _values_with_ends(rows: Sequence[TableRow], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Means `(rows,)` and the ends of their intervals `(2, rows)`, as people read them."""
    figures = [getattr(row, metric) for row in rows]
    means = np.array([figure.mean for figure in figures], float)
    # One trial has no interval, and its point stands for the ends.
    ends = np.array([[f.low, f.high] if f.low is not None else [f.mean] * 2 for f in figures], float).T
    return _scaled(metric, means), _scaled(metric, ends)


def _limits_with_ends(values: np.ndarray, ends: np.ndarray) -> tuple[float, float]:
    """As `choose_limits`, with room for intervals, unless these are far wider than what they are to tell apart."""
    low, high = choose_limits(values)
    if len(values) < 2 or not np.ptp(values):
        return choose_limits(ends)
    inside = (low <= values) & (values <= high)
    room, margin = 1.5 * (high - low), 0.05 * (high - low)
    lowest, highest = ends[0, inside].min() - margin, ends[1, inside].max() + margin
    return max(low - room, min(low, lowest)), min(high + room, max(high, highest))


def scale_costs(axes, x: np.ndarray, cost: str) -> None:
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


def draw_curves(subtitle: str, curves: Mapping[str, Mapping[str, Curve]], labels: Mapping[str, str]) -> bytes:
    """Validation loss and accuracy, a line an architecture.

    Args:
        curves: `val_loss` and `val_accuracy` of each architecture, by its name.
        labels: short names by architecture name.
    """
    columns = 2 if max(len(labels[name]) for name in curves) > 14 else 3
    below = 0.2 + 0.16 * -(-len(curves) // columns)
    figure = titled_figure(4.75 + below, "Validation loss and accuracy against epochs", subtitle)
    for k, metric in enumerate(("val_loss", "val_accuracy")):
        axes = add_axes(figure, 0.6, 0.6 + 2.1 * k, 4.25, 1.8)
        means = [_scaled(metric, by_figure[metric].mean) for by_figure in curves.values()]
        limits = choose_limits(np.concatenate(means), _REACH_OF_CURVES)
        for i, (name, mean) in enumerate(zip(curves, means, strict=True)):
            style = {
                "color": COLOURS[i % len(COLOURS)],
                "linestyle": _LINES[i // len(COLOURS) % len(_LINES)],
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
    add_legend(figure, axes, columns, handlelength=3)
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
    figure = titled_figure(
        0.95 + rows * (height + 0.25), f"{name.capitalize()} against epochs, training and validation", subtitle
    )
    metric, loss = f"val_{name}", name == "loss"
    factor = 1 if loss else 100
    means = [factor * by_figure[key].mean for by_figure in curves.values() for key in (name, metric)]
    limits = choose_limits(np.concatenate(means), _REACH_OF_CURVES)
    epochs = max(map(len, means))
    for i, (architecture, by_figure) in enumerate(curves.items()):
        row, column = divmod(i, columns)
        axes = add_axes(figure, 0.5 + column * (width + 0.15), 0.75 + row * (height + 0.25), width, height)
        for key, colour, line, label in (
            (name, ORANGE, (0, (4, 1.5)), "training"),
            (metric, BLUE, "-", "validation"),
        ):
            curve = by_figure[key]
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
    add_legend(figure, axes, handlelength=2.5)
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
    names = [labels[name] for name in trials]
    figure, axes = figure_of_rows("Accuracy of every trial", subtitle, names, 0.34, top=0.75)
    everything = []
    for i, accuracies in enumerate(trials.values()):
        for metric, mark, colour, shift in (("test_accuracy", "^", ORANGE, -0.17), ("val_accuracy", "o", BLUE, 0.17)):
            values = 100 * np.array(accuracies[metric])
            if not len(values):
                continue
            everything.append(values)
            label = {"test_accuracy": "test", "val_accuracy": "validation"}[metric] if not i else None
            style = {"markerfacecolor": "none", "markersize": 4.5, "color": colour, "markeredgewidth": 0.9}
            axes.plot(values, np.full(len(values), i + shift), mark, label=label, **style)
            axes.vlines(values.mean(), i + shift - 0.15, i + shift + 0.15, color=INK, linewidth=1.6)
    limits = choose_limits(np.concatenate(everything or [[0.0]]))
    axes.set_xlim(*limits)
    axes.set_xlabel("accuracy, %")
    add_legend(figure, axes, handletextpad=0.2)
    return to_png(figure)


def draw_calibration_errors(subtitle: str, rows: Sequence[TableRow], labels: Mapping[str, str]) -> bytes:
    """Expected calibration error with its interval, a line an architecture.

    Args:
        rows: of the table, each with a `test_ece`.
        labels: short names by architecture name.
    """
    names = [labels[row.architecture] for row in rows]
    figure, axes = figure_of_rows("Expected calibration error", subtitle, names, 0.26)
    values, ends = _values_with_ends(rows, "test_ece")
    low, high = _limits_with_ends(values, ends)
    axes.hlines(range(len(rows)), *np.clip(ends, low, high), color=BLUE, linewidth=1.2)
    axes.plot(np.clip(values, low, high), range(len(rows)), "D", markersize=4.5, color=BLUE)
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
    is_named = len(class_names) <= MOST_CLASSES_NAMED
    figure, axes = figure_of_rows("F1 of each class, %", subtitle, labels, max(0.24, 0.3 / len(labels)), below=0.9)
    low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
    _draw_cells(axes, values, low, 100.0, class_names)
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
    is_named = len(counts) <= MOST_CLASSES_NAMED
    left = 1.05 if is_named else 0.6
    side = WIDTH - left - 0.15
    figure = titled_figure(0.6 + side + left, f"Confusion matrix of {label}, %", subtitle)
    axes = add_axes(figure, left, 0.6, side, side)
    _draw_cells(axes, shares, 0.0, 100.0, class_names, root=True)
    axes.set_yticks(*_class_ticks(class_names))
    axes.set(xlabel="predicted class", ylabel="true class")
    return to_png(figure)


def _draw_cells(
    axes, values: np.ndarray, low: float, high: float, class_names: Sequence[str], root: bool = False
) -> None:
    """A matrix, a column a class, in shades from `low` (light) to `high` (dark), with its numbers if there is room."""
    import matplotlib  # loaded already, by `own_style`

    shades = np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0) ** (0.5 if root else 1.0)
    axes.imshow(shades, cmap=matplotlib.colormaps["Blues"], vmin=0.0, vmax=1.25, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(*_class_ticks(class_names))
    is_named = len(class_names) <= MOST_CLASSES_NAMED
    axes.tick_params(axis="x", rotation=90 if is_named else 0)
    size = 7.5 if values.shape[1] <= 10 else 5
    for (i, j), value in np.ndenumerate(values) if is_named else ():
        if not np.isfinite(value):
            axes.text(j, i, "-", ha="center", va="center", fontsize=size, color=FAINT)
            continue
        # Whoever looks for mistakes wants a digit more; what rounds to none at all stays empty.
        text = "" if root and value < 0.05 else f"{value:.0f}" if value >= 9.95 or not root else f"{value:.1f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if shades[i, j] > 0.72 else INK)


def _class_ticks(names: Sequence[str]) -> tuple[Sequence[int], list[str]]:
    """Where an axis of classes has ticks, and what they say: names, or where they are too many some numbers."""
    if len(names) <= MOST_CLASSES_NAMED:
        return range(len(names)), [shortened(name, 14) for name in names]
    ticks = range(0, len(names), -(-len(names) // 8))
    return ticks, [str(k) for k in ticks]


def draw_reliability(subtitle: str, label: str, reliability: Reliability) -> bytes:
    """Accuracy against confidence, and below how many images have that confidence.

    Args:
        label: the architecture's short name.
    """
    figure = titled_figure(4.75, f"Reliability of {label}", subtitle)
    axes = add_axes(figure, 0.65, 0.6, 4.2, 2.6)
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=0.8, linestyle="--")
    is_there = reliability.images > 0
    x, y = 100 * reliability.confidence[is_there], 100 * reliability.accuracy[is_there]
    is_few = reliability.images[is_there] < FEW_IMAGES
    axes.plot(x, y, color=BLUE, linewidth=0.9)
    axes.plot(x[~is_few], y[~is_few], "o", color=BLUE, markersize=5)
    axes.plot(x[is_few], y[is_few], "o", color=BLUE, markersize=5, markerfacecolor="white")
    axes.text(3, 8, "as sure as right", fontsize=7, color=FAINT, rotation=32, rotation_mode="anchor")
    axes.set(xlim=(0, 100), ylim=(0, 102), ylabel="accuracy, %")
    below = add_axes(figure, 0.65, 3.4, 4.2, 0.85)
    edges = np.linspace(0, 100, len(reliability.images) + 1)
    below.bar(
        edges[:-1], reliability.images, width=edges[1], align="edge", color=BLUE, edgecolor="white", linewidth=0.5
    )
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.set(xlim=(0, 100), ylim=(0.5, 2 * reliability.images.max()), xlabel="confidence, %", ylabel="images")
    axes.tick_params(labelbottom=False)
    return to_png(figure)
