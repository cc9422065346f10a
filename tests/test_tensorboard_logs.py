"""What lies under `logs/`, read back by TensorBoard itself: its event reader and the answers of its HTTP interface."""

import json

import pytest
from test_results import Made
from test_trial import Asked, run, source, tiny_trials, worker  # noqa: F401 (fixtures)

from fmnist_mlp import tensorboard_logs
from fmnist_mlp.config import check_shapes, load_sweep
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import Record, Results
from fmnist_mlp.tensorboard_logs import SweepLogs

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
    """A small sweep with three real trials, the last of four failed, shown under `logs/tiny`."""

    def __init__(self, folder, images):
        self.root = folder / "logs"
        self.results = Results(folder / "results")
        self.plan = tiny_trials(folder, SWEEP)
        self.sweep = load_sweep(folder / "tiny.yaml")
        self.logs = SweepLogs(self.root, self.sweep)
        self.records = {one.fingerprint: run(one, images, folder) for one in self.plan[:3]}
        failed = self.plan[3]
        size = check_shapes(self.sweep, (8, 8), 4)["hopeless"]
        self.records[failed.fingerprint] = Record(
            fingerprint=failed.fingerprint,
            status="failed",
            settings=failed.settings,
            dataset="idx:images",
            params=size.params,
            trainable_params=size.trainable_params,
            flops=size.flops,
            error={"type": "TrainingDiverged", "message": "loss became nan", "traceback": ""},
            measured={"seconds": 1.0},
        )
        self.logs.sync(self.results, self.plan, self.records)


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):  # noqa: F811
    return Trained(tmp_path_factory.mktemp("trained"), source)


def figures_of(record):
    shown = ("test_loss", "test_accuracy", "val_loss", "val_accuracy")
    return {"params": record.params} | {name: value for name, value in record.metrics.items() if name in shown}


def read(folder):
    """TensorBoard's own reader: tag to [(step, value), ...], of the event files of one folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                points = found.setdefault(value.tag, [])
                if value.metadata.plugin_data.plugin_name != "hparams":
                    points.append((event.step, tensor_util.make_ndarray(value.tensor).item()))
    return found


# ---- what the event files hold


def test_a_trial_has_these_curves_and_no_others(trained):
    folder = trained.logs.trial_folder(trained.plan[0])
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"train", "validation"}
    assert set(read(folder / "train")) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(read(folder / "validation")) == {"epoch_loss", "epoch_accuracy"}


@pytest.mark.parametrize(
    ("run_name", "tag", "name"),
    [
        ("train", "epoch_loss", "loss"),
        ("train", "epoch_accuracy", "accuracy"),
        ("train", "epoch_learning_rate", "learning_rate"),
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
    assert set(found) - {"_hparams_/experiment"} == set(figures) | session
    for tag, value in figures.items():
        assert found[tag] == [(0, pytest.approx(value, rel=1e-6))]


# ---- what TensorBoard answers


@pytest.fixture(scope="module")
def ask(trained):
    """TensorBoard's web application over `logs/`, all event files loaded, without a server or a port to wait for."""
    from tensorboard.backend import application
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import hparams_plugin
    from tensorboard.plugins.scalar import scalars_plugin
    from werkzeug.test import Client

    def ask(path, query=None, logs=trained.root, **parameters):
        multiplexer = plugin_event_multiplexer.EventMultiplexer()
        multiplexer.AddRunsFromDirectory(str(logs))
        multiplexer.Reload()
        provider = data_provider.MultiplexerDataProvider(multiplexer, str(logs))
        context = base_plugin.TBContext(data_provider=provider, logdir=str(logs), multiplexer=multiplexer)
        plugins = [scalars_plugin.ScalarsPlugin(context), hparams_plugin.HParamsPlugin(context)]
        client = Client(application.TensorBoardWSGI(plugins, data_provider=provider))
        url = f"/data/plugin/{path}"
        answer = client.get(url, query_string=parameters) if query is None else client.post(url, json=query)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text)

    return ask


def sessions(ask, **options):
    query = {"startIndex": 0, "sliceSize": 1000, "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE"]}
    return {group["name"]: group for group in ask("hparams/session_groups", query, **options)["sessionGroups"]}


def run_names(plan):
    return [f"tiny/{one.architecture.name}/seed-{one.seed}" for one in plan]


def test_the_scalars_tab_lists_every_run_and_its_tags(trained, ask):
    found = ask("scalars/tags")
    finished = run_names(trained.plan[:3])
    assert set(found) == {f"{n}{end}" for n in finished for end in ("", "/train", "/validation")} | {
        "tiny/hopeless/seed-1"
    }
    for name in finished:
        assert set(found[name]) == {"params", "test_loss", "test_accuracy", "val_loss", "val_accuracy"}
        assert set(found[f"{name}/train"]) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
        assert set(found[f"{name}/validation"]) == {"epoch_loss", "epoch_accuracy"}


def test_the_scalars_tab_draws_the_history(trained, ask):
    one = trained.plan[1]
    points = ask("scalars/scalars", run=f"{run_names([one])[0]}/validation", tag="epoch_loss")
    assert [step for _, step, _ in points] == [0, 1, 2]
    assert [value for _, _, value in points] == pytest.approx(trained.records[one.fingerprint].history["val_loss"])
    assert sorted(wall for wall, _, _ in points) == [wall for wall, _, _ in points]


def test_the_hparams_tab_knows_every_hyperparameter_and_the_figures_that_matter(ask):
    experiment = ask("hparams/experiment", {})
    assert {"architecture", "widths", "depth", "optimizer", "learning_rate", "batch_size", "epochs", "seed"} <= {
        info["name"] for info in experiment["hparamInfos"]
    }
    figures = {info["name"]["tag"] for info in experiment["metricInfos"] if not info["name"]["group"]}
    assert figures == {"params", "test_loss", "test_accuracy", "val_loss", "val_accuracy"}


def test_the_hparams_tab_has_one_row_a_trial_with_its_figures(trained, ask):
    rows = sessions(ask)
    assert sorted(rows) == sorted(run_names(trained.plan))
    for one, name in zip(trained.plan, run_names(trained.plan), strict=True):
        record, row = trained.records[one.fingerprint], rows[name]
        (session,) = row["sessions"]
        assert session["name"] == name, "so that the row links to its curves"
        assert session["status"] == ("STATUS_SUCCESS" if record.is_done else "STATUS_FAILURE")
        assert row["hparams"]["architecture"] == one.architecture.name
        assert int(row["hparams"]["seed"]) == one.seed
        assert row["hparams"]["learning_rate"] == one.architecture.training.learning_rate
        assert None not in row["hparams"].values()
        figures = {m["name"]["tag"]: m["value"] for m in row["metricValues"] if not m["name"]["group"]}
        assert figures == pytest.approx(figures_of(record), rel=1e-6)


def test_every_row_of_the_hparams_tab_has_the_same_hyperparameters(ask):
    """One that only some rows have would be None in the others, and TensorBoard drops those (its issue 4770)."""
    assert len({frozenset(row["hparams"]) for row in sessions(ask).values()}) == 1


# ---- views that follow the records


@pytest.fixture
def made(tmp_path):
    """Records by hand, each with one event file of its own, and the logs of their sweep."""
    made = Made(tmp_path, "seeds: 2\ntraining: {epochs: 3}\narchitectures: [[8], [4]]\n")
    made.logs_root = tmp_path / "logs"
    made.logs = SweepLogs(made.logs_root, made.sweep)
    for one in made.plan:
        put(made, made.record(one), f"curves of {one.fingerprint}")
    return made


def put(made, record, curves):
    folder = made.put(record)
    for name in ("train", "validation"):
        (folder / "events" / name).mkdir(parents=True, exist_ok=True)
        (folder / "events" / name / "events.out.tfevents.1").write_text(curves)


def sync(made):
    made.logs.sync(made.results, made.plan, made.records)


def shown(made):
    """Trial folder to the text of its training curves (None without), for all of the sweep."""
    found = {}
    for marker in made.logs.folder.rglob(".trial"):
        curves = marker.parent / "train" / "events.out.tfevents.1"
        name = marker.parent.relative_to(made.logs.folder).as_posix()
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
    renamed = made.sweep.path.read_text().replace("[[8]", "[{name: wide, layers: [8]}")
    again = Made(made.sweep.path.parent, renamed)
    made.plan, made.sweep = again.plan, again.sweep
    sync(made)
    assert shown(made) == expected(made)
    assert sorted(path.name for path in made.logs.folder.iterdir()) == ["4", "wide"]


def test_a_trial_that_nobody_asks_for_any_more_is_removed_with_its_folder(made):
    sync(made)
    made.plan = [t for t in made.plan if t.architecture.name == "8" and t.seed == 0]
    sync(made)
    assert list(shown(made)) == ["8/seed-0"]
    assert [path.name for path in made.logs.folder.iterdir()] == ["8"]
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
    """Somebody's own run in `logs/<sweep>/8/seed-0`, made before the sweep had such a trial."""
    folder = made.logs.folder / "8" / "seed-0" / "train"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.7").write_text("mine")
    with pytest.raises(SweepError, match=r"seed-0 holds files of somebody else: move them, or use another --logs-dir"):
        sync(made)
    assert [p for p in made.logs.folder.rglob("events.out.tfevents.7*") if p.read_text() == "mine"]


def test_a_trial_trained_anew_shows_the_new_curves_only(made):
    sync(made)
    one = made.plan[0]
    (made.logs.trial_folder(one) / ".trial").write_text(f"{one.fingerprint} training\n")
    (made.logs.trial_folder(one) / "train" / "events.out.tfevents.0").write_text("live")
    put(made, made.record(one, loss=2.0), "new curves")
    made.logs.show(made.results, one, made.records[one.fingerprint])
    assert shown(made)["8/seed-0"] == "new curves"
    assert not list(made.logs.folder.rglob("events.out.tfevents.0"))


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


def test_the_live_curves_of_an_interrupted_trial_stay_while_it_is_asked_for(made):
    one = made.plan[0]
    live = made.logs.trial_folder(one) / "train" / "events.out.tfevents.1"
    live.parent.mkdir(parents=True)
    live.write_text("live")
    (live.parent.parent / ".trial").write_text(f"{one.fingerprint} training\n")
    del made.records[one.fingerprint]
    sync(made)
    assert live.read_text() == "live"
    made.plan = made.plan[1:]
    sync(made)
    assert not live.exists()


def test_the_live_curves_of_another_trial_go_even_before_this_one_has_a_record(made):
    one = made.plan[0]
    folder = made.logs.trial_folder(one)
    folder.mkdir(parents=True)
    (folder / ".trial").write_text(f"{'0' * 64} training\n")
    del made.records[one.fingerprint]
    sync(made)
    assert not folder.exists()


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
    assert {m["name"]["tag"] for m in row["metricValues"]} == {"params"}


def test_two_sweeps_of_one_logs_folder_stand_side_by_side(made, ask):
    sync(made)
    other = SweepLogs(made.logs_root, made.sweep.model_copy(update={"name": "other"}))
    other.sync(made.results, made.plan, made.records)
    rows = sessions(ask, logs=made.logs_root)
    assert sorted({name.split("/")[0] for name in rows}) == ["other", "small"]
    assert len(rows) == 2 * len(made.plan)
    assert all(len([m for m in row["metricValues"] if not m["name"]["group"]]) == 5 for row in rows.values())


# ---- while a trial trains


def test_a_trial_starts_with_an_empty_marked_folder(tmp_path):
    folder = tmp_path / "8" / "seed-0"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "events.out.tfevents.1").write_text("of an earlier run")
    tensorboard_logs.start_live(folder, "f" * 64)
    assert [p.name for p in folder.rglob("*") if p.is_file()] == [".trial"]
    assert (folder / ".trial").read_text() == f"{'f' * 64} training\n"


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
    tensorboard_logs.keep_events(live, checkpoint, copy=True)
    with path.open("ab") as file:
        file.write(b", and half of a third")
    tensorboard_logs.start_live(live, "f" * 64, checkpoint)
    assert path.read_bytes() == two_epochs
    with path.open("ab") as file:
        file.write(b", and more")
    kept = checkpoint / "events" / "train" / path.name
    assert kept.read_bytes() == two_epochs, "a copy: it may be needed again"


def test_a_record_takes_the_event_files_themselves_and_a_checkpoint_copies(tmp_path):
    live = tmp_path / "live"
    path = live / "validation" / "events.out.tfevents.1"
    curves = write_events(path, "curves")
    (live / ".trial").write_text("mark")
    for name, copy in (("record", False), ("checkpoint", True)):
        tensorboard_logs.keep_events(live, tmp_path / name, copy=copy)
        kept = tmp_path / name / "events" / "validation" / path.name
        assert kept.read_bytes() == curves
        assert kept.samefile(path) != copy
        assert [p.name for p in (tmp_path / name).rglob("*") if p.is_file()] == [path.name]


def test_event_files_cut_at_any_byte_are_never_kept(tmp_path):
    """TensorFlow's writer is silent when the disk is full; the curves would simply end."""
    path = tmp_path / "live" / "events.out.tfevents.1"
    whole = write_events(path, "one", "two")
    ends = {0, len(whole) // 2, len(whole)}
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length in ends - {0}:
            tensorboard_logs.keep_events(path.parent, tmp_path / f"draft-{length}")
        else:
            with pytest.raises(SweepError, match="is cut off"):
                tensorboard_logs.keep_events(path.parent, tmp_path / f"draft-{length}")


def test_a_resumed_trial_has_every_epoch_once(source, tmp_path):  # noqa: F811
    from fmnist_mlp.engine import Stopped

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
                seen.append(read(tmp_path / "logs" / "validation").get("epoch_loss"))

    from fmnist_mlp import trial

    trial.run_trial(Watching(), trial.Task(one, source, None, tmp_path / "results", tmp_path / "logs", 0.0))
    assert [[step for step, _ in points] for points in seen] == [[0]]
