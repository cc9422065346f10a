"""Classifiers by scikit-learn itself, and images as it wants them; for test_classifiers and test_baseline_trials."""

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC

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
