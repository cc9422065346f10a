"""From pictures of every kind to what the network sees."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from predicting import bmp_with_run_lengths, draw_garment, encode, png_header, truncated
from sweeping import ROOT

from fmnist_mlp.data.source import DataSource, find_data, load_data
from fmnist_mlp.inference import pictures
from fmnist_mlp.inference.pictures import UnreadableImage, load_image

DARK, LIGHT = (40, 30, 90), (250, 250, 250)


def gray(height, width, background, garment, box):
    """A box of one gray on a background of another: uint8 `(height, width)`; `box` is top, bottom, left, right."""
    image = np.full((height, width), background, np.uint8)
    image[box[0] : box[1], box[2] : box[3]] = garment
    return image


# ---- what the network sees ----


def test_a_dark_box_on_white_becomes_a_light_one_on_black_that_fills_the_frame():
    picture = Image.fromarray(gray(300, 400, 255, 0, (100, 156, 50, 78)))  # 56 high, 28 wide
    prepared = load_image(picture)
    expected = np.zeros((28, 28), np.uint8)
    expected[:, 7:21] = 255  # half as wide as high, in the middle
    np.testing.assert_array_equal(prepared.pixels, expected)
    assert prepared.inverted
    assert prepared.note == "dark on light: inverted; fitted from 400x300"


def test_a_light_box_on_black_stays_light_on_black():
    prepared = load_image(Image.fromarray(gray(300, 400, 0, 255, (100, 128, 50, 106))))  # 28 high, 56 wide
    expected = np.zeros((28, 28), np.uint8)
    expected[7:21] = 255
    np.testing.assert_array_equal(prepared.pixels, expected)
    assert not prepared.inverted


def test_the_background_becomes_black_wherever_its_gray_was():
    lighter = load_image(Image.fromarray(gray(56, 56, 120, 220, (0, 56, 14, 42))))
    darker = load_image(Image.fromarray(gray(56, 56, 120, 20, (0, 56, 14, 42))))
    assert (lighter.pixels[:, :7].max(), darker.pixels[:, :7].max()) == (0, 0)
    assert lighter.pixels[14, 14] == round((220 - 120) * 255 / (255 - 120))
    assert darker.pixels[14, 14] == round((120 - 20) * 255 / 120)


def test_a_picture_of_any_shape_fits_the_frame_of_any_shape():
    picture = Image.fromarray(gray(200, 200, 255, 0, (20, 180, 60, 140)))  # twice as high as wide
    pixels = load_image(picture, (8, 20)).pixels
    assert pixels.shape == (8, 20)
    np.testing.assert_array_equal(pixels.min(axis=0), [0] * 8 + [255] * 4 + [0] * 8)
    pixels = load_image(picture, (20, 8)).pixels
    np.testing.assert_array_equal(pixels.min(axis=1), [0] * 2 + [255] * 16 + [0] * 2)


@pytest.mark.parametrize("negate", [False, True], ids=["as it is", "its negative"])
def test_every_stand_in_test_image_is_taken_pixel_by_pixel_and_the_right_way_round(negate):
    images = load_data(DataSource("synthetic")).x_test
    for image in images:
        prepared = load_image(Image.fromarray(255 - image if negate else image))
        assert prepared.inverted == negate
        np.testing.assert_array_equal(prepared.pixels, image)
    assert prepared.note.endswith("taken pixel by pixel: 28x28 already")


@pytest.mark.slow
def test_every_fashion_mnist_test_image_is_taken_the_right_way_round():
    folder = os.environ.get("FASHION_MNIST_DIR")
    if not folder:
        pytest.skip("needs FASHION_MNIST_DIR")
    images = load_data(find_data("fashion_mnist", Path(folder))).x_test
    assert not any(load_image(Image.fromarray(image)).inverted for image in images)
    assert all(load_image(Image.fromarray(255 - image)).inverted for image in images)


INVERSIONS = {
    "dark on white": (255, 0, "auto", True),
    "light on black": (0, 255, "auto", False),
    "dark on mid gray": (128, 20, "auto", True),
    "light on mid gray": (128, 240, "auto", False),
    "white on nearly white": (225, 255, "auto", False),
    "pale on white": (255, 225, "auto", True),
    "light on black, exchanged": (0, 255, "yes", True),
    "dark on white, left": (255, 0, "no", False),
    "dark on white, exchanged": (255, 0, "yes", True),
    "light on black, left": (0, 255, "no", False),
}


@pytest.mark.parametrize(("background", "garment", "invert", "inverted"), INVERSIONS.values(), ids=INVERSIONS)
@pytest.mark.parametrize("size", [28, 200], ids=["28 pixels", "200 pixels"])
def test_light_and_dark_are_exchanged_where_they_should_be(background, garment, invert, inverted, size):
    box = (size // 4, size - size // 4, size // 3, size - size // 3)
    prepared = load_image(Image.fromarray(gray(size, size, background, garment, box)), invert=invert)
    assert prepared.inverted == inverted
    assert ("not inverted" not in prepared.note) == inverted
    assert ("as asked" in prepared.note) == (invert != "auto")
    if inverted == (garment < background):
        assert prepared.pixels[14, 14] > prepared.pixels[14, 0]


def test_a_background_that_fades_to_the_middle_does_not_outweigh_a_small_garment():
    image = gray(200, 200, 100, 92, (10, 190, 10, 190))  # the light falls off by 3 %
    image[95:105, 95:105] = 200
    prepared = load_image(Image.fromarray(image))
    assert not prepared.inverted
    assert prepared.pixels.min() > 100  # the garment alone fills the frame


def test_who_insists_on_the_wrong_inversion_gets_the_picture_whole():
    prepared = load_image(Image.fromarray(gray(280, 280, 0, 200, (70, 210, 70, 210))), invert="yes")
    expected = np.full((28, 28), 255)
    expected[7:21, 7:21] = 55
    # A sharp edge in the middle of an averaged pixel overshoots a little.
    np.testing.assert_allclose(prepared.pixels[[0, 14, 14], [0, 0, 14]], expected[[0, 14, 14], [0, 0, 14]], atol=1)


@pytest.mark.parametrize("value", [0, 127, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (300, 2)], ids=str)
def test_a_blank_picture_is_black_and_not_an_error(value, size):
    prepared = load_image(Image.new("L", size, value))
    assert prepared.pixels.shape == (28, 28)
    assert prepared.pixels.max() <= 127
    assert size == (28, 28) or "blank" in prepared.note


@pytest.mark.parametrize(("width", "height"), [(10_000, 1), (1, 10_000), (2, 3), (5_000, 70), (29, 28), (3000, 3000)])
def test_pictures_of_ugly_sizes_give_a_frame(width, height):
    prepared = load_image(Image.fromarray(gray(height, width, 255, 0, (0, height, 0, (width + 2) // 3))))
    assert prepared.pixels.shape == (28, 28)
    assert prepared.pixels.dtype == np.uint8


def test_a_large_picture_gives_what_the_same_picture_gives_small():
    small = draw_garment((300, 400))
    large = small.resize((3000, 4000), Image.Resampling.NEAREST)
    difference = load_image(small).pixels.astype(int) - load_image(large).pixels
    assert np.abs(difference).max() <= 40  # where an edge falls into a pixel
    assert np.abs(difference).mean() < 2


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.sampled_from(["auto", "yes", "no"]))
@example(np.array([[0, 26]], np.uint8), "yes")  # as much lighter as darker than its border
@settings(max_examples=150, deadline=None)
def test_whatever_the_pixels_are_the_frame_is_full_of_numbers(image, invert):
    prepared = load_image(Image.fromarray(image), invert=invert)
    assert (prepared.pixels.shape, prepared.pixels.dtype) == ((28, 28), np.uint8)
    negative = load_image(Image.fromarray(255 - image), invert={"yes": "no", "no": "yes"}.get(invert, invert))
    if image.shape != (28, 28) and negative.inverted != prepared.inverted:  # the same garment, then
        np.testing.assert_allclose(negative.pixels.astype(int), prepared.pixels, atol=1)


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


def test_a_jpeg_2000_of_any_number_of_levels_is_read():
    for levels, width, height in [(1, 1500, 2000), (2, 1500, 2000), (6, 1500, 2000), (6, 1539, 2053)]:
        photo = draw_garment((300, 400)).resize((width, height), Image.Resampling.NEAREST)
        prepared = load_image(encode(photo, "JPEG2000", num_resolutions=levels))
        assert f"fitted from {width}x{height}" in prepared.note
        assert np.abs(prepared.pixels.astype(int) - load_image(draw_garment()).pixels).mean() < 4


# ---- backgrounds ----


def on_background(shade, noise=0):
    """The garment on a background of such a lightness: a function of x and y, -1 to 1, giving 0 to 1."""
    picture = np.asarray(draw_garment((300, 400)), float)
    y, x = np.mgrid[-1:1:400j, -1:1:300j]
    shaded = picture * shade(x, y)[:, :, None] + np.random.default_rng(0).normal(0, noise, picture.shape)
    return encode(Image.fromarray(shaded.clip(0, 255).astype(np.uint8)), "JPEG")


UNEVEN = {
    "light from one side": lambda x, y: 0.85 + 0.15 * x,
    "light that falls off": lambda x, y: 1 - 0.25 * (x**2 + y**2) / 2,
    "a floor below a wall": lambda x, y: np.where(y > 0.6, 0.6, 1.0),
    "a shadow in a corner": lambda x, y: 1 - 0.4 * np.exp(-4 * ((x - 1) ** 2 + (y - 1) ** 2)),
}


@pytest.mark.parametrize("shade", UNEVEN.values(), ids=UNEVEN)
def test_an_uneven_background_is_noted(shade):
    assert "; uneven background: part of it counts as garment; fitted" in load_image(on_background(shade)).note


EVEN = {
    "even light": on_background(lambda x, y: np.ones_like(x)),
    "a little falling off": on_background(lambda x, y: 1 - 0.06 * (x**2 + y**2) / 2),
    "grain": on_background(lambda x, y: np.ones_like(x), noise=6),
    "cut off at one side": encode(draw_garment((300, 400), box=(50, 80, 250, 500)), "JPEG"),
    "at three sides": encode(draw_garment((300, 400), box=(0, 40, 300, 400)), "JPEG"),
    "white on nearly white": encode(draw_garment((300, 400), (255, 255, 255), (225, 225, 225), (0, 40, 300, 400))),
}


@pytest.mark.parametrize("content", EVEN.values(), ids=EVEN)
def test_an_ordinary_picture_is_not_called_uneven(content):
    assert "uneven" not in load_image(content).note


@pytest.mark.slow
def test_hardly_any_test_image_that_fills_its_frame_is_called_uneven():
    folder = os.environ.get("FASHION_MNIST_DIR")
    if not folder:
        pytest.skip("needs FASHION_MNIST_DIR")
    images = load_data(find_data("fashion_mnist", Path(folder))).x_test[:500]
    large = [Image.fromarray(image).resize((280, 280), Image.Resampling.NEAREST) for image in images]
    assert np.mean(["uneven" in load_image(image).note for image in large]) < 0.02


# ---- what is no picture here ----


def box(kind, *brands):
    content = kind + bytes(4) + b"".join(brands)
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content + bytes(100)


HINTS = {
    "HEIC": (box(b"heic", b"mif1", b"heic"), r"it is HEIC, .*save or send it as JPEG \(iPhone: Settings > Camera"),
    "HEIC that says a general brand first": (box(b"mif1", b"heic"), "it is HEIC"),
    "several HEIC": (box(b"msf1", b"hevc"), "it is HEIC"),
    "a film": (box(b"isom", b"mp42"), "it is a film: take a still"),
    "a film of an iPhone": (box(b"qt  "), "it is a film"),
    "a raw photo": (box(b"crx ", b"isom"), "it is a camera's raw file: save it as JPEG"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n", "it is JPEG XL: save it as PNG or JPEG"),
    "PDF": (b"%PDF-1.7\n", "it is PDF: save the picture that is in it"),
    "SVG": (b'<?xml version="1.0"?>\n<!-- a tool -->\n<svg xmlns="x"/>', r"it is a drawing \(SVG\): save it as PNG"),
    "a page that was saved": (b"\n<!DOCTYPE html><p>", "it is a web page: save the picture"),
    "an archive": (b"PK\3\4rest", "it is an archive or a model"),
    "an array": (b"\x93NUMPY\1\0", "it is a NumPy array: save each image as PNG"),
    "IDX": (struct.pack(">IIII", 2051, 1, 28, 28) + bytes(784), "it is a data set in IDX format"),
    "text": (b"a text", "is no image of a kind that is read here$"),
}


@pytest.mark.parametrize(("content", "message"), HINTS.values(), ids=HINTS)
def test_what_is_read_nowhere_here_says_what_it_is_and_what_helps(content, message):
    with pytest.raises(UnreadableImage, match=message):
        load_image(content)


def test_what_is_not_among_the_formats_says_how_to_save_it():
    content = encode(draw_garment(), "TIFF")
    with pytest.raises(
        UnreadableImage, match="no image of a kind that is read here: it is TIFF, save it as PNG or JPEG"
    ):
        load_image(content, formats=("PNG", "JPEG"))


def test_run_lengths_may_be_left_out_like_a_format():
    content = bmp_with_run_lengths(40, 30)
    assert "fitted from 40x30" in load_image(content).note
    assert "fitted from 300x400" in load_image(encode(draw_garment(), "BMP"), formats=("BMP",)).note
    with pytest.raises(UnreadableImage, match="it is BMP with run lengths, save it as PNG or JPEG"):
        load_image(content, formats=("BMP",))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "F"])
def test_a_picture_without_pixels_is_refused(mode):
    with pytest.raises(UnreadableImage, match="the image: has no pixels"):
        load_image(Image.new(mode, (0, 5)))


# ---- hostile files ----


def bmp_header(width, height):
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def webp_header(width, height):
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + bytes(70)


HOSTILE = {
    "nothing": (b"", "is empty"),
    "text": (b"a text", "is no image of a kind that is read here"),
    "HTML": (b"<!doctype html><script>alert(1)</script>", "is no image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is no image"),
    "a pickle": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "is no image"),
    "a cut PNG": (truncated("PNG"), "is damaged or cut off"),
    "a cut JPEG": (truncated("JPEG"), "is damaged or cut off"),
    "a cut GIF": (truncated("GIF"), "is damaged or cut off"),
    "a cut WebP": (truncated("WEBP"), "damaged|no image"),
    "a cut TIFF": (truncated("TIFF"), "damaged|no image"),
    "a cut BMP": (truncated("BMP"), "is damaged or cut off"),
    "a signature alone": (b"\x89PNG\r\n\x1a\n", "no image|damaged"),
    "a PNG with a wrong header": (encode(draw_garment())[:29] + bytes(4) + encode(draw_garment())[33:], "no image"),
    "a bomb": (png_header(60_000, 60_000), "has too many pixels, at most 89 million are read"),
    "a bomb under Pillow's limit for errors": (png_header(12_000, 12_000), "has too many pixels"),
    "a BMP bomb": (bmp_header(40_000, 40_000), "has too many pixels"),
    "a WebP bomb": (webp_header(16_383, 16_383), "has too many pixels"),
    "EPS, for which Pillow starts Ghostscript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) (w) file\nshowpage\n",
        "is no image of a kind that is read here",
    ),
    "FITS, which Pillow unpacks whole": (b"SIMPLE  =                    T".ljust(2880), "is no image"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_with_one_line(content, message, tmp_path):
    path = tmp_path / "hostile.png"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(UnreadableImage, match=message) as refused:
            load_image(source)
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith(f"{path}: " if source is path else "the image: ")


def test_a_picture_at_the_limit_is_read_and_one_pixel_more_is_not(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 300 * 400)
    assert load_image(encode(draw_garment((300, 400)))).inverted
    with pytest.raises(UnreadableImage, match="too many pixels"):
        load_image(encode(draw_garment((300, 401))))
    with pytest.raises(UnreadableImage, match="too many pixels"):
        load_image(draw_garment((301, 400)))


def test_a_file_that_is_too_large_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(pictures.MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Image, "open", lambda *arguments, **options: pytest.fail("opened"))
    with pytest.raises(UnreadableImage, match=f"{path}: is larger than 64 MiB"):
        load_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_a_device_and_a_folder_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path / "pipe", "is not an ordinary file"),
        (Path("/dev/zero"), "is not an ordinary file"),
        (tmp_path, "is a folder, not an image"),
        (tmp_path / "missing.png", "cannot be read .No such file or directory."),
        (Path("zero\0byte"), "cannot be read"),
    ]:
        with pytest.raises(UnreadableImage, match=message):
            load_image(path)


@pytest.mark.slow
def test_a_bomb_costs_no_memory():
    """In a process of its own, whose largest size before the bombs is that of Python, numpy and Pillow."""
    code = """
import resource, sys
from predicting import png_header
from fmnist_mlp.inference.pictures import UnreadableImage, load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for size in (60_000, 12_000, 2**31 - 1):
    try:
        load_image(png_header(size, size))
    except UnreadableImage:
        pass
    else:
        sys.exit("read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # KiB
