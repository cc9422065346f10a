"""What the overview shows: of each architecture mean curves, a page, graph and pictures; and the run `_sweep`.

`_sweep` holds the table, the Pareto picture, the layout of the charts of training and validation, and the embedding
projector.
"""

import contextlib
import io
import json
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fmnist_mlp.data.class_names import present
from fmnist_mlp.data.source import DataInfo, DataSource, describe, load_test_images
from fmnist_mlp.errors import SweepError
from fmnist_mlp.logs.events import CURVES, curve_tag, events_in, image_value, scalar_value, tensor_value, text_value
from fmnist_mlp.logs.trial_run import CONFUSION_MATRIX, HIDDEN, MISTAKES, projector_sample
from fmnist_mlp.report import plots
from fmnist_mlp.report.content import subtitle_of
from fmnist_mlp.report.plots_scores import image_png
from fmnist_mlp.report.plots_sweep import draw_cost
from fmnist_mlp.report.summaries import average_histories
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import DamagedRecord
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.in_words import arguments_in_words, value_in_words
from fmnist_mlp.sweepfile.layers import LAYERS
from fmnist_mlp.sweepfile.seeds import seed_in_words
from fmnist_mlp.sweepfile.stacks import complete
from fmnist_mlp.sweepfile.steps import input_shape_of
from fmnist_mlp.sweepfile.sweep import OF_A_BASELINE, Architecture, Baseline
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.words import code_in_markdown, in_markdown

# ---- an architecture's own run ------------------------------------------------------------------------------------


def architecture_page(state: ranking.SweepState, architecture: Architecture | Baseline, info: DataInfo) -> str:
    """Markdown: the stack, what it costs, its settings and the command that trains it."""
    sweep, training = state.sweep, architecture.training.model_dump(mode="json")
    lines = [f"# {architecture.name}", ""]
    if isinstance(architecture, Baseline):
        training = {key: value for key, value in training.items() if key in OF_A_BASELINE}
        arguments = architecture.classifier.model_dump(mode="json").items()
        lines += [f"`{architecture.in_short}` of scikit-learn, to compare with.", "", "| argument | |", "|---|---|"]
        lines += [f"| {name} | {value_in_words(value)} |" for name, value in arguments]
    else:
        size = state.sizes[architecture.name]
        lines += [f"{size.params:,} parameters ({size.trainable_params:,} trainable), {size.flops:,} FLOPs an image."]
        lines += ["", *_stack_lines(architecture, info)]
    training["preprocess"] = ", ".join(step.short_name() for step in architecture.training.preprocess) or None
    settings = training | {
        "dataset": state.dataset,
        "training images": sweep.limit or info.train_images,
        "seeds": ", ".join(map(str, sweep.seeds)),
        "folds": sweep.folds,
    }
    lines += ["", "| setting | |", "|---|---|"]
    given = {name: value for name, value in settings.items() if value is not None}
    lines += [f"| {name} | {in_markdown(value_in_words(value))} |" for name, value in given.items()]
    options = "".join(f" {option}" for option in [sweep.overrides.options] if option)
    command = f"python sweep.py {shlex.quote(str(sweep.path))} --only {architecture.name}{options}"
    return "\n".join([*lines, "", f"Trained by {code_in_markdown(command)}.", ""])


def _stack_lines(architecture: Architecture, info: DataInfo) -> list[str]:
    """A table of the layers: arguments, output, parameters and FLOPs of each."""
    lines = ["| layer | | output | parameters | FLOPs |", "|---|---|---|--:|--:|"]
    shape = input_shape_of(architecture.training.preprocess, info.image_shape)
    for layer in complete(architecture.layers, shape, info.num_classes):
        params, flops = layer.params(shape)[0], layer.flops(shape)
        shape = layer.output_shape(shape)
        in_words = arguments_in_words(layer.keras_arguments())
        output = " x ".join(map(str, shape))
        lines.append(f"| {type(layer).__name__} | {in_words} | {output} | {params:,} | {flops:,} |")
    return lines


def architecture_events(page: str, results: Results, trial: Trial | None) -> list:
    """An architecture's page, and of its best trial the graph, the pictures and the precision-recall curves."""
    events = [(0, [text_value("architecture", page)])]
    if trial is None:
        return events
    with contextlib.suppress(DamagedRecord):
        graph = graph_of(results.read_file(trial.fingerprint, "model.keras"))
        events += [] if graph is None else [(0, graph)]
    for name, kept in results.events(trial.fingerprint).items():
        if name.endswith(".scores"):
            values = [value for event in events_in(kept.read() or b"") for value in event.summary.value]
            for value in values:  # records of earlier versions have names that stand before those of the curves
                value.tag = _FORMER_TAGS.get(value.tag, value.tag)
            events.append((0, values))
    return events


_FORMER_TAGS = {"confusion_matrix": CONFUSION_MATRIX, "mistakes": MISTAKES}


def graph_of(model_file: bytes) -> bytes | None:
    """The exported model as TensorBoard's graph tab shows it, one node a layer; None where the file cannot be read.

    A `GraphDef`, serialized. Read from the file's own description, without Keras: Keras's own summary of a model has
    a form (that of Keras 2) that TensorBoard 2.21 no longer finds the way through.
    """
    from tensorboard.compat.proto import graph_pb2

    try:
        with zipfile.ZipFile(io.BytesIO(model_file)) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        graph = graph_pb2.GraphDef()
        shapes = _output_shapes(layers)
        for i, layer in enumerate(layers):
            settings = layer["config"]
            node = graph.node.add(name=settings["name"], op=layer["class_name"])
            if i:
                node.input.append(layers[i - 1]["config"]["name"])
            dimensions = node.attr["_output_shapes"].list.shape.add().dim
            for length in (-1, *shapes[i]):  # any number of images
                dimensions.add(size=length)
            for name, value in settings.items():
                _set_attribute(node, name, value)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile):
        return None
    return graph.SerializeToString()


def _output_shapes(layers: Sequence[dict]) -> list[tuple[int, ...]]:
    """What each layer of an exported model's description makes of one image.

    The description says it of few layers, so it is computed as in planning. Layers that no sweep file names (softmax,
    those of preprocessing that are not Dense) give the shape that they are given.
    """
    shape, shapes = tuple(layers[0]["config"]["batch_shape"][1:]), []
    for layer in layers:
        kind = LAYERS.get(layer["class_name"])
        if kind is not None:
            arguments = {name: layer["config"][name] for name in kind.model_fields if name in layer["config"]}
            shape = kind.model_validate(arguments).output_shape(shape)
        shapes.append(shape)
    return shapes


def _set_attribute(node, name: str, value: Any) -> None:
    """Of a layer's settings those that say something: numbers, words, truths."""
    kind = {bool: "b", int: "i", float: "f", str: "s"}.get(type(value))
    if kind and name not in ("name", "trainable"):
        setattr(node.attr[name], kind, value.encode() if kind == "s" else value)


# ---- the run of the whole sweep -----------------------------------------------------------------------------------


def sweep_events(state: ranking.SweepState, rows: Sequence[TableRow], networks: Sequence[str]) -> list:
    """The table as text, the Pareto picture, and the layout of the charts of these architectures."""
    values = [text_value("table", table.markdown(state, rows)), _layout_value(networks)]
    with plots.own_style():
        picture = draw_cost(
            subtitle_of(state), rows, state.select_by, "params", state.select_by, margin=state.sweep.margin or 0.0
        )
    if picture:
        about = f"{state.select_by} against parameters; the line joins what no other stack beats in both."
        values.append(image_value("what_it_costs/pareto", picture.png, about))
    # By their number, so that TensorBoard keeps what stood there before more were trained as an earlier step.
    trials = sum(record.is_done for record in state.records.values())
    return [(trials, values)]


# Each chart asks each run: with 19 charts of each measure the page was not drawn after a minute on two busy cores.
MOST_CHARTS = 6


def mean_curves(
    name: str, histories: Sequence[Mapping[str, Sequence[float]]], prefix: str, has_chart: bool = True
) -> list:
    """Of each measure, by epoch, the mean of an architecture's trials.

    Args:
        name: of the architecture.
        histories: of its finished trials.
        prefix: `val_` for validation.
        has_chart: whether Custom Scalars has one, which wants the lowest and highest too.
    """
    curves, events = {measure: average_histories(histories, prefix + measure) for measure in CURVES}, []
    for epoch in range(max(len(curve.mean) for curve in curves.values())):
        values = []
        for measure, curve in curves.items():
            # Early stopping ends some trials before others; those that went so far are shown.
            if epoch < len(curve.trials) and curve.trials[epoch]:
                tag, figures = _chart_tag(name, measure), {curve_tag(measure): curve.mean}
                if has_chart:
                    figures |= {tag: curve.mean, f"{tag}_lowest": curve.low, f"{tag}_highest": curve.high}
                values += [scalar_value(tag, points[epoch]) for tag, points in figures.items()]
        events.append((epoch, values))
    return events


def _chart_tag(architecture: str, measure: str) -> str:
    """With the architecture's name, since a chart of the Custom Scalars tab chooses by tags; behind `epoch_*`."""
    return f"trials_of_{architecture}/{measure}"


def _layout_value(networks: Sequence[str]):
    """The charts of the Custom Scalars tab: an architecture's training and validation, mean and range of its trials.

    One series a chart: it is drawn once for each run that has its tags, which are training and validation.
    """
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    layout = layout_pb2.Layout(version=0)
    for measure in CURVES:
        category = layout.category.add(title=f"{measure}: mean and range of an architecture's trials, by epoch")
        for name in networks:
            tag = _chart_tag(name, measure)
            chart = category.chart.add(title=name)
            chart.margin.series.add(value=tag, lower=f"{tag}_lowest", upper=f"{tag}_highest")
    return tensor_value(metadata.CONFIG_SUMMARY_TAG, layout.SerializeToString(), metadata.create_summary_metadata())


def projector_files(results: Results, trial: Trial, source: DataSource, info: DataInfo) -> dict[str, str | bytes]:
    """The files of the embedding projector: the last hidden layer of the best network, an image and a label a point.

    Nothing where they cannot be had: a record of an earlier version, predictions that cannot be read, other images.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector import projector_config_pb2

    try:
        record = results.load_record(trial.fingerprint)
        (hidden,) = results.load_arrays(trial.fingerprint, f"events/{HIDDEN}", "hidden")
        labels, predicted, chances = results.load_predictions(trial.fingerprint, "label", "predicted", "probabilities")
        # By what is remembered of the files, if they stand.
        is_same = describe(source, results.load_data_memory()).identity == trial.settings["data"]
        images = load_test_images(source) if is_same else ()
    except (DamagedRecord, SweepError):
        return {}
    sample, confidence = projector_sample(labels), chances.max(axis=1).astype(np.float32)
    fits = len(labels) == len(predicted) == len(images) and len(hidden) == len(sample)
    highest = max(labels.max(initial=0), predicted.max(initial=0))
    if record is None or not fits or highest >= len(record.class_names):
        return {}
    names = [name.replace("\t", " ") for name in present(info.class_names, record.class_names)]
    lines = ["class\tpredicted\tright\tconfidence\ttest image"]
    for i in sample:
        is_right = "right" if predicted[i] == labels[i] else "wrong"
        lines.append(f"{names[labels[i]]}\t{names[predicted[i]]}\t{is_right}\t{confidence[i]:.3f}\t{i}")
    numbers = ("\t".join(f"{value:.5g}" for value in row) for row in hidden.astype(np.float64).tolist())
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name=f"{trial.architecture.name}, {seed_in_words(trial.seed)}: last hidden layer",
        tensor_path="last_hidden_layer.tsv",
        metadata_path="labels.tsv",
    )
    embedding.sprite.image_path = "sprite.png"
    embedding.sprite.single_image_dim.extend(reversed(info.image_shape))  # width, height
    return {
        "labels.tsv": "".join(f"{line}\n" for line in lines),
        "last_hidden_layer.tsv": "".join(f"{line}\n" for line in numbers),
        "sprite.png": image_png(_sprite(images[sample])),
        "projector_config.pbtxt": text_format.MessageToString(config),
    }


def _sprite(images: np.ndarray):
    """A Pillow image of all images in a square, row by row."""
    from PIL import Image

    n, height, width = images.shape
    side = int(np.ceil(np.sqrt(n)))
    sheet = np.zeros((side * side, height, width), np.uint8)
    sheet[:n] = images
    sheet = sheet.reshape(side, side, height, width).swapaxes(1, 2).reshape(side * height, side * width)
    return Image.fromarray(sheet)
