"""Whether the boxes of a tracker are whole numbers or have fractions.

pytracking and its descendants, the release among them, truncate boxes when they write them; `relo eval` keeps the
fractions. The same boxes overlap more with their fractions, so the two must not be compared as they are.

A file of float boxes can be whole by chance: the first box was given, and a tracker may stay on it. So the files are
judged together, and only boxes that differ from each other and from the first one count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

WHOLE, FLOAT, MIXED, UNKNOWN = "whole numbers", "fractions", "some files of each", "too few boxes to tell"
_ENOUGH = 3  # different whole boxes; so many are no chance


@dataclass(frozen=True)
class BoxKind:
    """kind: WHOLE, FLOAT, MIXED or UNKNOWN. whole, fractions: a sequence whose boxes are such, None without one."""

    kind: str
    whole: str | None = None
    fractions: str | None = None


def box_kind(boxes: Mapping[str, np.ndarray]) -> BoxKind:
    """Judges the boxes of one tracker.

    Args:
      boxes: name of a sequence -> [F, 4].

    Returns:
      MIXED if the boxes of one sequence have fractions and those of another are whole by more than chance.
    """
    whole, fractions, total = None, None, 0
    for name, boxes_xywh in boxes.items():
        first, later = boxes_xywh[0], boxes_xywh[1:]
        if (later % 1 != 0).any():
            fractions = fractions or name
            continue
        different = len(np.unique(later[(later != first).any(1)], axis=0))
        total += different
        if different >= _ENOUGH:
            whole = whole or name
    if fractions is not None:
        return BoxKind(FLOAT if whole is None else MIXED, whole, fractions)
    return BoxKind(WHOLE if total >= _ENOUGH else UNKNOWN, whole)
