"""Files of images that are damaged, missing, misnamed or of other numbers: one line names the file and the remedy."""

import contextlib
import gzip
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_folder import (
    NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    change,
    folder,
    idx,
    load_idx,
    one_line,
    swap,
    tiny_arrays,
    write_folder,
)

from fmnist_mlp.data.idx import FILES
from fmnist_mlp.data.source import DataSource, describe, find_data, load_data
from fmnist_mlp.errors import SweepError

__all__ = ["folder"]  # a fixture, used by name


# ---- Damaged files: from a phrase to what is done to the folder and what the message says ----


def header(*sizes, kind=8, dimensions=None):
    return struct.pack(f">HBB{len(sizes)}I", 0, kind, dimensions or len(sizes), *sizes)


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


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


@pytest.mark.slow
def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_claims(folder, monkeypatch):
    unpacked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size: unpacked.append(size) or read(self, size))
    # 64 MB of zeros in 64 kB; the header announces 240.
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(header(12, 4, 5) + bytes(64 * 2**20)))
    with pytest.raises(SweepError, match="goes on after the 12 images"):
        load_idx(folder)
    assert sum(unpacked) == 16 + 240 + 1


@pytest.mark.slow
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
