"""Folders of sequences in the usual form of benchmarks: `<name>/img/*.jpg` and `<name>/groundtruth.txt`.

Also accepted: `groundtruth_rect.txt`; other capitals; images next to the text file or in one of
`images.FRAME_FOLDERS`; png, bmp, webp and tiff; commas, tabs, blanks or semicolons. A line is x,y,w,h or the four
corners of a polygon, which becomes its bounding box. Images are decoded when a frame is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.data.datasets.annotations import may_be_corners, read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, Problem, have_area
from relo_jax.data.datasets.listing import list_files, list_folders, list_frames
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.media.images import IMAGE_SUFFIXES, decode, frame_folder, list_images, read_bytes

TEXT_NAMES = ("groundtruth.txt", "groundtruth_rect.txt")
HELD_OUT_EVERY = 10
_NAMES = " or ".join(TEXT_NAMES)
_CORNERS = "its boxes look like x1,y1,x2,y2, and are read as x,y,w,h"


def read_sequence(folder: str | Path, *, one_based: bool = False, cache: int = 16) -> Sequence:
    """One sequence.

    A frame whose box is NaN or has no area is not visible: training leaves it out. Evaluation still counts it by the
    benchmark's rules, since no flag marks the target as absent.

    Args:
      one_based: boxes count pixels from 1.
      cache: number of decoded frames to keep.

    Raises:
      UserError: no annotation, no images, different numbers of boxes and frames, or a first box without an area.
    """
    folder = Path(folder)
    text = _annotation_file(folder)
    if text is None:
        raise UserError(f"{folder}: has no {_NAMES}{_nearly(folder)}")
    boxes, images = read_boxes(text, one_based=one_based), list_images(folder)
    if not images:
        raise UserError(f"{folder}: has no images ({', '.join(sorted(IMAGE_SUFFIXES))}), in img or next to {text.name}")
    if len(images) != len(boxes):
        raise UserError(f"{text}: has {len(boxes)} boxes for {len(images)} frames: write one line for each frame")
    visible = have_area(boxes)
    if not visible[0]:
        raise UserError(f"{text}, line 1: the first box {boxes[0].tolist()} has no area, and tracking starts from it")

    if may_be_corners(boxes):
        tqdm.write(f"relo: {text}: {_CORNERS}", file=sys.stderr)

    files = _ImageFiles(tuple(map(str, images)), cache)
    return Sequence(
        folder.name, boxes, visible, files.frame,
        read_encoded=files.encoded, where=files.where, shown=np.ones(len(boxes), bool),
    )  # fmt: skip


class _ImageFiles:
    """The images of a sequence by frame number. Keeps the last decoded frames, in each process for itself."""

    def __init__(self, paths: tuple[str, ...], cache: int):
        self._paths, self._cache = paths, cache
        self._decoded = lru_cache(maxsize=cache)(self._decode)

    def __getstate__(self):
        return self._paths, self._cache

    def __setstate__(self, state):
        self.__init__(*state)

    def where(self, index: int) -> str:
        return self._paths[int(index)]

    def encoded(self, index: int) -> bytes:
        return read_bytes(self.where(index))

    def frame(self, index: int) -> np.ndarray:
        return self._decoded(int(index))

    def _decode(self, index: int) -> np.ndarray:
        image = decode(self.encoded(index), self.where(index))
        image.flags.writeable = False  # every caller gets the same array
        return image


@dataclass(frozen=True)
class SequenceFolder:
    """The sequences of a folder, sorted by name; clips draw from them at random.

    left_out: a line for each folder in it that cannot be read.
    """

    sequences: tuple[Sequence, ...]
    left_out: tuple[str, ...] = ()
    each_once = False

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequences[index]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [sequences], number of frames."""
        return np.array([len(s) for s in self.sequences])

    @property
    def visible_counts(self) -> np.ndarray:
        """int64 [sequences], number of visible frames."""
        return np.array([np.count_nonzero(s.visible) for s in self.sequences])

    @property
    def stills(self) -> np.ndarray:
        """bool [sequences], whether the sequence is one image that stands for a video."""
        return np.array([s.still for s in self.sequences], bool)

    def split(self, train: bool) -> SequenceFolder:
        """The training sequences, or the held-out ones, which are every tenth. Below ten sequences, both get all."""
        if len(self.sequences) < HELD_OUT_EVERY:
            return self
        return SequenceFolder(
            tuple(s for k, s in enumerate(self.sequences) if (k % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) != train)
        )


def read_folder(root: str | Path, *, one_based: bool = False, cache: int = 16) -> SequenceFolder:
    """All sequences below `root`, or `root` itself if it is one. A sequence is a folder with an annotation file.

    Folders that cannot be read, or that have frames but no annotation, are reported on stderr and left out.

    Args:
      one_based: boxes count pixels from 1.
      cache: number of decoded frames to keep per sequence.

    Raises:
      UserError: no such folder, or it cannot be read; no sequence in it, or none that can be read.
    """
    root = Path(root)
    try:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder of sequences")
        below = [] if _annotation_file(root) else sorted(p for p in root.iterdir() if p.is_dir())
        folders = [p for p in below or [root] if _annotation_file(p)]
        without = [p for p in below if p not in folders and list_frames(frame_folder(p))]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}): check its permissions") from None
    if not folders:
        raise UserError(f"{root}: no {_sequences(root, without)}")
    sequences, left_out = [], [f"{folder}: has frames but no {_NAMES}{_nearly(folder)}" for folder in without]
    for folder in folders:
        try:
            sequences.append(read_sequence(folder, one_based=one_based, cache=cache))
        except UserError as error:
            left_out.append(str(error))
            last = error
    if not sequences:
        raise last if len(folders) == 1 else UserError(f"{root}: no sequence can be read; the last: {last}")
    for line in left_out:
        tqdm.write(f"left out: {line}", file=sys.stderr)
    return SequenceFolder(tuple(sequences), tuple(left_out))


def _annotation_file(folder: Path) -> Path | None:
    """The annotation of a sequence, whatever its capitals; None without one."""
    exact = next((folder / name for name in TEXT_NAMES if (folder / name).is_file()), None)
    if exact or not folder.is_dir():
        return exact
    by_lower = {name.lower(): folder / name for name in sorted(list_files(folder), reverse=True)}
    return next((by_lower[name] for name in TEXT_NAMES if name in by_lower and by_lower[name].is_file()), None)


def _nearly(folder: Path) -> str:
    """A hint at text files that may be the annotation."""
    texts = sorted(name for name in list_files(folder) if name.lower().endswith((".txt", ".csv")))
    return f"; is it {' or '.join(texts[:3])}? Then rename it" if texts else ""


def _sequences(root: Path, without: list[Path]) -> str:
    """What a root lacks, with a hint at the first folder that has frames but no annotation."""
    first = next((folder for folder in (root, *without) if list_frames(frame_folder(folder))), None)
    hint = f"; {first.absolute().name} has frames but neither file{_nearly(first)}" if first else ""
    return f"sequence in it (folders with {_NAMES}){hint}"


def _frames(folder: Path) -> list[str]:
    return [image.name for image in list_images(folder)]


def _entries(root: Path, split: str) -> list[Entry]:
    entries, without = [], []
    for name in ("", *list_folders(root)):
        text = _annotation_file(root / name)
        if text or name and list_frames(frame_folder(root / name)):  # frames without an annotation become a problem
            images = frame_folder(root / name).relative_to(root)
            file = Path(name, text.name if text else TEXT_NAMES[0])
            hint = () if text else (_nearly(root / name),)
            entries.append(Entry(name or root.name, (str(file), str(images)), hint))
            without += [] if text else [root / name]
        if name == "" and text:
            break  # the root itself is a sequence
    if len(without) == len(entries):
        raise LAYOUT.not_found(root, _sequences(root, without))
    return entries


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    if entry.extra:
        raise UserError(f"{root / text}: there is no such file{entry.extra[0] or ': write one line for each frame'}")
    frames, boxes = _frames(root / images), read_boxes(root / text)
    annotation = Annotation.checked(entry.name, images, frames, boxes, file=text, own=True)
    if annotation.visible.any() and not annotation.visible[0]:
        detail = f"the first box {annotation.boxes_xywh[0].tolist()} has no area, and tracking starts from it"
        annotation.problems.append(Problem("no first box", text, detail))
    if may_be_corners(boxes):
        annotation.problems.append(Problem("boxes may be corners", text, f"{_CORNERS}: convert them", fatal=False))
    yield annotation


# The same folders as a dataset whose sequences may be broken, for `relo data check`.
LAYOUT = DatasetLayout(
    name="folder",
    title="Folder",
    folders=(),
    splits={"all": None},
    expected_paths="<name>/{groundtruth.txt, img/00000001.jpg}",
    entries=_entries,
    read=_read,
)
