"""Miniatures of the datasets that RELO trains on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from relo_jax.data.miniature.scenes import FRAMES, HEIGHT, WIDTH, frame, lines, walk, write_frames, write_image


def lasot(root: Path) -> None:
    """Two training and two test sequences. Flags hide the target of airplane-1 in some frames, and one of its boxes has
    no area without a flag."""
    for seed, name in enumerate(("airplane-1", "airplane-2", "bear-1", "bear-2")):
        folder, boxes = root / name.split("-")[0] / name, walk(seed=seed)
        write_frames(folder / "img", boxes, seed=seed)
        boxes[15, 2:] *= name != "airplane-1"
        (folder / "groundtruth.txt").write_text(lines(boxes))
        hidden = [int(name == "airplane-1" and 5 <= k < 8) for k in range(FRAMES)]
        away = [int(name == "airplane-1" and k == 10) for k in range(FRAMES)]
        (folder / "full_occlusion.txt").write_text(",".join(map(str, hidden)))
        (folder / "out_of_view.txt").write_text(",".join(map(str, away)))
        (folder / "nlp.txt").write_text(f"the {name}")


# Positions 0, 1, 4 and 5 of the training split: vottrain, votval, in neither, vottrain.
GOT10K = {"train": (1, 2, 5, 6), "val": (1, 2), "test": (1, 2)}


def got10k(root: Path) -> None:
    """All three folders. GOT-10k_Train_000001 is absent, covered and cut in some frames; test has only first boxes."""
    for folder, numbers in GOT10K.items():
        names = [f"GOT-10k_{folder.title()}_{number:06d}" for number in numbers]
        for seed, name in enumerate(names):
            path, boxes = root / folder / name, walk(seed=seed)
            write_frames(path, boxes, seed=seed)
            (path / "groundtruth.txt").write_text(
                "".join(",".join(f"{v:.4f}" for v in box) + "\n" for box in boxes[: 1 if folder == "test" else None])
            )
            first = folder == "train" and seed == 0
            labels = {"absence": (0, (3, 4), 1), "cover": (8, (4, 5), 0), "cut_by_image": (0, (7, 8), 1)}
            for label, (usual, frames, other) in labels.items():
                values = [other if first and k in frames else usual for k in range(FRAMES)]
                (path / f"{label}.label").write_text("".join(f"{v}\n" for v in values))
            (path / "meta_info.ini").write_text(
                "[METAINFO]\nurl: https://example.org/v\nbegin: 00:00:30\nend: 00:00:40\nanno_fps: 10Hz\n"
                "object_class: polar bear\nmotion_class: walking\nmajor_class: bear\nroot_class: animal\n"
            )
        (root / folder / "list.txt").write_text("".join(f"{name}\n" for name in names))


def trackingnet(root: Path) -> None:
    """Two of the twelve parts, a third whose frames are still packed, and the test part with only the first boxes."""
    parts = {"TRAIN_0": ("-0tDKdfmJ2w_0", "AAB6lO-XiKE_0"), "TRAIN_3": ("_zX_5tDKdfm_1",), "TEST": ("0-6LB4FqxoE_0",)}
    for part, names in parts.items():
        (root / part / "anno").mkdir(parents=True)
        for seed, name in enumerate(names):
            boxes = walk(seed=seed)
            write_frames(root / part / "frames" / name, boxes, "{}.jpg", first=0, seed=seed)
            (root / part / "anno" / f"{name}.txt").write_text(lines(boxes[:1] if part == "TEST" else boxes))
    (root / "TRAIN_7" / "zips").mkdir(parents=True)
    (root / "TRAIN_7" / "zips" / "q_0.zip").write_bytes(b"PK")


def vasttrack(root: Path) -> None:
    """Training and test in one folder; names with spaces and hyphens; boxes of zeros; one file name in lower case. The
    release's list leaves a sequence out."""
    names = ("Aardwolf-1", "Aardwolf-3", "Blue-Crowned Hanging-Parrot-1", "Andean Cock-Of-The-Rock-12")
    for seed, name in enumerate(names):
        folder, boxes = root / name.rpartition("-")[0] / name, walk(seed=seed).round()
        shown = boxes.copy()
        if name == "Aardwolf-3":
            boxes[9:12], shown[9:12] = 0, np.nan
        write_frames(folder / "imgs", shown, "{:05d}.jpg", seed=seed)
        (folder / ("groundtruth.txt" if seed == 3 else "Groundtruth.txt")).write_text(lines(boxes))
        (folder / "nlp.txt").write_text(f"the {name}")
    (root / "vasttrack_train_split.txt").write_text("Andean Cock-Of-The-Rock-12\n")


def coco(root: Path) -> None:
    """Photographs with objects that are large enough, too narrow, too low, a crowd, and two in one image."""
    for split, first in (("train", 100), ("val", 900)):
        images, objects = [], []
        for k, box in enumerate(([5, 6, 70, 60.5], [9.5, 3, 50.01, 64])):
            name = f"{first + k:012d}.jpg"
            images.append({"license": 1, "file_name": name, "height": HEIGHT, "width": WIDTH, "id": first + k})
            (root / f"{split}2017").mkdir(parents=True, exist_ok=True)
            write_image(root / f"{split}2017" / name, frame(np.array(box), k))
            objects.append({"image_id": first + k, "bbox": box, "iscrowd": 0, "category_id": 18})
        other = {"image_id": first, "category_id": 1, "iscrowd": 0}
        objects.append({**other, "bbox": [8, 6, 62, 58]})
        objects.append({**other, "bbox": [8, 6, 50, 58]})
        objects.append({**other, "bbox": [8, 6, 62, 50]})
        runs = {"counts": [3, 4], "size": [9, 8]}
        objects.append({**other, "bbox": [0, 0, 90, 70], "iscrowd": 1, "segmentation": runs})
        for number, thing in enumerate(objects):
            thing.setdefault("segmentation", [[1.5, 2.5, 60.25, 2.5, 60.25, 63.0]])
            thing.update(id=first * 10 + number, area=3000.5)
        kinds = [
            {"supercategory": above, "id": number, "name": name}
            for above, number, name in (("person", 1, "person"), ("animal", 18, "dog"))
        ]
        known: dict[str, object] = {"info": {"year": 2017}, "licenses": [{"id": 1, "name": "none"}], "images": images}
        known |= {"annotations": objects, "categories": kinds}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(known))
