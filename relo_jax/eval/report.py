"""The demo's report: one HTML file that needs nothing but itself (and, beside it, the video that it names).

What was learnt in numbers first, then how: table and success curves, training curves, and the tracked sequence's frames
with the box that was predicted and the one that is true. Pictures are part of the file.
"""

import base64
import html
import os
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from relo_jax import boxes
from relo_jax.eval import plots
from relo_jax.files import whole_file
from relo_jax.overlay import draw

_COLUMNS = {"auc": "AUC", "p20": "P20", "np20": "NP20", "ao": "AO"}
# The colours of `overlay.draw`; its white is a grey on a white page.
_LEGEND = (("#3cdc64", "tracked"), ("#ffaa28", "tracked, not sure"), ("#b8bec8", "ground truth (white)"))
_CSS = """
:root { color-scheme: light; --ink: #1c2330; --soft: #5c6675; --line: #e3e7ee; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f9; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
.lead { color: var(--soft); max-width: 46rem; margin: 0 0 2rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem; }
section { margin: 0 0 1.25rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1.1fr) minmax(0, 1fr); gap: 1.5rem; align-items: center; }
@media (max-width: 52rem) { .pair { grid-template-columns: minmax(0, 1fr); } section { padding: 1.1rem; } }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .45rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-size: .8rem; font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { text-align: left; }
tr.best td { font-weight: 650; }
.bar { height: 6px; margin-top: .3rem; border-radius: 3px; background: #e9eef5; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }
.scroll { overflow-x: auto; }
.note { color: var(--soft); font-size: .88rem; margin: .75rem 0 0; }
img, video { display: block; max-width: 100%; height: auto; border-radius: 6px; }
video { width: 100%; max-width: 40rem; background: #000; margin-bottom: 1.25rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; }
figcaption { font-size: .85rem; color: var(--soft); padding-top: .35rem; }
.key { display: inline-block; width: .8em; height: .8em; border: 2px solid; border-radius: 2px; margin: 0 .4em 0 0; }
.keys > span { margin-right: 1.2em; white-space: nowrap; }
summary { cursor: pointer; color: var(--soft); margin-top: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


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


def write_report(path, *, title, lead, trackers, sequences=None, training=None, frames=(), video=None, facts=None):
    """Writes the report. Parts that are not given are not in it.

    Args:
      path: the HTML file.
      title, lead: the headline, and a sentence or two below it.
      trackers: dict of label -> mean `metrics.Curves`, such as those of before RL, after RL and a box that never moves.
      sequences: dict of label -> dict of sequence name -> Curves: AUC of every sequence, folded away at first.
      training: dict of stage -> run directory, see `plots.training_curves`.
      frames: list of (uint8 `[H, W, 3]`, caption), see `key_frames`.
      video: path of a video; the report refers to it relative to its own place.
      facts: dict of what else to know (command, seed, machine, minutes) -> text.

    Raises:
      UserError: cannot be written.
    """
    parts = [_results(trackers, sequences)]
    if training:
        curves = _png(plots.as_png(plots.training_curves, training), "training curves")
        note = "Thin: every logged step. Bold: running mean. Dotted: held-out clips, greedy policy."
        parts.append(f"<section><h2>Training</h2>{curves}<p class=note>{note}</p></section>")
    if frames or video:
        parts.append(_tracked(frames, video, Path(path)))
    if facts:
        rows = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
        parts.append(f"<section><h2>How it was made</h2><dl>{rows}</dl></section>")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head>'
        f'<body><main><h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>{"".join(parts)}'
        "</main></body></html>\n"
    )
    with whole_file(path) as file:
        file.write_text(page, encoding="utf-8")


def _results(trackers, sequences):
    best = max(curves.auc for curves in trackers.values())
    rows = ""
    for label, curves in trackers.items():
        numbers = curves.numbers()
        bar = f'<div class="bar"><i style="width:{100 * numbers["auc"]:.1f}%"></i></div>'
        cells = "".join(f"<td>{numbers[k]:.3f}{bar if k == 'auc' else ''}</td>" for k in _COLUMNS)
        rows += f"<tr{' class=best' if curves.auc == best else ''}><td>{html.escape(label)}</td>{cells}</tr>"
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS.values())
    table = f"<table><thead><tr><th>tracker</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    note = (
        "AUC: area under the success curve. P20: share of frames whose centre is within 20 pixels; NP20: within a "
        "fifth of the target's size. AO: mean overlap (IoU). Means over sequences, the first frame's box given."
    )
    picture = _png(plots.as_png(plots.success_plot, trackers), "success curves")
    return (
        f'<section><h2>Results</h2><div class="pair"><div><div class="scroll">{table}</div>'
        f'<p class="note">{note}</p></div><div>{picture}</div></div>{_every_sequence(sequences)}</section>'
    )


def _every_sequence(sequences):
    if not sequences:
        return ""
    head = "".join(f"<th>{html.escape(label)}</th>" for label in sequences)
    names = dict.fromkeys(name for curves in sequences.values() for name in curves)
    rows = ""
    for name in names:
        numbers = [f"{curves[name].auc:.3f}" if name in curves else "failed" for curves in sequences.values()]
        rows += f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{n}</td>' for n in numbers)}</tr>"
    return (
        f'<details><summary>AUC of each of the {len(names)} sequences</summary><div class="scroll"><table><thead><tr>'
        f"<th>sequence</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _tracked(frames, video, path):
    film = ""
    if video is not None:
        source = quote(os.path.relpath(Path(video).absolute(), path.absolute().parent).replace(os.sep, "/"))
        film = f'<video controls loop muted playsinline preload="metadata" src="{source}"></video>'
    pictures = "".join(
        f"<figure>{_image(_jpeg(image), 'jpeg', caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for image, caption in frames
    )
    legend = "".join(
        f'<span><span class="key" style="border-color:{colour}"></span>{name}</span>' for colour, name in _LEGEND
    )
    return (
        f'<section><h2>Tracking a sequence it has never seen</h2>{film}<div class="frames">{pictures}</div>'
        f'<p class="note keys">{legend}</p></section>'
    )


def _jpeg(image):
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return data.tobytes()


def _png(data, text):
    return _image(data, "png", text)


def _image(data, kind, text):
    return f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
