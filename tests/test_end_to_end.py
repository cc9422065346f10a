"""Whole sweeps by `python sweep.py`, and what they leave: files, curves, models, and the same numbers whatever happens.

One training (`finished`, two small stacks on the stand-in) serves many tests; they look at it, or at a copy of it.
The everyday run has trials of its own in test_trial.py and commands in test_cli.py.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from idx_files import write_idx
from sweeping import (
    Project,
    children,
    different,
    interrupt,
    is_running,
    read_csv,
    scalars,
    state,
    wait_until,
    workers,
)

from fmnist_mlp.data.class_names import with_class_names
from fmnist_mlp.data.source import CLASS_NAMES, find_data, load_data

pytestmark = pytest.mark.slow

TINY = """\
dataset: synthetic
limit: 600
seeds: 2
training: {epochs: 2}
architectures:
  - name: plain
    layers: [16]
  - name: mixed
    layers: [16, BatchNormalization, {Dropout: 0.3}, 8]
    optimizer: adamw
    schedule: cosine
"""
TRIALS = [(name, seed) for name in ("plain", "mixed") for seed in (0, 1)]
HAS_PROC = Path("/proc/self/stat").exists()
needs_proc = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def _trained_once(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("finished"), TINY)
    project.said = project.sweep("--jobs", "1")
    return project


@pytest.fixture
def finished(_trained_once, tmp_path):
    """A project whose sweep is done, in a copy of its own."""
    copy = _trained_once.copy(tmp_path / "project")
    copy.said = _trained_once.said
    return copy


# ---- what a run leaves --------------------------------------------------------------------------------------------


def test_a_run_says_nothing_but_ours(finished):
    assert finished.said.stdout.startswith("tiny: 2 architectures, 4 trials: 0 done, 4 to train\n")
    assert "synthetic: 600 training and 2,000 test images of 28x28" in finished.said.stdout
    assert "\x1b" not in finished.said.stdout
    assert finished.said.stderr == ""


def test_the_table_is_read_by_pandas_without_options(finished):
    table = pandas.read_csv(finished.results / "tiny/results.csv")
    assert list(table.columns[:5]) == ["architecture", "layers", "params", "test_loss", "test_accuracy"]
    assert list(table["architecture"]) == ["plain", "mixed"]
    # By hand: 784*16+16 + 16*10+10; and 784*16+16 + 4*16 + 16*8+8 + 8*10+10, of which 2*16 are moving averages.
    assert list(table["params"]) == [12_730, 12_850]
    assert list(table["trainable_params"]) == [12_730, 12_818]
    text = {"architecture", "layers", "dataset", "verdict", "pareto"}
    assert {name for name in table if not pandas.api.types.is_numeric_dtype(table[name])} == text
    may_be_empty = {"verdict", "pareto", "cheapest", "mixed", "seeds_needed", "size"} | {
        name for name in table if "behind" in name or name.startswith(("cv_", "refit_", "ensemble"))
    }
    assert table.drop(columns=list(may_be_empty)).notna().all(axis=None)
    assert table["verdict"].notna().all()
    assert table["cv_accuracy"].isna().all()
    assert set(table["dataset"]) == {"synthetic"}
    assert list(table["trials"]) == [2, 2]
    assert list(table["failed"]) == [0, 0]
    assert list(table["epochs"]) == [2, 2]
    assert table["test_accuracy"].between(0.15, 1).all()  # fractions, better than guessing one of ten


@pytest.mark.parametrize(("name", "seed"), TRIALS)
def test_a_record_agrees_with_its_own_predictions(finished, name, seed):
    row, folder = finished.trials()[name, seed], finished.record_folder(name, seed)
    with np.load(folder / "predictions.npz") as predictions:
        label, predicted, probabilities = (predictions[key] for key in ("label", "predicted", "probabilities"))
    assert (probabilities.shape, probabilities.dtype) == ((2000, 10), np.float16)
    assert float(row["test_accuracy"]) == np.mean(predicted == label)
    likelihood = probabilities[np.arange(2000), label].astype(float)
    # float16 rounds each probability by 2**-11 of itself at most; tiny ones by more, so they are left out of the bound.
    assert float(row["test_loss"]) == pytest.approx(np.mean(-np.log(np.maximum(likelihood, 1e-7))), rel=1e-2)
    record = finished.record(name, seed)
    assert record["params"] == int(row["params"])
    assert (record["settings"]["limit"], record["settings"]["seed"]) == (600, seed)
    assert record["settings"]["training"]["epochs"] == 2
    assert [len(values) for values in record["history"].values()] == [2] * len(record["history"])
    assert record["history"]["loss"][-1] == float(row["train_loss"])
    assert record["history"]["val_loss"][-1] == pytest.approx(float(row["val_loss"]), rel=1e-4)
    assert record["environment"]["tensorflow"] == row["tensorflow"] != ""


def test_the_model_of_an_architecture_is_its_best_trial_by_validation(finished):
    assert sorted(path.name for path in (finished.results / "tiny/models").iterdir()) == ["mixed.keras", "plain.keras"]
    for name in ("plain", "mixed"):
        best = max((0, 1), key=lambda seed: float(finished.trials()[name, seed]["val_accuracy"]))
        expected = with_class_names(finished.record_folder(name, best) / "model.keras", CLASS_NAMES)
        assert (finished.results / f"tiny/models/{name}.keras").read_bytes() == expected


def test_the_logs_hold_one_run_a_trial_with_each_epoch_once(finished):
    names = [f"{name}/seed-{seed}{part}" for name, seed in TRIALS for part in ("", "/train", "/validation")]
    assert finished.curves() == dict.fromkeys(names, 1)
    for name, seed in TRIALS:
        folder, history = finished.trial_logs() / f"{name}/seed-{seed}", finished.record(name, seed)["history"]
        for part, prefix in (("train", ""), ("validation", "val_")):
            found = scalars(folder / part)
            for metric in ("loss", "accuracy"):
                assert found[f"epoch_{metric}"] == list(enumerate(history[prefix + metric]))
        assert [step for step, _ in scalars(folder / "train")["learning_rate"]] == [0, 1]
        final = {tag: values[0][1] for tag, values in scalars(folder).items()}
        for metric in ("test_loss", "test_accuracy"):
            assert final[metric] == pytest.approx(float(finished.trials()[name, seed][metric]), rel=1e-6)


def test_nothing_is_left_lying_about(finished):
    files = [path.relative_to(finished.folder) for path in state(finished.folder)]
    assert {path.parts[0] for path in files} <= {"tiny.yaml", "logs", "results", "home"}  # keras.json
    files = [path for path in files if path.parts[0] != "home"]
    ours = (".trial", ".digests.json")  # the second remembers what was verified
    hidden = [path for path in files if any(part.startswith(".") for part in path.parts) and path.name not in ours]
    assert [path for path in hidden if ".claims" not in path.parts] == []
    assert not [path for path in files if path.suffix in (".tmp", ".part", ".draft")]


# ---- the exported model -------------------------------------------------------------------------------------------

STRANGER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fmnist_mlp":
            raise ImportError("not here")

sys.meta_path.insert(0, Blocker())
try:
    import fmnist_mlp
except ImportError:
    pass
else:
    sys.exit("fmnist_mlp can be imported")

import keras
import numpy as np

probabilities = {}
with np.load(sys.argv[1]) as images:
    for path in sys.argv[3:]:
        model = keras.models.load_model(path)
        assert getattr(model, "optimizer", None) is None
        probabilities[path.replace("/", "|")] = model.predict(images["x"], verbose=0)
np.savez(sys.argv[2], **probabilities)
"""


def test_the_exported_models_work_where_fmnist_mlp_cannot_be_imported(finished, tmp_path):
    images = load_data(find_data("synthetic"))
    (tmp_path / "elsewhere").mkdir()
    np.savez(tmp_path / "images.npz", x=images.x_test)
    models = {name: str(finished.results / f"tiny/models/{name}.keras") for name in ("plain", "mixed")}
    environment = {key: value for key, value in finished.environment().items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, tmp_path / "images.npz", tmp_path / "answer.npz", *models.values()],
        cwd=tmp_path / "elsewhere",
        env=environment,
        check=True,
        timeout=120,
    )
    with np.load(tmp_path / "answer.npz") as answer:
        for name, path in models.items():
            probabilities = answer[path.replace("/", "|")]
            best = max((0, 1), key=lambda seed: float(finished.trials()[name, seed]["val_accuracy"]))
            accuracy = np.mean(probabilities.argmax(axis=1) == images.y_test)
            assert accuracy == float(finished.trials()[name, best]["test_accuracy"])
            with np.load(finished.record_folder(name, best) / "predictions.npz") as stored:
                assert np.array_equal(stored["label"], images.y_test)
                assert np.array_equal(stored["predicted"], probabilities.argmax(axis=1))
                np.testing.assert_allclose(stored["probabilities"], probabilities, rtol=2**-10, atol=2**-20)
            assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


# ---- the same numbers ---------------------------------------------------------------------------------------------


def test_the_numbers_do_not_depend_on_how_many_workers_there_are(finished, tmp_path):
    """Two side by side against the one of `finished`; none, in this process, is among those that train afresh below."""
    other = Project(tmp_path / "other", TINY)
    other.sweep("--jobs", "2")
    assert different(other.numbers(), finished.numbers()) == []


LARGER = """\
dataset: synthetic
limit: 600
seeds: [1, 0]
training: {optimizer: rmsprop, batch_size: 64, epochs: 2}
architectures:
  - [64, LayerNormalization, {GaussianNoise: 0.1}]
  - {name: mixed, layers: [16, BatchNormalization, {Dropout: 0.3}, 8],
     optimizer: adamw, schedule: cosine, batch_size: 32}
  - {layers: [24, {AlphaDropout: 0.2}], activation: selu}
  - {layers: [32, 16], optimizer: lion}
  - {layers: [48], optimizer: sgd, momentum: 0.9}
  - {name: plain, layers: [16], optimizer: adam, batch_size: 32}
"""


def test_the_numbers_do_not_depend_on_what_else_is_trained(finished, tmp_path):
    larger = Project(tmp_path / "other", LARGER)
    said = larger.sweep("--jobs", "1")
    ours, theirs = finished.numbers(), larger.numbers()
    assert len(theirs["trials.csv"]) == 12
    for key, value in ours.items():
        if isinstance(key, tuple):
            assert theirs[key] == value
    assert [row for row in theirs["trials.csv"] if row["architecture"] == "mixed"] == [
        row for row in reversed(ours["trials.csv"]) if row["architecture"] == "mixed"
    ]
    # Of equal trials by validation the first listed is exported, so the models of the table are not compared.
    assert said.stderr == ""  # not even TensorFlow's advice against many programs in one process


# ---- edited and run again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "0"])
def test_training_afresh_gives_the_same_and_leaves_each_epoch_once(finished, jobs):
    """All trials in this process; in a worker, where `finished` had one too, those of one architecture."""
    numbers, before = finished.numbers(), state(finished.results / "_records")
    only = ["--only", "mixed"] if jobs == "1" else []
    said = finished.sweep("--jobs", jobs, "--fresh", *only)
    assert f"{2 if only else 4} to train" in said.stdout
    assert different(finished.numbers(), numbers) == []
    assert state(finished.results / "_records") != before
    assert set(finished.curves().values()) == {1}


# ---- failures -----------------------------------------------------------------------------------------------------

DIVERGES = """\
dataset: synthetic
limit: 600
seeds: 2
training: {epochs: 2}
architectures:
  - {name: diverges, layers: [64, 64], activation: linear, optimizer: sgd, learning_rate: 1000}
  - [8]
"""


def test_a_training_that_goes_to_nan_is_a_failure_and_no_number(tmp_path):
    project = Project(tmp_path, DIVERGES)
    ran = project.sweep("--jobs", "1", "--quiet", code=1)
    failed = [line for line in ran.stderr.splitlines() if line.startswith("failed: diverges seed 0: ")]
    assert len(failed) == 2  # when it happens, and at the end
    assert all(re.search("loss became (nan|inf) in epoch 1: try a smaller learning_rate", line) for line in failed)
    rows = project.rows()
    assert (rows["8"]["trials"], rows["8"]["failed"]) == ("2", "0")
    assert (rows["diverges"]["trials"], rows["diverges"]["failed"]) == ("0", "2")
    assert rows["diverges"]["params"] == "55050"  # by hand: 784*64+64 + 64*64+64 + 64*10+10
    assert {rows["diverges"][name] for name in ("test_loss", "test_accuracy", "val_loss")} == {""}
    assert {row["dataset"] for row in rows.values()} == {"synthetic"}
    assert pandas.read_csv(project.results / "tiny/results.csv")["test_loss"].dtype == float
    assert project.record("diverges")["status"] == "failed"
    assert [path.name for path in (project.results / "tiny/models").iterdir()] == ["8.keras"]

    before = state(project.results, project.logs)
    again = project.sweep(code=1)
    assert "2 done, 2 failed before, 0 to train" in again.stdout
    assert "failed: diverges seed 1: " in again.stderr
    assert "--retry-failed" in again.stderr
    assert state(project.results, project.logs) == before

    good = state(project.record_folder("8", 0), project.record_folder("8", 1))
    retried = project.sweep("--jobs", "1", "--retry-failed", "--fail-fast", code=1)
    assert "2 done, 2 failed before, 2 to train" in retried.stdout
    assert state(project.record_folder("8", 0), project.record_folder("8", 1)) == good
    assert (project.rows()["8"], project.rows()["diverges"]) == (rows["8"], rows["diverges"])
    assert (ran.stdout, len(ran.stderr.splitlines())) == ("", 5)  # nothing of Keras's own between our lines


# ---- interrupted and killed ---------------------------------------------------------------------------------------

# Long enough to be met in the middle; of few and small images, which cost every process less than the stand-in.
LONG = """\
dataset: {idx: images/mine}
seeds: 2
training: {epochs: 150, early_stopping: {patience: 149, monitor: val_accuracy}}
architectures:
  - name: mixed
    layers: [16, BatchNormalization, {Dropout: 0.3}, 8]
    optimizer: nadam
    schedule: cosine
"""


def long_project(folder):
    project = Project(folder, LONG)
    write_images(project.folder / "images/mine", np.arange(300) % 3, np.arange(90) % 3)
    return project


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The numbers of the long sweep when nothing happens to it."""
    project = long_project(tmp_path_factory.mktemp("uninterrupted"))
    project.sweep("--jobs", "2")
    return project.numbers()


def epochs_shown(project, seed=0):
    """How far the curves of a trial have come."""
    folder = project.trial_logs() / f"mixed/seed-{seed}/validation"
    return sum(path.read_bytes().count(b"epoch_loss") for path in folder.glob("events.out.tfevents.*"))


@contextlib.contextmanager
def training(project, *arguments):
    """A sweep that has begun to train, or to go on; killed with all that it started where the test ends early."""
    before = epochs_shown(project)
    with project.start(*arguments) as process:
        try:
            wait_until(lambda: epochs_shown(project) > before, process)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def stop(project, process, number):
    """Interrupt a sweep and say how many epochs of its first trial are kept."""
    if number == signal.SIGINT:
        interrupt(process)  # to the whole group, as a terminal does
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert "stopping at the end of the running epochs" in err
    assert re.search(
        r"stopped: 0 of 2 trials are done and kept; go on with: python .*sweep\.py tiny\.yaml --jobs 1", err
    )
    (checkpoint,) = (project.results / "_records/.checkpoints").glob("*/state.json")
    return json.loads(checkpoint.read_text())["epochs_done"]


def test_a_trial_that_is_interrupted_again_and_again_comes_to_the_same_bits(tmp_path, uninterrupted):
    """By Ctrl-C, by SIGTERM, by the death of the parent, which leaves no workers; then it is let go on to its end."""
    project, epochs = long_project(tmp_path), [0]
    for number in (signal.SIGINT, signal.SIGTERM):
        with training(project, "--jobs", "1") as process:
            epochs.append(stop(project, process, number))
    assert 0 < epochs[1] < epochs[2] < 150
    if HAS_PROC:
        with training(project, "--jobs", "2") as process:
            left = children(process.pid)
            assert len(workers(process.pid)) == 2
            process.kill()
            process.wait()
            wait_until(lambda: not any(map(is_running, left)), seconds=15)
            process.stdout.read(), process.stderr.read()  # the last holder of the pipes is gone

    project.sweep("--jobs", "1")
    assert different(project.numbers(), uninterrupted) == []
    for part in ("train", "validation"):
        found = scalars(project.trial_logs() / f"mixed/seed-0/{part}")
        assert [step for step, _ in found["epoch_loss"]] == list(range(len(project.record("mixed")["history"]["loss"])))
    for leftovers in (".checkpoints/*/*", ".drafts/*"):
        assert not list((project.results / "_records").glob(leftovers))


def test_interrupted_twice_stops_now_and_loses_nothing_finished(tmp_path, uninterrupted):
    project = long_project(tmp_path)
    with training(project, "--jobs", "1") as process:
        wait_until(lambda: epochs_shown(project, seed=1), process)  # so seed 0 is done
        interrupt(process)
        interrupt(process)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert project.trials()["mixed", 0]["status"] == "done"
    said = project.sweep("--jobs", "1")
    assert "1 done, 1 to train" in said.stdout
    assert different(project.numbers(), uninterrupted) == []


@needs_proc
def test_a_killed_worker_costs_a_second_try_of_its_trial(tmp_path, uninterrupted):
    project = long_project(tmp_path)
    with training(project, "--jobs", "1") as process:
        (worker,) = workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in out + err) == (0, False), out + err
    assert different(project.numbers(), uninterrupted) == []


def test_two_sweeps_at_once_train_each_trial_once(tmp_path, uninterrupted):
    project, seen = long_project(tmp_path), {}
    with training(project, "--jobs", "1") as first, project.start("--jobs", "1") as second:

        def have_ended():
            for path in project.results.glob("_records/*/record.json"):
                with contextlib.suppress(FileNotFoundError):  # just being replaced, which it should not be
                    seen.setdefault(path, set()).add((path.stat().st_ino, path.stat().st_mtime_ns))
            return first.poll() is not None and second.poll() is not None

        wait_until(have_ended, seconds=240)
        said = [process.communicate() for process in (first, second)]
    if [first.returncode, second.returncode] != [0, 0]:
        pytest.fail("\n".join(part for output in said for part in output))  # whole: `assert` shortens it
    assert "Traceback" not in str(said)
    assert [len(versions) for versions in seen.values()] == [1, 1]
    assert different(project.numbers(), uninterrupted) == []
    claimed = [int(number) for number in re.findall(r"trained (\d+) trials? in", said[0][0] + said[1][0])]
    assert sum(claimed) == 2, said


# ---- other images -------------------------------------------------------------------------------------------------


def write_images(folder, labels_train, labels_test, size=8):
    """Four gzipped files: class k is a bright row k in noise."""
    rng, arrays = np.random.default_rng(0), []
    for labels in (labels_train, labels_test):
        images = rng.integers(0, 80, (len(labels), size, size))
        images[np.arange(len(labels)), np.asarray(labels) % size] += 150
        arrays += [images, labels]
    write_idx(folder, *arrays, ending=".gz")


OWN = "dataset: {idx: images/mine}\nseeds: 1\ntraining: {epochs: 8, learning_rate: 0.01}\narchitectures:\n  - [16]\n"


def test_images_of_ones_own_of_another_size_and_number_of_classes(tmp_path):
    project = Project(tmp_path, OWN)
    write_images(project.folder / "images/mine", np.arange(300) % 3, np.arange(90) % 3)
    said = project.sweep("--jobs", "1")
    assert "idx:mine: 300 training and 90 test images of 8x8" in said.stdout
    row = project.rows()["16"]
    assert row["params"] == str(64 * 16 + 16 + 16 * 3 + 3)
    assert row["dataset"] == "idx:mine"
    assert float(row["test_accuracy"]) > 0.95
    with np.load(project.record_folder("16") / "predictions.npz") as predictions:
        assert predictions["probabilities"].shape == (90, 3)

    shutil.rmtree(project.folder / "images/mine")
    write_images(project.folder / "images/mine", np.arange(300) % 3, np.arange(89) % 3)
    assert "0 done, 1 to train" in project.sweep("--dry-run").stdout  # other images, other trials


def test_a_class_may_be_missing_from_a_small_limit(tmp_path):
    project = Project(tmp_path, OWN)
    write_images(project.folder / "images/mine", [0] * 300 + list(range(10)), list(range(10)), size=10)
    said = project.sweep("--jobs", "1", "--limit", "8")
    assert "8 training and 10 test images" in said.stdout
    assert 0 <= float(project.rows("tiny+limit-8")["16"]["test_accuracy"]) <= 1


@pytest.mark.parametrize("limit", [1, 5])
def test_too_few_images_to_keep_any_for_validation_are_said_so(tmp_path, limit):
    project = Project(tmp_path, "dataset: synthetic\nseeds: 1\narchitectures:\n  - [8]\n")
    with project.start("--limit", str(limit), "--jobs", "1") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode in (1, 2)
    assert "Traceback" not in out + err
    assert "Warning" not in err
    assert re.search(r"validation|limit", err.splitlines()[0])


@pytest.mark.slow
@pytest.mark.skipif("FASHION_MNIST_DIR" not in os.environ, reason="FASHION_MNIST_DIR does not name the real images")
def test_the_real_images(tmp_path):
    project = Project(tmp_path, "seeds: 1\narchitectures:\n  - [64, 32]\n")
    images = {"FASHION_MNIST_DIR": os.environ["FASHION_MNIST_DIR"]}
    said = project.sweep("--limit", "3000", "--epochs", "3", "--jobs", "1", environment=images)
    assert "fashion_mnist: 3,000 training and 10,000 test images" in said.stdout
    assert said.stderr == ""
    quick = "tiny+epochs-3+limit-3000"
    row = project.rows(quick)["64-32"]
    assert (row["params"], row["dataset"]) == ("52650", "fashion_mnist")
    assert 0.6 < float(row["test_accuracy"]) < 0.9
    assert len(read_csv(project.results / quick / "trials.csv")) == 1
    before = state(project.folder)
    again = project.sweep("--limit", "3000", "--epochs", "3", "--data-dir", images["FASHION_MNIST_DIR"])
    assert "1 done, 0 to train" in again.stdout
    assert state(project.folder) == before
