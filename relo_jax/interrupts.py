"""Ctrl-C while XLA compiles: Python cannot act on it there, so another thread compiles, and this one stops waiting."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")
_POLL = 0.05  # seconds
_left: list[threading.Thread] = []  # threads that nobody waits for any more
_STATUS = 130  # exit status after Ctrl-C


class Stopped(Exception):
    """Somebody asked to stop before the work was done."""


def wait_for(work: Callable[[], _Value], is_stopped: Callable[[], bool]) -> _Value:
    """The value of `work()`, which runs in another thread.

    Work that nobody waits for any more goes on, as a compiler cannot be stopped, and its value is dropped: it must not
    write anything.

    Args:
      work: pure, as a compilation. It begins without the caller's context managers of JAX (`set_mesh`).
      is_stopped: asked several times a second.

    Raises:
      Stopped: `is_stopped` became true first.
      whatever `work` raises.
    """
    values: list[_Value] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            values.append(work())
        except BaseException as error:
            errors.append(error)
        done.set()

    thread = threading.Thread(target=run, name="relo_jax compiles", daemon=True)
    try:
        thread.start()
        while not done.wait(_POLL):
            if is_stopped():
                raise Stopped
    except BaseException:
        _left.append(thread)
        raise
    if errors:
        raise errors[0]
    return values[0]


def leave(status: int = _STATUS) -> None:
    """Ends the process at once if a thread still compiles; otherwise does nothing.

    Python would end under the compiler, which aborts. At the end of a process this is called by itself, after the exit
    handlers that were registered later.
    """
    if any(thread.is_alive() for thread in _left):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):  # closed
                continue
        os._exit(status)


atexit.register(leave)
