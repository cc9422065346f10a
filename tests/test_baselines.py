# ruff: noqa: E501 (messages stand in the table as a person reads them, in one line)
"""Baselines against scikit-learn by hand: names and bounds, the split, every figure, and their place in a sweep."""

import inspect
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn
import threadpoolctl
from one_trial import draw_images, worker, write_images  # noqa: F401 - worker is a fixture
from one_trial import run as run_trial
from pydantic import ValidationError
from sklearn import metrics as reference
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sweeping import Made, Project, different, done_record, put_record, read_csv, scalars

from fmnist_mlp.data.source import load_data
from fmnist_mlp.data.split import limit_indices, stratified_folds, stratified_split
from fmnist_mlp.errors import SweepError
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results import ranking
from fmnist_mlp.results.record import DamagedRecord
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile import classifiers
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.in_words import changes
from fmnist_mlp.sweepfile.names import name_problem
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.schema import json_schema
from fmnist_mlp.sweepfile.sweep import Baseline, Overrides, over_budget
from fmnist_mlp.sweepfile.trials import list_trials
from fmnist_mlp.training import baseline as baseline_module
from fmnist_mlp.training.baseline import log_probabilities

THEIRS = {
    classifier.__name__: classifier
    for classifier in (
        LogisticRegression, ExtraTreesClassifier, RandomForestClassifier, HistGradientBoostingClassifier,
        KNeighborsClassifier, LinearSVC, SVC, MLPClassifier,
    )
}  # fmt: skip
# Quick on a hundred images; those that are not named here are quick with their defaults.
QUICK = {
    "ExtraTreesClassifier": {"n_estimators": 7},
    "RandomForestClassifier": {"n_estimators": 7, "max_features": 0.5},
    "HistGradientBoostingClassifier": {"max_iter": 3, "max_leaf_nodes": 5},
    "KNeighborsClassifier": {"n_neighbors": 3},
    "MLPClassifier": {
        "hidden_layer_sizes": (9, 8),
        "learning_rate_init": 0.05,
        "tol": 10.0,
        "n_iter_no_change": 40,
    },  # 41 epochs
}
DECIDES_ONLY = {"LinearSVC", "SVC"}
RANDOM = set(THEIRS) - {"KNeighborsClassifier"}


def theirs(name, seed, **arguments):
    """scikit-learn's own, told nothing but these arguments and the seed."""
    return THEIRS[name](**arguments, **({"random_state": seed} if name in RANDOM else {}))


def vectors(images):
    return (images.reshape(len(images), -1).astype(np.float32) * np.float32(1 / 255)).astype(np.float32)


@pytest.fixture(scope="module")
def tiny():
    """Pixels 0 to 1 as vectors, and labels: 120 to train on, 40 to predict."""
    x, y = draw_images(160, seed=5)
    return vectors(x[:120].astype(np.uint8)), y[:120], vectors(x[120:].astype(np.uint8)), y[120:]


# ---- the closed list against scikit-learn's own -------------------------------------------------------------------

LEFT_OUT = {
    "all": {"random_state", "n_jobs", "verbose", "warm_start"},  # ours, or not about the result
    "LogisticRegression": {"penalty", "l1_ratio", "dual", "intercept_scaling"},  # other solvers only
    "ExtraTreesClassifier": {"min_weight_fraction_leaf", "oob_score", "max_samples", "monotonic_cst"},
    "RandomForestClassifier": {"min_weight_fraction_leaf", "oob_score", "max_samples", "monotonic_cst"},
    "HistGradientBoostingClassifier": {
        "loss", "monotonic_cst", "interaction_cst", "categorical_features", "scoring",
    },
    "KNeighborsClassifier": {"algorithm", "leaf_size", "metric_params"},  # how neighbours are found
    "LinearSVC": {"penalty", "dual", "multi_class", "intercept_scaling"},
    "SVC": {"probability", "cache_size", "decision_function_shape", "break_ties"},
    "MLPClassifier": set(),
}  # fmt: skip


def test_the_closed_list_is_the_one_that_is_promised():
    assert set(CLASSIFIERS) == set(THEIRS)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_arguments_and_defaults_are_those_of_scikit_learn(name):
    signature = inspect.signature(THEIRS[name]).parameters
    fields = CLASSIFIERS[name].model_fields
    assert set(signature) - set(fields) == (LEFT_OUT["all"] | LEFT_OUT[name]) & set(signature)
    for key, info in fields.items():
        assert info.default == signature[key].default, key


CANDIDATES = [
    None, True, False, -2, -1, 0, 1, 2, 3, 10**6, 10**12, -0.5, 0.0, 1e-12, 0.3, 0.999, 1.0, 1.5, 2.0, 1e300, math.inf,
    math.nan, "", "x", "auto", "scale", "sqrt", "log2", "balanced", [], [3], [4, 3], [0], ["a"], [True], {}, {"a": 1},
]  # fmt: skip


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_whatever_value_is_taken_scikit_learn_takes_too(name):
    """By scikit-learn's own validation; and of every argument some values are taken and some are not."""
    for key, info in CLASSIFIERS[name].model_fields.items():
        taken = refused = 0
        choices = [v for kinds in THEIRS[name]._parameter_constraints[key] for v in getattr(kinds, "options", ())]
        for value in [*CANDIDATES, *choices, info.default]:
            value = list(value) if isinstance(value, tuple) else value
            try:
                made = CLASSIFIERS[name](**{key: value})
            except ValidationError:
                refused += 1
                continue
            taken += 1
            THEIRS[name](**{key: getattr(made, key)})._validate_params()
        assert taken, key
        assert refused, key


def test_a_share_of_all_pixels_is_all_of_them_and_one_pixel_is_one():
    assert classifiers.ExtraTreesClassifier(max_features=1.0) == classifiers.ExtraTreesClassifier(max_features=None)
    assert classifiers.ExtraTreesClassifier(max_features=1).short_name() == "ExtraTreesClassifier-max_features1"
    assert classifiers.ExtraTreesClassifier(max_features=1.0).short_name() == "ExtraTreesClassifier-max_features_none"


@pytest.mark.parametrize(
    ("classifier", "name", "in_python"),
    [
        (classifiers.LogisticRegression(), "LogisticRegression", "LogisticRegression()"),
        (classifiers.LogisticRegression(C=1), "LogisticRegression", "LogisticRegression()"),
        (
            classifiers.SVC(gamma=0.05, kernel="poly", C=10, shrinking=False),
            "SVC-C10-kernel_poly-gamma0.05-shrinking_false",
            "SVC(C=10, kernel='poly', gamma=0.05, shrinking=False)",
        ),
        (
            classifiers.MLPClassifier(hidden_layer_sizes=[64, 32], alpha=1e-5),
            "MLPClassifier-hidden_layer_sizes64x32-alpha1e-05",
            "MLPClassifier(hidden_layer_sizes=(64, 32), alpha=1e-05)",
        ),
    ],
)
def test_names_say_what_differs_from_the_defaults(classifier, name, in_python):
    assert classifier.short_name() == name
    assert classifier.in_short() == in_python
    assert name_problem(name) is None
    given = eval(in_python, dict(THEIRS)).get_params()
    assert all(given[key] == getattr(classifier, key) for key in type(classifier).model_fields)


# ---- fitting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_gives_what_scikit_learn_gives_by_hand(name, tiny):
    x_train, y_train, x, _ = tiny
    arguments = QUICK.get(name, {})
    fitted = baseline_module.fit(CLASSIFIERS[name](**arguments), x_train, y_train, num_classes=4, seed=3)
    by_hand = theirs(name, seed=3, **arguments).fit(x_train, y_train)
    predictions = fitted.predict(x)
    np.testing.assert_array_equal(predictions.classes, by_hand.predict(x))
    assert len(set(predictions.classes)) == 4
    if name in DECIDES_ONLY:
        assert predictions.probabilities is None
    else:
        np.testing.assert_array_equal(predictions.probabilities, by_hand.predict_proba(x).astype(np.float64))
    assert fitted.seconds > 0
    assert fitted.version == sklearn.__version__


@pytest.mark.parametrize("name", sorted({"ExtraTreesClassifier", "RandomForestClassifier", "MLPClassifier"}))
def test_the_seed_is_the_random_state(name, tiny):
    x_train, y_train, x, _ = tiny
    fits = [
        baseline_module.fit(CLASSIFIERS[name](**QUICK[name]), x_train, y_train, 4, seed).predict(x).probabilities
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


@pytest.mark.parametrize(
    ("classifier", "params", "size"),
    [
        (classifiers.LogisticRegression(), 64 * 4 + 4, ""),
        (classifiers.LogisticRegression(fit_intercept=False), 64 * 4, ""),
        (classifiers.LinearSVC(), 64 * 4 + 4, ""),
        (classifiers.LinearSVC(fit_intercept=False), 64 * 4, ""),
        (classifiers.MLPClassifier(hidden_layer_sizes=[6, 5], solver="lbfgs"), 64 * 6 + 6 + 6 * 5 + 5 + 5 * 4 + 4, ""),
        (classifiers.KNeighborsClassifier(), None, "120 images"),
        # A stump is a root and two leaves.
        (classifiers.ExtraTreesClassifier(n_estimators=2000, max_depth=1), None, "2,000 trees, 6,000 nodes"),
        (classifiers.RandomForestClassifier(n_estimators=1, max_leaf_nodes=2), None, "1 tree, 3 nodes"),
        # Of each class a tree a round, of two leaves.
        (classifiers.HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=2), None, "20 trees, 60 nodes"),
    ],
)
def test_sizes_are_those_counted_by_hand(classifier, params, size, tiny):
    fitted = baseline_module.fit(classifier, tiny[0], tiny[1], num_classes=4, seed=0)
    assert (fitted.params, fitted.size) == (params, size)


def test_of_trees_that_scikit_learn_hides_nothing_is_said():
    assert classifiers.HistGradientBoostingClassifier().describe_size(object()) == ""


def test_support_vectors_are_the_images_with_a_weight(tiny):
    x_train, y_train, *_ = tiny
    fitted = baseline_module.fit(classifiers.SVC(), x_train, y_train, num_classes=4, seed=0)
    assert fitted.params is None
    assert fitted.size == f"{len(SVC().fit(x_train, y_train).support_)} support vectors"


@pytest.mark.parametrize("name", sorted(set(CLASSIFIERS) - DECIDES_ONLY))
def test_a_class_that_never_came_has_no_probability(name, tiny):
    x_train, y_train, x, _ = tiny
    kept = y_train != 1
    fitted = baseline_module.fit(CLASSIFIERS[name](**QUICK.get(name, {})), x_train[kept], y_train[kept], 5, seed=0)
    predictions = fitted.predict(x)
    assert predictions.probabilities.shape == (40, 5)
    assert not predictions.probabilities[:, [1, 4]].any()
    assert predictions.probabilities.sum(axis=1) == pytest.approx(1)
    assert not {1, 4} & set(predictions.classes)


def test_a_training_cut_short_is_a_note_said_once_and_no_warning(tiny):
    fitted = baseline_module.fit(classifiers.LogisticRegression(max_iter=1), tiny[0], tiny[1], num_classes=4, seed=0)
    (note,) = fitted.notes
    assert note == "ConvergenceWarning: lbfgs failed to converge after 1 iteration(s) (status=1)"
    assert baseline_module.fit(classifiers.LogisticRegression(), tiny[0], tiny[1], 4, seed=0).notes == ()


def test_a_note_is_one_line_of_no_great_length_said_once(tiny, monkeypatch):
    def fit(self, x, y):
        for _ in range(3):
            warnings.warn(f"beware {'!' * 1000}\nadvice", UserWarning, stacklevel=1)
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(KNeighborsClassifier, "fit", fit)
    monkeypatch.setattr(KNeighborsClassifier, "n_samples_fit_", 120, raising=False)
    notes = baseline_module.fit(classifiers.KNeighborsClassifier(), tiny[0], tiny[1], 4, seed=0).notes
    assert notes == (f"UserWarning: beware {'!' * 280}", "RuntimeWarning: overflow")


def test_fitting_and_predicting_take_one_core(tiny, monkeypatch):
    seen = []

    def spy(method):
        def call(self, *arguments):
            seen.append({library["num_threads"] for library in threadpoolctl.threadpool_info()})
            return method(self, *arguments)

        return call

    for name in ("fit", "predict_proba"):
        monkeypatch.setattr(LogisticRegression, name, spy(getattr(LogisticRegression, name)))
    with threadpoolctl.threadpool_limits(2):
        baseline_module.fit(classifiers.LogisticRegression(), tiny[0], tiny[1], 4, seed=0).predict(tiny[2])
        around = {library["num_threads"] for library in threadpoolctl.threadpool_info()}
    assert seen == [{1}, {1}]
    assert 2 in around, "there is more than one core to take"


@pytest.mark.parametrize(
    "probabilities",
    [
        [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5]],
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],  # each label had none
        np.random.default_rng(0).dirichlet([0.05, 1, 1], 3).tolist(),
    ],
)
def test_the_loss_of_impossible_labels_is_that_of_scikit_learn(probabilities):
    from fmnist_mlp.results.statistics import cross_entropy

    labels, probabilities = np.array([0, 2, 2]), np.array(probabilities)
    expected = reference.log_loss(labels, probabilities, labels=[0, 1, 2])
    assert cross_entropy(labels, log_probabilities(probabilities)) == pytest.approx(expected, rel=1e-12)


def test_rough_costs_grow_with_what_is_asked_for():
    cost = {
        "trees": classifiers.ExtraTreesClassifier().rough_cost(48_000),
        "twice the trees": classifiers.ExtraTreesClassifier(n_estimators=200).rough_cost(48_000),
        "half the images": classifiers.ExtraTreesClassifier().rough_cost(24_000),
        "support vectors": classifiers.SVC().rough_cost(48_000),
        "half of theirs": classifiers.SVC().rough_cost(24_000),
    }
    assert cost["twice the trees"] == 2 * cost["trees"]
    assert cost["half the images"] == cost["trees"] / 2
    assert cost["half of theirs"] == cost["support vectors"] / 4
    assert all(classifier().rough_cost(1) > 0 for classifier in CLASSIFIERS.values())


# ---- reading a sweep file -----------------------------------------------------------------------------------------


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads text as `b.yaml` of an empty folder."""
    monkeypatch.chdir(tmp_path)

    def load(text, **overrides):
        (tmp_path / "b.yaml").write_text(text)
        return load_sweep("b.yaml", Overrides(**overrides))

    return load


def fingerprints(sweep):
    return [one.fingerprint for one in list_trials(sweep, data_identity="images")]


def fingerprints_of(load, item, before="", **overrides):
    """Of a sweep of one baseline, as flow YAML."""
    return fingerprints(load(f"{before}\nseeds: 2\nbaselines:\n  - {item}\n", **overrides))


EXAMPLE = """
baselines:
  - LogisticRegression
  - ExtraTreesClassifier: {n_estimators: 200}
  - SVC:
  - name: logistic-pca
    LogisticRegression: {C: 0.1, max_iter: 200}
    preprocess: [standardize, {pca: 0.9}]
"""


def test_the_example_of_the_documentation_means_what_it_says(load):
    sweep = load(EXAMPLE)
    assert all(isinstance(baseline, Baseline) for baseline in sweep.architectures)
    assert [baseline.name for baseline in sweep.architectures] == [
        "LogisticRegression",
        "ExtraTreesClassifier-n_estimators200",
        "SVC",
        "logistic-pca",
    ]
    assert [baseline.classifier for baseline in sweep.architectures] == [
        classifiers.LogisticRegression(),
        classifiers.ExtraTreesClassifier(n_estimators=200),
        classifiers.SVC(),
        classifiers.LogisticRegression(C=0.1, max_iter=200),
    ]
    assert [baseline.line for baseline in sweep.architectures] == [3, 4, 5, 6]
    assert [len(baseline.training.preprocess) for baseline in sweep.architectures] == [0, 0, 0, 2]
    assert len(fingerprints(sweep)) == len(set(fingerprints(sweep))) == 4 * 5


def test_baselines_stand_behind_architectures_and_grids(load):
    sweep = load("grid: {depth: 1, units: 4}\nbaselines: [SVC]\narchitectures: [[8]]\n")
    assert [item.name for item in sweep.architectures] == ["8", "4", "SVC"]


def test_a_stack_of_a_grid_leaves_a_baseline_its_name(load):
    sweep = load("grid: {depth: 1, units: [4, 5]}\nbaselines: [{name: '4', SVC: {}}]\n")
    names = [item.name for item in sweep.architectures]
    assert names[1:] == ["5", "4"]
    assert names[0].startswith("4-")


def test_preprocessing_makes_an_automatic_name_of_its_own(load):
    sweep = load("baselines: [SVC, {SVC: {}, preprocess: {pca: 20}}, {SVC: , preprocess: [standardize, {pca: 0.9}]}]")
    assert [item.name for item in sweep.architectures] == ["SVC", "SVC-pca20", "SVC-standardize-pca0.9"]


def test_the_preprocessing_of_the_whole_file_is_a_baselines_too(load):
    sweep = load("training: {preprocess: standardize}\nbaselines: [SVC, {SVC: {}, name: raw, preprocess: []}]")
    assert [len(item.training.preprocess) for item in sweep.architectures] == [1, 0]
    assert sweep.architectures[0].name == "SVC"


def test_what_decides_no_number_changes_no_fingerprint(load):
    plain = fingerprints_of(load, "LogisticRegression")
    assert fingerprints_of(load, "{name: renamed, LogisticRegression: {}}  # explained") == plain
    assert fingerprints_of(load, "{LogisticRegression: {max_iter: 100, C: 1}}") == plain
    training = "training: {epochs: 7, optimizer: sgd, learning_rate: 0.5, threads: 2, activation: tanh}"
    assert fingerprints_of(load, "LogisticRegression", training) == plain
    assert fingerprints_of(load, "LogisticRegression", epochs=3) == plain
    assert len(set(plain)) == 2, "one a seed"


@pytest.mark.parametrize(
    ("item", "before"),
    [
        ("{LogisticRegression: {C: 2}}", ""),
        ("LinearSVC", ""),
        ("{LogisticRegression: {}, preprocess: standardize}", ""),
        ("LogisticRegression", "training: {validation_split: 0.3}"),
        ("LogisticRegression", "limit: 100"),
        ("LogisticRegression", "folds: 3"),
    ],
)
def test_what_decides_numbers_changes_the_fingerprint(load, item, before):
    assert not set(fingerprints_of(load, item, before)) & set(fingerprints_of(load, "LogisticRegression"))


def test_one_core_is_a_baselines_whatever_architectures_get(load):
    sweep = load("training: {threads: 4}\narchitectures: [[8]]\nbaselines: [SVC]")
    assert [item.training.threads for item in sweep.architectures] == [4, 1]


MISTAKES = [
    ("baselines:", 1, "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own line, got nothing"),
    ("baselines: SVC", 1, "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own line, got 'SVC'"),
    ("baselines: []", 1, "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own line, got []"),
    ("baselines: [7]", 1, "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments such as {LogisticRegression: {C: 0.1}}, got 7 (baseline number 1)"),
    ("baselines: [SVC, {}]", 1, "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments such as {LogisticRegression: {C: 0.1}}, got {} (baseline number 2)"),
    ("baselines: [[SVC]]", 1, "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments such as {LogisticRegression: {C: 0.1}}, got a list (baseline number 1)"),
    ("baselines: [LogisticRegresion]", 1, "unknown classifier 'LogisticRegresion'; did you mean 'LogisticRegression'? (baseline number 1)"),
    ("baselines: [svc]", 1, "unknown classifier 'svc'; did you mean 'SVC'? (baseline number 1)"),
    ("baselines: [KNN]", 1, "unknown classifier 'KNN'; did you mean 'KNeighborsClassifier'? (baseline number 1)"),
    ("baselines: [{name: rf, RandomForest: {}}]", 1, "unknown classifier 'RandomForest'; did you mean 'RandomForestClassifier'? (baseline 'rf')"),
    ("baselines: [GaussianNB]", 1, f"unknown classifier 'GaussianNB'; known: {', '.join(THEIRS)} (baseline number 1)"),
    ("baselines: [{name: empty}]", 1, "a baseline is one classifier, such as {LogisticRegression: {C: 0.1}}, got none (baseline 'empty')"),
    ("baselines: [{SVC: {}, LinearSVC: {}}]", 1, "a baseline is one classifier, such as {LogisticRegression: {C: 0.1}}, got 2: SVC and LinearSVC (baseline number 1)"),
    ("baselines: [{KNeighborsClassifier: 3}]", 1, "KNeighborsClassifier takes its arguments by name (n_neighbors, weights, metric, p), as {KNeighborsClassifier: {n_neighbors: 3}}, got 3 (baseline number 1)"),
    ("baselines: [{KNeighborsClassifier: [3]}]", 1, "KNeighborsClassifier takes its arguments by name (n_neighbors, weights, metric, p), as {KNeighborsClassifier: {n_neighbors: 3}}, got a list (baseline number 1)"),
    ("baselines:\n  - SVC:\n      c: 3", 3, "SVC has no argument 'c'; did you mean 'C'? (baseline number 1)"),
    ("baselines:\n  - SVC:\n    C: 3", 3, "C is an argument of SVC: write {SVC: {C: ...}} (baseline number 1)"),
    ("baselines:\n  - SVC:\n    epochs: 3", 3, "epochs is for architectures, a baseline does not take it (baseline number 1)"),
    ("baselines:\n  - SVC:\n    max_params: 3", 3, "max_params is for architectures, a baseline does not take it (baseline number 1)"),
    ("baselines:\n  - SVC:\n    nmae: mine", 3, "unknown key 'nmae'; did you mean 'name'? (baseline number 1)"),
    ("baselines: [{SVC: {random_state: 1}}]", 1, "random_state is not for a sweep file to set: it is the seed of the trial (baseline number 1)"),
    ("baselines: [{ExtraTreesClassifier: {n_jobs: -1}}]", 1, "n_jobs is not for a sweep file to set: each trial has one core, and other trials run beside it (baseline number 1)"),
    ("baselines:\n  - SVC\n  - SVC: {random_state: 3}", 3, "random_state is not for a sweep file to set: it is the seed of the trial (baseline number 2)"),
    ("baselines: [{SVC: {C: 0}}]", 1, "SVC C must be above 0, got 0 (baseline number 1)"),
    ("baselines: [{SVC: {C: .inf}}]", 1, "SVC C must be a number above 0, got .inf (baseline number 1)"),
    ("baselines: [{SVC: {C: .nan}}]", 1, "SVC C must be a number above 0, got .nan (baseline number 1)"),
    ("baselines: [{SVC: {C: '1'}}]", 1, "SVC C must be a number above 0, got '1'; write it without quotes: C: 1 (baseline number 1)"),
    ("baselines: [{SVC: {kernel: precomputed}}]", 1, "SVC kernel must be rbf, linear, poly or sigmoid, got 'precomputed' (baseline number 1)"),
    ("baselines: [{SVC: {gamma: scal}}]", 1, "SVC gamma must be scale, auto or a number at least 0, got 'scal'; did you mean 'scale'? (baseline number 1)"),
    ("baselines: [{SVC: {probability: true}}]", 1, None),
    ("baselines: [{LogisticRegression: {solver: liblinear}}]", 1, "LogisticRegression solver must be lbfgs, newton-cg, newton-cholesky, sag or saga, got 'liblinear' (baseline number 1)"),
    ("baselines: [{LogisticRegression: {max_iter: 1e3}}]", 1, "LogisticRegression max_iter must be a whole number from 1 to 1,000,000, got 1e3 (baseline number 1)"),
    ("baselines: [{LogisticRegression: {max_iter: 0}}]", 1, "LogisticRegression max_iter must be from 1 to 1,000,000, got 0 (baseline number 1)"),
    ("baselines: [{ExtraTreesClassifier: {max_features: 1.5}}]", 1, "ExtraTreesClassifier max_features must be sqrt, log2, a whole number from 1, a share above 0 and at most 1.0, or null for all, got 1.5 (baseline number 1)"),
    ("baselines: [{ExtraTreesClassifier: {class_weight: {0: 5}}}]", 1, "ExtraTreesClassifier class_weight must be balanced, got a mapping (key: value) (baseline number 1)"),
    ("baselines: [{MLPClassifier: {hidden_layer_sizes: [64, 0]}}]", 1, "MLPClassifier hidden_layer_sizes must be a whole number from 1 to 1,000,000, or a list of 1 to 200 of them, got a list (baseline number 1)"),
    ("baselines: [{MLPClassifier: {learning_rate: 0.1}}]", 1, "MLPClassifier learning_rate must be constant, invscaling or adaptive, got 0.1 (baseline number 1)"),
    ("baselines: [{HistGradientBoostingClassifier: {early_stopping: never}}]", 1, "HistGradientBoostingClassifier early_stopping must be auto (above 10,000 images), true or false, got 'never' (baseline number 1)"),
    ("baselines: [{SVC: {}, name: 3}]", 1, "name must be text, got 3; write it in quotes: '3'"),
    ("baselines: [{SVC: {}, name: ../x}]", 1, "name must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', got '../x'"),
    ("baselines:\n  - SVC\n  - SVC: {C: 1.0}", 3, "baseline 'SVC' would be the same trials as 'SVC' in line 2; remove line 2 or line 3, or change one"),
    ("architectures:\n  - name: svc\n    layers: [8]\nbaselines:\n  - SVC", 5, "two architectures are named 'SVC', in line 2 (as 'svc': upper and lower case do not count) and in line 5; give one of them another name:"),
    ("baselnes: [SVC]", 1, "unknown key 'baselnes'; did you mean 'baselines'?"),
    ("seeds: 3", None, "'architectures:' is missing, the list of layer stacks to train (or 'grid:', which makes one)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES, ids=[text for text, *_ in MISTAKES])
def test_each_mistake_gets_one_message_at_its_line(load, text, line, message):
    with pytest.raises(SweepError) as caught:
        load(text + "\n")
    first, *rest = str(caught.value).split("\n")
    where = "b.yaml:" if line is None else f"b.yaml:{line}:"
    if message is None:
        assert first.startswith(f"{where} SVC has no argument 'probability'; known: C, kernel, ")
    else:
        assert first == f"{where} {message}"
    assert not any(more.startswith("b.yaml") for more in rest), rest


def test_all_mistakes_are_told_at_once(load):
    text = "baselines:\n  - KNN\n  - SVC: {C: -1, gamma: -1, n_jobs: 2}\n  - {SVC: {}, preprocess: [whitening]}\n"
    with pytest.raises(SweepError) as caught:
        load(text)
    told = [line for line in str(caught.value).split("\n") if line.startswith("b.yaml")]
    assert [line.partition(" ")[0] for line in told] == [
        "b.yaml:2:",
        "b.yaml:3:",
        "b.yaml:3:",
        "b.yaml:3:",
        "b.yaml:4:",
    ]


def test_more_components_than_pixels_are_refused_at_their_line(load):
    sweep = load("baselines:\n  - SVC\n  - SVC:\n    preprocess: {pca: 65}\n")
    with pytest.raises(SweepError, match=r"b\.yaml:4: preprocess pca can have at most 64 components"):
        check_shapes(sweep, (8, 8), 4)


@pytest.mark.parametrize("name", ["MLPClassifier", "HistGradientBoostingClassifier"])
@pytest.mark.parametrize(
    ("counts", "fraction"),
    [([9, 1], 0.5), ([2, 2], 0.5), ([2, 2], 0.25), ([2, 2], 0.75), ([9, 9], 0.05), ([9, 9], 0.1)],
)
def test_early_stopping_on_too_few_images_is_known_beforehand(name, counts, fraction):
    classifier = CLASSIFIERS[name](early_stopping=True, validation_fraction=fraction, max_iter=2)
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    try:
        baseline_module.fit(classifier, x, y, len(counts), seed=0)
    except ValueError:
        assert "early_stopping sets" in classifier.misfit(counts)
    else:
        assert classifier.misfit(counts) == ""


def test_a_budget_of_parameters_stops_no_baseline(load):
    sweep = load("max_params: 10\narchitectures: [[8]]\nbaselines: [LogisticRegression]\n")
    assert over_budget(sweep, check_shapes(sweep, (8, 8), 4)) == {"8"}


def test_the_schema_knows_every_classifier_and_argument():
    schema = json_schema()
    baseline = schema["$defs"]["BaselineEntry"]
    assert set(baseline["properties"]) == {"name", "preprocess", *CLASSIFIERS}
    assert baseline["oneOf"] == [{"required": [name]} for name in CLASSIFIERS]
    for name, classifier in CLASSIFIERS.items():
        assert baseline["properties"][name]["anyOf"] == [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]
        arguments = schema["$defs"][name]["properties"]
        assert set(arguments) == set(classifier.model_fields)
        assert all(part["description"] for part in arguments.values())
    assert {"required": ["baselines"]} in schema["anyOf"]


# ---- one trial ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(worker, tmp_path_factory):  # noqa: F811
    return write_images(tmp_path_factory.mktemp("data") / "images")


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


# ---- in the table -------------------------------------------------------------------------------------------------

BOTH = """
seeds: 2
training: {epochs: 3}
architectures:
  - [8]
baselines:
  - LogisticRegression
  - SVC
  - ExtraTreesClassifier: {n_estimators: 9}
"""


def baseline_record(one, size="", params=None, version="1.9.1", **figures):
    """What `done_record` makes for an architecture, for a baseline."""
    record = done_record(one, dataset="idx:tiny", **figures)
    measured = record.measured | {"epoch_seconds": []}
    changes = {"params": params, "trainable_params": params, "flops": None, "model_bytes": 0, "size": size}
    changes |= {"history": {}, "weights": "", "measured": measured}
    changes |= {"environment": {"device": "cpu", "scikit-learn": version}}
    if one.architecture.name == "SVC":
        changes["metrics"] = {n: None if n.endswith(("loss", "ece")) else v for n, v in record.metrics.items()}
    return type(record).model_validate(record.model_dump() | changes)


@pytest.fixture
def both(tmp_path):
    """One architecture and three baselines, two seeds each, all done."""
    made = Made(tmp_path, BOTH)
    for i, one in enumerate(made.plan):
        figures = {"val_accuracy": 0.8 + i / 100, "test_accuracy": 0.7 + i / 100, "val_loss": 0.5 - i / 100}
        if isinstance(one.architecture, Baseline):
            sizes = {"LogisticRegression": ("", 260 + one.seed), "SVC": ("12 support vectors", None)}
            size, params = sizes.get(one.architecture.name, (f"9 trees, {40 + one.seed} nodes", None))
            record = baseline_record(one, size, params, **figures)
        else:
            record = made.record(one, **figures)
        made.records[one.fingerprint] = record
        folder = put_record(made.results, record)
        if record.is_baseline:
            (folder / "model.keras").unlink()
    return made


def rows_of(made):
    rows = made.write_tables()
    return {row["architecture"]: row for row in rows}, read_csv(made.folder / "trials.csv")


def test_a_baseline_is_a_row_among_the_others(both):
    rows, trials = rows_of(both)
    assert list(rows) == ["8", "LogisticRegression", "SVC", "ExtraTreesClassifier-n_estimators9"]
    assert [row["layers"] for row in rows.values()][1:] == [
        "LogisticRegression()",
        "SVC()",
        "ExtraTreesClassifier(n_estimators=9)",
    ]
    assert [row["params"] for row in rows.values()][1:] == [260, None, None], "260 and 261, rounded to even"
    assert [row["size"] for row in rows.values()] == [None, None, "12 support vectors", "9 trees, 40 nodes"]
    for name in ("flops", "epochs", "model_bytes", "latency_seconds", "epoch_seconds", "images_per_second"):
        assert [row[name] for row in rows.values()][1:] == [None, None, None], name
    assert [row["trials"] for row in rows.values()] == [2] * 4
    assert rows["SVC"]["test_loss"] is None
    assert rows["SVC"]["test_accuracy"] == pytest.approx(0.745)
    assert [one["params"] for one in trials] == [str(both.sizes["8"].params)] * 2 + ["260", "261"] + [""] * 4
    assert [one["epochs"] for one in trials] == ["3", "3"] + [""] * 6
    assert [one["size"] for one in trials][-2:] == ["9 trees, 40 nodes", "9 trees, 41 nodes"]
    assert all(one["loop"] == "" and one["scikit_learn"] == "1.9.1" for one in trials[2:])
    assert {row["mixed"] for row in rows.values()} == {None}


def test_verdicts_compare_baselines_with_architectures(both):
    """Each is two hundredths better than the one before, on both seeds: two are too few to say so."""
    rows, _ = rows_of(both)
    assert [row["verdict"] for row in rows.values()] == [*["too few seeds"] * 3, "best"]
    assert [row["behind_best"] for row in rows.values()] == pytest.approx([0.06, 0.04, 0.02, 0])


def test_a_selection_by_loss_leaves_out_who_has_none(both):
    both.sweep = both.sweep.model_copy(update={"select_by": "val_loss"})
    rows, _ = rows_of(both)
    assert rows["SVC"]["verdict"] == "no loss"
    assert rows["ExtraTreesClassifier-n_estimators9"]["verdict"] == "best"
    best = ranking.rank(both.state).best_trials
    assert {name: one.seed for name, one in best.items()} == dict.fromkeys(rows, 1), "SVC's by its val_accuracy"


def test_models_are_those_of_architectures_alone(both):
    both.write_tables()
    both.show_models()
    assert [path.name for path in (both.folder / "models").iterdir()] == ["8.keras"]


def test_another_version_of_scikit_learn_is_told(both):
    one = both.plan[2]
    both.records[one.fingerprint] = baseline_record(one, params=260, version="1.8.0")
    rows, _ = rows_of(both)
    assert rows["LogisticRegression"]["mixed"] == "scikit-learn 1.8.0 and 1.9.1"
    assert [row["mixed"] for name, row in rows.items() if name != "LogisticRegression"] == [None] * 3


def test_the_table_for_people_has_no_word_none(both):
    both.write_tables()
    text = (both.folder / "results.md").read_text()
    assert "None" not in text
    assert "nan" not in text
    assert "No probabilities, so no loss: SVC." in text


def test_new_nodes_of_a_tree_are_a_new_table(both):
    rows, _ = rows_of(both)
    one = both.plan[-2]
    both.records[one.fingerprint] = both.records[one.fingerprint].model_copy(update={"size": "9 trees, 1 node"})
    assert rows_of(both)[0]["ExtraTreesClassifier-n_estimators9"]["size"] == "9 trees, 1 node"
    assert rows["ExtraTreesClassifier-n_estimators9"]["size"] == "9 trees, 40 nodes"


def test_a_session_of_a_baseline_has_its_figures_and_no_empty_one(both, tmp_path):
    logs = SweepLogs(tmp_path / "logs", both.sweep, both.results)
    logs.sync(both.plan, both.records)
    found = {one.architecture.name: scalars(logs.trial_folder(one)) for one in both.plan}
    assert set(found["SVC"]) >= {"test_accuracy", "val_accuracy"}
    assert not {"test_loss", "val_loss"} & set(found["SVC"])


def test_what_changed_of_a_baseline_is_told_by_its_arguments(both, tmp_path):
    both.results.registry.claim_sweep(both.sweep, both.plan)
    text = BOTH.replace("  - LogisticRegression", "  - {name: LogisticRegression, LogisticRegression: {C: 0.5}}")
    (tmp_path / "small.yaml").write_text(text)
    plan = list_trials(load_sweep(tmp_path / "small.yaml"), data_identity="tiny")
    assert changes(both.results.registry.last_plan(both.sweep), plan) == ["LogisticRegression: C 1 -> 0.5"]


# ---- whole sweeps -------------------------------------------------------------------------------------------------

TINY = """\
dataset: synthetic
limit: 600
seeds: 2
training: {epochs: 2}
architectures:
  - [16]
baselines:
  - LogisticRegression
  - name: trees
    ExtraTreesClassifier: {n_estimators: 20}
    preprocess: {pca: 10}
  - LinearSVC: {max_iter: 50}
"""
NAMES = ["16", "LogisticRegression", "trees", "LinearSVC-max_iter50"]


@pytest.fixture(scope="module")
def _trained_once(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("finished"), TINY)
    project.said = project.sweep("--jobs", "2")
    return project


@pytest.fixture
def finished(_trained_once, tmp_path):
    copy = _trained_once.copy(tmp_path / "project")
    copy.said = _trained_once.said
    return copy


def test_a_dry_run_lists_baselines_and_trains_nothing(tmp_path):
    project = Project(tmp_path, TINY)
    said = project.sweep("--dry-run").stdout
    assert said.startswith("tiny: 1 architecture and 3 baselines, 8 trials: 0 done, 8 to train\n")
    assert "ExtraTreesClassifier(n_estimators=20)" in said
    assert not project.results.exists()


@pytest.mark.slow
def test_networks_and_baselines_are_one_sweep(finished):
    said = finished.said.stdout
    assert "tiny: 1 architecture and 3 baselines, 8 trials: 0 done, 8 to train" in said
    rows = finished.rows()
    assert list(rows) == NAMES
    assert [row["trials"] for row in rows.values()] == ["2"] * 4
    verdicts = [row["verdict"] for row in rows.values()]
    assert verdicts.count("best") == 1
    assert set(verdicts) <= {"best", "worse", "undecided", "too few seeds"}
    assert [row["params"] for row in rows.values()] == [str(784 * 16 + 16 + 16 * 10 + 10), "7850", "", "7850"]
    assert rows["trees"]["size"].startswith("20 trees, ")
    assert rows["LinearSVC-max_iter50"]["test_loss"] == ""
    assert [path.name for path in (finished.results / "tiny" / "models").iterdir()] == ["16.keras"]
    assert len(list((finished.results / "_latency").iterdir())) == 1, "that of the network"
    assert all(float(row["test_accuracy"]) > 0.3 for name, row in rows.items() if name != "16")
    for name in NAMES:
        assert f"tiny/{name}/seed-1" in {f"tiny/{folder}" for folder in finished.curves()}
    found = scalars(finished.trial_logs() / "trees" / "seed-1")
    trials = finished.trials()
    assert found["test_accuracy"][0][1] == pytest.approx(float(trials["trees", 1]["test_accuracy"]))


@pytest.mark.slow
def test_one_process_gives_the_numbers_of_two_workers(finished, tmp_path):
    alone = Project(tmp_path / "alone", TINY)
    alone.sweep("--jobs", "0")
    assert different(finished.numbers(), alone.numbers()) == []


@pytest.mark.slow
def test_only_what_is_new_is_trained_again(finished):
    finished.write(
        TINY.replace("name: trees", "name: wood").replace("- LogisticRegression", "- SVC\n  - LogisticRegression")
    )
    said = finished.sweep("--jobs", "1").stdout
    assert "10 trials: 8 done, 2 to train" in said
    assert "device: " in said
    assert {name for name, row in finished.rows().items() if row["trials"] == "2"} == {
        "16", "SVC", "LogisticRegression", "wood", "LinearSVC-max_iter50",
    }  # fmt: skip
    said = finished.sweep().stdout
    assert "10 done, 0 to train" in said
    assert "device: " not in said, "no worker was started"


@pytest.mark.slow
def test_a_baseline_that_nobody_asks_for_is_cleaned_away(finished):
    finished.write(TINY.replace("  - LinearSVC: {max_iter: 50}\n", ""))
    command = [sys.executable, "-m", "fmnist_mlp", "clean"]
    done = subprocess.run(command, cwd=finished.folder, env=finished.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "a record that no sweep asks for" in line]
    assert [
        line.partition(": a record that no sweep asks for: ")[2] for line in sorted(lines, key=lambda s: s[-40:])
    ] == [
        "LinearSVC(max_iter=50), seed 0, 600 images",
        "LinearSVC(max_iter=50), seed 1, 600 images",
    ]
