"""The command line before anything is trained: help, dry runs, and what is refused in one line. Nothing here trains."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sweeping
from commands import TINY, drawn, project, run, trained
from sweeping import ROOT, state

from fmnist_mlp.cli.verbs import verbs

__all__ = ["drawn", "project", "run", "trained"]  # fixtures, used by name


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


# ---- places


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
