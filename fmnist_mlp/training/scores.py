"""What a trained model says of some images, and how good that is."""

from dataclasses import dataclass, replace

import numpy as np

from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import ClassScores
from fmnist_mlp.training.baseline import Fitted, log_probabilities

_PREDICTION_BATCH_SIZE = 1000


@dataclass(frozen=True)
class Scored:
    """What the exported model, or a baseline, says of some images, and how good that is.

    The probabilities are those that are kept, float16, so that whoever reads them finds the same figures; losses come
    from the logits, at full precision.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None  # float16, (n, num_classes); None of a baseline that gives none
    figures: dict[str, float | None]
    classes: ClassScores

    @classmethod
    def of(cls, scoring, x: np.ndarray, labels: np.ndarray) -> "Scored":
        logits, probabilities = scoring.predict(x, batch_size=_PREDICTION_BATCH_SIZE, verbose=0)
        predicted = probabilities.argmax(axis=1)
        return cls._of(labels, predicted, probabilities.astype(np.float16), metrics.cross_entropy(labels, logits))

    @classmethod
    def of_baseline(cls, fitted: Fitted, x: np.ndarray, labels: np.ndarray, num_classes: int) -> "Scored":
        predicted, probabilities = fitted.predict(x)
        if probabilities is None:
            certain = np.eye(num_classes, dtype=np.float16)[predicted]  # what it decided; nothing is said of how sure
            scored = cls._of(labels, predicted, certain, loss=None)
            return replace(scored, probabilities=None, figures=scored.figures | {"ece": None})
        loss = metrics.cross_entropy(labels, log_probabilities(probabilities))
        return cls._of(labels, predicted, probabilities.astype(np.float16), loss)

    @classmethod
    def _of(cls, labels: np.ndarray, predicted: np.ndarray, kept: np.ndarray, loss: float | None) -> "Scored":
        scores = metrics.classification_scores(labels, predicted, kept)
        figures = {
            "loss": loss,
            "accuracy": float(np.mean(predicted == labels)),
            "macro_precision": scores.macro_precision,
            "macro_recall": scores.macro_recall,
            "macro_f1": scores.macro_f1,
            "ece": scores.ece,
        }
        classes = ClassScores(
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
            confusion_matrix=scores.confusion_matrix,
        )
        return cls(labels, predicted, kept, figures, classes)

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """What `predictions.npz` holds of them."""
        arrays = {"label": self.labels.astype(np.uint8), "predicted": self.predicted.astype(np.uint8)}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        return {prefix + name: array for name, array in arrays.items()}


def figures_of(scored: dict[str, Scored]) -> dict[str, float | None]:
    """`test_accuracy`, `val_loss`, ..."""
    return {f"{part}_{name}": value for part, those in scored.items() for name, value in those.figures.items()}


def arrays_of(scored: dict[str, Scored]) -> dict[str, np.ndarray]:
    """What `predictions.npz` holds: `label`, `predicted`, ... of the test images, `val_label`, ... of the others."""
    return scored["test"].arrays() | (scored["val"].arrays("val_") if "val" in scored else {})
