"""The report of a sweep: one HTML page to look at and pass on, and its pictures as PNG files.

`report` makes both from what a sweep leaves behind (records, the rows of the table, predictions), so that the page says
what `results.csv` says, to the last digit. `average_histories`, `bin_confidences`, `count_confusions`,
`compare_settings` and `choose_samples` are what it computes and can be called alone. Hidden here: what is worth showing
of a sweep and how to say it, also of one with little to show (nothing trained, predictions that cannot be read).

The same records and library versions give the same bytes; where they are those of the last report, nothing is drawn.
Leaves to others: what the figures are (`table`, `statistics`), which architecture is best (`ranking`), drawing
(`plots`), markup (`page`), where files go (`results`). No TensorFlow; matplotlib only once there is something to draw.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fmnist_mlp.data.source import DataSource, describe, load_test_images
from fmnist_mlp.errors import SweepError
from fmnist_mlp.report import plots
from fmnist_mlp.report.page import Page
from fmnist_mlp.report.plots import Curve, Reliability
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.words import capitalized, counted, listed

FORMAT = 2  # of the page: raise it when the same records give another page

MOST_SHOWN = 12  # architectures in pictures that give each a panel, a line or a row; the table holds all
MOST_FAILURES = 50  # listed; trials.csv has all
MOST_CONFUSIONS = 10
MOST_SAMPLES = 10  # test images of each kind
_MOST_BYTES_OF_IMAGES = 200_000_000  # of files to read for them: what is above takes longer than all the rest


# ---- The recipe ----


def report(
    state: ranking.SweepState,
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

    page, content = Page(), _Content(state, rows, results, source)
    with plots.own_style():
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
    text = page.to_html(
        f"{state.sweep.title} on {content.dataset}",
        lead=_summary(content),
        warnings=_warnings(content),
        # The verdict is a sentence among numbers.
        style=".sortable td:nth-child(7) { min-width: 9rem; }\n",
        head=_mark(key, page.pictures),
    )
    return results.write_report(state.sweep, text, page.pictures)


def _key(state: ranking.SweepState, rows: Sequence[dict], source: DataSource | None) -> str:
    """A hash of all that the page is made of; curves, scores by class and predictions go with the metrics."""
    parts = [
        [FORMAT, importlib.metadata.version("matplotlib"), importlib.metadata.version("numpy")],
        [state.sweep.title, state.dataset, state.select_by, state.sweep.folds, state.sweep.limit],
        [source and source.kind, source and source.fallback_reason, list(state.warnings), list(state.class_names)],
        list(rows),
        [[t.architecture.name, t.seed, t.fold, t.fingerprint] for t in (*state.trials, *state.refits)],
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


def bin_confidences(confidence: np.ndarray, is_correct: np.ndarray) -> Reliability:
    """Sorts images into the bins of the expected calibration error: equally wide, open below and closed above.

    There are `statistics.CALIBRATION_BINS` of them.

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


# ---- What the sections share ----


@dataclass
class _Content:
    """A sweep as the page shows it.

    Args:
        problems: what could not be shown, and why.
    """

    state: ranking.SweepState
    rows: Sequence[dict]
    results: Results
    source: DataSource | None
    problems: list[str] = field(default_factory=list)

    @cached_property
    def ordered(self) -> list[dict]:
        """All rows, best first, those without a figure last."""
        return ranking.best_first(self.rows)

    @cached_property
    def shown(self) -> list[dict]:
        """The rows that pictures with a panel, a line or a row each have room for."""
        return [row for row in self.ordered if row["trials"]][:MOST_SHOWN]

    @property
    def best(self) -> dict | None:
        """The best row, or where none has a figure to be chosen by the first that has trials."""
        return next(iter(self.shown), None)

    @cached_property
    def done(self) -> dict[str, list[tuple[Trial, Record]]]:
        """Finished trials with their records, by architecture name."""
        found = self.state.by_architecture()
        return {name: [pair for pair in those if pair[1].is_done] for name, those in found.items()}

    @cached_property
    def failed(self) -> list[tuple[Trial, Record]]:
        kinds = self.state.by_architecture(), self.state.refits_by_architecture()
        return [pair for kind in kinds for those in kind.values() for pair in those if not pair[1].is_done]

    @property
    def metric(self) -> str:
        """What the best is selected by, as a column's name."""
        return self.state.select_by

    @property
    def metric_words(self) -> str:
        return plots.METRICS[self.metric]

    @property
    def dataset(self) -> str:
        return _DATASETS.get(self.state.dataset, self.state.dataset)

    @property
    def subtitle(self) -> str:
        """What every picture is of, in letters that the font has."""
        quick_look = ", a quick look," if self.state.sweep.is_quick_look else ""
        return f"{plots.shortened(self.state.sweep.name, 40)}{quick_look} on {plots.shortened(self.dataset, 40)}"

    @property
    def which_shown(self) -> str:
        """Which architectures a picture shows: `all 4 architectures`, `the best 12 of 200 ...`."""
        with_trials = sum(bool(row["trials"]) for row in self.rows)
        if with_trials > len(self.shown):
            return f"the best {len(self.shown)} of {with_trials:,} architectures by {self.metric_words}"
        return "the one architecture" if with_trials == 1 else f"all {counted(with_trials, 'architecture')}"

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names for pictures, short and in letters that the font has, no two alike; by architecture name."""
        names = [row["architecture"] for row in self.rows]
        shortened = {name: plots.shortened(name, 20) for name in names}
        times = Counter(shortened.values())
        numbered = {name: f"{plots.shortened(name, 13)} ({i})" for i, name in enumerate(names, start=1)}
        return {name: short if times[short] == 1 else numbered[name] for name, short in shortened.items()}

    @property
    def shown_labels(self) -> list[str]:
        return [self.labels[row["architecture"]] for row in self.shown]

    @cached_property
    def class_rows(self) -> list[dict]:
        """`table.class_rows` of the architectures that are shown: the same numbers as classes.csv."""
        names = {row["architecture"] for row in self.shown}
        trials = [trial for trial in self.state.trials if trial.architecture.name in names]
        return table.class_rows(dataclasses.replace(self.state, trials=trials), self.results)

    @cached_property
    def best_trial(self) -> Trial | None:
        """The best architecture's best trial by validation; None before any is done."""
        return ranking.rank(self.state).best_trials.get(self.best["architecture"]) if self.best else None

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
        fingerprint, which = trial.fingerprint, trial.in_words
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


_DATASETS = {"fashion_mnist": "Fashion-MNIST", "synthetic": "generated stand-in, not Fashion-MNIST"}


# ---- The head of the page ----


def _summary(content: _Content) -> list[str]:
    """What the sweep found, in a few sentences."""
    best, state = content.best, content.state
    trials, done = len(state.trials), sum(len(those) for those in content.done.values())
    counts = f"{counted(len(content.rows), 'architecture')}, {done:,} of {counted(trials, 'trial')} done."
    if best is None:
        return [f"Nothing is trained yet. {counts}"]
    size = "" if best["params"] is None else f" with {counted(best['params'], 'parameter')}"
    accuracy = f"test accuracy {table.with_spread(best, 'test_accuracy')} over {counted(best['trials'], 'trial')}"
    verdicts = Counter(row["verdict"] for row in content.rows)
    if best["verdict"] != "best" or verdicts["too few seeds"]:
        found = (
            f"The highest {content.metric_words}"
            if not plots.is_loss(content.metric)
            else f"The lowest {content.metric_words}"
        )
        return [f"{found}: {best['architecture']}{size}, {accuracy}. Too few seeds to say that it is the best.", counts]
    others = [
        f"{counted(number, 'architecture')} cannot be told from it"
        if verdict == "tied with best"
        else f"{number:,} {verdict}"
        for verdict in ("tied with best", "worse")
        if (number := verdicts[verdict])
    ]
    compared = f" {capitalized(', '.join(others))}." if others else ""
    if best["refit_trials"]:
        of_refits = f"{table.with_spread(best, 'refit_test_accuracy')} over {counted(best['refit_trials'], 'refit')}"
        compared += f" Trained again on all training images: {of_refits}."
    return [f"Best by {content.metric_words}: {best['architecture']}{size}, {accuracy}.{compared}", counts]


def _warnings(content: _Content) -> list[str]:
    """What a reader must not overlook, a sentence or two each."""
    state, said = content.state, []
    if state.dataset == "synthetic":
        reason = content.source.fallback_reason if content.source else None
        said.append("These figures are not Fashion-MNIST's: the images are drawings made by a program in their place.")
        said[-1] += f" {capitalized(reason)}." if reason else ""
    if content.failed:
        names = list(dict.fromkeys(trial.architecture.name for trial, _ in content.failed))
        said.append(f"{counted(len(content.failed), 'trial')} failed, counted in no mean: {listed(names)}.")
    by_verdict = {
        "over budget": "larger than max_params allows and not trained",
        "not trained": "not trained yet",
        "no loss": "without a loss, which the best is selected by",
    }
    for verdict, words in by_verdict.items():
        names = [row["architecture"] for row in content.rows if row["verdict"] == verdict]
        if names:
            said.append(f"{counted(len(names), 'architecture')} {words}: {listed(names)}.")
    asked = Counter(trial.architecture.name for trial in state.trials)
    partly = [
        row["architecture"] for row in content.rows if 0 < row["trials"] + row["failed"] < asked[row["architecture"]]
    ]
    if partly:
        said.append(f"Not all trials are there yet: {listed(partly)}.")
    mixed = [f"{row['architecture']} ({row['mixed']})" for row in content.rows if row["mixed"]]
    if mixed:
        said.append(f"Not all trials ran alike, so small differences may come from that: {listed(mixed)}.")
    for what, is_baseline in (("scikit-learn warned", True), ("While they trained", False)):
        noted = ((t, r) for those in content.done.values() for t, r in those if r.is_baseline == is_baseline)
        if notes := [f"{trial.in_words}: {note}" for trial, record in noted for note in record.notes]:
            said.append(f"{what}: {listed(notes, 3)}.")
    if state.sweep.is_quick_look:
        said.append(
            f"A quick look: {state.sweep.overrides_in_words}. The full sweep's results have a place of their own."
        )
    elif state.sweep.limit:
        said.append(f"Trained on {state.sweep.limit:,} of the training images only.")
    return said + content.problems


# ---- The sections of the page, in order ----


class _Shown(NamedTuple):
    """A column of the table on the page: its title, the column of results.csv that it sorts by, its words."""

    title: str
    key: str
    words: Callable[[dict], str]
    is_text: bool = False


def _number(key: str, form: str = ",", scale: float = 1) -> Callable[[dict], str]:
    return lambda row: "" if row[key] is None else format(scale * row[key], form)


def _columns(metric: str, rows: Sequence[dict]) -> list[_Shown]:
    of_all = {"refit_test_accuracy": "refit: test accuracy", "ensemble_test_accuracy": "ensemble: test accuracy"}
    asked_for = [
        _Shown(title, key, lambda row, key=key: table.with_spread(row, key))
        for key, title in of_all.items()
        if any(row[key] is not None for row in rows)
    ]
    return [
        _Shown("architecture", "architecture", lambda row: row["architecture"], True),
        _Shown("parameters", "params", _number("params")),
        _Shown("test accuracy", "test_accuracy", lambda row: table.with_spread(row, "test_accuracy")),
        _Shown("95 % interval", "test_accuracy_ci95_low", lambda row: table.interval_in_words(row, "test_accuracy")),
        _Shown("test loss", "test_loss", _number("test_loss", ".3f")),
        *asked_for,
        _Shown(plots.METRICS[metric], metric, _number(metric, ".4f")),
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
    columns = _columns(content.metric, content.rows)
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
        [trial.in_words, record.error["type"], " ".join(record.error["message"].split())[:300] or "no message"]
        for trial, record in content.failed[:MOST_FAILURES]
    ]
    how_many = counted(len(content.failed), "trial")
    first = f", the first {MOST_FAILURES}" if len(content.failed) > MOST_FAILURES else ""
    page.table(
        f"{how_many} failed{first}; tracebacks are in the records",
        ["trial", "error", "message"],
        rows,
        text_columns=(1, 2),
        is_folded=len(rows) > 10,
    )


def _show_costs(page, content):
    page.section("What accuracy costs")
    if not content.shown:
        page.paragraph("Nothing is trained yet.")
        return
    _show_cost(page, content, "test_accuracy", "params")
    for cost in plots.COSTS:
        _show_cost(page, content, content.metric, cost)


def _show_cost(page, content, metric: str, cost: str) -> None:
    words = plots.COSTS[cost][0]
    rows = [row for row in content.rows if row[cost] is not None and row[metric] is not None]
    if not rows:
        page.paragraph(f"No picture of {plots.METRICS[metric]} against {words}: not known for any architecture.")
        return
    costs, behind = [row[cost] for row in rows], [row["behind_best"] for row in rows]
    is_on_front = metrics.pareto_front(costs, behind, higher_is_better=False)
    front = [row["architecture"] for row, on_front in zip(rows, is_on_front, strict=True) if on_front]
    picture, beyond = plots.draw_cost(
        content.subtitle,
        rows,
        content.labels,
        metric,
        cost,
        front=front,
        joins_front=metric == content.metric,
        best=content.best["architecture"],
    )
    caption = f"{capitalized(plots.METRICS[metric])} against {words}: means over trials with 95 % intervals."
    if metric == content.metric:
        caption += " Filled and joined by steps: the Pareto front, which nothing beats in both."
    else:
        caption += f" A point an architecture. Filled: the Pareto front by {content.metric_words}, without test images."
    if beyond:
        caption += f" Beyond the axis, drawn as triangles at its end: {listed(beyond, 5)}."
    page.picture(
        f"{cost}.png" if metric == content.metric else f"{metric}.png",
        picture,
        alt=f"Scatter plot of {plots.METRICS[metric]} against {words} of {counted(len(rows), 'architecture')}. On the "
        f"Pareto front: {listed(front, 12)}. The table holds the numbers.",
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
    of_whom = content.which_shown if len(curves) == len(content.shown) else counted(len(curves), "architecture")
    ends = ", ".join(f"{name} {_last(those['val_loss'])}" for name, those in curves.items() if _last(those["val_loss"]))
    page.picture(
        "curves.png",
        plots.draw_curves(content.subtitle, curves, content.labels),
        alt=f"Line charts of validation loss and validation accuracy against {counted(epochs, 'epoch')}, a line an "
        f"architecture. Validation loss at the end: {ends or 'not known'}.",
        caption=f"Validation loss and accuracy, means over trials: {of_whom}.",
    )
    for figure in ("loss", "accuracy"):
        page.picture(
            f"curves_{figure}.png",
            plots.draw_panels(content.subtitle, curves, content.labels, figure),
            alt=f"A line chart an architecture: {figure} on training images (dashed) and validation images (solid) "
            f"against epochs. {_gaps_in_words(curves, figure)}",
            caption=f"{figure.capitalize()} while training (dashed) and on validation images (solid): mean over "
            "trials, band from the lowest to the highest; thin where only some trials have got so far. "
            f"{capitalized(of_whom)}, on one scale; what lies far outside is cut off.",
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
    trials = {row["architecture"]: _accuracies(content, row["architecture"]) for row in content.shown}
    spreads = [
        f"{name} {min(those['test_accuracy']):.4f} to {max(those['test_accuracy']):.4f}"
        for name, those in trials.items()
        if those["test_accuracy"]
    ]
    page.picture(
        "trials.png",
        plots.draw_trials(content.subtitle, trials, content.labels),
        alt="Every trial as a point, a line an architecture: test and validation accuracy. Test accuracy, lowest "
        f"to highest: {'; '.join(spreads)}.",
        caption="Accuracy of every trial: triangles on test images, circles on validation images, bars their means. "
        f"{capitalized(content.which_shown)}. Validation images differ from seed to seed, test images do not.",
    )


def _accuracies(content, name: str) -> dict[str, list[float]]:
    found = [record.metrics for _, record in content.done[name]]
    return {metric: [own[metric] for own in found if metric in own] for metric in ("test_accuracy", "val_accuracy")}


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
        plots.draw_f1(content.subtitle, _f1_scores(content), content.shown_labels, content.class_names),
        alt=f"Heat map of the F1 score of each class, a row an architecture. The best architecture is worst at "
        f"{worst['class_name']} ({100 * worst['f1']:.0f} %). classes.csv holds the numbers.",
        caption=f"F1 score of each class on test images, in percent, means over trials: {content.which_shown}.",
    )
    counts = content.confusion_matrix
    if counts is None or not counts.sum():
        page.paragraph("No confusion matrix: the records of the best architecture cannot be read.")
        return
    names, best = content.class_names, content.best["architecture"]
    trials = counted(len(content.done[best]), "trial")
    found = [pair for pair in count_confusions(counts) if pair.label < len(names) and pair.predicted < len(names)]
    said = "; ".join(f"{names[c.label]} taken for {names[c.predicted]} {100 * c.share:.1f} %" for c in found[:3])
    page.picture(
        "confusion_matrix.png",
        plots.draw_confusions(content.subtitle, content.labels[best], counts, names),
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


def _f1_scores(content) -> np.ndarray:
    """Fractions, `(architectures, classes)`, NaN for no score."""
    found = {(row["architecture"], row["class"]): row["f1"] for row in content.class_rows}
    classes = range(len(content.class_names))
    scores = [[found.get((row["architecture"], k)) for k in classes] for row in content.shown]
    return np.array(scores, float).reshape(len(content.shown), -1)


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
        which = content.best_trial.in_words
        ece = content.state.records[content.best_trial.fingerprint].metrics["test_ece"]
        page.picture(
            "reliability.png",
            plots.draw_reliability(content.subtitle, content.labels[content.best["architecture"]], reliability),
            alt=f"Reliability diagram of {which}: accuracy against confidence in {len(reliability.images)} bins. Mean "
            f"confidence is {100 * confidence.mean():.1f} %, accuracy {100 * np.mean(label == predicted):.1f} %.",
            caption=f"Accuracy against confidence of {which}, the best architecture's best trial by validation, on "
            f"{counted(len(label), 'test image')}; hollow where they are fewer than {plots.FEW_IMAGES}. Below, how "
            f"many images have that confidence. Its expected calibration error is {100 * ece:.1f} %.",
        )
    rows = [row for row in content.shown if row["test_ece"] is not None]
    if rows:
        page.picture(
            "ece.png",
            plots.draw_calibration_errors(content.subtitle, rows, content.labels),
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
    which = content.best_trial.in_words
    mistakes = int((label != predicted).sum())
    names = content.class_names
    said = [f"{_name_of(names, label[i])} taken for {_name_of(names, predicted[i])}" for i in samples.confident[:3]]
    headings = ("Right", "Wrong", "The surest mistakes")
    kinds = [
        (heading, [(images[i], _below_image(content, i)) for i in chosen])
        for heading, chosen in zip(headings, samples, strict=True)
    ]
    page.picture(
        "samples.png",
        plots.draw_samples(content.subtitle, f"What {plots.shortened(which, 34)} says", kinds),
        alt=f"Test images with what {which} says of them. Most confident mistakes: {'; '.join(said) or 'none'}.",
        caption=f"Test images and what {which} says of them, the best architecture's best trial by validation: of "
        "each class the first that it gets right and the first that it gets wrong, and of its "
        f"{counted(mistakes, 'mistake')} those that it was surest of, at most {MOST_SAMPLES} each.",
        is_photo=True,
    )


def _below_image(content, index: int) -> str:
    """What stands below a test image: its class, what the best trial says it is, and how surely."""
    label, predicted, confidence = content.predictions
    names = [plots.shortened(_name_of(content.class_names, which[index]), 13) for which in (label, predicted)]
    said = "right" if label[index] == predicted[index] else f"said {names[1]}"
    return f"{names[0]}\n{said}, {100 * confidence[index]:.0f} %"


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
        # The memory that the plan was made with: mostly it knows which images these are without reading all of them.
        identity = describe(content.source, content.results.load_data_memory()).identity
        images = load_test_images(content.source)
    except (SweepError, OSError) as error:
        content.problems.append(f"The images cannot be read: {' '.join(str(error).split())}.")
        return content.problems[-1]
    trained_on = content.best_trial.settings.get("data")
    if trained_on != identity or len(images) != len(content.predictions[0]):
        return "the images that are there now are not those that the trial was tested on."
    return images


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
    seeds = f"seeds {listed([str(seed) for seed in sweep.seeds], 20)}"
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
        facts.setdefault(key, []).append(value if count == trials else f"{value} ({counted(count, 'trial')})")
    order = ("device", "tensorflow", "keras")
    page.facts(
        [(key, listed(facts[key])) for key in (*order, *(key for key in facts if key not in order)) if key in facts]
    )
