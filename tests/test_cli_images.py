"""Which images a command takes, refuses or replaces by the stand-in, and what it says of that."""

import re

import numpy as np
import pytest
from commands import Ran, project, run, trained
from idx_files import write_idx
from image_folder import pass_for_fashion_mnist
from sweeping import state

from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.idx import FILES

__all__ = ["project", "run", "trained"]  # fixtures, used by name


def write_images(folder, train=12, test=6):
    """Four gzipped files of 4x5 images in three classes."""
    rng = np.random.default_rng(0)
    arrays = [array for n in (train, test) for array in (rng.integers(0, 256, (n, 4, 5)), np.arange(n) % 3)]
    return write_idx(folder, *arrays, ending=".gz").folder


@pytest.fixture
def images(project, monkeypatch):
    """A folder of tiny files that pass for Fashion-MNIST: theirs are the expected sizes and checksums."""
    folder = write_images(project.folder / "images")
    pass_for_fashion_mnist(folder, monkeypatch)
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


@pytest.mark.slow
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
