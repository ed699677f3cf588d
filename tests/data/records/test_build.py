"""A build continues after it was killed, verifies every byte, and keeps defects of the folders."""

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.clips.plan import ClipOptions
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.records import build, shard, tfds, tiled_jpeg
from relo_jax.data.records.examples import KINDS
from relo_jax.data.records.read import is_built
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError
from tests.data import builders
from tests.data.builders import clips, files

needs_jpegtran = pytest.mark.skipif(not tiled_jpeg.can_add_restarts(), reason="needs jpegtran (libjpeg-turbo-progs)")


def test_a_killed_build_continues_to_the_same_bytes(lasot, tmp_path):
    folder = lasot.root / "airplane" / "airplane-2"
    boxes = miniature.walk(400, seed=5)[:, :4] * [0.1, 0.1, 1, 1]
    miniature.write_frames(folder / "img", boxes)
    (folder / "groundtruth.txt").write_text(miniature.lines(boxes))
    for flags in ("full_occlusion.txt", "out_of_view.txt"):
        (folder / flags).write_text(",".join("0" * 400))
    command = [sys.executable, "-m", "relo_jax.commands.main", "data", "build", "lasot", "--split", "train"]
    command += ["--shard-mib", "0.01", "--no-tiles", "--root", lasot.root, "--cache", lasot.cache, "--out", lasot.out]
    notes = lasot.config("frames") / "shards-train"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(notes.glob("0*.json"))) < 3 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(notes.glob("0*.json")))
    assert not (lasot.config("frames") / "dataset_info.json").exists() and not is_built(lasot.out, "lasot")
    with pytest.raises(UserError, match="no built LaSOT"):
        lasot.open_built()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total = lasot.build(tmp_path / "whole", shard_mib=0.01).shards["written"]
    assert 3 <= kept < total - 10 and f"{kept} kept and {total - kept} written" in done.stdout
    assert files(lasot.out) == files(tmp_path / "whole")


def test_a_split_is_added_to_a_built_one(lasot):
    lasot.build(split="train")
    before = files(lasot.out)
    lasot.build(split="test")
    after = files(lasot.out)
    assert set(builders.tfds_read(lasot.config("frames"))) == {"train", "test"}
    assert all(after[file] == data for file, data in before.items() if "train" in file)
    assert set(json.loads(after["lasot/sequences/1.0.0/metadata.json"])) == {"train", "test"}


@pytest.mark.parametrize("position", [0, 70, 0.3, 0.5, 0.9, -1])
def test_a_shard_with_a_flipped_byte_is_replaced(position, lasot):
    lasot.build()
    good = files(lasot.out)
    path = sorted(lasot.config("frames").glob("*.array_record*"))[1]
    data = bytearray(path.read_bytes())
    data[int(position * len(data)) if isinstance(position, float) else position] ^= 4
    path.write_bytes(data)
    report = lasot.build()
    assert report.damaged == [str(path)] and f"{path}: had changed" in str(report)
    assert files(lasot.out) == good


def test_a_record_that_differs_from_the_folder_is_not_kept(lasot, monkeypatch):
    """As if a byte changed on the way to the disk: the build stops, and the shard is not moved into place."""
    serializer = tfds.serializer

    def wrong(kind):
        flip = lambda record: record.replace(b"img/00000009.jpg", b"img/00000008.jpg")
        return lambda example: flip(serializer(kind)(example))

    monkeypatch.setattr(tfds, "serializer", wrong)
    with pytest.raises(UserError, match=r"-of-\d+: does not read back \(record \d is not what was written"):
        lasot.build()
    notes = [file for file in files(lasot.out) if "shards-train/0" in file]
    assert len(notes) < 8 and len(notes) == sum("array_record" in file for file in files(lasot.out))
    assert not is_built(lasot.out, "lasot")
    monkeypatch.undo()
    lasot.build()
    assert is_built(lasot.out, "lasot")


def test_bad_images_are_reported_and_fail_as_in_the_folder(lasot):
    images = lasot.root / "bear" / "bear-1" / "img"
    broken, missing = images / "00000003.jpg", images / "00000007.jpg"
    broken.write_bytes(broken.read_bytes()[:-300])
    missing.unlink()
    missing.symlink_to("nowhere.jpg")
    report = lasot.build()
    assert {(p.kind, p.where) for p in report.problems} == {
        ("undecodable image", "bear/bear-1/img/00000003.jpg"),
        ("missing frame", "bear/bear-1/img/00000007.jpg"),
    }
    assert "1 missing frame, stored unchanged; the first: bear/bear-1/img/00000007.jpg" in str(report)
    folders, records = lasot.open_folders(), lasot.open_built()
    assert {p.where for p in records.problems} == {p.where for p in report.problems}
    assert records[1].read_encoded(2) == broken.read_bytes()
    for k, reason in ((2, "undecodable image"), (6, "missing frame")):
        for sequence in (records[1], folders[1]):
            with pytest.raises(FrameError) as failure:
                sequence.read_frame(k)
            assert failure.value.reason == reason and "bear-1" in str(failure.value)
    without_notes = lambda drawn: [{k: v for k, v in clip.items() if k != "note"} for clip in drawn]
    assert without_notes(clips(records, 20)) == without_notes(clips(folders, 20))
    assert any(clip["failed"] != bytes(4) for clip in clips(records, 20))


def test_other_data_replaces_an_unfinished_dataset_but_never_a_finished_one(lasot, tmp_path):
    lasot.build()
    finished = files(lasot.out)
    lasot.break_annotation()
    with pytest.raises(UserError, match="has the train split, from other data"):
        lasot.build()
    assert files(lasot.out) == finished
    for kind in KINDS:
        (lasot.config(kind) / "dataset_info.json").unlink()
    assert lasot.build(shard_mib=0.03).shards["kept"] == 0
    lasot.build(tmp_path / "new", shard_mib=0.03)
    assert sorted(files(lasot.out)) == sorted(files(tmp_path / "new"))
    assert lasot.open_built()[1].boxes_xywh.tobytes() == lasot.open_folders()[1].boxes_xywh.tobytes()


def test_every_upload_to_a_bucket_is_read_again(lasot, monkeypatch, tmp_path):
    """A folder stands in for the bucket: nothing is renamed into it, and every upload is compared."""
    lasot.build(tmp_path / "local")
    monkeypatch.setattr(shard, "is_local", lambda path: False)
    lasot.build()
    local = files(tmp_path / "local")
    local.pop("lasot/.lock")
    assert files(lasot.out) == local
    monkeypatch.setattr(shard, "is_intact", lambda *_, **__: False)
    with pytest.raises(UserError, match="is not what was uploaded"):
        lasot.build()


def test_only_one_process_builds_a_dataset(lasot):
    folder = lasot.out / "lasot"
    with build._exclusive_scratch(folder), pytest.raises(UserError, match="another process is building there"):
        lasot.build()
    lasot.build()


def test_a_shard_that_fails_stops_the_others(lasot, monkeypatch):
    begun, stopped = threading.Event(), []

    def write(examples, kind, numbers, path, on_record):
        if numbers.start == 0:
            begun.wait(10)
            raise OSError("the disk is full")
        try:
            for _ in range(1000):
                on_record()
                begun.set()
                time.sleep(0.01)
        except CancelledError:
            stopped.append(path.name)
            raise

    monkeypatch.setattr(build, "_SHARDS_AT_ONCE", 2)
    monkeypatch.setattr(shard, "write", write)
    with pytest.raises(UserError, match="cannot be written: the disk is full"):
        lasot.build(shard_mib=0.01)
    assert len(stopped) == 1


@pytest.mark.parametrize("size", [-1, 0, 1e-9, float("inf"), float("nan")])
def test_an_impossible_size_of_shards_is_named(size, lasot):
    with pytest.raises(UserError, match=f"--shard-mib {size:g}: give a size in MiB"):
        lasot.build(shard_mib=size)


@needs_jpegtran
def test_clips_from_tiles_equal_those_from_the_folder_to_the_byte(lasot, monkeypatch):
    broken = lasot.root / "airplane/airplane-2/img/00000003.jpg"
    broken.write_bytes(broken.read_bytes()[:-40])
    monkeypatch.setattr(tiled_jpeg, "TILE_WIDTH", 32)
    report = str(lasot.build(tiles=True))
    assert "48 images, 47 of them tiled JPEG" in report and "1 undecodable image, stored unchanged" in report
    folders, records = lasot.open_folders(), lasot.open_built()
    tiled = records[0].read_encoded(5)
    assert tiled != folders[0].read_encoded(5) and tiled_jpeg.read_header(tiled).interval == 2
    assert records[0].read_encoded(2) == broken.read_bytes()
    assert np.array_equal(records[1].read_frame(7), folders[1].read_frame(7))
    options = ClipOptions(templates=1, frames=2, template_size=16, search_size=24)
    sources = [ClipSource([MixturePart("lasot", dataset)], options, 0) for dataset in (folders, records)]
    regions = []
    extract_region = tiled_jpeg.extract_region
    monkeypatch.setattr(tiled_jpeg, "extract_region", lambda *a: regions.append(extract_region(*a)) or regions[-1])
    for index in range(40):
        a, b = (source[index] for source in sources)
        assert a["failed"] == b["failed"] and all(np.array_equal(a[k], b[k]) for k in a if k != "note")
    assert min(len(region.data) for region in regions if region) < len(tiled)


@needs_jpegtran
def test_tiles_and_original_files_are_not_mixed(lasot):
    lasot.build(tiles=True)
    with pytest.raises(UserError, match="with another --shard-mib, --tiles or --smallest-side: remove it"):
        lasot.build(tiles=False)
    assert "kept" in str(lasot.build(tiles=True))
