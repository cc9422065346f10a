"""Sweeps on tiny images on which the mistakes of published systems would show; for the test_published files."""

import numpy as np
import pytest
import sweeping
from idx_files import write_idx
from one_trial import worker  # noqa: F401 - worker is a fixture

from fmnist_mlp.cli.sweep import main
from fmnist_mlp.results.record import Latency


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
def quick(worker):  # noqa: F811
    """What these tests do not look at takes no time: the report's pictures, the measuring of latencies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FASHION_MNIST_DIR", raising=False)
        sweeping.leave_out_pictures(patch)
        patch.setattr("fmnist_mlp.training.latency.measure_latency", no_latency)
        yield


def no_latency(context, task):
    return Latency()
