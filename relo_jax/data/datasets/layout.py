"""How a dataset lies on disk: where its official folders keep sequences, boxes and flags.

    LAYOUT = DatasetLayout(name="lasot", title="LaSOT", ..., entries=_entries, read=_read)

A layout module provides two functions. `entries(root, split)` lists the split's sequences; `read(root, entry)` reads
the annotation of one. The index (`index.py`) reads entries in parallel and stores what it reads. A root may hold tens
of thousands of sequences on a network disk, so `entries` lists folders and never opens or tests single files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from relo_jax.config.data_options import COCO_SMALLEST_SIDE
from relo_jax.data.datasets.listing import list_archives, list_files, list_folders
from relo_jax.errors import UserError

ENVIRONMENT = "RELO_DATA_DIR"
NO_FRAMES = "no frames"  # kind of problem: of a folder, if there is one
MISSING_PART = "missing part"  # kind of problem: a part of the dataset is missing, rather than one sequence
SMALLEST_SIDE, LARGEST_SIDE = 0.01, 1e5  # pixels, of a plausible box


@dataclass(frozen=True)
class Problem:
    """A defect of a sequence or of the dataset's root.

    Attributes:
      kind: a few words, the same for all problems of a kind.
      where: the file, relative to the root.
      detail: the value and the remedy, in one line.
      fatal: whether the sequence or image is left out.
    """

    kind: str
    where: str
    detail: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"

    def is_of_absent(self, root: Path | str) -> bool:
        """Whether it is of a sequence, or of a part of the dataset, that is listed but not there at all."""
        place = Path(root, self.where)
        return self.kind == MISSING_PART or not (place if self.kind == NO_FRAMES else place.parent).exists()


@dataclass(frozen=True)
class Entry:
    """A listed sequence, or a listed file that describes many sequences.

    Attributes:
      name: unique within the split.
      files: the annotation files and the folder of frames, relative to the root. The index is rebuilt when the size or
        time of one changes.
      extra: further values for the layout's `read`.
      problem: a defect that was found while listing. Such an entry stands for no sequence and is not read.
    """

    name: str
    files: tuple[str, ...]
    extra: tuple = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """The annotation of one sequence: its boxes and flags, and where its frames are.

    Attributes:
      folder: folder of the frames, relative to the root.
      frames: file names of the frames, in order.
      boxes_xywh: float64 [F, 4], in pixels, with 0-based corners; NaN where there is no box.
      visible, shown: bool [F], see `Sequence`.
    """

    name: str
    folder: str
    frames: list[str]
    boxes_xywh: np.ndarray
    visible: np.ndarray
    category: str | None = None
    still: bool = False
    problems: list[Problem] = field(default_factory=list)
    shown: np.ndarray | None = None

    @property
    def usable(self) -> bool:
        """Whether no problem is fatal."""
        return not any(p.fatal for p in self.problems)

    @classmethod
    def checked(
        cls,
        name: str,
        folder: str,
        frames: list[str],
        boxes_xywh: np.ndarray,
        *,
        file: str,
        absent: Mapping[str, np.ndarray] = MappingProxyType({}),
        shown: np.ndarray | None = None,
        category: str | None = None,
        first_box_only: bool = False,
        own: bool = False,
    ) -> Annotation:
        """An annotation with the checks that all datasets share: there are frames, as many as boxes, and visible boxes.

        Args:
          file: the annotation file relative to the root, for messages.
          absent: flag file relative to the root -> bool [F], frames whose target it flags as not visible. A flag in one
            file is enough.
          shown: bool [F], see `Sequence`. None: all frames without a flag in `absent`, for a dataset with flags.
          first_box_only: the split publishes only the first box; the others become NaN.
          own: the sequence is the user's own, and there is no archive to extract it from again.
        """
        problems = []
        if first_box_only and len(boxes_xywh) == 1 and len(frames) > 1:
            boxes_xywh = np.concatenate([boxes_xywh, np.full((len(frames) - 1, 4), np.nan)])
        if not frames:
            remedy = "put the frames there, or leave the sequence out" if own else "extract the sequence again"
            problems.append(Problem(NO_FRAMES, folder, f"no images in it: {remedy}"))
        elif len(frames) != len(boxes_xywh):
            remedy = "write one line for each frame" if own else "extract the sequence again"
            detail = f"{len(boxes_xywh)} boxes for {len(frames)} frames in {folder}: {remedy}"
            problems.append(Problem("boxes and frames differ", file, detail))
        visible = have_area(boxes_xywh)
        absurd = visible & ~plausible(boxes_xywh)
        if absurd.any():
            first = int(np.argmax(absurd))
            count, box = int(absurd.sum()), boxes_xywh[first].tolist()
            detail = f"{count} boxes are implausible, the first in line {first + 1}, {box}: never trained on"
            problems.append(Problem("absurd boxes", file, detail, fatal=False))
            visible &= ~absurd
        flagged = np.zeros(len(boxes_xywh), bool)
        for flag_file, flags in absent.items():
            if len(flags) == len(boxes_xywh):
                flagged |= flags
            else:
                detail = f"{len(flags)} flags for {len(boxes_xywh)} boxes: extract the annotation again"
                problems.append(Problem("flags and boxes differ", flag_file, detail))
        visible &= ~flagged
        if not visible.any():
            problems.append(Problem("target never shows", file, "no frame has a visible box: leave the sequence out"))
        without_box = np.isnan(boxes_xywh).any(1) if not first_box_only else np.zeros(0, bool)
        if without_box.any():
            first = int(np.argmax(without_box)) + 1
            detail = f"{int(without_box.sum())} boxes are NaN, the first in line {first}: never trained on"
            problems.append(Problem("NaN boxes", file, detail, fatal=False))
        shown = ~flagged if shown is None and absent else shown
        return cls(name, folder, list(frames), boxes_xywh, visible, category, problems=problems, shown=shown)


@dataclass(frozen=True)
class DatasetLayout:
    """The official layout of a dataset.

    Attributes:
      name: the name in configs and commands.
      title: the name in papers.
      folders: names that the dataset's folder may have inside a folder of datasets.
      other_folders: folders of other datasets or editions in which it may be; they are tried last.
      splits: split -> published number of sequences, None if none is published.
      expected_paths: the expected paths in one line, for messages.
      entries: (root, split) -> entries; raises a UserError with the remedy if the layout is not found.
      read: (root, entry) -> annotations, and problems of the dataset as a whole (a missing part). It raises UserError
        for an unreadable annotation, which becomes a fatal problem of the sequence.
      train: the split to train on; None for a benchmark.
      heldout: the split that is evaluated during training; None if no official split has public boxes.
      attributes: (root, name) -> names of a sequence's attributes, or None; see `attributes.py`.
      smallest_side: of photographs, pixels that width and height of an object exceed; None for videos.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    splits: dict[str, int | None]
    expected_paths: str
    entries: Callable[[Path, str], list[Entry]]
    read: Callable[[Path, Entry], Iterable[Annotation | Problem]]
    train: str | None = None
    heldout: str | None = None
    attributes: Callable[[Path, str], tuple[str, ...] | None] | None = None
    other_folders: tuple[str, ...] = ()
    smallest_side: int | None = None

    @property
    def index_name(self) -> str:
        """The name of its indices: those of objects above another size are kept beside each other."""
        usual = self.smallest_side in (None, COCO_SMALLEST_SIDE)
        return self.name if usual else f"{self.name}-above-{self.smallest_side}"

    def find_root(self, root: str | Path | None = None) -> Path:
        """The dataset's folder: a folder with one of its names inside `root`, or else `root` itself.

        Args:
          root: None for RELO_DATA_DIR.

        Raises:
          UserError: no root was given, or it does not exist.
        """
        given = root or os.environ.get(ENVIRONMENT)
        if not given:
            raise UserError(
                f"{self.title}: no data root: name its folder, or the folder that has it, with --data-root (in "
                f"training with config.data.root), or set {ENVIRONMENT}"
            )
        given = Path(given)
        if not given.is_dir():
            raise UserError(f"{given}: no such folder (looked for {self.title})")
        present = list_folders(given)
        # The exact spelling comes first: next to LaSOT there may be lasot, which `relo data build` made.
        by_name = {name.lower(): name for name in present} | {name: name for name in present}
        spellings = [name for names in (self.folders, self.other_folders) for name in (*names, *map(str.lower, names))]
        return next((given / by_name[name] for name in spellings if name in by_name), given)

    def check_split(self, split: str) -> None:
        """Raises UserError for a split that the dataset does not have."""
        if split not in self.splits:
            raise UserError(f"{self.title} has no split {split!r}: it has {', '.join(self.splits)}")

    def not_found(self, root: Path, missing: Path | str) -> UserError:
        """The error for a root without `missing`: names what is there instead, or the expected paths.

        That may be packed archives, or a copy in a format that other projects read: LMDB, or PySOT's JSON file.
        """
        names = {name.lower() for name in (self.name, *self.folders)}
        folders = ("", *(name for name in list_folders(root) if name.lower().rpartition("_")[0] in names))
        lmdb = next((root / folder for folder in folders if (root / folder / "data.mdb").is_file()), None)
        if lmdb:
            return UserError(f"{lmdb}: an LMDB copy of {self.title} is not read: unpack the authors' archives instead")
        packed = list_archives(root)
        if packed:
            return UserError(f"{root}: no {missing}, but {len(packed)} archives such as {packed[0]}: unpack them there")
        pysot = next(
            (n for n in sorted(list_files(root)) if n.lower().removesuffix(".json") in names - {n.lower()}), None
        )
        if pysot:
            return UserError(
                f"{root}: no {missing}, but {pysot}, PySOT's annotations, which are not read: unpack the authors' "
                f"archives as {self.expected_paths}"
            )
        return UserError(f"{root}: no {missing}; {self.title} is expected as {self.expected_paths}")


def have_area(boxes_xywh: np.ndarray) -> np.ndarray:
    """bool [F]: boxes with a positive width and height; NaN is not positive."""
    with np.errstate(invalid="ignore"):
        return np.all(boxes_xywh[:, 2:] > 0, axis=1)


def plausible(boxes_xywh: np.ndarray) -> np.ndarray:
    """bool [F]: boxes that a crop can be cut around, with sides of 0.01 to 100,000 pixels at most 1,000,000 away."""
    with np.errstate(invalid="ignore"):
        sides = (boxes_xywh[:, 2:] >= SMALLEST_SIDE) & (boxes_xywh[:, 2:] <= LARGEST_SIDE)
        return sides.all(1) & (np.abs(boxes_xywh[:, :2]) <= 10 * LARGEST_SIDE).all(1)
