"""The demo's report: a film of one tracked sequence first, then the results, and how training went.

One HTML file with its pictures inside; the video lies beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as List
from pathlib import Path
from urllib.parse import quote

from relo_jax.checkpoints.training_curves import panels, training_curves
from relo_jax.data.sequence import Sequence
from relo_jax.eval.report import comparison_page, html, sequence_sections
from relo_jax.eval.report.comparison import Comparison
from relo_jax.eval.report.page_style import SCRIPT
from relo_jax.media.figures import as_svg, in_every_format
from relo_jax.tracking.result import Look, Result

TRAINING = "training"


def write_report(
    out: Path,
    comparison: Comparison,
    *,
    title: str,
    lead: str,
    training: Mapping[str, Path | str] | None = None,
    sections: Iterable[str] = (),
    shown: tuple[Sequence, str, List[Result]] | None = None,
    video: Path | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes `report.html`, its curves beside it, and with `training` also `training.svg`, `.pdf` and `.png`.

    Args:
      out: an existing folder.
      comparison: the trackers.
      title, lead: the headline, and a sentence or two below it.
      training: stage -> run directory, see `training_curves`.
      sections: further sections, as of `html.section`.
      shown: a sequence to show frames of, the tracker whose loss decides which, and what it says of all frames, with
        the policies where they are Looks.
      video: file of a video of that sequence.
      facts: what else to state (command, seed, machine, minutes) -> text.

    Raises:
      UserError: cannot be written.
    """
    parts = [comparison_page.warnings(comparison)]
    if shown:
        parts.append(_shown(out, comparison, *shown, video))
    parts.append(comparison_page.results(out, comparison))
    if training:
        in_every_format(out / TRAINING, training_curves, training)
        text = "Thin: every logged step. Bold: running mean. Dotted: held-out clips, greedy policy."
        parts.append(html.section("Training", *map(_curves, training, training.values()), html.note(text)))
    parts += sections
    parts.append(sequence_sections.every_sequence(comparison))
    if facts:
        parts.append(html.section("How it was made", html.facts(facts)))
    html.write_page(out / comparison_page.PAGE_FILE, title, lead, parts, SCRIPT)


def _shown(
    out: Path, comparison: Comparison, sequence: Sequence, label: str, results: List[Result], video: Path | None
) -> str:
    """The section on a sequence: the film, frames, and the overlap over all frames."""
    looks = {index: result for index, result in enumerate(results) if isinstance(result, Look)}
    key = sequence_sections.colour_key(comparison, label)
    frames = sequence_sections.frames_of(comparison, sequence, label, lambda *_: looks)
    text = (
        "The square is the search region, and the brighter a cell of it, the more probable that the policy takes it. "
        "Click a frame to enlarge it."
    )
    film = _film(video, out) if video else ""
    return html.section("Where it looks, in a sequence it has never seen", film, html.note(text), key, frames)


def _curves(stage: str, run: Path | str) -> str:
    """The training curves of a stage."""
    plots = "".join(html.plot(as_svg(panel), f"training curve, {stage}") for panel in panels(run))
    return f'<h3>{html.escape(stage)}</h3><div class="plots">{plots}</div>'


def _film(video: Path, out: Path) -> str:
    source = quote(os.path.relpath(video.absolute(), out.absolute()).replace(os.sep, "/"))
    return f'<video controls autoplay loop muted playsinline preload="metadata" src="{source}"></video>'
