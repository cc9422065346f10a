"""How things are said where what is said is other people's: names of folders, files and classes."""

import re

from fmnist_mlp.sweepfile.nodes import harmless

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
