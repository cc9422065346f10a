"""A page: its markup against a parser, its words by hand. Two real ones are in test_report.py and test_explore.py."""

import base64
import io
import re

import pytest
from pages import Page as Parsed
from PIL import Image

from fmnist_mlp.report.page import Page
from fmnist_mlp.words import capitalized, counted, listed


def png(width, height):
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, "png")
    return content.getvalue()


@pytest.fixture
def page():
    page = Page()
    page.section("First")
    page.paragraph("what there is")
    return page


def parsed(page, title="A page", lead=("Lead.",), **options):
    return Parsed(page.to_html(title, lead=lead, **options))


def test_everything_is_text_wherever_it_stands(page):
    hostile = "<b>&\"'\udcff"
    page.section(hostile)
    page.paragraph(hostile)
    page.facts([(hostile, hostile)])
    page.table(hostile, ["a", hostile], [[hostile, (hostile, hostile)]], is_folded=True)
    page.picture("a.png", png(2, 1), alt=hostile, caption=hostile)
    found = parsed(page, hostile, [hostile], warnings=[hostile])
    assert "b" not in found.tags
    # Title and h1, lead, warning, link, h2, paragraph, name, fact, summary, caption, heading, row's, cell, caption.
    assert found.text.count("<b>&\"'?") == 15
    page.to_html(hostile, lead=[]).encode()


def test_a_picture_has_its_size_its_words_and_its_file(page):
    page.picture("a.png", png(30, 20), alt="a chart", caption="one")
    page.picture("b.png", png(3, 2), alt="a photo", caption="two", is_photo=True)
    page.paragraph("between")
    page.picture("c.png", png(1, 1), alt="another", caption="three")
    found = parsed(page)
    assert [(image["class"], image["width"], image["height"], image["alt"]) for image in found.all("img")] == [
        ("chart", "30", "20", "a chart"),
        ("photo", "3", "2", "a photo"),
        ("chart", "1", "1", "another"),
    ]
    inside = [base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in found.all("img")]
    assert inside == list(page.pictures.values())
    assert list(page.pictures) == ["a.png", "b.png", "c.png"]
    # The first two are side by side where there is room.
    assert [attributes.get("class") for attributes in found.all("div")] == ["figures", "figures"]


def test_links_lead_to_the_sections(page):
    page.section("Second")
    found = parsed(page)
    assert [link["href"].removeprefix("#") for link in found.all("a")] == [part["id"] for part in found.all("section")]
    names = [heading["id"] for heading in found.all("h2")]
    assert [part["aria-labelledby"] for part in found.all("section")] == names


def test_a_table_sorts_by_the_values_that_it_is_given(page):
    page.table("Plain", ["", "number"], [["a", "1"]])
    assert "script" not in parsed(page).tags
    rows = [["a", ("1 %", 0.01), "x"], ["b", ("", None), "y"]]
    page.table("Sorted", ["name", "share", "said"], rows, text_columns=(0, 2), sorted_by={0: True, 1: False, 2: True})
    found = parsed(page)
    assert len(found.all("script")) == 1
    assert [table.get("class") for table in found.all("table")] == [None, "sortable"]
    assert [head.get("data-sort") for head in found.all("th") if head["scope"] == "col"] == [None, "text", None, "text"]
    assert [cell.get("data-value") for cell in found.all("td")] == [None, None, "0.01", None, None, None]
    assert [cell.get("class") for cell in found.all("td")][-2:] == [None, "text"]


def test_a_folded_table_says_how_many_rows_it_has(page):
    page.table("Many", ["a"], [["1"], ["2"]], is_folded=True)
    assert "Many: 2 rows" in parsed(page).text


def test_what_only_one_page_needs_is_added_to_it(page):
    markup = page.to_html("A page", lead=["Lead."], style="p { color: red }", head='<meta name="mine">\n')
    assert re.search(r"charset.*<meta name=\"mine\">.*p { color: red }</style>", markup, flags=re.DOTALL)
    assert not re.search(r"//|@import|url\(|<link|<script", markup)


def test_words():
    assert [counted(count, "image") for count in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert listed([]) == "none"
    assert listed([1, 2, 3], most=3) == "1, 2, 3"
    assert listed(range(2000), most=2) == "0, 1 and 1,998 more"
    assert capitalized("val_ECE of it") == "Val_ECE of it"
    assert capitalized("") == ""
