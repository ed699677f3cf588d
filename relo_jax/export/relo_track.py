#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""RELO's tracker in one file: it runs the graphs that `relo export` writes, with NumPy, OpenCV and ONNX Runtime alone.

    tracker = Tracker("exported")            # the folder of tracker.json, step.onnx and template.onnx
    tracker.init(frame, (x, y, w, h))        # uint8 [H, W, 3], RGB; pixels, counted from 0
    result = tracker.update(next_frame)      # .box (x, y, w, h), .score, .found, .response, .policy

    python relo_track.py VIDEO --box X,Y,W,H --save out.mp4

A frame: cut the search region, a square around the last box; run step.onnx, which gives the box in it and carries the
temporal tokens; map the box back. Every `update_interval` frames template.onnx encodes a second template.

    pip install numpy opencv-python-headless onnxruntime     # or openvino, for backend="openvino"
"""

import argparse
import contextlib
import functools
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

TRACKER_FILE, FORMAT = "tracker.json", 1
OPTIONS = ("update_interval", "update_threshold", "found_threshold", "found_frames")
COUNTS = ("batch", "templates", "search_size", "template_size", "grid")  # fields of tracker.json, from 1
NUMBERS = ("search_factor", "template_factor", *OPTIONS)
MOST_NUMBERS = 1 << 26  # of a state
MARGIN = 10  # pixels of the frame that a box covers at least, on each axis
Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class TrackerError(ValueError):
    """Bad input: one line that names the value and the remedy."""


@dataclass(frozen=True)
class Result:
    """What the tracker says of one frame.

    Attributes:
      box: x, y, w, h in pixels.
      score: in [0, 1]; of a calibrated export the probability that the box is right.
      found: False from `found_frames` scores in a row below `found_threshold` until as many in a row reach it again.
      response: maximum of the policy's logits times the window; a template is replaced where it is high.
      policy: float32 `[g, g]`, the probability of each cell of the search region; sums to 1.
      region: x, y, w, h of the search region in the frame, pixels; parts may lie outside.
    """

    box: tuple[float, float, float, float]
    score: float
    found: bool
    response: float
    policy: np.ndarray
    region: tuple[float, float, float, float]


class Network:
    """The graphs of an export, opened; several trackers may share it.

    Args:
      folder: that `relo export` wrote.
      backend: "onnxruntime" or "openvino".
      precision: of the graphs, such as "float32" or "int8".
      threads: of the processor; None: all.
      provider: of ONNX Runtime, such as "CUDAExecutionProvider"; a device of OpenVINO, such as "GPU". None: the CPU.

    Attributes:
      config: the values of tracker.json.

    Raises:
      TrackerError: the folder lacks a file, or its files do not belong together; an unknown backend, precision or
        provider; the backend is not installed, or cannot run the graphs.
    """

    def __init__(
        self, folder: str | Path, backend: str = "onnxruntime", precision: str = "float32",
        threads: int | None = None, provider: str | None = None,
    ):  # fmt: skip
        if backend not in BACKENDS:
            raise TrackerError(f"there is no backend {backend!r} (known: {', '.join(BACKENDS)})")
        if threads is not None and threads < 1:
            raise TrackerError(f"threads is {threads}: give at least 1, or None for all")
        self.folder, self.backend, self.precision, self.config = Path(folder), backend, precision, read_config(folder)
        graphs = self.config["graphs"]
        if precision not in graphs:
            remedy = "relo export CHECKPOINT NEW_FOLDER --precision float32,float16,int8 makes all that there are"
            raise TrackerError(f"{folder} has no graphs in {precision!r}, only in {', '.join(graphs)}: {remedy}")
        paths = [_checked(self.folder, graphs[precision][name]) for name in ("template", "step")]
        try:
            self._template, self._step = (BACKENDS[backend](path, precision, threads, provider) for path in paths)
        except TrackerError:
            raise
        except ModuleNotFoundError as error:
            raise TrackerError(f"{backend} is not installed ({error}): pip install {backend}") from None
        except Exception as error:  # each backend has its own
            raise TrackerError(f"{backend} cannot open the graphs of {folder}: {error}".splitlines()[0]) from error

    def encode(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The tokens `[1, m, D]` of a template uint8 `[s, s, 3]` with the target at x, y, w, h relative to it."""
        return self._template({"image": image[None], "box": box[None].astype(np.float32)})["template"]

    def step(self, rows: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The outputs of step.onnx for the inputs of each target, of as many at a time as the graph takes."""
        batch, outputs = self.config["batch"], []
        for first in range(0, len(rows), batch):
            chunk = rows[first : first + batch]
            padded = [*chunk, *[chunk[-1]] * (batch - len(chunk))]
            answer = self._step({name: np.concatenate([row[name] for row in padded], _axis(name)) for name in chunk[0]})
            outputs += [{n: np.take(v, [k], _axis(n)) for n, v in answer.items()} for k in range(len(chunk))]
        return outputs


class Tracker:
    """Follows one target through one video at a time; `init` begins a new one.

    Args:
      folder: of the export, or a `Network` that is open already.
      **how: see `Network`.

    Attributes:
      network: see above.
      options: those of tracker.json; may be changed before `init`. `update_interval`: frames between template updates,
        0 for none; `update_threshold`; `found_threshold` and `found_frames`, see `Result`.
      box: x, y, w, h of the last box, float32 `[4]`; window: x, y and side of the next search region.
    """

    def __init__(self, folder: str | Path | Network, **how: Any):
        self.network = folder if isinstance(folder, Network) else Network(folder, **how)
        self.options = {name: self.network.config[name] for name in OPTIONS}
        self.box: Any = None

    def init(self, frame: np.ndarray, box_xywh: Sequence[float]) -> None:
        """Begins a video: frame uint8 `[H, W, 3]`, RGB, and the target in it. Raises TrackerError."""
        check_frame(frame)
        self._check_options()
        box, config = check_box(box_xywh, frame), self.network.config
        self._templates = np.tile(self._template(frame, box), (1, config["templates"], 1))
        one = lambda name, shape: [1 if axis == _axis(name) else size for axis, size in enumerate(shape)]
        self._state = {name: np.zeros(one(name, shape), np.float32) for name, shape in config["state"].items()}
        self.box, self.window = box.astype(np.float32), crop_window(box, config["search_factor"])
        self._frames, self._level, self._recent = 0, 1.0, [1.0] * int(self.options["found_frames"])

    def update(self, frame: np.ndarray) -> Result:
        """Finds the target in the next frame, uint8 `[H, W, 3]`, RGB. Raises TrackerError."""
        return advance([self], [frame])[0]

    def inputs(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs of step.onnx for the next frame."""
        if self.box is None:
            raise TrackerError("update was called before init: give the first frame and its box first")
        check_frame(frame)
        search = cut(frame, self.window, self.network.config["search_size"])[None]
        return {"search": search, "templates": self._templates, "first": np.array([self._frames == 0]), **self._state}

    def accept(self, frame: np.ndarray, outputs: dict[str, np.ndarray]) -> Result:
        """Moves on by the outputs of step.onnx for that frame."""
        config, options, (x, y, side) = self.network.config, self.options, self.window
        response, score = float(outputs["response"][0]), float(outputs["score"][0])
        box = clip_box(box_from_crop(outputs["box"][0], self.box, side, config["search_size"]), frame)
        if not np.isfinite([*box, score]).all():
            raise TrackerError("the network's box is not finite: are its weights? Use another export")
        self.box, self.window = box, crop_window(box, config["search_factor"])
        self._state, self._frames = {name: outputs[f"new_{name}"] for name in self._state}, self._frames + 1
        every = options["update_interval"]
        if every and self._frames % every == 0 and response > np.float32(options["update_threshold"]):
            template = self._template(frame, box)
            self._templates = np.concatenate([self._templates[:, : template.shape[1]], template], 1)
        # The level crosses the threshold when the last `found_frames` scores lie on its other side.
        self._recent = [*self._recent[1:], score]
        self._level = min(max(self._level, min(self._recent)), max(self._recent))
        (left, top, width, height), found = box.tolist(), self._level >= options["found_threshold"]
        region = float(x), float(y), float(side), float(side)
        return Result((left, top, width, height), score, found, response, outputs["policy"][0], region)

    def _check_options(self) -> None:
        """Raises TrackerError unless the rules of templates and of `found` can be followed."""
        for name, least in (("update_interval", 0), ("found_frames", 1)):
            if (count := self.options[name]) < least or count % 1:
                raise TrackerError(f"{name} is {count}: give a number of frames, at least {least}")
        if self.options["update_interval"] and (slots := self.network.config["templates"]) != 2:
            raise TrackerError(f"update_interval needs graphs of two templates, and these have {slots}: set it to 0")

    def _template(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The tokens of the template around a box."""
        size, window = self.network.config["template_size"], crop_window(box, self.network.config["template_factor"])
        extent = box[2:] * (size / window[2]) / (size - 1)  # the release takes size - 1 for the side here
        return self.network.encode(cut(frame, window, size), np.concatenate([0.5 - 0.5 * extent, extent]))


def advance(trackers: Sequence[Tracker], frames: Sequence[np.ndarray]) -> list[Result]:
    """Updates trackers of one network together, each by a frame of its own. Raises TrackerError."""
    outputs = trackers[0].network.step([t.inputs(frame) for t, frame in zip(trackers, frames, strict=True)])
    return [t.accept(frame, output) for t, frame, output in zip(trackers, frames, outputs, strict=True)]


def crop_window(box_xywh: np.ndarray, factor: float) -> tuple[int, int, int]:
    """x, y and side of the square around a box, with `factor` times the side of a square of its area.

    It computes in the dtype of the box: float64 for the one that is given, float32 for those that follow.
    """
    square = box_xywh[2:3] * box_xywh[3:] * (factor * factor)
    side = np.ceil(np.sqrt(square))
    if box_xywh.dtype == np.float32:  # as on an accelerator, whose square root may miss the last bit
        side = np.where((side - 1) ** 2 >= square, side - 1, side)
        side = np.where(side**2 < square, side + 1, side)
    side = np.maximum(side, 1)
    x, y = np.round(box_xywh[:2] + 0.5 * box_xywh[2:] - side * 0.5)
    return int(x), int(y), int(side[0])


def cut(frame: np.ndarray, window: tuple[int, int, int], size: int) -> np.ndarray:
    """The window of a frame, resized to uint8 `[size, size, 3]`; black outside of the frame.

    Where the window touches or passes the right (bottom) border, the frame's last column (row) is lost: so does the
    release, with whose crops the networks were trained.
    """
    (height, width), (x1, y1, side) = frame.shape[:2], window
    x2, y2 = x1 + side, y1 + side
    left, top, right, bottom = max(0, -x1), max(0, -y1), max(x2 - width + 1, 0), max(y2 - height + 1, 0)
    if left + right >= side or top + bottom >= side:
        return np.zeros((size, size, 3), np.uint8)
    inside = np.ascontiguousarray(frame[y1 + top : y2 - bottom, x1 + left : x2 - right])
    if left or top or right or bottom:
        inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return cv2.resize(inside, (size, size))


def box_from_crop(box_cxcywh: np.ndarray, around_xywh: np.ndarray, side: int, size: int) -> np.ndarray:
    """A box relative to the crop of that side around another box, in pixels of the frame: x, y, w, h in float32."""
    resize_factor = size / np.array([side], np.float32)
    box = box_cxcywh * (size / resize_factor)
    center = box[:2] + (around_xywh[:2] + 0.5 * around_xywh[2:] - 0.5 * size / resize_factor)
    return np.concatenate([center - 0.5 * box[2:], box[2:]])


def clip_box(box_xywh: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The box clipped to its frame, of which it covers at least `MARGIN` pixels on each axis."""
    size = np.array(frame.shape[1::-1], np.float32)
    start, end = np.clip(box_xywh[:2], 0, size - MARGIN), np.clip(box_xywh[:2] + box_xywh[2:], MARGIN, size)
    return np.concatenate([start, np.maximum(end - start, MARGIN)])


def check_frame(frame: np.ndarray) -> None:
    """Raises TrackerError unless a frame is uint8 `[H, W, 3]` with at least one pixel."""
    fits = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    if not fits or not frame.size:
        what = f"{frame.dtype} {list(frame.shape)}" if hasattr(frame, "dtype") else type(frame).__name__
        raise TrackerError(f"frame is {what}: give a numpy array, uint8 [height, width, 3], RGB")


def check_box(box_xywh: Sequence[float], frame: np.ndarray) -> np.ndarray:
    """The box as float64 `[4]`. Raises TrackerError if it is not finite, empty, outside of the frame or far larger."""
    try:
        x, y, w, h = box = np.array([float(value) for value in box_xywh])
    except (TypeError, ValueError):
        raise TrackerError(f"box is {box_xywh!r}: give four numbers x, y, w, h in pixels") from None
    given, (height, width) = f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g}", frame.shape[:2]
    if not np.isfinite(box).all():
        raise TrackerError(f"{given} is not finite: give four numbers in pixels")
    if w <= 0 or h <= 0:
        raise TrackerError(f"{given} has no area: width and height must be above 0")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise TrackerError(f"{given} lies outside the frame of {width} x {height} pixels")
    if math.sqrt(w) * math.sqrt(h) > max(2 * width, 2 * height, 1000):  # its crop would fill the memory
        raise TrackerError(f"{given} is far larger than the frame of {width} x {height} pixels: is it x, y, w, h?")
    return box


def read_config(folder: str | Path) -> dict[str, Any]:
    """The values of an export's tracker.json. Raises TrackerError."""
    path = Path(folder) / TRACKER_FILE
    try:
        config = json.loads(path.read_text())
        found = config["format"]
    except FileNotFoundError:
        raise TrackerError(f"{folder} has no tracker.json: give a folder that relo export wrote") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrackerError(f"{path} cannot be read ({error!r:.200}): export again") from None
    if found != FORMAT:
        message = f"{path} has format {found!r:.20}, and this file reads {FORMAT}: take the relo_track.py beside it"
        raise TrackerError(message)
    if config.get("batch", 0) is None:
        raise TrackerError(f"{folder} has programs of StableHLO, which JAX runs: export without --format stablehlo")
    fits = {name: _is_count(config.get(name)) for name in COUNTS}
    fits |= {name: type(config.get(name)) in (int, float) and math.isfinite(config[name]) for name in NUMBERS}
    fits |= {"state": _is_state(config.get("state")), "graphs": _are_graphs(config.get("graphs"))}
    if wrong := [name for name, fit in fits.items() if not fit]:
        name = wrong[0]
        what = f"{name} is {config[name]!r:.100}" if name in config else f"there is no field {name!r}"
        raise TrackerError(f"{path}: {what}: export again")
    return config


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 16


def _is_state(value: Any) -> bool:
    shapes: list[Any] = list(value.values()) if isinstance(value, dict) else [None]
    lists = all(isinstance(shape, list) and all(map(_is_count, shape)) for shape in shapes)
    return lists and all(math.prod(shape) <= MOST_NUMBERS for shape in shapes)


def _are_graphs(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(graphs, dict) for graphs in value.values()):
        return False
    entries = [graphs.get(name) for graphs in value.values() for name in ("template", "step")]
    entries += [entry["data"] for entry in entries if isinstance(entry, dict) and "data" in entry]
    texts = lambda entry: all(isinstance(entry.get(name), str) for name in ("file", "sha256"))
    return all(isinstance(entry, dict) and texts(entry) for entry in entries)


def _checked(folder: Path, graph: dict[str, Any]) -> Path:
    """The file of a graph, if it is the one that tracker.json was written with. Raises TrackerError."""
    for entry in (graph, *filter(None, [graph.get("data")])):
        path = folder / entry["file"]
        if path.parent != folder or not path.is_file():
            raise TrackerError(f"{folder} has no {entry['file']}, which its tracker.json names: copy the whole folder")
        content: Any = np.memmap(path, np.uint8, "r") if path.stat().st_size else b""
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise TrackerError(f"{path} does not belong to the tracker.json beside it: copy the whole folder again")
    return folder / graph["file"]


def _axis(name: str) -> int:
    """The axis of the targets of an input or output: tokens are `[L, B, n, D]`."""
    return 1 if name.endswith("tokens") else 0


def _onnxruntime(path: Path, precision: str, threads: int | None, provider: str | None) -> Run:
    import onnxruntime

    if provider not in (None, *(known := onnxruntime.get_available_providers())):
        raise TrackerError(f"onnxruntime has no provider {provider!r} here (it has {', '.join(known)})")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(path, options, providers=[provider or "CPUExecutionProvider"])
    if provider and session.get_providers()[0] != provider:  # it falls back to the processor
        raise TrackerError(f"onnxruntime cannot start {provider} here: are its libraries installed?")
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def _openvino(path: Path, precision: str, threads: int | None, provider: str | None) -> Run:
    core = _openvino_core()
    if provider not in (None, *core.available_devices):
        raise TrackerError(f"openvino has no device {provider!r} here (it has {', '.join(core.available_devices)})")
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision != "float16":
        settings["INFERENCE_PRECISION_HINT"] = "f32"  # else some processors compute in bfloat16
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core.compile_model(path, provider or "CPU", settings).create_infer_request()
    # A tensor may have several names, of which the graph's is one.
    return lambda inputs: {name: value for output, value in request.infer(inputs).items() for name in output.names}


@functools.cache
def _openvino_core() -> Any:
    """OpenVINO, kept until the process ends: one that ends may free the stack of signal handlers, and Ctrl-C crash."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore  # it would fork, and report to OpenVINO's makers
    import openvino

    return openvino.Core()


BACKENDS = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def track_video(tracker: Tracker, source: str, box: Sequence[float], save: str | None, boxes: str | None) -> str:
    """Tracks through a video, or a camera until Ctrl-C, and writes what was asked for. Returns a summary."""
    video, writer, seconds = cv2.VideoCapture(int(source) if source.isdigit() else source), None, 0.0
    rows: list[tuple[float, ...]] = []  # x, y, w, h, score, found
    announced = int(video.get(cv2.CAP_PROP_FRAME_COUNT))  # 0 or less: not known
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as files:
        lines = files.enter_context(open(boxes or os.devnull, "w"))
        while (read := video.read())[0]:
            frame, start = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), time.perf_counter()
            if rows:
                result = tracker.update(frame)
                rows.append((*result.box, result.score, result.found))
            else:
                tracker.init(frame, box)
                rows.append((*box, 1.0, True))
            seconds += time.perf_counter() - start
            lines.write(",".join(f"{value:.4f}" for value in rows[-1][:4]) + "\n")
            if save is not None and writer is None:
                rate, size = video.get(cv2.CAP_PROP_FPS) or 25.0, frame.shape[1::-1]
                writer = cv2.VideoWriter(save, cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                files.callback(writer.release)
                if not writer.isOpened():
                    raise TrackerError(f"{save} cannot be written: give a name FILE.mp4 in a folder that exists")
            if writer is not None:
                writer.write(drawn(read[1], rows[-1]))
    if not rows:
        is_there = source.isdigit() or "://" in source or Path(source).exists()
        raise TrackerError(f"{source} {'has no readable frames' if is_there else 'does not exist'}: give a video")
    *_, scores, found = zip(*rows, strict=True)
    count = f"{len(rows)} of {announced}" if announced > len(rows) else len(rows)  # interrupted, or not readable
    return (
        f"{source}: {count} frames, mean score {np.mean(scores):.2f}, found in {sum(found):.0f}, "
        f"{len(rows) / seconds:.1f} frames/s without reading" + "".join(f"; wrote {to}" for to in (save, boxes) if to)
    )


def drawn(frame: np.ndarray, row: Sequence[float]) -> np.ndarray:
    """A frame, BGR, with the box and its score: green where the target counts as found, else red."""
    (x, y, w, h), score, color = map(round, row[:4]), row[4], (0, 200, 0) if row[5] else (0, 0, 220)
    cv2.rectangle(frame, (x, y), (x + w, y + h), color, 2)
    return cv2.putText(frame, f"{score:.2f}", (x, max(y - 6, 14)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Tracks a target through a video with an exported RELO.")
    parser.add_argument("video", help="file, or the index of a camera")
    parser.add_argument("--box", required=True, metavar="X,Y,W,H", help="the target in the first frame, pixels from 0")
    parser.add_argument("--save", metavar="FILE.mp4", help="write a video with the boxes")
    parser.add_argument("--boxes", metavar="FILE", help="write a line x,y,w,h a frame")
    parser.add_argument("--folder", default=Path(__file__).parent, help="of the export (default: that of this file)")
    parser.add_argument("--backend", default="onnxruntime", choices=BACKENDS)
    parser.add_argument("--precision", default="float32", help="such as int8, if it was exported (default float32)")
    parser.add_argument("--threads", type=int, help="of the processor (default: all)")
    args = parser.parse_args()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a line of ours says what is wrong with a film
    try:
        try:
            box = [float(value) for value in args.box.split(",")]
        except ValueError:
            raise TrackerError(f"--box is {args.box!r}: give x,y,w,h in pixels") from None
        tracker = Tracker(args.folder, backend=args.backend, precision=args.precision, threads=args.threads)
        print(track_video(tracker, args.video, box, args.save, args.boxes))
    except (TrackerError, OSError) as error:
        sys.exit(f"relo_track: {error}")


if __name__ == "__main__":
    main()
