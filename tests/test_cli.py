"""The command line: what is printed, what is refused, which exit code. Nothing here trains.

Most run `cli.main` in this process. Where trials are asked for, `trained` puts invented ones in the place of Keras's:
they leave what a trial leaves, with numbers made of its fingerprint. Real ones are in test_end_to_end.py.
"""

import gzip
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sweeping
from idx_files import write_idx
from sweeping import Project, by_itself, invented_latency, invented_record, state

from fmnist_mlp.cli.sweep import main
from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data import idx
from fmnist_mlp.data.idx import FILES
from fmnist_mlp.engines.calls import Stopped

ROOT = Path(__file__).parent.parent
TINY = """\
dataset: synthetic
seeds: 2
training: {epochs: 3}
architectures:
  - [8]
  - name: wide
    layers: [16]
"""


class Ran:
    """What one run of the command said, and its exit code."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.errors = err.splitlines()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder to stand in, with `tiny.yaml`, no images and no network."""
    folder = tmp_path / "project"
    project = Project(folder, TINY)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [tmp_path / "keras"])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            "fmnist_mlp.data.download.FASHION_MNIST_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/"
        )
    return project


@pytest.fixture
def run(project, capsys):
    """`run("tiny.yaml", "--dry-run")`: the command in this process, as `Ran`; a traceback fails the test."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # argparse
            code = exit_.code
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def trained(monkeypatch):
    """Invented trials instead of real ones; gives the list of those that ran, as `(architecture, seed)`.

    An architecture whose name begins with `bad` diverges; during one named `interrupted` the process gets a signal.
    """
    ran = []

    def run_trial(context, task):
        name, training = task.trial.architecture.name, task.trial.architecture.training
        ran.append((name, task.trial.seed))
        if name.startswith("bad"):
            raise ArithmeticError("loss became nan in epoch 1")
        for number in _SIGNALS.get(name, ()):
            os.kill(os.getpid(), number)
        if context.stop_requested:
            raise Stopped
        accuracy = "accuracy" if task.trial.is_refit else "val_accuracy"
        context.report({"epoch": 1, "epochs": training.epochs, "loss": 0.5, accuracy: 0.5})
        return invented_record(task)

    environment = {"device": "cpu", "tensorflow": "0", "keras": "0"}
    monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", run_trial)
    monkeypatch.setattr("fmnist_mlp.training.latency.measure_latency", invented_latency)
    monkeypatch.setattr("fmnist_mlp.training.worker.start_worker", lambda *arguments: environment)
    sweeping.leave_out_pictures(monkeypatch)
    return ran


@pytest.fixture
def drawn(trained, monkeypatch):
    """`trained`, and pictures are drawn too."""
    sweeping.draw_pictures(monkeypatch)
    return trained


_SIGNALS = {
    "interrupted": [signal.SIGINT],
    "terminated": [signal.SIGTERM],
    "interrupted-twice": [signal.SIGINT, signal.SIGINT],
}


# ---- before anything is trained -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        *("--dry-run", "--only", "--epochs", "--seeds", "--limit", "--jobs", "--device", "--data-dir", "--logs-dir"),
        *("--results-dir", "--fresh", "--retry-failed", "--fail-fast", "--plain-fit", "--quiet", "--trial-timeout"),
        *("--checkpoint-every", "--version", "--help"),
    ],
)
def test_every_option_is_in_the_help(run, option):
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    assert re.search(rf"^  .*{option}\b", ran.out, re.MULTILINE)


def test_the_help_says_what_is_taken_by_default_and_where_results_go(run):
    words = " ".join(run("--help").out.split())
    assert "default: architectures.yaml" in words
    assert "results/<sweep>/results.csv" in words
    assert "tensorboard --logdir logs" in words


HEAVY = ("tensorflow", "keras", "pandas", "scipy", "matplotlib", "sklearn", "jax", "torch")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["tiny.yaml", "--dry-run"], 0),
        (["wrong.yaml"], 2),
        (["missing.yaml"], 2),
        (["tiny.yaml", "--only", "nothing*"], 2),
        (["tiny.yaml"], 0),  # nothing to do
        (["tiny.yaml", "--quiet"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_nothing_heavy_is_imported_where_nothing_is_trained(project, run, drawn, arguments, code):
    project.write("architectures: [[0]]\n", "wrong.yaml")
    if "tiny.yaml" in arguments:
        assert run("tiny.yaml", "--jobs", "0").code == 0
    script = (
        "import sys\nfrom fmnist_mlp.cli.sweep import main\n"
        f"try:\n    code = main({arguments})\nexcept SystemExit as exit_:\n    code = exit_.code\n"
        f"print(code, *({{*sys.modules}} & {{*{HEAVY}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=project.environment(), timeout=120
    )
    assert done.stdout.splitlines()[-1] == str(code), done.stderr


def test_a_dry_run_counts_the_parameters_of_the_shipped_sweep_exactly(run, project):
    (project.folder / "architectures.yaml").write_bytes((ROOT / "architectures.yaml").read_bytes())
    before = state(project.folder)
    ran = run("--dry-run")
    assert ran.code == 0
    assert "4 architectures, 20 trials: 0 done, 20 to train" in ran.out
    rows = {words[0]: words for words in map(str.split, ran.out.splitlines()) if words}
    # By hand: for 64-32, 784*64+64 + 64*32+32 + 32*10+10 = 52,650.
    for name, parameters in {
        "64-128-64-32": "69,226",
        "64-128-32": "63,018",
        "64-32": "52,650",
        "128-64": "109,386",
    }.items():
        assert parameters in rows[name]
    assert state(project.folder) == before
    assert sorted(path.name for path in project.folder.iterdir()) == ["architectures.yaml", "tiny.yaml"]


def test_a_dry_run_changes_nothing_where_results_are(run, project, trained):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    before = state(project.folder)
    project.write(TINY.replace("[8]", "[9]"), "other.yaml")
    (project.folder / "tiny.yaml").write_text(TINY.replace("[8]", "[9]"))
    ran = run("tiny.yaml", "--dry-run")
    assert "2 done, 2 to train" in ran.out
    assert {path: about for path, about in state(project.results, project.logs).items() if path in before} == {
        path: about for path, about in before.items() if path.suffix != ".yaml"
    }
    assert len(trained) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "-1"], r"--jobs: expected a whole number from 0, got '-1'"),
        (["--jobs", "two"], r"--jobs: expected a whole number from 0, got 'two'"),
        *((["--jobs", text], rf"--jobs: .*'{text}'") for text in ("1.5", "", "0x10")),
        (["--jobs", "9" * 5000], r"--jobs: expected a whole number from 0"),  # more digits than Python converts
        (["--epochs", "0"], r"--epochs: expected a whole number from 1, got '0'"),
        (["--epochs", "-3"], r"--epochs: .*'-3'"),
        (["--epochs", "1e3"], r"--epochs: .*'1e3'"),
        (["--epochs", "1000000"], r"--epochs must be .*100,000.*, got 1000000"),
        (["--limit", "x"], r"--limit: expected a whole number from 1, got 'x'"),
        (["--limit", "0"], r"--limit: .*'0'"),
        (["--limit", ""], r"--limit: .*''"),
        (["--limit", "9" * 4000], r"--limit must be .*1,000,000,000"),
        *((["--seeds", text], rf"--seeds: .*'{text}'") for text in ("0", "0,1", "-5", "x")),
        (["--seeds", "99999999"], r"--seeds must be .*10,000, got 99999999"),
        *(
            ([option, text], rf"{option}: expected a number of seconds above 0, got '{text}'")
            for option in ("--trial-timeout", "--checkpoint-every")
            for text in ("0", "-1", "x", "nan", "inf", "1e999")
        ),
        (["--device", "tpu"], r"--device: invalid choice: 'tpu'.*auto.*cpu.*gpu"),
        (["--only", "nothing*"], r"--only nothing\*: no architecture of that name; there are 8, wide"),
        (["--only", "8", "--only", "Wide"], r"--only Wide: no architecture of that name"),
        (["--data-dir", "here"], r"--data-dir .*here.*dataset: synthetic"),
        (["--results-dir", ""], r"--results-dir: expected a folder, got ''; the current one is \."),
        (["--logs-dir= "], r"--logs-dir: expected a folder, got ' '"),
        (["--data-dir", ""], r"--data-dir: expected a folder, got ''"),
        (["--results-dir=~nobody here/r"], r"--results-dir: ~nobody here/r: .*home"),
        (["--colour"], r"unrecognized arguments: --colour"),
        (["another.yaml"], r"unrecognized arguments: another.yaml"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "message",
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(run, project, arguments, message):
    before = state(project.folder)
    ran = run("tiny.yaml", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert re.search(message, ran.errors[-1])
    assert all(re.match(r"usage: |\s", line) for line in ran.errors[:-1])  # argparse shows the usage before it
    assert state(project.folder) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^bad.yaml: the file is empty"),
        ("architectures:\n  - [8]\n  - [16, 0]\n", r"^bad.yaml:3: dense units must be from 1 .*, got 0"),
        ("architectures:\n  - [-8]\n", r"^bad.yaml:2: dense units must be from 1 .*, got -8"),
        ("architectures:\n  - [8.5]\n", r"^bad.yaml:2: .*8\.5"),
        ("architectures:\n  - [1e12]\n", r"^bad.yaml:2: "),
        ("architectures:\n  - [Drpout: 0.3]\n", r"^bad.yaml:2: .*Drpout.*Dropout"),
        ("architectures:\n  - [8]\n  - name: a/b\n    layers: [9]\n", r"^bad.yaml:3: name .*'a/b'"),
        ("architectures:\n  - name: 👕\n    layers: [9]\n", r"^bad.yaml:2: name .*👕"),
        ("architectures:\n  - name: _mine\n    layers: [9]\n", r"^bad.yaml:2: .*must not begin with _"),
        ("architectures:\n  - [8]\n  - [8]\n", r"^bad.yaml:3: .*line 2"),
        ("architectures:\n  - [8\n", r"^bad.yaml:\d"),
        ("architectures:\n\t- [8]\n", r"^bad.yaml:2: "),
        (b"\x00\x01\x02\xff" * 50, r"^bad.yaml:1: .*(UTF-8|control character)"),
        (b"architectures:\n  - [8]\n# caf\xe9\n", r"^bad.yaml:3: is not UTF-8 text"),
        (gzip.compress(TINY.encode()), r"^bad.yaml:1: .*(UTF-8|control character)"),
    ],
)
def test_a_bad_sweep_file_is_named_with_its_line_and_nothing_is_written(run, project, text, message):
    """What is wrong in which words: test_mistakes.py."""
    (project.folder / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = state(project.folder)
    ran = run("bad.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert re.search(message, ran.errors[0])
    assert sum(line.startswith("bad.yaml") for line in ran.errors) == 1  # one mistake, one message
    assert len(ran.err) < 800
    assert state(project.folder) == before
    assert sorted(path.name for path in project.folder.iterdir()) == ["bad.yaml", "tiny.yaml"]


def test_all_mistakes_of_a_file_are_shown_with_the_users_own_lines(run, project):
    project.write("sedes: 2\narchitectures:\n  - [0]\n  - [Dropout: 1.5]\n", "bad.yaml")
    ran = run("bad.yaml")
    assert [line.split(": ")[0] for line in ran.errors if line.startswith("bad")] == [
        f"bad.yaml:{n}" for n in (1, 3, 4)
    ]
    assert [line.strip() for line in ran.errors if line.startswith(" ")] == ["sedes: 2", "- [0]", "- [Dropout: 1.5]"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", r"^missing.yaml: there is no such file"),
        ("a folder", r"^a folder: is a folder"),
        ("tiny.yaml/deeper.yaml", r"^tiny.yaml/deeper.yaml: cannot be read"),
        ("a b.yaml", r"^a b.yaml: the file's name cannot name the sweep: .*name: a-b"),
        ("_records.yaml", r"^_records.yaml: .*must not begin with _"),
        ("a loop", r"^a loop: cannot be read: Too many levels of symbolic links"),
    ],
)
def test_a_path_that_is_no_sweep_file_says_what_to_do(run, project, name, message):
    (project.folder / "a loop").symlink_to("a loop")
    (project.folder / "a folder").mkdir()
    for file in ("a b.yaml", "_records.yaml"):
        project.write(TINY, file)
    ran = run(name)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.errors) == 1
    assert re.search(message, ran.err)


def test_without_a_sweep_file_here_the_default_is_named(run):
    ran = run()
    assert ran.code == 2
    assert ran.err.startswith("architectures.yaml: there is no such file; give the path of a sweep file")


# ---- images -------------------------------------------------------------------------------------------------------


def write_images(folder, train=12, test=6):
    """Four gzipped files of 4x5 images in three classes."""
    rng = np.random.default_rng(0)
    arrays = [array for n in (train, test) for array in (rng.integers(0, 256, (n, 4, 5)), np.arange(n) % 3)]
    return write_idx(folder, *arrays, ending=".gz").folder


@pytest.fixture
def images(project, monkeypatch):
    """A folder of tiny files that pass for Fashion-MNIST: theirs are the expected sizes and checksums."""
    folder = write_images(project.folder / "images")
    files = []
    for file in FILES:
        packed = (folder / file.gz_name).read_bytes()
        digest = hashlib.sha256(gzip.decompress(packed)).hexdigest()
        files.append(idx.File(file.stem, file.dimensions, len(packed), digest))
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.FILES", tuple(files))
    return folder


FASHION = "dataset: fashion_mnist\nseeds: 1\narchitectures:\n  - [8]\n"
X_TRAIN = FILES[0].gz_name


@pytest.mark.parametrize("way", ["--data-dir", "FASHION_MNIST_DIR"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, None),
        (lambda folder: folder.rename(folder.with_name("gone")), r"names the folder .*images, .*correct the path"),
        (lambda folder: (folder / X_TRAIN).write_bytes((folder / X_TRAIN).read_bytes()[:-9]), rf"{X_TRAIN}: .*cut"),
    ],
    ids=["sound", "no folder", "cut off"],
)
def test_damaged_images_are_one_line_that_names_the_file(run, project, images, monkeypatch, way, damage, message):
    project.write(FASHION, "fashion.yaml")
    if damage:
        damage(images)
    if way == "FASHION_MNIST_DIR":
        monkeypatch.setenv(way, str(images))
    before = state(project.folder)
    ran = run("fashion.yaml", "--dry-run", *([way, images] if way == "--data-dir" else []))
    if damage is None:
        assert (ran.code, ran.err) == (0, "")
        assert "fashion_mnist: 12 training and 6 test images of 4x5" in ran.out
    else:
        assert (ran.code, ran.out, len(ran.errors)) == (2, "", 1)
        assert re.search(message, ran.err)
    assert state(project.folder) == before


def test_other_images_than_fashion_mnist_in_its_place_are_pointed_to_idx(run, project):
    project.write(FASHION, "fashion.yaml")
    ran = run("fashion.yaml", "--data-dir", write_images(project.folder / "mine"))
    assert (ran.code, len(ran.errors)) == (2, 1)
    assert "none of the four is Fashion-MNIST's" in ran.err
    assert "{idx: " in ran.err


def test_the_folder_of_the_shell_is_left_alone_by_sweeps_of_other_data(run, project, images, monkeypatch):
    monkeypatch.setenv("FASHION_MNIST_DIR", str(images))
    assert "synthetic: 12,000 training" in run("tiny.yaml", "--dry-run").out
    project.write("dataset: {idx: images}\narchitectures: [[8]]\n", "own.yaml")
    assert "idx:images: 12 training" in run("own.yaml", "--dry-run").out


def test_without_a_network_fashion_mnist_is_refused_with_the_remedy(run, project):
    project.write(FASHION, "fashion.yaml")
    ran = run("fashion.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert re.search(r"127\.0\.0\.1.* could not be downloaded \(.*refused", ran.errors[-1])
    assert re.search(r"--data-dir or FASHION_MNIST_DIR.*dataset: auto would take the generated", ran.errors[-1])
    assert not project.results.exists()
    assert not project.logs.exists()


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_without_a_network_auto_takes_the_stand_in_and_says_so_once(run, project, trained, quiet):
    project.write("dataset: auto\nseeds: 1\narchitectures: [[8]]\n", "auto.yaml")
    for _ in range(2):  # trained, and with nothing to do
        ran = run("auto.yaml", "--jobs", "0", *quiet)
        assert ran.code == 0
        assert ran.err.count("STAND-IN DATA") == 1
        loud = next(line for line in ran.errors if "STAND-IN DATA" in line)
        assert re.search(r"could not be downloaded \(.*refused.*--data-dir or FASHION_MNIST_DIR", loud)
        assert "not Fashion-MNIST" in ran.err
    assert project.rows("auto")["8"]["dataset"] == "synthetic"
    assert trained == [("8", 0)]


def test_the_stand_in_asked_for_by_name_is_no_reason_for_a_warning(run):
    assert run("tiny.yaml", "--dry-run").err == ""


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


@pytest.mark.parametrize("name", list(_SIGNALS))
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
    monkeypatch.setitem(_SIGNALS, name, [])
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


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--results-dir", "a file", "cannot write a file"),
        ("--results-dir", "a file/deeper", "cannot write a file/deeper"),
        ("--logs-dir", "a file", "cannot write .*a file"),
        ("--logs-dir", "a file/deeper", "cannot write .*a file/deeper"),
        ("--results-dir", "a loop", "cannot write a loop.*: Too many levels of symbolic links"),
        ("--results-dir", "a loop/deeper", "cannot write a loop.*: Too many levels of symbolic links"),
        ("--logs-dir", "a loop", "cannot write a loop.*: Too many levels of symbolic links"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_before_anything_is_trained(
    run, project, trained, option, place, message
):
    (project.folder / "a file").write_text("mine")
    (project.folder / "a loop").symlink_to("a loop")
    ran = run("tiny.yaml", "--jobs", "0", option, place)
    assert ran.code == 2
    assert re.search(message, ran.errors[-1])
    assert len(ran.errors) == 1
    assert trained == []
    assert (project.folder / "a file").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "tiny.yaml", "--results-dir", "a loop"],
        ["report", "a loop"],
        ["predict", "tiny.yaml", "--sweep", "tiny", "--model", "a loop/x.keras"],
        ["predict", "tiny.yaml", "--results-dir", "a loop"],
        ["export", "8", "--to", "x", "--results-dir", "a loop"],
        ["explore", "--synthetic", "--limit", "300", "--sample", "100", "--results-dir", "a loop"],
        ["explore", "--idx", "a loop"],
        ["explore", "--data-dir", "a loop"],
        ["app", "--results-dir", "a loop"],
    ],
    ids=" ".join,
)
def test_a_loop_of_links_is_one_line_for_every_verb(project, capsys, arguments):
    (project.folder / "a loop").symlink_to("a loop")
    assert verbs(arguments) == 2
    assert "a loop" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("loop", ["results/_records", "results/tiny", "results/tiny/models", "logs/tiny"])
def test_a_loop_of_links_within_our_folders_is_one_line(run, project, trained, loop):
    (project.folder / loop).parent.mkdir(parents=True)
    (project.folder / loop).symlink_to(Path(loop).name)
    ran = run("tiny.yaml", "--jobs", "0")
    assert (ran.code, len(ran.errors)) == (2, 1)
    assert loop in ran.err


def test_the_home_folder_is_meant_also_where_the_shell_leaves_it(run, project, trained, monkeypatch):
    monkeypatch.setenv("HOME", str(project.folder / "home"))
    monkeypatch.setenv("USERPROFILE", str(project.folder / "home"))  # of Windows
    (project.folder / "home").mkdir()
    project.write(TINY, "home/mine.yaml")
    before = {path.name for path in project.folder.iterdir()}
    assert run("~/mine.yaml", "--jobs", "0", "--results-dir=~/r", "--logs-dir=~/l").code == 0
    assert {path.name for path in (project.folder / "home").iterdir()} == {"mine.yaml", "r", "l"}
    assert {path.name for path in project.folder.iterdir()} == before


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


# ---- edited, renamed, shared, damaged -----------------------------------------------------------------------------


def test_names_order_and_comments_train_nothing_and_the_views_follow(run, project, trained):
    def curves(name):
        folder = project.trial_logs() / name
        return {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/train/*")}

    run("tiny.yaml", "--jobs", "0")
    rows, before = project.rows(), curves("wide")
    project.write(
        "# reordered, renamed\ndataset: synthetic\nseeds: [1, 0]\narchitectures:\n"
        "  - {layers: [16], name: renamed, epochs: 3}\n  - [{Dense: {units: 8}}]\ntraining: {epochs: 3}\n"
    )
    ran = run("tiny.yaml")
    assert (ran.code, len(trained)) == (0, 4)
    assert "4 done, 0 to train" in ran.out
    assert list(project.rows()) == ["renamed", "8"]
    assert project.rows()["renamed"] == rows["wide"] | {"architecture": "renamed"}
    assert sorted(path.name for path in (project.results / "tiny/models").iterdir()) == ["8.keras", "renamed.keras"]
    assert {name.split("/")[0] for name in project.curves()} == {"8", "renamed"}
    best = max((0, 1), key=lambda seed: project.trials()["renamed", seed]["val_accuracy"])
    assert (project.results / "tiny/models/renamed.keras").read_text() == project.record_folder("renamed", best).name
    assert curves("renamed") == before


def test_an_architecture_taken_out_leaves_the_table_and_the_views_but_keeps_its_records(run, project, trained):
    run("tiny.yaml", "--jobs", "0")
    project.write(TINY.partition("  - name: wide")[0])
    assert run("tiny.yaml").code == 0
    assert list(project.rows()) == ["8"]
    assert [path.name for path in (project.results / "tiny/models").iterdir()] == ["8.keras"]
    assert sorted(path.name for path in (project.logs / "tiny").iterdir()) == ["8", "_journal", "_order", "_sweep"]
    project.write(TINY)
    assert run("tiny.yaml").code == 0
    assert len(trained) == 4
    assert set(project.curves()) == {
        f"{name}/seed-{n}{part}" for name in ("8", "wide") for n in (0, 1) for part in ("", "/train")
    }


def test_what_others_put_under_logs_stays(run, project, trained):
    run("tiny.yaml", "--jobs", "0")
    mine = project.logs / "tiny/my-own-run/events.out.tfevents.2.me"
    mine.parent.mkdir()
    mine.write_text("mine")
    project.write(TINY.partition("  - name: wide")[0])
    assert run("tiny.yaml").code == 0
    assert mine.read_text() == "mine"


def test_another_sweep_shares_the_records_and_has_its_own_views(run, project, trained):
    run("tiny.yaml", "--jobs", "0")
    project.write(
        "dataset: synthetic\nseeds: 2\narchitectures:\n  - {name: theirs, layers: [8], epochs: 3}\n", "other.yaml"
    )
    before = state(project.results / "tiny", project.logs / "tiny")
    ran = run("other.yaml")
    assert (ran.code, len(trained)) == (0, 4)
    assert "2 done, 0 to train" in ran.out
    theirs, ours = project.rows("other")["theirs"], project.rows("tiny")["8"]
    assert by_itself(theirs) == by_itself(ours)
    assert (theirs["verdict"], ours["verdict"]) == ("best", "too few seeds")
    assert project.curves("other") == {f"theirs/seed-{n}{part}": 1 for n in (0, 1) for part in ("", "/train")}
    assert (project.results / "other/models/theirs.keras").is_file()
    assert list(project.rows("tiny")) == ["8", "wide"]
    assert "4 done, 0 to train" in run("tiny.yaml").out
    assert state(project.results / "tiny", project.logs / "tiny") == before


def test_two_files_of_one_stem_do_not_share_a_folder_of_results(run, project, trained):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    before = state(project.results, project.logs)
    (project.folder / "sub").mkdir()
    project.write(TINY.replace("[8]", "[9]"), "sub/tiny.yaml")
    ran = run("sub/tiny.yaml", "--jobs", "0")
    assert (ran.code, len(trained)) == (2, 4)
    assert re.search(
        r"results/tiny holds the results of .*project/tiny\.yaml: .*sub/tiny\.yaml.*name: ", ran.errors[-1]
    )
    assert state(project.results, project.logs) == before
    project.write("name: another\n" + TINY.replace("[8]", "[9]"), "sub/tiny.yaml")
    assert run("sub/tiny.yaml", "--jobs", "0").code == 0


def test_a_moved_project_and_a_renamed_file_keep_their_results(run, project, trained, monkeypatch):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    moved = project.folder.rename(project.folder.with_name("moved"))
    monkeypatch.chdir(moved)
    before = state(moved)
    ran = run("tiny.yaml")
    assert (ran.code, len(trained)) == (0, 4)
    assert state(moved) == before
    (moved / "sweeps").mkdir()
    (moved / "tiny.yaml").rename(moved / "sweeps/tiny.yaml")
    assert run("sweeps/tiny.yaml").code == 0
    assert len(trained) == 4


# ---- devices ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_one_line_with_the_reason_and_what_to_install(project):
    before = state(project.folder)
    done = project.sweep("--device", "gpu", "--jobs", "1", environment={"CUDA_VISIBLE_DEVICES": "-1"}, code=2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.match(r"--device gpu: TensorFlow finds no GPU .*install tensorflow\[and-cuda\]", done.stderr)
    assert "--device auto" in done.stderr
    assert not list(project.results.glob("_records/*/record.json"))
    assert before.items() <= state(project.folder).items()
    assert sweeping.read_csv(project.results / "tiny/trials.csv") == []


# ---- looking at the images


@pytest.fixture
def explore(project, capsys):
    def explore(*arguments):
        code = verbs(["explore", *map(str, arguments)])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return explore


@pytest.mark.slow
def test_a_page_of_the_images_is_made_where_it_says(explore, project):
    ran = explore("--synthetic", "--limit", "300", "--sample", "100")
    assert (ran.code, ran.out) == (0, "open results/_explore/synthetic+limit-300/index.html\n")
    assert (
        (project.results / "_explore/synthetic+limit-300/index.html")
        .read_text(encoding="utf-8")
        .startswith("<!DOCTYPE html>")
    )
    assert "STAND-IN" not in ran.err, "it was asked for"


def test_the_stand_in_is_not_shown_for_fashion_mnist_without_a_word(explore):
    ran = explore("--limit", "300", "--sample", "100")
    assert (ran.code, ran.out) == (0, "open results/_explore/synthetic+limit-300/index.html\n")
    assert "STAND-IN DATA" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--idx", "nowhere"], r"names the folder .*nowhere"),
        (["--idx", "nowhere", "--synthetic"], "use one of --idx FOLDER, --npz FILE, --synthetic and --data-dir"),
    ],
)
def test_images_that_cannot_be_shown_are_the_users_to_mend(explore, arguments, message):
    ran = explore(*arguments)
    assert (ran.code, len(ran.errors)) == (2, 1)
    assert re.search(message, ran.err)


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
