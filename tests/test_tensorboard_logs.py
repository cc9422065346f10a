"""What lies under `logs/`, read back by TensorBoard itself: its event reader and the answers of its HTTP interface."""

import dataclasses
import functools
import io
import json
import os
import shutil
from unittest.mock import ANY
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image
from sweeping import Made
from test_trial import Asked, run, source, tiny_trials, worker  # noqa: F401 (fixtures)

from fmnist_mlp.data.source import Dataset, DataSource, describe, load_data
from fmnist_mlp.engines.calls import Failure
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.logs.events import is_whole
from fmnist_mlp.logs.live import LiveLog, keep_events
from fmnist_mlp.logs.overview import run_of
from fmnist_mlp.logs.sweep_run import graph_of, mean_curves
from fmnist_mlp.logs.trial_run import (
    CONFUSION_MATRIX,
    MISTAKES,
    principal_components,
    projector_sample,
    write_scores,
)
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.report.plots_scores import draw_confusion_counts
from fmnist_mlp.report.summaries import choose_samples
from fmnist_mlp.results import table
from fmnist_mlp.results.record import failed_record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.read import load_sweep

# TensorBoard 2.21 brings an old bleach; goes when it does.
pytestmark = pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")

SWEEP = """
name: tiny
seeds: 2
training: {epochs: 3, batch_size: 32}
architectures:
  - name: small
    layers: [16, {Dropout: 0.2}]
  - name: hopeless
    layers: [4]
    learning_rate: 1e-2
"""


class Trained:
    """A small sweep with three real trials, the last of four failed, shown under `logs/tiny` and each by itself."""

    def __init__(self, folder, images):
        self.root = folder / "logs"
        self.results = Results(folder / "results")
        self.plan = tiny_trials(folder, SWEEP)
        self.sweep = load_sweep(folder / "tiny.yaml")
        self.logs = SweepLogs(self.root, self.sweep, self.results)
        self.records = {one.fingerprint: run(one, images, folder) for one in self.plan[:3]}
        failed = self.plan[3]
        sizes = check_shapes(self.sweep, (8, 8), 4)
        failure = Failure("TrainingDiverged", "loss became nan", "")
        options = {"environment": {}, "started": 0.0, "seconds": 1.0}
        self.records[failed.fingerprint] = failed_record(failed, sizes["hopeless"], "idx:images", failure, **options)
        self.logs.sync(self.plan, self.records)
        self.images, self.info = load_data(images), describe(images, {})
        self.state = table.SweepState(self.sweep, self.plan, self.records, sizes, "idx:images")
        self.rows = table.write_tables(self.state, self.results)
        self.source = images
        self.show_sweep()

    def show_sweep(self):
        self.logs.show_sweep(self.state, self.rows, self.info, self.source)

    @property
    def trials(self):
        """The logs folder of the trials."""
        return self.logs.trials_folder.parent

    @property
    def best(self):
        """The best trial of the best architecture, by validation."""
        return max(self.plan[:3], key=lambda one: self.records[one.fingerprint].metrics["val_accuracy"])

    def predictions(self, one):
        with np.load(self.results.record_folder(one.fingerprint) / "predictions.npz") as arrays:
            return dict(arrays)


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):  # noqa: F811
    return Trained(tmp_path_factory.mktemp("trained"), source)


def figures_of(record):
    shown = ("test_loss", "test_accuracy", "val_loss", "val_accuracy")
    return {name: value for name, value in record.metrics.items() if name in shown}


def summaries(folder):
    """TensorBoard's own reader: step, value, kind and array of all in the event files of one folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield (
                    event.step,
                    value.tag,
                    value.metadata.plugin_data.plugin_name,
                    tensor_util.make_ndarray(value.tensor),
                )


def read(folder):
    """Tag to [(step, value), ...]; of what is no scalar there are none."""
    found = {}
    for step, tag, kind, array in summaries(folder):
        found.setdefault(tag, []).extend([(step, array.item())] if kind == "scalars" else [])
    return found


# ---- what the event files hold


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run_name", "tag", "name"),
    [
        ("train", "epoch_loss", "loss"),
        ("train", "epoch_accuracy", "accuracy"),
        ("train", "learning_rate", "learning_rate"),
        ("validation", "epoch_loss", "val_loss"),
        ("validation", "epoch_accuracy", "val_accuracy"),
    ],
)
def test_a_curve_has_one_point_an_epoch_and_it_is_the_historys(run_name, tag, name, trained):
    for one in trained.plan[:3]:
        points = read(trained.logs.trial_folder(one) / run_name)[tag]
        assert [step for step, _ in points] == [0, 1, 2]
        assert [value for _, value in points] == pytest.approx(trained.records[one.fingerprint].history[name], rel=1e-6)


def test_a_trials_own_run_holds_its_final_figures_and_its_hparams_session(trained):
    one = trained.plan[0]
    record = trained.records[one.fingerprint]
    found = read(trained.logs.trial_folder(one))
    figures = figures_of(record)
    session = {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    pictures = {CONFUSION_MATRIX, MISTAKES} | {f"precision_recall/{name}" for name in record.class_names}
    assert set(found) - {"_hparams_/experiment"} == set(figures) | session | pictures
    for tag, value in figures.items():
        assert found[tag] == [(0, pytest.approx(value, rel=1e-6))]


# ---- what TensorBoard answers


@pytest.fixture(scope="module")
def ask(trained):
    """Asks TensorBoard over the `logs/` of the trained sweep; with `logs=trained.trials` over each of its trials."""
    return functools.partial(ask_tensorboard, logs=trained.root)


def ask_tensorboard(path, query=None, *, logs, raw=False, **parameters):
    """TensorBoard's web application over a logs folder, all loaded, without a server or a port to wait for."""
    from tensorboard.backend import application
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin
    from tensorboard.plugins.graph import graphs_plugin
    from tensorboard.plugins.hparams import hparams_plugin
    from tensorboard.plugins.image import images_plugin
    from tensorboard.plugins.pr_curve import pr_curves_plugin
    from tensorboard.plugins.projector import projector_plugin
    from tensorboard.plugins.scalar import scalars_plugin
    from tensorboard.plugins.text import text_plugin
    from werkzeug.test import Client

    plugin_classes = (
        scalars_plugin.ScalarsPlugin,
        hparams_plugin.HParamsPlugin,
        custom_scalars_plugin.CustomScalarsPlugin,
        graphs_plugin.GraphsPlugin,
        images_plugin.ImagesPlugin,
        pr_curves_plugin.PrCurvesPlugin,
        projector_plugin.ProjectorPlugin,
        text_plugin.TextPlugin,
    )

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(logs))
    plugins = {}
    context = base_plugin.TBContext(
        data_provider=provider, logdir=str(logs), multiplexer=multiplexer, plugin_name_to_instance=plugins
    )
    plugins |= {one.plugin_name: one(context) for one in plugin_classes}
    client = Client(application.TensorBoardWSGI(list(plugins.values()), data_provider=provider))
    url = f"/data/plugin/{path}"
    answer = client.get(url, query_string=parameters) if query is None else client.post(url, json=query)
    assert answer.status_code == 200, answer.text
    return answer.data if raw else json.loads(answer.text)


def sessions(ask, **options):
    query = {"startIndex": 0, "sliceSize": 1000, "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE"]}
    return {group["name"]: group for group in ask("hparams/session_groups", query, **options)["sessionGroups"]}


def run_names(plan):
    return [f"tiny/{one.architecture.name}/seed-{one.seed}" for one in plan]


def test_the_scalars_tab_lists_every_run_and_its_tags(trained, ask):
    found = ask("scalars/tags", logs=trained.trials)
    finished = run_names(trained.plan[:3])
    assert set(found) == {f"{n}{end}" for n in finished for end in ("", "/train", "/validation")}
    for name in finished:
        assert set(found[name]) == {"test_loss", "test_accuracy", "val_loss", "val_accuracy"}
        assert set(found[f"{name}/train"]) == {"epoch_loss", "epoch_accuracy", "learning_rate"}
        assert set(found[f"{name}/validation"]) == {"epoch_loss", "epoch_accuracy"}


def test_the_scalars_tab_draws_the_history(trained, ask):
    one = trained.plan[1]
    points = ask("scalars/scalars", run=f"{run_names([one])[0]}/validation", tag="epoch_loss", logs=trained.trials)
    assert [step for _, step, _ in points] == [0, 1, 2]
    assert [value for _, _, value in points] == pytest.approx(trained.records[one.fingerprint].history["val_loss"])
    assert sorted(wall for wall, _, _ in points) == [wall for wall, _, _ in points]


def test_the_hparams_tab_knows_every_hyperparameter_and_the_figures_that_matter(ask):
    experiment = ask("hparams/experiment", {})
    assert {info["name"] for info in experiment["hparamInfos"]} == {
        *("architecture", "depth", "widths", "params", "optimizer", "learning_rate", "batch_size", "epochs", "dataset")
    }
    figures = {info["name"]["tag"] for info in experiment["metricInfos"] if not info["name"]["group"]}
    assert figures == {"test_loss", "test_accuracy", "val_loss", "val_accuracy"}


def figures_of_group(group):
    return {m["name"]["tag"]: m["value"] for m in group["metricValues"] if not m["name"]["group"]}


def test_the_hparams_tab_has_one_row_an_architecture_with_the_means_of_its_trials(trained, ask):
    rows = sessions(ask)
    assert sorted(rows) == ["tiny/hopeless", "tiny/small"]
    for those in (trained.plan[:2], trained.plan[2:]):
        name = those[0].architecture.name
        row = rows[f"tiny/{name}"]
        assert row["hparams"]["architecture"] == name
        assert row["hparams"]["learning_rate"] == those[0].architecture.training.learning_rate
        assert row["hparams"]["params"].strip() == f"{trained.state.sizes[name].params:,}"
        assert None not in row["hparams"].values()
        done = [trained.records[one.fingerprint].metrics for one in those if trained.records[one.fingerprint].is_done]
        expected = {tag: np.mean([metrics[tag] for metrics in done]) for tag in figures_of_group(row)}
        assert set(expected) == {"test_loss", "test_accuracy", "val_loss", "val_accuracy"}
        assert figures_of_group(row) == pytest.approx(expected, rel=1e-6)


def test_every_trial_is_a_session_that_links_to_its_run_and_says_how_it_ended(trained, ask):
    found = {s["name"]: s for row in sessions(ask, logs=trained.trials).values() for s in row["sessions"]}
    assert sorted(found) == sorted(run_names(trained.plan)), "the names of the runs"
    for one, name in zip(trained.plan, run_names(trained.plan), strict=True):
        record = trained.records[one.fingerprint]
        assert found[name]["status"] == ("STATUS_SUCCESS" if record.is_done else "STATUS_FAILURE")
        figures = {m["name"]["tag"]: m["value"] for m in found[name]["metricValues"] if not m["name"]["group"]}
        assert figures == pytest.approx(figures_of(record), rel=1e-6)


def test_every_row_of_the_hparams_tab_has_the_same_hyperparameters(ask):
    """One that only some rows have would be None in the others, and TensorBoard drops those (its issue 4770)."""
    assert len({frozenset(row["hparams"]) for row in sessions(ask).values()}) == 1


# ---- what the test images show of a model


def picture(ask, logs, run_name, tag):
    """What the Images tab shows, as an array."""
    (entry,) = ask("images/images", logs=logs, run=run_name, tag=tag, sample=0)
    return pixels(ask("images/individualImage", logs=logs, raw=True, **dict(parse_qsl(entry["query"]))))


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_images_tab_shows_confusion_matrix_and_mistakes_of_every_trial(trained, ask):
    finished = run_names(trained.plan[:3])
    found = {name: set(tags) for name, tags in ask("images/tags", logs=trained.trials).items()}
    assert found == {name: {CONFUSION_MATRIX, MISTAKES} for name in finished}
    assert picture(ask, trained.trials, finished[0], CONFUSION_MATRIX).ndim == 3


def test_pictures_stand_behind_curves_and_two_groups_are_open(ask):
    """Scalars and Time Series open the first two groups of tags, sorted by name."""
    scalars = {tag for tags in ask("scalars/tags").values() for tag in tags}
    images = {tag for tags in ask("images/tags").values() for tag in tags}
    assert images == {CONFUSION_MATRIX, MISTAKES, "what_it_costs/pareto"}
    assert sorted(scalars)[:2] == ["epoch_accuracy", "epoch_loss"]
    assert max(scalars) < min(images)


def test_the_confusion_matrix_is_blue_where_right_and_orange_where_wrong():
    drawn = pixels(draw_confusion_counts(np.array([[9, 0], [3, 9]]), ("a", "b")))
    left, top = drawn.shape[1] - 2 * 40 - 1, drawn.shape[0] - 2 * 28 - 1
    corner = {(row, column): drawn[top + 28 * row + 3, left + 40 * column + 3] for row in (0, 1) for column in (0, 1)}
    assert corner[0, 0].tolist() == [0, 114, 178], "all of its row"
    assert corner[0, 1].tolist() == [255, 255, 255], "nothing there"
    assert corner[1, 0].tolist() == [round(255 + (part - 255) * 0.5) for part in (213, 94, 0)], "a quarter of its row"
    assert corner[1, 1].tolist() == [round(255 + (part - 255) * 0.75) for part in (0, 114, 178)]


def test_mistakes_are_the_surest_first_and_never_right_ones():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), 200).astype(np.float16)
    labels, predicted = rng.integers(0, 4, 200), probabilities.argmax(axis=1)
    by_hand = sorted((i for i in range(200) if labels[i] != predicted[i]), key=lambda i: -probabilities[i].max())[:25]
    found = choose_samples(labels, predicted, probabilities.max(axis=1), most=25).confident
    assert found.tolist() == by_hand


def test_a_mistake_is_shown_with_its_pixels(trained, ask):
    one = trained.plan[0]
    kept = trained.predictions(one)
    surest = choose_samples(kept["label"], kept["predicted"], kept["probabilities"].max(axis=1), most=1).confident[0]
    enlarged = np.kron(trained.images.x_test[surest], np.ones((10, 10), np.uint8))  # 84 pixels hold 10 times 8
    shown = picture(ask, trained.trials, run_names([one])[0], MISTAKES)
    assert (shown[4 : 4 + 80, 14 : 14 + 80] == enlarged).all()


def test_precision_recall_curves_are_those_of_scikit_learn(trained, ask):
    from sklearn.metrics import precision_score, recall_score

    one = trained.plan[0]
    kept = trained.predictions(one)
    for c, name in enumerate(trained.images.class_names):
        answer = ask(
            "pr_curves/pr_curves", logs=trained.trials, run=run_names([one])[0], tag=f"precision_recall/{name}"
        )
        ((curve,),) = answer.values()
        assert curve["thresholds"] == pytest.approx(np.arange(len(curve["thresholds"])) / 100)
        assert len(curve["thresholds"]) > 10, "TensorBoard leaves out those that nothing reaches"
        for i in range(len(curve["precision"])):
            positive = kept["probabilities"][:, c].astype(np.float64) * 100 >= round(100 * curve["thresholds"][i])
            is_class = kept["label"] == c
            assert curve["true_positives"][i] == np.count_nonzero(positive & is_class)
            assert curve["false_negatives"][i] == np.count_nonzero(~positive & is_class)
            expected = precision_score(is_class, positive, zero_division=0)
            assert curve["precision"][i] == pytest.approx(expected, abs=1e-6)
            assert curve["recall"][i] == pytest.approx(recall_score(is_class, positive), abs=1e-6)


def invented_images(image_shape=(28, 28), num_classes=10, n=300):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (n, *image_shape), np.uint8)
    y = rng.integers(0, num_classes, n).astype(np.uint8)
    names = tuple(f"class number {c}" for c in range(num_classes))
    return Dataset(DataSource("synthetic"), "invented", x[:1], y[:1], x, y, names)


@pytest.mark.parametrize(
    ("image_shape", "num_classes"), [((28, 28), 10), ((1, 1), 2), ((8, 200), 3), ((120, 90), 16), ((9, 9), 256)]
)
def test_whatever_the_images_and_classes_the_scores_are_drawn_and_small(image_shape, num_classes, tmp_path):
    images = invented_images(image_shape, num_classes)
    probabilities = np.random.default_rng(3).dirichlet(np.full(num_classes, 0.1), len(images.y_test))
    write_scores(tmp_path, None, images, probabilities.argmax(axis=1), probabilities.astype(np.float16))
    (path,) = (tmp_path / "events").iterdir()
    assert path.stat().st_size < 250 * 1024
    curves = {tag for tag in read(path.parent) if tag.startswith("precision_recall/")}
    assert len(curves) == num_classes


def test_a_model_without_mistakes_has_no_picture_of_them(tmp_path):
    images = invented_images()
    write_scores(tmp_path, None, images, images.y_test, np.eye(10)[images.y_test])
    assert MISTAKES not in read(tmp_path / "events")


def test_without_probabilities_there_is_the_confusion_matrix_alone(tmp_path):
    images = invented_images()
    write_scores(tmp_path, None, images, images.y_test[::-1], None)
    assert set(read(tmp_path / "events")) == {CONFUSION_MATRIX}


def test_a_trials_files_take_less_than_300_kib(trained):
    for one in trained.plan[:3]:
        folders = (trained.results.record_folder(one.fingerprint) / "events", trained.logs.trial_folder(one))
        files = {path.stat().st_ino: path.stat().st_size for f in folders for path in f.rglob("*") if path.is_file()}
        assert sum(files.values()) < 300 * 1024


# ---- an architecture's own run


def test_the_text_tab_has_a_page_an_architecture_and_the_table(trained, ask):
    pages = {"tiny/small": ["architecture"], "tiny/hopeless": ["architecture"]}
    assert ask("text/tags") == pages | {"tiny/_sweep": ["table"]}
    (page,) = ask("text/text", run="tiny/small", tag="architecture")
    size = trained.state.sizes["small"]
    # 8 x 8 pixels to 16 units, those to 4 classes; every unit with a bias.
    assert size.params == 64 * 16 + 16 + 16 * 4 + 4 == 1108
    for words in ("1,108 parameters", f"{size.flops:,} FLOPs", "<td>Dropout</td>", "rate 0.2", "1,040", "68", "adam"):
        assert words in page["text"]
    assert f"python sweep.py {trained.sweep.path} --only small" in page["text"]
    (shown,) = ask("text/text", run="tiny/_sweep", tag="table")
    assert shown["step"] == 3, "trials that are done"
    for row in trained.rows:
        assert f"<td>{row['architecture']}</td>" in shown["text"]


def test_the_graph_has_the_shapes_of_layers_of_every_kind(tmp_path):
    from tensorboard.compat.proto import graph_pb2

    from fmnist_mlp.training import models

    text = """
architectures:
  - name: every
    layers: [{Conv2D: {filters: 3, kernel_size: 3}}, LeakyReLU, {MaxPooling2D: 2}, {DepthwiseConv2D: 3}, PReLU,
             {SeparableConv2D: {filters: 4, kernel_size: 2}}, {AveragePooling2D: 2}, {GaussianNoise: 0.1},
             BatchNormalization, Flatten, {AlphaDropout: 0.1}, 6, ELU, {Reshape: [2, 3, 1]}, GlobalAveragePooling2D,
             LayerNormalization, {Activation: tanh}, {Dropout: 0.1}]
"""
    (tmp_path / "every.yaml").write_text(text)
    (architecture,) = load_sweep(tmp_path / "every.yaml").architectures
    exported = models.exported_model(models.build_model(architecture.layers, (28, 28), 5, seed=0))
    models.save_exported(exported, tmp_path / "every.keras")
    graph = graph_pb2.GraphDef.FromString(graph_of((tmp_path / "every.keras").read_bytes()))
    found = [[d.size for d in node.attr["_output_shapes"].list.shape[0].dim] for node in graph.node]
    guard = [-1, 28, 28]  # the file's first layer, for images divided by 255
    assert found == [[-1, 28, 28], guard, *([-1, *layer.output.shape[1:]] for layer in exported.layers)]


def test_the_graph_is_the_model_that_keras_loads(trained, ask):
    import keras
    from google.protobuf import text_format
    from tensorboard.compat.proto import graph_pb2

    assert {name for name, has in ask("graphs/info").items() if has["run_graph"]} == {"tiny/small", "tiny/hopeless"}
    answer = ask("graphs/graph", run="tiny/small", raw=True, limit_attr_size=1024, large_attrs_key="_too_large")
    graph = text_format.Parse(answer.decode(), graph_pb2.GraphDef())
    model = keras.models.load_model(trained.results.record_folder(trained.plan[0].fingerprint) / "model.keras")
    assert [(node.name, node.op) for node in graph.node[1:]] == [
        (layer.name, type(layer).__name__) for layer in model.layers
    ]
    assert [list(node.input) for node in graph.node] == [[]] + [[node.name] for node in graph.node[:-1]]
    shapes = [[d.size for d in node.attr["_output_shapes"].list.shape[0].dim] for node in graph.node[1:]]
    assert shapes == [[-1, *layer.output.shape[1:]] for layer in model.layers]
    dropout = next(node for node in graph.node if node.op == "Dropout")
    assert dropout.attr["rate"].f == pytest.approx(0.2)


# ---- the run of the whole sweep


def test_a_chart_has_training_and_validation_of_one_architecture(trained, ask):
    layout = ask("custom_scalars/layout")
    assert [category["title"].split(":")[0] for category in layout["category"]] == ["loss", "accuracy"]
    for category, measure in zip(layout["category"], ("loss", "accuracy"), strict=True):
        assert sorted(chart["title"] for chart in category["chart"]) == ["hopeless", "small"]
        chart = next(chart for chart in category["chart"] if chart["title"] == "small")
        (series,) = chart["margin"]["series"]
        for run_name, prefix in (("small", ""), ("small/validation", "val_")):
            histories = np.array(
                [trained.records[one.fingerprint].history[prefix + measure] for one in trained.plan[:2]]
            )
            for part, expected in (
                ("value", histories.mean(0)),
                ("lower", histories.min(0)),
                ("upper", histories.max(0)),
            ):
                points = ask("custom_scalars/scalars", run=f"tiny/{run_name}", tag=f"^{series[part]}$")["tag_to_events"]
                assert [step for _, step, _ in points[series[part]]] == [0, 1, 2]
                assert [value for *_, value in points[series[part]]] == pytest.approx(expected.tolist(), rel=1e-6)


def test_curves_of_unequal_length_are_averaged_over_the_trials_that_went_so_far(made):
    for one, length in zip(made.plan[:2], (1, 3), strict=True):
        history = {name: [float(length)] * length for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        made.put(made.record(one).model_copy(update={"history": history}))
    name = made.plan[0].architecture.name
    events = mean_curves(name, [made.records[one.fingerprint].history for one in made.plan[:2]], "val_")
    found = [{v.tag: v.tensor.float_val[0] for v in values} for _, values in events]
    tag = f"trials_of_{name}/loss"
    assert [(p[tag], p[f"{tag}_lowest"], p[f"{tag}_highest"]) for p in found] == [(2, 1, 3), (3, 3, 3), (3, 3, 3)]


def test_the_projector_shows_what_keras_computes_in_the_last_hidden_layer(trained, ask):
    import keras

    assert ask("projector/runs") == ["tiny/_sweep"]
    (embedding,) = ask("projector/info", run="tiny/_sweep")["embeddings"]
    one = trained.best
    assert embedding["tensorName"] == f"{one.architecture.name}, seed {one.seed}: last hidden layer"
    name = {"run": "tiny/_sweep", "name": embedding["tensorName"]}
    shown = np.frombuffer(ask("projector/tensor", raw=True, **name), np.float32).reshape(embedding["tensorShape"])
    model = keras.models.load_model(trained.results.record_folder(one.fingerprint) / "model.keras")
    hidden = keras.Model(model.inputs, model.get_layer("logits").input).predict(trained.images.x_test, verbose=0)
    # All 60 test images are fewer than the sample may have.
    assert shown == pytest.approx(hidden, rel=2e-3, abs=1e-3)
    first, *labels = ask("projector/metadata", raw=True, **name).decode().splitlines()
    kept = trained.predictions(one)
    assert first.split("\t") == ["class", "predicted", "right", "confidence", "test image"]
    for i, line in enumerate(labels):
        label, predicted, is_right, confidence, index = line.split("\t")
        assert (label, predicted) == (str(kept["label"][i]), str(kept["predicted"][i]))
        assert is_right == ("right" if label == predicted else "wrong")
        assert float(confidence) == pytest.approx(kept["probabilities"][i].max(), abs=1e-3)
        assert int(index) == i
    sprite = np.asarray(Image.open(io.BytesIO(ask("projector/sprite_image", raw=True, **name))))
    assert sprite.shape == (64, 64), "8 images of 8 pixels a side hold 60"
    assert (sprite[8:16, 16:24] == trained.images.x_test[8 + 2]).all()


def test_the_sample_is_the_first_images_of_each_class():
    labels = np.array([1, 0, 1, 1, 2, 0, 2, 0] * 400, np.uint8)
    sample = projector_sample(labels)
    by_hand = sorted(i for c in range(3) for i in [k for k in range(len(labels)) if labels[k] == c][:166])
    assert sample.tolist() == by_hand


def test_a_wide_layer_is_kept_as_its_principal_components():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(4).normal(size=(60, 300)) @ np.diag(np.geomspace(1, 1e-3, 300)) + 5
    found = principal_components(x.astype(np.float32), 20)
    expected = PCA(20, svd_solver="full").fit_transform(x)
    signs = np.sign((found * expected).sum(axis=0))
    assert found * signs == pytest.approx(expected, abs=1e-4)


def test_of_a_wide_layer_no_more_than_128_numbers_an_image_are_kept(tmp_path):
    import keras

    images = invented_images()
    layers = [keras.layers.Flatten(), keras.layers.Dense(200), keras.layers.Dense(10), keras.layers.Softmax()]
    exported = keras.Sequential([keras.Input((28, 28)), *layers])
    write_scores(tmp_path, exported, images, images.y_test, np.eye(10)[images.y_test])
    with np.load(tmp_path / "events" / "last_hidden_layer.npz") as kept:
        assert kept["hidden"].shape == (300, 128)
        assert kept["hidden"].dtype == np.float16
        assert kept["units"] == 200


def test_what_is_in_step_is_not_written_again(trained):
    before = state(trained.root)
    trained.show_sweep()
    assert state(trained.root) == before


@pytest.fixture
def copied(trained, tmp_path):
    """The trained sweep at another place, to be spoilt."""
    copy = object.__new__(Trained)
    vars(copy).update(vars(trained))
    shutil.copytree(trained.results.root, tmp_path / "results")
    shutil.copytree(trained.root, tmp_path / "logs")
    copy.results, copy.root = Results(tmp_path / "results"), tmp_path / "logs"
    copy.logs = SweepLogs(copy.root, trained.sweep, copy.results)
    return copy


@pytest.mark.parametrize("name", ["events/last_hidden_layer.npz", "predictions.npz"])
def test_without_readable_activations_there_is_no_projector_and_all_else_is_shown(name, copied, ask):
    path = copied.results.record_folder(copied.best.fingerprint) / name
    path.write_bytes(path.read_bytes()[:100])
    shutil.rmtree(copied.logs.folder / "_sweep")
    copied.show_sweep()
    assert ask("projector/runs", logs=copied.root) == []
    assert "table" in ask("text/tags", logs=copied.root)["tiny/_sweep"]


def test_images_that_have_changed_are_not_shown_beside_other_activations(copied, tmp_path, ask):
    from test_trial import write_images

    copied.source = write_images(tmp_path / "other images", test_seed=7)
    shutil.rmtree(copied.logs.folder / "_sweep")
    copied.show_sweep()
    assert ask("projector/runs", logs=copied.root) == []


def test_an_unreadable_model_has_a_page_and_no_graph(copied, ask):
    for one in copied.plan[:2]:
        (copied.results.record_folder(one.fingerprint) / "model.keras").write_bytes(b"no archive")
    shutil.rmtree(copied.logs.folder / "_sweep")
    for path in (copied.logs.folder / "small").glob("events.out.tfevents.*"):
        path.unlink()
    copied.show_sweep()
    assert set(ask("graphs/info", logs=copied.root)) == {"tiny/hopeless"}
    assert "tiny/small" in ask("text/tags", logs=copied.root)


def test_a_change_leaves_one_file_of_each_kind(copied):
    before = {path.name for path in copied.logs.folder.glob("_sweep/*.sweep")}
    copied.rows = [row.model_copy(update={"test_loss": row.test_loss._replace(mean=9.0)}) for row in copied.rows]
    copied.show_sweep()
    after = [path.name for path in copied.logs.folder.glob("_sweep/*.sweep")]
    assert len(after) == 1
    assert after[0] not in before
    assert len(list(copied.logs.folder.glob("small/*.curves"))) == 1


def test_runs_of_architectures_that_are_gone_go_too(copied):
    kept = [one for one in copied.plan if one.architecture.name == "small"]
    copied.logs.sync(kept, copied.records)
    assert sorted(path.name for path in copied.logs.folder.iterdir()) == ["_journal", "_order", "_sweep", "small"]
    copied.logs.sync([], copied.records)
    assert not copied.logs.folder.exists()


def test_before_anything_is_done_there_is_no_run_of_the_sweep(copied):
    copied.state = table.SweepState(copied.sweep, copied.plan, {}, copied.state.sizes, "idx:images")
    copied.show_sweep()
    assert not (copied.logs.folder / "_sweep").exists()


# ---- histograms


def tagged(folder):
    """Tag to the histograms of an event file's run: rows of left end, right end, count."""
    found = {}
    for _, tag, kind, array in summaries(folder):
        if kind == "histograms":
            found.setdefault(tag, []).append(array)
    return found


def run_with_histograms(one, images, folder):
    from fmnist_mlp.training import trial

    task = trial.Task(one, images, None, folder / "results", folder / "logs", None, histograms=True)
    return trial.run_trial(Asked(), task)


LIVELY = """
name: tiny
seeds: 1
training: {epochs: 3, batch_size: 32}
architectures:
  - name: lively
    layers: [16, BatchNormalization, {Dropout: 0.5}]
    label_smoothing: 0.1
    augment: {horizontal_flip: true, mixup: 0.3}
"""


@pytest.mark.slow
def test_histograms_change_no_number_of_a_trial(source, tmp_path):  # noqa: F811
    """Their gradients are taken in training mode, which moves averages and draws random numbers."""
    (one,) = tiny_trials(tmp_path, LIVELY)
    without = run(one, source, tmp_path / "without")
    with_them = run_with_histograms(one, source, tmp_path / "with")
    assert with_them.metrics == without.metrics
    assert with_them.history == without.history
    models = [
        Results(tmp_path / n / "results").record_folder(one.fingerprint) / "model.keras" for n in ("with", "without")
    ]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_histograms_are_logged_when_asked_for_and_only_then(trained, source, tmp_path):  # noqa: F811
    assert not tagged(trained.logs.trial_folder(trained.plan[0]) / "train")
    (one,) = tiny_trials(tmp_path, LIVELY)
    run_with_histograms(one, source, tmp_path)
    found = tagged(Results(tmp_path / "results").record_folder(one.fingerprint) / "events" / "train")
    for variable in ("dense_2/kernel", "dense_2/bias", "batch_normalization_3/gamma", "logits/kernel"):
        assert len(found[f"mlp/{variable}/histogram"]) == len(found[f"gradient_norm/mlp/{variable}"]) == 3
    assert len(found["mlp/batch_normalization_3/moving_mean/histogram"]) == 3
    (kernel, *_), (norms, *_) = found["mlp/dense_2/kernel/histogram"], found["gradient_norm/all"]
    assert kernel[:, 2].sum() == 64 * 16
    assert norms[:, 2].sum() == 5, "162 training images are five minibatches of 32"


def test_gradient_norms_are_those_computed_by_hand(source, tmp_path):  # noqa: F811
    """Of softmax regression: the gradient of the logits is what is said minus what is true, over the minibatch."""
    text = "name: tiny\nseeds: 1\ntraining: {epochs: 1}\narchitectures: [{name: flat, layers: []}]\n"
    (one,) = tiny_trials(tmp_path, text)
    run_with_histograms(one, source, tmp_path)
    record_folder = Results(tmp_path / "results").record_folder(one.fingerprint)
    import keras

    from fmnist_mlp.data.source import load_data
    from fmnist_mlp.data.split import stratified_split

    model, images = keras.models.load_model(record_folder / "model.keras"), load_data(source)
    train, _ = stratified_split(images.y_train, 0.2, one.seed)
    norms = []
    for batch in np.split(train[:160], 5):
        x = images.x_train[batch].reshape(32, -1) / 255.0
        wrong = (model.predict(images.x_train[batch], verbose=0) - np.eye(4)[images.y_train[batch]]) / 32
        norms.append(np.sqrt(np.sum((x.T @ wrong) ** 2) + np.sum(wrong.sum(axis=0) ** 2)))
    (histogram,) = tagged(record_folder / "events" / "train")["gradient_norm/all"]
    assert histogram[0, 0] == pytest.approx(min(norms), rel=1e-4)
    assert histogram[-1, 1] == pytest.approx(max(norms), rel=1e-4)


# ---- views that follow the records


@pytest.fixture
def made(tmp_path):
    """Records by hand, each with one event file of its own, and the logs of their sweep."""
    made = Made(tmp_path, "seeds: 2\ntraining: {epochs: 3}\narchitectures: [[8], [4]]\n")
    made.logs_root = tmp_path / "logs"
    made.logs = SweepLogs(made.logs_root, made.sweep, made.results)
    for one in made.plan:
        put(made, made.record(one), f"curves of {one.fingerprint}")
    return made


def put(made, record, curves):
    folder = made.put(record)
    for name in ("train", "validation"):
        (folder / "events" / name).mkdir(parents=True, exist_ok=True)
        (folder / "events" / name / "events.out.tfevents.1").write_text(curves)
    seal(folder)


def sync(made):
    made.logs.sync(made.plan, made.records)


def shown(made):
    """Trial folder to the text of its training curves (None without), for all of the sweep."""
    found = {}
    for marker in made.logs.trials_folder.rglob(".trial"):
        curves = marker.parent / "train" / "events.out.tfevents.1"
        name = marker.parent.relative_to(made.logs.trials_folder).as_posix()
        found[name] = curves.read_text() if curves.exists() else None
    return found


def state(folder):
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def expected(made):
    return {f"{t.architecture.name}/seed-{t.seed}": f"curves of {t.fingerprint}" for t in made.plan}


def test_every_trial_is_shown_under_its_name_and_seed(made):
    sync(made)
    assert shown(made) == expected(made)


def test_what_is_in_step_is_left_alone(made):
    sync(made)
    before = state(made.logs_root)
    sync(made)
    assert state(made.logs_root) == before


def test_a_rename_moves_the_curves_along(made):
    sync(made)
    text = made.sweep.path.read_text().replace("[[8]", "[{name: wide, layers: [8]}")
    renamed = Made(made.sweep.path.parent, text)
    made.plan, made.sweep = renamed.plan, renamed.sweep
    again(made)
    sync(made)
    assert shown(made) == expected(made)
    assert sorted(path.name for path in made.logs.trials_folder.glob("[!_]*")) == ["4", "wide"]


def test_a_trial_that_nobody_asks_for_any_more_is_removed_with_its_folder(made):
    sync(made)
    made.plan = [t for t in made.plan if t.architecture.name == "8" and t.seed == 0]
    sync(made)
    assert list(shown(made)) == ["8/seed-0"]
    assert [path.name for path in made.logs.trials_folder.glob("[!_]*")] == ["8"]
    made.plan = []
    sync(made)
    assert not made.logs.folder.exists() or not list(made.logs.folder.iterdir())


def test_a_folder_that_is_not_ours_stays(made):
    foreign = [made.logs.folder / "8" / "my-notes", made.logs.folder / "other", made.logs_root / "another-sweep"]
    for folder in foreign:
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.7").write_text("mine")
    sync(made)
    made.plan = []
    sync(made)
    assert all((folder / "events.out.tfevents.7").read_text() == "mine" for folder in foreign)
    assert not shown(made)


def test_curves_in_a_trials_own_place_that_are_not_ours_stay(made):
    """Somebody's own run in the folder of seed 0, made before the sweep had such a trial."""
    folder = made.logs.trial_folder(made.plan[0]) / "train"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.7").write_text("mine")
    with pytest.raises(SweepError, match=r"seed-0 holds files of somebody else: move them away"):
        sync(made)
    assert [p for p in made.logs.trials_folder.rglob("events.out.tfevents.7*") if p.read_text() == "mine"]


def test_a_trial_trained_anew_shows_the_new_curves_only(made):
    sync(made)
    one = made.plan[0]
    train_some(made, one, "live", name="events.out.tfevents.0")
    assert shown(made)["8/seed-0"] is None
    assert list(made.logs.trials_folder.rglob("events.out.tfevents.0"))
    put(made, made.record(one, loss=2.0), "new curves")
    made.logs.show(one, made.records[one.fingerprint])
    assert shown(made)["8/seed-0"] == "new curves"
    assert not list(made.logs.trials_folder.rglob("events.out.tfevents.0"))


def test_a_quick_look_leaves_no_curves_under_a_full_trials_name(made):
    sync(made)
    full = dict(expected(made))
    quick = Made(made.sweep.path.parent, made.sweep.path.read_text().replace("epochs: 3", "epochs: 1"))
    plan, made.plan = made.plan, quick.plan
    sync(made)
    assert not shown(made), "trials of one epoch have no record yet"
    made.plan = plan
    sync(made)
    assert shown(made) == full


def train_some(made, one, curves, name="events.out.tfevents.1", logs=None, at_once=True):
    """What a trial in training has written so far, and its view brought in step."""
    live = made.results.live_folder(one.fingerprint)
    (live / "train").mkdir(parents=True, exist_ok=True)
    (live / "train" / name).write_text(curves)
    (logs or made.logs).mirror(one, live, at_once=at_once)


def view_of(made, one):
    return made.logs.trial_folder(one) / "train" / "events.out.tfevents.1"


def test_the_live_curves_of_an_interrupted_trial_stay_while_it_is_asked_for(made):
    one = made.plan[0]
    del made.records[one.fingerprint]
    train_some(made, one, "live")
    view = view_of(made, one)
    again(made)
    sync(made)
    assert view.read_text() == "live"
    made.plan = made.plan[1:]
    sync(made)
    assert not view.exists()
    assert made.logs.take_notices() == []


def test_the_live_curves_of_another_trial_go_even_before_this_one_has_a_record(made):
    one = made.plan[0]
    other = dataclasses.replace(one, fingerprint="0" * 64)
    train_some(made, other, "live")
    del made.records[one.fingerprint]
    again(made)
    sync(made)
    assert not made.logs.trial_folder(one).exists()


def again(made):
    """The next run."""
    made.logs = SweepLogs(made.logs_root, made.sweep, made.results)


def test_curves_in_training_grow_in_the_file_that_a_reader_has_open_until_they_are_the_records(made):
    one = made.plan[0]
    del made.records[one.fingerprint]
    train_some(made, one, "one epoch")
    with view_of(made, one).open() as reader:
        assert reader.read() == "one epoch"
        train_some(made, one, "one epoch, two epochs")
        assert reader.read() == ", two epochs"
        put(made, made.record(one), "one epoch, two epochs, the end")
        made.logs.show(one, made.records[one.fingerprint])
        assert reader.read() == ", the end"
    assert shown(made)["8/seed-0"] == "one epoch, two epochs, the end"
    assert made.logs.take_notices() == []


def test_a_trial_is_shown_at_most_once_a_second_while_it_trains(made, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("fmnist_mlp.logs.views.time.monotonic", lambda: clock[0])
    one, seen = made.plan[0], []
    for clock[0], text in ((100.0, "a"), (100.5, "ab"), (101.0, "abc")):
        train_some(made, one, text, at_once=False)
        seen.append(view_of(made, one).read_text())
    assert seen == ["a", "a", "abc"]


def test_logs_that_are_deleted_while_a_trial_trains_come_back(made):
    one = made.plan[0]
    train_some(made, one, "one epoch")
    shutil.rmtree(made.logs.trials_folder)
    train_some(made, one, "one epoch, two epochs")
    assert shown(made) == {"8/seed-0": "one epoch, two epochs"}


def test_a_folder_that_shows_another_runs_trial_by_now_is_left_to_it(made):
    """Two runs of one file, edited in between: each keeps its own curves beside the records, one has the name."""
    one = made.plan[0]
    other = dataclasses.replace(one, fingerprint="0" * 64)
    theirs = SweepLogs(made.logs_root, made.sweep, made.results)
    train_some(made, one, "ours")
    theirs.sync([other], {})
    train_some(made, other, "theirs", logs=theirs)
    train_some(made, one, "ours, longer")
    assert shown(made) == {"8/seed-0": "theirs"}


def test_what_a_person_did_to_a_view_gets_another_name_out_of_tensorboards_sight(made):
    sync(made)
    view = view_of(made, made.plan[0])
    kept = made.results.record_folder(made.plan[0].fingerprint) / "events/train" / view.name
    before = kept.read_bytes()
    with view.open("a") as file:
        file.write(", and mine")
    again(made)
    sync(made)
    assert kept.read_bytes() == before
    assert shown(made) == expected(made)
    assert made.logs.take_notices() == [f"{view} was changed since it was written: it is kept as events.out.edited-1.1"]
    assert (view.parent / "events.out.edited-1.1").read_text().endswith(", and mine")


def test_what_a_person_put_beside_the_views_stays_when_they_go(made):
    sync(made)
    mine = [made.logs.trial_folder(made.plan[0]) / "notes.ipynb", made.logs.trials_folder / "8" / "picture.png"]
    for path in mine:
        path.write_text("mine")
    made.plan = [one for one in made.plan if one.architecture.name != "8"]
    again(made)
    sync(made)
    assert [path.read_text() for path in mine] == ["mine", "mine"]
    assert not list(made.logs.trials_folder.glob("8/**/events*"))


def test_logs_of_an_earlier_version_are_taken_over(made):
    """It had trials here, linked event files to the records and marked folders; what is not surely its own stays."""
    done, interrupted = made.plan[0], made.plan[2]
    del made.records[interrupted.fingerprint]
    for one, state in ((done, "done 1"), (interrupted, "training")):
        folder = made.logs.folder / run_of(one)
        (folder / "train").mkdir(parents=True)
        (folder / ".trial").write_text(f"{one.fingerprint} {state}\n")
    folder = made.logs.folder / run_of(done)
    record = made.results.record_folder(done.fingerprint) / "events" / "train" / "events.out.tfevents.1"
    os.link(record, folder / "train" / record.name)
    write_events(folder / "events.out.tfevents.7.here.session", "from before")
    (folder / "train" / "events.out.tfevents.9.mine").write_text("mine")
    (made.logs.folder / run_of(interrupted) / "train" / "events.out.tfevents.8").write_text("half a training")
    sync(made)
    assert shown(made) == {name: text for name, text in expected(made).items() if name != "4/seed-0"}
    assert not (folder / "train" / record.name).exists()
    assert not (folder / "events.out.tfevents.7.here.session").exists()
    assert (folder / "train" / "events.out.tfevents.9.mine").read_text() == "mine"
    left = made.logs.folder / run_of(interrupted) / "train"
    assert {path.name: path.read_text() for path in left.iterdir()} == {"events.out.edited-1.8": "half a training"}
    assert len(made.logs.take_notices()) == 1


def test_logs_that_cannot_be_written_are_the_users_to_mend(made):
    made.logs_root.write_text("a file where the folder should be")
    with pytest.raises(SweepError, match="cannot write"):
        sync(made)


def test_a_failed_trial_has_a_row_and_no_figures(made, ask):
    one = made.plan[0]
    made.put(made.record(one, failed=True))
    made.plan = [one]
    sync(made)
    (row,) = sessions(ask, logs=made.logs_root).values()
    assert row["sessions"][0]["status"] == "STATUS_FAILURE"
    assert row["metricValues"] == []


def test_two_sweeps_of_one_logs_folder_stand_side_by_side(made, ask):
    sync(made)
    other = SweepLogs(made.logs_root, made.sweep.model_copy(update={"name": "other"}), made.results)
    other.sync(made.plan, made.records)
    rows = sessions(ask, logs=made.logs_root)
    assert sorted({name.split("/")[0] for name in rows}) == ["other", "small"]
    assert len(rows) == 2 * len(made.sweep.architectures)
    assert all(len(figures_of_group(row)) == 4 for row in rows.values())


# ---- while a trial trains


def test_a_trial_starts_with_an_empty_folder(tmp_path):
    folder = tmp_path / "live"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "events.out.tfevents.1").write_text("of a process that was killed")
    LiveLog(folder)
    assert not list(folder.iterdir())


def test_curves_can_be_read_as_soon_as_they_are_added(tmp_path):
    before = "events.out.tfevents.0000000001.here.v2"
    write_events(tmp_path / "checkpoint" / "events" / "train" / before, "of an earlier run")
    with LiveLog(tmp_path / "live", tmp_path / "checkpoint") as log:
        log.add(3, {"loss": 0.5, "learning_rate": 1e-3, "val_loss": 0.75}, {"weights": [[1.0, 2.0], [np.nan, 1.0]]})
        log.add(4, {"loss": 0.25})
        first, last = sorted((tmp_path / "live" / "train").iterdir())
        assert first.name == before
        first.unlink()
        curves = read(tmp_path / "live" / "train")
        assert curves == {"epoch_loss": [(3, 0.5), (4, 0.25)], "learning_rate": ANY, "weights": []}
        assert read(tmp_path / "live" / "validation") == {"epoch_loss": [(3, 0.75)]}
    (buckets,) = tagged(tmp_path / "live" / "train")["weights"]
    assert (buckets[0].tolist(), buckets[-1, 1:].tolist()) == ([1.0, pytest.approx(1 + 1 / 30), 2.0], [2.0, 1.0])
    assert is_whole(last)


def test_curves_that_cannot_be_written_are_the_users_to_mend(tmp_path):
    log = LiveLog(tmp_path / "live")
    (tmp_path / "live" / "train").write_text("a file where the folder should be")
    with pytest.raises(SweepError, match="cannot write"):
        log.add(0, {"loss": 1.0})


def write_events(path, *texts):
    """An event file with one whole record a text."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for text in texts:
            writer.write(text.encode())
    return path.read_bytes()


def test_a_resumed_trial_starts_with_the_curves_of_its_checkpoint(tmp_path):
    live, checkpoint = tmp_path / "live", tmp_path / "checkpoint"
    path = live / "train" / "events.out.tfevents.1"
    two_epochs = write_events(path, "one epoch", "two epochs")
    keep_events(live, checkpoint)
    with path.open("ab") as file:
        file.write(b", and half of a third")
    LiveLog(live, checkpoint)
    assert path.read_bytes() == two_epochs
    with path.open("ab") as file:
        file.write(b", and more")
    kept = checkpoint / "events" / "train" / path.name
    assert kept.read_bytes() == two_epochs, "a copy: it may be needed again"


def test_records_and_checkpoints_take_copies_of_the_event_files_alone(tmp_path):
    live = tmp_path / "live"
    path = live / "validation" / "events.out.tfevents.1"
    curves = write_events(path, "curves")
    (live / "else").write_text("no events")
    keep_events(live, tmp_path / "draft")
    kept = tmp_path / "draft" / "events" / "validation" / path.name
    assert kept.read_bytes() == curves
    assert not kept.samefile(path)
    assert [p.name for p in (tmp_path / "draft").rglob("*") if p.is_file()] == [path.name]


def test_event_files_cut_at_any_byte_are_never_kept(tmp_path):
    """TensorFlow's writer is silent when the disk is full; the curves would simply end."""
    path = tmp_path / "live" / "events.out.tfevents.1"
    whole = write_events(path, "one", "two")
    ends = {0, len(whole) // 2, len(whole)}
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length in ends - {0}:
            keep_events(path.parent, tmp_path / f"draft-{length}")
        else:
            with pytest.raises(SweepError, match="is cut off"):
                keep_events(path.parent, tmp_path / f"draft-{length}")


def test_a_resumed_trial_has_every_epoch_once(source, tmp_path):  # noqa: F811
    from fmnist_mlp.engines.calls import Stopped

    one = tiny_trials(tmp_path, SWEEP)[2]  # the worker has its program at hand
    with pytest.raises(Stopped):
        run(one, source, tmp_path, stop_after=2)
    record = run(one, source, tmp_path)
    events = Results(tmp_path / "results").record_folder(one.fingerprint) / "events"
    for name in ("train", "validation"):
        points = sorted(read(events / name)["epoch_loss"])
        assert [step for step, _ in points] == [0, 1, 2]
    assert [value for _, value in points] == pytest.approx(record.history["val_loss"], rel=1e-6)


def test_curves_grow_while_one_watches(source, tmp_path):  # noqa: F811
    """At the end of the first epoch its point can be read already."""
    one = tiny_trials(tmp_path, SWEEP)[2]  # the worker has its program at hand
    seen = []

    class Watching(Asked):
        def report(self, message):
            if message["epoch"] == 1:
                live = Results(tmp_path / "results").live_folder(one.fingerprint)
                seen.append(read(live / "validation").get("epoch_loss"))

    from fmnist_mlp.training import trial

    trial.run_trial(Watching(), trial.Task(one, source, None, tmp_path / "results", 0.0))
    assert [[step for step, _ in points] for points in seen] == [[0]]
    assert not Results(tmp_path / "results").live_folder(one.fingerprint).exists(), "the record has them"


@pytest.mark.parametrize("part", ["", "validation"])
def test_curves_that_are_deleted_while_a_trial_trains_are_made_anew_and_it_is_said(part, source, tmp_path):  # noqa: F811
    from fmnist_mlp.training import trial

    one = tiny_trials(tmp_path, SWEEP)[2]

    class Deleting(Asked):
        def report(self, message):
            super().report(message)
            if message.get("epoch") == 2:
                shutil.rmtree(Results(tmp_path / "results").live_folder(one.fingerprint) / part)

    asked = Deleting()
    record = trial.run_trial(asked, trial.Task(one, source, None, tmp_path / "results", 0.0))
    events = Results(tmp_path / "results").record_folder(one.fingerprint) / "events"
    for name, prefix in (("train", ""), ("validation", "val_")):
        curves = read(events / name)
        for measure in ("loss", "accuracy"):
            assert dict(curves[f"epoch_{measure}"]) == pytest.approx(
                dict(enumerate(record.history[prefix + measure])), rel=1e-6
            )
    (note,) = record.notes
    assert note.startswith("its curves were deleted while it trained")
    assert [message["notice"] for message in asked.messages if "notice" in message] == [f"{one.in_words}: {note}"]
