"""Mixtures of datasets; failing clips, which are replaced deterministically and counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.config.data_options import ClipOptions
from relo_jax.data import miniature
from relo_jax.data.clips.source import ClipSource, MixturePart, read_note, write_note
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.folder import SequenceFolder
from relo_jax.data.datasets.index import open_dataset
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError

OPTIONS = ClipOptions(templates=1, frames=2, template_size=16, search_size=32)


@pytest.fixture(scope="module")
def lasot(tmp_path_factory):
    root = tmp_path_factory.mktemp("lasot")
    miniature.lasot(root)
    return open_dataset(layouts.dataset_layout("lasot"), "train", root, tmp_path_factory.mktemp("cache"))


def broken(sequence, share, seed=0):
    """The sequence, with a share of its frames undecodable."""
    bad = np.random.default_rng(seed).random(len(sequence)) < share

    def read_encoded(index):
        if bad[index]:
            raise FrameError("undecodable image", sequence.where(index), "does not decode as an image")
        return sequence.read_encoded(index)

    return replace(sequence, read_encoded=read_encoded)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_datasets_are_drawn_with_their_weights(lasot):
    parts = [MixturePart(name, lasot, weight) for name, weight in (("a", 1.0), ("b", 0.0), ("c", 3.0))]
    drawn = Counter(ClipSource(parts, OPTIONS, 0).describe(k).partition("/")[0] for k in range(2000))
    assert drawn["b"] == 0 and abs(drawn["c"] / 2000 - 0.75) < 0.04
    equal = [MixturePart(p.name, p.sequences) for p in parts]
    drawn = Counter(ClipSource(equal, OPTIONS, 0).describe(k).partition("/")[0] for k in range(2000))
    assert all(abs(drawn[name] / 2000 - 1 / 3) < 0.04 for name in "abc")
    clip = ClipSource(parts, OPTIONS, 0)[4]
    assert parts[clip["dataset"]].name == ClipSource(parts, OPTIONS, 0).describe(4).partition("/")[0]


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_invalid_weights_are_refused(lasot, weights):
    with pytest.raises(UserError, match="weights"):
        ClipSource([MixturePart("a", lasot, w) for w in weights], OPTIONS, 0)


def test_a_failing_clip_is_replaced_deterministically_and_noted(lasot):
    folder = SequenceFolder(tuple(broken(s, 0.2, seed) for seed, s in enumerate(lasot)))
    whole, damaged, again = (
        ClipSource([MixturePart("lasot", s)], OPTIONS, 7) for s in (SequenceFolder(tuple(lasot)), folder, folder)
    )
    failed = 0
    for index in range(60):
        clip = damaged[index]
        assert same(clip, again[index])
        noted = read_note(clip["note"])
        assert len(noted) == clip["failed"] and clip["index"] == index
        failed += bool(noted)
        for dataset, reason, where in noted:
            assert (dataset, reason) == ("lasot", "undecodable image") and where.endswith(".jpg")
        images = [c["search_images"] for c in (clip, whole[index])]
        assert np.array_equal(*images) == (not noted)  # a clip that did not fail is the same as without failures
    assert 10 < failed < 50


def test_a_dataset_without_a_decodable_frame_is_named(lasot):
    source = ClipSource([MixturePart("lasot", SequenceFolder(tuple(broken(s, 1.0) for s in lasot)))], OPTIONS, 0)
    with pytest.raises(UserError, match=r"clip 3: 20 attempts failed, the last by undecodable image in lasot: .*jpg"):
        source[3]


failure = st.tuples(st.sampled_from(["coco", "lasot"]), st.just("missing frame"), st.text("ab/é", max_size=90))


@settings(deadline=None)
@given(st.lists(failure, max_size=4))
def test_a_note_keeps_the_failures_as_far_as_there_is_room(failures):
    noted = read_note(write_note(failures))
    assert len(noted) == len(failures)
    for (dataset, reason, where), (noted_dataset, noted_reason, noted_where) in zip(failures, noted, strict=True):
        assert (dataset, reason) == (noted_dataset, noted_reason)
        assert where.endswith(noted_where) or "�" in noted_where
        assert noted_where == where or len(where.encode()) > 60
