"""Processes that are asked to end, some or all of them at any moment, end after the same step."""

import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relo_jax.train.last_step import LastStep


class Processes:
    """Processes that take steps, and whose messages arrive in order, at moments that the test chooses."""

    def __init__(self, count, done=0):
        self.channels = {(i, j): deque() for i in range(count) for j in range(count) if 0 in (i, j) and i != j}
        self.all = [
            LastStep(count, i, lambda to, *message, i=i: self.channels[i, to].append(message)) for i in range(count)
        ]
        self.steps = [done] * count  # that the run has done before
        self.ends = [None] * count

    def advance(self, index):
        """Another step of a process, unless it would wait."""
        if not self.all[index]._is_held and self.ends[index] is None:
            self.steps[index] += 1
            if self.all[index].is_reached(self.steps[index]):
                self.ends[index] = self.steps[index]

    def deliver(self, *channel):
        if self.channels[channel]:
            self.all[channel[1]].hear(channel[0], *self.channels[channel].popleft())

    def deliver_all(self):
        while any(self.channels.values()):
            for channel in self.channels:
                self.deliver(*channel)


@given(st.data())
def test_all_end_after_the_same_step_whatever_comes_when(data):
    count, done = data.draw(st.integers(2, 4)), data.draw(st.sampled_from([0, 40]))
    run, asked = Processes(count, done), False
    happens = st.one_of(
        st.tuples(st.sampled_from(["advance", "ask"]), st.integers(0, count - 1)),
        st.tuples(st.just("deliver"), st.sampled_from(sorted(run.channels))),
    )
    for what, where in data.draw(st.lists(happens, max_size=60)):
        if what == "advance":
            run.advance(where)
        elif what == "ask":
            run.all[where].ask()
            asked = True
        else:
            run.deliver(*where)
    run.deliver_all()
    furthest = max(run.steps)
    for _ in range(furthest + 2):
        for index in range(count):
            run.advance(index)
    if asked:
        assert len(set(run.ends)) == 1 and run.ends[0] <= furthest + 1
    else:
        assert run.ends == [None] * count


def test_a_process_that_has_done_its_last_step_is_not_waited_for():
    run = Processes(3)
    for index in range(3):
        run.advance(index)
    run.all[0].leave(2)
    run.all[1].ask()
    run.channels.pop((0, 2))
    run.all[0]._say = lambda to, *message: to != 2 and run.channels[0, to].append(message)
    run.deliver_all()
    for index in range(2):
        run.advance(index)
    assert run.ends == [2, 2, None]


@pytest.mark.parametrize("asked, other", [(0, 1), (1, 0)])
def test_a_process_that_comes_after_the_question_is_asked_too(asked, other):
    run = Processes(2)
    run.all[asked].ask()
    run.channels[asked, other].clear()  # there was no connection yet
    run.all[asked].meet(other)
    run.deliver_all()
    run.advance(0)
    run.advance(1)
    assert run.ends == [1, 1]


@pytest.mark.parametrize("agreed", [False, True])
def test_a_step_waits_until_the_processes_agree(agreed):
    run, reached = Processes(2), threading.Event()
    run.all[0].ask()
    thread = threading.Thread(target=lambda: (run.all[0].is_reached(1), reached.set()), daemon=True)
    thread.start()
    if agreed:
        run.deliver_all()
    assert reached.wait(10 if agreed else 0.2) == agreed
    run.deliver_all()
    thread.join(10)
