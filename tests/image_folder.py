"""A folder with twelve tiny images in four files, and what may happen to it: for the tests of image files."""

import gzip
import hashlib
import socket
from types import SimpleNamespace

import numpy as np
import pytest
from idx_files import idx_bytes

from fmnist_mlp.data.idx import FILES, File
from fmnist_mlp.data.source import find_data, load_data

NAMES = [file.gz_name for file in FILES]
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES


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


def idx(folder):
    """What config makes of `dataset: {idx: FOLDER}`."""
    return SimpleNamespace(kind="idx", path=folder)


def load_idx(folder):
    return load_data(find_data(idx(folder)))


def one_line(excinfo):
    message = str(excinfo.value)
    assert "\n" not in message
    return message


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


def pass_for_fashion_mnist(folder, monkeypatch):
    """Its gzipped files are Fashion-MNIST from now on: theirs are the expected sizes and checksums."""
    files = []
    for file in FILES:
        packed = (folder / file.gz_name).read_bytes()
        digest = hashlib.sha256(gzip.decompress(packed)).hexdigest()
        files.append(File(file.stem, file.dimensions, len(packed), digest))
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.FILES", tuple(files))


def leave_nothing_to_download(monkeypatch, keras_base):
    """No server answers, and Keras's cache lies under `keras_base`."""
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [keras_base])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr("fmnist_mlp.data.download.FASHION_MNIST_URL", f"http://127.0.0.1:{port}/")
