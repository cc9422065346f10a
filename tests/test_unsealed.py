"""Records from before there were seals: checked against themselves once, then sealed; none is trained again."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from sweeping import put_record

from fmnist_mlp import files
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import ClassScores, DamagedRecord
from fmnist_mlp.results.store import Results


def _model_file():
    weights, model = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.arange(50.0)
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential"}))
        archive.writestr("model.weights.h5", weights.getvalue())
    return model.getvalue()


def _scored(part, labels, logits):
    """Figures, scores by class and arrays of a part of the images, as a trial has them."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted, kept = probabilities.argmax(axis=1), probabilities.astype(np.float16)
    scores = metrics.classification_scores(labels, predicted, kept)
    figures = {
        f"{part}_loss": metrics.cross_entropy(labels, logits),
        f"{part}_accuracy": float(np.mean(predicted == labels)),
        f"{part}_macro_precision": scores.macro_precision,
        f"{part}_macro_recall": scores.macro_recall,
        f"{part}_macro_f1": scores.macro_f1,
        f"{part}_ece": scores.ece,
    }
    classes = ClassScores(
        precision=scores.precision, recall=scores.recall, f1=scores.f1, confusion_matrix=scores.confusion_matrix
    )
    prefix = "" if part == "test" else f"{part}_"
    arrays = {"label": labels, "predicted": predicted.astype(np.uint8), "probabilities": kept}
    return figures, classes, {prefix + name: array for name, array in arrays.items()}


@pytest.fixture
def older(made):
    """A record of format 2 without a seal, whose figures, predictions and model agree: (results, record, folder)."""
    rng, model = np.random.default_rng(0), _model_file()
    parts = {}
    for part, images in (("test", 60), ("val", 40)):
        labels = rng.integers(0, 3, images).astype(np.uint8)
        parts[part] = _scored(part, labels, rng.normal(size=(images, 3)) + 2 * np.eye(3)[labels])
    record = made.record(made.plan[0]).model_copy(
        update={
            "format": 2,
            "metrics": {name: value for figures, _, _ in parts.values() for name, value in figures.items()},
            "classes": {part: classes for part, (_, classes, _) in parts.items()},
            "class_names": ("coat", "bag", "boot"),
            "model_bytes": len(model),
        }
    )
    folder = put_record(made.results, record, model=model)
    np.savez_compressed(
        folder / "predictions.npz", **{k: v for *_, arrays in parts.values() for k, v in arrays.items()}
    )
    (folder / files.SUMS).unlink()
    return made.results, record, folder


def test_a_sound_one_is_believed_sealed_and_from_then_on_verified(older):
    results, record, folder = older
    assert results.load_record(record.fingerprint) == record
    assert not (folder / files.SUMS).exists(), "looking writes nothing"
    assert results.seal_older_records() == 1
    later = Results(results.root)
    assert later.load_record(record.fingerprint) == record
    assert later.seal_older_records() == 0
    path = folder / "record.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DamagedRecord, match="was edited"):
        later.load_record(record.fingerprint)


def test_what_somebody_put_beside_its_files_is_not_sealed(older):
    results, record, folder = older
    ours = {*files.sums_of(folder)}
    for name in (".DS_Store", "notes.txt", "events/.DS_Store"):
        (folder / name).write_bytes(b"1")
    results.load_record(record.fingerprint)
    assert results.seal_older_records() == 1
    assert {*files.read_sums(folder)} == ours
    (folder / "notes.txt").write_bytes(b"2")
    (folder / ".DS_Store").unlink()
    assert Results(results.root).load_record(record.fingerprint) == record


def test_a_failed_one_has_nothing_to_disagree_with(made):
    record = made.record(made.plan[0], failed=True).model_copy(update={"format": 2})
    (made.put(record) / files.SUMS).unlink()
    assert made.results.load_record(record.fingerprint) == record
    assert made.results.seal_older_records() == 1


@pytest.mark.parametrize("part", ["test", "val"])
@pytest.mark.parametrize("name", ["accuracy", "macro_precision", "macro_recall", "macro_f1", "ece", "loss"])
def test_a_changed_figure_contradicts_the_predictions(name, part, older):
    results, record, folder = older
    path, figure = folder / "record.json", record.metrics[f"{part}_{name}"]
    for changed in (figure + 0.1, figure - 0.04):
        text = json.loads(path.read_text())
        text["metrics"][f"{part}_{name}"] = changed
        path.write_text(json.dumps(text))
        with pytest.raises(DamagedRecord, match=f"does not agree with itself: {part}_{name} is "):
            results.load_record(record.fingerprint)
    assert not results.unsealed


def test_a_changed_confusion_matrix_or_score_of_a_class_contradicts_the_predictions(older):
    results, record, folder = older
    path = folder / "record.json"
    whole = path.read_text()
    for key, place, expected in (("confusion_matrix", 0, "confusion matrix"), ("recall", 1, "recall of classes")):
        text = json.loads(whole)
        text["classes"]["test"][key][place] = [1, 2, 3] if key == "confusion_matrix" else 0.123
        path.write_text(json.dumps(text))
        with pytest.raises(DamagedRecord, match=expected):
            results.load_record(record.fingerprint)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "predictions.npz"])
def test_a_changed_byte_anywhere_in_a_file_is_found_or_changes_nothing_that_is_read(name, older):
    """Both are zip archives: their check sums cover the content, and what follows from it is compared."""
    results, record, folder = older
    path = folder / name
    whole = path.read_bytes()
    names = ("label", "predicted", "probabilities")
    predictions = results.load_predictions(record.fingerprint, *names)
    undetected, positions = 0, range(0, len(whole), len(whole) // 97)
    for position in positions:
        content = bytearray(whole)
        content[position] ^= 0x40
        path.write_bytes(content)
        try:
            results.load_record(record.fingerprint)
        except DamagedRecord:
            continue
        undetected += 1  # a date or an attribute in the archive's directory
        for one, other in zip(predictions, results.load_predictions(record.fingerprint, *names), strict=True):
            np.testing.assert_array_equal(one, other)
    assert undetected < len(positions) / 4


@pytest.mark.parametrize("name", ["model.keras", "predictions.npz"])
@pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.99])
def test_a_cut_off_file_is_found(keep, name, older):
    results, record, folder = older
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DamagedRecord, match=name):
        results.load_record(record.fingerprint)


def test_a_newer_record_without_its_seal_is_damaged(made):
    record = made.record(made.plan[0])
    (made.put(record) / files.SUMS).unlink()
    with pytest.raises(DamagedRecord, match="lacks SHA256SUMS"):
        made.results.load_record(record.fingerprint)
