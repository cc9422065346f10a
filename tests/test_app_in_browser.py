"""The page in Chromium, served as its users start it: what is seen of a picture, against the predictor itself.

Without Starlette (the extra `app`) or Chromium the tests are skipped with the reason.
"""

import base64
import contextlib
import http.server
import shutil
import threading

import numpy as np
import pytest
from browsing import Browser
from page_process import started
from PIL import Image
from predicting import draw_garment, encode

from fmnist_mlp.data.source import CLASS_NAMES, DataSource, load_data
from fmnist_mlp.inference.pictures import load_image
from fmnist_mlp.inference.predictor import Predictor


@pytest.fixture(scope="module")
def plots(finished):
    """The sweep has a plot, all red."""
    folder = finished.results / "architectures" / "plots"
    folder.mkdir(exist_ok=True)
    (folder / "b.png").write_bytes(encode(Image.new("RGB", (30, 20), "red")))
    yield
    shutil.rmtree(folder)  # others look at this sweep too


@pytest.fixture(scope="module")
def served(finished, plots, tmp_path_factory):
    with started(finished, tmp_path_factory.mktemp("temporary")) as (process, address):
        yield address
        assert process.poll() is None


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
