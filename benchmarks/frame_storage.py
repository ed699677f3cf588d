"""How frames are kept in a built dataset: milliseconds to read one at random, and the size of the files.

    python -m benchmarks.frame_storage --photos ../shared/data/photos

Photographs, enlarged to 1280 x 720 and encoded as JPEG, are kept as files, as a record each (the group sizes and the
compression of ArrayRecord varied) and as records of 8 and 16 frames. Reading one is timed with the files in memory, and
after the operating system was told to drop them. No frame is decoded.
"""

import argparse
import os
import struct
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks import common
from relo_jax.data.records import tfds

WIDTH, HEIGHT, QUALITY = 1280, 720, 90


def encoded_photos(folder, count):
    """`count` JPEG files as bytes, from the photographs of a folder, each a little different from the others."""
    photos = [cv2.imread(str(path)) for path in sorted(Path(folder).glob("*.jpg"))[:64]]
    photos = [cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for photo in photos]
    for k in range(count):
        image = np.roll(photos[k % len(photos)], 7 * k, 1)
        yield cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


class AsFiles:
    """A file a frame, as datasets are handed out."""

    def __init__(self, folder, images):
        folder.mkdir()
        self.files = [folder / f"{k:08d}.jpg" for k in range(len(images))]
        for file, image in zip(self.files, images, strict=True):
            file.write_bytes(image)

    def read(self, k):
        return self.files[k].read_bytes()


class AsRecords:
    """Records of `chunk` frames each: one frame as `relo data build` writes it, or several behind each other."""

    def __init__(self, folder, images, options="group_size:1", chunk=1):
        from array_record.python import array_record_module as array_record

        folder.mkdir()
        self.chunk, self.files = chunk, [folder / "shard"]
        self.parse = tfds.parser("frames")
        serialize = tfds.serializer("frames")
        writer = array_record.ArrayRecordWriter(str(self.files[0]), options)
        for start in range(0, len(images), chunk):
            part = images[start : start + chunk]
            if chunk > 1:
                writer.write(struct.pack(f"{chunk}q", *map(len, part)) + b"".join(part))
            else:
                writer.write(serialize({"image": part[0], "file": "a/img/00000001.jpg", "sequence": 1, "frame": start}))
        writer.close()
        self.reader = array_record.ArrayRecordReader(str(self.files[0]), "readahead_buffer_size:0")

    def read(self, k):
        record = self.reader.read([k // self.chunk])[0]
        if self.chunk == 1:
            return self.parse(record)["image"]
        sizes = struct.unpack_from(f"{self.chunk}q", record)
        start = 8 * self.chunk + sum(sizes[: k % self.chunk])
        return record[start : start + sizes[k % self.chunk]]


def forget(files):
    """Asks the operating system to drop files from memory, once they are on the disk."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds(store, images, numbers, cold):
    """Of each read; what is read is compared, outside the time."""
    if cold:
        forget(store.files)
    taken = []
    for k in map(int, numbers):
        start = time.perf_counter()
        data = store.read(k)
        taken.append(time.perf_counter() - start)
        assert data == images[k]
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder of JPEG files")
    parser.add_argument("--frames", type=int, default=2048)
    parser.add_argument("--reads", type=int, default=400)
    args = parser.parse_args()
    images = list(encoded_photos(args.photos, args.frames))
    ways = {
        "a file a frame": AsFiles,
        "a record a frame": AsRecords,
        "a record a frame, uncompressed": lambda *a: AsRecords(*a, options="group_size:1,uncompressed"),
        "a record a frame, group size 16": lambda *a: AsRecords(*a, options="group_size:16"),
        "a record 8 frames": lambda *a: AsRecords(*a, chunk=8),
        "a record 16 frames": lambda *a: AsRecords(*a, chunk=16),
    }
    rng = np.random.default_rng(0)
    size = sum(map(len, images))
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, make) in enumerate(ways.items()):
            store = make(Path(folder) / str(number), images)
            numbers = rng.integers(0, args.frames, args.reads)
            cold = seconds(store, images, numbers, cold=True)
            seconds(store, images, range(args.frames), cold=False)
            warm = seconds(store, images, numbers, cold=False)
            rows[name] = {
                "ms_in_memory": common.spread(warm),
                "ms_from_disk": common.spread(cold),
                "size_over_images": round(sum(os.path.getsize(f) for f in store.files) / size, 4),
            }
    common.record("frame_storage", {"frames": args.frames, "mean_bytes": size // args.frames, "ways": rows})


if __name__ == "__main__":
    main()
