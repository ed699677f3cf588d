"""Seconds to open a dataset of many sequences the first time, when its index is made, and the second; and the memory.

    python -m benchmarks.data_index --sequences 20000
    python -m benchmarks.data_index --images 118000

The dataset is made up in the official layout, in a temporary folder: GOT-10k, which has the most files a sequence, or
(with --images) COCO with as many annotations an image as there are in COCO 2017. Each opening is a process of its own,
so that its memory is its own, and reads what another has just written: the disk is not waited for.
"""

import json
import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import common

OBJECTS = 860_001 / 118_287  # annotations an image in COCO 2017 train
LABELS = {"absence.label": "0", "cover.label": "8", "cut_by_image.label": "0"}


def make_got10k(root, sequences, frames):
    """A training split; all frames are one empty file under many names, an index does not look into them."""
    rng, names = np.random.default_rng(0), [f"GOT-10k_Train_{k + 1:06d}" for k in range(sequences)]
    (root / "train").mkdir(parents=True)
    (root / "frame.jpg").touch()
    for name in names:
        folder = root / "train" / name
        folder.mkdir()
        for k in range(frames):
            (folder / f"{k + 1:08d}.jpg").symlink_to(root / "frame.jpg")
        boxes = rng.uniform(10, 900, (frames, 4))
        (folder / "groundtruth.txt").write_text("".join(",".join(f"{v:.4f}" for v in box) + "\n" for box in boxes))
        for file, flag in LABELS.items():
            (folder / file).write_text(f"{flag}\n" * frames)
        (folder / "meta_info.ini").write_text("[METAINFO]\nobject_class: bear\n")
    (root / "train" / "list.txt").write_text("\n".join(names))


def make_coco(root, images):
    """Annotations with outlines of as many points as COCO's have on average; the images are empty files."""
    rng, outline = np.random.default_rng(0), json.dumps([[round(100 + k * 1.37, 2) for k in range(52)]])
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number in range(images):
        (root / "train2017" / f"{number:012d}.jpg").touch()
    count = int(images * OBJECTS)
    owners, boxes = rng.integers(0, images, count), np.round(rng.lognormal(4, 1, (count, 4)), 2)
    with open(root / "annotations" / "instances_train2017.json", "w") as file:
        file.write('{"info": {"year": 2017}, "images": [')
        file.write(",".join(f'{{"file_name": "{k:012d}.jpg", "height": 480, "id": {k}}}' for k in range(images)))
        file.write('], "categories": [{"supercategory": "animal", "id": 18, "name": "dog"}], "annotations": [')
        for k, (owner, box) in enumerate(zip(owners.tolist(), boxes.tolist(), strict=True)):
            file.write(
                f'{"," if k else ""}{{"segmentation": {outline}, "area": 1.5, "iscrowd": 0, "image_id": {owner}, '
                f'"bbox": {box}, "category_id": 18, "id": {k}}}'
            )
        file.write("]}")


def opening(name, root, cache):
    """Opens a dataset and takes a hundred of its sequences; seconds, and resident memory before and after."""
    from relo_jax.data.datasets import layouts
    from relo_jax.data.datasets.index import open_dataset

    source, before = layouts.dataset_layout(name), memory()
    start = time.perf_counter()
    dataset = open_dataset(source, "train", root, cache)
    seconds = time.perf_counter() - start
    for k in np.random.default_rng(0).integers(0, len(dataset), 100):
        assert len(dataset[int(k)]) == dataset.lengths[k]
    return {
        "seconds": round(seconds, 3),
        "mib_before": before,
        "mib_after": memory(),
        "mib_peak": memory("VmHWM"),
        "sequences": len(dataset),
        "frames": int(dataset.lengths.sum()),
    }


def memory(field="VmRSS"):
    """MiB that are resident now, or with VmHWM have been at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024)


def main():
    args = common.arguments(__doc__, repeats=1, sequences=20_000, frames=20, images=0)
    folder = Path(tempfile.mkdtemp(prefix="data_index_"))
    name = "coco" if args.images else "got10k"
    try:
        root = folder / name
        make_coco(root, args.images) if args.images else make_got10k(root, args.sequences, args.frames)
        said = {}
        for time_of in ("first", "second"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                said[time_of] = pool.submit(opening, name, root, folder / "cache").result()
        index = sum(path.stat().st_size for path in (folder / "cache").rglob("*.npy"))
        row = {"dataset": name, "index_mib": round(index / 2**20, 1), **said}
        if args.images:
            row["annotations_mib"] = round((root / "annotations" / "instances_train2017.json").stat().st_size / 2**20)
        common.record("data_index", row)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
