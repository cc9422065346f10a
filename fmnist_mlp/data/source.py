"""Images and labels: where they come from, whether they are what they should be, and which are used for what.

`find_data` decides once, in the parent, where the images come from; `describe` names what is there (its identity goes
into every fingerprint) without reading it where it was read before; `load_data` reads it in a worker.
`limit_indices`, `stratified_split`, `stratified_folds` and `epoch_order` choose images by seed. A file that cannot be
trusted is a `SweepError` that names it, what was expected and what to do; nothing here falls back silently.

Needs numpy and the standard library alone, for the parent imports it. Leaves to others: environment variables and
flags (`cli`, except Keras's own KERAS_HOME), saving the memory of `describe` (`results`), scaling (`models`).
"""

import contextlib
import gzip
import hashlib
import http.client
import itertools
import math
import os
import re
import secrets
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fmnist_mlp import files
from fmnist_mlp.data import class_names
from fmnist_mlp.data import synthetic as garments
from fmnist_mlp.errors import SweepError

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Where Keras 3.15 takes it from: keras/src/datasets/fashion_mnist.py.
FASHION_MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
CONNECT_SECONDS = 10.0  # without an answer, or without the next bytes
DOWNLOAD_SECONDS = 300.0  # for one file (26 MB at most) in all

MAX_FILE_BYTES = 2 * 2**30  # unpacked; all of it is held in memory
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class DataSource:
    """Where the images come from. Decided once by `find_data`; small and picklable, workers load from it.

    Args:
        kind: `fashion_mnist` (files checked by SHA-256), `idx` (any files of that form) or `synthetic`.
        folder: the folder with the four files, absolute; None for `synthetic`.
        fallback_reason: why `dataset: auto` came to the stand-in and what to do about it, a sentence; else None.
        class_names: names of the classes that stand over those that the images come with; none for those.
    """

    kind: Literal["fashion_mnist", "synthetic", "idx"]
    folder: Path | None = None
    fallback_reason: str | None = None
    class_names: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        """What stands in the `dataset` column: `fashion_mnist`, `synthetic` or `idx:<folder name>`."""
        if self.kind != "idx":
            return self.kind
        # A folder's name may hold bytes that are no text (os.fsdecode gives surrogates); tables and logs are UTF-8.
        return "idx:" + (self.folder.name or str(self.folder)).encode(errors="replace").decode()


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images of a source, in memory and read-only.

    Args:
        identity: equal for two data sets exactly if their four arrays are equal (see `_identity`).
        x_train, x_test: uint8, `(n, height, width)`, as stored.
        y_train, y_test: uint8, `(n,)`, 0 to `num_classes` - 1.
        class_names: one a class: the source's own, else those of `labels.txt` beside IDX files, else Fashion-MNIST's,
            else the numbers as text.
    """

    source: DataSource
    identity: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int]:
        return self.x_train.shape[1:]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class DataInfo:
    """What a plan needs to know of a data set; `dataclasses.asdict` of it can be written as JSON.

    Args:
        class_counts: training images of each class, `num_classes` of them.
        warnings: what makes these images hard to learn from and was hardly meant, a sentence each.
        class_names: as `Dataset` has them.
    """

    identity: str
    dataset: str
    train_images: int
    test_images: int
    image_shape: tuple[int, int]
    num_classes: int
    class_counts: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


def find_data(dataset, data_dir: Path | None = None, *, notify: Callable[[str], None] | None = None) -> DataSource:
    """Decides where the images come from; downloads Fashion-MNIST where that is the way to it.

    Looks that the files are there; what they hold is checked when they are read (`describe`, `load_data`).

    Args:
        dataset: `"auto"`, `"fashion_mnist"`, `"synthetic"`, or an object whose `path` is a folder with IDX files.
        data_dir: a folder with Fashion-MNIST's four files; then nothing else is tried. With None they are looked for
            in Keras's cache, then downloaded into it, then `"auto"` takes the generated stand-in.
        notify: called with one line before a download begins.

    Raises:
        SweepError: a folder or file is missing, `data_dir` is given with another data set, or `"fashion_mnist"` can
            be had nowhere.
    """
    if data_dir is not None and dataset not in ("auto", "fashion_mnist"):
        raise SweepError(
            f"--data-dir (or FASHION_MNIST_DIR) is {data_dir}, where Fashion-MNIST should lie, but the sweep file asks "
            f"for {_said(dataset)}: leave the folder out, or set dataset: fashion_mnist"
        )
    if dataset == "synthetic":
        return DataSource("synthetic")
    if hasattr(dataset, "path"):
        folder = _existing_folder(dataset.path, "dataset: {idx: ...}")
        require_files(folder, "dataset: {idx: ...}")
        return DataSource("idx", folder)
    if dataset not in ("auto", "fashion_mnist"):
        raise ValueError(f"unknown dataset {dataset!r}")
    if data_dir is not None:
        folder = _existing_folder(data_dir, "--data-dir (or FASHION_MNIST_DIR)")
        require_files(folder, "--data-dir (or FASHION_MNIST_DIR)")
        return DataSource("fashion_mnist", folder)
    try:
        return DataSource("fashion_mnist", _keras_cache_filled(notify))
    except _DownloadError as error:
        remedy = "give a folder with its four files by --data-dir or FASHION_MNIST_DIR, or run once with a network"
        reason = f"Fashion-MNIST is not in Keras's cache and {error}; {remedy}"
        if dataset == "fashion_mnist":
            raise SweepError(f"{reason} (dataset: auto would take the generated stand-in)") from error
        return DataSource("synthetic", fallback_reason=reason)


def load_data(source: DataSource) -> Dataset:
    """Reads (or draws) the images of `source` and checks them.

    Raises:
        SweepError: a file is missing, damaged, not in IDX form, does not fit the other three, or is not the file of
            Fashion-MNIST whose name it bears.
    """
    if source.kind == "synthetic":
        (x_train, y_train), (x_test, y_test) = garments.make_garments()
        identity, num_classes = _synthetic_identity(), len(CLASS_NAMES)
    else:
        paths = require_files(source.folder, "the folder")
        remedy = _remedy(source)
        contents = [_read_idx(path, file, remedy) for path, file in zip(paths, _FILES, strict=True)]
        (x_train, y_train, x_test, y_test), digests = zip(*contents, strict=True)
        if source.kind == "fashion_mnist":
            _check_fashion_mnist(source, paths, digests)
        _check_fit(paths, x_train, y_train, x_test, y_test)
        identity = _identity(digests)
        num_classes = int(max(y_train.max(), y_test.max())) + 1

    for array in (x_train, y_train, x_test, y_test):
        array.setflags(write=False)  # every trial of a worker reads the same arrays
    return Dataset(source, identity, x_train, y_train, x_test, y_test, _name_classes(source, identity, num_classes))


def describe(source: DataSource, memory: dict) -> DataInfo:
    """What `source` holds, without opening its files where `memory` knows them already.

    Args:
        memory: a dict that can be written as JSON; the caller loads and saves it. An entry counts while the four
            files have the same names and stamps (`files.stamp`); anything else in it is ignored. Updated in place.

    Raises:
        SweepError: as `load_data`, where the files have to be read.
    """
    if source.kind == "synthetic":
        shape = (garments.IMAGE_SIZE, garments.IMAGE_SIZE)
        counts = (garments.TRAIN_IMAGES, garments.TEST_IMAGES)
        classes = len(CLASS_NAMES)
        class_counts = (garments.TRAIN_IMAGES // classes,) * classes
        info = DataInfo(_synthetic_identity(), source.dataset, *counts, shape, classes, class_counts)
        return _with_names(info, source)

    key = f"{source.kind}:{source.folder}"
    stamps = _stamps(source)
    remembered = _remembered(memory.get(key), stamps, source.dataset)
    if remembered is not None:
        return _with_names(remembered, source)
    data = load_data(source)
    info = DataInfo(
        data.identity,
        source.dataset,
        len(data.x_train),
        len(data.x_test),
        data.image_shape,
        data.num_classes,
        tuple(np.bincount(data.y_train, minlength=data.num_classes).tolist()),
        _warnings(data) if source.kind == "idx" else (),
    )
    if stamps == _stamps(source):  # else they changed while they were read
        memory[key] = {
            "format": _MEMORY_FORMAT,
            "files": stamps,
            "info": {key: [*v] if isinstance(v, tuple) else v for key, v in asdict(info).items()},
        }
    return _with_names(info, source)


def _with_names(info: DataInfo, source: DataSource) -> DataInfo:
    """Names are looked up each time: to write them anew changes no image."""
    return replace(info, class_names=_name_classes(source, info.identity, info.num_classes))


def _name_classes(source: DataSource, identity: str, num_classes: int) -> tuple[str, ...]:
    if source.class_names:
        return source.class_names
    beside = source.folder / class_names.LABELS_FILE if source.kind == "idx" else None
    if beside and (names := class_names.read_labels(beside, num_classes)):
        return names
    # By content, not by kind: the same images have the same names whichever way they were found.
    known = (_synthetic_identity(), _identity(file.sha256 for file in _FILES))
    return CLASS_NAMES if identity in known else tuple(str(label) for label in range(num_classes))


def load_test_images(source: DataSource) -> np.ndarray:
    """Reads the test images alone, a sixth of the time of `load_data`; which images they are `describe` says.

    Returns:
        uint8, `(n, height, width)`.

    Raises:
        SweepError: their file is missing, damaged or not in IDX form.
    """
    if source.kind == "synthetic":
        return garments.make_garments()[1][0]
    _, _, path, _ = require_files(source.folder, "the folder")
    _, _, file, _ = _FILES
    return _read_idx(path, file, _remedy(source))[0]


def require_files(folder: Path, asked_by: str) -> list[Path]:
    """The paths of a data set's four files: training images and labels, test images and labels.

    Args:
        folder: where they lie, gzipped or not. Names such as `emnist-letters-train-images-idx3-ubyte.gz` and
            `test-labels-idx1-ubyte` do too, where only one set of four is there.
        asked_by: what names the folder, for the message: `--data-dir`.

    Raises:
        SweepError: some are missing; the message names them.
    """
    found = [_find_file(folder, file) for file in _FILES]
    if None not in found:
        return found
    sets = _sets_by_other_names(folder)
    whole = [paths for paths in sets.values() if None not in paths]
    if len(whole) == 1:
        return whole[0]
    if whole:
        raise SweepError(
            f"{folder}: holds {len(whole)} data sets ({', '.join(sorted(paths[0].name for paths in whole))}); expected "
            f"one, of {_all_names()}: move each into a folder of its own, or give one these names"
        )
    missing = [file for file, path in zip(_FILES, found, strict=True) if path is None]
    renames = [
        f"{path.name} as {file.gz_name}"
        for paths in sets.values()
        for file, path in zip(_FILES, paths, strict=True)
        if file in missing and path is not None
    ]
    rename = f" (is it there by another name? {', '.join(renames[:4])} would be found)" if renames else ""
    raise SweepError(
        f"{folder}: {' and '.join(file.gz_name for file in missing)} missing; expected {_all_names()} there, gzipped "
        f"or not: put the missing file there or correct {asked_by}{rename}"
    )


def limit_indices(y_train: np.ndarray, limit: int | None) -> np.ndarray:
    """The training images that `limit` leaves: every class in its share, the same images for every seed.

    Args:
        y_train: labels, `(n,)`.
        limit: how many images, at least 1; None, or as many as there are or more, means all.

    Returns:
        int32, ascending, `(min(limit, n),)`. Where `limit` allows, each class that occurs keeps an image.
    """
    n = len(y_train)
    if limit is None or limit >= n:
        return np.arange(n, dtype=np.int32)
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    return _drawn(y_train, _limited(np.bincount(y_train), limit), np.random.default_rng([_LIMIT_STREAM]))


def stratified_split(y_train: np.ndarray, validation_split: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sets a share of every class aside for validation, by seed.

    Each class gives its exact share rounded down or up, so that `round(n * validation_split)` are set aside in all,
    but never its last image: with very small classes there can be fewer, and with one image there is none.

    Args:
        y_train: labels, `(n,)`.
        validation_split: at least 0 and below 1.
        seed: the trial's seed, at least 0.

    Returns:
        `(train_indices, validation_indices)`, int32, each ascending, together every image once.
    """
    if not 0.0 <= validation_split < 1.0:
        raise ValueError(f"validation_split must be at least 0 and below 1, got {validation_split}")
    chosen = _set_aside(np.bincount(y_train), validation_split)
    validation = _drawn(y_train, chosen, np.random.default_rng([_SPLIT_STREAM, seed]))
    is_train = np.ones(len(y_train), bool)
    is_train[validation] = False
    return np.flatnonzero(is_train).astype(np.int32), validation


def stratified_folds(y_train: np.ndarray, folds: int, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One fold of a cross-validation: the images that validate it, and all others, which train it.

    The images are dealt out like cards, one class after the other and in random order within it. So over the folds of
    one seed every image validates once, and neither the sizes of two folds nor their images of any one class differ
    by more than one. A class with fewer images than folds is missing from the validation of some of them, and one with
    a single image from the training of the fold that it validates.

    Args:
        y_train: labels, `(n,)`.
        folds: how many, at least 2 and at most n.
        fold: which, from 0 to `folds` - 1.
        seed: the trial's seed, at least 0; another seed deals anew.

    Returns:
        `(train_indices, validation_indices)`, int32, each ascending, together every image once.
    """
    n = len(y_train)
    if not 2 <= folds <= n:
        raise ValueError(f"folds must be at least 2 and at most the number of training images ({n:,}), got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be from 0 to {folds - 1}, got {fold}")
    shuffled = np.random.default_rng([_FOLD_STREAM, seed]).permutation(n)
    dealt = shuffled[np.argsort(y_train[shuffled], kind="stable")]  # by class; stable keeps the random order within
    is_validation = np.zeros(n, bool)
    is_validation[dealt[fold::folds]] = True
    return np.flatnonzero(~is_validation).astype(np.int32), np.flatnonzero(is_validation).astype(np.int32)


def count_parts(
    class_counts: Sequence[int], limit: int | None, validation_split: float, folds: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """How many images of each class a trial trains and validates on, as the functions above will choose them.

    Args:
        class_counts: training images of each class.
        limit: as in `limit_indices`.
        validation_split: as in `stratified_split`; of no account where there are folds.
        folds: as in `stratified_folds`, at most the images that there are. The counts are those of the first fold,
            which trains on the fewest.

    Returns:
        `(train, validation)`, int, `(classes,)` each.
    """
    counts = np.asarray(class_counts)
    if limit is not None and limit < counts.sum():
        counts = _limited(counts, limit)
    if folds is None:
        validation = _set_aside(counts, validation_split)
    else:
        dealt = -(-np.cumsum([0, *counts]) // folds)  # to the first fold, before each class and after the last
        validation = np.diff(dealt)
    return counts - validation, validation


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch `epoch` sees `n` images: an int32 permutation, a function of its arguments alone.

    So a trial that is resumed at epoch e sees what it would have seen.
    """
    return np.random.default_rng([_ORDER_STREAM, seed, epoch]).permutation(np.arange(n, dtype=np.int32))


# Each use of a seed draws from a stream of its own, so that no choice is correlated with another.
_SPLIT_STREAM, _ORDER_STREAM, _LIMIT_STREAM, _FOLD_STREAM = 1, 2, 3, 4


# ---- The four files ----


@dataclass(frozen=True)
class _File:
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


_FILES = (
    _File("train-images", 3, 26421880, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    _File("train-labels", 1, 29515, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    _File("t10k-images", 3, 4422102, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    _File("t10k-labels", 1, 5148, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)


def _existing_folder(path, asked_by):
    """`path` made absolute, or SweepError."""
    try:
        folder = Path(path).expanduser().resolve()
        mode = folder.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, or ~ of nobody
        raise SweepError(
            f"{asked_by} names the folder {path}, which cannot be read ({_why(error)}): expected a folder with "
            f"{_all_names()}; correct the path"
        ) from error
    if not stat.S_ISDIR(mode):
        raise SweepError(f"{asked_by} names {folder}, which is not a folder: give the folder that holds {_all_names()}")
    return folder


def _find_file(folder, file):
    for name in file.names:
        with contextlib.suppress(OSError):
            (folder / name).stat()
            return folder / name
    return None


def _sets_by_other_names(folder):
    """Files that are called nearly as they should be, by what stands before `train` or `test`: four each, or None."""
    sets = {}
    try:
        names = sorted(entry.name for entry in itertools.islice(os.scandir(folder), _MOST_LOOKED_AT))
    except OSError:
        return {}
    for name in sorted(names, key=lambda name: (name.endswith(".gz"), name)):  # those that read fastest first
        match = _NEARLY.fullmatch(name.lower())
        if match:
            number = 2 * (match["part"] not in ("train", "training")) + (match["holds"] == "label")
            paths = sets.setdefault(match["set"].strip("-_. "), [None] * len(_FILES))
            paths[number] = paths[number] or folder / name
    return sets


_MOST_LOOKED_AT = 10_000  # entries of a folder
_NEARLY = re.compile(
    r"(?P<set>.*?)(?<![a-z])(?P<part>training|train|testing|test|t10k)[-_. ]*(?P<holds>image|label)s?"
    r"[-_. ]*(idx[-_]?[13])?[-_. ]*(ubyte)?([-_. ]?\(\d+\))?(\.idx|\.bin)?(\.gz)?"
)


def _all_names():
    return ", ".join(file.gz_name for file in _FILES)


def _stamps(source):
    """Name and stamp of each file, as JSON gives them back."""
    stamps = []
    for path in require_files(source.folder, "the folder"):
        try:
            stamps.append([path.name, *files.stamp(path)])
        except OSError as error:
            raise SweepError(f"{path}: cannot be read ({_why(error)}); {_remedy(source)}") from error
    return stamps


_MEMORY_FORMAT = 6  # raise it when the checks or the identity change


def _remembered(entry, stamps, dataset):
    """The DataInfo in an entry of `describe`'s memory, or None where it is another format, stale or garbage."""
    if not isinstance(entry, dict) or entry.get("format") != _MEMORY_FORMAT or entry.get("files") != stamps:
        return None
    try:
        tuples = {
            name: tuple(entry["info"][name]) for name in ("image_shape", "class_counts", "warnings", "class_names")
        }
        info = DataInfo(**entry["info"] | tuples | {"dataset": dataset})
    except (KeyError, TypeError):
        return None
    numbers = (info.train_images, info.test_images, *info.image_shape, info.num_classes)
    sound = isinstance(info.identity, str) and info.identity and len(info.image_shape) == 2
    sound = sound and all(type(number) is int and number > 0 for number in numbers)
    sound = sound and all(type(count) is int and count >= 0 for count in info.class_counts)
    sound = sound and all(isinstance(warning, str) for warning in info.warnings)
    sound = sound and (len(info.class_counts), sum(info.class_counts)) == (info.num_classes, info.train_images)
    return info if sound else None


# ---- Reading and checking ----


def _read_idx(path, file, remedy):
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
                header, shape = _read_header(content, path, file, bad)
                size = math.prod(shape)
                if size > MAX_FILE_BYTES:
                    raise bad(f"its header claims {size:,} bytes of {file.holds}, at most {MAX_FILE_BYTES:,} are read")
                if size > status.st_size * (_DEFLATE_MOST if is_packed else 1):
                    raise bad(f"is cut short: its header announces {shape[0]:,} {file.holds}, {size:,} bytes")
                array = np.empty(shape, np.uint8)
                free = memoryview(array).cast("B")
                while free and (chunk := content.read(min(len(free), _CHUNK_BYTES))):
                    free[: len(chunk)] = chunk
                    free = free[len(chunk) :]
                if free:
                    raise bad(f"is cut short: {size - len(free):,} of {size:,} bytes after its header")
                if content.read(1):
                    raise bad(f"goes on after the {shape[0]:,} {file.holds} that its header announces")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad(f"is damaged or cut short (gzip: {_why(error)})") from error
    except (OSError, MemoryError) as error:
        raise bad(f"cannot be read ({_why(error)})") from error
    digest = hashlib.sha256(header)
    digest.update(array)
    return array, digest.hexdigest()


_DEFLATE_MOST = 1040  # deflate packs 1032 to 1 at best (zlib.net/zlib_tech.html)


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
    """Reads and checks the header. Returns its bytes and the shape: `(n,)` or `(n, height, width)`."""
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
    return magic + sizes, shape


def _check_fashion_mnist(source, paths, digests):
    """Each file is the one of Fashion-MNIST whose name it bears, or SweepError: damaged, swapped, or other data."""
    right = [digest == file.sha256 for digest, file in zip(digests, _FILES, strict=True)]
    if not any(right) and not set(digests) & {file.sha256 for file in _FILES}:
        raise SweepError(
            f"{source.folder}: sound IDX files, but none of the four is Fashion-MNIST's (by SHA-256); for a data set "
            f"of your own leave out --data-dir and FASHION_MNIST_DIR and set dataset: {{idx: {source.folder}}}"
        )
    for path, file, digest, is_right in zip(paths, _FILES, digests, right, strict=True):
        twin = next((other for other in _FILES if other.sha256 == digest), None)
        if not is_right and twin is not None:
            raise SweepError(
                f"{path}: holds what belongs in {twin.gz_name}: were two files swapped? Expected SHA-256 "
                f"{file.sha256} when unpacked; {_remedy(source)}"
            )
        if not is_right:
            raise SweepError(
                f"{path}: is not Fashion-MNIST's {file.gz_name}: its SHA-256 when unpacked is {digest}, expected "
                f"{file.sha256}; {_remedy(source)}"
            )


def _check_fit(paths, x_train, y_train, x_test, y_test):
    """The four arrays are one data set, or SweepError.

    The classes are 0 to the largest label. A number that no image bears is allowed (some sets count from 1; its output
    unit learns to keep quiet), unless that is most of them. A class that only test images have is not allowed.
    """
    for part, (images, labels) in enumerate([(x_train, y_train), (x_test, y_test)]):
        if len(images) != len(labels):
            raise SweepError(
                f"{paths[2 * part]}: {len(images):,} images, but {paths[2 * part + 1].name} beside it has "
                f"{len(labels):,} labels; expected one a picture: replace the file that is wrong"
            )
    if x_train.shape[1:] != x_test.shape[1:]:
        (height, width), (test_height, test_width) = x_train.shape[1:], x_test.shape[1:]
        raise SweepError(
            f"{paths[2]}: images of {test_height} x {test_width} pixels, but those in {paths[0].name} have {height} x "
            f"{width}; expected one size: replace the file that is wrong"
        )
    trained = np.bincount(y_train, minlength=256) > 0
    tested = np.bincount(y_test, minlength=256) > 0
    untrained = np.flatnonzero(tested & ~trained)
    if len(untrained):
        raise SweepError(
            f"{paths[3]}: label {untrained[0]} occurs, but no image in {paths[0].name} has it; expected every class "
            f"among the training images: replace the file that is wrong or leave these test images out"
        )
    classes, num_classes = np.count_nonzero(trained), int(np.flatnonzero(trained)[-1]) + 1
    if classes < 2:
        raise SweepError(
            f"{paths[1]}: every label is {y_train[0]}; expected at least two classes: replace the file that is wrong"
        )
    if 2 * classes < num_classes:
        raise SweepError(
            f"{paths[1]}: only {classes} of the labels 0 to {num_classes - 1} occur; expected classes numbered from 0 "
            f"without gaps: number them anew"
        )


def _warnings(data):
    """What is wrong with the pixels: they are divided by 255, and light is garment, whatever was meant."""
    problems, ranges = {}, {}
    for part, images in (("training", data.x_train), ("test", data.x_test)):
        occurring = np.flatnonzero(_count_values(images))
        low, high = ranges[part] = int(occurring[0]), int(occurring[-1])
        around_zero = (occurring <= _FEW) | (occurring >= 256 - _FEW)
        cast = 2 < len(occurring) <= 2 * _FEW + 1 and around_zero.all() and 1 in occurring and 255 in occurring
        if high <= 1:
            problem = "pixels between 0 and 1"
            remedy = "multiply them by 255, before they are made whole numbers: np.rint(images * 255)"
        elif cast:
            problem = f"only the pixels {', '.join(map(str, occurring))}, as numbers around 0 that were cast to bytes"
            remedy = "bring them to 0-255 first; preprocess: standardize brings them around 0 again"
        elif high - low < _NARROW:
            problem = f"pixels between {low} and {high} alone"
            remedy = f"spread them over 0-255: np.rint((images - {low}) * (255 / {max(1, high - low)}))"
        else:
            continue
        problems.setdefault((problem, remedy), []).append(part)
    said = [
        f"The {' and '.join(parts)} images have {problem}, of 0 to 255. Networks get pixels divided by 255, so they "
        f"see hardly anything: {remedy}, and write the files again."
        for (problem, remedy), parts in problems.items()
    ]
    train, test = (high - low for low, high in ranges.values())
    if not said and not 0.5 <= test / train <= 2:
        said.append(
            f"Pixels of training images are {ranges['training'][0]} to {ranges['training'][1]}, "
            f"those of test images {ranges['test'][0]} to {ranges['test'][1]}: bring both to one range, 0 to 255."
        )
    light = [part for part, images in (("training", data.x_train), ("test", data.x_test)) if _is_dark_on_light(images)]
    if light and not said:
        said.append(
            f"The {' and '.join(light)} images are dark on light. predict and the page turn every picture to light on "
            "dark, as Fashion-MNIST is, which the network never saw: write 255 - images to the files."
        )
    return tuple(said)


_NARROW = 64  # a quarter of the range


def _is_dark_on_light(images: np.ndarray) -> bool:
    """Whether most of what lies at the edges is as light as paper or a studio's backdrop."""
    some = images[:: max(1, len(images) // 1000)]
    edges = (some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1])
    return np.mean(np.concatenate([edge.ravel() for edge in edges]) >= 200) > 0.6


_FEW = 4


def _count_values(images):
    """How often each of 0 to 255 occurs; a thousand images at a time, for numpy counts in 64 bits."""
    batches = (images[start : start + 1000] for start in range(0, len(images), 1000))
    return sum(np.bincount(batch.reshape(-1), minlength=256) for batch in batches)


def _identity(digests):
    """SHA-256 of the four unpacked files' SHA-256s; each covers its header, so dtypes and shapes as well as values."""
    return hashlib.sha256("\n".join(("idx", *digests)).encode()).hexdigest()


def _synthetic_identity():
    return f"synthetic-v{garments.GARMENTS_VERSION}-{garments.TRAIN_IMAGES}-{garments.TEST_IMAGES}"


def _remedy(source):
    if source.kind == "idx":
        return "write or copy the file again"
    if source.folder in [base / _CACHE_SUBFOLDER for base in _keras_bases()]:
        return "delete it and run again, so that it is downloaded afresh"
    return "copy the file again, or leave out --data-dir and FASHION_MNIST_DIR to have it downloaded"


# ---- Keras's cache and the download ----

_CACHE_SUBFOLDER = Path("datasets", "fashion-mnist")


class _DownloadError(Exception):
    """Fashion-MNIST could not be brought into the cache; the message is a clause of a sentence."""


def _keras_cache_filled(notify):
    """The folder of Keras's cache with all four files, downloading those that are missing; or _DownloadError."""
    folders = [base / _CACHE_SUBFOLDER for base in _keras_bases()]
    for folder in folders:
        if all(_is_cached(folder, file) for file in _FILES):
            return folder
    reason = None
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Root may write anywhere but on a read-only file system, so try and see.
            tempfile.TemporaryFile(dir=folder).close()
        except (OSError, ValueError) as error:
            reason = reason or f"{folder} cannot be written ({_why(error)})"
            continue
        missing = [file for file in _FILES if not _is_cached(folder, file)]
        if notify:
            size = sum(file.gz_bytes for file in missing) / 1e6
            notify(f"Downloading Fashion-MNIST ({size:.0f} MB) from {FASHION_MNIST_URL} to {folder}")
        # The small ones first: where there is no network, or the wrong one, that shows at once.
        for file in sorted(missing, key=lambda file: file.gz_bytes):
            _download(file, folder)
        return folder
    raise _DownloadError(reason)


def _keras_bases():
    """The folders that Keras 3.15 keeps its cache in, absolute; the second serves where the first cannot be written.

    As in keras/src/backend/config.py (KERAS_HOME, ~/.keras, /tmp/.keras) and utils/file_utils.py, get_file.
    """
    spare = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir(), ".keras").resolve()
    try:
        base = Path(os.environ.get("KERAS_HOME") or Path("~", ".keras")).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return [spare]
    return [base] if base == spare else [base, spare]


def _is_cached(folder, file):
    """Whether the cache has this file whole. By size, which a download broken off betrays; only then by content."""
    path = folder / file.gz_name
    try:
        if path.stat().st_size == file.gz_bytes:
            return True
        return _read_idx(path, file, "")[1] == file.sha256  # packed anew by somebody
    except (OSError, SweepError):
        return False


def _download(file, folder):
    """Brings one file into `folder`, whole and checked, or leaves nothing; one attempt. Raises _DownloadError."""
    # Imported late: takes longer than the rest of this module, and hardly any run downloads.
    import urllib.error
    import urllib.request

    url = FASHION_MNIST_URL + file.gz_name
    part = folder / f".{file.gz_name}.{secrets.token_hex(8)}.part"
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer, part.open("xb") as out:
            # One byte more than there should be, to notice a body without end.
            while out.tell() <= file.gz_bytes and (chunk := answer.read1(_CHUNK_BYTES)):
                out.write(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished after {DOWNLOAD_SECONDS:g} seconds")
            size = out.tell()
            out.flush()
            os.fsync(out.fileno())
        if size < file.gz_bytes:
            raise _DownloadError(f"{url} broke off after {size:,} of {file.gz_bytes:,} bytes")
        _check_download(part, file, url)
        part.replace(folder / file.gz_name)
    except urllib.error.HTTPError as error:
        error.close()
        raise _DownloadError(f"{url} answered {error.code} {_why(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # URLError, an OSError, wraps what really happened.
        raise _DownloadError(f"{url} could not be downloaded ({_why(getattr(error, 'reason', error))})") from error
    finally:
        part.unlink(missing_ok=True)


def _check_download(part, file, url):
    try:
        digest = _read_idx(part, file, "")[1]
    except SweepError:
        digest = None
    if digest != file.sha256:
        raise _DownloadError(f"{url} gave something else than Fashion-MNIST (its SHA-256 is wrong)")


# ---- Choosing images ----


def _shares(quotas, total, least, most):
    """Whole numbers near `quotas` that add up to `total`, each between `least` and `most` (largest remainder).

    Args:
        quotas: exact shares, float, `(classes,)`.

    Returns:
        int, `(classes,)`; where the bounds do not allow `total`, the nearest sum that they do.
    """
    shares = np.clip(np.floor(quotas).astype(int), least, most)
    while shares.sum() < min(total, most.sum()):
        shares[np.argmax(np.where(shares < most, quotas - shares, -np.inf))] += 1
    while shares.sum() > max(total, least.sum()):
        shares[np.argmax(np.where(shares > least, shares - quotas, -np.inf))] -= 1
    return shares


def _limited(counts, limit):
    """How many images of each class `limit` leaves, of so many; int, `(classes,)`."""
    least = np.minimum(counts, 1) if limit >= np.count_nonzero(counts) else np.zeros_like(counts)
    return _shares(counts * (limit / counts.sum()), limit, least, counts)


def _set_aside(counts, validation_split):
    """How many images of each class validate, of so many; int, `(classes,)`."""
    quotas = counts * validation_split
    most = np.minimum(np.ceil(quotas).astype(int), np.maximum(counts - 1, 0))
    return _shares(quotas, round(int(counts.sum()) * validation_split), np.zeros_like(counts), most)


def _drawn(labels, shares, rng):
    """`shares[k]` random indices of each class k, without repetition; int32, ascending."""
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in enumerate(shares)]
    return np.sort(np.concatenate(drawn)).astype(np.int32)


def _said(dataset):
    """The value of `dataset:` as it stands in a sweep file."""
    return f"dataset: {{idx: {dataset.path}}}" if hasattr(dataset, "path") else f"dataset: {dataset}"


def _why(error):
    """What an exception says, on one line, without the class, number or file name."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def _hex(content):
    return content.hex(" ") if content else "nothing"
