"""What a tracker says of itself, as text and in a notebook."""

import html
from typing import Protocol

import numpy as np

from relo_jax.model import RELO


class Described(Protocol):
    """What is said of a tracker; see `Tracker`."""

    checkpoint: str | None

    @property
    def model(self) -> RELO: ...

    @property
    def computes(self) -> str: ...

    @property
    def calibrated(self) -> bool: ...

    @property
    def begun(self) -> bool: ...

    @property
    def boxes(self) -> np.ndarray: ...


def about(tracker: Described) -> dict[str, str]:
    """Checkpoint, network, device, score and state of a tracker, each as a short text."""
    config = tracker.model.config
    return {
        "checkpoint": tracker.checkpoint or "given variables",
        "network": f"{config.variant}, search region of {config.search_size} x {config.search_size} pixels",
        "computes": tracker.computes,
        "score": "calibrated: the probability that the box is right" if tracker.calibrated else "not calibrated",
        "state": _state(tracker),
    }


def as_text(tracker: Described) -> str:
    """One line."""
    facts = about(tracker)
    return f"{type(tracker).__name__}({facts['checkpoint']}: {facts['network']}; {facts['computes']}; {facts['state']})"


def as_table(tracker: Described) -> str:
    """The same as an HTML table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in about(tracker).items()
    )
    return f"<p><b>{type(tracker).__name__}</b></p><table>{rows}</table>"


def _state(tracker: Described) -> str:
    if not tracker.begun:
        return "waits for init with a frame and a box"
    boxes = tracker.boxes.tolist()
    where = ["(" + ", ".join(f"{value:.1f}" for value in box) + ")" for box in boxes[:3]]
    more = f" and {len(boxes) - 3} more" if len(boxes) > 3 else ""
    return f"follows {', '.join(where)}{more}"
