"""One trial of tiny images, run in this process as a worker runs it; for test_trial and whoever else needs one."""

import functools
import json
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx

from fmnist_mlp import files
from fmnist_mlp.data.source import load_data
from fmnist_mlp.engines.calls import Context
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.trials import list_trials
from fmnist_mlp.training import trial
from fmnist_mlp.training import worker as worker_module

SWEEP = """
seeds: 1
training: {epochs: 4, batch_size: 32}
architectures:
  - name: small
    layers: [16, {Dropout: 0.2}]
"""
DIVERGES = SWEEP.replace("[16, {Dropout: 0.2}]", "[64, 64]\n    optimizer: sgd\n    learning_rate: 1000")
DIVERGES = DIVERGES.replace("{epochs: 4", "{activation: linear, epochs: 4")
BOTH = SWEEP.replace("epochs: 4", "epochs: 4, preprocess: [standardize, {pca: 9}], augment: {shift: 1, mixup: 0.4}")


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


def folder_of(record, folder):
    return Results(folder / "results").record_folder(record.fingerprint)


def content(folder, record):
    """The files of a record but its event files and seal, `record.json` without what a clock said."""
    place = folder_of(record, folder)
    found = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file() and path.name != files.SUMS}
    found["record.json"] = {k: v for k, v in json.loads(found["record.json"]).items() if k != "measured"}
    return found
