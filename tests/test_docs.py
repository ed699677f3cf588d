"""The documents: figures equal those in the files that the commands wrote, and the files that they name exist."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from relo_jax.commands import main
from relo_jax.config import published
from relo_jax.config.named import config_file
from relo_jax.config.published_tables import TRACKERS
from relo_jax.config.renamed import with_current_names
from relo_jax.eval import standing
from relo_jax.profiling import efficiency
from relo_jax.study import demo
from relo_jax.tracking import confidence
from tests import readme

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
STUDIES = sorted((DOCS / "study").glob("*.json"))
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "data").rglob("*.md")]

# Rows of the later paper's tables that the summaries of RELO's tables lack, see published_tables.py.
LATER = (
    "SwinTrack-B384", "OneTracker-B384", "MixFormer-L320", "SimTrack-L224", "ARTrackV2-L384", "TrDiMP", "TransT",
    "SimTrack", "OSTrack", "SeqTrack-L256",
)  # fmt: skip


def last_row(name):
    return json.loads((RESULTS / name).read_text().splitlines()[-1])


def difference(numbers):
    """A difference with its interval, as the pages write it; None for the arm that is compared with."""
    if "difference" not in numbers:
        return None
    return "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(**numbers["difference"])


def rows_of(text, arm):
    return [line for line in text.splitlines() if f"| `{arm}` |" in line]


def test_the_score_of_the_starter_is_that_of_its_calibration():
    calibration = json.loads((DOCS / "starter" / "calibration.json").read_text())
    text = (DOCS / "score.md").read_text()
    low, high = calibration["false_alarm_interval"]
    for label, interval in (("before", ""), ("after", f" ({low:.3f} to {high:.3f})")):
        row = calibration[label]
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("ece", "brier", "auroc", "false_alarm_rate"))
        assert f"| {numbers}{interval} | {row['found_rate']:.3f} |" in text
    drawn = json.loads((DOCS / "starter" / "score" / "mini_drawn.json").read_text())["tracker"]
    recorded = with_current_names({"tracker": calibration["tracker"]}, "calibration.json")["tracker"]
    assert {**recorded, "found_frames": 1} == drawn


@pytest.mark.parametrize(("checkpoint", "name"), [("starter", "mini"), ("starter-tiny", "tiny")])
def test_the_score_on_real_video_is_as_measured(checkpoint, name):
    adjusted = json.loads((DOCS / "starter" / "score" / name / "calibration.json").read_text())
    shipped = json.loads((ROOT / "relo_jax" / "checkpoints" / "starter" / f"{name}.json").read_text())["tracker"]
    assert {field: shipped[field] for field in confidence.FITTED} == adjusted["tracker"]
    rows = [json.loads(line) for line in (RESULTS / "score.jsonl").read_text().splitlines()]
    of = {row["of"]: row for row in rows if row["checkpoint"] == checkpoint}
    assert of["wild7"]["after"]["tracker"] == adjusted["tracker"]
    text = (DOCS / "score.md").read_text()
    measured = [of[folder][when]["all"] for folder in ("wild7", "otb_mini") for when in ("before", "after")][:3]
    for row in (*measured, adjusted["after, as they are"], adjusted["after"]):
        assert f"| {score_row(row)} |" in text
    if checkpoint == "starter":
        row = of["wild7"]["after"]["all"]
        both = f"{row['false_alarm_rate']:.0%}", f"{1 - row['found_rate']:.0%}"
        assert "calls {} of the lost frames found, and {} of the tracked frames lost".format(
            *(share.replace("%", " %") for share in both)
        ) in " ".join(text.split())


def score_row(row):
    """A row of docs/score.md, without its label."""
    number = lambda value: "-" if value is None else f"{value:.3f}"
    cells = [number(row["ece"]), f"{row['mean_score']:.2f}", f"{row['right']:.2f}", number(row["auroc"]),
             number(row["auroc_lost"])]  # fmt: skip
    missed = 1 - row["found_rate"], [1 - end for end in reversed(row["found_interval"])]
    for rate, (low, high) in ((row["false_alarm_rate"], row["false_alarm_interval"]), missed):
        cells.append("-" if rate is None else f"{rate:.3f} ({low:.2f} to {high:.2f})")
    return " | ".join(cells)


def test_the_starter_on_real_video_is_as_measured():
    row, text = last_row("real_video.jsonl"), (DOCS / "starter.md").read_text()
    summary = json.loads((DOCS / "starter" / "otb_mini.json").read_text())
    for name, of in summary["sequences"].items():
        opencv = [row["auc"][f"OpenCV {tracker}"][name] for tracker in ("KCF", "MIL", "CSRT")]
        numbers = [of["auc"], *opencv, of["never_moves_auc"]]
        assert f"| {name} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |" in text
        assert of["auc"] == pytest.approx(row["auc"]["starter"][name], abs=5e-5)
    mean, whole = summary["mean"]["auc"], summary["as_published"]["auc"]
    assert mean == pytest.approx(row["mean_auc"]["starter"], abs=5e-5) and f"**{mean:.3f}**" in text
    figures = README.read_text()
    assert f"| {mean:.3f} |" in figures and f"| {row['mean_auc']['OpenCV CSRT']:.3f} |" in figures
    assert f"measured](evaluation.md), its mean is {whole:.3f}" in " ".join(text.split())
    csrt = row["auc"]["OpenCV CSRT"]
    ahead = [name for name, of in summary["sequences"].items() if of["as_published"]["auc"] > csrt[name]]
    assert len(ahead) == 4 and "ahead of CSRT on four of the eight" in text


def test_the_page_of_the_papers_cost_is_that_of_its_file():
    content = json.loads((DOCS / "paper" / "efficiency.json").read_text())
    assert list(content["variants"]) == ["t256", "b256", "l256"]
    assert (DOCS / "paper" / "efficiency.md").read_text() == efficiency.markdown(content)


def test_the_page_of_the_papers_tables_has_every_row_and_study():
    text = (DOCS / "paper-tables.md").read_text()
    assert all(f"\n\n{standing.markdown(dataset)}\n\n" in text for dataset in TRACKERS)
    assert set(LATER) <= {name for table in TRACKERS.values() for name in table}
    assert all(name.split("-")[0] in text.split("Sources:")[1] for name in LATER)
    table = text.split("## Ablations")[1]
    for line in (line for line in table.splitlines() if "](study/" in line):
        (study,), arms = re.findall(r"\[(\w+)\]\(study/", line), re.findall(r"`(\w+)`", line)
        assert arms and set(arms) <= set(json.loads((DOCS / "study" / f"{study}.json").read_text())["arms"])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_page_of_a_study_has_its_numbers(path):
    study, page = json.loads(path.read_text()), path.with_suffix(".md").read_text()
    assert page.startswith(f"# {study['study']}\n") and study["study"] == path.stem
    assert f"({path.stem}.png)" in page and path.with_suffix(".png").is_file()
    for arm in study["arms"]:
        (row,) = (row for row in rows_of(page, arm) if row.count("|") == 2 + 3 * len(study["evaluations"]))
        for evaluation in study["evaluations"].values():
            numbers = evaluation[arm]
            assert len(numbers["seeds"]) >= 3
            seeds = " ".join(f"{auc:.3f}".removeprefix("0") for auc in numbers["seeds"])
            assert f"| {numbers['auc']:.3f} | {seeds} | {difference(numbers) or ''} |" in row
    for arm in study.get("steps_to", {}).get("0.9", ()):
        steps = " | ".join(", ".join(map(str, by_arm[arm])) for by_arm in study["steps_to"].values())
        assert f"| `{arm}` | {steps} |" in page


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_table_of_findings_has_every_comparison(path):
    study, text = json.loads(path.read_text()), (DOCS / "study.md").read_text()
    assert f"| [{path.stem}](study/{path.stem}.md) |" in text
    for arm in study["arms"][1:]:
        differences = " | ".join(difference(evaluation[arm]) for evaluation in study["evaluations"].values())
        (row,) = rows_of(text, arm)
        assert f"| `{arm}` | {differences} |" in row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_exist(page):
    text = page.read_text()
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    assert not [link for link in links if link and not (page.parent / link).exists()]
    paths = re.findall(r"`((?:relo_jax|tests|configs|docs|benchmarks)/[\w/.-]+)", text)
    paths += re.findall(r"--config (configs/[\w.]+)", text)
    missing = {path for path in paths if not (ROOT / path).exists() and "results/" not in path}
    # docs/performance.md names the benchmarks that answered their question, and CHANGELOG.md what moved.
    allowed = page.name in ("performance.md", "CHANGELOG.md")
    assert allowed or not missing


def test_the_results_in_the_readme_are_the_published_and_the_measured_ones():
    text = README.read_text()
    for variant, results in published.RESULTS.items():
        cells = " | ".join(str(results.get(dataset, "")) for dataset in published.DATASETS)
        (line,) = (line for line in text.splitlines() if line.startswith(f"| RELO-{variant.upper()} |"))
        assert " ".join(line.split()) == " ".join(f"| RELO-{variant.upper()} | {cells} |".split())
    demo = json.loads((RESULTS / "demo.jsonl").read_text().splitlines()[0])["scores"]
    for name, scores in demo.items():
        (line,) = (line for line in text.splitlines() if line.startswith("|") and name in line)
        assert line.endswith(f"| {scores['auc']:.3f} |")


def test_the_errors_of_found_in_the_readme_are_those_on_wild7():
    rows = map(json.loads, (RESULTS / "score.jsonl").read_text().splitlines())
    after = [row["after"]["all"] for row in rows if (row["of"], row["checkpoint"]) == ("wild7", "starter")][-1]
    wrong = f"{after['false_alarm_rate']:.0%} of the lost frames found and {1 - after['found_rate']:.0%} of the tracked"
    assert wrong.replace("%", " %") in " ".join(README.read_text().split())


def test_sizes_and_times_in_the_readme_are_as_measured():
    row, text = last_row("install.jsonl"), README.read_text()
    for name, package in (("track", "relo-jax"), ("all", "relo-jax[all]")):
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{package}` |"))
        sizes = row[name]["download_mb"], row[name]["disk_mb"]
        assert line.endswith(f"| {sizes[0]:.0f} MB | {sizes[1] / 1000:.1f} GB |")
    first, film = (round(row[name]["processor_seconds"]) for name in ("first_box", "example"))
    assert f"first box comes after {first} s of processor time, its film after {film} s" in " ".join(text.split())


def test_the_extras_in_the_readme_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    install = " ".join(README.read_text().split("## Install")[1].split("\n## ")[0].split())
    inside, outside = re.search(r"`\[all\]` is (.+?) Not in it: (.+?, and \[the rest)", install).groups()
    named = lambda text: set(re.findall(r"`\[([\w-]+)\]`", text))
    assert extras["all"] == ["relo-jax[train,data,report]"] and named(inside) == {"train", "data", "report"}
    assert {"export", "onnx", "openvino"} <= named(outside) <= set(extras) - named(inside) - {"all"}
    assert "relo-jax[openvino]" in README.read_text().split("## Take it elsewhere")[1]


def test_the_demo_takes_as_long_in_the_readme_as_it_says_itself():
    assert f"In {demo.MINUTES[False]} minutes on two cores, `relo demo`" in README.read_text()


def test_what_the_readme_says_is_run_or_there_is_a_reason():
    """`make readme` runs it."""
    blocks = readme.blocks(README)
    assert {block.language for block in blocks} <= {"sh", "python"}
    assert {block.needs for block in blocks} == {"", readme.PIP, readme.CLONE, readme.ALL, *readme.NOT_RUN}
    ran = [block for block in blocks if block.needs in ("", readme.ALL)]
    assert {"sh", "python"} == {block.language for block in ran} and len(ran) >= 6
    assert sum(command.startswith("relo ") for block in ran for command in block.commands) >= 4


def test_exported_graphs_are_as_near_as_their_rows():
    rows = [json.loads(line) for line in (RESULTS / "export.jsonl").read_text().splitlines()]
    text = (DOCS / "export.md").read_text()
    for name in ("starter", "starter-tiny"):
        row = [row for row in rows if row["weights"] == name][-1]
        auc = " | ".join(f"{row['auc'][by]:.3f}" for by in ("relo_jax", "float32", "float16", "int8"))
        assert f"| `{name}`, AUC | {auc} |" in text
        megabytes = " | ".join(f"{row['step_mb'][by]:.1f}" for by in ("float32", "float16", "int8"))
        assert f"| `{name}`, `step`, MB | | {megabytes} |" in text
        assert f"all {row['steps']} steps" in text and max(row["step_by_step_px"].values()) < 0.0001
    random = {row["variant"]: row["difference"]["float32"] for row in rows if row["weights"] == "random"}
    assert {"t256", "b256", "l256"} <= set(random) and max(max(found.values()) for found in random.values()) < 1e-5


def test_a_study_at_once_takes_what_its_row_says():
    row, text = last_row("study.jsonl"), (DOCS / "study.md").read_text()
    for way in ("one by one", "as one program"):
        assert "| {way} | {processor_seconds:.0f} s | {memory_gib:.2f} GiB |".format(way=way, **row[way]) in text


def test_the_browser_is_as_fast_as_its_rows():
    lines = [json.loads(line) for line in (RESULTS / "browser.jsonl").read_text().splitlines()]
    tiny, mini = ([row for row in lines if row["checkpoint"] == name][-1] for name in ("starter-tiny", "starter"))
    text = (DOCS / "browser.md").read_text()
    ms = lambda row, by, threads: f"{row[f'{by}_ms'][threads]['median']:.1f}"
    parts = lambda row: "{median}, {largest}".format(**row["own_colours_difference_px"])
    for figures in (
        lambda row: ms(row, "wasm", "1"),
        lambda row: ms(row, "wasm", "2"),
        lambda row: f"{ms(row, 'native', '1')}, {ms(row, 'native', '2')}",
        lambda row: str(row["largest_difference_px"]),
        parts,
        lambda row: f"{row['bytes']['network'] / 1e6:.1f}",
        lambda row: f"{row['bytes']['page'] / 1e6:.1f} + {row['bytes']['wasm'] / 1e6:.1f}",
    ):
        assert f"| {figures(tiny)} | {figures(mini)} |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_those_of_relo(page, capsys):
    for arguments in readme.relo_commands(page):
        try:
            args = main.parse(arguments)
        except SystemExit:
            pytest.fail(f"relo {' '.join(arguments)}: {capsys.readouterr().err}")
        name = (getattr(args, "config", None) or "").partition(":")[0]
        if name.isidentifier() and name != "FILE":
            assert config_file(name).is_file()


def test_the_blocks_of_a_page_run_in_order_until_one_fails(tmp_path, capfd):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\necho $WORD > one.txt  # a comment\n```\n\n<!-- needs: gpu -->\n```sh\nfalse\n```\n\n"
        "```python\nprint(open('one.txt').read() + 'two')\n```\n```\nnot a command\n```\n"
    )
    assert readme.run(page, tmp_path, setup="export WORD=one") == 2
    assert "one\ntwo" in capfd.readouterr().out
    with pytest.raises(SystemExit, match="page.md: the block above failed"):
        readme.run(page, tmp_path, ("", "gpu"))
