"""The paper's other tables: cost, edge devices, and the trackers that its main tables compare RELO with.

Sources, read in November 2026. Each number stands in at least one of them:
- two public summaries of the paper (arXiv 2605.07379) quote its cost, its edge devices and rows of its main tables;
- the table of a later paper by the same first author ("Learning to Track from Privileged Target Appearances") has these
  rows with all columns, and a few that the summaries lack. Where both have a number, they agree, except for
  LoRAT-L224 on NFS and UAV123: 66.6 and 71.9 in the summaries, which stand here, 66.0 and 73.3 in the later paper;
- the rows of SUTrack, ODTrack-L384 and LoRAT-L224 also agree with SUTrack's model zoo and with the table of SAMURAI,
  those of AsymTrack-B and SUTrack-T224 on edge devices with the figures that their authors publish.
"""

from typing import NamedTuple

from relo_jax.config import published

Numbers = tuple[float | None, ...]


class Cost(NamedTuple):
    """What the paper says that a variant costs: millions of parameters, "FLOPs" in 10^9, frames/s on an RTX 4090."""

    parameters: int
    flops: int
    frames_per_second: int


COST = {
    "t256": Cost(22, 8, published.FRAMES_PER_SECOND["t256"]),
    "b256": Cost(70, 34, published.FRAMES_PER_SECOND["b256"]),
    "l256": Cost(247, 114, published.FRAMES_PER_SECOND["l256"]),
}
VALUE_HEAD = 2  # millions of parameters, for every variant; the paper drops this head after training
DEVICE = "NVIDIA RTX 4090"


class Edge(NamedTuple):
    """A tracker on edge devices: AUC (GOT-10k: AO) and frames/s."""

    numbers: dict[str, float]
    cpu: int
    jetson: int


# The paper calls the devices "i9" and "Jetson". AsymTrack's and SUTrack's own figures are from a Jetson AGX Xavier.
EDGE = {
    "MixFormerV2-S": Edge({"lasot": 60.6, "lasot_ext": 43.6, "trackingnet": 75.8}, 47, 70),
    "AsymTrack-B": Edge({"lasot": 64.7, "lasot_ext": 44.6, "trackingnet": 80.0, "got10k": 67.7}, 38, 64),
    "SUTrack-T224": Edge({"lasot": 69.6, "lasot_ext": 50.2, "trackingnet": 82.7, "got10k": 72.7}, 23, 34),
    "RELO-T256": Edge(published.RESULTS["t256"], 21, 32),
}
EDGE_DATASETS = tuple(published.RESULTS["t256"])

_OVERLAP = {"auc": "AUC", "p20": "P", "np20": "P_norm"}
_GOT10K = {"ao": "AO", "sr50": "SR0.5", "sr75": "SR0.75"}
_AUC = {"auc": "AUC"}
# The numbers of a row, by the names that `relo eval` gives them; the first ranks.
COLUMNS: dict[str, dict[str, str]] = {
    "lasot": _OVERLAP, "lasot_ext": _OVERLAP, "trackingnet": _OVERLAP, "got10k": _GOT10K,
    "tnl2k": _AUC, "nfs": _AUC, "uav123": _AUC,
}  # fmt: skip

TRACKERS: dict[str, dict[str, Numbers]] = {
    "lasot": {
        "OSTrack-B256": (69.1, 75.2, 78.7),
        "SwinTrack-B384": (71.3, 76.5, None),
        "SeqTrack-B256": (69.9, 76.3, 79.7),
        "ARTrack-B256": (70.4, 76.6, 79.5),
        "OneTracker-B384": (70.5, 76.5, 79.9),
        "SUTrack-B224": (73.2, 80.5, 83.4),
        "ARPTrack-B256": (72.6, 78.5, 81.4),
        "MixFormer-L320": (70.1, 76.3, 79.9),
        "SimTrack-L224": (70.5, None, 79.7),
        "ODTrack-L384": (74.0, 82.3, 84.2),
        "ARTrackV2-L384": (73.6, 81.1, 82.8),
        "LoRAT-L224": (74.2, 80.9, 83.6),
        "SUTrack-L224": (73.5, 80.9, 83.3),
        "ARPTrack-L384": (74.2, 81.7, 83.4),
        "RELO-T256": (70.4, None, None),
        "RELO-B256": (73.3, 80.6, 83.4),
        "RELO-L256": (75.1, 83.4, 85.1),
    },
    "lasot_ext": {
        "OSTrack-B256": (47.4, 53.3, 57.3),
        "SwinTrack-B384": (49.1, 55.6, None),
        "SeqTrack-B256": (49.5, 56.3, 60.8),
        "ARTrack-B256": (46.4, 52.3, 56.5),
        "SUTrack-B224": (53.1, 60.5, 64.2),
        "ARPTrack-B256": (52.0, 58.7, 62.9),
        "ODTrack-L384": (53.9, 61.7, 65.4),
        "ARTrackV2-L384": (53.4, 60.2, 63.7),
        "LoRAT-L224": (52.8, 60.0, 64.7),
        "SUTrack-L224": (54.0, 61.7, 65.3),
        "ARPTrack-L384": (54.2, 61.2, 64.4),
        "RELO-T256": (51.1, None, None),
        "RELO-B256": (54.2, 62.2, 65.4),
        "RELO-L256": (57.5, 66.7, 69.1),
    },
    "trackingnet": {
        "OSTrack-B256": (83.1, 82.0, 87.8),
        "SwinTrack-B384": (84.0, 82.8, None),
        "SeqTrack-B256": (83.3, 82.2, 88.3),
        "ARTrack-B256": (84.2, 83.5, 88.7),
        "OneTracker-B384": (83.7, 82.7, 88.4),
        "SUTrack-B224": (85.7, 85.1, 90.3),
        "ARPTrack-B256": (85.5, 85.3, 90.0),
        "MixFormer-L320": (83.9, 83.1, 88.9),
        "SimTrack-L224": (83.4, None, 87.4),
        "ODTrack-L384": (86.1, 86.7, 91.0),
        "ARTrackV2-L384": (86.1, 86.2, 90.4),
        "LoRAT-L224": (85.0, 84.4, 89.5),
        "SUTrack-L224": (86.5, 86.7, 90.9),
        "ARPTrack-L384": (86.6, 87.4, 91.1),
        "RELO-T256": (83.6, None, None),
        "RELO-B256": (86.4, 86.2, 90.7),
        "RELO-L256": (87.3, 88.0, 91.6),
    },
    "got10k": {
        "OSTrack-B256": (71.0, 80.4, 68.2),
        "SwinTrack-B384": (72.4, 80.5, 67.8),
        "SeqTrack-B256": (74.7, 84.7, 71.8),
        "ARTrack-B256": (73.5, 82.2, 70.9),
        "SUTrack-B224": (77.9, 87.5, 78.5),
        "ARPTrack-B256": (77.7, 87.3, 74.3),
        "SimTrack-L224": (69.8, 78.8, 66.0),
        "ODTrack-L384": (78.2, 87.2, 77.3),
        "ARTrackV2-L384": (79.5, 87.8, 79.6),
        "LoRAT-L224": (75.7, 84.9, 75.0),
        "SUTrack-L224": (81.0, 90.4, 82.4),
        "ARPTrack-L384": (81.5, 90.6, 80.5),
        "RELO-T256": (75.6, None, None),
        "RELO-B256": (80.5, 90.5, 81.2),
        "RELO-L256": (81.8, 91.1, 83.5),
    },
    "tnl2k": {
        "TransT": (50.7,), "SimTrack": (55.6,), "OSTrack": (55.9,), "SeqTrack-L256": (56.9,), "ARTrack-L384": (60.3,),
        "LoRAT-L224": (61.1,), "RELO-B256": (60.9,), "RELO-L256": (63.6,),
    },
    "nfs": {
        "TrDiMP": (66.5,), "TransT": (65.7,), "OSTrack": (66.5,), "SeqTrack-L256": (66.9,), "ARTrack-L384": (67.9,),
        "LoRAT-L224": (66.6,), "RELO-B256": (70.0,), "RELO-L256": (71.3,),
    },
    "uav123": {
        "TrDiMP": (67.5,), "TransT": (69.1,), "SimTrack": (71.2,), "OSTrack": (70.7,), "SeqTrack-L256": (69.7,),
        "ARTrack-L384": (71.2,), "LoRAT-L224": (71.9,), "RELO-B256": (70.4,), "RELO-L256": (71.4,),
    },
}  # fmt: skip
