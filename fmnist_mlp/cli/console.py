"""Streams, exit codes and errors for people: what every command begins and ends with.

Exit codes: 0 every trial is done; 1 some trial failed; 2 the user can mend it (`SweepError`); 130 interrupted.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fmnist_mlp.engines.calls import EngineError
from fmnist_mlp.engines.machine import forget_warning_options
from fmnist_mlp.errors import SweepError
from fmnist_mlp.words import printable

_NARROWEST = 40  # columns of a terminal; COLUMNS may say 1

DONE, SOME_FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class Screen:
    """Where a command prints: what it is asked for to standard output, what needs attention to standard error.

    A line is text, not markup, cannot move the cursor, and is broken by nobody.
    """

    def __init__(self, out: Console, err: Console):
        self.out, self.err = out, err
        self.is_live = False  # a live display must not be written past: lines go above it

    def say(self, line: str, title: str = "") -> None:
        """Print a line, after a `title` in bold."""
        self.out.print(Text.assemble((title, "bold"), printable(line)), soft_wrap=True)

    def warn(self, line: str, style: str = "yellow", keep: str = "") -> None:
        (self.out if self.is_live else self.err).print(Text(printable(line, keep), style), soft_wrap=True)

    def fail(self, error: Exception) -> None:
        """Print what is wrong, on as many lines as its message has."""
        self.warn(str(error), style="", keep="\n")

    def note(self, line: str) -> None:
        """Print to standard error what is no warning."""
        self.warn(line, style="")


def with_errors_for_people(command, parsed: argparse.Namespace, quiet: bool = False) -> int:
    """Run `command(parsed, screen)`; what the user can mend becomes its message, without a traceback."""
    # A notebook's `!` gives its command a terminal, but its cell keeps every line that a display draws anew.
    is_terminal = sys.stdout.isatty() and "JPY_PARENT_PID" not in os.environ
    # A pipe or a file has no width of its own, nor anything that moves, whatever FORCE_COLOR and COLUMNS say.
    out = Console(
        highlight=False, soft_wrap=False, width=None if is_terminal else 120, force_interactive=is_terminal, quiet=quiet
    )
    if out.width < _NARROWEST:
        out.width = _NARROWEST
    screen = Screen(out, Console(stderr=True, highlight=False, soft_wrap=True))
    try:
        _require_current_folder()
        return command(parsed, screen)
    except SweepError as error:
        screen.fail(error)
        return USER_ERROR
    except EngineError as error:
        screen.fail(error)
        return SOME_FAILED
    except KeyboardInterrupt:  # before or after the trials: while they run, Ctrl-C asks the engine to stop
        screen.note("interrupted")
        return INTERRUPTED


@contextlib.contextmanager
def handled_by(handler: Callable) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `handler(number, frame)` inside the block; in a thread signals are others' affair."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def is_installed() -> bool:
    """Whether this is the command that `pip install` makes."""
    return Path(sys.argv[0]).stem == "fmnist-mlp"


def _require_current_folder() -> None:
    """Workers start in it, and what is said of paths is said from it.

    Raises:
        SweepError: it was deleted under the shell.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise SweepError(f"the current folder is no longer there ({error.strerror}): cd to one that is") from error


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Whatever the shell made of them and of Python's warnings: they are there, and what they refuse stops no work.

    Where one is closed (`>&-`), the next file or pipe that is opened would take its number, and with it what
    TensorFlow prints.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one. Workers have it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Stream(stream) for stream in before)
    try:
        with warnings.catch_warnings():
            forget_warning_options()
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Stream:
    """Standard output or error, to nowhere from the moment on that nobody takes it: `| head`, a full disk, `>&-`.

    A letter that it does not have (± in ASCII) shows as ?.
    """

    def __init__(self, stream):
        self._stream = stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._to_nowhere_if_refused():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._to_nowhere_if_refused():
            self._stream.flush()

    @contextlib.contextmanager
    def _to_nowhere_if_refused(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # ValueError: closed
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # what it still holds goes there too
                os.close(nowhere)
