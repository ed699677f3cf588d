"""Many sequences through exported graphs: as many at a time as a graph has rows, frame by frame.

It has the interface of `Lockstep`, and the boxes of relo_track.py. Sequences that can draw their crops are given as
whole frames, as a camera would give them.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.slots import Clock, Slot, Tracked
from relo_jax.export import relo_track
from relo_jax.tracking.options import check_frame


class ExportedLockstep:
    """A batch of trackers on the graphs of one export.

    Args:
      network: the opened graphs.
      options: all options of the tracker.
      batch: sequences at a time; the graphs may have fewer rows.
    """

    def __init__(self, network: relo_track.Network, options: dict, batch: int = 8):
        self._network, self._clock = network, Clock()
        self._trackers = [relo_track.Tracker(network) for _ in range(min(batch, network.config["batch"]))]
        for tracker in self._trackers:
            tracker.options = {name: options[name] for name in relo_track.OPTIONS}

    def run(
        self, sequences: Iterable[Sequence], advance: Callable[[int], object] = lambda frames: None
    ) -> Iterator[Tracked]:
        """See `Lockstep.run`."""
        queue = collections.deque(sorted(sequences, key=len, reverse=True))
        slots: dict[int, Slot] = {}
        with ThreadPoolExecutor(len(self._trackers)) as self._pool:
            self._clock.lap()
            while queue or slots:
                begun = 0
                for row in [row for row in range(len(self._trackers)) if row not in slots][: len(queue)]:
                    slots[row], begun = self._begin(row, queue.popleft()), begun + 1
                advance(begun + self._step([slot for slot in slots.values() if not slot.over]))
                ended = [slot for slot in slots.values() if slot.over]
                slots = {row: slot for row, slot in slots.items() if not slot.over}
                yield from self._clock.hand_out(ended)

    def _begin(self, row: int, sequence: Sequence) -> Slot:
        """A slot with its first frame done."""
        slot = Slot.of(row, sequence)
        try:
            frame, box = slot.first()
            self._trackers[row].init(frame, box.tolist())
        except (UserError, OSError) as error:
            slot.fail(error, 0)
            return slot
        self._read_ahead(slot)
        slot.seconds[0] = self._clock.lap()
        return slot

    def _step(self, slots: list[Slot]) -> int:
        """The next frame of every slot. Returns how many frames were tracked."""
        going: list[tuple[Slot, np.ndarray]] = []
        for slot in slots:
            try:
                frame = slot.ahead.pop().result()
                check_frame(frame)
                going.append((slot, frame))
            except (UserError, OSError) as error:
                slot.fail(error, slot.done)
                continue
            slot.sent += 1
            self._read_ahead(slot)
        outputs = self._network.step([self._trackers[slot.row].inputs(frame) for slot, frame in going])
        for (slot, frame), output in zip(going, outputs, strict=True):
            try:
                result = self._trackers[slot.row].accept(frame, output)
            except relo_track.TrackerError as error:
                slot.fail(error, slot.done)
                continue
            slot.boxes[slot.done], slot.scores[slot.done] = result.box, result.score
        share = self._clock.lap() / max(len(going), 1)
        for slot, _ in going:
            if slot.failure is None:
                slot.seconds[slot.done] = share
                slot.done += 1
        return len(going)

    def _read_ahead(self, slot: Slot) -> None:
        if slot.sent < len(slot.sequence):
            slot.ahead.append(self._pool.submit(slot.sequence.read_frame, slot.sent))
