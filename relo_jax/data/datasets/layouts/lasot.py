"""LaSOT (Fan et al., CVPR 2019): 1,400 long sequences of 70 classes, 1,120 for training and 280 for testing.

Two files next to the boxes flag the frames whose target is fully occluded or out of view. Such frames have boxes too
but are not visible. Attributes come with the benchmark's toolkit rather than with the videos: they are read if the
toolkit's folder `annos/att` is in the root.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_flags
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import list_folders, list_frames

FILES = ("groundtruth.txt", "full_occlusion.txt", "out_of_view.txt", "img")
ATTRIBUTES = ("att", "annos/att", "LaSOT_Evaluation_Toolkit/annos/att")


def _entries(root: Path, split: str) -> list[Entry]:
    test = set(split_lists.official("lasot", "test.txt"))
    entries = class_entries(root, lambda name: (name in test) == (split == "test"))
    if not entries:
        raise LAYOUT.not_found(root, f"sequence of the {split} split")
    return entries


def class_entries(root: Path, keep: Callable[[str], bool]) -> list[Entry]:
    """Entries of the `class/class-number` folders whose name `keep` accepts, by class and name."""
    return [
        Entry(name, tuple(f"{category}/{name}/{file}" for file in FILES))
        for category in list_folders(root)
        for name in list_folders(f"{root}/{category}")
        if name.rpartition("-")[0] == category and keep(name)
    ]


def read(root: Path, entry: Entry) -> Iterator[Annotation]:
    """A sequence with its two flag files, as in LaSOT and LaSOT_ext."""
    text, *flags, images = entry.files
    yield Annotation.checked(
        entry.name, images, list_frames(root / images), read_boxes(root / text),
        file=text, absent={file: read_flags(root / file) > 0 for file in flags}, category=entry.name.rpartition("-")[0],
    )  # fmt: skip


LAYOUT = DatasetLayout(
    name="lasot",
    title="LaSOT",
    folders=("LaSOT", "LaSOTBenchmark", "LaSOTTest"),
    splits={"train": 1120, "test": 280},
    train="train",
    heldout="test",
    expected_paths="airplane/airplane-1/{groundtruth.txt, full_occlusion.txt, out_of_view.txt, img/00000001.jpg}",
    entries=_entries,
    read=read,
    attributes=attributes.from_flags(attributes.LASOT, *ATTRIBUTES),
)
