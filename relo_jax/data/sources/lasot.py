"""LaSOT (Fan et al., CVPR 2019): 1,400 long sequences of 70 classes, 1,120 for training and 280 for testing.

Beside the boxes, two files flag the frames whose target is fully occluded or out of view; such a frame has a box all
the same, and is not visible.
"""

from pathlib import Path

from relo_jax.data import lists
from relo_jax.data.annotations import read_boxes, read_flags
from relo_jax.data.source import Entry, Source, list_frames, record

FLAGS = ("full_occlusion.txt", "out_of_view.txt")


def _entries(root: Path, split: str) -> list[Entry]:
    test = set(lists.official("lasot", "test.txt"))
    found = [p for kind in sorted(root.iterdir()) if kind.is_dir() for p in sorted(kind.glob(f"{kind.name}-*"))]
    found = [p for p in found if p.is_dir() and (p.name in test) == (split == "test")]
    if not found:
        raise SOURCE.not_found(root, f"sequence of the {split} split")
    return [
        Entry(p.name, tuple(f"{p.parent.name}/{p.name}/{file}" for file in ("groundtruth.txt", *FLAGS, "img")))
        for p in found
    ]


def _read(root: Path, entry: Entry):
    text, occluded, away, images = entry.files
    absent = read_flags(root / occluded).astype(bool)
    outside = read_flags(root / away).astype(bool)
    if len(absent) == len(outside):
        absent |= outside
    yield record(
        entry.name, images, list_frames(root / images), read_boxes(root / text),
        text=text, absent=absent, category=entry.name.rpartition("-")[0],
    )  # fmt: skip


SOURCE = Source(
    name="lasot",
    title="LaSOT",
    folders=("LaSOT", "LaSOTBenchmark", "LaSOTTest"),
    splits={"train": 1120, "test": 280},
    train="train",
    heldout="test",
    layout="airplane/airplane-1/{groundtruth.txt, full_occlusion.txt, out_of_view.txt, img/00000001.jpg}",
    entries=_entries,
    read=_read,
)
