"""Made-up sweeps with scores, curves and predictions, and the page that a report makes of them."""

import base64
import dataclasses

import numpy as np
import pytest
from pages import read_page
from sweeping import Made

from fmnist_mlp.files import seal
from fmnist_mlp.report.report import report
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results import table
from fmnist_mlp.results.record import Latency


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


def whole_page(made, source=None, **changes):
    """The page of a report whose pictures are all there; it says nothing that only a program would."""
    page = read_page(write_report(made, source, **changes))
    assert len(page.images) == len(plots(made))
    words = {word.strip(".,;:()") for word in page.text.split()}
    assert words & {"None", "nan", "NaN", "inf", "Infinity", "{}", "[]"} == set()
    return page
