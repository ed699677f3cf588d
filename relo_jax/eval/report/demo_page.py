"""The demo's report: the results first, then how training went, and the frames of one tracked sequence.

One HTML file with its pictures inside; the video lies beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from relo_jax.checkpoints.training_curves import training_curves
from relo_jax.data.sequence import Sequence
from relo_jax.eval.report import comparison_page, html, sequence_sections
from relo_jax.eval.report.comparison import Comparison

TRAINING_FILE = "training.png"


def write_report(
    out: Path,
    comparison: Comparison,
    *,
    title: str,
    lead: str,
    training: Mapping[str, Path | str] | None = None,
    sections: Iterable[str] = (),
    shown: tuple[Sequence, str] | None = None,
    video: Path | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes `report.html`, its curves beside it, and with `training` also `training.png`.

    Args:
      out: an existing folder.
      comparison: the trackers.
      title, lead: the headline, and a sentence or two below it.
      training: stage -> run directory, see `training_curves`.
      sections: further sections, as of `html.section`.
      shown: a sequence to show frames of, and the tracker whose loss decides which.
      video: file of a video of that sequence.
      facts: what else to state (command, seed, machine, minutes) -> text.

    Raises:
      UserError: cannot be written.
    """
    parts = [comparison_page.warnings(comparison), comparison_page.results(out, comparison)]
    if training:
        training_curves(out / TRAINING_FILE, training)
        curves = html.picture((out / TRAINING_FILE).read_bytes(), "png", "training curves")
        text = "Thin: every logged step. Bold: running mean. Dotted: held-out clips, greedy policy."
        parts.append(html.section("Training", curves, html.note(text)))
    parts += sections
    if shown:
        film = _film(video, out) if video else ""
        sequence, label = shown
        key = sequence_sections.colour_key(comparison, label)
        frames = sequence_sections.frames_of(comparison, sequence, label)
        parts.append(html.section("Tracking a sequence it has never seen", film, key, frames))
    parts.append(sequence_sections.every_sequence(comparison))
    if facts:
        parts.append(html.section("How it was made", html.facts(facts)))
    html.write_page(out / comparison_page.PAGE_FILE, title, lead, parts, html.SORTING)


def _film(video: Path, out: Path) -> str:
    source = quote(os.path.relpath(video.absolute(), out.absolute()).replace(os.sep, "/"))
    return f'<video controls loop muted playsinline preload="metadata" src="{source}"></video>'
