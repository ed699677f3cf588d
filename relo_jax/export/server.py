"""A small web server for a folder, with what the page of an exported tracker needs of one.

Three things that `python -m http.server` lacks: the headers that isolate the page, without which a browser gives
WebAssembly no threads; byte ranges, without which no browser can seek in a film; and a policy that lets the page load
nothing from elsewhere.
"""

import functools
import http.server
import io
import os
import re
import socketserver
import sys
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from relo_jax.errors import UserError

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # As the page says itself; workers take it from here.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
        "style-src 'self'; img-src 'self' data: blob:; media-src blob:; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-cache",  # asks each time whether the file has changed
}
_TYPES = {
    ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm",
    ".onnx": "application/octet-stream", ".data": "application/octet-stream", ".npz": "application/octet-stream",
    ".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp", ".svg": "image/svg+xml", ".md": "text/plain",
}  # fmt: skip
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_OWN_NAMES = ("127.0.0.1", "localhost", "")  # of this machine; "": the request names none


class _Part(io.RawIOBase):
    """The bytes of a file from where it stands, `length` of them."""

    def __init__(self, file: BinaryIO, length: int):
        self._file, self._left = file, length

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "relo", ""
    timeout = 60  # seconds that a silent connection keeps its thread
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **_TYPES}

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def send_head(self):
        """The file, or the part of it that is asked for, after its headers; None after an error."""
        if self._is_misdirected():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        path, root = Path(self.translate_path(self.path)), Path(self.directory).resolve()
        try:
            if path.is_dir():
                if not self.path.split("?")[0].endswith("/"):
                    return super().send_head()  # sends the browser to the name with a slash, for relative addresses
                path = path / "index.html"
            is_served = path.resolve().is_relative_to(root) and path.is_file()  # a link may lead out of the folder
        except (OSError, ValueError):  # a name that no file has: too long, or with a null byte
            is_served = False
        if not is_served:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        asked = _RANGE.fullmatch(self.headers.get("Range", "").strip())
        if asked is None or asked[0] == "bytes=-":
            return super().send_head()
        return self._send_part(path, *(int(end) if end else None for end in asked.groups()))

    def _is_misdirected(self) -> bool:
        """Whether a server for this machine alone is asked by a foreign name.

        A page from elsewhere, whose name leads here (DNS rebinding), could read the folder otherwise.
        """
        name = self.headers.get("Host", "").partition(":")[0].lower()
        return self.server.server_name in _OWN_NAMES and name not in _OWN_NAMES  # type: ignore[attr-defined]

    def _send_part(self, path: Path, first: int | None, last: int | None) -> _Part | None:
        """The headers of bytes `first` to `last` of a file; first None: of its last `last` bytes. Returns the bytes."""
        try:
            file = path.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        size = os.fstat(file.fileno()).st_size
        if first is None:
            first, last = max(size - (last or 0), 0), None
        last = size - 1 if last is None else min(last, size - 1)
        if first > last:
            file.close()
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        file.seek(first)
        return _Part(file, last - first + 1)

    def send_response(self, code: int, message: str | None = None) -> None:
        super().send_response(code, message)
        if code == HTTPStatus.OK:
            self.send_header("Accept-Ranges", "bytes")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the browser shows what fails."""


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder; `address` is where a browser finds it.

    Args:
      folder: whose files are served, and nothing outside of it.
      port: 0 takes any free one.
      host: whose requests are answered: by default only this machine's.

    Raises:
      UserError: the folder has no page, or the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, folder: str | Path, port: int = 8000, host: str = "127.0.0.1"):
        if not (Path(folder) / "index.html").is_file():
            raise UserError(f"{folder} has no page: relo export CHECKPOINT {folder} --web writes one")
        if not 0 <= port <= 65535:
            raise UserError(f"--port is {port}: give a number from 0 to 65535")
        try:
            super().__init__((host, port), functools.partial(_Handler, directory=str(folder)))
        except OSError as error:
            raise UserError(
                f"port {port} of {host} cannot be had ({error.strerror or error}): give another one by --port, "
                "or --port 0 for any that is free; --host takes an address of this machine"
            ) from None

    @property
    def address(self) -> str:
        """Such as http://127.0.0.1:8000/."""
        return f"http://{self.server_name.replace('0.0.0.0', '127.0.0.1')}:{self.server_port}/"

    def server_bind(self) -> None:
        """Without looking up the machine's name, which takes seconds in some networks."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes the connection is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]
