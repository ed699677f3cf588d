"""LaSOT_ext (Fan et al., IJCV 2021): 150 more sequences in the style of LaSOT, of 15 other classes, for testing.

As in LaSOT, a frame whose target is fully occluded or out of view is not visible, and sequences may be laid flat. The
folder may be LaSOT's own, or lie in it: only the listed sequences are read.
"""

from pathlib import Path

from relo_jax.data.datasets import attributes, split_lists
from relo_jax.data.datasets.layout import DatasetLayout, Entry
from relo_jax.data.datasets.layouts.lasot import ATTRIBUTES, read, sequence_entries
from relo_jax.data.datasets.layouts.lasot import LAYOUT as LASOT


def _entries(root: Path, split: str) -> list[Entry]:
    entries = sequence_entries(root, set(split_lists.official("lasot_ext", "test.txt")).__contains__)
    if not entries:
        raise LAYOUT.not_found(root, "sequence of its 15 classes")
    return entries


LAYOUT = DatasetLayout(
    name="lasot_ext",
    title="LaSOT_ext",
    folders=("LaSOT_ext", "LaSOT_extension_subset", "LaSOTExt", "LaSOT-ext"),
    splits={"test": 150},
    heldout="test",
    expected_paths="atv/atv-1/{groundtruth.txt, full_occlusion.txt, out_of_view.txt, img/00000001.jpg}",
    entries=_entries,
    read=read,
    other_folders=LASOT.folders,
    attributes=attributes.from_flags(attributes.LASOT, *ATTRIBUTES),
)
