"""Plots and the report: what is drawn is what was measured, and the file needs nothing but itself."""

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.metrics import Curves
from relo_jax.eval.report import plots
from relo_jax.eval.report.demo_page import key_frames, write_report
from relo_jax.tracking.tracker import Result


def curves(level):
    return Curves(
        np.clip(level + 0.4 - plots.metrics.SUCCESS_THRESHOLDS, 0, 1),
        np.clip(level * np.arange(51) / 40, 0, 1),
        np.clip(level * np.arange(51) / 30, 0, 1),
        level,
    )


TRACKERS = {"before RL": curves(0.2), "after <RL>": curves(0.7), "never moves": curves(0.1)}


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    saved, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: saved.append(self) or savefig(self, *a, **k))
    return saved


EXPLAINED = "explained variance of the value"


def run_directory(path, rows):
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def runs(tmp_path):
    rl = [
        {"step": s, "split": "train", "reward": s / 500, "greedy_iou": s / 900, "iou": 0.1} for s in range(10, 410, 10)
    ]
    rl += [{"step": s, "split": "eval", "greedy_iou": s / 800} for s in (100, 200, 300, 400)]
    rl[3]["reward"] = None  # NaN is written so by some
    rl += [{"step": 5, "split": "train", "explained_variance": -300.0}, {"step": 9, "split": "train", "entropy": 1}]
    warmup = [{"step": s, "split": "train", "loss": 9 / s, "iou": s / 900} for s in range(10, 210, 10)]
    return {
        "warm-up": run_directory(tmp_path / "warmup", warmup),
        "RL stage": run_directory(tmp_path / "rl", rl),
    }


def test_curves_are_drawn_as_measured_and_ranked(figures, tmp_path):
    plots.success_plot(tmp_path / "success.png", TRACKERS)
    plots.precision_plot(tmp_path / "precision.png", TRACKERS)
    for figure, measure, number in zip(figures, ("success", "precision"), ("auc", "p20"), strict=True):
        (axes,) = figure.axes
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        for line, (label, expected) in zip(lines, TRACKERS.items(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), getattr(expected, measure))
            assert line.get_label() == f"{label}  {getattr(expected, number):.3f}"
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines)
        ranked = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [text.split("  ")[0] for text in ranked] == ["after <RL>", "before RL", "never moves"]
        assert not figure.legends[0].get_window_extent().overlaps(axes.get_tightbbox())
    for name in ("success", "precision"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).shape[1] > 600


def test_training_curves_show_what_was_logged(figures, runs):
    assert plots.as_png(plots.training_curves, runs).startswith(b"\x89PNG")
    warmup, rl = figures[0].subfigs
    assert [axes.get_title() for axes in warmup.axes] == ["loss", "IoU"]
    assert [axes.get_title() for axes in rl.axes] == ["reward", "IoU", "entropy of the policy (nats)", EXPLAINED]
    held_out = [line for line in rl.axes[1].lines if line.get_label() == "greedy, held-out"]
    assert held_out[0].get_xdata().tolist() == [100, 200, 300, 400]
    bold = max(rl.axes[0].lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(bold.get_ydata()[5:-5], bold.get_xdata()[5:-5] / 500, atol=0.01)  # a line stays one
    assert rl.axes[3].get_ylim()[0] >= -1


def test_a_single_stage_is_drawn_too(runs):
    assert plots.as_png(plots.training_curves, {"RL stage": runs["RL stage"]}).startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        plots.success_plot(tmp_path / "nowhere" / "success.png", TRACKERS)


@pytest.fixture
def sequence(natural_image):
    boxes = np.array([[20.0 + 3 * k, 30, 40, 30] for k in range(9)])
    boxes[4] = np.nan
    return Sequence("clip", boxes, np.isfinite(boxes[:, 0]), lambda index: np.roll(natural_image, 3 * index, axis=1))


@pytest.fixture
def results(sequence):
    boxes = np.nan_to_num(sequence.boxes_xywh, nan=40) + [0, 8, 0, 0]
    return [Result(tuple(box), 0.8, True, 1.0) for box in boxes.tolist()]


def test_key_frames_run_from_the_first_to_the_last(sequence, results):
    frames = key_frames(sequence, results, count=5)
    assert [caption for _, caption in frames] == [
        "frame 0: IoU 0.58 (given)",
        "frame 2: IoU 0.58",
        "frame 4: no target",
        "frame 6: IoU 0.58",
        "frame 8: IoU 0.58",
    ]
    for image, _ in frames:
        assert image.dtype == np.uint8 and image.shape == sequence.read_frame(0).shape
    assert (frames[1][0] != sequence.read_frame(2)).any()
    assert len(key_frames(sequence, results[:3], count=6)) == 3


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


def test_the_report_stands_alone_and_says_what_was_measured(tmp_path, sequence, results, runs):
    (tmp_path / "films").mkdir()
    of_each = {label: {"s-1": c, "s-2": c} for label, c in TRACKERS.items()} | {"never moves": {"s-1": curves(0.1)}}
    path = tmp_path / "report.html"
    write_report(
        path,
        title="RELO <demo>",
        lead="A & B",
        trackers=TRACKERS,
        sequences=of_each,
        training=runs,
        frames=key_frames(sequence, results),
        video=tmp_path / "films" / "a track.mp4",
        facts={"command": "relo demo", "seed": 0},
    )
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    for label, c in TRACKERS.items():
        at = page.cells.index(label)
        assert page.cells[at + 1 : at + 5] == [f"{v:.3f}" for v in c.numbers().values()]
    assert page.cells[-4:] == ["s-2", f"{curves(0.2).auc:.3f}", f"{curves(0.7).auc:.3f}", "failed"]
    assert re.findall(r"<tr class=best><td>(.*?)</td>", text) == ["after &lt;RL&gt;"]
    assert "RELO &lt;demo&gt;" in text and "A &amp; B" in text and "relo demo" in text
    pictures = [source for source in page.sources if source.startswith("data:")]
    assert [s for s in page.sources if s not in pictures] == ["films/a%20track.mp4"]
    assert len(pictures) == 2 + 6
    for source in pictures:
        data = np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    assert "://" not in text


def test_a_report_of_numbers_alone(tmp_path):
    write_report(tmp_path / "report.html", title="t", lead="l", trackers={"one": curves(0.5)})
    text = (tmp_path / "report.html").read_text()
    assert Page(text).open == [] and "<video" not in text and "Training" not in text
