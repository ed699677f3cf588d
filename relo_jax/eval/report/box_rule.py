"""Which boxes a comparison measures: those of the files, or all of them truncated to whole numbers.

Trackers whose files have whole numbers and trackers whose files have fractions are compared by truncated boxes: nobody
can give the former their fractions back. The user may choose otherwise, and then the page says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relo_jax.errors import UserError
from relo_jax.eval.metrics import FLOAT_BOXES, WHOLE_NUMBER_BOXES
from relo_jax.eval.results.box_kinds import FLOAT, MIXED, WHOLE, box_kind
from relo_jax.eval.tracker_results import TrackerResults

CHOICES = ("whole", "float")


@dataclass(frozen=True)
class BoxRule:
    """Which boxes are measured.

    whole: all are truncated to whole numbers. kinds: label of a tracker -> what its files have, of `box_kinds`. chosen:
    the user's choice, of `CHOICES`; None without one.
    """

    whole: bool = False
    kinds: Mapping[str, str] = field(default_factory=dict)
    chosen: str | None = None

    @property
    def name(self) -> str:
        """What is measured, in few words."""
        if self.whole:
            return WHOLE_NUMBER_BOXES
        if self._labels(WHOLE, MIXED):
            return f"{FLOAT_BOXES} and {WHOLE_NUMBER_BOXES}" if self._labels(FLOAT, MIXED) else WHOLE_NUMBER_BOXES
        return FLOAT_BOXES

    @property
    def differ(self) -> bool:
        """Whether some boxes in the files are whole numbers and others have fractions."""
        return bool(self._labels(WHOLE, MIXED) and self._labels(FLOAT, MIXED))

    def sentence(self) -> str:
        """What is measured and why."""
        if self.differ:
            return self._of_both()
        if self._labels(WHOLE):
            return "Whole-number boxes, as in the files and as those behind published numbers."
        if self.whole:
            return "Whole-number boxes: all are truncated, as those behind published numbers are."
        if self._labels(FLOAT):
            return (
                "Float boxes, as in the files. Published numbers are those of whole-number boxes, and lower, above "
                "all for small targets: --boxes whole gives them."
            )
        return "Float boxes."

    def warning(self) -> str | None:
        """What to know before reading the numbers; None if nothing."""
        return self._of_both() if self.differ else None

    def summary(self) -> dict:
        """JSON-able."""
        return {"measured": self.name, "files": dict(self.kinds), "chosen": self.chosen, "remark": self.sentence()}

    def _of_both(self) -> str:
        files = "; ".join(f"{label}: {kind}" for label, kind in self.kinds.items())
        if self.whole:
            return f"Whole-number boxes: all are truncated, because the files differ ({files})."
        return (
            f"Not a fair comparison: --boxes float keeps boxes that differ ({files}). Numbers are higher with "
            "fractions, above all for small targets; without --boxes float all are truncated."
        )

    def _labels(self, *kinds: str) -> list[str]:
        return [label for label, kind in self.kinds.items() if kind in kinds]


def choose(trackers: Iterable[TrackerResults], chosen: str | None = None) -> BoxRule:
    """Chooses what is measured: truncated boxes if any tracker's files have whole numbers, else the files' boxes.

    Args:
      trackers: results with boxes.
      chosen: the user's choice, of `CHOICES`.

    Raises:
      UserError: a tracker's files have both, and the user has not chosen.
    """
    kinds = {}
    for tracker in trackers:
        found = box_kind(tracker.boxes)
        if found.kind == MIXED and chosen is None:
            assert found.whole is not None and found.fractions is not None
            raise UserError(
                f"{tracker.label}: results of two runs? {tracker.files[found.whole]} has whole numbers, "
                f"{tracker.files[found.fractions].name} fractions: evaluate again into a new folder, or truncate all "
                "with --boxes whole"
            )
        kinds[tracker.label] = found.kind
    whole = chosen == "whole" or (chosen is None and WHOLE in kinds.values())
    return BoxRule(whole, kinds, chosen)
