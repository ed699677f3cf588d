"""The server of `relo web`: headers, byte ranges, and nothing outside of its folder."""

import http.client
import threading

import pytest

from relo_jax.errors import UserError
from relo_jax.export.server import HEADERS, Server


@pytest.fixture
def ask(tmp_path):
    """Asks a server for a path as it is given: (status, headers, body)."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "page"
    (folder / "below").mkdir(parents=True)
    for name in ("index.html", "a.wasm", "a.mjs", "step.onnx", "tracker.json"):
        (folder / name).write_text(f"content of {name}")
    (folder / "film.mp4").write_bytes(bytes(range(100)))
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    server = Server(folder, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    yield ask
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_answer_isolates_the_page_and_has_its_type(ask):
    types = {
        "/": "text/html", "/a.wasm": "application/wasm", "/a.mjs": "text/javascript",
        "/step.onnx": "application/octet-stream", "/tracker.json": "application/json", "/film.mp4": "video/mp4",
    }  # fmt: skip
    for path, kind in types.items():
        status, headers, body = ask(path)
        assert status == 200 and headers["Content-Type"] == kind
        assert headers["Accept-Ranges"] == "bytes" and len(body) == int(headers["Content-Length"])
        assert {name: headers[name] for name in HEADERS} == HEADERS
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    status, headers, body = ask("/film.mp4", "HEAD")
    assert status == 200 and headers["Content-Length"] == "100" and not body


def test_a_part_of_a_film_is_sent(ask):
    whole = bytes(range(100))
    for asked, part in {
        "0-9": slice(0, 10),
        "90-": slice(90, 100),
        "-5": slice(95, 100),
        "98-500": slice(98, 100),
    }.items():
        status, headers, body = ask("/film.mp4", Range=f"bytes={asked}")
        assert status == 206 and body == whole[part]
        assert headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/100"
    status, headers, body = ask("/film.mp4", "HEAD", Range="bytes=0-9")
    assert status == 206 and headers["Content-Length"] == "10" and not body
    status, headers, _ = ask("/film.mp4", Range="bytes=100-")
    assert status == 416 and headers["Content-Range"] == "bytes */100"
    assert ask("/film.mp4", Range="lines=1-2")[::2] == (200, whole)


def test_nothing_outside_of_the_folder_is_sent(ask):
    for path in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/link.txt",
        "/below/../../secret.txt",
        "//secret.txt",
        "/below/",
    ):
        status, _, body = ask(path)
        assert status == 404 and b"secret" not in body.replace(path.encode(), b"")
    assert ask("/link.txt", Range="bytes=0-5")[0] == 404


def test_what_names_no_file_is_not_found_and_a_foreign_name_is_refused(ask, capsys):
    for path in ("/a%00b", "/" + "a" * 300):
        assert ask(path)[0] == 404
    assert ask("/film.mp4", Range=f"bytes={'9' * 5000}-")[0] == 200
    assert ask("/", Host="other.test:8000")[0] == 421  # a page of theirs whose name leads to this machine
    assert ask("/", Host="LOCALHOST:8000")[0] == 200
    assert capsys.readouterr().err == ""


def test_a_folder_without_a_page_and_a_port_that_is_taken_are_one_line(tmp_path):
    with pytest.raises(UserError, match="has no page: relo export CHECKPOINT .* --web writes one"):
        Server(tmp_path)
    (tmp_path / "index.html").touch()
    with pytest.raises(UserError, match="--port is 70000: give a number from 0 to 65535"):
        Server(tmp_path, 70000)
    with Server(tmp_path, 0) as server:
        assert server.address == f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(UserError, match=rf"port {server.server_port} .* cannot be had .*--port 0 for any"):
            Server(tmp_path, server.server_port)
