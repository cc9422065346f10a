"""`sweep.py --watch`: what a save, a mistake and Ctrl-C do. Trials are invented but for the last test's."""

import signal
import threading
from pathlib import Path

import pytest
from commands import TINY, project, run, trained  # noqa: F401 - fixtures
from sweeping import Project, different, interrupt, wait_until, workers

from fmnist_mlp.cli.console import Screen
from fmnist_mlp.cli.watch import moves, on_save
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.statistics import Difference, Interval
from fmnist_mlp.runner.loop import run_sweep
from fmnist_mlp.training import trial


@pytest.fixture
def watched(run, monkeypatch):  # noqa: F811
    """`watched(act)`: `sweep.py --watch` while `act(wait_for)` is done in another thread, then Ctrl-C.

    `wait_for("words", 2)` waits until a line with these words was printed for the second time.
    """
    said, stock = [], Screen.warn

    def warn(screen, line, *arguments, **options):
        stock(screen, line, *arguments, **options)
        said.append(line)

    def wait_for(words, times=1):
        wait_until(lambda: sum(words in line for line in said) >= times, seconds=30)

    def watched(act):
        def act_and_end():
            try:
                act(wait_for)
            finally:
                # By this thread, so that it wakes nobody: as a Ctrl-C does that comes just before a wait begins.
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        monkeypatch.setattr(Screen, "warn", warn)
        thread = threading.Thread(target=act_and_end)
        thread.start()
        try:
            return run("tiny.yaml", "--watch", "--jobs", "0")
        finally:
            thread.join()

    return watched


@pytest.mark.slow
def test_a_save_trains_what_changed_and_says_what_moved(watched, project, trained):  # noqa: F811
    def add_a_seed(wait_for):
        wait_for("watching")
        trained.clear()
        project.write(TINY.replace("seeds: 2", "seeds: 3"))
        wait_for("watching", 2)

    ran = watched(add_a_seed)
    assert sorted(trained) == [("8", 2), ("wide", 2)]
    assert ran.code == 0
    assert ran.out.count("1 trial more") == 2
    assert "6 trials: 4 done, 2 to train" in ran.out


@pytest.mark.slow
def test_a_mistake_is_said_by_line_and_the_next_save_goes_on(watched, project, trained):  # noqa: F811
    def spoil_and_mend(wait_for):
        wait_for("watching")
        trained.clear()
        project.write(TINY.replace("[16]", "[16, -4]"))
        wait_for("tiny.yaml:7:")
        project.write(TINY.replace("[16]", "[16, 4]"))
        wait_for("watching", 2)

    ran = watched(spoil_and_mend)
    assert trained == [("wide", 0), ("wide", 1)]
    assert (ran.code, ran.err.count("tiny.yaml:7:")) == (0, 1)


@pytest.mark.slow
def test_what_is_saved_while_trials_run_is_taken_up_between_epochs(watched, project, trained, monkeypatch):  # noqa: F811
    """And a mistake stops nothing."""
    stock, asked = trial.run_trial, []

    def save_twice(wait_for):
        wait_until(lambda: trained, seconds=30)
        project.write("architectures: [")
        wait_for("tiny.yaml:")
        asked.append("mistake")
        wait_until(lambda: "seen" in asked, seconds=30)
        project.write(TINY.replace("  - [8]\n", ""))
        wait_for("watching")

    def run_trial(context, task):
        if not asked:
            trained.append(("begun", task.trial.seed))
            wait_until(lambda: asked, seconds=30)
            assert not context.stop_requested
            asked.append("seen")
            wait_until(lambda: context.stop_requested, seconds=30)
        return stock(context, task)

    monkeypatch.setattr(trial, "run_trial", run_trial)
    ran = watched(save_twice)
    assert trained[2:] == [("wide", 0), ("wide", 1)], "the first was asked to stop"
    assert "tiny.yaml was saved: on with what it says now" in ran.err
    assert ran.code == 0


def test_ctrl_c_in_a_run_that_has_nothing_left_to_stop_ends_it_too(run, project, trained, monkeypatch):  # noqa: F811
    def run_and_interrupt(*arguments):
        summary = run_sweep(*arguments)
        signal.raise_signal(signal.SIGINT)
        return summary

    monkeypatch.setattr("fmnist_mlp.cli.sweep.run_sweep", run_and_interrupt)
    ran = run("tiny.yaml", "--watch", "--jobs", "0")
    assert ran.code == 0
    assert "watching" not in ran.err


@pytest.mark.parametrize("options", [["--dry-run"], ["--engine", "ray"], ["--ray-address", "127.0.0.1:6379"]])
def test_what_watching_does_not_go_with(options, run):  # noqa: F811
    ran = run("tiny.yaml", "--watch", *options)
    assert (ran.code, len(ran.errors)) == (2, 1)
    assert "--watch trains, on this machine" in ran.err


def test_a_file_that_is_not_there_is_an_error_at_once(run):  # noqa: F811
    ran = run("tyni.yaml", "--watch")
    assert (ran.code, len(ran.errors)) == (2, 1)
    assert "tyni.yaml" in ran.err


def test_a_save_is_noticed_once_however_the_editor_writes(tmp_path):
    path, calls = tmp_path / "file", []
    path.write_text("0")
    with on_save(path, lambda: calls.append(path.read_text())):
        for content in ("first", "second"):
            path.write_text(content)
            wait_until(lambda content=content: content in calls)
        aside = tmp_path / "aside"
        aside.write_text("third!")
        path.unlink()
        aside.rename(path)
        wait_until(lambda: "third!" in calls)
    assert len(calls) == 3
    path.write_text("after")
    assert len(calls) == 3


def row(name, behind, accuracy, trials=2):
    return TableRow(
        architecture=name,
        layers="",
        params=1,
        trainable_params=1,
        flops=1,
        dataset="",
        trials=trials,
        failed=0,
        behind_best=Difference(mean=behind),
        test_accuracy=Interval(accuracy, 0.0, accuracy, accuracy, trials),
    )


def test_what_moved_is_said_of_each_architecture_that_did():
    before = [row("a", 0.0, 0.9), row("b", 0.01, 0.89), row("c", 0.02, 0.88), row("d", None, None, trials=0)]
    after = [row("a", 0.01, 0.9), row("c", 0.0, 0.91, trials=3), row("d", 0.02, 0.8, trials=1), row("e", 0.03, 0.7)]
    assert moves(before, after) == {
        "b": "gone",
        "a": "down 1",
        "c": "up 1, 1 trial more, +0.0300",
        "d": "1 trial more",
        "e": "new",
    }
    assert moves(after, after) == {}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_real_trials_give_the_same_bits_as_without_watching(tmp_path):
    """Seeds are added, a long training is given up for a shorter one, and Ctrl-C leaves nothing behind."""
    text = "dataset: synthetic\nlimit: 600\nseeds: 2\ntraining: {epochs: 2}\narchitectures:\n  - [16]\n  - [8]\n"
    watched, plain = (
        Project(tmp_path / "watched", text.replace("seeds: 2", "seeds: 1")),
        Project(tmp_path / "plain", text),
    )
    with watched.start("--watch", "--jobs", "2") as process:

        def wait_for(words):
            assert any(words in line for line in process.stderr), f"ended without: {words}"

        try:
            wait_for("watching")
            pids = {*workers(process.pid)}
            watched.write(text.replace("epochs: 2", "epochs: 20000").replace("seeds: 2", "seeds: 1"))
            wait_until(lambda: [*watched.results.glob("_records/.live/*/*")], process)
            watched.write(text)
            wait_for("was saved: on with what it says now")
            wait_for("watching")
            assert {*workers(process.pid)} == pids, "they stayed warm"
        finally:
            interrupt(process)
        process.communicate()
        assert process.returncode == 0
    assert workers(process.pid) == []
    plain.sweep("--jobs", "1")
    assert different(watched.numbers(), plain.numbers()) == []
