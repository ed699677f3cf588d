"""A box that is dragged over the first frame of a video, in a notebook: Colab, Jupyter, VS Code.

The picture is a canvas with plain JavaScript. What is dragged comes back through Colab's callbacks, or through a hidden
text field of ipywidgets; where there is neither, the numbers stand below the picture, to be copied.
"""

from __future__ import annotations

import base64
import itertools
import json
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media import video
from relo_jax.media.frames import Unreadable

Box = tuple[float, float, float, float]
_WIDEST = 800  # pixels on the page
_SCRIPT = (Path(__file__).parent / "select_box.js").read_text()


class BoxSelection:
    """The picture to drag a box in, which a notebook shows, and the box.

    Args:
      frame: uint8 `[H, W, 3]`, RGB.
      box: x, y, w, h to begin with, in pixels of the frame; None: none.
    """

    def __init__(self, frame: np.ndarray, box: Sequence[float] | None = None):
        self._frame, self._name = frame, f"relo_jax_{uuid.uuid4().hex}"
        self._box: Box | None = None if box is None else _four(box)

    @property
    def box(self) -> Box:
        """x, y, w, h in pixels of the frame: the box that was dragged last. Raises UserError if there is none yet."""
        if self._box is None:
            raise UserError("no box is selected yet: drag one over the target, or set selection.box = (x, y, w, h)")
        return self._box

    @box.setter
    def box(self, box: Sequence[float]) -> None:
        self._box = _four(box)

    def __repr__(self) -> str:
        return f"BoxSelection({self._box})"

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if "google.colab" in sys.modules:
            from google.colab import output

            output.register_callback(self._name, self._dragged)
        else:
            self._listen(display)
        display(HTML(self.page()))

    def page(self) -> str:
        """The picture as HTML."""
        height, width = self._frame.shape[:2]
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(self._frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
        settings = {
            "name": self._name,
            "image": f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}",
            "box": self._box,
        }
        return (
            f'<div id="{self._name}" style="max-width: {min(width, _WIDEST)}px; font: 13px sans-serif">'
            f'<canvas width="{width}" height="{height}" tabindex="0" aria-label="the first frame: drag a box over the '
            'target" style="display: block; width: 100%; cursor: crosshair; touch-action: none"></canvas>'
            f"<output></output></div><script>({_SCRIPT.strip()})({json.dumps(settings)});</script>"
        )

    def _listen(self, display: Any) -> None:
        """Shows a hidden text field that the script writes into, if ipywidgets is there."""
        try:
            import ipywidgets
        except ImportError:
            return
        field = ipywidgets.Text(layout=ipywidgets.Layout(display="none"), continuous_update=True)
        field.add_class(self._name)
        field.observe(lambda change: self._dragged(*json.loads(change["new"])), "value")
        display(field)

    def _dragged(self, *box: float) -> None:
        self._box = _four(box)


def select_box(source: str | Path | Iterable[np.ndarray], box: Sequence[float] | None = None) -> BoxSelection:
    """Shows the first frame of a video in a notebook, to drag a box over the target.

        selection = relo_jax.select_box("in.mp4")
        selection                                           # the last line of a cell: shows the picture
        relo_jax.render("in.mp4", selection.box)            # in the next cell

    Args:
      source: as of `relo_jax.track`.
      box: x, y, w, h to begin with, pixels.

    Raises:
      UserError: the source cannot be read, or `box` is not four numbers.
    """
    with video.open_frames(source) as frames:
        for frame in itertools.islice(frames, 1):
            if isinstance(frame, Unreadable):
                raise UserError(frame.message)
            return BoxSelection(frame, box)
        raise UserError(f"{frames.name} has no frames")


def _four(box: Sequence[float]) -> Box:
    """The numbers of a box. Raises UserError."""
    try:
        x, y, w, h = (float(value) for value in box)
    except (TypeError, ValueError):
        raise UserError(f"box is {box!r}: give four numbers x, y, w, h, in pixels") from None
    if not (w > 0 and h > 0 and np.isfinite([x, y, w, h]).all()):
        raise UserError(f"box is {box!r}: give x, y, w, h with a width and a height, in pixels")
    return x, y, w, h
