"""A folder of sequences: `<name>/img/*.jpg` and `<name>/groundtruth.txt`, as the field hands its benchmarks around.

Also read: `groundtruth_rect.txt`, images beside the text file, png, bmp, webp and tiff, commas, tabs, blanks or
semicolons. A line is x,y,w,h or the four corners of a polygon, which becomes its bounding box. Images are decoded when
asked for.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import DatasetLayout, Entry, Problem, list_folders, list_frames, record
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.media.images import IMAGE_SUFFIXES, decode, list_images, read_bytes

TEXT_NAMES = ("groundtruth.txt", "groundtruth_rect.txt")
HELD_OUT_EVERY = 10


def read_sequence(folder: str | Path, *, one_based: bool = False, cache: int = 16) -> Sequence:
    """One sequence. A frame whose box is NaN or has no area is not visible (training leaves it out, evaluation counts
    it by its rules, and no flag hides it); `cache` decoded frames are kept.

    Raises:
      UserError: no annotation, no images, boxes and frames that differ in number, a first box that cannot be tracked.
    """
    folder = Path(folder)
    text = _annotation(folder)
    if text is None:
        raise UserError(f"{folder}: has no {' or '.join(TEXT_NAMES)}")
    boxes, images = read_boxes(text, one_based=one_based), list_images(folder)
    if not images:
        raise UserError(f"{folder}: has no images ({', '.join(sorted(IMAGE_SUFFIXES))}), in img or beside {text.name}")
    if len(images) != len(boxes):
        raise UserError(f"{text}: has {len(boxes)} boxes for {len(images)} frames: extract the sequence again")
    with np.errstate(invalid="ignore"):
        visible = (boxes[:, 2:] > 0).all(1)
    if not visible[0]:
        raise UserError(f"{text}, line 1: the first box {boxes[0].tolist()} has no area, and tracking starts from it")

    files = _Files(tuple(map(str, images)), cache)
    return Sequence(
        folder.name, boxes, visible, files.frame,
        read_encoded=files.encoded, where=files.where, shown=np.ones(len(boxes), bool),
    )  # fmt: skip


class _Files:
    """The images of a sequence by number; the last few that were decoded are kept, and stay in their process."""

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
        image.flags.writeable = False  # shared by all who ask for this frame
        return image


@dataclass(frozen=True)
class SequenceFolder:
    """The sequences of a folder, in the order of their names; clips draw from them at random."""

    sequences: tuple[Sequence, ...]
    each_once = False

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequences[index]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [sequences], frames of each."""
        return np.array([len(s) for s in self.sequences])

    @property
    def visible_counts(self) -> np.ndarray:
        """int64 [sequences], visible frames of each."""
        return np.array([np.count_nonzero(s.visible) for s in self.sequences])

    @property
    def stills(self) -> np.ndarray:
        """bool [sequences], whether it is one image that stands for a video."""
        return np.array([s.still for s in self.sequences], bool)

    def split(self, train: bool) -> SequenceFolder:
        """The sequences to train on, or the held-out ones: every tenth; all for both where there are fewer than ten."""
        if len(self.sequences) < HELD_OUT_EVERY:
            return self
        chosen = (s for k, s in enumerate(self.sequences) if (k % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) != train)
        return SequenceFolder(tuple(chosen))


def read_folder(root: str | Path, *, one_based: bool = False, cache: int = 16) -> SequenceFolder:
    """All sequences under `root` (or `root` itself, if it is one): every folder with an annotation file.
    `cache` decoded frames of each are kept. Folders with frames and without an annotation are told of on stderr.

    Raises:
      UserError: no such folder, or it cannot be read; none with an annotation; or what `read_sequence` raises.
    """
    root = Path(root)
    try:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder of sequences")
        below = [] if _annotation(root) else sorted(p for p in root.iterdir() if p.is_dir())
        folders = [p for p in below or [root] if _annotation(p)]
        without = [p for p in below if p not in folders and _frames(p)]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}): see to its permissions") from None
    names = " or ".join(TEXT_NAMES)
    if not folders:
        raise UserError(f"{root}: no sequence in it (folders with {names})")
    for folder in without:
        tqdm.write(f"left out: {folder}: has frames and no {names}", file=sys.stderr)
    return SequenceFolder(tuple(read_sequence(p, one_based=one_based, cache=cache) for p in folders))


def _annotation(folder: Path) -> Path | None:
    return next((folder / name for name in TEXT_NAMES if (folder / name).is_file()), None)


def _frames(folder: Path) -> list[str]:
    return list_frames(folder / "img" if (folder / "img").is_dir() else folder)


def _entries(root: Path, split: str) -> list[Entry]:
    entries, annotated = [], False
    for name in ("", *list_folders(root)):
        text = _annotation(root / name)
        if text or name and _frames(root / name):  # what lacks its text is a problem to be told of
            annotated |= text is not None
            images = Path(name, "img") if (root / name / "img").is_dir() else Path(name)
            text = Path(name, text.name if text else TEXT_NAMES[0])
            entries.append(Entry(name or root.name, (str(text), str(images))))
        if name == "" and text:
            break  # it is one sequence itself
    if not annotated:
        raise LAYOUT.not_found(root, f"sequence in it (folders with {' or '.join(TEXT_NAMES)})")
    return entries


def _read(root: Path, entry: Entry):
    text, images = entry.files
    found = record(entry.name, images, list_frames(root / images), read_boxes(root / text), text=text)
    if found.visible.any() and not found.visible[0]:
        detail = f"the first box {found.boxes_xywh[0].tolist()} has no area, and tracking starts from it"
        found.problems.append(Problem("no first box", text, detail))
    yield found


# The same folders as a dataset whose sequences may be broken, for `relo data check`.
LAYOUT = DatasetLayout(
    name="folder",
    title="Folder",
    folders=(),
    splits={"all": None},
    layout="<name>/{groundtruth.txt, img/00000001.jpg}",
    entries=_entries,
    read=_read,
)
