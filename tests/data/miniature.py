"""Miniature datasets: each in its official layout with its quirks, in a handful of tiny frames.

    MAKERS["lasot"](root)      # writes the dataset; the caller chooses the name of the root

A sequence is a bright box that moves over a textured background, so that its frames differ.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import FolderDataset, open_dataset
from relo_jax.data.sequence import Sequence

WIDTH, HEIGHT, FRAMES = 96, 72, 24  # 20 frames make a sequence eligible for training


def walk(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """float64 [F, 4] x, y, w, h of a target that moves inside the frame, with at most two decimals, as in files."""
    rng = np.random.default_rng(seed)
    start, speed, size = rng.uniform(8, 20, 2), rng.uniform(0.3, 1.2, 2), rng.uniform(14, 22, 2)
    corners = start + speed * np.arange(frames)[:, None]
    return np.round(np.concatenate([corners, np.broadcast_to(size, (frames, 2))], 1), 2)


def frame(box_xywh, seed: int = 0, number: int = 0) -> np.ndarray:
    """uint8 [H, W, 3] BGR: the background, and the target at its box."""
    background = np.random.default_rng(seed).integers(0, 160, (9, 12, 3), np.uint8)
    image = cv2.resize(background, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if np.isfinite(box_xywh).all():
        x, y, w, h = np.round(box_xywh).astype(int)
        cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), (40, 220, 200 + number % 50), -1)
    return image


def write_frames(folder: Path, boxes, pattern: str = "{:08d}.jpg", first: int = 1, seed: int = 0) -> None:
    """The frames of a sequence, numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, box in enumerate(boxes):
        assert cv2.imwrite(str(folder / pattern.format(first + k)), frame(box, seed, k))


def lines(boxes, separator: str = ",") -> str:
    """The lines of an annotation file."""
    return "".join(separator.join("NaN" if np.isnan(v) else f"{v:g}" for v in box) + "\n" for box in boxes)


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


def lasot_ext(root: Path) -> None:
    """Three listed sequences, and one of LaSOT in the same folder. One file has tabs."""
    for seed, name in enumerate(("atv-1", "atv-10", "wingsuit-2", "airplane-1")):
        folder, boxes = root / name.split("-")[0] / name, walk(seed=seed)
        write_frames(folder / "img", boxes, seed=seed)
        (folder / "groundtruth.txt").write_text(lines(boxes, "\t" if name == "atv-10" else ","))
        for file, hidden in (("full_occlusion.txt", (4, 5)), ("out_of_view.txt", (5, 6))):
            (folder / file).write_text(",".join(str(int(name == "atv-1" and k in hidden)) for k in range(FRAMES)))


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
            labels = {"absence": [0, (3, 4), 1], "cover": [8, (4, 5), 0], "cut_by_image": [0, (7, 8), 1]}
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
    """Training and test in one folder; names with spaces and hyphens; boxes of zeros; one file name in lower case."""
    names = ("Aardwolf-1", "Aardwolf-3", "Blue-Crowned Hanging-Parrot-1", "Andean Cock-Of-The-Rock-12")
    for seed, name in enumerate(names):
        folder, boxes = root / name.rpartition("-")[0] / name, walk(seed=seed).round()
        shown = boxes.copy()
        if name == "Aardwolf-3":
            boxes[9:12], shown[9:12] = 0, np.nan
        write_frames(folder / "imgs", shown, "{:05d}.jpg", seed=seed)
        (folder / ("groundtruth.txt" if seed == 3 else "Groundtruth.txt")).write_text(lines(boxes))
        (folder / "nlp.txt").write_text(f"the {name}")


def coco(root: Path) -> None:
    """Photographs with objects that are large enough, too narrow, too low, a crowd, and two in one image."""
    for split, first in (("train", 100), ("val", 900)):
        images, objects = [], []
        for k, box in enumerate(([5, 6, 70, 60.5], [9.5, 3, 50.01, 64])):
            name = f"{first + k:012d}.jpg"
            images.append({"license": 1, "file_name": name, "height": HEIGHT, "width": WIDTH, "id": first + k})
            (root / f"{split}2017").mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / f"{split}2017" / name), frame(np.array(box), k))
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
        kinds = [("person", 1, "person"), ("animal", 18, "dog")]
        kinds = [{"supercategory": above, "id": number, "name": name} for above, number, name in kinds]
        known = {"info": {"year": 2017}, "licenses": [{"id": 1, "name": "none"}], "images": images}
        known |= {"annotations": objects, "categories": kinds}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(known))


def tnl2k(root: Path) -> None:
    """Frames as PNG, and as JPEG with unusual names; an absent target; a training sequence in the same root."""
    for seed, (part, name, pattern) in enumerate(
        (
            ("test", "Bird_28-Done", "{:08d}.png"),
            ("test", "Battle_video_1_done", "Battle-{}.JPG"),
            ("train", "Boat_video1-Done", "{:05d}.jpg"),
        )
    ):
        folder, boxes = root / f"TNL2K_{part}_subset" / name, walk(seed=seed)
        shown = boxes.copy()
        if name == "Bird_28-Done":
            boxes[6:8], shown[6:8] = 0, np.nan
        write_frames(folder / "imgs", shown, pattern, seed=seed)
        (folder / "groundtruth.txt").write_text(lines(boxes))
        (folder / "language.txt").write_text(f"the {name}")


def uav123(root: Path) -> None:
    """Two sequences that share a folder and the frame between them; NaN boxes; a sequence with its own folder."""
    video = walk()[np.arange(1261) % FRAMES]
    video[700:705] = np.nan
    spans = {"truck4_1": video[:577], "truck4_2": video[576:], "uav6": walk(seed=1)[np.arange(109) % FRAMES]}
    write_frames(root / "data_seq" / "UAV123" / "truck4", video, "{:06d}.jpg")
    write_frames(root / "data_seq" / "UAV123" / "uav6", spans["uav6"], "{:06d}.jpg", seed=1)
    (root / "anno" / "UAV123" / "att").mkdir(parents=True)
    for name, boxes in spans.items():
        (root / "anno" / "UAV123" / f"{name}.txt").write_text(lines(boxes))
        (root / "anno" / "UAV123" / "att" / f"{name}.txt").write_text("0,1,0,0,0,0,0,1,0,0,0,0")


def otb100(root: Path) -> None:
    """Folders with several targets, one with an empty annotation; fewer boxes than frames; mixed tabs and blanks."""
    first, second = walk(), walk(seed=1) + [42, 0, 0, 0]
    for name, texts in {
        "Jogging": {"1": lines(first, "\t"), "2": lines(second)},
        "Human4": {"1": "", "2": lines(first)},
    }.items():
        write_frames(root / name / "img", first, "{:04d}.jpg")
        if name == "Jogging":
            for k, box in enumerate(second):
                path = str(root / name / "img" / f"{k + 1:04d}.jpg")
                x, y, w, h = np.round(box).astype(int)
                image = cv2.rectangle(cv2.imread(path), (x, y), (x + w - 1, y + h - 1), (40, 220, 230), -1)
                assert cv2.imwrite(path, image)
        for number, text in texts.items():
            (root / name / f"groundtruth_rect.{number}.txt").write_text(text)
    boxes = walk(81, seed=2)[np.arange(81) % FRAMES]
    write_frames(root / "Football1" / "img", boxes, "{:04d}.jpg", seed=2)
    text = lines(boxes[:74], "\t").splitlines()
    text[40] = text[40].replace("\t", " ")
    (root / "Football1" / "groundtruth_rect.txt").write_text("\r\n".join(text))
    (root / "Football1" / "cfg.mat").write_bytes(b"MATLAB")


def nfs(root: Path) -> None:
    """A line for each frame at 240 per second; one surplus frame; the wrong frames at 30 per second."""
    for seed, (name, frames) in enumerate({"bee": FRAMES, "Gymnastics": FRAMES, "dog_2": FRAMES}.items()):
        rough = walk(frames, seed=seed)
        fine = np.repeat(rough, 8, 0)[: 8 * frames - 7]
        fine[1::8] += 30  # the lines between must not be used
        folder = root / name / "30" / name
        write_frames(folder, [*rough, rough[-1]] if name == "Gymnastics" else rough, "{:05d}.jpg", seed=seed)
        if name == "dog_2":
            write_frames(root / name / "240" / name, np.repeat(rough, 8, 0)[: len(fine)], "{:05d}.jpg", seed=seed)
            for path in folder.iterdir():
                path.write_bytes((root / "bee" / "30" / "bee" / "00001.jpg").read_bytes())
        corners = np.concatenate([fine[:, :2], fine[:, :2] + fine[:, 2:]], 1)
        text = [f'0 {" ".join(f"{v:.4f}" for v in box)} {k} 0 0 1 "insect"' for k, box in enumerate(corners, 1)]
        folder.with_suffix(".txt").write_text("\n".join(text) + "\n")


def vot(root: Path) -> None:
    """Polygons with frames in `color`; rectangles and codes for no target, with frames next to the text; masks."""
    boxes = {name: walk(seed=seed).round() for seed, name in enumerate(("bag", "ball1", "ants1"))}
    for seed, (name, walked) in enumerate(boxes.items()):
        write_frames(root / name / ("" if name == "ball1" else "color"), walked, seed=seed)
    corners = [f"{x},{y + h},{x},{y},{x + w},{y},{x + w},{y + h}" for x, y, w, h in boxes["bag"]]
    corners[5] = ",".join(["NaN"] * 8)
    rectangles = lines(boxes["ball1"]).splitlines()
    rectangles[0], rectangles[7] = "1", "0"
    masks = [f"m{x:.0f},{y:.0f},{w:.0f},{h:.0f},0,{w * h:.0f}" for x, y, w, h in boxes["ants1"]]
    masks[3] = "m0,0,0,0,0"
    for name, text in {"bag": corners, "ball1": rectangles, "ants1": masks}.items():
        (root / name / "groundtruth.txt").write_text("\n".join(text) + "\n")
    (root / "list.txt").write_text("bag\nball1\nants1\n")


MAKERS = {
    "lasot": lasot, "lasot_ext": lasot_ext, "got10k": got10k, "trackingnet": trackingnet, "vasttrack": vasttrack,
    "coco": coco, "tnl2k": tnl2k, "uav123": uav123, "otb100": otb100, "nfs": nfs, "vot": vot,
}  # fmt: skip


def opened(name: str, split: str, root: Path, cache: Path) -> FolderDataset:
    """A split of a dataset, by the dataset's name."""
    return open_dataset(layouts.dataset_layout(name), split, root, cache)


def names(dataset) -> list[str]:
    return [sequence.name for sequence in dataset]


def by_name(dataset) -> dict[str, Sequence]:
    return {sequence.name: sequence for sequence in dataset}


def hidden(sequence: Sequence) -> list[int]:
    """Numbers of the frames that are not visible."""
    return np.flatnonzero(~sequence.visible).tolist()


def frame_file(sequence: Sequence, frame: int) -> str:
    """Folder and file name of a frame."""
    return "/".join(sequence.where(frame).split("/")[-2:])
