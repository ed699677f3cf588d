"""Figures in the documents are those of the files that the commands wrote."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
STUDIES = sorted((DOCS / "study").glob("*.json"))


def last_row(name):
    return json.loads((RESULTS / name).read_text().splitlines()[-1])


def test_the_score_of_the_starter_is_that_of_its_calibration():
    found = json.loads((DOCS / "starter" / "calibration.json").read_text())
    text = (DOCS / "score.md").read_text()
    low, high = found["false_alarm_interval"]
    for label, interval in (("before", ""), ("after", f" ({low:.3f} to {high:.3f})")):
        row = found[label]
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("ece", "brier", "auroc", "false_alarm_rate"))
        assert f"| {numbers}{interval} | {row['found_rate']:.3f} |" in text
    options = json.loads((ROOT / "relo_jax" / "starter" / "mini.json").read_text())["tracker"]
    assert {name: options[name] for name in found["tracker"]} == found["tracker"]


def test_the_starter_on_real_video_is_as_measured():
    row, text = last_row("real_video.jsonl"), (DOCS / "starter.md").read_text()
    trackers = ("starter", "OpenCV KCF", "OpenCV MIL", "OpenCV CSRT", "never moves")
    for name in row["auc"]["starter"]:
        assert f"| {name} | " + " | ".join(f"{row['auc'][t][name]:.3f}" for t in trackers) + " |" in text
    mean = json.loads((DOCS / "starter" / "otb_mini.json").read_text())["mean"]["auc"]
    assert mean == pytest.approx(row["mean_auc"]["starter"], abs=5e-5) and f"**{mean:.3f}**" in text
    said = f"mean AUC of {mean:.3f}, OpenCV's CSRT {row['mean_auc']['OpenCV CSRT']:.3f}"
    assert said in " ".join((ROOT / "README.md").read_text().split())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_is_told_with_its_own_numbers(path):
    found, text = json.loads(path.read_text()), (DOCS / "study.md").read_text()
    section = text.split(f"\n### {found['study']}\n")[1].split("\n#")[0]
    assert f"study/{path.stem}.png" in section and path.with_suffix(".png").is_file()
    for arm in found["arms"]:
        row = next(line for line in section.splitlines() if line.startswith(f"| `{arm}` |"))
        for evaluation in found["evaluations"].values():
            numbers = evaluation[arm]
            assert len(numbers["seeds"]) >= 3
            seeds = " ".join(f"{auc:.3f}".removeprefix("0") for auc in numbers["seeds"])
            assert f"| {numbers['auc']:.3f} | {seeds} |" in row
            if "difference" in numbers:
                less = numbers["difference"]
                assert f"{less['mean']:+.3f} ({less['low']:+.3f} to {less['high']:+.3f})" in row
