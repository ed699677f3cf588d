"""Attributes: a benchmark's own labels for what makes a sequence difficult, such as "Fast Motion".

They are not part of the index, since training never uses them. A layout knows where its benchmark publishes them, and
`attributes_of` reads them for a report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_flags
from relo_jax.data.datasets.layout import ENVIRONMENT, DatasetLayout
from relo_jax.errors import UserError

NAMES = {
    "IV": "Illumination Variation",
    "SV": "Scale Variation",
    "OCC": "Occlusion",
    "POC": "Partial Occlusion",
    "FOC": "Full Occlusion",
    "DEF": "Deformation",
    "MB": "Motion Blur",
    "FM": "Fast Motion",
    "CM": "Camera Motion",
    "ROT": "Rotation",
    "IPR": "In-Plane Rotation",
    "OPR": "Out-of-Plane Rotation",
    "OV": "Out-of-View",
    "BC": "Background Clutter",
    "LR": "Low Resolution",
    "VC": "Viewpoint Change",
    "ARC": "Aspect Ratio Change",
    "SOB": "Similar Object",
}
# Each in the order of the flags in its files.
LASOT = ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC")
UAV123 = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")
OTB = ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR")

Reader = Callable[[Path, str], tuple[str, ...] | None]


def attributes_of(layout: DatasetLayout, root: str | Path | None, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Sequence name -> names of its attributes, for the sequences whose attributes are known.

    Args:
      root: as for `DatasetLayout.find_root`, or a bucket, which holds sequences but no attribute files.

    Raises:
      UserError: a malformed attribute file; or see `DatasetLayout.find_root`.
    """
    if layout.attributes is None:
        return {}
    given = str(root or os.environ.get(ENVIRONMENT) or "")
    root = Path(given) if "://" in given else layout.find_root(root)
    known = {name: layout.attributes(root, name) for name in names}
    return {name: attributes for name, attributes in known.items() if attributes is not None}


def from_flags(abbreviations: tuple[str, ...], *folders: str) -> Reader:
    """Reads `<folder>/<sequence>.txt`, a 0 or 1 per attribute, from the first of the folders that has the file."""

    def read(root: Path, name: str) -> tuple[str, ...] | None:
        path = next((p for folder in folders if (p := root / folder / f"{name}.txt").is_file()), None)
        if path is None:
            return None
        flags = read_flags(path).tolist()
        if len(flags) != len(abbreviations) or not set(flags) <= {0, 1}:
            raise UserError(f"{path}: expected {len(abbreviations)} flags, 0 or 1, one per attribute: extract it again")
        return tuple(NAMES[a] for a, flag in zip(abbreviations, flags, strict=True) if flag)

    return read


def from_list(dataset: str, file: str) -> Reader:
    """Reads `data/<dataset>/<file>`, which lists attributes by folder: `Jogging.2` has those of Jogging."""

    @cache
    def listed() -> dict[str, tuple[str, ...]]:
        rows = (line.split() for line in split_lists.official(dataset, file))
        return {name: tuple(NAMES[a] for a in abbreviations) for name, *abbreviations in rows}

    return lambda root, name: listed().get(name.partition(".")[0])
