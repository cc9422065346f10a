"""The download of Fashion-MNIST from a server of this test: whole, or nothing is left and the reason is said."""

import gzip
import http.server
import os
import re
import threading
from types import SimpleNamespace

import pytest
from image_folder import NAMES, TEST_LABELS, TRAIN_IMAGES, folder, one_line
from test_fashion_mnist import cache, pretend

from fmnist_mlp.data import download
from fmnist_mlp.data.source import DataSource, find_data, load_data
from fmnist_mlp.errors import SweepError

__all__ = ["cache", "folder", "pretend"]  # fixtures, used by name


@pytest.fixture
def server(monkeypatch, pretend, cache):
    """A web server with the four files; `server.answers[name]` (status, headers, body) replaces one."""
    site = SimpleNamespace(answers={}, asked=[], stall=threading.Event())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path[1:]
            site.asked.append(name)
            body = (pretend / name).read_bytes()
            status, headers, body = site.answers.get(name, (200, {"Content-Length": len(body)}, body))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, str(value))
            self.end_headers()
            if body is None:
                site.stall.wait(10)
            else:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        monkeypatch.setattr("fmnist_mlp.data.download.FASHION_MNIST_URL", f"http://127.0.0.1:{web.server_port}/")
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.stall.set()
        web.shutdown()
        thread.join()


def test_fashion_mnist_is_downloaded_into_the_cache_once(server, pretend, cache):
    said = []
    source = find_data("auto", notify=said.append)
    assert source == DataSource("fashion_mnist", cache)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        path.name: path.read_bytes() for path in pretend.iterdir()
    }
    assert len(said) == 1
    assert f"from {download.FASHION_MNIST_URL} to {cache}" in said[0]
    assert find_data("fashion_mnist", notify=said.append) == source
    assert sorted(server.asked) == sorted(NAMES)
    assert len(said) == 1


def test_only_what_is_missing_or_half_is_downloaded(server, pretend, cache):
    cache.mkdir(parents=True)
    for name in NAMES:
        (cache / name).write_bytes((pretend / name).read_bytes())
    # Whole, but packed anew by somebody: another size, the same content.
    (cache / TEST_LABELS).write_bytes(gzip.compress(gzip.decompress((pretend / TEST_LABELS).read_bytes()), 0))
    (cache / TRAIN_IMAGES).write_bytes(b"half")  # as Keras leaves it when it is killed
    load_data(find_data("auto"))
    assert server.asked == [TRAIN_IMAGES]


BAD_ANSWERS = {
    "not found": ((404, {}, b"no"), "answered 404 Not Found"),
    "server error": ((503, {}, b""), "answered 503 Service Unavailable"),
    "a short body": ((200, {"Content-Length": 99_999}, b"\x1f\x8bhalf"), "broke off after 6 of [0-9]+ bytes"),
    "a login page": ((200, {}, b"<html>" + bytes(1000)), "gave something else than Fashion-MNIST"),
    "something else of the right size": ((200, {}, "right size"), "gave something else than Fashion-MNIST"),
    "silence": ((200, {"Content-Length": 99_999}, None), "could not be downloaded \\(timed out\\)"),
    "a redirection in a circle": ((302, {"Location": "/" + TRAIN_IMAGES}, b""), "answered 302"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_a_failed_download_leaves_nothing_half_and_says_why(server, pretend, cache, monkeypatch, what):
    (status, headers, body), message = BAD_ANSWERS[what]
    if body == "right size":
        body = bytes((pretend / TRAIN_IMAGES).stat().st_size)
    server.answers[TRAIN_IMAGES] = status, headers, body
    if body is None:
        monkeypatch.setattr("fmnist_mlp.data.download.CONNECT_SECONDS", 0.2)
    source = find_data("auto")
    assert (source.kind, source.dataset) == ("synthetic", "synthetic")
    assert re.search(message, source.fallback_reason)
    assert "by --data-dir or FASHION_MNIST_DIR" in source.fallback_reason
    # The small files came first and are kept; of the bad one there is no trace.
    assert sorted(path.name for path in cache.iterdir()) == sorted(set(NAMES) - {TRAIN_IMAGES})
    if status != 302:
        assert server.asked.count(TRAIN_IMAGES) == 1
    with pytest.raises(SweepError, match=message) as excinfo:
        find_data("fashion_mnist")
    assert "dataset: auto would take the generated stand-in" in one_line(excinfo)


def test_a_download_that_trickles_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.data.download.DOWNLOAD_SECONDS", -1.0)
    assert "not finished after -1 seconds" in find_data("auto").fallback_reason
    assert list(cache.iterdir()) == []


def test_no_network_falls_back_with_the_reason_or_is_an_error(pretend, cache):
    assert re.search(r"could not be downloaded \(.*refused.*\); give a folder", find_data("auto").fallback_reason)
    assert list(cache.iterdir()) == []
    with pytest.raises(SweepError, match=r"Fashion-MNIST is not in Keras's cache and .* could not be downloaded"):
        find_data("fashion_mnist")


def test_a_full_disk_is_a_reason_too(server, cache, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "(No space left on device)" in find_data("auto").fallback_reason
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_gives_way_to_the_second_as_in_keras(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [tmp_path / "file", tmp_path / "spare"])
    assert find_data("auto").folder == tmp_path / "spare" / "datasets" / "fashion-mnist"
    for module in ("data.source", "data.download"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.keras_bases", lambda: [tmp_path / "file"])
    assert "cannot be written (Not a directory)" in find_data("auto").fallback_reason
