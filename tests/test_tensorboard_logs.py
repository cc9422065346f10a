"""What lies under `logs/`, read back by TensorBoard itself: its event reader and the answers of its HTTP interface."""

import functools
import io
import shutil
from urllib.parse import parse_qsl

import numpy as np
import pytest
from one_trial import Asked, run, source, tiny_trials, worker  # noqa: F401 (fixtures)
from PIL import Image
from reading_logs import ask_tensorboard, figures_of_group, pixels, read, sessions, tagged
from test_log_views import made, state, sync  # noqa: F401 (fixtures)

from fmnist_mlp.data.source import describe, load_data
from fmnist_mlp.engines.calls import Failure
from fmnist_mlp.logs.sweep_run import graph_of, mean_curves
from fmnist_mlp.logs.trial_run import CONFUSION_MATRIX, MISTAKES
from fmnist_mlp.logs.views import SweepLogs
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


@pytest.mark.slow
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


def run_names(plan):
    return [f"tiny/{one.architecture.name}/seed-{one.seed}" for one in plan]


@pytest.mark.slow
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


def test_a_failed_trial_has_a_row_and_no_figures(made, ask):  # noqa: F811
    one = made.plan[0]
    made.put(made.record(one, failed=True))
    made.plan = [one]
    sync(made)
    (row,) = sessions(ask, logs=made.logs_root).values()
    assert row["sessions"][0]["status"] == "STATUS_FAILURE"
    assert row["metricValues"] == []


def test_two_sweeps_of_one_logs_folder_stand_side_by_side(made, ask):  # noqa: F811
    sync(made)
    other = SweepLogs(made.logs_root, made.sweep.model_copy(update={"name": "other"}), made.results)
    other.sync(made.plan, made.records)
    rows = sessions(ask, logs=made.logs_root)
    assert sorted({name.split("/")[0] for name in rows}) == ["other", "small"]
    assert len(rows) == 2 * len(made.sweep.architectures)
    assert all(len(figures_of_group(row)) == 4 for row in rows.values())


# ---- what the test images show of a model


def picture(ask, logs, run_name, tag):
    """What the Images tab shows, as an array."""
    (entry,) = ask("images/images", logs=logs, run=run_name, tag=tag, sample=0)
    return pixels(ask("images/individualImage", logs=logs, raw=True, **dict(parse_qsl(entry["query"]))))


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


def test_a_mistake_is_shown_with_its_pixels(trained, ask):
    one = trained.plan[0]
    kept = trained.predictions(one)
    surest = choose_samples(kept["label"], kept["predicted"], kept["probabilities"].max(axis=1), most=1).confident[0]
    enlarged = np.kron(trained.images.x_test[surest], np.ones((10, 10), np.uint8))  # 84 pixels hold 10 times 8
    shown = picture(ask, trained.trials, run_names([one])[0], MISTAKES)
    assert (shown[4 : 4 + 80, 14 : 14 + 80] == enlarged).all()


@pytest.mark.slow
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


@pytest.mark.slow
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
    models.save(models.as_saved(exported), tmp_path / "every.keras")
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


def test_curves_of_unequal_length_are_averaged_over_the_trials_that_went_so_far(made):  # noqa: F811
    for one, length in zip(made.plan[:2], (1, 3), strict=True):
        history = {name: [float(length)] * length for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        made.put(made.record(one).model_copy(update={"history": history}))
    name = made.plan[0].architecture.name
    events = mean_curves(name, [made.records[one.fingerprint].history for one in made.plan[:2]], "val_")
    found = [{v.tag: v.tensor.float_val[0] for v in values} for _, values in events]
    tag = f"trials_of_{name}/loss"
    assert [(p[tag], p[f"{tag}_lowest"], p[f"{tag}_highest"]) for p in found] == [(2, 1, 3), (3, 3, 3), (3, 3, 3)]


@pytest.mark.slow
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
    from one_trial import write_images

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


@pytest.mark.slow
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


@pytest.mark.slow
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
