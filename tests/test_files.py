"""Files written whole, sealed folders, what is remembered of files, caches that are nothing when damaged."""

import json
import os
import shutil
import subprocess

import pytest

from fmnist_mlp import files
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import DamagedFile, Digests

_SUM = "0" * 64


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "folder"
    (place / "below").mkdir(parents=True)
    (place / "one.txt").write_bytes(b"one")
    (place / "below" / "two.txt").write_bytes(b"two")
    files.seal(place)
    return place


def test_a_seal_covers_every_file_and_is_what_coreutils_checks(folder):
    assert set(files.read_sums(folder)) == {"one.txt", "below/two.txt"}
    subprocess.run(["sha256sum", "--check", "--strict", files.SUMS], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("position", range(0, 160, 7))
def test_no_changed_byte_of_a_seal_goes_unseen(folder, position):
    seal = folder / files.SUMS
    content = bytearray(seal.read_bytes())
    content[position % len(content)] ^= 4
    seal.write_bytes(content)
    with pytest.raises(DamagedFile):
        _check_all(folder)


def _check_all(folder):
    for name, expected in files.read_sums(folder).items():
        files.check(folder / name, expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "no seal\n",
        f"{'0' * 64}  ../../escape\n",
        f"{'0' * 64}  /etc/passwd\n",
        f"{'0' * 64}  one.txt",
        "\0" * 99,
    ],
)
def test_a_seal_that_does_not_read_as_written_is_damaged(folder, text):
    (folder / files.SUMS).write_text(text)
    with pytest.raises(DamagedFile):
        files.read_sums(folder)


def test_what_is_read_is_compared(folder):
    sums = files.read_sums(folder)
    assert files.read_checked(folder / "one.txt", sums["one.txt"]) == b"one"
    (folder / "one.txt").write_bytes(b"onE")
    with pytest.raises(DamagedFile, match=r"one\.txt: is damaged or was edited"):
        files.read_checked(folder / "one.txt", sums["one.txt"])
    with pytest.raises(DamagedFile, match="missing"):
        files.check(folder / "three.txt", sums["one.txt"])


@pytest.fixture
def remembered(folder, tmp_path, monkeypatch):
    """A file whose digest is remembered from an earlier run, and the list of those that were hashed since."""
    hashed, digest = [], files.digest
    monkeypatch.setattr(files, "digest", lambda path: hashed.append(path) or digest(path))
    before = Digests(folder, tmp_path / "cache.json")
    before.of(folder / "one.txt")
    before.save()
    hashed.clear()
    return folder / "one.txt", hashed, tmp_path / "cache.json"


def test_an_unchanged_file_is_hashed_once(remembered):
    path, hashed, cache = remembered
    assert Digests(path.parent, cache).of(path) == files.digest(path)
    assert len(hashed) == 1  # the line above


def test_a_file_of_the_same_size_and_modification_time_is_hashed_again(remembered):
    path, _, cache = remembered
    about = path.stat()
    path.write_bytes(b"eno")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert Digests(path.parent, cache).of(path) == files.digest(path)


def test_what_is_remembered_of_a_file_moves_with_its_folder(remembered, tmp_path):
    path, hashed, cache = remembered
    moved = path.parent.rename(tmp_path / "moved") / "one.txt"
    Digests(moved.parent, cache).of(moved)
    # A rename of the folder above leaves a file's own times alone.
    assert hashed == []


def test_a_deleted_file_is_forgotten(remembered):
    path, _, cache = remembered
    path.unlink()
    digests = Digests(path.parent, cache)
    digests.of(path.parent / "below" / "two.txt")
    digests.save()
    assert [*files.load_json(cache)] == ["/below/two.txt"]


def test_json_comes_back_with_its_checksum_and_is_json_to_everybody(tmp_path):
    content = {"b": [1, 2.5, None, "ü\ud800"], "a": {}}
    files.save_json(tmp_path / "x.json", content)
    assert files.load_json(tmp_path / "x.json") == content
    assert json.loads((tmp_path / "x.json").read_bytes())["content"] == content


def test_json_with_any_byte_changed_or_cut_off_is_nothing(tmp_path):
    path = tmp_path / "x.json"
    files.save_json(path, {"params": 12_682})
    whole = path.read_bytes()
    for i in range(len(whole)):
        for other in (whole[:i], whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :]):
            path.write_bytes(other)
            assert files.load_json(path) == {}
    path.write_bytes(whole + b"\n")
    assert files.load_json(path) == {}


def test_json_in_the_place_of_another_file_is_nothing(tmp_path):
    files.save_json(tmp_path / "one.json", {"asked_for": []})
    shutil.copy(tmp_path / "one.json", tmp_path / "two.json")
    assert files.load_json(tmp_path / "two.json") == {}


def test_a_link_that_leads_nowhere_is_replaced_and_a_folder_is_for_a_person_to_move(tmp_path):
    link, folder = tmp_path / "link.json", tmp_path / "folder.json"
    link.symlink_to(link.name)
    files.save_json(link, {"one": 1})
    assert files.load_json(link) == {"one": 1}
    assert not link.is_symlink()
    folder.mkdir()
    with pytest.raises(SweepError, match=r"folder\.json: Is a directory; .* move away what stands there"):
        files.save_json(folder, {})
