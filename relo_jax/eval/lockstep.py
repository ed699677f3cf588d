"""Many sequences in lockstep: one batch on the device, one slot a sequence. A slot that ends takes a waiting sequence.

One crop at a time leaves an accelerator idle with a network of this size. So B sequences advance together, a few frames
at a time: the device cuts the crops and carries the boxes while the next frames are read. Rows do not mix: each box is
the one that `Tracker` gives.

Nothing is compiled twice. The batch keeps its shape: when a sequence ends, the next one's state is written into its
row; nobody reads what rows without a sequence say. Frames are padded to buckets, each of which contains the one before,
so that there are never more programs than buckets.

Sequences that draw their crops (`read_crop`) have no frames to send: they advance frame by frame, and send crops.
"""

import collections
import functools
import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.geometry.crop import SEARCH_FACTOR, crop_host
from relo_jax.model import RELO
from relo_jax.tracking import programs
from relo_jax.tracking.confidence import EVIDENCE, is_calibrated
from relo_jax.tracking.engine import EMPTY_BOX, Engine
from relo_jax.tracking.options import NOT_FINITE, check_box, check_frame

_BUSY = 0.8  # share of a batch on a CPU that must be at work; a full batch gains about as much as the rest loses


@dataclass(frozen=True)
class Tracked:
    """A sequence that came to its end, or failed.

    Attributes:
      boxes_xywh: float64 `[F, 4]`, the first as given.
      scores: `[F]`, the first 1.
      seconds: `[F]`, each frame's share of the wall time since the frames before it were done.
      evidence: `[F, 4]`, see `relo_jax.tracking.confidence`; NaN where it was not computed.
      failure: the reason of a failure, None when all went well; the others are None where it failed.
    """

    sequence: Sequence
    boxes_xywh: np.ndarray | None = None
    scores: np.ndarray | None = None
    seconds: np.ndarray | None = None
    evidence: np.ndarray | None = None
    failure: str | None = None


@dataclass(eq=False)
class _Slot:
    """A sequence on its way."""

    row: int  # of the batch
    sequence: Sequence
    boxes: np.ndarray  # [F, 4], filled as it goes
    scores: np.ndarray  # [F]
    seconds: np.ndarray  # [F]
    evidence: np.ndarray  # [F, 4]
    sent: int = 1  # frames that the device has, or had
    done: int = 1  # frames that have their box
    size: tuple[int, int] = (1, 1)  # of the first frame
    ahead: list[Future] = field(default_factory=list)  # the next frames, read while the device works
    failure: str | None = None

    def read_crop(self, index: int, box_xywh: np.ndarray, factor: float, size: int) -> tuple[np.ndarray, float]:
        """A crop of frame `index`, as the sequence draws it."""
        assert self.sequence.read_crop is not None
        return self.sequence.read_crop(index, box_xywh, factor, size)

    @property
    def over(self) -> bool:
        return self.failure is not None or self.done == len(self.sequence)

    def fail(self, why: object, index: int) -> None:
        self.failure = f"frame {index}: {why}"

    def tracked(self) -> Tracked:
        if self.failure is not None:
            return Tracked(self.sequence, failure=self.failure)
        return Tracked(self.sequence, self.boxes, self.scores, self.seconds, self.evidence)


_Step = list[tuple[_Slot, int]]  # slots that advance together, each with the index of its frame
_Sent = tuple[list[_Step], Any]  # steps, and the answers that the device is computing


def batch_for(sequences: list[Sequence], batch: int) -> int:
    """Rows that a batch should have for these sequences: at most `batch`, and no more than there are sequences.

    A row without a sequence is computed all the same. An accelerator has room for it, a CPU does not: there the batch
    is halved until most rows are at work to the end.
    """
    rows, lengths = min(batch, len(sequences)), sorted(map(len, sequences), reverse=True)
    if jax.local_devices()[0].platform == "cpu":
        while rows > 1 and sum(lengths) < _BUSY * rows * _frames_to_the_end(lengths, rows):
            rows = (rows + 1) // 2
    return rows


def _frames_to_the_end(lengths: list[int], rows: int) -> int:
    """Frames until the last sequence ends, when each takes the row that is free first."""
    ends = [0] * rows
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


class Lockstep:
    """A batch of trackers of one model.

    Args:
      model: the network.
      variables: its variables.
      options: see `Tracker`.
      batch: B, sequences at a time.
      chunk: C, frames of each at a time; three times B x C frames are in memory.

    Attributes:
      seconds_compiling: time that `run` spent on compilation, where a bucket was new; part of no sequence's seconds.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model: RELO, variables: dict, options: dict | None = None, batch: int = 8, chunk: int = 4):
        self._engine, self.batch, self.chunk = Engine(model, variables, options), batch, chunk
        self._buckets: list[tuple[int, int]] = []
        self._clock, self.seconds_compiling = 0.0, 0.0
        self._with_evidence = is_calibrated(self._engine.options)
        black = lambda box, factor, size: (np.zeros((size, size, 3), np.uint8), 1.0)
        view = programs.first_view(EMPTY_BOX, model.config.template_size, black)
        repeat = lambda x, axis: jax.numpy.repeat(x, batch, axis)
        rows = jax.tree.map(repeat, self._engine.begin(view), programs.BATCH_AXES)
        self._engine.state = self._engine.put(rows)
        self._engine.begin_row(0, view)

    def run(
        self, sequences: Iterable[Sequence], advance: Callable[[int], object] = lambda frames: None
    ) -> Iterator[Tracked]:
        """Tracks through sequences, longest first, so that the slots end at about the same time.

        Args:
          sequences: any number.
          advance: called with the number of frames done since the last call.

        Yields:
          Tracked, one a sequence, as they end. One that fails (a frame that cannot be read) does not stop the others.
        """
        sequences = sorted(sequences, key=len, reverse=True)
        with ThreadPoolExecutor(min(self.batch, os.cpu_count() or 1)) as self._pool:
            yield from self._through([s for s in sequences if s.read_crop is None], self._send_frames, advance, 1)
            yield from self._through([s for s in sequences if s.read_crop is not None], self._send_crops, advance, 0)

    def _through(
        self, waiting: list[Sequence], send: Callable[[list[_Slot]], _Sent], advance: Callable[[int], object], lag: int
    ) -> Iterator[Tracked]:
        """Tracks through sequences; waits for a chunk when `lag` more have been sent."""
        if waiting and send == self._send_crops:
            size = self._engine.model.config.search_size
            crops, ones = np.zeros((self.batch, size, size, 3), np.uint8), np.ones((self.batch, 2), np.int32)
            self._compile(self._engine.track_crops, crops, ones[:, 0], ones)
        queue = collections.deque(waiting)
        under_way: collections.deque[_Sent] = collections.deque()
        slots: dict[int, _Slot] = {}
        self._lap()
        while queue or slots or under_way:
            ended = []
            for row in [row for row in range(self.batch) if row not in slots][: len(queue)]:
                slots[row] = self._begin(row, queue.popleft())
                advance(1)
                if slots[row].over:
                    ended.append(slots[row])
            live = [slot for slot in slots.values() if slot.failure is None and slot.sent < len(slot.sequence)]
            sent = send(live)
            ended += [slot for slot in live if slot.failure is not None]
            if sent[0]:
                under_way.append(sent)
            while under_way and (len(under_way) > lag or not sent[0]):
                ended += self._settle(*under_way.popleft(), advance)
            # A row is free as soon as the device has its last frame.
            slots = {r: s for r, s in slots.items() if s.failure is None and s.sent < len(s.sequence)}
            for slot in ended:
                yield slot.tracked()
            if ended:
                self._lap()  # the caller's time is part of no frame

    def _begin(self, row: int, sequence: Sequence) -> _Slot:
        """A slot with its first frame done: the engine has the template."""
        frames = len(sequence)
        boxes, evidence = np.tile(sequence.boxes_xywh[0], (frames, 1)), np.full((frames, len(EVIDENCE)), np.nan)
        slot = _Slot(row, sequence, boxes, np.ones(frames), np.zeros(frames), evidence)
        try:
            frame = sequence.read_frame(0)
            check_frame(frame)
            box, slot.size = check_box(slot.boxes[0], frame), frame.shape[:2]
            drawn = sequence.read_crop is not None
            read_crop = functools.partial(slot.read_crop, 0) if drawn else functools.partial(crop_host, frame)
            view = programs.first_view(box, self._engine.model.config.template_size, read_crop)
        except (UserError, OSError) as error:
            slot.fail(error, 0)
            return slot
        self._engine.begin_row(row, view)
        self._read_ahead(slot)
        slot.seconds[0] = self._lap()
        return slot

    def _send_frames(self, slots: list[_Slot]) -> _Sent:
        """Sends the next frames of every slot."""
        frames: list[list[np.ndarray]] = [[] for _ in range(self.batch)]
        steps: list[_Step] = [[] for _ in range(self.chunk)]
        for slot in slots:
            for index, reading in enumerate(slot.ahead, start=slot.sent):
                try:
                    frame = reading.result()
                    check_frame(frame)
                except (UserError, OSError) as error:
                    slot.fail(error, index)
                    break
                frames[slot.row].append(frame)
        for slot in slots:
            if slot.failure is not None:
                frames[slot.row] = []
                continue
            for k in range(len(slot.ahead)):
                steps[k].append((slot, slot.sent + k))
            slot.sent += len(slot.ahead)
            self._read_ahead(slot)
        steps = [step for step in steps if step]
        if not steps:
            return [], None
        return steps, self._engine.track_chunk(*programs.pad_to_bucket(frames, self.chunk, self._bucket(frames)))

    def _send_crops(self, slots: list[_Slot]) -> _Sent:
        """Sends the next crop of every slot, as its sequence draws it."""
        size = self._engine.model.config.search_size
        crops, sides = np.zeros((self.batch, size, size, 3), np.uint8), np.full(self.batch, size, np.int32)
        sizes = np.ones((self.batch, 2), np.int32)

        def draw(slot: _Slot) -> tuple[np.ndarray, float] | None:
            try:
                return slot.read_crop(slot.sent, slot.boxes[slot.sent - 1], SEARCH_FACTOR, size)
            except (UserError, OSError) as error:
                slot.fail(error, slot.sent)
                return None

        step = []
        for slot, drawn in zip(slots, list(self._pool.map(draw, slots)), strict=True):
            if drawn is not None:
                crops[slot.row], sides[slot.row], sizes[slot.row] = drawn[0], round(size / drawn[1]), slot.size
                step.append((slot, slot.sent))
                slot.sent += 1
        if not step:
            return [], None
        return [step], self._engine.track_crops(crops, sides, sizes)[None]

    def _settle(self, steps: list[_Step], answers: jax.Array, advance: Callable[[int], object]) -> list[_Slot]:
        """Waits for the device and writes down the boxes. Returns the slots that end with them."""
        answers, ended = jax.device_get(answers), []
        share = self._lap() / sum(map(len, steps))
        for step, answer in zip(steps, answers, strict=False):
            for slot, index in step:
                if slot.failure is not None:
                    continue
                box, score = answer[slot.row, programs.BOX], answer[slot.row, programs.SCORE]
                slot.boxes[index], slot.scores[index] = box, score
                if self._with_evidence:
                    slot.evidence[index] = answer[slot.row, programs.EVIDENCE]
                slot.seconds[index], slot.done = share, index + 1
                if not (np.isfinite(box).all() and np.isfinite(score)):
                    slot.fail(NOT_FINITE, index)
                elif slot.sequence.read_crop is not None:
                    self._renew(slot, index, answer[slot.row])
                if slot.over:
                    ended.append(slot)
            advance(len(step))
        return ended

    def _renew(self, slot: _Slot, index: int, answer: np.ndarray) -> None:
        """Replaces the template of a sequence that draws its crops; the device replaces the others'."""
        rule = self._engine.update_rule
        if rule is not None and rule.due(index, answer[programs.RESPONSE]):
            read_crop = functools.partial(slot.read_crop, index)
            view = programs.template_view(slot.boxes[index], self._engine.model.config.template_size, read_crop)
            self._engine.renew_template(slot.row, view)

    def _read_ahead(self, slot: _Slot) -> None:
        if slot.sequence.read_crop is None:
            following = range(slot.sent, min(slot.sent + self.chunk, len(slot.sequence)))
            slot.ahead = [self._pool.submit(slot.sequence.read_frame, index) for index in following]

    def _bucket(self, frames: list[list[np.ndarray]]) -> tuple[int, int]:
        """Sides of a bucket that holds all frames: the smallest in use, or a new one that contains all in use."""
        shapes = [frame.shape for row in frames for frame in row]
        height, width = programs.bucket(*(max(shape[k] for shape in shapes) for k in (0, 1)))
        for bucket in self._buckets:
            if bucket[0] >= height and bucket[1] >= width:
                return bucket
        largest = self._buckets[-1] if self._buckets else (1, 1)
        self._buckets.append((max(height, largest[0]), max(width, largest[1])))
        nothing = programs.pad_to_bucket([[]] * self.batch, self.chunk, self._buckets[-1])
        self._compile(self._engine.track_chunk, *nothing)
        return self._buckets[-1]

    def _compile(self, track: Callable[..., jax.Array], *arrays: np.ndarray) -> None:
        """Compiles before any frame waits for it, and keeps the time out of every rate."""
        start = time.perf_counter()
        self._engine.compile(track, *arrays)
        self.seconds_compiling += time.perf_counter() - start
        self._clock += time.perf_counter() - start

    def _lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        passed, self._clock = now - self._clock, now
        return passed
