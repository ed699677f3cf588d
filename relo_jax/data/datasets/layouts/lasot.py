"""LaSOT (Fan et al., CVPR 2019): 1,400 long sequences of 70 classes, 1,120 for training and 280 for testing.

Two files next to the boxes flag the frames whose target is fully occluded or out of view. Such frames have boxes too
but are not visible. Attributes come with the benchmark's toolkit rather than with the videos: they are read if the
toolkit's folder `annos/att` is in the root.

Sequences are in a folder of their class, or laid flat, and either may be in the folder of an archive or of a split.
"""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_flags
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, Problem
from relo_jax.data.datasets.listing import list_folders, list_frames

FILES = ("groundtruth.txt", "full_occlusion.txt", "out_of_view.txt", "img")
ATTRIBUTES = ("att", "annos/att", "LaSOT_Evaluation_Toolkit/annos/att")

# Folders that a copy of the dataset may have above its classes, in lower case.
_OF_LASOT_EXT = {"lasot_ext", "lasot_extension_subset"}
_WRAPPERS = {"lasot", "lasotbenchmark", "lasottest"} | _OF_LASOT_EXT
_WRAPPERS |= {f"{split}{ending}" for split in ("train", "test") for ending in ("", "ing", "_set", "ing_set", "ingset")}


def _entries(root: Path, split: str) -> list[Entry]:
    test = set(split_lists.official("lasot", "test.txt"))
    classes = {name.rpartition("-")[0] for name in test}  # the test set has every class, and LaSOT_ext none of them
    keep = lambda name: name.rpartition("-")[0] in classes and (name in test) == (split == "test")
    entries = sequence_entries(root, keep, unread=_OF_LASOT_EXT)
    if not entries:
        raise LAYOUT.not_found(root, f"sequence of the {split} split")
    return entries


def sequence_entries(root: Path, keep: Callable[[str], bool], unread: Collection[str] = ()) -> list[Entry]:
    """Entries of the folders `class-number` whose name `keep` accepts, by class and name.

    Folders whose name in lower case is in `unread` belong to another dataset. If a name is found again, the first is
    read and a problem names the other.
    """
    found: dict[str, str] = {}
    again = []
    for name, path in _sequence_folders(root):
        if keep(name) and path.split("/")[0].lower() not in unread:
            if found.setdefault(name, path) != path:
                detail = f"is in {found[name]} too, which is read: remove one of them"
                again.append(Entry(path, (), problem=Problem("sequence found twice", path, detail, fatal=False)))
    return [Entry(name, tuple(f"{path}/{file}" for file in FILES)) for name, path in found.items()] + again


def _sequence_folders(root: Path, base: str = "") -> Iterator[tuple[str, str]]:
    """Name and path of all sequences in `root/base`: those in folders of their class, flat ones, those in wrappers."""
    flat, wrappers = [], []
    for folder in list_folders(f"{root}/{base}"):
        inside = list_folders(f"{root}/{base}{folder}")
        of_class = [name for name in inside if name.rpartition("-")[0] == folder]
        # LaSOT has a class train: a folder train with other folders besides is that of a split.
        if folder.lower() in _WRAPPERS and len(of_class) < len(inside) and base.count("/") < 2:
            wrappers.append(f"{base}{folder}/")
        elif of_class:
            yield from ((name, f"{base}{folder}/{name}") for name in of_class)
        elif re.fullmatch(r"[A-Za-z]+-\d+", folder):
            flat.append((folder, f"{base}{folder}"))
    yield from flat
    for wrapper in wrappers:
        yield from _sequence_folders(root, wrapper)


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
