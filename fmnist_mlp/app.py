"""A page on this machine: upload or draw an image, or take one of the test images, and see what the models say of it.

`Page` is what the page knows and answers, without a browser; `serve` puts it behind one, with Gradio (the extra `app`).
Gradio, because it is well kept, has less about it than Streamlit (some 150 MB in all instead of 260) and brings every
script and font that its pages need: nothing is fetched from elsewhere. Hidden here is what makes it fit for strangers'
files and for one's own machine: no share links and no telemetry, a content policy that lets the browser reach this
server only, requests of bounded size, names of hosts that are checked, and only those of Gradio's routes that the page
has a use for.

Leaves to others: reading images and models (`predict`), the folders under `results/` (`predict`, `results`).
"""

import base64
import binascii
import contextlib
import importlib.util
import io
import ipaddress
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_mlp import table
from fmnist_mlp.errors import SweepError
from fmnist_mlp.pictures import PreparedImage, UnreadableImage, load_image
from fmnist_mlp.predict import FinishedSweep, Predictor, import_keras

FIRST_PORT, PORTS = 7860, 100
MAX_UPLOAD_BYTES = 20 * 2**20
_SAMPLES_PER_CLASS, _MOST_SAMPLES = 2, 40
_MAGNIFIED = 10  # screen pixels for each pixel that the network sees
_MODELS_KEPT = 8


@dataclass(frozen=True, eq=False)
class Sample:
    """A test image with its true class: uint8 `(height, width)`."""

    pixels: np.ndarray
    class_name: str


class Page:
    """What the page shows of one sweep.

    Args:
        results_dir: the results folder.
        sweep: name of the sweep.
        data_dir: where Fashion-MNIST lies, if not in Keras's cache; for the samples only.
        notify: called with a line where something is left out.

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
        self._predictors: dict[str, Predictor] = {}
        self._lock = threading.Lock()
        self.shape = self._predictor(self.best).shape
        notify = notify or (lambda line: None)
        for line in self.caveats(self.best):
            notify(f"{self.best}: {line}")
        self.samples = self._load_samples(data_dir, notify)

    def read(self, content: bytes) -> dict[str, PreparedImage]:
        """A picture as the network sees it, by what `load_image` is told of `invert`.

        Raises:
            UnreadableImage: it is none, or larger than the page takes.
        """
        if len(content) > MAX_UPLOAD_BYTES:
            raise UnreadableImage(f"the image: is larger than {MAX_UPLOAD_BYTES // 2**20} MiB")
        with self._lock:  # one at a time: a large one takes 0.4 GiB while it is unpacked
            return {invert: load_image(content, self.shape, invert) for invert in ("auto", "yes", "no")}

    def classify(self, model: str, pixels: np.ndarray) -> dict[str, float]:
        """Class names with probabilities, the most probable first.

        Raises:
            SweepError: the sweep has no such model.
        """
        with self._lock:
            return dict(self._predictor(model).predict(pixels))

    def caveats(self, model: str) -> list[str]:
        """What nobody who uses this model may overlook, a line each."""
        return self.sweep.caveats(model)

    def table(self) -> list[list[str]]:
        """The sweep's table for people, best first; the first row holds the headers."""
        rows = [["architecture", "parameters", "test accuracy", "95 % interval", "test loss", "verdict"]]
        for row in table.sort_rows(self.sweep.rows(), "behind_best"):
            cells = [row["architecture"], "" if row["params"] is None else f"{row['params']:,}"]
            cells += [table.with_spread(row, "test_accuracy"), table.interval_in_words(row, "test_accuracy")]
            rows.append([*cells, table.with_spread(row, "test_loss", 3), table.verdict_in_words(row)])
        return rows

    def plots(self) -> list[tuple[Image.Image, str]]:
        """The pictures that were drawn of the sweep and what they are called; without those that cannot be read.

        Pictures, not paths: Gradio would have to be allowed to hand out files of the folder.
        """
        found = []
        for path in sorted((self.sweep.folder / "plots").glob("*.png")):
            with contextlib.suppress(OSError, SyntaxError, ValueError), Image.open(path, formats=["PNG"]) as picture:
                found.append((picture.convert("RGB"), path.stem))
        return found

    def _predictor(self, model: str) -> Predictor:
        path = self.sweep.model_path(model)  # also says so where the model is gone
        if model not in self._predictors:
            if len(self._predictors) >= _MODELS_KEPT:
                self._predictors.pop(next(iter(self._predictors)))
            record = self.sweep.record(model)
            self._predictors[model] = Predictor(path, record.class_names if record else ())
        return self._predictors[model]

    def _load_samples(self, data_dir: Path | None, notify: Callable[[str], None]) -> list[Sample]:
        record = self.sweep.record(self.best)
        if record is None:
            notify("no samples on the page: no record says which images the models were tested on")
            return []
        try:
            images = self.sweep.load_images(record, data_dir)
        except SweepError as error:
            notify(f"no samples on the page: {error}")
            return []
        found = [np.flatnonzero(images.y_test == label)[:_SAMPLES_PER_CLASS] for label in range(images.num_classes)]
        indices = [index for those in found for index in those][:_MOST_SAMPLES]
        return [Sample(images.x_test[index], images.class_names[images.y_test[index]]) for index in indices]


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
        SweepError: Gradio is not installed, or the port cannot be had.
    """
    _check_installed()
    port = _free_port(host, port)
    is_local = _is_loopback(host)
    if not is_local and notify is not None:
        notify(f"{host}: whoever reaches this machine over the network can use the page, it asks for no password")
    prefix = f"fmnist-mlp-app-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        folder = os.path.realpath(folder)  # as Gradio will say it
        # Read by Gradio and the Hugging Face library when they are imported, and by Gradio when it stores an upload.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_SHARE": "False", "GRADIO_MCP_SERVER": "False"}
        blocks = _build(page)
        _, address, _ = blocks.queue(max_size=32).launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            inline=False,
            ssr_mode=False,
            max_file_size=MAX_UPLOAD_BYTES,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            theme=_theme(),
            app_kwargs={"middleware": _middleware(is_local, Path(folder))},
        )
        try:
            with _ended_like_ctrl_c(), contextlib.suppress(KeyboardInterrupt):
                ready(address)
                (stop or threading.Event()).wait()
        finally:
            blocks.close(verbose=False)


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM ends the page like Ctrl-C: what was uploaded is deleted. Only a main thread can be told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _check_installed() -> None:
    if importlib.util.find_spec("gradio") is None:
        raise SweepError("the page needs gradio: pip install '.[app]' in the project's folder")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _free_port(host: str, port: int | None) -> int:
    """A port that can be listened on: this one, or the first of ours."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SweepError(f"--host {host}: is no address of this machine ({error.strerror or error})") from error
    reason = ""
    for candidate in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            if os.name == "posix":  # a port that was closed a minute ago is free
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address[0], candidate, *address[2:]))
                return candidate
            except OSError as error:
                reason = error.strerror or str(error)
    ports = f"port {port}" if port is not None else f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
    raise SweepError(f"cannot listen on {host}, {ports} ({reason}): choose another --port")


# ---- what Gradio shows --------------------------------------------------------------------------------------------

_UPLOADED, _DRAWN, _SAMPLED = "Upload", "Draw", "Test images"

# A canvas of our own: Gradio's sketch pad keeps what it is sent in memory and unpacks it without a limit.
_CANVAS = """
<canvas width="280" height="280" aria-label="drawing"></canvas>
<p><button type="button" class="classify">Classify the drawing</button>
<button type="button" class="clear">Clear</button></p>
"""
_CANVAS_STYLE = """
canvas { border: 1px solid var(--border-color-primary); background: white; touch-action: none; cursor: crosshair; }
button { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 4px 12px; margin: 4px 4px 0 0; }
"""
_CANVAS_SCRIPT = """
const canvas = element.querySelector("canvas"), pen = canvas.getContext("2d");
const clear = () => { pen.fillStyle = "white"; pen.fillRect(0, 0, canvas.width, canvas.height); };
const place = (event) => [event.offsetX, event.offsetY];
let isDown = false;
clear();
canvas.addEventListener("pointerdown", (event) => {
  isDown = true;
  canvas.setPointerCapture(event.pointerId);
  pen.lineWidth = 22; pen.lineCap = pen.lineJoin = "round"; pen.strokeStyle = "black";
  pen.beginPath(); pen.moveTo(...place(event)); pen.lineTo(...place(event)); pen.stroke();
});
canvas.addEventListener("pointermove", (event) => { if (isDown) { pen.lineTo(...place(event)); pen.stroke(); } });
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { isDown = false; });
element.querySelector(".clear").addEventListener("click", clear);
element.querySelector(".classify").addEventListener("click", () =>
  trigger("submit", { picture: canvas.toDataURL("image/png") }));
"""
_DATA_URL = "data:image/png;base64,"

_NOTHING_YET = "Upload or draw a picture of one garment, or take a test image."


def _theme():
    # Imported here, as below: the extra is needed only where the page is served.
    import gradio

    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return gradio.themes.Default(**fonts)  # of the system: its own would be asked for at Google


def _build(page: Page):
    """The page as Gradio's blocks."""
    import gradio

    import_keras()  # before Gradio's threads: the first import is not for two of them at once

    def show(seen, model, invert):
        """What is seen of the picture, the probabilities, the note; `seen` is what `Page.read` returned."""
        if not seen:
            return None, None, _NOTHING_YET
        prepared = seen[invert]
        try:
            probabilities, note = page.classify(model, prepared.pixels), [prepared.note, *page.caveats(model)]
            return _magnified(prepared.pixels), probabilities, "; ".join(note)
        except SweepError as error:
            return None, None, str(error)

    def take(content, model, invert):
        try:
            seen = page.read(content)
        except UnreadableImage as error:
            return None, None, None, str(error)
        return seen, *show(seen, model, invert)

    def upload(path, model, invert):
        if path is None:
            return None, *show(None, model, invert)
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_UPLOAD_BYTES + 1)
        except OSError:
            return None, None, None, "the image: was not received"
        finally:
            path.unlink(missing_ok=True)  # what was uploaded is not kept
        return take(content, model, invert)

    def draw(model, invert, event: gradio.EventData):
        picture = getattr(event, "picture", None)
        if not isinstance(picture, str) or not picture.startswith(_DATA_URL):
            return None, None, None, "the drawing: was not received"
        try:
            content = base64.b64decode(picture.removeprefix(_DATA_URL), validate=True)
        except binascii.Error:
            return None, None, None, "the drawing: was not received whole"
        return take(content, model, invert)

    def take_sample(model, invert, event: gradio.SelectData):
        if not isinstance(event.index, int) or not 0 <= event.index < len(page.samples):
            return None, None, None, "the test image: there is no such"
        sample = page.samples[event.index]
        seen, picture, probabilities, note = take(_png(sample.pixels), model, invert)
        return seen, picture, probabilities, f"a test image of the class {sample.class_name}; {note}"

    with gradio.Blocks(title="Fashion-MNIST models", analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        headers, *_ = page.table()
        gradio.Markdown("# What the models see")
        seen = gradio.State()
        with gradio.Row():
            with gradio.Column():
                model = gradio.Dropdown(page.model_names, value=page.best, label="Model", filterable=False)
                invert = gradio.Radio(
                    [("decide by the background", "auto"), ("exchange", "yes"), ("leave", "no")],
                    value="auto",
                    label="Dark and light (the network wants light on black)",
                )
                with gradio.Tabs():
                    with gradio.Tab(_UPLOADED):
                        file = gradio.File(label="A picture", type="filepath", elem_id="upload")
                    with gradio.Tab(_DRAWN):
                        canvas = gradio.HTML(
                            html_template=_CANVAS, css_template=_CANVAS_STYLE, js_on_load=_CANVAS_SCRIPT, elem_id="draw"
                        )
                    if page.samples:
                        with gradio.Tab(_SAMPLED):
                            gallery = gradio.Gallery(
                                [(_magnified(sample.pixels, 3), sample.class_name) for sample in page.samples],
                                columns=5,
                                allow_preview=False,
                                interactive=False,
                                buttons=[],
                                show_label=False,
                                elem_id="samples",
                            )
            with gradio.Column():
                probabilities = gradio.Label(label="Probabilities", num_top_classes=10, elem_id="probabilities")
                picture = gradio.Image(
                    label=f"What the network sees: {page.shape[1]}x{page.shape[0]} pixels",
                    format="png",
                    interactive=False,
                    buttons=[],
                    height=10 * page.shape[0] + 40,
                    elem_id="picture",
                )
                note = gradio.Textbox(_NOTHING_YET, label="How it was read", interactive=False, elem_id="note", lines=2)
        with gradio.Accordion(f"The sweep {page.sweep.name}", open=True):
            gradio.Dataframe(
                lambda: page.table()[1:], headers=headers, datatype="str", interactive=False, elem_id="table", wrap=True
            )
            if plots := page.plots():
                gradio.Gallery(plots, label="Plots", columns=2, interactive=False, elem_id="plots")

        answers = [picture, probabilities, note]
        # One after the other, over all events; hidden from API clients, for whom the page is not made.
        options = {"concurrency_limit": 1, "concurrency_id": "predict", "api_visibility": "private"}
        options |= {"show_progress": "hidden"}
        file.change(upload, [file, model, invert], [seen, *answers], **options)
        canvas.submit(draw, [model, invert], [seen, *answers], **options)
        if page.samples:
            gallery.select(take_sample, [model, invert], [seen, *answers], **options)
        for setting in (model, invert):
            setting.change(show, [seen, model, invert], answers, **options)
    return blocks


def _magnified(pixels: np.ndarray, factor: int = _MAGNIFIED) -> Image.Image:
    height, width = pixels.shape
    return Image.fromarray(pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


# ---- what stands before Gradio ------------------------------------------------------------------------------------

# Everything from this server. Gradio's own scripts need the unsafe words; there is no other's script to fear here.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_MOST_BODY_BYTES = MAX_UPLOAD_BYTES + 2**16  # an upload with what surrounds it
# What the page asks for, of Gradio's many routes; others fetch from elsewhere, keep what they are sent, or serve
# clients of other kinds. Of files only what the page was sent or shows, which lies in one folder.
_OF_EVENTS = ("queue/join", "queue/data", "upload", "upload_progress", "startup-events")
_ROUTES = {"", "config", "theme.css", "favicon.ico", "manifest.json", *(f"gradio_api/{name}" for name in _OF_EVENTS)}
_ROUTES_BELOW = ("assets/", "static/", "svelte/", "gradio_api/heartbeat/")


class _Guard:
    """ASGI: refuses what the page never sends, before Gradio looks at it, and adds headers to every answer."""

    def __init__(self, app, is_local: bool, folder: Path):
        self._app, self._is_local = app, is_local
        self._routes_below = (*_ROUTES_BELOW, f"gradio_api/file={folder}/")

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                ours = {name for name, _ in _HEADERS}
                theirs = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in ours]
                message = message | {"headers": [*theirs, *_HEADERS]}
            await send(message)

        async def refuse(status: int, reason: str):
            content = {"type": "http.response.body", "body": reason.encode()}
            about = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send_with_headers({"type": "http.response.start", "status": status, "headers": about})
            await send(content)

        # A stranger's page can have its own name lead to this machine; the browser still says that name.
        if self._is_local and not _names_this_machine(headers.get(b"host", b"").decode("latin-1")):
            await refuse(400, "this page is for this machine only")
            return
        route = scope["path"].removeprefix("/")
        if ".." in route.split("/") or not (route in _ROUTES or route.startswith(self._routes_below)):
            await refuse(404, "there is no such page")
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > _MOST_BODY_BYTES:
            await refuse(413, f"at most {MAX_UPLOAD_BYTES // 2**20} MiB")
            return
        received = 0

        async def receive_bounded():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > _MOST_BODY_BYTES:  # sent in pieces, without a length
                return {"type": "http.disconnect"}
            return message

        await self._app(scope, receive_bounded, send_with_headers)


def _names_this_machine(host: str) -> bool:
    name, _, port = host.rpartition(":")
    return _is_loopback((name if port.isdigit() and name else host).strip("[]"))


def _middleware(is_local: bool, folder: Path) -> list:
    from starlette.middleware import Middleware

    return [Middleware(_Guard, is_local=is_local, folder=folder)]
