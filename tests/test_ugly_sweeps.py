"""The report of ugly sweeps: nothing trained, all failed, hostile names, damaged predictions, far too many."""

import numpy as np
import pytest
from pages import read_page
from reporting import invent, keep, plots, quick, save_predictions, sweep_text, three, whole_page, write_report
from sweeping import Made

from fmnist_mlp.files import seal
from fmnist_mlp.report.report import MOST_CONFUSIONS, MOST_FAILURES, report
from fmnist_mlp.results import ranking, table

__all__ = ["quick", "three"]  # fixtures, used by name


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_names_of_classes_are_text_on_the_page_and_in_pictures(tmp_path):
    names = ["<b>bold</b>", "$x_{$", "\u670d\n\u0000", "a" * 300]
    made = invent(Made(tmp_path, sweep_text(2, 2)), names=names)
    page = whole_page(made)
    assert "b" not in page.tags
    assert any("<b>bold</b>" in cell["text"] for row in page.table("class") for cell in row)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
