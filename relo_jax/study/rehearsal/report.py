"""A rehearsal in words: the lines on the terminal, `rehearsal.json` and `rehearsal.md`."""

from __future__ import annotations

import json
from pathlib import Path

from relo_jax import tables
from relo_jax.files import atomic_write
from relo_jax.study.rehearsal.forecast import amount, duration

JSON_FILE, PAGE_FILE = "rehearsal.json", "rehearsal.md"


def terminal(content: dict) -> str:
    """The forecast and the disk as text."""
    title = f"the real {content['variant']} on this machine ({content['machine'].get('devices', 'devices unknown')}):"
    rows = [[row["what"], duration(row["seconds"]), _at(row), row["work"]] for row in content["forecast"]["time"]]
    total = content["forecast"]["seconds"]
    if total is not None:
        rows.append(["all", duration(total)])
    disk = [[row["what"], amount(row["bytes"]), row["why"]] for row in content["forecast"]["disk"]]
    found = [tables.terminal(rows, "lrll", indent="  "), "", tables.terminal(disk, "lrl", indent="  ")]
    return "\n".join([title, *found, "", *notes(content)])


def _at(row: dict) -> str:
    if row["per_second"] is None:
        return "its step failed"
    return f"at {row['per_second']:.3g} {row['unit']}/s" + (", the loader's" if row["limited"] else "")


def notes(content: dict) -> list[str]:
    """What the forecast assumes, a line each."""
    clips, loader = content["clips"], content["forecast"]["loader_clips_per_second"]
    lines = []
    if clips:
        lines.append(
            f"A clip is assumed to cost the same in the real batch as in this one ({clips['warmup']} in the warm-up, "
            f"{clips['rl']} in the RL stage); --batch-size measures a larger one."
        )
    slower = "evaluation" if content["data_root"] else "evaluation and loader"
    lines.append(f"Miniature frames are small: reading real ones costs {slower} more.")
    if loader is not None:
        data = "your data" if content["data_root"] else "miniatures; --data-root measures your data"
        lines.append(
            f"The loader reads {loader:,.0f} clips/s of the warm-up ({data}); a stage is not faster than that."
        )
    return lines


def write(workdir: Path, content: dict) -> None:
    """Writes both files. Raises UserError."""
    with atomic_write(workdir / JSON_FILE) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")
    with atomic_write(workdir / PAGE_FILE) as file:
        file.write_text(markdown(content))


def markdown(content: dict) -> str:
    """The page."""
    session, machine = content["session"], content["machine"]
    seconds = lambda step: "" if step["seconds"] is None else f"{step['seconds']:.0f} s"
    steps = [[step["name"], step["state"], seconds(step), step["remark"]] for step in content["steps"]]
    lines = [
        f"# A rehearsal of RELO-{content['variant'].upper()}", "",
        f"`{content['command']}`, {session['date']}, {machine.get('devices', 'devices unknown')}, "
        f"relo_jax {session['code']['relo_jax']}. Everything is made up: datasets in miniature and random weights.", "",
        tables.markdown(["step", "state", "time", ""], steps),
    ]  # fmt: skip
    lines += ["", f"Peak memory of a process: {content['peak_gib']:.1f} GiB ({content['peak_step']}). This directory: "
              f"{amount(content['workdir_bytes'])}; it can be removed."]  # fmt: skip
    if "forecast" in content:
        lines += _forecast(content)
    lines += ["", "## Commands", "", "```"] + [text for step in content["steps"] for text in step["commands"]] + ["```"]
    return "\n".join(lines) + "\n"


def _forecast(content: dict) -> list[str]:
    forecast = content["forecast"]
    time = [
        [row["what"], duration(row["seconds"]), _at(row), f"{row['work']}: {row['count']:,} {row['unit']}"]
        for row in forecast["time"]
    ]
    time.append(["all", duration(forecast["seconds"]), "", ""])
    disk = [[row["what"], amount(row["bytes"]), row["why"]] for row in forecast["disk"]]
    frames = [[name, f"{row['amount']:,}", row["source"]] for name, row in forecast["benchmark_frames"].items()]
    sizes = [
        [name, amount(row["amount"]) if row["amount"] else "-", row["source"]]
        for name, row in forecast["datasets"].items()
    ]
    return [
        "", "## The real thing on this machine", "", tables.markdown(["", "time", "rate", "work"], time),
        "", tables.markdown(["disk", "", ""], disk), "", *(f"- {note}" for note in notes(content)),
        "", tables.markdown(["benchmark", "frames", "source"], frames),
        "", tables.markdown(["dataset", "size", "source"], sizes),
    ]  # fmt: skip
