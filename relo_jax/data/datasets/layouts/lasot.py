"""LaSOT (Fan et al., CVPR 2019): 1,400 long sequences of 70 classes, 1,120 for training and 280 for testing.

Beside the boxes, two files flag the frames whose target is fully occluded or out of view; such a frame has a box all
the same, and is not visible. Attributes come with the benchmark's toolkit, not with the videos: its folder
`annos/att` is looked for in the root.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_flags
from relo_jax.data.datasets.layout import DatasetLayout, Entry, Record, list_folders, list_frames, record

FILES = ("groundtruth.txt", "full_occlusion.txt", "out_of_view.txt", "img")
ATTRIBUTES = ("att", "annos/att", "LaSOT_Evaluation_Toolkit/annos/att")


def _entries(root: Path, split: str) -> list[Entry]:
    test = set(split_lists.official("lasot", "test.txt"))
    found = list(in_classes(root, lambda name: (name in test) == (split == "test")))
    if not found:
        raise LAYOUT.not_found(root, f"sequence of the {split} split")
    return found


def in_classes(root: Path, wanted) -> Iterator[Entry]:
    """Entries for `class/class-number` folders whose name is `wanted`, by class and name."""
    for kind in list_folders(root):
        for name in list_folders(f"{root}/{kind}"):
            if name.rpartition("-")[0] == kind and wanted(name):
                yield Entry(name, tuple(f"{kind}/{name}/{file}" for file in FILES))


def read(root: Path, entry: Entry) -> Iterator[Record]:
    """A sequence with its two files of flags; LaSOT_ext has the same."""
    text, *flags, images = entry.files
    yield record(
        entry.name, images, list_frames(root / images), read_boxes(root / text),
        text=text, absent={file: read_flags(root / file) > 0 for file in flags}, category=entry.name.rpartition("-")[0],
    )  # fmt: skip


LAYOUT = DatasetLayout(
    name="lasot",
    title="LaSOT",
    folders=("LaSOT", "LaSOTBenchmark", "LaSOTTest"),
    splits={"train": 1120, "test": 280},
    train="train",
    heldout="test",
    layout="airplane/airplane-1/{groundtruth.txt, full_occlusion.txt, out_of_view.txt, img/00000001.jpg}",
    entries=_entries,
    read=read,
    attributes=attributes.from_flags(attributes.LASOT, *ATTRIBUTES),
)
