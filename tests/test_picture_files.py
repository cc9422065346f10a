"""Files of every kind, depth, orientation and size against the same garment as a plain picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from predicting import draw_garment, encode

from fmnist_mlp.inference.pictures import UnreadableImage, load_image

DARK, LIGHT = (40, 30, 90), (250, 250, 250)


# ---- files of every kind ----

MODES = {
    "1": lambda picture: picture.convert("1", dither=Image.Dither.NONE),
    "L": lambda picture: picture.convert("L"),
    "LA": lambda picture: picture.convert("LA"),
    "P": lambda picture: picture.quantize(8),
    "RGB": lambda picture: picture,
    "RGBA": lambda picture: picture.convert("RGBA"),
    "CMYK": lambda picture: picture.convert("CMYK"),
    "YCbCr": lambda picture: picture.convert("YCbCr"),
    "HSV": lambda picture: picture.convert("HSV"),
    "LAB": lambda picture: Image.merge("LAB", [picture.convert("L"), *[Image.new("L", picture.size, 128)] * 2]),
    "I": lambda picture: picture.convert("I"),
    "F": lambda picture: picture.convert("F"),
    "I;16": lambda picture: Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257),
    "I;16, 8 bits of it used": lambda picture: Image.fromarray(np.asarray(picture.convert("L"), np.uint16)),
    "I, 16 bits of it used": lambda picture: Image.fromarray(np.asarray(picture.convert("L"), np.int32) * 257),
    "F from 0 to 1": lambda picture: Image.fromarray(np.asarray(picture.convert("L"), np.float32) / 255),
    "F, a measurement": lambda picture: Image.fromarray(np.asarray(picture.convert("L"), np.float32) * 1000 - 5e4),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(300, 400), (1200, 1600)], ids=["small", "averaged down"])
def test_every_mode_shows_the_same_garment(mode, size):
    picture = draw_garment(size, garment=(0, 0, 0), background=(255, 255, 255))
    expected = load_image(picture).pixels.astype(int)
    prepared = load_image(MODES[mode](picture))
    assert prepared.inverted
    np.testing.assert_allclose(prepared.pixels, expected, atol=1)


FILES = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "ICO", "JPEG2000", "PPM", "PCX", "QOI", "SGI", "TGA")


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_shows_the_same_garment(kind, tmp_path):
    picture = draw_garment((240, 240))
    if kind == "GIF":
        picture = picture.quantize(8)
    options = {"sizes": [(240, 240)]} if kind == "ICO" else {}
    content = encode(picture, kind, **options)
    path = tmp_path / "a picture without a suffix: é"
    path.write_bytes(content)
    expected = load_image(draw_garment((240, 240))).pixels.astype(int)
    difference = np.abs(load_image(path).pixels - expected)
    # Those that lose something blur edges, which may move the frame by a pixel of the picture.
    assert difference.mean() < (6 if kind in ("JPEG", "WEBP", "AVIF", "JPEG2000") else 1)
    np.testing.assert_array_equal(load_image(path).pixels, load_image(content).pixels)


def test_a_16_bit_png_keeps_its_grays():
    levels = np.linspace(0, 65535, 28 * 28).astype(np.uint16).reshape(28, 28)
    prepared = load_image(encode(Image.fromarray(levels)), invert="no")
    np.testing.assert_allclose(prepared.pixels, levels / 257, atol=0.51)
    assert "bits" not in prepared.note


def png_of_16_bits(values):
    """Pillow writes no colours of 16 bits: uint16 `(height, width, channels)`."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def tiff_of_16_bits(values, order="<", packed=False):
    """The same as TIFF, gray or RGB."""
    height, width, channels = values.shape
    pixels = values.astype(order + "u2").tobytes()
    pixels = zlib.compress(pixels) if packed else pixels
    bits_at = 8 + 2 + 10 * 12 + 4
    tags = {256: width, 257: height, 258: bits_at if channels > 1 else 16, 259: 8 if packed else 1}
    tags |= {262: 2 if channels > 1 else 1, 273: bits_at + 6, 277: channels, 278: height, 279: len(pixels), 284: 1}
    short = {258, 259, 262, 277, 284}
    directory = struct.pack(order + "H", len(tags))
    for tag, value in tags.items():
        if tag in short and (tag != 258 or channels == 1):
            directory += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
        else:
            directory += struct.pack(order + "HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return start + directory + bytes(4) + struct.pack(order + "HHH", 16, 16, 16) + pixels


def gray_and_opacity(values):
    return png_of_16_bits(np.dstack([values[:, :, 0], np.full(values.shape[:2], 65535, np.uint16)]))


IN_16_BITS = {
    "a gray PNG": lambda values: png_of_16_bits(values[:, :, :1]),
    "a gray PNG with opacity": gray_and_opacity,
    "a PNG in colours": png_of_16_bits,
    "a PNG in colours with opacity": lambda values: png_of_16_bits(
        np.dstack([values, np.full_like(values[:, :, :1], 65535)])
    ),
    "a gray TIFF": lambda values: encode(Image.fromarray(values[:, :, 0]), "TIFF"),
    "a gray TIFF, packed": lambda values: encode(Image.fromarray(values[:, :, 0]), "TIFF", compression="tiff_lzw"),
    "a gray TIFF, the upper byte first": lambda values: tiff_of_16_bits(values[:, :, :1], ">"),
    "a TIFF in colours": tiff_of_16_bits,
    "a TIFF in colours, the upper byte first": lambda values: tiff_of_16_bits(values, ">"),
    "a TIFF in colours, packed": lambda values: tiff_of_16_bits(values, packed=True),
}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", IN_16_BITS)
def test_fewer_bits_in_a_file_of_16_are_understood_and_noted(kind, bits):
    gray = np.asarray(draw_garment((120, 160), (40, 40, 40), (250, 250, 250)).convert("L"))
    values = np.rint(np.repeat(gray[:, :, None], 3, axis=2) * ((2**bits - 1) / 255)).astype(np.uint16)
    prepared = load_image(IN_16_BITS[kind](values))
    np.testing.assert_allclose(prepared.pixels, load_image(Image.fromarray(gray)).pixels, atol=1)
    assert (f"values of {bits} bits; dark on light" in prepared.note) == (bits < 16)


def test_a_dark_picture_whose_file_says_its_depth_stays_dark():
    dark = np.full((28, 28), 900, np.uint16)  # of 65535
    maximum = b"P5 28 28 65535\n"
    assert load_image(maximum + dark.astype(">u2").tobytes(), invert="no").pixels.max() <= 4
    assert load_image(encode(Image.fromarray(dark), "JPEG2000"), invert="no").pixels.max() <= 4
    # 12 bits of a TIFF, two values in three bytes: 900 of 4095.
    twelve = bytearray(tiff_of_16_bits(dark[:, :, None]))
    twelve[twelve.index(struct.pack("<HHIHH", 258, 3, 1, 16, 0)) + 8] = 12
    start = len(twelve) - 2 * 28 * 28
    packed = bytes(twelve[:start]) + bytes([900 >> 4, (900 & 15) << 4 | 900 >> 8, 900 & 255]) * (28 * 28 // 2)
    prepared = load_image(packed, invert="no")
    assert {*np.unique(prepared.pixels)} == {round(900 * 255 / 4095)}
    assert "values of 12 bits" in prepared.note


@pytest.mark.parametrize("values", [np.full((30, 40), -5, np.int32), np.full((30, 40), np.nan, np.float32)])
def test_a_measurement_without_any_range_is_blank(values):
    assert "blank" in load_image(Image.fromarray(values)).note


def stored_turned(upright, orientation):
    """As a camera stores it that is held so: turned back by what undoes the orientation."""
    undone = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    return upright if undone is None else upright.transpose(Image.Transpose(undone))


def oriented(kind, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(stored_turned(draw_garment((300, 400)), orientation), kind, exif=exif, **options)


def exif_after_the_pixels(orientation):
    content = oriented("PNG", orientation)
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    return content[:start] + content[end:-12] + content[start:end] + content[-12:]


def orientation_in_xmp(orientation):
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    return encode(stored_turned(draw_garment((300, 400)), orientation), "JPEG", xmp=xmp.encode(), quality=100)


ORIENTED = {
    "PNG": lambda orientation: oriented("PNG", orientation),
    "PNG, said after the pixels": exif_after_the_pixels,
    "JPEG": lambda orientation: oriented("JPEG", orientation, quality=100),
    "JPEG, said in XMP": orientation_in_xmp,
    "MPO": lambda orientation: oriented("MPO", orientation, save_all=True, append_images=[draw_garment()], quality=100),
    "WebP": lambda orientation: oriented("WEBP", orientation, lossless=True),
    "AVIF": lambda orientation: oriented("AVIF", orientation, quality=100, subsampling="4:4:4"),
    "TIFF": lambda orientation: oriented("TIFF", orientation),
    "TIFF, packed": lambda orientation: oriented("TIFF", orientation, compression="tiff_lzw"),
    "a picture, not unpacked": lambda orientation: Image.open(io.BytesIO(oriented("TIFF", orientation))),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_a_picture_is_turned_once_as_its_file_says(kind, orientation):
    prepared = load_image(ORIENTED[kind](orientation))
    expected = load_image(draw_garment((300, 400)))
    assert "fitted from 300x400" in prepared.note
    if kind.startswith(("JPEG", "MPO", "AVIF")):  # they blur edges
        assert np.abs(prepared.pixels.astype(int) - expected.pixels).mean() < 4
    else:
        np.testing.assert_array_equal(prepared.pixels, expected.pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pillow_itself_turns_the_stored_pictures_upright(orientation):
    """The files above say what they should."""
    content = oriented("PNG", orientation)
    np.testing.assert_array_equal(ImageOps.exif_transpose(Image.open(io.BytesIO(content))), draw_garment((300, 400)))


def test_a_damaged_orientation_is_passed_over():
    for value in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"garbage"):
        content = encode(draw_garment(), "JPEG", exif=value)
        assert load_image(content).inverted


def test_of_an_animation_the_first_frame_is_taken():
    frames = [draw_garment().quantize(4), Image.new("P", (300, 400), 3)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        pictures = [frame.convert("RGB") for frame in frames]
        content = encode(pictures[0], kind, save_all=True, append_images=pictures[1:], lossless=True)
        prepared = load_image(content)
        assert prepared.note.startswith("the first of its frames; dark on light")
        assert np.abs(prepared.pixels.astype(int) - load_image(draw_garment()).pixels).mean() < 1


@pytest.mark.parametrize("garment", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (200, 30, 30)], ids=str)
def test_transparent_pixels_are_background_whatever_their_colour(garment, hidden):
    """The garment alone is opaque: it comes out light on black, dark or light."""
    marker = (1, 2, 3)
    drawn = np.asarray(draw_garment((300, 400), garment, marker))
    alpha = np.where((drawn == marker).all(axis=2), 0, 255).astype(np.uint8)
    colours = np.where(alpha[:, :, None] > 0, drawn, np.uint8(hidden))
    prepared = load_image(encode(Image.fromarray(np.dstack([colours, alpha]))))
    assert prepared.inverted == (garment == DARK)
    assert prepared.pixels[20:, 0].max() == 0
    assert prepared.pixels[14, 14] > 150


def test_rounded_transparent_corners_do_not_count_as_background():
    picture = draw_garment((300, 400)).convert("RGBA")
    mask = np.full((400, 300), 255, np.uint8)
    for rows in (slice(0, 30), slice(-30, None)):
        for columns in (slice(0, 30), slice(-30, None)):
            mask[rows, columns] = 0
    picture.putalpha(Image.fromarray(mask))
    np.testing.assert_array_equal(load_image(encode(picture)).pixels, load_image(draw_garment((300, 400))).pixels)


def test_a_transparent_garment_may_touch_the_edges():
    """Cut out along its bounding box, as shops do: some of the border is garment, most is transparent."""
    colours = np.zeros((400, 300, 4), np.uint8)
    colours[:, 100:200] = colours[50:100, :] = (*DARK, 255)
    prepared = load_image(encode(Image.fromarray(colours)))
    assert prepared.inverted
    assert prepared.pixels[14, 14] > 150
    assert prepared.pixels[20:, 3].max() == 0


def test_a_palette_with_a_transparent_colour_has_a_background():
    picture = draw_garment((300, 400), DARK, (255, 0, 255)).quantize(4)
    transparent = picture.getpixel((0, 0))
    content = encode(picture, "GIF", transparency=transparent)
    assert load_image(content).pixels[20:, 0].max() == 0


def test_a_picture_that_is_transparent_all_over_is_blank():
    assert "blank" in load_image(encode(Image.new("RGBA", (50, 60), (255, 0, 0, 0)))).note


# ---- large pictures ----


@pytest.mark.slow
def test_a_photo_of_108_megapixels_is_unpacked_smaller():
    photo = draw_garment((300, 400)).resize((9000, 12000), Image.Resampling.NEAREST)
    prepared = load_image(encode(photo, "JPEG", quality=60))
    assert "fitted from 9000x12000" in prepared.note
    assert np.abs(prepared.pixels.astype(int) - load_image(draw_garment()).pixels).mean() < 4
    with pytest.raises(UnreadableImage, match=r"too many pixels, at most 89 million are read, of a JPEG 300 million"):
        load_image(encode(photo.convert("1")))


@pytest.mark.slow
def test_a_jpeg_2000_of_any_number_of_levels_is_read():
    for levels, width, height in [(1, 1500, 2000), (2, 1500, 2000), (6, 1500, 2000), (6, 1539, 2053)]:
        photo = draw_garment((300, 400)).resize((width, height), Image.Resampling.NEAREST)
        prepared = load_image(encode(photo, "JPEG2000", num_resolutions=levels))
        assert f"fitted from {width}x{height}" in prepared.note
        assert np.abs(prepared.pixels.astype(int) - load_image(draw_garment()).pixels).mean() < 4
