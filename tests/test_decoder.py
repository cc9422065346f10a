"""Pictures read in a process of its own: the same as without it, and what becomes of those made to do harm."""

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predicting import draw_garment, encode, scan_bomb

from fmnist_mlp.inference import decoder
from fmnist_mlp.inference.decoder import Decoder
from fmnist_mlp.inference.pictures import UnreadableImage, load_image

needs_limits = pytest.mark.skipif(not decoder.BOUNDS_MEMORY, reason="memory is bounded on Linux only")


@pytest.fixture(scope="module")
def reader():
    with Decoder() as reader:
        yield reader


@pytest.mark.parametrize("invert", ["auto", "yes", "no"])
def test_a_picture_is_read_as_without_the_process(reader, invert, tmp_path):
    path = tmp_path / "shirt.png"
    draw_garment().save(path)
    for source in (path, path.read_bytes()):
        prepared, expected = reader.load_image(source, (20, 30), invert), load_image(path, (20, 30), invert)
        np.testing.assert_array_equal(prepared.pixels, expected.pixels)
        assert (prepared.inverted, prepared.note) == (expected.inverted, expected.note)


@pytest.mark.parametrize("content", [b"", b"a text", encode(draw_garment())[:400]], ids=["nothing", "text", "cut off"])
def test_what_cannot_be_read_is_said_as_without_the_process(reader, content, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    for source in (path, content, tmp_path / "missing.png"):
        with pytest.raises(UnreadableImage) as expected:
            load_image(source)
        with pytest.raises(UnreadableImage) as refused:
            reader.load_image(source)
        assert str(refused.value) == str(expected.value)


def test_formats_can_be_left_out(reader):
    with pytest.raises(UnreadableImage, match="the image: is no image of a kind that is read here: it is TIFF"):
        reader.load_image(encode(draw_garment(), "TIFF"), formats=("PNG",))


def works(reader):
    return reader.load_image(encode(draw_garment())).inverted


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processor time is bounded by the kernel, not on Windows")
def test_a_picture_that_takes_too_long_is_given_up_and_the_next_is_read():
    with Decoder(seconds=1) as reader:
        bomb = scan_bomb()
        assert len(bomb) < 10**6
        with pytest.raises(UnreadableImage, match=r"^the image: takes more than 1 s to unpack$"):
            reader.load_image(bomb)
        assert works(reader)


@pytest.mark.slow
def test_by_the_clock_too_where_no_kernel_counts(monkeypatch):
    monkeypatch.setattr(decoder, "PATIENCE", 0.0005)
    with Decoder(seconds=1000) as reader:
        with pytest.raises(UnreadableImage, match="takes more than 1000 s to unpack"):
            reader.load_image(scan_bomb())
        monkeypatch.setattr(decoder, "PATIENCE", 6)
        assert works(reader)


@pytest.mark.slow
@needs_limits
def test_a_picture_that_takes_too_much_memory_is_refused_and_the_next_is_read():
    with Decoder(memory_bytes=200 * 2**20) as reader:
        with pytest.raises(UnreadableImage, match=r"^the image: takes more than 0\.2 GiB of memory to unpack$"):
            reader.load_image(encode(Image.new("RGBA", (8000, 8000)), compress_level=1))
        assert works(reader)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSEGV") or os.name == "nt", reason="needs signals")
def test_a_decoder_that_crashes_costs_one_picture_and_none_where_it_had_none():
    bomb = scan_bomb()
    with Decoder() as reader:
        os.kill(reader._process.pid, signal.SIGSEGV)
        reader._process.wait()
        assert works(reader)
        threading.Timer(0.3, os.kill, [reader._process.pid, signal.SIGSEGV]).start()
        with pytest.raises(UnreadableImage, match=r"^the image: crashed its decoder$"):
            reader.load_image(bomb)
        assert works(reader)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_process_inherits_neither_variables_nor_files(monkeypatch, tmp_path):
    monkeypatch.setenv("A_SECRET", "x")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    with (tmp_path / "open").open("w") as file, Decoder() as reader:
        os.set_inheritable(file.fileno(), True)
        assert works(reader)
        proc = Path("/proc") / str(reader._process.pid)
        names = {entry.split(b"=")[0] for entry in (proc / "environ").read_bytes().split(b"\0") if entry}
        assert names <= {name.encode() for name in (*decoder._INHERITED, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
        opened = {str(entry.readlink()) for entry in (proc / "fd").iterdir()}
        assert not [path for path in opened if path.startswith("/") and path != os.devnull]


def test_it_ends_when_it_is_closed_and_with_its_input():
    reader = Decoder()
    process = reader._process
    reader.close()
    assert process.returncode is not None
    reader = Decoder()
    reader._process.stdin.close()  # as when its parent is gone
    assert reader._process.wait(timeout=30) == 0
    reader.close()
