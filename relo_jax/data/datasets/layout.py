"""What a dataset's module says of its dataset: where sequences lie in the folders its authors hand out.

    LAYOUT = DatasetLayout(name="lasot", title="LaSOT", ..., entries=_entries, read=_read)

`entries(root, split)` lists a split without opening a file; `read(root, entry)` turns one entry into records. That is
all a module writes; the index (`index.py`) reads entries in parallel, keeps what it learnt, and makes sequences of it.
A root may have tens of thousands of sequences, perhaps on a network disk: `entries` lists folders and tests no file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.images import IMAGE_SUFFIXES, natural_order

ENVIRONMENT = "RELO_DATA_DIR"
MISSING_PART = "missing part"  # the kind of problem that is no sequence's: a part of the dataset is not there
SMALLEST_SIDE, LARGEST_SIDE = 0.01, 1e5  # pixels, of a box that is taken for one
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a sequence, or with the root. kind: a few words, the same for all of its kind. where: the
    file, relative to the root. detail: the value and the remedy, one line. fatal: what it speaks of is left out."""

    kind: str
    where: str
    detail: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"


@dataclass(frozen=True)
class Entry:
    """A sequence (or, where one file describes many, that file) as a listing finds it.

    name: unique within the split. files: paths relative to the root, whose sizes and times tell whether anything
    changed since it was read: annotations, and the folder of frames. extra: what else `read` wants to know.
    """

    name: str
    files: tuple[str, ...]
    extra: tuple = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A sequence as its source reads it: annotation, and where its frames are.

    folder: of the frames, relative to the root. frames: their file names, in order.
    boxes_xywh: float64 [F, 4], pixels, 0-based corners; NaN where there is no box. visible, shown: bool [F], see
    `Sequence`.
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


@dataclass(frozen=True)
class DatasetLayout:
    """A dataset in its official layout.

    name: as configs and commands say it. title: as papers print it. folders: names that its root goes by below a
    folder of datasets. splits: those it has, each with the number of its sequences as published, or None. train: the
    split to train on, None for a benchmark. heldout: the split that training is checked with, None where the official
    ones have no boxes. layout: one line that shows the expected paths, for messages.
    entries(root, split): raises UserError where the layout is not to be found, with the remedy.
    read(root, entry): records, and problems that concern no single sequence (a part of the dataset is missing); raises
      UserError for an annotation that cannot be read (it becomes a fatal problem of the entry's sequence).
    attributes(root, name): names of a sequence's attributes, None where it has none; see `attributes.py`.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    splits: dict[str, int | None]
    layout: str
    entries: Callable[[Path, str], list[Entry]]
    read: Callable[[Path, Entry], Iterable[Record | Problem]]
    train: str | None = None
    heldout: str | None = None
    attributes: Callable[[Path, str], tuple[str, ...] | None] | None = None

    def find_root(self, root: str | Path | None = None) -> Path:
        """The dataset's folder: `root` (or RELO_DATA_DIR) or, where there is one by the dataset's name in it, that.

        Raises:
          UserError: neither was given, or it does not exist.
        """
        given = root or os.environ.get(ENVIRONMENT)
        if not given:
            raise UserError(f"{self.title}: where is it? Give its folder, or set {ENVIRONMENT} to the folder it is in")
        given = Path(given)
        if not given.is_dir():
            raise UserError(f"{given}: no such folder (looked for {self.title})")
        there = list_folders(given)
        # A name as it is written comes first: beside LaSOT there may be lasot, which `relo data build` makes.
        by_name = {name.lower(): name for name in there} | {name: name for name in there}
        wanted = [*self.folders, *map(str.lower, self.folders)]
        return next((given / by_name[name] for name in wanted if name in by_name), given)

    def check_split(self, split: str) -> None:
        """Raises UserError for a split that the dataset does not have."""
        if split not in self.splits:
            raise UserError(f"{self.title} has no split {split!r}: it has {', '.join(self.splits)}")

    def not_found(self, root: Path, missing: Path | str) -> UserError:
        """The UserError for a root without `missing`: says what is expected, and sees archives still packed."""
        packed = list_archives(root)
        if packed:
            return UserError(f"{root}: no {missing}, but {len(packed)} archives such as {packed[0]}: unpack them there")
        return UserError(f"{root}: no {missing}; {self.title} is expected as {self.layout}")


def list_folders(folder: Path | str) -> list[str]:
    """Names of the folders in a folder, sorted; empty where there is no such folder.

    Raises:
      UserError: it cannot be listed.
    """

    def scan(path):
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and _is_folder(e))

    return _listed(scan, folder)


def list_frames(folder: Path | str) -> list[str]:
    """Names of the images in a folder, in the order of their numbers; empty where there is no such folder."""
    names = [n for n in list_files(folder) if os.path.splitext(n)[1].lower() in IMAGE_SUFFIXES]
    stems = [n[: n.rindex(".")] for n in names]
    if "".join(stems).isdecimal():  # the same order, in a tenth of the time
        return [name for _, name in sorted(zip(map(int, stems), names, strict=True))]
    return sorted(names, key=natural_order)


def frames_between(names: list[str], first: int, last: int) -> list[str]:
    """Of frames named by their number (000123.jpg), those from `first` to `last`, both included."""
    numbers = ((os.path.splitext(name)[0], name) for name in names)
    return [name for stem, name in numbers if stem.isdecimal() and first <= int(stem) <= last]


def list_archives(folder: Path | str) -> list[str]:
    """Names of the packed archives in a folder, sorted; empty where there is no such folder."""
    return sorted(n for n in list_files(folder) if os.path.splitext(n)[1].lower() in ARCHIVES)


def list_files(folder: Path | str) -> list[str]:
    """Names of what is in a folder, in no order; empty where there is no such folder. Hidden ones are skipped.

    Raises:
      UserError: it cannot be listed.
    """
    return [name for name in _listed(os.listdir, folder) if not name.startswith(".")]


def _listed(listing: Callable, folder: Path | str) -> list[str]:
    """What `listing` says is in a folder; nothing where there is no such folder. Raises UserError."""
    try:
        return listing(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}): see to its permissions and its disk") from None


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def sensible(boxes_xywh: np.ndarray) -> np.ndarray:
    """bool [F]: boxes of which a crop can be cut: sides of a hundredth of a pixel to 100,000, not a million away."""
    with np.errstate(invalid="ignore"):
        sides = (boxes_xywh[:, 2:] >= SMALLEST_SIDE) & (boxes_xywh[:, 2:] <= LARGEST_SIDE)
        return sides.all(1) & (np.abs(boxes_xywh[:, :2]) <= 10 * LARGEST_SIDE).all(1)


def record(
    name: str,
    folder: str,
    frames: list[str],
    boxes_xywh: np.ndarray,
    *,
    text: str,
    absent: Mapping[str, np.ndarray] = MappingProxyType({}),
    shown: np.ndarray | None = None,
    category: str | None = None,
    first_box_only: bool = False,
) -> Record:
    """A record with the checks that every dataset shares: frames there are, as many as boxes, boxes with an area.

    Args:
      text: the annotation file relative to the root, for messages.
      absent: bool [F] by file relative to the root, frames whose target does not show by the dataset's own flags; one
        file is enough to hide a frame.
      shown: bool [F], see `Sequence`; None: all that nothing of `absent` hides, where a dataset has flags at all.
      first_box_only: the split hides all boxes but the first; the others become NaN.
    """
    problems = []
    if first_box_only and len(boxes_xywh) == 1 and len(frames) > 1:
        boxes_xywh = np.concatenate([boxes_xywh, np.full((len(frames) - 1, 4), np.nan)])
    if not frames:
        problems.append(Problem("no frames", folder, "no images in it: extract the sequence again"))
    elif len(frames) != len(boxes_xywh):
        detail = f"{len(boxes_xywh)} boxes for {len(frames)} frames in {folder}: extract the sequence again"
        problems.append(Problem("boxes and frames differ", text, detail))
    with np.errstate(invalid="ignore"):
        visible = (boxes_xywh[:, 2:] > 0).all(1)
    absurd = visible & ~sensible(boxes_xywh)
    if absurd.any():
        first = int(np.argmax(absurd))
        detail = f"{int(absurd.sum())} boxes are no boxes, the first in line {first + 1}, {boxes_xywh[first].tolist()}"
        problems.append(Problem("absurd boxes", text, detail + ": never trained on", fatal=False))
        visible &= ~absurd
    flagged = np.zeros(len(boxes_xywh), bool)
    for file, flags in absent.items():
        if len(flags) == len(boxes_xywh):
            flagged |= flags
        else:
            detail = f"{len(flags)} flags for {len(boxes_xywh)} boxes: extract the annotation again"
            problems.append(Problem("flags and boxes differ", file, detail))
    visible &= ~flagged
    if not visible.any():
        problems.append(Problem("target never shows", text, "no frame has a visible box: leave the sequence out"))
    bad = np.isnan(boxes_xywh).any(1) if not first_box_only else np.zeros(0, bool)
    if bad.any():
        detail = f"{int(bad.sum())} boxes are NaN, the first in line {int(np.argmax(bad)) + 1}: never trained on"
        problems.append(Problem("NaN boxes", text, detail, fatal=False))
    shown = ~flagged if shown is None and absent else shown
    return Record(name, folder, list(frames), boxes_xywh, visible, category, problems=problems, shown=shown)
