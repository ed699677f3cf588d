"""Progress bars: widgets in a notebook that has ipywidgets, text everywhere else."""

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without ipywidgets, tqdm warns in a notebook, and draws text
    from tqdm.auto import tqdm

__all__ = ["compiling", "progress", "redraw_interval", "tqdm"]
_PATIENCE = 3.0  # seconds until a line says that something is compiled


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter, Colab, nbclient)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def redraw_interval() -> float:
    """Seconds between two drawings of a bar: few where somebody watches, many in a log file."""
    return 0.5 if sys.stderr.isatty() or in_notebook() else 30


def progress(total: int, what: str, unit: str, *, initial: int = 0, delay: float = 0) -> tqdm:
    """A bar for a `with` statement; its `update` advances it.

    Args:
      total: number of units.
      what: description before the bar.
      unit: plural, such as "frames".
      initial: units done before.
      delay: seconds before the bar appears.
    """
    return tqdm(
        desc=what, unit=f" {unit}", total=total, initial=initial, delay=delay, dynamic_ncols=True,
        mininterval=redraw_interval(),
    )  # fmt: skip


@contextlib.contextmanager
def compiling(what: str, said: threading.Event | None = None) -> Iterator[None]:
    """Says on stderr that something is compiled, if that takes longer than a few seconds.

    Args:
      what: is compiled.
      said: set when that was said, and then not again; for programs that are compiled one after the other.
    """
    said = said or threading.Event()

    def say() -> None:
        if not said.is_set():
            said.set()
            text = f"compiling {what}: this takes longest the first time on a machine, up to a few minutes on few cores"
            tqdm.write(text, file=sys.stderr)

    timer = threading.Timer(_PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
