"""Mixtures, and clips that fail: replaced by others, the same ones every time, and counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips.failures import ReadFailures
from relo_jax.data.clips.source import ClipSource, MixturePart, read_note, write_note
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.folder import SequenceFolder
from relo_jax.data.datasets.index import open_dataset
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError
from tests.data import miniature

OPTIONS = ClipOptions(templates=1, frames=2, template_size=16, search_size=32)


@pytest.fixture(scope="module")
def lasot(tmp_path_factory):
    root = tmp_path_factory.mktemp("lasot")
    miniature.lasot(root)
    return open_dataset(layouts.dataset_layout("lasot"), "train", root, tmp_path_factory.mktemp("cache"))


def broken(sequence, share, seed=0):
    """The sequence with a share of its frames undecodable."""
    bad = np.random.default_rng(seed).random(len(sequence)) < share

    def read_encoded(index):
        if bad[index]:
            raise FrameError("undecodable image", sequence.where(index), "does not decode as an image")
        return sequence.read_encoded(index)

    return replace(sequence, read_encoded=read_encoded)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_datasets_are_drawn_by_their_weights(lasot):
    parts = [MixturePart(name, lasot, weight) for name, weight in (("a", 1.0), ("b", 0.0), ("c", 3.0))]
    drawn = Counter(ClipSource(parts, OPTIONS, 0).describe(k).partition("/")[0] for k in range(2000))
    assert drawn["b"] == 0 and abs(drawn["c"] / 2000 - 0.75) < 0.04
    equal = [MixturePart(p.name, p.sequences) for p in parts]
    drawn = Counter(ClipSource(equal, OPTIONS, 0).describe(k).partition("/")[0] for k in range(2000))
    assert all(abs(drawn[name] / 2000 - 1 / 3) < 0.04 for name in "abc")
    clip = ClipSource(parts, OPTIONS, 0)[4]
    assert parts[clip["dataset"]].name == ClipSource(parts, OPTIONS, 0).describe(4).partition("/")[0]


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_weights_that_say_nothing_are_refused(lasot, weights):
    with pytest.raises(UserError, match="weights"):
        ClipSource([MixturePart("a", lasot, w) for w in weights], OPTIONS, 0)


def test_a_clip_that_fails_is_replaced_by_the_same_other_one_and_says_so(lasot):
    folder = SequenceFolder(tuple(broken(s, 0.2, seed) for seed, s in enumerate(lasot)))
    whole, torn, again = (
        ClipSource([MixturePart("lasot", s)], OPTIONS, 7) for s in (SequenceFolder(tuple(lasot)), folder, folder)
    )
    failed = 0
    for index in range(60):
        clip = torn[index]
        assert same(clip, again[index])
        told = read_note(clip["note"])
        assert len(told) == clip["failed"] and clip["index"] == index
        failed += bool(told)
        for dataset, reason, where in told:
            assert (dataset, reason) == ("lasot", "undecodable image") and where.endswith(".jpg")
        pictures = [c["search_images"] for c in (clip, whole[index])]
        assert np.array_equal(*pictures) == (not told)  # one that did not fail is what it would have been
    assert 10 < failed < 50


def test_a_dataset_of_which_nothing_decodes_is_named(lasot):
    source = ClipSource([MixturePart("lasot", SequenceFolder(tuple(broken(s, 1.0) for s in lasot)))], OPTIONS, 0)
    with pytest.raises(UserError, match=r"clip 3: 20 tries failed, the last by undecodable image in lasot: .*jpg"):
        source[3]


failures = st.lists(st.tuples(st.sampled_from(["coco", "lasot"]), st.sampled_from(["missing frame"]), st.text("ab/é", max_size=90)), max_size=4)  # fmt: skip # noqa: E501


@settings(deadline=None)
@given(failures)
def test_a_note_is_read_as_it_was_written_as_far_as_there_is_room(told):
    found = read_note(write_note(told))
    assert len(found) == len(told)
    for (dataset, reason, where), (d, r, w) in zip(told, found, strict=True):
        assert (dataset, reason) == (d, r)
        assert where.endswith(w) or "�" in w
        assert w == where or len(where.encode()) > 60


def batch(failed, datasets=None, why=("coco", "missing frame", "a.jpg")):
    failed = np.array(failed, np.int32)
    notes = np.stack([write_note([why] * int(n)) for n in failed])
    return np.zeros(len(failed), np.int32) if datasets is None else np.array(datasets), failed, notes


def test_an_account_tells_clips_by_dataset_and_failures_by_reason():
    account = ReadFailures(["coco", "lasot"])
    account.add(*batch([0, 2, 0], [0, 1, 1]))
    account.add(*batch([1], [0], ("lasot", "undecodable image", "b.jpg")))
    line = account.report("epoch 1")
    assert line == (
        "epoch 1: 4 clips (coco 2, lasot 2); 3 replaced: coco: 2 missing frame (a.jpg); "
        "lasot: 1 undecodable image (b.jpg)"
    )
    assert account.report("epoch 2") == "epoch 2: 0 clips (), none replaced"


def test_a_few_files_are_named_and_that_there_are_more_is_told():
    account = ReadFailures(["coco"])
    for k in range(9):
        account.add(*batch([1], [0], ("coco", "missing frame", f"{k}.jpg")))
    assert account.report("all").endswith("9 missing frame (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, ...)")


def test_more_than_one_failure_in_a_hundred_stops_with_the_list():
    account = ReadFailures(["coco"])
    for _ in range(10):
        account.add(*batch([1, *[0] * 99]))
    with pytest.raises(UserError, match=r"1\.\d% of the clips could not be read.*coco: 11 missing frame \(a\.jpg"):
        account.add(*batch([1]))
    later = ReadFailures(["coco"])
    for _ in range(30):
        later.add(*batch([1, *[0] * 99]))  # 1 % for ever is allowed, and told


def test_failures_that_a_note_has_no_room_for_are_still_counted():
    account = ReadFailures(["coco"])
    dataset, failed, note = batch([1])
    account.add(dataset, np.array([5]), note)
    assert account.failed.total() == 5
