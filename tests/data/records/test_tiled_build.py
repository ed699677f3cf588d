"""A dataset built in tiles: other bytes, the same pixels, the same clips."""

import numpy as np
import pytest

from relo_jax.commands import main as cli
from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.records import build as tfds_build
from relo_jax.data.records import tiled_jpeg
from relo_jax.data.records.read import open_built
from relo_jax.errors import UserError
from tests.data import miniature

needs_jpegtran = pytest.mark.skipif(not tiled_jpeg.can_add_restarts(), reason="needs jpegtran (libjpeg-turbo-progs)")
OPTIONS = ClipOptions(templates=1, frames=2, template_size=16, search_size=24)


@pytest.fixture
def lasot(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    return tmp_path


@needs_jpegtran
def test_clips_of_tiles_are_those_of_the_folder_to_the_byte(lasot, monkeypatch):
    source = layouts.dataset_layout("lasot")
    torn = lasot / "LaSOT/airplane/airplane-2/img/00000003.jpg"
    torn.write_bytes(torn.read_bytes()[:-40])
    monkeypatch.setattr(tiled_jpeg, "TILE_WIDTH", 32)
    report = tfds_build.build(source, "train", lasot / "built", lasot, cache=lasot / "cache", tiles=True)
    assert "48 images, 47 of them tiled JPEG" in str(report)
    assert "1 undecodable image, stored unchanged" in str(report)
    folder = open_dataset(source, "train", lasot, lasot / "cache")
    built = open_built(lasot / "built", "lasot", "train", lasot / "cache")
    data, kept = built[0].read_encoded(5), built[0].read_encoded(2)
    assert data != folder[0].read_encoded(5) and tiled_jpeg.read_header(data).interval == 2
    assert kept == torn.read_bytes()
    assert np.array_equal(built[1].read_frame(7), folder[1].read_frame(7))
    clips = [ClipSource([MixturePart("lasot", dataset)], OPTIONS, 0) for dataset in (folder, built)]
    decoded = []
    extract_region = tiled_jpeg.extract_region
    monkeypatch.setattr(tiled_jpeg, "extract_region", lambda *a: decoded.append(extract_region(*a)) or decoded[-1])
    for index in range(40):
        a, b = (source[index] for source in clips)
        assert a["failed"] == b["failed"] and all(np.array_equal(a[k], b[k]) for k in a if k != "note")
    parts = [part for part in decoded if part]
    assert parts and min(len(part.data) for part in parts) < len(data)


@needs_jpegtran
def test_tiles_and_whole_files_are_not_mixed(lasot):
    build = lambda tiles: tfds_build.build(
        layouts.dataset_layout("lasot"), "train", lasot / "built", lasot, cache=lasot / "cache", tiles=tiles
    )
    build(True)
    with pytest.raises(UserError, match="with another --shard-mib or --tiles: remove it"):
        build(False)
    assert "kept" in str(build(True))


def test_tiles_without_the_program_are_refused_and_left_out_where_nobody_asked(lasot, monkeypatch, capsys):
    monkeypatch.setattr(tiled_jpeg, "can_add_restarts", lambda: False)
    command = ["data", "build", "lasot", "--root", str(lasot), "--out", str(lasot / "built"), "--split", "test"]
    command += ["--cache", str(lasot / "cache")]
    assert cli.main([*command, "--tiles"]) == 1
    assert "need the program jpegtran" in capsys.readouterr().err
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "without tiles, which training would read faster: jpegtran is not installed" in printed
    assert "48 images, unchanged; shards: " in printed
