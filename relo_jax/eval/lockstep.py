"""Many sequences in lockstep: one batch on the device, one slot a sequence. A slot that ends takes a waiting sequence.

One crop at a time leaves an accelerator idle with a network of this size. So B sequences advance together, a few frames
at a time: the device cuts the crops and carries the boxes while the next frames are read. Rows do not mix: each box is
the one that `Tracker` gives.

Nothing is compiled twice. The batch keeps its shape: when a sequence ends, the next one's state is written into its
row; nobody reads what rows without a sequence say. What goes up are patches of the frames (`tracking/patches.py`), in
arrays of few sizes. A row that halts because its patch was too small holds no other row up: its frames are sent again.

Sequences that draw their crops (`read_crop`) have no frames to send: they advance frame by frame, and send crops.
"""

import collections
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.slots import Clock, Slot, Tracked, batch_for
from relo_jax.geometry.crop import SEARCH_FACTOR, crop_host
from relo_jax.model import RELO
from relo_jax.tracking import programs
from relo_jax.tracking.confidence import is_calibrated
from relo_jax.tracking.engine import EMPTY_BOX, Engine
from relo_jax.tracking.options import NOT_FINITE, check_frame
from relo_jax.tracking.patches import RECENT, reach

__all__ = ["Lockstep", "Tracked", "batch_for"]


_Step = list[tuple[Slot, int, int]]  # slots that advance together, each with the index of its frame and its halts
_Sent = tuple[list[_Step], Any]  # steps, and the answers that the device is computing


class Lockstep:
    """A batch of trackers of one model.

    Args:
      model: the network.
      variables: its variables.
      options: see `Tracker`.
      batch: B, sequences at a time.
      chunk: C, frames of each at a time; three times B x C frames are in memory.
      patches: see `Engine`.

    Attributes:
      halts: how often a row halted because its patch was too small.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(
        self,
        model: RELO,
        variables: dict,
        options: dict | None = None,
        batch: int = 8,
        chunk: int = 4,
        patches: bool | None = None,
    ):
        self._engine, self.batch, self.chunk = Engine(model, variables, options, patches), batch, chunk
        self._clock = Clock()
        self.halts = 0
        self._with_evidence = is_calibrated(self._engine.options)
        black = lambda box, factor, size: (np.zeros((size, size, 3), np.uint8), 1.0)
        view = programs.first_view(EMPTY_BOX, model.config.template_size, black)
        repeat = lambda x, axis: jax.numpy.repeat(x, batch, axis)
        rows = jax.tree.map(repeat, self._engine.begin(view), programs.BATCH_AXES)
        self._engine.state = self._engine.put(rows)
        self._engine.begin_row(0, view)

    @property
    def seconds_compiling(self) -> float:
        """Time that `run` spent on compilation, where a size was new; part of no sequence's seconds."""
        return self._engine.seconds_compiling

    @property
    def bytes_up(self) -> int:
        """Bytes of all frames and patches that went up."""
        return self._engine.bytes_up

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
        cores = os.cpu_count() or 1
        with (
            ThreadPoolExecutor(min(self.batch, cores)) as self._pool,
            ThreadPoolExecutor(max(cores // 2, 1)) as filling,
        ):
            self._filling = filling if cores > 2 else None
            yield from self._through([s for s in sequences if s.read_crop is None], self._send_frames, advance, 1)
            yield from self._through([s for s in sequences if s.read_crop is not None], self._send_crops, advance, 0)

    def _through(
        self, waiting: list[Sequence], send: Callable[[list[Slot]], _Sent], advance: Callable[[int], object], lag: int
    ) -> Iterator[Tracked]:
        """Tracks through sequences; waits for a chunk when `lag` more have been sent."""
        if waiting and send == self._send_crops:
            size = self._engine.model.config.search_size
            crops, ones = np.zeros((self.batch, size, size, 3), np.uint8), np.ones((self.batch, 2), np.int32)
            self._engine.compile(self._engine.track_crops, crops, ones[:, 0], ones)
        queue = collections.deque(waiting)
        under_way: collections.deque[_Sent] = collections.deque()
        slots: dict[int, Slot] = {}
        self._clock.lap()
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
            # A row is free as soon as the device has its last frame, or its box where the row may halt.
            slots = {r: s for r, s in slots.items() if s.failure is None and self._known(s) < len(s.sequence)}
            yield from self._clock.hand_out(ended)

    def _begin(self, row: int, sequence: Sequence) -> Slot:
        """A slot with its first frame done: the engine has the template."""
        slot = Slot.of(row, sequence)
        try:
            frame, box = slot.first()
            slot.size = frame.shape[:2]
            drawn = sequence.read_crop is not None
            read_crop = functools.partial(slot.read_crop, 0) if drawn else functools.partial(crop_host, frame)
            view = programs.first_view(box, self._engine.model.config.template_size, read_crop)
        except (UserError, OSError) as error:
            slot.fail(error, 0)
            return slot
        self._engine.begin_row(row, view)
        self._read_ahead(slot)
        slot.seconds[0] = self._clock.lap()
        return slot

    def _send_frames(self, slots: list[Slot]) -> _Sent:
        """Sends the next frames of every slot."""
        frames: list[list[np.ndarray | None]] = [[] for _ in range(self.batch)]
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
                steps[k].append((slot, slot.sent + k, slot.halts))
        steps = [step for step in steps if step]
        going = [slot for slot in slots if slot.failure is None]
        reached = self._reached(going) if self._engine.sends_patches else None
        resumes = np.zeros(self.batch, bool)
        for slot in going:
            resumes[slot.row], slot.again = slot.again, False
            slot.sent += len(slot.ahead)
            self._read_ahead(slot)
        if not steps:
            return [], None
        columns = [row + [None] * (self.chunk - len(row)) for row in frames]
        compiling = self.seconds_compiling
        answers = self._engine.track_chunk(list(zip(*columns, strict=True)), reached, resumes, self._filling)
        self._clock.leave_out(self.seconds_compiling - compiling)
        answers.copy_to_host_async()
        return steps, answers

    def _reached(self, slots: list[Slot]) -> np.ndarray:
        """What goes up of the next frames of every slot: `[C, B, 4]` of `reach`, NaN where it is all."""
        recent = np.full((self.batch, RECENT, 4), np.nan)
        ahead = np.ones((self.chunk, self.batch), int)
        for slot in slots:
            if not slot.again:
                last = slot.boxes[max(slot.done - RECENT, 0) : slot.done]
                recent[slot.row, -len(last) :] = last
                ahead[:, slot.row] = slot.sent - slot.done + np.arange(1, self.chunk + 1)
        return reach(recent, ahead)

    def _known(self, slot: Slot) -> int:
        """Frames of a slot that will not be asked for again."""
        return slot.done if self._engine.sends_patches and slot.sequence.read_crop is None else slot.sent

    def _send_crops(self, slots: list[Slot]) -> _Sent:
        """Sends the next crop of every slot, as its sequence draws it."""
        size = self._engine.model.config.search_size
        crops, sides = np.zeros((self.batch, size, size, 3), np.uint8), np.full(self.batch, size, np.int32)
        sizes = np.ones((self.batch, 2), np.int32)

        def draw(slot: Slot) -> tuple[np.ndarray, float] | None:
            try:
                return slot.read_crop(slot.sent, slot.boxes[slot.sent - 1], SEARCH_FACTOR, size)
            except (UserError, OSError) as error:
                slot.fail(error, slot.sent)
                return None

        step = []
        for slot, drawn in zip(slots, list(self._pool.map(draw, slots)), strict=True):
            if drawn is not None:
                crops[slot.row], sides[slot.row], sizes[slot.row] = drawn[0], round(size / drawn[1]), slot.size
                step.append((slot, slot.sent, slot.halts))
                slot.sent += 1
        if not step:
            return [], None
        return [step], self._engine.track_crops(crops, sides, sizes)[None]

    def _settle(self, steps: list[_Step], answers: jax.Array, advance: Callable[[int], object]) -> list[Slot]:
        """Waits for the device and writes down the boxes. Returns the slots that end with them."""
        answers, ended = jax.device_get(answers), []
        halted = lambda k, slot: slot.sequence.read_crop is None and answers[k, slot.row, programs.MOVED] == 0
        moved = sum(not halted(k, slot) for k, step in enumerate(steps) for slot, *_ in step)
        share = self._clock.lap() / moved if moved else 0.0
        for k, (step, answer) in enumerate(zip(steps, answers, strict=False)):
            for slot, index, halts in step:
                if slot.failure is not None or slot.halts > halts:
                    continue
                if halted(k, slot):
                    self._go_back(slot)
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
        advance(moved)
        return ended

    def _go_back(self, slot: Slot) -> None:
        """Sends a halted row's frames again, from the first that has no box."""
        slot.halts, slot.sent, slot.again = slot.halts + 1, slot.done, True
        self.halts += 1
        for reading in slot.ahead:
            reading.cancel()
        self._read_ahead(slot)

    def _renew(self, slot: Slot, index: int, answer: np.ndarray) -> None:
        """Replaces the template of a sequence that draws its crops; the device replaces the others'."""
        rule = self._engine.update_rule
        if rule is not None and rule.due(index, answer[programs.RESPONSE]):
            read_crop = functools.partial(slot.read_crop, index)
            view = programs.template_view(slot.boxes[index], self._engine.model.config.template_size, read_crop)
            self._engine.renew_template(slot.row, view)

    def _read_ahead(self, slot: Slot) -> None:
        if slot.sequence.read_crop is None:
            following = range(slot.sent, min(slot.sent + self.chunk, len(slot.sequence)))
            slot.ahead = [self._pool.submit(slot.sequence.read_frame, index) for index in following]
