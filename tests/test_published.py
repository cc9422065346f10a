"""The mistakes of five published systems, A to E of their list, each with a test that it cannot happen here.

What others got wrong, our users would get wrong too. Each test names the mistake in its docstring. Two sweeps on tiny
images, one module-wide fixture each, are looked at by most of them; what came out is judged with plain Keras, numpy and
scikit-learn, on the tables and files that a user has.
"""

import ast
import math
import pickle
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas
import pytest
import sweeping
from engine_calls import wait_until
from idx_files import write_idx
from one_trial import worker  # noqa: F401 - worker is a fixture
from PIL import Image, ImageDraw
from sklearn import metrics as sklearn_metrics

from fmnist_mlp.cli.console import DONE, SOME_FAILED
from fmnist_mlp.cli.sweep import main
from fmnist_mlp.data.split import epoch_order, stratified_split
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.inference import pictures
from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.inference.predictor import Predictor
from fmnist_mlp.results import table
from fmnist_mlp.results.record import DamagedRecord, Latency
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.steps import input_shape_of

ROOT = Path(__file__).resolve().parent.parent


def run_sweep(project, *options, jobs="0", code=0):
    """`sweep.py tiny.yaml` of the project in this process; everything it writes stays in its folder."""
    where = ["--results-dir", str(project.results), "--logs-dir", str(project.logs)]
    given = [str(project.folder / "tiny.yaml"), "--jobs", jobs, "--device", "cpu", "--quiet", *where, *options]
    assert main(given) == code


def draw_images(n, seed):
    """8x8 images of four classes that look different mirrored; more and more labels are wrong, half of the last ones.

    So no stack learns all of them, and a short last batch is not like the others.
    """
    templates = np.random.default_rng(99).integers(0, 2, (4, 8, 8)) * 70
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    x = rng.integers(0, 180, (n, 8, 8)) + templates[y]
    return x.astype(np.uint8), np.where(rng.random(n) < np.linspace(0, 0.5, n), rng.integers(0, 4, n), y).astype(
        np.uint8
    )


def write_images(folder, *arrays):
    """Training images and labels, test images and labels, as four IDX files; gives them back."""
    write_idx(folder, *arrays)
    return arrays


def predictions(project, architecture, seed=0):
    """The predictions of a trial that are kept: name to array."""
    with np.load(project.record_folder(architecture, seed) / "predictions.npz") as arrays:
        return dict(arrays)


def load(project, architecture, seed=0):
    """The model of a trial, by plain Keras."""
    import keras

    return keras.models.load_model(project.record_folder(architecture, seed) / "model.keras")


def probabilities(model, x):
    return model.predict_on_batch(x)


@pytest.fixture(scope="module")
def _quick(worker):  # noqa: F811
    """What these tests do not look at takes no time: the report's pictures, the measuring of latencies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FASHION_MNIST_DIR", raising=False)
        sweeping.leave_out_pictures(patch)
        patch.setattr("fmnist_mlp.training.latency.measure_latency", no_latency)
        yield


def no_latency(context, task):
    return Latency()


# No batch size divides what there is: 1,303 to train on, 1,303 to validate, 1,203 to test, batches of 128 and 1,000.
TRAIN, TEST = 2606, 1203
SWEPT = """
dataset: {idx: images}
seeds: 1
training: {epochs: 1, batch_size: 128, validation_split: 0.5}
architectures:
  - name: still          # too slow to move: all figures of its epoch are of the same weights
    layers: [8]
    optimizer: sgd
    learning_rate: 1e-12
  - name: still-cnn
    layers: [{Conv2D: {filters: 3, kernel_size: 3}}]
    optimizer: sgd
    learning_rate: 1e-12
  - name: stopped
    layers: [32]
    learning_rate: 0.05
    epochs: 50
    early_stopping: {patience: 4, monitor: val_accuracy}
  - name: flipped        # 64 * 32 + 32, 32 * 4 + 4
    layers: [32]
    epochs: 6
    augment: {horizontal_flip: true, vertical_flip: true}
    max_params: 2212
  - name: over-budget
    layers: [32]
    max_params: 2211
"""
TRAINED = ("still", "still-cnn", "stopped", "flipped")


@pytest.fixture(scope="module")
def swept(_quick, tmp_path_factory):
    """A project whose sweep is done; `images` are its training images and labels, its test images and labels."""
    project = sweeping.Project(tmp_path_factory.mktemp("swept"), SWEPT)
    project.images = write_images(project.folder / "images", *draw_images(TRAIN, 0), *draw_images(TEST, 1))
    run_sweep(project)
    project.split = stratified_split(project.images[1], 0.5, seed=0)
    return project


# ---- A: parameters typed by hand; a ranking of single trainings ----------------------------------------------------


def dense(*widths):
    """Parameters of Dense layers between these numbers of values: a kernel and a bias each."""
    return sum(inputs * units + units for inputs, units in pairwise(widths))


def convolutions(side, *filters):
    """Parameters of convolutions of side x side on one gray channel."""
    return sum(side * side * inputs * outputs + outputs for inputs, outputs in pairwise((1, *filters)))


CNN = convolutions(3, 16, 32, 64, 128) + dense(2 * 2 * 128, 256, 128, 10)  # 28, 14, 7, 4 and 2 pixels wide
UNDER_100K = convolutions(5, 12, 30) + dense(4 * 4 * 30, 150, 85, 10)  # 28 - 4, 12, 12 - 4, 4 pixels wide
# Batch normalisation has four numbers a channel, of which two are moving averages.
PUBLISHED = [
    ("architectures.yaml", "64-128-64-32", dense(784, 64, 128, 64, 32, 10), 69_226, 0),
    ("architectures.yaml", "64-128-32", dense(784, 64, 128, 32, 10), 63_018, 0),
    ("architectures.yaml", "64-32", dense(784, 64, 32, 10), 52_650, 0),
    ("architectures.yaml", "128-64", dense(784, 128, 64, 10), 109_386, 0),
    ("sweeps/fully_connected.yaml", "published-392-196-98-49", dense(784, 392, 196, 98, 49, 10), 409_405, 0),
    ("sweeps/pca_dense.yaml", "64", dense(187, 64, 10), 12_682, 0),
    ("sweeps/cnn.yaml", "published-16-32-64-128", CNN + 4 * (16 + 32 + 64), 263_114, 2 * (16 + 32 + 64)),
    ("sweeps/cnn_under_100k.yaml", "published-12-30", UNDER_100K + 4 * (12 + 30), 95_355, 2 * (12 + 30)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name", "by_hand", "params", "averages"), PUBLISHED)
def test_a_parameter_counts_are_never_typed_by_hand(file, name, by_hand, params, averages):
    """A states 260k for 69,226. The plan, Keras's own count of the built model and a formula by hand agree."""
    from fmnist_mlp.training import models, preprocess

    sweep = load_sweep(ROOT / file)
    size = check_shapes(sweep, (28, 28), 10)[_name_of(sweep, name)]
    architecture = next(item for item in sweep.architectures if item.name == _name_of(sweep, name))
    steps = architecture.training.preprocess
    assert input_shape_of(steps, (28, 28)) == ((187,) if file.endswith("pca_dense.yaml") else (28, 28))
    unfitted = preprocess.unfitted(steps, (28, 28)) if steps else None
    model = models.build_model(architecture.layers, (28, 28), 10, 0, unfitted)
    assert by_hand == params == size.params == model.count_params()
    assert size.trainable_params == params - averages == sum(math.prod(w.shape) for w in model.trainable_weights)


def _name_of(sweep, name):
    """Of the grid the first stack of so many units: its name has what it is trained with behind them."""
    return next(item.name for item in sweep.architectures if item.name == name or item.name.startswith(f"{name}-"))


def test_a_parameter_counts_in_the_readme_are_those_of_the_plan():
    sweep = load_sweep(ROOT / "architectures.yaml")
    sizes = check_shapes(sweep, (28, 28), 10)
    rows = re.findall(r"^\| ([\d-]+) \| ([\d,]+) \|", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count in rows} == {n: size.params for n, size in sizes.items()}


def test_a_parameter_count_cannot_be_written_into_a_sweep_file(tmp_path):
    path = tmp_path / "typed.yaml"
    path.write_text("architectures:\n  - name: first\n    layers: [64, 128, 64, 32]\n    params: 260000\n")
    with pytest.raises(SweepError, match=r"typed.yaml:4: .*'params'"):
        load_sweep(path)


@pytest.mark.parametrize("name", TRAINED)
def test_a_parameters_in_the_tables_are_those_of_the_exported_model(swept, name):
    """The softmax at its end and the scaling at its beginning have none."""
    count = load(swept, name).count_params()
    assert int(swept.rows()[name]["params"]) == int(swept.trials()[name, 0]["params"]) == count


FOUR = """
{more}
architectures:
  - [64, 128, 64, 32]
  - [64, 128, 32]
  - [64, 32]
  - [128, 64]
"""
FIGURES = {"64-128-64-32": (0.4220, 0.8874), "64-128-32": (0.3832, 0.8854), "64-32": (0.3702, 0.8819)}
FIGURES["128-64"] = (0.3546, 0.8861)


def invented(folder, figures, more):
    """The rows and the Markdown of the four published stacks with these (losses, accuracies) of validation, by seed."""
    folder.mkdir(exist_ok=True)
    made = sweeping.Made(folder, FOUR.format(more=more))
    for name, (losses, accuracies) in figures.items():
        trials = [trial for trial in made.plan if trial.architecture.name == name]
        for trial, loss, accuracy in zip(trials, losses, accuracies, strict=True):
            both = {"val_loss": loss, "test_loss": loss, "val_accuracy": accuracy, "test_accuracy": accuracy}
            record = made.record(trial, **both)
            made.records[record.fingerprint] = record
    rows = table.make_table(made.state, made.results)
    return {row["architecture"]: row for row in rows}, table.markdown(made.state, rows)


@pytest.mark.parametrize(("select_by", "best"), [("val_accuracy", "64-128-64-32"), ("val_loss", "128-64")])
def test_a_one_training_each_ranks_nothing(tmp_path, select_by, best):
    """A ranks four stacks by one training each, and its loss and its accuracy rank them in opposite order."""
    single = {name: ([loss], [accuracy]) for name, (loss, accuracy) in FIGURES.items()}
    rows, markdown = invented(tmp_path, single, f"seeds: 1\nselect_by: {select_by}")
    assert {name: row["verdict"] for name, row in rows.items()} == dict.fromkeys(FIGURES, "too few seeds") | {
        best: "best"
    }
    assert {row["test_accuracy_ci95_low"] for row in rows.values()} == {None}
    assert {row["behind_best_ci95_low"] for row in rows.values()} == {None}
    assert f"Best by {select_by}, never by test images" in markdown
    assert "One seed cannot tell architectures apart" in markdown
    assert "±" not in markdown.split("\n\n")[1]


def test_a_differences_within_the_noise_of_seeds_are_undecided(tmp_path):
    """A's accuracies lie within 0.0055, a seed moves such a net by 0.0025: equal stacks can differ so too."""
    noise = 0.0025 * np.random.default_rng(3).standard_normal((4, 5))
    equal = {name: ([0.38] * 5, (0.885 + noise[i]).tolist()) for i, name in enumerate(FIGURES)}
    assert np.ptp(noise[:, 0]) > 0.0055, "single trainings of these differ as much as A's"
    rows, _ = invented(tmp_path / "equal", equal, "seeds: 5")
    assert sorted(row["verdict"] for row in rows.values()) == ["best", *["undecided"] * 3]
    one_apart = equal | {"64-32": ([0.38] * 5, (0.865 + noise[2]).tolist())}
    rows, _ = invented(tmp_path / "one apart", one_apart, "seeds: 5")
    assert [name for name, row in rows.items() if row["verdict"] == "worse"] == ["64-32"]


def test_a_the_cross_validation_that_is_asked_for_is_in_the_table(tmp_path):
    """A promises a cross-validation score and gives none."""
    folds = {
        name: ([loss] * 3, [accuracy - 0.01, accuracy, accuracy + 0.01]) for name, (loss, accuracy) in FIGURES.items()
    }
    rows, markdown = invented(tmp_path, folds, "seeds: 1\nfolds: 3")
    assert {name: row["cv_accuracy"] for name, row in rows.items()} == pytest.approx(
        {name: accuracy for name, (_, accuracy) in FIGURES.items()}
    )
    assert "cv accuracy" in markdown


# ---- B: a mean of batch means; a layer lost to a duplicate key; the wrong weights ----------------------------------


def mean_of_batch_means(values, batch_size):
    starts = range(0, len(values), batch_size)
    assert len(values) % batch_size, "the mistake would not show"
    return float(np.mean([np.mean(values[start : start + batch_size]) for start in starts]))


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(("part", "images"), [("test", TEST), ("val", TRAIN // 2)])
def test_b_and_d_accuracy_is_the_share_of_the_images_not_a_mean_of_batch_means(swept, name, part, images):
    """B averages the accuracies of its batches, the short last one among them; D divides by 10,048, for its last batch
    counts as a whole one. Here are no more predictions than images, and the tables count them to the last bit."""
    stored, prefix = predictions(swept, name), "" if part == "test" else "val_"
    labels, predicted = stored[f"{prefix}label"], stored[f"{prefix}predicted"]
    assert labels.shape == predicted.shape == (images,)
    assert stored[f"{prefix}probabilities"].shape == (images, 4)
    recorded = float(swept.trials()[name, 0][f"{part}_accuracy"])
    assert recorded == sklearn_metrics.accuracy_score(labels, predicted) == int((labels == predicted).sum()) / images
    assert recorded != pytest.approx(mean_of_batch_means(labels == predicted, 1000), abs=1e-6)
    assert np.sum(swept.record(name)["classes"][part]["confusion_matrix"]) == images
    if part == "test":
        np.testing.assert_array_equal(labels, swept.images[3])


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "stopped"])  # some of its are 0 in float32
def test_b_losses_are_means_over_images_too(swept, name):
    x_train, y_train, x_test, y_test = swept.images
    _, validation = swept.split
    for part, x, y in (("test", x_test, y_test), ("val", x_train[validation], y_train[validation])):
        given = probabilities(load(swept, name), x)
        losses = -np.log(given[np.arange(len(y)), y])
        recorded = float(swept.trials()[name, 0][f"{part}_loss"])
        assert recorded == pytest.approx(losses.mean(), rel=1e-5)
        assert recorded != pytest.approx(mean_of_batch_means(losses, 1000), rel=1e-4)


@pytest.mark.parametrize(("name", "loop"), [("still", "compiled"), ("still-cnn", "plain")])
def test_b_figures_of_an_epoch_are_means_over_its_images_in_both_loops(swept, name, loop):
    """1,303 images in batches of 128: ten whole ones and one of 23. The weights stand still, so they can be judged."""
    record, (train, validation) = swept.record(name), swept.split
    assert record["settings"]["loop"] == loop
    x, y = swept.images[:2]
    model = load(swept, name)
    batches = {"": (train[epoch_order(len(train), 0, 0)], 128), "val_": (validation, 1000)}
    for prefix, (order, batch_size) in batches.items():
        given = probabilities(model, x[order])
        correct, losses = given.argmax(axis=1) == y[order], -np.log(given[np.arange(len(order)), y[order]])
        (accuracy,), (loss,) = record["history"][f"{prefix}accuracy"], record["history"][f"{prefix}loss"]
        assert accuracy == pytest.approx(correct.mean(), abs=1e-6)
        assert loss == pytest.approx(losses.mean(), rel=1e-5)
        assert accuracy != pytest.approx(mean_of_batch_means(correct, batch_size), abs=1e-5)
        assert loss != pytest.approx(mean_of_batch_means(losses, batch_size), rel=1e-4)


TWICE = [
    ("layers: [392, {Dropout: 0.25,\n             Dropout: 0.3}]", 4, "'Dropout' is given in line 3 and in line 4"),
    ("layers: [392]\n    layers: [196]", 4, "'layers' is given in line 3 and in line 4"),
    (
        "layers:\n      - Dropout:\n          rate: 0.1\n          rate: 0.2",
        6,
        "'rate' is given in line 5 and in line 6",
    ),
]


@pytest.mark.parametrize(("stack", "line", "message"), TWICE, ids=["two dropouts", "two lists of layers", "two rates"])
def test_b_a_key_given_twice_is_an_error_that_names_both_lines(tmp_path, monkeypatch, stack, line, message):
    """B names its layers by keys, two dropouts by the same: the second took the place of the first in silence."""
    monkeypatch.chdir(tmp_path)
    Path("b.yaml").write_text(f"architectures:\n  - name: theirs\n    {stack}\n")
    with pytest.raises(SweepError) as raised:
        load_sweep("b.yaml")
    assert f"b.yaml:{line}: the key {message}; keep one" in str(raised.value)


def test_b_every_layer_that_is_listed_is_built(tmp_path):
    """Four equal dropouts, of which B's own network has three; and equal layers side by side."""
    from fmnist_mlp.training import models

    listed = (
        "[392, {Dropout: 0.25}, 196, {Dropout: 0.25}, 98, {Dropout: 0.25}, 98, 98, {Dropout: 0.25}, {Dropout: 0.25}]"
    )
    (tmp_path / "b.yaml").write_text(f"architectures:\n  - {listed}\n")
    (ours,) = load_sweep(tmp_path / "b.yaml").architectures
    built = models.build_model(ours.layers, (28, 28), 10, seed=0).layers
    expected = [392, 0.25, 196, 0.25, 98, 0.25, 98, 98, 0.25, 0.25, 10]
    assert [type(layer).__name__ for layer in built[:2]] == ["Rescaling", "Flatten"]
    assert [layer.rate if type(layer).__name__ == "Dropout" else layer.units for layer in built[2:]] == expected


def test_b_the_shipped_stack_is_theirs_as_it_really_was():
    sweep = load_sweep(ROOT / "sweeps" / "fully_connected.yaml")
    (theirs,) = (item for item in sweep.architectures if item.name == "published-392-196-98-49")
    assert [type(layer).__name__ for layer in theirs.layers].count("Dropout") == 3


def test_b_the_weights_that_are_scored_are_those_of_the_best_epoch(swept):
    """B tests its final weights, though an earlier epoch was better: here that epoch's are kept, scored and named."""
    record, validation = swept.record("stopped"), swept.split[1]
    history = record["history"]["val_accuracy"]
    best = int(np.argmax(history))
    assert best < len(history) - 1
    assert history[best] > history[-1]
    assert record["weights"] == swept.trials()["stopped", 0]["weights"] == f"best val_accuracy: epoch {best + 1}"
    x, y = (array[validation] for array in swept.images[:2])
    accuracy = float(np.mean(probabilities(load(swept, "stopped"), x).argmax(axis=1) == y))
    assert accuracy == float(swept.trials()["stopped", 0]["val_accuracy"])
    assert accuracy == pytest.approx(history[best], abs=1e-6)


@pytest.mark.parametrize("name", ["still", "flipped"])
def test_b_without_early_stopping_the_record_says_that_the_weights_are_the_last(swept, name):
    record = swept.record(name)
    assert record["weights"] == swept.trials()[name, 0]["weights"] == "last epoch"
    assert record["metrics"]["val_accuracy"] == pytest.approx(record["history"]["val_accuracy"][-1], abs=1e-6)


# ---- C: rounded figures, and a claim that the own table contradicts ------------------------------------------------


def test_c_figures_are_rounded_for_people_only_and_then_to_four_digits(tmp_path):
    """C says 89 where it measured 0.8850."""
    figures = {name: ([1 / 3], [0.88497]) for name in FIGURES}
    rows, markdown = invented(tmp_path, figures, "seeds: 1")
    (line,) = (line for line in table.csv_text(table.RESULTS_COLUMNS, [rows["64-32"]]).splitlines() if "64-32" in line)
    cells = dict(zip((column.name for column in table.RESULTS_COLUMNS), line.split(","), strict=True))
    assert cells["test_accuracy"] == cells["val_accuracy"] == "0.88497"
    assert cells["test_loss"] == "0.3333333333333333"
    assert "| 0.8850 |" in markdown
    assert not re.search(r"\| 0?\.?8[89]\d? \|", markdown)


def test_c_accuracies_of_the_tables_are_those_of_the_trials(swept):
    """To the last bit; rounded where people read them."""
    frame = pandas.read_csv(swept.results / "tiny/results.csv").set_index("architecture")
    for name in TRAINED:
        for column in ("test_accuracy", "val_accuracy"):
            assert frame[column][name] == float(swept.trials()[name, 0][column])
    shown = re.findall(r"^\| ([\w-]+) \| [\d,]+ \| (\d\.\d+) \|", (swept.results / "tiny/results.md").read_text(), re.M)
    assert dict(shown) == {name: f"{frame['test_accuracy'][name]:.4f}" for name in TRAINED}


@pytest.mark.parametrize("name", TRAINED)
def test_c_f1_is_that_of_the_predictions(swept, name):
    """C's text claims an F1 that its own table contradicts."""
    stored = predictions(swept, name)
    expected = sklearn_metrics.f1_score(stored["label"], stored["predicted"], average=None, zero_division=0)
    assert float(swept.rows()[name]["test_macro_f1"]) == pytest.approx(expected.mean(), rel=1e-12)
    classes = sweeping.read_csv(swept.results / "tiny/classes.csv")
    assert [float(row["f1"] or 0) for row in classes if row["architecture"] == name] == pytest.approx(expected)


# ---- D: flipped test images, a wrong divisor, an unchecked budget --------------------------------------------------


def test_d_test_and_validation_images_are_never_augmented(swept):
    """D flips its test images at random too: here the exported model, on raw images, gives the recorded figures."""
    x_train, y_train, x_test, y_test = swept.images
    validation = swept.split[1]
    model, stored, record = load(swept, "flipped"), predictions(swept, "flipped"), swept.record("flipped")
    given = probabilities(model, x_test)
    np.testing.assert_array_equal(probabilities(model, x_test), given)
    np.testing.assert_array_equal(stored["predicted"], given.argmax(axis=1))
    np.testing.assert_allclose(stored["probabilities"], given, rtol=2**-10, atol=2**-20)
    assert record["metrics"]["test_accuracy"] == np.mean(given.argmax(axis=1) == y_test)
    accuracy = np.mean(probabilities(model, x_train[validation]).argmax(axis=1) == y_train[validation])
    assert record["metrics"]["val_accuracy"] == accuracy
    assert record["history"]["val_accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)
    for turned in (x_test[:, :, ::-1], x_test[:, ::-1]):
        others = probabilities(model, np.ascontiguousarray(turned)).argmax(axis=1)
        assert np.mean(others != stored["predicted"]) > 0.05, "flips would not show"


def test_d_a_stack_of_one_parameter_too_many_is_not_trained(swept):
    """Nothing checks D's budget. Here the same stack is trained on a budget of 2,212 and not on one of 2,211."""
    rows = swept.rows()
    assert rows["flipped"]["params"] == rows["over-budget"]["params"] == "2212"
    assert (rows["flipped"]["trials"], rows["flipped"]["failed"]) == ("1", "0")
    assert (rows["over-budget"]["trials"], rows["over-budget"]["failed"]) == ("0", "0")
    assert rows["over-budget"]["verdict"] == "over budget"
    assert rows["flipped"]["verdict"] != "over budget"
    assert rows["over-budget"]["test_accuracy"] == rows["over-budget"]["val_accuracy"] == ""
    assert {name for name, _ in swept.trials()} == set(TRAINED)
    assert {path.stem for path in (swept.results / "tiny/models").iterdir()} == set(TRAINED)
    assert {path.name for path in (swept.logs / "tiny").iterdir()} == {*TRAINED, "_sweep", "_journal", "_order"}


# ---- C and E: what is fitted, and what is chosen, on images that are none of its business --------------------------

FITTED = """
dataset: {idx: images}
seeds: 2
training: {epochs: 2, preprocess: [standardize, {pca: 9}]}
architectures:
  - name: wide
    layers: [16]
  - name: narrow
    layers: [2]
"""


@pytest.fixture(scope="module")
def make_fitted(_quick, tmp_path_factory):
    """`make_fitted(arrays, *options)`: the sweep FITTED on these images, in a project of its own."""

    def make(arrays, *options):
        project = sweeping.Project(tmp_path_factory.mktemp("fitted"), FITTED)
        project.images = write_images(project.folder / "images", *arrays)
        run_sweep(project, *options)
        return project

    return make


@pytest.fixture(scope="module")
def fitted(make_fitted):
    # Of 320 images 256 are trained on, eight whole batches: a short one would be another step to compile.
    return make_fitted((*draw_images(320, 2), *draw_images(151, 3)))


@pytest.fixture(scope="module")
def other_test_images(fitted, make_fitted):
    """The same with all test images and labels changed, to what the worse of the two gets right, every one of them."""
    x_train, y_train, x_test, _ = fitted.images
    x_test = 255 - x_test
    y_test = probabilities(load(fitted, worse(fitted)), x_test).argmax(axis=1).astype(np.uint8)
    return make_fitted((x_train, y_train, x_test, y_test))


def worse(project):
    rows = project.rows()
    return min(rows, key=lambda name: float(rows[name]["val_accuracy"]))


def fixed_and_trained(project):
    """What a scaler and a PCA learned, and what the layers behind them did, of the trial `wide`, seed 0; all of it."""
    guard, *layers = load(project, "wide").layers
    assert guard.name == "raw_pixels"
    names = [layer.name for layer in layers]
    assert names[1:4] == ["standardize_1", "pca_2_flatten", "pca_2"]
    scaler, components = layers[1], layers[3].get_weights()
    fixed = [scaler.get_config()["mean"], scaler.get_config()["variance"], *(array.tolist() for array in components)]
    assert np.shape(fixed[0])[-2:] == (8, 8)
    assert np.shape(fixed[2]) == (64, 9)
    return [np.asarray(array).tobytes() for array in fixed], [
        weight.tobytes() for layer in layers[4:] for weight in layer.get_weights()
    ]


ONE_TRIAL = ("--only", "wide")


def test_e_and_c_nothing_is_fitted_on_test_images(fitted, other_test_images):
    """E fits its scaler on the test images."""
    assert fixed_and_trained(other_test_images) == fixed_and_trained(fitted)
    assert not np.array_equal(
        predictions(other_test_images, "wide")["probabilities"], predictions(fitted, "wide")["probabilities"]
    )


@pytest.mark.parametrize("changed", ["every validation image", "one training image"])
def test_e_and_c_training_images_alone_decide_what_is_fitted(fitted, make_fitted, changed):
    """The scaler, the components and the trained weights: the same bits, or, so that the tests can fail, none."""
    x_train, *others = fitted.images
    train, validation = stratified_split(others[0], 0.2, seed=0)
    x_changed, indices = x_train.copy(), validation if changed == "every validation image" else train[17:18]
    x_changed[indices] = 255 - x_changed[indices]
    project = make_fitted((x_changed, *others), *ONE_TRIAL)
    for one, other in zip(fixed_and_trained(project), fixed_and_trained(fitted), strict=True):
        if indices is validation:
            assert one == other
        else:
            assert all(a != b for a, b in zip(one, other, strict=True))
    assert project.trials()["wide", 0]["val_loss"] != fitted.trials()["wide", 0]["val_loss"]


def test_b_test_images_choose_nothing(fitted, other_test_images):
    """The best of B's kind are picked on the test images, of 30 trainings or along the way. Here the loser by
    validation gets every test image right, and everything that is chosen stays as it was."""
    loser, before, after = worse(fitted), fitted.rows(), other_test_images.rows()
    assert float(other_test_images.trials()[loser, 0]["test_accuracy"]) == 1
    assert float(after[loser]["test_accuracy"]) > max(float(r["test_accuracy"]) for n, r in after.items() if n != loser)
    assert before[loser]["verdict"] != "best"
    measured = {column.name for column in table.RESULTS_COLUMNS if column.measured}
    of_test = {name for name in before[loser] if "test" in name}
    assert {"test_accuracy", "test_behind_best"} <= of_test
    for name in before:
        for column in {*before[name]} - measured - of_test:
            assert after[name][column] == before[name][column], column
    best = [FinishedSweep(project.results, "tiny").best() for project in (fitted, other_test_images)]
    assert best[0] == best[1] != loser
    for name in before:
        models = [(p.results / f"tiny/models/{name}.keras").read_bytes() for p in (fitted, other_test_images)]
        assert models[0] == models[1]


# ---- E: no parallel run, a page that crops and unpickles -----------------------------------------------------------


def start_without_tensorflow(device, threads, source, is_alone):
    return {"device": "cpu", "tensorflow": "0", "keras": "0"}


def meet_the_other(context, task):
    """In the place of a trial: ends well only if the other one has begun before this one gives up."""
    folder = task.results_root.parent / "meeting"
    (folder / task.trial.fingerprint).touch()
    wait_until(lambda: len(list(folder.glob("?" * 64))) == 2, seconds=float((folder / "patience").read_text()))
    return sweeping.invented_record(task)


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "patience", "code", "failed"), [("2", 60, DONE, 0), ("1", 0.1, SOME_FAILED, 1)])
def test_e_two_workers_train_at_the_same_time(tmp_path, monkeypatch, jobs, patience, code, failed):
    """E's parallel run calls its functions one after another: the first of two that wait for each other never ends."""
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    sweeping.leave_out_pictures(monkeypatch)
    monkeypatch.setattr("fmnist_mlp.runner.loop.RUN_TRIAL", "test_published:meet_the_other")
    monkeypatch.setattr("fmnist_mlp.runner.loop.START_WORKER", "test_published:start_without_tensorflow")
    monkeypatch.setattr("fmnist_mlp.runner.loop.MEASURE_LATENCY", f"{no_latency.__module__}:no_latency")
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: None)
    project = sweeping.Project(tmp_path, "dataset: {idx: images}\nseeds: 2\narchitectures: [[4]]\n")
    write_images(tmp_path / "images", *draw_images(60, 0), *draw_images(20, 1))
    (tmp_path / "meeting").mkdir()
    (tmp_path / "meeting" / "patience").write_text(str(patience))
    run_sweep(project, jobs=jobs, code=code)
    (row,) = project.rows().values()
    assert (row["trials"], row["failed"]) == (str(2 - failed), str(failed))


def draw_dumbbell(mode):
    """A 300x200 picture in colours: a thin bar with a block at either end, five pixels from the edges."""
    picture = Image.new("RGB", (300, 200), (250, 250, 245))
    pen = ImageDraw.Draw(picture)
    pen.rectangle([5, 90, 294, 109], fill=(20, 40, 160))
    pen.rectangle([5, 60, 44, 139], fill=(180, 20, 30))
    pen.rectangle([255, 60, 294, 139], fill=(10, 110, 40))
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L"])
def test_e_a_picture_is_resized_whole_whatever_its_colours(mode, tmp_path):
    """E's page crops pictures in place of resizing them, and breaks on those in colours."""
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    draw_dumbbell(mode).save(path)
    prepared = pictures.load_image(path, (28, 28))
    assert (prepared.pixels.shape, prepared.pixels.dtype) == ((28, 28), np.uint8)
    heights = (prepared.pixels > 60).sum(axis=0)  # of what is seen in each column
    # By hand: 290 pixels become 28, so blocks of 40x80 become 4x8 and the bar 2 high; all of it is in the frame.
    assert heights[1:3].min() >= 7
    assert heights[25:27].min() >= 7
    assert 1 <= heights[6:22].min() <= heights[6:22].max() <= 3
    assert prepared.pixels[:9].max() < 60
    assert prepared.pixels[19:].max() < 60


class Trap:
    """Leaves a file where somebody unpickles it."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


def test_e_no_model_is_unpickled(tmp_path):
    """E's page unpickles its model: whoever gives it one has the machine."""
    mark, model = tmp_path / "mark", tmp_path / "model.keras"
    model.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(SweepError, match="is no model that Keras can load"):
        Predictor(model)
    assert not mark.exists()
    pickle.loads(model.read_bytes())
    assert mark.exists(), "the trap works"


def test_e_no_predictions_are_unpickled(made):
    mark = made.root / "mark"
    record = made.record(made.plan[0])
    folder = made.put(record)
    with (folder / "predictions.npz").open("wb") as file:
        np.savez(file, label=np.zeros(4, np.uint8), predicted=np.array([Trap(mark)] * 4, object))
    seal(folder)
    with pytest.raises(DamagedRecord):
        made.results.load_correct(record.fingerprint)
    assert not mark.exists()


# Between a sweep and the workers that it started, pickles are the messages: they come from nowhere else.
MESSENGERS = {"calls.py", "inline.py", "pool.py", "process.py", "ray.py"}
PICKLES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "skops"}


def unsafe_loading(text):
    """What of a module's text may run what a file says: `pickle` for an import, other things by what they are."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & PICKLES
        elif isinstance(node, ast.ImportFrom):
            found |= {f"from {name}" for name in {(node.module or "").partition(".")[0]} & PICKLES}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PICKLES:
            found |= {f"{node.value.id}.{node.attr}"} - {"pickle.loads", "pickle.dumps"}
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            found |= {name} & {"enable_unsafe_deserialization", "eval", "exec", "read_pickle"}
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
            safe = node.arg == "safe_mode"
            if not (isinstance(node.value, ast.Constant) and node.value.value is safe):
                found.add(node.arg)
    return found


@pytest.mark.parametrize("module", sorted((ROOT / "fmnist_mlp").rglob("*.py")), ids=lambda path: path.name)
def test_e_no_module_runs_what_a_file_says(module):
    found = unsafe_loading(module.read_text(encoding="utf-8"))
    assert found == ({"pickle"} if module.name in MESSENGERS else set())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", "pickle"),
        ("import joblib.memory", "joblib"),
        ("from pickle import load", "from pickle"),
        ("pickle.load(file)", "pickle.load"),
        ("pickle.Unpickler(file)", "pickle.Unpickler"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("np.load(path, allow_pickle=maybe)", "allow_pickle"),
        ("keras.models.load_model(path, safe_mode=False)", "safe_mode"),
        ("keras.config.enable_unsafe_deserialization()", "enable_unsafe_deserialization"),
        ("eval(text)", "eval"),
    ],
)
def test_what_a_file_could_run_would_be_seen(text, found):
    assert unsafe_loading(text) == {found}


def test_loading_that_runs_nothing_is_let_be():
    safe = "np.load(path, allow_pickle=False); load_model(path, safe_mode=True); json.loads(text); pickle.dumps(value)"
    assert unsafe_loading(safe) == set()
