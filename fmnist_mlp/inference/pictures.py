"""Pictures of every kind as the network wants them: from a photo to such an image as Fashion-MNIST holds.

`load_image` makes of any picture a light garment on black that fills the frame. Files come from anywhere: what is no
image, too large, cut off or made to do harm is an `UnreadableImage` that says so. Bytes and pixels are bounded here;
`decoder` calls this in a process of its own, where time and memory are bounded too.

Leaves to others: models (`finished`), arguments and printing (`cli`), the page (`app`).
"""

import contextlib
import io
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageChops, JpegImagePlugin

from fmnist_mlp.errors import SweepError
from fmnist_mlp.words import harmless

Invert = Literal["auto", "yes", "no"]

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 89_478_485  # Pillow's own Image.MAX_IMAGE_PIXELS, where it only warns: 1/3 GiB with four channels
MAX_REDUCED_PIXELS = 300_000_000  # of a JPEG, which is unpacked at an eighth of its edges

RUN_LENGTHS = "BMP with run lengths"  # for Pillow no format of its own

# Of what Pillow 13 reads. Not among them: EPS, for which it starts Ghostscript, a program with a language of its own;
# IPTC, which holds any other; FITS, which it unpacks whole however large; and what nobody keeps photographs in.
FORMATS = (
    *("PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", RUN_LENGTHS, "DIB", "ICO", "JPEG2000", "PPM", "PCX", "PSD"),
    *("QOI", "SGI"),
    "TGA",  # last: it has no signature and takes much for its own
)

# Of the largest possible distance between two RGB colours: what is nearer to the background is background, as for
# Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, section 2).
_CLOSENESS = 0.05
_WORKING_EDGE = 512  # pixels: whatever is more than twice as large is averaged down to between this and its double
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's own conversion to gray


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
    source: Path | bytes | Image.Image,
    shape: tuple[int, int] = (28, 28),
    invert: Invert = "auto",
    formats: Sequence[str] = FORMATS,
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
        formats: which kinds of files are read, of `FORMATS`.

    Returns:
        uint8 pixels of `shape`.

    Raises:
        UnreadableImage: it is missing, no image, damaged, or larger than `MAX_FILE_BYTES` or `MAX_PIXELS`.
    """
    name = name_of(source)
    content = read_file(source) if isinstance(source, Path) else source
    with _pillow_errors(name):
        picture, original_size, notes = _decode(content, name, formats)
        colours, alpha = _colours(picture)  # (height, width, 3) of 0 to 255; (height, width) of 0 to 1, or None

    if alpha is not None:
        colours = _on_background(colours, alpha, invert)
    border = colours[_border(colours.shape[:2])]  # (n, 3)
    background = np.median(border, axis=0)  # (3,)
    gray, level = colours @ _LUMA, float(background @ _LUMA)
    stands_out = _distance(colours, background) > _CLOSENESS
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
            if _is_uneven(_distance(border, background)):
                notes.append("uneven background: part of it counts as garment")
        else:  # the border is no background, then: nothing is known of it
            level = 255.0 if inverted else 0.0
        lightness = (level - gray) * 255 / level if inverted else (gray - level) * 255 / (255 - level)
        pixels = _fitted(np.clip(lightness, 0, 255), shape)
        notes.append(f"fitted from {original_size[0]}x{original_size[1]}")
    return PreparedImage(np.rint(pixels).clip(0, 255).astype(np.uint8), bool(inverted), "; ".join(notes))


def name_of(source: Path | bytes | Image.Image) -> str:
    """What messages call a picture."""
    return str(source) if isinstance(source, Path) else "the image"


def read_file(path: Path) -> bytes:
    """The content of a file, of one that is too large no more than shows it.

    Raises:
        UnreadableImage: it is missing, not to be read, or no file.
    """
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
    except (UnreadableImage, MemoryError):  # how much memory there was, its owner knows
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name) from error
    except Exception as error:  # decoders raise whatever a damaged file makes them: SyntaxError, struct.error, ...
        reason = harmless(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UnreadableImage(f"{name}: is damaged or cut off ({reason})") from error


def _too_many_pixels(name: str) -> UnreadableImage:
    most, most_reduced = round(MAX_PIXELS / 1e6), round(MAX_REDUCED_PIXELS / 1e6)
    return UnreadableImage(
        f"{name}: has too many pixels, at most {most} million are read, of a JPEG {most_reduced} million"
    )


# ---- files --------------------------------------------------------------------------------------------------------


def _decode(
    source: bytes | Image.Image, name: str, formats: Sequence[str]
) -> tuple[Image.Image, tuple[int, int], list[str]]:
    """The first frame, upright and averaged down where it is large; its upright size before that; what to note."""
    is_file = not isinstance(source, Image.Image)
    picture = _opened(source, name, formats) if is_file else source
    notes = ["the first of its frames"] if getattr(picture, "is_animated", False) else []  # to count is to read all
    stored_size, stored_as = picture.size, _raw_mode(picture)
    if math.prod(stored_size) > (MAX_REDUCED_PIXELS if picture.format in _REDUCIBLE and is_file else MAX_PIXELS):
        raise _too_many_pixels(name)
    if is_file:
        picture = _unpacked(picture, name, lambda: _opened(source, name, formats))
    picture.load()
    if 0 in picture.size:
        raise UnreadableImage(f"{name}: has no pixels")
    if math.prod(picture.size) > MAX_PIXELS:  # an icon is as large as the picture in it
        raise _too_many_pixels(name)
    # What was unpacked smaller keeps the size it has in the file; a TIFF is upright already.
    size = stored_size if picture.format in _REDUCIBLE else picture.size
    transposition = _transposition(picture)

    if is_file and stored_as.endswith(_16_BITS) and picture.mode in ("RGB", "RGBA"):
        picture, bits = _unused_bits_dropped(picture, stored_as, lambda: _opened(source, name, formats))
        notes += [_bits_in_words(bits)] if bits < 16 else []
    white = _white(picture)
    picture = _averaged_down(picture)
    if picture.mode in ("I", "F"):
        values, note = _to_8_bit_range(np.asarray(picture, np.float32), white)
        picture, notes = Image.fromarray(values), notes + ([note] if note else [])
    if transposition is not None:
        picture = picture.transpose(transposition)
        if transposition in _QUARTER_TURNS:
            size = size[::-1]
    return picture, size, notes


_NO_SUCH_KIND = "is no image of a kind that is read here"


def _opened(content: bytes, name: str, formats: Sequence[str]) -> Image.Image:
    """The picture of a file, not yet unpacked."""
    if not content:
        raise UnreadableImage(f"{name}: is empty")
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableImage(f"{name}: is larger than {MAX_FILE_BYTES // 2**20} MiB")
    if math.prod(_webp_size(content)) > MAX_PIXELS:  # opening it would take the memory already
        raise _too_many_pixels(name)
    try:
        if content.startswith(b"\xff\xd8") and "JPEG" in formats:
            # What Image.open would call, had it not a limit of its own, of pixels that need not be unpacked.
            return JpegImagePlugin.jpeg_factory(io.BytesIO(content))
        picture = Image.open(io.BytesIO(content), formats=[kind for kind in formats if kind != RUN_LENGTHS])
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage(f"{name}: {_NO_SUCH_KIND}{_hint(content)}") from error
    if picture.format in ("BMP", "DIB") and picture.info.get("compression") in (1, 2) and RUN_LENGTHS not in formats:
        raise UnreadableImage(f"{name}: {_NO_SUCH_KIND}: it is {RUN_LENGTHS}, save it as PNG or JPEG")
    return picture


def _webp_size(content: bytes) -> tuple[int, int]:
    """The size that a WebP announces (RFC 9649); no pixels where it is none."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(content) < 30:
        return (0, 0)
    if content[12:16] == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if content[12:16] == b"VP8L":
        both = int.from_bytes(content[21:25], "little")
        return 1 + (both & 0x3FFF), 1 + (both >> 14 & 0x3FFF)
    width, height = int.from_bytes(content[26:28], "little"), int.from_bytes(content[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


_REDUCIBLE = ("JPEG", "MPO", "JPEG2000")  # MPO: a JPEG with further ones behind it


def _unpacked(picture: Image.Image, name: str, reopen: Callable[[], Image.Image]) -> Image.Image:
    """The picture with its pixels; of a large JPEG or JPEG 2000 no more of them than are looked at."""
    halvings = range(1, max(1, min(picture.size) // _WORKING_EDGE).bit_length())
    # Pillow 12.3 rounds sizes, OpenJPEG rounds them up: where they disagree, nothing is unpacked.
    halvings = [n for n in halvings if all((size + (1 << n - 1)) >> n == -(-size >> n) for size in picture.size)]
    if picture.format == "JPEG2000" and halvings:
        picture.reduce = halvings[-1]
        with contextlib.suppress(OSError):  # it may have fewer levels
            picture.load()
            return picture
        picture = reopen()
    picture.draft(None, (_WORKING_EDGE, _WORKING_EDGE))  # of others than JPEG this does nothing
    if math.prod(picture.size) > MAX_PIXELS:
        raise _too_many_pixels(name)
    picture.load()
    return picture


_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2", b"heif"}
_FILM = "a film: take a still of it, as PNG or JPEG"
_KINDS = (  # what a file begins with, what it is, what to do
    (rb"%PDF", "PDF: save the picture that is in it as PNG or JPEG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL: save it as PNG or JPEG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript: save it as PNG"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg", "a drawing (SVG): save it as PNG"),
    (rb"\s*<(!doctype html|html|head|script)", "a web page: save the picture that is on it"),
    (rb"\x1a\x45\xdf\xa3", _FILM),
    (rb"FUJIFILMCCD-RAW|II..\0\0HEAPCCDR|IIR[OS]|IIU\0", "a camera's raw file: save it as JPEG"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive or a model: give the pictures that are in it"),
    (rb"\x93NUMPY", "a NumPy array: save each image as PNG"),
    (rb"\0\0\x08\x03", "a data set in IDX format: name its folder in a sweep file"),
)


def _hint(content: bytes) -> str:
    """What a file that cannot be read is, and what helps; nothing where that is not known."""
    start = content[:1024]
    if start[4:8] == b"ftyp":
        brands = {start[at : at + 4] for at in range(8, min(int.from_bytes(start[:4], "big"), len(start)), 4)}
        if brands & _HEIF:
            return (
                ": it is HEIC, as phones save photographs: save or send it as JPEG "
                "(iPhone: Settings > Camera > Formats > Most Compatible)"
            )
        return ": it is " + ("a camera's raw file: save it as JPEG" if b"crx " in brands else _FILM)
    for signature, kind in _KINDS:
        if re.match(signature, start, re.DOTALL | re.IGNORECASE):
            return f": it is {kind}"
    with contextlib.suppress(Exception):  # of those that are read elsewhere
        kind = Image.open(io.BytesIO(content), formats=[kind for kind in FORMATS[:-1] if kind != RUN_LENGTHS]).format
        return f": it is {kind}, save it as PNG or JPEG"
    return ""


def _transposition(picture: Image.Image) -> Image.Transpose | None:
    """What turns an unpacked picture upright; None where it is, or where its EXIF data are damaged.

    Unpacked: then Pillow has turned a TIFF already and no longer says how, and it has read what stands behind the
    pixels of a PNG.
    """
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


# ---- grays of more than 8 bits ------------------------------------------------------------------------------------

_16_BITS = (";16B", ";16L", ";16N")  # ends of Pillow's names for what is in a file: which byte comes first
_DEPTHS = (8, 10, 12, 14, 16)  # bits: of scanners, cameras and microscopes, kept in 16


def _raw_mode(picture: Image.Image) -> str:
    """Pillow's name for how the pixels lie in the file; of what is not to be unpacked, nothing."""
    arguments = picture.tile[0].args if getattr(picture, "tile", None) else ""
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else ""


def _unused_bits_dropped(
    picture: Image.Image, stored_as: str, reopen: Callable[[], Image.Image]
) -> tuple[Image.Image, int]:
    """A picture of 16 bits a colour, of which Pillow keeps the upper 8, by the bits that are used; how many these are.

    Args:
        picture: unpacked, RGB or RGBA.
        stored_as: its `_raw_mode` before that.
        reopen: the same, not yet unpacked.
    """
    high = max(high for _, high in picture.getextrema()[:3])
    bits = next(bits for bits in _DEPTHS if high < 2 ** (bits - 8))
    if bits == 16:
        return picture, bits
    # Unpacked as if the bytes came the other way round, what Pillow keeps are the lower 8 bits.
    if stored_as == "LA;16B":
        exchanged = "RGBA"  # both bytes of the gray, both of the opacity
    else:
        other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
        exchanged = stored_as[:-1] + other[stored_as[-1]]
    lower = reopen()
    lower.tile = [
        tile._replace(args=(exchanged, *tile.args[1:]) if isinstance(tile.args, tuple) else exchanged)
        for tile in lower.tile
    ]
    lower.load()
    if stored_as == "LA;16B":
        lower = Image.merge("RGBA", [lower.getchannel(channel) for channel in "GGGA"])
    bands = []
    for upper_band, lower_band in zip(picture.split(), lower.split(), strict=True):
        if upper_band.getextrema()[1] < 2 ** (bits - 8):  # not an opacity that uses all its bits
            upper_band = ImageChops.add(
                upper_band.point([value << 16 - bits & 255 for value in range(256)]),
                lower_band.point([value >> bits - 8 for value in range(256)]),
            )
        bands.append(upper_band)
    return Image.merge(picture.mode, bands), bits


def _white(picture: Image.Image) -> int | None:
    """The value of white where the file says it; None where it says 16 bits, whatever it uses of them."""
    if picture.format in ("PPM", "JPEG2000") and picture.mode.startswith("I"):
        return 65535  # Pillow brings them to that
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(_BITS_TAG)
        if isinstance(bits, tuple) and len(bits) == 1 and bits[0] in range(9, 16):
            return 2 ** bits[0] - 1
    return None


_BITS_TAG = 0x0102  # of TIFF: BitsPerSample


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


def _to_8_bit_range(values: np.ndarray, white: int | None) -> tuple[np.ndarray, str]:
    """Gray values of more than 8 bits as 0 to 255, by what their range can only mean; what to note of that.

    Args:
        values: float32, `(height, width)`.
        white: the value of white; None: not known.
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:  # a measurement: its own range is all that is known
        return (values - low) * (255 / max(high - low, 1e-30)), f"values from {low:g} to {high:g} made black to white"
    if white is None:
        white = 1 if high <= 1 else next(2**bits - 1 for bits in _DEPTHS if high < 2**bits)
    return values * np.float32(255 / white), _bits_in_words(white.bit_length()) if 255 <= white < 65535 else ""


def _bits_in_words(bits: int) -> str:
    return f"values of {bits} bits"


# ---- what is seen -------------------------------------------------------------------------------------------------


def _colours(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 `(height, width, 3)` of 0 to 255, and opacity `(height, width)` of 0 to 1 where there is any."""
    values = np.asarray(picture, np.float32)
    if values.ndim == 2:
        return np.repeat(values[:, :, None], 3, axis=2), None
    return values[:, :, :3], values[:, :, 3] / 255 if values.shape[2] == 4 else None


def _distance(colours: np.ndarray, background: np.ndarray) -> np.ndarray:
    """How far colours are from one, of the largest possible distance: `(..., 3)` to `(...)`, 0 to 1."""
    return np.linalg.norm(colours - background, axis=-1) / (255 * math.sqrt(3))


def _is_uneven(distances: np.ndarray) -> bool:
    """Whether the border of a picture is no even background, by its pixels' distances from their median colour.

    It is not if three tenths of it are something else, such as a floor below a wall; nor if its colour changes little
    by little (light that falls off, a fold, a grain): if a twentieth of it has left the background, and every shade
    on the way there occurs. A garment that touches the border is another colour at once. (Of 500 test images that
    fill their frame less than 2 % are called uneven.)
    """
    step = _CLOSENESS / 2
    shares = np.histogram(distances, np.arange(0, 1 + 2 * step, step))[0] / len(distances)
    gap = np.argmax(shares < 0.01)
    return bool(shares[2:].sum() > 0.3 or shares[2:gap].sum() > 0.05)


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
