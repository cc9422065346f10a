"""A data set of one's own in one file, as numpy writes it: read within bounds, checked, never unpickled.

`np.savez("mine.npz", x_train=..., y_train=..., x_test=..., y_test=...)` makes one, and so does `write_npz`. The file is
a zip archive of arrays in numpy's form, each a header and its values. numpy's own reader believes the header and
allocates what it claims; here no more is read than a file of this size can hold.
"""

import contextlib
import io
import math
import stat
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from fmnist_mlp.data import arrays
from fmnist_mlp.data.idx import DEFLATE_MOST, MAX_FILE_BYTES, fill, reason_of
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import write_whole

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of np.savez and np.savez_compressed

REMEDY = "write it again with np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"


def read_npz(path: Path, names: Sequence[str] = arrays.NAMES) -> list[tuple[np.ndarray, str]]:
    """Reads arrays of a data set: each as uint8, with its digest (`arrays.digest`).

    Raises:
        SweepError: the file is damaged, lacks one of the four or holds others; or an array is none of ours.
    """
    try:
        size = path.stat()
        if not stat.S_ISREG(size.st_mode):  # to open a pipe would wait for ever
            raise SweepError(f"{path}: is not a file; {REMEDY}")
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            values = [_read(archive, members[name], size.st_size, path / name) for name in names]
    except zipfile.BadZipFile as error:
        what = "is no npz file, or cut short" if "not a zip" in str(error) else "is damaged"
        raise SweepError(f"{path}: {what} ({reason_of(error)[:160]}); {REMEDY}") from error
    except (OSError, EOFError, MemoryError, ValueError, RuntimeError, zlib.error) as error:
        raise SweepError(f"{path}: cannot be read ({reason_of(error)[:160]}); {REMEDY}") from error
    read = [arrays.as_bytes(name, array, path / name) for name, array in zip(names, values, strict=True)]
    return [(array, arrays.digest(array)) for array in read]


def write_npz(folder: Path, x_train, y_train, x_test, y_test) -> Path:
    """Writes four arrays as one file, whole or not at all, and names it by its content: the same arrays, the same file.

    Args:
        x_train, x_test: images `(n, height, width)`, whole numbers from 0 to 255.
        y_train, y_test: labels `(n,)`, classes counted from 0.

    Returns:
        The file, which `dataset: {npz: FILE}` takes.

    Raises:
        SweepError: the arrays are no data set, the message has the line to write; or the file cannot be written.
    """
    contents = {}
    for name, array in zip(arrays.NAMES, (x_train, y_train, x_test, y_test), strict=True):
        try:
            contents[name] = arrays.as_bytes(name, np.asarray(array), Path(name))
        except ValueError as error:  # lists of different lengths
            raise SweepError(f"{name}: is no array ({reason_of(error)}): give one of numpy's") from error
    arrays.check_fit([Path(name) for name in contents], *contents.values())
    content = io.BytesIO()
    np.savez(content, **contents)
    path = folder / f"{arrays.identity(map(arrays.digest, contents.values()))[:16]}.npz"
    write_whole(path, content.getvalue())
    return path


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if missing := [name for name in arrays.NAMES if name not in members]:
        there_are = ", ".join(ascii(name)[:60] for name in [*members][:8]) or "nothing"
        raise SweepError(f"{path}: {' and '.join(missing)} missing, there is {there_are}; {REMEDY}")
    if others := [ascii(name)[:60] for name in members if name not in arrays.NAMES]:
        raise SweepError(
            f"{path}: also holds {', '.join(others[:8])}, which would be left unread: leave it out (images for "
            f"validation are taken from x_train, names of classes from labels.txt or class_names), and {REMEDY}"
        )
    return members


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file_bytes: int, place: Path) -> np.ndarray:
    """One array as it is stored."""

    def bad(problem: str) -> SweepError:
        return SweepError(f"{place}: {problem}; {REMEDY}")

    if member.compress_type not in _COMPRESSIONS:
        raise bad("is compressed in a way that numpy never writes")
    with archive.open(member) as content:
        shape, is_fortran, dtype = _read_header(content, bad)
        if dtype.hasobject:
            raise bad("holds Python objects, which are never unpickled")
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_FILE_BYTES:
            raise bad(f"its header claims {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
        if size > file_bytes * (1 if member.compress_type == zipfile.ZIP_STORED else DEFLATE_MOST):
            raise bad(f"is cut short: its header announces {size:,} bytes")
        values = np.empty(size, np.uint8)
        if size and (lacking := fill(values, content)):
            raise bad(f"is cut short: {size - lacking:,} of {size:,} bytes after its header")
        if content.read(1):  # at the end zipfile compares the checksum
            raise bad(f"goes on after the {size:,} bytes that its header announces")
    array = np.frombuffer(values, dtype) if size else np.empty(0, dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")


# What numpy's parser of Python's own words for a dict raises beside ValueError.
_NO_HEADER = (SyntaxError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, tokenize.TokenError)


def _read_header(content, bad) -> tuple[tuple[int, ...], bool, np.dtype]:
    # The later versions of the form are for arrays with named fields, and their headers may be of any length.
    with contextlib.suppress(ValueError):
        if npy.read_magic(content) == (1, 0):
            with warnings.catch_warnings(action="ignore"):  # of what Python 2 wrote, and of types of old
                try:
                    shape, is_fortran, dtype = npy.read_array_header_1_0(content)
                except _NO_HEADER as error:
                    raise ValueError from error
            if all(size >= 0 for size in shape):
                return shape, is_fortran, dtype
    raise bad("is no array as np.savez writes it")
