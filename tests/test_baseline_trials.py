"""One trial of a baseline from files to record: every figure against scikit-learn by hand on the same split."""

import json

import numpy as np
import pytest
import sklearn
from classifying import DECIDES_ONLY, QUICK, theirs, vectors
from one_trial import run as run_trial
from one_trial import source, worker
from pydantic import ValidationError
from sklearn import metrics as reference
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from fmnist_mlp.data.source import load_data
from fmnist_mlp.data.split import limit_indices, stratified_folds, stratified_split
from fmnist_mlp.results.record import DamagedRecord
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.trials import list_trials

__all__ = ["source", "worker"]  # fixtures, used by name


@pytest.fixture
def fit_one(source, tmp_path):
    """Runs the first trial of a sweep of one baseline: `(record, images, folder)`."""

    def fit_one(item, before="", **options):
        (tmp_path / "tiny.yaml").write_text(f"{before}\nseeds: [2]\nbaselines:\n  - {item}\n")
        images = load_data(source)
        one = list_trials(load_sweep(tmp_path / "tiny.yaml"), data_identity=images.identity)[0]
        return run_trial(one, source, tmp_path, **options), images, tmp_path

    return fit_one


def calibration_error(labels, probabilities):
    """Guo et al. 2017, equation 3, image by image."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    total = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def figures_by_hand(labels, predicted, probabilities):
    average = {"average": "macro", "zero_division": 0}
    figures = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "macro_precision": reference.precision_score(labels, predicted, **average),
        "macro_recall": reference.recall_score(labels, predicted, **average),
        "macro_f1": reference.f1_score(labels, predicted, **average),
        "loss": None,
        "ece": None,
    }
    if probabilities is not None:
        probabilities = probabilities.astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # in float32 they are off by 1e-7
        figures["loss"] = reference.log_loss(labels, probabilities, labels=[0, 1, 2, 3])
        figures["ece"] = calibration_error(labels, probabilities)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["", "preprocess: [standardize, {pca: 0.9}]"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_figure_is_that_of_scikit_learn_by_hand_on_the_same_split(name, steps, fit_one):
    arguments = QUICK.get(name, {})
    written = json.dumps(arguments).replace('"', "").replace("(", "[").replace(")", "]")
    record, images, folder = fit_one(f"{{{name}: {written}{', ' if steps else ''}{steps}}}")
    assert record.is_done, record.error

    train, val = stratified_split(images.y_train, 0.2, seed=2)
    by_hand = theirs(name, seed=2, **arguments)
    x_train, x_val, x_test = map(vectors, (images.x_train[train], images.x_train[val], images.x_test))
    if steps:
        before = make_pipeline(StandardScaler(), PCA(0.9, svd_solver="covariance_eigh"))
        before.fit(x_train.astype(np.float64))
        x_train, x_val, x_test = (before.transform(x).astype(np.float32) for x in (x_train, x_val, x_test))
    by_hand.fit(x_train, images.y_train[train])
    for part, x, labels in (("test", x_test, images.y_test), ("val", x_val, images.y_train[val])):
        probabilities = None if name in DECIDES_ONLY else by_hand.predict_proba(x)
        predicted = by_hand.predict(x)
        for figure, expected in figures_by_hand(labels, predicted, probabilities).items():
            got = record.metrics[f"{part}_{figure}"]
            # Probabilities are kept in 11 bits, and a pixel's last bit may move a loss a little.
            tolerance = {"ece": 1e-3, "loss": 1e-4}.get(figure, 1e-12)
            assert got == (None if expected is None else pytest.approx(expected, abs=tolerance, rel=1e-4)), (
                part,
                figure,
            )
        matrix = reference.confusion_matrix(labels, predicted, labels=[0, 1, 2, 3])
        assert record.classes[part].confusion_matrix == matrix.tolist()

    assert (record.train_images, record.val_images) == (len(train), len(val))
    with np.load(Results(folder / "results").record_folder(record.fingerprint) / "predictions.npz") as kept:
        assert set(kept) == {
            f"{part}{key}"
            for part in ("", "val_")
            for key in ("label", "predicted", *(() if name in DECIDES_ONLY else ("probabilities",)))
        }
        np.testing.assert_array_equal(kept["predicted"], by_hand.predict(x_test))
        np.testing.assert_array_equal(kept["val_label"], images.y_train[val])


def test_a_record_of_a_baseline_says_what_it_is_and_keeps_no_model(fit_one):
    record, _, folder = fit_one("{LogisticRegression: {max_iter: 1}}")
    place = Results(folder / "results").record_folder(record.fingerprint)
    assert sorted(path.name for path in place.iterdir()) == [
        "SHA256SUMS",
        "events",
        "predictions.npz",
        "record.json",
    ]
    assert len(list((place / "events").iterdir())) == 1, "what the test images show; there are no curves"
    assert record == Results(folder / "results").load_record(record.fingerprint)
    assert record.is_baseline
    assert (record.params, record.trainable_params, record.flops) == (64 * 4 + 4, 64 * 4 + 4, None)
    assert (record.model_bytes, record.history, record.weights) == (0, {}, "")
    assert record.notes == ("ConvergenceWarning: lbfgs failed to converge after 1 iteration(s) (status=1)",)
    assert record.environment["scikit-learn"] == sklearn.__version__
    assert record.settings["baseline"] == "LogisticRegression"
    assert record.settings["arguments"] == {"max_iter": 1}
    assert record.settings["training"] == {}, "neither epochs nor an optimizer"
    assert record.measured["train_seconds"] > 0


def test_a_record_without_its_predictions_is_damaged(fit_one):
    record, _, folder = fit_one("SVC")
    results = Results(folder / "results")
    (results.record_folder(record.fingerprint) / "predictions.npz").unlink()
    with pytest.raises(DamagedRecord, match=r"lacks predictions\.npz"):
        results.load_record(record.fingerprint)


@pytest.mark.parametrize("lacking", ["test_accuracy", "val_macro_f1"])
def test_only_losses_and_calibration_may_be_empty(fit_one, lacking):
    record, *_ = fit_one("SVC")
    assert {name for name, value in record.metrics.items() if value is None} == {
        "test_loss", "val_loss", "test_ece", "val_ece",
    }  # fmt: skip
    content = record.model_dump()
    content["metrics"][lacking] = None
    with pytest.raises(ValidationError, match=f"a finished trial without {lacking}"):
        type(record).model_validate(content)


def test_a_network_may_have_no_empty_figure(made):
    content = made.record(made.plan[0]).model_dump()
    content["metrics"]["test_loss"] = None
    with pytest.raises(ValidationError, match="a finished trial without test_loss"):
        type(made.record(made.plan[0])).model_validate(content)


def test_a_limit_and_a_fold_choose_the_images(fit_one):
    record, images, _ = fit_one("{KNeighborsClassifier: {n_neighbors: 1}}", "folds: 3\nlimit: 90", limit=90)
    pool = limit_indices(images.y_train, 90)
    train, val = stratified_folds(images.y_train[pool], 3, 0, seed=2)
    x = images.x_train.reshape(-1, 64) / 255
    by_hand = KNeighborsClassifier(1).fit(x[pool[train]], images.y_train[pool[train]])
    assert record.metrics["val_accuracy"] == by_hand.score(x[pool[val]], images.y_train[pool[val]])
    assert (record.train_images, record.val_images) == (60, 30)


def test_what_scikit_learn_refuses_is_a_failed_trial_in_its_words(fit_one):
    record, _, folder = fit_one("{KNeighborsClassifier: {n_neighbors: 1000}}")
    assert record.status == "failed"
    assert record.error["type"] == "ValueError"
    assert "n_neighbors = 1000, n_samples_fit = " in record.error["message"]
    assert (record.params, record.flops) == (None, None)
    assert Results(folder / "results").load_record(record.fingerprint) == record


def test_too_little_memory_is_a_failed_trial(fit_one, monkeypatch):
    def fit(self, x, y):
        raise MemoryError("Unable to allocate 3. TiB")

    monkeypatch.setattr(LinearSVC, "fit", fit)
    record, *_ = fit_one("LinearSVC")
    assert record.status == "failed"
    assert record.error["type"] == "MemoryError"
