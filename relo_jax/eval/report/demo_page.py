"""The demo's report: one HTML file that needs nothing but itself (and, beside it, the video that it names).

What was learnt in numbers first, then how: table and success curves, training curves, and the tracked sequence's frames
with the box that was predicted and the one that is true. Pictures are part of the file.
"""

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np

from relo_jax.eval.report import html, plots
from relo_jax.geometry import boxes
from relo_jax.media.overlay import draw

_COLUMNS = {"auc": "AUC", "p20": "P20", "np20": "NP20", "ao": "AO"}
# The colours of `overlay.draw`; its white is a grey on a white page.
_LEGEND = {"tracked": "#3cdc64", "tracked, not sure": "#ffaa28", "ground truth (white)": "#b8bec8"}


def key_frames(sequence, results, count=6):
    """Frames of a tracked sequence, evenly spread from first to last, with both boxes drawn on them.

    Args:
      sequence: `relo_jax.data.sequence.Sequence`.
      results: what the tracker gave, one a frame, with `box`, `score` and `found`.
      count: how many frames, at most.

    Returns:
      list of (uint8 `[H, W, 3]`, caption).
    """
    frames = []
    for index in np.unique(np.linspace(0, len(results) - 1, count).round().astype(int)).tolist():
        truth = sequence.boxes_xywh[index]
        known = np.isfinite(truth).all() and (truth[2:] > 0).all()
        overlap = f"IoU {boxes.iou_xywh(np.array(results[index].box), truth):.2f}" if known else "no target"
        image = draw(sequence.read_frame(index), results[index], truth if known else None)
        frames.append((image, f"frame {index}: {overlap}" + (" (given)" if index == 0 else "")))
    return frames


def write_report(
    path, *, title, lead, trackers, sequences=None, training=None, sections=(), frames=(), video=None, facts=None
):
    """Writes the report. Parts that are not given are not in it.

    Args:
      path: the HTML file.
      title, lead: the headline, and a sentence or two below it.
      trackers: dict of label -> mean `metrics.Curves`, such as those of before RL, after RL and a box that never moves.
      sequences: dict of label -> dict of sequence name -> Curves: AUC of every sequence, folded away at first.
      training: dict of stage -> run directory, see `plots.training_curves`.
      sections: what else is to stand below that, as of `page.section`.
      frames: list of (uint8 `[H, W, 3]`, caption), see `key_frames`.
      video: path of a video; the report refers to it relative to its own place.
      facts: dict of what else to know (command, seed, machine, minutes) -> text.

    Raises:
      UserError: cannot be written.
    """
    parts = [_results(trackers, sequences)]
    if training:
        curves = _png(plots.as_png(plots.training_curves, training), "training curves")
        says = "Thin: every logged step. Bold: running mean. Dotted: held-out clips, greedy policy."
        parts.append(html.section("Training", curves, html.note(says)))
    parts += sections
    if frames or video:
        parts.append(_tracked(frames, video, Path(path)))
    if facts:
        parts.append(html.section("How it was made", html.facts(facts)))
    html.write_page(path, title, lead, parts)


def _results(trackers, sequences):
    best = max(curves.auc for curves in trackers.values())
    rows = [
        [label, *(html.number(v, bar=k == "auc") for k, v in curves.numbers().items())]
        for label, curves in trackers.items()
    ]
    kinds = ["best" if curves.auc == best else None for curves in trackers.values()]
    table = html.table(["tracker", *_COLUMNS.values()], rows, kinds=kinds)
    says = (
        "AUC: area under the success curve. P20: share of frames whose centre is within 20 pixels; NP20: within a "
        "fifth of the target's size. AO: mean overlap (IoU). Means over sequences, the first frame's box given."
    )
    picture = _png(plots.as_png(plots.success_plot, trackers), "success curves")
    pair = f'<div class="pair"><div>{table}{html.note(says)}</div><div>{picture}</div></div>'
    return html.section("Results", pair, _every_sequence(sequences))


def _every_sequence(sequences):
    if not sequences:
        return ""
    names = dict.fromkeys(name for curves in sequences.values() for name in curves)
    rows = [
        [name, *(html.number(curves[name].auc) if name in curves else "failed" for curves in sequences.values())]
        for name in names
    ]
    return html.folded(f"AUC of each of the {len(names)} sequences", html.table(["sequence", *sequences], rows))


def _tracked(frames, video, path):
    film = ""
    if video is not None:
        source = quote(os.path.relpath(Path(video).absolute(), path.absolute().parent).replace(os.sep, "/"))
        film = f'<video controls loop muted playsinline preload="metadata" src="{source}"></video>'
    return html.section("Tracking a sequence it has never seen", film, html.figures(frames), html.keys(_LEGEND))


def _png(data, text):
    return html.picture(data, "png", text)
