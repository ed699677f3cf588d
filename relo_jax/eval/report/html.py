"""Self-contained HTML pages: the frame, the style, and the elements of the reports.

Pictures are embedded, and the Content-Security-Policy forbids the browser to fetch anything, so that a page looks the
same offline and in an archive. All text is escaped. page_style.py has the style and the scripts.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from relo_jax import tables
from relo_jax.eval.report.page_style import CSS
from relo_jax.files import atomic_write

_NARROW = 5  # columns that fit on a phone; more become cards there
# Colours of Matplotlib's parts -> of the page's text, lines and background, light or dark.
_INKS = {
    "#000000": "currentColor", "#666666": "var(--axis)", "#999999": "var(--axis)", "#e4e4e4": "var(--line)",
    "#ffffff": "none",
}  # fmt: skip
_POLICY = "default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'"


def write_page(path: Path | str, title: str, lead: str, sections: Iterable[str], script: str | None = None) -> None:
    """Writes the file, whole or not at all.

    Args:
      path: the HTML file.
      title, lead: the headline, and a sentence or two below it; text.
      sections: HTML, as of `section`.
      script: JavaScript, run at the end.

    Raises:
      UserError: cannot be written.
    """
    policy = _POLICY + ("; script-src 'unsafe-inline'" if script else "")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>'
        f'<body><main><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{"".join(sections)}'
        f"</main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )
    with atomic_write(path) as file:
        file.write_text(page, encoding="utf-8")


def escape(text: object) -> str:
    """Text as HTML, of printable characters."""
    return html.escape(tables.printable(text, 2000))


def section(title: str, *parts: str, kind: str = "") -> str:
    """A box with a heading; the parts are HTML, `kind` a CSS class."""
    return f"<section{f' class={kind}' if kind else ''}><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def pair(left: str, right: str) -> str:
    """HTML side by side, one below the other on a narrow screen."""
    return f'<div class="pair"><div>{left}</div><div>{right}</div></div>'


def note(text: str) -> str:
    """Small print."""
    return f'<p class="note">{escape(text)}</p>'


def table(
    heads: Iterable[str],
    rows: Iterable[Sequence[str]],
    *,
    sortable: bool = False,
    tall: bool = False,
    kinds: Iterable[str | None] | None = None,
) -> str:
    """A table.

    Args:
      heads: headings, text.
      rows: lists of cells: text, or `cell(...)`.
      sortable: a click on a heading sorts; needs `page_style.SCRIPT` on the page.
      tall: the table scrolls by itself.
      kinds: a CSS class for each row, such as "aside"; None for none.
    """
    heads = list(heads)
    head, body = "".join(f"<th>{escape(h)}</th>" for h in heads), ""
    for row, kind in zip(rows, kinds or itertools.repeat(None), strict=False):
        cells = (c if isinstance(c, Cell) else Cell(f"<td>{escape(c)}</td>") for c in row)
        labelled = "".join(cell.labelled(h) for cell, h in zip(cells, heads, strict=True))
        body += f"<tr{f' class={kind}' if kind else ''}>{labelled}</tr>"
    names = [name for name, holds in {"sortable": sortable, "cards": len(heads) > _NARROW}.items() if holds]
    return (
        f'<div class="{"scroll tall" if tall else "scroll"}"><table class="{" ".join(names)}">'
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


class Cell(str):
    """A cell of a table as HTML, `<td...`."""

    def labelled(self, heading: str) -> str:
        """With its column's heading, which a phone shows beside it."""
        return f'<td data-label="{escape(heading)}"{self.removeprefix("<td")}'


def cell(text: object, value: float | None = None, extra: str = "", best: bool = False) -> Cell:
    """A cell of a table.

    Args:
      text: the content.
      value: the key for sorting, if not the text.
      extra: HTML below the text.
      best: whether to print it bold.
    """
    at = "" if value is None else f' data-value="{value:.9g}"'
    return Cell(f"<td{at}{' class=best' if best else ''}>{escape(text)}{extra}</td>")


def number(value: float | None, digits: int = 3, bar: bool = False, best: bool = False, sign: bool = False) -> Cell:
    """A cell with a number, or a dash for None and NaN; `bar` also draws it as a share of 1."""
    if value is None or math.isnan(value):
        return cell("–", -1, best=best)
    drawn = f'<div class="bar"><i style="width:{100 * min(max(value, 0), 1):.1f}%"></i></div>' if bar else ""
    return cell(signed(value, digits) if sign else f"{value:.{digits}f}", value, drawn, best)


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign as text; the minus is as wide as the plus."""
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def folded(title: str, inside: str) -> str:
    """HTML that a click on the title shows."""
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"


def bullets(lines: Iterable[str]) -> str:
    """A bulleted list of lines of text."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def facts(pairs: Mapping[str, object]) -> str:
    """A list of names and values."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items()) + "</dl>"


def keys(colours: Mapping[str, str]) -> str:
    """A legend: text -> CSS colour."""
    spans = (f'<span><span class="key" style="border-color:{c}"></span>{escape(t)}</span>' for t, c in colours.items())
    return f'<p class="note keys">{"".join(spans)}</p>'


@dataclass(frozen=True)
class Shot:
    """A frame on the page, which a click enlarges.

    image: uint8 [H, W, 3], RGB. caption: text. inset: uint8 [h, w, 3], what is too small to see in it, or None.
    corner: where the inset lies, such as "left top".
    """

    image: np.ndarray
    caption: str
    inset: np.ndarray | None = None
    corner: str = "right top"


def frames(shots: Iterable[Shot], kind: str = "") -> str:
    """Frames side by side; `kind` is a CSS class, such as "four" in a row. Needs `page_style.SCRIPT` on the page."""
    pictures = ""
    for shot in shots:
        text = escape(shot.caption)
        inset = "" if shot.inset is None else jpeg(shot.inset, "its target, enlarged", f"inset {shot.corner}")
        button = f'<button class="shot" data-caption="{text}" title="enlarge">'
        pictures += f"<figure>{button}{jpeg(shot.image, shot.caption, 'whole')}{inset}</button>"
        pictures += f"<figcaption>{text}</figcaption></figure>"
    return f'<div class="frames {kind}">{pictures}</div>'


def jpeg(image: np.ndarray, text: str, kind: str = "") -> str:
    """A picture, uint8 [H, W, 3] RGB; `text` is its alternative text, `kind` a CSS class."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return _embedded(data.tobytes(), "jpeg", text, kind)


def plot(data: bytes, text: str) -> str:
    """A plot from the bytes of its file, PNG or Matplotlib's SVG.

    An SVG becomes part of the page, without its background and in the page's colours, so that it is as readable on a
    dark page; a PNG on white is inverted there.
    """
    if data.startswith(b"\x89PNG"):
        return _embedded(data, "png", text, "plot")
    source = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", data.decode(), flags=re.DOTALL)
    source = source[source.index("<svg") :]
    source = re.sub("|".join(_INKS), lambda match: _INKS[match[0]], source)
    # Names that no other plot of the page has.
    mark = hashlib.sha256(data).hexdigest()[:8]
    source = re.sub(r'\bid="|href="#|url\(#', lambda match: f"{match[0]}{mark}-", source)
    start = re.match(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", source)
    assert start is not None
    return f'<svg class="plot" role="img" aria-label="{escape(text)}" {start[1]}>{source[start.end() :].rstrip()}'


def _embedded(data: bytes, kind: str, text: str, name: str) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    of_class = f'class="{name}" ' if name else ""
    return f'<img {of_class}alt="{escape(text)}" src="{source}">'
