"""A folder where we write and people work: what is ours is replaced, what is theirs is never lost."""

import multiprocessing
import os
import shutil

import pytest

from fmnist_mlp import files
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import views
from fmnist_mlp.results.views import JOURNAL, Kept, Views


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "folder"


def contents(folder):
    """What lies there, but for the journal."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write(folder, name="results.csv", content=b"ours"):
    """Another run writes a file; what it has to say."""
    written = Views(folder)
    written.write(name, content)
    return written.notices


# ---- what is ours, what is not


def test_what_we_wrote_is_replaced_and_nothing_is_said(folder):
    assert write(folder, content=b"one") == []
    assert write(folder, content=b"two") == []
    assert contents(folder) == {"results.csv": b"two"}


def test_what_is_as_it_should_be_is_left_alone_the_journal_too(folder):
    write(folder)
    before = {path: files.stamp(path) for path in folder.iterdir()}
    write(folder)
    assert {path: files.stamp(path) for path in folder.iterdir()} == before
    assert len(before) == 2


@pytest.mark.parametrize("next_content", [b"ours", b"ours, newer"])
@pytest.mark.parametrize(
    "edit",
    [
        lambda path: path.write_bytes(b"edited"),
        lambda path: path.write_bytes(b"ourt"),  # of the same size, in the same moment
        lambda path: (path.unlink(), path.write_bytes(b"edited")),
        lambda path: (path.write_bytes(b"edited"), os.utime(path, ns=(0, 0))),
        lambda path: path.open("ab").write(b"!"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_was_changed_gets_another_name_and_that_is_said_once(folder, edit, next_content):
    write(folder, "models/16.keras")
    path = folder / "models" / "16.keras"
    edit(path)
    theirs = path.read_bytes()
    assert write(folder, "models/16.keras", next_content) == [
        f"{path} was changed since it was written: it is kept as 16.edited-1.keras"
    ]
    assert contents(folder) == {"models/16.keras": next_content, "models/16.edited-1.keras": theirs}
    assert write(folder, "models/16.keras", next_content) == []


def test_each_edit_is_kept(folder):
    for number in range(3):
        write(folder)
        (folder / "results.csv").write_bytes(b"edited %d" % number)
    write(folder)
    edited = {f"results.edited-{number + 1}.csv": b"edited %d" % number for number in range(3)}
    assert contents(folder) == {"results.csv": b"ours"} | edited


def test_a_file_that_was_deleted_is_made_again(folder):
    write(folder)
    (folder / "results.csv").unlink()
    assert write(folder) == []
    assert contents(folder) == {"results.csv": b"ours"}


def test_all_files_of_a_copied_folder_are_ours(folder, tmp_path):
    names = [f"plots/{number}.png" for number in range(20)]
    Views(folder).show("report", "-", dict.fromkeys(names, b"ours"))
    shutil.copytree(folder, tmp_path / "copy")
    assert Views(tmp_path / "copy").ours() == names


def test_a_file_that_was_only_touched_or_copied_is_still_ours(folder):
    write(folder)
    os.utime(folder / "results.csv", ns=(0, 0))
    shutil.copytree(folder, folder.with_name("copy"))
    for place in (folder, folder.with_name("copy")):
        assert write(place, content=b"newer") == []
        assert contents(place) == {"results.csv": b"newer"}


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"mine"), lambda path: path.mkdir()])
def test_what_a_person_put_in_our_place_is_kept_too(folder, make):
    folder.mkdir()
    make(folder / "results.csv")
    assert write(folder) == [
        f"{folder / 'results.csv'} stands where a file of the sweep goes: it is kept as results.edited-1.csv"
    ]
    assert (folder / "results.csv").read_bytes() == b"ours"
    assert (folder / "results.edited-1.csv").exists()


def test_a_link_to_elsewhere_is_not_written_through(folder, tmp_path):
    folder.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"ours")
    (folder / "results.csv").symlink_to(tmp_path / "elsewhere")
    write(folder)
    write(folder, content=b"newer")
    assert (tmp_path / "elsewhere").read_bytes() == b"ours"


def test_in_a_folder_without_a_journal_what_we_would_write_is_ours(folder):
    folder.mkdir()
    (folder / "results.csv").write_bytes(b"ours")
    assert write(folder) == []
    assert write(folder, content=b"newer") == []
    assert contents(folder) == {"results.csv": b"newer"}


def test_what_is_linked_to_a_record_becomes_a_file_of_its_own(folder, tmp_path):
    folder.mkdir()
    (tmp_path / "model.keras").write_bytes(b"ours")
    os.link(tmp_path / "model.keras", folder / "16.keras")
    assert write(folder, "16.keras") == []
    with (folder / "16.keras").open("ab") as file:
        file.write(b", fine-tuned")
    assert (tmp_path / "model.keras").read_bytes() == b"ours"


@pytest.mark.parametrize("left", [b"", bytes(100)])
def test_what_a_power_cut_leaves_of_a_file_is_not_taken_for_an_edit(folder, left):
    write(folder)
    (folder / "results.csv").write_bytes(left)
    assert write(folder) == []
    assert contents(folder) == {"results.csv": b"ours"}


# ---- parts


def test_a_part_has_these_files_and_no_others_of_ours(folder):
    shown = Views(folder)
    shown.show("models", "-", {"models/1.keras": b"1", "models/2.keras": b"2"})
    shown.write("results.csv", b"ours")
    (folder / "models" / "mine.keras").write_bytes(b"mine")
    (folder / "models" / "2.keras").write_bytes(b"fine-tuned")
    again = Views(folder)
    again.show("models", "-", {"models/3.keras": b"3"})
    assert contents(folder) == {
        "models/3.keras": b"3",
        "models/mine.keras": b"mine",
        "models/2.edited-1.keras": b"fine-tuned",
        "results.csv": b"ours",
    }
    assert (again.parts(), again.names("models")) == (["models", "results.csv"], ["models/3.keras"])
    assert len(again.notices) == 1


def test_a_part_is_in_step_while_its_files_are_as_written_and_made_of_the_same(folder):
    shown = Views(folder)
    assert not shown.is_in_step("run", "key")
    shown.show("run", "key", {"run/a": b"a", "run/b": b"b"})
    for known in (shown, Views(folder)):
        assert known.is_in_step("run", "key")
        assert not known.is_in_step("run", "another")
    (folder / "run" / "b").write_bytes(b"c")
    assert not shown.is_in_step("run", "key")
    shown.show("run", "key", {"run/a": b"a", "run/b": b"b"})
    assert shown.is_in_step("run", "key")
    (folder / "run" / "a").unlink()
    assert not Views(folder).is_in_step("run", "key")


def test_what_is_kept_elsewhere_is_read_only_where_it_is_needed(folder):
    reads = []
    kept = Kept(views._kept(b"model").sum, lambda: reads.append(1) or b"model")
    for _ in range(2):
        Views(folder).show("models", "-", {"16.keras": kept})
    assert (contents(folder), reads) == ({"16.keras": b"model"}, [1])


def test_what_cannot_be_read_leaves_what_was_there(folder):
    Views(folder).show("models", "-", {"16.keras": b"old"})
    shown = Views(folder)
    shown.show("models", "-", {"16.keras": Kept("0" * 64, lambda: None)})
    assert (contents(folder), shown.notices) == ({"16.keras": b"old"}, [])
    assert not shown.is_in_step("models", "-")
    assert write(folder, "16.keras", b"new") == []


def test_folders_that_become_empty_go_and_the_last_takes_the_journal_along(folder):
    shown = Views(folder)
    shown.show("8/seed-0", "-", {"8/seed-0/train/events": b"curves", "8/seed-0/.trial": b"mark"})
    shown.remove(shown.names("8/seed-0"))
    assert not folder.exists()


# ---- files that grow


def test_a_growing_file_is_appended_to_and_stays_ours(folder, tmp_path):
    source, shown = tmp_path / "live", Views(folder)
    for content in (b"one", b"one, two", b"one, two", b"one, two, three"):
        source.write_bytes(content)
        shown.grow("events", source, "run", "live")
        assert contents(folder) == {"events": content}
    inode = (folder / "events").stat().st_ino
    again = Views(folder)
    source.write_bytes(b"one, two, three, four")
    again.grow("events", source, "run", "live")
    assert (folder / "events").stat().st_ino == inode
    source.write_bytes(b"one")  # it goes on from a checkpoint
    again.grow("events", source, "run", "live")
    assert (contents(folder), again.notices) == ({"events": b"one"}, [])


def test_a_growing_file_that_somebody_wrote_to_gets_another_name(folder, tmp_path):
    source, shown = tmp_path / "live", Views(folder)
    source.write_bytes(b"one")
    shown.grow("events.csv", source, "run", "live")
    (folder / "events.csv").write_bytes(b"mine")
    source.write_bytes(b"one, two")
    shown.grow("events.csv", source, "run", "live")
    assert contents(folder) == {"events.csv": b"one, two", "events.edited-1.csv": b"mine"}


# ---- the journal


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", range(4))
def test_whoever_is_killed_while_it_writes_knows_its_files_again(folder, moment, monkeypatch):
    """Before each line of the journal and each file."""
    Views(folder).show("models", "-", {"1.keras": b"1", "2.keras": b"2"})
    calls = iter(range(100))

    def killed_at(method):
        def call(*args, **kwargs):
            if next(calls) == moment:
                raise _Killed
            return method(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", killed_at(files.write_whole))
        real_open = type(folder).open
        patch.setattr(
            type(folder),
            "open",
            lambda *args, **how: (killed_at(real_open) if "ab" in args else real_open)(*args, **how),
        )
        with pytest.raises(_Killed):
            Views(folder).show("models", "-", {"1.keras": b"one", "2.keras": b"two"})
    again = Views(folder)
    again.show("models", "-", {"1.keras": b"eins", "3.keras": b"drei"})
    assert (contents(folder), again.notices) == ({"1.keras": b"eins", "3.keras": b"drei"}, [])


@pytest.mark.parametrize("cut", range(1, 200, 9))
def test_a_torn_journal_loses_nothing(folder, cut):
    write(folder, "a.csv", b"a")
    write(folder, "b.csv", b"b")
    journal = folder / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])
    write(folder, "c.csv", b"c")
    assert write(folder, "b.csv", b"b") == []
    (folder / "a.csv").write_bytes(b"edited")
    write(folder, "a.csv", b"a")
    assert contents(folder) == {"a.csv": b"a", "a.edited-1.csv": b"edited", "b.csv": b"b", "c.csv": b"c"}


@pytest.mark.parametrize("position", range(0, 230, 7))
def test_no_damage_of_a_journal_makes_an_edit_look_ours(folder, position):
    write(folder)
    journal = folder / JOURNAL
    content = bytearray(journal.read_bytes())
    content[position % len(content)] ^= 3
    journal.write_bytes(content)
    (folder / "results.csv").write_bytes(b"edited")
    write(folder, content=b"newer")
    assert contents(folder) == {"results.csv": b"newer", "results.edited-1.csv": b"edited"}


@pytest.mark.parametrize("content", [b"", b"\n\n", bytes(5000), b"\xff\xfe" * 99, b"a b c d e f\n" * 50])
def test_anything_in_the_journals_place_counts_for_nothing(folder, content):
    folder.mkdir()
    (folder / JOURNAL).write_bytes(content)
    assert write(folder) == []
    assert write(folder, content=b"newer") == []


def test_a_journal_stays_short_and_forgets_nothing_that_counts(folder, monkeypatch):
    monkeypatch.setattr(views, "_MOST_BYTES", 20_000)
    shown, other = Views(folder), Views(folder)
    for number in range(300):
        (shown if number % 3 else other).write("results.csv", b"%d" % number)
    shown.write("trials.csv", b"trials")
    assert (folder / JOURNAL).stat().st_size < 30_000
    again = Views(folder)
    assert again.is_as_written("results.csv")
    assert again.is_as_written("trials.csv")
    assert (contents(folder), shown.notices + other.notices) == ({"results.csv": b"299", "trials.csv": b"trials"}, [])


def _write_many(folder, number):
    views._MOST_BYTES = 20_000
    written = Views(folder)
    for i in range(100):
        written.write(f"{number}-{i % 5}.csv", b"%d" % i)
        written.write("shared.csv", b"%d of %d" % (i, number))
    assert not written.notices


def _two_processes(target, *args):
    """Run a function in two of them at once, the number of each as its last argument; their exit codes."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=(*args, number)) for number in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@pytest.mark.slow
def test_two_processes_at_once_lose_no_line_and_take_nothing_for_an_edit(folder):
    assert _two_processes(_write_many, folder) == [0, 0]
    names = {f"{number}-{i}.csv" for number in (1, 2) for i in range(5)}
    assert {*contents(folder)} == {"shared.csv"} | names
    known = Views(folder)
    assert {name for name in names if known.is_as_written(name)} == names


def _show_and_remove(folder, number):
    shown, source = Views(folder), folder.with_name(f"source-{number}")
    source.write_bytes(b"a")
    for i in range(700):
        run = f"stack/seed-{i % 2}"
        shown.show(run, "-", {f"{run}/marker": b"%d" % (i % 3), f"{run}/train/events": b"%d" % (i % 5)})
        shown.grow(f"{run}/validation/events", source, run, "-")
        shown.remove(shown.names(run))
    assert not shown.notices


@pytest.mark.slow
def test_a_folder_that_another_process_empties_meanwhile_is_made_again(folder):
    assert _two_processes(_show_and_remove, folder) == [0, 0]


def test_a_place_that_cannot_be_written_is_the_users_to_mend(folder):
    folder.write_text("a file where the folder should be")
    with pytest.raises(SweepError, match="cannot write"):
        write(folder)
