"""The page: what it knows, what its server answers and refuses, and all of it in Chromium.

The server runs in a thread of the tests, and once in a process of its own as its users start it. The browser is driven
through chromedriver over plain HTTP (W3C WebDriver), so that no package is needed for it. Without Starlette (the extra
`app`) or Chromium the tests that need them are skipped with the reason.
"""

import asyncio
import base64
import contextlib
import http.client
import http.server
import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predicting import (
    STAND_IN,
    bmp_with_run_lengths,
    draw_garment,
    encode,
    png_header,
    scan_bomb,
    truncated,
)

from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.source import CLASS_NAMES, DataSource, load_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference import app
from fmnist_mlp.inference.app import MAX_UPLOAD_BYTES, Page
from fmnist_mlp.inference.decoder import BOUNDS_MEMORY, Decoder
from fmnist_mlp.inference.pictures import load_image
from fmnist_mlp.inference.predictor import Predictor

HAS_SERVER = all(importlib.util.find_spec(name) is not None for name in ("starlette", "uvicorn"))


@pytest.fixture(scope="module")
def page(finished):
    return Page(finished.results)


# ---- what the page knows ----


def test_the_page_begins_with_the_best_model_and_has_the_others(page):
    assert page.best == "large"
    assert page.model_names == ["small", "large"]
    assert page.shape == (28, 28)


def test_the_page_classifies_as_the_predictor_does(page, finished):
    pixels = load_image(draw_garment()).pixels
    expected = Predictor(finished.model("small"), CLASS_NAMES).predict(pixels)
    assert page.classify("small", pixels) == (expected, [STAND_IN])


def test_the_samples_are_the_first_two_test_images_of_each_class(page):
    images = load_data(DataSource("synthetic"))
    wanted = [index for label in range(10) for index in np.flatnonzero(images.y_test == label)[:2]]
    assert [sample.class_name for sample in page.samples] == [CLASS_NAMES[images.y_test[i]] for i in wanted]
    np.testing.assert_array_equal([sample.pixels for sample in page.samples], images.x_test[wanted])


def test_without_the_images_the_page_has_no_samples_and_says_why(finished, monkeypatch):
    lines = []

    def nowhere(*arguments):
        raise SweepError("the images are gone")

    monkeypatch.setattr("fmnist_mlp.inference.finished.find_data", nowhere)
    page = Page(finished.results, notify=lines.append)
    assert (page.samples, page.any_test_image()) == ([], None)
    assert lines == [f"large: {STAND_IN}", "no samples on the page: the images are gone"]


def test_a_model_that_is_not_exported_is_refused_by_its_name(page):
    for name in ("nothing", "../large", "/etc/passwd", ""):
        with pytest.raises(SweepError, match="there are small, large"):
            page.classify(name, np.zeros((28, 28), np.uint8))


def test_a_test_image_by_chance_is_one_of_them_with_its_class(page):
    images = load_data(DataSource("synthetic"))
    for _ in range(5):
        sample = page.any_test_image()
        indices = np.flatnonzero((images.x_test == sample.pixels).all(axis=(1, 2)))
        assert sample.class_name in {CLASS_NAMES[images.y_test[index]] for index in indices}


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
    red = encode(Image.new("RGB", (30, 20), "red"))
    (folder / "b.png").write_bytes(red)
    (folder / "a.png").write_bytes(b"no picture")
    (folder / "report.html").write_text("<p>")
    assert page.plots() == [(red, "b")]


def test_names_cannot_end_the_script_that_holds_them(page, monkeypatch):
    monkeypatch.setattr(page, "model_names", ["</script><script>alert(1)</script>"])
    assert "</script><script>alert" not in page.html()


def test_a_sweep_without_models_has_no_page(tmp_path):
    (tmp_path / "architectures").mkdir()
    with pytest.raises(SweepError, match="holds no exported model yet: run python sweep"):
        Page(tmp_path)


def test_without_the_extra_the_command_names_the_remedy(finished, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert verbs(["app", "--results-dir", str(finished.results)]) == 2
    said, remedy = capsys.readouterr().err.splitlines()
    assert said == f"large: {STAND_IN}"
    assert remedy == "the page needs starlette and uvicorn: pip install '.[app]' in the project's folder"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        verbs(["app", "--port", port])
    assert "expected a" in capsys.readouterr().err


def test_a_port_in_use_is_said_and_without_one_the_next_is_taken(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SweepError, match=f"cannot listen on 127.0.0.1, port {port} .*choose another --port"):
            app._listener("127.0.0.1", port)
        monkeypatch.setattr(app, "FIRST_PORT", port)
        with app._listener("127.0.0.1", None) as listener:
            assert port < listener.getsockname()[1] < port + 100


def test_a_host_that_is_none_of_this_machine_is_refused():
    with pytest.raises(SweepError, match=r"--host nowhere\.invalid: is no address of this machine"):
        app._listener("nowhere.invalid", None)


# ---- the server ----


@contextlib.contextmanager
def serving(page, host="127.0.0.1", notify=None):
    """The page's server in a thread: its address."""
    stop, addresses, is_ready = threading.Event(), [], threading.Event()

    def ready(address):
        addresses.append(address)
        is_ready.set()

    thread = threading.Thread(target=app.serve, args=(page, host, None, notify), kwargs={"ready": ready, "stop": stop})
    thread.start()
    try:
        assert is_ready.wait(30)
        yield addresses[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(page):
    """A server whose decoders give up after two seconds; they are in `decoders`."""
    if not HAS_SERVER:
        pytest.skip("needs starlette and uvicorn (the extra app)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Decoder", lambda: decoders.append(Decoder(seconds=2)) or decoders[-1])
        with serving(page) as address:
            yield address
    decoders.clear()


decoders = []


def connect(address):
    place = urllib.parse.urlsplit(address)
    return contextlib.closing(http.client.HTTPConnection(place.hostname, place.port, timeout=60))


def ask(address, path="/", body=None, method=None, **headers):
    """Status, headers and content of an answer; of JSON what it says."""
    with connect(address) as connection:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, names)
        answer = connection.getresponse()
        content = answer.read()
        if answer.headers["content-type"] == "application/json":
            content = json.loads(content)
        return answer.status, dict(answer.headers), content


def seen(answer):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["picture"]))))


@pytest.mark.parametrize("model", ["small", "large"])
@pytest.mark.parametrize("invert", ["auto", "yes", "no"])
def test_a_picture_is_answered_with_what_the_network_sees_and_says(address, finished, model, invert):
    status, _, answer = ask(address, f"/predict?model={model}&invert={invert}", encode(draw_garment()))
    expected = load_image(draw_garment(), invert=invert)
    assert status == 200
    np.testing.assert_array_equal(seen(answer), expected.pixels)
    assert (answer["note"], answer["inverted"]) == (f"{expected.note}; {STAND_IN}", expected.inverted)
    top = Predictor(finished.model(model), CLASS_NAMES).predict(expected.pixels)
    assert [name for name, _ in answer["probabilities"]] == [name for name, _ in top]
    np.testing.assert_allclose([p for _, p in answer["probabilities"]], [p for _, p in top], rtol=1e-5)


def test_without_a_model_the_best_answers(address):
    content = encode(draw_garment())
    assert ask(address, "/predict", content)[2] == ask(address, "/predict?model=large&invert=auto", content)[2]


@pytest.mark.parametrize("query", ["model=nothing", "model=../large", "model=/etc/passwd", "model=", "invert=maybe"])
def test_what_there_is_not_to_choose_is_refused_in_a_line(address, query):
    status, _, answer = ask(address, f"/predict?{query}", encode(draw_garment()))
    assert status == 400
    assert "there are small, large" in answer["error"] or "expected auto, yes or no" in answer["error"]


READ = ("PNG", "JPEG", "GIF", "WEBP", "BMP", *(["AVIF"] if BOUNDS_MEMORY else []))
NOT_READ = ("TIFF", "ICO", "JPEG2000", "PPM", "PCX", "QOI", "SGI", "TGA")


@pytest.mark.parametrize("kind", [*READ, *NOT_READ])
def test_few_formats_are_read(address, kind):
    status, _, answer = ask(address, "/predict", encode(draw_garment(), kind))
    assert status == (200 if kind in READ else 400)
    if kind in NOT_READ:
        assert answer["error"].startswith("the image: is no image of a kind that is read here")
        assert kind == "TGA" or f"it is {kind}" in answer["error"]


HOSTILE = {
    "nothing": (b"", "is empty"),
    "a pickle": (b"\x80\x04cos\nsystem\n(S'touch /tmp/never'\ntR.", "is no image"),
    "a bomb": (png_header(60_000, 60_000), "too many pixels"),
    "a cut picture": (truncated("PNG"), "is damaged or cut off"),
    "a path": (b"/etc/passwd", "is no image"),
    "an address": (b"http://127.0.0.1:1/", "is no image"),
    "BMP with run lengths": (bmp_with_run_lengths(40, 30), "it is BMP with run lengths, save it as PNG or JPEG"),
    "thousands of scans": (scan_bomb(), "takes more than 2 s to unpack"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_picture_is_answered_in_a_line_and_the_next_is_read(address, content, message):
    status, _, answer = ask(address, "/predict", content)
    assert (status, [*answer]) == (400, ["error"])
    assert answer["error"].startswith("the image: ")
    assert message in answer["error"]
    assert "\n" not in answer["error"]
    assert ask(address, "/predict", encode(draw_garment()))[0] == 200


def test_a_picture_that_crashes_its_decoder_is_answered_in_a_line(address):
    with ThreadPoolExecutor(1) as pool:
        bomb = pool.submit(ask, address, "/predict", scan_bomb())
        threading.Event().wait(0.5)
        for decoder in decoders:
            os.kill(decoder._process.pid, signal.SIGKILL)
        assert bomb.result()[::2] == (400, {"error": "the image: crashed its decoder"})
    assert ask(address, "/predict", encode(draw_garment()))[0] == 200


def test_twenty_who_send_the_same_picture_at_once_are_answered_alike(address):
    content, together = encode(draw_garment((1200, 1600)), "JPEG"), threading.Barrier(20)

    def send(_):
        together.wait()
        return ask(address, "/predict", content)

    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(send, range(20))]
    assert [status for status, _, _ in answers] == [200] * 20
    assert all(answer == answers[0][2] for _, _, answer in answers)


@pytest.mark.slow
def test_a_picture_of_thousands_of_scans_blocks_nobody(address):
    with ThreadPoolExecutor(1) as pool:
        bomb = pool.submit(ask, address, "/predict", scan_bomb())
        answered = 0
        while not bomb.done():
            assert ask(address, "/predict", encode(draw_garment()))[0] == 200
            answered += 1
        assert "takes more than 2 s" in bomb.result()[2]["error"]
        assert answered > 3


def test_a_body_that_says_it_is_too_large_is_refused_unread(address):
    for length in (str(MAX_UPLOAD_BYTES + 1), str(10**15)):
        with connect(address) as connection:
            connection.putrequest("POST", "/predict")
            connection.putheader("Content-Length", length)
            connection.endheaders()
            answer = connection.getresponse()
            assert (answer.status, json.load(answer)) == (413, {"error": "the image: is larger than 20 MiB"})


def test_a_body_that_does_not_say_how_large_it_is_is_cut_off(address):
    sent = 0

    def parts():
        nonlocal sent
        for _ in range(200):
            sent += 2**20
            yield bytes(2**20)

    with contextlib.suppress(OSError, http.client.HTTPException):  # closed while it was sent
        assert ask(address, "/predict", parts())[0] == 413
    assert sent < 60 * 2**20
    assert ask(address, "/predict", iter([encode(draw_garment())]))[0] == 200


def test_all_pictures_together_take_bounded_memory(address, monkeypatch):
    content = encode(draw_garment())
    monkeypatch.setattr(app, "MOST_HELD_BYTES", len(content) - 1)
    for _ in range(3):
        assert ask(address, "/predict", content)[::2] == (503, {"error": app._BUSY})
    monkeypatch.setattr(app, "MOST_HELD_BYTES", len(content))  # what was refused is held no more
    assert ask(address, "/predict", content)[0] == 200


def test_a_picture_that_does_not_arrive_is_given_up(address, monkeypatch):
    monkeypatch.setattr(app, "UPLOAD_SECONDS", 0.2)
    with connect(address) as connection:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"the beginning")
        assert connection.getresponse().status == 408


def test_a_connection_on_which_no_request_comes_is_closed(address, monkeypatch):
    monkeypatch.setattr(app, "UPLOAD_SECONDS", 0.2)
    place = urllib.parse.urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("path", ["/etc/passwd", "/page.html", "/static", "/../README.md", "/predict/x", "//", "/docs"])
def test_there_are_three_addresses(address, path):
    assert ask(address, path)[0] == 404


def test_no_request_deletes_anything(address, finished):
    before = sorted(path for path in finished.folder.rglob("*"))
    for path in ("/", "/predict", "/test-image", "/predict?model=large"):
        for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"):
            assert ask(address, path, method=method)[0] == 405
        ask(address, path, encode(draw_garment()))
    assert sorted(path for path in finished.folder.rglob("*")) == before
    assert len(json.loads(page_data(address))["samples"]) == 20


def page_data(address):
    html = ask(address)[2].decode()
    return html.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]


def test_the_page_holds_what_it_shows(address, page):
    shown = json.loads(page_data(address))
    assert (shown["models"], shown["best"], shown["shape"]) == (page.model_names, page.best, [28, 28])
    assert shown["table"] == page.table()
    (note,) = shown["notes"]
    assert note.startswith("The best, large, was chosen")
    assert "(after selection)" in note
    sample = ask(address, "/test-image")[2]
    assert ask(address, "/predict?invert=no", base64.b64decode(sample["png"]))[2]["picture"] == sample["png"]


def test_a_table_that_cannot_be_read_is_said(address, page, monkeypatch):
    def broken():
        raise SweepError("results.csv: cannot be read")

    monkeypatch.setattr(page, "table", broken)
    assert ask(address)[::2] == (500, b"results.csv: cannot be read")


@pytest.mark.parametrize("path", ["/", "/predict", "/test-image", "/nothing"])
@pytest.mark.parametrize("origin", [{}, {"Origin": "http://evil.example"}], ids=["own", "another's"])
def test_every_answer_carries_the_headers_that_keep_others_out(address, path, origin):
    headers = ask(address, path, **origin)[1]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"].startswith("'sha256-")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
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
def test_a_page_for_others_is_said(page, host, lines):
    said = []
    with serving(page, host, said.append) as address:
        assert address.startswith(f"http://{host}:78")
        assert ask(address)[0] == 200
    assert said == lines


# ---- who is let in ----


async def _welcome(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def knock(listening="127.0.0.1", path="/predict", **headers):
    """The status of an answer to such a request."""
    statuses = []
    scope = {"type": "http", "method": "POST", "path": path}
    scope["headers"] = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(app.Door(_welcome, listening)(scope, None, send))
    return statuses[0]


@pytest.mark.parametrize(
    ("host", "local", "network"),
    [
        ("localhost:7860", 200, 200),
        ("localhost", 200, 200),
        ("LocalHost:1", 200, 200),
        ("[::1]:7860", 200, 200),
        ("127.0.0.1", 200, 200),
        ("192.168.1.7:7860", 400, 200),
        ("[fe80::1]", 400, 200),
        (f"{socket.gethostname()}:7860", 400, 200),
        ("evil.example:7860", 400, 400),
        ("127.0.0.1.evil.example", 400, 400),
        ("localhost.evil.example:80", 400, 400),
        ("", 400, 400),
    ],
)
@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
def test_the_page_answers_to_its_own_names_only(host, local, network):
    assert knock(host=host) == local
    assert knock("0.0.0.0", host=host) == network


OWN = {"host": "127.0.0.1:7860"}
ORIGINS = {
    "its own page": ({"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"}, 200),
    "no browser": ({}, 200),
    "an address that was typed": ({"sec_fetch_site": "none"}, 200),
    "another site": ({"origin": "http://evil.example"}, 403),
    "another port of this machine": ({"origin": "http://127.0.0.1:3000"}, 403),
    "another name of this machine": ({"origin": "http://localhost:7860"}, 403),
    "a page from a file": ({"origin": "null"}, 403),
    "a page that hides its origin": ({"sec_fetch_site": "cross-site"}, 403),
    "a neighbour that hides its origin": ({"sec_fetch_site": "same-site"}, 403),
}


@pytest.mark.parametrize(("headers", "status"), ORIGINS.values(), ids=ORIGINS)
@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
def test_pictures_from_other_pages_are_refused(headers, status):
    assert knock(**OWN, **headers) == status


@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
def test_a_link_elsewhere_may_lead_here_and_a_frame_may_not():
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert knock(path="/", **OWN, **link, sec_fetch_dest="document") == 200
    assert knock(path="/", **OWN, **link, sec_fetch_dest="iframe") == 403
    assert knock(path="/test-image", **OWN, **link, sec_fetch_dest="document") == 403


# ---- whose turn it is ----


def take_turns(clients, free=1, most_waiting=100, give_up=()):
    """Who got a turn, in order, of clients that came one after the other while the first was at it."""
    order = []

    async def one(turns, number, client):
        async with turns.turn(client):
            order.append(number)
            for _ in range(5):  # as long as all others need to come
                await asyncio.sleep(0)

    async def all_of_them():
        turns = app.Turns(free, most_waiting)
        tasks = [asyncio.create_task(one(turns, number, client)) for number, client in enumerate(clients)]
        await asyncio.sleep(0)
        for number in give_up:
            tasks[number].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        async with turns.turn("the last"):
            pass
        return ends

    return order, asyncio.run(all_of_them())


def test_who_sends_many_pictures_makes_others_wait_for_one_of_them():
    assert take_turns("aaaaabac")[0] == [0, 1, 5, 7, 2, 3, 4, 6]
    assert take_turns("aaaaabac", free=2)[0][:4] == [0, 1, 2, 5]


def test_who_gives_up_gives_the_turn_on():
    assert take_turns("aaaa", give_up=[1, 2])[0] == [0, 3]
    assert take_turns("aaa", give_up=[0])[0] == [0, 1, 2]


def test_more_than_can_wait_are_refused():
    order, ends = take_turns("aaaabb", most_waiting=3)
    assert order == [0, 1, 2, 3]
    assert [getattr(end, "status", None) for end in ends] == [None] * 4 + [503] * 2


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
        origin = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        moves = [{"type": "pointerMove", "duration": 20, "x": x, "y": y, "origin": origin} for x, y in places]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}
        self._ask("POST", "/actions", {"actions": [pointer]})

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
        return [event["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def statuses(self, address):
        """The statuses of the answers from there since the last call."""
        responses = [event["response"] for event in self._events("Network.responseReceived")]
        return [response["status"] for response in responses if response["url"].startswith(address)]

    def _events(self, kind):
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [message["params"] for message in messages if message["method"] == kind]

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


def heed_every_signal():
    """In a child: those too that this process ignores, as under nohup."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def started(finished, temporary, **options):
    """The page in a process of its own, as its users start it, with a temporary folder of its own."""
    if not HAS_SERVER:
        pytest.skip("needs starlette and uvicorn (the extra app)")
    command = [sys.executable, "-m", "fmnist_mlp", "app", "--results-dir", finished.results]
    process = subprocess.Popen(
        command,
        cwd=finished.folder,
        env=finished.environment() | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def served(finished, tmp_path_factory):
    with started(finished, tmp_path_factory.mktemp("temporary")) as (process, address):
        yield address
        assert process.poll() is None


def children(process):
    """The processes that a process has started: their numbers."""
    return [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT", "SIGKILL"])
def test_however_it_ends_it_leaves_neither_files_nor_processes(finished, tmp_path, name):
    with started(finished, tmp_path, preexec_fn=heed_every_signal) as (process, address):
        assert ask(address, "/predict", encode(draw_garment()))[0] == 200
        before = children(process)
        assert len(before) == app.DECODERS
        with ThreadPoolExecutor(1) as pool:
            bomb = pool.submit(ask, address, "/predict", scan_bomb())
            threading.Event().wait(0.5)
            assert not bomb.done()
            assert [*tmp_path.iterdir()] == []  # an upload is never written to a file
            process.send_signal(getattr(signal, name))
            process.wait(20)
            bomb.exception()  # after Ctrl-C it may still be answered
        assert [*tmp_path.iterdir()] == []
        assert process.stderr.read() == f"large: {STAND_IN}\n"
        deadline = time.monotonic() + 120  # one may still be at the bomb, at most ten seconds of computing
        while any(Path(f"/proc/{number}").exists() for number in before):
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)


@pytest.fixture(scope="module")
def browser(served, tmp_path_factory):
    if shutil.which("chromedriver") is None or shutil.which("chromium") is None:
        pytest.skip("needs chromium and chromedriver")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


NOTE, TOP, SEEN = "#note", "#probabilities", "#picture"


@pytest.fixture
def opened(browser, served):
    """The page, just opened and ready."""
    browser.open(served)
    browser.until(lambda: "Upload or draw" in (browser.text(NOTE) or ""))
    return browser


def upload(browser, path, expected):
    browser.type("#upload", str(path))
    browser.until(lambda: expected in browser.text(NOTE))


def test_an_uploaded_picture_is_classified_and_shown_as_the_network_sees_it(opened, finished, tmp_path):
    path = tmp_path / "shirt.png"
    draw_garment().save(path)
    upload(opened, path, "dark on light: inverted; fitted from 300x400")
    expected = load_image(path)
    np.testing.assert_array_equal(opened.pixels(SEEN), expected.pixels)
    best = Predictor(finished.model("large"), CLASS_NAMES).predict(expected.pixels)
    shown = opened.text(TOP)
    assert shown.index(best[0][0]) < shown.index(best[1][0])
    assert f"{best[0][1]:.1%}".replace("%", " %") in shown
    bars = opened.run("return [...document.querySelectorAll('#probabilities i')].map(bar => bar.offsetWidth)")
    assert bars == sorted(bars, reverse=True)
    assert (len(bars), bars[0] > bars[-1]) == (10, True)


def test_another_model_and_another_inversion_answer_for_the_same_picture(opened, finished, tmp_path):
    path = tmp_path / "shirt.png"
    draw_garment().save(path)
    upload(opened, path, "inverted")
    opened.click("[name=invert][value=no]")
    opened.until(lambda: "not inverted, as asked" in opened.text(NOTE))
    expected = load_image(path, invert="no")
    np.testing.assert_array_equal(opened.pixels(SEEN), expected.pixels)
    for model in ("small", "large"):
        opened.click(f"#model option[value={model}]")
        name, probability = Predictor(finished.model(model), CLASS_NAMES).predict(expected.pixels)[0]
        shown = f"{name}\n{probability:.1%}".replace("%", " %")
        opened.until(lambda shown=shown: opened.text(TOP).startswith(shown))
        assert opened.text("tr.chosen td") == model


GIVEN = """
const transfer = new DataTransfer();
const content = Uint8Array.from(atob(arguments[0]), (char) => char.charCodeAt(0));
transfer.items.add(new File([content], "shirt.png", { type: "image/png" }));
const options = { bubbles: true, cancelable: true };
document.body.dispatchEvent(arguments[1] === "paste"
  ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
  : new DragEvent("drop", { ...options, dataTransfer: transfer }));
"""


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_picture_can_be_dropped_or_pasted(opened, how):
    opened.run(GIVEN, base64.b64encode(encode(draw_garment())).decode(), how)
    opened.until(lambda: "dark on light: inverted; fitted from 300x400" in opened.text(NOTE))
    opened.until(lambda: opened.run("return document.querySelector('#preview').naturalWidth == 300"))


def test_a_drawing_is_classified(opened):
    opened.click("#tab-draw")
    opened.drag("#canvas", [(-60, -100), (60, -100), (60, 100), (-60, 100), (-60, -100)])
    opened.click("#classify")
    opened.until(lambda: "dark on light: inverted; fitted from 280x280" in opened.text(NOTE))
    drawn = opened.pixels(SEEN)
    # A frame higher than wide, of a pen as wide as a tenth of it, fills the height and stands in the middle.
    assert drawn.shape == (28, 28)
    assert (drawn[14] > 127).sum() >= 4
    assert drawn[14, 14] == 0
    assert drawn[1].max() == 255 == drawn[26].max()
    assert not drawn[:, [0, 1, 26, 27]].any()
    opened.click("#clear")
    opened.click("#classify")
    opened.until(lambda: "blank" in opened.text(NOTE))


def test_a_test_image_is_taken_as_it_is(opened):
    opened.click("#tab-samples")
    assert opened.run("return document.querySelectorAll('#samples img').length") == 20
    opened.run("document.querySelectorAll('#samples button')[3].click()")
    opened.until(lambda: "a test image of the class Trouser" in opened.text(NOTE))
    images = load_data(DataSource("synthetic"))
    expected = images.x_test[np.flatnonzero(images.y_test == 1)[1]]
    np.testing.assert_array_equal(opened.pixels(SEEN), expected)
    names = set()
    for _ in range(30):
        opened.run("document.querySelector('#note').textContent = ''")
        opened.click("#another")
        opened.until(lambda: "a test image of the class" in opened.text(NOTE))
        names.add(opened.text(NOTE).partition(";")[0])
        if len(names) > 1:
            break
    assert len(names) > 1


def test_the_table_of_the_sweep_is_on_the_page(opened):
    shown = opened.text("#table")
    assert "25,450" in shown
    assert shown.index("large") < shown.index("small")
    assert "worse by 0.0300" in shown
    assert "after selection" in opened.text("#notes")
    assert np.array_equal(opened.pixels("#plots img")[0, :1], [76])  # red as gray


def test_what_cannot_be_read_gets_a_line_and_the_next_picture_an_answer(opened, tmp_path):
    cut = tmp_path / "cut;rm -rf ..;<b>.png"
    cut.write_bytes(encode(draw_garment())[:400])
    good = tmp_path / "good.png"
    draw_garment().save(good)
    upload(opened, good, "inverted")
    upload(opened, cut, "is damaged or cut off")
    assert not opened.run("return document.querySelector('#picture').offsetWidth")
    assert opened.text(TOP) == ""
    upload(opened, good, "inverted")


def test_a_file_of_100_megabytes_is_not_even_sent(opened, tmp_path):
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(100 * 10**6)
    opened.requests()
    upload(opened, large, "is larger than 20 MiB")
    assert not [url for url in opened.requests() if "predict" in url]


def test_a_server_that_is_gone_is_said(opened):
    opened.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    opened.click("#tab-draw")
    opened.click("#classify")
    opened.until(lambda: "there was no answer" in opened.text(NOTE))


def test_the_page_asks_nobody_but_its_own_server(browser, served):
    browser.requests(), browser.complaints()
    browser.open(served)
    browser.click("#tab-samples")
    browser.run("document.querySelectorAll('#samples button')[0].click()")
    browser.until(lambda: "a test image" in browser.text(NOTE))
    asked = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
    assert asked == [served, f"{served}predict?model=large&invert=auto"]
    assert browser.complaints() == []


def test_another_page_cannot_send_pictures_in_its_visitors_name(browser, served):
    """A page of another port of this machine, which the browser takes for a neighbour."""
    with serving_text("<!doctype html>") as elsewhere:
        browser.open(elsewhere)
        script = "return fetch(arguments[0], {method: 'POST', body: 'x', mode: 'no-cors'}).then(() => 'sent', String)"
        browser.run(script, f"{served}predict")
        browser.run(
            "document.body.append(Object.assign(document.createElement('iframe'), {src: arguments[0]}))", served
        )
        answers = browser.until(lambda: browser.statuses(served) or None)
        assert set(answers) == {403}


@contextlib.contextmanager
def serving_text(html):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
