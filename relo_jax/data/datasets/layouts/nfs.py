"""Need for Speed (Kiani Galoogahi et al., ICCV 2017): 100 sequences at 240 frames per second, evaluated at 30.

Three layouts are read. In the authors' own, `bee/30/bee/00001.jpg` is every eighth frame, but `bee/30/bee.txt` has a
line `track x1 y1 x2 y2 frame lost occluded generated "label"` for every frame at 240. So every eighth line counts, from
the first. The 30-fps folder of dog_2 holds another sequence; its frames are taken from the 240-fps folder. A sequence
without a 30-fps folder is read from its 240-fps folder too.

The release adds `bee/30/bee_pytracking.txt` to that layout, a line x, y, w, h for each frame at 30. Published numbers
come from these files, so they go before the authors', and then dog_2 has the frames of its 30-fps folder, as there.

In pytracking's layout, `sequences/bee/00001.jpg` and the lines x, y, w, h of `anno/nfs_bee.txt` match one to one.

In all, ten sequences have one more frame than boxes, which is left out. `lost` is ignored: pytracking's copy lacks the
flag and counts those frames.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_text
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, Problem
from relo_jax.data.datasets.listing import list_files, list_folders, list_frames
from relo_jax.errors import UserError

STEP = 8
WRONG_AT_30 = {"dog_2"}
_AGREE = 1.0  # pixels; the release's boxes are the authors', in part rounded


def _entries(root: Path, split: str) -> list[Entry]:
    names = split_lists.official("nfs", "test.txt")
    if (root / "sequences").is_dir():
        files = {name: (f"anno/nfs_{name}.txt", f"sequences/{name}") for name in names}
        entries = [Entry(name, files[name], ("boxes",)) for name in names if (root / files[name][1]).is_dir()]
    else:
        present = {name: set(list_folders(root / name)) for name in names if (root / name).is_dir()}
        if all(rates.isdisjoint({"30", "240"}) for rates in present.values()):
            present = {}
        entries = [_official(root, name, rates) for name, rates in present.items()]
    if not entries:
        raise LAYOUT.not_found(root, "sequence of the benchmark")
    released = [entry.files[0] for entry in entries if entry.extra == ("release",)]
    if released:
        detail = f"{len(released)} of {len(entries)} sequences have a file like this one: it is read, not the authors'"
        note = Problem("the release's annotations", released[0], detail, fatal=False)
        entries.append(Entry(released[0], (), problem=note))
    return entries


def _official(root: Path, name: str, rates: set[str]) -> Entry:
    """The entry of a sequence in the authors' layout, by the files that it has."""
    at_30 = set(list_files(root / name / "30"))
    release, authors = f"{name}/30/{name}_pytracking.txt", f"{name}/30/{name}.txt"
    as_released = Path(release).name in at_30
    only_at_240 = "240" in rates and name not in at_30
    images = f"{name}/{240 if only_at_240 or name in WRONG_AT_30 and not as_released else 30}/{name}"
    if as_released:
        return Entry(name, (release, images, *((authors,) if Path(authors).name in at_30 else ())), ("release",))
    if "240" in rates and Path(authors).name not in at_30:
        authors = f"{name}/240/{name}.txt"
    return Entry(name, (authors, images), ("tracks",))


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images, *authors = entry.files
    frames = list_frames(root / images)
    boxes = _read_tracks(root / text)[::STEP] if entry.extra[0] == "tracks" else read_boxes(root / text)
    if "/240/" in images:
        frames = frames[::STEP]
    notes = [_disagreement(root, text, boxes, authors[0])] if authors else []
    if entry.extra[0] == "release" and entry.name in WRONG_AT_30 and len(frames) > len(boxes) + 1:
        detail = (
            f"{len(frames)} frames of another sequence for {len(boxes)} boxes: the release reads the first ones too"
        )
        notes.append(Problem("frames of another sequence", images, detail, fatal=False))
        frames = frames[: len(boxes)]
    if len(frames) == len(boxes) + 1:
        detail = f"the last of {len(frames)} frames has no box: left out"
        notes.append(Problem("last frame has no box", text, detail, fatal=False))
        frames = frames[: len(boxes)]
    annotation = Annotation.checked(entry.name, images, frames, boxes, file=text)
    annotation.problems.extend(note for note in notes if note)
    yield annotation


def _disagreement(root: Path, text: str, boxes: np.ndarray, authors: str) -> Problem | None:
    """What the authors' boxes differ in from the release's, which are read."""
    try:
        other = _read_tracks(root / authors)[::STEP]
    except UserError as error:
        return Problem("annotations differ", text, f"is read; the authors' is broken: {error}", fatal=False)
    if len(other) != len(boxes):
        detail = f"is read; it has {len(boxes)} boxes and every eighth line of {Path(authors).name} {len(other)}"
        return Problem("annotations differ", text, detail, fatal=False)
    apart = np.abs(boxes - other).max(1)
    differ = np.flatnonzero(~(apart <= _AGREE))
    if not len(differ):
        return None
    detail = (
        f"is read; {Path(authors).name} differs in {len(differ)} of {len(boxes)} frames, by up to "
        f"{np.nanmax(apart[differ], initial=0):.0f} pixels, the first in line {differ[0] + 1}"
    )
    return Problem("annotations differ", text, detail, fatal=False)


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
    expected_paths="bee/30/{bee[_pytracking].txt, bee/00001.jpg} or {anno/nfs_bee.txt, sequences/bee/00001.jpg}",
    entries=_entries,
    read=_read,
)
