"""Images and labels: where they come from, and whether they are what they should be.

`find_data` decides once, in the parent, where the images come from; `describe` names what is there (its identity goes
into every fingerprint) without reading it where it was read before; `load_data` reads it in a worker. A file that
cannot be trusted is a `SweepError` that names it, what was expected and what to do; nothing here falls back silently.

Needs numpy and the standard library alone, for the parent imports it. Leaves to others: environment variables and
flags (`cli`, except Keras's own KERAS_HOME), saving the memory of `describe` (`results`), scaling (`models`).
"""

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fmnist_mlp import files
from fmnist_mlp.data import arrays, class_names, npz
from fmnist_mlp.data import synthetic as garments
from fmnist_mlp.data.download import CACHE_SUBFOLDER, DownloadError, keras_bases, keras_cache_filled
from fmnist_mlp.data.idx import FILES, read_idx, reason_of
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


@dataclass(frozen=True)
class DataSource:
    """Where the images come from. Decided once by `find_data`; small and picklable, workers load from it.

    Args:
        kind: `fashion_mnist` (files checked by SHA-256), `idx` (any files of that form), `npz` or `synthetic`.
        folder: the folder with the files, absolute; None for `synthetic`.
        fallback_reason: why `dataset: auto` came to the stand-in and what to do about it, a sentence; else None.
        class_names: names of the classes that stand over those that the images come with; none for those.
        file: the name of the one file of `npz`; empty for the others.
    """

    kind: Literal["fashion_mnist", "synthetic", "idx", "npz"]
    folder: Path | None = None
    fallback_reason: str | None = None
    class_names: tuple[str, ...] = ()
    file: str = ""

    @property
    def path(self) -> Path | None:
        """What a person calls the place: the folder, or the file of `npz`."""
        return self.folder and self.folder / self.file

    @property
    def is_own(self) -> bool:
        """Whether these are somebody's own images, not Fashion-MNIST or what takes its place."""
        return self.kind in ("idx", "npz")

    @property
    def dataset(self) -> str:
        """In the `dataset` column: `fashion_mnist`, `synthetic`, `idx:<folder name>` or `npz:<file name's stem>`."""
        if not self.is_own:
            return self.kind
        name = self.path.stem if self.kind == "npz" else self.path.name
        # A name may hold bytes that are no text (os.fsdecode gives surrogates); tables and logs are UTF-8.
        return f"{self.kind}:" + (name or str(self.path)).encode(errors="replace").decode()


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images of a source, in memory and read-only.

    Args:
        identity: equal for two data sets exactly if their four arrays are equal (see `arrays.identity`).
        x_train, x_test: uint8, `(n, height, width)`, as stored.
        y_train, y_test: uint8, `(n,)`, 0 to `num_classes` - 1.
        class_names: one a class: the source's own, else those of `labels.txt` beside one's own files, else
            Fashion-MNIST's, else the numbers as text.
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
        dataset: `"auto"`, `"fashion_mnist"`, `"synthetic"`, or an object whose `kind` is `idx`, its `path` a folder
            with IDX files, or `npz`, its `path` a file.
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
        if dataset.kind == "npz":
            path = _existing_file(dataset.path, "dataset: {npz: ...}")
            return DataSource("npz", path.parent, file=path.name)
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
        return DataSource("fashion_mnist", keras_cache_filled(notify))
    except DownloadError as error:
        remedy = "give a folder with its four files by --data-dir or FASHION_MNIST_DIR, or run once with a network"
        reason = f"Fashion-MNIST is not in Keras's cache and {error}; {remedy}"
        if dataset == "fashion_mnist":
            raise SweepError(f"{reason} (dataset: auto would take the generated stand-in)") from error
        return DataSource("synthetic", fallback_reason=reason)


def load_data(source: DataSource) -> Dataset:
    """Reads (or draws) the images of `source` and checks them.

    Raises:
        SweepError: a file is missing, damaged, not in its form, an array does not fit the other three, or a file is
            not that of Fashion-MNIST whose name it bears.
    """
    if source.kind == "synthetic":
        (x_train, y_train), (x_test, y_test) = garments.make_garments()
        identity, num_classes = _synthetic_identity(), len(CLASS_NAMES)
    else:
        paths = files_of(source)
        if source.kind == "npz":
            contents = npz.read_npz(source.path)
            paths = [source.path / name for name in arrays.NAMES]  # as messages name them
        else:
            remedy = _remedy(source)
            contents = [read_idx(path, file, remedy) for path, file in zip(paths, FILES, strict=True)]
        (x_train, y_train, x_test, y_test), digests = zip(*contents, strict=True)
        if source.kind == "fashion_mnist":
            _check_fashion_mnist(source, paths, digests)
        arrays.check_fit(paths, x_train, y_train, x_test, y_test)
        identity = arrays.identity(digests)
        num_classes = int(max(y_train.max(), y_test.max())) + 1

    for array in (x_train, y_train, x_test, y_test):
        array.setflags(write=False)  # every trial of a worker reads the same arrays
    return Dataset(source, identity, x_train, y_train, x_test, y_test, _name_classes(source, identity, num_classes))


def describe(source: DataSource, memory: dict) -> DataInfo:
    """What `source` holds, without opening its files where `memory` knows them already.

    Args:
        memory: a dict that can be written as JSON; the caller loads and saves it. An entry counts while the files
            have the same names and stamps (`files.stamp`); anything else in it is ignored. Updated in place.

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

    key = f"{source.kind}:{source.path}"
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
        _warnings(data) if source.is_own else (),
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
    beside = source.folder / class_names.LABELS_FILE if source.is_own else None
    if beside and (names := class_names.read_labels(beside, num_classes)):
        return names
    # By content, not by kind: the same images have the same names whichever way they were found.
    known = (_synthetic_identity(), arrays.identity(file.sha256 for file in FILES))
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
    if source.kind == "npz":
        return npz.read_npz(source.path, ("x_test",))[0][0]
    _, _, path, _ = require_files(source.folder, "the folder")
    _, _, file, _ = FILES
    return read_idx(path, file, _remedy(source))[0]


def files_of(source: DataSource) -> list[Path]:
    """The paths of a source's files; none of the stand-in, which is drawn. Raises: SweepError: some are missing."""
    if source.folder is None:
        return []
    return [source.path] if source.kind == "npz" else require_files(source.folder, "the folder")


def require_files(folder: Path, asked_by: str) -> list[Path]:
    """The paths of a data set's four files: training images and labels, test images and labels.

    Args:
        folder: where they lie, gzipped or not. Names such as `emnist-letters-train-images-idx3-ubyte.gz` and
            `test-labels-idx1-ubyte` do too, where only one set of four is there.
        asked_by: what names the folder, for the message: `--data-dir`.

    Raises:
        SweepError: some are missing; the message names them.
    """
    found = [_find_file(folder, file) for file in FILES]
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
    missing = [file for file, path in zip(FILES, found, strict=True) if path is None]
    renames = [
        f"{path.name} as {file.gz_name}"
        for paths in sets.values()
        for file, path in zip(FILES, paths, strict=True)
        if file in missing and path is not None
    ]
    rename = f" (is it there by another name? {', '.join(renames[:4])} would be found)" if renames else ""
    raise SweepError(
        f"{folder}: {' and '.join(file.gz_name for file in missing)} missing; expected {_all_names()} there, gzipped "
        f"or not: put the missing file there or correct {asked_by}{rename}"
    )


def _existing_folder(path, asked_by):
    """`path` made absolute, or SweepError."""
    folder, mode = _resolved(path, f"{asked_by} names the folder", f"a folder with {_all_names()}")
    if not stat.S_ISDIR(mode):
        other = f"; a file of numpy's is {{npz: {path}}}" if folder.suffix == ".npz" else ""
        raise SweepError(
            f"{asked_by} names {folder}, which is not a folder: give the folder that holds {_all_names()}{other}"
        )
    return folder


def _existing_file(path, asked_by):
    """The same for a file."""
    expected = f"a file of numpy's with {', '.join(arrays.NAMES)}"
    file, mode = _resolved(path, f"{asked_by} names the file", expected)
    if not stat.S_ISREG(mode):
        other = f"; a folder with four IDX files is {{idx: {path}}}" if stat.S_ISDIR(mode) else ""
        raise SweepError(f"{asked_by} names {file}, which is not a file: give {expected}{other}")
    return file


def _resolved(path, names, expected):
    try:
        place = Path(path).expanduser().resolve()
        return place, place.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, or ~ of nobody
        raise SweepError(
            f"{names} {path}, which cannot be read ({reason_of(error)}): expected {expected}; correct the path"
        ) from error


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
            paths = sets.setdefault(match["set"].strip("-_. "), [None] * len(FILES))
            paths[number] = paths[number] or folder / name
    return sets


_MOST_LOOKED_AT = 10_000  # entries of a folder

_NEARLY = re.compile(
    r"(?P<set>.*?)(?<![a-z])(?P<part>training|train|testing|test|t10k)[-_. ]*(?P<holds>image|label)s?"
    r"[-_. ]*(idx[-_]?[13])?[-_. ]*(ubyte)?([-_. ]?\(\d+\))?(\.idx|\.bin)?(\.gz)?"
)


def _all_names():
    return ", ".join(file.gz_name for file in FILES)


def _stamps(source):
    """Name and stamp of each file, as JSON gives them back."""
    stamps = []
    for path in files_of(source):
        try:
            stamps.append([path.name, *files.stamp(path)])
        except OSError as error:
            raise SweepError(f"{path}: cannot be read ({reason_of(error)}); {_remedy(source)}") from error
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


def _check_fashion_mnist(source, paths, digests):
    """Each file is the one of Fashion-MNIST whose name it bears, or SweepError: damaged, swapped, or other data."""
    right = [digest == file.sha256 for digest, file in zip(digests, FILES, strict=True)]
    if not any(right) and not set(digests) & {file.sha256 for file in FILES}:
        raise SweepError(
            f"{source.folder}: sound IDX files, but none of the four is Fashion-MNIST's (by SHA-256); for a data set "
            f"of your own leave out --data-dir and FASHION_MNIST_DIR and set dataset: {{idx: {source.folder}}}"
        )
    for path, file, digest, is_right in zip(paths, FILES, digests, right, strict=True):
        twin = next((other for other in FILES if other.sha256 == digest), None)
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


def _synthetic_identity():
    return f"synthetic-v{garments.GARMENTS_VERSION}-{garments.TRAIN_IMAGES}-{garments.TEST_IMAGES}"


def _remedy(source):
    if source.is_own:
        return "write or copy the file again"
    if source.folder in [base / CACHE_SUBFOLDER for base in keras_bases()]:
        return "delete it and run again, so that it is downloaded afresh"
    return "copy the file again, or leave out --data-dir and FASHION_MNIST_DIR to have it downloaded"


def _said(dataset):
    """The value of `dataset:` as it stands in a sweep file."""
    return f"dataset: {{{dataset.kind}: {dataset.path}}}" if hasattr(dataset, "path") else f"dataset: {dataset}"
