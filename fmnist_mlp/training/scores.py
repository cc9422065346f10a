"""What a trained model says of some images, and how good that is."""

from dataclasses import dataclass

import numpy as np

from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import ClassScores
from fmnist_mlp.training.trainer import Trained


@dataclass(frozen=True)
class Scored:
    """What a trained model says of some images, and how good that is.

    The probabilities are those that are kept, float16, so that whoever reads them finds the same figures; losses come
    from the logits, at full precision.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None  # float16, (n, num_classes); None of a classifier that gives none
    figures: dict[str, float | None]
    classes: ClassScores

    @classmethod
    def of(cls, trained: Trained, x: np.ndarray, labels: np.ndarray, num_classes: int) -> "Scored":
        """Of uint8 images; without probabilities there is neither a loss nor a calibration error."""
        predictions = trained.predict(x)
        predicted, is_sure = predictions.classes, predictions.probabilities is not None
        kept = predictions.probabilities if is_sure else np.eye(num_classes)[predicted]  # then what it decided
        kept = kept.astype(np.float16)
        scores = metrics.classification_scores(labels, predicted, kept)
        figures = {
            "loss": metrics.cross_entropy(labels, predictions.logits) if is_sure else None,
            "accuracy": float(np.mean(predicted == labels)),
            "macro_precision": scores.macro_precision,
            "macro_recall": scores.macro_recall,
            "macro_f1": scores.macro_f1,
            "ece": scores.ece if is_sure else None,
        }
        classes = ClassScores(
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
            confusion_matrix=scores.confusion_matrix,
        )
        return cls(labels, predicted, kept if is_sure else None, figures, classes)

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """What `predictions.npz` holds of them."""
        arrays = {"label": self.labels.astype(np.uint8), "predicted": self.predicted.astype(np.uint8)}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        return {prefix + name: array for name, array in arrays.items()}


def figures_of(scored: dict[str, Scored]) -> dict[str, float | None]:
    """`test_accuracy`, `val_loss`, ..."""
    return {f"{part}_{name}": value for part, scores in scored.items() for name, value in scores.figures.items()}


def arrays_of(scored: dict[str, Scored]) -> dict[str, np.ndarray]:
    """What `predictions.npz` holds: `label`, `predicted`, ... of the test images, `val_label`, ... of the others."""
    return scored["test"].arrays() | (scored["val"].arrays("val_") if "val" in scored else {})
