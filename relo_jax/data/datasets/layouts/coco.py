"""COCO 2017 (Lin et al., ECCV 2014): photographs; every object that is large enough is a clip of one repeated image.

An object counts when it is more than 50 pixels wide and high and is not a crowd. All objects are in one file of half a
gigabyte, most of it outlines: they are dropped while it is parsed, object by object, so that they take no memory.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relo_jax.data.datasets.layout import DatasetLayout, Entry, Problem, Record, list_files, sensible
from relo_jax.errors import UserError

SMALLEST = 50  # pixels; width and height must be more


def _entries(root: Path, split: str) -> list[Entry]:
    text = f"annotations/instances_{split}2017.json"
    folder = next((f for f in (f"{split}2017", f"images/{split}2017") if (root / f).is_dir()), None)
    if folder is None or not (root / text).is_file():
        raise LAYOUT.not_found(root, f"{split}2017" if folder is None else text)
    return [Entry(f"{split}2017", (text, folder))]


def _read(root: Path, entry: Entry) -> Iterator[Record]:
    text, folder = entry.files
    images, objects, classes = _parse(root / text)
    there, shown = set(list_files(root / folder)), np.ones(1, bool)
    for number, image, box, kind in objects:
        file = images.get(image)
        if file not in there:
            detail = "no such image, but an object of it: extract the images again"
            problems = [Problem("missing image", f"{folder}/{file or f'image {image}'}", detail)]
        elif not sensible(np.array([box], np.float64))[0]:
            problems = [Problem("absurd boxes", text, f"object {number} has the box {list(box)}: extract it again")]
        else:
            problems = []
        name, boxes = f"{image}_{number}", np.array([box], np.float64)
        yield Record(name, folder, [file or ""], boxes, shown, classes.get(kind), still=True, problems=problems)


def _parse(path: Path) -> tuple[dict[int, str], list[tuple], dict[int, str]]:
    """File names of images by id; (id, image, box, class) of the objects that count; names of classes by id."""
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file, object_hook=_short)
        images = {part[1]: part[2] for part in known["images"]}
        classes = {part[1]: part[2] for part in known["categories"]}
        return images, [part for part in known["annotations"] if part is not None], classes
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise UserError(f"{path}: not an annotation file of COCO ({error!r}): extract it again") from None


def _short(part: dict):
    """What is kept of an object of the file: nothing of a crowd, a small thing, or the outline."""
    if "bbox" in part:
        box = part["bbox"]
        if part["iscrowd"] or not (box[2] > SMALLEST and box[3] > SMALLEST):
            return None
        return part["id"], part["image_id"], tuple(box), part["category_id"]
    if "file_name" in part:
        return "image", part["id"], part["file_name"]
    if "supercategory" in part:
        return "class", part["id"], part["name"]
    return part


LAYOUT = DatasetLayout(
    name="coco",
    title="COCO 2017",
    folders=("coco", "COCO2017", "MSCOCO"),
    splits={"train": None, "val": None},
    train="train",
    heldout="val",
    layout="{annotations/instances_train2017.json, train2017/000000000009.jpg (or images/train2017)}",
    entries=_entries,
    read=_read,
)
