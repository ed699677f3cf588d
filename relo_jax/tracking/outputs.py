"""The files that a session of `relo track` writes."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.media.frames import Frames
from relo_jax.tracking import writers
from relo_jax.tracking.box_files.formats import format_of
from relo_jax.tracking.journey import Target


@dataclass(frozen=True)
class Outputs:
    """Files that a session writes; None: not this one.

    Attributes:
      save: video with the boxes and scores drawn.
      json: boxes, scores and counters: one object, or a line a frame if the name ends in .jsonl or is "-", the standard
        output.
      txt: a line `x,y,w,h` a frame; a file each for several targets, see `writers.text_paths`.
      boxes: files of boxes for other tools, see `box_files`.
      box_format: of `boxes`; None: by their suffixes.
    """

    save: str | Path | None = None
    json: str | Path | None = None
    txt: str | Path | None = None
    boxes: Sequence[str | Path] = ()
    box_format: str | None = None

    def paths(self, count: int) -> list[Path]:
        """All files, for that number of targets."""
        paths = [Path(p) for p in (self.save, self.json) if p is not None and str(p) != writers.STDOUT]
        paths += writers.text_paths(self.txt, count) if self.txt is not None else []
        return paths + [Path(path) for path in self.boxes]

    def check(self, inputs: Sequence[object], count: int) -> None:
        """Raises UserError where two files, or a file and one that is read, are the same; or a format is unknown."""
        paths = self.paths(count)
        for path in paths:
            others = [other for other in paths if other is not path] + [Path(str(source)) for source in inputs]
            if path.resolve() in [other.resolve() for other in others]:
                raise UserError(f"{path} is used twice: give every output a file of its own")
        for file in self.boxes:
            format_of(file, self.box_format)

    @contextlib.contextmanager
    def open(
        self, frames: Frames, targets: Sequence[Target], checkpoint: str | Path, count: int | None = None
    ) -> Iterator[list[writers.Writer]]:
        """The writers; their files are finished when the block ends well, and gone when it fails.

        Args:
          frames: that are going to be written.
          targets: in the order of the results.
          checkpoint: its name, for the JSON.
          count: number of frames of the film, if only a part of it is written.
        """
        with contextlib.ExitStack() as files:
            opened = []
            if self.txt is not None:
                opened.append(writers.text_writer(files, self.txt, len(targets)))
            if self.json is not None and writers.is_lines(self.json):
                opened.append(writers.json_lines_writer(files, self.json))
            elif self.json is not None:
                opened.append(writers.json_writer(files, self.json, frames, checkpoint))
            for file in self.boxes:
                opened.append(writers.box_writer(files, file, self.box_format, targets, count))
            if self.save is not None:
                opened.append(writers.video_writer(files, self.save, frames))
            yield opened
