"""The overview below `logs/`: few enough runs that TensorBoard draws them when it is opened; seen in Chromium too."""

import dataclasses
import io
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browsing import Browser
from PIL import Image
from reading_logs import ask_tensorboard, figures_of_group, read, sessions
from sweeping import Made

from fmnist_mlp.data.source import DataSource, describe
from fmnist_mlp.errors import SweepError
from fmnist_mlp.logs.overview import MOST_RUNS
from fmnist_mlp.logs.trial_run import CONFUSION_MATRIX
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results.views import Views

# TensorBoard 2.21 brings an old bleach; goes when it does.
pytestmark = pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")

EPOCHS = 6


class Shown(Made):
    """A sweep of invented trials, each stack better than the one before it in the file, and its logs."""

    def __init__(self, folder, stacks, seeds, name="many", more=""):
        layers = [f"[{8 + number}]" for number in range(stacks)]
        text = f"seeds: {seeds}\n{more}architectures: [{', '.join(layers)}]\n"
        super().__init__(folder, text, f"{name}.yaml")
        for trial in self.plan:
            self.put(self.done(trial))
        self.logs_root = folder / "logs"
        self.again()

    def done(self, trial):
        quality = int(trial.architecture.name) / 1000 + trial.seed / 10_000
        curve = [1 / (epoch + 2) - quality for epoch in range(EPOCHS)]
        history = {"loss": curve, "accuracy": [1 - loss for loss in curve]}
        history |= {f"val_{name}": [value + 0.01 for value in values] for name, values in history.items()}
        record = self.record(trial, val_accuracy=0.8 + quality, test_accuracy=0.7 + quality)
        return record.model_copy(update={"history": history})

    def again(self):
        """The next run."""
        self.logs = SweepLogs(self.logs_root, self.sweep, self.results)

    def sync(self):
        self.logs.sync(self.plan, self.records)

    def show_sweep(self):
        source = DataSource("synthetic")
        self.logs.show_sweep(self.state, self.write_tables(), describe(source, {}), source)

    def whole_run(self):
        self.sync()
        self.show_sweep()
        return self

    def without(self, *trials):
        """These trials have no record yet."""
        for trial in trials:
            shutil.rmtree(self.results.record_folder(trial.fingerprint))
            del self.records[trial.fingerprint]

    def train_some(self, trial, curves="one epoch"):
        live = self.results.live_folder(trial.fingerprint)
        for part in ("train", "validation"):
            (live / part).mkdir(parents=True, exist_ok=True)
            (live / part / "events.out.tfevents.1").write_text(f"{curves} of {part}")
        self.logs.mirror(trial, live, at_once=True)


def runs(folder):
    """What TensorBoard takes for runs: folders with event files, by their path."""
    return {path.parent.relative_to(folder).as_posix() for path in folder.rglob("*tfevents*")}


# ---- which runs ----


def test_a_small_sweep_has_two_runs_a_stack(tmp_path):
    made = Shown(tmp_path, 2, 2).whole_run()
    assert runs(made.logs.folder) == {"8", "8/validation", "9", "9/validation", "_sweep"}
    assert runs(made.logs.trials_folder) >= {"8/seed-0", "8/seed-1", "9/seed-0", "9/seed-1"}


@pytest.mark.slow
def test_of_many_stacks_the_best_are_shown(tmp_path):
    made = Shown(tmp_path, 60, 1).whole_run()
    found = runs(made.logs.folder)
    assert len(found) <= MOST_RUNS
    assert found == {f"{name}{end}" for name in range(49, 68) for end in ("", "/validation")} | {"_sweep"}


def test_curves_are_the_means_over_seeds(tmp_path):
    made = Shown(tmp_path, 1, 3).whole_run()
    for run, prefix in (("8", ""), ("8/validation", "val_")):
        for measure in ("loss", "accuracy"):
            mean = np.mean([record.history[prefix + measure] for record in made.records.values()], axis=0)
            points = read(made.logs.folder / run)[f"epoch_{measure}"]
            assert [step for step, _ in points] == [*range(EPOCHS)]
            assert [value for _, value in points] == pytest.approx(mean.tolist(), rel=1e-6)


def test_what_is_in_step_is_not_written_again(tmp_path):
    made = Shown(tmp_path, 3, 2).whole_run()
    before = {path: path.stat().st_mtime_ns for path in made.logs_root.rglob("*")}
    made.again()
    made.whole_run()
    assert {path: path.stat().st_mtime_ns for path in made.logs_root.rglob("*")} == before


@pytest.mark.slow
def test_a_stack_of_failed_trials_has_a_row_and_stands_last(tmp_path):
    made = Shown(tmp_path, 2, 2)
    for trial in made.plan[2:]:
        made.put(made.record(trial, failed=True))
    made.whole_run()
    rows = sessions(ask_tensorboard, logs=made.logs_root)
    assert {name: row["sessions"][0]["status"] for name, row in rows.items()} == {
        "many/8": "STATUS_SUCCESS",
        "many/9": "STATUS_FAILURE",
    }
    assert (made.logs.folder / "_order").read_text() == "8\n9\n"


def test_records_of_earlier_versions_have_their_pictures_there_too(tmp_path):
    from fmnist_mlp.files import seal
    from fmnist_mlp.logs.events import image_value, write_run

    made = Shown(tmp_path, 1, 1)
    folder, png = made.results.record_folder(made.plan[0].fingerprint), io.BytesIO()
    Image.new("RGB", (3, 2)).save(png, "png")
    write_run(folder / "events", "scores", [(0, [image_value("confusion_matrix", png.getvalue(), "")])])
    seal(folder)
    made.whole_run()
    assert set(ask_tensorboard("images/tags", logs=made.logs_root)["many/8"]) == {CONFUSION_MATRIX}


# ---- while it trains ----


def test_what_trains_right_now_is_in_the_overview_until_it_has_ended(tmp_path):
    made = Shown(tmp_path, 2, 2)
    trial = made.plan[-1]
    made.without(trial)
    made.sync()
    one_seed = read(made.logs.folder / "9")["epoch_loss"]
    made.train_some(trial)
    live = made.logs.folder / "_live" / "9" / "seed-1"
    with (live / "train" / "events.out.tfevents.1").open() as reader:
        assert reader.read() == "one epoch of train"
    assert (live / "validation" / "events.out.tfevents.1").read_text() == "one epoch of validation"
    made.put(made.done(trial))
    made.logs.show(trial, made.records[trial.fingerprint])
    assert not live.exists()
    assert read(made.logs.folder / "9")["epoch_loss"] != one_seed


@pytest.mark.slow
def test_while_many_train_a_few_of_them_are_shown_and_never_too_many_runs(tmp_path):
    made = Shown(tmp_path, 30, 1)
    made.without(*made.plan[:10])
    made.sync()
    for trial in made.plan[:10]:
        made.train_some(trial)
    found = runs(made.logs.folder)
    assert len(found) <= MOST_RUNS
    assert len({run for run in found if run.startswith("_live")}) == 8
    for trial in made.plan[:10]:
        made.put(made.done(trial))
        made.logs.show(trial, made.records[trial.fingerprint])
        assert len(runs(made.logs.folder)) <= MOST_RUNS
    made.show_sweep()
    assert not {run for run in runs(made.logs.folder) if run.startswith("_live")}


def test_curves_of_an_interrupted_trial_stay_and_make_room_for_those_that_train(tmp_path):
    made = Shown(tmp_path, 6, 1)
    made.without(*made.plan)
    made.sync()
    for trial in made.plan[:4]:
        made.train_some(trial)
    made.show_sweep()
    made.again()
    made.sync()
    kept = {f"_live/{8 + i}/seed-0/{part}" for i in range(4) for part in ("train", "validation")}
    assert runs(made.logs.folder) == kept
    made.train_some(made.plan[5])
    assert len(runs(made.logs.folder)) == 8
    assert "_live/13/seed-0/train" in runs(made.logs.folder)
    made.again()
    made.logs.sync([dataclasses.replace(trial, fingerprint="0" * 64) for trial in made.plan], {})
    assert not runs(made.logs.folder)


# ---- several sweeps, and others ----


@pytest.mark.slow
def test_sweeps_of_one_logs_folder_share_the_places(tmp_path):
    first = Shown(tmp_path, 25, 1, "first").whole_run()
    assert len(runs(first.logs.folder)) == 39
    second = Shown(tmp_path, 25, 1, "second").whole_run()
    assert (len(runs(first.logs.folder)), len(runs(second.logs.folder))) == (19, 21)
    assert {"32", "32/validation", "_sweep"} <= runs(first.logs.folder), "the best stay"
    small = Shown(tmp_path, 2, 1, "small").whole_run()
    second.again()
    second.whole_run()
    found = [len(runs(made.logs.folder)) for made in (first, second, small)]
    assert sum(found) <= MOST_RUNS
    assert found[2] == 5
    assert found[1] > found[0], "the last that ran has what is left"


@pytest.mark.slow
def test_with_more_sweeps_than_have_a_place_those_that_ran_last_have_one(tmp_path):
    sweeps = [Shown(tmp_path, 1, 1, f"sweep-{number}").whole_run() for number in range(16)]
    assert len(runs(tmp_path / "logs")) <= MOST_RUNS
    assert all(runs(made.logs.folder) for made in sweeps[-10:])
    assert not runs(sweeps[0].logs.folder)
    sweeps[0].again()
    sweeps[0].whole_run()
    assert runs(sweeps[0].logs.folder)
    assert len(runs(tmp_path / "logs")) <= MOST_RUNS


@pytest.mark.slow
def test_runs_of_others_count_and_stay(tmp_path):
    mine = [tmp_path / "logs" / f"mine-{number}" / "events.out.tfevents.1" for number in range(10)]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    Shown(tmp_path, 30, 1).whole_run()
    assert len(runs(tmp_path / "logs")) <= MOST_RUNS
    assert {path.read_text() for path in mine} == {"mine"}


@pytest.mark.slow
def test_what_a_person_changed_in_another_sweeps_overview_is_kept_and_said(tmp_path):
    first = Shown(tmp_path, 25, 1, "first").whole_run()
    worst = min(int(run) for run in runs(first.logs.folder) if run.isdigit())
    (path,) = (first.logs.folder / f"{worst}").glob("*.curves")
    path.write_bytes(path.read_bytes() + b"mine")
    second = Shown(tmp_path, 25, 1, "second").whole_run()
    assert [line for line in second.logs.take_notices() if str(path) in line]
    assert [kept for kept in path.parent.iterdir() if kept.read_bytes().endswith(b"mine")]


def test_the_layout_of_an_earlier_version_gives_way_and_what_is_not_ours_stays(tmp_path):
    """It had every trial here, as its journal says."""
    made = Shown(tmp_path, 2, 1)
    for run in ("8/seed-0", "9/seed-0"):
        Views(made.logs.folder).show(run, "key", {f"{run}/train/events.out.tfevents.1": "curves", f"{run}/.trial": "x"})
    mine = made.logs.folder / "8" / "seed-0" / "train" / "events.out.tfevents.mine"
    mine.write_text("mine")
    made.again()
    made.whole_run()
    ours = {"8", "8/validation", "9", "9/validation", "_sweep"}
    assert runs(made.logs.folder) == ours | {"8/seed-0/train"}
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]
    assert mine.read_text() == "mine"


def test_somebody_elses_run_in_the_place_of_a_stack_is_not_mixed_with_ours(tmp_path):
    made = Shown(tmp_path, 1, 1)
    mine = made.logs.folder / "8" / "validation" / "events.out.tfevents.1"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(SweepError, match="validation holds files of somebody else: move them, or use another --logs"):
        made.sync()
    assert mine.read_text() == "mine"


# ---- HParams ----


def test_what_differs_within_the_sweep_is_said_to_tensorboard(tmp_path):
    text = """
training: {epochs: 3}
architectures:
  - [300, 200]
  - {name: wide, layers: [2000, 200], learning_rate: 1e-2, weight_decay: 1e-4}
"""
    made = Made(tmp_path, text)
    made.put_all()
    SweepLogs(tmp_path / "logs", made.sweep, made.results).sync(made.plan, made.records)
    infos = ask_tensorboard("hparams/experiment", {}, logs=tmp_path / "logs")["hparamInfos"]
    differ = {info["name"] for info in infos if info.get("differs")}
    assert differ == {"architecture", "params", "widths", "learning_rate", "weight_decay"}
    rows = {name: row["hparams"] for name, row in sessions(ask_tensorboard, logs=tmp_path / "logs").items()}
    # 8 x 8 pixels, 4 classes; every unit with a bias.
    params = {"small/300-200": 65 * 300 + 301 * 200 + 201 * 4, "small/wide": 65 * 2000 + 2001 * 200 + 201 * 4}
    assert {name: row["params"].strip() for name, row in rows.items()} == {n: f"{p:,}" for n, p in params.items()}
    assert sorted(rows, key=lambda name: rows[name]["params"]) == sorted(params, key=params.get)
    assert {name: row["weight_decay"] for name, row in rows.items()} == {
        "small/300-200": "none",
        "small/wide": "0.0001",
    }
    assert {row["epochs"].strip() for row in rows.values()} == {"3"}


def test_a_baseline_has_the_same_columns_and_no_setting_of_networks(tmp_path):
    made = Made(
        tmp_path,
        "baselines: [LogisticRegression]\narchitectures: [{name: fast, layers: [8], learning_rate: 0.5}, [4]]\n",
    )
    for trial in made.plan:
        made.put(made.record(trial))
    SweepLogs(tmp_path / "logs", made.sweep, made.results).sync(made.plan, made.records)
    rows = {name: row["hparams"] for name, row in sessions(ask_tensorboard, logs=tmp_path / "logs").items()}
    assert len({frozenset(row) for row in rows.values()}) == 1
    assert (rows["small/LogisticRegression"]["learning_rate"], rows["small/fast"]["learning_rate"]) == (0, 0.5)
    assert rows["small/LogisticRegression"]["optimizer"] == "none"


def test_refits_have_a_row_of_their_own(tmp_path):
    from fmnist_mlp.sweepfile.trials import list_refits

    made = Shown(tmp_path, 1, 2, more="refit: true\n")
    refits = list_refits(made.sweep, made.sweep.architectures, data_identity="tiny")
    for trial, accuracy in zip(refits, (0.5, 0.7), strict=True):
        made.put(made.record(trial, test_accuracy=accuracy))
    made.logs.sync([*made.plan, *refits], made.records)
    rows = sessions(ask_tensorboard, logs=made.logs_root)
    assert set(rows) == {"many/8", "many/8 (refit)"}
    assert figures_of_group(rows["many/8 (refit)"])["test_accuracy"] == pytest.approx(0.6)


# ---- in a browser ----

# The visible charts, also those in shadow trees, as left, top, right, bottom.
CHARTS = """
const found = [];
const walk = (root) => root.querySelectorAll("*").forEach((element) => {
  if (element.shadowRoot) walk(element.shadowRoot);
  if (["LINE-CHART", "VZ-LINE-CHART2"].includes(element.tagName)) {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    if (right > left + 100 && bottom > top + 50 && bottom < window.innerHeight) found.push([left, top, right, bottom]);
  }
});
walk(document);
return found;
"""


def colours(browser, path):
    """How many lines' colours each visible chart has: strong ones on some length; axes and grids are grey."""
    browser.screenshot(path)
    page, found = Image.open(path).convert("RGB"), []
    for box in browser.run(CHARTS):
        pixels = np.asarray(page.crop([round(side) for side in box])).reshape(-1, 3).astype(int)
        strong = pixels[np.ptp(pixels, axis=1) > 60]
        _, counts = np.unique(strong, axis=0, return_counts=True)
        found.append(int((counts > 20).sum()))
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if shutil.which("chromedriver") is None or shutil.which("chromium") is None:
        pytest.skip("needs chromium and chromedriver")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def tensorboard():
    """Starts TensorBoard on a folder and gives its address; each has a port, and so a fresh memory in the browser."""
    started = []

    def start(folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [Path(sys.executable).with_name("tensorboard"), "--logdir", folder, "--port", str(port)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return f"http://127.0.0.1:{port}/"

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(("stacks", "seeds"), [(4, 5), (60, 3)])
def test_tensorboard_opens_drawn(stacks, seeds, browser, tensorboard, tmp_path):
    made = Shown(tmp_path, stacks, seeds).whole_run()
    address = tensorboard(made.logs_root)
    wait_for_runs(browser, address, len(runs(made.logs_root)))
    for tab in ("timeseries", "scalars", "custom_scalars"):
        browser.open("about:blank")  # else it stays on the page and shows another tab of it
        browser.open(f"{address}?darkMode=false#{tab}")
        # Training and validation; in Custom Scalars one of two lines may be grey.
        least = 1 if tab == "custom_scalars" else 2
        browser.until(lambda least=least: min(colours(browser, tmp_path / "seen.png"), default=0) >= least, 60)


def test_the_check_sees_nothing_where_tensorboard_draws_nothing(browser, tensorboard, tmp_path):
    """With more runs it is as it was before there was an overview; when this fails, TensorBoard has mended it."""
    made = Shown(tmp_path, 1, 1).whole_run()
    for number in range(MOST_RUNS + 1):
        shutil.copytree(made.logs.folder / "8" / "validation", tmp_path / "too many" / f"run-{number}")
    address = tensorboard(tmp_path / "too many")
    wait_for_runs(browser, address, MOST_RUNS + 1)
    browser.open(f"{address}?darkMode=false#scalars")
    browser.until(lambda: browser.run(CHARTS), 60)
    assert set(colours(browser, tmp_path / "seen.png")) == {0}


def wait_for_runs(browser, address, number):
    browser.until(lambda: browser.open(f"{address}data/runs") or len(json.loads(browser.text("pre"))) == number, 60)
