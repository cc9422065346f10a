"""The table: one row an architecture, made from the records; beside it a row a trial and a row a class.

A `SweepState` (what a sweep asks for, what of it is done) becomes rows: means over trials, their spread and interval,
what each architecture costs, and a verdict on which can be told apart. The same rows are `results.csv`, `results.md`,
the table on the screen and the report, so that all of them say the same.

What is best, and the order of the rows for people, is decided in `ranking`; how spreads and verdicts are computed is in
`statistics`, where files lie in `store`. No TensorFlow and no pandas here; rows that nothing has changed are
remembered, so that a rerun with nothing to do needs no scipy either.
"""

import contextlib
import csv
import io
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmnist_mlp.data import class_names
from fmnist_mlp.files import made_of
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.ranking import Ranking, SweepState, best_first, rank
from fmnist_mlp.results.record import DamagedRecord, Latency, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.settings import IdxFolder
from fmnist_mlp.sweepfile.stacks import StackSize, is_convolutional
from fmnist_mlp.sweepfile.steps import has_open_size
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline
from fmnist_mlp.words import in_markdown

FORMAT = 4  # of remembered rows: raise it when the same records give other rows

# ---- columns ------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of a CSV. `measured` ones may differ between two runs of the same thing."""

    name: str
    measured: bool = False


_LEAST_PROBABILITY = 2.0**-25  # below it float16 keeps 0

# What the table gives a mean, a spread and an interval of.
_TEST = ("test_loss", "test_accuracy")
_OTHER = (
    *("val_loss", "val_accuracy", "cv_accuracy"),
    *("test_macro_precision", "test_macro_recall", "test_macro_f1", "test_ece", "val_macro_f1"),
)
_SPREAD = ("_std", "_ci95_low", "_ci95_high")
# What the refits of an architecture are told by.
_REFIT = tuple(f"refit_{name}" for name in _TEST)
_ENSEMBLE = tuple(f"ensemble_{name}" for name in _TEST)


def _columns(*names: str, measured: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, measured) for name in names)


RESULTS_COLUMNS = (
    *_columns("architecture", "layers", "params", *_TEST),
    *_columns(*(name + suffix for name in _TEST for suffix in _SPREAD)),
    *_columns("trials", "failed", "verdict", "behind_best", "behind_best_ci95_low", "behind_best_ci95_high"),
    *_columns("seeds_needed", "test_behind_best", "test_behind_best_ci95_low", "test_behind_best_ci95_high"),
    *_columns("pareto", *(name + suffix for name in _OTHER for suffix in ("", *_SPREAD))),
    *_columns("refit_trials", *(name + suffix for name in _REFIT for suffix in ("", *_SPREAD))),
    *_columns("ensembles", *(name + suffix for name in _ENSEMBLE for suffix in ("", *_SPREAD))),
    *_columns("epochs", "trainable_params", "flops", "model_bytes", "size", "dataset", "mixed"),
    *_columns("latency_seconds", "latency_1000_seconds", "train_seconds", "epoch_seconds", measured=True),
    *_columns("images_per_second", "peak_memory_bytes", measured=True),
)
TRIALS_COLUMNS = (
    *_columns("architecture", "seed", "fold", "refit", "status", "params", *_TEST, "val_loss", "val_accuracy"),
    *_columns("test_macro_precision", "test_macro_recall", "test_macro_f1", "test_ece"),
    *_columns("val_macro_precision", "val_macro_recall", "val_macro_f1", "val_ece"),
    *_columns("train_loss", "train_accuracy", "epochs", "weights", "loop", "train_images", "val_images"),
    *_columns("trainable_params", "flops", "model_bytes", "size", "dataset", "device", "tensorflow", "keras"),
    *_columns("scikit_learn", "error", "notes", "fingerprint"),
    *_columns("started_at", "train_seconds", "epoch_seconds", "images_per_second", measured=True),
    *_columns("peak_memory_bytes", measured=True),
)
CLASSES_COLUMNS = (
    *_columns("architecture", "class", "class_name", "test_images"),
    *_columns(*(name + suffix for name in ("precision", "recall", "f1") for suffix in ("", "_std"))),
)


# ---- the table ----------------------------------------------------------------------------------------------------


def write_tables(state: SweepState, results: Results, is_final: bool = True) -> list[dict]:
    """Write `results.csv` and `trials.csv`, at the end `results.md` and `classes.csv` too, each whole or not at all.

    Args:
        is_final: whether verdicts are wanted; while trials still run they would change with each.

    Returns:
        The rows of the table, in the order of the sweep file.
    """
    rows, key = _make_table(state, results, is_final)

    def write_unless_known(name: str, columns: Sequence[Column], make_rows: Callable[[], list[dict]]) -> None:
        """A file of a row a trial, or of what every record must be read for, where it is not that of these records."""
        if not (is_final and results.has_table(state.sweep, name, key)):
            results.write_table(state.sweep, name, csv_text(columns, make_rows()), key)

    results.write_table(state.sweep, "results.csv", csv_text(RESULTS_COLUMNS, rows))
    write_unless_known("trials.csv", TRIALS_COLUMNS, lambda: trial_rows(state))
    if is_final:
        results.write_table(state.sweep, "results.md", markdown(state, rows))
        write_unless_known("classes.csv", CLASSES_COLUMNS, lambda: class_rows(state, results))
    return rows


def make_table(state: SweepState, results: Results, is_final: bool = True) -> list[dict]:
    """One row an architecture, in the order of the sweep file, keyed by `RESULTS_COLUMNS`.

    Args:
        is_final: as in `write_tables`.

    Returns:
        None stands where there is nothing to say: a spread needs two trials, a verdict trials that are done.
    """
    return _make_table(state, results, is_final)[0]


def _make_table(state: SweepState, results: Results, is_final: bool) -> tuple[list[dict], str]:
    """The rows, and the key of all that they are made of; they change with each trial while these still run."""
    if not is_final:
        return _rows(state, rank(state), results, is_final=False), "-"
    key, remembered = _key(state, results), load_final_table(results, state.sweep.folder_name)
    if remembered is None or remembered.key != key:
        remembered = final_table(state, results)
        results.save_comparison(state.sweep, remembered._asdict())
    return remembered.rows, key


class FinalTable(NamedTuple):
    """A final table as it is remembered: whoever uses a finished sweep needs neither its file nor its images.

    Args:
        key: a hash of all that it is made of.
        rows: as from `make_table`.
        exported: the fingerprint of the trial whose model stands for each architecture, by name; baselines have none.
        images: the folder of images of one's own, relative to the results; None for Fashion-MNIST and the stand-in.
    """

    key: str
    rows: list[dict]
    exported: dict[str, str]
    images: str | None


def final_table(state: SweepState, results: Results) -> FinalTable:
    """The table as it follows from the records alone; nothing is written."""
    ranking = rank(state)
    exported = {
        name: trial.fingerprint
        for name, trial in ranking.exported_trials.items()
        if not isinstance(trial.architecture, Baseline)
    }
    rows = _rows(state, ranking, results, is_final=True)
    return FinalTable(_key(state, results), rows, exported, _images(state, results))


def load_final_table(results: Results, folder_name: str) -> FinalTable | None:
    """The last final table of a sweep; None before there is one, where it is damaged or of another version."""
    try:
        remembered = FinalTable(**results.load_comparison(folder_name))
    except TypeError:
        return None
    return remembered if remembered.key.startswith(_version()) else None


def _rows(state: SweepState, ranking: Ranking, results: Results, is_final: bool) -> list[dict]:
    found = state.by_architecture()
    verdicts = _verdicts(ranking, found, results) if is_final else {}
    refits = state.refits_by_architecture()
    # In the plan's order, not that in which trials ended: it decides between two that are equally common.
    common = _common_environment([record for kind in (found, refits) for those in kind.values() for _, record in those])
    rows = [
        _row(state, architecture, found[architecture.name], refits[architecture.name], common)
        | verdicts.get(architecture.name, {})
        for architecture in state.sweep.architectures
    ]
    _mark_pareto(rows, ranking.behind)
    if is_final:
        for row in rows if state.sweep.ensemble else ():
            members = refits[row["architecture"]] or found[row["architecture"]]
            row |= _ensembles(state.sweep.ensemble, members, results, state.correction)
    return rows


def _row(
    state: SweepState, architecture: Architecture | Baseline, found, refits, common: Mapping[str, str]
) -> dict[str, Any]:
    done, refitted = ([record for _, record in those if record.is_done] for those in (found, refits))
    size, latency = _size(state, architecture, done), state.latencies.get(architecture.name, Latency())
    row = dict.fromkeys(column.name for column in RESULTS_COLUMNS)
    row |= {
        "architecture": architecture.name,
        "layers": architecture.in_short,
        "params": size.params,
        "trials": len(done),
        "failed": len(found) - len(done),
        "verdict": _without_trials(state, architecture, found),
        "epochs": _mean([_epochs(record) for record in done]),
        "trainable_params": size.trainable_params,
        "flops": size.flops,
        "model_bytes": _mean([record.model_bytes or None for record in done]),
        "size": done[0].size or None if done else None,
        "dataset": state.dataset,
        "mixed": _mixed(done + refitted, common),
        "refit_trials": len(refitted) if state.refits else None,
        "latency_seconds": latency.latency_seconds,
        "latency_1000_seconds": latency.latency_1000_seconds,
        "train_seconds": _mean([record.measured["train_seconds"] for record in done]),
        "epoch_seconds": _mean([_epoch_seconds(record) for record in done]),
        "images_per_second": _mean([_images_per_second(record) for record in done]),
        "peak_memory_bytes": _mean([record.measured.get("peak_memory_bytes") for record in done]),
    }
    for name in (*_TEST, *_OTHER):
        values = [state.figure(name, record) for record in done]
        row |= _with_interval(name, values, state.correction)
    for name in _TEST:
        row |= _with_interval(f"refit_{name}", [record.metrics[name] for record in refitted], correction=0.0)
    return row


def _with_interval(name: str, values: Sequence[float | None], correction: float) -> dict[str, float | None]:
    """The mean of a measure over trials, its spread and interval, as columns; none where a value is missing."""
    if not values or None in values:
        return {}
    interval = metrics.mean_interval(values, correction=correction)
    spread = zip(_SPREAD, (interval.std, interval.low, interval.high), strict=True)
    return {name: interval.mean} | {name + suffix: value for suffix, value in spread}


def _size(state: SweepState, architecture: Architecture | Baseline, done: Sequence[Record]) -> StackSize:
    """As planned; where the images decide (baselines, `{pca: 0.95}`), the mean of what finished trials found."""
    is_baseline = isinstance(architecture, Baseline)
    if not (is_baseline or (done and has_open_size(architecture.training.preprocess))):
        return state.sizes[architecture.name]
    found = {key: _mean([getattr(record, key) for record in done]) for key in ("params", "trainable_params", "flops")}
    return StackSize(**{key: None if mean is None else round(mean) for key, mean in found.items()})


def _without_trials(state: SweepState, architecture: Architecture | Baseline, found) -> str | None:
    """What stands in place of a verdict where no trial is done, or none can be judged."""
    if architecture.name in state.over_budget:
        return "over budget"
    done = [record for _, record in found if record.is_done]
    if done:
        return None if any(state.figure(state.select_by, record) is not None for record in done) else "no loss"
    return "failed" if found else "not trained"


def _verdicts(ranking: Ranking, found, results: Results) -> dict[str, dict[str, Any]]:
    """Which architectures are worse than the best: columns by architecture name."""
    on_test = _on_test_images(found, ranking.best, results) if ranking.best is not None else {}
    return {
        name: {
            "verdict": comparison.verdict,
            "behind_best": comparison.behind,
            "behind_best_ci95_low": comparison.behind_low,
            "behind_best_ci95_high": comparison.behind_high,
            "seeds_needed": _in_seeds(comparison.seeds_needed, ranking.state.sweep.folds),
            **on_test.get(name, {}),
        }
        for name, comparison in ranking.comparisons.items()
    }


def _in_seeds(blocks: int | None, folds: int | None) -> int | None:
    """Seeds that make so many blocks: a block is a seed, or with cross-validation a seed and fold."""
    if blocks is None or blocks >= metrics.MOST_SEEDS:  # which stands for all above it too
        return blocks
    return math.ceil(blocks / (folds or 1))


def _on_test_images(found, best: str, results: Results) -> dict[str, dict[str, float]]:
    """How far each architecture's test accuracy is behind that of the best, over the seeds that both have."""
    fingerprints = {
        name: {(trial.seed, trial.fold): trial.fingerprint for trial, record in those if record.is_done}
        for name, those in found.items()
    }
    of_best = fingerprints.pop(best)
    try:
        correct = {block: results.load_correct(fingerprint) for block, fingerprint in of_best.items()}
    except DamagedRecord:
        return {}
    columns = {}
    for name, of_other in fingerprints.items():
        shared = [block for block in of_other if block in of_best]
        with contextlib.suppress(DamagedRecord, ValueError):  # ValueError: test images of another number
            if shared:
                shares_best = np.mean([correct[block] for block in shared], axis=0)  # (test images,)
                shares_other = np.mean([results.load_correct(of_other[block]) for block in shared], axis=0)
                behind = metrics.bootstrap_difference(shares_best, shares_other)
                columns[name] = {
                    "test_behind_best": behind.mean,
                    "test_behind_best_ci95_low": behind.low,
                    "test_behind_best_ci95_high": behind.high,
                }
    return columns


def _ensembles(size: int, found, results: Results, correction: float) -> dict[str, Any]:
    """Columns on ensembles of so many seeds: each its own trials, in their order; what is left over is out.

    The members of one are seeds of the same fold, so that `ensemble: 3` says of three seeds what it says without folds:
    what they are worth together that were trained on as many images. An ensemble's probabilities are the mean of its
    members', as they are kept (float16).
    """
    by_fold = defaultdict(list)
    for trial, record in found:
        with contextlib.suppress(DamagedRecord):  # a baseline without probabilities, too
            if record.is_done:
                members = results.load_predictions(trial.fingerprint, "label", "probabilities")
                by_fold[trial.fold].append(members)
    figures = {name: [] for name in _ENSEMBLE}
    for members in by_fold.values():
        for start in range(0, len(members) - size + 1, size):
            labels, probabilities = members[start][0], np.zeros(members[start][1].shape, np.float64)
            for _, of_member in members[start : start + size]:
                probabilities += of_member / size
            figures["ensemble_test_accuracy"].append(float(np.mean(probabilities.argmax(axis=1) == labels)))
            of_class = np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST_PROBABILITY)
            figures["ensemble_test_loss"].append(float(-np.log(of_class).mean()))
    columns = {"ensembles": len(figures["ensemble_test_loss"])}
    for name, values in figures.items():
        columns |= _with_interval(name, values, correction if None not in by_fold else 0.0)
    return columns


def _mark_pareto(rows: Sequence[dict], behind: Mapping[str, float]) -> None:
    """Say for each row by which costs no other row is at least as small and at least as good."""
    values = [behind.get(row["architecture"]) for row in rows]
    fronts = {
        cost: metrics.pareto_front([row[cost] for row in rows], values, higher_is_better=False)
        for cost in ("params", "flops")
    }
    for i, row in enumerate(rows):
        row["pareto"] = " ".join(cost for cost, front in fronts.items() if front[i]) or None


def _surroundings(record: Record) -> dict[str, str]:
    """What a trial's last digits hang on, beside its settings."""
    keys = ("scikit-learn",) if record.is_baseline else ("device", "tensorflow", "keras")
    return {key: record.environment.get(key, "") for key in keys}


def _common_environment(records: Sequence[Record]) -> dict[str, str]:
    """Of device and versions those that most finished trials have."""
    counted = defaultdict(Counter)
    for record in records:
        for key, value in _surroundings(record).items() if record.is_done else ():
            counted[key][value] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counted.items()}


def _mixed(done: Sequence[Record], common: Mapping[str, str]) -> str | None:
    """What of a row was not trained like most of the table: `tensorflow 2.20.0 and 2.21.0`."""
    seen = defaultdict(set)
    for record in done:
        for key, value in _surroundings(record).items():
            seen[key].add(value)
    return ", ".join(f"{key} {' and '.join(sorted(v))}" for key, v in seen.items() if v != {common[key]}) or None


def _key(state: SweepState, results: Results) -> str:
    """A hash of all that a final table is made of."""
    content = {
        "images": _images(state, results),
        "sweep": [state.select_by, state.sweep.folds, state.sweep.ensemble, state.dataset, sorted(state.over_budget)],
        "classes": list(state.class_names),
        "architectures": [[a.name, a.in_short, *vars(state.sizes[a.name]).values()] for a in state.sweep.architectures],
        "trials": [[t.architecture.name, t.seed, t.fold, t.fingerprint] for t in (*state.trials, *state.refits)],
        "records": [
            [f, r.status, r.metrics, r.measured, r.environment, r.model_bytes, r.train_images, _epochs(r)]
            + ([r.params, r.size] if r.is_baseline else [])
            for f, r in sorted(state.records.items())
        ],
        "latencies": {name: latency.model_dump() for name, latency in sorted(state.latencies.items())},
    }
    return f"{_version()}-{made_of(content)}"


def _images(state: SweepState, results: Results) -> str | None:
    dataset = state.sweep.dataset
    return results.relative(dataset.path) if isinstance(dataset, IdxFolder) else None


def _epochs(record: Record) -> int | None:
    return None if record.is_baseline else len(record.history.get("loss", ()))


def _version() -> str:
    columns = [column.name for column in (*RESULTS_COLUMNS, *TRIALS_COLUMNS, *CLASSES_COLUMNS)]
    return f"{FORMAT}-{made_of(columns)[:8]}"


# ---- trials and classes -------------------------------------------------------------------------------------------


def trial_rows(state: SweepState) -> list[dict]:
    """One row a trial that has a record, in the plan's order, refits last, keyed by `TRIALS_COLUMNS`."""
    return [
        {
            "architecture": trial.architecture.name,
            "seed": trial.seed,
            "fold": trial.fold,
            "refit": int(trial.is_refit),
            "status": record.status,
            "params": record.params,
            **record.metrics,
            "train_loss": record.history.get("loss", [None])[-1],
            "train_accuracy": record.history.get("accuracy", [None])[-1],
            "epochs": _epochs(record),
            "weights": record.weights,
            "loop": record.settings.get("loop"),
            "train_images": record.train_images or None,
            "val_images": record.val_images or None,
            "trainable_params": record.trainable_params,
            "flops": record.flops,
            "model_bytes": record.model_bytes or None,
            "size": record.size or None,
            "dataset": record.dataset,
            "device": record.environment.get("device"),
            "tensorflow": record.environment.get("tensorflow"),
            "keras": record.environment.get("keras"),
            "scikit_learn": record.environment.get("scikit-learn"),
            "error": record.error["message"] if record.error else None,
            "notes": "; ".join(record.notes) or None,
            "fingerprint": record.fingerprint,
            "started_at": record.measured.get("started_at"),
            "train_seconds": record.measured.get("train_seconds"),
            "epoch_seconds": _epoch_seconds(record),
            "images_per_second": _images_per_second(record),
            "peak_memory_bytes": record.measured.get("peak_memory_bytes"),
        }
        for kind in (state.by_architecture(), state.refits_by_architecture())
        for those in kind.values()
        for trial, record in those
    ]


def class_rows(state: SweepState, results: Results) -> list[dict]:
    """One row a class of each architecture, means over its finished trials on the test images."""
    rows = []
    for name, found in state.by_architecture().items():
        done = [full for _, record in found if record.is_done and (full := _in_full(record, results))]
        names = done[0].class_names if done else ()
        for number, class_name in enumerate(class_names.present(state.class_names, names)):
            row = {
                "architecture": name,
                "class": number,
                "class_name": class_name,
                "test_images": sum(done[0].classes["test"].confusion_matrix[number]),
            }
            for score in ("precision", "recall", "f1"):
                values = [getattr(record.classes["test"], score)[number] for record in done]
                values = [value for value in values if value is not None]
                row |= {score: _mean(values), f"{score}_std": statistics.stdev(values) if len(values) > 1 else None}
            rows.append(row)
    return rows


def _in_full(record: Record, results: Results) -> Record | None:
    """The record with its scores by class, which a plan does not hold; None where its file has gone bad meanwhile."""
    with contextlib.suppress(DamagedRecord):
        return record if record.classes else results.load_record(record.fingerprint)
    return None


_MOST_NAMED = 6


# ---- for people ---------------------------------------------------------------------------------------------------


def sort_rows(rows: Sequence[dict], by: str) -> list[dict]:
    """Best first: accuracies from the top, losses and costs from the bottom, names by letter; empty cells last."""
    figure = by.removesuffix("_ci95_low").removesuffix("_ci95_high")
    sign = -1 if figure.endswith(("_accuracy", "_precision", "_recall", "_f1", "images_per_second")) else 1
    said = [row for row in rows if row[by] is not None]
    ordered = sorted(said, key=lambda row: row[by] if isinstance(row[by], str) else sign * row[by])
    return ordered + [row for row in rows if row[by] is None]


def verdict_in_words(row: Mapping[str, Any], in_short: bool = False) -> str:
    """`worse by 0.0042 (0.0011 to 0.0073)`, `tied with best (14 seeds would tell)`, ...

    Args:
        in_short: for a narrow column: `worse by 0.0042`, `tied with best (14 seeds)`.
    """
    verdict = row["verdict"] or ""
    if verdict == "worse":
        verdict += f" by {row['behind_best']:.4f}"
        if row["behind_best_ci95_low"] is not None and not in_short:
            verdict += f" ({row['behind_best_ci95_low']:.4f} to {row['behind_best_ci95_high']:.4f})"
    elif verdict == "tied with best" and row["seeds_needed"]:
        more = "+" if row["seeds_needed"] >= metrics.MOST_SEEDS else ""
        verdict += f" ({row['seeds_needed']:,}{more} seeds{'' if in_short else ' would tell'})"
    return verdict


def with_spread(row: Mapping[str, Any], name: str, digits: int = 4) -> str:
    """Mean and standard deviation over trials; a single trial has no spread and shows none."""
    if row[name] is None:
        return ""
    spread = row[f"{name}_std"]
    return f"{row[name]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def count_in_words(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def pareto_in_words(row: Mapping[str, Any]) -> str:
    return {"params": "parameters", "flops": "FLOPs", "params flops": "both"}.get(row["pareto"], "")


def notes(state: SweepState, rows: Sequence[dict]) -> list[str]:
    """What a reader of the table has to know, a sentence each."""
    said, verdicts = [*state.warnings], {row["verdict"] for row in rows}
    if "best" in verdicts and len({row["architecture"] for row in rows if row["trials"]}) > 1:
        said.append(f"Best by {state.select_by}, never by test images; ± is the standard deviation over trials.")
    compared = [row for row in rows if row["behind_best"] is not None]
    most = max((row["trials"] for row in compared), default=0)
    if lacking := [row["architecture"] for row in compared if row["trials"] < most]:
        shown = ", ".join(lacking[:_MOST_NAMED]) + (", ..." if len(lacking) > _MOST_NAMED else "")
        said.append(f"Trials are missing ({shown}): means are compared as if all had been trained on every seed.")
    if "too few seeds" in verdicts:
        if len({(trial.seed, trial.fold) for trial in state.trials}) == 1:
            said.append("One seed cannot tell architectures apart: ask for more (seeds: 5).")
        else:
            said.append("Too few seeds: no comparison with the best where too few finished trials share a seed.")
    if verdicts & {"worse", "tied with best"}:
        said.append(
            "Verdicts: Tukey's range test in blocks of seeds, 5 % false alarms a sweep where spreads are alike; "
            "intervals are 95 %."
        )
        said += _differing_splits(state)
    dense = {t.architecture.name: t for t in state.trials if not isinstance(t.architecture, Baseline)}.values()
    if any(t.settings["loop"] == "plain" and not is_convolutional(t.architecture.layers) for t in dense):
        said.append("Trained by Keras's own loop (--plain-fit).")
    if any(row["seeds_needed"] for row in rows):
        said.append("(n seeds): so many would tell a difference as large as the one seen, four times in five.")
    if any(row["refit_trials"] for row in rows):
        said.append("Refit: trained again on all training images, the validation part too, after the choice.")
    if any(row["ensembles"] for row in rows):
        figures = [
            f"{row['architecture']} {with_spread(row, 'ensemble_test_accuracy')} ({row['ensembles']})"
            for row in rows
            if row["ensembles"]
        ]
        shown = ", ".join(figures[:_MOST_NAMED]) + (", ..." if len(figures) > _MOST_NAMED else "")
        said.append(f"Ensembles of {state.sweep.ensemble} seeds, by their mean probabilities: test accuracy {shown}.")
    elif state.sweep.ensemble and compared:
        said.append(f"No ensembles: {state.sweep.ensemble} finished seeds of one architecture make one.")
    if mute := [row["architecture"] for row in rows if row["trials"] and row["test_loss"] is None]:
        said.append(f"No probabilities, so no loss: {', '.join(mute)}.")
    if any(row["mixed"] for row in rows):
        marked = ", ".join(f"{row['architecture']} ({row['mixed']})" for row in rows if row["mixed"])
        said.append(f"Not all trials ran alike: {marked}.")
    return said


def _differing_splits(state: SweepState) -> list[str]:
    """Trials of one seed share a split only where as many images are set aside: where not, blocks of seeds are none."""
    splits = {t.architecture.name: t.settings["training"].get("validation_split", 0.2) for t in state.trials}
    if state.sweep.folds or len({*splits.values()}) < 2:
        return []
    usual = Counter(splits.values()).most_common(1)[0][0]
    others = [f"{name} {split:g}" for name, split in splits.items() if split != usual]
    shown = ", ".join(others[:_MOST_NAMED]) + (", ..." if len(others) > _MOST_NAMED else "")
    return [
        f"validation_split is {usual:g}, but not for {shown}: there seeds share no split with the others, so verdicts "
        "between them are less sure than they say."
    ]


def markdown(state: SweepState, rows: Sequence[dict]) -> str:
    """The table as Markdown, ready to paste: best first, verdicts in words."""
    names = ["architecture", "parameters", "test accuracy", "95 % interval", "test loss"]
    names += [state.select_by.replace("_", " "), "verdict", "Pareto", "trials"]
    has_refits = any(row["refit_trials"] for row in rows)
    names += ["refit: test accuracy", "95 % interval"] if has_refits else []
    lines = [f"| {' | '.join(names)} |", "|---|--:|--:|--:|--:|--:|---|---|--:|" + "--:|--:|" * has_refits]
    for row in best_first(rows):
        cells = [row["architecture"], count_in_words(row["params"]), with_spread(row, "test_accuracy")]
        cells += [interval_in_words(row, "test_accuracy"), with_spread(row, "test_loss", 3)]
        cells += [with_spread(row, state.select_by), verdict_in_words(row), pareto_in_words(row), str(row["trials"])]
        if has_refits:
            cells += [with_spread(row, "refit_test_accuracy"), interval_in_words(row, "refit_test_accuracy")]
        lines.append(f"| {' | '.join(cells)} |")
    title = f"# {state.sweep.title} on {in_markdown(state.dataset)}"
    return "\n".join([title, "", *lines, "", *map(in_markdown, notes(state, rows))]) + "\n"


def interval_in_words(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_ci95_low"], row[f"{name}_ci95_high"]
    return "" if low is None else f"{low:.4f} to {high:.4f}"


def csv_text(columns: Sequence[Column], rows: Sequence[dict]) -> str:
    """Plain numbers that pandas reads back to the same bits, empty for nothing, one line of text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in columns], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value):
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    return " ".join(value.split()) if isinstance(value, str) else value


def _mean(values: Sequence[float | None]) -> float | None:
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else None


def _epoch_seconds(record: Record) -> float | None:
    """Median seconds of an epoch after the first, which holds the compilation."""
    seconds = record.measured.get("epoch_seconds", [])
    return statistics.median(seconds[1:] or seconds) if seconds else None


def _images_per_second(record: Record) -> float | None:
    """Training images for each second of an epoch; its validation is in the seconds."""
    seconds = _epoch_seconds(record)
    return record.train_images / seconds if seconds else None
