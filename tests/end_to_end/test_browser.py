"""The page of an exported tracker in a real Chromium: a film and a box in, the boxes of the Python driver out."""

import functools
import json
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

import relo_jax
from relo_jax.errors import UserError
from relo_jax.export import npm, relo_track, write
from relo_jax.export.page import write_page
from relo_jax.export.server import HEADERS, Server
from relo_jax.media.decode import open_file
from relo_jax.tracking.box_files import csv_table
from tests.browser import CHROMIUM, Page, open_browser, serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
LENGTH, CELL = 61, 16  # frames of the film; pixels of a block of its code
# Boxes part where a window is rounded the other way: half a pixel is decided by the last bit of the network's output.
# So the box is one with which that does not happen here.
BOX = (231.0, 95.0, 78.0, 190.0)
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
READY = "document.getElementById('engine').dataset.state === 'ready'"
PAUSED = "document.getElementById('play').textContent === 'Track'"
# No frame that was under way comes any more.
STANDS = """new Promise((resolve) => {
  const frame = document.getElementById("frame"), before = frame.textContent;
  setTimeout(() => resolve(frame.textContent === before), 1000);
})"""
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

# The decoder keeps the frames from LOST on for itself, and the tracker fails in frame FAILED, once.
DAMAGE = """(() => {
  window.VideoDecoder = class extends VideoDecoder {
    constructor({ output, error }) {
      const end = ((LOST - 0.5) / 27) * 1e6;
      super({ output: (frame) => (frame.timestamp < end ? output(frame) : frame.close()), error });
    }
  };
  const { postMessage } = Worker.prototype;
  let count = 0;
  Worker.prototype.postMessage = function (message, ...more) {
    if (message.call === "update" && ++count === FAILED) message.call = "none";
    postMessage.call(this, message, ...more);
  };
})()"""
# Shows the results of the page to the test.
KEPT = """(() => {
  const { set } = Map.prototype;
  Map.prototype.set = function (key, value) {
    if ("carried" in Object(value)) window.kept = this;
    return set.call(this, key, value);
  };
})()"""
# The windows and the box of a tracker whose tracker.json has other factors, and whose network then gives no number.
FACTORS = """import("./tracker.js").then(async ({ loadTracker }) => {
  const tracker = await loadTracker(document.baseURI, "wasm", 1, () => {});
  Object.assign(tracker.config, { search_factor: 5.1, template_factor: 2.3, update_interval: 1, update_threshold: 0 });
  const cut = [];
  const read = (left, top, width, height) => {
    cut.push([left, top, width, height]);
    return { left, top, width, height, data: new Uint8Array(4 * width * height) };
  };
  const numbers = { response: [1], score: [1], box: [0.5, 0.5, 0.2, 0.2], policy: [1] };
  const outputs = Object.fromEntries(Object.entries(numbers).map(([name, data]) => [name, { data }]));
  tracker.sessions.step = { run: async () => outputs };
  await tracker.init(read, [4000, 4000], BOX);
  await tracker.update(read, [4000, 4000]);
  const { box, window } = tracker;
  outputs.box.data = [NaN, 0, 0, 0];
  const failed = await tracker.update(read, [4000, 4000]).catch((error) => error.message);
  return { cut, box, window, failed, stays: tracker.box === box };
})"""


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
    assert page.text("#message") == ""
    asked = [said["request"]["url"] for event, said in page.events if event == "Network.requestWillBeSent"]
    assert asked and all(url.startswith((address, "blob:", "data:", "about:")) for url in asked)
    assert not [said for event, said in page.events if event == "Runtime.exceptionThrown"]


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
    page.click(f"#{kind}")
    for _ in range(600):
        if path.is_file() and path.stat().st_size:
            return path.read_text()
        time.sleep(0.05)
    raise TimeoutError(f"no {path.name} was downloaded")


def test_every_frame_is_tracked_once_as_by_the_python_driver(opened, film, folder, tmp_path):
    page = opened()
    choose(page, film)
    page.evaluate(WATCH)
    page.click("#heatmap")  # off: it must not cover the code
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
    page.evaluate(f"({slide})(30)")
    wait_for_frame(page, 30)
    draw(page, (100, 100, 60, 60))
    page.wait_for("document.getElementById('play').textContent === 'Pause'")
    page.click("#play")
    page.wait_for(STANDS)
    number = int(page.text("#frame").split()[1])
    after = json.loads(downloaded(page, tmp_path, "json"))["frames"]
    assert after[:30] == before[:30] and [row["frame"] for row in after] == list(range(number + 1))
    assert np.abs(np.subtract(after[30]["box"], (100, 100, 60, 60))).max() < 1
    for further in (1, 2):
        page.click("#step")
        wait_for_frame(page, number + further)
    page.evaluate(f"({slide})({LENGTH - 1})")
    wait_for_frame(page, LENGTH - 1)
    draw(page, BOX)  # there is no frame behind it to track
    page.wait_for("document.getElementById('score').textContent === '1.00'")
    page.wait_for(PAUSED)
    page.click("#restart")
    page.wait_for("document.getElementById('frame').textContent.startsWith('frame 0 ')")
    assert page.text("#found") == "no box yet" and page.evaluate("document.getElementById('csv').disabled")


def test_without_webcodecs_it_seeks_to_every_frame(opened, film):
    page = opened("&seek=1")
    choose(page, film)
    page.click("#restart")  # the frame that is shown already
    page.evaluate(WATCH)
    page.click("#heatmap")
    draw(page, BOX)
    page.wait_for("shown.length > 12")
    shown = list(dict.fromkeys(tuple(pair) for pair in page.evaluate("shown")))
    assert shown == [(k, k) for k in range(len(shown))]


def test_frames_at_the_end_that_cannot_be_decoded_are_carried_and_no_other(opened, film, tmp_path):
    page, lost, failed = opened(), LENGTH - 3, 5
    page.evaluate(DAMAGE.replace("LOST", str(lost)).replace("FAILED", str(failed)))
    choose(page, film)
    draw(page, BOX)
    page.wait_for("!document.getElementById('message').hidden")
    wait_for_frame(page, failed - 1)
    page.evaluate("document.getElementById('message').textContent = ''")
    page.click("#play")
    wait_for_frame(page, lost - 1)
    page.wait_for("document.getElementById('play').disabled")
    rows = json.loads(downloaded(page, tmp_path, "json"))["frames"]
    assert [row["frame"] for row in rows] == list(range(LENGTH))
    assert [row["frame"] for row in rows if row["carried"]] == list(range(lost, LENGTH))
    assert rows[-1] == {**rows[lost - 1], "frame": LENGTH - 1, "score": 0, "found": False, "carried": True}


def test_crops_are_as_large_as_tracker_json_says(opened):
    page, box = opened(), np.array([1000.0, 1000.0, 22.5, 4.9])
    got = page.evaluate(FACTORS.replace("BOX", str(box.tolist())))
    later = np.array(got["box"], np.float32)
    boxes = [(box, 2.3), (box, 5.1), (later, 2.3)]
    windows = [relo_track.crop_window(*one) for one in boxes]
    assert got["cut"][:3] == [[x, y, side, side] for x, y, side in windows]
    assert got["window"] == list(relo_track.crop_window(later, 5.1))
    assert "not finite" in got["failed"] and got["stays"]


def test_a_camera_is_tracked(opened, tmp_path):
    page = opened()
    page.evaluate(KEPT)
    page.click("#camera")
    page.wait_for("document.getElementById('app').dataset.state === 'box'")
    draw(page, (200, 100, 80, 80))
    page.wait_for("Number(document.getElementById('frame').textContent.split(' ')[1]) > 3")
    rows, policies = page.evaluate("[kept.size, [...kept.values()].filter(({ policy }) => policy).length]")
    assert rows > 4 and policies == 1  # that of the frame that is shown
    assert page.text("#found") in ("found", "lost") and 0 <= float(page.text("#score")) <= 1
    # What cannot be opened pauses it: it goes on behind the frame that was tracked last.
    page.choose_file("#file", write_text(tmp_path / "notes.mp4", "no film"))
    page.wait_for("!document.getElementById('message').hidden")
    number = int(page.text("#frame").split()[1])
    page.wait_for(STANDS)
    page.click("#play")
    page.wait_for(f"Number(document.getElementById('frame').textContent.split(' ')[1]) > {number + 1}")
    page.evaluate("document.getElementById('message').textContent = ''")
    page.click("#other")
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
    assert page.evaluate(is_narrow) and page.text("#found") == "found"


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
    assert page.text("#message") == "notes.mp4 is not a film that a browser can read: MP4, MOV, WebM and MKV are"
    page.evaluate("document.getElementById('message').textContent = ''")
