"""What is other people's stays text, by the judgement of another reader of Markdown."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fmnist_mlp.words import code_in_markdown, harmless, in_markdown

PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30)


def shown(markdown):
    """The kinds and contents of what a line consists of."""
    (inline,) = MarkdownIt().parseInline(markdown)
    return [(child.type, child.content) for child in inline.children]


@given(PRINTABLE)
@example("a|b <img src=x> # [c](d) `e`")
@example("_x_ *y* __z__ a_b ~~old~~ &lt; \\")
def test_a_name_is_read_back_as_it_is(name):
    # In the middle of a line, where no name begins a heading or a list.
    assert "".join(content for _, content in shown(f"x {in_markdown(name)} x")) == f"x {name} x"
    assert {kind for kind, _ in shown(f"x {in_markdown(name)} x")} <= {"text", "text_special"}


def test_a_name_is_one_cell_of_one_line():
    table = f"| a | b |\n|---|---|\n| {in_markdown('x | y' + chr(10) + '| z')} | 2 |\n"
    html = MarkdownIt("gfm-like", {"linkify": False}).render(table)
    assert html.count("<td>") == 2
    assert "<td>x | y\\n| z</td>" in html


@given(PRINTABLE)
@example("`")
@example("a``b")
def test_code_is_read_back_as_it_is(text):
    ((kind, content),) = [child for child in shown(code_in_markdown(text)) if child[1]]
    assert (kind, content.strip()) == ("code_inline", harmless(text).strip())


@pytest.mark.parametrize("name", ["fashion_mnist", "idx:mine", "64-128-64-32"])
def test_a_plain_name_is_left_as_it_is(name):
    assert in_markdown(name) == name
