"""What a page of HTML says, read by the standard library's parser; for test_pages, test_report and test_explore."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Fails where tags are not closed in order.

    Args:
        markup: of the page.
    """

    def __init__(self, markup):
        super().__init__()
        self.source, self.text, self.title = markup, "", ""
        self.elements, self.tables, self.facts = [], [], {}
        self._open = []
        self.feed(markup)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append({"tag": tag, "text": "", **dict(attributes)})
        elif tag == "dt":
            self._name = ""
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        if {"style", "script"} & {*self._open}:
            return
        self.text += text
        if "title" in self._open:
            self.title += text
        elif {"td", "th"} & {*self._open}:
            self.tables[-1][-1][-1]["text"] += text
        elif "dt" in self._open:
            self._name += text
        elif "dd" in self._open:
            self.facts[self._name] = self.facts.get(self._name, "") + text

    @property
    def tags(self):
        return [tag for tag, _ in self.elements]

    def all(self, tag):
        """The attributes of every such element, in order."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def images(self):
        return self.all("img")

    def attributes(self, *names):
        """The values of these attributes wherever they stand."""
        return [value for _, attributes in self.elements for name, value in attributes.items() if name in names]

    @property
    def rows(self):
        """The rows of all tables, as texts."""
        return [[cell["text"] for cell in row] for table in self.tables for row in table]

    def table(self, beginning):
        """The table whose first column has this heading: its rows, the headings first."""
        return next(rows for rows in self.tables if rows[0][0]["text"] == beginning)


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))
