"""A page on this machine: upload or draw an image, or take one of the test images, and see what the models say of it.

`Page` is what the page knows and answers, without a browser; `serve` puts it behind one, with Starlette and uvicorn
(the extra `app`). There are three addresses: the page itself, which is one HTML file (`page.html`) and asks nobody but
this server; `predict`, which takes a picture and answers what a model says of it; and `test-image`.

Pictures are strangers' files. They are held in memory, never in a file; they are read by processes of their own
(`decoder`), a few at a time, one of each client in turn; only what this page sends itself is listened to, not what
other pages send in its visitors' name.

Leaves to others: reading images and models (`decoder`, `pictures`, `predict`), the folders under `results/`
(`predict`, `results`).
"""

import asyncio
import base64
import collections
import contextlib
import hashlib
import importlib.util
import io
import ipaddress
import json
import os
import random
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from fmnist_mlp.data.source import Dataset
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference import decoder
from fmnist_mlp.inference.decoder import Decoder
from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.inference.predictor import Predictor, import_keras
from fmnist_mlp.results import ranking
from fmnist_mlp.results.cautions import of_failures, of_the_choice
from fmnist_mlp.results.columns import columns_named

FIRST_PORT, PORTS = 7860, 100
MAX_UPLOAD_BYTES = 20 * 2**20
# Few, for each decoder is a way in. AVIF says its size twice, and the memory it takes goes by the one that is not seen
# before: it is read where the kernel bounds that.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", *(["AVIF"] if decoder.BOUNDS_MEMORY else []))
DECODERS = 2  # processes: at most 1 GiB each
MOST_WAITING = 64  # pictures that wait for a decoder
MOST_HELD_BYTES = 256 * 2**20  # of all pictures that are being received, wait or are read
UPLOAD_SECONDS = 60  # for a request to begin, and for its picture to arrive

_SAMPLES_PER_CLASS, _MOST_SAMPLES = 2, 40
_MODELS_KEPT = 8
_HTML = Path(__file__).with_name("page.html")


@dataclass(frozen=True, eq=False)
class Sample:
    """A test image with its true class: uint8 `(height, width)`."""

    pixels: np.ndarray
    class_name: str

    def as_json(self) -> dict[str, str]:
        return {"png": _png(self.pixels), "name": self.class_name}


def _png(pixels: np.ndarray) -> str:
    """Of uint8 `(height, width)`, as base64."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return _base64(content.getvalue())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Page:
    """What the page shows of one sweep.

    Args:
        results_dir: the results folder.
        sweep: name of the sweep.
        data_dir: where Fashion-MNIST lies, if not in Keras's cache; for the samples only.
        notify: called with a line where something is left out, and with what nobody may overlook of the best model.

    Raises:
        SweepError: the sweep has no exported model.
    """

    def __init__(
        self,
        results_dir: Path,
        sweep: str = "architectures",
        *,
        data_dir: Path | None = None,
        notify: Callable[[str], None] | None = None,
    ):
        self.sweep = FinishedSweep(results_dir, sweep)
        self.best = self.sweep.best()
        self.model_names = self.sweep.model_names()
        self._models: dict[str, tuple[Predictor, list[str]]] = {}
        self._lock = threading.Lock()
        notify = notify or (lambda line: None)
        predictor, caveats_of_best = self._model(self.best)
        for line in caveats_of_best:
            notify(f"{self.best}: {line}")
        self.shape = predictor.shape
        self._images = self._load_images(data_dir, notify)
        self.samples = self._first_of_each_class()

    def classify(self, model: str, pixels: np.ndarray) -> tuple[list[tuple[str, float]], list[str]]:
        """Class names with probabilities, the most probable first; what nobody who uses the model may overlook.

        Raises:
            SweepError: the sweep has no such model.
        """
        with self._lock:
            predictor, caveats_of_model = self._model(model)
            return predictor.predict(pixels), caveats_of_model

    def table(self) -> list[list[str]]:
        """The sweep's table for people, best first; the first row holds the headers."""
        names = ("architecture", "params", "test_accuracy", "test_accuracy_ci95_low", "test_loss", "verdict")
        shown = columns_named(*names)
        rows = [[column.words(row) for column in shown] for row in ranking.best_first(self.sweep.rows())]
        return [[column.title for column in shown], *rows]

    def plots(self) -> list[tuple[bytes, str]]:
        """The pictures (PNG) that were drawn of the sweep, with what they are called; without broken ones."""
        plots = []
        for path in sorted((self.sweep.folder / "plots").glob("*.png")):
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                content = path.read_bytes()
                Image.open(io.BytesIO(content), formats=["PNG"]).load()
                plots.append((content, path.stem))
        return plots

    def any_test_image(self) -> Sample | None:
        """One of all test images, by chance; None where there are none."""
        if self._images is None:
            return None
        return self._sample(random.randrange(len(self._images.x_test)))

    def html(self) -> str:
        """The page, with the sweep as it was when the page was made, and its plots as they are now."""
        content = {"sweep": self.sweep.name, "models": self.model_names, "best": self.best, "shape": self.shape}
        rows = self.sweep.rows()
        content |= {"table": self.table(), "notes": [*of_failures(rows), *of_the_choice(rows)]}
        content["max_bytes"] = MAX_UPLOAD_BYTES
        content["samples"] = [sample.as_json() for sample in self.samples]
        content["plots"] = [{"png": _base64(plot), "name": name} for plot, name in self.plots()]
        # "<" would end the script that holds it, were it in a name.
        return _HTML.read_text("utf-8").replace("{{data}}", json.dumps(content).replace("<", "\\u003c"))

    def _model(self, name: str) -> tuple[Predictor, list[str]]:
        path = self.sweep.model_path(name)  # also says so where the model is gone
        if name not in self._models:
            if len(self._models) >= _MODELS_KEPT:
                self._models.pop(next(iter(self._models)))
            record = self.sweep.record(name)
            predictor = Predictor(path, record.class_names if record else ())
            self._models[name] = predictor, self.sweep.caveats(name)
        return self._models[name]

    def _load_images(self, data_dir: Path | None, notify: Callable[[str], None]) -> Dataset | None:
        record = self.sweep.record(self.best)
        if record is None:
            notify("no samples on the page: no record says which images the models were tested on")
            return None
        try:
            return self.sweep.load_images(record, data_dir)
        except SweepError as error:
            notify(f"no samples on the page: {error}")
            return None

    def _first_of_each_class(self) -> list[Sample]:
        if self._images is None:
            return []
        classes = range(self._images.num_classes)
        indices = [np.flatnonzero(self._images.y_test == label)[:_SAMPLES_PER_CLASS] for label in classes]
        return [self._sample(index) for index in np.concatenate(indices)[:_MOST_SAMPLES]]

    def _sample(self, index: int) -> Sample:
        return Sample(self._images.x_test[index], self._images.class_names[self._images.y_test[index]])


# ---- the server ---------------------------------------------------------------------------------------------------


def serve(
    page: Page,
    host: str = "127.0.0.1",
    port: int | None = None,
    notify: Callable[[str], None] | None = None,
    *,
    ready: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve the page until Ctrl-C, or until `stop` is set.

    Args:
        host: address to listen on; any but this machine's own is said to `notify`.
        port: default the first free one from `FIRST_PORT`.
        ready: called with the page's address when it can be opened.

    Raises:
        SweepError: Starlette or uvicorn is not installed, or the port cannot be had.
    """
    _check_installed()
    # Imported here: the extra is needed only where the page is served.
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """uvicorn 0.54 waits for a first request for ever, and has a limit of connections."""

        def connection_made(self, transport):
            super().connection_made(transport)
            self.loop.call_later(UPLOAD_SECONDS, lambda: self.cycle is None and transport.close())

    class Ending(uvicorn.Server):
        """asyncio waits for its threads, and these wait for their decoders."""

        async def shutdown(self, sockets=None):
            await super().shutdown(sockets)
            for reader in decoders:
                reader.close()

    listener = _listener(host, port)
    if not _is_loopback(host) and notify is not None:
        notify(f"{host}: whoever reaches this machine over the network can use the page, it asks for no password")
    import_keras()  # before there are threads: the first import is not for two of them at once
    with contextlib.closing(listener), contextlib.ExitStack() as stack:
        decoders = [stack.enter_context(Decoder()) for _ in range(DECODERS)]
        options = {"log_level": "critical", "access_log": False, "server_header": False, "proxy_headers": False}
        options |= {"http": Impatient, "ws": "none", "loop": "asyncio", "lifespan": "off"}
        options |= {"limit_concurrency": 500, "timeout_graceful_shutdown": 2}
        server = Ending(uvicorn.Config(build(page, decoders, host), **options))
        if stop is not None:
            threading.Thread(target=lambda: (stop.wait(), setattr(server, "should_exit", True)), daemon=True).start()
        ready(f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/")
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _check_installed() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise SweepError("the page needs starlette and uvicorn: pip install '.[app]' in the project's folder")


def _listener(host: str, port: int | None) -> socket.socket:
    """A socket that listens on this port, or on the first free one of ours."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SweepError(f"--host {host}: is no address of this machine ({error.strerror or error})") from error
    reason = ""
    for candidate in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # a port that was closed a minute ago is free
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address[0], candidate, *address[2:]))
            listener.listen(128)
            return listener
        except OSError as error:
            reason = error.strerror or str(error)
            listener.close()
    ports = f"port {port}" if port is not None else f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
    raise SweepError(f"cannot listen on {host}, {ports} ({reason}): choose another --port")


# ---- its three addresses ------------------------------------------------------------------------------------------


def build(page: Page, decoders: Sequence[Decoder], host: str = "127.0.0.1"):
    """The page as an ASGI application.

    Args:
        decoders: what reads pictures, one each at a time.
        host: the address that is listened on.
    """
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    turns, free, held = Turns(len(decoders), MOST_WAITING), [*decoders], Held()

    def show(request):
        try:
            return HTMLResponse(page.html())
        except SweepError as error:
            return PlainTextResponse(str(error), 500)

    async def predict(request):
        invert = request.query_params.get("invert", "auto")
        if invert not in ("auto", "yes", "no"):
            return JSONResponse({"error": "invert: expected auto, yes or no"}, 400)
        try:
            client = request.client.host if request.client else ""
            async with _received(request, held) as content, turns.turn(client):
                if await request.is_disconnected():  # nobody waits for it any more
                    raise ClientDisconnect
                reader = free.pop()
                try:
                    prepared = await asyncio.to_thread(reader.load_image, content, page.shape, invert, FORMATS)
                finally:
                    free.append(reader)
            model = request.query_params.get("model", page.best)
            probabilities, lines = await asyncio.to_thread(page.classify, model, prepared.pixels)
        except Refused as refused:
            # Without it, what is still to come would be received.
            return JSONResponse({"error": str(refused)}, refused.status, {"connection": "close"})
        except SweepError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        answer = {"picture": _png(prepared.pixels), "inverted": prepared.inverted, "probabilities": probabilities}
        return JSONResponse(answer | {"note": "; ".join([prepared.note, *lines])})

    def any_test_image(request):
        sample = page.any_test_image()
        return JSONResponse({"error": "there are no test images"} if sample is None else sample.as_json())

    routes = [
        Route("/", show),
        Route("/predict", predict, methods=["POST"]),
        Route("/test-image", any_test_image),
    ]
    return Door(Starlette(routes=routes), host)


class Refused(Exception):
    """A picture that is not taken, with the status of the answer."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


_BUSY = "too many pictures at once: try again in a moment"


@dataclass
class Held:
    """How much memory the pictures take that are being received, wait or are read."""

    size_bytes: int = 0


@contextlib.asynccontextmanager
async def _received(request, held: Held) -> AsyncIterator[bytearray]:
    """The body of a request, bounded whatever it says of its length, and bounded with all others together."""
    too_large = Refused(413, f"the image: is larger than {MAX_UPLOAD_BYTES // 2**20} MiB")
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > MAX_UPLOAD_BYTES:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for part in request.stream():
                content += part
                held.size_bytes += len(part)
                if len(content) > MAX_UPLOAD_BYTES:
                    raise too_large
                if held.size_bytes > MOST_HELD_BYTES:
                    raise Refused(503, _BUSY)
    except TimeoutError:
        raise Refused(408, f"the image: did not arrive within {UPLOAD_SECONDS} s") from None
    else:
        yield content
    finally:
        held.size_bytes -= len(content)


class Turns:
    """Whose picture is read next: one of each client in turn, whatever each has sent.

    Args:
        free: how many are read at a time.
        most_waiting: how many may wait; further ones are refused.
    """

    def __init__(self, free: int, most_waiting: int):
        self._free, self._most_waiting = free, most_waiting
        self._waiting: dict[str, collections.deque[asyncio.Future]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and give it on afterwards.

        Raises:
            Refused: too many wait.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._give_on()

    async def _wait(self, client: str) -> None:
        if sum(map(len, self._waiting.values())) >= self._most_waiting:
            raise Refused(503, _BUSY)
        called = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, collections.deque()).append(called)
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():  # called and given up at once
                self._give_on()
            raise

    def _give_on(self) -> None:
        while self._waiting:
            client = next(iter(self._waiting))
            queue = self._waiting.pop(client)
            called = queue.popleft()
            if queue:
                self._waiting[client] = queue  # behind the other clients
            if not called.done():
                called.set_result(None)
                return
        self._free += 1


# ---- what stands before them --------------------------------------------------------------------------------------


class Door:
    """ASGI: refuses what other pages send in a visitor's name, and adds headers to every answer.

    Args:
        host: the address that is listened on.
    """

    def __init__(self, app, host: str):
        self._app = app
        self._host = host.lower()
        self._is_local = _is_loopback(host)
        self._headers = [(name.encode(), value.encode()) for name, value in _headers().items()]

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            await self._app(scope, receive, send_with_headers)
            return
        from starlette.responses import JSONResponse

        await JSONResponse({"error": str(refused)}, refused.status)(scope, receive, send_with_headers)

    def _refused(self, scope) -> Refused | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        # A stranger's page can have its own name lead to this machine; the browser still says that name.
        if not self._is_our_name(host):
            return Refused(400, "this page is for this machine only" if self._is_local else "no such host here")
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Refused(403, "this page takes nothing from other pages")
        # What browsers say of where a request comes from. A link to the page is no harm, a frame around it is.
        is_opened = scope["path"] == "/" and headers.get(b"sec-fetch-dest") == "document"
        if headers.get(b"sec-fetch-site", "none") not in ("same-origin", "none") and not is_opened:
            return Refused(403, "this page takes nothing from other pages")
        return None

    def _is_our_name(self, host: str) -> bool:
        name = re.sub(r":\d*$", "", host).strip("[]").lower()
        if _is_loopback(name):
            return True
        if self._is_local:
            return False
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(name))  # an address is no name that could be led elsewhere
        own = socket.gethostname().lower()
        return name in (self._host, own, own.partition(".")[0], f"{own}.local", socket.getfqdn().lower())


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _headers() -> dict[str, str]:
    """Headers of every answer. Only the page's own script and style run, by their digests; all comes from here."""
    policy = {"default-src": "'none'", "img-src": "data: blob:", "connect-src": "'self'", "base-uri": "'none'"}
    policy |= {"form-action": "'none'", "frame-ancestors": "'none'"}
    html = _HTML.read_text("utf-8")
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        policy[f"{tag}-src"] = f"'sha256-{digest}'"
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }
