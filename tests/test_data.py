"""Images from their files: what is read under which names, and the identity it gets; and the generated stand-in."""

import dataclasses
import gzip
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from image_folder import TRAIN_IMAGES, folder, idx, load_idx, tiny_arrays, write_folder

from fmnist_mlp.data import synthetic as garments
from fmnist_mlp.data.idx import FILES
from fmnist_mlp.data.source import CLASS_NAMES, DataInfo, DataSource, describe, find_data, load_data
from fmnist_mlp.errors import SweepError

__all__ = ["folder"]  # a fixture, used by name


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


@pytest.mark.slow
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


def test_the_stand_ins_version_is_part_of_its_identity(monkeypatch):
    monkeypatch.setattr(garments, "GARMENTS_VERSION", 7)
    assert describe(DataSource("synthetic"), {}).identity == "synthetic-v7-12000-2000"
