"""The classifiers of baselines against scikit-learn by hand: names, bounds and defaults, fits and sizes."""

import inspect
import math
import warnings

import numpy as np
import pytest
import sklearn
import threadpoolctl
from classifying import DECIDES_ONLY, QUICK, THEIRS, theirs, vectors
from one_trial import draw_images
from pydantic import ValidationError
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from fmnist_mlp.sweepfile import classifiers
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.names import name_problem
from fmnist_mlp.training import baseline as baseline_module
from fmnist_mlp.training.baseline import log_probabilities


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


@pytest.mark.slow
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
