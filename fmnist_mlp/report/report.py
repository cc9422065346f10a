"""The report of a sweep: one HTML page to look at and pass on, and its pictures as PNG files.

`report` makes both from what a sweep leaves behind (records, the rows of the table, predictions), so that the page says
what `results.csv` says, to the last digit. Hidden here: what is worth showing of a sweep and how to say it, also of one
with little to show (nothing trained, predictions that cannot be read).

The same records and library versions give the same bytes; where they are those of the last report, nothing is drawn.
Leaves to others: what the figures are (`table`, `statistics`), which architecture is best (`ranking`), what the page is
made of (`content`, `summaries`), drawing (`plots_sweep`), markup (`page`), where files go (`results`). No TensorFlow;
matplotlib only once there is something to draw.
"""

import importlib.metadata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import DataSource
from fmnist_mlp.files import made_of
from fmnist_mlp.report import plots
from fmnist_mlp.report.content import Content, dataset_in_words
from fmnist_mlp.report.page import Page
from fmnist_mlp.report.plots_images import Row, Tile, draw_sheet
from fmnist_mlp.report.plots_sweep import (
    FEW_IMAGES,
    draw_calibration_errors,
    draw_confusions,
    draw_cost,
    draw_curves,
    draw_f1,
    draw_panels,
    draw_reliability,
    draw_trials,
)
from fmnist_mlp.report.search import show_search
from fmnist_mlp.report.settings import show_settings
from fmnist_mlp.report.summaries import Curve, average_histories, bin_confidences, choose_samples, count_confusions
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.cautions import MARK, chosen_by_its_trials
from fmnist_mlp.results.columns import Column, TableRow, columns_named, with_spread
from fmnist_mlp.results.sentences import found
from fmnist_mlp.results.store import Results
from fmnist_mlp.words import capitalized, counted, listed

FORMAT = 7  # of the page: raise it when the same records give another page

MOST_FAILURES = 50  # listed; trials.csv has all
MOST_CONFUSIONS = 10
MOST_SAMPLES = 10  # test images of each kind


# ---- The recipe ----


def report(
    state: ranking.SweepState,
    rows: Sequence[TableRow],
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

    page, content = Page(), Content(state, rows, results, source)
    with plots.own_style():
        _show_accuracies(page, content)
        _show_table(page, content)
        _show_failures(page, content)
        _show_costs(page, content)
        _show_curves(page, content)
        if content.shown:
            _show_trials(page, content)
            _show_classes(page, content)
            _show_calibration(page, content)
            _show_samples(page, content)
        show_search(page, content)
    show_settings(page, content)
    _show_how(page, content)
    text = page.to_html(
        f"{state.sweep.title} on {dataset_in_words(state.dataset)}",
        lead=_summary(content),
        warnings=_warnings(content),
        # The verdict is a sentence among numbers.
        style=".sortable td:nth-child(8) { min-width: 9rem; }\nh1 + p { font-size: 1.15rem; }\n",
        head=_mark(key, page.pictures),
    )
    return results.write_report(state.sweep, text, page.pictures)


def _key(state: ranking.SweepState, rows: Sequence[TableRow], source: DataSource | None) -> str:
    """A hash of all that the page is made of; curves, scores by class and predictions go with the metrics."""
    parts = [
        [FORMAT, importlib.metadata.version("matplotlib"), importlib.metadata.version("numpy")],
        [state.sweep.title, state.dataset, state.select_by, state.sweep.folds, state.sweep.limit],
        [source and source.kind, source and source.fallback_reason, list(state.warnings), list(state.class_names)],
        [row.model_dump() for row in rows],
        [[t.architecture.name, t.seed, t.fold, t.fingerprint] for t in (*state.trials, *state.refits)],
        [[f, r.status, r.error, r.metrics, r.measured, r.environment] for f, r in sorted(state.records.items())],
        *([[state.search.key, state.search.search.rounds, state.search.search.finalists]] if state.search else []),
    ]
    return made_of(parts)


def _is_made_of(page: str, key: str, pictures: frozenset[str]) -> bool:
    """Whether a page that was written before is whole, of this key, and has its pictures beside it."""
    return _mark(key, pictures) in page[:10_000] and page.endswith("</html>\n")


def _mark(key: str, pictures: Collection[str]) -> str:
    """What a page says of itself in its head."""
    names = " ".join(sorted(pictures))
    return f'<meta name="made-of" content="{key}">\n<meta name="pictures" content="{names}">\n'


# ---- The head of the page ----


def _summary(content: Content) -> list[str]:
    """What the sweep found, first in the sentences that a person would pass on."""
    best, state = content.best, content.state
    trials, done = len(state.trials), sum(map(len, content.done.values()))
    counts = f"{counted(len(content.rows), 'architecture')}, {done:,} of {counted(trials, 'trial')} done."
    if best is None:
        return [f"Nothing is trained yet. {counts}"]
    extreme = "lowest" if plots.is_loss(content.metric) else "highest"
    among = f"Of {counted(sum(bool(row.trials) for row in content.rows), 'architecture')}"
    among = f"In a quick look, {among.lower()}" if state.sweep.is_quick_look else among
    size = "" if best.params is None else f", with {counted(best.params, 'parameter')}"
    mark = "" if chosen_by_its_trials(content.rows) is None else f" ({MARK})"  # a note below the table says why
    if best.test_accuracy.mean is None:
        return [f"No architecture has a seed with all its folds yet, so none has figures. {counts}"]
    sentences = [
        f"{among} on {dataset_in_words(state.dataset)}, {best.architecture} has the {extreme} {content.metric_words}: "
        f"its test accuracy is {with_spread(best.test_accuracy)}{mark}, "
        f"the mean of {counted(best.trials, 'training')}{size}.",
        *found(state, content.rows),
    ]
    if best.refit_trials:
        of_refits = f"{with_spread(best.refit_test_accuracy)}, the mean of {counted(best.refit_trials, 'refit')}"
        sentences.append(f"Trained again on all training images, its test accuracy is {of_refits}.")
    return [" ".join(sentences), counts]


def _warnings(content: Content) -> list[str]:
    """What a reader must not overlook, a sentence or two each."""
    state, warnings = content.state, []
    if state.dataset == "synthetic":
        reason = content.source.fallback_reason if content.source else None
        warning = "These figures are not Fashion-MNIST's: the images are drawings made by a program in their place."
        warnings.append(f"{warning} {capitalized(reason)}." if reason else warning)
    if content.failed:
        names = list(dict.fromkeys(trial.architecture.name for trial, _ in content.failed))
        warnings.append(f"{counted(len(content.failed), 'trial')} failed, counted in no mean: {listed(names)}.")
    by_verdict = {
        "over budget": "larger than max_params allows and not trained",
        "not trained": "not trained yet",
        "no loss": "without a loss, which the best is selected by",
        "folds missing": "without a seed that has all its folds, so without figures",
    }
    for verdict, words in by_verdict.items():
        names = [row.architecture for row in content.rows if row.verdict == verdict]
        if names:
            warnings.append(f"{counted(len(names), 'architecture')} {words}: {listed(names)}.")
    asked = Counter(trial.architecture.name for trial in state.trials)
    partly = [row.architecture for row in content.rows if 0 < row.trials + row.failed < asked[row.architecture]]
    if partly:
        warnings.append(f"Not all trials are there yet: {listed(partly)}.")
    mixed = [f"{row.architecture} ({row.mixed})" for row in content.rows if row.mixed]
    if mixed:
        warnings.append(f"Not all trials ran alike, so small differences may come from that: {listed(mixed)}.")
    for what, is_baseline in (("scikit-learn warned", True), ("While they trained", False)):
        noted = ((t, r) for pairs in content.done.values() for t, r in pairs if r.is_baseline == is_baseline)
        if notes := [f"{trial.in_words}: {note}" for trial, record in noted for note in record.notes]:
            warnings.append(f"{what}: {listed(notes, 3)}.")
    if state.sweep.is_quick_look:
        warnings.append(
            f"A quick look: {state.sweep.overrides_in_words}. The full sweep's results have a place of their own."
        )
    elif state.sweep.limit:
        warnings.append(f"Trained on {state.sweep.limit:,} of the training images only.")
    return warnings + content.problems


# ---- The sections of the page, in order ----


def _columns(metric: str, rows: Sequence[TableRow]) -> list[Column]:
    names = ["architecture", "params", "test_accuracy", "test_accuracy_ci95_low", "test_accuracy_any_images_ci95_low"]
    names += ["test_loss"]
    if_any = ("refit_test_accuracy", "ensemble_test_accuracy")
    names += [name for name in if_any if any(row[name] is not None for row in rows)]
    names += [metric, "verdict", "pareto", "test_macro_f1", "test_ece", "test_brier"]
    names += ["flops", "latency_seconds", "train_seconds"]
    return columns_named(*names, "trials")


def _show_accuracies(page, content):
    """What people look for first: what each architecture reached, and how large it is."""
    if content.shown:
        page.section("Accuracy against parameters")
        _show_cost(page, content, "test_accuracy", "params")


def _show_table(page, content):
    page.section("The table")
    columns = _columns(content.metric, content.rows)
    rows = [
        [
            # There is room for a verdict in full; a name sorts by itself.
            (
                (column.words if column.name == "verdict" else column.in_brief)(row),
                row[column.sort or column.name] if k else None,
            )
            for k, column in enumerate(columns)
        ]
        for row in content.ordered
    ]
    page.table(
        f"Every architecture, best first by {content.metric_words}",
        [column.title for column in columns],
        rows,
        text_columns=[k for k, column in enumerate(columns) if column.is_text],
        sorted_by={k: column.is_text and not column.sort for k, column in enumerate(columns)},
    )
    for note in table.notes(content.state, content.rows):
        page.paragraph(note)
    page.paragraph(
        "Intervals are of the mean. Over seeds: what other seeds would give on these very test images. Over seeds and "
        "images: what other seeds would give on other test images of this kind. Macro F1 is the mean over classes, ECE "
        "the expected calibration error, Brier the squared error of the probabilities, 0 to 2, all of test images. "
        "FLOPs and latency are for one image. Pareto: no other row is at least as cheap and at least as good. Trials "
        "that failed are in no mean. All columns are in results.csv."
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
    for cost in plots.COSTS:
        _show_cost(page, content, content.metric, cost)


def _show_cost(page, content, metric: str, cost: str) -> None:
    figure, words = plots.METRICS[metric], plots.COSTS[cost][0]
    trials = {}
    if metric != content.metric:
        trials = {row.architecture: _accuracies(content, row.architecture)[metric] for row in content.rows}
    picture = draw_cost(
        content.subtitle, content.rows, metric, cost, content.metric, trials, content.state.sweep.margin or 0.0
    )
    if picture is None:
        page.paragraph(f"No picture of {figure} against {words}: not known for any architecture.")
        return
    caption = f"{capitalized(figure)} against {words}: "
    if metric == content.metric:
        caption += "means over seeds with 95 % intervals."
        caption += " Filled and joined by steps: the Pareto front, which nothing beats in both."
    else:
        caption += "every trial a dot, their mean a dash, its 95 % interval a line. Blue: the Pareto front by "
        caption += f"{content.metric_words}."
    if picture.beyond:
        caption += f" Beyond the axis, drawn as triangles at its end: {listed(picture.beyond, 5)}."
    page.picture(
        f"{cost}.png" if metric == content.metric else f"{metric}.png",
        picture.png,
        alt=f"Scatter plot of {figure} against {words} of {counted(len(picture.names), 'architecture')}. On the "
        f"Pareto front: {listed(picture.front, 12)}. The table holds the numbers.",
        caption=caption,
    )


def _show_curves(page, content):
    page.section("Training curves")
    curves = {row.architecture: _curves(content, row.architecture) for row in content.shown}
    curves = {name: by_figure for name, by_figure in curves.items() if any(len(c.mean) for c in by_figure.values())}
    if not curves:
        page.paragraph("No trial has curves.")
        return
    epochs = max(len(curve.mean) for by_figure in curves.values() for curve in by_figure.values())
    of_whom = content.which_shown if len(curves) == len(content.shown) else counted(len(curves), "architecture")
    ends = ", ".join(f"{name} {end}" for name, by_figure in curves.items() if (end := _last(by_figure["val_loss"])))
    page.picture(
        "curves.png",
        draw_curves(content.subtitle, curves, content.labels),
        alt=f"Line charts of validation loss and validation accuracy against {counted(epochs, 'epoch')}, a line an "
        f"architecture. Validation loss at the end: {ends or 'not known'}.",
        caption=f"Validation loss and accuracy, means over trials: {of_whom}.",
    )
    for figure in ("loss", "accuracy"):
        page.picture(
            f"curves_{figure}.png",
            draw_panels(content.subtitle, curves, content.labels, figure),
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
    pairs = [(name, _last(c[figure]), _last(c[f"val_{figure}"])) for name, c in curves.items()]
    return "At the end, training and validation: " + "; ".join(f"{n} {a or 'none'}, {b or 'none'}" for n, a, b in pairs)


def _show_trials(page, content):
    page.section("Spread over trials")
    trials = {row.architecture: _accuracies(content, row.architecture) for row in content.shown}
    spreads = [
        f"{name} {min(accuracies['test_accuracy']):.4f} to {max(accuracies['test_accuracy']):.4f}"
        for name, accuracies in trials.items()
        if accuracies["test_accuracy"]
    ]
    page.picture(
        "trials.png",
        draw_trials(content.subtitle, trials, content.labels),
        alt="Every trial as a point, a line an architecture: test and validation accuracy. Test accuracy, lowest "
        f"to highest: {'; '.join(spreads)}.",
        caption="Accuracy of every trial: triangles on test images, circles on validation images, bars their means. "
        f"{capitalized(content.which_shown)}. Validation images differ from seed to seed, test images do not.",
    )


def _accuracies(content, name: str) -> dict[str, list[float]]:
    figures = [record.metrics for _, record in content.done[name]]
    return {key: [metrics[key] for metrics in figures if key in metrics] for key in ("test_accuracy", "val_accuracy")}


def _show_classes(page, content):
    page.section("Classes")
    rows = [row for row in content.class_rows if row.f1 is not None]
    if not rows:
        page.paragraph("No scores by class are known.")
        return
    worst = min(
        (row for row in rows if row.architecture == content.best.architecture),
        key=lambda row: row.f1,
        default=rows[0],
    )
    page.picture(
        "f1.png",
        draw_f1(content.subtitle, _f1_scores(content), content.shown_labels, content.class_names),
        alt=f"Heat map of the F1 score of each class, a row an architecture. The best architecture is worst at "
        f"{worst.class_name} ({100 * worst.f1:.0f} %). classes.csv holds the numbers.",
        caption=f"F1 score of each class on test images, in percent, means over trials: {content.which_shown}.",
    )
    counts = content.confusion_matrix
    if counts is None or not counts.sum():
        page.paragraph("No confusion matrix: the records of the best architecture cannot be read.")
        return
    names, best = content.class_names, content.best.architecture
    trials = counted(len(content.done[best]), "trial")
    frequent = [c for c in count_confusions(counts, MOST_CONFUSIONS) if max(c.label, c.predicted) < len(names)]
    first = "; ".join(f"{names[c.label]} taken for {names[c.predicted]} {100 * c.share:.1f} %" for c in frequent[:3])
    page.picture(
        "confusion_matrix.png",
        draw_confusions(content.subtitle, content.labels[best], counts, names),
        alt=f"Confusion matrix of {best} in percent of each class. Most frequent confusions: {first or 'none'}.",
        caption=f"Confusion matrix of {best}, {trials} together: of the test images of a class (row), the percentage "
        "that was given each class (column). Shades grow with the square root, for mistakes to show.",
    )
    if frequent:
        page.table(
            f"Most frequent confusions of {best}, {trials} together",
            ["class", "taken for", "images", "% of the class"],
            [[names[c.label], names[c.predicted], f"{c.images:,}", f"{100 * c.share:.1f}"] for c in frequent],
            text_columns=(1,),
        )


def _f1_scores(content) -> np.ndarray:
    """Fractions, `(architectures, classes)`, NaN for no score."""
    f1 = {(row.architecture, row.number): row.f1 for row in content.class_rows}
    classes = range(len(content.class_names))
    scores = [[f1.get((row.architecture, k)) for k in classes] for row in content.shown]
    return np.array(scores, float).reshape(len(content.shown), -1)


def _show_calibration(page, content):
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
            draw_reliability(content.subtitle, content.labels[content.best.architecture], reliability),
            alt=f"Reliability diagram of {which}: accuracy against confidence in {len(reliability.images)} bins. Mean "
            f"confidence is {100 * confidence.mean():.1f} %, accuracy {100 * np.mean(label == predicted):.1f} %.",
            caption=f"Accuracy against confidence of {which}, the best architecture's best trial by validation, on "
            f"{counted(len(label), 'test image')}; hollow where they are fewer than {FEW_IMAGES}. Below, how "
            f"many images have that confidence. Its expected calibration error is {100 * ece:.1f} %.",
        )
    rows = [row for row in content.shown if row.test_ece.mean is not None]
    if rows:
        page.picture(
            "ece.png",
            draw_calibration_errors(content.subtitle, rows, content.labels),
            alt="Expected calibration error of each architecture: "
            + "; ".join(f"{row.architecture} {100 * row.test_ece.mean:.1f} %" for row in rows)
            + ".",
            caption="Expected calibration error on test images, mean over seeds with its 95 % interval: "
            f"{content.which_shown}. Smaller is better.",
        )


def _show_samples(page, content):
    page.section("Sample predictions")
    images = content.test_images
    if isinstance(images, str):
        page.paragraph(f"No test images are shown: {images}")
        return
    label, predicted, confidence = content.predictions
    samples = choose_samples(label, predicted, confidence, MOST_SAMPLES)
    which = content.best_trial.in_words
    mistakes = int((label != predicted).sum())
    names = content.class_names
    surest = [f"{_name_of(names, label[i])} taken for {_name_of(names, predicted[i])}" for i in samples.confident[:3]]
    headings = ("Right", "Wrong", "The surest mistakes")
    rows = [
        Row([Tile(images[i], _beside_image(content, i)) for i in chosen], heading=heading)
        for heading, chosen in zip(headings, samples, strict=True)
        if len(chosen)
    ]
    title = f"What {plots.shortened(which, 34)} says"
    page.picture(
        "samples.png",
        draw_sheet(title, content.subtitle, rows, columns=5, title_size=6),
        alt=f"Test images with what {which} says of them. Most confident mistakes: {'; '.join(surest) or 'none'}.",
        caption=f"Test images and what {which} says of them, the best architecture's best trial by validation: of "
        "each class the first that it gets right and the first that it gets wrong, and of its "
        f"{counted(mistakes, 'mistake')} those that it was surest of, at most {MOST_SAMPLES} each.",
        is_photo=True,
    )


def _beside_image(content, index: int) -> str:
    """What stands beside a test image: its class, what the best trial says it is, and how surely."""
    label, predicted, confidence = content.predictions
    names = [plots.shortened(_name_of(content.class_names, which[index]), 13) for which in (label, predicted)]
    answer = "right" if label[index] == predicted[index] else f"said {names[1]}"
    return f"{names[0]}\n{answer}, {100 * confidence[index]:.0f} %"


def _name_of(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _show_how(page, content):
    page.section("How these numbers were made")
    sweep = content.state.sweep
    seeds = f"seeds {listed([str(seed) for seed in sweep.seeds], 20)}"
    if sweep.looks:
        seeds += f", as far as verdicts need (looks after {listed(sweep.looks)} seeds)"
    if sweep.folds:
        training = (
            f"{sweep.folds} times with each of {seeds}, each time validated on another fold of the training images"
        )
    else:
        training = f"once with each of {seeds}; a share of the training images, drawn by seed and class, validates it"
    page.paragraph(
        f"Everything is trained {training}. Test images are scored once a trial, with the weights that the "
        "training ended with, and decide nothing. Means and standard deviations are over seeds, intervals are "
        "Student's t, verdicts are read from intervals that hold for all architectures together. Parameters and FLOPs "
        "are exact counts, times are what the clock said on the machines below. results/README.md explains every "
        "column."
    )
    records = [record for pairs in content.done.values() for _, record in pairs]
    values = Counter((key, str(value)) for record in records for key, value in record.environment.items())
    facts = {}
    for (key, value), count in sorted(values.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        facts.setdefault(key, []).append(value if count == len(records) else f"{value} ({counted(count, 'trial')})")
    first = [key for key in ("device", "tensorflow", "keras") if key in facts]
    page.facts([(key, listed(facts[key])) for key in dict.fromkeys([*first, *facts])])
