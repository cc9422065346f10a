"""The names of classes: what a name may be, where people write them, and how a model's file carries them.

They decide no numbers, so they are part of no trial: whoever renames classes trains nothing. Those of the sweep file
(`class_names:`) count, else those of `labels.txt` beside one's own files, else Fashion-MNIST's, else the numbers.
A `.keras` file, which is a zip archive, has them as one more file in it, `class_names.json`: a list in the order of the
probabilities. Keras passes over it, and anybody reads it with `zipfile` and `json`.

Needs the standard library alone. Where a model lies is for `results` to know, which names count for `runner`.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_mlp.errors import SweepError

ENTRY = "class_names.json"
LABELS_FILE = "labels.txt"
MAX_LENGTH = 100  # characters of a name

_MOST_CLASSES = 256  # labels are bytes
_MOST_BYTES = 4 * MAX_LENGTH * _MOST_CLASSES + 4096
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # no clock times: the same model and names are the same bytes


def problem_with(name: Any) -> str | None:
    """What is wrong with a name, to be put after it; None if nothing is."""
    if not isinstance(name, str):
        return "must be text"
    if not name.strip():
        return "must not be empty"
    if name != name.strip():
        return "must not begin or end with a space"
    if not name.isprintable() or "\ufffd" in name:
        return "must be printable characters in one line"
    if len(name) > MAX_LENGTH:
        return f"must be at most {MAX_LENGTH} characters long, got {len(name)}"
    return None


def first_twice(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the first two names that are the same, whatever their case; None where all differ."""
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if name.casefold() in seen:
            return seen[name.casefold()], position
        seen[name.casefold()] = position
    return None


def present(now: Sequence[str], then: Sequence[str]) -> tuple[str, ...]:
    """The names of today, where there are as many as a record had of its day; else those."""
    return tuple(now if len(now) == len(then) else then)


def read_labels(path: Path, num_classes: int) -> tuple[str, ...] | None:
    """The names in a `labels.txt`, one a line, in the order of the labels; None where there is no such file.

    Raises:
        SweepError: it cannot be read, or does not name each class once; the message names file and line.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SweepError(f"{path}: is not UTF-8 text; expected the names of the classes, one a line") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SweepError(f"{path}: cannot be read ({reason}); write it again or remove it") from error
    if len(content) > _MOST_BYTES:
        raise SweepError(f"{path}: is too long for the names of {num_classes} classes, one a line: is it another file?")
    names = [line.strip() for line in text.strip("\r\n").replace("\r\n", "\n").split("\n")]
    for number, name in enumerate(names, start=1):
        if problem := problem_with(name):
            raise SweepError(f"{path}:{number}: the name of class {number - 1} {problem}; expected one a line")
    if len(names) != num_classes:
        raise SweepError(
            f"{path}: has {len(names)} names, but the labels are 0 to {num_classes - 1}: expected {num_classes}, one a "
            "line, in the order of the labels"
        )
    if twice := first_twice(names):
        first, second = twice
        raise SweepError(f"{path}:{second + 1}: names class {second} as line {first + 1} names class {first}")
    return tuple(names)


def with_class_names(model: bytes | Path, names: Sequence[str]) -> bytes:
    """A `.keras` file that carries these names; nothing else of it changes, and equal input gives equal bytes.

    Args:
        model: the file, or its content. What is no zip archive comes back as it is.
        names: one a class, in the order of the probabilities; those that it carried before are gone.
    """
    content = model if isinstance(model, bytes) else model.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        return content
    files[ENTRY] = in_json(names).encode()
    if not names:
        del files[ENTRY]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), files[name])
    return target.getvalue()


def carried_by(model: Path) -> tuple[str, ...]:
    """The names that a `.keras` file carries; none where it has none, or none that could be names."""
    try:
        with zipfile.ZipFile(model) as archive, archive.open(ENTRY) as file:
            names = json.loads(file.read(_MOST_BYTES))
    except (OSError, KeyError, ValueError, EOFError, RecursionError, NotImplementedError, RuntimeError):
        return ()
    except zipfile.BadZipFile:
        return ()
    is_list = isinstance(names, list) and len(names) <= _MOST_CLASSES
    return tuple(names) if is_list and not any(map(problem_with, names)) else ()


def in_json(names: Sequence[str]) -> str:
    """As they stand in every file of ours: a JSON list."""
    return json.dumps([*names], ensure_ascii=False) + "\n"
