"""Self-contained HTML pages: the frame, the style, and the elements of the reports.

Pictures are embedded, and the Content-Security-Policy forbids the browser to fetch anything, so that a page looks the
same offline and in an archive. All text is escaped.
"""

from __future__ import annotations

import base64
import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from relo_jax.files import atomic_write

CSS = """
:root { color-scheme: light; --ink: #1c2330; --soft: #5c6675; --line: #e3e7ee; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f9; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.lead { color: var(--soft); max-width: 46rem; margin: 0 0 2rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem; }
section { margin: 0 0 1.25rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1.1fr) minmax(0, 1fr); gap: 1.5rem; align-items: center; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: 1.25rem; }
.plots { margin-top: 1.5rem; align-items: start; }
section > img, details > img { width: 100%; margin: .5rem 0; }
@media (max-width: 52rem) { .pair { grid-template-columns: minmax(0, 1fr); } section { padding: 1.1rem; } }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .45rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-size: .8rem; font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; overflow-wrap: break-word; }
.scroll th:first-child, .scroll td:first-child { position: sticky; left: 0; background: #fff; }
td.best { font-weight: 650; }
tr.aside td { color: var(--soft); font-style: italic; }
table.sortable th { cursor: pointer; white-space: nowrap; }
table.sortable th:hover, table.sortable th:focus-visible { color: var(--ink); }
th[aria-sort=ascending]::after { content: " \\2191"; } th[aria-sort=descending]::after { content: " \\2193"; }
.bar { height: 6px; margin-top: .3rem; border-radius: 3px; background: #e9eef5; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }
.scroll { overflow-x: auto; }
.span { position: relative; height: 14px; min-width: 9rem; background: #f1f4f8; border-radius: 3px; overflow: hidden; }
.span i { position: absolute; top: 5px; height: 4px; border-radius: 2px; background: var(--accent); }
.span b { position: absolute; top: 1px; width: 4px; height: 12px; margin-left: -2px; background: var(--ink); }
.span s { position: absolute; left: 50%; top: 0; bottom: 0; width: 1px; background: #aab3c0; }
.tall { max-height: 34rem; overflow: auto; }
.tall th { position: sticky; top: 0; background: #fff; z-index: 1; }
.tall th:first-child { z-index: 2; }
.note { color: var(--soft); font-size: .88rem; margin: .75rem 0 0; }
td .note { margin: 0; font-weight: 400; white-space: nowrap; }
.warning { border-left: 4px solid #e69f00; }
img, video { display: block; max-width: 100%; height: auto; border-radius: 6px; }
video { width: 100%; max-width: 40rem; background: #000; margin-bottom: 1.25rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; margin: .6rem 0; }
.four { grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); }
figure { margin: 0; } figure img { width: 100%; }
figcaption { font-size: .85rem; color: var(--soft); padding-top: .35rem; }
.key { display: inline-block; width: .8em; height: .8em; border: 2px solid; border-radius: 2px; margin: 0 .4em 0 0; }
.keys > span { margin-right: 1.2em; white-space: nowrap; }
summary { cursor: pointer; color: var(--soft); margin-top: 1rem; }
ul { margin: .5rem 0 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { background: #fff; } section { border: 0; padding: 0; break-inside: avoid; } }
"""
# A click or Enter on a heading sorts by its column: by data-value if the cells have it, else by text.
SORTING = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)], [p, q] = [parseFloat(x), parseFloat(y)];
        const sign = isNaN(p) || isNaN(q) ? x.localeCompare(y, "en", { numeric: true }) : p - q;
        return down ? -sign : sign;
      };
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      [...body.rows].filter(row => !row.classList.contains("aside")).sort(order)
        .forEach((row, k) => body.insertBefore(row, body.rows[k]));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
}
"""
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
    """Text as HTML."""
    return html.escape(str(text))


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
      sortable: a click on a heading sorts; needs `SORTING` on the page.
      tall: the table scrolls by itself.
      kinds: a CSS class for each row, such as "aside"; None for none.
    """
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = ""
    for row, kind in zip(rows, kinds or itertools.repeat(None), strict=False):
        cells = "".join(c if isinstance(c, Cell) else f"<td>{escape(c)}</td>" for c in row)
        body += f"<tr{f' class={kind}' if kind else ''}>{cells}</tr>"
    sort = " class=sortable" if sortable else ""
    return (
        f'<div class="{"scroll tall" if tall else "scroll"}"><table{sort}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


class Cell(str):
    """A cell of a table as HTML."""


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


def figures(frames: Iterable[tuple[np.ndarray, str]], kind: str = "") -> str:
    """Pictures side by side, each a uint8 [H, W, 3] and a caption; `kind` is a CSS class, such as "four" in a row."""
    pictures = (f"<figure>{jpeg(im, text)}<figcaption>{escape(text)}</figcaption></figure>" for im, text in frames)
    return f'<div class="frames {kind}">{"".join(pictures)}</div>'


def jpeg(image: np.ndarray, text: str) -> str:
    """A picture, uint8 [H, W, 3] RGB; `text` is its alternative text."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return picture(data.tobytes(), "jpeg", text)


def picture(data: bytes, kind: str, text: str) -> str:
    """A picture from the bytes of its file; `kind` is png, jpeg or svg+xml."""
    return f'<img alt="{escape(text)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
