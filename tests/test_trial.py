"""One trial from files to record: its numbers against an evaluation by hand, its interruptions, what it ignores."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from one_trial import SWEEP, Asked, content, folder_of, run, run_first, source, tiny_trials, worker, write_images

from fmnist_mlp import files
from fmnist_mlp.data.source import load_data
from fmnist_mlp.data.split import stratified_folds, stratified_split
from fmnist_mlp.engines.calls import Stopped
from fmnist_mlp.results.store import Results
from fmnist_mlp.training import worker as worker_module
from fmnist_mlp.training.latency import LatencyTask, measure_latency
from fmnist_mlp.training.trainer import Assignment

__all__ = ["source", "worker"]  # fixtures, used by name


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """The trial of SWEEP, its record, and the folder that it lies below."""
    folder = tmp_path_factory.mktemp("trained")
    (one,) = tiny_trials(folder)
    return one, run(one, source, folder), folder


def numbers(record):
    """Everything but what a clock said."""
    return record.model_dump(exclude={"measured"})


# ---- the numbers of a record


@pytest.mark.slow
def test_the_numbers_of_a_record_are_those_of_its_exported_model(trained, source):
    """The reference multiplies the exported weights by hand in float64."""
    import keras

    _, record, root = trained
    folder = folder_of(record, root)
    assert Results(root / "results").load_record(record.fingerprint) == record

    images = load_data(source)
    _, validation = stratified_split(images.y_train, 0.2, seed=0)
    model = keras.models.load_model(folder / "model.keras")
    hidden_kernel, hidden_bias, logit_kernel, logit_bias = (w.astype(np.float64) for w in model.get_weights())

    def by_hand(x, y):
        hidden = np.maximum(x.reshape(len(x), 64) / 255 @ hidden_kernel + hidden_bias, 0)
        logits = hidden @ logit_kernel + logit_bias
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
        return loss, (probabilities.argmax(axis=1) == y).mean(), probabilities

    test_loss, test_accuracy, probabilities = by_hand(images.x_test, images.y_test)
    val_loss, val_accuracy, _ = by_hand(images.x_train[validation], images.y_train[validation])
    figures = {
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
    }
    assert {name: record.metrics[name] for name in figures} == pytest.approx(figures, rel=1e-5)
    assert record.metrics["val_loss"] == pytest.approx(record.history["val_loss"][-1], rel=1e-5)
    assert record.params == 64 * 16 + 16 + 16 * 4 + 4
    assert (record.weights, record.dataset) == ("last epoch", "idx:images")

    with np.load(folder / "predictions.npz") as predictions:
        names = ["label", "predicted", "probabilities"]
        assert list(predictions) == [*names, *(f"val_{name}" for name in names)]
        np.testing.assert_array_equal(predictions["label"], images.y_test)
        np.testing.assert_array_equal(predictions["val_label"], images.y_train[validation])
        np.testing.assert_array_equal(predictions["predicted"], probabilities.argmax(axis=1))
        assert predictions["probabilities"].dtype == np.float16
        np.testing.assert_allclose(predictions["probabilities"], probabilities, atol=1e-3)


@pytest.mark.slow
def test_every_metric_but_the_losses_is_scikit_learns_on_the_stored_predictions(trained):
    from sklearn import metrics as sklearn_metrics

    _, record, folder = trained
    with np.load(folder_of(record, folder) / "predictions.npz") as predictions:
        for part, prefix in (("test", ""), ("val", "val_")):
            labels, predicted = predictions[f"{prefix}label"], predictions[f"{prefix}predicted"]
            assert record.metrics[f"{part}_accuracy"] == sklearn_metrics.accuracy_score(labels, predicted)
            *macro, _ = sklearn_metrics.precision_recall_fscore_support(
                labels, predicted, average="macro", zero_division=0
            )
            assert [record.metrics[f"{part}_macro_{name}"] for name in ("precision", "recall", "f1")] == macro
            by_class = sklearn_metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
            scores = record.classes[part]
            np.testing.assert_array_equal([scores.precision, scores.recall, scores.f1], by_class[:3])
            confusion = sklearn_metrics.confusion_matrix(labels, predicted)
            np.testing.assert_array_equal(scores.confusion_matrix, confusion)


def test_what_a_trial_costs_is_in_its_record(trained, source):
    _, record, folder = trained
    assert record.model_bytes == (folder_of(record, folder) / "model.keras").stat().st_size
    assert record.train_images + record.val_images == len(load_data(source).y_train)
    assert 100e6 < record.measured["peak_memory_bytes"] < 20e9


@pytest.mark.slow
def test_a_trial_reports_its_beginning_and_every_epoch(source, tmp_path):
    messages = []
    record = run_first(source, tmp_path, messages=messages)
    assert [(m["epoch"], m["epochs"]) for m in messages] == [(n, 4) for n in range(5)]
    assert [m["val_loss"] for m in messages[1:]] == record.history["val_loss"]


@pytest.mark.slow
def test_a_trial_that_another_sweep_finished_is_not_trained_again(trained, source, tmp_path):
    one, record, folder = trained
    shutil.copytree(folder / "results", tmp_path / "results")
    assert run(one, source, tmp_path) == record
    again = run(one, source, tmp_path, fresh=True)
    assert again.measured != record.measured
    assert numbers(again) == numbers(record)


# ---- trials that are interrupted


@pytest.fixture(scope="module")
def stopped_after_two(trained, source, tmp_path_factory):
    """A trial, its uninterrupted record and files, and a folder where it stopped after two of four epochs."""
    (one, record, whole), halted = trained, tmp_path_factory.mktemp("stopped") / "halted"
    with pytest.raises(Stopped):
        run(one, source, halted, stop_after=2)
    return one, content(whole, record), halted


@pytest.fixture
def interrupted(stopped_after_two, tmp_path):
    """The same, with a copy of the folder to spoil."""
    one, expected, folder = stopped_after_two
    return one, expected, Path(shutil.copytree(folder, tmp_path / "halted"))


@pytest.mark.slow
def test_a_stopped_trial_goes_on_to_the_same_record(interrupted, source):
    one, expected, folder = interrupted
    checkpoint = Results(folder / "results").checkpoint_folder(one.fingerprint)
    assert json.loads((checkpoint / "state.json").read_text())["epochs_done"] == 2
    assert Results(folder / "results").load_record(one.fingerprint) is None
    record = run(one, source, folder)
    assert content(folder, record) == expected
    assert len(record.measured["epoch_seconds"]) == 4
    assert not checkpoint.exists()


@pytest.mark.slow
def test_a_trial_stopped_again_and_again_gets_there(interrupted, source):
    one, expected, folder = interrupted
    with pytest.raises(Stopped):
        run(one, source, folder, stop_after=3)
    assert content(folder, run(one, source, folder)) == expected


def _made_by(**changes):
    return "made-by.json", lambda content: json.dumps(json.loads(content) | changes).encode()


def _other_shapes(content):
    wider = io.BytesIO()
    with np.load(io.BytesIO(content)) as arrays:
        np.savez(wider, **{name: np.zeros((3, *array.shape), array.dtype) for name, array in arrays.items()})
    return wider.getvalue()


def _set_flag(archive):
    """One bit in the entry that a zip archive's directory has for its first file."""
    position = archive.index(b"PK\1\2") + 8
    return archive[:position] + bytes([archive[position] | 1]) + archive[position + 1 :]


ARRAYS, STATE = "arrays.npz", "state.json"
# A file of the checkpoint, and what becomes of its content; None: it is gone.
USELESS_CHECKPOINTS = {
    "of another TensorFlow": _made_by(tensorflow="2.20.0"),
    "of another Keras": _made_by(keras="3.0.0"),
    "of a GPU": _made_by(device="gpu: NVIDIA H100"),
    "of another trial": _made_by(fingerprint="0" * 64),
    "without its origin": ("made-by.json", None),
    "without its arrays": (ARRAYS, None),
    "with arrays cut off": (ARRAYS, lambda content: content[: len(content) // 2]),
    "with arrays of no bytes": (ARRAYS, lambda content: b""),
    "with arrays that are none": (ARRAYS, lambda content: b"x" * 999),
    "with a wrong byte in an array": (
        ARRAYS,
        lambda content: content[:900] + bytes([content[900] ^ 255]) + content[901:],
    ),
    "with arrays of other shapes": (ARRAYS, _other_shapes),
    "with a state cut off": (STATE, lambda content: content[:-20]),
    "with a state of null bytes": (STATE, lambda content: b"\0" * 50),
    "with a list for a state": (STATE, lambda content: b"[]"),
    "with an empty state": (STATE, lambda content: b"{}"),
    "with an origin that is a list": ("made-by.json", lambda content: b"[]"),
    "with an epoch too many": (STATE, lambda content: content.replace(b'"epochs_done": 2', b'"epochs_done": 3')),
    "with an array that claims to be encrypted": (ARRAYS, _set_flag),
    "without its seal": (files.SUMS, None),
    "with a seal cut off": (files.SUMS, lambda content: content[:-9]),
}
# Nothing but the seal shows these.
ONLY_SEALED = {"with an epoch too many", "without its seal", "with a seal cut off"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "is_sealed"),
    [(kind, False) for kind in USELESS_CHECKPOINTS]
    + [pytest.param(kind, True, marks=pytest.mark.slow) for kind in USELESS_CHECKPOINTS if kind not in ONLY_SEALED],
)
def test_a_checkpoint_that_cannot_be_trusted_is_named_and_left_aside(kind, is_sealed, interrupted, source):
    one, expected, folder = interrupted
    checkpoint, messages = Results(folder / "results").checkpoint_folder(one.fingerprint), []
    name, change = USELESS_CHECKPOINTS[kind]
    if change is None:
        (checkpoint / name).unlink()
    else:
        (checkpoint / name).write_bytes(change((checkpoint / name).read_bytes()))
    if is_sealed:  # damaged before it was sealed
        files.seal(checkpoint)
    assert content(folder, run(one, source, folder, messages=messages)) == expected
    (notice,) = [message["notice"] for message in messages if "notice" in message]
    assert notice.startswith(str(checkpoint))
    assert notice.endswith(f"{one.in_words} starts again without this checkpoint")


# ---- another program than the others': last, since the worker keeps one at hand


def test_early_stopping_says_whose_weights_were_scored(source, tmp_path):
    text = SWEEP.replace("epochs: 4", "epochs: 9, early_stopping: {patience: 2, min_delta: 100}")
    record = run_first(source, tmp_path, text)
    assert record.weights == "best val_loss: epoch 1"
    assert len(record.history["loss"]) == 3
    assert record.metrics["val_loss"] == pytest.approx(record.history["val_loss"][0], rel=1e-5)


@pytest.mark.slow
def test_a_keras_whose_fit_takes_no_programs_fails_no_trial_and_is_noted(source, tmp_path, monkeypatch):
    import keras

    worker_module.current().forget()
    monkeypatch.setattr("fmnist_mlp.training.compiled_epoch.FUNCTIONS_OF_FIT", ("renamed_function",))
    record = run_first(source, tmp_path)
    worker_module.current().forget()
    assert (record.status, record.error) == ("done", None)
    (note,) = record.notes
    assert note.startswith(
        f"Keras {keras.__version__} takes no compiled epoch (Model.train_function): trained by Keras's"
    )


@pytest.mark.slow
def test_the_folds_of_a_seed_validate_every_image_once(source, tmp_path):
    trials = tiny_trials(tmp_path, "folds: 3\n" + SWEEP.replace("epochs: 4", "epochs: 1"))
    images = load_data(source)
    records = [run(one, source, tmp_path) for one in trials]
    assert [one.fold for one in trials] == [0, 1, 2]
    assert sum(record.val_images for record in records) == len(images.y_train)
    for one, record in zip(trials, records, strict=True):
        _, validation = stratified_folds(images.y_train, 3, one.fold, one.seed)
        with np.load(folder_of(record, tmp_path) / "predictions.npz") as predictions:
            np.testing.assert_array_equal(predictions["val_label"], images.y_train[validation])
        assert record.train_images == len(images.y_train) - len(validation)


@pytest.mark.slow
def test_a_latency_is_measured_and_remembered(source, tmp_path):
    (one,) = tiny_trials(tmp_path)
    run(one, source, tmp_path)  # starts this process as a worker
    task = LatencyTask("a" * 64, one.architecture, (8, 8), 4, tmp_path / "results")
    latency = measure_latency(Asked(), task)
    assert 0 < latency.latency_seconds < latency.latency_1000_seconds < 10
    assert Results(tmp_path / "results").load_latency("a" * 64) == latency


@pytest.mark.slow
def test_the_test_images_never_influence_a_training(source, tmp_path):
    """Other test images: the same curves, the same weights, other figures on test images."""
    (one,), (other,) = tiny_trials(tmp_path), tiny_trials(tmp_path, test_seed=2)
    first = run(one, source, tmp_path / "first")
    second = run(other, write_images(tmp_path / "images", test_seed=2), tmp_path / "second")
    assert first.history == second.history
    assert all(first.metrics[name] == second.metrics[name] for name in ("val_loss", "val_accuracy"))
    assert first.metrics["test_loss"] != second.metrics["test_loss"]
    assert weights(tmp_path / "first", first) == weights(tmp_path / "second", second)


class Silent:
    """An observer that looks away."""

    wants_histograms = False

    def load_checkpoint(self, read):
        return None

    def on_epoch(self, *arguments):
        pass


@pytest.mark.slow
def test_trainers_take_several_trials_of_an_architecture_at_once(source, tmp_path):
    images = load_data(source)
    text = SWEEP.replace("seeds: 1", "seeds: 2") + "baselines:\n  - ExtraTreesClassifier: {n_estimators: 3}\n"
    trials = tiny_trials(tmp_path, text)
    for together in (trials[:2], trials[2:]):
        parts = [stratified_split(images.y_train, 0.2, one.seed) for one in together]
        assignments = [Assignment(one, *part, None, Silent()) for one, part in zip(together, parts, strict=True)]
        records = [run(one, source, tmp_path) for one in together]
        trainer = worker_module.current().trainer(together[0].architecture)
        for record, trained in zip(records, trainer.train(images, assignments), strict=True):
            assert trained.history == record.history
            with np.load(folder_of(record, tmp_path) / "predictions.npz") as predictions:
                np.testing.assert_array_equal(trained.predict(images.x_test).classes, predictions["predicted"])


def weights(folder, record):
    with zipfile.ZipFile(folder_of(record, folder) / "model.keras") as archive:
        return archive.read("model.weights.h5")


@pytest.mark.slow
def test_the_same_trial_gives_the_same_bytes_with_a_program_compiled_anew(trained, source, tmp_path):
    """Two empty results folders and two processes: nothing of the first may show in the second's files."""
    one, first, folder = trained
    worker_module.current().forget()
    assert content(tmp_path, run(one, source, tmp_path)) == content(folder, first)
