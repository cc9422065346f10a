"""What a name of a sweep or an architecture may be: that of a folder on every system, and a cell that pandas reads."""

import hashlib
import re

from fmnist_mlp.words import quoted

MAX_NAME_LENGTH = 80

NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_-])?"

# Windows opens a device, not a file, for these, whatever the extension.
_DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}

# Of the words that pandas takes for missing, those that a name could be.
_READ_AS_MISSING = {"na", "nan", "null", "none"}


def name_problem(name: str) -> str | None:
    """What is wrong with a name for a sweep or an architecture; None if nothing is."""
    if name.startswith("_"):
        return f"must not begin with _, such names are our own; got {quoted(name)}"
    if len(name) > MAX_NAME_LENGTH:
        return f"must be at most {MAX_NAME_LENGTH} characters long, got {len(name)}"
    if not re.fullmatch(NAME_PATTERN, name):
        return (
            "must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', "
            f"got {quoted(name)}"
        )
    if name.split(".")[0].lower() in _DEVICE_NAMES:
        return f"must not be {quoted(name)}, which Windows keeps for a device"
    if name.lower() in _READ_AS_MISSING:
        return f"must not be {quoted(name)}, which pandas.read_csv takes for a missing value"
    return None


def shorten_name(name: str) -> str:
    """`name` itself, or where it has more than 80 characters its beginning and a hash of the whole."""
    if len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_LENGTH - 9].rstrip('-._')}-{digest}"


def automatic_name(stack_name: str, own_in_name: list[str]) -> str:
    """The stack's name and what the architecture sets for itself: `64-32-learning_rate0.0005`, `64-32-adamw`.

    So the same stack with two learning rates needs no `name:`. The name depends on nothing but the architecture's
    own lines: another one that is added to the file, or a change of `training`, renames nobody.
    """
    return shorten_name("-".join([stack_name, *own_in_name]))


def number_in_name(value: float) -> str:
    """A number in the letters that a name may have, `0.3` or `1e-05`; two numbers that differ never look the same."""
    short = format(value, ".12g")
    return (short if float(short) == value else repr(value)).replace("+", "")
