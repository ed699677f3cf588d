"""RELO in the GOT-10k toolkit (Huang et al., TPAMI 2021), which also runs OTB, UAV123, LaSOT, NFS and others.

    from got10k.experiments import ExperimentGOT10k
    from relo_jax.integrations.got10k import RELOTracker

    experiment = ExperimentGOT10k("GOT-10k", subset="val")
    experiment.run(RELOTracker("runs/demo"))
    experiment.report(["RELO"])

The toolkit gives PIL images and boxes x, y, w, h in pixels, as in the dataset's files. Boxes of OTB and UAV123 count
pixels from 1; those of GOT-10k are used as they are, as is usual.
"""

from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.tracking import tracker

try:
    from got10k.trackers import Tracker
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"{missing}: the GOT-10k toolkit is not installed, pip install 'relo-jax[got10k]' brings it", name=missing.name
    ) from None


class RELOTracker(Tracker):
    """A tracker for the toolkit's experiments; it compiles when it is created, not at the first frame.

    It is marked as deterministic, so that an experiment runs every sequence once instead of three times.

    Args:
      checkpoint: what `relo_jax.checkpoint.load` takes: run directory, checkpoint, `.pth.tar`, "starter".
      name: its name in the toolkit, and of its folder of results.
      one_based: whether the dataset counts pixels from 1; results do too then.
      **options: of `relo_jax.Tracker.from_pretrained`: sizes of frames to expect, and options such as window_power.

    Raises:
      UserError: the checkpoint cannot be loaded, or an option does not exist.
    """

    def __init__(self, checkpoint: str | Path = "starter", name: str = "RELO", one_based: bool = False, **options):
        super().__init__(name=name, is_deterministic=True)
        self._offset = np.array([one_based, one_based, 0, 0], np.float64)
        self._tracker = tracker.Tracker.from_pretrained(checkpoint, **options)

    def init(self, image: Any, box: np.ndarray) -> None:
        """Begins a sequence: its first frame (PIL image) and the target in it, `[4]` x, y, w, h."""
        self._tracker.init(_pixels(image), np.asarray(box, np.float64) - self._offset)

    def update(self, image: Any) -> np.ndarray:
        """The target in the next frame (PIL image): float64 `[4]` x, y, w, h."""
        return np.array(self._tracker.update(_pixels(image)).box) + self._offset


def _pixels(image: Any) -> np.ndarray:
    """uint8 `[H, W, 3]`, RGB."""
    return np.asarray(image.convert("RGB"))
