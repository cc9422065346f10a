"""What a sweep prints and leaves while it trains, fails, is stopped and is over. The trials are invented."""

import os
import signal
import subprocess
import sys

import pytest
from commands import SIGNALS, TINY, drawn, project, run, trained
from sweeping import ROOT, state

from fmnist_mlp.cli.verbs import verbs

__all__ = ["drawn", "project", "run", "trained"]  # fixtures, used by name


# ---- trials (invented ones) ---------------------------------------------------------------------------------------


def test_a_sweep_says_what_it_will_do_what_it_did_and_where_to_look(run, project, trained):
    ran = run("tiny.yaml", "--jobs", "0")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("tiny: 2 architectures, 4 trials: 0 done, 4 to train\n")
    assert "synthetic: 12,000 training and 2,000 test images of 28x28" in ran.out
    assert "device: cpu" in ran.out
    assert ran.out.count("test_accuracy 0.") == 4  # no terminal: a line for each trial
    assert "\x1b" not in ran.out
    rows = {words[0]: words for words in map(str.split, ran.out.splitlines()) if words}
    assert "6,370" in rows["8"]  # 784*8+8 + 8*10+10
    assert "12,730" in rows["wide"]
    assert "trained 4 trials in " in ran.out
    assert "table: results/tiny/results.csv\n" in ran.out
    assert "curves: tensorboard --logdir logs\n" in ran.out
    assert "curves of every trial: tensorboard --logdir results/_trials/tiny\n" in ran.out
    assert trained == [("wide", 0), ("wide", 1), ("8", 0), ("8", 1)]  # the larger first, seeds together


def test_a_rerun_trains_nothing_writes_nothing_and_prints_the_table(run, project, trained):
    first = run("tiny.yaml", "--jobs", "0")
    before = state(project.folder)
    again = run("tiny.yaml")
    assert (again.code, again.err) == (0, "")
    assert "4 done, 0 to train" in again.out
    assert again.out[again.out.index("tiny on synthetic") :] == first.out[
        first.out.index("tiny on synthetic") :
    ].replace(next(line for line in first.out.splitlines(keepends=True) if line.startswith("trained 4")), "")
    assert len(trained) == 4
    assert state(project.folder) == before


def test_quiet_prints_nothing_where_all_went_well(run, trained):
    for _ in range(2):
        ran = run("tiny.yaml", "--jobs", "0", "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_overrides_are_part_of_what_a_trial_is(run, project, trained):
    full = run("tiny.yaml", "--jobs", "0")
    assert full.code == 0
    rows = project.rows()
    before = state(project.results / "tiny", project.logs / "tiny")
    for option, number in (("--epochs", 1), ("--limit", 100), ("--seeds", 1)):
        del trained[:]
        assert run("tiny.yaml", "--jobs", "0", option, number).code == 0
        assert len(trained) == (0 if option == "--seeds" else 4)  # one seed of two is a part of what is done
        if option == "--limit":
            assert project.record("8", sweep="tiny+limit-100")["settings"]["limit"] == 100
        if option == "--epochs":
            assert {row["epochs"] for row in project.rows("tiny+epochs-1").values()} == {"1.0"}
            assert project.curves("tiny+epochs-1") == project.curves()
    assert {seed for _, seed in project.trials("tiny+seeds-1")} == {0}
    assert state(project.results / "tiny", project.logs / "tiny") == before
    assert run("tiny.yaml").code == 0
    assert project.rows() == rows


BAD = TINY + "  - {name: bad, layers: [32]}\n"  # the largest, so it comes first


def test_a_failed_trial_costs_itself_only_and_is_not_tried_again_unasked(run, project, trained):
    project.write(BAD)
    ran = run("tiny.yaml", "--jobs", "0")
    assert ran.code == 1
    assert "failed: bad seed 0: ArithmeticError: loss became nan in epoch 1" in ran.errors
    assert "--retry-failed" in ran.errors[-1]
    assert len(trained) == 6
    assert {name: (row["trials"], row["failed"]) for name, row in project.rows().items()} == {
        "8": ("2", "0"),
        "wide": ("2", "0"),
        "bad": ("0", "2"),
    }
    assert (project.trials()["bad", 1]["status"], project.trials()["bad", 1]["test_loss"]) == ("failed", "")
    assert "2 failed" in ran.out

    before = state(project.folder)
    again = run("tiny.yaml")
    assert again.code == 1
    assert "4 done, 2 failed before, 0 to train" in again.out
    assert "failed: bad seed 1: ArithmeticError: loss became nan in epoch 1" in again.errors
    assert state(project.folder) == before

    assert run("tiny.yaml", "--jobs", "0", "--retry-failed").code == 1
    assert trained[6:] == [("bad", 0), ("bad", 1)]


def test_quiet_still_shows_what_failed(run, project, trained):
    project.write(BAD)
    ran = run("tiny.yaml", "--jobs", "0", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert "failed: bad seed 0" in ran.err


@pytest.mark.parametrize("name", list(SIGNALS))
def test_a_signal_stops_keeps_what_is_done_and_says_how_to_go_on(run, project, trained, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", ["sweep.py", "tiny.yaml", "--logs-dir", "my logs"])
    project.write(TINY.replace("[8]", f"{{name: {name}, layers: [8]}}"))
    ran = run("tiny.yaml", "--jobs", "0", "--logs-dir", "my logs")
    assert ran.code == 130
    assert trained == [("wide", 0), ("wide", 1), (name, 0)]
    assert "stopping at the end of the running epochs; once more to stop now" in ran.err
    assert ran.errors[-1] == (
        "stopped: 2 of 4 trials are done and kept; go on with: python sweep.py tiny.yaml --logs-dir 'my logs'"
    )
    assert project.rows()["wide"]["trials"] == "2"
    monkeypatch.setitem(SIGNALS, name, [])
    assert run("tiny.yaml", "--jobs", "0", "--logs-dir", "my logs").code == 0
    assert trained[3:] == [(name, 0), (name, 1)]


def test_an_interruption_after_a_failure_is_an_interruption(run, project, trained):
    project.write(BAD.replace("[8]", "{name: interrupted, layers: [8]}"))
    ran = run("tiny.yaml", "--jobs", "0")
    assert "failed: bad seed 0" in ran.err
    assert "go on with: " in ran.err
    assert ran.code == 130


def test_an_interruption_before_the_trials_needs_no_traceback(run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_mlp.cli.sweep.make_plan", interrupted)
    ran = run("tiny.yaml")
    assert (ran.code, ran.errors) == (130, ["interrupted"])


def test_signals_do_again_what_they_did_before(run, trained):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run("tiny.yaml", "--jobs", "0")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
def test_a_pipe_that_closes_is_no_error(project, run, trained):
    run("tiny.yaml", "--jobs", "0")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, ROOT / "sweep.py", "tiny.yaml"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=project.environment(),
        timeout=120,
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cp1252", "utf-8"))]
)
def test_the_table_is_printed_in_whatever_letters_the_terminal_has(project, run, trained, encoding):
    run("tiny.yaml", "--jobs", "0")
    environment = project.environment() | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, ROOT / "sweep.py", "tiny.yaml"]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr.decode(encoding)) == (0, "")
    assert "6,370" in done.stdout.decode(encoding)


# ---- the report


@pytest.mark.slow
def test_a_sweep_draws_its_report_and_the_verb_draws_it_again(run, project, drawn, capsys):
    ran = run("tiny.yaml", "--jobs", "0")
    page = project.results / "tiny/report.html"
    assert "report: results/tiny/report.html" in ran.out
    first = page.read_text(encoding="utf-8")
    page.unlink()
    assert verbs(["report", "tiny.yaml"]) == 0
    assert "open results/tiny/report.html" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == first


@pytest.mark.slow
def test_every_view_of_a_quick_look_says_that_it_is_one_and_of_what(run, project, drawn, capsys):
    run("tiny.yaml", "--jobs", "0")
    before = state(project.results / "tiny", project.logs / "tiny")
    ran = run("tiny.yaml", "--jobs", "0", "--epochs", "1", "--limit", "900", "--seeds", "1")
    quick, words = "tiny+epochs-1+limit-900+seeds-1", "1 epoch, 900 training images, 1 seed, the file asks for 2"
    title = f"tiny, a quick look ({words})"
    assert ran.out.startswith(f"{title}: 2 architectures, 2 trials: 0 done, 2 to train\n")
    assert f"\n{title} on synthetic" in ran.out
    assert f"table: results/{quick}/results.csv\nreport: results/{quick}/report.html\n" in ran.out
    assert f"\na quick look ({words}): results/tiny is left to the full sweep\n" in ran.out
    assert (project.results / quick / "results.md").read_text("utf-8").startswith(f"# {title} on synthetic\n")
    page = (project.results / quick / "report.html").read_text("utf-8")
    assert f"<h1>{title} on " in page
    assert f"A quick look: {words}." in page
    (events,) = (project.logs / quick / "_sweep").glob("*.sweep")
    assert f"# {title} on synthetic\n".encode() in events.read_bytes()
    (events,) = (project.logs / quick / "wide").glob("*.architecture")
    assert b"--only wide --epochs 1 --limit 900 --seeds 1" in events.read_bytes()

    (project.results / quick / "report.html").unlink()
    assert verbs(["report", quick]) == 0
    assert f"open results/{quick}/report.html" in capsys.readouterr().out
    assert (project.results / quick / "report.html").read_text("utf-8") == page
    assert state(project.results / "tiny", project.logs / "tiny") == before


def test_more_seeds_than_the_file_asks_for_are_the_full_sweep_and_said(run, project, trained):
    ran = run("tiny.yaml", "--jobs", "0", "--seeds", "3")
    assert ran.out.startswith("tiny (3 seeds, the file asks for 2): 2 architectures, 6 trials")
    assert (
        (project.results / "tiny/results.md").read_text("utf-8").startswith("# tiny (3 seeds, the file asks for 2) on ")
    )
    assert "quick look" not in ran.out


def test_keras_own_loop_is_no_quick_look_but_is_said(run, project, trained):
    """It trains all that the file asks for; the table says by which loop, and so does every row of trials.csv."""
    run("tiny.yaml", "--jobs", "0")
    note = "Trained by Keras's own loop (--plain-fit)."
    assert note not in (project.results / "tiny/results.md").read_text("utf-8")
    assert note in run("tiny.yaml", "--jobs", "0", "--plain-fit").out
    assert note in (project.results / "tiny/results.md").read_text("utf-8")
    assert {row["loop"] for row in project.trials().values()} == {"plain"}


def test_a_refit_is_announced_run_and_shown(run, project, trained):
    project.write(TINY.replace("seeds: 2", "seeds: 2\nrefit: true"))
    before = run("tiny.yaml", "--dry-run")
    assert "4 trials: 0 done, 4 to train" in before.out
    assert "then the best by val_accuracy again, on all training images (refit)" in before.out
    ran = run("tiny.yaml", "--jobs", "0")
    assert ran.code == 0
    best = trained[-1][0]
    assert sorted(trained[4:]) == [(best, 2**31), (best, 2**31 + 1)]  # refits 0 and 1: seeds of their own
    assert f"best by val_accuracy: {best}; training it again on all images" in ran.out
    assert f"[5/6] {best} refit " in ran.out
    assert "refit:" in ran.out
    assert "Refit: trained again on all training images" in ran.out
    again = run("tiny.yaml", "--jobs", "0")
    assert "6 trials: 6 done, 0 to train" in again.out
    assert "then the best" not in again.out
