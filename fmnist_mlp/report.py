"""The report of a sweep: one HTML page to look at and pass on, and its pictures as PNG files.

`report` makes both from what a sweep leaves behind (records, the rows of the table, predictions), so that the page says
what `results.csv` says, to the last digit. `average_histories`, `bin_confidences`, `count_confusions`,
`compare_settings`, `choose_samples` and `choose_limits` are what it computes and can be called alone. Hidden here:
drawing without a screen, a page that needs no other file and no network, and sweeps that no picture can be made of
(nothing trained, one epoch, 200 architectures, 256 classes, predictions that cannot be read).

The same records and library versions give the same bytes; where they are those of the last report, nothing is drawn.
Leaves to others: what the figures are and which architecture is best (`table`, `metrics`), where files go (`results`).
No TensorFlow, and matplotlib only once there is something to draw.
"""

import base64
import contextlib
import dataclasses
import hashlib
import html
import importlib.metadata
import io
import itertools
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fmnist_mlp import data, metrics, table
from fmnist_mlp.config import Training, Trial
from fmnist_mlp.data import DataSource
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import DamagedRecord, Record, Results

FORMAT = 1  # of the page: raise it when the same records give another page

MOST_SHOWN = 12  # architectures in pictures that give each a panel, a line or a row; the table holds all
MOST_CLASSES_NAMED = 20  # more leave no room for names and numbers in a picture
MOST_LABELS = 8  # names written into a scatter plot
MOST_FAILURES = 50  # listed; trials.csv has all
MOST_CONFUSIONS = 10
MOST_SAMPLES = 10  # test images of each kind
_MOST_BYTES_OF_IMAGES = 200_000_000  # of files to read for them: what is above takes longer than all the rest


# ---- The recipe ----


def report(
    state: table.SweepState,
    rows: Sequence[dict],
    results: Results,
    *,
    source: DataSource | None = None,
    again: bool = False,
) -> Path:
    """Writes `<sweep>/report.html` and `<sweep>/plots/*.png`, each file whole or not at all.

    Args:
        state: what the sweep asks for and what of it is done.
        rows: of the final table of that state, from `table.make_table`.
        source: where the images come from, to show some that the best model gets right and wrong, and to say why it
            is the stand-in where it is; without it the page does neither.
        again: draw it although nothing it is made of has changed, since files that were missing may be back.

    Returns:
        The path of the page.

    Raises:
        SweepError: the report cannot be written.
    """
    key = _key(state, rows, source)
    page, pictures = results.load_report(state.sweep)
    if _is_made_of(page, key, pictures) and not again:
        return results.sweep_folder(state.sweep) / "report.html"

    page, content = _Page(), _Content(state, rows, results, source)
    with _own_style():
        _show_table(page, content)
        _show_failures(page, content)
        _show_costs(page, content)
        _show_curves(page, content)
        _show_trials(page, content)
        _show_classes(page, content)
        _show_calibration(page, content)
        _show_samples(page, content)
    _show_settings(page, content)
    _show_how(page, content)
    return results.write_report(state.sweep, page.to_html(content, key), page.pictures)


def _key(state: table.SweepState, rows: Sequence[dict], source: DataSource | None) -> str:
    """A hash of all that the page is made of; curves, scores by class and predictions go with the metrics."""
    parts = [
        [FORMAT, importlib.metadata.version("matplotlib"), importlib.metadata.version("numpy")],
        [state.sweep.name, state.dataset, state.select_by, state.sweep.folds, state.sweep.limit],
        [source and source.kind, source and source.fallback_reason],
        list(rows),
        [[t.architecture.name, t.seed, t.fold, t.fingerprint] for t in state.trials],
        [[f, r.status, r.error, r.metrics, r.measured, r.environment] for f, r in sorted(state.records.items())],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_made_of(page: str, key: str, pictures: frozenset[str]) -> bool:
    """Whether a page that was written before is whole, of this key, and has its pictures beside it."""
    return _mark(key, pictures) in page[:10_000] and page.endswith("</html>\n")


def _mark(key: str, pictures: Collection[str]) -> str:
    """What a page says of itself in its head."""
    names = " ".join(sorted(pictures))
    return f'<meta name="made-of" content="{key}">\n<meta name="pictures" content="{names}">\n'


# ---- What is computed ----


class Curve(NamedTuple):
    """A figure against epochs over the trials of an architecture; all `(epochs,)`, NaN where no trial has a number."""

    mean: np.ndarray
    low: np.ndarray  # of the trials the lowest
    high: np.ndarray
    trials: np.ndarray  # int: how many have a number there


def average_histories(histories: Sequence[Mapping[str, Sequence[float | None]]], name: str) -> Curve:
    """Mean, lowest and highest of a figure at each epoch, over those trials that got there with a finite number.

    Args:
        histories: `Record.history` of each trial; they may differ in length and lack `name`.
        name: `loss`, `val_accuracy`, ...
    """
    lists = [history[name] for history in histories if history.get(name)]
    values = np.full((len(lists), max(map(len, lists), default=0)), np.nan)  # (trials, epochs)
    for row, numbers in zip(values, lists, strict=True):
        row[: len(numbers)] = [math.nan if number is None else number for number in numbers]
    # Numbers whose sum floating point cannot hold are as good as infinite.
    is_finite = np.abs(values) < np.finfo(np.float64).max / max(1, len(lists))
    trials = is_finite.sum(axis=0)
    mean = np.where(trials > 0, np.where(is_finite, values, 0.0).sum(axis=0) / np.maximum(trials, 1), np.nan)
    low = np.where(trials > 0, np.where(is_finite, values, np.inf).min(axis=0, initial=np.inf), np.nan)
    high = np.where(trials > 0, np.where(is_finite, values, -np.inf).max(axis=0, initial=-np.inf), np.nan)
    return Curve(mean, low, high, trials)


class Reliability(NamedTuple):
    """How confidence compares with accuracy in `metrics.CALIBRATION_BINS` bins of confidence, all `(bins,)`."""

    confidence: np.ndarray  # mean of the bin's images; NaN where it is empty
    accuracy: np.ndarray
    images: np.ndarray  # int


def bin_confidences(confidence: np.ndarray, is_correct: np.ndarray) -> Reliability:
    """Sorts images into the bins of the expected calibration error: equally wide, open below and closed above.

    Args:
        confidence: highest probability of each image, `(n,)`.
        is_correct: bool, `(n,)`.
    """
    bins = metrics.CALIBRATION_BINS
    places = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    images = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, weights=weights, minlength=bins) for weights in (confidence, is_correct))
    means = (np.where(images > 0, total / np.maximum(images, 1), np.nan) for total in sums)
    return Reliability(*means, images)


class Confusion(NamedTuple):
    """How often images of one class were taken for another."""

    label: int
    predicted: int
    images: int
    share: float  # of the images of `label`


def count_confusions(counts: np.ndarray, most: int = MOST_CONFUSIONS) -> list[Confusion]:
    """The most frequent confusions, of equals the first.

    Args:
        counts: confusion matrix, `(classes, classes)`: rows are labels.
    """
    wrong = counts - np.diag(counts.diagonal())
    found = sorted(zip(*np.nonzero(wrong), strict=True), key=lambda place: (-wrong[place], place))
    return [Confusion(int(i), int(j), int(wrong[i, j]), float(wrong[i, j] / counts[i].sum())) for i, j in found[:most]]


class Samples(NamedTuple):
    """Indices of test images, each `(k,)`."""

    right: np.ndarray  # the first of each class that is classified correctly
    wrong: np.ndarray  # the first of each class that is not
    confident: np.ndarray  # mistakes, the most confident first


def choose_samples(
    labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, most: int = MOST_SAMPLES
) -> Samples:
    """Images to show, at most so many of each kind, by a rule that leaves nothing to taste.

    Args:
        labels, predicted: integers, `(n,)`.
        confidence: probability of the predicted class, `(n,)`; of equals the first image comes first.
    """
    is_correct = labels == predicted
    right, wrong = (np.flatnonzero(which) for which in (is_correct, ~is_correct))
    firsts = [which[np.unique(labels[which], return_index=True)[1]][:most] for which in (right, wrong)]
    return Samples(*firsts, wrong[np.argsort(-confidence[wrong], kind="stable")][:most])


def compare_settings(settings: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """What all agree on that have it, and the names of the settings in which they differ, in order of appearance.

    Args:
        settings: of each architecture, flat; one that is missing does not apply (a baseline has no epochs).
    """
    shared, differing = {}, []
    for name in dict.fromkeys(name for own in settings.values() for name in own):
        values = [own[name] for own in settings.values() if name in own]
        if all(value == values[0] for value in values):
            shared[name] = values[0]
        else:
            differing.append(name)
    return shared, differing


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


# ---- What the sections share ----


@dataclass
class _Content:
    """A sweep as the page shows it.

    Args:
        problems: what could not be shown, and why.
    """

    state: table.SweepState
    rows: Sequence[dict]
    results: Results
    source: DataSource | None
    problems: list[str] = field(default_factory=list)

    @cached_property
    def ordered(self) -> list[dict]:
        """All rows, best first, those without a figure last."""
        key = "behind_best" if any(row["behind_best"] is not None for row in self.rows) else self.metric
        return table.sort_rows(self.rows, key)

    @cached_property
    def shown(self) -> list[dict]:
        """The rows that pictures with a panel, a line or a row each have room for."""
        return [row for row in self.ordered if row["trials"]][:MOST_SHOWN]

    @property
    def best(self) -> dict | None:
        """The row that the table calls best, else the first that has trials."""
        return next((row for row in self.shown if row["verdict"] == "best"), next(iter(self.shown), None))

    @cached_property
    def done(self) -> dict[str, list[tuple[Trial, Record]]]:
        """Finished trials with their records, by architecture name."""
        found = self.state.by_architecture()
        return {name: [pair for pair in those if pair[1].is_done] for name, those in found.items()}

    @cached_property
    def failed(self) -> list[tuple[Trial, Record]]:
        return [pair for those in self.state.by_architecture().values() for pair in those if not pair[1].is_done]

    @property
    def metric(self) -> str:
        """What the best is selected by, as a column's name."""
        return self.state.select_by

    @property
    def metric_words(self) -> str:
        return _METRICS[self.metric]

    @property
    def dataset(self) -> str:
        return _DATASETS.get(self.state.dataset, self.state.dataset)

    @property
    def which_shown(self) -> str:
        """Which architectures a picture shows: `all 4 architectures`, `the best 12 of 200 ...`."""
        with_trials = sum(bool(row["trials"]) for row in self.rows)
        if with_trials > len(self.shown):
            return f"the best {len(self.shown)} of {with_trials:,} architectures by {self.metric_words}"
        return "the one architecture" if with_trials == 1 else f"all {_counted(with_trials, 'architecture')}"

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names for pictures, short and in letters that the font has, no two alike; by architecture name."""
        names = [row["architecture"] for row in self.rows]
        shortened = {name: _shortened(name, 20) for name in names}
        times = Counter(shortened.values())
        numbered = {name: f"{_shortened(name, 13)} ({i})" for i, name in enumerate(names, start=1)}
        return {name: short if times[short] == 1 else numbered[name] for name, short in shortened.items()}

    @cached_property
    def class_rows(self) -> list[dict]:
        """`table.class_rows` of the architectures that are shown: the same numbers as classes.csv."""
        names = {row["architecture"] for row in self.shown}
        trials = [trial for trial in self.state.trials if trial.architecture.name in names]
        return table.class_rows(dataclasses.replace(self.state, trials=trials), self.results)

    @cached_property
    def best_trial(self) -> Trial | None:
        """The best architecture's best trial by validation; None before any is done."""
        return table.best_trials(self.state).get(self.best["architecture"]) if self.best else None

    @cached_property
    def confusion_matrix(self) -> np.ndarray | None:
        """Of the best architecture, summed over its finished trials: int, `(classes, classes)`, rows are labels."""
        total = None
        for _, record in self.done[self.best["architecture"]] if self.best else ():
            with contextlib.suppress(DamagedRecord):
                whole = record if record.classes else self.results.load_record(record.fingerprint)
                counts = np.array(whole.classes["test"].confusion_matrix) if whole and whole.classes else None
                if counts is not None and (total is None or total.shape == counts.shape):
                    total = counts if total is None else total + counts
        return total

    @cached_property
    def class_names(self) -> list[str]:
        return [row["class_name"] for row in self.class_rows if row["architecture"] == self.best["architecture"]]

    @cached_property
    def predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | str:
        """Labels, predicted classes and confidences of the best trial on test images, `(n,)` each; else why not."""
        trial = self.best_trial
        fingerprint, which = trial.fingerprint, _which(trial)
        if self.state.records[fingerprint].metrics.get("test_ece") is None:
            return f"{which} gives no probabilities."
        try:
            label, predicted, chances = self.results.load_predictions(
                fingerprint, "label", "predicted", "probabilities"
            )
            if not (chances.ndim == 2 and label.shape == predicted.shape == (len(chances),) and len(label)):
                raise DamagedRecord(f"{fingerprint}: its predictions do not fit each other")
        except DamagedRecord:
            # Not the error: it names a folder of this machine, and the page is the same wherever it is made.
            place = f"_records/{fingerprint}/predictions.npz"
            self.problems.append(f"The predictions of {which} are missing or damaged ({place}).")
            return self.problems[-1]
        return label, predicted, chances.max(axis=1).astype(np.float64)


_METRICS = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "cv_accuracy": "cross-validated accuracy",
    "test_accuracy": "test accuracy",
    "test_loss": "test loss",
}
_DATASETS = {"fashion_mnist": "Fashion-MNIST", "synthetic": "generated stand-in, not Fashion-MNIST"}


def _is_loss(metric: str) -> bool:
    return metric.endswith("loss")


def _scaled(metric: str, value):
    """A figure as people read it: losses as they are, all others in percent."""
    return value if _is_loss(metric) else 100 * value


def _with_unit(metric: str) -> str:
    return f"{_METRICS[metric]}, {'nats' if _is_loss(metric) else '%'}"


def _which(trial: Trial) -> str:
    fold = "" if trial.fold is None else f" fold {trial.fold}"
    return f"{trial.architecture.name} seed {trial.seed}{fold}"


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _shortened(name: str, most: int) -> str:
    """A name for pictures: on one line, in letters that matplotlib's font has; its ends where it is too long."""
    letters = "".join(letter if letter.isprintable() else " " for letter in name)
    letters = letters.encode("latin-1", "replace").decode("latin-1")
    return letters if len(letters) <= most else f"{letters[: most - 10]}...{letters[-7:]}"


# ---- The sections of the page, in order ----


class _Shown(NamedTuple):
    """A column of the table on the page: its title, the column of results.csv that it sorts by, its words."""

    title: str
    key: str
    words: Callable[[dict], str]
    is_text: bool = False


def _number(key: str, form: str = ",", scale: float = 1) -> Callable[[dict], str]:
    return lambda row: "" if row[key] is None else format(scale * row[key], form)


def _columns(metric: str) -> list[_Shown]:
    return [
        _Shown("architecture", "architecture", lambda row: row["architecture"], True),
        _Shown("parameters", "params", _number("params")),
        _Shown("test accuracy", "test_accuracy", lambda row: table.with_spread(row, "test_accuracy")),
        _Shown("95 % interval", "test_accuracy_ci95_low", lambda row: table.interval_in_words(row, "test_accuracy")),
        _Shown("test loss", "test_loss", _number("test_loss", ".3f")),
        _Shown(_METRICS[metric], metric, _number(metric, ".4f")),
        _Shown("verdict", "behind_best", table.verdict_in_words),
        _Shown("Pareto", "pareto", table.pareto_in_words, True),
        _Shown("macro F1", "test_macro_f1", _number("test_macro_f1", ".4f")),
        _Shown("ECE", "test_ece", _number("test_ece", ".4f")),
        _Shown("FLOPs", "flops", _number("flops")),
        _Shown("latency, ms", "latency_seconds", _number("latency_seconds", ".3g", 1000)),
        _Shown("training, s", "train_seconds", _number("train_seconds", ".3g")),
        _Shown("trials", "trials", lambda row: f"{row['trials']}" + (f" + {row['failed']} ✗" if row["failed"] else "")),
    ]


def _show_table(page, content):
    page.section("The table")
    columns = _columns(content.metric)
    rows = [
        [
            (column.words(row), None if column.is_text and column.key != "pareto" else row[column.key])
            for column in columns
        ]
        for row in content.ordered
    ]
    page.table(
        f"Every architecture, best first by {content.metric_words}",
        [column.title for column in columns],
        rows,
        text_columns=[k for k, column in enumerate(columns) if column.is_text or column.key == "behind_best"],
        sorted_by={k: column.is_text for k, column in enumerate(columns)},
    )
    for note in table.notes(content.state, content.rows):
        page.paragraph(note)
    page.paragraph(
        "Intervals are of the mean over trials. Macro F1 is the mean over classes, ECE the expected calibration error, "
        "both of test images. FLOPs and latency are for one image. Pareto: no other row is at least as cheap and at "
        "least as good. ✗ counts trials that failed and are in no mean. All columns are in results.csv."
    )


def _show_failures(page, content):
    if not content.failed:
        return
    page.section("Trials that failed")
    rows = [
        [_which(trial), record.error["type"], " ".join(record.error["message"].split())[:300] or "no message"]
        for trial, record in content.failed[:MOST_FAILURES]
    ]
    how_many = _counted(len(content.failed), "trial")
    first = f", the first {MOST_FAILURES}" if len(content.failed) > MOST_FAILURES else ""
    page.table(
        f"{how_many} failed{first}; tracebacks are in the records",
        ["trial", "error", "message"],
        rows,
        text_columns=(1, 2),
        is_folded=len(rows) > 10,
    )


# The key is a column of results.csv and the picture's file name.
_COSTS = {
    "params": ("parameters", 1),
    "flops": ("FLOPs for one image", 1),
    "latency_seconds": ("latency of one image, ms", 1000),
    "train_seconds": ("training time of a trial, s", 1),
}


def _show_costs(page, content):
    page.section("What accuracy costs")
    if not content.shown:
        page.paragraph("Nothing is trained yet.")
        return
    _show_cost(page, content, "test_accuracy", "params")
    for cost in _COSTS:
        _show_cost(page, content, content.metric, cost)


def _show_cost(page, content, metric: str, cost: str) -> None:
    words = _COSTS[cost][0]
    rows = [row for row in content.rows if row[cost] is not None and row[metric] is not None]
    if not rows:
        page.paragraph(f"No picture of {_METRICS[metric]} against {words}: not known for any architecture.")
        return
    figure, front, beyond = _draw_cost(content, rows, metric, cost)
    caption = f"{_capitalized(_METRICS[metric])} against {words}: means over trials with 95 % intervals."
    if metric == content.metric:
        caption += " Filled and joined by steps: the Pareto front, which nothing beats in both."
    else:
        caption += f" A point an architecture. Filled: the Pareto front by {content.metric_words}, without test images."
    if beyond:
        caption += f" Beyond the axis, drawn as triangles at its end: {_listed(beyond, 5)}."
    page.picture(
        f"{cost}.png" if metric == content.metric else f"{metric}.png",
        figure,
        alt=f"Scatter plot of {_METRICS[metric]} against {words} of {_counted(len(rows), 'architecture')}. On the "
        f"Pareto front: {_listed(front, 12)}. The table holds the numbers.",
        caption=caption,
    )


def _show_curves(page, content):
    page.section("Training curves")
    curves = {row["architecture"]: _curves(content, row["architecture"]) for row in content.shown}
    curves = {name: those for name, those in curves.items() if any(len(curve.mean) for curve in those.values())}
    if not curves:
        page.paragraph("No trial has curves.")
        return
    epochs = max(len(curve.mean) for those in curves.values() for curve in those.values())
    of_whom = content.which_shown if len(curves) == len(content.shown) else _counted(len(curves), "architecture")
    ends = ", ".join(f"{name} {_last(those['val_loss'])}" for name, those in curves.items() if _last(those["val_loss"]))
    page.picture(
        "curves.png",
        _draw_all_curves(content, curves),
        alt=f"Line charts of validation loss and validation accuracy against {_counted(epochs, 'epoch')}, a line an "
        f"architecture. Validation loss at the end: {ends or 'not known'}.",
        caption=f"Validation loss and accuracy, means over trials: {of_whom}.",
    )
    for figure in ("loss", "accuracy"):
        page.picture(
            f"curves_{figure}.png",
            _draw_panels(content, curves, figure),
            alt=f"A line chart an architecture: {figure} on training images (dashed) and validation images (solid) "
            f"against epochs. {_gaps_in_words(curves, figure)}",
            caption=f"{figure.capitalize()} while training (dashed) and on validation images (solid): mean over "
            "trials, band from the lowest to the highest; thin where only some trials have got so far. "
            f"{_capitalized(of_whom)}, on one scale; what lies far outside is cut off.",
        )


def _curves(content, name: str) -> dict[str, Curve]:
    histories = [record.history for _, record in content.done[name]]
    return {figure: average_histories(histories, figure) for figure in ("loss", "val_loss", "accuracy", "val_accuracy")}


def _last(curve: Curve) -> str:
    return f"{curve.mean[-1]:.3f}" if len(curve.mean) and np.isfinite(curve.mean[-1]) else ""


def _gaps_in_words(curves: Mapping[str, Mapping[str, Curve]], figure: str) -> str:
    """What the panels show, for who does not see them: `At the end, training and validation: 64-32 0.220, 0.332`."""
    pairs = [(name, _last(those[figure]), _last(those[f"val_{figure}"])) for name, those in curves.items()]
    return "At the end, training and validation: " + "; ".join(f"{n} {a or 'none'}, {b or 'none'}" for n, a, b in pairs)


def _show_trials(page, content):
    if not content.shown:
        return
    page.section("Spread over trials")
    spreads = [
        f"{row['architecture']} {min(values):.4f} to {max(values):.4f}"
        for row in content.shown
        if (values := [record.metrics["test_accuracy"] for _, record in content.done[row["architecture"]]])
    ]
    page.picture(
        "trials.png",
        _draw_trials(content),
        alt="Every trial as a point, a line an architecture: test and validation accuracy. Test accuracy, lowest "
        f"to highest: {'; '.join(spreads)}.",
        caption="Accuracy of every trial: triangles on test images, circles on validation images, bars their means. "
        f"{_capitalized(content.which_shown)}. Validation images differ from seed to seed, test images do not.",
    )


def _show_classes(page, content):
    if not content.shown:
        return
    page.section("Classes")
    rows = [row for row in content.class_rows if row["f1"] is not None]
    if not rows:
        page.paragraph("No scores by class are known.")
        return
    worst = min(
        (row for row in rows if row["architecture"] == content.best["architecture"]),
        key=lambda row: row["f1"],
        default=rows[0],
    )
    page.picture(
        "f1.png",
        _draw_f1(content),
        alt=f"Heat map of the F1 score of each class, a row an architecture. The best architecture is worst at "
        f"{worst['class_name']} ({100 * worst['f1']:.0f} %). classes.csv holds the numbers.",
        caption=f"F1 score of each class on test images, in percent, means over trials: {content.which_shown}.",
    )
    counts = content.confusion_matrix
    if counts is None or not counts.sum():
        page.paragraph("No confusion matrix: the records of the best architecture cannot be read.")
        return
    names, best = content.class_names, content.best["architecture"]
    trials = _counted(len(content.done[best]), "trial")
    found = [pair for pair in count_confusions(counts) if pair.label < len(names) and pair.predicted < len(names)]
    said = "; ".join(f"{names[c.label]} taken for {names[c.predicted]} {100 * c.share:.1f} %" for c in found[:3])
    page.picture(
        "confusion_matrix.png",
        _draw_confusions(content, counts),
        alt=f"Confusion matrix of {best} in percent of each class. Most frequent confusions: {said or 'none'}.",
        caption=f"Confusion matrix of {best}, {trials} together: of the test images of a class (row), the percentage "
        "that was given each class (column). Shades grow with the square root, for mistakes to show.",
    )
    if found:
        page.table(
            f"Most frequent confusions of {best}, {trials} together",
            ["class", "taken for", "images", "% of the class"],
            [[names[c.label], names[c.predicted], f"{c.images:,}", f"{100 * c.share:.1f}"] for c in found],
            text_columns=(1,),
        )


def _show_calibration(page, content):
    if not content.shown:
        return
    page.section("Calibration")
    page.paragraph("Whether a model is as often right as it says. Above the diagonal it is too modest, below too sure.")
    if isinstance(content.predictions, str):
        page.paragraph(f"No reliability diagram: {content.predictions}")
    else:
        label, predicted, confidence = content.predictions
        reliability = bin_confidences(confidence, label == predicted)
        which = _which(content.best_trial)
        ece = content.state.records[content.best_trial.fingerprint].metrics["test_ece"]
        page.picture(
            "reliability.png",
            _draw_reliability(content, reliability),
            alt=f"Reliability diagram of {which}: accuracy against confidence in {len(reliability.images)} bins. Mean "
            f"confidence is {100 * confidence.mean():.1f} %, accuracy {100 * np.mean(label == predicted):.1f} %.",
            caption=f"Accuracy against confidence of {which}, the best architecture's best trial by validation, on "
            f"{_counted(len(label), 'test image')}; hollow where they are fewer than {_FEW_IMAGES}. Below, how many "
            f"images have that confidence. Its expected calibration error is {100 * ece:.1f} %.",
        )
    rows = [row for row in content.shown if row["test_ece"] is not None]
    if rows:
        page.picture(
            "ece.png",
            _draw_ece(content, rows),
            alt="Expected calibration error of each architecture: "
            + "; ".join(f"{row['architecture']} {100 * row['test_ece']:.1f} %" for row in rows)
            + ".",
            caption="Expected calibration error on test images, mean over trials with its 95 % interval: "
            f"{content.which_shown}. Smaller is better.",
        )


def _show_samples(page, content):
    if not content.shown:
        return
    page.section("Sample predictions")
    images = _test_images(content)
    if isinstance(images, str):
        page.paragraph(f"No test images are shown: {images}")
        return
    label, predicted, confidence = content.predictions
    samples = choose_samples(label, predicted, confidence)
    which = _which(content.best_trial)
    mistakes = int((label != predicted).sum())
    names = content.class_names
    said = [f"{_name_of(names, label[i])} taken for {_name_of(names, predicted[i])}" for i in samples.confident[:3]]
    page.picture(
        "samples.png",
        _draw_samples(content, images, samples),
        alt=f"Test images with what {which} says of them. Most confident mistakes: {'; '.join(said) or 'none'}.",
        caption=f"Test images and what {which} says of them, the best architecture's best trial by validation: of "
        "each class the first that it gets right and the first that it gets wrong, and of its "
        f"{_counted(mistakes, 'mistake')} those that it was surest of, at most {MOST_SAMPLES} each.",
        is_photo=True,
    )


def _test_images(content) -> np.ndarray | str:
    """uint8 `(n, height, width)`, in the order of the predictions; or why there are none, a sentence."""
    if content.source is None:
        return "the report was made without them."
    if isinstance(content.predictions, str):
        return content.predictions
    folder = content.source.folder
    try:
        size = sum(path.stat().st_size for path in folder.glob("*ubyte*")) if folder else 0
        if size > _MOST_BYTES_OF_IMAGES:
            return f"reading {size / 1e6:,.0f} MB of images would take long."
        images = data.load_data(content.source)
    except (SweepError, OSError) as error:
        content.problems.append(f"The images cannot be read: {' '.join(str(error).split())}.")
        return content.problems[-1]
    trained_on = content.best_trial.settings.get("data")
    if trained_on != images.identity or len(images.x_test) != len(content.predictions[0]):
        return "the images that are there now are not those that the trial was tested on."
    return images.x_test


def _name_of(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _show_settings(page, content):
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
        own = settings.get(row["architecture"], {})
        values = [_value_words(own[name]) if name in own else "" for name in differing]
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


def _settings(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """Settings by architecture name, flat: those that any names, with their defaults where an architecture does not."""
    settings, of_baselines = {}, set()
    for trial in trials:
        if (name := trial.architecture.name) not in settings:
            training = trial.settings.get("training", {})
            others = {key: value for key, value in trial.settings.items() if key not in _NOT_SETTINGS}
            settings[name] = {**training, **others}
            of_baselines |= {name} if "baseline" in trial.settings else set()
    named = dict.fromkeys(key for own in settings.values() for key in own)
    defaults = {key: Training.model_fields[key].default for key in named if key in Training.model_fields}
    return {name: own if name in of_baselines else defaults | own for name, own in settings.items()}


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


def _show_how(page, content):
    page.section("How these numbers were made")
    sweep = content.state.sweep
    seeds = f"seeds {_listed([str(seed) for seed in sweep.seeds], 20)}"
    if sweep.folds:
        training = (
            f"{sweep.folds} times with each of {seeds}, each time validated on another fold of the training images"
        )
    else:
        training = f"once with each of {seeds}; a share of the training images, drawn by seed and class, validates it"
    page.paragraph(
        f"Everything is trained {training}. Test images are scored once a trial, with the weights that the "
        "training ended with, and decide nothing. Means and standard deviations are over trials, intervals are "
        "Student's t, verdicts Tukey's range test in blocks of seeds. Parameters and FLOPs are exact counts, times are "
        "what the clock said on the machines below. results/README.md explains every column."
    )
    found = Counter()
    for those in content.done.values():
        for _, record in those:
            found.update((key, str(value)) for key, value in record.environment.items())
    trials = sum(len(those) for those in content.done.values())
    facts = {}
    for (key, value), count in sorted(found.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        facts.setdefault(key, []).append(value if count == trials else f"{value} ({_counted(count, 'trial')})")
    order = ("device", "tensorflow", "keras")
    page.facts(
        [(key, _listed(facts[key])) for key in (*order, *(key for key in facts if key not in order)) if key in facts]
    )


# ---- Drawing ----

_WIDTH = 5.0  # inches: letters of 8 points stay readable where a phone shows it 375 pixels wide
_DPI = 180
_INK, _FAINT, _GRID = "#1a1a1a", "#5a5a5a", "#dddddd"
# Okabe and Ito's colours, told apart with any kind of colour vision; without yellow, which white swallows. Lines and
# marks differ in shape as well.
_BLUE, _ORANGE = "#0072b2", "#d55e00"
_COLOURS = (_BLUE, _ORANGE, "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
_LINES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_REACH_OF_CURVES = 8.0  # the first epoch is far from the others and no outlier
_FEW_IMAGES = 30  # whose accuracy is mostly chance
_MARKS = "os^Dv<>PX*hp"


@contextlib.contextmanager
def _own_style() -> Iterator[None]:
    """Draws alike on every machine, whatever its matplotlibrc says; the caller's settings come back."""
    # Imported late: takes a fifth of a second, and a rerun with nothing to do needs none of it.
    import matplotlib.style

    style = {
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _FAINT,
        "text.color": _INK,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": _GRID,
        "grid.linewidth": 0.5,
        # Names of folders and classes come from outside: a $ in them is not the beginning of a formula.
        "text.parse_math": False,
    }
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        yield


def _new_figure(height: float, content, title: str, background: str = "white", ink: str = _INK, faint: str = _FAINT):
    """A figure with its title and, in every one, the data set: pictures get about without their page.

    Args:
        height: inches, of which the title takes 0.5.
    """
    # Imported late: see `_own_style`. The object API draws into memory by Agg and knows no screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor=background)
    FigureCanvasAgg(figure)
    figure.text(0.02, 1 - 0.1 / height, title, fontsize=10, fontweight="bold", color=ink, va="top")
    subtitle = f"{_shortened(content.state.sweep.name, 40)} on {_shortened(content.dataset, 40)}"
    figure.text(0.02, 1 - 0.3 / height, subtitle, fontsize=7, color=faint, va="top")
    return figure


def _add_axes(figure, left: float, top: float, width: float, height: float):
    """Axes at a place in inches from the left upper corner. (Layout engines draw everything twice to find theirs.)"""
    whole = figure.get_figheight()
    return figure.add_axes((left / _WIDTH, 1 - (top + height) / whole, width / _WIDTH, height / whole))


def _to_png(figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None}, facecolor=figure.get_facecolor())
    return content.getvalue()


def _draw_cost(content, rows: Sequence[dict], metric: str, cost: str):
    """A figure against a cost; the Pareto front is always by what the best is selected by.

    Returns:
        The figure, the names on the front, the names of those whose figures lie beyond the axis.
    """
    words, scale = _COSTS[cost]
    costs, values, ends = np.array([row[cost] for row in rows], float), *_values_with_ends(rows, metric)
    is_on_front = np.array(
        metrics.pareto_front(costs, [row[content.metric] for row in rows], not _is_loss(content.metric))
    )
    front = [row["architecture"] for row, on_front in zip(rows, is_on_front, strict=True) if on_front]
    low, high = _limits_with_ends(values, ends)
    is_beyond = (values < low) | (values > high)
    x, y = scale * costs, np.clip(values, low, high)

    figure = _new_figure(3.0, content, f"{_capitalized(_METRICS[metric])} against {words}")
    axes = _add_axes(figure, 0.6, 0.6, 4.25, 1.9)
    _scale_costs(axes, x, cost)
    axes.set(ylim=(low, high), xlabel=words, ylabel=_with_unit(metric))
    if metric == content.metric:
        order = np.flatnonzero(is_on_front)[np.argsort(x[is_on_front], kind="stable")]
        axes.step(x[order], y[order], where="post", color=_BLUE, linewidth=0.9, linestyle="--")
    axes.vlines(x, *np.clip(ends, low, high), color=_FAINT, linewidth=0.7, alpha=0.6)
    is_other = ~is_on_front & ~is_beyond
    axes.plot(x[is_other], y[is_other], "o", markersize=4.5, markerfacecolor="white", color=_FAINT)
    axes.plot(x[is_on_front], y[is_on_front], "D", markersize=5, color=_BLUE)
    for far, mark in ((values < low, "v"), (values > high, "^")):
        axes.plot(x[far], y[far], mark, markersize=5, color=_ORANGE, clip_on=False)

    # On a crowded chart, some of the front from its one end to the other.
    labelled = {*front[:: -(-len(front) // MOST_LABELS) or 1], content.best["architecture"]}
    names = [row["architecture"] for row in rows]
    is_labelled = [len(rows) <= MOST_LABELS or name in labelled for name in names]
    _write_labels(
        axes, x, y, [content.labels[n] if wanted else "" for n, wanted in zip(names, is_labelled, strict=True)]
    )
    return figure, front, [name for name, far in zip(names, is_beyond, strict=True) if far]


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
    size = axes.bbox.size / _DPI  # inches
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


def _draw_all_curves(content, curves: Mapping[str, Mapping[str, Curve]]):
    columns = 2 if max(len(content.labels[name]) for name in curves) > 14 else 3
    below = 0.2 + 0.16 * -(-len(curves) // columns)
    figure = _new_figure(4.75 + below, content, "Validation loss and accuracy against epochs")
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
            axes.plot(_epochs(mean), _cut(mean, limits), **style, label=content.labels[name])
        _finish_curves(axes, limits, max(map(len, means)))
        axes.set_ylabel(_with_unit(metric))
    axes.set_xlabel("epoch")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=7, handlelength=3)
    return figure


def _draw_panels(content, curves: Mapping[str, Mapping[str, Curve]], name: str):
    """A panel an architecture, training and validation, all on one scale."""
    columns = {1: 1, 2: 2, 4: 2}.get(len(curves), 3)
    rows = -(-len(curves) // columns)
    width, height = (4.35 - 0.15 * (columns - 1)) / columns, {1: 2.4, 2: 1.55}.get(columns, 1.15)
    figure = _new_figure(
        0.95 + rows * (height + 0.25), content, f"{name.capitalize()} against epochs, training and validation"
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
        axes.set_title(content.labels[architecture], fontsize=7.5, loc="left", pad=3)
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
    return figure


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


def _draw_trials(content):
    rows = content.shown
    left = _label_width(content, rows)
    height = 0.34 * len(rows)
    figure = _new_figure(1.3 + height, content, "Accuracy of every trial")
    axes = _add_axes(figure, left, 0.75, _WIDTH - left - 0.15, height)
    everything = []
    for i, row in enumerate(rows):
        records = [record for _, record in content.done[row["architecture"]]]
        for metric, mark, colour, shift in (("test_accuracy", "^", _ORANGE, -0.17), ("val_accuracy", "o", _BLUE, 0.17)):
            values = 100 * np.array([record.metrics[metric] for record in records if metric in record.metrics])
            if not len(values):
                continue
            everything.append(values)
            label = {"test_accuracy": "test", "val_accuracy": "validation"}[metric] if not i else None
            style = {"markerfacecolor": "none", "markersize": 4.5, "color": colour, "markeredgewidth": 0.9}
            axes.plot(values, np.full(len(values), i + shift), mark, label=label, **style)
            axes.vlines(values.mean(), i + shift - 0.15, i + shift + 0.15, color=_INK, linewidth=1.6)
    _limit_rows(axes, content, rows)
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
    return figure


def _label_width(content, rows: Sequence[dict]) -> float:
    """Inches to the left of axes that name an architecture a row."""
    return 0.25 + 0.065 * max(len(content.labels[row["architecture"]]) for row in rows)


def _limit_rows(axes, content, rows: Sequence[dict]) -> None:
    axes.set_yticks(range(len(rows)), [content.labels[row["architecture"]] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _draw_ece(content, rows: Sequence[dict]):
    left, height = _label_width(content, rows), 0.26 * len(rows)
    figure = _new_figure(1.15 + height, content, "Expected calibration error")
    axes = _add_axes(figure, left, 0.6, _WIDTH - left - 0.15, height)
    values, ends = _values_with_ends(rows, "test_ece")
    low, high = _limits_with_ends(values, ends)
    axes.hlines(range(len(rows)), *np.clip(ends, low, high), color=_BLUE, linewidth=1.2)
    axes.plot(np.clip(values, low, high), range(len(rows)), "D", markersize=4.5, color=_BLUE)
    _limit_rows(axes, content, rows)
    axes.set_xlim(low, high)
    axes.set_xlabel("expected calibration error, %")
    return figure


def _draw_f1(content):
    rows, names = content.shown, content.class_names
    found = {(row["architecture"], row["class"]): row["f1"] for row in content.class_rows}
    scores = [[found.get((row["architecture"], k)) for k in range(len(names))] for row in rows]
    values = 100 * np.array(scores, float).reshape(len(rows), -1)  # (architectures, classes), NaN for no score
    left, height = _label_width(content, rows), max(0.24 * len(rows), 0.3)
    is_named = len(names) <= MOST_CLASSES_NAMED
    figure = _new_figure(1.5 + height, content, "F1 of each class, %")
    axes = _add_axes(figure, left, 0.6, _WIDTH - left - 0.15, height)
    axes.set_yticks(range(len(rows)), [content.labels[row["architecture"]] for row in rows])
    low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
    _draw_cells(axes, values, low, 100.0, is_named)
    _name_classes(axes.set_xticks, names, is_named)
    axes.tick_params(axis="x", rotation=90 if is_named else 0)
    if not is_named:
        axes.set_xlabel(f"class (light {low:.0f} %, dark 100 %)")
    return figure


def _draw_confusions(content, counts: np.ndarray):
    names = content.class_names
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_named = len(counts) <= MOST_CLASSES_NAMED
    left = 1.05 if is_named else 0.6
    side = _WIDTH - left - 0.15
    figure = _new_figure(
        0.6 + side + left, content, f"Confusion matrix of {content.labels[content.best['architecture']]}, %"
    )
    axes = _add_axes(figure, left, 0.6, side, side)
    _draw_cells(axes, shares, 0.0, 100.0, is_named, root=True)
    _name_classes(axes.set_xticks, names, is_named)
    _name_classes(axes.set_yticks, names, is_named)
    axes.tick_params(axis="x", rotation=90 if is_named else 0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


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
            axes.text(j, i, "-", ha="center", va="center", fontsize=size, color=_FAINT)
            continue
        # Whoever looks for mistakes wants a digit more; what rounds to none at all stays empty.
        text = "" if root and value < 0.05 else f"{value:.0f}" if value >= 9.95 or not root else f"{value:.1f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if shades[i, j] > 0.72 else _INK)


def _name_classes(set_ticks, names: Sequence[str], is_named: bool) -> None:
    if is_named:
        set_ticks(range(len(names)), [_shortened(name, 14) for name in names])
    else:
        step = -(-len(names) // 8)
        set_ticks(range(0, len(names), step), [str(k) for k in range(0, len(names), step)])


def _draw_reliability(content, reliability: Reliability):
    figure = _new_figure(4.75, content, f"Reliability of {content.labels[content.best['architecture']]}")
    axes = _add_axes(figure, 0.65, 0.6, 4.2, 2.6)
    axes.plot([0, 100], [0, 100], color=_FAINT, linewidth=0.8, linestyle="--")
    is_there = reliability.images > 0
    x, y = 100 * reliability.confidence[is_there], 100 * reliability.accuracy[is_there]
    is_few = reliability.images[is_there] < _FEW_IMAGES
    axes.plot(x, y, color=_BLUE, linewidth=0.9)
    axes.plot(x[~is_few], y[~is_few], "o", color=_BLUE, markersize=5)
    axes.plot(x[is_few], y[is_few], "o", color=_BLUE, markersize=5, markerfacecolor="white")
    axes.text(3, 8, "as sure as right", fontsize=7, color=_FAINT, rotation=32, rotation_mode="anchor")
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
    return figure


def _draw_samples(content, images: np.ndarray, samples: Samples):
    """Sheets of test images on black, their own ground, with true class, predicted class and its probability."""
    label, predicted, confidence = content.predictions
    kinds = [("Right", samples.right), ("Wrong", samples.wrong), ("The surest mistakes", samples.confident)]
    kinds = [(title, chosen) for title, chosen in kinds if len(chosen)]
    columns, cell = 5, (_WIDTH - 0.2) / 5
    ratio = float(np.clip(images.shape[1] / images.shape[2], 0.25, 4))  # flatter or taller images are stretched
    width = min(0.62, 0.9 / ratio)
    height = width * ratio + 0.42
    lines = sum(-(-len(chosen) // columns) for _, chosen in kinds)
    ink, faint = "#f2f2f2", "#c0c0c0"
    which = _which(content.best_trial)
    total = 0.6 + 0.25 * len(kinds) + lines * height
    figure = _new_figure(
        total, content, f"What {_shortened(which, 34)} says", background="#111111", ink=ink, faint=faint
    )
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0.5
    for title, chosen in kinds:
        axes.text(0.1, top + 0.1, title, fontsize=8.5, fontweight="bold", color=ink, va="center")
        top += 0.25
        for k, index in enumerate(chosen):
            row, column = divmod(k, columns)
            centre, y = 0.1 + (column + 0.5) * cell, top + row * height
            extent = (centre - width / 2, centre + width / 2, y + width * ratio, y)
            axes.imshow(images[index], cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
            names = [_shortened(_name_of(content.class_names, which[index]), 13) for which in (label, predicted)]
            said = "right" if label[index] == predicted[index] else f"said {names[1]}"
            text = f"{names[0]}\n{said}, {100 * confidence[index]:.0f} %"
            axes.text(
                centre, y + width * ratio + 0.04, text, fontsize=6, color=ink, ha="center", va="top", linespacing=1.25
            )
        top += -(-len(chosen) // columns) * height
    axes.set(xlim=(0, _WIDTH), ylim=(total, 0), aspect="auto")
    return figure


# ---- The page ----


class _Page:
    """Collects the sections and pictures. Takes plain text everywhere and escapes it itself."""

    def __init__(self):
        self.pictures: dict[str, bytes] = {}
        self._titles: list[str] = []
        self._parts: list[str] = []

    def section(self, title: str) -> None:
        if self._titles:
            self._parts.append("</section>")
        self._titles.append(title)
        number = len(self._titles)
        self._parts.append(f'<section id="s{number}" aria-labelledby="h{number}">')
        self._parts.append(f'<h2 id="h{number}">{_escaped(title)}</h2>')

    def paragraph(self, text: str) -> None:
        self._parts.append(f"<p>{_escaped(_capitalized(text))}</p>")

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        rows = "".join(f"<div><dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd></div>" for name, value in facts)
        self._parts.append(f"<dl>{rows}</dl>" if facts else "")

    def table(self, caption, columns, rows, *, text_columns=(), sorted_by=None, is_folded=False) -> None:
        """A table. All columns but `text_columns` and row headings are numbers.

        Args:
            rows: cells are texts, or pairs of a text and the value that the column sorts by (None where there is none).
            sorted_by: for a table that can be sorted, whether a column's values are text, by its number.
        """

        def cells(row):
            for k, cell in enumerate(row):
                text, value = cell if isinstance(cell, tuple) else (cell, None)
                attributes = ' class="text"' if k in text_columns else ""
                attributes += "" if value is None else f' data-value="{_escaped(value)}"'
                yield (
                    f'<th scope="row"{attributes}>{_escaped(text)}</th>'
                    if k == 0
                    else f"<td{attributes}>{_escaped(text)}</td>"
                )

        head = "".join(
            f'<th scope="col"{" class=text" if k in text_columns else ""}'
            f"{' data-sort=text' if sorted_by and sorted_by[k] else ''}>{_escaped(name)}</th>"
            for k, name in enumerate(columns)
        )
        body = "\n".join(f"<tr>{''.join(cells(row))}</tr>" for row in rows)
        kind = ' class="sortable"' if sorted_by else ""
        markup = (
            f'<div class="wide" tabindex="0" role="region" aria-label="{_escaped(caption)}"><table{kind}>'
            f"<caption>{_escaped(caption)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )
        if is_folded:
            markup = f"<details><summary>{_escaped(caption)}: {_counted(len(rows), 'row')}</summary>{markup}</details>"
        self._parts.append(markup)

    def picture(self, name: str, figure, *, alt: str, caption: str, is_photo: bool = False) -> None:
        """A picture, on the page and to be saved as `name`; photos keep their colours on a dark page."""
        content = self.pictures[name] = _to_png(figure)
        width, height = figure.canvas.get_width_height()  # pixels
        kind = "photo" if is_photo else "chart"
        self._parts.append(
            f'<figure><img class="{kind}" width="{width}" height="{height}" alt="{_escaped(alt)}"\n'
            f'src="data:image/png;base64,{base64.b64encode(content).decode("ascii")}">\n'
            f"<figcaption>{_escaped(_capitalized(caption))}</figcaption></figure>"
        )

    def to_html(self, content: _Content, key: str) -> str:
        title = _escaped(f"{content.state.sweep.name} on {content.dataset}")
        links = "\n".join(f'<li><a href="#s{k}">{_escaped(name)}</a></li>' for k, name in enumerate(self._titles, 1))
        lead = "".join(f"<p>{_escaped(sentence)}</p>\n" for sentence in _summary(content))
        warnings = "".join(
            f'<p class="warning" role="note">{_escaped(_capitalized(warning))}</p>\n' for warning in _warnings(content)
        )
        # Pictures that follow one another stand side by side where there is room.
        groups = itertools.groupby(self._parts, key=lambda part: part.startswith("<figure"))
        joined = ((is_picture, "\n".join(parts)) for is_picture, parts in groups)
        body = "\n".join(f'<div class="figures">{part}</div>' if is_picture else part for is_picture, part in joined)
        head = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"{_mark(key, self.pictures)}<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n"
        )
        return (
            f"{head}<body>\n<header>\n<h1>{title}</h1>\n{lead}{warnings}"
            f'<nav aria-label="Sections"><ul>\n{links}\n</ul></nav>\n</header>\n<main>\n{body}\n'
            f"</section>\n</main>\n<script>{_SORT_SCRIPT}</script>\n</body>\n</html>\n"
        )


def _summary(content: _Content) -> list[str]:
    """What the sweep found, in a few sentences."""
    best, state = content.best, content.state
    trials, done = len(state.trials), sum(len(those) for those in content.done.values())
    counts = f"{_counted(len(content.rows), 'architecture')}, {done:,} of {_counted(trials, 'trial')} done."
    if best is None:
        return [f"Nothing is trained yet. {counts}"]
    size = "" if best["params"] is None else f" with {_counted(best['params'], 'parameter')}"
    accuracy = f"test accuracy {table.with_spread(best, 'test_accuracy')} over {_counted(best['trials'], 'trial')}"
    verdicts = Counter(row["verdict"] for row in content.rows)
    if best["verdict"] != "best" or verdicts["too few seeds"]:
        found = (
            f"The highest {content.metric_words}"
            if not _is_loss(content.metric)
            else f"The lowest {content.metric_words}"
        )
        return [f"{found}: {best['architecture']}{size}, {accuracy}. Too few seeds to say that it is the best.", counts]
    others = [
        f"{_counted(number, 'architecture')} cannot be told from it"
        if verdict == "tied with best"
        else f"{number:,} {verdict}"
        for verdict in ("tied with best", "worse")
        if (number := verdicts[verdict])
    ]
    compared = f" {_capitalized(', '.join(others))}." if others else ""
    return [f"Best by {content.metric_words}: {best['architecture']}{size}, {accuracy}.{compared}", counts]


def _warnings(content: _Content) -> list[str]:
    """What a reader must not overlook, a sentence or two each."""
    state, said = content.state, []
    if state.dataset == "synthetic":
        reason = content.source.fallback_reason if content.source else None
        said.append("These figures are not Fashion-MNIST's: the images are drawings made by a program in their place.")
        said[-1] += f" {_capitalized(reason)}." if reason else ""
    if content.failed:
        names = list(dict.fromkeys(trial.architecture.name for trial, _ in content.failed))
        said.append(f"{_counted(len(content.failed), 'trial')} failed, counted in no mean: {_listed(names)}.")
    by_verdict = {
        "over budget": "larger than max_params allows and not trained",
        "not trained": "not trained yet",
        "no loss": "without a loss, which the best is selected by",
    }
    for verdict, words in by_verdict.items():
        names = [row["architecture"] for row in content.rows if row["verdict"] == verdict]
        if names:
            said.append(f"{_counted(len(names), 'architecture')} {words}: {_listed(names)}.")
    asked = Counter(trial.architecture.name for trial in state.trials)
    partly = [
        row["architecture"] for row in content.rows if 0 < row["trials"] + row["failed"] < asked[row["architecture"]]
    ]
    if partly:
        said.append(f"Not all trials are there yet: {_listed(partly)}.")
    mixed = [f"{row['architecture']} ({row['mixed']})" for row in content.rows if row["mixed"]]
    if mixed:
        said.append(f"Not all trials ran alike, so small differences may come from that: {_listed(mixed)}.")
    notes = [f"{_which(trial)}: {note}" for those in content.done.values() for trial, r in those for note in r.notes]
    if notes:
        said.append(f"scikit-learn warned: {_listed(notes, 3)}.")
    if state.sweep.limit:
        said.append(f"A quick look: trained on {state.sweep.limit:,} of the training images only.")
    return said + content.problems


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
.sortable td:nth-child(7) { min-width: 9rem; }
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

# Without it the table is as it is, best first. Cells without a value stay at the end either way.
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


def _escaped(text: Any) -> str:
    # A file name that is no UTF-8 reaches Python with surrogates, which no page can hold.
    return html.escape(str(text).encode("utf-8", "replace").decode("utf-8"))


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
