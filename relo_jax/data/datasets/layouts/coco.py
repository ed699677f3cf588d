"""COCO 2017 (Lin et al., ECCV 2014): photographs; every object that is large enough is a clip of one repeated image.

An object counts if it is not a crowd and both its sides exceed a size, by default 50 pixels. The release marks the same
objects as visible, but draws all that are not crowds: with 0, all count that have an area. All objects are in one file
of half a gigabyte, most of it outlines; these are dropped during parsing, object by object, so that they take no
memory.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from relo_jax.config.data_options import COCO_SMALLEST_SIDE
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry, Problem, plausible
from relo_jax.data.datasets.listing import list_files
from relo_jax.errors import UserError, in_one_line
from relo_jax.files import readable


def _entries(smallest_side: int, root: Path, split: str) -> list[Entry]:
    text = f"annotations/instances_{split}2017.json"
    folder = next((f for f in (f"{split}2017", f"images/{split}2017") if (root / f).is_dir()), None)
    if folder is None or not (root / text).is_file():
        raise LAYOUT.not_found(root, f"{split}2017" if folder is None else text)
    # Indices that were made before there was a choice have nothing here, and remain valid.
    extra = () if smallest_side == COCO_SMALLEST_SIDE else (smallest_side,)
    return [Entry(f"{split}2017", (text, folder), extra)]


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, folder = entry.files
    (smallest_side,) = entry.extra or (COCO_SMALLEST_SIDE,)
    images, objects, classes = _parse(root / text, smallest_side)
    present, visible = set(list_files(root / folder)), np.ones(1, bool)
    for number, image, box, category in objects:
        if reason := _reason(number, image, box, category):
            problem = Problem("unreadable annotation", text, f"an object {reason}: extract it again")
            yield Annotation("", folder, [], np.zeros((0, 4)), np.zeros(0, bool), problems=[problem])
            continue
        file = images.get(image)
        boxes, problems = np.array([box], np.float64), []
        if file not in present:
            detail = "an object refers to this image, but it is missing: extract the images again"
            problems = [Problem("missing image", f"{folder}/{file or f'image {image}'}", detail)]
        elif not plausible(boxes)[0]:
            problems = [Problem("absurd boxes", text, f"object {number} has the box {list(box)}: extract it again")]
        yield Annotation(
            f"{image}_{number}", folder, [file or ""], boxes, visible, classes.get(category),
            still=True, problems=problems,
        )  # fmt: skip


def _parse(path: Path, smallest_side: int) -> tuple[dict[int, str], list["_Object"], dict[int, str]]:
    """Image id -> file name; the objects that count; class id -> name."""
    try:
        with open(readable(path), encoding="utf-8") as file:
            content = json.load(file, object_hook=functools.partial(_shorten, smallest_side))
        images, classes = _named(content["images"], _Image), _named(content["categories"], _Class)
        objects = [item for item in content["annotations"] if item is not None]
        if not all(isinstance(item, _Object) for item in objects):
            raise ValueError("an annotation without a bbox")
        return images, objects, classes
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise UserError(f"{path}: not a COCO annotation file ({in_one_line(error)}): extract it again") from None


class _Image(NamedTuple):
    id: Any
    name: Any


class _Class(NamedTuple):
    id: Any
    name: Any


class _Object(NamedTuple):
    id: Any
    image: Any
    box: Any
    category: Any


def _named(items: list[Any], kind: type[_Image] | type[_Class]) -> dict[int, str]:
    """Id -> name of images or classes. Raises ValueError and TypeError for other content."""
    if not all(isinstance(item, kind) and isinstance(item.name, str) for item in items):
        raise ValueError("an image or a category without a name")
    return {item.id: item.name for item in items}


def _shorten(smallest_side: int, item: dict) -> dict | tuple | None:
    """The needed fields of a JSON object, without the outline; None for a crowd or a small object."""
    if "bbox" in item:
        box = item["bbox"]
        if item.get("iscrowd"):
            return None
        if _is_box(box) and not (box[2] > smallest_side and box[3] > smallest_side):
            return None
        return _Object(item.get("id"), item.get("image_id"), box, item.get("category_id"))
    if "file_name" in item:
        return _Image(item["id"], item["file_name"])
    if "supercategory" in item:
        return _Class(item["id"], item["name"])
    return item


def _is_box(value: object) -> bool:
    is_number = lambda side: type(side) in (int, float) and abs(side) < 1e9
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def _reason(number: object, image: object, box: object, category: object) -> str:
    """Why the values of an object are not those of COCO; empty if they are."""
    named = {"id": number, "image_id": image, "category_id": category}
    wrong = next((name for name, value in named.items() if type(value) not in (int, str)), None)
    if wrong:
        return f"has the {wrong} {str(named[wrong])[:40]!r}"
    return "" if _is_box(box) else f"{number} has the bbox {str(box)[:40]!r}"


def layout(smallest_side: int) -> DatasetLayout:
    """The layout, of the objects that are wider and higher than `smallest_side` pixels."""
    return DatasetLayout(
        name="coco",
        title="COCO 2017",
        folders=("coco", "COCO2017", "MSCOCO"),
        splits={"train": None, "val": None},
        train="train",
        heldout="val",
        expected_paths="{annotations/instances_train2017.json, train2017/000000000009.jpg (or images/train2017)}",
        entries=functools.partial(_entries, smallest_side),
        read=_read,
        smallest_side=smallest_side,
    )


LAYOUT = layout(COCO_SMALLEST_SIDE)
