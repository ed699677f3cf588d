"""Statistics of datasets."""

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts, stats


def test_statistics_are_of_visible_boxes(tmp_path):
    miniature.vot(tmp_path)  # NaN where the target is absent
    ((row,), unopened) = stats.describe(layouts.dataset_layout("vot"), tmp_path, tmp_path / "cache")
    assert not unopened and row["visible_share"] == round(68 / 72, 4)
    assert all(10 < v < 30 for v in row["box_side_px"].values())
