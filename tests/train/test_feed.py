"""The feed: batches on the devices, in order, and a report of the clips that were read."""

import jax
import numpy as np
import pytest

from relo_jax.config.data_options import ClipOptions
from relo_jax.data import miniature
from relo_jax.data.clips import pipeline
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.folder import SequenceFolder
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.records import build
from relo_jax.data.records.read import open_built
from relo_jax.errors import UserError
from relo_jax.train.feed import Feed

OPTIONS = ClipOptions(templates=1, frames=1, template_size=16, search_size=32)


@pytest.fixture
def source(tmp_path):
    """Clips of two sequences of LaSOT; `torn` frames of airplane-2 are cut off."""

    def make(torn):
        miniature.lasot(tmp_path / "LaSOT")
        for number in range(1, torn + 1):
            path = tmp_path / "LaSOT/airplane/airplane-2/img" / f"{number:08d}.jpg"
            path.write_bytes(path.read_bytes()[:-60])
        dataset = open_dataset(layouts.dataset_layout("lasot"), "train", tmp_path, tmp_path / "cache")
        return ClipSource([MixturePart("lasot", dataset)], OPTIONS, 0)

    return make


@pytest.fixture
def mesh():
    return jax.make_mesh((1, 1), ("data", "frames"), devices=jax.devices()[:1])


def test_a_feed_places_the_batches_and_knows_its_position(source, mesh):
    clips = source(0)
    with Feed(pipeline.batches(clips, 4, 0), mesh) as feed:
        first, second = next(feed), next(feed)
    assert set(first.arrays) == {"template_images", "template_boxes_xywh", "search_images", "search_boxes_xywh"}
    assert second.index.tolist() == [4, 5, 6, 7]
    assert np.array_equal(second.arrays["search_images"][2], clips[6]["search_images"])
    assert first.position_after == second.position_before
    with Feed(pipeline.batches(clips, 4, 0), mesh, first.position_after) as feed:
        assert next(feed).index.tolist() == [4, 5, 6, 7]


def test_the_report_of_each_epoch_names_the_replaced_clips(source, mesh, capsys):
    with Feed(pipeline.batches(source(2), 4, 0), mesh, epoch=100) as feed:
        for _ in range(30):
            next(feed)
    first, epoch, rest = capsys.readouterr().err.splitlines()
    assert first == "lasot: LaSOT train: 2 sequences, 48 frames; 1,118 of the published 1,120 are missing"
    assert epoch.startswith("data, epoch 1 done, up to clip 100: 100 clips (lasot 100); ")
    assert "replaced: lasot: " in epoch and "undecodable image" in epoch and "airplane-2/img/0000000" in epoch
    assert rest.startswith("data, epoch 2 begun, up to clip 120: 20 clips (lasot 20)")


def test_a_run_that_continues_with_other_data_warns(source, mesh, capsys):
    clips = source(0)
    with Feed(pipeline.batches(clips, 4, 0), mesh) as feed:
        position = next(feed).position_after
    warning = "the data sets changed since the last checkpoint"
    with Feed(pipeline.batches(clips, 4, 0), mesh, position, epoch=100):
        assert warning not in capsys.readouterr().err
    fewer = ClipSource([MixturePart("lasot", SequenceFolder(tuple(clips.parts[0].sequences)[:1]))], OPTIONS, 0)
    with Feed(pipeline.batches(fewer, 4, 0), mesh, position, epoch=100):
        assert warning in capsys.readouterr().err


def test_the_fingerprint_does_not_depend_on_the_storage(source, tmp_path):
    clips = source(0)
    build.build(layouts.dataset_layout("lasot"), "train", tmp_path / "built", tmp_path, cache=tmp_path / "cache")
    built = open_built(tmp_path / "built", "lasot", "train", tmp_path / "cache")
    assert ClipSource([MixturePart("lasot", built)], OPTIONS, 0).fingerprint() == clips.fingerprint()
    assert ClipSource([MixturePart("lasot", built)], OPTIONS, 1).fingerprint() != clips.fingerprint()


def test_too_many_failures_stop_the_run_with_a_list(source, mesh):
    with Feed(pipeline.batches(source(12), 4, 0), mesh) as feed, pytest.raises(UserError) as error:
        for _ in range(200):
            next(feed)
    message = str(error.value)
    assert "more than 1 %: lasot: " in message and " undecodable image (" in message and "\n" not in message
    assert message.count(".jpg") == 5 and message.endswith("...)")


def test_a_split_without_long_sequences_is_refused(source):
    clips = source(0)
    long = ClipSource(clips.parts, ClipOptions(templates=1, frames=10, template_size=16, search_size=32), 0)
    assert long.report() == clips.report()
    with pytest.raises(
        UserError, match=r"lasot: all 2 sequences have fewer than 20 frames or at most 24 visible boxes"
    ):
        ClipSource(clips.parts, ClipOptions(templates=1, frames=11, template_size=16, search_size=32), 0)
