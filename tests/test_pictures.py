"""From pictures of every kind to what the network sees."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from predicting import draw_garment, encode, png_header, truncated
from sweeping import ROOT

from fmnist_mlp import data, pictures
from fmnist_mlp.pictures import UnreadableImage, load_image

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
    images = data.load_data(data.DataSource("synthetic")).x_test
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
    images = data.load_data(data.find_data("fashion_mnist", Path(folder))).x_test
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
    pixels = load_image(encode(Image.fromarray(levels)), invert="no").pixels
    np.testing.assert_allclose(pixels, levels / 257, atol=0.51)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(orientation):
    upright = draw_garment((300, 400))
    # Stored as a camera would that is held so: turned back by what undoes the orientation.
    stored = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    turned = upright if stored is None else upright.transpose(Image.Transpose(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(turned, exif=exif)
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))), upright)
    prepared = load_image(content)
    np.testing.assert_array_equal(prepared.pixels, load_image(upright).pixels)
    assert "fitted from 300x400" in prepared.note


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


# ---- hostile files ----


def bmp_header(width, height):
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


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
from fmnist_mlp.pictures import UnreadableImage, load_image
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
