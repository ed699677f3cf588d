"""TNL2K (Wang et al., CVPR 2021): 2,000 sequences with a sentence each; the 700 of its test set are the benchmark.

Frames are PNG or JPEG under names of many kinds, so they are taken in the order of the numbers in them. The target is
away where the box is 0,0,0,0.
"""

from pathlib import Path

from relo_jax.data import lists
from relo_jax.data.annotations import read_boxes
from relo_jax.data.source import Entry, Source, list_frames, record


def _entries(root: Path, split: str) -> list[Entry]:
    bases = [root, *sorted(p for p in root.iterdir() if p.is_dir() and p.name.lower().startswith("tnl2k_test"))]
    found = {p.name: f"{p.relative_to(root)}" for base in bases for p in base.iterdir() if p.is_dir()}
    names = [name for name in lists.official("tnl2k", "test.txt") if name in found]
    if not names:
        raise SOURCE.not_found(root, "sequence of the test set")
    return [Entry(name, (f"{found[name]}/groundtruth.txt", f"{found[name]}/imgs")) for name in names]


def _read(root: Path, entry: Entry):
    text, images = entry.files
    yield record(entry.name, images, list_frames(root / images), read_boxes(root / text), text=text)


SOURCE = Source(
    name="tnl2k",
    title="TNL2K",
    folders=("TNL2K", "TNL2K_test_subset", "TNL2K_test"),
    splits={"test": 700},
    layout="TNL2K_test_subset/Bird_28-Done/{groundtruth.txt, imgs/00000001.png}",
    entries=_entries,
    read=_read,
)
