"""Compressed frame names restore the original names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.datasets.frame_names import FrameNames

STEMS = st.text(st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.builds("{}{}".format, STEMS, st.sampled_from(["", ".jpg", ".PNG"])), max_size=6))
@settings(deadline=None, max_examples=150)
def test_any_names_are_restored(names):
    restored = FrameNames(FrameNames.compress(names), len(names))
    assert list(restored) == names and len(restored) == len(names)


@given(STEMS, st.integers(0, 10**9), st.integers(1, 9), st.integers(2, 30), st.sampled_from([".jpg", ".png"]))
@settings(deadline=None, max_examples=150)
def test_numbered_names_are_restored_from_a_short_text(prefix, first, digits, count, suffix):
    names = [f"{prefix}{first + k:0{digits}d}{suffix}" for k in range(count)]
    text = FrameNames.compress(names)
    assert list(FrameNames(text, count)) == names and FrameNames(text, count)[-1] == names[-1]
    if not any(map(str.isnumeric, prefix)):
        assert len(text) < len(prefix) + 20
    with pytest.raises(IndexError):
        FrameNames(text, count)[count]
