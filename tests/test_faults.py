"""Hostile input and surroundings, fault by fault: what a sweep answers, and what it has lost afterwards (nothing).

Every answer is the same: an exit code of 2 with one line that names the file, or the sweep goes on. Most drive
`cli.main` with the invented trials of test_cli.py; real ones train where the fault lies inside a training. A disk that
is full or read-only is a real one: a tmpfs of its own, which only root may mount.

What one writer or reader does with a fault of its own stands with its tests; here is what a whole sweep does:
a. sweep files; b. images; c. places that cannot be written; d. disks that fill; e. records and memories that are
damaged or wrong; f. clocks that jump; g. options; h. names.
"""

import contextlib
import gzip
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import time
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sweeping
from hypothesis import given
from idx_files import NAMES, write_idx
from mutations import anything, mutated
from sweeping import Project, different, state
from test_cli import TINY, invented_record, project, run, trained
from test_trial import worker, write_images

from fmnist_mlp.cli.display import Display
from fmnist_mlp.cli.sweep import main
from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.source import DataSource, find_data, load_data
from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.files import load_json, save_json, seal
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results.registry import Registry
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import Views
from fmnist_mlp.runner import plan as plan_module
from fmnist_mlp.runner.plan import Options
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.training import trial

__all__ = ["project", "run", "trained", "worker"]  # fixtures, used by name

IN_TURN = [("wide", 0), ("wide", 1), ("8", 0), ("8", 1)]  # of test_cli's TINY: the larger stack first
MEBIBYTE = 2**20


@contextlib.contextmanager
def memory_within(limit_bytes):
    """What Python and numpy allocate inside the block, at its peak."""
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < limit_bytes, f"{peak_bytes / MEBIBYTE:.1f} MiB"


def is_one_line(ran, message, code=2):
    """The answer to what the user can mend: one line on stderr that a terminal shows as it is."""
    assert (ran.code, len(ran.errors)) == (code, 1), ran.err
    assert ran.errors[0].isprintable(), ran.errors[0]
    assert re.search(message, ran.errors[0]), ran.errors[0]
    return True


class Disk:
    """A small file system of its own, which fills up, becomes read-only and recovers as a test says."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._hoard = self.folder / "hoard"

    def fill(self):
        """Take every byte and every file that is left."""
        self._hoard.mkdir()
        with contextlib.suppress(OSError), (self._hoard / "bytes").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (self._hoard / str(number)).touch(exist_ok=False)

    def recover(self):
        self._mount("remount,rw")
        shutil.rmtree(self._hoard, ignore_errors=True)

    def make_read_only(self):
        self._mount("remount,ro")

    def _mount(self, options):
        subprocess.run(["mount", "-o", options, self.folder], check=True, capture_output=True)


@pytest.fixture
def disk(project):
    folder = project.folder / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=2k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a file system of its own, which only root may mount")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


_REAL_RUN_TRIAL = trial.run_trial


def on_call(monkeypatch, owner, name, number, act, file=""):
    """`act()` just before the `number`-th call of a method, counted from 1; the call itself is made as always.

    With `file`, only calls whose first argument is that are counted.
    """
    method, calls = getattr(owner, name), itertools.count(1)

    def called(*args, **kwargs):
        if (not file or args[1] == file) and next(calls) == number:
            act()
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)


def drafts(folder):
    """Files that somebody began to write and left."""
    return [
        path for path in Path(folder).rglob("*") if ".drafts/" in f"{path}" or path.name.startswith((".draft-", ".r"))
    ]


# ---- a: sweep files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beginning", [b"", TINY.encode() + b"# and so on "], ids=["nothing but zeros", "sound at first"]
)
def test_a_sweep_file_of_100_megabytes_is_refused_after_its_first(run, project, beginning):
    path = project.folder / "large.yaml"
    path.write_bytes(beginning)
    os.truncate(path, 100_000_000)  # holes: it takes no disk
    with memory_within(16 * MEBIBYTE):
        assert is_one_line(run("large.yaml", "--dry-run"), r"^large\.yaml: is larger than 1 MiB")


def swelling(first, line):
    """Eight anchors, each made of the one before it by `line(name, before)`."""
    return first + "".join(f"{name}: &{name} {line(name, before)}\n" for before, name in itertools.pairwise("abcdefgh"))


ALIASES = {
    "of lists": (
        swelling("a: &a [1]\n", lambda name, before: f"[{', '.join(9 * ['*' + before])}]"),
        "more than 50,000 values",
    ),
    "of mappings": (
        swelling("a: &a {x: 1}\n", lambda name, before: f"{{{', '.join(f'k{i}: *{before}' for i in range(9))}}}"),
        "more than 50,000 values",
    ),
    "of merges": (
        swelling(
            "a: &a {x: 1}\n", lambda name, before: f"{{{name}: *{before}, <<: [{', '.join(99 * ['*' + before])}]}}"
        ),
        "more than 50,000 values",
    ),
    "of layers": ("x: &x [" + "8," * 150 + "]\narchitectures:\n" + "- *x\n" * 400, "more than 50,000 values"),
    "of itself": ("a: &a [*a]\n", "stands inside the value"),
    "of itself, by a merge": ("a: &a {<<: *a}\n", "stands inside the value"),
    "of itself, from afar": ("a: &a {b: {c: [1, {d: *a}]}}\n", "stands inside the value"),
}


@pytest.mark.parametrize("kind", ALIASES)
def test_aliases_without_end_cost_little_and_say_little(run, project, kind):
    text, message = ALIASES[kind]
    project.write(text, "alias.yaml")
    with memory_within(64 * MEBIBYTE):
        ran = run("alias.yaml", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert re.match(rf"alias\.yaml:\d+: .*{message}", ran.errors[0])
    assert len(ran.err) < 400


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[10000000]", r"dense units must be from 1 to 1,000,000, got 10000000"),
        ("[2000000000]", r"dense units must be from 1 to 1,000,000, got 2000000000"),
        # 784,000,000 + 1,000,000 and 1,000,000,000,000 + 1,000,000 and 10,000,000 + 10
        ("[1000000, 1000000]", r"1,000,796,000,010 parameters need about [\d,]+\.\d GiB to train with adam, more than"),
        (f"[{'1000000, ' * 199}10]", r"parameters need about [\d,]+\.\d GiB to train with adam, more than the"),
    ],
)
def test_enormous_stacks_are_refused_by_their_line_before_anything_is_allocated(run, project, trained, layers, message):
    project.write(f"dataset: synthetic\nseeds: 1\narchitectures:\n  - [8]\n  - {layers}\n", "huge.yaml")
    with memory_within(16 * MEBIBYTE):
        ran = run("huge.yaml", "--jobs", "0")
    assert (ran.code, ran.out, trained) == (2, "", [])
    assert re.match(rf"huge\.yaml:5: .*({message})", ran.errors[0]), ran.err
    assert not project.results.exists()


def test_no_more_workers_than_their_stacks_fit_into_memory(project, monkeypatch):
    """784 x 1,000,000 + 11,000,010 parameters; adam needs 16 bytes for each: 12.7 GB a worker, besides the worker."""
    project.write("dataset: synthetic\nseeds: 4\narchitectures:\n  - [1000000]\n", "wide.yaml")
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: 30_000_000_000)
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_cores", lambda: 4)
    for jobs in (None, 1000):
        plan = plan_module.make_plan(load_sweep("wide.yaml"), Options(jobs=jobs, device="cpu"))
        assert plan.jobs == 2
        assert plan.jobs_note.startswith("2 workers, not 4: ")


@pytest.mark.slow
def test_a_long_list_of_seeds_takes_no_quadratic_time(project):
    """By the processor's time, which other processes leave alone: 0.4 s; 17 s where each is looked for in a list."""
    project.write("architectures: [[8]]\nseeds:\n" + "".join(f"- {n}\n" for n in range(45_000)), "seeds.yaml")
    began = time.process_time()
    assert len(load_sweep("seeds.yaml").seeds) == 45_000
    assert time.process_time() - began < 5


def test_more_trials_than_anybody_could_train_are_refused_before_they_are_listed(run, project, trained, monkeypatch):
    """5,000 stacks in 40 kB and 10,000 seeds: each trial is a kilobyte of memory, a fingerprint and a look for it."""
    stacks = "".join(f"- [{units}]\n" for units in range(1, 5001))
    project.write(f"dataset: synthetic\nseeds: 10000\narchitectures:\n{stacks}", "many.yaml")
    monkeypatch.setattr(
        "fmnist_mlp.runner.proposals.list_trials", lambda *args, **kwargs: pytest.fail("they were listed")
    )
    ran = run("many.yaml", "--dry-run")
    assert (ran.code, ran.out, trained) == (2, "", [])
    assert re.match(r"many\.yaml:.* 50,000,000 trials", ran.errors[0])


@anything
@given(text=mutated())
def test_any_sweep_file_is_a_plan_or_one_clear_answer(run, project, text):
    """The whole way through the command line: exit code 0 or 2, nothing written, never a traceback (`run` looks)."""
    project.write(text, "any.yaml")
    ran = run("any.yaml", "--dry-run")
    assert ran.code in (0, 2)
    if ran.code == 2:
        assert ran.out == ""
        assert ran.errors
        assert all(line.isprintable() for line in ran.errors)
    assert sorted(path.name for path in project.folder.iterdir() if path.name != "home") == ["any.yaml", "tiny.yaml"]


# ---- b: images ----------------------------------------------------------------------------------------------------


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


def test_a_gzip_bomb_below_the_limit_costs_no_more_than_the_limit(run, project, monkeypatch):
    """128 MB announced and there: they are read, for they could be images, and refused for lack of labels."""
    limit = 128 * MEBIBYTE
    monkeypatch.setattr("fmnist_mlp.data.idx.MAX_FILE_BYTES", limit)
    paths = write_idx_folder(project.folder / "images")
    paths[0].write_bytes(gzip_bomb(struct.pack(">HBB3I", 0, 8, 3, 160_000, 25, 32), 128))
    project.write("dataset: {idx: images}\narchitectures: [[8]]\n", "bomb.yaml")
    with memory_within(limit + 16 * MEBIBYTE):
        assert is_one_line(run("bomb.yaml", "--dry-run"), rf"{paths[0].name}: 160,000 images, but .* 12 labels")


# ---- c: places that cannot be written -----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--results-dir", "--logs-dir"])
@pytest.mark.parametrize("place", ["disk", "disk/deeper"])
def test_a_read_only_disk_is_one_line_before_anything_is_trained(run, trained, disk, option, place):
    disk.make_read_only()
    assert is_one_line(
        run("tiny.yaml", "--jobs", "0", option, place), rf"cannot write {place}.*: Read-only file system"
    )
    assert trained == []


def test_a_finished_sweep_is_shown_from_a_read_only_disk(run, project, trained, disk):
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    first = run("tiny.yaml", "--jobs", "0", *places)
    disk.make_read_only()
    again = run("tiny.yaml", *places)
    assert (again.code, again.err, len(trained)) == (0, "", 4)
    assert "4 done, 0 to train" in again.out
    assert Project(disk.folder).rows()["wide"]["test_accuracy"][:5] in first.out


@pytest.mark.parametrize("part", ["results", "logs"])
def test_a_disk_that_turns_read_only_costs_the_running_trial_only(run, project, trained, disk, monkeypatch, part):
    """After the first trial's record: the second cannot be kept or shown, and the rerun ends as if nothing had been."""
    assert run("tiny.yaml", "--jobs", "0").code == 0
    numbers = project.numbers()
    elsewhere = Project(project.folder / "elsewhere")
    places = [
        f"--{name}-dir={disk.folder if name == part else elsewhere.folder}/{name}" for name in ("results", "logs")
    ]
    del trained[:]
    on_call(monkeypatch, trial, "run_trial", 2, disk.make_read_only)
    assert is_one_line(
        run("tiny.yaml", "--jobs", "0", *places), rf"cannot write .*disk/{part}.*: Read-only file system"
    )
    assert part == "logs" or trained == IN_TURN[:2]
    disk.recover()
    assert run("tiny.yaml", "--jobs", "0", *places).code == 0
    # Logs that cannot be shown are noticed within a second; the records that were written by then are kept.
    assert sorted(trained) == sorted([*IN_TURN, *(IN_TURN[1:2] if part == "results" else [])])
    assert different((Project(disk.folder) if part == "results" else elsewhere).numbers(), numbers) == []


def test_what_cannot_be_deleted_is_one_line(project, run, trained, disk, capsys):
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    assert run("tiny.yaml", "--jobs", "0", *places).code == 0
    (project.folder / "tiny.yaml").unlink()
    disk.make_read_only()
    capsys.readouterr()
    assert verbs(["clean", "--yes", *places]) == 2
    assert re.fullmatch(r"cannot .*disk/.*Read-only file system.*\n", capsys.readouterr().err)


# ---- d: a disk that fills -----------------------------------------------------------------------------------------

# At which call of which method (with which file) the disk is full, and how many of the four trials are done by then.
MOMENTS = {
    "the sweep's mark": (Registry, "claim_sweep", "", 1, 0),
    "the first table": (Views, "write", "results.csv", 1, 0),
    "the claim of a trial": (Results, "claim", "", 2, 1),
    "a record": (Results, "draft", "", 2, 1),
    "an event file of what is shown": (SweepLogs, "show", "", 2, 2),
    "the table": (Views, "write", "results.csv", 3, 2),
    "the other table": (Views, "write", "trials.csv", 3, 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_disk_that_fills_costs_the_running_trial_only(run, project, disk, monkeypatch, trained, moment):
    """The disk is really full from that moment on: of bytes and of files. A rerun with space again completes it."""
    owner, method, name, number, done = MOMENTS[moment]
    monkeypatch.setattr(
        "fmnist_mlp.training.trial.run_trial", _REAL_RUN_TRIAL
    )  # for its claim; what it trains is invented
    ran = []
    monkeypatch.setattr(
        "fmnist_mlp.training.trial.train_and_score",
        lambda context, task, results: ran.append(which(task)) or invented_record(task),
    )
    monkeypatch.setattr("fmnist_mlp.runner.loop._SECONDS_BETWEEN_TABLES", 0.0)
    monkeypatch.setattr("fmnist_mlp.runner.loop._SHARE_OF_TABLES", 0.0)
    assert run("tiny.yaml", "--jobs", "0").code == 0
    numbers = project.numbers()

    del ran[:]
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    with monkeypatch.context() as patch:
        on_call(patch, owner, method, number, disk.fill, name)
        failed = run("tiny.yaml", "--jobs", "0", *places)
    assert is_one_line(failed, r"^cannot write disk/.*: No space left on device; .*free space there"), failed.err
    kept = sorted(path.parent.name for path in disk.folder.glob("results/_records/*/record.json"))
    assert len(kept) == done
    assert drafts(disk.folder) == []

    disk.recover()
    tried = len(ran)
    again = run("tiny.yaml", "--jobs", "0", *places)
    assert (again.code, again.err) == (0, "")
    assert f"{done} done, {4 - done} to train" in again.out
    assert sorted(ran[tried:]) == sorted(IN_TURN[done:])
    assert different(Project(disk.folder).numbers(), numbers) == []
    assert Project(disk.folder).curves() == project.curves()


def which(task):
    return task.trial.architecture.name, task.trial.seed


def test_a_disk_that_fills_while_an_old_record_is_shown_leaves_a_folder_that_is_still_ours(
    run, project, trained, disk, monkeypatch
):
    """Logs thrown away, or a new name: some of a trial's event files are there again, and then the disk is full."""
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    assert run("tiny.yaml", "--jobs", "0", *places).code == 0
    curves = Project(disk.folder).curves()
    shutil.rmtree(disk.folder / "logs")
    with monkeypatch.context() as patch:
        on_call(patch, Views, "_put", 2, disk.fill)
        assert is_one_line(run("tiny.yaml", *places), r"^cannot write disk/logs/.*: No space left on device")
    disk.recover()
    again = run("tiny.yaml", *places)
    assert (again.code, again.err, len(trained)) == (0, "", 4)
    assert Project(disk.folder).curves() == curves


REAL = """\
dataset: {idx: images}
seeds: 2
training: {epochs: 3}
architectures:
  - [8, {Dropout: 0.2}]
"""


@pytest.fixture
def real(run, project, worker, undisturbed, monkeypatch):
    """`real("--logs-dir", ...)` trains REAL in this process; the worker stays, with what it has compiled."""
    sweeping.leave_out_pictures(monkeypatch)
    monkeypatch.setattr("fmnist_mlp.training.worker.start_worker", lambda *arguments: worker)
    project.write(undisturbed.text, "real.yaml")
    return lambda *options: run("real.yaml", "--jobs", "0", "--checkpoint-every", "1e-9", *options)


@pytest.fixture(scope="module")
def undisturbed(worker, tmp_path_factory):
    """What REAL says and gives where nothing happens: `text` and `numbers`."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    text = REAL.replace("images", str(write_images(project.folder / "images").folder))
    project.write(text, "real.yaml")
    places = [f"--{name}-dir={project.folder / name}" for name in ("results", "logs")]
    with pytest.MonkeyPatch.context() as patch:
        sweeping.leave_out_pictures(patch)
        assert main([str(project.folder / "real.yaml"), "--jobs", "0", "--quiet", *places]) == 0
    return SimpleNamespace(text=text, numbers=project.numbers("real"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "owner", "method", "number"),
    [
        ("a checkpoint", Results, "checkpoint_draft", 3),
        ("a record", Results, "draft", 2),
        ("an event file, between epochs", Display, "trial_progress", 6),
        ("an event file, before the first epoch", Display, "trial_progress", 5),
    ],
)
def test_a_disk_that_fills_during_a_real_training_loses_no_finished_trial(
    real, undisturbed, disk, monkeypatch, moment, owner, method, number
):
    """In this process, so that the moment is exact; a checkpoint after every epoch, so that the rerun goes on from one.

    TensorFlow's writer of event files says little or nothing of a full disk: that it is noticed is what matters here.
    """
    places = ["--results-dir", "disk/results", "--logs-dir", "disk/logs"]
    with monkeypatch.context() as patch:
        on_call(patch, owner, method, number, disk.fill)
        failed = real(*places)
    assert failed.code == 2, failed.err
    assert re.search(r"disk/.*(No space left on device|is the disk full\?)", failed.errors[-1]), failed.err
    assert len(failed.errors) == 1, failed.err
    first = list(disk.folder.glob("results/_records/*/record.json"))
    before = [path.read_bytes() for path in first]
    assert [json.loads(content)["status"] for content in before] == ["done"]

    disk.recover()
    again = real(*places)
    assert (again.code, again.err) == (0, "")
    assert [path.read_bytes() for path in first] == before
    assert different(Project(disk.folder).numbers("real"), undisturbed.numbers) == []


# ---- e: records that are whole and wrong --------------------------------------------------------------------------


def rewritten(*keys, value):
    """A damage: the value at `keys` of the record is another."""

    def damage(folder):
        content = json.loads((folder / "record.json").read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (folder / "record.json").write_text(json.dumps(content))
        seal(folder)

    return damage


def folder_in_place_of(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def file_in_place_of_the_record(folder):
    shutil.rmtree(folder)
    folder.write_text("no folder")


def written(content):
    """A damage: the record's file holds this, or what this makes of it."""

    def damage(folder):
        path = folder / "record.json"
        path.write_bytes(content(path.read_bytes()) if callable(content) else content)

    return damage


def without(name):
    return lambda folder: (folder / name).unlink()


DAMAGES = {
    "cut in the middle": (written(lambda content: content[:200]), "is damaged or was edited"),
    "no bytes": (written(b""), "is damaged or was edited"),
    "not JSON": (written(b"\xff\x00{"), "is damaged or was edited"),
    "a list": (written(b"[]"), "is damaged or was edited"),
    "nested without end": (written(b"[" * 100_000), "is damaged or was edited"),
    "a folder": (folder_in_place_of("record.json"), "cannot be read"),
    "a file": (file_in_place_of_the_record, "cannot be read"),
    "of a newer version": (rewritten("format", value=99), "has format 99, this version reads 3"),
    "of a format that moves the cursor": (rewritten("format", value="\x1b[2J\n" + "x" * 9999), "has format"),
    "of another trial": (rewritten("fingerprint", value="0" * 64), "belongs to another trial"),
    "without its model": (without("model.keras"), "lacks model.keras"),
    "without its predictions": (without("predictions.npz"), "lacks predictions.npz"),
    "with a folder for a model": (folder_in_place_of("model.keras"), "lacks model.keras"),
    "with a folder for predictions": (folder_in_place_of("predictions.npz"), "lacks predictions.npz"),
} | {
    phrase: (rewritten(*keys, value=value), "is not a whole record")
    for phrase, keys, value in [
        ("with an unknown status", ["status"], "great"),
        ("done without numbers", ["metrics"], {}),
        ("done without history", ["history"], {}),
        ("done without clocks", ["measured"], {}),
        ("with a setting that is no number", ["settings", "seed"], float("nan")),
        ("with a start that is text", ["measured", "started_at_seconds"], "x"),
        ("with a start that is nothing", ["measured", "started_at_seconds"], None),
        ("with a start without end", ["measured", "started_at_seconds"], 1e999),
        ("with seconds without end", ["measured", "train_seconds"], 1e999),
        ("with seconds below zero", ["measured", "train_seconds"], -1.0),
        ("with half a character", ["weights"], "\ud800"),
        ("with half a character in a clock", ["measured", "started_at"], "\ud800"),
    ]
}  # fmt: skip


@pytest.mark.parametrize("phrase", DAMAGES)
def test_a_damaged_record_is_one_line_passed_over_and_trained_again(run, project, trained, phrase):
    damage, message = DAMAGES[phrase]
    assert run("tiny.yaml", "--jobs", "0").code == 0
    numbers, folder = project.numbers(), project.record_folder("wide", 1)
    others = [other for other in folder.parent.glob("[0-9a-f]*") if other != folder]
    before = state(*others)
    damage(folder)
    shutil.rmtree(project.trial_logs())  # so that every record is also shown again
    for arguments in (["--dry-run"], ["--dry-run", "--quiet"], ["--jobs", "0"]):  # it needs attention
        ran = run("tiny.yaml", *arguments)
        assert is_one_line(ran, rf"{folder.name}.*: {message}.*\(wide seed 1\) is trained again", code=0)
        assert len(ran.err) < 500
        assert "--quiet" in arguments or "3 done, 1 to train" in ran.out
    assert trained[4:] == [("wide", 1)]
    assert project.numbers() == numbers
    assert state(*others) == before
    assert run("tiny.yaml").err == ""


MEMORIES = {
    "nothing": "",
    "another type": "[]",
    "a sweep file that is no path": json.dumps({"sweep_file": "a\0b"}),
    "a sweep file that is too long": json.dumps({"sweep_file": "a" * 9999}),
    "layers of text": json.dumps({"architectures": {"8": {"layers": ["x"]}}}),
    "layers of nothing": json.dumps({"architectures": {"8": {"layers": [{}]}}}),
    "layers of numbers": json.dumps({"architectures": {"8": {"layers": [{"Dense": 5}]}}}),
    "settings without end": json.dumps({"architectures": {"8": {"training": {"epochs": [1] * 10_000}}}}),
    "no settings": json.dumps({"architectures": {"8": 5}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["_sweeps/tiny.json", "tiny/sweep.json", "_data.json"])
@pytest.mark.parametrize("phrase", MEMORIES)
def test_a_memory_beside_the_records_that_is_damaged_is_forgotten(run, project, trained, memory, phrase):
    """What only helps (which file a folder belongs to, what changed, what the images are) never stops a sweep."""
    write_images(project.folder / "images")
    text = TINY.replace("synthetic", "{idx: images}")
    project.write(text)
    assert run("tiny.yaml", "--jobs", "0").code == 0
    (project.results / memory).write_text(MEMORIES[phrase])
    project.write(text.replace("[8]", "{name: '8', layers: [9]}"))
    ran = run("tiny.yaml", "--jobs", "0")
    assert (ran.code, ran.err) == (0, "")
    assert trained[4:] == [("8", 0), ("8", 1)]


@pytest.mark.parametrize(
    "wrong", [{"identity": "0" * 64}, {"image_shape": [9, 8]}, {"identity": "0" * 64, "num_classes": 7}]
)
def test_a_memory_of_the_images_that_is_contradicted_is_dropped_in_the_same_run(
    run, project, trained, monkeypatch, wrong
):
    """Whole and wrong: the worker finds other images, or an older record says otherwise."""

    def run_trial(context, task):
        if task.trial.settings["data"] != load_data(task.source).identity:
            raise ImagesChanged("the images in images are not those that the sweep was planned with")
        return invented_record(task)

    monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", run_trial)
    write_images(project.folder / "images")
    project.write(TINY.replace("synthetic", "{idx: images}"))
    assert run("tiny.yaml", "--jobs", "0", "--dry-run").code == 0
    assert run("tiny.yaml", "--jobs", "0").code == 0
    table = (project.results / "tiny" / "trials.csv").read_text()
    path = project.results / "_data.json"
    memory = load_json(path)
    for entry in memory.values():
        entry["info"] |= wrong
    save_json(path, memory)
    ran = run("tiny.yaml", "--jobs", "0")
    assert ran.code == 0, ran.err
    assert (project.results / "tiny" / "trials.csv").read_text() == table
    assert load_json(path) != memory
    assert run("tiny.yaml", "--jobs", "0").err == ""


# ---- f: clocks that jump ------------------------------------------------------------------------------------------

DAY = 86_400.0


@pytest.fixture
def claimed(monkeypatch, trained):
    """As `trained`, with the claims and looks for records of a real trial; gives the trials that were trained."""
    ran = []

    def train_and_score(context, task, results):
        ran.append(which(task))
        if task.trial.architecture.name.startswith("bad"):
            raise ArithmeticError("loss became nan in epoch 1")
        return invented_record(task)

    monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", _REAL_RUN_TRIAL)
    monkeypatch.setattr("fmnist_mlp.training.trial.train_and_score", train_and_score)
    return ran


def set_clock_of_records(project, seconds):
    """As if the records had been written when the clock was ahead by so much."""
    for path in project.results.glob("_records/*/record.json"):
        os.utime(path, (time.time() + seconds,) * 2)


@pytest.mark.parametrize("seconds", [-DAY, DAY, 365 * DAY])
def test_fresh_trains_again_whatever_the_clock_said_when_the_records_were_written(run, project, claimed, seconds):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    set_clock_of_records(project, seconds)
    assert run("tiny.yaml", "--jobs", "0").code == 0
    assert claimed == IN_TURN, "nothing is trained twice unasked"
    assert run("tiny.yaml", "--jobs", "0", "--fresh").code == 0
    assert claimed == IN_TURN + IN_TURN


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_what_failed_is_tried_again_whatever_the_clock_said_when_it_failed(run, project, claimed, seconds):
    project.write(TINY + "  - {name: bad, layers: [32]}\n")
    assert run("tiny.yaml", "--jobs", "0").code == 1
    set_clock_of_records(project, seconds)
    project.write(TINY + "  - {name: good, layers: [32]}\n")
    assert run("tiny.yaml", "--jobs", "0", "--retry-failed").code == 0
    assert claimed[6:] == [("good", 0), ("good", 1)]


@pytest.mark.parametrize("seconds", [-DAY, 0.0, DAY])
def test_what_another_sweep_trained_meanwhile_is_found_whatever_its_clock_says(
    run, project, claimed, monkeypatch, seconds
):
    """Both were asked to train afresh; the other was quicker with one trial, on a machine whose clock is wrong."""
    assert run("tiny.yaml", "--jobs", "0").code == 0
    del claimed[:]
    plans = []
    make_plan = plan_module.make_plan
    monkeypatch.setattr(
        "fmnist_mlp.cli.sweep.make_plan", lambda *args, **kwargs: plans.append(make_plan(*args, **kwargs)) or plans[0]
    )

    def the_other_sweep():
        (theirs,) = [one for one in plans[0].state.trials if (one.architecture.name, one.seed) == ("8", 1)]
        results = Results(project.results)
        path = results.record_folder(theirs.fingerprint) / "record.json"
        record = results.load_record(theirs.fingerprint)
        with results.draft(theirs.fingerprint) as draft:
            for name in ("model.keras", "predictions.npz"):
                shutil.copy2(path.with_name(name), draft / name)
            results.write_record(draft, record)
        os.utime(path, (time.time() + seconds,) * 2)

    on_call(monkeypatch, trial, "train_and_score", 1, the_other_sweep)
    ran = run("tiny.yaml", "--jobs", "0", "--fresh")
    assert (ran.code, claimed) == (0, IN_TURN[:3])
    assert "trained 3 trials" in ran.out


@pytest.mark.slow
@pytest.mark.parametrize("jump", [-DAY, 365 * DAY], ids=["back by a day", "forward by a year"])
def test_a_clock_that_jumps_all_the_time_changes_no_number_and_measures_nothing_absurd(
    real, undisturbed, project, monkeypatch, jump
):
    """`time.time` jumps at every single call; what is measured must come from clocks that do not (time.monotonic)."""
    now, calls = time.time, itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + jump * next(calls))
        ran = real("--results-dir", "jumped/results", "--logs-dir", "jumped/logs")
    assert next(calls) > 3, "somebody asked for the time"
    assert (ran.code, ran.err) == (0, "")
    jumped = Project(project.folder / "jumped")
    assert different(jumped.numbers("real"), undisturbed.numbers) == []
    assert not re.search(r"-\d[\d.]* s|\d h", ran.out)
    for seed in (0, 1):
        measured = jumped.record("8-drop0.2", seed, "real")["measured"]
        durations = [
            v
            for k, v in measured.items()
            if k.endswith("_seconds") and k not in ("started_at_seconds", "epoch_seconds")
        ]
        assert len(durations) == 2
        assert all(0 <= seconds < 600 for seconds in [*durations, *measured["epoch_seconds"]]), measured


# ---- g: options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1e-9, 2_592_000.0, 1e300], ids=["no time at all", "30 days", "for ever"])
def test_a_timeout_of_any_length_can_be_waited_for(seconds):
    """poll(2) counts milliseconds in 32 bits: 24.8 days."""
    engine = Pool(1, WorkerSettings(), timeout=seconds)
    (outcome,) = engine.run([Call("one", "engine_calls:double", (21,))])
    assert (outcome.status, outcome.value) in [("done", 42)] + [("timed_out", None)] * (seconds < 1)


def test_a_thousand_workers_are_as_many_as_there_are_trials(project, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: None)
    plan = plan_module.make_plan(load_sweep("tiny.yaml"), Options(jobs=1000))
    assert (plan.jobs, plan.jobs_note) == (4, None)


# ---- h: names -----------------------------------------------------------------------------------------------------

HOSTILE_NAMES = [
    *("../../x", "/etc/passwd", "..", ".", "", " ", "a b", "a/b", "a\\b", "C:x", "~", "-rf", ".hidden", "ends."),
    *(
        "a\0b",
        "\x1b[31mred",
        "a\nb",
        "a\rb",
        "a\u202eb",
        "a\u2028b",
        "[red]",
        "[/red]",
        "[link=x]y",
        "$(ls)",
        "a;b",
        "*",
    ),
    *("CON", "nul", "aux.txt", "Com1.x", "LPT9", "_records", "nan", "NULL", "x" * 81, "x" * 15_000, "é", "ａ"),
]


@pytest.mark.parametrize("where", ["sweep", "architecture"])
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name)[:20])
def test_a_hostile_name_is_refused_by_its_line(run, project, trained, where, name):
    written = json.dumps(name)  # JSON's escapes are YAML's
    lines = {
        "sweep": f"name: {written}\narchitectures: [[8]]\n",
        "architecture": f"architectures: [{{name: {written}, layers: [8]}}]\n",
    }
    project.write(lines[where], "hostile.yaml")
    ran = run("hostile.yaml", "--jobs", "0")
    assert (ran.code, ran.out, trained) == (2, "", [])
    assert re.match(r"hostile\.yaml:1: name must ", ran.errors[0])
    assert len(ran.errors) == 2  # the message and the user's own line
    assert all(line.isprintable() and len(line) < 250 for line in ran.errors)
    assert sorted(path.name for path in project.folder.iterdir()) == ["hostile.yaml", "tiny.yaml"]


@pytest.mark.parametrize(
    "place", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "a\nb", "[red]", "../" * 1000, "/dev/null"]
)
def test_a_hostile_folder_of_images_is_one_line(run, project, place):
    project.write(f"dataset: {{idx: {json.dumps(place)}}}\narchitectures: [[8]]\n", "images.yaml")
    ran = run("images.yaml", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert re.search(r"idx", ran.errors[0])
    assert all(line.isprintable() for line in ran.errors)
    assert len(ran.errors) == 1 + ran.errors[0].startswith("images.yaml:1: ")  # with a line, it is shown


@pytest.mark.parametrize(
    "pattern",
    ["[", "[!", "[red]", "[/red]", "", "../..", "*" * 500 + "x", "\x1b[2J", "a\nb", "x" * 15_000, "\udcff", "(?i)8|.*"],
)
def test_a_pattern_of_any_characters_is_matched_or_refused_in_one_line(run, trained, pattern):
    ran = run("tiny.yaml", "--jobs", "0", "--only", pattern)
    assert is_one_line(ran, r"^--only .*: no architecture of that name; there are 8, wide$")
    assert len(ran.err) < 300
    assert trained == []


@pytest.mark.parametrize("option", ["--results-dir", "--logs-dir", "--data-dir"])
@pytest.mark.parametrize("path", ["x" * 300, "y/" * 3000], ids=["a long name", "a long path"])
def test_a_path_longer_than_any_is_one_line(run, project, trained, option, path):
    if option == "--data-dir":
        project.write("dataset: fashion_mnist\narchitectures: [[8]]\n")
    assert is_one_line(run("tiny.yaml", "--jobs", "0", option, path), "File name too long")
    assert trained == []


FOLDERS = [
    "with spaces",
    "ünï-世界-👕",
    "new\nline",
    "[red]",
    "[bold]x",
    "\x1b[2J",
    "-rf",
    "a'b\"c",
    "%s{0}$HOME",
    "\udcff",
]


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_a_project_in_a_folder_of_any_name_is_trained_where_it_lies(run, project, trained, monkeypatch, name):
    """Sweep file, images, results and logs all lie there; `\\udcff` is how Python reads a byte that is no text."""
    home = Project(project.folder / name, TINY.replace("synthetic", "{idx: .}"))
    for path in write_images(project.folder / "images").folder.iterdir():
        shutil.move(path, home.folder)
    places = [
        f"{option}={project.folder / name / part}"
        for option, part in (("--results-dir", "results"), ("--logs-dir", "logs"))
    ]
    ran = run(f"./{name}/tiny.yaml", "--jobs", "0", *places)
    assert (ran.code, ran.err) == (0, "")
    assert len(home.trials()) == len(trained) == 4
    assert len(home.curves()) == 8
    shown = name.replace("\udcff", "?") if name.isprintable() else ""
    assert f"tiny on idx:{shown}" in ran.out
    assert "\x1b" not in ran.out
    assert run(f"./{name}/tiny.yaml", *places).code == 0
    assert len(trained) == 4


def test_a_folder_of_images_whose_name_is_no_text_has_a_name_in_the_tables():
    """Records, tables and event files are UTF-8, which has no place for the surrogates of such a name."""
    assert DataSource("idx", Path("/images/x\udcff")).dataset.encode() == b"idx:x?"


@pytest.mark.parametrize(
    "name",
    ["a\nb.yaml", "\x1b[2J.yaml", "[red].yaml", "\udcff.yaml", "CON.yaml", "x" * 200 + ".yaml", ".yaml"],
    ids=ascii,
)
def test_a_sweep_file_of_a_hostile_name_is_asked_for_a_name_in_one_line(run, project, trained, name):
    project.write(TINY, name)
    assert is_one_line(
        run(f"./{name}"), r"the file's name cannot name the sweep: .*add a line such as name: [A-Za-z0-9_-]+$"
    )
    project.write("name: fine\n" + TINY, name)
    assert run(f"./{name}", "--jobs", "0").code == 0
    assert list(project.rows("fine")) == ["8", "wide"]
