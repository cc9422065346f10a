"""YAML text to nodes that know their line, and the problems found on the way.

`read_text` takes a file for what it claims to be, `read_document` turns its text into one `Node`, `Problems` collects
what is wrong with a file and raises it all at once, each problem with its line and the user's own line under it.

Works on ruamel.yaml's event stream, so that aliases, depth, tags, merge keys and keys given twice are ours to judge,
and values follow YAML 1.2 (`1e-3` is a number, `on` is text). No file, however made, runs code, takes long or fills
the memory: its size, line length, depth and number of values are bounded. What keys and values mean is left to
`read`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError

from fmnist_mlp.errors import SweepError
from fmnist_mlp.words import harmless, quoted

MAX_FILE_BYTES = 1 << 20

MAX_LINE = 20_000  # characters; ruamel.yaml 0.19 takes quadratic time over some long lines (9 s for 1 MiB of "!")

MAX_NODES = 50_000  # values in a file after aliases are expanded: an alias bomb stops here

MAX_DEPTH = 20  # a sweep file needs 7

MAX_PROBLEMS_SHOWN = 20

MAX_SHOWN_LINE = 100  # characters of the user's own line


@dataclass(frozen=True)
class Node:
    """A value and where it stands.

    Attributes:
        value: None, bool, int, float, str, a list of nodes, or a dict from key to node.
        line: from 1; of a value in a mapping that of its key.
        size: number of values in it, aliases expanded.
        source: a scalar as the user wrote it.
    """

    value: Any
    line: int
    size: int = 1
    source: str = ""

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def shown(self) -> str:
        """For the end of a message: `got 1.5`, `got 'wide'`, `got a list`."""
        if isinstance(self.value, list):
            return "a list" if self.value else "[]"
        if isinstance(self.value, dict):
            return "a mapping (key: value)" if self.value else "{}"
        if self.value is None:
            return self.source or "nothing"
        return quoted(self.value) if isinstance(self.value, str) else quoted(self.source)[1:-1]


class Problems:
    """Collects what is wrong with a file and raises it all at once, in the order of lines.

    Args:
        path: of the file, as messages show it.
        text: of the file; each message has its line under it.
    """

    def __init__(self, path: str, text: str):
        self._path = harmless(path)
        # The line breaks of ruamel.yaml's reader, so that our lines are its lines.
        self._lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
        self._found: dict[tuple[int, str], None] = {}  # a dict: what an alias or inheritance finds twice is said once

    def add(self, line: int | None, message: str) -> None:
        """`line` counts from 1; None is for what has no line, such as a missing key."""
        self._found[(line or 0, message)] = None

    def raise_if_any(self) -> None:
        if self._found:
            raise self.error()

    def error(self) -> SweepError:
        """What was found, at most 20 problems of it written out."""
        return SweepError("\n".join(self.lines()))

    def lines(self, what: str = "problems") -> list[str]:
        """What was found in the order of lines, each with the user's own line under it, and how much more there is."""
        found = sorted(self._found, key=lambda problem: problem[0])
        shown = [self._show(line, message) for line, message in found[:MAX_PROBLEMS_SHOWN]]
        if len(found) > MAX_PROBLEMS_SHOWN:
            shown.append(f"{self._path}: and {len(found) - MAX_PROBLEMS_SHOWN:,} more {what}")
        return shown

    def _show(self, line: int, message: str) -> str:
        if line == 0:
            return f"{self._path}: {message}"
        own = harmless(self._lines[line - 1].strip(" ")) if line <= len(self._lines) else ""
        if len(own) > MAX_SHOWN_LINE:
            own = own[: MAX_SHOWN_LINE - 1] + "…"
        return f"{self._path}:{line}: {message}" + (f"\n    {own}" if own else "")


def read_text(path: str | Path) -> str:
    """The text of the file at `path`.

    Raises:
        SweepError: there is no such file, or it cannot be what it should be: too large, not UTF-8, not text.
    """
    shown = harmless(str(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SweepError(
            f"{shown}: there is no such file; give the path of a sweep file, or run without one in a folder that "
            "holds architectures.yaml"
        ) from None
    except IsADirectoryError:
        raise SweepError(f"{shown}: is a folder; give the path of a sweep file, such as architectures.yaml") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        raise SweepError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise SweepError(f"{shown}: is larger than 1 MiB; a sweep file is a short text, is this the right file?")
    try:
        text = content.decode("utf-8-sig")  # takes away the byte order mark that Windows editors write
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SweepError(f"{shown}:{line}: is not UTF-8 text; save it as UTF-8, or is this the right file?") from None
    forbidden = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]", text)
    if forbidden:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise SweepError(
            f"{shown}:{line}: holds the control character U+{ord(forbidden.group()):04X}, so it is not a sweep file"
        )
    for line, content in enumerate(text.splitlines(), start=1):
        if len(content) > MAX_LINE:
            raise SweepError(f"{shown}:{line}: has {len(content):,} characters; is this the right file?")
    return text


def read_document(text: str, problems: Problems) -> Node | None:
    """The one document in `text` as nodes.

    Args:
        text: from `read_text`.
        problems: gets what is wrong; a key given twice leaves the first value standing.

    Returns:
        The outermost value; `Node(None, 0)` for a file without any. None where the text
        cannot be read at all, which leaves a problem.
    """
    parser = YAML(typ="safe", pure=True)
    try:
        return _Composer(parser.parse(text), problems).compose_document()
    except _BadYaml as error:
        problems.add(error.line, str(error))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(mark.line + 1 if mark else None, _explain_syntax(error))
    except RecursionError:
        problems.add(None, f"is nested more than {MAX_DEPTH} levels deep")
    except Exception as error:  # ruamel.yaml 0.19 lets ValueError, IndexError and others out of its scanner
        problems.add(None, f"cannot be read as YAML: {harmless(str(error))[:200]}")
    return None


# ---- parts of the reading ----


class _BadYaml(Exception):
    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


# What ruamel.yaml says -> what a reader who has never seen a YAML scanner needs to know.
_SYNTAX = (
    (r"found character '\\t'|found character '\t'", "a tab stands where YAML wants spaces; indent with spaces"),
    (r"could not find expected ':'", "a ':' is missing, or a line is indented differently from its neighbours"),
    (
        r"mapping values are not allowed here",
        "a second ': ' in one line, or a line indented differently from its neighbours",
    ),
    (r"expected ',' or '\]'", "a list opened by [ is not closed, or a comma is missing"),
    (r"expected ',' or '\}'", "a mapping opened by { is not closed, or a comma is missing"),
    (r"expected <block end>", "this line is indented differently from its neighbours, or a '-' is missing"),
    (r"while scanning a quoted scalar|unexpected end of stream", "a quotation mark is not closed"),
)


def _explain_syntax(error: MarkedYAMLError) -> str:
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    words = next((words for pattern, words in _SYNTAX if re.search(pattern, said)), harmless(said)[:200])
    began = error.context_mark.line + 1 if error.context_mark else None
    where = f" (begun in line {began})" if began and error.problem_mark and began != error.problem_mark.line + 1 else ""
    return f"this is not valid YAML: {words}{where}"


class _Composer:
    """Turns the parser's events into nodes: duplicate keys, aliases, merge keys, tags and depth are judged here."""

    def __init__(self, stream: Iterator[events.Event], problems: Problems):
        self._stream = stream
        self._problems = problems
        self._anchors: dict[str, Node | None] = {}  # None while the anchored value is still being read
        self._nodes = 0

    def compose_document(self) -> Node:
        root = None
        for event in self._stream:
            if isinstance(event, events.DocumentStartEvent):
                if root is not None:
                    raise _BadYaml(_line(event), "a second document begins here (---); a sweep file holds one")
                root = self._compose(next(self._stream), depth=0)
        return Node(None, line=0) if root is None else root

    def _compose(self, event: events.Event, depth: int) -> Node:
        line = _line(event)
        if depth > MAX_DEPTH:
            raise _BadYaml(line, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, events.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, events.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, events.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        self._grow(1, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: events.AliasEvent) -> Node:
        name = quoted("*" + event.anchor)
        if event.anchor not in self._anchors:
            raise _BadYaml(_line(event), f"{name} names no anchor (&) that stands above it")
        node = self._anchors[event.anchor]
        if node is None:
            raise _BadYaml(_line(event), f"{name} stands inside the value that it repeats")
        self._grow(node.size, _line(event))
        return replace(node, line=_line(event))

    def _grow(self, size: int, line: int) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise _BadYaml(line, f"more than {MAX_NODES:,} values once aliases are written out")

    def _scalar(self, event: events.ScalarEvent) -> Node:
        tag, typed = _tag(event), ("!!int", "!!float", "!!bool", "!!null")
        plain = event.style is None and tag is None
        _allow_tag(event, "!!str", *typed)
        text = _whole_characters(event.value)
        return Node(resolve(text) if plain or tag in typed else text, _line(event), source=text)

    def _sequence(self, event: events.SequenceStartEvent, depth: int) -> Node:
        _allow_tag(event, "!!seq")
        items = []
        for inner in self._stream:
            if isinstance(inner, events.SequenceEndEvent):
                break
            items.append(self._compose(inner, depth + 1))
        return Node(items, _line(event), size=1 + sum(item.size for item in items))

    def _mapping(self, event: events.MappingStartEvent, depth: int) -> Node:
        _allow_tag(event, "!!map")
        entries: dict[str, Node] = {}
        merged: list[Node] = []
        for inner in self._stream:
            if isinstance(inner, events.MappingEndEvent):
                break
            key_line = _line(inner)
            key = self._compose(inner, depth + 1)
            value = self._compose(next(self._stream), depth + 1)
            if isinstance(key.value, list | dict):
                raise _BadYaml(key_line, f"a key must be plain text, got {key.shown()}")
            if key.source == "<<" and key.value == "<<":
                merged.append(value)
            elif key.source in entries:
                first = entries[key.source].line
                where = f"in line {first} and in line {key_line}" if first != key_line else f"twice in line {key_line}"
                self._problems.add(key_line, f"the key {quoted(key.source)} is given {where}; keep one")
            else:
                entries[key.source] = replace(value, line=key_line)
        self._merge(entries, merged)
        return Node(entries, _line(event), size=1 + sum(1 + item.size for item in entries.values()))

    def _merge(self, entries: dict[str, Node], merged: list[Node]) -> None:
        """`<<: *other` fills in the keys that are not given, earlier ones first, as in YAML 1.1."""
        for node in merged:
            for source in node.value if isinstance(node.value, list) else [node]:
                if not isinstance(source.value, dict):
                    raise _BadYaml(source.line, f"<< takes a mapping or a list of mappings, got {source.shown()}")
                self._grow(source.size, source.line)
                for key, value in source.value.items():
                    entries.setdefault(key, value)


def _line(event: events.Event) -> int:
    return event.start_mark.line + 1


def _whole_characters(text: str) -> str:
    """JSON writes a character beyond U+FFFF as two escapes, which ruamel.yaml leaves as two halves of a character."""
    is_whole = not re.search("[\ud800-\udfff]", text)
    return text if is_whole else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _tag(event: events.Event) -> str | None:
    """An explicit tag as people write it, `!!int` or `!python/object`; None without one."""
    tag = str(event.tag) if event.tag else None
    return re.sub(r"^tag:yaml\.org,2002:", "!!", tag) if tag else None


def _allow_tag(event: events.Event, *allowed: str) -> None:
    tag = _tag(event)
    if tag not in (None, "!", *allowed):
        raise _BadYaml(_line(event), f"the tag {quoted(tag)} is not allowed; a sweep file holds plain values only")


def resolve(text: str) -> Any:
    """A plain scalar's value by YAML 1.2's core schema, so `1e-3` is a number and `on`, `no`, `12:30:00` are text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9](_?[0-9]){0,99}", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]{1,99}", text):
        return int(text[2:], 8)
    if re.fullmatch(r"0x[0-9a-fA-F]{1,99}", text):
        return int(text[2:], 16)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    special = re.fullmatch(r"([-+]?)\.(inf|Inf|INF)", text)
    if special:
        return float(special.group(1) + "inf")
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text
