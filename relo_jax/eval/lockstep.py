"""Many sequences in lockstep: one batch on the device, one slot a sequence, a waiting sequence in every slot that ends.

A network of this size leaves an accelerator idle with one crop at a time. So B sequences advance together: crops are
cut on the host, go over as one uint8 `[B, S, S, 3]`, and `tracker.step` looks at all of them. The batch never changes
its shape, so nothing is compiled twice: when a sequence ends, the next one's state is written into its row; rows
without a sequence look at black and nobody reads what they say. Rows do not mix: each box is the one that `Tracker`
gives.
"""

import collections
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np

from relo_jax import tracker
from relo_jax.boxes import clip_box_xywh
from relo_jax.crop import box_from_crop, box_to_crop_norm, crop_host
from relo_jax.data.clips import SEARCH_FACTOR, TEMPLATE_FACTOR
from relo_jax.errors import UserError

# On which axis the batch lies, field by field.
_BATCH_AXES = tracker.State(templates=0, tokens=1, first=0, window=0)
# Compiled once a model, whatever its weights: a second evaluation, of another checkpoint, starts at once.
_first = jax.jit(tracker.init_state, static_argnames=("model", "window_power"))
_step = jax.jit(tracker.step, static_argnums=0, donate_argnums=2)


@dataclass(frozen=True)
class Tracked:
    """A sequence that came to its end, or failed.

    boxes_xywh: float64 [F, 4], the first as given. seconds: [F], what each frame took: its share of the wall time of
    the step it was part of. failure: why there are neither, None when all went well.
    """

    sequence: object
    boxes_xywh: np.ndarray | None = None
    seconds: np.ndarray | None = None
    failure: str | None = None


@dataclass(eq=False)
class _Slot:
    """A sequence on its way."""

    row: int  # of the batch
    sequence: object
    boxes: np.ndarray  # [F, 4], filled as it goes
    seconds: np.ndarray  # [F]
    index: int = 0  # the frame that is looked at next
    frame: np.ndarray | None = None  # the last one that was read; of a sequence with `read_crop`, the first
    ahead: object = None  # the next one, being read while the device works
    failure: str | None = None

    @property
    def over(self):
        return self.failure is not None or self.index == len(self.sequence)

    def show(self, frame):
        tracker.check_frame(frame)
        self.frame = frame

    def crop(self, index, box_xywh, factor, size):
        if self.sequence.read_crop is not None:
            return self.sequence.read_crop(index, box_xywh, factor, size)
        return crop_host(self.frame, box_xywh, factor, size)

    def fail(self, why, index=None):
        self.failure = f"frame {self.index if index is None else index}: {why}"

    def tracked(self):
        if self.failure is not None:
            return Tracked(self.sequence, failure=self.failure)
        return Tracked(self.sequence, self.boxes, self.seconds)


class Lockstep:
    """A batch of trackers of one model.

    Args:
      model: `RELO`.
      variables: its variables.
      options: as for `Tracker`.
      batch: B, sequences at a time.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model, variables, options=None, batch=8):
        self.model, self.options, self.batch = model, tracker.checked_options(options or {}, model), batch
        self._device = jax.local_devices()[0]
        self._variables = self._put(variables)
        self._warm_up()

    def run(self, sequences, advance=lambda frames: None):
        """Tracks through sequences, longest first, so that the slots end at about the same time.

        Args:
          sequences: of `relo_jax.data.sequence.Sequence`, any number.
          advance: called with how many frames were done since the last call.

        Yields:
          Tracked, one a sequence, as they end. One that fails (a frame that cannot be read) does not stop the others.
        """
        waiting, slots = collections.deque(sorted(sequences, key=len, reverse=True)), {}
        with ThreadPoolExecutor(min(self.batch, os.cpu_count() or 1)) as self._pool:
            while waiting or slots:
                for row in [row for row in range(self.batch) if row not in slots][: len(waiting)]:
                    slots[row] = self._begin(row, waiting.popleft())
                    advance(1)
                advance(self._look([slot for slot in slots.values() if not slot.over]))
                for slot in [slot for slot in slots.values() if slot.over]:
                    del slots[slot.row]
                    yield slot.tracked()

    def _begin(self, row, sequence):
        """A slot with its first frame done: the template is in the state."""
        start = time.perf_counter()
        slot = _Slot(row, sequence, np.tile(sequence.boxes_xywh[0], (len(sequence), 1)), np.zeros(len(sequence)))
        try:
            slot.show(sequence.read_frame(0))
            template = self._template(slot, tracker.check_box(slot.boxes[0], slot.frame))
        except (UserError, OSError) as error:
            slot.fail(error)
            return slot
        state = _first(self.model, self._variables, *self._put(template), self.options["window_power"])
        self._state = _write_row(self._state, state, row)
        slot.index = 1
        self._read_ahead(slot)
        slot.seconds[0] = time.perf_counter() - start
        return slot

    def _look(self, slots):
        """One frame of every slot. Returns how many frames were done."""
        start = time.perf_counter()
        views = list(self._pool.map(self._view, slots))
        seen = [(slot, *view) for slot, view in zip(slots, views, strict=True) if view is not None]
        if not seen:
            return 0
        size = self.model.search_size
        crops = np.zeros((self.batch, size, size, 3), np.uint8)
        for slot, crop, _ in seen:
            crops[slot.row] = crop
        self._state, out = _step(self.model, self._variables, self._state, self._put(crops))
        for slot, _, _ in seen:  # while the device works
            slot.index += 1
            self._read_ahead(slot)
        out = jax.device_get(out)
        for slot, _, resize_factor in seen:
            self._settle(slot, out.box_cxcywh_norm[slot.row], resize_factor, out.response[slot.row])
        for slot, _, _ in seen:
            slot.seconds[slot.index - 1] = (time.perf_counter() - start) / len(seen)
        return len(seen)

    def _view(self, slot):
        """The search crop of a slot's frame and its resize factor; None where the frame cannot be had."""
        try:
            if slot.ahead is not None:
                slot.show(slot.ahead.result())
            return slot.crop(slot.index, slot.boxes[slot.index - 1], SEARCH_FACTOR, self.model.search_size)
        except (UserError, OSError) as error:
            slot.fail(error)
            return None

    def _read_ahead(self, slot):
        if slot.sequence.read_crop is None and not slot.over:
            slot.ahead = self._pool.submit(slot.sequence.read_frame, slot.index)

    def _settle(self, slot, box_cxcywh_norm, resize_factor, response):
        """Writes down the box of the frame just seen, and gives the network a new template where it is time to."""
        seen, interval = slot.index - 1, self.options["update_interval"]
        last = slot.boxes[seen - 1]
        box = box_from_crop(box_cxcywh_norm.astype(np.float64), last, resize_factor, self.model.search_size)
        if not np.isfinite(box).all():
            slot.fail("the network's box is not finite: are the weights?", seen)
            return
        slot.boxes[seen] = clip_box_xywh(box, *slot.frame.shape[:2])
        if interval and seen % interval == 0 and response > self.options["update_threshold"]:
            template = self._put(self._template(slot, slot.boxes[seen], seen))
            self._state = _renew_row(self.model, self._variables, self._state, slot.row, *template)

    def _template(self, slot, box, index=0):
        size = self.model.template_size
        crop, resize_factor = slot.crop(index, box, TEMPLATE_FACTOR, size)
        return crop[None], box_to_crop_norm(box, box, resize_factor, size)[None].astype(np.float32)

    def _put(self, arrays):
        return jax.device_put(arrays, self._device)

    def _warm_up(self):
        """Makes the state, and compiles everything: no frame of a sequence waits for it."""
        size, template_size = self.model.search_size, self.model.template_size
        template = self._put((np.zeros((1, template_size, template_size, 3), np.uint8), np.zeros((1, 4), np.float32)))
        one = _first(self.model, self._variables, *template, self.options["window_power"])
        repeat = lambda x, axis: jax.numpy.repeat(x, self.batch, axis)
        self._state = self._put(jax.tree.map(repeat, one, _BATCH_AXES))
        crops = np.zeros((self.batch, size, size, 3), np.uint8)
        for _ in range(2):
            self._state, out = _step(self.model, self._variables, self._state, self._put(crops))
            self._state = _write_row(self._state, one, 0)
        if self.options["update_interval"]:
            self._state = _renew_row(self.model, self._variables, self._state, 0, *template)
        jax.block_until_ready((self._state, out))


@functools.partial(jax.jit, donate_argnums=0)
def _write_row(state, one, row):
    """State of B with a state of 1 in a row."""
    put = lambda x, y, axis: jax.lax.dynamic_update_slice_in_dim(x, y, row, axis)
    return jax.tree.map(put, state, one, _BATCH_AXES)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _renew_row(model, variables, state, row, template_crops, template_boxes_xywh_norm):
    """`tracker.replace_template` for one row."""
    one = jax.tree.map(lambda x, axis: jax.lax.dynamic_slice_in_dim(x, row, 1, axis), state, _BATCH_AXES)
    one = tracker.replace_template(model, variables, one, template_crops, template_boxes_xywh_norm)
    return _write_row(state, one, row)
