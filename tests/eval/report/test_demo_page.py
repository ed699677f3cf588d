"""The demo's page: it is self-contained and shows the measured numbers."""

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from relo_jax.eval.report.comparison import of_measured
from relo_jax.eval.report.demo_page import write_report
from relo_jax.eval.tracker_results import TrackerResults, measure
from tests.eval import trackers

OFF = {"before RL": 60, "after <RL>": 1, "never moves": 30}


@pytest.fixture
def comparison():
    """Three trackers in memory; the last one failed on a sequence."""
    benchmark = trackers.five()
    entries = [
        TrackerResults(label, boxes={s.name: trackers.boxes_of(s, off) for s in benchmark})
        for label, off in OFF.items()
    ]
    del entries[2].boxes["e"]
    measure(benchmark, entries)
    return of_measured(benchmark, entries)


class Page(HTMLParser):
    """Tags that are open at the end, sources, and the text of table cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.cells = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["td"]:
            self.cells.append(data)


def test_the_report_stands_alone_and_says_what_was_measured(tmp_path, comparison):
    (tmp_path / "films").mkdir()
    (tmp_path / "rl").mkdir()
    rows = [{"step": step, "split": "train", "reward": step / 500} for step in range(10, 50, 10)]
    (tmp_path / "rl" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_report(
        tmp_path,
        comparison,
        title="RELO <demo>",
        lead="A & B",
        training={"RL stage": tmp_path / "rl"},
        sections=["<section>more</section>"],
        shown=(comparison.benchmark[2], "after <RL>", []),
        video=tmp_path / "films" / "a track.mp4",
        facts={"command": "relo demo", "seed": 0},
    )
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    for label in OFF:
        at = page.cells.index(label)
        assert page.cells[at + 1 : at + 5] == [f"{v:.3f}" for v in comparison.overall(label).values()]
    assert page.cells[0] == "after <RL>" and page.cells[5] == "5 of 5"
    assert page.cells[-5:] == ["d", "30", *(f"{comparison.values(label)[3]:.3f}" for label in comparison.ranked)]
    assert "never moves: no result for 1 of 5 sequences: e" in text and "Only the 4 of 5 sequences" in text
    assert "RELO &lt;demo&gt;" in text and "A &amp; B" in text and "relo demo" in text and "more</section>" in text
    assert re.findall(r"<figcaption>frame (\d+)", text) == ["0", "10", "19", "29"]
    assert "frame 10: no target" in text and "after &lt;RL&gt; 0." in text
    pictures = [source for source in page.sources if source.startswith("data:")]
    assert [s for s in page.sources if s not in pictures] == ["films/a%20track.mp4"]
    assert len(pictures) >= 4  # frames, and insets
    for source in pictures:
        data = np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    assert "://" not in text
    for name in ("success.png", "precision.png", "training.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    plots = re.findall(r'<svg class="plot" role="img" aria-label="(.*?)"', text)
    assert plots[0] == f"overlap over the frames of {comparison.benchmark[2].name}" and len(plots) == 1 + 3 + 1
    assert text.index("<video") < text.index("<h2>Results") < text.index("<h2>Training")
    # The plots take the page's colours, and no name in one is that of a part of another.
    assert "#ffffff" not in text.split("</style>")[1] and "currentColor" in text.split("</style>")[1]
    names = re.findall(r'\bid="(.*?)"', text)
    assert len(names) == len(set(names)) and all(f'id="{n}"' in text for n in re.findall(r"url\(#(.*?)\)", text))


def test_a_report_of_numbers_alone(tmp_path, comparison):
    write_report(tmp_path, comparison, title="t", lead="l")
    text = (tmp_path / "report.html").read_text()
    assert Page(text).open == [] and "<video" not in text and "Training" not in text
