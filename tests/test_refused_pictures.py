"""What is no picture here, and files made to harm: refused in one line that says what helps."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from predicting import bmp_with_run_lengths, draw_garment, encode, png_header, truncated
from sweeping import ROOT

from fmnist_mlp.inference import pictures
from fmnist_mlp.inference.pictures import UnreadableImage, load_image

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
