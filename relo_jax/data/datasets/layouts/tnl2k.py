"""TNL2K (Wang et al., CVPR 2021): 2,000 sequences with a sentence each; the 700 of its test set are the benchmark.

Frames are PNG or JPEG with many naming schemes, so they are sorted by the numbers in their names. A box 0,0,0,0 means
that the target is absent. The 700 may be in the folder of their archive, in `test` or in the root.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import list_folders, list_frames


def _entries(root: Path, split: str) -> list[Entry]:
    parts = ["", *(name for name in list_folders(root) if re.match("tnl2k_test|test$", name.lower()))]
    folders = {name: str(Path(part, name)) for part in parts for name in list_folders(root / part)}
    names = [name for name in split_lists.official("tnl2k", "test.txt") if name in folders]
    if not names:
        raise LAYOUT.not_found(root, "sequence of the test set")
    return [Entry(name, (f"{folders[name]}/groundtruth.txt", f"{folders[name]}/imgs")) for name in names]


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    yield Annotation.checked(entry.name, images, list_frames(root / images), read_boxes(root / text), file=text)


LAYOUT = DatasetLayout(
    name="tnl2k",
    title="TNL2K",
    folders=("TNL2K", "TNL2K_test_subset", "TNL2K_test"),
    splits={"test": 700},
    expected_paths="TNL2K_test_subset/Bird_28-Done/{groundtruth.txt, imgs/00000001.png}",
    entries=_entries,
    read=_read,
)
