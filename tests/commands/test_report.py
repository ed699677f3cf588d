"""`relo report` from end to end: three trackers on real excerpts, and the page in a real browser."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.data.datasets.folder import read_folder
from relo_jax.eval.runner import evaluate

ROOT = Path(__file__).parents[2]
NAMES, FRAMES = ("Crossing", "Man", "vot15_bag"), 25


@pytest.fixture(scope="module")
def excerpts(shared, tmp_path_factory):
    """Three real sequences, their first 25 frames, as a folder."""
    root = tmp_path_factory.mktemp("excerpts")
    for name in NAMES:
        source = shared / "data" / "otb_mini" / name
        (root / name / "img").mkdir(parents=True)
        for path in sorted((source / "img").iterdir())[:FRAMES]:
            shutil.copy(path, root / name / "img")
        lines = (source / "groundtruth.txt").read_text().splitlines(keepends=True)
        (root / name / "groundtruth.txt").write_text("".join(lines[:FRAMES]))
    return root


@pytest.fixture(scope="module")
def results(excerpts, tmp_path_factory):
    """RELO's own; OpenCV's MIL, whole numbers in pytracking's layout; a box that never moves in GOT-10k's."""
    root = tmp_path_factory.mktemp("results")
    sequences = read_folder(excerpts)
    evaluate(sequences, "starter-tiny", root / "relo", batch=3)
    (root / "mil").mkdir()
    for sequence in sequences:
        tracker, boxes = cv2.TrackerMIL.create(), [sequence.boxes_xywh[0]]
        tracker.init(bgr(sequence, 0), tuple(int(v) for v in boxes[0]))
        for index in range(1, FRAMES):
            done, box = tracker.update(bgr(sequence, index))
            boxes.append(box if done else boxes[-1])
        np.savetxt(root / "mil" / f"{sequence.name}.txt", np.array(boxes), fmt="%d", delimiter="\t")
        np.savetxt(root / "mil" / f"{sequence.name}_time.txt", np.full(FRAMES, 0.04), fmt="%f")
        still = root / "still" / sequence.name / f"{sequence.name}_001.txt"
        still.parent.mkdir(parents=True)
        np.savetxt(still, np.tile(sequence.boxes_xywh[0], (FRAMES, 1)), fmt="%.3f", delimiter=",")
    return root


def bgr(sequence, index):
    return np.ascontiguousarray(sequence.read_frame(index)[..., ::-1])


@pytest.fixture(scope="module")
def report(excerpts, results, tmp_path_factory):
    """The folder that the command writes, and what it prints."""
    out = tmp_path_factory.mktemp("report")
    trackers = [f"RELO <b>={results / 'relo'}", f"MIL={results / 'mil'}", str(results / "still")]
    command = [sys.executable, "-m", "relo_jax.commands.main", "report", *trackers, "--data-root", str(excerpts)]
    done = subprocess.run([*command, "--out", str(out), "--worst", "2"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_the_command_writes_what_it_prints(report):
    out, printed = report
    summary = json.loads((out / "report.json").read_text())
    assert set(summary["trackers"]) == {"RELO <b>", "MIL", "still"} and set(summary["sequences"]) == set(NAMES)
    for label, numbers in summary["trackers"].items():
        assert f"{numbers['auc']:.3f}" in next(line for line in printed.splitlines() if line.startswith(label))
    assert summary["trackers"]["MIL"]["speed"]["median_ms"] == pytest.approx(40)
    assert summary["trackers"]["still"]["auc"] < min(summary["trackers"][k]["auc"] for k in ("RELO <b>", "MIL"))
    assert summary["left_out_or_odd"] == []


def test_the_page_names_nothing_outside_itself(report):
    text = (report[0] / "report.html").read_text()
    assert "://" not in text and "default-src 'none'" in text
    assert "RELO &lt;b&gt;" in text and "RELO <b>" not in text
    sources = re.findall(r'src="(.*?)"', text)
    assert sources and all(source.startswith("data:image/") for source in sources)


PROBE = """
const found = { errors: window.problems, images: [], tables: [], sorted: [] };
for (const image of document.images) found.images.push([image.alt, image.naturalWidth, image.clientWidth]);
for (const table of document.querySelectorAll("table")) found.tables.push(table.rows.length);
const table = document.querySelector("table.sortable"), head = table.querySelectorAll("th")[1];
const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].innerText.trim());
found.sorted.push(column()); head.click(); head.click(); found.sorted.push(column());
found.wide = document.documentElement.scrollWidth > window.innerWidth;
document.title = "probe:" + JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def seen(report, tmp_path_factory):
    """What a browser finds in the page, by a script that is put at its end."""
    browser = next((b for b in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if b), None)
    if browser is None:
        pytest.skip("no chromium or google-chrome on PATH to open the page with")
    text = (report[0] / "report.html").read_text()
    catch = "<script>window.problems = []; onerror = m => problems.push(m);"
    catch += "document.addEventListener('securitypolicyviolation', e => problems.push(e.violatedDirective))</script>"
    waits = f"<script>addEventListener('load', () => {{{PROBE}}})</script></body>"
    page = tmp_path_factory.mktemp("page") / "page.html"
    page.write_text(text.replace("<main>", f"{catch}<main>").replace("</body>", waits))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1100,900"]
    flags += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=4000", "--dump-dom"]
    done = subprocess.run([browser, *flags, page.as_uri()], capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>probe:(.*?)</title>", done.stdout, re.S)
    assert title, done.stderr[-2000:]
    unescaped = title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return {**json.loads(unescaped), "console": [line for line in done.stderr.splitlines() if ":CONSOLE" in line]}


def test_a_browser_shows_the_page_without_a_complaint(seen):
    assert seen["errors"] == [] and seen["console"] == []
    assert not seen["wide"]  # nothing sticks out to the side


def test_every_plot_and_frame_is_rendered(seen):
    texts = [text for text, _, _ in seen["images"]]
    assert all(natural > 0 for _, natural, _ in seen["images"])
    for text in ("success curves", "precision curves", "normalised precision curves", "reliability diagram"):
        assert text in texts
    assert sum(text.startswith("frame ") for text in texts) == 2 * 4  # the worst two sequences
    # Those that are folded away have no width yet.
    assert all(shown > 100 for text, _, shown in seen["images"] if not text.startswith("differences between"))


def test_tables_are_there_and_sort_at_a_click(seen):
    rows = seen["tables"]
    assert rows[0] == 1 + 3 + 1 and 1 + len(NAMES) in rows  # trackers and the box that never moves; sequences
    before, after = seen["sorted"]
    assert before[:3] == sorted(before[:3], reverse=True) and after[:3] == sorted(before[:3])
    assert before[3] == after[3]  # the box that never moves stays below
