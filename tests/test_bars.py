"""Bars are redrawn often where somebody watches."""

import io
import sys
from types import SimpleNamespace

from relo_jax import bars


def test_a_log_file_has_few_drawings_and_a_notebook_many(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(config={})))
    assert bars.redraw_interval() == 30
    kernel = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    assert bars.redraw_interval() < 1
