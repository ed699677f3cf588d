"""The exported tracker in Chromium: milliseconds a frame with one and two threads, and what is loaded.

    python -m benchmarks.browser --checkpoint starter-tiny

The frames are those of the example clip. Trackers take turns on each frame: WebAssembly with one thread and with two,
then the driver on ONNX Runtime with as many. Times include the crop and the way of the box, not decoding and drawing.
The row also has the largest distance between the browser's boxes and those of the driver; and the distances of a
tracker that reads the pictures as the browser draws them, in its own colours.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

import relo_jax
from benchmarks import common
from relo_jax.export import npm, relo_track, write
from relo_jax.export.page import PAGE, write_page
from relo_jax.export.server import Server
from relo_jax.media.decode import open_file
from tests.browser import open_browser, serving

THREADS = (1, 2)
RUN = """(async () => {
  const [{ openFilm }, { startTracker }] = [await import("./frames.js"), await import("./remote.js")];
  const film = await openFilm(await (await fetch("example.mp4")).blob(), "example");
  const drawn = (picture) => {
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    picture.draw(canvas.getContext("2d"), picture.width, picture.height);
    const bitmap = canvas.transferToImageBitmap();
    return { ...picture, pixels: async () => ({ pixels: { bitmap }, transfer: [bitmap] }) };
  };
  const begin = (tracker, picture) => tracker.init(picture, { box: BOX });
  const track = async (trackers, seen) => {
    await film.seek(0);
    const rows = trackers.map(() => []);
    for (let k = 0; k <= FRAMES; k++) {
      const { picture } = await film.next();
      for (const [i, tracker] of trackers.entries()) {
        const { box, milliseconds } = await (k ? tracker.update(seen(picture)) : begin(tracker, seen(picture)));
        if (k) rows[i].push({ box: [...box], milliseconds });
      }
      picture.close();
    }
    return rows;
  };
  const trackers = [];
  for (const threads of THREADS) trackers.push(await startTracker("wasm", threads, () => {}));
  return [...(await track(trackers, (picture) => picture)), ...(await track(trackers.slice(0, 1), drawn))];
})()"""


def in_browser(folder: Path, box: tuple[float, ...], frames: int) -> tuple[str, list[list[dict]]]:
    """The browser's name; a list of {box, milliseconds} for each number of threads, and one in its own colours."""
    script = RUN.replace("THREADS", str(list(THREADS))).replace("BOX", json.dumps(box)).replace("FRAMES", str(frames))
    with serving(Server(folder, 0)) as address, open_browser() as page:
        page.open(f"{address}page.json")  # isolated like the page, and starts nothing
        page.wait_for("crossOriginIsolated")
        return page.call("Browser.getVersion")["product"], page.evaluate(script)


def natively(folder: Path, box: tuple[float, ...], count: int) -> list[list[dict]]:
    """The same by the driver on ONNX Runtime."""
    trackers = [relo_track.Tracker(folder, threads=threads) for threads in THREADS]
    rows: list[list[dict]] = [[] for _ in trackers]
    with open_file(folder / "example.mp4", "example") as frames:
        for number, frame in zip(range(count + 1), frames, strict=False):
            for tracker, row in zip(trackers, rows, strict=True):
                start = time.perf_counter()
                if number == 0:
                    tracker.init(frame, box)
                else:
                    found = tracker.update(frame).box
                    row.append({"box": found, "milliseconds": 1e3 * (time.perf_counter() - start)})
    return rows


def main() -> None:
    args = common.arguments(__doc__, repeats=60, checkpoint="starter-tiny")
    with tempfile.TemporaryDirectory() as temporary:
        folder, (_, box) = Path(temporary) / "page", relo_jax.example()
        described = write.export(write.Source.of(args.checkpoint), folder, additions=[write_page])
        browser, rows = in_browser(folder, box, args.repeats)
        native = natively(folder, box, args.repeats)
        size = lambda names: sum((folder / name).stat().st_size for name in names)
        page = [*(path.name for path in PAGE.iterdir()), *npm.FILMS.files]
        loaded = {
            "page": size(page), "network": size(["step.onnx", "template.onnx"]), "wasm": size(npm.RUNTIME.files),
            "webgpu": size(npm.WEBGPU_FILES),
        }  # fmt: skip
    boxes = [np.array([row["box"] for row in each]) for each in (*rows, native[0])]
    *same, own_colours = (np.abs(each - boxes[-1]).max(1) for each in boxes[:-1])
    spread = lambda each: common.spread([row["milliseconds"] for row in each], unit=1)
    row = {
        "checkpoint": args.checkpoint, "variant": described["variant"], "search_size": described["search_size"],
        "browser": browser, "runtime": f"{npm.RUNTIME.name} {npm.RUNTIME.version}", "frames": args.repeats,
        "wasm_ms": {str(threads): spread(each) for threads, each in zip(THREADS, rows[:-1], strict=True)},
        "native_ms": {str(threads): spread(each) for threads, each in zip(THREADS, native, strict=True)},
        "largest_difference_px": float(f"{np.max(same):.1g}"),
        "own_colours_difference_px": {
            "median": round(float(np.median(own_colours)), 1), "largest": round(float(own_colours.max()), 1),
        },
        "bytes": loaded,
    }  # fmt: skip
    common.record("browser", row)


if __name__ == "__main__":
    main()
