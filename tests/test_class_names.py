"""Names of classes: in a sweep file, in a file beside the images, and in the file of a model."""

import json
import zipfile

import pytest
from sweep_files import STACK, fingerprints, load

from fmnist_mlp.data import class_names
from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes

__all__ = ["load"]  # fixtures, used by name

NAMES = ("Coat", "Bag ✓", "T-shirt/top")


@pytest.mark.parametrize(
    "content",
    [
        "Coat\nBag ✓\nT-shirt/top".encode(),
        "\ufeffCoat\r\nBag ✓\r\nT-shirt/top\r\n".encode(),
        "  Coat \nBag ✓\nT-shirt/top\n\n".encode(),
    ],
)
def test_labels_are_one_a_line(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    assert class_names.read_labels(tmp_path / "labels.txt", 3) == NAMES


def test_without_a_file_there_are_no_names(tmp_path):
    assert class_names.read_labels(tmp_path / "labels.txt", 3) is None
    (tmp_path / "labels.txt").mkdir()
    assert class_names.read_labels(tmp_path / "labels.txt", 3) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "labels.txt:1: the name of class 0 must not be empty; expected one a line"),
        (b"a\n\nb", "labels.txt:2: the name of class 1 must not be empty; expected one a line"),
        (b"a\nb", "labels.txt: has 2 names, but the labels are 0 to 2: expected 3, one a line"),
        (b"a,b,c", "labels.txt: has 1 names, but the labels are 0 to 2: expected 3, one a line"),
        (b"0\n2\n1\n1\n", "labels.txt: has 4 names, but"),
        (b"a\nb\nA", "labels.txt:3: names class 2 as line 1 names class 0"),
        (b"a\nb\x1b[2J\nc", "labels.txt:2: the name of class 1 must be printable characters in one line"),
        (
            b"a\n" + b"x" * 101 + b"\nc",
            "labels.txt:2: the name of class 1 must be at most 100 characters long, got 101",
        ),
        (b"\x89PNG\r\n\x1a\n", "labels.txt: is not UTF-8 text; expected the names of the classes, one a line"),
        (b"7\n" * 60_000, "labels.txt: is too long for the names of 3 classes, one a line: is it another file?"),
    ],
)
def test_labels_that_do_not_name_each_class_once_are_one_line(tmp_path, content, message):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(SweepError) as caught:
        class_names.read_labels(tmp_path / "labels.txt", 3)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


def archive(path, **files):
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


def test_a_model_carries_its_names_in_the_same_bytes_whoever_writes_them(tmp_path):
    model = archive(tmp_path / "a.keras", config='{"a": 1}', weights=b"\0\1")
    carrying = class_names.with_class_names(model, NAMES)
    assert carrying == class_names.with_class_names(model.read_bytes(), NAMES)
    assert carrying == class_names.with_class_names(class_names.with_class_names(model, ("x", "y")), NAMES)
    (tmp_path / "b.keras").write_bytes(carrying)
    assert class_names.carried_by(tmp_path / "b.keras") == NAMES
    with zipfile.ZipFile(tmp_path / "b.keras") as read:  # as anybody reads it
        assert json.loads(read.read("class_names.json")) == [*NAMES]
        assert (read.read("config"), read.read("weights")) == (b'{"a": 1}', b"\0\1")
    assert class_names.carried_by(model) == ()


def test_what_is_no_archive_is_left_as_it_is_and_carries_none(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"no archive")
    assert class_names.with_class_names(tmp_path / "a.keras", NAMES) == b"no archive"
    assert class_names.carried_by(tmp_path / "a.keras") == ()
    assert class_names.carried_by(tmp_path / "missing.keras") == ()


@pytest.mark.parametrize(
    "entry", [b"{}", b"[1]", b'["a\\u001b[2J"]', b'["\\ud800"]', b"[" * 50_000, b"", json.dumps(["x" * 200])]
)
def test_names_that_could_not_be_names_are_none(tmp_path, entry):
    path = archive(tmp_path / "a.keras", **{"class_names.json": entry})
    assert class_names.carried_by(path) == ()


TEN = "[a, b, c, d, e, f, g, h, i, j]"


def test_names_of_classes_are_no_part_of_a_trial(load):
    named = load(f"class_names: {TEN}\n{STACK}")
    assert named.class_names == tuple("abcdefghij")
    assert fingerprints(named) == fingerprints(load(STACK))
    assert check_shapes(named, (28, 28), 10)


def test_names_must_be_as_many_as_classes(load):
    with pytest.raises(SweepError) as caught:
        check_shapes(load("seeds: 1\nclass_names: [cat, dog]\n" + STACK), (28, 28), 10)
    assert str(caught.value).split("\n") == [
        "architectures.yaml:2: class_names must name each of the 10 classes (labels 0 to 9), got 2 names",
        "    class_names: [cat, dog]",
    ]
