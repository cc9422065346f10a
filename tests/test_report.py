"""The report: its curves, bins and choices against numbers by hand, its page against results.csv, and ugly sweeps."""

import base64
import csv
import dataclasses
import os
import struct

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx_files import write_idx
from pages import read_page
from sweeping import Made

from fmnist_mlp.data.source import DataSource, describe, load_data, load_test_images
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.report.report import MOST_CONFUSIONS, MOST_FAILURES, report
from fmnist_mlp.report.settings import compare_settings
from fmnist_mlp.report.summaries import average_histories, bin_confidences, choose_samples, count_confusions
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import Latency
from fmnist_mlp.sweepfile.trials import list_trials

# ---- made-up sweeps


def sweep_text(architectures=3, seeds=3, more=""):
    listed = [f"  - {{name: net-{i}, layers: [{4 * i}]}}" for i in range(1, architectures + 1)]
    return "\n".join([f"seeds: {seeds}", more, "architectures:", *listed, ""])


def invent(made, *, classes=4, epochs=5, images=40, seed=0, names=None):
    """Have every trial done, with scores, curves and predictions that belong together."""
    rng = np.random.default_rng(seed)
    for trial in made.plan:
        label = rng.integers(0, classes, images)
        chances = rng.random((images, classes)) + 0.5 * np.eye(classes)[label]
        chances /= chances.sum(axis=1, keepdims=True)
        scores = metrics.classification_scores(label, chances.argmax(axis=1), chances)
        by_class = {name: getattr(scores, name) for name in ("precision", "recall", "f1", "confusion_matrix")}
        figures = {f"{part}_{name}": float(rng.random()) for part in ("val", "test") for name in ("loss", "accuracy")}
        record = made.record(trial, **figures, test_ece=scores.ece).model_dump() | {
            "classes": {"test": by_class, "val": by_class},
            "class_names": names or [str(k) for k in range(classes)],
            "history": {name: rng.random(epochs).tolist() for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
        }
        keep(made, made.record(trial).model_validate(record))
        save_predictions(made, trial, label=label, predicted=chances.argmax(axis=1), probabilities=chances)
    return made


def keep(made, record, **changes):
    record = record.model_copy(update=changes)
    made.put(record)


def save_predictions(made, trial, **arrays):
    kinds = {"label": np.uint8, "predicted": np.uint8, "probabilities": np.float16}
    path = made.results.record_folder(trial.fingerprint) / "predictions.npz"
    np.savez(path, **{name: array.astype(kinds[name]) for name, array in arrays.items()})
    seal(path.parent)


def write_report(made, source=None, again=False, **changes):
    state = dataclasses.replace(made.state, **changes)
    return report(state, table.write_tables(state, made.results), made.results, source=source, again=again)


def plots(made):
    return {path.name: path.read_bytes() for path in made.folder.glob("plots/*")}


PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsVFQzAAAAABJRU5ErkJggg==")


@pytest.fixture
def quick(monkeypatch):
    """Pictures are drawn but not rendered, which takes most of the time: for tests of what the page says."""
    for module in ("plots_sweep", "plots_images"):
        monkeypatch.setattr(f"fmnist_mlp.report.{module}.to_png", lambda figure: PIXEL)


@pytest.fixture
def three(tmp_path):
    """Three architectures of three seeds, all done."""
    made = invent(Made(tmp_path, sweep_text()))
    made.latencies["net-2"] = Latency(latency_seconds=0.001234, latency_1000_seconds=0.1)
    return made


# ---- what is computed


def test_curves_are_means_and_ranges_over_the_trials_that_got_there():
    histories = [
        {"loss": [4.0, 1.0, None, 7.0]},
        {"loss": [2.0, 3.0, None]},
        {"loss": [3.0, float("inf")], "val_loss": [1.0]},
        {},
    ]
    curve = average_histories(histories, "loss")
    np.testing.assert_array_equal(curve.mean, [3.0, 2.0, np.nan, 7.0])
    np.testing.assert_array_equal(curve.low, [2.0, 1.0, np.nan, 7.0])
    np.testing.assert_array_equal(curve.high, [4.0, 3.0, np.nan, 7.0])
    assert curve.trials.tolist() == [3, 2, 0, 1]
    assert average_histories(histories, "val_loss").mean.tolist() == [1.0]
    assert [len(part) for part in average_histories(histories, "val_accuracy")] == [0, 0, 0, 0]
    assert [len(part) for part in average_histories([], "loss")] == [0, 0, 0, 0]


@given(st.lists(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_curves_agree_with_plain_python(lists):
    curve = average_histories([{"loss": numbers} for numbers in lists], "loss")
    assert len(curve.mean) == max(map(len, lists))
    for epoch, (mean, low, high, trials) in enumerate(zip(*curve, strict=True)):
        there = [numbers[epoch] for numbers in lists if len(numbers) > epoch and numbers[epoch] is not None]
        assert trials == len(there)
        if there:
            assert (low, high) == (min(there), max(there))
            assert mean == pytest.approx(sum(there) / len(there), rel=1e-9, abs=1e-6)
        else:
            assert np.isnan([mean, low, high]).all()


def test_numbers_whose_sum_overflows_are_left_out_without_a_warning():
    curve = average_histories([{"loss": [1e308, 1.0]}, {"loss": [1.5e308, 2.0]}], "loss")
    assert curve.trials.tolist() == [0, 2]
    np.testing.assert_array_equal(curve.mean, [np.nan, 1.5])


def test_bins_of_confidence_agree_with_a_loop_over_images_and_with_the_calibration_error():
    rng = np.random.default_rng(3)
    confidence = np.concatenate([rng.random(500), [1.0, 1 / 15, 2 / 15]])  # edges too
    is_correct = rng.random(503) < confidence
    found = bin_confidences(confidence, is_correct)
    for k in range(15):
        inside = [i for i, c in enumerate(confidence) if k / 15 < c <= (k + 1) / 15]
        assert found.images[k] == len(inside)
        assert found.accuracy[k] == pytest.approx(np.mean([is_correct[i] for i in inside]))
        assert found.confidence[k] == pytest.approx(np.mean([confidence[i] for i in inside]))
    chances = np.column_stack([confidence, np.zeros(503)])
    scores = metrics.classification_scores(np.where(is_correct, 0, 1), np.zeros(503, int), chances)
    assert (found.images * np.abs(found.accuracy - found.confidence)).sum() / 503 == pytest.approx(scores.ece)


def test_an_empty_bin_has_no_accuracy():
    found = bin_confidences(np.array([0.99, 0.98]), np.array([True, False]))
    assert found.images.tolist() == [0] * 14 + [2]
    assert np.isnan(found.accuracy[:14]).all()
    assert found.accuracy[14] == 0.5
    assert found.confidence[14] == pytest.approx(0.985)


def test_confusions_are_listed_from_the_most_frequent_and_of_equals_the_first():
    counts = np.array([[5, 3, 2], [3, 7, 0], [4, 0, 0]])
    assert count_confusions(counts, most=10) == [(2, 0, 4, 1.0), (0, 1, 3, 0.3), (1, 0, 3, 0.3), (0, 2, 2, 0.2)]
    assert count_confusions(counts, most=1) == [(2, 0, 4, 1.0)]
    assert count_confusions(np.diag([3, 4]), most=10) == []


def test_samples_are_the_first_of_each_class_and_the_surest_mistakes():
    labels = np.array([0, 0, 1, 1, 0, 2, 1, 0])
    predicted = np.array([1, 0, 1, 0, 0, 0, 1, 2])
    confidence = np.array([0.6, 0.9, 0.8, 0.7, 0.5, 0.7, 0.9, 0.9])
    chosen = choose_samples(labels, predicted, confidence, most=10)
    assert [part.tolist() for part in chosen] == [[1, 2], [0, 3, 5], [7, 3, 5, 0]]
    assert [part.tolist() for part in choose_samples(labels, predicted, confidence, most=1)] == [[1], [0], [7]]
    assert [part.tolist() for part in choose_samples(labels, labels, confidence, most=10)] == [[0, 2, 5], [], []]


def test_settings_are_shared_or_differ_among_those_that_have_them():
    settings = {"a": {"epochs": 20, "optimizer": "adam"}, "b": {"epochs": 20, "optimizer": "sgd"}, "c": {"limit": 5}}
    assert compare_settings(settings) == ({"epochs": 20, "limit": 5}, ["optimizer"])
    assert compare_settings({}) == ({}, [])


# ---- the page


def test_the_numbers_of_the_page_are_those_of_results_csv(three, quick):
    page = read_page(write_report(three))
    with (three.folder / "results.csv").open(newline="") as file:
        expected = {row["architecture"]: row for row in csv.DictReader(file)}
    head, *rows = page.table("architecture")
    titles = [cell["text"] for cell in head]
    # Heading on the page to column of the file, by hand.
    columns = {
        "parameters": "params",
        "test accuracy": "test_accuracy",
        "95 % over seeds": "test_accuracy_ci95_low",
        "95 % over seeds and images": "test_accuracy_any_images_ci95_low",
        "test loss": "test_loss",
        "val accuracy": "val_accuracy",
        "verdict": "behind_best",
        "macro F1": "test_macro_f1",
        "ECE": "test_ece",
        "Brier": "test_brier",
        "FLOPs": "flops",
        "latency, ms": "latency_seconds",
        "training, s": "train_seconds",
        "trials": "trials",
    }
    assert set(titles) == {*columns, "architecture", "Pareto"}
    assert sorted(row[0]["text"] for row in rows) == sorted(expected)
    for row in rows:
        cells, figures = dict(zip(titles, row, strict=True)), expected[row[0]["text"]]
        for title, column in columns.items():
            assert cells[title].get("data-value", "") == figures[column], (title, column)
        accuracy, spread = float(figures["test_accuracy"]), float(figures["test_accuracy_std"])
        assert cells["test accuracy"]["text"] == f"{accuracy:.4f} ± {spread:.4f}"
        assert cells["parameters"]["text"].replace(",", "") == figures["params"]
        assert cells["Pareto"]["text"] == {"": "", "params flops": "both"}.get(
            figures["pareto"], cells["Pareto"]["text"]
        )
    assert [row[0]["text"] for row in rows] == sorted(expected, key=lambda name: -float(expected[name]["val_accuracy"]))
    best = next(name for name, figures in expected.items() if figures["verdict"] == "best")
    assert f"Of 3 architectures on idx:tiny, {best} has the highest validation accuracy" in page.text


def test_the_page_is_one_file_that_refers_to_nothing_else(three, quick):
    page = read_page(write_report(three))
    references = page.attributes("src", "href", "srcset", "action", "data")
    assert references
    assert all(value.startswith(("data:image/png;base64,", "#s")) for value in references)
    assert not any(word in page.source for word in ("http:", "https:", "url(", "@import", "<link", "fetch("))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in references if value.startswith("#")} <= set(ids)


def test_pictures_have_words_and_headings_have_a_scope(three, quick):
    page = read_page(write_report(three))
    assert len(page.images) >= 10
    assert all(len(image["alt"]) > 40 for image in page.images)
    for rows in page.tables:
        assert all(cell["scope"] == "col" for cell in rows[0])
        assert all(cell["scope"] == "row" for row in rows[1:] for cell in row if cell["tag"] == "th")
        assert {len(row) for row in rows} == {len(rows[0])}


def test_the_pictures_of_the_page_are_the_files_in_plots_and_no_others_of_ours_lie_there(three):
    three.results.write_report(three.sweep, "<html>an older page</html>", {"of_an_older_page.png": b"old"})
    (three.folder / "plots" / "mine.png").write_bytes(b"mine")
    page = read_page(write_report(three))
    inside = [base64.b64decode(image["src"].partition(",")[2]) for image in page.images]
    assert sorted([*inside, b"mine"]) == sorted(plots(three).values())
    for image, content in zip(page.images, inside, strict=True):
        assert content.startswith(b"\x89PNG")
        assert struct.unpack(">II", content[16:24]) == (int(image["width"]), int(image["height"]))
    assert {"params.png", "flops.png", "latency_seconds.png", "train_seconds.png", "curves_loss.png"} <= {*plots(three)}


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_whatever_the_users_settings(three, tmp_path):
    first = write_report(three).read_bytes(), plots(three)
    (three.folder / "report.html").unlink()
    three.records = dict(reversed(three.records.items()))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "text.usetex": True}):
        again = write_report(three).read_bytes(), plots(three)
    assert again == first
    (tmp_path / "elsewhere").mkdir()
    other = invent(Made(tmp_path / "elsewhere", sweep_text()))
    other.latencies = three.latencies
    assert (write_report(other).read_bytes(), plots(other)) == first


def test_nothing_is_drawn_where_nothing_has_changed(three, monkeypatch):
    path = write_report(three)
    before = path.stat()

    def refuse(figure):
        raise AssertionError("drawn again")

    monkeypatch.setattr("fmnist_mlp.report.plots_sweep.to_png", refuse)
    assert write_report(three) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


DAMAGES = {
    "a picture is gone": lambda folder: (folder / "plots" / "params.png").unlink(),
    "the page is cut off": lambda folder: os.truncate(folder / "report.html", 10_000),
    "the page is no text": lambda folder: (folder / "report.html").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_report_is_made_again(three, quick, damage):
    whole = write_report(three).read_bytes(), plots(three)
    assert len(whole[0]) > 10_000
    damage(three.folder)
    assert (write_report(three).read_bytes(), plots(three)) == whole


def test_another_record_makes_another_page(three, quick):
    before = write_report(three).read_bytes()
    trial = three.plan[0]
    keep(three, three.records[trial.fingerprint], environment={"device": "gpu: <b>mine</b>", "tensorflow": "9.9"})
    page = read_page(write_report(three))
    assert page.source.encode() != before
    assert "gpu: <b>mine</b> (1 trial)" in page.text
    assert "b" not in page.tags
    assert "not all trials ran alike" in page.text.lower()
    before = three.records[trial.fingerprint].environment
    # Of this no row of the table says anything.
    keep(three, three.records[trial.fingerprint], environment=before | {"host": "elsewhere"})
    assert "elsewhere (1 trial)" in read_page(write_report(three)).text


def test_what_differs_between_architectures_is_listed_and_the_rest_said_once(tmp_path, quick):
    text = """
training: {epochs: 3, optimizer: adam}
seeds: 1
architectures:
  - {name: plain, layers: [8]}
  - {name: slow, layers: [8, BatchNormalization], learning_rate: 0.0005, early_stopping: {patience: 2}}
"""
    page = read_page(write_report(invent(Made(tmp_path, text))))
    rows = [[cell["text"] for cell in row] for row in page.tables[-1]]
    assert rows[0] == ["architecture", "layers", "learning rate", "early stopping"]
    assert sorted(rows[1:]) == [["plain", "8", "0.001", "none"], ["slow", "8-bn", "0.0005", "patience 2"]]
    assert "epochs3" in page.text
    assert "optimizeradam" in page.text


def test_a_stand_in_is_named_in_the_title_with_its_reason(three, quick):
    source = DataSource("synthetic", fallback_reason="no <network> and no folder")
    page = read_page(write_report(three, source, dataset="synthetic"))
    assert "not Fashion-MNIST" in page.title
    assert "No <network> and no folder" in page.text
    assert "not Fashion-MNIST" not in read_page(write_report(three)).title


# ---- ugly sweeps


def whole_page(made, source=None, **changes):
    """The page of a report whose pictures are all there; it says nothing that only a program would."""
    page = read_page(write_report(made, source, **changes))
    assert len(page.images) == len(plots(made))
    words = {word.strip(".,;:()") for word in page.text.split()}
    assert words & {"None", "nan", "NaN", "inf", "Infinity", "{}", "[]"} == set()
    return page


def test_a_sweep_of_which_nothing_is_trained_has_a_page(tmp_path):
    page = whole_page(Made(tmp_path, sweep_text()))
    assert "Nothing is trained yet. 3 architectures, 0 of 9 trials done." in page.text
    assert page.images == []
    assert "3 architectures not trained yet: net-1, net-2, net-3." in page.text


def test_a_sweep_of_which_all_failed_lists_every_error_as_text(tmp_path):
    made = Made(tmp_path, sweep_text(architectures=2, seeds=30))
    for trial in made.plan:
        error = {"type": "<i>E</i>", "message": "<script>alert(1)</script>\n" + "x" * 1000, "traceback": ""}
        keep(made, made.record(trial, failed=True), error=error)
    page = whole_page(made)
    assert page.tags.count("script") == 1
    assert "i" not in page.tags
    rows = page.table("trial")
    assert len(rows) == 1 + MOST_FAILURES
    assert rows[1][0]["text"] == "net-1 seed 0"
    assert rows[1][2]["text"].startswith("<script>alert(1)</script> xxx")
    assert "60 trials failed, the first 50" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "more"), [(1, ""), (2, "folds: 2"), (12, "select_by: val_loss")])
def test_one_architecture_of_one_seed_has_all_pictures(tmp_path, epochs, more):
    made = invent(Made(tmp_path, sweep_text(1, 1, more)), epochs=epochs)
    page = whole_page(made)
    assert {"curves.png", "curves_loss.png", "f1.png", "reliability.png", "trials.png", "params.png"} <= {*plots(made)}
    assert "net-1" in page.text


# ---- the sentence at the head, and the picture below it


HEADS = {
    "too few seeds": (
        {"a": [0.9], "b": [0.8]},
        "Of 2 architectures on idx:tiny, a has the highest validation accuracy: its test accuracy is 0.9000 (after "
        "selection), the mean of 1 training, with 94 parameters. The first by val_accuracy is a; the other is "
        "judged by too few seeds.",
    ),
    "the larger wins by chance": (
        {"a": [0.80, 0.84, 0.81], "b": [0.83, 0.81, 0.82], "c": [0.5, 0.51, 0.52], "d": [0.1, 0.12, 0.11]},
        "Of 4 architectures on idx:tiny, b has the highest validation accuracy: its test accuracy is 0.8200 ± 0.0100 "
        "(after selection), the mean of 3 trainings, with 188 parameters. The first by val_accuracy is b; of 3 others, "
        "2 are shown to be worse, 1 is undecided.",
    ),
    "no smaller one is as good": (
        {"a": [0.83, 0.81, 0.82], "b": [0.80, 0.84, 0.81], "c": [0.81, 0.80, 0.84]},
        "Of 3 architectures on idx:tiny, a has the highest validation accuracy: its test accuracy is 0.8200 ± 0.0100 "
        "(after selection), the mean of 3 trainings, with 94 parameters. The first by val_accuracy is a; both others "
        "are undecided.",
    ),
}


def with_figures(folder, figures):
    """Stacks whose trials have these accuracies, the first the smallest."""
    listed = [f"  - {{name: {name}, layers: [{k}]}}" for k, name in enumerate(figures, start=1)]
    seeds = len(next(iter(figures.values())))
    made = Made(folder, "\n".join([f"seeds: {seeds}", "architectures:", *listed, ""]))
    for trial in made.plan:
        figure = figures[trial.architecture.name][trial.seed]
        keep(made, made.record(trial, val_accuracy=figure, test_accuracy=figure))
    return made


@pytest.mark.parametrize("what", HEADS)
def test_the_page_begins_with_the_sentence_to_pass_on(what, tmp_path, quick):
    figures, sentence = HEADS[what]
    made = with_figures(tmp_path, figures)
    sizes = [f"{made.sizes[name].params} parameters" for name in "ab"]
    expected = sentence.replace("94 parameters", sizes[0]).replace("188 parameters", sizes[1])
    assert expected in " ".join(read_page(write_report(made)).text.split())


def test_the_first_picture_has_every_trial_as_a_dot_above_its_parameters(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("fmnist_mlp.report.plots_sweep.to_png", lambda figure: figures.append(figure) or PIXEL)
    accuracies = {"a": [0.80, 0.84, 0.81], "b": [0.83, 0.81, 0.82], "c": [0.79, 0.81, 0.0]}
    made = with_figures(tmp_path, accuracies)
    page = read_page(write_report(made))
    assert page.images[0]["alt"].startswith("Scatter plot of test accuracy against parameters of 3 architectures.")
    (axes,) = figures[0].axes
    low, high = axes.get_ylim()
    marks = [line for line in axes.lines if line.get_marker() in "o^v" and line.get_alpha() is not None]
    dots = sorted(point for line in marks for point in zip(*line.get_data(), strict=True))
    expected = [(made.sizes[n].params, 100 * v) for n, values in accuracies.items() for v in values if v]
    np.testing.assert_allclose(dots, sorted(expected))
    beyond = [line for line in axes.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert all(line.get_ydata().tolist() == [low] for line in beyond), "at the end of the axis"
    assert any(line.get_xdata()[0] == made.sizes["c"].params for line in beyond)
    assert high <= 103


def test_images_of_one_figure_each_tie_without_a_division_by_nothing(tmp_path):
    made = Made(tmp_path, sweep_text())
    for trial in made.plan:
        keep(made, made.record(trial))  # every figure 0.75, every curve constant
    page = whole_page(made)
    assert "both others are undecided" in page.text


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 256, *(pytest.param(number, marks=pytest.mark.slow) for number in (3, 21))])
def test_any_number_of_classes_can_be_drawn(tmp_path, classes):
    made = invent(Made(tmp_path, sweep_text(2, 2)), classes=classes, images=600)
    page = whole_page(made)
    assert {"confusion_matrix.png", "f1.png"} <= {*plots(made)}
    assert len(page.table("class")) <= 1 + MOST_CONFUSIONS


def test_names_of_classes_are_text_on_the_page_and_in_pictures(tmp_path):
    names = ["<b>bold</b>", "$x_{$", "\u670d\n\u0000", "a" * 300]
    made = invent(Made(tmp_path, sweep_text(2, 2)), names=names)
    page = whole_page(made)
    assert "b" not in page.tags
    assert any("<b>bold</b>" in cell["text"] for row in page.table("class") for cell in row)


def test_the_name_of_a_folder_is_text(three):
    page = whole_page(three, dataset='idx:<img src=x onerror="alert(1)">$\\frac{$')
    assert page.title.startswith("small on idx:<img src=x")
    assert all("onerror" not in image for image in page.images)


def test_baselines_without_curves_and_parameters_have_their_place(three, quick):
    for trial in three.plan[:3]:
        record = three.records[trial.fingerprint]
        three.records[trial.fingerprint] = record.model_copy(update={"history": {}, "params": None})
    state = three.state
    rows = [
        row.model_copy(
            update=dict.fromkeys(("params", "flops", "pareto", "epochs")) if row.architecture == "net-1" else {}
        )
        for row in table.make_table(three.state, three.results, is_final=False)
    ]
    page = read_page(report(state, rows, three.results))
    row = next(row for row in page.table("architecture") if row[0]["text"] == "net-1")
    assert row[1]["text"] == ""
    panels = next(image["alt"] for image in page.images if "training images (dashed)" in image["alt"])
    assert "net-2" in panels
    assert "net-1" not in panels


def test_a_best_that_gives_no_probabilities_has_neither_loss_nor_calibration(three, quick):
    for trial in three.plan:
        metrics_of = three.records[trial.fingerprint].metrics | {"val_accuracy": 0.5}
        if trial.architecture.name == "net-2":
            metrics_of |= {"val_accuracy": 0.9, "test_loss": None, "val_loss": None, "test_ece": None, "val_ece": None}
        three.records[trial.fingerprint] = three.records[trial.fingerprint].model_copy(update={"metrics": metrics_of})
    page = whole_page(three)
    assert page.table("architecture")[1][0]["text"] == "net-2"
    assert "No reliability diagram: net-2 seed 0 gives no probabilities." in page.text
    assert "missing or damaged" not in page.text
    assert {"ece.png", "trials.png"} <= {*plots(three)}


FOUR = np.zeros(4)
OTHER_PREDICTIONS = {
    "without probabilities": {"label": FOUR, "predicted": FOUR},
    "of another length": {"label": FOUR, "predicted": FOUR, "probabilities": np.zeros((5, 4))},
    "of no images": {"label": FOUR[:0], "predicted": FOUR[:0], "probabilities": np.zeros((0, 4))},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["missing", "cut off", *OTHER_PREDICTIONS])
def test_without_predictions_the_page_says_so_until_it_is_made_again(three, quick, what):
    page = read_page(write_report(three))
    best = page.table("architecture")[1][0]["text"]
    trial = ranking.rank(three.state).best_trials[best]
    path = three.results.record_folder(trial.fingerprint) / "predictions.npz"
    content = path.read_bytes()
    if what in OTHER_PREDICTIONS:
        save_predictions(three, trial, **OTHER_PREDICTIONS[what])
    elif what == "cut off":
        path.write_bytes(content[:100])
    else:
        path.unlink()
    (three.folder / "report.html").unlink()
    damaged = whole_page(three)
    assert f"The predictions of {trial.architecture.name} seed {trial.seed} are missing or damaged" in damaged.text
    assert "reliability.png" not in plots(three)
    path.write_bytes(content)
    seal(path.parent)
    assert write_report(three).read_text() == damaged.source, "a run looks at records, not at every file"
    assert write_report(three, again=True).read_text() == page.source


def test_curves_without_finite_numbers_and_of_different_lengths_are_drawn(three):
    lengths = iter(range(1, 10))
    for trial in three.plan:
        record = three.records[trial.fingerprint]
        n = next(lengths)
        history = {name: [0.5] * n for name in record.history} | {
            "val_loss": [None] * n,
            "loss": [1e300, *[0.1] * (n - 1)],
        }
        keep(three, record, history=history)
    whole_page(three)
    assert {"curves.png", "curves_loss.png", "curves_accuracy.png"} <= {*plots(three)}


def test_over_budget_untrained_and_unfinished_architectures_are_named(tmp_path, quick):
    made = invent(Made(tmp_path, sweep_text(4, 2)))
    gone = [trial for trial in made.plan if trial.architecture.name == "net-1"]
    unfinished = next(trial for trial in made.plan if trial.architecture.name == "net-2")
    failing = next(trial for trial in made.plan if trial.architecture.name == "net-3")
    for trial in [*gone, unfinished]:
        del made.records[trial.fingerprint]
    keep(made, made.record(failing, failed=True), error={"type": "E", "message": " "})
    made.plan = [trial for trial in made.plan if trial not in gone]
    page = whole_page(made, over_budget=frozenset(["net-1"]))
    assert "1 architecture larger than max_params allows and not trained: net-1." in page.text
    assert "Not all trials are there yet: net-2." in page.text
    assert "1 trial failed, counted in no mean: net-3." in page.text


@pytest.mark.slow
@pytest.mark.parametrize("architectures", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_of_many_architectures_pictures_show_the_best_and_the_table_all(tmp_path, architectures):
    made = invent(Made(tmp_path, sweep_text(architectures, 2)), epochs=2, images=10)
    page = whole_page(made)
    rows = page.table("architecture")[1:]
    assert len(rows) == architectures
    assert (made.folder / "report.html").stat().st_size < 8 * 2**20
    assert ('class="wide long"' in (made.folder / "report.html").read_text()) == (architectures > 40)
    assert f"the best 12 of {architectures} architectures by validation accuracy" in page.text
    panels = next(image["alt"] for image in page.images if "training images (dashed)" in image["alt"])
    shown = panels.rpartition(": ")[2].split("; ")
    assert [part.split()[0] for part in shown] == [row[0]["text"] for row in rows[:12]]


# ---- test images


@pytest.fixture
def with_images(tmp_path):
    """A sweep on images that lie in a folder: the sweep and its source."""
    x = np.random.default_rng(1).integers(0, 256, (60, 8, 6))
    source = write_idx(tmp_path / "images", x[:20], np.arange(20) % 4, x[20:], np.arange(40) % 4)
    made = Made(tmp_path, sweep_text(2, 2))
    made.plan = list_trials(made.sweep, data_identity=load_data(source).identity)
    return invent(made), source


def test_the_best_trial_is_shown_with_images_that_it_gets_right_and_wrong(with_images):
    made, source = with_images
    page = whole_page(made, source)
    assert "samples.png" in plots(made)
    trial = ranking.rank(made.state).best_trials[page.table("architecture")[1][0]["text"]]
    with np.load(made.results.record_folder(trial.fingerprint) / "predictions.npz") as arrays:
        mistakes = int((arrays["label"] != arrays["predicted"]).sum())
    assert f"of its {mistakes} mistake" in page.text


def test_of_images_that_are_known_only_those_for_testing_are_read(with_images, quick, monkeypatch):
    made, source = with_images
    np.testing.assert_array_equal(load_test_images(source), load_data(source).x_test)
    memory = {}
    describe(source, memory)
    made.results.save_data_memory(memory)
    for module in ("inference.finished", "data.source"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.load_data", None)
    whole_page(made, source)
    assert "samples.png" in plots(made)


def test_images_that_cannot_be_shown_are_left_out_with_the_reason(with_images, quick, monkeypatch):
    made, source = with_images
    assert "No test images are shown: the report was made without them." in whole_page(made).text

    images = source.folder / "t10k-images-idx3-ubyte"
    content = images.read_bytes()
    images.write_bytes(content[:50])
    assert "No test images are shown: The images cannot be read" in whole_page(made, source).text
    images.write_bytes(content)
    write_report(made, source, again=True)
    assert "samples.png" in plots(made)

    images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (made.folder / "report.html").unlink()
    assert "not those that the trial was tested on" in whole_page(made, source).text

    monkeypatch.setattr("fmnist_mlp.report.content.MOST_BYTES_OF_IMAGES", 100)
    (made.folder / "report.html").unlink()
    assert "would take long" in whole_page(made, source).text


# ---- files and imports


def test_a_folder_that_cannot_be_written_is_named(three, quick):
    rows = table.write_tables(three.state, three.results)
    (three.folder / "plots").write_text("in the way")
    with pytest.raises(SweepError, match="cannot write"):
        report(three.state, rows, three.results)
