"""UAV123 (Mueller et al., ECCV 2016): 123 sequences from drones.

Several sequences are parts of one video and share its folder of frames. `data/uav123/test.txt` lists the frames of each
as the benchmark's configuration defines them. Boxes are NaN while the target is absent.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import frames_between, list_files, list_frames

FRAMES, BOXES = "data_seq/UAV123", "anno/UAV123"


def _entries(root: Path, split: str) -> list[Entry]:
    for folder in (FRAMES, BOXES):
        if not (root / folder).is_dir():
            raise LAYOUT.not_found(root, folder)
    rows = [line.split() for line in split_lists.official("uav123", "test.txt")]
    present = set(list_files(root / BOXES))
    entries = [
        Entry(name, (f"{BOXES}/{name}.txt", f"{FRAMES}/{folder}"), (int(first), int(last)))
        for name, folder, first, last in rows
        if f"{name}.txt" in present
    ]
    if not entries:
        raise LAYOUT.not_found(root, f"annotation in {BOXES}")
    return entries


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    frames = frames_between(list_frames(root / images), *entry.extra)
    yield Annotation.checked(entry.name, images, frames, read_boxes(root / text), file=text)


LAYOUT = DatasetLayout(
    name="uav123",
    title="UAV123",
    folders=("UAV123", "Dataset_UAV123", "UAV"),
    splits={"test": 123},
    expected_paths="{anno/UAV123/bird1_1.txt, data_seq/UAV123/bird1/000001.jpg}",
    entries=_entries,
    read=_read,
    attributes=attributes.from_flags(attributes.UAV123, f"{BOXES}/att"),
)
