"""VastTrack (Peng et al., NeurIPS 2024): 50,610 sequences of 2,115 classes, 3,500 of them for testing.

Training and test sets are separate downloads with the same layout and many of the same classes. They may be in folders
`train` and `test` or together in one folder: the official list names the test sequences, and all others in the folder
are for training. A box of zeros means that the target does not show. Class names contain spaces and hyphens.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, list_folders, list_frames

# Some of the archives spell the first name in lower case.
_FILES = ("Groundtruth.txt", "groundtruth.txt", "imgs", "img")


def _entries(root: Path, split: str) -> list[Entry]:
    base = f"{split}/" if (root / split).is_dir() else ""
    test = set(split_lists.official("vasttrack", "test.txt"))
    entries = [
        Entry(name, tuple(f"{base}{category}/{name}/{file}" for file in _FILES))
        for category in list_folders(root / base)
        for name in list_folders(f"{root}/{base}{category}")
        if name.rpartition("-")[0] == category and (name in test) == (split == "test")
    ]
    if not entries:
        raise LAYOUT.not_found(root, f"sequence of the {split} split")
    return entries


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, lower_case, images, other = entry.files
    text = text if (root / text).is_file() else lower_case
    images = images if (root / images).is_dir() else other
    yield Annotation.checked(
        entry.name, images, list_frames(root / images), read_boxes(root / text),
        file=text, category=entry.name.rpartition("-")[0],
    )  # fmt: skip


LAYOUT = DatasetLayout(
    name="vasttrack",
    title="VastTrack",
    folders=("VastTrack", "vasttrack"),
    splits={"train": 47110, "test": 3500},
    train="train",
    heldout="test",
    expected_paths="[train, test]/Aardwolf/Aardwolf-1/{Groundtruth.txt, imgs/00001.jpg}",
    entries=_entries,
    read=_read,
)
