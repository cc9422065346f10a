"""How far behind the best on test images, against scipy's bootstrap; damaged predictions leave it empty."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from tabulating import OPEN, VALIDATION, made_of, predictions_of

from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.variance import Bounds

TEST_COLUMNS = ("test_behind_best", "test_behind_best_ci95_low", "test_behind_best_ci95_high")


def made_with_predictions(folder, figures=VALIDATION, folds=None, images=200):
    """Architectures that are right on 60, 70 and 80 % of the test images, whatever their figures of validation."""
    made = made_of(folder, figures, folds=folds)
    rng = np.random.default_rng(5)
    share = dict(zip(figures, (0.6, 0.7, 0.8), strict=True))
    for trial in made.plan:
        record = made.records.get(trial.fingerprint)
        if record is not None and record.is_done:
            correct = rng.random(images) < share[trial.architecture.name]
            figures_on_test = record.metrics | {"test_accuracy": correct.mean()}
            made.put(record.model_copy(update={"metrics": figures_on_test}), correct=correct)
    return made


def correct_of(made, *which):
    """Which test images a trial has right, read from its file: 0 or 1, `(images,)`."""
    with np.load(predictions_of(made, *which)) as arrays:
        return (arrays["label"] == arrays["predicted"]).astype(float)


def test_how_far_behind_on_test_images_is_a_paired_bootstrap_over_the_seeds_that_both_have(tmp_path):
    from scipy.stats import bootstrap

    figures = {"a": [0.70, "failed", 0.71, 0.7], "b": [0.80, 0.83, 0.81, 0.8], "c": [0.91, 0.92, 0.92, None]}
    made = made_with_predictions(tmp_path, figures)
    rows = {row["architecture"]: row for row in made.write_tables()}
    assert rows["c"]["verdict"] == "best"
    assert {rows["c"][column] for column in TEST_COLUMNS} == {None}
    for name, shared in (("a", [0, 2]), ("b", [0, 1, 2])):
        of_best, own = (np.mean([correct_of(made, n, seed) for seed in shared], axis=0) for n in ("c", name))
        assert rows[name]["test_behind_best"] == pytest.approx((of_best - own).mean())
        drawn = bootstrap((of_best - own,), np.mean, method="percentile", n_resamples=9999, random_state=0)
        # An end of a percentile interval of 10,000 resamples has a standard error of 0.027 of that of the mean.
        tolerance = 4 * math.sqrt(2) * 0.027 * drawn.standard_error
        low, high = rows[name]["test_behind_best_ci95_low"], rows[name]["test_behind_best_ci95_high"]
        assert (low, high) == pytest.approx(tuple(drawn.confidence_interval), abs=tolerance)
    behind = rows["c"]["test_accuracy"] - rows["b"]["test_accuracy"]
    assert rows["b"]["test_behind_best"] != pytest.approx(behind, abs=1e-6), "seed 3 is not in it"


def test_how_far_behind_on_test_images_is_over_seeds_and_folds_that_both_have(tmp_path):
    """Both have fold 0 of seed 0 and both folds of seed 1."""
    figures = {"a": [0.8, "failed", 0.81, 0.8], "b": [0.9, 0.9, 0.91, 0.92], "c": [None] * 4}
    made = made_with_predictions(tmp_path, figures, folds=2)
    row, best, untrained = made.write_tables()
    shared = [(0, 0), (1, 0), (1, 1)]
    differences = [correct_of(made, "b", *block) - correct_of(made, "a", *block) for block in shared]
    assert best["verdict"] == "best"
    assert row["test_behind_best"] == pytest.approx(np.mean(differences))
    assert {untrained[column] for column in TEST_COLUMNS} == {None}


def without_an_array(path):
    with np.load(path) as arrays:
        label = arrays["label"]
    np.savez(path, label=label)


def with_images(n):
    def damage(path):
        np.savez(path, label=np.zeros(n, np.uint8), predicted=np.zeros(n, np.uint8))

    return damage


def with_labels_of_another_number(path):
    np.savez(path, label=np.zeros(200, np.uint8), predicted=np.zeros(199, np.uint8))


def as_one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(200, np.uint8))


def with_bits(signature, position, bits):
    """Some bits turned in the first part of the archive with this signature, `position` bytes from its beginning."""

    def damage(path):
        content = bytearray(path.read_bytes())
        content[content.index(signature) + position] ^= bits
        path.write_bytes(content)

    return damage


FILE, DIRECTORY = b"PK\x03\x04", b"PK\x01\x02"  # of the ZIP format
DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "text": lambda path: path.write_text("not an archive\n"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "one array": as_one_array,
    "an array less": without_an_array,
    "199 images": with_images(199),
    "no images": with_images(0),
    "labels of another number": with_labels_of_another_number,
    "compressed in another way": with_bits(DIRECTORY, 10, 0x40),
    "encrypted": with_bits(DIRECTORY, 8, 1),
    "longer than the file": with_bits(FILE, 29, 0xFF),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A sweep with predictions, its rows, and how to have the rows again after a change of predictions."""
    made = made_with_predictions(tmp_path_factory.mktemp("compared"))

    def again():
        (made.folder / "_comparison.json").unlink(missing_ok=True)
        return made.write_tables()

    rows = again()
    assert [row["verdict"] for row in rows] == ["worse", OPEN, "best"]
    assert all(row[column] is not None for row in rows[:2] for column in TEST_COLUMNS)
    return SimpleNamespace(rows=rows, again=again, made=made)


@pytest.mark.parametrize("architecture", ["a", "c"], ids=["another", "the best"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_predictions_leave_their_cells_empty_and_nothing_else(damage, architecture, compared):
    path = predictions_of(compared.made, architecture, 1)
    whole = path.read_bytes()
    try:
        DAMAGES[damage](path)
        rows = compared.again()
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(whole)
    emptied = {"a": ["a"], "c": ["a", "b"]}[architecture]
    nothing = {"test_behind_best": metrics.Difference()}
    of_itself = {"test_accuracy_any_images": Bounds(), "test_accuracy_luck_std": None}
    assert rows == [
        row.model_copy(
            update=(nothing if row.architecture in emptied else {})
            | (of_itself if row.architecture == architecture else {})
        )
        for row in compared.rows
    ]
    assert compared.again() == compared.rows
