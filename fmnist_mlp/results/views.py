"""A folder of views: files that can be made again, in a place where people work too.

What goes by a name, `results/<sweep>/` and `logs/<sweep>/`, is made again from the records by every run. But people
fine-tune a model where it lies, save a table with a spreadsheet, keep a notebook beside it. So the folder has a
journal that knows every file as we wrote it, and `Views` keeps to it:

- A file that is as we wrote it is replaced or removed freely.
- One that was changed since is never overwritten and never deleted. Where it is in the way it gets another name
  (`64-32.edited-1.keras`), and that is said.
- Whatever else lies there is not ours. It stays, and where it stands in our way it gets another name too.

The journal is a line for each file before it is written and one afterwards: whoever is killed in between still knows
the file. It only ever grows, so two processes may write to it at once; a line that is torn or damaged counts for
nothing. A stamp (`files.stamp`) tells quickly that a file is as it was; its SHA-256 decides.

Knows nothing of records and sweeps; what belongs into a folder is for `results` and `logs` to say.
"""

import contextlib
import hashlib
import itertools
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fmnist_mlp import files
from fmnist_mlp.errors import writing

JOURNAL = "_journal"
_NOTHING = "-"  # in place of a checksum: the file was removed; of a stamp: it is about to be written
_MOST_BYTES = 2_000_000  # a longer journal is written anew, if most of its lines (of some 250 bytes) are out of date
_SUMS_KEPT = 10  # of each file: several processes may have announced what they have not written yet


class Kept(NamedTuple):
    """A file that is kept elsewhere: its SHA-256, and how to read it; None is read where it cannot be had."""

    sum: str
    read: Callable[[], bytes | None]


class _Entry(NamedTuple):
    """A file as we wrote it last: its SHA-256, its stamp, the part it belongs to, and what that was made of."""

    sum: str
    stamp: str
    part: str
    key: str


class Views:
    """A folder of views. Files go by their path below it, with slashes.

    They come in parts, which are shown and removed as one: the models, the report, the curves of a trial.

    Args:
        folder: made on the first write.

    Attributes:
        notices: a line for each file that was given another name, for whoever runs to say.
    """

    def __init__(self, folder: Path):
        self.folder, self.notices = Path(folder), []
        self._journal = self.folder / JOURNAL
        self._entries: dict[str, _Entry] = {}
        self._parts: dict[str, dict[str, None]] = {}
        self._sums: dict[str, list[str]] = {}
        self._growing: dict[str, tuple] = {}  # SHA-256 so far, and stamp, of files that grow
        self._position, self._beginning, self._is_torn = 0, b"", False
        self._read_journal()

    @property
    def is_unknown(self) -> bool:
        """Whether the folder has no journal, though it may have files of an earlier version."""
        return not self._journal.exists()

    def parts(self) -> list[str]:
        """The parts that have files here, also those that another process has written by now."""
        self._read_journal()
        return [part for part, names in self._parts.items() if names]

    def names(self, part: str) -> list[str]:
        """The files of a part."""
        return list(self._parts.get(part, ()))

    def is_in_step(self, part: str, key: str) -> bool:
        """Whether a part is there, was made of this, and is as it was written."""
        names = self._parts.get(part)
        return bool(names) and all(self._entries[n].key == key and self.is_as_written(n) for n in names)

    def is_as_written(self, name: str) -> bool:
        """Whether a file is what was written last."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        stamp = self._stamp(name)
        if stamp in (None, entry.stamp):
            return stamp is not None
        is_same = self._sum(name) == entry.sum
        if is_same:  # only touched, or copied with its folder
            with contextlib.suppress(OSError):  # read-only: hashed again each time
                self._note([(name, entry._replace(stamp=stamp))])
        return is_same

    def write(self, name: str, content: str | bytes, key: str = _NOTHING) -> None:
        """Write a file that is a part of its own, whole or not at all; an unchanged one is left alone.

        Raises:
            SweepError: it cannot be written.
        """
        self.show(name, key, {name: content}, flush=True)

    def show(self, part: str, key: str, contents: Mapping[str, str | bytes | Kept], flush: bool = False) -> None:
        """Make a part consist of these files and no others of ours.

        Args:
            part, key: words without spaces; `is_in_step` asks for them.
            contents: of each file, by its name.
            flush: as in `files.write_whole`.

        Raises:
            SweepError: a file cannot be written.
        """
        wanted = {name: _kept(content) for name, content in contents.items()}
        with writing(self._journal):
            to_write, known, written = [], [], []
            for name, kept in wanted.items():
                entry = self._entries.get(name)
                if entry is None or entry.sum != kept.sum or not self.is_as_written(name):
                    to_write.append(name)
                elif (entry.part, entry.key) != (part, key):
                    known.append((name, self._entries[name]._replace(part=part, key=key)))
            before = {name for name in to_write if name in self._sums}
            self._note([*known, *((name, _Entry(wanted[name].sum, _NOTHING, part, key)) for name in to_write)])
            try:
                for name in to_write:
                    if (content := wanted[name].read()) is not None:
                        self._put(name, content, wanted[name].sum, flush, was_ours=name in before)
                        stamp = self._stamp(name) or _NOTHING  # another process has removed it
                        written.append((name, _Entry(wanted[name].sum, stamp, part, key)))
            except BaseException:
                with contextlib.suppress(OSError):  # what is announced is known by its content
                    self._note(written)
                raise
            self._note(written)
        self.remove(name for name in self.names(part) if name not in wanted)

    def grow(self, name: str, source: Path, part: str, key: str) -> None:
        """Add to our copy of a file that only grows what it lacks; make the copy where there is none.

        A reader that has it open (TensorBoard) reads on.

        Raises:
            OSError: the file cannot be read.
            SweepError: the copy cannot be written.
        """
        path = self.folder / name
        sum_so_far, size, stamp = self._growing.get(name, (None, 0, None))
        is_known = sum_so_far is not None and stamp is not None and stamp == self._stamp(name)
        if not is_known or source.stat().st_size < size:
            content = source.read_bytes()
            found = b""
            with contextlib.suppress(FileNotFoundError):  # never was, or removed by another process
                found = path.read_bytes() if name in self._entries and self._is_ours(name) else b""
            if not found or not content.startswith(found):
                self._show_one(name, content, part, key)
                found = content
            sum_so_far, size, tail = hashlib.sha256(found), len(found), content[len(found) :]
        else:
            with source.open("rb") as file:
                file.seek(size)
                tail = file.read()
        with writing(path):
            sum_so_far = sum_so_far.copy()
            if tail:
                sum_so_far.update(tail)
                self._note([(name, _Entry(sum_so_far.hexdigest(), _NOTHING, part, key))])
                with files.in_folder(path.parent, lambda: path.open("ab", buffering=0)) as file:
                    file.write(tail)
        self._growing[name] = (sum_so_far, size + len(tail), self._stamp(name))

    def adopt(self, name: str, sum_: str) -> None:
        """A file of this SHA-256 is one of ours too, although the journal does not know it."""
        self._sums.setdefault(name, []).insert(0, sum_)

    def ours(self) -> list[str]:
        """Every file that is as it was written last."""
        self._read_journal()
        return [name for name in [*self._entries] if self.is_as_written(name)]  # a look may add to the journal

    def remove(self, names: Iterable[str], to: Path | None = None) -> None:
        """Remove files of ours, and the folders that this empties; what was changed gets another name and stays.

        Args:
            to: a folder to move them into, each to its path below it.

        Raises:
            SweepError: one cannot be removed.
        """
        names = list(names)
        for name in names:
            path = self.folder / name
            with writing(path), contextlib.suppress(FileNotFoundError):  # another process was quicker
                if os.path.lexists(path):
                    if not self._is_ours(name):
                        self._set_aside(name)
                    elif to is None:
                        path.unlink()
                    else:
                        (to / name).parent.mkdir(parents=True, exist_ok=True)
                        shutil.move(path, to / name)
            for parent in path.parents:
                if parent in (self.folder, *self.folder.parents):
                    break
                with contextlib.suppress(OSError):  # not empty
                    parent.rmdir()
        with writing(self._journal):
            self._note([(name, _Entry(_NOTHING, _NOTHING, _NOTHING, _NOTHING)) for name in names])
        with contextlib.suppress(OSError):
            if not self._entries and [*self.folder.iterdir()] == [self._journal]:
                self._journal.unlink()
                self.folder.rmdir()

    def set_aside(self, name: str) -> None:
        """Give a file another name, one that nothing reads by itself, and say so. Raises: SweepError."""
        with writing(self.folder / name):
            self._set_aside(name, name in self._sums)

    # ---- one file

    def _show_one(self, name: str, content: bytes, part: str, key: str) -> None:
        """As `show`, for one file of a part; the others stay."""
        others = {other: Kept(self._entries[other].sum, lambda: None) for other in self.names(part)}
        self.show(part, key, others | {name: content})

    def _put(self, name: str, content: bytes, sum_: str, flush: bool, was_ours: bool) -> None:
        path = self.folder / name
        if os.path.lexists(path):
            is_file = path.is_file() and not path.is_symlink()
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                if not is_file or (not self._is_ours(name) and self._sum(name) != sum_):
                    self._set_aside(name, was_ours)
                elif path.stat().st_nlink > 1:
                    path.unlink()  # an earlier version linked to the record; whoever writes here must not write there
        files.write_whole(path, content, flush=flush)
        # Clocks of file systems tick every few milliseconds. A moment off the tick is one that no later write can have.
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            about = path.stat()
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - 1))

    def _is_ours(self, name: str) -> bool:
        """Whether what lies there is as we wrote it, now or earlier; what a power cut left counts too."""
        entry = self._entries.get(name)
        if entry is not None and entry.stamp == self._stamp(name):
            return True
        path = self.folder / name
        if path.is_symlink() or not path.is_file():
            return False
        sum_ = None
        while sum_ != (sum_ := self._sum(name)):  # until no other process replaces it meanwhile
            if sum_ not in self._sums.get(name, ()):
                self._read_journal()  # whoever writes announces it before
            if sum_ in self._sums.get(name, ()):
                return True
        return name in self._sums and not path.read_bytes().strip(b"\0")

    def _set_aside(self, name: str, was_ours: bool = True) -> None:
        path = self.folder / name
        for number in itertools.count(1):
            # TensorBoard reads whatever has `tfevents` in its name.
            other = path.name.replace("tfevents", f"edited-{number}")
            if other == path.name:
                other = f"{path.stem}.edited-{number}{path.suffix}"
            target = path.with_name(other)
            if not os.path.lexists(target):
                break
        path.rename(target)
        why = "was changed since it was written" if was_ours else "stands where a file of the sweep goes"
        self.notices.append(f"{path} {why}: it is kept as {target.name}")

    def _stamp(self, name: str) -> str | None:
        """None where there is no file."""
        try:
            about = os.stat(f"{self.folder}/{name}")  # noqa: PTH116 (asked of every file in every run)
        except OSError:
            return None
        return f"{about.st_size}-{about.st_mtime_ns}-{about.st_ctime_ns}-{about.st_ino}"

    def _sum(self, name: str) -> str | None:
        """None where there is no file that can be read."""
        try:
            return files.digest(self.folder / name)
        except OSError:
            return None

    # ---- the journal

    def _read_journal(self) -> None:
        """Take in the lines that this process does not know yet."""
        try:
            with self._journal.open("rb") as file:
                if file.read(len(self._beginning) or 80) != self._beginning:  # written anew by another process
                    file.seek(0)
                    self._beginning, self._position = file.read(80), 0
                file.seek(self._position)
                content = file.read()
        except OSError:
            return
        end = content.rfind(b"\n") + 1
        self._position += end
        self._is_torn = end < len(content)
        for line in content[:end].decode(errors="replace").splitlines():
            check, _, text = line.partition(" ")
            words = text.split(" ", 4)
            if len(words) == 5 and check == _check(text):
                self._take(words[4], _Entry(*words[:4]))

    def _take(self, name: str, entry: _Entry) -> None:
        before = self._entries.pop(name, None)
        if before is not None and before.part != entry.part:
            self._parts[before.part].pop(name, None)
        if entry.sum == _NOTHING:
            self._parts.get(before.part if before else entry.part, {}).pop(name, None)
            return
        self._entries[name] = entry
        self._parts.setdefault(entry.part, {})[name] = None
        sums = self._sums.setdefault(name, [])
        if entry.sum in sums:
            sums.remove(entry.sum)
        sums.append(entry.sum)
        del sums[:-_SUMS_KEPT]

    def _note(self, noted: Iterable[tuple[str, _Entry]]) -> None:
        """Add lines to the journal. Raises: OSError."""
        noted = list(noted)
        if not noted:
            return
        lines = "".join(_line(name, entry) for name, entry in noted)
        is_there = False
        while not is_there:
            with files.in_folder(self.folder, lambda: self._journal.open("ab")) as file:
                file.write(b"\n" * self._is_torn + lines.encode(errors="replace"))
                file.flush()
                size = file.tell()
                # Else another process has put a shorter one in its place, perhaps without these lines.
                with contextlib.suppress(FileNotFoundError):
                    is_there = os.path.samestat(self._journal.stat(), os.fstat(file.fileno()))
        self._is_torn = False
        for name, entry in noted:
            self._take(name, entry)
        if size > _MOST_BYTES and size > 1_000 * sum(map(len, self._sums.values())):
            self._shorten()

    def _shorten(self) -> None:
        """Write the journal anew with the lines that still say something; one process at a time."""
        # Imported here: hardly any run comes so far.
        import filelock

        lock, draft = Path(f"{self._journal}.lock"), self._journal.with_name(f".draft-{secrets.token_hex(8)}")
        with contextlib.suppress(OSError, filelock.Timeout), filelock.FileLock(lock, timeout=0):
            try:
                with self._journal.open("rb") as before:
                    self._read_journal()
                    draft.write_text("".join([f"# {secrets.token_hex(32)}\n", *self._lines()]), encoding="utf-8")
                    os.replace(draft, self._journal)
                    before.seek(self._position)
                    late = before.read()  # what other processes added meanwhile
                if late:
                    with self._journal.open("ab") as file:
                        file.write(late)
            finally:
                draft.unlink(missing_ok=True)
                lock.unlink()

    def _lines(self) -> Iterator[str]:
        for name, entry in self._entries.items():
            older = (_Entry(sum_, _NOTHING, entry.part, entry.key) for sum_ in self._sums[name] if sum_ != entry.sum)
            yield from (_line(name, those) for those in (*older, entry))


# ---- helpers ------------------------------------------------------------------------------------------------------


def _kept(content: str | bytes | Kept) -> Kept:
    if isinstance(content, Kept):
        return content
    # A path may hold bytes that are no text: they show as ?
    content = content.encode(errors="replace") if isinstance(content, str) else content
    return Kept(hashlib.sha256(content).hexdigest(), lambda: content)


def _line(name: str, entry: _Entry) -> str:
    text = " ".join((*entry, name))
    return f"{_check(text)} {text}\n"


def _check(text: str) -> str:
    return f"{zlib.crc32(text.encode(errors='replace')):08x}"
