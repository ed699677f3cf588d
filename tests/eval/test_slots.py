"""What slots say of time: frames take theirs, and nobody else's."""

import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.eval import slots


def test_what_the_caller_does_with_results_and_compilation_are_part_of_no_lap(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(slots.time, "perf_counter", lambda: now[0])
    clock, sequence = slots.Clock(), Sequence("walk", np.ones((2, 4)), None, None)
    clock.lap()
    now[0] += 3
    assert clock.lap() == 3
    for tracked in clock.hand_out([slots.Slot.of(row, sequence) for row in range(2)]):
        assert tracked.sequence is sequence
        now[0] += 50
    now[0] += 7
    clock.leave_out(5)
    assert clock.lap() == 2
    now[0] += 1
    assert not [*clock.hand_out([])] and clock.lap() == 1
