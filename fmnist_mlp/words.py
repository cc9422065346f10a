"""How things are said where what is said is other people's: names of folders, files and classes."""

import re
from collections.abc import Sequence
from typing import Any

# What means something to Markdown. An underscore does so only at the beginning or the end of a word.
_MARKS = re.compile(r"[\\|`*\[\]<>&~$]|(?<![^\W_])_|_(?![^\W_])")


def in_markdown(text: str) -> str:
    """Text that stays text in Markdown, in a table too, on one line."""
    return _MARKS.sub(r"\\\g<0>", harmless(text))


def code_in_markdown(text: str) -> str:
    """Text as code, within more backticks than it has itself."""
    text = harmless(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def printable(text: str, keep: str = "") -> str:
    """`text` without characters that could move the cursor or hide something in a terminal, but for those to `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """The first 2,000 characters of `text`, `printable`."""
    return printable(text[:2000])


def quoted(text: str) -> str:
    """What a user wrote, for the middle of a message: harmless, at most 60 characters, in quotation marks."""
    shown = harmless(text if len(text) <= 60 else text[:59] + "…")
    return f"'{shown}'"


def counted(count: int, thing: str) -> str:
    """`counted(1, "image")` -> `1 image`; `counted(1200, "image")` -> `1,200 images`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def listed(things: Sequence[Any], most: int = 10) -> str:
    """`listed([1, 2, 3], most=2)` -> `1, 2 and 1 more`; `none` for nothing."""
    said = ", ".join(str(thing) for thing in things[:most])
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return said + more if len(things) else "none"


def duration(seconds: float) -> str:
    """`duration(3725)` -> `1 h 2 min`; `duration(62)` -> `1 min 2 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def capitalized(text: str) -> str:
    """Text as the beginning of a sentence; unlike `str.capitalize` it leaves all but the first letter alone."""
    return text[:1].upper() + text[1:]
