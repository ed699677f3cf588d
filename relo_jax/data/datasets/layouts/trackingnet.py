"""TrackingNet (Mueller et al., ECCV 2018): 30,132 short clips from YouTube in twelve parts, and 511 for testing.

Frames count from 0 and are not padded with zeros: 0.jpg, 1.jpg, 10.jpg. A name is the video's id, a `_` and a number,
and says no class. Of the test split only the first box is public. A part that was not downloaded, or whose frames are
still packed, is named; the others are used.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import layout
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import DatasetLayout, Entry, Problem, Record, list_frames, record
from relo_jax.errors import UserError

PARTS = tuple(f"TRAIN_{k}" for k in range(12))


def _entries(root: Path, split: str) -> list[Entry]:
    entries, gone = [], []
    for part in PARTS if split == "train" else ("TEST",):
        names = [name[:-4] for name in layout.list_files(root / part / "anno") if name.endswith(".txt")]
        if names and (root / part / "frames").is_dir():
            entries += [Entry(name, (f"{part}/anno/{name}.txt", f"{part}/frames/{name}")) for name in sorted(names)]
        else:
            gone.append(Entry(part, (f"{part}/anno", f"{part}/frames", f"{part}/zips")))
    packed = [part.name for part in gone if layout.list_archives(root / part.files[2])]
    if not entries and packed:
        raise UserError(f"{root / packed[0]}: {_why(root / packed[0])}")
    if not entries:
        raise LAYOUT.not_found(root, f"{' or '.join(gone[0].files[:2])} with sequences")
    return entries + gone


def _read(root: Path, entry: Entry) -> Iterator[Record | Problem]:
    if entry.name in PARTS:
        yield Problem(layout.MISSING_PART, entry.name, _why(root / entry.name))
        return
    text, folder = entry.files
    yield record(
        entry.name, folder, list_frames(root / folder), read_boxes(root / text),
        text=text, first_box_only=text.startswith("TEST/"),
    )  # fmt: skip


def _why(part: Path) -> str:
    """What to do about a part that cannot be used."""
    if layout.list_archives(part / "zips"):
        return "frames are still packed: unpack the archives of zips, each into a folder of its name in frames"
    return "anno and frames are needed: download them"


LAYOUT = DatasetLayout(
    name="trackingnet",
    title="TrackingNet",
    folders=("TrackingNet",),
    splits={"train": 30132, "test": 511},
    train="train",
    layout="{TRAIN_0, ..., TRAIN_11, TEST}/{anno/<name>.txt, frames/<name>/0.jpg}",
    entries=_entries,
    read=_read,
)
