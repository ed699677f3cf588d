"""TNL2K (Wang et al., CVPR 2021): 2,000 sequences with a sentence each; the 700 of its test set are the benchmark.

Frames are PNG or JPEG under names of many kinds, so they are taken in the order of the numbers in them. The target is
away where the box is 0,0,0,0.
"""

from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import DatasetLayout, Entry, list_folders, list_frames, record


def _entries(root: Path, split: str) -> list[Entry]:
    parts = ["", *(name for name in list_folders(root) if name.lower().startswith("tnl2k_test"))]
    found = {name: str(Path(part, name)) for part in parts for name in list_folders(root / part)}
    names = [name for name in split_lists.official("tnl2k", "test.txt") if name in found]
    if not names:
        raise LAYOUT.not_found(root, "sequence of the test set")
    return [Entry(name, (f"{found[name]}/groundtruth.txt", f"{found[name]}/imgs")) for name in names]


def _read(root: Path, entry: Entry):
    text, images = entry.files
    yield record(entry.name, images, list_frames(root / images), read_boxes(root / text), text=text)


LAYOUT = DatasetLayout(
    name="tnl2k",
    title="TNL2K",
    folders=("TNL2K", "TNL2K_test_subset", "TNL2K_test"),
    splits={"test": 700},
    layout="TNL2K_test_subset/Bird_28-Done/{groundtruth.txt, imgs/00000001.png}",
    entries=_entries,
    read=_read,
)
