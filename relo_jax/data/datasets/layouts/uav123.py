"""UAV123 (Mueller et al., ECCV 2016): 123 sequences from drones.

Several sequences are parts of one video and share its folder of frames. `data/uav123/test.txt` lists the frames of each
as the benchmark's configuration defines them. Boxes are NaN while the target is absent.

UAV123@10fps is the same benchmark with every third frame, and another download: the split `test_10fps`.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.annotations import read_boxes
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import frames_between, list_files, list_frames
from relo_jax.errors import UserError

EDITIONS = {"test": "UAV123", "test_10fps": "UAV123_10fps"}  # split -> its folder in anno and data_seq
STEP_10FPS = 3  # of frame numbers


def _entries(root: Path, split: str) -> list[Entry]:
    edition, step = EDITIONS[split], STEP_10FPS if split == "test_10fps" else 1
    frames, boxes = f"data_seq/{edition}", f"anno/{edition}"
    for folder in (frames, boxes):
        if not (root / folder).is_dir():
            raise _other_edition(root, split) or LAYOUT.not_found(root, folder)
    rows = [line.split() for line in split_lists.official("uav123", "test.txt")]
    present = set(list_files(root / boxes))
    entries = [
        Entry(
            name, (f"{boxes}/{name}.txt", f"{frames}/{folder}"), tuple((int(n) - 1) // step + 1 for n in (first, last))
        )
        for name, folder, first, last in rows
        if f"{name}.txt" in present
    ]
    if not entries:
        raise LAYOUT.not_found(root, f"annotation in {boxes}")
    return entries


def _other_edition(root: Path, split: str) -> UserError | None:
    """The error for a root with the frames of the other split; None if they are not there either."""
    for other, edition in EDITIONS.items():
        if (root / "data_seq" / edition).is_dir():
            return UserError(
                f"{root}: no data_seq/{EDITIONS[split]}, but data_seq/{edition}, another benchmark: "
                f"read its split {other}, or give the folder that has {EDITIONS[split]}"
            )
    return None


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, images = entry.files
    frames = frames_between(list_frames(root / images), *entry.extra)
    yield Annotation.checked(entry.name, images, frames, read_boxes(root / text), file=text)


LAYOUT = DatasetLayout(
    name="uav123",
    title="UAV123",
    folders=("UAV123", "Dataset_UAV123", "UAV"),
    splits={"test": 123, "test_10fps": 123},
    expected_paths="{anno/UAV123/bird1_1.txt, data_seq/UAV123/bird1/000001.jpg}",
    entries=_entries,
    read=_read,
    attributes=attributes.from_flags(attributes.UAV123, *(f"anno/{edition}/att" for edition in EDITIONS.values())),
    other_folders=("UAV123_10fps", "Dataset_UAV123_10fps"),
)
