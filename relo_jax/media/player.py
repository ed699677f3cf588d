"""A video file that a notebook plays."""

import base64
import html
import os
import shutil
import tempfile
import weakref
from fractions import Fraction
from pathlib import Path

import av

from relo_jax.errors import UserError
from relo_jax.files import atomic_write

LARGEST_INLINE = 16 * 2**20  # bytes in a notebook's file; a larger video is linked


class Video:
    """A video file. A notebook plays it where it is the last value of a cell.

    Args:
      path: of the file.
      folder: deleted with this object, or at the end of the process; None: nothing is.

    Attributes:
      path: of the file.
      frames: how many there are.
      size: width and height, pixels.
      rate: frames a second.
    """

    def __init__(self, path: str | Path, folder: str | Path | None = None):
        self.path = Path(path)
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            self.frames: int = stream.frames
            self.size: tuple[int, int] = (stream.width, stream.height)
            self.rate: Fraction = stream.average_rate or Fraction(0)
            self._is_playable = stream.codec_context.name == "h264"
        if folder is not None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def __repr__(self) -> str:
        return f"Video({str(self.path)!r}: {self._about()})"

    def save(self, path: str | Path) -> Path:
        """Copies the file.

        Args:
          path: where to; with the same suffix. A file that is there is replaced.

        Raises:
          UserError: another suffix, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != self.path.suffix:
            raise UserError(f"{path}: the video is {self.path.suffix[1:].upper()}: give a name that ends in .mp4")
        with atomic_write(path) as temporary:
            shutil.copyfile(self.path, temporary)
        return path

    def _repr_html_(self) -> str:
        """The video inside the page; a link to it if it is large or browsers cannot play it."""
        large = self.path.stat().st_size > LARGEST_INLINE
        if large or not self._is_playable:
            why = "is too large for a notebook" if large else "has a codec that browsers do not play"
            link = html.escape(os.path.relpath(self.path), quote=True)
            return f'<a href="{link}">{link}</a> ({self._about()}) {why}: <code>.save("out.mp4")</code> copies it'
        data = base64.b64encode(self.path.read_bytes()).decode()
        return (
            f'<video controls autoplay loop muted playsinline width="{self.size[0]}" style="max-width: 100%">'
            f'<source type="video/mp4" src="data:video/mp4;base64,{data}"></video>'
        )

    def _about(self) -> str:
        width, height = self.size
        size = self.path.stat().st_size / 1e6
        return f"{self.frames} frames, {width} x {height} pixels, {float(self.rate):g} frames/s, {size:.1f} MB"


def temporary_path() -> tuple[Path, Path]:
    """A name for a video in a new folder, and that folder, which is for the `Video` to delete."""
    folder = Path(tempfile.mkdtemp(prefix="relo_"))
    return folder / "video.mp4", folder
