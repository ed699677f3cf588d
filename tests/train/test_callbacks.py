"""Live curves: drawn in place, seldom, and complete at the end."""

import contextlib
import sys
from types import SimpleNamespace

import pytest

from relo_jax.train import callbacks
from relo_jax.train.distributed import Stop


class Callback:
    """Records rows, and raises at one of them."""

    def __init__(self, error=None):
        self.error, self.rows, self.closed = error, [], False

    def __call__(self, row):
        self.rows.append(row)
        row["step"] += 100  # of its own copy
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed = True


@pytest.mark.parametrize("error", [None, callbacks.StopTraining(), ZeroDivisionError("mine")])
def test_a_callback_stops_a_run_and_its_own_error_comes_when_the_run_has_ended(error):
    stop, callback, row = Stop(), Callback(error), {"step": 3}
    is_its_own = isinstance(error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError, match="mine") if is_its_own else contextlib.nullcontext():
        with callbacks.Report(callback, stop) as report:
            report(None)  # of a process that logs nothing
            assert not callback.rows and not stop.now()
            report(row)
            assert callback.rows == [{"step": 103}] and row == {"step": 3} and stop.now() == (error is not None)
            if is_its_own:
                report(row)
                assert len(callback.rows) == 1  # it is not asked again
    assert callback.closed


def test_a_callback_is_closed_when_the_run_fails_or_never_steps():
    callback = Callback(ZeroDivisionError("mine"))
    with pytest.raises(KeyError), callbacks.Report(callback, Stop()) as report:
        report({"step": 3})
        raise KeyError
    assert callback.closed


@pytest.fixture
def drawn(monkeypatch):
    """What a notebook was shown: ("new" or "update", steps of the curve)."""
    shown = []
    record = lambda kind, rows: shown.append((kind, [row["step"] for row in rows]))
    handle = SimpleNamespace(update=lambda rows: record("update", rows))
    display = lambda rows, display_id: record("new", rows) or handle
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(callbacks, "in_notebook", lambda: True)
    monkeypatch.setattr(callbacks, "curves", list)  # the rows instead of their picture
    return shown


def test_live_curves_are_drawn_in_place_and_completed_at_the_end(drawn, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    live = callbacks.LiveCurves(every=2.0)
    for step, now[0] in ((1, 100.0), (2, 101.0), (3, 102.5), (4, 103.0)):
        live({"step": step})
    assert drawn == [("new", [1]), ("update", [1, 2, 3])]
    live.close()
    assert drawn[2:] == [("update", [1, 2, 3, 4])]
    now[0] = 200.0
    live({"step": 1})  # of another run
    assert drawn[3:] == [("new", [1])]


def test_live_curves_draw_nothing_outside_a_notebook(drawn, monkeypatch):
    monkeypatch.setattr(callbacks, "in_notebook", lambda: False)
    live = callbacks.LiveCurves()
    live({"step": 1})
    live.close()
    assert not drawn
