"""Where Fashion-MNIST is looked for: the given folder, Keras's cache; and files that are not what was published."""

import re

import pytest
from image_folder import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    change,
    folder,
    idx,
    leave_nothing_to_download,
    load_idx,
    one_line,
    pass_for_fashion_mnist,
    swap,
)

from fmnist_mlp.data.download import keras_bases
from fmnist_mlp.data.source import CLASS_NAMES, DataSource, find_data, load_data
from fmnist_mlp.errors import SweepError

__all__ = ["folder"]  # a fixture, used by name


@pytest.fixture
def pretend(monkeypatch, folder):
    """Lets the tiny folder be Fashion-MNIST: its checksums and sizes are the expected ones."""
    pass_for_fashion_mnist(folder, monkeypatch)
    return folder


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of Keras's, and nowhere to download from."""
    leave_nothing_to_download(monkeypatch, tmp_path / "keras")
    return tmp_path / "keras" / "datasets" / "fashion-mnist"


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
