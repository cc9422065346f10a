"""The page: what it knows, and what its server answers and refuses.

The server runs in a thread of the tests, and once in a process of its own as its users start it. Without Starlette (the
extra `app`) the tests that need it are skipped with the reason. Who is let in is in test_app_door.py, the browser in
test_app_in_browser.py.
"""

import base64
import contextlib
import http.client
import importlib.util
import io
import json
import os
import signal
import socket
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from page_process import HAS_SERVER, started
from PIL import Image
from predicting import STAND_IN, bmp_with_run_lengths, draw_garment, encode, png_header, scan_bomb, truncated

from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.source import CLASS_NAMES, DataSource, load_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference import app
from fmnist_mlp.inference.app import MAX_UPLOAD_BYTES, Page
from fmnist_mlp.inference.decoder import BOUNDS_MEMORY, Decoder
from fmnist_mlp.inference.pictures import load_image
from fmnist_mlp.inference.predictor import Predictor


@pytest.fixture(scope="module")
def page(finished):
    return Page(finished.results)


# ---- what the page knows ----


@pytest.mark.slow
def test_the_page_begins_with_the_best_model_and_has_the_others(page):
    assert page.best == "large"
    assert page.model_names == ["small", "large"]
    assert page.shape == (28, 28)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_picture_that_crashes_its_decoder_is_answered_in_a_line(address):
    with ThreadPoolExecutor(1) as pool:
        bomb = pool.submit(ask, address, "/predict", scan_bomb())
        threading.Event().wait(0.5)
        for decoder in decoders:
            os.kill(decoder._process.pid, signal.SIGKILL)
        assert bomb.result()[::2] == (400, {"error": "the image: crashed its decoder"})
    assert ask(address, "/predict", encode(draw_garment()))[0] == 200


@pytest.mark.slow
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


@pytest.mark.slow
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


# ---- its end ----


def heed_every_signal():
    """In a child: those too that this process ignores, as under nohup."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


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
