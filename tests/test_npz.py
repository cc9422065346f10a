"""Images of one's own in one file of numpy's: the same arrays are the same data set, and nothing is believed unread."""

import dataclasses
import os
import pickle
import re
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idx_files import write_idx
from sweeping import Project, read_csv

from fmnist_mlp.data.npz import read_npz, write_npz
from fmnist_mlp.data.source import describe, find_data, load_data, load_test_images
from fmnist_mlp.errors import SweepError
from fmnist_mlp.runner import cluster

NAMES = ("x_train", "y_train", "x_test", "y_test")


def drawn(train=12, test=6, classes=3, height=4, width=5):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (n, height, width), dtype=np.uint8) for n in (train, test)]
    labels = [(np.arange(n) % classes).astype(np.uint8) for n in (train, test)]
    return dict(zip(NAMES, (images[0], labels[0], images[1], labels[1]), strict=True))


def npz(path, save=np.savez, **changes):
    """A file with the arrays of `drawn`, but for these; None leaves one out."""
    arrays = {name: array for name, array in (drawn() | changes).items() if array is not None}
    save(path, **arrays)
    return path


def find(path):
    return find_data(SimpleNamespace(kind="npz", path=path))


def load(path):
    return load_data(find(path))


def refused(path, message):
    with pytest.raises(SweepError, match=message) as caught:
        load(path)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 700
    assert str(path) in line
    return line


# ---- the same arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_same_arrays_are_the_same_data_set_as_idx_files(save, tmp_path):
    arrays = drawn()
    as_idx = load_data(write_idx(tmp_path / "idx", *arrays.values()))
    source = find(npz(tmp_path / "mine.npz", save))
    loaded = load_data(source)
    assert loaded.identity == as_idx.identity
    for name, array in arrays.items():
        got = getattr(loaded, name)
        assert (got.dtype, got.flags.writeable) == (np.uint8, False)
        assert np.array_equal(got, array)
    assert source.dataset == "npz:mine"
    assert pickle.loads(pickle.dumps(source)) == source
    assert np.array_equal(load_test_images(source), arrays["x_test"])


EQUAL = {
    "whole numbers of another type": lambda name, a: a.astype("int64"),
    "of another byte order": lambda name, a: a.astype(">u2"),
    "with an axis of channels": lambda name, a: a[..., None],
    "in Fortran's order": lambda name, a: np.asfortranarray(a),
    "every second of twice as many": lambda name, a: np.repeat(a, 2, axis=0)[::2],
}


@pytest.mark.parametrize("how", EQUAL)
def test_what_says_the_same_exactly_is_the_same_data_set(how, tmp_path):
    changed = {name: EQUAL[how](name, array) for name, array in drawn().items()}
    assert load(npz(tmp_path / "a.npz", **changed)).identity == load(npz(tmp_path / "b.npz")).identity
    assert write_npz(tmp_path, **changed) == write_npz(tmp_path, **drawn())


def test_any_other_value_is_another_data_set(tmp_path):
    identities = {load(npz(tmp_path / "same.npz")).identity}
    for name, array in drawn().items():
        other = array.copy()
        other[[0, 1]] = array[[1, 0]]
        identities.add(load(npz(tmp_path / f"{name}.npz", **{name: other})).identity)
    assert len(identities) == 5


def test_names_of_classes_lie_beside_the_file_and_change_no_identity(tmp_path):
    source = find(npz(tmp_path / "mine.npz"))
    before, memory = describe(source, {}), {}
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird")
    after = describe(source, memory)
    assert (before.class_names, after.class_names) == (("0", "1", "2"), ("cat", "dog", "bird"))
    assert before.identity == after.identity
    npz(tmp_path / "mine.npz", x_test=255 - drawn()["x_test"])
    assert describe(source, memory).identity != before.identity, "read again, for it was written again"
    assert len(memory) == 1


def test_keras_own_form_of_mnist_is_read_as_it_is(tmp_path):
    """`keras.datasets.mnist` keeps its four arrays under these names, in this order."""
    arrays = drawn(height=28, width=28)
    np.savez(tmp_path / "mnist.npz", **{name: arrays[name] for name in ("x_test", "x_train", "y_train", "y_test")})
    assert load(tmp_path / "mnist.npz").image_shape == (28, 28)


# ---- written by a program


def test_arrays_are_written_whole_under_the_name_of_their_content(tmp_path):
    arrays = drawn()
    path = write_npz(tmp_path / "new" / "folder", *arrays.values())
    before = path.stat().st_ino
    assert write_npz(path.parent, *(array.tolist() for array in arrays.values())) == path
    assert path.stat().st_ino == before, "left alone"
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    assert path.name == load(path).identity[:16] + ".npz"
    path.write_bytes(path.read_bytes()[:-40])
    assert load(write_npz(path.parent, **arrays)).identity[:16] == path.stem, "a damaged one is written again"
    with np.load(path, allow_pickle=False) as read:
        assert all(np.array_equal(read[name], array) for name, array in arrays.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((12, 4, 5))}, r"^x_train: is float64, .*: write x_train = np\.rint\(x_train \* 255\)"),
        ({"y_test": [0, 1]}, r"^x_test: 6 images, but y_test beside it has 2 labels"),
        ({"x_train": [[[1, 2]], [[3]]]}, "^x_train: is no array"),
        ({"y_train": [object()] * 12}, "^y_train: is object, expected whole numbers"),
    ],
)
def test_arrays_that_are_no_data_set_are_not_written(changes, message, tmp_path):
    with pytest.raises(SweepError, match=message):
        write_npz(tmp_path / "new", **drawn() | changes)
    assert not (tmp_path / "new").exists()


# ---- refused, with the line to write

ROWS = np.arange(12)
NOT_EXACT = {
    "floats from 0 to 1": {"x_train": np.round(np.linspace(0, 1, 240), 3).reshape(12, 4, 5)},
    "floats from 0 to 255": {"x_train": np.linspace(0, 255, 240, dtype=np.float32).reshape(12, 4, 5)},
    "true and false": {"x_train": drawn()["x_train"] > 99},
    "flat images": {"x_train": np.zeros((12, 784), np.uint8), "x_test": np.zeros((6, 28, 28), np.uint8)},
    "the channel first": {"x_train": drawn()["x_train"][:, None]},
    "pixels of 16 bits": {"x_train": drawn()["x_train"].astype(np.uint16) * 257},
    "labels one-hot": {"y_train": np.eye(3, dtype=int)[ROWS % 3]},
    "labels that are floats": {"y_train": (ROWS % 3).astype(float)},
    "labels that are true or false": {"y_train": ROWS % 2 == 0, "y_test": np.arange(6) % 2},
    "labels that are names": {
        "y_train": np.array(["cat", "dog", "eel"])[ROWS % 3],
        "y_test": np.arange(6) % 3,
    },
    "colours": {"x_train": np.repeat(drawn()["x_train"][..., None], 3, axis=3)},
}


@pytest.mark.parametrize("what", NOT_EXACT)
def test_what_would_have_to_be_guessed_is_refused_with_the_line_to_write(what, tmp_path):
    """The lines are run, until the file is taken."""
    arrays = drawn() | NOT_EXACT[what]
    for _ in range(3):
        line = refused(npz(tmp_path / "mine.npz", **arrays), "expected")
        written = re.search(r": write (.*?)(, for images|$)", line)[1]
        exec(written, {"np": np}, arrays)
        arrays = {name: arrays[name] for name in NAMES}
        try:
            loaded = load(npz(tmp_path / "mine.npz", **arrays))
        except SweepError:
            continue
        break
    assert (len(loaded.x_train), loaded.y_train.max()) == (12, 1 if what == "labels that are true or false" else 2)
    if what.startswith("floats"):
        scale = {"floats from 0 to 1": 255, "floats from 0 to 255": 1}[what]
        assert np.array_equal(loaded.x_train, np.rint(NOT_EXACT[what]["x_train"] * scale))


REFUSED = {
    "around zero": ({"x_train": np.linspace(-1, 1, 240).reshape(12, 4, 5)}, "is float64, .* write pixels anew"),
    "not a number": ({"x_test": np.full((6, 4, 5), np.nan)}, "x_test: is float64, .* write pixels anew"),
    "complex": ({"x_train": drawn()["x_train"] * 1j}, "is complex128"),
    "negative": ({"x_train": drawn()["x_train"].astype(int) - 300}, "has values from -300 to"),
    "labels from -1": ({"y_train": ROWS % 3 - 1}, "y_train: has values from -1 to 1, expected 0 to 255: write the"),
    "labels above 255": ({"y_test": np.full(6, 2**40)}, "y_test: has values from 1099511627776"),
    "halves": ({"y_train": ROWS / 2}, "y_train: is float64, .* write the numbers of the classes"),
    "one number": ({"y_train": np.uint8(3)}, r"y_train: has the shape \(\), expected labels"),
    "five axes": ({"x_train": np.zeros((1, 2, 3, 4, 5), np.uint8)}, r"has the shape \(1, 2, 3, 4, 5\)"),
    "nothing": ({"x_train": np.zeros((0, 4, 5), np.uint8)}, "holds nothing"),
    "no pixels": ({"x_test": np.zeros((6, 0, 5), np.uint8)}, "holds nothing"),
    "fewer labels": ({"y_train": drawn()["y_train"][:-1]}, "12 images, but y_train beside it has 11 labels"),
    "another size": ({"x_test": np.zeros((6, 5, 4), np.uint8)}, "5 x 4 pixels, but those in x_train have 4 x 5"),
    "a class of test images alone": ({"y_test": np.full(6, 3)}, "y_test: label 3 occurs, but no image in x_train"),
    "one class": ({"y_train": ROWS * 0, "y_test": np.zeros(6, int)}, "y_train: every label is 0"),
    "one missing": ({"y_test": None}, "y_test missing, there is 'x_train', 'y_train', 'x_test'; write it again"),
    "two missing": ({"x_test": None, "y_test": None}, "x_test and y_test missing"),
    "others": ({"x_val": np.zeros(3), "names": np.array(["a\nb"])}, "also holds 'x_val', 'names', which would be left"),
    "objects": ({"y_train": np.array([{"a": 1}] * 12)}, "y_train: holds Python objects, which are never unpickled"),
    "fields": ({"y_train": np.zeros(12, [("a", "u1"), ("b", "f4")])}, r"y_train: is \[\('a', 'u1'\)"),
    "dates": ({"y_train": np.zeros(12, "M8[s]")}, "y_train: is datetime64"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_data_set_is_refused_in_a_line_that_names_the_array(what, tmp_path):
    changes, message = REFUSED[what]
    refused(npz(tmp_path / "mine.npz", **changes), message)


# ---- damaged and hostile files


def npy(shape, descr="|u1", content=b"", version=(1, 0), header=None):
    text = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text.encode() + content


def with_member(path, name, content, compression=zipfile.ZIP_STORED):
    """The file of `npz` with the raw content of one array in its place."""
    with zipfile.ZipFile(npz(path)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()} | {f"{name}.npy": content}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, body in members.items():
            archive.writestr(member, body)
    return path


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_ever_unpickled(tmp_path):
    trap = tmp_path / "sprung"
    for number, raw in enumerate((pickle.dumps(Trap(trap)), npy("(12,)", "|O", pickle.dumps(Trap(trap))))):
        refused(with_member(tmp_path / f"{number}.npz", "y_train", raw), "never unpickled|is no array")
    (tmp_path / "alone.npz").write_bytes(pickle.dumps(Trap(trap)))
    refused(tmp_path / "alone.npz", "is no npz file")
    assert not trap.exists()


HOSTILE = {
    "petabytes": (npy((2**30, 1024, 1024)), "claims 1,125,899,906,842,624 bytes, at most"),
    "more than the file can hold": (npy((2**20, 28, 28)), "cut short: its header announces 822,083,584"),
    "a number of 5000 digits": (npy("(" + "9" * 5000 + ",)"), "cannot be read|is no array"),
    "less than none": (npy("(-12, -4, 5)"), "is no array as np.savez writes it"),
    "a sum": (npy("(12*2, 4, 5)"), "is no array"),
    "a program": (npy("__import__('os').abort()"), "is no array"),
    "a header without end": (npy("()", header="(" * 9000), "is no array"),
    "a long header of the second form": (npy("()", version=(2, 0), header=" " * 10**6), "is no array"),
    "no header": (b"", "is no array"),
    "half a header": (npy((12, 4, 5))[:30], "is no array"),
    "half of it": (npy((12, 4, 5), content=bytes(100)), "cut short: 100 of 240 bytes|its header announces"),
    "too much": (npy((12, 4, 5), content=bytes(241)), "goes on after the 240 bytes"),
    "seventy axes": (npy((1,) * 70, content=b"0"), "cannot be read|has the shape"),
    "wide text": (npy("(12,)", "<U99999999"), "claims 4,799,999,952 bytes"),
    "an unknown type": (npy("(12,)", "|z9"), "is no array"),
}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_header_is_not_believed(what, compression, tmp_path):
    content, message = HOSTILE[what]
    line = refused(with_member(tmp_path / "mine.npz", "x_train", content, compression), message)
    assert "x_train" in line or "cannot be read" in line


@pytest.mark.slow
def test_an_array_that_unpacks_to_far_more_than_it_announces_is_read_no_further(tmp_path, monkeypatch):
    path = with_member(
        tmp_path / "mine.npz", "x_train", npy((12, 4, 5), content=bytes(64 * 2**20)), zipfile.ZIP_DEFLATED
    )
    read = []
    real = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: read.append(n) or real(self, n))
    refused(path, "goes on after the 240 bytes")
    assert 0 < max(read) < 10_000
    assert min(read) > 0


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_bound_are_refused(compression, tmp_path):
    path = with_member(tmp_path / "mine.npz", "x_train", npy((12, 4, 5), content=bytes(240)), compression)
    refused(path, "is compressed in a way that numpy never writes")


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_and_a_flipped_bit_are_refused_or_change_nothing(save, step, tmp_path):
    path = npz(tmp_path / "mine.npz", save)
    content, identity = path.read_bytes(), load(path).identity
    rng = np.random.default_rng(0)
    for length in range(0, len(content), step):
        path.write_bytes(content[:length])
        refused(path, "is no npz file|is damaged|cannot be read")
    for place in range(0, len(content), step):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            read = load(path)
        except SweepError:
            refused(path, "write it again")
        else:
            assert read.identity == identity, place


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), is_member=st.booleans())
def test_any_content_gives_a_clear_error(tmp_path, content, is_member):
    path = tmp_path / "any.npz"
    if is_member:
        with_member(path, "y_train", b"\x93NUMPY\1\0" + content)
    else:
        path.write_bytes(content)
    refused(path, "is no |is damaged|cannot be read|cut short|expected")


def test_a_folder_a_pipe_a_lone_array_and_nothing_are_named(tmp_path):
    def said(path, kind="npz"):
        with pytest.raises(SweepError) as caught:
            load_data(find_data(SimpleNamespace(kind=kind, path=path)))
        return str(caught.value)

    assert re.search(r"names .*, which is not a file: give .*; a folder with four IDX files is \{idx: ", said(tmp_path))
    path = npz(tmp_path / "mine.npz")
    assert re.search(r"is not a folder: .*; a file of numpy's is \{npz: .*mine\.npz\}", said(path, "idx"))
    assert re.search("which cannot be read .*correct the path", said(tmp_path / "none.npz"))
    os.mkfifo(tmp_path / "pipe.npz")
    assert "is not a file" in said(tmp_path / "pipe.npz")
    with pytest.raises(SweepError, match="is not a file"):
        read_npz(tmp_path / "pipe.npz")
    np.save(tmp_path / "alone.npy", drawn()["x_train"])
    refused(tmp_path / "alone.npy", "is no npz file, or cut short")
    zipfile.ZipFile(tmp_path / "empty.npz", "w").close()
    refused(tmp_path / "empty.npz", "x_train and y_train and x_test and y_test missing, there is nothing")


def test_an_encrypted_file_is_refused(tmp_path):
    path = npz(tmp_path / "mine.npz")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + offset] |= 1
            place = content.find(signature, place + 4)
    path.write_bytes(content)
    refused(path, "cannot be read .*encrypted")


# ---- travelling


def test_a_machine_that_lacks_the_file_gets_the_drivers(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "driver").mkdir()
    source = find(npz(tmp_path / "driver" / "mine.npz"))
    expected, files = load_data(source), cluster.image_files(source)
    sizes = {name: len(content) for name, content in files.items()}
    assert cluster.find_images(pytest.fail, "cpu", 1, source, {}, sizes)[-1] == tmp_path / "driver"
    source.path.unlink()
    place = cluster.find_images(lambda: files, "cpu", 1, source, {}, sizes)[-1]
    found = load_data(dataclasses.replace(source, folder=place))
    assert (found.identity, found.class_names) == (expected.identity, expected.class_names)


# ---- by the command line


@pytest.mark.slow
def test_a_sweep_of_an_npz_file_is_done_when_the_same_arrays_came_from_idx_files(tmp_path):
    arrays = drawn(train=120, test=40)
    write_idx(tmp_path / "images", *arrays.values())
    np.savez_compressed(tmp_path / "mine.npz", **arrays)
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    text = "dataset: {{{}}}\nname: tiny\nseeds: 1\ntraining: {{epochs: 2}}\narchitectures: [[4]]\n"
    project = Project(tmp_path, text.format("idx: images"))
    project.sweep()
    before = project.record("4")
    project.write(text.format("npz: mine.npz"))
    said = project.sweep().stdout
    assert "npz:mine: 120 training and 40 test images of 4x5" in said
    assert project.record("4") == before, "nothing was trained"
    assert project.rows()["4"]["dataset"] == "npz:mine"
    assert [row["class_name"] for row in read_csv(project.results / "tiny/classes.csv")] == ["cat", "dog", "bird"]
