"""TrackingNet (Mueller et al., ECCV 2018): 30,132 short clips from YouTube in twelve parts, and 511 for testing.

Frame numbers start at 0 and are not zero-padded: 0.jpg, 1.jpg, 10.jpg. A name is the video's id, a `_` and a number,
and contains no class. The test split publishes only the first box. A part that was not downloaded, or whose frames are
still packed, is reported; the others are used.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import MISSING_PART, Annotation, DatasetLayout, Entry, Problem
from relo_jax.data.datasets.listing import list_archives, list_files, list_frames
from relo_jax.errors import UserError

PARTS = tuple(f"TRAIN_{k}" for k in range(12))


def _entries(root: Path, split: str) -> list[Entry]:
    entries, missing = [], []
    for part in PARTS if split == "train" else ("TEST",):
        names = [name[:-4] for name in list_files(root / part / "anno") if name.endswith(".txt")]
        if names and (root / part / "frames").is_dir():
            entries += [Entry(name, (f"{part}/anno/{name}.txt", f"{part}/frames/{name}")) for name in sorted(names)]
        else:
            missing.append(Entry(part, (f"{part}/anno", f"{part}/frames", f"{part}/zips")))
    packed = [part.name for part in missing if list_archives(root / part.files[2])]
    if not entries and packed:
        raise UserError(f"{root / packed[0]}: {_remedy(root / packed[0])}")
    if not entries:
        raise LAYOUT.not_found(root, f"{' or '.join(missing[0].files[:2])} with sequences")
    return entries + missing


def _read(root: Path, entry: Entry) -> Iterator[Annotation | Problem]:
    if entry.name in PARTS:
        yield Problem(MISSING_PART, entry.name, _remedy(root / entry.name))
        return
    text, folder = entry.files
    yield Annotation.checked(
        entry.name, folder, list_frames(root / folder), read_boxes(root / text),
        file=text, first_box_only=text.startswith("TEST/"),
    )  # fmt: skip


def _remedy(part: Path) -> str:
    """What to do about an unusable part."""
    if list_archives(part / "zips"):
        return "frames are still packed: unpack each archive in zips into a folder of its name in frames"
    return "anno and frames are needed: download them"


LAYOUT = DatasetLayout(
    name="trackingnet",
    title="TrackingNet",
    folders=("TrackingNet",),
    splits={"train": 30132, "test": 511},
    train="train",
    expected_paths="{TRAIN_0, ..., TRAIN_11, TEST}/{anno/<name>.txt, frames/<name>/0.jpg}",
    entries=_entries,
    read=_read,
)
