"""After which step the processes of a run end together, once one of them was asked to end.

JAX's own service for this holds Python's lock while it waits for the other processes (jax 0.10.2). The relay, through
which their messages come, cannot run then, and the run hangs if several processes are asked at once, as schedulers do.
"""

import threading
from collections.abc import Callable


class LastStep:
    """One process's part in the agreement.

    Process 0 asks all for the step that they are at, which holds them there, and then names the step after the largest:
    no process has passed it. All methods but `is_reached` are for the thread of the watch.

    Args:
      count: number of processes.
      index: of this process.
      say: sends a message (a word and values) to the process of an index, if it is connected.
    """

    def __init__(self, count: int, index: int, say: Callable[..., None]):
        self._count, self._index, self._say = count, index, say
        self._is_asked = False
        self._steps: dict[int, int] = {}  # process 0's: where each process is held
        self._changed = threading.Condition()
        self._step = 0
        self._last: int | None = None
        self._is_held = False

    def is_reached(self, step: int) -> bool:
        """Whether to end after this step; waits while the processes agree. For the thread that trains."""
        with self._changed:
            self._step = step
            self._changed.wait_for(lambda: not self._is_held)
            return self._last is not None and step >= self._last  # above it: asked before a continued run's first step

    def ask(self) -> None:
        """Asks for the end, here or in process 0."""
        if self._is_asked:
            return
        self._is_asked = True
        if self._index:
            return self._say(0, "stop")
        for index in range(1, self._count):
            self._say(index, "hold")
        self._note(0, self._hold())

    def meet(self, index: int) -> None:
        """Another process is connected from now on."""
        if self._is_asked and self._last is None:
            self._say(index, "stop" if self._index else "hold")

    def leave(self, index: int) -> None:
        """Another process has done its last step."""
        self._note(index, 0)

    def hear(self, index: int, word: str, *values: int) -> None:
        """A message of another process."""
        if word == "stop":
            self.ask()
        elif word == "hold":
            self._say(0, "at", self._hold())
        elif word == "at":
            self._note(index, *values)
        elif word == "last":
            self._end_after(*values)

    def _hold(self) -> int:
        with self._changed:
            self._is_held = self._last is None
            return self._step

    def _note(self, index: int, step: int) -> None:
        self._steps[index] = step
        if self._is_asked and self._last is None and len(self._steps) == self._count:
            last = max(self._steps.values()) + 1
            for other in range(1, self._count):
                self._say(other, "last", last)
            self._end_after(last)

    def _end_after(self, step: int) -> None:
        with self._changed:
            self._last, self._is_held = step, False
            self._changed.notify_all()
