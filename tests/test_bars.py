"""Bars are redrawn often where somebody watches."""

import io
import sys
import threading
from types import SimpleNamespace

from relo_jax import bars


def test_a_log_file_has_few_drawings_and_a_notebook_many(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(config={})))
    assert bars.redraw_interval() == 30
    kernel = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    assert bars.redraw_interval() < 1


def test_a_long_compilation_is_announced_and_a_short_one_is_not(monkeypatch, capsys):
    with bars.compiling("the tracker"):
        pass
    assert capsys.readouterr().err == ""
    said = threading.Event()
    monkeypatch.setattr(bars, "_PATIENCE", 0.0)
    monkeypatch.setattr(bars.tqdm, "write", lambda text, file: (print(text, file=sys.stderr), said.set()))
    with bars.compiling("the tracker"):
        assert said.wait(30)
    assert capsys.readouterr().err.startswith("compiling the tracker: this takes longest the first time on a machine")
