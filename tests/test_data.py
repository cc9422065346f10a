"""Where images come from, what is checked of them, and which are chosen: no real images, no outside network."""

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import json
import os
import pickle
import re
import socket
import struct
import threading
import warnings
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from fmnist_mlp.data import download
from fmnist_mlp.data import idx as idx_module
from fmnist_mlp.data import synthetic as garments
from fmnist_mlp.data.download import keras_bases
from fmnist_mlp.data.idx import FILES
from fmnist_mlp.data.source import CLASS_NAMES, DataInfo, DataSource, describe, find_data, load_data
from fmnist_mlp.data.split import count_parts, epoch_order, limit_indices, stratified_folds, stratified_split
from fmnist_mlp.errors import SweepError

NAMES = [file.gz_name for file in FILES]
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES


def idx_bytes(array):
    """An array as an IDX file, written from the format's description: independent of the reader."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def tiny_arrays(train=12, test=6, classes=3, height=4, width=5):
    rng = np.random.default_rng(0)
    arrays = []
    for n in (train, test):
        arrays.append(rng.integers(0, 256, (n, height, width), dtype=np.uint8))
        arrays.append((np.arange(n) % classes).astype(np.uint8))
    return arrays


def write_folder(folder, arrays, names=NAMES):
    folder.mkdir(exist_ok=True)
    for name, array in zip(names, arrays, strict=True):
        content = idx_bytes(array)
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "mine", tiny_arrays())


@pytest.fixture
def pretend(monkeypatch, folder):
    """Lets the tiny folder be Fashion-MNIST: its checksums and sizes are the expected ones."""
    files = []
    for file in FILES:
        packed = (folder / file.gz_name).read_bytes()
        digest = hashlib.sha256(gzip.decompress(packed)).hexdigest()
        files.append(idx_module.File(file.stem, file.dimensions, len(packed), digest))
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.FILES", tuple(files))
    return folder


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of Keras's, and nowhere to download from."""
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [tmp_path / "keras"])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr("fmnist_mlp.data.download.FASHION_MNIST_URL", f"http://127.0.0.1:{port}/")
    return tmp_path / "keras" / "datasets" / "fashion-mnist"


def idx(folder):
    """What config makes of `dataset: {idx: FOLDER}`."""
    return SimpleNamespace(kind="idx", path=folder)


def load_idx(folder):
    return load_data(find_data(idx(folder)))


def one_line(excinfo):
    message = str(excinfo.value)
    assert "\n" not in message
    return message


# ---- Reading ----


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_every_usual_name_is_read_and_gives_the_same_identity(tmp_path, dot, ending):
    arrays = tiny_arrays()
    names = [f"{file.stem}{dot}idx{file.dimensions}-ubyte{ending}" for file in FILES]
    loaded = load_idx(write_folder(tmp_path / "a", arrays, names))
    for got, put in zip((loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test), arrays, strict=True):
        assert got.dtype == np.uint8
        assert np.array_equal(got, put)
        assert not got.flags.writeable
    assert loaded.image_shape == (4, 5)
    assert loaded.num_classes == 3
    assert loaded.class_names == ("0", "1", "2")
    assert loaded.identity == load_idx(write_folder(tmp_path / "b", arrays)).identity
    assert re.fullmatch("[0-9a-f]{64}", loaded.identity)


def test_an_unpacked_file_that_kept_its_gz_name_and_several_gzip_members_are_read(folder):
    expected = load_idx(folder).identity
    content = gzip.decompress((folder / TRAIN_IMAGES).read_bytes())
    (folder / TRAIN_IMAGES).write_bytes(content)
    assert load_idx(folder).identity == expected
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(content[:50]) + gzip.compress(content[50:]))
    assert load_idx(folder).identity == expected


def test_different_arrays_have_different_identities(tmp_path):
    x_train, y_train, x_test, y_test = tiny_arrays()
    other = x_train.copy()
    other[-1, -1, -1] ^= 1
    variants = [
        [x_train, y_train, x_test, y_test],
        [other, y_train, x_test, y_test],
        [x_train, y_train[::-1].copy(), x_test, y_test],
        [x_train.reshape(12, 5, 4), y_train, x_test.reshape(6, 5, 4), y_test],  # the same bytes
    ]
    identities = {load_idx(write_folder(tmp_path / str(i), arrays)).identity for i, arrays in enumerate(variants)}
    assert len(identities) == len(variants)


def test_names_beside_the_files_are_read_each_time_and_change_no_identity(folder):
    source, memory = find_data(idx(folder)), {}
    before = describe(source, memory)
    assert before.class_names == ("0", "1", "2")
    for names in (("cat", "dog", "bird"), ("Katze", "Hund", "Vogel")):
        (folder / "labels.txt").write_text("\n".join(names))
        info = describe(source, memory)
        assert (info.class_names, info.identity) == (names, before.identity)
        assert load_data(source).class_names == names
    own = dataclasses.replace(source, class_names=("a", "b", "c"))
    assert describe(own, memory).class_names == load_data(own).class_names == ("a", "b", "c")
    (folder / "labels.txt").write_text("cat\ndog")
    for read in (lambda: describe(source, memory), lambda: load_data(source)):
        with pytest.raises(SweepError, match=r"labels\.txt: has 2 names, but the labels are 0 to 2"):
            read()


def test_one_image_a_class_is_enough(tmp_path):
    loaded = load_idx(write_folder(tmp_path / "a", tiny_arrays(train=2, test=1, classes=2)))
    assert (len(loaded.x_train), len(loaded.x_test), loaded.num_classes) == (2, 1, 2)


def test_a_number_that_no_image_bears_is_a_class_without_images(tmp_path):
    # EMNIST's letters count from 1.
    x_train, y_train, x_test, y_test = tiny_arrays()
    loaded = load_idx(write_folder(tmp_path / "a", [x_train, y_train + 1, x_test, y_test + 1]))
    assert loaded.num_classes == 4


def test_the_stand_in_needs_no_files():
    source = find_data("synthetic")
    loaded = load_data(source)
    assert (source.dataset, source.folder, source.fallback_reason) == ("synthetic", None, None)
    assert loaded.identity == "synthetic-v1-12000-2000"
    assert loaded.class_names == CLASS_NAMES
    assert loaded.x_train.shape == (12_000, 28, 28)
    info = describe(source, {})
    counts = (12_000, 2_000, (28, 28), 10, (1200,) * 10)
    assert info == DataInfo("synthetic-v1-12000-2000", "synthetic", *counts, (), CLASS_NAMES)
    assert np.bincount(loaded.y_train).tolist() == [1200] * 10


def test_a_source_travels_to_workers_and_names_the_dataset_column(folder):
    source = find_data(idx(folder))
    assert pickle.loads(pickle.dumps(source)) == source
    assert source.dataset == "idx:mine"
    assert DataSource("fashion_mnist", folder).dataset == "fashion_mnist"


def test_a_source_is_absolute_so_that_a_worker_may_stand_elsewhere(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert find_data(idx(Path("mine"))).folder == folder.resolve()
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert find_data(idx("~/mine")).folder == folder.resolve()


def test_the_real_images(tmp_path):
    real = os.environ.get("FASHION_MNIST_DIR")
    if not real:
        pytest.skip("FASHION_MNIST_DIR does not say where the real images lie")
    loaded = load_data(find_data("fashion_mnist", Path(real)))
    assert loaded.identity == "20d91a7f3aafdf753c51c6954d2f53f55d95a6badfba2931fada471e698315dc"
    assert (loaded.x_train.shape, loaded.x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert np.bincount(loaded.y_train).tolist() == [6_000] * 10
    assert loaded.class_names == CLASS_NAMES
    # Found another way it is still the same data: records are shared, so names and identity must be too.
    as_idx = load_data(find_data(idx(real)))
    assert (as_idx.identity, as_idx.class_names) == (loaded.identity, loaded.class_names)


# ---- Damaged files: from a phrase to what is done to the folder and what the message says ----


def header(*sizes, kind=8, dimensions=None):
    return struct.pack(f">HBB{len(sizes)}I", 0, kind, dimensions or len(sizes), *sizes)


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def change(name, edit):
    def damage(folder):
        content = gzip.decompress((folder / name).read_bytes())
        (folder / name).write_bytes(gzip.compress(edit(content)))

    return damage


def swap(name, other):
    def damage(folder):
        (folder / name).rename(folder / "x")
        (folder / other).rename(folder / name)
        (folder / "x").rename(folder / other)

    return damage


def replace_by_folder(folder):
    (folder / TEST_LABELS).unlink()
    (folder / TEST_LABELS).mkdir()


DAMAGES = {
    "a file missing": (lambda f: (f / TEST_LABELS).unlink(), f"{TEST_LABELS} missing; expected"),
    "all files missing": (
        lambda f: [(f / name).unlink() for name in NAMES],
        f"{TRAIN_IMAGES} and {TRAIN_LABELS} and {TEST_IMAGES} and {TEST_LABELS} missing",
    ),
    "a folder in place of a file": (replace_by_folder, f"{TEST_LABELS}: is not a file"),
    "an empty file": (put(TRAIN_IMAGES, b""), "is not an IDX file: begins with nothing, expected 00 00 08 03"),
    "an empty file, packed": (put(TRAIN_IMAGES, gzip.compress(b"")), "begins with nothing"),
    "a web page": (
        put(TRAIN_LABELS, b"<!DOCTYPE html>"),
        "is not an IDX file: begins with 3c 21 44 4f, expected 00 00 08 01",
    ),
    "labels where images belong": (
        swap(TRAIN_IMAGES, TRAIN_LABELS),
        "holds labels, expected images: were two files swapped?",
    ),
    "images where labels belong": (put(TEST_LABELS, header(1, 1, 1) + b"0"), "holds images, expected labels: were two"),
    "test labels swapped with training labels": (swap(TRAIN_LABELS, TEST_LABELS), "12 images, but .* has 6 labels"),
    "floats": (
        put(TRAIN_IMAGES, header(1, 1, 1, kind=0x0D) + bytes(4)),
        "are 32-bit floats \\(IDX type 0x0d\\), expected unsigned bytes \\(0x08\\): convert the file, in Python: ",
    ),
    "a type that IDX does not have": (
        put(TRAIN_IMAGES, header(1, 1, 1, kind=7)),
        "are of IDX type 0x07, expected 0x08",
    ),
    "colour images": (put(TRAIN_IMAGES, header(1, 1, 1, 3) + bytes(3)), "has 4 dimensions, expected 3 for images"),
    "a header cut short": (put(TRAIN_IMAGES, header(1, 1, 1)[:9]), "cut short within its header \\(9 of 16 bytes\\)"),
    "a file cut short": (
        put(TRAIN_IMAGES, header(12, 4, 5) + bytes(239)),
        "is cut short: 239 of 240 bytes after its header",
    ),
    "a packed file whose content is cut short": (change(TRAIN_IMAGES, lambda c: c[:-1]), "cut short: 239 of 240 bytes"),
    "a packed file cut short": (
        lambda f: (f / TRAIN_IMAGES).write_bytes((f / TRAIN_IMAGES).read_bytes()[:-30]),
        "is damaged or cut short \\(gzip: Compressed file ended",
    ),
    "a packed file with a wrong checksum": (
        lambda f: (f / TRAIN_IMAGES).write_bytes((f / TRAIN_IMAGES).read_bytes()[:-8] + bytes(8)),
        "is damaged or cut short \\(gzip: CRC check failed",
    ),
    "bytes after the last image": (change(TRAIN_IMAGES, lambda c: c + b"0"), "goes on after the 12 images"),
    "rubbish after the gzip stream": (
        lambda f: (f / TRAIN_IMAGES).write_bytes((f / TRAIN_IMAGES).read_bytes() + b"rubbish"),
        "is damaged or cut short \\(gzip: Not a gzipped file",
    ),
    "more than can be held": (
        put(TRAIN_IMAGES, header(2**32 - 1, 2**32 - 1, 2**32 - 1)),
        "claims [0-9,]+ bytes of images, at most",
    ),
    "a claim far beyond the file": (
        put(TRAIN_IMAGES, header(2**20, 28, 28)),
        "cut short: its header announces 1,048,576",
    ),
    "the same, packed": (
        put(TRAIN_IMAGES, gzip.compress(header(2**20, 28, 28))),
        "cut short: its header announces 1,048,576",
    ),
    "no images": (put(TRAIN_IMAGES, header(0, 4, 5)), "holds no images"),
    "no labels": (put(TEST_LABELS, header(0)), "holds no labels"),
    "images without pixels": (put(TRAIN_IMAGES, header(12, 0, 5)), "have 0 x 5 pixels"),
    "fewer labels than images": (
        put(TEST_LABELS, header(5) + bytes(5)),
        "6 images, but t10k-labels-idx1-ubyte.gz .* has 5 labels",
    ),
    "test images of another size": (
        put(TEST_IMAGES, header(6, 5, 4) + bytes(120)),
        "images of 5 x 4 pixels, but .* have 4 x 5",
    ),
    "one class alone": (
        lambda f: [put(n, header(k) + bytes(k))(f) for n, k in [(TRAIN_LABELS, 12), (TEST_LABELS, 6)]],
        "every label is 0",
    ),
    "a mask with 0 and 255": (
        lambda f: [
            put(n, header(k) + bytes([0, 255] * (k // 2)))(f) for n, k in [(TRAIN_LABELS, 12), (TEST_LABELS, 6)]
        ],
        "only 2 of the labels 0 to 255 occur",
    ),
    "a class that only test images have": (
        change(TEST_LABELS, lambda c: c[:-1] + b"\3"),
        "label 3 occurs, but no image",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_one_line_that_names_the_file_and_the_remedy(folder, what):
    damage, message = DAMAGES[what]
    damage(folder)
    with pytest.raises(SweepError, match=message) as excinfo:
        load_idx(folder)
    line = one_line(excinfo)
    assert str(folder) in line
    assert re.search("copy|put|replace|number them|convert", line), line


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(("kind", "dtype"), [(9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_files_of_other_numbers_are_converted_by_the_lines_of_the_message(tmp_path, kind, dtype, ending):
    """Pixels between 0 and 1 where they are floats, 0 to 127 where a signed byte holds no more."""
    arrays = [array // 2 if array.ndim == 3 else array for array in tiny_arrays()]
    expected = load_idx(write_folder(tmp_path / "bytes", arrays))
    folder = write_folder(tmp_path / "it's mine", arrays, [name.removesuffix(".gz") + ending for name in NAMES])
    for file, array in zip(FILES, arrays, strict=True):
        values = array / 255 if array.ndim == 3 and "f" in dtype else array
        content = header(*array.shape, kind=kind) + values.astype(dtype).tobytes()
        path = folder / (file.gz_name.removesuffix(".gz") + ending)
        path.write_bytes(gzip.compress(content) if ending else content)
    for _ in range(4):
        with pytest.raises(SweepError, match="convert the file, in Python: ") as excinfo:
            load_idx(folder)
        exec(one_line(excinfo).partition("in Python: ")[2], {})
    assert load_idx(folder).identity == expected.identity


@pytest.mark.parametrize(
    "names",
    [
        [f"emnist-letters-{name.replace('t10k', 'test')}" for name in NAMES],
        [name.replace("t10k", "test") for name in NAMES],
        [name.replace("t10k", "test").removesuffix(".gz") for name in NAMES],
        [name.replace("-", "_").removesuffix(".gz") for name in NAMES],
        ["Train-Images-idx3-ubyte", "Train-Labels-idx1-ubyte", "Test-Images-idx3-ubyte", "Test-Labels-idx1-ubyte"],
        ["kmnist_train_images.idx", "kmnist_train_labels.idx", "kmnist_test_images.idx", "kmnist_test_labels.idx"],
        [name.replace(".gz", " (1).gz") for name in NAMES],
        [*NAMES[:2], *(name.replace("t10k", "test") for name in NAMES[2:])],
    ],
    ids=lambda names: names[2],
)
def test_other_names_are_found_where_only_one_set_is_there(tmp_path, names):
    expected = load_idx(write_folder(tmp_path / "usual", tiny_arrays())).identity
    folder = write_folder(tmp_path / "other", tiny_arrays(), names)
    (folder / "train-notes.txt").write_text("x")
    (folder / "emnist-letters-mapping.txt").write_text("x")
    assert load_idx(folder).identity == expected
    memory = {}
    assert describe(find_data(idx(folder)), memory) == describe(find_data(idx(folder)), memory)


def test_usual_names_come_before_others_and_two_sets_by_other_names_are_told(tmp_path):
    folder = write_folder(tmp_path / "a", tiny_arrays())
    expected = load_idx(folder).identity
    for prefix in ("emnist-letters-", "emnist-digits-"):
        write_folder(folder, tiny_arrays(train=9), [prefix + name for name in NAMES])
    assert load_idx(folder).identity == expected
    for name in NAMES:
        (folder / name).unlink()
    with pytest.raises(SweepError) as excinfo:
        load_idx(folder)
    assert (
        f"{folder}: holds 2 data sets (emnist-digits-{TRAIN_IMAGES}, emnist-letters-{TRAIN_IMAGES}); expected one, of"
        in one_line(excinfo)
    )


def test_a_missing_file_that_is_there_by_another_name_is_told(folder):
    (folder / TEST_LABELS).rename(folder / f"my-{TEST_LABELS}")
    with pytest.raises(SweepError, match=f"{TEST_LABELS} missing; .*my-{TEST_LABELS} as {TEST_LABELS} would be found"):
        load_idx(folder)


TO_255 = "multiply them by 255, before they are made whole numbers: np.rint\\(images \\* 255\\)"
TO_255_FROM_16 = "alone, of 0 to 255. .*np.rint\\(\\(images - 0\\) \\* \\(255 / 16\\)\\)"
AROUND_0 = "only the pixels 0, 1, 255, as numbers around 0 that were cast to bytes"


def spread(images, low, high):
    return (low + images.astype(int) * (high - low) // 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("phrase", "change", "words"),
    [
        ("0 to 1", lambda x: spread(x, 0, 1), f"^The training and test .* 0 and 1, of 0 to 255. .* {TO_255}"),
        ("all 0", lambda x: x * 0, "^The training and test images have pixels between 0 and 1"),
        ("4 bits", lambda x: spread(x, 0, 16), f"pixels between 0 and 16 {TO_255_FROM_16}"),
        ("grey", lambda x: spread(x, 100, 140), "pixels between 100 and 140 alone"),
        ("-1 to 1, cast", lambda x: np.array([255, 0, 1], np.uint8)[x % 3], AROUND_0),
        ("black and white", lambda x: (x > 127) * np.uint8(255), None),
        ("dark", lambda x: x // 3, None),
        ("on paper", lambda x: 255 - x * (x > 200), "training and test images are dark on light.*: write 255 - images"),
        ("as they are", lambda x: x, None),
    ],
)  # fmt: skip
def test_pixels_in_the_wrong_range_are_told_with_the_remedy(tmp_path, phrase, change, words):
    x_train, y_train, x_test, y_test = tiny_arrays()
    source = find_data(idx(write_folder(tmp_path / "a", [change(x_train), y_train, change(x_test), y_test])))
    memory = {}
    warnings = describe(source, memory).warnings
    assert bool(warnings) == bool(words)
    assert not words or re.search(words, warnings[0])
    assert describe(source, json.loads(json.dumps(memory))).warnings == warnings


def test_training_and_test_images_of_two_ranges_are_told(tmp_path):
    x_train, y_train, x_test, y_test = tiny_arrays()
    source = find_data(idx(write_folder(tmp_path / "a", [x_train, y_train, spread(x_test, 0, 100), y_test])))
    (warning,) = describe(source, {}).warnings
    assert "training images are 0 to 255, those of test images 0 to 97: bring both to one range" in warning


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    # Root may read anything, so the refusal is injected.
    monkeypatch.setattr(
        Path, "open", lambda self, mode: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(SweepError, match=f"{TRAIN_IMAGES}: cannot be read \\(Permission denied\\); "):
        load_data(DataSource("idx", folder))


def test_a_pipe_is_refused_rather_than_waited_for(folder):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this platform has no named pipes")
    (folder / TRAIN_IMAGES).unlink()
    os.mkfifo(folder / TRAIN_IMAGES)
    with pytest.raises(SweepError, match="is not a file"):
        load_idx(folder)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_claims(folder, monkeypatch):
    unpacked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size: unpacked.append(size) or read(self, size))
    # 64 MB of zeros in 64 kB; the header announces 240.
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(header(12, 4, 5) + bytes(64 * 2**20)))
    with pytest.raises(SweepError, match="goes on after the 12 images"):
        load_idx(folder)
    assert sum(unpacked) == 16 + 240 + 1


def test_any_byte_changed_gives_a_clear_error_or_sound_data(tmp_path):
    arrays = tiny_arrays()
    for ending in ("", ".gz"):
        names = [name.removesuffix(".gz") + ending for name in NAMES]
        folder = write_folder(tmp_path / f"files{ending}", arrays, names)
        source = find_data(idx(folder))
        for name in names:
            content = (folder / name).read_bytes()
            # The whole of a plain header; of a packed file the gzip header, the start of the stream, and its end.
            places = range(16) if not ending else [*range(34), *range(len(content) - 10, len(content))]
            for place in [place for place in places if place < len(content)]:
                for value in {0, 1, 2, 0x7F, 0xFF, content[place] ^ 1, content[place] ^ 0x80} - {content[place]}:
                    (folder / name).write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
                    with contextlib.suppress(SweepError):
                        loaded = load_data(source)
                        assert len(loaded.x_train) == len(loaded.y_train) == 12
                        assert loaded.num_classes <= 256
            (folder / name).write_bytes(content)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60),
    prefix=st.sampled_from([b"", b"\0\0\x08\x03", b"\x1f\x8b\x08", b"\x1f\x8b\x08\0\0\0\0\0\0\0"]),
)
def test_any_content_gives_a_clear_error_or_sound_data(folder, prefix, content):
    (folder / TRAIN_IMAGES).write_bytes(prefix + content)
    with pytest.raises(SweepError):
        load_idx(folder)


# ---- Where Fashion-MNIST is looked for ----


@pytest.mark.parametrize("dataset", ["auto", "fashion_mnist"])
def test_a_given_folder_is_taken_without_looking_elsewhere(pretend, cache, dataset):
    source = find_data(dataset, pretend)
    assert source == DataSource("fashion_mnist", pretend)
    assert load_data(source).class_names == CLASS_NAMES
    assert not cache.exists()


@pytest.mark.parametrize("dataset", ["auto", "fashion_mnist"])
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "nowhere",
            "names the folder .*nowhere, which cannot be read \\(No such file or directory\\): expected a folder",
        ),
        ("a\0b", "which cannot be read \\(.*null"),
        ("x" * 300, "which cannot be read \\(File name too long\\)"),
        ("file", "which is not a folder: give the folder that holds train-images"),
        ("empty", "missing; expected .* gzipped or not: put the missing file there or correct --data-dir"),
    ],
)
def test_a_given_folder_never_falls_back(tmp_path, cache, dataset, where, message):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepError, match=message) as excinfo:
        find_data(dataset, tmp_path / where)
    assert "--data-dir (or FASHION_MNIST_DIR)" in one_line(excinfo)


@pytest.mark.parametrize("dataset", ["synthetic", idx("somewhere")])
def test_a_given_folder_with_another_data_set_is_an_error(tmp_path, dataset):
    with pytest.raises(SweepError, match=r"--data-dir .* asks for dataset: (synthetic|\{idx: somewhere\}): leave the"):
        find_data(dataset, tmp_path)


def test_other_data_in_the_given_folder_are_sent_to_idx(folder):
    with pytest.raises(SweepError, match=re.escape(f"set dataset: {{idx: {folder}}}")):
        load_data(find_data("auto", folder))


def test_a_changed_pixel_of_fashion_mnist_is_found_and_the_file_named(pretend):
    change(TEST_IMAGES, lambda content: content[:-1] + bytes([content[-1] ^ 1]))(pretend)
    with pytest.raises(
        SweepError, match=f"{TEST_IMAGES}: is not Fashion-MNIST's .* SHA-256 .*, expected .*copy the file"
    ):
        load_data(find_data("auto", pretend))


def test_swapped_files_of_fashion_mnist_are_found(pretend):
    swap(TRAIN_LABELS, TEST_LABELS)(pretend)
    with pytest.raises(
        SweepError, match=f"{TRAIN_LABELS}: holds what belongs in {TEST_LABELS}: were two files swapped?"
    ):
        load_data(find_data("auto", pretend))


def test_fashion_mnist_given_as_idx_has_its_class_names(pretend):
    assert load_idx(pretend).class_names == CLASS_NAMES


def test_the_cache_is_keras_own(monkeypatch, tmp_path):
    # keras/src/backend/config.py and keras/src/utils/file_utils.py of Keras 3.15
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    assert keras_bases()[0] == tmp_path / "elsewhere"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert keras_bases()[0] == tmp_path / ".keras"
    assert keras_bases()[-1].name == ".keras"


def test_the_cache_is_used_without_a_network(pretend, cache):
    cache.parent.mkdir(parents=True)
    pretend.rename(cache)
    assert find_data("fashion_mnist") == DataSource("fashion_mnist", cache)


def test_a_file_damaged_in_the_cache_is_to_be_deleted(pretend, cache):
    cache.parent.mkdir(parents=True)
    pretend.rename(cache)
    content = (cache / TRAIN_IMAGES).read_bytes()
    (cache / TRAIN_IMAGES).write_bytes(content[:-1] + b"\1")  # the same size, so only reading shows it
    with pytest.raises(SweepError, match=f"{TRAIN_IMAGES}: is damaged .*; delete it and run again"):
        load_data(find_data("auto"))


# ---- The download ----


@pytest.fixture
def server(monkeypatch, pretend, cache):
    """A web server with the four files; `server.answers[name]` (status, headers, body) replaces one."""
    site = SimpleNamespace(answers={}, asked=[], stall=threading.Event())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path[1:]
            site.asked.append(name)
            body = (pretend / name).read_bytes()
            status, headers, body = site.answers.get(name, (200, {"Content-Length": len(body)}, body))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, str(value))
            self.end_headers()
            if body is None:
                site.stall.wait(10)
            else:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        monkeypatch.setattr("fmnist_mlp.data.download.FASHION_MNIST_URL", f"http://127.0.0.1:{web.server_port}/")
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.stall.set()
        web.shutdown()
        thread.join()


def test_fashion_mnist_is_downloaded_into_the_cache_once(server, pretend, cache):
    said = []
    source = find_data("auto", notify=said.append)
    assert source == DataSource("fashion_mnist", cache)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        path.name: path.read_bytes() for path in pretend.iterdir()
    }
    assert len(said) == 1
    assert f"from {download.FASHION_MNIST_URL} to {cache}" in said[0]
    assert find_data("fashion_mnist", notify=said.append) == source
    assert sorted(server.asked) == sorted(NAMES)
    assert len(said) == 1


def test_only_what_is_missing_or_half_is_downloaded(server, pretend, cache):
    cache.mkdir(parents=True)
    for name in NAMES:
        (cache / name).write_bytes((pretend / name).read_bytes())
    # Whole, but packed anew by somebody: another size, the same content.
    (cache / TEST_LABELS).write_bytes(gzip.compress(gzip.decompress((pretend / TEST_LABELS).read_bytes()), 0))
    (cache / TRAIN_IMAGES).write_bytes(b"half")  # as Keras leaves it when it is killed
    load_data(find_data("auto"))
    assert server.asked == [TRAIN_IMAGES]


BAD_ANSWERS = {
    "not found": ((404, {}, b"no"), "answered 404 Not Found"),
    "server error": ((503, {}, b""), "answered 503 Service Unavailable"),
    "a short body": ((200, {"Content-Length": 99_999}, b"\x1f\x8bhalf"), "broke off after 6 of [0-9]+ bytes"),
    "a login page": ((200, {}, b"<html>" + bytes(1000)), "gave something else than Fashion-MNIST"),
    "something else of the right size": ((200, {}, "right size"), "gave something else than Fashion-MNIST"),
    "silence": ((200, {"Content-Length": 99_999}, None), "could not be downloaded \\(timed out\\)"),
    "a redirection in a circle": ((302, {"Location": "/" + TRAIN_IMAGES}, b""), "answered 302"),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_a_failed_download_leaves_nothing_half_and_says_why(server, pretend, cache, monkeypatch, what):
    (status, headers, body), message = BAD_ANSWERS[what]
    if body == "right size":
        body = bytes((pretend / TRAIN_IMAGES).stat().st_size)
    server.answers[TRAIN_IMAGES] = status, headers, body
    if body is None:
        monkeypatch.setattr("fmnist_mlp.data.download.CONNECT_SECONDS", 0.2)
    source = find_data("auto")
    assert (source.kind, source.dataset) == ("synthetic", "synthetic")
    assert re.search(message, source.fallback_reason)
    assert "by --data-dir or FASHION_MNIST_DIR" in source.fallback_reason
    # The small files came first and are kept; of the bad one there is no trace.
    assert sorted(path.name for path in cache.iterdir()) == sorted(set(NAMES) - {TRAIN_IMAGES})
    if status != 302:
        assert server.asked.count(TRAIN_IMAGES) == 1
    with pytest.raises(SweepError, match=message) as excinfo:
        find_data("fashion_mnist")
    assert "dataset: auto would take the generated stand-in" in one_line(excinfo)


def test_a_download_that_trickles_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.data.download.DOWNLOAD_SECONDS", -1.0)
    assert "not finished after -1 seconds" in find_data("auto").fallback_reason
    assert list(cache.iterdir()) == []


def test_no_network_falls_back_with_the_reason_or_is_an_error(pretend, cache):
    assert re.search(r"could not be downloaded \(.*refused.*\); give a folder", find_data("auto").fallback_reason)
    assert list(cache.iterdir()) == []
    with pytest.raises(SweepError, match=r"Fashion-MNIST is not in Keras's cache and .* could not be downloaded"):
        find_data("fashion_mnist")


def test_a_full_disk_is_a_reason_too(server, cache, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "(No space left on device)" in find_data("auto").fallback_reason
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_gives_way_to_the_second_as_in_keras(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [tmp_path / "file", tmp_path / "spare"])
    assert find_data("auto").folder == tmp_path / "spare" / "datasets" / "fashion-mnist"
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [tmp_path / "file"])
    assert "cannot be written (Not a directory)" in find_data("auto").fallback_reason


# ---- describe and its memory ----


@pytest.fixture
def never_read(monkeypatch):
    def refuse():
        monkeypatch.setattr("fmnist_mlp.data.source.load_data", lambda source: pytest.fail("the images were read"))

    return refuse


def test_what_is_remembered_is_not_read_again(folder, never_read):
    memory = {}
    source = find_data(idx(folder))
    info = describe(source, memory)
    counts = (12, 6, (4, 5), 3, (4, 4, 4))
    assert info == DataInfo(load_data(source).identity, "idx:mine", *counts, (), ("0", "1", "2"))
    memory = json.loads(json.dumps(memory))
    assert json.loads(json.dumps(asdict(info)))["image_shape"] == [4, 5]
    never_read()
    assert describe(source, memory) == info


def test_a_touched_file_is_read_again(folder):
    memory = {}
    source = find_data(idx(folder))
    info = describe(source, memory)
    change(TRAIN_IMAGES, lambda content: content[:-1] + bytes([content[-1] ^ 1]))(folder)
    again = describe(source, memory)
    assert again.identity == load_data(source).identity != info.identity
    status = (folder / TEST_LABELS).stat()
    os.utime(folder / TEST_LABELS, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    before = json.dumps(memory)
    assert describe(source, memory) == again
    assert json.dumps(memory) != before
    assert len(memory) == 1


def test_other_images_of_the_same_size_and_modification_time_are_read(folder):
    memory = {}
    source, path = find_data(idx(folder)), folder / TRAIN_IMAGES
    path.write_bytes(gzip.decompress(path.read_bytes()))
    before, status = describe(source, memory), path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert describe(source, memory).identity == load_data(source).identity != before.identity


def test_files_that_change_while_they_are_read_are_not_remembered(folder, monkeypatch):
    read = load_data

    def read_and_touch(source):
        loaded = read(source)
        os.utime(folder / TRAIN_LABELS, ns=(0, 0))
        return loaded

    monkeypatch.setattr("fmnist_mlp.data.source.load_data", read_and_touch)
    memory = {}
    describe(find_data(idx(folder)), memory)
    assert memory == {}


def test_what_is_remembered_of_a_damaged_file_does_not_hide_it(folder):
    memory = {}
    source = find_data(idx(folder))
    describe(source, memory)
    (folder / TRAIN_LABELS).write_bytes(b"")
    with pytest.raises(SweepError, match="is not an IDX file"):
        describe(source, memory)


@pytest.mark.parametrize(
    "edit",
    [
        lambda entry: None,
        lambda entry: [],
        lambda entry: {},
        lambda entry: entry | {"format": 99},
        lambda entry: entry | {"files": None},
        lambda entry: {key: value for key, value in entry.items() if key != "info"},
        lambda entry: entry | {"info": None},
        lambda entry: entry | {"info": []},
        lambda entry: entry | {"info": {}},
        lambda entry: entry | {"info": entry["info"] | {"identity": None}},
        lambda entry: entry | {"info": entry["info"] | {"identity": ""}},
        lambda entry: entry | {"info": entry["info"] | {"train_images": "12"}},
        lambda entry: entry | {"info": entry["info"] | {"num_classes": True}},
        lambda entry: entry | {"info": entry["info"] | {"test_images": -1}},
        lambda entry: entry | {"info": entry["info"] | {"image_shape": 4}},
        lambda entry: entry | {"info": entry["info"] | {"image_shape": [4]}},
        lambda entry: entry | {"info": entry["info"] | {"image_shape": "45"}},
        lambda entry: entry | {"info": entry["info"] | {"more": 1}},
        lambda entry: entry | {"info": entry["info"] | {"class_counts": [4, 4, 5]}},
        lambda entry: entry | {"info": {k: v for k, v in entry["info"].items() if k != "class_counts"}},
    ],
)
def test_a_memory_that_is_garbage_is_ignored_and_mended(folder, edit, never_read):
    good = {}
    source = find_data(idx(folder))
    info = describe(source, good)
    memory = {key: edit(entry) for key, entry in good.items()} | {"other": "stays"}
    assert describe(source, memory) == info
    assert memory == good | {"other": "stays"}
    never_read()
    assert describe(source, memory) == info


# ---- Choosing images ----

labels = st.lists(st.integers(0, 9), min_size=1, max_size=200).map(lambda values: np.array(values, np.uint8))
shares = st.floats(0.0, 1.0, exclude_max=True)
seeds = st.integers(0, 2**40)


@settings(deadline=None)
@given(y_train=labels, validation_split=shares, seed=seeds)
def test_a_split_is_disjoint_complete_stratified_and_exact(y_train, validation_split, seed):
    train, validation = stratified_split(y_train, validation_split, seed)
    assert train.dtype == validation.dtype == np.int32
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(y_train)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    counts = np.bincount(y_train, minlength=10)
    chosen = np.bincount(y_train[validation], minlength=10)
    assert (np.abs(chosen - counts * validation_split) <= 1 + 1e-9).all()
    assert (counts - chosen >= (counts > 0)).all()  # no class loses its last training image
    possible = np.minimum(np.ceil(counts * validation_split), np.maximum(counts - 1, 0)).sum()
    assert len(validation) == min(round(len(y_train) * validation_split), possible)


@settings(deadline=None)
@given(y_train=labels, limit=st.integers(1, 250))
def test_a_limit_keeps_every_class_in_its_share(y_train, limit):
    chosen = limit_indices(y_train, limit)
    assert chosen.dtype == np.int32
    assert len(chosen) == min(limit, len(y_train))
    assert (np.diff(chosen) > 0).all()
    classes = len(np.unique(y_train))
    if limit >= classes:
        assert len(np.unique(y_train[chosen])) == classes
    assert np.array_equal(chosen, limit_indices(y_train, limit))


def test_no_limit_means_all_images():
    y_train = np.arange(10, dtype=np.uint8)
    for limit in (None, 10, 11):
        assert limit_indices(y_train, limit).tolist() == list(range(10))


def test_split_and_limit_differ_by_seed_and_share_nothing_but_the_share():
    y_train = np.repeat(np.arange(10, dtype=np.uint8), 100)
    first = stratified_split(y_train, 0.2, 0)
    assert [half.tolist() for half in first] == [half.tolist() for half in stratified_split(y_train, 0.2, 0)]
    assert np.bincount(y_train[first[1]]).tolist() == [20] * 10
    assert first[1].tolist() != stratified_split(y_train, 0.2, 1)[1].tolist()
    assert np.bincount(y_train[limit_indices(y_train, 250)]).tolist() == [25] * 10


def test_a_split_of_nothing_or_of_one_image_leaves_the_training_images():
    y_train = np.array([0, 1, 1, 1, 1, 5], np.uint8)
    train, validation = stratified_split(y_train, 0.0, 0)
    assert (len(train), len(validation)) == (6, 0)
    train, validation = stratified_split(y_train, 0.5, 0)
    assert np.bincount(y_train[train], minlength=6).tolist() == [1, 2, 0, 0, 0, 1]
    train, validation = stratified_split(y_train[:1], 0.5, 0)
    assert (train.tolist(), validation.tolist()) == ([0], [])


@settings(deadline=None)
@given(y_train=labels.filter(lambda y_train: len(y_train) >= 2), seed=seeds, data=st.data())
def test_folds_share_out_every_class_as_scikit_learn_does(y_train, seed, data):
    folds = data.draw(st.integers(2, min(50, len(y_train))))
    ours = [stratified_folds(y_train, folds, fold, seed) for fold in range(folds)]
    for train, validation in ours:
        assert train.dtype == validation.dtype == np.int32
        assert (np.diff(train) > 0).all()
        assert (np.diff(validation) > 0).all()
        assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(y_train)))
    assert np.array_equal(np.sort(np.concatenate([validation for _, validation in ours])), np.arange(len(y_train)))
    counts = np.array([np.bincount(y_train[validation], minlength=10) for _, validation in ours])  # (folds, 10)
    assert np.ptp(counts.sum(axis=1)) <= 1
    if np.bincount(y_train).max() < folds:  # scikit-learn refuses these
        assert counts.max() <= 1
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns of classes with fewer images than folds
        theirs = [part for _, part in StratifiedKFold(folds).split(y_train, y_train)]
    expected = np.array([np.bincount(y_train[part], minlength=10) for part in theirs])
    # Which fold gets the odd image is anybody's choice; how many get one is not.
    assert np.array_equal(np.sort(counts, axis=0), np.sort(expected, axis=0))
    assert np.array_equal(np.sort(counts.sum(axis=1)), np.sort(expected.sum(axis=1)))


def test_folds_differ_by_seed_and_from_the_split():
    y_train = np.repeat(np.arange(10, dtype=np.uint8), 100)
    parts = [stratified_folds(y_train, 5, fold, 0)[1].tolist() for fold in range(5)]
    assert parts == [stratified_folds(y_train, 5, fold, 0)[1].tolist() for fold in range(5)]
    others = [stratified_folds(y_train, 5, fold, 1)[1].tolist() for fold in range(5)]
    others.append(stratified_split(y_train, 0.2, 0)[1].tolist())
    # Two random fifths share a fifth; 200 +- 12 images of 1,000, so 40 +- 6 of these 200.
    shared = [len(set(part) & set(other)) for part in parts for other in others]
    assert max(shared) < 80
    assert [np.bincount(y_train[part]).tolist() for part in parts] == [[20] * 10] * 5


def test_folds_of_very_few_images():
    y_train = np.array([0, 1, 1, 1, 1, 5], np.uint8)
    parts = [stratified_folds(y_train, 6, fold, 3) for fold in range(6)]
    assert sorted(validation.tolist() for _, validation in parts) == [[index] for index in range(6)]
    # A class of one image is missing from the training of the fold that it validates.
    alone = [5 in y_train[train] for train, validation in parts if y_train[validation].tolist() == [5]]
    assert alone == [False]
    train, validation = stratified_folds(y_train[:2], 2, 1, 0)
    assert sorted([*train, *validation]) == [0, 1]
    assert len(validation) == 1


@settings(deadline=None)
@given(
    y_train=labels, limit=st.none() | st.integers(1, 250), share=shares, folds=st.none() | st.integers(2, 9), seed=seeds
)
def test_parts_are_counted_beforehand_as_they_are_chosen(y_train, limit, share, folds, seed):
    chosen = y_train[limit_indices(y_train, limit)]
    folds = folds if folds is not None and folds <= len(chosen) else None
    parts = stratified_split(chosen, share, seed) if folds is None else stratified_folds(chosen, folds, 0, seed)
    counted = count_parts(np.bincount(y_train), limit, share, folds)
    for part, counts in zip(parts, counted, strict=True):
        assert np.bincount(chosen[part], minlength=len(counts)).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("images", "folds", "fold", "message"),
    [
        (3, 1, 0, r"folds must be at least 2 and at most the number of training images \(3\), got 1"),
        (3, 4, 0, r"at most the number of training images \(3\), got 4"),
        (1, 2, 0, r"at most the number of training images \(1\), got 2"),
        (0, 2, 0, r"at most the number of training images \(0\), got 2"),
        (9, 3, 3, "fold must be from 0 to 2, got 3"),
        (9, 3, -1, "fold must be from 0 to 2, got -1"),
    ],
)
def test_folds_that_cannot_be_made_are_errors_of_ours(images, folds, fold, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(np.zeros(images, np.uint8), folds, fold, 0)


def test_choices_out_of_range_are_errors_of_ours():
    y_train = np.zeros(3, np.uint8)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        limit_indices(y_train, 0)
    with pytest.raises(ValueError, match="validation_split must be"):
        stratified_split(y_train, 1.0, 0)
    with pytest.raises(ValueError, match="unknown dataset 'mnist'"):
        find_data("mnist")


@settings(deadline=None)
@given(n=st.integers(0, 300), seed=seeds, epoch=st.integers(0, 10_000))
def test_an_epochs_order_is_a_permutation_and_a_function_of_its_arguments(n, seed, epoch):
    order = epoch_order(n, seed, epoch)
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order), np.arange(n))
    assert np.array_equal(order, epoch_order(n, seed, epoch))


def test_orders_differ_by_epoch_and_seed():
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_the_choices_of_today_are_those_of_tomorrow():
    """A resumed trial and a record of last month rest on these; who changes them raises the numerics version."""
    y_train = np.arange(20, dtype=np.uint8) % 4
    assert epoch_order(8, 0, 1).tolist() == [3, 0, 5, 2, 1, 6, 4, 7]
    assert stratified_split(y_train, 0.25, 0)[1].tolist() == [0, 7, 10, 13, 16]
    assert limit_indices(y_train, 6).tolist() == [1, 2, 8, 13, 16, 19]
    assert stratified_folds(y_train, 4, 1, 0)[1].tolist() == [6, 8, 11, 13, 17]


def test_the_stand_ins_version_is_part_of_its_identity(monkeypatch):
    monkeypatch.setattr(garments, "GARMENTS_VERSION", 7)
    assert describe(DataSource("synthetic"), {}).identity == "synthetic-v7-12000-2000"
