"""Pictures of every kind as the network wants them: from a photo to such an image as Fashion-MNIST holds.

`load_image` makes of any picture a light garment on black that fills the frame. Files come from anywhere: what is no
image, too large, cut off or made to do harm is an `UnreadableImage` that says so, in bounded memory.

Leaves to others: models (`predict`), arguments and printing (`cli`), the page (`app`).
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fmnist_mlp.errors import SweepError
from fmnist_mlp.yaml_nodes import harmless

Invert = Literal["auto", "yes", "no"]

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 89_478_485  # Pillow's own Image.MAX_IMAGE_PIXELS, where it only warns: 1/3 GiB with four channels

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
