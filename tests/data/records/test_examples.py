"""The examples of a built dataset: which frames are stored, in what order, and in which shards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.records.examples import SplitExamples, threaded_map


class Folders:
    """Sequences as lists of file names in folders, which is all that `SplitExamples` needs before it reads."""

    def __init__(self, sequences):
        self.sequences = sequences

    def __len__(self):
        return len(self.sequences)

    def files(self, index):
        return self.sequences[index]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 15), st.integers(1, 2)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_the_records_of_a_sequence_are_its_files_in_order(ranges):
    """For any parts of two folders."""
    sequences = [(f, [f"{k:03d}.jpg" for k in range(start, start + n * step, step)]) for f, start, n, step in ranges]
    examples = SplitExamples(Folders(sequences))
    stored = [(folder, name) for folder, names, _ in examples._runs for name in names]
    assert len(stored) == examples.counts["frames"]
    for index, (folder, names) in enumerate(sequences):
        first = examples._first[index]
        assert stored[first : first + len(names)] == [(folder, name) for name in names]
    if all(step == 1 for *_, step in ranges):
        gaps = any(  # files that no sequence has do not break the run of a sequence on both sides of them
            names != [n for n in sorted({m for g, ms in sequences if g == f for m in ms}) if names[0] <= n <= names[-1]]
            for f, names in sequences
        )
        assert gaps or len(stored) == len(set(stored))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 4), st.integers(1, 8))
def test_a_threaded_map_keeps_the_order_and_reads_no_further_ahead(items, threads, ahead):
    started, taken = [], 0
    results = threaded_map(lambda x: started.append(x) or x, items, threads, ahead)
    for result, expected in zip(results, items, strict=True):
        taken += 1
        assert result == expected and len(started) <= taken + ahead


def test_a_threaded_map_raises_the_errors_of_its_function():
    with pytest.raises(ZeroDivisionError):
        list(threaded_map(lambda x: 1 // x, [1, 2, 0, 3]))


@pytest.mark.parametrize("mib", [0.005, 0.02, 0.05])
def test_shards_have_the_requested_size(mib, lasot):
    examples = SplitExamples(lasot.open_folders())
    bounds = examples.shards("frames", int(mib * 2**20))
    sizes = [
        sum(len(examples.example("frames", k)[0]["image"]) for k in range(*pair))
        for pair in zip(bounds, bounds[1:], strict=False)
    ]
    assert bounds[0] == 0 and bounds[-1] == 48 and bounds == sorted(set(bounds))
    assert np.mean(sizes) == pytest.approx(mib * 2**20, rel=0.35) and max(sizes) < 2 * mib * 2**20 + 4000
