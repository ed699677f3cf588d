"""A real Chromium, driven through a pair of pipes by the DevTools protocol: no driver and no WebSocket is needed."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio --remote-debugging-pipe"
)
# Chromium reads from descriptor 3 and writes to 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_TIMEOUT = 60  # seconds, for a machine that is busy with other tests


class Page:
    """A tab. `events` has what happened in it so far: method and parameters, in the words of the protocol."""

    def __init__(self, send: int, receive: int):
        self._send, self._receive = send, receive
        self._buffer, self._count, self._session = b"", 0, None
        self.events: list[tuple[str, dict]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict:
        """The result of a method of the protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._count:
                self.events.append((answer["method"], answer["params"]))
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            if not select.select([self._receive], [], [], _TIMEOUT)[0]:
                raise TimeoutError(f"Chromium has said nothing for {_TIMEOUT} s")
            more = os.read(self._receive, 1 << 20)
            if not more:
                raise RuntimeError("Chromium has ended")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        """Goes to an address."""
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page, which may be a promise of it."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if failure := answer.get("exceptionDetails"):
            raise RuntimeError(failure.get("exception", {}).get("description", failure["text"]))
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as it is true. While the page is loading, it may fail."""
        end = time.monotonic() + _TIMEOUT
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):
                if value := self.evaluate(script):
                    return value
            time.sleep(0.05)
        raise TimeoutError(f"after {_TIMEOUT} s still not: {script}")

    def text(self, selector: str) -> str:
        """The text of an element."""
        return self.evaluate(f"document.querySelector('{selector}').textContent")

    def click(self, selector: str) -> None:
        """Clicks an element."""
        self.evaluate(f"document.querySelector('{selector}').click()")

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drag(self, start: tuple[float, float], end: tuple[float, float], by_finger: bool = False) -> None:
        """Drags the mouse or a finger between two points of the window."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        if by_finger:
            for kind, points in (("Start", [start]), ("Move", [middle]), ("Move", [end]), ("End", [])):
                touched = [{"x": x, "y": y} for x, y in points]
                self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=touched)
            return
        for kind, (x, y) in (("Pressed", start), ("Moved", middle), ("Moved", end), ("Released", end)):
            event = {"type": f"mouse{kind}", "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", **event)

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Makes the window that large, and the page light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """The address of a server that answers as long as the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def open_browser(*flags: str) -> Iterator[Page]:
    """Yields a tab of a Chromium that ends with the block. flags: more of its command line."""
    to_browser, send = os.pipe()
    receive, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [str(CHROMIUM), *_FLAGS.split(), f"--user-data-dir={profile}", *flags]
        command = [sys.executable, "-c", _START, str(to_browser), str(from_browser), *arguments]
        process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            os.close(to_browser)
            os.close(from_browser)
            yield Page(send, receive)
        finally:
            os.close(send)  # it ends when nobody writes to it any more
            os.close(receive)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
