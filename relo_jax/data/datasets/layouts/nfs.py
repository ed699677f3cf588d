"""Need for Speed (Kiani Galoogahi et al., ICCV 2017): 100 sequences at 240 frames per second, evaluated at 30.

Two layouts are read. In the authors' own, `bee/30/bee/00001.jpg` is every eighth frame, but `bee/30/bee.txt` has a line
`track x1 y1 x2 y2 frame lost occluded generated "label"` for every frame at 240. So every eighth line counts, from the
first. The 30-fps folder of dog_2 holds another sequence; its frames are taken from the 240-fps folder. In pytracking's
layout, `sequences/bee/00001.jpg` and the lines x, y, w, h of `anno/nfs_bee.txt` match one to one.

In both, ten sequences have one more frame than boxes, which is left out. `lost` is ignored: pytracking's copy lacks the
flag and counts those frames.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_text
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, Problem
from relo_jax.data.datasets.listing import list_frames
from relo_jax.errors import UserError

STEP = 8
WRONG_AT_30 = {"dog_2"}


def _entries(root: Path, split: str) -> list[Entry]:
    names = split_lists.official("nfs", "test.txt")
    if (root / "sequences").is_dir():
        files = {name: (f"anno/nfs_{name}.txt", f"sequences/{name}") for name in names}
        entries = [Entry(name, files[name], ("boxes",)) for name in names if (root / files[name][1]).is_dir()]
    else:
        entries = [Entry(name, _official(name), ("tracks",)) for name in names if (root / name).is_dir()]
    if not entries:
        raise LAYOUT.not_found(root, "sequence of the benchmark")
    return entries


def _official(name: str) -> tuple[str, str]:
    return f"{name}/30/{name}.txt", f"{name}/{240 if name in WRONG_AT_30 else 30}/{name}"


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    frames = list_frames(root / images)
    if entry.extra == ("tracks",):
        boxes = _read_tracks(root / text)[::STEP]
        frames = frames[::STEP] if entry.name in WRONG_AT_30 else frames
    else:
        boxes = read_boxes(root / text)
    surplus = len(frames) == len(boxes) + 1
    annotation = Annotation.checked(entry.name, images, frames[: len(boxes)] if surplus else frames, boxes, file=text)
    if surplus:
        detail = f"the last of {len(frames)} frames has no box: left out"
        annotation.problems.append(Problem("last frame has no box", text, detail, fatal=False))
    yield annotation


def _read_tracks(path: Path) -> np.ndarray:
    """float64 [lines, 4] x, y, w, h of the corners x1, y1, x2, y2 in each line.

    Raises:
      UserError: a line (named by its number) has no corners, or the file has no lines.
    """
    lines = read_text(path).rstrip().splitlines()
    if not lines:
        raise UserError(f"{path}: holds no boxes")
    corners = np.empty((len(lines), 4))
    for number, line in enumerate(lines):
        try:
            corners[number] = [float(word) for word in line.split()[1:5]]
            valid = np.isfinite(corners[number]).all()
        except ValueError:
            valid = False
        if not valid or len(line.split()) < 5:
            raise UserError(
                f"{path}, line {number + 1}: {line[:60]!r} is not `track x1 y1 x2 y2 ...`: extract it again"
            )
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


LAYOUT = DatasetLayout(
    name="nfs",
    title="NFS",
    folders=("NFS", "nfs30", "NeedForSpeed"),
    splits={"test": 100},
    expected_paths="bee/30/{bee.txt, bee/00001.jpg} or {anno/nfs_bee.txt, sequences/bee/00001.jpg}",
    entries=_entries,
    read=_read,
)
