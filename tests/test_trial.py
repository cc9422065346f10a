"""One trial from files to record: its numbers against an evaluation by hand, its interruptions, what it ignores."""

import dataclasses
import functools
import io
import json
import multiprocessing
import shutil
import subprocess
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx_files import NAMES, write_idx

from fmnist_mlp import files
from fmnist_mlp.data.source import load_data
from fmnist_mlp.data.split import stratified_folds, stratified_split
from fmnist_mlp.engines.calls import Context, Stopped
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.trials import list_trials
from fmnist_mlp.training import trial
from fmnist_mlp.training import worker as worker_module
from fmnist_mlp.training.latency import LatencyTask, measure_latency
from fmnist_mlp.training.trainer import Assignment

SWEEP = """
seeds: 1
training: {epochs: 4, batch_size: 32}
architectures:
  - name: small
    layers: [16, {Dropout: 0.2}]
"""


def draw_images(n, seed):
    """Images of 8x8 in four classes, one quarter of each brighter."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    x = rng.integers(0, 156, (n, 8, 8))
    for image, label in zip(x, y, strict=True):
        image[4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 60
    return x, y


def write_images(folder, test_seed=1):
    """203 training and 60 test images as IDX files."""
    return write_idx(folder, *draw_images(203, 0), *draw_images(60, test_seed))


@functools.cache
def identity(test_seed=1):
    """What the images of `write_images` are known by."""
    with tempfile.TemporaryDirectory() as folder:
        return load_data(write_images(Path(folder) / "images", test_seed)).identity


def tiny_trials(folder, text=SWEEP, name="tiny", test_seed=1):
    path = folder / f"{name}.yaml"
    folder.mkdir(exist_ok=True)
    path.write_text(text)
    return list_trials(load_sweep(path), data_identity=identity(test_seed))


class Asked(Context):
    """The context of a trial that is asked to stop after so many epochs; `messages` is what it reported."""

    def __init__(self, stop_after=None):
        self.messages, stop = [], threading.Event()

        def send(message):
            self.messages.append(message)
            if stop_after is not None and message.get("epoch") == stop_after:
                stop.set()

        super().__init__(send, stop)


def run(one, source, folder, *, stop_after=None, limit=None, fresh=False, messages=None):
    """Run one trial in this process; all it writes goes below `folder`, what it reports is added to `messages`."""
    task = trial.Task(
        trial=one,
        source=source,
        limit=limit,
        results_root=folder / "results",
        replaces=Results(folder / "results").stamp(one.fingerprint),
        fresh=fresh,
    )
    context = Asked(stop_after)
    try:
        return trial.run_trial(context, task)
    finally:
        if messages is not None:
            messages += context.messages


@pytest.fixture(scope="module")
def worker():
    """This process as a worker. TensorFlow takes thread counts once, and other tests may have started it already."""
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda threads: None)
        patch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda threads: None)
        yield worker_module.start_worker("cpu", 1)


@pytest.fixture(scope="module")
def source(worker, tmp_path_factory):
    """One folder for all tests: the worker keeps the images and the program compiled for them."""
    return write_images(tmp_path_factory.mktemp("data") / "images")


def run_first(source, folder, text=SWEEP, **options):
    """The record of the first trial of a sweep."""
    return run(tiny_trials(folder, text)[0], source, folder, **options)


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """The trial of SWEEP, its record, and the folder that it lies below."""
    folder = tmp_path_factory.mktemp("trained")
    (one,) = tiny_trials(folder)
    return one, run(one, source, folder), folder


def numbers(record):
    """Everything but what a clock said."""
    return record.model_dump(exclude={"measured"})


def folder_of(record, folder):
    return Results(folder / "results").record_folder(record.fingerprint)


def content(folder, record):
    """The files of a record but its event files and seal, `record.json` without what a clock said."""
    place = folder_of(record, folder)
    found = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file() and path.name != files.SUMS}
    found["record.json"] = {k: v for k, v in json.loads(found["record.json"]).items() if k != "measured"}
    return found


# ---- the environment of a worker


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("KERAS_BACKEND", "jax", "tensorflow"),
        ("KERAS_FLOATX", "float16", None),
        ("KERAS_HOME", "/somewhere", "untouched"),
        ("TF_ENABLE_ONEDNN_OPTS", "0", None),
        ("TF_DETERMINISTIC_OPS", "1", None),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "--xla_cpu_prefer_vector_width=512"),
        ("OMP_NUM_THREADS", "64", "3"),
        ("MKL_NUM_THREADS", "64", "3"),
        ("OMP_PROC_BIND", "true", None),
        ("PATH", "/bin", "untouched"),
    ],
)
def test_what_the_shell_sets_behind_our_back_does_not_reach_a_trial(name, value, expected, monkeypatch):
    monkeypatch.setenv(name, value)
    environment = worker_module.worker_environment("auto", threads=3)
    assert environment.get(name, "untouched") == expected


@pytest.mark.slow
def test_a_worker_that_reads_its_first_images_keeps_what_it_is_about_to_compile(tmp_path):
    source, (one,) = write_images(tmp_path / "images"), tiny_trials(tmp_path)
    worker = worker_module.Worker({}, source)
    trainer = worker.trainer(one.architecture)
    images = worker.images(source)
    assert worker.trainer(one.architecture) is trainer
    assert worker.images(source) is images
    worker.images(write_images(tmp_path / "others", test_seed=2))
    assert worker.trainer(one.architecture) is not trainer, "it would keep the old images in memory"


@pytest.mark.parametrize(
    ("process", "gpus", "own"),
    [
        ("worker-0", ["a", "b"], ["a"]),
        ("worker-1", ["a", "b"], ["b"]),
        ("worker-2", ["a", "b"], ["a"]),
        ("worker-3", [], []),
        ("MainProcess", ["a", "b"], ["a"]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(process, gpus, own, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "name", process)
    assert worker_module._own_gpu(gpus) == own


@pytest.mark.parametrize(("device", "hidden"), [("cpu", True), ("gpu", False), ("auto", False)])
def test_a_worker_for_the_cpu_sees_no_gpu(device, hidden):
    assert (worker_module.worker_environment(device, 1).get("CUDA_VISIBLE_DEVICES") == "-1") == hidden


# ---- the numbers of a record


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


def test_a_trial_reports_its_beginning_and_every_epoch(source, tmp_path):
    messages = []
    record = run_first(source, tmp_path, messages=messages)
    assert [(m["epoch"], m["epochs"]) for m in messages] == [(n, 4) for n in range(5)]
    assert [m["val_loss"] for m in messages[1:]] == record.history["val_loss"]


def test_a_trial_that_another_sweep_finished_is_not_trained_again(trained, source, tmp_path):
    one, record, folder = trained
    shutil.copytree(folder / "results", tmp_path / "results")
    assert run(one, source, tmp_path) == record
    again = run(one, source, tmp_path, fresh=True)
    assert again.measured != record.measured
    assert numbers(again) == numbers(record)


# ---- trials that fail


def test_a_disk_that_is_full_is_the_users_to_mend(source, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a small file system, which only root may mount")
    (one,) = tiny_trials(tmp_path)
    task = trial.Task(one, source, None, disk / "results", tmp_path / "logs", None)
    try:
        with pytest.raises(SweepError, match="No space left on device"):
            trial.run_trial(Asked(), task)
        assert Results(disk / "results").load_record(one.fingerprint) is None
        assert not list((disk / "results" / "_records" / ".drafts").iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_images_that_changed_under_a_sweep_are_noticed(worker, tmp_path):
    with pytest.raises(ImagesChanged, match="are not those that the sweep was planned with"):
        run_first(write_images(tmp_path / "images", test_seed=2), tmp_path)
    assert run_first(write_images(tmp_path / "images"), tmp_path).is_done, "a worker that stays looks again"


def test_images_that_turned_bad_are_the_users_to_mend(worker, tmp_path):
    (one,) = tiny_trials(tmp_path)
    source = write_images(tmp_path / "images")
    path = source.folder / NAMES[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SweepError, match=NAMES[0]):
        run(one, source, tmp_path)
    assert Results(tmp_path / "results").load_record(one.fingerprint) is None


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


DIVERGES = SWEEP.replace("[16, {Dropout: 0.2}]", "[64, 64]\n    optimizer: sgd\n    learning_rate: 1000")
DIVERGES = DIVERGES.replace("{epochs: 4", "{activation: linear, epochs: 4")


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


def test_a_training_that_diverges_is_a_failed_record(source, tmp_path):
    (one,) = tiny_trials(tmp_path, DIVERGES)
    record = run(one, source, tmp_path)
    assert (record.status, record.error["type"], record.metrics) == ("failed", "TrainingDiverged", {})
    assert "try a smaller learning_rate" in record.error["message"]
    assert "Traceback" in record.error["traceback"]
    results = Results(tmp_path / "results")
    assert results.load_record(one.fingerprint) == record
    assert list((folder_of(record, tmp_path) / "events").rglob("events.out.*"))
    assert not results.checkpoint_folder(one.fingerprint).exists()


def test_a_trial_that_failed_in_another_sweep_meanwhile_is_not_tried_again(source, tmp_path):
    (one,) = tiny_trials(tmp_path, DIVERGES)
    first = run(one, source, tmp_path)
    task = trial.Task(one, source, None, tmp_path / "results", replaces=None, wait=True)
    assert trial.run_trial(Asked(), task) == first
    known = Results(tmp_path / "results").stamp(one.fingerprint)
    later = trial.run_trial(Asked(), dataclasses.replace(task, replaces=known))
    assert later.measured["started_at_seconds"] > first.measured["started_at_seconds"], "asked to try again, it is"


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


BOTH = SWEEP.replace("epochs: 4", "epochs: 4, preprocess: [standardize, {pca: 9}], augment: {shift: 1, mixup: 0.4}")


@pytest.mark.slow
def test_the_exported_model_gives_the_figures_of_the_record_behind_its_steps(source, tmp_path):
    """Loaded by plain Keras and given raw images; parameters are those of the stack alone, on nine components."""
    import keras

    images = load_data(source)
    for number, text in enumerate((BOTH, BOTH.replace(", augment: {shift: 1, mixup: 0.4}", ""))):
        record = run_first(source, tmp_path / str(number), text)
        assert record.status == "done", record.error
        folder = folder_of(record, tmp_path / str(number))
        model = keras.models.load_model(folder / "model.keras")
        assert model.inputs[0].dtype == "float32"  # uint8 would cast images divided by 255 to 0 and 1
        probabilities = model.predict(images.x_test, batch_size=1000, verbose=0)
        assert record.metrics["test_accuracy"] == (probabilities.argmax(axis=1) == images.y_test).mean()
        assert record.metrics["val_loss"] == pytest.approx(record.history["val_loss"][-1], rel=1e-5)
        with np.load(folder / "predictions.npz") as predictions:
            np.testing.assert_array_equal(predictions["probabilities"], probabilities.astype(np.float16))
        assert record.params == 9 * 16 + 16 + 16 * 4 + 4
        assert record.flops == 2 * 64 + 9 * (2 * 64 + 1) + 16 * (2 * 9 + 1) + 4 * (2 * 16 + 1)


@pytest.mark.slow
def test_a_stopped_trial_with_fitted_steps_and_augmentation_goes_on_to_the_same_record(source, tmp_path):
    """As in a new process: nothing that the worker kept is left."""
    (one,) = tiny_trials(tmp_path, BOTH)
    expected = content(tmp_path / "whole", run(one, source, tmp_path / "whole"))
    with pytest.raises(Stopped):
        run(one, source, tmp_path / "halted", stop_after=2)
    worker_module.current().forget()
    assert content(tmp_path / "halted", run(one, source, tmp_path / "halted")) == expected


@pytest.mark.slow
def test_what_a_worker_keeps_of_other_seeds_and_stacks_changes_no_number(source, tmp_path):
    """Fitted steps are shared by the stacks of a seed, programs by the seeds of a stack; alone, each gives the same."""
    text = BOTH.replace("seeds: 1", "seeds: 2") + "  - name: other\n    layers: [5]\n    augment: null\n"
    trials = tiny_trials(tmp_path, text)
    together = [content(tmp_path / "together", run(one, source, tmp_path / "together")) for one in trials]
    assert len(worker_module.current()._fitted) == 2
    for one, expected in zip(trials, together, strict=True):
        worker_module.current().forget()
        assert content(tmp_path / "alone", run(one, source, tmp_path / "alone")) == expected


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


def test_steps_are_fitted_on_the_training_images_alone(source, tmp_path):
    """Other validation and test images: the same means, divisors and components."""
    images = load_data(source)
    (one,) = tiny_trials(tmp_path, BOTH)
    settings = one.architecture.training
    train_indices, validation_indices = stratified_split(images.y_train, 0.2, seed=0)
    x_train = images.x_train.copy()
    x_train[validation_indices] = 255 - x_train[validation_indices]
    others = dataclasses.replace(images, x_train=x_train, x_test=255 - images.x_test)
    x_other = images.x_train.copy()
    x_other[train_indices[0]] = 255 - x_other[train_indices[0]]

    def fitted(images):
        worker = worker_module.Worker({})
        maps = worker.preprocessing(images, settings, train_indices).maps
        return [array.tobytes() for step in maps for array in step.arrays]

    assert fitted(others) == fitted(images)
    assert fitted(dataclasses.replace(images, x_train=x_other)) != fitted(images)


@pytest.mark.slow
def test_the_number_of_components_behind_a_share_is_that_of_the_record(source, tmp_path):
    images = load_data(source)
    train_indices, _ = stratified_split(images.y_train, 0.2, seed=0)
    x = images.x_train[train_indices].reshape(len(train_indices), -1) / 255
    kept = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    components = int((np.cumsum(kept) / kept.sum() <= 0.5).sum()) + 1
    assert 1 < components < 64
    text = SWEEP.replace("epochs: 4", "epochs: 1, preprocess: {pca: 0.5}")
    assert run_first(source, tmp_path, text).params == components * 16 + 16 + 16 * 4 + 4


def test_more_components_than_training_images_are_a_failed_record_that_says_so(source, tmp_path):
    text = SWEEP.replace("epochs: 4", "epochs: 1, preprocess: {pca: 40}")
    record = run_first(source, tmp_path, text, limit=40)
    assert record.status == "failed"
    assert record.error["message"] == "pca can have at most 32 components, for 32 training images, got 40"


@pytest.mark.slow
def test_a_latency_is_that_of_the_model_with_its_steps(source, tmp_path, monkeypatch):
    from fmnist_mlp.training import models

    (one,) = tiny_trials(tmp_path, BOTH)
    run(one, source, tmp_path)  # starts this process as a worker
    timed = []
    stock = models.exported_model
    monkeypatch.setattr(models, "exported_model", lambda *arguments: timed.append(stock(*arguments)) or timed[-1])
    measure_latency(Asked(), LatencyTask("b" * 64, one.architecture, (8, 8), 4, tmp_path / "results"))
    assert [layer.name for layer in timed[0].layers][:4] == ["rescaling", "standardize_1", "pca_2_flatten", "pca_2"]


def weights(folder, record):
    with zipfile.ZipFile(folder_of(record, folder) / "model.keras") as archive:
        return archive.read("model.weights.h5")


@pytest.mark.slow
def test_the_same_trial_gives_the_same_bytes_with_a_program_compiled_anew(trained, source, tmp_path):
    """Two empty results folders and two processes: nothing of the first may show in the second's files."""
    one, first, folder = trained
    worker_module.current().forget()
    assert content(tmp_path, run(one, source, tmp_path)) == content(folder, first)
