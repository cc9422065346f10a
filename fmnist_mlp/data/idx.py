"""IDX files: read within bounds, checked to the last byte."""

import contextlib
import gzip
import math
import stat
import zlib
from dataclasses import dataclass

import numpy as np

from fmnist_mlp.data.arrays import digest
from fmnist_mlp.errors import SweepError

MAX_FILE_BYTES = 2 * 2**30  # unpacked; all of it is held in memory

CHUNK_BYTES = 2**20

DEFLATE_MOST = 1040  # deflate packs 1032 to 1 at best (zlib.net/zlib_tech.html)


@dataclass(frozen=True)
class File:
    """One of the four files of a data set in MNIST's form; checksum and packed size are those of Fashion-MNIST."""

    stem: str
    dimensions: int
    gz_bytes: int
    sha256: str  # of the unpacked file

    @property
    def gz_name(self):
        return f"{self.stem}-idx{self.dimensions}-ubyte.gz"

    @property
    def names(self):
        """The names it goes by, those that read fastest first; some archives have a dot before `idx`."""
        hyphen, dot = (f"{self.stem}{mark}idx{self.dimensions}-ubyte" for mark in "-.")
        return hyphen, dot, f"{hyphen}.gz", f"{dot}.gz"

    @property
    def holds(self):
        return "images" if self.dimensions == 3 else "labels"


FILES = (
    File("train-images", 3, 26421880, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    File("train-labels", 1, 29515, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    File("t10k-images", 3, 4422102, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    File("t10k-labels", 1, 5148, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)


def read_idx(path, file, remedy):
    """Reads one IDX file, packed or not. Returns its array, uint8, and the SHA-256 of its unpacked content.

    Never unpacks more than the header says and the gzip reader's small buffer, whatever the file would swell to.
    """

    def bad(problem):
        return SweepError(f"{path}: {problem}; {remedy}")

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            raise bad("is not a file")
        with path.open("rb") as raw:
            is_packed = raw.peek(2)[:2] == b"\x1f\x8b"  # by content: some tools unpack and keep the name
            with gzip.GzipFile(fileobj=raw) if is_packed else contextlib.nullcontext(raw) as content:
                shape = _read_header(content, path, file, bad)
                size = math.prod(shape)
                if size > MAX_FILE_BYTES:
                    raise bad(f"its header claims {size:,} bytes of {file.holds}, at most {MAX_FILE_BYTES:,} are read")
                if size > status.st_size * (DEFLATE_MOST if is_packed else 1):
                    raise bad(f"is cut short: its header announces {shape[0]:,} {file.holds}, {size:,} bytes")
                array = np.empty(shape, np.uint8)
                if lacking := fill(array, content):
                    raise bad(f"is cut short: {size - lacking:,} of {size:,} bytes after its header")
                if content.read(1):
                    raise bad(f"goes on after the {shape[0]:,} {file.holds} that its header announces")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad(f"is damaged or cut short (gzip: {reason_of(error)})") from error
    except (OSError, MemoryError) as error:
        raise bad(f"cannot be read ({reason_of(error)})") from error
    return array, digest(array)


def fill(array: np.ndarray, content) -> int:
    """Reads an array's bytes from an open file; returns how many the file lacks."""
    free = memoryview(array).cast("B")
    while free and (chunk := content.read(min(len(free), CHUNK_BYTES))):
        free[: len(chunk)] = chunk
        free = free[len(chunk) :]
    return len(free)


# Code in the header: what it is called, and how numpy reads it.
_OTHER_TYPES = {
    0x09: ("signed bytes", "i1"),
    0x0B: ("16-bit integers", ">i2"),
    0x0C: ("32-bit integers", ">i4"),
    0x0D: ("32-bit floats", ">f4"),
    0x0E: ("64-bit floats", ">f8"),
}


def _conversion(path, file, dtype):
    """Python that writes the file anew as unsigned bytes, beside a packed one and in place of an unpacked one."""
    dimensions, target = file.dimensions, path.with_name(path.name.removesuffix(".gz"))
    scaled = "x * 255 if x.max() <= 1 else x" if file.holds == "images" else "x"
    return (
        f"import gzip, pathlib, numpy as np; raw = pathlib.Path({str(path)!r}).read_bytes(); "
        "raw = gzip.decompress(raw) if raw[:2] == b'\\x1f\\x8b' else raw; "
        f"shape = np.frombuffer(raw, '>u4', {dimensions}, 4); "
        f"x = np.frombuffer(raw, {dtype!r}, offset={4 + 4 * dimensions}).reshape(shape); x = np.rint({scaled}); "
        "assert x.min() >= 0 and x.max() <= 255; "
        f"pathlib.Path({str(target)!r}).write_bytes(bytes([0, 0, 8, {dimensions}]) + shape.tobytes() + "
        "x.astype('u1').tobytes())"
    )


def _read_header(content, path, file, bad):
    """Reads and checks the header. Returns the shape: `(n,)` or `(n, height, width)`."""
    magic = content.read(4)
    if len(magic) == 4 and magic[:3] == b"\0\0\x08" and magic[3] in (1, 3) and magic[3] != file.dimensions:
        other = "labels" if file.dimensions == 3 else "images"
        raise bad(f"holds {other}, expected {file.holds}: were two files swapped?")
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[3] == 0:
        raise bad(f"is not an IDX file: begins with {_hex(magic)}, expected 00 00 08 0{file.dimensions}")
    if magic[2] != 0x08 and magic[2] not in _OTHER_TYPES:
        raise bad(f"its values are of IDX type 0x{magic[2]:02x}, expected 0x08 (unsigned bytes)")
    if magic[3] != file.dimensions:
        raise bad(f"has {magic[3]} dimensions, expected {file.dimensions} for {file.holds}")
    sizes = content.read(4 * file.dimensions)
    if magic[2] != 0x08:
        name, dtype = _OTHER_TYPES[magic[2]]
        raise SweepError(
            f"{path}: its values are {name} (IDX type 0x{magic[2]:02x}), expected unsigned bytes (0x08): convert the "
            f"file, in Python: {_conversion(path, file, dtype)}"
        )
    if len(sizes) < 4 * file.dimensions:
        raise bad(f"is cut short within its header ({4 + len(sizes)} of {4 + 4 * file.dimensions} bytes)")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if shape[0] == 0:
        raise bad(f"holds no {file.holds}")
    if 0 in shape:
        raise bad(f"its images have {shape[1]} x {shape[2]} pixels")
    return shape


def reason_of(error):
    """What an exception says, on one line, without the class, number or file name."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def _hex(content):
    return content.hex(" ") if content else "nothing"
