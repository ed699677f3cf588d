"""`relo report`: tables, names and mistakes; then three trackers on real excerpts, and the page in a real browser."""

import base64
import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.commands.report import named_folders
from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.folder import read_folder
from relo_jax.errors import UserError
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.eval.runner import evaluate
from tests import command
from tests.eval import trackers

ROOT = Path(__file__).parents[2]
NAMES, FRAMES = ("Crossing", "Man", "vot15_bag"), 25


@pytest.fixture
def five(monkeypatch):
    """The benchmark that the command opens."""
    benchmark = trackers.five()
    monkeypatch.setattr("relo_jax.eval.benchmarks.open_benchmark", lambda *_: benchmark)
    return benchmark


@pytest.fixture
def folders(five, tmp_path):
    return {label: trackers.write_results(tmp_path / label, five, off) for label, off in trackers.OFF.items()}


def test_uav123_has_its_attributes_in_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    miniature.uav123(tmp_path / "UAV123")
    benchmark = open_benchmark("uav123", tmp_path)
    for label, off in (("near", 1), ("far", 6)):
        (tmp_path / label / "uav").mkdir(parents=True)
        for sequence in benchmark:
            boxes = trackers.boxes_of(sequence, off).round()
            np.savetxt(tmp_path / label / "uav" / f"uav_{sequence.name}.txt", boxes, fmt="%d", delimiter="\t")
        (tmp_path / label / "nfs").mkdir()
        (tmp_path / label / "nfs" / "nfs_bee.txt").write_text("1,2,3,4\n")  # another dataset's beside it
    options = [
        "--dataset=uav123",
        f"--data-root={tmp_path}",
        f"--out={tmp_path / 'out'}",
        "--worst=1",
        "--resamples=100",
    ]
    command.run("report", "near", "far", *options)
    rows = list(csv.reader((tmp_path / "out" / "attributes.csv").open()))
    assert rows[0] == ["attribute", "sequences", "near", "far"]
    assert [row[:2] for row in rows[1:]] == [["Aspect Ratio Change", "3"], ["Background Clutter", "3"]]
    assert "By attribute" in (tmp_path / "out" / "report.html").read_text()
    assert layouts.dataset_layout("uav123").attributes is not None


def test_tables_are_files_for_others_to_read(five, folders, tmp_path, capsys):
    (folders["fair"] / "e.txt").write_text("20,20,inf,4\n")
    arguments = [f"good_one 100%={folders['good']}", f"fair={folders['fair']}"]
    with pytest.raises(UserError, match="1 result files cannot be used, the first of fair: .*e.txt, line 1: 20,20,inf"):
        command.run("report", *arguments, "--out", tmp_path / "out", "--against=fair", "--resamples=100")
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("good_one 100%") and "Only the 4 of 5" in err
    lines = (tmp_path / "out" / "ranking.tex").read_text().splitlines()
    assert lines[1] == r"\begin{tabular}{lrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[5].startswith(r"good\_one 100\% & \textbf{") and r"& \underline{" in lines[6]
    summary = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(summary["trackers"]) == {"good_one 100%", "fair"} and len(summary["sequences"]) == 4
    differences = {d["number"]: d for d in summary["differences"]}
    assert list(differences) == ["auc", "p20", "np20", "ao"]
    assert all(d["low"] <= d["difference"] <= d["high"] for d in differences.values())
    assert differences["auc"]["better"] == 4 and differences["p20"]["equal"] == 4
    heads, *rows = csv.reader((tmp_path / "out" / "differences.csv").open())
    assert heads[:6] == ["first", "second", "number", "difference", "low", "high"]
    assert [row[:3] for row in rows] == [["good_one 100%", "fair", title] for title in ("AUC", "P20", "NP20", "AO")]
    for row, d in zip(rows, differences.values(), strict=True):
        assert [float(v) for v in row[3:6]] == pytest.approx([d["difference"], d["low"], d["high"]], rel=1e-5)
    row = (tmp_path / "out" / "differences.tex").read_text().splitlines()[5]
    auc = "{difference:+.1f}$ [${low:+.1f}$, ${high:+.1f}$]"  # not bold: too few sequences
    auc = auc.format(**{key: 100 * differences["auc"][key] for key in ("difference", "low", "high")})
    assert row.startswith(rf"good\_one 100\% minus fair & ${auc} & $+0.0$ [$+0.0$, $+0.0$] & ")
    text = (tmp_path / "out" / "report.html").read_text()
    cells = re.search(r"<th>fair minus</th><th>P20</th><th>NP20</th><th>AO</th>.*?<tbody>(.*?)</tbody>", text)[1]
    overlap = differences["ao"]  # of the pair the other way round
    bounds = f"{-overlap['high']:+.3f} to {-overlap['low']:+.3f}".replace("-", "\u2212")
    assert cells.count("<td") == 4 and f'<div class="note">{bounds}</div></td>' in cells and "class=best" not in cells
    assert '<td data-label="fair is">too few sequences</td>' in text and ">better<" not in text
    for kind in ("svg", "pdf", "png"):
        assert (tmp_path / "out" / f"success.{kind}").stat().st_size > 5000


def test_a_report_says_which_boxes_were_measured(five, folders, tmp_path, capsys):
    for name in "abcd":  # of five: the last has fractions
        path = folders["fair"] / f"{name}.txt"
        np.savetxt(path, np.loadtxt(path, delimiter=",").astype(int), fmt="%d", delimiter="\t")
    both = [f"good={folders['good']}", f"fair={folders['fair']}", "--worst=0", "--resamples=100"]
    with pytest.raises(UserError, match="fair: results of two runs.*fair/a.txt has whole numbers, e.txt fractions"):
        command.run("report", *both, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    command.run("report", *both, "--boxes=whole", "--out", tmp_path / "out")
    sentence = "all are truncated, because the files differ (good: fractions; fair: some files of each)."
    out, err = capsys.readouterr()
    assert out.count(sentence) == 1 and sentence not in err
    page = (tmp_path / "out" / "report.html").read_text()
    assert sentence in page and "Of whole-number boxes, see above." in page
    boxes = json.loads((tmp_path / "out" / "report.json").read_text())["boxes"]
    assert (boxes["measured"], boxes["chosen"]) == ("whole-number boxes", "whole") and sentence in boxes["remark"]
    assert "sequences, whole-number boxes; relo_jax" in (tmp_path / "out" / "ranking.tex").read_text()


def test_one_tracker_alone_has_a_report_too(five, folders, tmp_path):
    (tmp_path / "out").mkdir()
    earlier = {"attributes.tex", "differences.tex", "differences.svg", "differences-2.png"}
    for name in ("report.json", *earlier, "notes.txt"):
        (tmp_path / "out" / name).write_text("of an earlier report, or of its reader")
    command.run("report", f"_<i>中 $x{'y' * 60}={folders['good']}", "--out", tmp_path / "out", "--worst=0")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "on five</h1>" in text and "Results" in text and "_&lt;i&gt;中 $xyyy" in text and "<i>中" not in text
    assert "more than chance" not in text and "sequence by sequence" not in text and "does worst" not in text
    assert not earlier & {p.name for p in (tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "notes.txt").is_file()
    with pytest.raises(UserError, match=r"no tracker is called 'b' \(known: good\)"):
        command.run("report", folders["good"], "--against=b")


def test_names_of_trackers(tmp_path):
    (tmp_path / "odd=name").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text('{"tracker": "starter"}')
    given = [f"ours={tmp_path}/x", str(tmp_path / "odd=name"), str(tmp_path / "run")]
    assert list(named_folders(given)) == ["ours", "odd=name", "starter"]
    assert named_folders([f"lr=0.1={tmp_path}/odd=name"]) == {"lr=0.1": tmp_path / "odd=name"}
    for wrong, message in ((["=x"], "is not NAME=FOLDER"), (["a="], "is not NAME"), (["a=x", "a=y"], "two trackers")):
        with pytest.raises(UserError, match=message):
            named_folders(wrong)


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
    """The folder that the command writes, and its output."""
    out = tmp_path_factory.mktemp("report")
    trackers = [f"RELO <b>={results / 'relo'}", f"MIL={results / 'mil'}", str(results / "still")]
    command = [sys.executable, "-m", "relo_jax.commands.main", "report", *trackers, "--data-root", str(excerpts)]
    command += ["--out", str(out), "--worst", "2", "--heatmap", "starter-tiny", "--title", "A <title>"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
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
    (odd,) = summary["left_out_or_odd"]
    assert "because the files differ (RELO <b>: fractions; MIL: whole numbers; still: fractions)" in odd


def page(report):
    return (report[0] / "report.html").read_text()


def test_the_page_names_nothing_outside_itself(report):
    text = page(report)
    assert "://" not in text and "default-src 'none'" in text
    assert "RELO &lt;b&gt;" in text and "RELO <b>" not in text and "<h1>A &lt;title&gt;</h1>" in text
    sources = re.findall(r'src="(.*?)"', text)
    assert sources and all(source.startswith("data:image/") for source in sources)


PROBE = """
const found = { errors: window.problems, images: [], plots: [], tables: [], sorted: [] };
for (const image of document.images) found.images.push([image.alt, image.naturalWidth, image.clientWidth]);
for (const plot of document.querySelectorAll("svg.plot"))
  found.plots.push([plot.getAttribute("aria-label"), plot.clientWidth]);
document.querySelectorAll(".shot")[3].click();
found.zoomed = [...document.querySelectorAll("dialog[open] img")].map(image => [image.alt, image.clientWidth]);
found.zoomed.push(document.querySelector("dialog").innerText.trim());
document.querySelector("dialog").click();
found.closed = !document.querySelector("dialog[open]");
found.ink = getComputedStyle(document.querySelector("svg.plot")).fill;
found.paper = getComputedStyle(document.querySelector("section")).backgroundColor;
for (const table of document.querySelectorAll("table")) found.tables.push(table.rows.length);
const table = document.querySelector("table.sortable"), head = table.querySelectorAll("th")[1];
const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].innerText.trim());
found.sorted.push(column()); head.click(); head.click(); found.sorted.push(column());
found.wide = document.documentElement.scrollWidth > window.innerWidth;
found.cut = [...document.querySelectorAll("td, th")].filter(cell => cell.getBoundingClientRect().right > innerWidth + 1)
  .map(cell => cell.innerText);
document.title = "probe:" + JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def browser(report, tmp_path_factory):
    """What a script at the end of the page reports from a browser."""
    return open_page(report, tmp_path_factory, "--window-size=1100,900")


@pytest.fixture(scope="module")
def dark(report, tmp_path_factory):
    """The same from one that is narrow and prefers dark pages."""
    return open_page(report, tmp_path_factory, "--window-size=500,900", "--blink-settings=preferredColorScheme=0")


def open_page(report, tmp_path_factory, *settings):
    program = next((b for b in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if b), None)
    if program is None:
        pytest.skip("no chromium or google-chrome on PATH to open the page with")
    text = (report[0] / "report.html").read_text()
    catch = "<script>window.problems = []; onerror = m => problems.push(m);"
    catch += "document.addEventListener('securitypolicyviolation', e => problems.push(e.violatedDirective))</script>"
    waits = f"<script>addEventListener('load', () => {{{PROBE}}})</script></body>"
    page = tmp_path_factory.mktemp("page") / "page.html"
    page.write_text(text.replace("<main>", f"{catch}<main>").replace("</body>", waits))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *settings]
    flags += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=4000", "--dump-dom"]
    done = subprocess.run([program, *flags, page.as_uri()], capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>probe:(.*?)</title>", done.stdout, re.S)
    assert title, done.stderr[-2000:]
    unescaped = title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return {**json.loads(unescaped), "console": [line for line in done.stderr.splitlines() if ":CONSOLE" in line]}


def test_a_browser_shows_the_page_without_a_complaint(browser):
    assert browser["errors"] == [] and browser["console"] == []
    assert not browser["wide"]  # nothing sticks out to the side


def test_every_plot_and_frame_is_rendered(browser):
    plots, texts = dict(browser["plots"]), [text for text, _, _ in browser["images"]]
    for text in ("success curves", "precision curves", "normalised precision curves", "reliability diagram"):
        assert plots[text] > 100
    # Those that are folded away have no width yet.
    assert all(width > 100 for text, width in browser["plots"] if not text.startswith("differences between"))
    assert all(natural > 0 and shown > 50 for _, natural, shown in browser["images"])
    assert sum(text.startswith("frame ") for text in texts) == 2 * 4  # the worst two sequences


def test_a_policy_is_drawn_on_the_frames_of_the_worst_sequences(report, excerpts):
    """The search region of a frame is outlined, where no box is."""
    pictures = re.findall(r'class="whole" alt="frame 8: [^"]*" src="data:image/jpeg;base64,(.*?)"', page(report))
    assert len(pictures) == 2
    for picture in pictures:
        drawn = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR).astype(int)
        frames = [bgr(sequence, 8) for sequence in read_folder(excerpts)]
        (frame,) = (frame for frame in frames if frame.shape == drawn.shape and changed(frame, drawn) < 0.3)
        assert changed(frame, drawn) > 0.01


def changed(frame, drawn):
    return (abs(frame - drawn).max(-1) > 60).mean()


def test_a_click_enlarges_a_frame_and_another_closes_it(browser):
    *pictures, caption = browser["zoomed"]
    shown = {text: width for text, _, width in browser["images"]}
    assert caption.startswith("frame ") and pictures[0][0] == caption and pictures[0][1] > 2 * shown[caption]
    assert browser["closed"]


def test_a_dark_browser_shows_a_dark_page_and_light_plots(browser, dark):
    light = [browser["ink"], browser["paper"]]
    assert light == ["rgb(28, 35, 48)", "rgb(255, 255, 255)"]
    assert [dark["ink"], dark["paper"]] == ["rgb(228, 233, 241)", "rgb(22, 28, 37)"]


def test_a_phone_shows_every_column(dark):
    assert not dark["wide"] and dark["cut"] == []


def test_tables_are_there_and_sort_at_a_click(browser):
    rows = browser["tables"]
    assert rows[0] == 1 + 3 + 1 and 1 + len(NAMES) in rows  # trackers and the box that never moves; sequences
    before, after = browser["sorted"]
    assert before[:3] == sorted(before[:3], reverse=True) and after[:3] == sorted(before[:3])
    assert before[3] == after[3]  # the box that never moves stays below
