"""Fit a classifier of scikit-learn, and say how large it is and what it predicts: the `trainer.Trainer` of baselines.

Nothing is ever pickled: of a baseline its figures and predictions are kept, no model.
"""

import importlib
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fmnist_mlp.data.source import Dataset
from fmnist_mlp.sweepfile.classifiers import Classifier
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.sweep import UNKNOWN_SIZE, Baseline
from fmnist_mlp.training import preprocess
from fmnist_mlp.training.preprocess import one_core
from fmnist_mlp.training.trainer import Assignment, Predictions, Trained

# What a zero costs is a matter of convention; this is that of sklearn.metrics.log_loss for 64-bit numbers: 36 nats.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)

_NOTE_LENGTH = 300  # characters of one warning that are kept


class ClassifierTrainer:
    """One classifier after the other. Fitting has no epochs to stop at: a stop waits for it, twice ends it."""

    has_epochs = False

    def planned_size(self, architecture: Baseline, images: Dataset) -> StackSize:
        return UNKNOWN_SIZE

    def train(self, images: Dataset, assignments: Sequence[Assignment]) -> Iterator[Trained]:
        for assignment in assignments:
            yield self._train(images, assignment)

    def _train(self, images: Dataset, assignment: Assignment) -> Trained:
        trial, indices = assignment.trial, assignment.train_indices
        steps = assignment.preprocessing or preprocess.fit((), images.x_train[indices])

        def vectors(x: np.ndarray) -> np.ndarray:
            return steps.transform(x).reshape(len(x), -1)  # float32, (n, values)

        x_train, y_train = vectors(images.x_train[indices]), images.y_train[indices]
        fitted = fit(trial.architecture.classifier, x_train, y_train, images.num_classes, trial.seed)
        return Trained(
            predict=lambda x: fitted.predict(vectors(x)),
            size=StackSize(fitted.params, fitted.params, flops=None),
            seconds=fitted.seconds,
            size_in_words=fitted.size,
            notes=fitted.notes,
            environment={"device": "cpu", "scikit-learn": fitted.version},
        )


def fit(classifier: Classifier, x_train: np.ndarray, y_train: np.ndarray, num_classes: int, seed: int) -> "Fitted":
    """Fit a classifier on one core.

    Args:
        classifier: with its arguments.
        x_train: float32, `(n, d)`.
        y_train: integers, `(n,)`; not every class need occur.
        num_classes: how many there are.
        seed: scikit-learn's `random_state`, where the classifier has one.

    Raises:
        ValueError: scikit-learn cannot fit these images with these arguments, in its own words.
    """
    made = getattr(importlib.import_module(classifier.module), type(classifier).__name__)
    estimator = made(**{key: getattr(classifier, key) for key in type(classifier).model_fields})
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    with warnings.catch_warnings(record=True) as warned, one_core():
        warnings.simplefilter("always")
        began = time.monotonic()
        estimator.fit(x_train, y_train)
        seconds = time.monotonic() - began
    return Fitted(classifier, estimator, num_classes, seconds, _notes(warned))


class Fitted:
    """A classifier that has been fitted.

    Attributes:
        seconds: that fitting took.
        notes: what scikit-learn warned of meanwhile, a line each: `ConvergenceWarning: lbfgs failed to converge ...`.
        params: as `Classifier.count_params`.
        size: as `Classifier.describe_size`.
        version: of scikit-learn.
    """

    def __init__(
        self, classifier: Classifier, estimator: Any, num_classes: int, seconds: float, notes: tuple[str, ...]
    ):
        import sklearn

        self.seconds, self.notes, self.version = seconds, notes, sklearn.__version__
        self.params, self.size = classifier.count_params(estimator), classifier.describe_size(estimator)
        self._classifier, self._estimator, self._num_classes = classifier, estimator, num_classes

    def predict(self, x: np.ndarray) -> Predictions:
        """What it takes some images for; a class that it never saw has probability 0.

        Args:
            x: float32, `(n, d)`.
        """
        with one_core():
            if not self._classifier.gives_probabilities:
                return Predictions(self._estimator.predict(x), None, None)
            probabilities = np.zeros((len(x), self._num_classes))
            probabilities[:, self._estimator.classes_] = self._estimator.predict_proba(x)
        return Predictions(probabilities.argmax(axis=1), probabilities, log_probabilities(probabilities))


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms to take a cross-entropy from: trees and neighbours give probabilities of exactly 0, whose logarithm is
    none, so they are raised to `SMALLEST_PROBABILITY` first."""
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))


def _notes(warned: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Each warning once: its kind and its first line, behind which scikit-learn gives advice."""
    said = (f"{warning.category.__name__}: {warning.message}".splitlines()[0] for warning in warned)
    return tuple(dict.fromkeys(note[:_NOTE_LENGTH].rstrip(": ") for note in said))
