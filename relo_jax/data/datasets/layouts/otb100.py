"""OTB-100 (Wu, Lim, Yang, TPAMI 2015): 100 sequences in 98 folders.

Three folders have one annotation file per target, and the sequence's name ends in its number: `Jogging.2` is
`Jogging/groundtruth_rect.2.txt`. Some annotations cover only part of the frames, see `data/otb100/ranges.txt`. Two
thirds of the files separate values by commas and the others by tabs; one file mixes tabs and blanks. Copies of the
benchmark call the annotation `groundtruth.txt`, or the folder of frames otherwise.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import frames_between, list_files, list_frames
from relo_jax.media.images import IMAGE_SUFFIXES

_IMAGES = ("img", "imgs", "images", "color")  # folders of frames in a sequence; or they are beside the annotation


@cache
def _ranges() -> dict[str, tuple[int, ...]]:
    """Sequence -> its first frame, its last frame, and the first annotated frame, if it is only part of its folder."""
    rows = (line.split() for line in split_lists.official("otb100", "ranges.txt"))
    return {name: tuple(map(int, numbers)) for name, *numbers in rows}


def _entries(root: Path, split: str) -> list[Entry]:
    entries = []
    for name in split_lists.official("otb100", "test.txt"):
        folder, dot, number = name.partition(".")
        if (root / folder).is_dir():
            present = set(list_files(root / folder))
            texts = [f"{stem}{dot}{number}.txt" for stem in ("groundtruth_rect", "groundtruth")]
            text = next((text for text in texts if text in present), texts[0])
            images = next((images for images in _IMAGES if images in present), "")
            if not images and not any(os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES for file in present):
                images = _IMAGES[0]
            entries.append(Entry(name, (f"{folder}/{text}", f"{folder}/{images}".rstrip("/")), _ranges().get(name, ())))
    if not entries:
        raise LAYOUT.not_found(root, "sequence of the benchmark")
    return entries


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    frames, boxes = list_frames(root / images), read_boxes(root / text)
    if entry.extra:
        first, last, start = entry.extra
        frames, boxes = frames_between(frames, first, last), boxes[first - start :]
    yield Annotation.checked(entry.name, images, frames, boxes, file=text)


LAYOUT = DatasetLayout(
    name="otb100",
    title="OTB-100",
    folders=("OTB100", "OTB-100", "OTB2015", "OTB"),
    splits={"test": 100},
    expected_paths="Basketball/{groundtruth_rect.txt, img/0001.jpg}",
    entries=_entries,
    read=_read,
    attributes=attributes.from_list("otb100", "attributes.txt"),
)
