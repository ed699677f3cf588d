"""VastTrack (Peng et al., NeurIPS 2024): 50,610 sequences of 2,115 classes, 3,500 of them for testing.

Training and test come as separate downloads with the same layout and many of the same classes. They may lie in folders
`train` and `test` or together in one: the official list says which are for testing, and all others, as the folder has
them, are for training. A box of zeros says that the target does not show. Class names have spaces and hyphens.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import DatasetLayout, Entry, Record, list_folders, list_frames, record

# In some of the archives the first is all in small letters.
_FILES = ("Groundtruth.txt", "groundtruth.txt", "imgs", "img")


def _entries(root: Path, split: str) -> list[Entry]:
    base = f"{split}/" if (root / split).is_dir() else ""
    test = set(split_lists.official("vasttrack", "test.txt"))
    found = [
        Entry(name, tuple(f"{base}{kind}/{name}/{file}" for file in _FILES))
        for kind in list_folders(root / base)
        for name in list_folders(f"{root}/{base}{kind}")
        if name.rpartition("-")[0] == kind and (name in test) == (split == "test")
    ]
    if not found:
        raise LAYOUT.not_found(root, f"sequence of the {split} split")
    return found


def _read(root: Path, entry: Entry) -> Iterator[Record]:
    text, small, images, other = entry.files
    text = text if (root / text).is_file() else small
    images = images if (root / images).is_dir() else other
    yield record(
        entry.name, images, list_frames(root / images), read_boxes(root / text),
        text=text, category=entry.name.rpartition("-")[0],
    )  # fmt: skip


LAYOUT = DatasetLayout(
    name="vasttrack",
    title="VastTrack",
    folders=("VastTrack", "vasttrack"),
    splits={"train": 47110, "test": 3500},
    train="train",
    heldout="test",
    layout="[train, test]/Aardwolf/Aardwolf-1/{Groundtruth.txt, imgs/00001.jpg}",
    entries=_entries,
    read=_read,
)
