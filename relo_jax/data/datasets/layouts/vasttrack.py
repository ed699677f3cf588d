"""VastTrack (Peng et al., NeurIPS 2024): 50,610 sequences of 2,115 classes, 3,500 of them for testing.

Training and test sets are separate downloads with the same layout and many of the same classes. They may be in folders
`train` and `test` or together in one folder: the official list names the test sequences, and all others in the folder
are for training. A box of zeros means that the target does not show. Class names contain spaces and hyphens.

The release trains on 47,103 of the 47,110 training sequences, which it lists in `vasttrack_train_split.txt`. The split
`train_release` has the sequences of that file, which is copied into the root.
"""

from collections.abc import Container, Iterator
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, Problem
from relo_jax.data.datasets.listing import list_folders, list_frames
from relo_jax.errors import UserError

# Some of the archives spell the first name in lower case.
_FILES = ("Groundtruth.txt", "groundtruth.txt", "imgs", "img")
RELEASE_LIST = "vasttrack_train_split.txt"


def _entries(root: Path, split: str) -> list[Entry]:
    folder = split.partition("_")[0]
    base = f"{folder}/" if (root / folder).is_dir() else ""
    test = set(split_lists.official("vasttrack", "test.txt"))
    entries = [
        Entry(name, tuple(f"{base}{category}/{name}/{file}" for file in _FILES))
        for category in list_folders(root / base)
        for name in list_folders(f"{root}/{base}{category}")
        if name.rpartition("-")[0] == category and (name in test) == (split == "test")
    ]
    if not entries:
        raise LAYOUT.not_found(root, f"sequence of the {folder} split")
    return _of_release(root, base, entries, test) if split == "train_release" else entries


def _of_release(root: Path, base: str, entries: list[Entry], test: Container[str]) -> list[Entry]:
    """The entries that the release's list names. Raises UserError if the list is missing, or is none."""
    places = [root / RELEASE_LIST, root / base / RELEASE_LIST]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise UserError(
            f"{places[0]}: the release's list of training sequences is missing: copy lib/train/data_specs/"
            f"{RELEASE_LIST} of the release there, or train on the split train"
        )
    listed = dict.fromkeys(split_lists.read_list(path))
    wrong = next((name for name in listed if not name.rpartition("-")[2].isdecimal()), None)
    if wrong is not None:
        raise UserError(f"{path}: {wrong!r} is not the name of a sequence, such as Aardwolf-1: copy the list again")
    leaked = next((name for name in listed if name in test), None)
    if leaked is not None:
        raise UserError(f"{path}: {leaked} is a test sequence: copy the release's list of training sequences")
    chosen = [entry for entry in entries if entry.name in listed]
    if not chosen:
        raise UserError(f"{path}: lists no sequence that is in {root / base}: copy the release's list")
    published = LAYOUT.splits["train_release"]
    if len(listed) != published:
        detail = f"lists {len(listed):,}, the release's list {published:,}: copy that one to train as the release"
        name = str(path.relative_to(root))
        chosen.append(Entry(name, (name,), problem=Problem("another list", name, detail, fatal=False)))
    return chosen


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
    splits={"train": 47110, "test": 3500, "train_release": 47103},
    train="train",
    heldout="test",
    expected_paths="[train, test]/Aardwolf/Aardwolf-1/{Groundtruth.txt, imgs/00001.jpg}",
    entries=_entries,
    read=_read,
)
