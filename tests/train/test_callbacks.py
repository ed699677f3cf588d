"""Live curves: drawn in place, seldom, and complete at the end."""

import sys
from types import SimpleNamespace

import pytest

from relo_jax.train import callbacks


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
