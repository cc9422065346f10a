"""The page: what it answers without a browser, its guard against invented requests, and all of it in Chromium.

The browser is driven through chromedriver over plain HTTP (W3C WebDriver), so that no package is needed for it. Without
Gradio (the extra `app`) or Chromium the tests that need them are skipped with the reason.
"""

import asyncio
import base64
import contextlib
import importlib.util
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predicting import STAND_IN, draw_garment, encode, finished_sweep, png_header

from fmnist_mlp import app, cli, data
from fmnist_mlp.app import MAX_UPLOAD_BYTES, Page
from fmnist_mlp.errors import SweepError
from fmnist_mlp.pictures import UnreadableImage, load_image
from fmnist_mlp.predict import Predictor

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio (the extra app)")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_sweep(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(finished):
    return Page(finished.results)


# ---- without a browser ----


def test_the_page_begins_with_the_best_model_and_has_the_others(page):
    assert page.best == "large"
    assert page.model_names == ["small", "large"]
    assert page.shape == (28, 28)


def test_the_page_classifies_as_the_predictor_does(page, finished):
    prepared = page.read(encode(draw_garment()))["auto"]
    expected = Predictor(finished.model("small"), data.CLASS_NAMES).predict(prepared.pixels)
    assert list(page.classify("small", prepared.pixels).items()) == expected


def test_a_picture_is_read_in_each_way_of_inverting(page):
    content = encode(draw_garment())
    seen = page.read(content)
    assert {*seen} == {"auto", "yes", "no"}
    for invert, prepared in seen.items():
        np.testing.assert_array_equal(prepared.pixels, load_image(content, (28, 28), invert).pixels)


def test_the_samples_are_the_first_two_test_images_of_each_class(page):
    images = data.load_data(data.DataSource("synthetic"))
    wanted = [index for label in range(10) for index in np.flatnonzero(images.y_test == label)[:2]]
    assert [sample.class_name for sample in page.samples] == [data.CLASS_NAMES[images.y_test[i]] for i in wanted]
    np.testing.assert_array_equal([sample.pixels for sample in page.samples], images.x_test[wanted])


def test_without_the_images_the_page_has_no_samples_and_says_why(finished, monkeypatch):
    lines = []

    def nowhere(*arguments):
        raise SweepError("the images are gone")

    monkeypatch.setattr(data, "find_data", nowhere)
    page = Page(finished.results, notify=lines.append)
    assert page.samples == []
    assert lines == [f"large: {STAND_IN}", "no samples on the page: the images are gone"]


def test_a_model_that_is_not_exported_is_refused_by_its_name(page):
    for name in ("nothing", "../large", "/etc/passwd", ""):
        with pytest.raises(SweepError, match="there are small, large"):
            page.classify(name, np.zeros((28, 28), np.uint8))


def test_a_file_larger_than_the_page_takes_is_refused_unopened(page):
    with pytest.raises(UnreadableImage, match="larger than 20 MiB"):
        page.read(bytes(MAX_UPLOAD_BYTES + 1))


def test_the_table_is_that_of_the_sweep_best_first(page):
    headers, *rows = page.table()
    assert headers[:2] == ["architecture", "parameters"]
    assert [row[0] for row in rows] == ["large", "small"]
    assert rows[0][1] == "25,450"  # 784 x 32 + 32 + 32 x 10 + 10
    assert rows[0][-1] == "best"
    assert rows[1][-1] == "worse by 0.0300 (0.0100 to 0.0500)"


def test_the_plots_of_the_sweep_are_shown_but_for_broken_ones(page, finished):
    folder = finished.results / "architectures" / "plots"
    folder.mkdir()
    Image.new("RGB", (30, 20), "red").save(folder / "b.png")
    (folder / "a.png").write_bytes(b"no picture")
    (folder / "report.html").write_text("<p>")
    ((picture, name),) = page.plots()
    assert (picture.size, picture.getpixel((0, 0)), name) == ((30, 20), (255, 0, 0), "b")


def test_a_sweep_without_models_has_no_page(tmp_path):
    (tmp_path / "architectures").mkdir()
    with pytest.raises(SweepError, match="holds no exported model yet: run python sweep"):
        Page(tmp_path)


def test_without_gradio_the_command_names_the_remedy(finished, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.verbs(["app", "--results-dir", str(finished.results)]) == 2
    said, remedy = capsys.readouterr().err.splitlines()
    assert said == f"large: {STAND_IN}"
    assert remedy == "the page needs gradio: pip install '.[app]' in the project's folder"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.verbs(["app", "--port", port])
    assert "expected a" in capsys.readouterr().err


def test_a_port_in_use_is_said_and_without_one_the_next_is_taken(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SweepError, match=f"cannot listen on 127.0.0.1, port {port} .*choose another --port"):
            app._free_port("127.0.0.1", port)
        monkeypatch.setattr(app, "FIRST_PORT", port)
        assert port < app._free_port("127.0.0.1", None) < port + 100


def test_a_host_that_is_none_of_this_machine_is_refused():
    with pytest.raises(SweepError, match=r"--host nowhere\.invalid: is no address of this machine"):
        app._free_port("nowhere.invalid", None)


class NoBlocks:
    """Gradio's blocks, that serve nothing and remember how they were asked to."""

    def queue(self, **options):
        return self

    def launch(self, **options):
        self.options = options
        return None, f"http://{options['server_name']}:{options['server_port']}/", None

    def close(self, verbose):
        pass


@needs_gradio
@pytest.mark.parametrize(
    ("host", "lines"),
    [
        ("127.0.0.1", []),
        ("localhost", []),
        (
            "0.0.0.0",
            ["0.0.0.0: whoever reaches this machine over the network can use the page, it asks for no password"],
        ),
    ],
)
def test_a_page_for_others_is_said_and_no_page_is_shared_with_gradios_servers(page, host, lines, monkeypatch):
    blocks, said, addresses, stop = NoBlocks(), [], [], threading.Event()
    monkeypatch.setattr(app, "_build", lambda page: blocks)
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # put back after the test
    for name in ("GRADIO_SHARE", "GRADIO_MCP_SERVER"):
        monkeypatch.setenv(name, "True")
    stop.set()
    app.serve(page, host, None, said.append, ready=addresses.append, stop=stop)
    assert said == lines
    assert addresses[0].startswith(f"http://{host}:78")
    assert (blocks.options["share"], os.environ["GRADIO_SHARE"]) == (False, "False")
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert not Path(os.environ["GRADIO_TEMP_DIR"]).exists()


# ---- the guard ----


async def _answer(scope, receive, send):
    """What stands behind the guard: reads the whole body and answers with its length, or with what cut it off."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            await send({"type": "http.response.start", "status": 499, "headers": []})
            return
        length, more = length + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Content-Type-Options", b"theirs")]})
    await send({"type": "http.response.body", "body": str(length).encode()})


def ask(path="/", headers=(), parts=(b"",), is_local=True):
    """Ask the guard with nobody behind it but `_answer`: status, headers, and the body, if any."""
    sent, waiting = [], [*parts]
    scope = {"type": "http", "path": path, "headers": [(b"host", b"127.0.0.1:7860"), *headers]}

    async def receive():
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    asyncio.run(app._Guard(_answer, is_local, Path("/tmp/uploads"))(scope, receive, send))
    return sent[0]["status"], sent[0]["headers"], b"".join(message.get("body", b"") for message in sent[1:])


def test_the_guard_lets_through_what_the_page_sends():
    status, headers, body = ask("/gradio_api/upload", [(b"content-length", b"5")], [b"ab", b"cde"])
    assert (status, body) == (200, b"5")
    assert [value for name, value in headers if name.lower() == b"x-content-type-options"] == [b"nosniff"]
    assert b"default-src 'self'" in dict(headers)[b"content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://example.org",
        "/gradio_api/component_server",
        "/gradio_api/gradio_api/component_server",
        "/gradio_api/call/upload",
        "/gradio_api/run/predict",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://example.org",
        "/gradio_api/file=/tmp/uploads/../../etc/passwd",
        "/gradio_api/file=/tmp/uploads-of-another/x",
        "/monitoring",
        "//monitoring",
        "/login",
        "/assets/../config2",
    ],
)
def test_the_guard_shuts_routes_that_the_page_has_no_use_for(path):
    assert ask(path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost:7860", 200),
        (b"localhost", 200),
        (b"[::1]:7860", 200),
        (b"127.0.0.1", 200),
        (b"evil.example:7860", 400),
        (b"127.0.0.1.evil.example", 400),
        (b"localhost.evil.example:80", 400),
        (b"", 400),
    ],
)
def test_a_page_of_this_machine_answers_to_names_of_this_machine_only(host, status):
    assert ask(headers=[(b"host", host)])[0] == status
    assert ask(headers=[(b"host", host)], is_local=False)[0] == 200


def test_the_guard_refuses_a_body_that_is_said_to_be_too_large_without_reading_it():
    length = str(MAX_UPLOAD_BYTES * 5).encode()
    assert ask("/gradio_api/upload", [(b"content-length", length)])[0] == 413
    assert ask("/gradio_api/upload", [(b"content-length", b"1e3")])[0] == 413


def test_the_guard_cuts_off_a_body_that_grows_too_large_without_saying_so():
    parts = [bytes(2**20)] * 25
    assert ask("/gradio_api/upload", parts=parts)[0] == 499
    assert ask("/gradio_api/upload", parts=parts[:20])[2] == str(20 * 2**20).encode()


# ---- in a browser ----


class Browser:
    """A headless Chromium behind chromedriver."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._at = f"http://127.0.0.1:{port}"
        log = folder / "chromedriver.log"
        self._driver = subprocess.Popen(
            [shutil.which("chromedriver"), f"--port={port}", f"--log-path={log}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.until(lambda: self._ask("GET", "/status")["ready"])
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1400"]}
        asked = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
        self._session = ""
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
        self._session = f"/session/{made['sessionId']}"

    def close(self):
        with contextlib.suppress(OSError):
            self._ask("DELETE", "")
        self._driver.terminate()
        self._driver.wait(10)

    def _ask(self, method, path, content=None):
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            self._at + getattr(self, "_session", "") + path, body, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(json.load(error)["value"]["message"].splitlines()[0]) from None

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self._ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def find(self, selector):
        (element,) = self._ask("POST", "/element", {"using": "css selector", "value": selector}).values()
        return f"/element/{element}"

    def click(self, selector):
        self._ask("POST", self.find(selector) + "/click", {})

    def type(self, selector, text):
        self._ask("POST", self.find(selector) + "/value", {"text": text})

    def drag(self, selector, places):
        """With the mouse button down from one place to the next, in pixels from the middle of the element."""
        (element,) = self._ask("POST", "/element", {"using": "css selector", "value": selector}).values()
        origin = {"element-6066-11e4-a52e-4f735466cecf": element}
        moves = [{"type": "pointerMove", "duration": 20, "x": x, "y": y, "origin": origin} for x, y in places]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}
        self._ask("POST", "/actions", {"actions": [pointer]})

    def value(self, selector):
        return self.run("const found = document.querySelector(arguments[0]); return found && found.value", selector)

    def text(self, selector):
        return self.run("const found = document.querySelector(arguments[0]); return found && found.innerText", selector)

    def pixels(self, selector):
        """An `img` of the page as it was sent: `(height, width)`."""
        url = self.run("const found = document.querySelector(arguments[0]); return found && found.src", selector)
        if not url:
            return None
        with urllib.request.urlopen(url, timeout=30) as answer:
            return np.asarray(Image.open(io.BytesIO(answer.read())).convert("L"))

    def requests(self):
        """The addresses that were asked for since the last call."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        """What the browser's console holds of errors."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def until(self, condition, seconds=30.0):
        """Ask again and again until the condition holds; returns what it gave."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, BrowserError):
                if found := condition():
                    return found
            assert time.monotonic() < deadline, f"waited {seconds} s in vain"
            threading.Event().wait(0.05)


class BrowserError(Exception):
    """What chromedriver refused."""


@pytest.fixture(scope="module")
def served(finished):
    """The page in a process of its own, as its users start it: its address."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("needs gradio (the extra app)")
    command = [sys.executable, "-m", "fmnist_mlp", "app", "--results-dir", finished.results]
    process = subprocess.Popen(
        command,
        cwd=finished.folder,
        env=finished.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), line + process.stderr.read()
        yield line.split()[1]
        assert process.poll() is None, process.stderr.read()
    finally:
        process.terminate()
        process.communicate(timeout=20)
        assert not [*Path(tempfile.gettempdir()).glob(f"fmnist-mlp-app-{process.pid}-*")]


@pytest.fixture(scope="module")
def browser(served, tmp_path_factory):
    if shutil.which("chromedriver") is None or shutil.which("chromium") is None:
        pytest.skip("needs chromium and chromedriver")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


NOTE, TOP, SEEN = "#note textarea", "#probabilities", "#picture img"


@pytest.fixture
def opened(browser, served):
    """The page, just opened and ready."""
    browser.open(served)
    browser.until(lambda: "Upload or draw" in (browser.value(NOTE) or ""))
    return browser


def magnified(pixels):
    return np.kron(pixels, np.ones((10, 10), np.uint8))


def upload(browser, path, expected):
    browser.until(lambda: browser.find("#upload input[type=file]"))
    browser.type("#upload input[type=file]", str(path))
    browser.until(lambda: expected in browser.value(NOTE))


@pytest.mark.slow
def test_an_uploaded_picture_is_classified_and_shown_as_the_network_sees_it(opened, finished, tmp_path):
    path = tmp_path / "shirt.png"
    draw_garment().save(path)
    upload(opened, path, "dark on light: inverted; fitted from 300x400")
    expected = load_image(path)
    opened.until(lambda: opened.pixels(SEEN) is not None)
    np.testing.assert_array_equal(opened.pixels(SEEN), magnified(expected.pixels))
    best = Predictor(finished.model("large"), data.CLASS_NAMES).predict(expected.pixels)
    shown = opened.text(TOP)
    assert shown.index(best[0][0]) < shown.index(best[1][0])
    assert f"{best[0][1]:.0%}" in shown


@pytest.mark.slow
def test_another_model_and_another_inversion_answer_for_the_same_picture(opened, finished, tmp_path):
    path = tmp_path / "shirt.png"
    draw_garment().save(path)
    upload(opened, path, "inverted")
    opened.run("document.querySelectorAll('input[type=radio]')[2].click()")
    opened.until(lambda: "not inverted, as asked" in opened.value(NOTE))
    expected = load_image(path, invert="no")
    opened.until(lambda: np.array_equal(opened.pixels(SEEN), magnified(expected.pixels)))
    for model in ("small", "large"):
        opened.click("input[aria-label=Model]")
        opened.until(lambda model=model: opened.click(f"[role=option][aria-label={model}]") is None)
        best = Predictor(finished.model(model), data.CLASS_NAMES).predict(expected.pixels)[0]
        opened.until(lambda best=best: f"{best[0]}" in opened.text(TOP) and f"{best[1]:.0%}" in opened.text(TOP))


@pytest.mark.slow
def test_a_drawing_is_classified(opened):
    opened.run("[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText == 'Draw').click()")
    opened.until(lambda: opened.run("return document.querySelector('#draw canvas').getBoundingClientRect().width > 0"))
    opened.drag("#draw canvas", [(-60, -100), (60, -100), (60, 100), (-60, 100), (-60, -100)])
    opened.click("#draw button.classify")
    opened.until(lambda: "dark on light: inverted; fitted from 280x280" in opened.value(NOTE))
    seen = opened.until(lambda: opened.pixels(SEEN) is not None) and opened.pixels(SEEN)[5::10, 5::10]
    # A frame higher than wide, of a pen as wide as a tenth of it, fills the height and stands in the middle.
    assert seen.shape == (28, 28)
    assert (seen[14] > 127).sum() >= 4
    assert seen[14, 14] == 0
    assert seen[1].max() == 255 == seen[26].max()
    assert not seen[:, [0, 1, 26, 27]].any()


@pytest.mark.slow
def test_a_test_image_is_taken_as_it_is(opened):
    opened.run("[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText == 'Test images').click()")
    opened.until(lambda: opened.run("return document.querySelectorAll('#samples button img').length == 20"))
    opened.run("document.querySelectorAll('#samples button img')[3].closest('button').click()")
    opened.until(lambda: "a test image of the class Trouser" in opened.value(NOTE))
    images = data.load_data(data.DataSource("synthetic"))
    expected = images.x_test[np.flatnonzero(images.y_test == 1)[1]]
    opened.until(lambda: np.array_equal(opened.pixels(SEEN), magnified(expected)))


@pytest.mark.slow
def test_the_table_of_the_sweep_is_on_the_page(opened):
    opened.until(lambda: "25,450" in opened.text("#table"))
    shown = opened.text("#table")
    assert shown.index("large") < shown.index("small")
    assert "worse by 0.0300" in shown
    assert np.array_equal(opened.until(lambda: opened.pixels("#plots img")[0, :1]), [76])  # red as gray


@pytest.mark.slow
def test_hostile_uploads_get_a_line_and_leave_the_page_working(opened, tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(60_000, 60_000))
    pickled = tmp_path / "model.pkl"
    pickled.write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/never'\ntR.")
    cut = tmp_path / "cut;rm -rf ..;<b>.png"
    cut.write_bytes(encode(draw_garment())[:400])
    for path, said in [(bomb, "too many pixels"), (pickled, "is no image"), (cut, "is damaged or cut off")]:
        upload(opened, path, said)
        assert not opened.pixels(SEEN)
        opened.open(opened.run("return location.href"))
        opened.until(lambda: "Upload or draw" in (opened.value(NOTE) or ""))
    good = tmp_path / "good.png"
    draw_garment().save(good)
    upload(opened, good, "inverted")


@pytest.mark.slow
def test_an_upload_of_100_megabytes_is_refused_before_it_is_kept(opened, served, tmp_path):
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(100 * 10**6)
    opened.until(lambda: opened.find("#upload input[type=file]"))
    opened.type("#upload input[type=file]", str(large))
    opened.until(lambda: "20 MiB" in opened.text("body") or "maximum" in opened.text("body").lower())
    with pytest.raises((urllib.error.HTTPError, OSError)) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{served}gradio_api/upload", bytes(30 * 2**20)), timeout=20)
    assert getattr(refused.value, "code", 413) == 413


@pytest.mark.slow
def test_the_page_asks_nobody_but_its_own_server(opened, served):
    opened.until(lambda: "25,450" in opened.text("#table"))
    asked = [url for url in opened.requests() if not url.startswith(("data:", "blob:"))]
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith(served)] == []
    assert opened.complaints() == []


@pytest.mark.slow
def test_files_outside_what_was_uploaded_are_not_served(served):
    for path in ("gradio_api/file=/etc/passwd", f"gradio_api/file={cli.__file__}", "gradio_api/proxy=http://localhost"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(served + path, timeout=20)
