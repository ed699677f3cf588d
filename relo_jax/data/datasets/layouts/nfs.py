"""Need for Speed (Kiani Galoogahi et al., ICCV 2017): 100 sequences at 240 frames a second; evaluated at 30.

As the authors hand it out, `bee/30/bee/00001.jpg` has every eighth frame, but `bee/30/bee.txt` a line for all: `track
x1 y1 x2 y2 frame lost occluded generated "label"`, so every eighth line counts, from the first. The folder of dog_2 at
30 frames a second holds another sequence; its frames are taken from 240. As pytracking hands it out, there are
`sequences/bee/00001.jpg` and `anno/nfs_bee.txt` with a line x, y, w, h for each frame. In both, ten sequences have one
frame more than boxes; it is left out. `lost` is not used: pytracking's copy has no such flag and counts those frames.
"""

from pathlib import Path

import numpy as np

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_text
from relo_jax.data.datasets.layout import DatasetLayout, Entry, Problem, list_frames, record
from relo_jax.errors import UserError

STEP = 8
WRONG_AT_30 = {"dog_2"}


def _entries(root: Path, split: str) -> list[Entry]:
    names = split_lists.official("nfs", "test.txt")
    if (root / "sequences").is_dir():
        files = {name: (f"anno/nfs_{name}.txt", f"sequences/{name}") for name in names}
        entries = [Entry(name, files[name], ("boxes",)) for name in names if (root / files[name][1]).is_dir()]
    else:
        files = {name: _official(name) for name in names if (root / name).is_dir()}
        entries = [Entry(name, files[name], ("tracks",)) for name in files]
    if not entries:
        raise LAYOUT.not_found(root, "sequence of the benchmark")
    return entries


def _official(name: str) -> tuple[str, str]:
    return f"{name}/30/{name}.txt", f"{name}/{240 if name in WRONG_AT_30 else 30}/{name}"


def _read(root: Path, entry: Entry):
    text, images = entry.files
    frames = list_frames(root / images)
    if entry.extra == ("tracks",):
        boxes = _read_tracks(root / text)[::STEP]
        frames = frames[::STEP] if entry.name in WRONG_AT_30 else frames
    else:
        boxes = read_boxes(root / text)
    surplus = len(frames) == len(boxes) + 1
    found = record(entry.name, images, frames[: len(boxes)] if surplus else frames, boxes, text=text)
    if surplus:
        detail = f"the last of {len(frames)} frames has no box: left out"
        found.problems.append(Problem("last frame has no box", text, detail, fatal=False))
    yield found


def _read_tracks(path: Path) -> np.ndarray:
    """float64 [lines, 4] x, y, w, h of the second to fifth number of each line.

    Raises:
      UserError: a line (given by number) has fewer, or the file none.
    """
    lines = read_text(path).rstrip().splitlines()
    try:
        corners = np.array([[float(word) for word in line.split()[1:5]] for line in lines])
        corners = corners.reshape(len(lines), 4)
        if not np.isfinite(corners).all():
            raise ValueError
    except ValueError:
        good = lambda line: len(line.split()) >= 5 and all(_number(word) for word in line.split()[1:5])
        number = next(k for k, line in enumerate(lines) if not good(line))
        raise UserError(
            f"{path}, line {number + 1}: {lines[number][:60]!r} is not `track x1 y1 x2 y2 ...`: extract it again"
        ) from None
    if not len(corners):
        raise UserError(f"{path}: holds no boxes")
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def _number(word: str) -> bool:
    try:
        return np.isfinite(float(word))
    except ValueError:
        return False


LAYOUT = DatasetLayout(
    name="nfs",
    title="NFS",
    folders=("NFS", "nfs30", "NeedForSpeed"),
    splits={"test": 100},
    layout="bee/30/{bee.txt, bee/00001.jpg} or {anno/nfs_bee.txt, sequences/bee/00001.jpg}",
    entries=_entries,
    read=_read,
)
