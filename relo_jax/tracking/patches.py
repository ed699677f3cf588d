"""What goes up of each frame: the patch around the last box that the next crops can need, or the whole frame.

`reach` says which pixels those are, from the motion of the last frames and the number of frames until the host hears of
the target again. A target that moves farther halts on the device (`programs.py`), and its frames are sent again, whole:
a wrong guess costs time, never a box.

`Packer` lays the patches of a chunk into one array. Videos come in many sizes, compiled programs in few: the array has
room for all frames as they are, or for a fixed share of that, and the patches grow until they fill it.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import jax
import numpy as np

from relo_jax.geometry.crop import SEARCH_FACTOR
from relo_jax.tracking import programs

RECENT = 16  # last boxes that `reach` looks at
PARTS = (0.15, 0.3, 0.5, 1.0)  # shares of whole frames that an array has room for
# Of a target of side s = sqrt(w h) whose centre moved at most m pixels from frame to frame: after j frames it is looked
# for within (_STEPS m + _UNREST s) sqrt(j) pixels, in a window that grew alike. Where there is no frame to frame, m is
# _UNKNOWN s. Chosen on real sequences: see `benchmarks/evaluation.py`.
_STEPS, _UNREST, _GROWTH, _UNKNOWN = 2.0, 0.15, 0.03, 0.15
_NEARLY_WHOLE = 0.8  # of the frame, from which a patch is the whole frame
_ALIGNED = 64  # bytes: JAX on a CPU reads such an array where it lies
_SMALL = 2**20  # bytes that are copied faster than threads start

Frames = Sequence[Sequence[np.ndarray | None]]  # [C][B]: of each target at each step; None: there is no frame
Shape = tuple[int, ...]  # of the pixels of one step
Compile = Callable[[np.ndarray, np.ndarray], object]


def bucket_side(length: int) -> int:
    """The smallest of 128, 160, 192, 224, 256, 320 ... (4 to 7 times a power of two) that holds a length."""
    scale = 32
    while 7 * scale < length:
        scale *= 2
    return next(k * scale for k in (4, 5, 6, 7) if k * scale >= length)


def reach(recent_xywh: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Pixels that search crops can need.

    Args:
      recent_xywh: `[B, n, 4]`, the last boxes of each target in pixels, NaN where there is none; the last one counts.
      ahead: int `[C, B]`, frames from the last box to each frame; in the first, the crop's window is known.

    Returns:
      float64 `[C, B, 4]`: left, top, right, bottom; not finite where the last box is not.
    """
    boxes = np.asarray(recent_xywh, np.float64)
    centre, side = boxes[..., :2] + 0.5 * boxes[..., 2:], np.sqrt(boxes[..., 2] * boxes[..., 3])
    steps, growth = np.abs(np.diff(centre, axis=1)), np.abs(np.diff(np.log(side), axis=1))
    farthest: np.ndarray = np.fmax.reduce(steps, axis=1, initial=0.0)  # fmax passes over NaN
    fastest: np.ndarray = np.fmax.reduce(growth, axis=1, initial=0.0)
    unknown = np.isfinite(steps).sum(axis=(1, 2)) == 0
    last = side[:, -1]
    farthest = np.where(unknown[:, None], _UNKNOWN * last[:, None], farthest)
    spread = np.sqrt(ahead - 1)[..., None]
    margin = (_STEPS * farthest + _UNREST * last[:, None]) * spread
    window = SEARCH_FACTOR * last[:, None] * (1 + (_STEPS * fastest[:, None] + _GROWTH) * spread)
    margin = margin + 0.5 * window + 1  # windows are rounded
    return np.concatenate([centre[:, -1] - margin, centre[:, -1] + margin], axis=-1)


@dataclass
class _Buffer:
    """Memory for the pixels of a chunk; `answers` are ready when the device has read it."""

    pixels: np.ndarray
    answers: jax.Array | None = None


class Packer:
    """Lays patches into arrays as the programs take them.

    Args:
      compile: called with an array of a new shape and its places, before frames wait for it.
      uniform: whether every patch has a rectangle of its own of one size, for devices on which a gather is slow.
      parts: shares of whole frames that arrays have room for, ascending; the last is 1.
      shared: whether all targets are in one video.
      buffers: arrays of a shape: of two, one is filled while the device reads the other.
    """

    def __init__(
        self,
        compile: Compile,
        uniform: bool = False,
        parts: Sequence[float] = PARTS,
        shared: bool = False,
        buffers: int = 2,
    ):
        self._compile, self._uniform, self._parts, self._shared = compile, uniform, tuple(parts), shared
        self._count = buffers
        # Shapes for whole frames, by the length of a chunk and whether there are several; each holds those before it.
        self._shapes: dict[tuple[int, int], list[Shape]] = {}
        self._compiled: set[tuple[int, ...]] = set()
        self._buffers: dict[tuple[int, ...], list[_Buffer]] = {}
        self._filled: _Buffer | None = None
        self.bytes_up = 0  # of all arrays so far

    def prepare(self, height: int, width: int, length: int, rows: int) -> None:
        """Compiles for frames of a size, whole and in the smallest part."""
        whole = self._whole(np.array([[[width, height]] * rows] * length), 1 if self._shared else rows)
        self._ready(whole, length, rows)
        if not self._uniform:
            self._ready((int(self._parts[0] * whole[0]), 3), length, rows)

    def pack(
        self, frames: Frames, reached: np.ndarray | None, resumes: np.ndarray | bool, pool: Executor | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A chunk as `track_chunk` takes it.

        Args:
          frames: `[C][B]`, uint8 `[H, W, 3]`.
          reached: `[C, B, 4]` of `reach`; None: whole frames.
          resumes: bool `[B]` or one, targets that go on if they halted.
          pool: threads to copy with; None: this one.

        Returns:
          pixels and place, see `programs._frame_step`. The pixels stay until `sent` and the next but one call.
        """
        length, rows = len(frames), len(frames[0])
        sizes = np.array([[(0, 0) if f is None else f.shape[1::-1] for f in step] for step in frames])
        there = sizes[..., 0] > 0
        rectangles = _rectangles(reached, sizes, self._shared)
        counted = there & ~_repeated(frames, rectangles)
        slots = 1 if self._shared else rows
        if self._uniform:
            slots = 1 if self._shared and counted.sum(axis=1).max() <= 1 else rows
            counted = there if slots > 1 else counted
        shape = self._shape(rectangles, sizes, counted, slots)
        self._ready(shape, length, rows)
        rectangles = self._grown(rectangles, sizes, counted, shape)
        place = np.zeros((length, rows, len(programs.PLACE)), np.int32)
        place[..., programs.LEFT : programs.BOTTOM + 1] = rectangles
        place[..., programs.HEIGHT : programs.WIDTH + 1] = sizes[..., ::-1]
        place[..., programs.RESUMES] = resumes
        areas = np.where(counted, _area(rectangles), 0)
        if self._uniform:
            place[..., programs.PITCH] = shape[2]
        else:
            # Where a patch is the one before it, so are its pixels.
            starts = np.where(counted, np.cumsum(areas, axis=1) - areas, 0)
            place[..., programs.FIRST] = np.maximum.accumulate(starts, axis=1)
            place[..., programs.PITCH] = rectangles[..., 2] - rectangles[..., 0]
        place[~there] = 0
        self._filled = buffer = self._buffer((length, *shape))
        self._fill(buffer.pixels, frames, place, counted, pool)
        self.bytes_up += buffer.pixels.nbytes + place.nbytes
        return buffer.pixels, place

    def sent(self, answers: jax.Array) -> jax.Array:
        """Takes and returns what the program gave: the pixels of the last `pack` are free when it is ready."""
        assert self._filled is not None
        self._filled.answers = answers
        return answers

    def _shape(self, rectangles: np.ndarray, sizes: np.ndarray, counted: np.ndarray, slots: int) -> Shape:
        """The shape of one step's pixels with room for all rectangles, of so many frames."""
        whole = self._whole(sizes, slots)
        if self._uniform:
            side = bucket_side(int((rectangles[..., 2:] - rectangles[..., :2]).max()))
            part = whole[0], min(whole[1], side), min(whole[2], side), 3
            return part if 2 * part[1] * part[2] <= whole[1] * whole[2] else whole
        needed = np.where(counted, _area(rectangles), 0).sum(axis=1).max()
        return next((room, 3) for part in self._parts if (room := int(part * whole[0])) >= needed)

    def _whole(self, sizes: np.ndarray, slots: int) -> Shape:
        """The shape with room for all frames as they are: one in use, or a new one that holds those in use too."""
        in_use = self._shapes.setdefault((len(sizes), slots), [])
        width, height = sizes.max(axis=(0, 1)).tolist()
        needed: Shape = slots * bucket_side(int(sizes.prod(axis=-1).max())), 3
        if self._uniform:
            needed = slots, bucket_side(height), bucket_side(width), 3
        for shape in in_use:
            if all(have >= need for have, need in zip(shape, needed, strict=True)):
                return shape
        in_use.append(tuple(map(max, needed, in_use[-1])) if in_use else needed)
        return in_use[-1]

    def _ready(self, shape: Shape, length: int, rows: int) -> None:
        if (length, *shape) not in self._compiled:
            self._compile(np.zeros((length, *shape), np.uint8), np.zeros((length, rows, len(programs.PLACE)), np.int32))
            self._compiled.add((length, *shape))

    def _grown(self, rectangles: np.ndarray, sizes: np.ndarray, counted: np.ndarray, shape: Shape) -> np.ndarray:
        """The rectangles, larger, so that they fill the array."""
        if self._uniform:
            more = (np.array(shape[2:0:-1]) - (rectangles[..., 2:] - rectangles[..., :2])) // 2
            return _widened(rectangles, np.maximum(more, 0), sizes)
        sides = (rectangles[..., 2:] - rectangles[..., :2]).max(axis=-1, keepdims=True)
        low, high = np.zeros((len(sizes), 1, 1)), np.full((len(sizes), 1, 1), 2.0)
        for _ in range(10):
            middle = 0.5 * (low + high)
            wider = _widened(rectangles, (middle * sides).astype(int), sizes)
            fits = np.where(counted, _area(wider), 0).sum(axis=1) <= shape[0]
            low, high = np.where(fits[:, None, None], middle, low), np.where(fits[:, None, None], high, middle)
        return _widened(rectangles, (low * sides).astype(int), sizes)

    def _fill(
        self, pixels: np.ndarray, frames: Frames, place: np.ndarray, counted: np.ndarray, pool: Executor | None
    ) -> None:
        def copy(items: list[tuple[int, int]]) -> None:
            for step, row in items:
                first, _, left, top, right, bottom, *_ = place[step, row].tolist()
                height, width = bottom - top, right - left
                if self._uniform:
                    patch = pixels[step, row if pixels.shape[1] > 1 else 0, :height, :width]
                else:
                    patch = pixels[step, first : first + height * width].reshape(height, width, 3)
                frame = frames[step][row]
                assert frame is not None
                patch[...] = frame[top:bottom, left:right]

        items = [(step, row) for step, row in np.argwhere(counted).tolist()]
        if pool is None or pixels.nbytes < _SMALL:
            copy(items)
        else:
            workers = getattr(pool, "_max_workers", 1)
            list(pool.map(copy, [items[k::workers] for k in range(workers)]))

    def _buffer(self, shape: tuple[int, ...]) -> _Buffer:
        """Memory that nobody reads any more."""
        buffers = self._buffers.setdefault(shape, [])
        if len(buffers) < self._count:
            size = int(np.prod(shape))
            memory = np.empty(size + _ALIGNED, np.uint8)
            start = -memory.ctypes.data % _ALIGNED
            buffers.append(_Buffer(memory[start : start + size].reshape(shape)))
            return buffers[-1]
        buffers.append(buffers.pop(0))
        jax.block_until_ready(buffers[-1].answers)
        return buffers[-1]


def _rectangles(reached: np.ndarray | None, sizes: np.ndarray, shared: bool) -> np.ndarray:
    """int64 `[C, B, 4]`: what is reached of each frame, or the whole frame, where a target may leave it.

    A frame that the targets share goes up once if one of them needs it whole, or their patches are hardly smaller.
    """
    whole = np.concatenate([np.zeros_like(sizes), sizes], axis=-1)
    if reached is None:
        return whole
    limit = np.concatenate([sizes, sizes], axis=-1)
    outward = np.concatenate([np.floor(reached[..., :2]), np.ceil(reached[..., 2:])], axis=-1)
    inside = np.clip(np.nan_to_num(outward, posinf=0.0, neginf=0.0), 0, limit).astype(np.int64)
    area, limit = _area(inside), _NEARLY_WHOLE * sizes.prod(axis=-1)
    enough = (area > 0) & (area < limit) | (limit == 0)
    if shared:
        together = enough.all(axis=1) & (area.sum(axis=1) < limit.max(axis=1))
        enough &= together[:, None]
    return np.where(enough[..., None], inside, whole)


def _widened(rectangles: np.ndarray, more: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rectangles with more pixels on each side, within the frames."""
    low, high = np.maximum(rectangles[..., :2] - more, 0), np.minimum(rectangles[..., 2:] + more, sizes)
    return np.concatenate([low, high], axis=-1)


def _area(rectangles: np.ndarray) -> np.ndarray:
    return (rectangles[..., 2:] - rectangles[..., :2]).prod(axis=-1)


def _repeated(frames: Frames, rectangles: np.ndarray) -> np.ndarray:
    """Whether a patch is that of the target before it: bool `[C, B]`."""
    same = np.zeros(rectangles.shape[:2], bool)
    same[:, 1:] = (rectangles[:, 1:] == rectangles[:, :-1]).all(axis=-1)
    for step, frame in zip(same, frames, strict=True):
        step[1:] &= np.array([one is other for one, other in itertools.pairwise(frame)], bool)
    return same
