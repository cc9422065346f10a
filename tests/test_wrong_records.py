"""Records and memories that are damaged, or whole and wrong: passed over in one line, trained again, or forgotten."""

import json
import shutil

import pytest
from commands import TINY, project, run, trained
from faults import is_one_line
from one_trial import write_images
from sweeping import invented_record, state

from fmnist_mlp.data.source import load_data
from fmnist_mlp.errors import ImagesChanged
from fmnist_mlp.files import load_json, save_json, seal

__all__ = ["project", "run", "trained"]  # fixtures, used by name


def rewritten(*keys, value):
    """A damage: the value at `keys` of the record is another."""

    def damage(folder):
        content = json.loads((folder / "record.json").read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (folder / "record.json").write_text(json.dumps(content))
        seal(folder)

    return damage


def folder_in_place_of(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def file_in_place_of_the_record(folder):
    shutil.rmtree(folder)
    folder.write_text("no folder")


def written(content):
    """A damage: the record's file holds this, or what this makes of it."""

    def damage(folder):
        path = folder / "record.json"
        path.write_bytes(content(path.read_bytes()) if callable(content) else content)

    return damage


def without(name):
    return lambda folder: (folder / name).unlink()


DAMAGES = {
    "cut in the middle": (written(lambda content: content[:200]), "is damaged or was edited"),
    "no bytes": (written(b""), "is damaged or was edited"),
    "not JSON": (written(b"\xff\x00{"), "is damaged or was edited"),
    "a list": (written(b"[]"), "is damaged or was edited"),
    "nested without end": (written(b"[" * 100_000), "is damaged or was edited"),
    "a folder": (folder_in_place_of("record.json"), "cannot be read"),
    "a file": (file_in_place_of_the_record, "cannot be read"),
    "of a newer version": (rewritten("format", value=99), "has format 99, this version reads 3"),
    "of a format that moves the cursor": (rewritten("format", value="\x1b[2J\n" + "x" * 9999), "has format"),
    "of another trial": (rewritten("fingerprint", value="0" * 64), "belongs to another trial"),
    "without its model": (without("model.keras"), "lacks model.keras"),
    "without its predictions": (without("predictions.npz"), "lacks predictions.npz"),
    "with a folder for a model": (folder_in_place_of("model.keras"), "lacks model.keras"),
    "with a folder for predictions": (folder_in_place_of("predictions.npz"), "lacks predictions.npz"),
} | {
    phrase: (rewritten(*keys, value=value), "is not a whole record")
    for phrase, keys, value in [
        ("with an unknown status", ["status"], "great"),
        ("done without numbers", ["metrics"], {}),
        ("done without history", ["history"], {}),
        ("done without clocks", ["measured"], {}),
        ("with a setting that is no number", ["settings", "seed"], float("nan")),
        ("with a start that is text", ["measured", "started_at_seconds"], "x"),
        ("with a start that is nothing", ["measured", "started_at_seconds"], None),
        ("with a start without end", ["measured", "started_at_seconds"], 1e999),
        ("with seconds without end", ["measured", "train_seconds"], 1e999),
        ("with seconds below zero", ["measured", "train_seconds"], -1.0),
        ("with half a character", ["weights"], "\ud800"),
        ("with half a character in a clock", ["measured", "started_at"], "\ud800"),
    ]
}  # fmt: skip


@pytest.mark.parametrize("phrase", DAMAGES)
def test_a_damaged_record_is_one_line_passed_over_and_trained_again(run, project, trained, phrase):
    damage, message = DAMAGES[phrase]
    assert run("tiny.yaml", "--jobs", "0").code == 0
    numbers, folder = project.numbers(), project.record_folder("wide", 1)
    others = [other for other in folder.parent.glob("[0-9a-f]*") if other != folder]
    before = state(*others)
    damage(folder)
    shutil.rmtree(project.trial_logs())  # so that every record is also shown again
    for arguments in (["--dry-run"], ["--dry-run", "--quiet"], ["--jobs", "0"]):  # it needs attention
        ran = run("tiny.yaml", *arguments)
        assert is_one_line(ran, rf"{folder.name}.*: {message}.*\(wide seed 1\) is trained again", code=0)
        assert len(ran.err) < 500
        assert "--quiet" in arguments or "3 done, 1 to train" in ran.out
    assert trained[4:] == [("wide", 1)]
    assert project.numbers() == numbers
    assert state(*others) == before
    assert run("tiny.yaml").err == ""


MEMORIES = {
    "nothing": "",
    "another type": "[]",
    "a sweep file that is no path": json.dumps({"sweep_file": "a\0b"}),
    "a sweep file that is too long": json.dumps({"sweep_file": "a" * 9999}),
    "layers of text": json.dumps({"architectures": {"8": {"layers": ["x"]}}}),
    "layers of nothing": json.dumps({"architectures": {"8": {"layers": [{}]}}}),
    "layers of numbers": json.dumps({"architectures": {"8": {"layers": [{"Dense": 5}]}}}),
    "settings without end": json.dumps({"architectures": {"8": {"training": {"epochs": [1] * 10_000}}}}),
    "no settings": json.dumps({"architectures": {"8": 5}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["_sweeps/tiny.json", "tiny/sweep.json", "_data.json"])
@pytest.mark.parametrize("phrase", MEMORIES)
def test_a_memory_beside_the_records_that_is_damaged_is_forgotten(run, project, trained, memory, phrase):
    """What only helps (which file a folder belongs to, what changed, what the images are) never stops a sweep."""
    write_images(project.folder / "images")
    text = TINY.replace("synthetic", "{idx: images}")
    project.write(text)
    assert run("tiny.yaml", "--jobs", "0").code == 0
    (project.results / memory).write_text(MEMORIES[phrase])
    project.write(text.replace("[8]", "{name: '8', layers: [9]}"))
    ran = run("tiny.yaml", "--jobs", "0")
    assert (ran.code, ran.err) == (0, "")
    assert trained[4:] == [("8", 0), ("8", 1)]


@pytest.mark.parametrize(
    "wrong", [{"identity": "0" * 64}, {"image_shape": [9, 8]}, {"identity": "0" * 64, "num_classes": 7}]
)
def test_a_memory_of_the_images_that_is_contradicted_is_dropped_in_the_same_run(
    run, project, trained, monkeypatch, wrong
):
    """Whole and wrong: the worker finds other images, or an older record says otherwise."""

    def run_trial(context, task):
        if task.trial.settings["data"] != load_data(task.source).identity:
            raise ImagesChanged("the images in images are not those that the sweep was planned with")
        return invented_record(task)

    monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", run_trial)
    write_images(project.folder / "images")
    project.write(TINY.replace("synthetic", "{idx: images}"))
    assert run("tiny.yaml", "--jobs", "0", "--dry-run").code == 0
    assert run("tiny.yaml", "--jobs", "0").code == 0
    table = (project.results / "tiny" / "trials.csv").read_text()
    path = project.results / "_data.json"
    memory = load_json(path)
    for entry in memory.values():
        entry["info"] |= wrong
    save_json(path, memory)
    ran = run("tiny.yaml", "--jobs", "0")
    assert ran.code == 0, ran.err
    assert (project.results / "tiny" / "trials.csv").read_text() == table
    assert load_json(path) != memory
    assert run("tiny.yaml", "--jobs", "0").err == ""
