"""What is remembered of images, so that they are not read again: never of files that are other ones by now."""

import gzip
import json
import os
from dataclasses import asdict

import pytest
from image_folder import TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, change, folder, idx

from fmnist_mlp.data.source import DataInfo, describe, find_data, load_data
from fmnist_mlp.errors import SweepError

__all__ = ["folder"]  # a fixture, used by name


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
