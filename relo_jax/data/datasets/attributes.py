"""Attributes: what is difficult in a sequence, by its benchmark's own words, such as "Fast Motion".

They are no part of the index, since no training looks at them: a source says how its benchmark hands them out, and
`attributes_of` reads them when a report asks.
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
# In the order of the flags in their files.
LASOT = ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC")
UAV123 = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")
OTB = ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR")

Reader = Callable[[Path, str], tuple[str, ...] | None]


def attributes_of(source: DatasetLayout, root: str | Path | None, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Name of a sequence -> names of its attributes, for those that have a file or a line of them.

    Args:
      root: as for `DatasetLayout.find_root`; or a bucket, which has videos and no files of attributes.

    Raises:
      UserError: a file of attributes that holds something else; `DatasetLayout.find_root`'s.
    """
    if source.attributes is None:
        return {}
    given = str(root or os.environ.get(ENVIRONMENT) or "")
    root = Path(given) if "://" in given else source.find_root(root)
    known = {name: source.attributes(root, name) for name in names}
    return {name: attributes for name, attributes in known.items() if attributes is not None}


def from_flags(short: tuple[str, ...], *folders: str) -> Reader:
    """Reads `<folder>/<sequence>.txt`, one 0 or 1 an attribute, from the first of the folders that has it."""

    def read(root: Path, name: str) -> tuple[str, ...] | None:
        path = next((p for folder in folders if (p := root / folder / f"{name}.txt").is_file()), None)
        if path is None:
            return None
        flags = read_flags(path).tolist()
        if len(flags) != len(short) or not set(flags) <= {0, 1}:
            raise UserError(f"{path}: expected {len(short)} flags, 0 or 1, one an attribute: extract it again")
        return tuple(NAMES[s] for s, flag in zip(short, flags, strict=True) if flag)

    return read


def from_list(dataset: str, file: str) -> Reader:
    """Takes them from `data/<dataset>/<file>`; of `Jogging.2` those of its folder, Jogging."""

    @cache
    def listed() -> dict[str, tuple[str, ...]]:
        rows = (line.split() for line in split_lists.official(dataset, file))
        return {name: tuple(NAMES[s] for s in short) for name, *short in rows}

    return lambda root, name: listed().get(name.partition(".")[0])
