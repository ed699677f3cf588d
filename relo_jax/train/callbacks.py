"""Calls of a user's function while a run goes on, and live curves in a notebook.

relo_jax.train_and_evaluate(config, "runs/rl", callback=relo_jax.LiveCurves())
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

from relo_jax.bars import in_notebook
from relo_jax.train.distributed import Stop
from relo_jax.train.history import curves

Callback = Callable[[dict], object]
_SHARE = 0.1  # of the time, at most, for drawing


class StopTraining(Exception):
    """A callback raises it to end a run early: the state is saved, and the same call would continue from there."""


class Report:
    """Passes the rows of a run on to a callback, and stops the run if the callback says so or fails.

    Args:
      callback: see `train_and_evaluate`.
      stop: of the run.
    """

    def __init__(self, callback: Callback | None, stop: Stop):
        self._callback, self._stop = callback, stop
        self._error: Exception | None = None

    def __call__(self, row: dict | None) -> None:
        """Passes a row on; None, as of processes that log nothing, is not."""
        if row is None or self._callback is None or self._error is not None:
            return
        try:
            self._callback(dict(row))
        except StopTraining:
            self._stop.request()
        except Exception as error:
            self._error = error
            self._stop.request()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Closes the callback if it has a `close`, and raises what it raised, now that the run has ended."""
        close = getattr(self._callback, "close", None)
        if close is not None:
            close()
        if self._error is not None and kind is None:
            raise self._error


class LiveCurves:
    """A callback that draws the curves of a run in a notebook's cell, in place; elsewhere it draws nothing.

    Args:
      every: seconds between two drawings, at least. Drawing takes at most a tenth of the time.
    """

    def __init__(self, every: float = 1.0):
        self._every, self._due = every, 0.0
        self._rows: list[dict] = []
        self._display: Any = None
        self._pending = False

    def __call__(self, row: dict) -> None:
        """Adds a row of the metrics."""
        self._rows.append(row)
        self._pending = True
        if time.monotonic() >= self._due:
            self._draw()

    def close(self) -> None:
        """Draws what has not been drawn yet; the next row begins new curves."""
        if self._pending:
            self._draw()
        self._rows, self._display = [], None

    def _draw(self) -> None:
        self._pending = False
        if not in_notebook():
            return
        from IPython.display import display

        start = time.monotonic()
        figure = curves(self._rows)
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
        now = time.monotonic()
        self._due = now + max(self._every, (now - start) / _SHARE)
