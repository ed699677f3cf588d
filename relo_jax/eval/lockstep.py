"""Many sequences in lockstep: one batch on the device, one slot a sequence, a waiting sequence in every slot that ends.

A network of this size leaves an accelerator idle with one crop at a time. So B sequences advance together, a few frames
at a time: the frames go over as they are, `relo_jax.tracking.programs` cuts the crops and carries the boxes, and while it works
the next frames are read. Rows do not mix: each box is the one that `Tracker` gives.

Nothing is compiled twice. The batch keeps its shape: when a sequence ends, the next one's state is written into its
row; rows without a sequence look at anything and nobody reads what they say. Frames of many sizes share canvases, each
of which contains the one before, so that there are never more programs than sizes of canvases.

Sequences that draw their crops (`read_crop`) have no frames to send: they advance frame by frame, crops going over.
"""

import collections
import functools
import heapq
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jax
import numpy as np

from relo_jax.errors import UserError
from relo_jax.geometry.crop import SEARCH_FACTOR, crop_host
from relo_jax.model.precision import cast_kernels
from relo_jax.tracking import programs
from relo_jax.tracking.confidence import EVIDENCE, is_calibrated, with_weights
from relo_jax.tracking.options import NOT_FINITE, check_box, check_frame, checked_options

_BUSY = 0.8  # share of a batch on a CPU that must be at work; a full batch gains about as much as the rest loses


@dataclass(frozen=True)
class Tracked:
    """A sequence that came to its end, or failed.

    boxes_xywh: float64 [F, 4], the first as given. scores: [F], the first 1. seconds: [F], what each frame took: its
    share of the wall time since the frames before it were done. evidence: [F, 4], what the scores were made of (see
    `relo_jax.tracking.confidence`), NaN where that was not computed. failure: why there are none, None when all went well.
    """

    sequence: object
    boxes_xywh: np.ndarray | None = None
    scores: np.ndarray | None = None
    seconds: np.ndarray | None = None
    evidence: np.ndarray | None = None
    failure: str | None = None


@dataclass(eq=False)
class _Slot:
    """A sequence on its way."""

    row: int  # of the batch
    sequence: object
    boxes: np.ndarray  # [F, 4], filled as it goes
    scores: np.ndarray  # [F]
    seconds: np.ndarray  # [F]
    evidence: np.ndarray  # [F, 4]
    sent: int = 1  # frames that the device has, or had
    done: int = 1  # frames that have their box
    size: tuple[int, int] = (1, 1)  # of the first frame
    ahead: list = field(default_factory=list)  # the next ones, being read while the device works
    failure: str | None = None

    @property
    def over(self):
        return self.failure is not None or self.done == len(self.sequence)

    def fail(self, why, index):
        self.failure = f"frame {index}: {why}"

    def tracked(self):
        if self.failure is not None:
            return Tracked(self.sequence, failure=self.failure)
        return Tracked(self.sequence, self.boxes, self.scores, self.seconds, self.evidence)


def batch_for(sequences, batch):
    """How many rows a batch should have for these sequences: at most `batch`, and no more than there are sequences.

    A row without a sequence is computed all the same. An accelerator has room for it; a CPU does not, and there the
    batch is halved until most rows are at work to the end: few sequences of unequal length want a small one.
    """
    rows, lengths = min(batch, len(sequences)), sorted(map(len, sequences), reverse=True)
    if jax.local_devices()[0].platform == "cpu":
        while rows > 1 and sum(lengths) < _BUSY * rows * _frames_to_the_end(lengths, rows):
            rows = (rows + 1) // 2
    return rows


def _frames_to_the_end(lengths, rows):
    """Frames until the last sequence ends, when each takes the row that is free first."""
    ends = [0] * rows
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


class Lockstep:
    """A batch of trackers of one model.

    Args:
      model: `RELO`.
      variables: its variables.
      options: as for `Tracker`.
      batch: B, sequences at a time.
      chunk: C, frames of each at a time; three times B x C frames are in memory.

    Attributes:
      seconds_compiling: what `run` spent on it, where a canvas was new; part of no sequence's seconds.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model, variables, options=None, batch=8, chunk=4):
        self.model, self.options, self.batch = model, checked_options(options or {}, model), batch
        self.chunk, self._canvases, self._clock, self.seconds_compiling = chunk, [], 0.0, 0.0
        self._device = jax.local_devices()[0]
        self._variables = self._put(with_weights(cast_kernels(model, variables), self.options))
        self._rule = programs.Updates.of(self.options) if self.options["update_interval"] else None
        self._updates = self._put(self._rule)
        black = lambda box, factor, size: (np.zeros((size, size, 3), np.uint8), 1.0)
        one = self._first(programs.first_view(np.array([0.0, 0.0, 10.0, 10.0]), model.template_size, black))
        repeat = lambda x, axis: jax.numpy.repeat(x, batch, axis)
        self._target = self._put(jax.tree.map(repeat, one, programs.BATCH_AXES))
        self._target = programs.write_row(self._target, one, self._put(0))

    def run(self, sequences, advance=lambda frames: None):
        """Tracks through sequences, longest first, so that the slots end at about the same time.

        Args:
          sequences: of `relo_jax.data.sequence.Sequence`, any number.
          advance: called with how many frames were done since the last call.

        Yields:
          Tracked, one a sequence, as they end. One that fails (a frame that cannot be read) does not stop the others.
        """
        sequences = sorted(sequences, key=len, reverse=True)
        with ThreadPoolExecutor(min(self.batch, os.cpu_count() or 1)) as self._pool:
            yield from self._through([s for s in sequences if s.read_crop is None], self._send_frames, advance, 1)
            yield from self._through([s for s in sequences if s.read_crop is not None], self._send_crops, advance, 0)

    def _through(self, waiting, send, advance, lag):
        """Tracks through sequences; what was sent is waited for when `lag` more chunks have been sent."""
        if waiting and send == self._send_crops:
            size = self.model.search_size
            crops, ones = np.zeros((self.batch, size, size, 3), np.uint8), np.ones((self.batch, 2), np.int32)
            self._compile(programs.track_crop, crops, ones[:, 0], ones)
        waiting, slots, under_way = collections.deque(waiting), {}, collections.deque()
        self._lap()
        while waiting or slots or under_way:
            ended = []
            for row in [row for row in range(self.batch) if row not in slots][: len(waiting)]:
                slots[row] = self._begin(row, waiting.popleft())
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
                self._lap()  # whoever took them is not part of any frame

    def _begin(self, row, sequence):
        """A slot with its first frame done: the template is in the state."""
        frames = len(sequence)
        boxes, evidence = np.tile(sequence.boxes_xywh[0], (frames, 1)), np.full((frames, len(EVIDENCE)), np.nan)
        slot = _Slot(row, sequence, boxes, np.ones(frames), np.zeros(frames), evidence)
        try:
            frame = sequence.read_frame(0)
            check_frame(frame)
            box, slot.size = check_box(slot.boxes[0], frame), frame.shape[:2]
            drawn = sequence.read_crop is not None
            read_crop = functools.partial(sequence.read_crop, 0) if drawn else functools.partial(crop_host, frame)
            one = self._first(programs.first_view(box, self.model.template_size, read_crop))
        except (UserError, OSError) as error:
            slot.fail(error, 0)
            return slot
        self._target = programs.write_row(self._target, one, self._put(row))
        self._read_ahead(slot)
        slot.seconds[0] = self._lap()
        return slot

    def _send_frames(self, slots):
        """The next frames of every slot. Returns what `_settle` takes: (slot, index) by step, and the answers."""
        frames, steps = [[] for _ in range(self.batch)], [[] for _ in range(self.chunk)]
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
        batch = programs.pad_to_bucket(frames, self.chunk, self._canvas(frames))
        return steps, self._run(programs.track_chunk, *batch, self._updates)

    def _send_crops(self, slots):
        """The next crop of every slot, as its sequence draws it; returns as `_send_frames`."""
        size = self.model.search_size
        crops, sides = np.zeros((self.batch, size, size, 3), np.uint8), np.full(self.batch, size, np.int32)
        sizes = np.ones((self.batch, 2), np.int32)

        def draw(slot):
            try:
                return slot.sequence.read_crop(slot.sent, slot.boxes[slot.sent - 1], SEARCH_FACTOR, size)
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
        return [step], self._run(programs.track_crop, crops, sides, sizes)[None]

    def _settle(self, steps, answers, advance):
        """Waits for the device and writes down the boxes. Returns the slots that are over by that."""
        answers, ended = jax.device_get(answers), []
        share = self._lap() / sum(map(len, steps))
        with_evidence = is_calibrated(self.options)
        for step, answer in zip(steps, answers, strict=False):
            for slot, index in step:
                if slot.failure is not None:
                    continue
                box, score = answer[slot.row, programs.BOX], answer[slot.row, programs.SCORE]
                slot.boxes[index], slot.scores[index] = box, score
                if with_evidence:
                    slot.evidence[index] = answer[slot.row, programs.EVIDENCE]
                slot.seconds[index], slot.done = share, index + 1
                if not (np.isfinite(box).all() and np.isfinite(score)):
                    slot.fail(NOT_FINITE, index)
                elif slot.sequence.read_crop is not None and self._rule is not None:
                    self._renew(slot, index, answer[slot.row])
                if slot.over:
                    ended.append(slot)
            advance(len(step))
        return ended

    def _renew(self, slot, index, answer):
        """The template of a sequence that draws its crops; the others' are replaced on the device."""
        if self._rule.due(index, answer[programs.RESPONSE]):
            read_crop = functools.partial(slot.sequence.read_crop, index)
            view = programs.template_view(slot.boxes[index], self.model.template_size, read_crop)
            arrays = self._put((slot.row, *view))
            self._target = programs.renew_template(self.model, self._variables, self._target, *arrays)

    def _read_ahead(self, slot):
        if slot.sequence.read_crop is None:
            following = range(slot.sent, min(slot.sent + self.chunk, len(slot.sequence)))
            slot.ahead = [self._pool.submit(slot.sequence.read_frame, index) for index in following]

    def _canvas(self, frames):
        """Sides of a canvas that holds all frames: the smallest in use, or a new one that contains all in use."""
        shapes = [frame.shape for row in frames for frame in row]
        height, width = programs.bucket(*(max(shape[k] for shape in shapes) for k in (0, 1)))
        for canvas in self._canvases:
            if canvas[0] >= height and canvas[1] >= width:
                return canvas
        largest = self._canvases[-1] if self._canvases else (1, 1)
        self._canvases.append((max(height, largest[0]), max(width, largest[1])))
        nothing = programs.pad_to_bucket([[]] * self.batch, self.chunk, self._canvases[-1])
        self._compile(programs.track_chunk, *nothing, self._updates)
        return self._canvases[-1]

    def _compile(self, look, *arrays):
        """Runs a program once, on nothing: no frame waits for its compilation, and no rate counts it."""
        start = time.perf_counter()
        kept = jax.tree.map(jax.numpy.copy, self._target)
        jax.block_until_ready(self._run(look, *arrays))
        self._target = kept
        self.seconds_compiling += time.perf_counter() - start
        self._clock += time.perf_counter() - start

    def _first(self, view):
        power = self.options["window_power"]
        return programs.begin(self.model, self._variables, *self._put(view), window_power=power)

    def _run(self, look, *arrays):
        self._target, answer = look(self.model, self._variables, self._target, *self._put(arrays))
        return answer

    def _put(self, arrays):
        return jax.device_put(arrays, self._device)

    def _lap(self):
        """Seconds since the last call."""
        now = time.perf_counter()
        passed, self._clock = now - self._clock, now
        return passed
