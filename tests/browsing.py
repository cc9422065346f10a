"""A browser for tests of pages: Chromium, for test_app_in_browser and test_overview.

It is driven through chromedriver over plain HTTP (W3C WebDriver), so that no package is needed for it.
"""

import base64
import contextlib
import io
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import numpy as np
from PIL import Image


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
