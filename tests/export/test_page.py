"""The page in a real Chromium: a film and a box in, the boxes of the Python driver out."""

import base64
import contextlib
import functools
import json
import platform
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

import relo_jax
from relo_jax.errors import UserError
from relo_jax.export import npm, relo_track, write
from relo_jax.export.page import write_page
from relo_jax.export.server import HEADERS, Server
from relo_jax.geometry import crop
from relo_jax.media.decode import open_file
from relo_jax.tracking.box_files import csv_table
from tests.browser import CHROMIUM, Page, open_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
LENGTH, CELL = 61, 16  # frames of the film; pixels of a block of its code
# Boxes part where a window is rounded the other way: half a pixel is decided by the last bit of the network's output.
# So the box is one with which that does not happen here.
BOX = (231.0, 95.0, 78.0, 190.0)
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
READY = "document.getElementById('engine').dataset.state === 'ready'"
PAUSED = "document.getElementById('play').textContent === 'Track'"
# Writes down each frame that is shown: its number, and the code in its corner.
WATCH = """(() => {
  const [view, frame] = ["view", "frame"].map((id) => document.getElementById(id));
  window.shown = [];
  new MutationObserver(() => {
    const [context, cell] = [view.getContext("2d"), (CELL * view.width) / 480];
    const bit = (k) => context.getImageData((k + 0.5) * cell, cell / 2, 1, 1).data[1] > 127;
    const code = [...Array(8).keys()].reduce((sum, k) => sum + (bit(k) << k), 0);
    shown.push([Number(frame.textContent.split(" ")[1]), code]);
  }).observe(frame, { childList: true });
})()""".replace("CELL", str(CELL))
# The address that the page's policy forbids.
ELSEWHERE = """new Promise((resolve) => {
  addEventListener("securitypolicyviolation", ({ blockedURI }) => resolve(blockedURI));
  fetch("http://b.test/").catch(() => {});
})"""
_BYTES = """
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const text = (bytes) => btoa([...bytes].map((b) => String.fromCharCode(b)).join(""));
"""
CROPS = f"""async ([image, cases]) => {{ {_BYTES}
  const [crop, data] = [await import("./crop.js"), bytes(image)];
  return cases.map(({{ box, factor, size }}) => {{
    const window = crop.windowOf(box.map(Math.fround), factor);
    const place = crop.patchOf(window, 97, 61);
    const [left, top, width, height] = place ?? [0, 0, 0, 0];
    const rows = Array.from({{ length: height }}, (_, i) => 4 * ((top + i) * 97 + left));
    const patch = {{ left, top, width, height, data: rows.flatMap((at) => [...data.slice(at, at + 4 * width)]) }};
    return [[window, crop.firstWindow(box, factor)], text(crop.cut(place && patch, window, [97, 61], size))];
  }});
}}"""
COLOURS = f"""async ([planes, more]) => {{ {_BYTES}
  const {{ reader }} = await import("./pixels.js");
  const layout = [[0, 48], [1728, 24], [2160, 24]].map(([offset, stride]) => ({{ offset, stride }}));
  const read = reader({{ data: bytes(planes), layout, format: "I420", width: 48, height: 36, ...more }});
  return text(read(0, 0, ...(more.rotation % 180 ? [36, 48] : [48, 36])).data);
}}"""


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """The first frames of the example, each with its number in black and white blocks in the corner."""
    path, (source, _) = tmp_path_factory.mktemp("film") / "cup.mp4", relo_jax.example()
    with open_file(source, "cup") as frames, av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=27, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        for number, frame in zip(range(LENGTH), frames, strict=False):
            bits = np.array([number >> k & 1 for k in range(8)], np.uint8) * 255
            frame[:CELL, : 8 * CELL] = np.kron(bits[None], np.ones((CELL, CELL), np.uint8))[..., None]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """starter-tiny, exported with the page."""
    out = tmp_path_factory.mktemp("export") / "page"
    try:
        npm.copy(npm.FILMS, npm.FILMS.files, tmp_path_factory.mktemp("films"))
        npm.copy(npm.RUNTIME, npm.RUNTIME.files, tmp_path_factory.mktemp("runtime"))
    except UserError as error:
        pytest.skip(f"the packages of the page cannot be had: {error}")
    add = lambda folder, described: write_page(folder, described, webgpu=False)
    write.export(write.Source.of("starter-tiny"), out, additions=[add])
    return out


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """The address of a server that answers as long as the block runs."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def chromium(folder) -> Iterator[tuple[Page, str]]:
    """A browser, and the address of the folder as `relo web` serves it."""
    with serving(Server(folder, 0)) as address, open_browser(*CAMERA) as page:
        yield page, address


@pytest.fixture
def opened(chromium, tmp_path) -> Iterator[Callable[..., Page]]:
    """Opens the page in a window; its downloads go to `tmp_path`. Nothing may fail in it."""
    page, address = chromium

    def open_page(query: str = "", width: int = 1280, height: int = 800) -> Page:
        page.resize(width, height)
        page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.open("about:blank")
        page.events.clear()
        page.open(f"{address}?backend=wasm{query}")
        page.wait_for(READY)
        return page

    yield open_page
    assert text(page, "message") == ""
    asked = [said["request"]["url"] for event, said in page.events if event == "Network.requestWillBeSent"]
    assert asked and all(url.startswith((address, "blob:", "data:", "about:")) for url in asked)
    assert not [said for event, said in page.events if event == "Runtime.exceptionThrown"]


def text(page: Page, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').textContent")


def click(page: Page, name: str) -> None:
    page.evaluate(f"document.getElementById('{name}').click()")


def choose(page: Page, film: Path) -> None:
    page.choose_file("#file", film)
    page.wait_for("document.getElementById('app').dataset.state === 'box'")


def draw(page: Page, box: tuple[float, ...], by_finger: bool = False) -> None:
    """Draws a box, in pixels of the film."""
    place = (
        "(({ left, top, width }) => [left, top, width / 480])(document.getElementById('view').getBoundingClientRect())"
    )
    left, top, scale = page.evaluate(place)
    x, y, w, h = (value * scale for value in box)
    page.drag((left + x, top + y), (left + x + w, top + y + h), by_finger)


def wait_for_frame(page: Page, number: int) -> None:
    page.wait_for(f"document.getElementById('frame').textContent.startsWith('frame {number}') && {PAUSED}")


def downloaded(page: Page, folder: Path, kind: str) -> str:
    path = folder / f"cup_boxes.{kind}"
    path.unlink(missing_ok=True)
    click(page, kind)
    for _ in range(600):
        if path.is_file() and path.stat().st_size:
            return path.read_text()
        time.sleep(0.05)
    raise TimeoutError(f"no {path.name} was downloaded")


def test_every_frame_is_tracked_once_as_by_the_python_driver(opened, film, folder, tmp_path):
    page = opened()
    choose(page, film)
    page.evaluate(WATCH)
    click(page, "heatmap")  # off: it must not cover the code
    draw(page, BOX)
    wait_for_frame(page, LENGTH - 1)
    shown = [tuple(pair) for pair in page.evaluate("shown")]
    assert list(dict.fromkeys(shown)) == [(k, k) for k in range(LENGTH)]
    rows = json.loads(downloaded(page, tmp_path, "json"))["frames"]
    assert [row["frame"] for row in rows] == list(range(LENGTH))
    assert np.abs(np.subtract(rows[0]["box"], BOX)).max() < 1  # the mouse stands on whole pixels of the window
    tracker = relo_track.Tracker(folder)
    with open_file(film, "film") as frames:
        frames = iter(frames)
        tracker.init(next(frames), rows[0]["box"])
        expected = [tracker.update(frame) for frame in frames]
    difference = np.subtract([row["box"] for row in rows[1:]], [result.box for result in expected])
    assert np.abs(difference).max() < 0.5, np.abs(difference).max(1)
    assert np.allclose([row["score"] for row in rows[1:]], [result.score for result in expected], atol=1e-3)
    assert [row["found"] for row in rows[1:]] == [result.found for result in expected]
    # What relo reads and writes itself.
    (track,) = csv_table.read(write_text(tmp_path / "boxes.csv", downloaded(page, tmp_path, "csv")))
    assert [list(box.box) for box in track.boxes] == [row["box"] for row in rows]


def write_text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_a_film_is_corrected_stepped_through_and_begun_again(opened, film, tmp_path):
    page = opened()
    choose(page, film)
    draw(page, BOX)
    wait_for_frame(page, LENGTH - 1)
    before = json.loads(downloaded(page, tmp_path, "json"))["frames"]
    slide = "(to) => { const bar = document.getElementById('timeline'); bar.value = to; bar.oninput({ target: bar }); }"
    page.evaluate(f"({slide})(57)")
    wait_for_frame(page, 57)
    draw(page, (100, 100, 60, 60))
    wait_for_frame(page, LENGTH - 1)
    after = json.loads(downloaded(page, tmp_path, "json"))["frames"]
    assert after[:57] == before[:57] and [row["frame"] for row in after] == list(range(LENGTH))
    assert np.abs(np.subtract(after[57]["box"], (100, 100, 60, 60))).max() < 1
    click(page, "restart")
    page.wait_for("document.getElementById('frame').textContent.startsWith('frame 0 ')")
    assert text(page, "found") == "no box yet" and page.evaluate("document.getElementById('csv').disabled")
    draw(page, BOX)
    page.wait_for("document.getElementById('play').textContent === 'Pause'")
    click(page, "play")
    page.wait_for(PAUSED)
    number = int(text(page, "frame").split()[1])
    for further in (1, 2):
        click(page, "step")
        wait_for_frame(page, number + further)


def test_without_webcodecs_it_seeks_to_every_frame(opened, film):
    page = opened("&seek=1")
    choose(page, film)
    page.evaluate(WATCH)
    click(page, "heatmap")
    draw(page, BOX)
    page.wait_for("shown.length > 12")
    shown = list(dict.fromkeys(tuple(pair) for pair in page.evaluate("shown")))
    assert shown == [(k, k) for k in range(len(shown))]


def test_a_camera_is_tracked(opened):
    page = opened()
    click(page, "camera")
    page.wait_for("document.getElementById('app').dataset.state === 'box'")
    draw(page, (200, 100, 80, 80))
    page.wait_for("Number(document.getElementById('frame').textContent.split(' ')[1]) > 3")
    assert text(page, "found") in ("found", "lost") and 0 <= float(text(page, "score")) <= 1
    click(page, "other")
    page.wait_for("document.getElementById('app').dataset.state === 'empty'")


def test_on_a_phone_nothing_is_wider_than_the_window(opened, film):
    page = opened(width=390, height=844)
    is_narrow = "document.documentElement.scrollWidth <= 390"
    assert page.evaluate(is_narrow)
    choose(page, film)
    draw(page, BOX, by_finger=True)
    page.wait_for(
        "document.getElementById('score').textContent !== '1.00' && document.getElementById('play').disabled === false"
    )
    assert page.evaluate(is_narrow) and text(page, "found") == "found"


def test_a_host_without_headers_is_isolated_by_the_service_worker(folder, chromium):
    page, _ = chromium
    handler = functools.partial(Silent, directory=str(folder))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        page.open(address)
        page.wait_for(READY)
        assert page.evaluate("crossOriginIsolated")
        policy = page.evaluate("fetch('worker.js').then((r) => r.headers.get('Content-Security-Policy'))")
        assert page.evaluate(ELSEWHERE) == "http://b.test/"
    assert policy == HEADERS["Content-Security-Policy"]
    assert policy in (folder / "index.html").read_text()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_what_is_no_film_is_one_line(opened, tmp_path):
    page = opened()
    page.choose_file("#file", write_text(tmp_path / "notes.mp4", "no film"))
    page.wait_for("!document.getElementById('message').hidden")
    assert text(page, "message") == "notes.mp4 is not a film that a browser can read: MP4, MOV, WebM and MKV are"
    page.evaluate("document.getElementById('message').textContent = ''")


def test_crops_equal_opencv_to_the_byte(opened):
    rng = np.random.default_rng(3)
    image, cases, expected = rng.integers(0, 256, (61, 97, 3), np.uint8), [], []
    for k in range(200):
        w, h = 10 ** rng.uniform(0, 2) * rng.uniform(0.3, 3, 2)
        box = np.array([rng.uniform(-w, 97), rng.uniform(-h, 61), w, h], np.float32)
        box = np.rint(2 * box) / 2 + (0, 0, 1, 1) if k % 3 else box  # halves are rounded to even
        factor, size = (2.0, 4.0)[k % 2], int(rng.choice([32, 64, 112, 50]))
        windows = [crop.crop_windows(box.astype(np.float32), factor).tolist(), list(crop.crop_window(box, factor))]
        cases.append({"box": box.tolist(), "factor": factor, "size": size})
        expected.append([windows, crop.cut_host(image, windows[0], size)])
    rgba = np.dstack([image, np.full((61, 97), 255, np.uint8)])
    answers = opened().evaluate(f"({CROPS})({json.dumps([encoded(rgba), cases])})")
    for (windows, cut), (given, answer) in zip(expected, answers, strict=True):
        assert windows == given
        assert np.array_equal(cut, decoded(answer).reshape(cut.shape))


def test_colours_of_a_film_are_those_of_ffmpeg(opened):
    page, rng = opened(), np.random.default_rng(4)
    for matrix, space, wide in (
        ("bt709", 1, False),
        (None, 2, False),
        ("smpte170m", 6, True),
        ("bt2020-ncl", 9, False),
    ):
        planes = rng.integers(0, 256, (36 * 3 // 2, 48), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuvj420p" if wide else "yuv420p")
        frame.colorspace = space
        rgb = frame.to_ndarray(format="rgb24")
        for turns in range(4):
            pixels = {"colour": {"matrix": matrix, "fullRange": wide}, "rotation": 90 * turns}
            answer = decoded(page.evaluate(f"({COLOURS})({json.dumps([encoded(planes), pixels])})"))
            upright = np.rot90(rgb, -turns)
            difference = np.abs(answer.reshape(*upright.shape[:2], 4)[..., :3] - upright.astype(int)).max()
            assert difference <= (0 if platform.machine() == "x86_64" else 3), (matrix, turns)


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array)).decode()


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)
