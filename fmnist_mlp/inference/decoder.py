"""Pictures read in a process of their own, whose time and memory are bounded.

A few kilobytes can ask a decoder for minutes (a progressive JPEG with thousands of scans) or for gigabytes, and every
decoder had its bugs. So `Decoder` reads pictures as `pictures.load_image` does, in a process that knows nothing else:
it inherits neither open files nor variables but a few, it may not write a file, and it is ended where it takes too
long. What the picture did to it is said in a line, as of any other picture that cannot be used.

The kernel enforces the limits, where Python can ask for them (`resource`; memory on Linux only); everywhere the parent
ends a process that does not answer in time.

Leaves to others: what is made of a picture, and how many bytes and pixels are too many (`pictures`).
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import AvifImagePlugin

from fmnist_mlp.inference.pictures import (
    FORMATS,
    Invert,
    PreparedImage,
    UnreadableImage,
    load_image,
    name_of,
    read_file,
)

# For a picture. What is slow, of 89 megapixels each (two cores of an AMD EPYC): AVIF and WebP 2 to 3 s, PNG 1.2 s.
SECONDS = 10
PATIENCE = 6  # as many times longer by the clock: the machine may have other work
MEMORY_BYTES = 2**30  # beside what Python, numpy and Pillow take; a progressive JPEG of 108 megapixels needs 0.6 GiB
BOUNDS_MEMORY = sys.platform == "linux"

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class Decoder:
    """A process that reads pictures, one after the other; used by one thread at a time.

    It starts at once, beside what else is to be done, and again after a picture ended it. It ends with `close`, or with
    this process, however that ends.

    Args:
        seconds: of computing, the most that a picture may take.
        memory_bytes: the most that a picture may take.
    """

    def __init__(self, seconds: int = SECONDS, memory_bytes: int = MEMORY_BYTES):
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._process = self._start()

    def load_image(
        self,
        source: Path | bytes,
        shape: tuple[int, int] = (28, 28),
        invert: Invert = "auto",
        formats: Sequence[str] = FORMATS,
    ) -> PreparedImage:
        """As `pictures.load_image`.

        Raises:
            UnreadableImage: as there, and where the picture takes too much time or memory, or ends the process.
        """
        content = read_file(source) if isinstance(source, Path) else source
        request = {"bytes": len(content), "shape": shape, "invert": invert, "formats": [*formats]}
        if self._process.poll() is not None:  # ended by somebody else, such as a system that is out of memory
            self.close()
            self._process = self._start()
        process, pixels = self._process, b""
        is_late = threading.Event()
        timer = threading.Timer(self._seconds * PATIENCE, lambda: (is_late.set(), process.kill()))
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n" + content)
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" not in answer:
                pixels = process.stdout.read(math.prod(shape))
        except (OSError, ValueError):  # it ended before it took or gave all
            answer = {}
        finally:
            timer.cancel()
        if "error" not in answer and len(pixels) < math.prod(shape):
            process.kill()
            code = process.wait()
            self.close()
            self._process = self._start()
            too_long = is_late.is_set() or code == -getattr(signal, "SIGXCPU", 0)
            answer["error"] = f"takes more than {self._seconds} s to unpack" if too_long else "crashed its decoder"
        if "error" in answer:
            raise UnreadableImage(f"{name_of(source)}: {answer['error']}")
        return PreparedImage(np.frombuffer(pixels, np.uint8).reshape(shape), answer["inverted"], answer["note"])

    def close(self) -> None:
        """End the process, also while it reads."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent any more
                pipe.close()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *raised) -> None:
        self.close()

    def _start(self) -> subprocess.Popen:
        paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - '' is the current folder
        code = f"import sys; sys.path[:] = {paths!r}; from {__name__} import main; main(*map(int, sys.argv[1:]))"
        # Alone (-I), Python heeds none of its variables; nor is numpy to start a thread a core.
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-I", "-c", code, str(self._seconds), str(self._memory_bytes)],
            env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


# ---- in the process -----------------------------------------------------------------------------------------------


def main(seconds: int, memory_bytes: int) -> None:
    """Answer requests from standard input until it ends: a line of JSON each and the bytes that it announces."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends the input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints does not answer
    _bound_memory(memory_bytes)
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        content = sys.stdin.buffer.read(request["bytes"])
        _bound_time(seconds)
        answer, pixels = {}, b""
        try:
            prepared = load_image(content, tuple(request["shape"]), request["invert"], request["formats"])
            answer, pixels = {"inverted": prepared.inverted, "note": prepared.note}, prepared.pixels.tobytes()
        except UnreadableImage as error:
            answer["error"] = str(error).removeprefix(f"{name_of(content)}: ")
        except MemoryError:
            answer["error"] = f"takes more than {memory_bytes / 2**30:.1f} GiB of memory to unpack"
        answers.write(json.dumps(answer).encode() + b"\n" + pixels)
        answers.flush()


def _bound_memory(memory_bytes: int) -> None:
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # by default a thread a core, each with memory of its own
    # Imported here, as below: Windows has no such module.
    with contextlib.suppress(ImportError):
        import resource

        for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
            resource.setrlimit(limit, (0, 0))
        if BOUNDS_MEMORY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory_bytes,) * 2)


def _bound_time(seconds: int) -> None:
    with contextlib.suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, most))
