"""VOT (Kristan et al., 2013 on): one edition of the challenge, as its toolkit downloads it.

`list.txt` names the sequences; without it, all folders with a groundtruth.txt are read. A line of that file is a
rectangle, a polygon or, since 2020, a mask. Polygons and masks become their bounding boxes. A single number is the
toolkit's code for a frame without a target.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relo_jax.data.datasets.annotations import number, read_text
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import list_folders, list_frames
from relo_jax.data.datasets.split_lists import read_list
from relo_jax.errors import UserError

Box = tuple[float, float, float, float] | np.ndarray

NO_BOX = (np.nan,) * 4
_LARGEST_SIDE = 1 << 16  # pixels, of a mask: with more, the line is not a mask


def _entries(root: Path, split: str) -> list[Entry]:
    present = set(list_folders(root))
    if (root / "list.txt").is_file():
        names = read_list(root / "list.txt")
    else:
        names = sorted(p.parent.name for p in root.glob("*/groundtruth.txt"))
    if present.isdisjoint(names):
        raise LAYOUT.not_found(root, "sequence with a groundtruth.txt")
    in_color = {name for name in names if name in present and (root / name / "color").is_dir()}
    images = {name: f"{name}/color" if name in in_color else name for name in names}
    return [Entry(name, (f"{name}/groundtruth.txt", images[name])) for name in dict.fromkeys(names)]


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    yield Annotation.checked(entry.name, images, list_frames(root / images), read_regions(root / text), file=text)


def read_regions(path: Path) -> np.ndarray:
    """float64 [F, 4] x, y, w, h: bounding boxes of the regions in a file; NaN for a frame without a region.

    Raises:
      UserError: the file is empty; a line (named by its number) is not a region.
    """
    lines = read_text(path).rstrip().splitlines()
    if not lines:
        raise UserError(f"{path}: holds no boxes")
    boxes = np.empty((len(lines), 4))
    for index, line in enumerate(lines):
        try:
            boxes[index] = _bounding_box(line.strip())
        except ValueError:
            raise UserError(
                f"{path}, line {index + 1}: {line.strip()[:60]!r} is neither a rectangle, a polygon nor a mask"
            ) from None
    return boxes


def _bounding_box(region: str) -> Box:
    """x, y, w, h of one region. Raises ValueError."""
    if region.startswith("m"):
        return _mask_box(np.array([number(v) for v in region[1:].split(",")]))
    values = np.array([number(v) for v in region.replace(",", " ").split()])
    if np.isinf(values).any():
        raise ValueError
    if len(values) == 1 or np.isnan(values).any():
        return NO_BOX
    if len(values) == 4:
        return values
    if len(values) < 6:
        raise ValueError
    corners = values.reshape(-1, 2)
    return (*corners.min(0), *(corners.max(0) - corners.min(0)))


def _mask_box(code: np.ndarray) -> Box:
    """x, y, w, h of the pixels of a run-length coded mask. Raises ValueError.

    Args:
      code: x, y, w, h, r0, r1, ...: the w x h pixels from corner (x, y), row by row, are r0 zeros, r1 ones, r2 zeros,
        and so on. Pixels after the last run are 0.
    """
    if len(code) < 4 or not (np.abs(code) <= _LARGEST_SIDE**2).all() or (code != np.floor(code)).any():
        raise ValueError
    (x, y, width, height), runs = code[:4].astype(np.int64), code[4:].astype(np.int64)
    if (code[2:] < 0).any() or max(width, height) > _LARGEST_SIDE or runs.sum() > width * height:
        raise ValueError
    # From the runs alone: a mask of a few bytes can have a billion pixels.
    ends = np.cumsum(runs)[1::2]
    starts = ends - runs[1::2]
    starts, lasts = starts[ends > starts], ends[ends > starts] - 1
    if not len(starts):
        return NO_BOX
    top, bottom = starts[0] // width, lasts[-1] // width
    wraps = starts // width != lasts // width  # from one row to the next, so that it touches both sides
    left = 0 if wraps.any() else (starts % width).min()
    right = width - 1 if wraps.any() else (lasts % width).max()
    return x + left, y + top, right - left + 1, bottom - top + 1


LAYOUT = DatasetLayout(
    name="vot",
    title="VOT",
    folders=("VOT", *(f"{prefix}{year}" for year in range(2022, 2012, -1) for prefix in ("VOT", "vot-st"))),
    splits={"test": None},
    expected_paths="{list.txt, bag/{groundtruth.txt, color/00000001.jpg}}",
    entries=_entries,
    read=_read,
)
