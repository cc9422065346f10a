"""The page of the report: its numbers against results.csv, its sentence, pictures, images and files."""

import base64
import csv
import os
import struct

import matplotlib
import numpy as np
import pytest
from idx_files import write_idx
from pages import read_page
from reporting import PIXEL, invent, keep, plots, quick, sweep_text, three, whole_page, write_report
from sweeping import Made

from fmnist_mlp.data.source import DataSource, describe, load_data, load_test_images
from fmnist_mlp.errors import SweepError
from fmnist_mlp.report.report import report
from fmnist_mlp.results import ranking, table
from fmnist_mlp.sweepfile.trials import list_trials

__all__ = ["quick", "three"]  # fixtures, used by name


# ---- the page


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_page_is_one_file_that_refers_to_nothing_else(three, quick):
    page = read_page(write_report(three))
    references = page.attributes("src", "href", "srcset", "action", "data")
    assert references
    assert all(value.startswith(("data:image/png;base64,", "#s")) for value in references)
    assert not any(word in page.source for word in ("http:", "https:", "url(", "@import", "<link", "fetch("))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in references if value.startswith("#")} <= set(ids)


@pytest.mark.slow
def test_pictures_have_words_and_headings_have_a_scope(three, quick):
    page = read_page(write_report(three))
    assert len(page.images) >= 10
    assert all(len(image["alt"]) > 40 for image in page.images)
    for rows in page.tables:
        assert all(cell["scope"] == "col" for cell in rows[0])
        assert all(cell["scope"] == "row" for row in rows[1:] for cell in row if cell["tag"] == "th")
        assert {len(row) for row in rows} == {len(rows[0])}


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_stand_in_is_named_in_the_title_with_its_reason(three, quick):
    source = DataSource("synthetic", fallback_reason="no <network> and no folder")
    page = read_page(write_report(three, source, dataset="synthetic"))
    assert "not Fashion-MNIST" in page.title
    assert "No <network> and no folder" in page.text
    assert "not Fashion-MNIST" not in read_page(write_report(three)).title


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


@pytest.mark.slow
@pytest.mark.parametrize("what", HEADS)
def test_the_page_begins_with_the_sentence_to_pass_on(what, tmp_path, quick):
    figures, sentence = HEADS[what]
    made = with_figures(tmp_path, figures)
    sizes = [f"{made.sizes[name].params} parameters" for name in "ab"]
    expected = sentence.replace("94 parameters", sizes[0]).replace("188 parameters", sizes[1])
    assert expected in " ".join(read_page(write_report(made)).text.split())


@pytest.mark.slow
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


# ---- test images


@pytest.fixture
def with_images(tmp_path):
    """A sweep on images that lie in a folder: the sweep and its source."""
    x = np.random.default_rng(1).integers(0, 256, (60, 8, 6))
    source = write_idx(tmp_path / "images", x[:20], np.arange(20) % 4, x[20:], np.arange(40) % 4)
    made = Made(tmp_path, sweep_text(2, 2))
    made.plan = list_trials(made.sweep, data_identity=load_data(source).identity)
    return invent(made), source


@pytest.mark.slow
def test_the_best_trial_is_shown_with_images_that_it_gets_right_and_wrong(with_images):
    made, source = with_images
    page = whole_page(made, source)
    assert "samples.png" in plots(made)
    trial = ranking.rank(made.state).best_trials[page.table("architecture")[1][0]["text"]]
    with np.load(made.results.record_folder(trial.fingerprint) / "predictions.npz") as arrays:
        mistakes = int((arrays["label"] != arrays["predicted"]).sum())
    assert f"of its {mistakes} mistake" in page.text


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_named(three, quick):
    rows = table.write_tables(three.state, three.results)
    (three.folder / "plots").write_text("in the way")
    with pytest.raises(SweepError, match="cannot write"):
        report(three.state, rows, three.results)
