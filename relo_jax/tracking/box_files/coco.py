"""COCO-VID's JSON: COCO's lists of images, annotations and categories, and one of videos.

An image is a frame: `video_id` and `frame_id`, from 0. An annotation has `bbox` (x, y, w, h in pixels), the target as
`track_id` and, as other tools call it, `instance_id`, the `score`, and `found`. Annotations that are not found are
written too, with `"found": false`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from relo_jax.errors import UserError
from relo_jax.tracking.box_files.tracks import LABEL, BoxTrack, FilmFacts, Reader, TrackBox, read_text

FORM = 'COCO-VID: {"videos": [...], "images": [...], "annotations": [...], "categories": [...]}'
_IDS, _NUMBERS = ("track_id", "instance_id"), ("frame_id", "frame_index", "frame_number")


def write(path: str | Path, tracks: Iterable[BoxTrack], film: FilmFacts) -> None:
    """Writes a video with an image for every frame in which a target was followed."""
    tracks = list(tracks)
    labels = sorted({track.label for track in tracks})
    times = {box.frame: box.time for track in tracks for box in track.boxes}
    videos = [{"id": 1, "name": film.name, "width": film.width, "height": film.height, "fps": film.rate}]
    if film.count is not None:
        videos[0]["length"] = film.count
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{{"videos": {json.dumps(videos)},\n"categories": ')
        file.write(json.dumps([{"id": k, "name": label} for k, label in enumerate(labels, start=1)]))
        file.write(',\n"images": [\n')
        file.write(",\n".join(json.dumps(_image(frame, times[frame], film)) for frame in sorted(times)))
        file.write('\n],\n"annotations": [\n')
        file.write(",\n".join(map(json.dumps, _annotations(tracks, labels))) + "\n]}\n")


def _image(frame: int, time: float | None, film: FilmFacts) -> dict[str, Any]:
    name = film.files[frame] if frame < len(film.files) else f"{Path(film.name).stem}/{frame:06d}.jpg"
    row = {"id": frame + 1, "video_id": 1, "frame_id": frame, "file_name": name}
    row |= {"width": film.width, "height": film.height}
    return row if time is None else {**row, "time": round(time, 6)}


def _annotations(tracks: list[BoxTrack], labels: list[str]) -> Iterator[dict[str, Any]]:
    boxes = sorted((box.frame, track.id, track.label, box) for track in tracks for box in track.boxes)
    for number, (frame, id, label, box) in enumerate(boxes, start=1):
        yield {
            "id": number, "image_id": frame + 1, "video_id": 1, "category_id": labels.index(label) + 1,
            "track_id": id, "instance_id": id, "bbox": [round(value, 4) for value in box.box],
            "area": round(box.box[2] * box.box[3], 4), "iscrowd": 0, "score": round(box.score, 4), "found": box.found,
        }  # fmt: skip


def read(path: str | Path, video: str | None = None) -> list[BoxTrack]:
    """The targets of a video.

    Args:
      path: the file.
      video: its name, or the name without suffix; needed if the file has several.

    Raises:
      UserError: bad file, or none of its videos has that name.
    """
    reader = Reader(path, FORM)
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({str(error)[:80]}): expected {FORM}") from None
    lists: dict[str, Any] = {
        name: content.get(name) if isinstance(content, dict) else None for name in ("images", "annotations")
    }
    if not all(isinstance(rows, list) for rows in lists.values()):
        raise UserError(f"{path} has no lists images and annotations: expected {FORM}")
    wanted = _video(reader, path, content, video)
    frames: dict[Any, int | None] = {}  # of images; None: of another video
    for k, image in enumerate(lists["images"]):
        place = f"images[{k}]"
        number = _value(reader, place, image, _NUMBERS)
        is_wanted = wanted is None or image.get("video_id") == wanted
        frame = reader.whole(place, "the frame", number)
        frames[_key(reader, place, image, "id")] = frame if is_wanted else None
    labels, categories = {}, content.get("categories") or []
    if not isinstance(categories, list):
        raise UserError(f"{path}: categories is {str(categories)[:40]}, not a list: expected {FORM}")
    for k, category in enumerate(categories):
        labels[_key(reader, f"categories[{k}]", category, "id")] = str(category.get("name", LABEL))
    for k, row in enumerate(lists["annotations"]):
        place = f"annotations[{k}]"
        image = _key(reader, place, row, "image_id")
        if image not in frames:
            raise reader.error(place, f"image_id is {str(image)[:40]}, which is no image")
        if (number := frames[image]) is not None:
            _add(reader, place, row, number, labels)
    return reader.tracks()


def _add(reader: Reader, place: str, row: dict[str, Any], frame: int, labels: dict[Any, str]) -> None:
    id = reader.whole(place, "the target", _value(reader, place, row, _IDS))
    numbers = row.get("bbox")
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise reader.error(place, f"bbox is {str(numbers)[:60]}, not [x, y, w, h]")
    found = reader.flag(place, "found", row.get("found", True))
    score = reader.number(place, "score", row.get("score", 1.0))
    box = TrackBox(frame, reader.box(place, numbers), score, found)
    category = row.get("category_id")
    reader.add(place, id, box, labels.get(category, LABEL) if isinstance(category, (int, str)) else LABEL)


def _video(reader: Reader, path: str | Path, content: dict[str, Any], name: str | None) -> Any:
    """The id of the video that is meant; None if the file has no list of videos."""
    videos = content.get("videos")
    if not isinstance(videos, list) or not videos:
        return None
    ids = [_key(reader, f"videos[{k}]", row, "id") for k, row in enumerate(videos)]
    if len(videos) == 1:
        return ids[0]
    names = [str(row.get("name") or row.get("file_name") or "") for row in videos]
    stems = {name, Path(name).stem} if name else set()
    fitting = [id for id, own in zip(ids, names, strict=True) if {own, Path(own).stem, Path(own).name} & stems]
    if len(fitting) != 1:
        some = ", ".join(names[:4]) + (" ..." if names[4:] else "")
        raise UserError(f"{path} has {len(videos)} videos ({some}), and not one that is called {name}: take it out")
    return fitting[0]


def _key(reader: Reader, place: str, row: Any, name: str) -> int | str:
    key = row.get(name) if isinstance(row, dict) else None
    if not isinstance(key, (int, str)):
        raise reader.error(place, f"{name} is {str(key)[:40]}, which is no id")
    return key


def _value(reader: Reader, place: str, row: Any, names: tuple[str, ...]) -> Any:
    """The first of several fields that is there. Raises UserError."""
    found = [row[name] for name in names if row.get(name) is not None] if isinstance(row, dict) else []
    if not found:
        raise reader.error(place, f"has no {names[0]}")
    return found[0]
