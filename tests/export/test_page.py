"""What the page computes in JavaScript is what Python computes: crops, colours, boxes with templates replaced."""

import base64
import json
import platform
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

import relo_jax
from relo_jax.errors import UserError
from relo_jax.export import relo_track, write
from relo_jax.export.page import sizes, write_page
from relo_jax.export.server import Server
from relo_jax.geometry import crop
from relo_jax.media.decode import open_file
from relo_jax.model import RELO
from tests.browser import CHROMIUM, Page, open_browser, serving
from tests.export.weights import CALIBRATION, SMALL, random_source

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
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
BOX, FRAMES = (230.0, 93.0, 80.0, 194.0), 8
TRACK = """async () => {
  const { loadTracker } = await import("./tracker.js");
  const [{ openFilm }, { reader }] = [await import("./frames.js"), await import("./pixels.js")];
  const tracker = await loadTracker(new URL("./", location), "wasm", 1, () => {});
  const film = await openFilm(await (await fetch("example.mp4")).blob(), "example");
  const rows = [];
  await film.seek(0);
  for (let k = 0; k <= FRAMES; k++) {
    const { picture } = await film.next();
    const read = reader((await picture.pixels()).pixels);
    const size = [picture.width, picture.height];
    if (k === 0) await tracker.init(read, size, BOX);
    else rows.push([(await tracker.update(read, size)).box, ...tracker.templates.map(({ data }) => [...data])]);
    picture.close();
  }
  return rows;
}""".replace("FRAMES", str(FRAMES)).replace("BOX", json.dumps(BOX))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("export") / "page"
    add = lambda folder, described: write_page(folder, described, webgpu=False)
    try:
        model = RELO.from_variant("tiny", **SMALL, templates=2)
        options = {**CALIBRATION, "update_interval": 2, "update_threshold": -1e9}
        write.export(random_source(model, options), out, additions=[add])
    except UserError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(f"the packages of the page cannot be had: {error}")
    return out


@pytest.fixture(scope="module")
def page(folder) -> Iterator[Page]:
    """Beside the page's files, of which it runs none by itself."""
    with serving(Server(folder, 0)) as address, open_browser() as page:
        page.open(f"{address}page.json")
        page.wait_for("crossOriginIsolated")
        yield page


def test_templates_are_replaced_as_by_the_python_driver(page, folder):
    tracker, expected = relo_track.Tracker(folder), []
    with open_file(relo_jax.example()[0], "example") as frames:
        frames = iter(frames)
        tracker.init(next(frames), BOX)
        for _ in range(FRAMES):
            box = tracker.update(next(frames)).box
            expected.append((box, tracker._templates.reshape(2, -1)))
    seconds = []
    for (box, first, second), (its_box, its_templates) in zip(page.evaluate(f"({TRACK})()"), expected, strict=True):
        assert np.abs(np.subtract(box, its_box)).max() < 0.5
        assert np.allclose([first, second], its_templates, atol=1e-3)
        seconds.append(second)
    assert seconds[0] == first and first not in seconds[1:]


def test_what_is_loaded_is_said_and_several_targets_are_refused(folder):
    described = json.loads((folder / "tracker.json").read_text())
    assert "runtime 14.3 MB (WebAssembly)" in sizes(folder, described)
    with pytest.raises(UserError, match="--web: the page follows one target, and the graphs take 3: omit --batch"):
        write_page(folder, {**described, "batch": 3})


def test_crops_equal_opencv_to_the_byte(page):
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
    answers = page.evaluate(f"({CROPS})({json.dumps([encoded(rgba), cases])})")
    for (windows, cut), (given, answer) in zip(expected, answers, strict=True):
        assert windows == given
        assert np.array_equal(cut, decoded(answer).reshape(cut.shape))


def test_colours_of_a_film_are_those_of_ffmpeg(page):
    rng = np.random.default_rng(4)
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
