"""The one kind of error a user can mend.

A `SweepError` is about the sweep file, the data, a path or a missing extra: `cli` prints its message without a
traceback and exits with code 2. Anything else that is raised is a bug of ours and keeps its traceback.
"""

import contextlib
import errno
from collections.abc import Iterator


class SweepError(Exception):
    """Something the user can mend; the message says what is wrong, where, what was expected and what to do.

    Args:
        message: one line, or one line for each problem where there are several.
    """


class ImagesChanged(SweepError):
    """The images are not those that the sweep was planned with: it is planned again, once."""


def cannot_write(path, error: OSError) -> SweepError:
    """What to raise where a file or folder of results or logs cannot be written: a full disk, no permission."""
    is_taken = error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
    remedy = "move away what stands there" if is_taken else "free space there"
    return SweepError(
        f"cannot write {path}: {error.strerror or error}; what is finished is kept: {remedy}, or choose another "
        "--results-dir or --logs-dir, and run again"
    )


@contextlib.contextmanager
def writing(path) -> Iterator[None]:
    """What goes wrong with a file or folder in here is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
