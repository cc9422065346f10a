"""The columns of the tables, each said once: its name, where its cells come from, its title and words for people.

The CSV files, `results.md`, the table on the screen, the report, the app and the model card read these lists, so all of
them say the same. `results/README.md` explains each column; a test holds it in step. A new column of the table is a
field of `TableRow` and a line of `RESULTS_COLUMNS`; what it holds is computed in `table`.
"""

import csv
import io
import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import pydantic

from fmnist_mlp.results.record import Record
from fmnist_mlp.results.statistics import Difference, Interval, mean_interval
from fmnist_mlp.results.variance import Bounds
from fmnist_mlp.results.verdicts import MOST_SEEDS
from fmnist_mlp.sweepfile.seeds import seed_number
from fmnist_mlp.sweepfile.trials import Trial

NO_VALUES = Interval(None, None, None, None, 0)


def interval_of(values: Sequence[float | None]) -> Interval:
    """The mean of a figure over seeds, its spread and interval; nothing where a value is missing."""
    return NO_VALUES if None in values else mean_interval(values)


class TableRow(pydantic.BaseModel, frozen=True, extra="forbid"):
    """An architecture's row of the table; `row[column]` is the cell of a column of `results.csv`.

    None stands where there is nothing to say: a spread needs two seeds, a verdict trials that are done. Figures are
    means over seeds, with their spread and interval; with folds a seed's figure is the mean over its folds.
    """

    architecture: str
    layers: str
    params: int | None
    trainable_params: int | None
    flops: int | None
    dataset: str
    trials: int
    failed: int
    verdict: str | None = None
    behind_best: Difference = Difference()
    seeds_needed: int | None = None
    test_behind_best: Difference = Difference()
    pareto: str | None = None
    cheapest: str | None = None
    test_loss: Interval = NO_VALUES
    test_accuracy: Interval = NO_VALUES
    test_accuracy_any_images: Bounds = Bounds()
    test_accuracy_luck_std: float | None = None
    val_loss: Interval = NO_VALUES
    val_accuracy: Interval = NO_VALUES
    val_accuracy_new_data: Bounds = Bounds()
    cv_accuracy: Interval = NO_VALUES
    cv_accuracy_new_data: Bounds = Bounds()
    test_macro_precision: Interval = NO_VALUES
    test_macro_recall: Interval = NO_VALUES
    test_macro_f1: Interval = NO_VALUES
    test_ece: Interval = NO_VALUES
    test_brier: Interval = NO_VALUES
    val_macro_f1: Interval = NO_VALUES
    refit_trials: int | None = None
    refit_test_loss: Interval = NO_VALUES
    refit_test_accuracy: Interval = NO_VALUES
    ensembles: int | None = None
    ensemble_test_loss: Interval = NO_VALUES
    ensemble_test_accuracy: Interval = NO_VALUES
    epochs: float | None = None
    model_bytes: float | None = None
    size: str | None = None
    mixed: str | None = None
    latency_seconds: float | None = None
    latency_1000_seconds: float | None = None
    train_seconds: float | None = None
    epoch_seconds: float | None = None
    images_per_second: float | None = None
    peak_memory_bytes: float | None = None

    def __getitem__(self, column: str) -> Any:
        return BY_NAME[column].read(self)


class TrialRow(NamedTuple):
    """A row of `trials.csv`; no Brier score before the sweep has ended, and where there are no probabilities."""

    trial: Trial
    record: Record
    brier: float | None = None


class EpochRow(NamedTuple):
    """A row of `history.csv`, under its names: what Keras reported of one epoch of a finished trial.

    None where it has no such figure: a fold without cross-validation, validation of a refit, a number that was none.
    """

    architecture: str
    seed: int
    fold: int | None
    refit: int
    epoch: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float | None
    epoch_seconds: float | None


class ClassRow(NamedTuple):
    """A row of `classes.csv`: means over the finished trials of an architecture, on the test images."""

    architecture: str
    number: int
    class_name: str
    test_images: int
    precision: float | None
    precision_std: float | None
    recall: float | None
    recall_std: float | None
    f1: float | None
    f1_std: float | None


class Column(NamedTuple):
    """A column of a CSV, and how it is shown to people.

    Args:
        name: in the header of the file.
        read: from a row to its cell.
        measured: whether it may differ between two runs of the same thing.
        title: for people; empty where no table for people has it.
        words: a cell for people.
        brief: the same where there is little room.
        sort: the column that people sort this one by, where that is another.
        is_text: whether it is flush left.
    """

    name: str
    read: Callable[[Any], Any]
    measured: bool = False
    title: str = ""
    words: Callable[[TableRow], str] = lambda row: ""
    brief: Callable[[TableRow], str] | None = None
    sort: str = ""
    is_text: bool = False

    @property
    def in_brief(self) -> Callable[[TableRow], str]:
        return self.brief or self.words


# ---- words --------------------------------------------------------------------------------------------------------


def with_spread(figure: Interval, digits: int = 4) -> str:
    """Mean and standard deviation over seeds; a single one has no spread and shows none."""
    if figure.mean is None:
        return ""
    return f"{figure.mean:.{digits}f}" + ("" if figure.std is None else f" ± {figure.std:.{digits}f}")


def interval_in_words(figure: Interval | Bounds) -> str:
    return "" if figure.low is None else f"{figure.low:.4f} to {figure.high:.4f}"


def number_in_words(number: float | None, form: str = ",") -> str:
    return "" if number is None else format(number, form)


def verdict_in_words(row: TableRow, in_short: bool = False) -> str:
    """The verdict, and where trials failed that it is one on the others: `best; 2 of 5 trials failed, ...`.

    Args:
        in_short: for a narrow column: `best; 2 of 5 failed`.
    """
    verdict = _comparison_in_words(row, in_short)
    if not row.failed or row.behind_best.mean is None:
        return verdict
    ended = row.trials + row.failed
    words = "failed" if in_short else "trials failed, judged on the others"
    return f"{verdict}; {row.failed} of {ended} {words}"


def _comparison_in_words(row: TableRow, in_short: bool) -> str:
    """`worse by 0.0042 (0.0011 to 0.0073)`, `undecided (-0.0010 to 0.0038; 54 seeds would show the margin)`, ...

    Args:
        in_short: for a narrow column: `worse by 0.0042`, `undecided (54 seeds)`.
    """
    verdict, behind = row.verdict or "", row.behind_best
    if behind.mean is None or verdict == "best":
        return verdict
    interval = "" if behind.low is None else f"{behind.low:.4f} to {behind.high:.4f}"
    if verdict == "worse":
        return f"worse by {behind.mean:.4f}" + (f" ({interval})" if interval and not in_short else "")
    needed = ""
    if row.seeds_needed is not None:
        more = "+" if row.seeds_needed >= MOST_SEEDS else ""
        needed = f"{row.seeds_needed:,}{more} seeds" + ("" if in_short else " would show the margin")
    seen = f"{behind.mean:.4f} behind"
    if verdict == "too few seeds":
        said = [seen] if in_short else [seen, needed]
    else:
        said = [needed] if in_short else [interval, needed]
    return verdict + (f" ({'; '.join(filter(None, said))})" if any(said) else "")


def _pareto_in_words(row: TableRow) -> str:
    return {"params": "parameters", "flops": "FLOPs", "params flops": "both"}.get(row.pareto, "")


# ---- the columns of results.csv -----------------------------------------------------------------------------------


def _plain(*names: str, measured: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, attrgetter(name), measured) for name in names)


def _number(name: str, title: str, form: str = ",", scale: float = 1, measured: bool = False) -> Column:
    def words(row: TableRow) -> str:
        number = getattr(row, name)
        return number_in_words(None if number is None else scale * number, form)

    return Column(name, attrgetter(name), measured, title, words)


def _text(name: str, title: str, words: Callable[[TableRow], str], **more: Any) -> Column:
    return Column(name, attrgetter(name), title=title, words=words, is_text=True, **more)


def _difference(name: str) -> tuple[Column, ...]:
    parts = {"": "mean", "_ci95_low": "low", "_ci95_high": "high"}
    return tuple(Column(name + suffix, attrgetter(f"{name}.{part}")) for suffix, part in parts.items())


def _figure(name: str, title: str = "", digits: int = 4, is_brief: bool = False) -> tuple[Column, ...]:
    """Mean, spread and interval of a figure; a brief mean has no spread."""
    figure = attrgetter(name)
    mean, low, high = _difference(name)
    mean = mean._replace(
        title=title or name.replace("_", " "),
        words=lambda row: with_spread(figure(row), digits),
        brief=(lambda row: number_in_words(figure(row).mean, ".4f")) if is_brief else None,
    )
    low = low._replace(title="95 % over seeds", words=lambda row: interval_in_words(figure(row)))
    return mean, Column(f"{name}_std", attrgetter(f"{name}.std")), low, high


def _bounds(name: str, title: str = "") -> tuple[Column, ...]:
    """Another interval of the same mean."""
    low, high = (Column(f"{name}_ci95_{end}", attrgetter(f"{name}.{end}")) for end in ("low", "high"))
    figure = attrgetter(name)
    return low._replace(title=title, words=lambda row: interval_in_words(figure(row))) if title else low, high


_LOSS, _ACCURACY = _figure("test_loss", digits=3, is_brief=True), _figure("test_accuracy")

RESULTS_COLUMNS = (
    _text("architecture", "architecture", attrgetter("architecture")),
    *_plain("layers"),
    _number("params", "parameters"),
    *(_LOSS[0], _ACCURACY[0], *_LOSS[1:], *_ACCURACY[1:]),
    *_bounds("test_accuracy_any_images", "95 % over seeds and images"),
    *_plain("test_accuracy_luck_std"),
    _number("trials", "trials", form="")._replace(
        brief=lambda row: f"{row.trials}" + (f" ({row.failed} failed)" if row.failed else "")
    ),
    *_plain("failed"),
    _text("verdict", "verdict", verdict_in_words, brief=lambda row: verdict_in_words(row, True), sort="behind_best"),
    *_difference("behind_best"),
    *_plain("seeds_needed"),
    *_difference("test_behind_best"),
    _text("pareto", "Pareto", _pareto_in_words),
    *_plain("cheapest"),
    *_figure("val_loss"),
    *_figure("val_accuracy"),
    *_bounds("val_accuracy_new_data"),
    *_figure("cv_accuracy"),
    *_bounds("cv_accuracy_new_data"),
    *_figure("test_macro_precision", "macro precision", is_brief=True),
    *_figure("test_macro_recall", "macro recall", is_brief=True),
    *_figure("test_macro_f1", "macro F1", is_brief=True),
    *_figure("test_ece", "ECE", is_brief=True),
    *_figure("test_brier", "Brier", is_brief=True),
    *_figure("val_macro_f1"),
    *_plain("refit_trials"),
    *_figure("refit_test_loss", "refit: test loss"),
    *_figure("refit_test_accuracy", "refit: test accuracy"),
    *_plain("ensembles"),
    *_figure("ensemble_test_loss", "ensemble: test loss"),
    *_figure("ensemble_test_accuracy", "ensemble: test accuracy"),
    *_plain("epochs", "trainable_params"),
    _number("flops", "FLOPs"),
    *_plain("model_bytes", "size", "dataset", "mixed"),
    _number("latency_seconds", "latency, ms", ".3g", scale=1000, measured=True),
    *_plain("latency_1000_seconds", measured=True),
    _number("train_seconds", "training, s", ".3g", measured=True),
    *_plain("epoch_seconds", "images_per_second", "peak_memory_bytes", measured=True),
)
BY_NAME = {column.name: column for column in RESULTS_COLUMNS}


def columns_named(*names: str) -> list[Column]:
    return [BY_NAME[name] for name in names]


def sort_rows(rows: Sequence[TableRow], by: str) -> list[TableRow]:
    """Best first: accuracies from the top, losses and costs from the bottom, names by letter; empty cells last."""
    figure = re.sub(r"(_any_images|_new_data)?_ci95_(low|high)$", "", by)
    sign = -1 if figure.endswith(("_accuracy", "_precision", "_recall", "_f1", "images_per_second")) else 1
    filled = [row for row in rows if row[by] is not None]
    ordered = sorted(filled, key=lambda row: row[by] if isinstance(row[by], str) else sign * row[by])
    return ordered + [row for row in rows if row[by] is None]


# ---- the columns of trials.csv, history.csv and classes.csv -------------------------------------------------------


def epochs(record: Record) -> int | None:
    return None if record.is_baseline else len(record.history.get("loss", ()))


def epoch_seconds(record: Record) -> float | None:
    """Median seconds of an epoch after the first, which holds the compilation."""
    seconds = record.measured.get("epoch_seconds", [])
    return statistics.median(seconds[1:] or seconds) if seconds else None


def images_per_second(record: Record) -> float | None:
    """Training images for each second of an epoch; its validation is in the seconds."""
    seconds = epoch_seconds(record)
    return record.train_images / seconds if seconds else None


def _of_record(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, attrgetter(f"record.{name}")) for name in names)


def _counts(*names: str) -> tuple[Column, ...]:
    """Attributes of the record that say nothing where they are 0 or empty."""
    return tuple(Column(name, lambda row, name=name: getattr(row.record, name) or None) for name in names)


def _from(part: str, *names: str, measured: bool = False) -> tuple[Column, ...]:
    """Items of a dict of the record; the header has `_` where a name has `-`."""
    return tuple(
        Column(name.replace("-", "_"), lambda row, name=name: getattr(row.record, part).get(name), measured)
        for name in names
    )


TRIALS_COLUMNS = (
    Column("architecture", attrgetter("trial.architecture.name")),
    Column("seed", lambda row: seed_number(row.trial.seed)),
    Column("fold", attrgetter("trial.fold")),
    Column("refit", lambda row: int(row.trial.is_refit)),
    *_of_record("status", "params"),
    *_from("metrics", "test_loss", "test_accuracy", "val_loss", "val_accuracy"),
    *_from("metrics", "test_macro_precision", "test_macro_recall", "test_macro_f1", "test_ece"),
    Column("test_brier", attrgetter("brier")),
    *_from("metrics", "val_macro_precision", "val_macro_recall", "val_macro_f1", "val_ece"),
    Column("train_loss", lambda row: row.record.history.get("loss", [None])[-1]),
    Column("train_accuracy", lambda row: row.record.history.get("accuracy", [None])[-1]),
    Column("epochs", lambda row: epochs(row.record)),
    *_of_record("weights"),
    *_from("settings", "loop"),
    *_counts("train_images", "val_images"),
    *_of_record("trainable_params", "flops"),
    *_counts("model_bytes", "size"),
    *_of_record("dataset"),
    *_from("environment", "device", "tensorflow", "keras", "scikit-learn"),
    Column("error", lambda row: row.record.error["message"] if row.record.error else None),
    Column("notes", lambda row: "; ".join(row.record.notes) or None),
    *_of_record("fingerprint"),
    *_from("measured", "started_at", "train_seconds", measured=True),
    Column("epoch_seconds", lambda row: epoch_seconds(row.record), measured=True),
    Column("images_per_second", lambda row: images_per_second(row.record), measured=True),
    *_from("measured", "peak_memory_bytes", measured=True),
)
HISTORY_COLUMNS = tuple(Column(name, attrgetter(name), measured=name == "epoch_seconds") for name in EpochRow._fields)
CLASSES_COLUMNS = (
    *_plain("architecture"),
    Column("class", attrgetter("number")),
    *_plain("class_name", "test_images", "precision", "precision_std", "recall", "recall_std", "f1", "f1_std"),
)


# ---- text ---------------------------------------------------------------------------------------------------------


def csv_text(columns: Sequence[Column], rows: Iterable[TableRow | TrialRow | EpochRow | ClassRow]) -> str:
    """Plain numbers that pandas reads back to the same bits, empty for nothing, one line of text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([_cell(column.read(row)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value):
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    return " ".join(value.split()) if isinstance(value, str) else value


def markdown_table(columns: Sequence[Column], rows: Sequence[TableRow]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [f"| {' | '.join(column.title for column in columns)} |"]
    lines += ["|" + "".join("---|" if column.is_text else "--:|" for column in columns)]
    return lines + [f"| {' | '.join(column.words(row) for column in columns)} |" for row in rows]
