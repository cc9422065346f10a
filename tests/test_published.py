"""The mistakes of five published systems, A to E of their list, each with a test that it cannot happen here.

What others got wrong, our users would get wrong too. Each test names the mistake in its docstring. A sweep on tiny
images, one module-wide fixture, is looked at by most of these; what came out is judged with plain Keras, numpy and
scikit-learn, on the tables and files that a user has. Their other mistakes are in the files test_published_*.py.
"""

import re

import numpy as np
import pandas
import pytest
import sweeping
from engine_calls import wait_until
from one_trial import worker
from PIL import Image, ImageDraw
from published import draw_images, load, no_latency, predictions, probabilities, quick, run_sweep, write_images
from sklearn import metrics as sklearn_metrics

from fmnist_mlp.cli.console import DONE, SOME_FAILED
from fmnist_mlp.data.split import epoch_order, stratified_split
from fmnist_mlp.inference import pictures

__all__ = ["quick", "worker"]  # fixtures, used by name


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
def swept(quick, tmp_path_factory):
    """A project whose sweep is done; `images` are its training images and labels, its test images and labels."""
    project = sweeping.Project(tmp_path_factory.mktemp("swept"), SWEPT)
    project.images = write_images(project.folder / "images", *draw_images(TRAIN, 0), *draw_images(TEST, 1))
    run_sweep(project)
    project.split = stratified_split(project.images[1], 0.5, seed=0)
    return project


# ---- A: parameters typed by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_a_parameters_in_the_tables_are_those_of_the_exported_model(swept, name):
    """The softmax at its end and the scaling at its beginning have none."""
    count = load(swept, name).count_params()
    assert int(swept.rows()[name]["params"]) == int(swept.trials()[name, 0]["params"]) == count


# ---- B: a mean of batch means; the wrong weights -------------------------------------------------------------------


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


# ---- C: a claim that the own table contradicts ---------------------------------------------------------------------


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


# ---- E: no parallel run, a page that crops -------------------------------------------------------------------------


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
