"""Compiled programs that outlast their process: used where they are what was kept, and never a reason to fail."""

import hashlib
import io
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from sweeping import Project, different

from fmnist_mlp.training.program_cache import VARIABLE, ProgramCache

XLAS = "xla_compile_cache__1__2__XLA_CPU_JIT.pb"
MACHINE_CODE = b"\x7fELF" + bytes(range(256)) * 40


class Process:
    """A process that shares a folder of kept programs with others, and what TensorFlow sees in it."""

    def __init__(self, folder, name="one", surroundings=("a CPU",), **options):
        self.kept, self.scratch = folder / "kept", folder / name
        for place in (self.kept, self.scratch):
            place.mkdir(exist_ok=True)
        self.cache = ProgramCache(self.kept, self.scratch, [*surroundings], **options)

    def run(self, program="64-32", compiles=()):
        """What XLA finds when it needs the program; `compiles` are the files it adds then."""
        with self.cache.holding(program):
            found = self.seen()
            for name in compiles:
                (self.scratch / name).write_bytes(MACHINE_CODE)
        assert self.seen() == {}  # nothing is left for another program, or for who flips a bit meanwhile
        return found

    def seen(self):
        return {path.name: path.read_bytes() for path in self.scratch.iterdir()}

    @property
    def entries(self):
        return sorted(self.kept.iterdir())


@pytest.mark.slow
def test_what_one_process_compiled_the_next_one_finds(tmp_path):
    assert Process(tmp_path).run(compiles=[XLAS]) == {}
    assert Process(tmp_path, "two").run() == {XLAS: MACHINE_CODE}
    assert Process(tmp_path, "two").run("128") == {}


def test_what_was_kept_is_added_to(tmp_path):
    """With histograms, say, a trial has a program more."""
    another = XLAS.replace("2", "3")
    process = Process(tmp_path)
    process.run(compiles=[XLAS])
    process.run(compiles=[another])
    assert process.run().keys() == {XLAS, another}


def test_another_cpu_or_flag_or_number_of_threads_finds_nothing(tmp_path):
    Process(tmp_path).run(compiles=[XLAS])
    assert Process(tmp_path, surroundings=["a CPU", "--xla_cpu_prefer_vector_width=512"]).run() == {}


def test_a_block_that_raises_keeps_what_it_compiled(tmp_path):
    """A trial that diverged, or was stopped."""
    process = Process(tmp_path)
    with pytest.raises(IsADirectoryError):
        process.run(compiles=[XLAS, "."])
    assert process.run() == {XLAS: MACHINE_CODE}


@pytest.mark.parametrize("position", [0, 31, 32, 60, -200, -1])
def test_a_flipped_byte_costs_the_compilation_alone(tmp_path, position):
    process = Process(tmp_path)
    process.run(compiles=[XLAS])
    (entry,) = process.entries
    content = bytearray(entry.read_bytes())
    content[position] ^= 1
    entry.write_bytes(content)
    assert process.run(compiles=[XLAS]) == {}
    assert process.run() == {XLAS: MACHINE_CODE}


@pytest.mark.parametrize("content", [b"", b"\0" * 16, b"x" * 10_000, None])
def test_whatever_else_lies_in_its_place_is_replaced_or_left(tmp_path, content):
    process = Process(tmp_path)
    process.run(compiles=[XLAS])
    (entry,) = process.entries
    entry.unlink()
    entry.mkdir() if content is None else entry.write_bytes(content)
    assert process.run(compiles=[XLAS]) == {}
    assert process.run() == ({} if content is None else {XLAS: MACHINE_CODE})


@pytest.mark.parametrize("name", ["../out.pb", f"../{XLAS}", "sitecustomize.py", f"/tmp/{XLAS}"])
def test_no_name_leads_out_of_the_scratch_folder(tmp_path, name):
    process = Process(tmp_path)
    process.run(compiles=[XLAS])
    (entry,) = process.entries
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name, b"foreign")
    entry.write_bytes(hashlib.sha256(archive.getvalue()).digest() + archive.getvalue())
    assert process.run() == {}
    assert not (tmp_path / "out.pb").exists()


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path):
    process = Process(tmp_path)
    process.kept.rmdir()
    process.kept.write_bytes(b"a file")  # in the place of the folder
    assert process.run(compiles=[XLAS]) == {}


def test_what_was_used_longest_ago_goes_first_and_only_what_is_ours(tmp_path):
    process = Process(tmp_path, most_bytes=1_400)
    foreign = process.kept / "notes.txt"
    foreign.write_bytes(b"x" * 10_000)
    for seconds, program in enumerate(["a", "b", "c"]):
        before = process.entries
        process.run(program, compiles=[XLAS])
        (entry,) = {*process.entries} - {*before}
        os.utime(entry, (seconds, seconds))
    assert 467 < entry.stat().st_size <= 700, "two of them fit"
    process.run("b")
    process.run("d", compiles=[XLAS])
    kept = [program for program in "abcd" if process.run(program)]
    assert kept == ["b", "d"]
    assert foreign.exists()


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a worker that has not imported TensorFlow yet, with a home of its own."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    for name in (VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), "TF_XLA_FLAGS": "", "TF_CPP_MIN_LOG_LEVEL": "2"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / ".cache" / "fmnist_mlp" / "programs"


def test_programs_are_kept_in_the_users_cache_for_nobody_else(fresh):
    assert ProgramCache.start(threads=1) is not None
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert "persistent_cache" in os.environ["TF_XLA_FLAGS"]


@pytest.mark.parametrize("where", [{VARIABLE: "{}/here"}, {"XDG_CACHE_HOME": "{}/xdg"}])
def test_the_place_can_be_chosen(fresh, monkeypatch, tmp_path, where):
    for name, value in where.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert ProgramCache.start(threads=1) is not None
    assert (tmp_path / "here").is_dir() or (tmp_path / "xdg" / "fmnist_mlp" / "programs").is_dir()
    assert not fresh.exists()


def _make_writable_by_others(place):
    place.mkdir(parents=True)
    place.chmod(0o777)


def _make_a_link(place):
    place.parent.mkdir(parents=True)
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place.symlink_to(elsewhere)


def _make_a_file(place):
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")


def _make_anothers(place):
    place.mkdir(parents=True, mode=0o700)
    os.chown(place, 12345, 12345)


@pytest.mark.parametrize("make", [_make_writable_by_others, _make_a_link, _make_a_file, _make_anothers])
def test_a_folder_that_is_not_the_users_alone_is_not_used(fresh, make):
    """It holds machine code that is run."""
    if make is _make_anothers and os.getuid():
        pytest.skip("only root gives folders away")
    make(fresh)
    assert ProgramCache.start(threads=1) is None
    assert not os.environ["TF_XLA_FLAGS"]


@pytest.mark.parametrize("name", ["a folder", "it's", 'a "folder"', "back\\slash"])
def test_a_temporary_folder_that_no_flag_can_name_is_not_used(fresh, monkeypatch, tmp_path, name):
    (tmp_path / name).mkdir()
    monkeypatch.setattr("fmnist_mlp.engines.machine.scratch_folder", lambda: tmp_path / name)
    assert ProgramCache.start(threads=1) is None
    assert not os.environ["TF_XLA_FLAGS"]


def test_it_can_be_turned_off(fresh, monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")
    assert ProgramCache.start(threads=1) is None
    assert not fresh.exists()


TEXT = """
dataset: synthetic
limit: 300
seeds: 2
training: {epochs: 2}
architectures: [[8], [16, Dropout: 0.3]]
"""


@pytest.mark.slow
def test_sweeps_are_the_same_to_the_last_bit_with_kept_programs_damaged_ones_and_none(tmp_path):
    def sweep(name, programs, jobs=1):
        project = Project(tmp_path / name, TEXT)
        done = project.sweep("--jobs", str(jobs), environment={VARIABLE: str(programs)})
        assert done.stderr == "", "XLA takes LLVM's preferences for errors; nobody is to see them"
        return project.numbers()

    programs = tmp_path / "programs"
    without = sweep("without", "off")
    with ThreadPoolExecutor(2) as pool:  # two sweeps of two workers each, all compiling the same
        both = [*pool.map(lambda name: sweep(name, programs, jobs=2), ["filling", "beside"])]
    assert [different(without, numbers) for numbers in both] == [[], []]
    entries = [path for path in programs.iterdir() if path.suffix == ".programs"]
    assert len(entries) == 2 == len(list(programs.iterdir()))

    written = {path: path.stat().st_ino for path in entries}
    assert different(without, sweep("loaded", programs)) == []
    assert written == {path: path.stat().st_ino for path in entries}, "nothing was compiled again"

    for path in entries:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    assert different(without, sweep("damaged", programs)) == []
    assert all(path.stat().st_ino != inode for path, inode in written.items()), "what was damaged is made anew"
