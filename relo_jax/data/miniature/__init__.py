"""Miniature datasets: each in its official layout with its quirks, in a handful of tiny frames.

    MAKERS["lasot"](root)      # writes the dataset; the caller chooses the name of the root

`relo rehearse` runs the paper's pipeline on the five training sets and on `lasot_ext`, `tnl2k`, `nfs` and `uav123`. The
tests read these too, and they alone read `otb100` and `vot`.
"""

from relo_jax.data.miniature.benchmarks import lasot_ext, nfs, otb100, tnl2k, uav123, vot
from relo_jax.data.miniature.scenes import FRAMES, HEIGHT, WIDTH, lines, walk, write_frames
from relo_jax.data.miniature.training_sets import coco, got10k, lasot, trackingnet, vasttrack

__all__ = [
    "FRAMES", "HEIGHT", "MAKERS", "WIDTH", "coco", "got10k", "lasot", "lasot_ext", "lines", "nfs", "otb100", "tnl2k",
    "trackingnet", "uav123", "vasttrack", "vot", "walk", "write_frames",
]  # fmt: skip

MAKERS = {
    "lasot": lasot, "lasot_ext": lasot_ext, "got10k": got10k, "trackingnet": trackingnet, "vasttrack": vasttrack,
    "coco": coco, "tnl2k": tnl2k, "uav123": uav123, "otb100": otb100, "nfs": nfs, "vot": vot,
}  # fmt: skip
