"""Files of images with any byte changed, of any length, or swelling: an error that names the file, at little cost."""

import gzip
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from commands import project, run
from faults import MEBIBYTE, is_one_line, memory_within
from idx_files import NAMES, write_idx

from fmnist_mlp.data.source import find_data, load_data
from fmnist_mlp.errors import SweepError

__all__ = ["project", "run"]  # fixtures, used by name


def write_idx_folder(folder, ending=""):
    """Four files of 4x5 images in three classes; gives the paths in the order that data.py reads them."""
    arrays = [array for n in (12, 6) for array in (np.arange(n * 20).reshape(n, 4, 5) % 256, np.arange(n) % 3)]
    write_idx(folder, *arrays, ending=ending)
    return [folder / f"{name}{ending}" for name in NAMES]


def identity_of(folder):
    return load_data(find_data(SimpleNamespace(kind="idx", path=folder))).identity


def flips(byte):
    """Each bit by itself, all of them, and the values that mean something in a header."""
    return {byte ^ (1 << bit) for bit in range(8)} | {byte ^ 0xFF, 0, 1, 3, 8} - {byte}


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_any_byte_changed_in_any_header_is_an_error_that_names_the_file(tmp_path, ending):
    """No change leaves a sound file: magic, type and dimensions are fixed, and any other size misses the file's end."""
    paths = write_idx_folder(tmp_path / "images", ending)
    for path in paths:
        packed = path.read_bytes()
        content = gzip.decompress(packed) if ending else packed
        for place in range(16 if "images-" in path.name else 8):
            for value in flips(content[place]):
                changed = content[:place] + bytes([value]) + content[place + 1 :]
                path.write_bytes(gzip.compress(changed, 1) if ending else changed)
                with pytest.raises(SweepError) as caught:
                    identity_of(path.parent)
                assert str(caught.value).startswith(f"{path}: "), (place, value)
                assert str(caught.value).isprintable()
        path.write_bytes(packed)


def test_a_byte_changed_in_a_gzip_header_is_an_error_or_the_same_images(tmp_path):
    """Clock, system and flags that mean nothing leave a sound file, which then holds the very same images."""
    paths = write_idx_folder(tmp_path / "images", ".gz")
    identity, sound = identity_of(paths[0].parent), set()
    for path in paths:
        packed = path.read_bytes()
        for place in range(10):
            for value in flips(packed[place]):
                path.write_bytes(packed[:place] + bytes([value]) + packed[place + 1 :])
                found, message = None, ""
                try:
                    found = identity_of(path.parent)
                except SweepError as error:
                    message = str(error)
                assert found == identity or message.startswith(f"{path}: "), (place, value)
                sound |= {place} if found else set()
        path.write_bytes(packed)
    assert sound == {3, 4, 5, 6, 7, 8, 9}  # RFC 1952: FLG, MTIME, XFL, OS


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_of_images_of_any_other_length_is_an_error_that_names_it(tmp_path, ending):
    paths = write_idx_folder(tmp_path / "images", ending)
    for path in paths:
        content = path.read_bytes()
        others = [content[:length] for length in range(len(content))]  # no bytes at all among them
        others += [content + more for more in (b"\1", b"\1" * 240, content, b"rubbish")]
        for other in others:
            path.write_bytes(other)
            with pytest.raises(SweepError) as caught:
                identity_of(path.parent)
            assert str(caught.value).startswith(f"{path}: "), len(other)
        path.write_bytes(content)


def gzip_bomb(header, megabytes):
    """A gzip file that unpacks to a header and so many megabytes of zeros: one member, repeated, 1 kB a megabyte."""
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    member = zeros.compress(bytes(64 * 10**6)) + zeros.flush()
    return gzip.compress(header) + member * (megabytes // 64)


@pytest.mark.parametrize("images", [12, 5_000_000], ids=["that hides its size", "that announces 4 GB"])
def test_a_gzip_bomb_of_4_gigabytes_is_refused_with_little_memory(run, project, images):
    paths = write_idx_folder(project.folder / "images")
    paths[0].write_bytes(gzip_bomb(struct.pack(">HBB3I", 0, 8, 3, images, 28, 28), 4096))
    assert paths[0].stat().st_size < 5 * MEBIBYTE
    project.write("dataset: {idx: images}\narchitectures: [[8]]\n", "bomb.yaml")
    with memory_within(16 * MEBIBYTE):
        assert is_one_line(run("bomb.yaml", "--dry-run"), rf"{paths[0].name}: (goes on after|its header claims)")


@pytest.mark.slow
def test_a_gzip_bomb_below_the_limit_costs_no_more_than_the_limit(run, project, monkeypatch):
    """128 MB announced and there: they are read, for they could be images, and refused for lack of labels."""
    limit = 128 * MEBIBYTE
    monkeypatch.setattr("fmnist_mlp.data.idx.MAX_FILE_BYTES", limit)
    paths = write_idx_folder(project.folder / "images")
    paths[0].write_bytes(gzip_bomb(struct.pack(">HBB3I", 0, 8, 3, 160_000, 25, 32), 128))
    project.write("dataset: {idx: images}\narchitectures: [[8]]\n", "bomb.yaml")
    with memory_within(limit + 16 * MEBIBYTE):
        assert is_one_line(run("bomb.yaml", "--dry-run"), rf"{paths[0].name}: 160,000 images, but .* 12 labels")
