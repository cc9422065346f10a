"""What TensorBoard shows of one trial beside its curves, made where the model and the images are at hand.

Confusion matrix, surest mistakes, precision-recall curves and the last hidden layer go into the record.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset
from fmnist_mlp.logs.events import image_value, tensor_value, write_run
from fmnist_mlp.report.plots_scores import draw_confusion_counts, draw_mistakes
from fmnist_mlp.report.summaries import choose_samples
from fmnist_mlp.results.statistics import confusion_counts

# TensorBoard's Time Series opens the first two groups of tags by their names: pictures come behind epoch_accuracy and
# epoch_loss, and behind all other scalars.
CONFUSION_MATRIX, MISTAKES = "where_it_errs/confusion_matrix", "where_it_errs/mistakes"

_MOST_MISTAKES = 25

# Precision-recall curves of ten classes with so many points take 24 KB; with more classes they get fewer.
_MOST_THRESHOLDS, _MOST_POINTS = 101, 5_000


def write_scores(
    draft: Path, exported, images: Dataset, predicted: np.ndarray, probabilities: np.ndarray | None
) -> None:
    """Put what the test images show of a trained model into the draft of its record.

    One event file with the confusion matrix and the most confident mistakes as pictures and the precision-recall curve
    of each class; and what the last hidden layer makes of a sample of the images, for the embedding projector. Some
    0.1 MiB in all (0.25 where that layer is wide), whatever the number of test images.

    Args:
        draft: of the record.
        exported: `models.exported_model`; it takes images as they are stored. None for a baseline, which has no layers.
        images: the data set.
        predicted: the class that the model gives each test image: integers, `(n,)`.
        probabilities: of each class, `(n, num_classes)`; None where there are none, and so neither curves nor
            confidence.
    """
    labels, names = images.y_test, images.class_names
    counts = confusion_counts(labels, predicted, images.num_classes)
    about = f"How many of {len(predicted):,} test images of each class (row) were given which class (column)."
    values = [image_value(CONFUSION_MATRIX, draw_confusion_counts(counts, names), about)]
    if probabilities is not None:
        confidence = probabilities[np.arange(len(predicted)), predicted].astype(np.float32)
        surest = choose_samples(labels, predicted, confidence, _MOST_MISTAKES).confident
        if len(surest):
            about = f"The {len(surest)} most confident of {len(predicted) - counts.trace():,} mistakes, surest first."
            sheet = draw_mistakes(images.x_test[surest], labels[surest], predicted[surest], confidence[surest], names)
            values.append(image_value(MISTAKES, sheet, about))
        values += _precision_recall_values(labels, probabilities, names)
    write_run(draft / "events", "scores", [(0, values)])
    if exported is not None:
        sample = images.x_test[projector_sample(images.y_test)]
        _keep_last_hidden_layer(draft / "events" / HIDDEN, exported, sample)


def _precision_recall_values(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> list:
    """A summary value a class, as TensorBoard's pr_curves plugin lays it out.

    Its tensor is (6, thresholds): true and false positives, true and false negatives, precision, recall, where an image
    counts as positive whose probability is at least the threshold; the thresholds divide 0 to 1 evenly.
    """
    from tensorboard.plugins.pr_curve import metadata

    num_classes = len(class_names)
    thresholds = max(11, min(_MOST_THRESHOLDS, _MOST_POINTS // num_classes))
    # Which thresholds a probability reaches: those up to this one.
    reached = np.floor(probabilities.astype(np.float64) * (thresholds - 1)).astype(np.int64)  # (images, classes)
    is_class = labels[:, None] == np.arange(num_classes)
    values = []
    for c, name in enumerate(class_names):
        counts = [
            np.bincount(reached[chosen, c], minlength=thresholds)[::-1].cumsum()[::-1].astype(np.float32)
            for chosen in (is_class[:, c], ~is_class[:, c])
        ]
        true_positives, false_positives = counts
        positives, negatives = np.count_nonzero(is_class[:, c]), np.count_nonzero(~is_class[:, c])
        curve = np.stack(
            [
                true_positives,
                false_positives,
                negatives - false_positives,
                positives - true_positives,
                true_positives / np.maximum(true_positives + false_positives, 1),
                true_positives / max(positives, 1),
            ]
        )
        about = f"Precision against recall of {name}, by the least probability that counts; test images."
        kind = metadata.create_summary_metadata(name, about, thresholds)
        values.append(tensor_value(f"precision_recall/{name}", curve.astype(np.float32), kind))
    return values


HIDDEN = "last_hidden_layer.npz"

_SAMPLE = 500

# 500 images x 128 numbers x 2 bytes are 125 KiB, and about half of that compressed.
_MOST_DIMENSIONS = 128


def projector_sample(labels: np.ndarray) -> np.ndarray:
    """The test images that the embedding projector shows: the first 500 // num_classes of each class, in their order.

    Args:
        labels: of the test images, integers `(n,)`.

    Returns:
        Their indices, rising.
    """
    classes = np.unique(labels)
    each = max(1, _SAMPLE // max(1, len(classes)))
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in classes]))


def _keep_last_hidden_layer(path: Path, exported, images: np.ndarray) -> None:
    """What the output layer is given for each image, float16 `(images, dimensions)`.

    A layer of more than 128 units is kept as its first 128 principal components over these images: distances, and
    with them PCA and t-SNE, stay what they were, but for what the other components hold.
    """
    hidden = images
    for layer in exported.layers[:-2]:  # without logits and softmax
        hidden = layer(hidden)
    hidden = np.asarray(hidden, np.float32).reshape(len(images), -1)
    units = hidden.shape[1]
    if units > _MOST_DIMENSIONS:
        hidden = principal_components(hidden, _MOST_DIMENSIONS)
    limit = np.finfo(np.float16).max
    np.savez_compressed(path, hidden=np.clip(hidden, -limit, limit).astype(np.float16), units=units)


def principal_components(x: np.ndarray, dimensions: int) -> np.ndarray:
    """Scores of the first principal components, `(n, dimensions)`; by the n x n matrix of products, as n is small."""
    centered = (x - x.mean(axis=0)).astype(np.float64)
    values, vectors = np.linalg.eigh(centered @ centered.T)  # rising
    return vectors[:, ::-1][:, :dimensions] * np.sqrt(np.maximum(values[::-1][:dimensions], 0))
