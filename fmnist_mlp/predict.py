"""The exported models on image files: from any picture to what the network was trained on, and on to its classes.

`load_image` turns a picture into such an image as Fashion-MNIST holds (a light garment on black that fills the frame),
`FinishedSweep` finds the models that a sweep exported and what is known of them, `Predictor` is one of these models
ready to classify. Files come from anywhere: what is no image, too large, cut off or made to do harm is an
`UnreadableImage` that says so, in bounded memory; models are loaded without running code from them.

Keras is imported by `import_keras` alone, late and for the CPU. Leaves to others: arguments and printing (`cli`), the
page (`app`), other formats of a model (`export`).
"""

import contextlib
import csv
import filecmp
import io
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from fmnist_mlp import config, data, table
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import DamagedRecord, Record, Results
from fmnist_mlp.yaml_nodes import harmless

Invert = Literal["auto", "yes", "no"]

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 89_478_485  # Pillow's own Image.MAX_IMAGE_PIXELS, where it only warns: 1/3 GiB with four channels
CLASSES_FILE = "classes.json"  # the names of the classes, beside a model that left its results folder

# Of the largest possible distance between two RGB colours: what is nearer to the background is background, as for
# Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, section 2).
_CLOSENESS = 0.05
_WORKING_EDGE = 512  # pixels: whatever is more than twice as large is averaged down to between this and its double
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's own conversion to gray

# Of what Pillow 13 reads. Not among them: EPS, for which it starts Ghostscript, a program with a language of its own;
# IPTC, which holds any other; FITS, which it unpacks whole however large; and what nobody keeps photographs in.
_FORMATS = (
    *("PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "JPEG2000", "PPM", "PCX", "PSD", "QOI", "SGI"),
    "TGA",  # last: it has no signature and takes much for its own
)


# ---- images -------------------------------------------------------------------------------------------------------


class UnreadableImage(SweepError):
    """A picture that cannot be used; the message names it and says why, in one line."""


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture as the network wants it.

    Args:
        pixels: uint8, `(height, width)`, light on black.
        inverted: whether light and dark were exchanged.
        note: what was done to the picture, a line for people.
    """

    pixels: np.ndarray
    inverted: bool
    note: str


def load_image(
    source: Path | bytes | Image.Image, shape: tuple[int, int] = (28, 28), invert: Invert = "auto"
) -> PreparedImage:
    """Turn a picture into an image like those of Fashion-MNIST.

    As Fashion-MNIST was made from photographs (Xiao, Rasul and Vollgraf 2017, section 2): edges of the background's
    colour are trimmed, the longer edge is resized to the frame, the shorter one is extended with background on both
    sides alike, light and dark are exchanged, gray is kept in 8 bits. Two things differ. Pixels are averaged where the
    original skipped rows and columns and sharpened afterwards, for pictures here may be a hundred times larger; and
    the background is brought to black, wherever its gray was, because it was nearly white in every original.

    A picture that has the network's size already is taken pixel by pixel: only colours become gray, and light and
    dark are exchanged where need be.

    The background is the median colour of the picture's outermost pixels; the picture is dark on light where what
    stands out from it is darker in the mean. (Of Fashion-MNIST's 10,000 test images and their 10,000 negatives this
    gets all right.) Transparent pixels are background, whatever their colour.

    Args:
        source: a file, the content of one, or a picture; of an animation the first frame is taken.
        shape: `(height, width)` of the images that the network takes.
        invert: whether light and dark are exchanged; `auto` decides by the background.

    Returns:
        uint8 pixels of `shape`.

    Raises:
        UnreadableImage: it is missing, no image, damaged, or larger than `MAX_FILE_BYTES` or `MAX_PIXELS`.
    """
    name = str(source) if isinstance(source, Path) else "the image"
    content = _read(source) if isinstance(source, Path) else source
    with _pillow_errors(name):
        picture, original_size, is_animated = _decode(content, name)
        colours, alpha = _colours(picture)  # (height, width, 3) of 0 to 255; (height, width) of 0 to 1, or None
    notes = ["the first of its frames"] if is_animated else []

    if alpha is not None:
        colours = _on_background(colours, alpha, invert)
    background = np.median(colours[_border(colours.shape[:2])], axis=0)  # (3,)
    gray, level = colours @ _LUMA, float(background @ _LUMA)
    stands_out = np.linalg.norm(colours - background, axis=2) > _CLOSENESS * 255 * math.sqrt(3)
    contrast = gray[stands_out].mean() - level if stands_out.any() else 0.0
    # As much lighter as darker: a picture and its negative must still be told apart.
    is_dark_on_light = contrast < 0 if abs(contrast) > 1e-6 else level > 127.5
    inverted = is_dark_on_light if invert == "auto" else invert == "yes"
    if invert == "auto":
        notes.append("dark on light: inverted" if inverted else "light on dark: not inverted")
    else:
        notes.append("inverted as asked" if inverted else "not inverted, as asked")

    if original_size == shape[::-1]:
        pixels = 255 - gray if inverted else gray
        notes.append(f"taken pixel by pixel: {shape[1]}x{shape[0]} already")
    elif not stands_out.any():
        pixels = np.zeros(shape)
        notes.append("blank: nothing stands out from the background")
    else:
        if inverted == is_dark_on_light:
            gray = gray[_bounding_box(stands_out)]
        else:  # the border is no background, then: nothing is known of it
            level = 255.0 if inverted else 0.0
        lightness = (level - gray) * 255 / level if inverted else (gray - level) * 255 / (255 - level)
        pixels = _fitted(np.clip(lightness, 0, 255), shape)
        notes.append(f"fitted from {original_size[0]}x{original_size[1]}")
    return PreparedImage(np.rint(pixels).clip(0, 255).astype(np.uint8), bool(inverted), "; ".join(notes))


def _read(path: Path) -> bytes:
    try:
        # Looked at before it is opened: opening a pipe waits for a writer, and a device may never end.
        if path.is_dir():
            raise UnreadableImage(f"{path}: is a folder, not an image")
        if path.exists() and not path.is_file():
            raise UnreadableImage(f"{path}: is not an ordinary file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"{path}: cannot be read ({reason})") from error
    return content


@contextlib.contextmanager
def _pillow_errors(name: str) -> Iterator[None]:
    """Make whatever Pillow has against a file one `UnreadableImage`; its warnings are not for our users."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as "Corrupt EXIF data"
            yield
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage(f"{name}: is no image of a kind that is read here") from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name) from error
    except Exception as error:  # decoders raise whatever a damaged file makes them: SyntaxError, struct.error, ...
        reason = harmless(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UnreadableImage(f"{name}: is damaged or cut off ({reason})") from error


def _too_many_pixels(name: str) -> UnreadableImage:
    return UnreadableImage(f"{name}: has too many pixels, at most {MAX_PIXELS / 1e6:.0f} million are read")


def _decode(source: bytes | Image.Image, name: str) -> tuple[Image.Image, tuple[int, int], bool]:
    """The first frame, upright and averaged down where it is large; its size before that; whether there are more."""
    if isinstance(source, Image.Image):
        picture = source
    else:
        if not source:
            raise UnreadableImage(f"{name}: is empty")
        if len(source) > MAX_FILE_BYTES:
            raise UnreadableImage(f"{name}: is larger than {MAX_FILE_BYTES // 2**20} MiB")
        picture = Image.open(io.BytesIO(source), formats=_FORMATS)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(name)
    is_animated = getattr(picture, "is_animated", False)  # to count the frames, all would have to be read
    transposition = _transposition(picture)
    if not isinstance(source, Image.Image):
        picture.draft(None, (_WORKING_EDGE, _WORKING_EDGE))  # JPEG unpacks a large picture small
        picture.load()
    if picture.width * picture.height > MAX_PIXELS:  # an icon is as large as the picture in it
        raise _too_many_pixels(name)

    picture = _averaged_down(picture)
    if picture.mode in ("I", "F"):
        picture = Image.fromarray(_to_8_bit_range(np.asarray(picture, np.float32)))
    if transposition is not None:
        picture = picture.transpose(transposition)
        if transposition in _QUARTER_TURNS:
            width, height = height, width
    return picture, (width, height), is_animated


def _transposition(picture: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright; None where it is, or where its EXIF data are damaged."""
    with contextlib.suppress(Exception):  # EXIF is parsed as carelessly as it is written
        return _TRANSPOSITIONS.get(picture.getexif().get(_ORIENTATION_TAG))
    return None


_ORIENTATION_TAG = 0x0112  # of EXIF
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = {_TRANSPOSITIONS[orientation] for orientation in (5, 6, 7, 8)}


def _averaged_down(picture: Image.Image) -> Image.Image:
    """In a known mode, and with a longer edge below twice `_WORKING_EDGE`: squares of pixels become their mean."""
    factor = max(picture.size) // _WORKING_EDGE
    if factor <= 1:
        return _in_known_mode(picture)
    # Band by band: converting a large picture whole would take another 340 MiB.
    bands = [
        _in_known_mode(picture.crop((0, top, picture.width, min(top + 8 * factor, picture.height)))).reduce(factor)
        for top in range(0, picture.height, 8 * factor)
    ]
    smaller = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    for i, band in enumerate(bands):
        smaller.paste(band, (0, 8 * i))
    return smaller


def _in_known_mode(picture: Image.Image) -> Image.Image:
    """In mode L, RGB or RGBA, 8 bits a channel; I or F where the file holds more bits, whatever their range."""
    if picture.mode.startswith("I"):
        return picture.convert("I")
    if picture.mode == "F":
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode == "LAB":  # Pillow converts it with a colour profile only; its first channel is the lightness
        return picture.getchannel(0)
    return picture if picture.mode == "L" else picture.convert("L" if picture.mode == "1" else "RGB")


def _to_8_bit_range(values: np.ndarray) -> np.ndarray:
    """Gray values of more than 8 bits as 0 to 255, by what their range can only mean.

    Args:
        values: float32, `(height, width)`.
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        return (values - low) * (255 / (high - low))  # a measurement: its own range is all that is known
    full = 1.0 if high <= 1 else 255.0 if high <= 255 else 65535.0
    return values * np.float32(255 / full)


def _colours(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 `(height, width, 3)` of 0 to 255, and opacity `(height, width)` of 0 to 1 where there is any."""
    values = np.asarray(picture, np.float32)
    if values.ndim == 2:
        return np.repeat(values[:, :, None], 3, axis=2), None
    return values[:, :, :3], values[:, :, 3] / 255 if values.shape[2] == 4 else None


def _border(shape: tuple[int, int]) -> np.ndarray:
    """Which pixels are the outermost ones: bool, `shape`; a fiftieth of the shorter edge, at least one pixel."""
    width = max(1, min(shape) // 50)
    border = np.ones(shape, bool)
    border[width:-width, width:-width] = False
    return border


def _on_background(colours: np.ndarray, alpha: np.ndarray, invert: Invert) -> np.ndarray:
    """Transparent pixels as background: of the border's colour where that is opaque, else of what contrasts."""
    border = _border(alpha.shape)
    opaque = border & (alpha > 0.5)
    if opaque.sum() * 2 > border.sum():  # rounded corners, say
        background = np.median(colours[opaque], axis=0)
    elif invert == "auto":
        is_dark = alpha.any() and np.average(colours @ _LUMA, weights=alpha) < 127.5
        background = 255.0 if is_dark else 0.0
    else:
        background = 255.0 if invert == "yes" else 0.0
    return colours * alpha[:, :, None] + background * (1 - alpha[:, :, None])


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _fitted(gray: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As large as fits into `shape` with its aspect ratio kept, in the middle, on black: `shape`, float."""
    height, width = gray.shape
    scale = min(shape[0] / height, shape[1] / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resized = np.asarray(Image.fromarray(gray.astype(np.float32)).resize(size, Image.Resampling.LANCZOS))
    framed = np.zeros(shape)
    top, left = (shape[0] - size[1]) // 2, (shape[1] - size[0]) // 2
    framed[top : top + size[1], left : left + size[0]] = resized
    return framed


# ---- what a sweep exported ----------------------------------------------------------------------------------------


class FinishedSweep:
    """What lies under `results/<name>/`: the table, the exported models, the records behind them. Read only.

    Args:
        results_dir: the results folder.
        name: of the sweep.

    Raises:
        SweepError: there are no results of such a sweep.
    """

    def __init__(self, results_dir: Path, name: str = "architectures"):
        self.name, self.folder = name, Path(results_dir) / name
        self.results = Results(results_dir)
        if config.name_problem(name) is not None or not self.folder.is_dir():
            there_are = sorted(path.parent.name for path in self.results.root.glob("*/results.csv"))
            hint = f"there are {', '.join(there_are)} (--sweep)" if there_are else "run python sweep.py first"
            raise SweepError(f"no results of a sweep '{harmless(name)[:100]}' in {results_dir}: {hint}")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `results.csv` as `table.make_table` made them; none before the first trial is done.

        Every column is there, None where the file is empty or older than the column.
        """
        rows = _read_csv(self.folder / "results.csv")
        return [{column.name: _value(column.name, row) for column in table.RESULTS_COLUMNS} for row in rows]

    def row(self, architecture: str) -> dict[str, Any] | None:
        """The row of one architecture; None where the table has none."""
        return next((row for row in self.rows() if row["architecture"] == architecture), None)

    def model_names(self) -> list[str]:
        """The architectures that have an exported model: in the table's order, then what the table does not name."""
        names = {path.stem for path in (self.folder / "models").glob("*.keras")}
        order = [row["architecture"] for row in self.rows() if row["architecture"] in names]
        return order + sorted(names - {*order})

    def best(self) -> str:
        """The architecture whose verdict is `best`; where no model has it, the one with the best mean `val_accuracy`.

        None has it while the sweep runs, and where a baseline is the best.

        Raises:
            SweepError: there is no exported model yet.
        """
        names = self.model_names()
        if not names:
            raise SweepError(f"{self.folder} holds no exported model yet: run python sweep.py, or name one by its path")
        rows = [row for row in self.rows() if row["architecture"] in names]
        best = [row for row in rows if row["verdict"] == "best"] or table.sort_rows(rows, "val_accuracy")
        return best[0]["architecture"] if best else names[0]

    def model_path(self, architecture: str) -> Path:
        """The exported model of an architecture.

        Raises:
            SweepError: it has none; the message lists those that have.
        """
        names = self.model_names()
        if architecture not in names:
            there_are = f"there are {', '.join(names)}" if names else "run python sweep.py first"
            raise SweepError(f"no exported model '{harmless(architecture)[:100]}' in {self.folder}: {there_are}")
        return self.folder / "models" / f"{architecture}.keras"

    def record(self, architecture: str) -> Record | None:
        """The record of the trial whose model is exported; None where no record has this very model."""
        model = self.model_path(architecture)
        for trial in _read_csv(self.folder / "trials.csv"):
            fingerprint = trial.get("fingerprint") or ""
            if trial.get("architecture") != architecture or not re.fullmatch("[0-9a-f]{64}", fingerprint):
                continue
            theirs = self.results.record_folder(fingerprint) / "model.keras"
            with contextlib.suppress(OSError, DamagedRecord):
                # The same file, where links reach, or a copy of it.
                if os.path.samefile(theirs, model) or filecmp.cmp(theirs, model, shallow=False):
                    return self.results.load_record(fingerprint)
        return None

    def load_images(self, record: Record, data_dir: Path | None = None) -> data.Dataset:
        """The very images that a trial of this sweep was trained and scored on.

        Args:
            data_dir: where Fashion-MNIST lies, if not in Keras's cache.

        Raises:
            SweepError: they are not to be found, or have changed since.
        """
        dataset = record.dataset
        if dataset.startswith("idx:"):  # the record has the folder's name, the sweep file its path
            sweep_file = dict(self.results.sweeps()).get(self.name)
            if sweep_file is None:
                raise SweepError(f"the images of {self.name} ({dataset}) cannot be found: its sweep file is not known")
            dataset = config.load_sweep(sweep_file).dataset
        images = data.load_data(data.find_data(dataset, data_dir if dataset == "fashion_mnist" else None))
        if images.identity != record.settings["data"]:
            raise SweepError(f"the images in {images.source.folder} are not those that {self.name} was trained on")
        return images


@dataclass(frozen=True)
class ChosenModel:
    """A model's file, what to call it, and the names of its classes; none where they are not known."""

    name: str
    path: Path
    class_names: tuple[str, ...] = ()


def choose_model(results_dir: Path, sweep: str = "architectures", wanted: str | None = None) -> ChosenModel:
    """The model to predict with.

    Args:
        wanted: the name of an architecture of the sweep, or the path of a `.keras` file; default: the sweep's best.

    Raises:
        SweepError: there is no such model.
    """
    if wanted is not None and (wanted.endswith(".keras") or {*wanted} & {"/", os.sep}):
        path = Path(wanted)
        if path.suffix != ".keras" or not path.is_file():
            raise SweepError(f"{harmless(wanted)[:300]}: is no file of a Keras model (.keras)")
        return ChosenModel(path.stem, path, _class_names_of(path))
    finished = FinishedSweep(results_dir, sweep)
    name = finished.best() if wanted is None else wanted
    path, record = finished.model_path(name), finished.record(name)
    return ChosenModel(name, path, record.class_names if record else ())


def _class_names_of(path: Path) -> tuple[str, ...]:
    """From what lies around a model's file: the sweep that it belongs to, its record, or the file `export` wrote."""
    if path.parent.name == "models":
        with contextlib.suppress(SweepError):
            sweep_folder = path.resolve().parent.parent
            record = FinishedSweep(sweep_folder.parent, sweep_folder.name).record(path.stem)
            return record.class_names if record else ()
    for beside, key in ((path.with_name("record.json"), "class_names"), (path.with_name(CLASSES_FILE), None)):
        with contextlib.suppress(OSError, ValueError, RecursionError, LookupError, TypeError):
            content = json.loads(beside.read_bytes())
            names = content if key is None else content[key]
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return tuple(names)
    return ()


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row.get("architecture")]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SweepError(f"{path}: cannot be read ({error}); python sweep.py writes it again") from error


_TEXT_COLUMNS = ("architecture", "layers", "verdict", "pareto", "size", "dataset", "mixed")


def _value(column: str, row: Mapping[str, str | None]) -> str | int | float | None:
    text = row.get(column)
    if not text or column in _TEXT_COLUMNS:
        return text or None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


# ---- the model ----------------------------------------------------------------------------------------------------


class Predictor:
    """An exported model, loaded and ready, on the CPU.

    Args:
        model_path: a `.keras` file: uint8 images `(n, height, width)` in, class probabilities `(n, classes)` out.
        class_names: one a class; the numbers stand in their place where there are not as many.

    Raises:
        SweepError: it is no such model, or one that carries code.
    """

    def __init__(self, model_path: Path, class_names: Sequence[str] = ()):
        self._model = load_model(model_path)
        inputs, outputs = self._model.input_shape, self._model.output_shape
        if not _is_shape(inputs, 3) or not _is_shape(outputs, 2):
            raise SweepError(
                f"{model_path}: takes {inputs} and gives {outputs}; a model that takes images "
                "(None, height, width) and gives probabilities (None, classes) was expected"
            )
        self.shape: tuple[int, int] = inputs[1:]
        numbers = tuple(map(str, range(outputs[1])))
        self.class_names = tuple(class_names) if len(class_names) == len(numbers) else numbers

    def predict(self, pixels: np.ndarray) -> list[tuple[str, float]]:
        """The classes of one image with their probabilities, the most probable first.

        Args:
            pixels: uint8, `shape`.
        """
        if pixels.dtype != np.uint8 or pixels.shape != self.shape:
            raise ValueError(f"expected uint8 pixels of shape {self.shape}, got {pixels.dtype} of {pixels.shape}")
        probabilities = self.probabilities(pixels[None])[0]
        order = np.argsort(-probabilities, kind="stable")
        return [(self.class_names[number], float(probabilities[number])) for number in order]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of many images at once: uint8 `(n, height, width)` to float32 `(n, classes)`."""
        keras = import_keras()
        with keras.device("cpu"):
            return np.concatenate(
                [
                    keras.ops.convert_to_numpy(self._model(images[start : start + 1000], training=False))
                    for start in range(0, len(images), 1000)
                ]
            )


def load_model(path: Path):
    """The Keras model of a `.keras` file, on the CPU; one that carries code is refused, not run.

    Raises:
        SweepError: it cannot be loaded.
    """
    keras = import_keras()
    try:
        with keras.device("cpu"):
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged file makes it: zipfile, json, h5py, its own
        reason = harmless(" ".join(str(error).split()))[:200]
        raise SweepError(f"{path}: is no model that Keras can load ({reason})") from error


def import_keras():
    """Import Keras with TensorFlow as a worker would, but without a GPU: for a few images it is not worth claiming."""
    if "tensorflow" in sys.modules:
        import keras

        return keras
    # Imported here: it is needed only where TensorFlow is about to be loaded, which takes seconds.
    from fmnist_mlp import trial

    # Level 3: TensorFlow 2.21 calls it an error that there is no GPU.
    _set_environment(trial.worker_environment("cpu", threads=1) | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    with trial.quiet_start():
        import keras
    return keras


def _set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _is_shape(shape, dimensions: int) -> bool:
    """Whether it is `(None, size, ...)` with so many dimensions; models of several inputs have a list of shapes."""
    return (
        isinstance(shape, tuple)
        and len(shape) == dimensions
        and shape[0] is None
        and all(isinstance(size, int) and size > 0 for size in shape[1:])
    )
