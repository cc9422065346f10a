"""Options and names of any size, length and characters: refused in one line, or taken as they are."""

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import TINY, project, run, trained
from faults import is_one_line
from one_trial import write_images
from sweeping import Project

from fmnist_mlp.data.source import DataSource
from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.runner import plan as plan_module
from fmnist_mlp.runner.plan import Options
from fmnist_mlp.sweepfile.read import load_sweep

__all__ = ["project", "run", "trained"]  # fixtures, used by name


# ---- options


@pytest.mark.parametrize("seconds", [1e-9, 2_592_000.0, 1e300], ids=["no time at all", "30 days", "for ever"])
def test_a_timeout_of_any_length_can_be_waited_for(seconds):
    """poll(2) counts milliseconds in 32 bits: 24.8 days."""
    engine = Pool(1, WorkerSettings(), timeout=seconds)
    (outcome,) = engine.run([Call("one", "engine_calls:double", (21,))])
    assert (outcome.status, outcome.value) in [("done", 42)] + [("timed_out", None)] * (seconds < 1)


def test_a_thousand_workers_are_as_many_as_there_are_trials(project, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: None)
    plan = plan_module.make_plan(load_sweep("tiny.yaml"), Options(jobs=1000))
    assert (plan.jobs, plan.jobs_note) == (4, None)


# ---- names

HOSTILE_NAMES = [
    *("../../x", "/etc/passwd", "..", ".", "", " ", "a b", "a/b", "a\\b", "C:x", "~", "-rf", ".hidden", "ends."),
    *(
        "a\0b",
        "\x1b[31mred",
        "a\nb",
        "a\rb",
        "a\u202eb",
        "a\u2028b",
        "[red]",
        "[/red]",
        "[link=x]y",
        "$(ls)",
        "a;b",
        "*",
    ),
    *("CON", "nul", "aux.txt", "Com1.x", "LPT9", "_records", "nan", "NULL", "x" * 81, "x" * 15_000, "é", "ａ"),
]


@pytest.mark.parametrize("where", ["sweep", "architecture"])
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name)[:20])
def test_a_hostile_name_is_refused_by_its_line(run, project, trained, where, name):
    written = json.dumps(name)  # JSON's escapes are YAML's
    lines = {
        "sweep": f"name: {written}\narchitectures: [[8]]\n",
        "architecture": f"architectures: [{{name: {written}, layers: [8]}}]\n",
    }
    project.write(lines[where], "hostile.yaml")
    ran = run("hostile.yaml", "--jobs", "0")
    assert (ran.code, ran.out, trained) == (2, "", [])
    assert re.match(r"hostile\.yaml:1: name must ", ran.errors[0])
    assert len(ran.errors) == 2  # the message and the user's own line
    assert all(line.isprintable() and len(line) < 250 for line in ran.errors)
    assert sorted(path.name for path in project.folder.iterdir()) == ["hostile.yaml", "tiny.yaml"]


@pytest.mark.parametrize(
    "place", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "a\nb", "[red]", "../" * 1000, "/dev/null"]
)
def test_a_hostile_folder_of_images_is_one_line(run, project, place):
    project.write(f"dataset: {{idx: {json.dumps(place)}}}\narchitectures: [[8]]\n", "images.yaml")
    ran = run("images.yaml", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert re.search(r"idx", ran.errors[0])
    assert all(line.isprintable() for line in ran.errors)
    assert len(ran.errors) == 1 + ran.errors[0].startswith("images.yaml:1: ")  # with a line, it is shown


@pytest.mark.parametrize(
    "pattern",
    ["[", "[!", "[red]", "[/red]", "", "../..", "*" * 500 + "x", "\x1b[2J", "a\nb", "x" * 15_000, "\udcff", "(?i)8|.*"],
)
def test_a_pattern_of_any_characters_is_matched_or_refused_in_one_line(run, trained, pattern):
    ran = run("tiny.yaml", "--jobs", "0", "--only", pattern)
    assert is_one_line(ran, r"^--only .*: no architecture of that name; there are 8, wide$")
    assert len(ran.err) < 300
    assert trained == []


@pytest.mark.parametrize("option", ["--results-dir", "--logs-dir", "--data-dir"])
@pytest.mark.parametrize("path", ["x" * 300, "y/" * 3000], ids=["a long name", "a long path"])
def test_a_path_longer_than_any_is_one_line(run, project, trained, option, path):
    if option == "--data-dir":
        project.write("dataset: fashion_mnist\narchitectures: [[8]]\n")
    assert is_one_line(run("tiny.yaml", "--jobs", "0", option, path), "File name too long")
    assert trained == []


FOLDERS = [
    "with spaces",
    "ünï-世界-👕",
    "new\nline",
    "[red]",
    "[bold]x",
    "\x1b[2J",
    "-rf",
    "a'b\"c",
    "%s{0}$HOME",
    "\udcff",
]


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_a_project_in_a_folder_of_any_name_is_trained_where_it_lies(run, project, trained, monkeypatch, name):
    """Sweep file, images, results and logs all lie there; `\\udcff` is how Python reads a byte that is no text."""
    home = Project(project.folder / name, TINY.replace("synthetic", "{idx: .}"))
    for path in write_images(project.folder / "images").folder.iterdir():
        shutil.move(path, home.folder)
    places = [
        f"{option}={project.folder / name / part}"
        for option, part in (("--results-dir", "results"), ("--logs-dir", "logs"))
    ]
    ran = run(f"./{name}/tiny.yaml", "--jobs", "0", *places)
    assert (ran.code, ran.err) == (0, "")
    assert len(home.trials()) == len(trained) == 4
    assert len(home.curves()) == 8
    shown = name.replace("\udcff", "?") if name.isprintable() else ""
    assert f"tiny on idx:{shown}" in ran.out
    assert "\x1b" not in ran.out
    assert run(f"./{name}/tiny.yaml", *places).code == 0
    assert len(trained) == 4


def test_a_folder_of_images_whose_name_is_no_text_has_a_name_in_the_tables():
    """Records, tables and event files are UTF-8, which has no place for the surrogates of such a name."""
    assert DataSource("idx", Path("/images/x\udcff")).dataset.encode() == b"idx:x?"


@pytest.mark.parametrize(
    "name",
    ["a\nb.yaml", "\x1b[2J.yaml", "[red].yaml", "\udcff.yaml", "CON.yaml", "x" * 200 + ".yaml", ".yaml"],
    ids=ascii,
)
def test_a_sweep_file_of_a_hostile_name_is_asked_for_a_name_in_one_line(run, project, trained, name):
    project.write(TINY, name)
    assert is_one_line(
        run(f"./{name}"), r"the file's name cannot name the sweep: .*add a line such as name: [A-Za-z0-9_-]+$"
    )
    project.write("name: fine\n" + TINY, name)
    assert run(f"./{name}", "--jobs", "0").code == 0
    assert list(project.rows("fine")) == ["8", "wide"]
