"""Figures: the style of every plot, its files, and how a notebook shows it.

The colours are Okabe and Ito's, which colour-blind readers can tell apart. Nothing here needs a display, and pyplot
never sees a figure, so that a notebook shows it once.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from matplotlib import rc_context
from matplotlib.figure import Figure as MatplotlibFigure

from relo_jax.files import atomic_write

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE: Any = {  # of matplotlib's rc parameters
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "relo_jax",
    "text.parse_math": False,  # a tracker's name may contain $
}
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same picture is the same file

Target = str | Path | Sequence[str | Path] | BinaryIO | None  # None: no file


class Figure(MatplotlibFigure):
    """Matplotlib's figure, which a notebook shows even where pyplot was never imported."""

    def _repr_png_(self) -> tuple[bytes, dict]:
        """The picture, at half its pixels' size: sharp on fine screens."""
        buffer = io.BytesIO()
        save(self, buffer)
        width, height = self.get_size_inches() * self.dpi / 2
        return buffer.getvalue(), {"width": round(width), "height": round(height)}


def save(figure: Figure, target: Target) -> Figure:
    """Writes a figure to a file in the format of its suffix, to each of several files, or as PNG to a file object.

    Returns:
      the figure.

    Raises:
      UserError: cannot be written.
    """
    with warnings.catch_warnings():
        # Names in a script that the font lacks show as boxes here; the tables have them right.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        for one in target if isinstance(target, list | tuple) else [target]:
            _save(figure, one)
    return figure


def _save(figure, target):
    if isinstance(target, str | Path):
        with atomic_write(target) as file:
            kind = Path(target).suffix[1:]
            figure.savefig(file, format=kind, metadata=_UNDATED.get(kind))
    elif target is not None:
        figure.savefig(cast(BinaryIO, target), format="png")


def as_png(draw: Callable, *args: object) -> bytes:
    """The picture that a function of this module draws, as a PNG."""
    buffer = io.BytesIO()
    draw(buffer, *args)
    return buffer.getvalue()


def as_svg(figure: Figure) -> bytes:
    """A figure as an SVG."""
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata=_UNDATED["svg"])
    return buffer.getvalue()


def as_img(draw: Callable, *, width: int) -> str:
    """The picture that `draw(file)` draws, as HTML of a width in pixels with the picture inside."""
    return f'<img width="{width}" src="data:image/png;base64,{base64.b64encode(as_png(draw)).decode()}">'


def in_every_format(stem: Path | str, draw: Callable, *args: object) -> bytes:
    """Writes the picture of a function as `<stem>.svg`, `.pdf` and `.png`; returns the bytes of the SVG."""
    files = [Path(f"{stem}.{kind}") for kind in ("svg", "pdf", "png")]
    draw(files, *args)
    return files[0].read_bytes()
