"""Style and scripts of the pages. Everything is inside the page: light and dark, wide and narrow, on paper."""

CSS = """
:root { color-scheme: light dark; --page: #f4f6f9; --paper: #fff; --ink: #1c2330; --soft: #5c6675; --line: #e3e7ee;
  --bar: #e9eef5; --middle: #aab3c0; --axis: #666; --accent: #0072b2; --amber: #e69f00; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --paper: #161c25; --ink: #e4e9f1; --soft: #9ba8b9; --line: #2b3442; --bar: #252e3b;
    --middle: #566275; --axis: #8b98a9; --accent: #3d9bdc; }
  img.plot { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); }
body { font: 16px/1.55 system-ui, "Segoe UI", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
.lead { color: var(--soft); max-width: 46rem; margin: 0 0 2rem; overflow-wrap: anywhere; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem; }
section { margin: 0 0 1.25rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1.1fr) minmax(0, 1fr); gap: 1.5rem; align-items: center; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: 1.25rem; }
.plots { margin-top: 1rem; align-items: start; }
section > img, details > img { width: 100%; margin: .5rem 0; }
svg.plot { display: block; width: 100%; height: auto; fill: currentColor; margin: .5rem 0; }
svg.plot * { stroke-linejoin: round; }
@media (max-width: 52rem) { .pair { grid-template-columns: minmax(0, 1fr); } section { padding: 1.1rem; } }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .45rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-size: .8rem; font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; min-width: 6rem; }
.scroll th:first-child, .scroll td:first-child { position: sticky; left: 0; background: var(--paper); }
td.best { font-weight: 650; }
tr.aside td { color: var(--soft); font-style: italic; }
table.sortable th { cursor: pointer; white-space: nowrap; }
table.sortable th:hover, table.sortable th:focus-visible { color: var(--ink); }
th[aria-sort=ascending]::after { content: " \\2191"; } th[aria-sort=descending]::after { content: " \\2193"; }
.bar { height: 6px; margin-top: .3rem; border-radius: 3px; background: var(--bar); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }
.scroll { overflow-x: auto; }
.span { position: relative; height: 14px; min-width: 9rem; background: var(--bar); border-radius: 3px; }
.span { overflow: hidden; }
.span i { position: absolute; top: 5px; height: 4px; border-radius: 2px; background: var(--accent); }
.span b { position: absolute; top: 1px; width: 4px; height: 12px; margin-left: -2px; background: var(--ink); }
.span s { position: absolute; left: 50%; top: 0; bottom: 0; width: 1px; background: var(--middle); }
.tall { max-height: 34rem; overflow: auto; }
.tall th { position: sticky; top: 0; background: var(--paper); z-index: 1; }
.tall th:first-child { z-index: 2; }
.note { color: var(--soft); font-size: .88rem; margin: .75rem 0 0; }
td .note { margin: 0; font-weight: 400; white-space: nowrap; }
.warning { border-left: 4px solid var(--amber); }
img, video { display: block; max-width: 100%; height: auto; border-radius: 6px; }
video { width: 100%; background: #000; margin-bottom: 1rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; margin: .6rem 0; }
.four { grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); }
figure { margin: 0; } figure img { width: 100%; }
figcaption { font-size: .85rem; color: var(--soft); padding-top: .35rem; }
.shot { display: block; position: relative; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in; }
.shot:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.shot .inset { position: absolute; width: 34%; border: 2px solid #fff; box-shadow: 0 1px 6px #0009; }
.inset.left { left: 4px; } .inset.right { right: 4px; } .inset.top { top: 4px; } .inset.bottom { bottom: 4px; }
dialog.zoom { border: 0; padding: 0; max-width: 100vw; max-height: 100vh; background: none; color: #f2f5f9; }
dialog.zoom::backdrop { background: #05080dee; }
.zoom { cursor: zoom-out; text-align: center; outline: none; }
.zoom > div { display: flex; gap: 1rem; justify-content: center; align-items: center; }
.zoom .whole { height: 82vh; max-width: 68vw; object-fit: contain; }
.zoom .whole:only-child { max-width: 94vw; }
.zoom .inset { width: min(24vw, 22rem); }
.key { display: inline-block; width: .8em; height: .8em; border: 2px solid; border-radius: 2px; margin: 0 .4em 0 0; }
.keys > span { margin-right: 1.2em; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--soft); margin-top: 1rem; }
ul { margin: .5rem 0 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
/* On a phone, each row of a wide table becomes a card, so that no column lies outside the screen. */
@media (max-width: 40rem) {
  main { padding: 1.5rem .75rem 3rem; } h1 { font-size: 1.6rem; } th, td { padding: .4rem .25rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .5rem; }
  .four { grid-template-columns: minmax(0, 1fr); }
  table.cards, .cards tbody { display: block; }
  .cards thead { display: none; } .cards.sortable thead { display: block; }
  .cards thead tr { display: flex; flex-wrap: wrap; gap: .1rem .9rem; }
  .cards thead th { position: static; border: 0; padding: .2rem 0; min-width: 0; }
  .cards thead th:empty { display: none; }
  .cards tbody tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .35rem .8rem; }
  .cards tbody tr { padding: .7rem 0; border-top: 1px solid var(--line); }
  .cards tbody td { border: 0; padding: 0; text-align: left; overflow-wrap: anywhere; }
  .cards tbody td::before { content: attr(data-label); display: block; font-size: .74rem; color: var(--soft); }
  .cards tbody td::before { font-weight: 400; font-style: normal; }
  .cards tbody td:first-child { grid-column: 1 / -1; font-weight: 600; position: static; }
  .cards tbody td:first-child::before { content: none; }
  .cards tbody td:empty { display: none; } .cards td.wide { grid-column: 1 / -1; }
  td .note { white-space: normal; }
  .zoom > div { flex-direction: column; } .zoom .whole { height: auto; max-width: 94vw; max-height: 56vh; }
  .zoom .inset { width: auto; max-height: 26vh; }
}
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
# A click on a picture enlarges it, with its inset beside it; arrow keys go to the next one.
ENLARGING = """
const shots = [...document.querySelectorAll(".shot")], zoom = document.createElement("dialog");
let current = 0;
const enlarge = k => {
  current = (k + shots.length) % shots.length;
  const pictures = document.createElement("div"), caption = document.createElement("p");
  pictures.append(...[...shots[current].querySelectorAll("img")].map(image => image.cloneNode()));
  caption.textContent = shots[current].dataset.caption;
  zoom.replaceChildren(pictures, caption);
  if (!zoom.open) zoom.showModal();
};
if (shots.length) {
  zoom.className = "zoom";
  document.body.append(zoom);
  shots.forEach((shot, k) => shot.addEventListener("click", () => enlarge(k)));
  zoom.addEventListener("click", () => zoom.close());
  zoom.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) enlarge(current + step);
  });
}
"""
SCRIPT = SORTING + ENLARGING
