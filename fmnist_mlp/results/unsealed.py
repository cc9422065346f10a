"""Records from before records had seals: whether one agrees with itself.

Such a record (format 2) has no checksum, so what it says is compared with what else it holds: its figures with its
predictions and confusion matrix, its losses with its probabilities, its model with its own check sums. Then it gets a
seal (`results`) and this is never asked again. Goes when nobody has such records any more.
"""

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fmnist_mlp.files import UNREADABLE_ARRAYS
from fmnist_mlp.results import statistics as metrics

_FIGURES = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "ece")
_TOLERANCE = 1e-9  # the same arithmetic, perhaps by another version of scikit-learn
_LOSS_TOLERANCE = 0.01  # relative; probabilities are kept in 16 bits, losses come from logits
_LEAST_PROBABILITY = 2.0**-25  # float16 keeps 0 below it


def contradictions(record, folder: Path) -> Iterator[str]:
    """What in a finished record does not agree with the rest of it, a line each; nothing for a sound one.

    Args:
        record: `results.Record`, done.
        folder: where its files are.
    """
    try:
        with np.load(io.BytesIO((folder / "predictions.npz").read_bytes()), allow_pickle=False) as archive:
            arrays = dict(archive)
        for part, scores in record.classes.items():
            yield from _of_predictions(record, part, scores, arrays)
    except (*UNREADABLE_ARRAYS, IndexError) as error:
        yield f"predictions.npz cannot be read ({error})"
    if record.is_baseline:
        return
    if len({len(values) for values in (*record.history.values(), record.measured["epoch_seconds"])}) > 1:
        yield "its history has not the same epochs for every figure"
    if (size := (folder / "model.keras").stat().st_size) != record.model_bytes:
        yield f"model.keras has {size:,} bytes, not {record.model_bytes:,}"
    elif (reason := _why_it_does_not_open(folder / "model.keras")) is not None:
        yield f"model.keras does not open ({reason})"


def _of_predictions(record, part: str, scores, arrays: dict[str, np.ndarray]) -> Iterator[str]:
    prefix = "" if part == "test" else f"{part}_"
    if prefix and f"{prefix}label" not in arrays:  # the first records of this form had test images alone
        return
    labels, predicted = arrays[f"{prefix}label"], arrays[f"{prefix}predicted"]
    probabilities = arrays.get(f"{prefix}probabilities")
    kept = np.eye(len(record.class_names))[predicted] if probabilities is None else probabilities
    found = metrics.classification_scores(labels, predicted, kept)
    if found.confusion_matrix != scores.confusion_matrix:
        yield f"its confusion matrix of the {part} images is not that of predictions.npz"
    for name in ("precision", "recall", "f1"):
        if not all(_agree(*pair) for pair in zip(getattr(scores, name), getattr(found, name), strict=True)):
            yield f"its {name} of classes is not that of predictions.npz"
    figures = {name: getattr(found, name) for name in _FIGURES if name != "accuracy"}
    figures["accuracy"] = float(np.mean(predicted == labels))
    for name, value in figures.items():
        recorded = record.metrics[f"{part}_{name}"]
        if not _agree(recorded, None if name == "ece" and probabilities is None else value):
            yield f"{part}_{name} is {recorded} in record.json, {value:.6g} by predictions.npz"
    loss = record.metrics[f"{part}_loss"]
    if probabilities is not None and loss is not None:
        of_label = np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels]
        least = float(np.mean(-np.log(np.maximum(of_label, _LEAST_PROBABILITY))))
        is_known = of_label.min() > 2 * _LEAST_PROBABILITY  # where some are kept as 0, the loss can only be higher
        if loss < least * (1 - _LOSS_TOLERANCE) - 1e-3 or (is_known and loss > least * (1 + _LOSS_TOLERANCE) + 1e-3):
            yield f"{part}_loss is {loss:.6g} in record.json, about {least:.6g} by predictions.npz"


def _agree(recorded: float | None, found: float | None) -> bool:
    if recorded is None or found is None:
        return recorded is found
    return math.isclose(recorded, found, abs_tol=_TOLERANCE)


def _why_it_does_not_open(path: Path) -> str | None:
    """A `.keras` file is a zip archive with a checksum for each file; looked into without TensorFlow."""
    import h5py  # here: only older records need it

    try:
        with zipfile.ZipFile(path) as archive:
            if (name := archive.testzip()) is not None:
                return f"{name} has another checksum"
            json.loads(archive.read("config.json"))
            with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
                weights.visit(lambda name: None)
    except UNREADABLE_ARRAYS as error:
        return str(error)
    return None
