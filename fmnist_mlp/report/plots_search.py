"""The pictures of a search: its course, its candidates by size, which setting mattered. Within `plots.own_style`."""

from collections.abc import Mapping, Sequence

import numpy as np

from fmnist_mlp.report.plots import (
    BLUE,
    FAINT,
    METRICS,
    add_axes,
    choose_limits,
    figure_of_rows,
    is_loss,
    shortened,
    titled_figure,
    to_png,
)
from fmnist_mlp.report.plots_sweep import scale_costs
from fmnist_mlp.results.candidates import CandidateRow
from fmnist_mlp.results.statistics import pareto_front


def draw_course(subtitle: str, rows: Sequence[CandidateRow], select_by: str) -> bytes:
    """The best so far against candidates, and against the epochs of all of them, side by side."""
    figure = titled_figure(2.7, f"Best {METRICS[select_by]} so far", subtitle)
    candidates = np.arange(1, len(rows) + 1)
    epochs = np.array([row.epochs_so_far for row in rows])
    values, is_whole = _figures(rows, select_by)
    best = np.array([np.nan if row.best_so_far is None else row.best_so_far for row in rows])
    best = best if is_loss(select_by) else 100 * best
    limits = choose_limits(values[is_whole])
    for left, x, words in ((0.7, candidates, "candidates"), (2.9, epochs, "epochs")):
        axes = add_axes(figure, left, 0.6, 1.95, 1.6)
        _draw_points(axes, x, values, is_whole)
        axes.step(x, best, where="post", color=BLUE, linewidth=1.2)
        axes.set(ylim=limits, xlabel=words)
        axes.tick_params(labelleft=left < 1)
        axes.set_ylabel(f"{METRICS[select_by]}, {'nats' if is_loss(select_by) else '%'}" if left < 1 else "")
    return to_png(figure)


def draw_candidates(subtitle: str, rows: Sequence[CandidateRow], select_by: str) -> bytes:
    """The figure of each candidate against its parameters, and the front of those that were trained whole."""
    rows = [row for row in rows if row.standing.figure is not None and row.standing.candidate.same_as is None]
    figure = titled_figure(3.0, f"{METRICS[select_by].capitalize()} of the candidates against parameters", subtitle)
    axes = add_axes(figure, 0.6, 0.6, 4.25, 1.9)
    values, is_whole = _figures(rows, select_by)
    params = np.array([row.standing.candidate.size.params for row in rows], float)
    limits = choose_limits(values)
    scale_costs(axes, params, "params")
    _draw_points(axes, params, values, is_whole)
    x, y = params[is_whole], values[is_whole]
    is_on_front = np.array(pareto_front(x.tolist(), y.tolist(), higher_is_better=not is_loss(select_by)), bool)
    order = np.flatnonzero(is_on_front)[np.argsort(x[is_on_front], kind="stable")]
    axes.step(x[order], np.clip(y, *limits)[order], where="post", color=BLUE, linewidth=0.9, linestyle="--")
    axes.set(ylim=limits, xlabel="parameters", ylabel=f"{METRICS[select_by]}, {'nats' if is_loss(select_by) else '%'}")
    return to_png(figure)


def draw_importances(subtitle: str, importances: Mapping[str, float]) -> bytes:
    """A bar for each setting, in the order given."""
    names = [shortened(name, 24) for name in importances]
    figure, axes = figure_of_rows("What mattered among the candidates", subtitle, names, 0.22)
    shares = [100 * share for share in importances.values()]
    axes.barh(range(len(shares)), shares, height=0.6, color=BLUE)
    axes.set_xlim(0, max(*shares, 1.0) * 1.06)
    axes.set_xlabel("share of the differences explained, %")
    return to_png(figure)


def _figures(rows: Sequence[CandidateRow], select_by: str) -> tuple[np.ndarray, np.ndarray]:
    """The figure of each row as people read it, NaN for none; and which were trained whole."""
    values = np.array([np.nan if row.standing.figure is None else row.standing.figure for row in rows], float)
    is_whole = np.array([row.standing.status == "whole" and row.standing.figure is not None for row in rows], bool)
    return values if is_loss(select_by) else 100 * values, is_whole


def _draw_points(axes, x: np.ndarray, values: np.ndarray, is_whole: np.ndarray) -> None:
    for is_shown, colour, size, alpha in ((~is_whole, FAINT, 4, 0.35), (is_whole, BLUE, 9, 0.9)):
        axes.scatter(x[is_shown], values[is_shown], s=size, color=colour, alpha=alpha, linewidths=0)
