"""The table: one row an architecture, made from the records; beside it a row a trial, an epoch and a class.

A `SweepState` (what a sweep asks for, what of it is done) becomes rows: means over seeds, their spread and interval,
what each architecture costs, and a verdict on which can be told apart. The same rows are `results.csv`, `results.md`,
the table on the screen and the report, so that all of them say the same.

What is best, and the order of the rows for people, is decided in `ranking`; how spreads and verdicts are computed is in
`statistics`, where files lie in `store`. No TensorFlow and no pandas here; rows that nothing has changed are
remembered, so that a rerun with nothing to do needs no scipy either.
"""

import contextlib
import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pydantic

from fmnist_mlp.data import class_names
from fmnist_mlp.files import made_of
from fmnist_mlp.results import columns
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.candidates import best_candidates, candidate_columns, candidate_rows, of_the_search
from fmnist_mlp.results.cautions import cautions
from fmnist_mlp.results.columns import (
    CLASSES_COLUMNS,
    HISTORY_COLUMNS,
    RESULTS_COLUMNS,
    TRIALS_COLUMNS,
    ClassRow,
    Column,
    EpochRow,
    TableRow,
    TrialRow,
    columns_named,
    csv_text,
    interval_of,
    markdown_table,
    with_spread,
)
from fmnist_mlp.results.on_test_images import OnTestImages, read_predictions
from fmnist_mlp.results.ranking import Ranking, SweepState, best_first, rank
from fmnist_mlp.results.record import DamagedRecord, Latency, Record
from fmnist_mlp.results.sentences import cheapest, found, promised
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.variance import FEWEST_SEEDS, Bounds, Spread, spread
from fmnist_mlp.results.verdicts import Comparison
from fmnist_mlp.sweepfile.seeds import seed_number
from fmnist_mlp.sweepfile.settings import OwnImages
from fmnist_mlp.sweepfile.stacks import StackSize, is_convolutional
from fmnist_mlp.sweepfile.steps import has_open_size
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline
from fmnist_mlp.words import in_markdown

FORMAT = 6  # of remembered rows: raise it when the same records give other rows

# Figures of a seed whose means and spreads the table has; of refits and ensembles the first two.
_TEST = ("test_loss", "test_accuracy")
_FIGURES = (
    *(*_TEST, "val_loss", "val_accuracy", "cv_accuracy"),
    *("test_macro_precision", "test_macro_recall", "test_macro_f1", "test_ece", "val_macro_f1"),
)


# ---- the table ----------------------------------------------------------------------------------------------------


def write_tables(state: SweepState, results: Results, is_final: bool = True) -> list[TableRow]:
    """Write `results.csv` and `trials.csv`, each whole or not at all; at the end all the others too.

    Args:
        is_final: the sweep has ended or was stopped. While trials still run, verdicts would change with each, and
            `history.csv`, by far the longest, would be written over and over; TensorBoard has live curves.

    Returns:
        The rows of the table, in the order of the sweep file.
    """
    rows, brier, key = _make_table(state, results, is_final)

    def write_unless_known(name: str, columns: Sequence[Column], make_rows: Callable[[], Iterable]) -> None:
        """A file of a row a trial, or of what every record must be read for, where it is not that of these records."""
        if not (is_final and results.has_table(state.sweep, name, key)):
            results.write_table(state.sweep, name, csv_text(columns, make_rows()), key)

    results.write_table(state.sweep, "results.csv", csv_text(RESULTS_COLUMNS, rows))
    write_unless_known("trials.csv", TRIALS_COLUMNS, lambda: trial_rows(state, brier))
    if state.search is not None:
        found = candidate_rows(state.search, state.search.progress(state.records))
        results.write_table(state.sweep, "search.csv", csv_text(candidate_columns(state.search), found))
    if is_final:
        results.write_table(state.sweep, "results.md", markdown(state, rows))
        write_unless_known("history.csv", HISTORY_COLUMNS, lambda: history_rows(state))
        write_unless_known("classes.csv", CLASSES_COLUMNS, lambda: class_rows(state, results))
    return rows


def make_table(state: SweepState, results: Results, is_final: bool = True) -> list[TableRow]:
    """One row an architecture, in the order of the sweep file; `is_final` as in `write_tables`."""
    return _make_table(state, results, is_final)[0]


def _make_table(state: SweepState, results: Results, is_final: bool) -> tuple[list[TableRow], dict[str, float], str]:
    """The rows, Brier scores, and the key of all that they are made of; they change with each trial while some run."""
    if not is_final:
        return _rows(state, rank(state), OnTestImages({}, {}), is_final=False), {}, "-"
    key, remembered = _key(state, results), load_final_table(results, state.sweep.folder_name)
    if remembered is None or remembered.key != key:
        remembered = final_table(state, results)
        results.save_comparison(state.sweep, remembered.model_dump())
    return remembered.rows, remembered.brier, key


class FinalTable(pydantic.BaseModel, frozen=True):
    """A final table as it is remembered: whoever uses a finished sweep needs neither its file nor its images.

    Args:
        key: a hash of all that it is made of.
        rows: as from `make_table`.
        brier: the Brier score of each trial that has probabilities, by fingerprint: no part of a record.
        exported: the fingerprint of the trial whose model stands for each architecture, by name; baselines have none.
        images: the folder or file of images of one's own, relative to the results; None for Fashion-MNIST and the
            stand-in.
        looks: `looks.Memory.content`, so that a rerun need not look again.
    """

    key: str
    rows: list[TableRow]
    brier: dict[str, float] = {}
    exported: dict[str, str]
    images: str | None
    looks: dict[str, Any] = {}


def final_table(state: SweepState, results: Results) -> FinalTable:
    """The table as it follows from the records alone; nothing is written."""
    ranking = rank(state)
    exported = {
        name: trial.fingerprint
        for name, trial in ranking.exported_trials.items()
        if not isinstance(trial.architecture, Baseline)
    }
    on_test = read_predictions(ranking, results)
    rows = _rows(state, ranking, on_test, is_final=True)
    key, images = _key(state, results), _images(state, results)
    looks = state.memory.content()
    return FinalTable(key=key, rows=rows, brier=on_test.brier, exported=exported, images=images, looks=looks)


def load_final_table(results: Results, folder_name: str) -> FinalTable | None:
    """The last final table of a sweep; None before there is one, where it is damaged or of another version."""
    try:
        remembered = FinalTable.model_validate(results.load_comparison(folder_name))
    except pydantic.ValidationError:
        return None
    return remembered if remembered.key.startswith(_version()) else None


def _rows(state: SweepState, ranking: Ranking, on_test: OnTestImages, is_final: bool) -> list[TableRow]:
    trials, refits = state.by_architecture(), state.refits_by_architecture()
    # In the plan's order, not that in which trials ended: it decides between two that are equally common.
    common = _common_environment(
        [record for kind in (trials, refits) for pairs in kind.values() for _, record in pairs]
    )
    sizes = {a.name: _size(state, a, _done(trials[a.name])) for a in state.sweep.architectures}
    pareto = _pareto(sizes, ranking.behind, state.sweep.margin)
    verdicts = _verdicts(ranking) if is_final else {}
    rows = []
    for architecture in state.sweep.architectures:
        name = architecture.name
        cells = _cells(state, architecture, trials[name], refits[name])
        cells |= {"mixed": _mixed(_done(trials[name]) + _done(refits[name]), common), "pareto": pareto[name]}
        cells |= vars(sizes[name]) | verdicts.get(name, {}) | on_test.cells.get(name, {})
        rows.append(TableRow(**cells))
    costs_of = defaultdict(list)
    for cost, name in cheapest(rows).items() if state.sweep.margin is not None else ():
        costs_of[name].append(cost)
    return [row.model_copy(update={"cheapest": " ".join(costs_of[row.architecture]) or None}) for row in rows]


def _cells(state: SweepState, architecture: Architecture | Baseline, trials, refits) -> dict[str, Any]:
    """What the row of an architecture says of its own trials, by the names of `TableRow`."""
    done, done_refits = _done(trials), _done(refits)
    latency = state.latencies.get(architecture.name, Latency())
    cells = {
        "architecture": architecture.name,
        "layers": architecture.in_short,
        "trials": len(done),
        "failed": len(trials) - len(done),
        "verdict": _without_trials(state, architecture, trials),
        "epochs": _mean([columns.epochs(record) for record in done]),
        "model_bytes": _mean([record.model_bytes or None for record in done]),
        "size": done[0].size or None if done else None,
        "dataset": state.dataset,
        "refit_trials": len(done_refits) if state.refits else None,
        "latency_seconds": latency.latency_seconds,
        "latency_1000_seconds": latency.latency_1000_seconds,
        "train_seconds": _mean([record.measured["train_seconds"] for record in done]),
        "epoch_seconds": _mean([columns.epoch_seconds(record) for record in done]),
        "images_per_second": _mean([columns.images_per_second(record) for record in done]),
        "peak_memory_bytes": _mean([record.measured.get("peak_memory_bytes") for record in done]),
    }
    cells |= {name: interval_of([*state.figures_by_seed(name, trials).values()]) for name in _FIGURES}
    cells |= _new_data(state, trials)
    return cells | {f"refit_{name}": interval_of([record.metrics[name] for record in done_refits]) for name in _TEST}


def _done(pairs) -> list[Record]:
    return [record for _, record in pairs if record.is_done]


def _size(state: SweepState, architecture: Architecture | Baseline, done: Sequence[Record]) -> StackSize:
    """As planned; where the images decide (baselines, `{pca: 0.95}`), the mean of what finished trials found."""
    is_baseline = isinstance(architecture, Baseline)
    if not (is_baseline or (done and has_open_size(architecture.training.preprocess))):
        return state.sizes[architecture.name]
    means = {key: _mean([getattr(record, key) for record in done]) for key in ("params", "trainable_params", "flops")}
    return StackSize(**{key: None if mean is None else round(mean) for key, mean in means.items()})


def _without_trials(state: SweepState, architecture: Architecture | Baseline, trials) -> str | None:
    """What stands in place of a verdict where no trial is done, or none can be judged."""
    if architecture.name in state.over_budget:
        return "over budget"
    if not _done(trials):
        return "failed" if trials else "not trained"
    figures = state.figures_by_seed(state.select_by, trials).values()
    if not figures:
        return "folds missing"
    return "no loss" if all(figure is None for figure in figures) else None


def _new_data(state: SweepState, trials) -> dict[str, Bounds]:
    """Intervals of validation accuracy that say what other training images of this kind would give, too.

    Trainings of one data set share images, so the variance of their mean is std² (1/n + validated/trained on): Nadeau
    and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, section 3; for folds that are drawn
    several times, where that is 1/(folds - 1), Bouckaert and Frank, PAKDD 2004. Over all trainings of the seeds that
    are in the mean.
    """
    records = [record for of_seed in state.done_by_seed(trials).values() for record in of_seed]
    accuracies = [record.metrics["val_accuracy"] for record in records]
    ratio = _mean([record.val_images / record.train_images for record in records if record.train_images])
    if None in accuracies or ratio is None:
        return {}
    interval = metrics.mean_interval(accuracies, ratio)
    bounds = Bounds(interval.low, interval.high)
    return {"val_accuracy_new_data": bounds} | ({"cv_accuracy_new_data": bounds} if state.sweep.folds else {})


def _verdicts(ranking: Ranking) -> dict[str, dict[str, Any]]:
    """Which architectures are worse than the best: cells by architecture name."""
    before_a_look = {name: Comparison("too few seeds", behind) for name, behind in ranking.behind.items()}
    return {
        name: {
            "verdict": found.verdict,
            "behind_best": metrics.Difference(found.behind, found.low, found.high),
            "seeds_needed": found.seeds_needed,
        }
        for name, found in (before_a_look | dict(ranking.comparisons)).items()
    }


def _pareto(sizes: Mapping[str, StackSize], behind: Mapping[str, float], margin: float | None) -> dict[str, str | None]:
    """By which costs no other architecture is at least as small and, but for the margin, at least as good, by name."""
    values, on_front = [behind.get(name) for name in sizes], {name: [] for name in sizes}
    for cost in ("params", "flops"):
        of_all = [getattr(size, cost) for size in sizes.values()]
        front = metrics.pareto_front(of_all, values, higher_is_better=False, margin=margin or 0.0)
        for name, is_on in zip(sizes, front, strict=True):
            on_front[name] += [cost] * is_on
    return {name: " ".join(costs) or None for name, costs in on_front.items()}


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
    looks = state.earlier.and_now(state.sweep, state.compared)
    content = {
        "images": _images(state, results),
        "sweep": [
            state.select_by,
            state.sweep.looks,
            state.sweep.margin,
            state.sweep.folds,
            state.sweep.ensemble,
            state.dataset,
            sorted(state.over_budget),
        ],
        "looks": [sorted(looks.compared), looks.designs],
        "classes": list(state.class_names),
        "architectures": [[a.name, a.in_short, *vars(state.sizes[a.name]).values()] for a in state.sweep.architectures],
        "trials": [[t.architecture.name, t.seed, t.fold, t.fingerprint] for t in (*state.trials, *state.refits)],
        "records": [
            [f, r.status, r.metrics, r.measured, r.environment, r.model_bytes, r.train_images, columns.epochs(r)]
            + ([r.params, r.size] if r.is_baseline else [])
            for f, r in sorted(state.records.items())
        ],
        "latencies": {name: latency.model_dump() for name, latency in sorted(state.latencies.items())},
    }
    return f"{_version()}-{made_of(content)}"


def _images(state: SweepState, results: Results) -> str | None:
    dataset = state.sweep.dataset
    return results.relative(dataset.path) if isinstance(dataset, OwnImages) else None


def _version() -> str:
    names = [column.name for column in (*RESULTS_COLUMNS, *TRIALS_COLUMNS, *HISTORY_COLUMNS, *CLASSES_COLUMNS)]
    return f"{FORMAT}-{made_of(names)[:8]}"


# ---- trials, epochs and classes -----------------------------------------------------------------------------------


def trial_rows(state: SweepState, brier: Mapping[str, float] = {}) -> list[TrialRow]:
    """One row a trial that has a record, in the plan's order, refits last.

    Args:
        brier: as in `FinalTable`.
    """
    return [
        TrialRow(*pair, brier.get(pair[0].fingerprint))
        for kind in (state.by_architecture(), state.refits_by_architecture())
        for pairs in kind.values()
        for pair in pairs
    ]


def history_rows(state: SweepState) -> list[EpochRow]:
    """One row an epoch of each finished trial, in the order of `trial_rows`: `pandas.DataFrame` takes them as they are.

    Baselines have no epochs.
    """
    rows = []
    for trial, record, _ in trial_rows(state):
        curves = [record.history.get(name, ()) for name in EpochRow._fields[5:-1]]
        figures = itertools.zip_longest(*curves, record.measured.get("epoch_seconds", ()))
        identity = (trial.architecture.name, seed_number(trial.seed), trial.fold, int(trial.is_refit))
        epochs = itertools.islice(figures, columns.epochs(record) or 0)
        rows += [EpochRow(*identity, number, *values) for number, values in enumerate(epochs, start=1)]
    return rows


def class_rows(state: SweepState, results: Results) -> list[ClassRow]:
    """One row a class of each architecture that has finished trials."""
    rows = []
    for name, trials in state.by_architecture().items():
        by_seed = [[_in_full(record, results) for record in records] for records in state.done_by_seed(trials).values()]
        by_seed = [records for records in by_seed if None not in records]
        names = class_names.present(state.class_names, by_seed[0][0].class_names if by_seed else ())
        for number, class_name in enumerate(names):
            scores = [[record.classes["test"] for record in records] for records in by_seed]
            cells = {}
            for score in ("precision", "recall", "f1"):
                of_seeds = [_mean([getattr(each, score)[number] for each in of_seed]) for of_seed in scores]
                values = [value for value in of_seeds if value is not None]
                cells[score] = _mean(values)
                cells[f"{score}_std"] = statistics.stdev(values) if len(values) > 1 else None
            rows.append(ClassRow(name, number, class_name, sum(scores[0][0].confusion_matrix[number]), **cells))
    return rows


def _in_full(record: Record, results: Results) -> Record | None:
    """The record with its scores by class, which a plan does not hold; None where its file has gone bad meanwhile."""
    with contextlib.suppress(DamagedRecord):
        return record if record.classes else results.load_record(record.fingerprint)
    return None


_MOST_NAMED = 6


# ---- for people ---------------------------------------------------------------------------------------------------


def notes(state: SweepState, rows: Sequence[TableRow]) -> list[str]:
    """What a reader of the table has to know, a sentence each."""
    said, verdicts = [*state.warnings], {row.verdict for row in rows}
    if "best" in verdicts and len({row.architecture for row in rows if row.trials}) > 1:
        said.append(f"Best by {state.select_by}, never by test images; ± is the standard deviation over seeds.")
    compared = [row for row in rows if row.behind_best.mean is not None]
    asked = Counter(trial.architecture.name for trial in state.trials)
    if lacking := [row.architecture for row in compared if row.trials < asked[row.architecture]]:
        shown = ", ".join(lacking[:_MOST_NAMED]) + (", ..." if len(lacking) > _MOST_NAMED else "")
        said.append(f"Trials are missing ({shown}): means are compared as if all had been trained on every seed.")
    most = max(asked.values(), default=0)
    if dropped := [f"{row.architecture} ({row.trials})" for row in compared if asked[row.architecture] < most]:
        said.append(f"Decided at an earlier look, and not trained on (trials): {', '.join(dropped)}.")
    if state.sweep.folds:
        said.append("A seed's figure is the mean over its folds; a seed that lacks a fold has none.")
    if "too few seeds" in verdicts:
        if len({trial.seed for trial in state.trials}) == 1:
            said.append("One seed cannot tell architectures apart: ask for more (seeds: 5).")
        else:
            said.append(
                "Too few seeds: so few are shared with the best that not even a difference of ten spreads over seeds "
                "would be told."
            )
    if promises := promised(state, rows):
        said += [*promises, *_differing_splits(state)]
    dense = {t.architecture.name: t for t in state.trials if not isinstance(t.architecture, Baseline)}.values()
    if any(t.settings["loop"] == "plain" and not is_convolutional(t.architecture.layers) for t in dense):
        said.append("Trained by Keras's own loop (--plain-fit).")
    if any(row.seeds_needed for row in rows):
        said.append(
            f"(n seeds): so many would show a difference of {state.sweep.margin:g}, the margin, four times in five, "
            "were the spread as large as it may be (its upper limit at 80 %)."
        )
    said += spread_in_words(spread_of(rows))
    if any(row.refit_trials for row in rows):
        said.append("Refit: trained again on all training images, the validation part too, after the choice.")
    if any(row.ensembles for row in rows):
        figures = [
            f"{row.architecture} {with_spread(row.ensemble_test_accuracy)} ({row.ensembles})"
            for row in rows
            if row.ensembles
        ]
        shown = ", ".join(figures[:_MOST_NAMED]) + (", ..." if len(figures) > _MOST_NAMED else "")
        said.append(f"Ensembles of {state.sweep.ensemble} seeds, by their mean probabilities: test accuracy {shown}.")
    elif state.sweep.ensemble and compared:
        said.append(f"No ensembles: {state.sweep.ensemble} finished seeds of one architecture make one.")
    if mute := [row.architecture for row in rows if row.test_accuracy.mean is not None and row.test_loss.mean is None]:
        said.append(f"No probabilities, so no loss: {', '.join(mute)}.")
    if any(row.mixed for row in rows):
        marked = ", ".join(f"{row.architecture} ({row.mixed})" for row in rows if row.mixed)
        said.append(f"Not all trials ran alike: {marked}.")
    return said + cautions(state, rows)


def spread_of(rows: Sequence[TableRow], fewest_seeds: int = FEWEST_SEEDS) -> Spread | None:
    """What the spread of test accuracy over seeds is made of, pooled; None where no row has so many seeds."""
    parts = [
        (row.test_accuracy.n, row.test_accuracy.std, row.test_accuracy_luck_std)
        for row in rows
        if row.test_accuracy.n >= fewest_seeds and row.test_accuracy_luck_std is not None
    ]
    return spread(parts) if parts else None


def spread_in_words(parts: Spread | None) -> list[str]:
    """`Of the spread of test accuracy over seeds (0.0040), 0.0035 (95 %: 0.0030 to 0.0042) is real difference ...`."""
    if parts is None or parts.std == 0:
        return []
    low, high = parts.models_bounds
    said = (
        f"Of the spread of test accuracy over seeds ({parts.std:.4f}), {parts.models:.4f} (95 %: {low:.4f} to "
        f"{high:.4f}) is real difference between the trained models, {100 * parts.share_of_models:.0f} % of the "
        f"variance; the rest ({parts.luck:.4f}) is luck on these test images (squares add up)."
    )
    return [said + " As far as these seeds can tell, luck explains all of it." if parts.is_negative else said]


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


def markdown(state: SweepState, rows: Sequence[TableRow]) -> str:
    """The table as Markdown, ready to paste: best first, verdicts in words."""
    names = ["architecture", "params", "test_accuracy", "test_accuracy_ci95_low", "test_accuracy_any_images_ci95_low"]
    names += ["test_loss"]
    names += [state.select_by, "verdict", "pareto", "trials"]
    if any(row.refit_trials for row in rows):
        names += ["refit_test_accuracy", "refit_test_accuracy_ci95_low"]
    lines = markdown_table(columns_named(*names), best_first(rows))
    title = f"# {state.sweep.title} on {in_markdown(state.dataset)}"
    head = [line for sentence in found(state, rows) for line in (in_markdown(sentence), "")]
    end = _search_in_markdown(state) if state.search is not None else []
    return "\n".join([title, "", *head, *lines, "", *map(in_markdown, notes(state, rows)), *end]) + "\n"


def _search_in_markdown(state: SweepState) -> list[str]:
    log = state.search
    rows = best_candidates(log, candidate_rows(log, log.progress(state.records)))
    shown = [column for column in candidate_columns(log) if column.title]
    return ["", "## Search", "", *map(in_markdown, of_the_search(state)), "", *markdown_table(shown, rows)]


def _mean(values: Sequence[float | None]) -> float | None:
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else None
