"""Miniatures of the datasets that only evaluate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from relo_jax.data.miniature.scenes import FRAMES, lines, walk, write_frames, write_image


def lasot_ext(root: Path, frames: int = FRAMES) -> None:
    """Three listed sequences, and one of LaSOT in the same folder. One file has tabs."""
    for seed, name in enumerate(("atv-1", "atv-10", "wingsuit-2", "airplane-1")):
        folder, boxes = root / name.split("-")[0] / name, walk(frames, seed)
        write_frames(folder / "img", boxes, seed=seed)
        (folder / "groundtruth.txt").write_text(lines(boxes, "\t" if name == "atv-10" else ","))
        for file, hidden in (("full_occlusion.txt", (4, 5)), ("out_of_view.txt", (5, 6))):
            (folder / file).write_text(",".join(str(int(name == "atv-1" and k in hidden)) for k in range(frames)))


def tnl2k(root: Path, frames: int = FRAMES) -> None:
    """Frames as PNG, and as JPEG with unusual names; an absent target; a training sequence in the same root."""
    for seed, (part, name, pattern) in enumerate(
        (
            ("test", "Bird_28-Done", "{:08d}.png"),
            ("test", "Battle_video_1_done", "Battle-{}.JPG"),
            ("train", "Boat_video1-Done", "{:05d}.jpg"),
        )
    ):
        folder, boxes = root / f"TNL2K_{part}_subset" / name, walk(frames, seed)
        shown = boxes.copy()
        if name == "Bird_28-Done":
            boxes[6:8], shown[6:8] = 0, np.nan
        write_frames(folder / "imgs", shown, pattern, seed=seed)
        (folder / "groundtruth.txt").write_text(lines(boxes))
        (folder / "language.txt").write_text(f"the {name}")


def uav123(root: Path, frames: range = range(1, 1262)) -> None:
    """Two sequences that share a folder and the frame between them; NaN boxes; a sequence with its own folder,
    also at 10 frames per second.

    Args:
      root: the dataset's folder.
      frames: those of the shared folder. The first sequence ends, and the second starts, with frame 577. The third
        sequence has as many frames, but not more than its official 109.
    """
    video = walk()[np.arange(1261) % FRAMES]
    video[700:705] = np.nan
    spans = {"truck4_1": video[frames.start - 1 : 577], "truck4_2": video[576 : frames.stop - 1]}
    spans["uav6"] = walk(seed=1)[np.arange(min(109, len(frames))) % FRAMES]
    shared = video[frames.start - 1 : frames.stop - 1]
    write_frames(root / "data_seq" / "UAV123" / "truck4", shared, "{:06d}.jpg", first=frames.start)
    write_frames(root / "data_seq" / "UAV123" / "uav6", spans["uav6"], "{:06d}.jpg", seed=1)
    (root / "anno" / "UAV123" / "att").mkdir(parents=True)
    for name, boxes in spans.items():
        (root / "anno" / "UAV123" / f"{name}.txt").write_text(lines(boxes))
        (root / "anno" / "UAV123" / "att" / f"{name}.txt").write_text("0,1,0,0,0,0,0,1,0,0,0,0")
    every_third = walk(seed=1)[np.arange(0, 109, 3) % FRAMES]
    write_frames(root / "data_seq" / "UAV123_10fps" / "uav6", every_third, "{:06d}.jpg", seed=1)
    (root / "anno" / "UAV123_10fps").mkdir()
    (root / "anno" / "UAV123_10fps" / "uav6.txt").write_text(lines(every_third))


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
                path = root / name / "img" / f"{k + 1:04d}.jpg"
                x, y, w, h = np.round(box).astype(int)
                image = cv2.rectangle(
                    np.asarray(cv2.imread(str(path))), (x, y), (x + w - 1, y + h - 1), (40, 220, 230), -1
                )
                write_image(path, image)
        for number, text in texts.items():
            (root / name / f"groundtruth_rect.{number}.txt").write_text(text)
    boxes = walk(81, seed=2)[np.arange(81) % FRAMES]
    write_frames(root / "Football1" / "img", boxes, "{:04d}.jpg", seed=2)
    rows = lines(boxes[:74], "\t").splitlines()
    rows[40] = rows[40].replace("\t", " ")
    (root / "Football1" / "groundtruth_rect.txt").write_text("\r\n".join(rows))
    (root / "Football1" / "cfg.mat").write_bytes(b"MATLAB")


def nfs(root: Path, frames: int = FRAMES) -> None:
    """A line for each frame at 240 per second; one surplus frame; the wrong frames at 30 per second."""
    for seed, name in enumerate(("bee", "Gymnastics", "dog_2")):
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
