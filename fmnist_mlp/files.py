"""Files of ours: written whole, and checked before what they say is believed.

A disk flips a bit, a copy is cut off, a person edits: so what is kept goes with a checksum. A folder that is finished
gets a `SHA256SUMS` (`seal`; the form of coreutils, so `sha256sum --check SHA256SUMS` is a second opinion), and whoever
reads a file of it compares. What is only remembered is a cache: JSON that carries its own checksum and is nothing where
that is wrong. To hash a thousand folders at every start would take seconds; `Digests` remembers what it has hashed, by
size, times and inode, and hashes again where any of these is another.

Knows no Keras and none of our folders; what a file means is for its owner to say.
"""

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fmnist_mlp.errors import SweepError, cannot_write

T = TypeVar("T")

SUMS = "SHA256SUMS"

_TRIES_IN_FOLDER = 100

# What numpy and zipfile raise for a file that is empty, cut off, of another kind or has a wrong byte.
# TypeError: one array, no archive of them; RuntimeError: seemingly encrypted, or compressed in an unknown way.
UNREADABLE_ARRAYS = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


class DamagedFile(Exception):
    """A file that is not what was written; the message names it and says what is wrong."""


# ---- writing ------------------------------------------------------------------------------------------------------


def write_whole(path: Path, content: str | bytes, *, flush: bool = True) -> None:
    """Write a file whole or not at all: beside its place, flushed, then moved in with `os.replace`.

    A file that holds this content already is left alone. Folders are made where they are missing.

    Args:
        flush: wait until the disk has it (5 ms and more); False for what the next run makes again if it is damaged.

    Raises:
        SweepError: it cannot be written (`errors.cannot_write`); what was there before is as it was.
    """
    # A path may hold bytes that are no text: they show as ?
    content = content.encode(errors="replace") if isinstance(content, str) else content
    # Not named after the file: TensorBoard reads whatever has `tfevents` in its name, drafts too.
    draft = path.with_name(f".draft-{secrets.token_hex(8)}")

    def write() -> None:
        try:
            with draft.open("xb") as file:
                file.write(content)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    try:
        with contextlib.suppress(OSError):  # nothing there, or a link that leads nowhere: it is replaced
            if path.read_bytes() == content:
                return
        in_folder(path.parent, write)
    except OSError as error:
        raise cannot_write(path, error) from error


def in_folder(folder: Path, act: Callable[[], T]) -> T:
    """Make a folder where it is missing and do something in it, again where another process removes it meanwhile.

    Two sweeps may bring the same folders in step, and whoever empties one removes it. Raises: OSError.
    """
    for _ in range(_TRIES_IN_FOLDER):
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # `mkdir` raises both when it is late
            folder.mkdir(parents=True, exist_ok=True)
            return act()
    folder.mkdir(parents=True, exist_ok=True)
    return act()


def below(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """The files below a folder whose names match; others may empty and remove folders meanwhile (`rglob` raises then).

    Args:
        pattern: as in `fnmatch`, of the name alone.
    """
    for where, _, names in os.walk(folder):
        yield from (Path(where) / name for name in fnmatch.filter(names, pattern))


# ---- checksums ----------------------------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path with slashes, but for the seal itself. Raises: OSError."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: digest(path) for name, path in sorted(names.items()) if name != SUMS}


def seal(folder: Path, sums: Mapping[str, str] | None = None) -> None:
    """Write `SHA256SUMS` into a finished folder: the checksums of all its files, or only these. Raises: OSError."""
    (folder / SUMS).write_bytes(_seal_text(sums_of(folder) if sums is None else sums).encode())


def read(path: Path | str) -> bytes:
    """The content of a file. Raises: OSError."""
    with open(path, "rb") as file:  # noqa: PTH123 (of text: to make a Path takes as long)
        return file.read()


def read_sums(folder: Path | str) -> dict[str, str]:
    """What `seal` wrote, as `sums_of` had it then.

    Raises:
        FileNotFoundError: the folder has no seal.
        DamagedFile: it cannot be read, or does not read as it was written.
    """
    path = f"{folder}/{SUMS}"
    try:
        text = read(path).decode(errors="replace")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    sums = {name: sum_ for sum_, name in _SUM_LINE.findall(text)}
    # Whatever does not read as it was written is damage, and a name that leads out of the folder is none of ours.
    leads_out = any("/../" in f"/{name}/" or name[0] == "/" for name in sums)
    if leads_out or not sums or text != _seal_text(sums):
        raise DamagedFile(f"{path}: is damaged")
    return sums


def read_checked(path: Path, expected: str) -> bytes:
    """The content of a file. Raises `DamagedFile` where it is missing or its SHA-256 is not `expected`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    compare(content, path, expected)
    return content


def compare(content: bytes, path: Path | str, expected: str) -> None:
    """Raise `DamagedFile` where the content that was read from `path` has not the SHA-256 `expected`."""
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedFile(f"{path}: {_ANOTHER_SUM}")


def check(path: Path | str, expected: str, digests: "Digests | None" = None) -> None:
    """Raise `DamagedFile` where a file is missing or its SHA-256 is not `expected`; `digests` may know it already."""
    try:
        actual = digests.of(path) if digests else digest(Path(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    if actual != expected:
        raise DamagedFile(f"{path}: {_ANOTHER_SUM}")


def _unreadable(path: Path | str, error: OSError) -> DamagedFile:
    reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return DamagedFile(f"{path}: {reason}")


def _seal_text(sums: Mapping[str, str]) -> str:
    return "".join(f"{sum_}  {name}\n" for name, sum_ in sums.items())


_SUM_LINE = re.compile(r"^([0-9a-f]{64})  (.+)$", re.MULTILINE)
_ANOTHER_SUM = f"is damaged or was edited: its SHA-256 is not the one in {SUMS}"


def stamp(path: Path | str) -> tuple[int, int, int, int]:
    """What is different when a file has been written to, whatever its modification time was set to. Raises: OSError."""
    about = os.stat(path)  # noqa: PTH116 (asked of every file of every record in every run)
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


class Digests:
    """SHA-256 of files, remembered by their stamps.

    Args:
        folder: the files lie below it; they are remembered relative to it, so the folder can be moved.
        cache: the file to remember them in; read when first asked, written by `save`.
    """

    def __init__(self, folder: Path, cache: Path):
        self._folder, self._cache = str(folder), cache
        self._known: dict[str, list] | None = None
        self._used: dict[str, list] = {}

    def of(self, path: Path | str) -> str:
        """The SHA-256 of a file, hashed where its stamp is new. Raises: OSError."""
        if self._known is None:
            self._known = load_json(self._cache)
        name = str(path).removeprefix(self._folder)
        known, now = self._known.get(name), stamp(path)
        if isinstance(known, list) and known[1:] == [*now]:
            self._used[name] = known
            return known[0]
        found = digest(Path(path))
        if now == stamp(path):  # else it is being written to
            self._used[name] = [found, *now]
        return found

    def forget(self, path: Path) -> None:
        """A file turned out to be another than is remembered, though its stamp is the same: hash it next time."""
        self._known = self._known or load_json(self._cache)
        name = str(path).removeprefix(self._folder)
        self._used.pop(name, None)
        if self._known.pop(name, None):
            with contextlib.suppress(SweepError):
                save_json(self._cache, self._known)

    def save(self) -> None:
        """Remember what was learnt, of files that are still there; a disk that cannot be written costs time only."""
        learnt = (self._known or {}) | self._used
        if self._known is not None and learnt != self._known:
            self._known = {name: known for name, known in learnt.items() if Path(self._folder + name).exists()}
            with contextlib.suppress(SweepError):
                save_json(self._cache, self._known)


# ---- whether anything has changed ---------------------------------------------------------------------------------


def made_of(content: Any) -> str:
    """The SHA-256 of what something is made of, in hexadecimal: where it is the same, nothing needs to be made again.

    Args:
        content: JSON values; a number among them that is raised when the same content gives something else.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# ---- what is only remembered --------------------------------------------------------------------------------------


def save_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object together with a checksum of it and of the file's name.

    Raises: SweepError where it cannot be written.
    """
    write_whole(path, _with_checksum(path, json.dumps(content, sort_keys=True)))


def load_json(path: Path) -> dict[str, Any]:
    """What `save_json` wrote there; empty where there is nothing, something else, or what another file held."""
    with contextlib.suppress(OSError, ValueError):
        text = path.read_bytes().decode()
        before, after = _with_checksum(path, "{}").split("{}")
        body = text[len(before) : -len(after)]
        if text == _with_checksum(path, body):
            return json.loads(body)
    return {}


def _with_checksum(path: Path, body: str) -> str:
    # With the name: a whole file in another's place (`cp a.json b.json`) is as wrong as a changed byte.
    sum_ = hashlib.sha256(f"{path.name} {body}".encode(errors="replace")).hexdigest()
    return f'{{"sha256": "{sum_}",\n"content": {body}}}\n'
