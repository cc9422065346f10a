# ruff: noqa: E501 (messages stand in the table as a person reads them, in one line)
"""YAML text as nodes, against ruamel.yaml's own reader; and what a person reads whose text is none."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.nodes import MAX_SHOWN_LINE, Problems, read_document, read_text
from fmnist_mlp.words import harmless, quoted


def read(text):
    """The root node of text that has no problem."""
    problems = Problems("a.yaml", text)
    root = read_document(text, problems)
    problems.raise_if_any()
    return root


# ---- values ----

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(plain_values, st.sampled_from([None, 1]))
def test_json_is_read_as_json(tree, indent):
    assert read(json.dumps(tree, indent=indent)).plain() == tree


@pytest.mark.parametrize(
    "scalar",
    ["1", "-7", "+3", "0", "0o17", "0x1F", "1.5", "-.5", "1.", "1e3", "1E-3", "1.5e+3", "true", "False", "null", "~",
     "on", "no", "yes", "12:30:00", "1.2.3", "abc", "'1'", "\"true\"", "1-2", "e3", ".", "0x", ".inf", "-.INF"],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(scalar):
    expected = YAML(typ="safe", pure=True).load(f"a: {scalar}")["a"]
    node = read(f"a: {scalar}").value["a"]
    assert (node.value, type(node.value)) == (expected, type(expected))
    assert node.source == scalar.strip("'\"")


def test_numbers_with_underscores_and_those_that_are_none():
    values = read("[10_000, 1__0, _1, .nan, !!str 5, !!int 5, ! 5]").plain()
    assert values[:3] == [10_000, "1__0", "_1"]
    assert math.isnan(values[3])
    assert values[4:] == ["5", 5, "5"]


def test_every_value_knows_its_line_which_in_a_mapping_is_that_of_its_key():
    root = read("a: 1\nb:\n- x\n-\n  - y\n? c\n: {d:\n   2}\n")
    a, b, c = root.value.values()
    assert (root.line, a.line, b.line, c.line) == (1, 1, 2, 6)
    assert [item.line for item in b.value] == [3, 5]
    assert (c.value["d"].line, c.value["d"].value) == (7, 2)
    assert root.size == 12  # 4 keys, 4 scalars, 4 collections


def test_an_alias_has_the_value_of_its_anchor_and_a_line_of_its_own():
    root = read("a: &a [1, 2]\nb: *a\nc: {<<: [{d: 1}, {d: 2, e: 3}], e: 4}\n")
    a, b, c = root.value.values()
    assert (a.plain(), b.plain(), b.line) == ([1, 2], [1, 2], 2)
    assert c.plain() == {"d": 1, "e": 4}


def test_no_text_is_a_node_of_nothing():
    assert [read(text).value for text in ("", "# only\n", "---\n", "~\n")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[]", "[]"), ("[1]", "a list"), ("{}", "{}"), ("{a: 1}", "a mapping (key: value)"), ("1e-3", "1e-3"),
        ("'1'", "'1'"), ("null", "null"), ("!!null ''", "nothing"), ("TRUE", "TRUE"),
        ('"\\e[2J"', "'\\x1b[2J'"), ("x" * 80, f"'{'x' * 59}…'"),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_it_was_written(text, shown):
    assert read(text).shown() == shown


# ---- problems ----


def test_problems_come_in_the_order_of_lines_each_once_with_the_line_under_it():
    problems = Problems("a.yaml", "first\n  second\r\n" + "x" * 300)
    problems.raise_if_any()
    for line, message in [(2, "b"), (None, "c"), (2, "a"), (3, "d"), (2, "b"), (9, "beyond")]:
        problems.add(line, message)
    long = "x" * (MAX_SHOWN_LINE - 1) + "…"
    with pytest.raises(SweepError) as caught:
        problems.raise_if_any()
    assert str(caught.value).split("\n") == [
        "a.yaml: c",
        "a.yaml:2: b", "    second", "a.yaml:2: a", "    second",
        "a.yaml:3: d", f"    {long}",
        "a.yaml:9: beyond",
    ]  # fmt: skip


def test_what_is_shown_cannot_move_the_cursor():
    assert harmless("a\x1b[2J\u202e\tb") == "a\\x1b[2J\\u202e\\tb"
    assert quoted("\r" * 3) == "'\\r\\r\\r'"
    assert len(harmless("x" * 10_000)) == 2_000


# ---- what cannot be read ----

STACK = "architectures:\n  - [64, 32]\n"
BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def read_file(path):
    text = read_text(path)
    problems = Problems(path, text)
    read_document(text, problems)
    problems.raise_if_any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("seeds: 5\nlimit: 3\nseeds: 6\n", "architectures.yaml:3: the key 'seeds' is given in line 1 and in line 3; keep one", id="key given twice"),
        pytest.param("a: [1, 2\nb: 3\n", "architectures.yaml:2: this is not valid YAML: a list opened by [ is not closed, or a comma is missing (begun in line 1)", id="open list"),
        pytest.param("a:\n\t- 1\n", "architectures.yaml:2: this is not valid YAML: a tab stands where YAML wants spaces", id="tab"),
        pytest.param("a: 'x\n", "architectures.yaml:2: this is not valid YAML: a quotation mark is not closed (begun in line 1)", id="open quote"),
        pytest.param("a: 1\n  b: 2\n", "architectures.yaml:2: this is not valid YAML: a second ': ' in one line", id="indentation"),
        pytest.param("a: 1\n---\nb: 2\n", "architectures.yaml:2: a second document begins here (---)", id="two documents"),
        pytest.param("a: !!python/object/apply:os.system [ls]\n", "architectures.yaml:1: the tag '!!python/object/apply:os.system' is not allowed", id="code in a tag"),
        pytest.param("a: !!binary aGk=\n", "architectures.yaml:1: the tag '!!binary' is not allowed", id="binary tag"),
        pytest.param("a: *b\n", "architectures.yaml:1: '*b' names no anchor (&) that stands above it", id="unknown alias"),
        pytest.param("a: &a [*a]\n", "architectures.yaml:1: '*a' stands inside the value that it repeats", id="recursive alias"),
        pytest.param(BOMB, "architectures.yaml:5: more than 50,000 values once aliases are written out", id="alias bomb"),
        pytest.param("[" * 5000, "architectures.yaml:1: nested more than 20 levels deep", id="deep"),
        pytest.param("- " * 5000, "architectures.yaml:1: nested more than 20 levels deep", id="deep blocks"),
        pytest.param("? [a]\n: 1\n", "architectures.yaml:1: a key must be plain text, got a list", id="list as key"),
        pytest.param("<<: 5\n", "architectures.yaml:1: << takes a mapping or a list of mappings, got 5", id="bad merge"),
        pytest.param('a: "\\UFFFFFFFF"\n', "architectures.yaml: cannot be read as YAML", id="impossible character"),
        pytest.param(b"a: 1\n\xff\xfe", "architectures.yaml:2: is not UTF-8 text", id="binary"),
        pytest.param(STACK.encode("utf-16"), "architectures.yaml:1: is not UTF-8 text", id="UTF-16"),
        pytest.param("a: 1\nb: \x00\n", "architectures.yaml:2: holds the control character U+0000", id="NUL"),
        pytest.param("a: 1\nb: \x1b[2J\n", "architectures.yaml:2: holds the control character U+001B", id="escape"),
        pytest.param("x" * 30_000, "architectures.yaml:1: has 30,000 characters", id="long line"),
        pytest.param("#" * (1 << 20) + "\n", "architectures.yaml: is larger than 1 MiB", id="large"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    Path("architectures.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SweepError) as caught:
        read_file("architectures.yaml")
    lines = str(caught.value).split("\n")
    assert lines[0].startswith(message)
    assert len(lines) <= 2
    assert sum(map(len, lines)) < 500


def test_of_a_key_given_twice_the_first_stands():
    text = "a: 1\na: 2\n"
    assert read_document(text, Problems("a.yaml", text)).plain() == {"a": 1}


def test_missing_files_and_folders_say_what_to_do(tmp_path):
    with pytest.raises(SweepError, match=r"nowhere\.yaml: there is no such file; give the path of a sweep file"):
        read_text("nowhere.yaml")
    with pytest.raises(SweepError, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(SweepError, match="cannot be read"):
        read_text("a\0b")
