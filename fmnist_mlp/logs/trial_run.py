"""What TensorBoard shows of one trial beside its curves, made where the model and the images are at hand.

Confusion matrix, surest mistakes, precision-recall curves and the last hidden layer go into the record; the HParams
session is made by whoever knows the present name. Pictures are drawn with Pillow, which a worker loads in 20 ms.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset
from fmnist_mlp.logs.events import hparams_value, image_value, scalar_value, tensor_value, write_run
from fmnist_mlp.results.record import Record
from fmnist_mlp.sweepfile.layers import Dense
from fmnist_mlp.sweepfile.trials import Trial

# Two of the Okabe-Ito colours: they differ for every kind of colour blindness.
BLUE, _ORANGE = (0, 114, 178), (213, 94, 0)


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
    matrix = _confusion_matrix(images.y_test, predicted, images.num_classes)
    about = f"How many of {len(predicted):,} test images of each class (row) were given which class (column)."
    values = [image_value("confusion_matrix", _draw_confusion_matrix(matrix, images.class_names), about)]
    if probabilities is not None:
        mistakes = _most_confident_mistakes(images.y_test, predicted, probabilities)
        if len(mistakes):
            about = f"The {len(mistakes)} most confident of {len(predicted) - matrix.trace():,} mistakes, surest first."
            values.append(image_value("mistakes", _draw_mistakes(images, mistakes, predicted, probabilities), about))
        values += _precision_recall_values(images.y_test, probabilities, images.class_names)
    write_run(draft / "events", "scores", [(0, values)])
    if exported is not None:
        sample = images.x_test[projector_sample(images.y_test)]
        _keep_last_hidden_layer(draft / "events" / HIDDEN, exported, sample)


def hparams_session(group: str, trial: Trial, record: Record) -> list:
    """Events of the trial's own run: its HParams session and its final figures.

    The session's name is the run's, so it links to its curves; those of one group, the repeats of an architecture,
    make one row, with their means. So no hyperparameter may differ between them. No value is ever None: TensorBoard
    drops such rows (tensorboard issue 4770).
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    started = float(record.measured.get("started_at_seconds", 0.0))
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=started, group_name=group)
    for name, value in _hyperparameters(trial, record).items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_SUCCESS if record.is_done else api_pb2.STATUS_FAILURE,
        end_time_secs=started + float(record.measured.get("train_seconds") or 0.0),
    )
    experiment = _experiment(_hyperparameters(trial, record))
    figures = {"params": record.params, **record.metrics}
    values = [
        hparams_value(metadata, metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment)),
        hparams_value(
            metadata, metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)
        ),
        *(
            scalar_value(name, value)
            for name, value in figures.items()
            if name in ("params", *_METRICS) and value is not None
        ),
        hparams_value(metadata, metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)),
    ]
    return [(0, values)]


# TensorBoard's table shows the hyperparameters that differ first, then the metrics in this order.
_DIFFER = ("architecture", "learning_rate", "optimizer", "params", "widths")

_METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss")


def _experiment(hyperparameters: dict[str, str | int | float]):
    """The columns of the HParams table; in every session the same, since TensorBoard takes the first it finds."""
    from tensorboard.plugins.hparams import api_pb2

    def column(name, value):
        kind = api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64
        return api_pb2.HParamInfo(name=name, type=kind, differs=name in _DIFFER)

    return api_pb2.Experiment(
        hparam_infos=[column(name, value) for name, value in hyperparameters.items()],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(group="", tag=tag)) for tag in _METRICS],
    )


def shown_name(trial: Trial) -> str:
    """Refits make a row of their own: they have no validation, and were trained on more images."""
    return f"{trial.architecture.name}{' (refit)' if trial.is_refit else ''}"


def _hyperparameters(trial: Trial, record: Record) -> dict[str, str | int | float]:
    """The same for every trial: a baseline has none or 0 in place of what it lacks."""
    architecture, training, is_network = trial.architecture, trial.architecture.training, not record.is_baseline
    layers = architecture.layers if is_network else ()
    widths = [layer.units for layer in layers if isinstance(layer, Dense)]
    return {
        "architecture": shown_name(trial),
        "depth": len(widths),
        "widths": "-".join(map(str, widths)) or "none",
        "params": record.params or 0,
        "optimizer": training.optimizer if is_network else "none",
        "learning_rate": training.learning_rate if is_network else 0,
        "batch_size": training.batch_size if is_network else 0,
        "epochs": training.epochs if is_network else 0,
        "dataset": record.dataset,
    }


_MISTAKES, _MISTAKES_A_ROW = 25, 5

# Precision-recall curves of ten classes with so many points take 24 KB; with more classes they get fewer.
_MOST_THRESHOLDS, _MOST_POINTS = 101, 5_000


def _confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many images of each class (row) were given which class (column)."""
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _most_confident_mistakes(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the images that were given a wrong class with most confidence, at most `_MISTAKES`, surest first."""
    wrong = np.flatnonzero(labels != predicted)
    confidence = probabilities[wrong, predicted[wrong]].astype(np.float32)
    return wrong[np.argsort(-confidence, kind="stable")[:_MISTAKES]]


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
        values.append(tensor_value(f"precision_recall/{name}", curve, kind))
    return values


def _draw_confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]):
    """A Pillow image: what is right in blue, mistakes in orange, each the darker the larger its share of its row.

    TensorBoard shows pictures some 350 pixels wide: small cells and large letters are what can be read there.
    """
    from PIL import Image, ImageDraw

    n, font = len(matrix), _font(13)
    has_words = n <= 16
    width, height = (40, 28) if has_words else (max(4, 800 // n),) * 2
    left, top = (96, 92) if has_words else (0, 0)
    picture = Image.new("RGB", (left + n * width + 1, top + n * height + 1), "white")
    draw = ImageDraw.Draw(picture)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row in range(n):
        if has_words:
            name = _fitted(class_names[row], 84, font)
            draw.text((left - 6, top + (row + 0.5) * height), name, 0, font, "rm")
            upright = Image.new("RGB", (top, width), "white")
            ImageDraw.Draw(upright).text((6, width / 2), name, 0, font, "lm")
            picture.paste(upright.rotate(90, expand=True), (left + row * width, 0))
        for column in range(n):
            # A mistake in a hundred is to be seen, so mistakes darken by the root of their share.
            is_right = row == column
            share = shares[row, column] if is_right else shares[row, column] ** 0.5
            corner = (left + column * width, top + row * height)
            colour = tuple(round(255 + (part - 255) * share) for part in (BLUE if is_right else _ORANGE))
            draw.rectangle((*corner, corner[0] + width, corner[1] + height), colour, outline=(230, 230, 230))
            if has_words and matrix[row, column]:
                place = (corner[0] + width / 2, corner[1] + height / 2)
                draw.text(place, str(matrix[row, column]), "white" if is_right and share > 0.5 else 0, font, "mm")
    return picture


def _draw_mistakes(images: Dataset, mistakes: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray):
    """A Pillow image: test images enlarged, and below each what the model says, how surely, and what it is."""
    from PIL import Image, ImageDraw

    font, cell_width, cell_height, size = _font(12), 108, 128, 84
    height, width = images.image_shape
    longest = max(height, width)
    scale = size // longest if longest <= size else size / longest  # whole, where it can be: pixels stay square
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    rows = -(-len(mistakes) // _MISTAKES_A_ROW)
    sheet = Image.new("L", (cell_width * min(len(mistakes), _MISTAKES_A_ROW), cell_height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for place, i in enumerate(mistakes):
        x, y = cell_width * (place % _MISTAKES_A_ROW), cell_height * (place // _MISTAKES_A_ROW)
        image = Image.fromarray(np.ascontiguousarray(images.x_test[i])).resize(shape, resampling)
        sheet.paste(image, (x + (cell_width - shape[0]) // 2, y + 4))
        confidence = f" {100 * float(probabilities[i, predicted[i]]):.1f} %"
        said = _fitted(images.class_names[predicted[i]], cell_width - 4 - font.getlength(confidence), font) + confidence
        is_what = _fitted(f"is {images.class_names[images.y_test[i]]}", cell_width - 4, font)
        draw.text((x + cell_width // 2, y + size + 14), said, 0, font, "mm")
        draw.text((x + cell_width // 2, y + size + 29), is_what, 0, font, "mm")
    return sheet


@functools.cache
def _font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fitted(text: str, width: float, font) -> str:
    """The text, cut where it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


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
        hidden = _principal_components(hidden, _MOST_DIMENSIONS)
    limit = np.finfo(np.float16).max
    np.savez_compressed(path, hidden=np.clip(hidden, -limit, limit).astype(np.float16), units=units)


def _principal_components(x: np.ndarray, dimensions: int) -> np.ndarray:
    """Scores of the first principal components, `(n, dimensions)`; by the n x n matrix of products, as n is small."""
    centered = (x - x.mean(axis=0)).astype(np.float64)
    values, vectors = np.linalg.eigh(centered @ centered.T)  # rising
    return vectors[:, ::-1][:, :dimensions] * np.sqrt(np.maximum(values[::-1][:dimensions], 0))
