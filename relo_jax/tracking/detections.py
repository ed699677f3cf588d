"""Results as `supervision.Detections`, which annotators, zones and counters of Roboflow's supervision take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from relo_jax.extras import not_installed

if TYPE_CHECKING:
    import supervision


class Detection(Protocol):
    """What is needed of a Result."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def score(self) -> float: ...

    @property
    def found(self) -> bool: ...


def to_supervision(results: Detection | Sequence[Detection]) -> supervision.Detections:
    """The boxes of one frame as `supervision.Detections`.

        for results in relo_jax.track("in.mp4", box=[box, another], frames=True):
            detections = relo_jax.to_supervision(results)
            picture = annotator.annotate(results[0].frame.copy(), detections[detections.data["found"]])

    Args:
      results: of one frame: a Result, or those of K targets.

    Returns:
      `xyxy` float32 `[N, 4]` in pixels; `confidence`, the scores; `tracker_id`, the target's place in the list, from 0;
      `class_id`, 0; `data["found"]`, bool `[N]`. A target before its first box has none.

    Raises:
      UserError: supervision is not installed.
    """
    try:
        from supervision import Detections
    except ModuleNotFoundError as error:
        raise (not_installed(error, "to_supervision") or error) from None
    every = list(results) if isinstance(results, Sequence) else [results]
    boxes = np.array([result.box for result in every], np.float32).reshape(-1, 4)
    there = np.isfinite(boxes).all(axis=1)
    xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return Detections(
        xyxy=xyxy[there],
        confidence=np.array([result.score for result in every], np.float32)[there],
        class_id=np.zeros(there.sum(), int),
        tracker_id=np.flatnonzero(there),
        data={"found": np.array([result.found for result in every], bool)[there]},
    )
