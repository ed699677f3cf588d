"""A rehearsal in words: the lines on the terminal, `rehearsal.json` and `rehearsal.md`."""

from __future__ import annotations

import json
from pathlib import Path

from relo_jax.files import atomic_write
from relo_jax.study.rehearsal.forecast import amount, duration

JSON_FILE, PAGE_FILE = "rehearsal.json", "rehearsal.md"


def terminal(content: dict) -> str:
    """The forecast and the disk as text."""
    lines = [f"the real {content['variant']} on this machine ({content['machine'].get('devices', 'devices unknown')}):"]
    form = "  {:<24}{:>16}  {:<26}{}"
    for row in content["forecast"]["time"]:
        lines.append(form.format(row["what"], duration(row["seconds"]), _at(row), row["work"]).rstrip())
    total = content["forecast"]["seconds"]
    if total is not None:
        lines.append(form.format("all", duration(total), "", "").rstrip())
    disk = content["forecast"]["disk"]
    lines += ["", *(f"  {row['what']:<24}{amount(row['bytes']):>16}  {row['why']}" for row in disk)]
    return "\n".join(lines + ["", *notes(content)])


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
    lines = [
        f"# A rehearsal of RELO-{content['variant'].upper()}", "",
        f"`{content['command']}`, {session['date']}, {machine.get('devices', 'devices unknown')}, "
        f"relo_jax {session['code']['relo_jax']}. Everything is made up: datasets in miniature and random weights.", "",
        "| step | state | time | |", "|---|---|---|---|",
    ]  # fmt: skip
    for step in content["steps"]:
        seconds = f"{step['seconds']:.0f} s" if step["seconds"] is not None else ""
        lines.append(f"| {step['name']} | {step['state']} | {seconds} | {_cell(step['remark'])} |")
    lines += ["", f"Peak memory of a process: {content['peak_gib']:.1f} GiB ({content['peak_step']}). This directory: "
              f"{amount(content['workdir_bytes'])}; it can be removed."]  # fmt: skip
    if "forecast" in content:
        lines += _forecast(content)
    lines += ["", "## Commands", "", "```"] + [text for step in content["steps"] for text in step["commands"]] + ["```"]
    return "\n".join(lines) + "\n"


def _forecast(content: dict) -> list[str]:
    forecast = content["forecast"]
    lines = ["", "## The real thing on this machine", "", "| | time | rate | work |", "|---|---|---|---|"]
    for row in forecast["time"]:
        work = f"{row['work']}: {row['count']:,} {row['unit']}"
        lines.append(f"| {row['what']} | {duration(row['seconds'])} | {_at(row)} | {work} |")
    lines += [f"| all | {duration(forecast['seconds'])} | | |", "", "| disk | | |", "|---|---|---|"]
    lines += [f"| {row['what']} | {amount(row['bytes'])} | {row['why']} |" for row in forecast["disk"]]
    lines += ["", *(f"- {note}" for note in notes(content))]
    lines += ["", "| benchmark | frames | source |", "|---|---|---|"]
    lines += [f"| {name} | {row['amount']:,} | {row['source']} |" for name, row in forecast["benchmark_frames"].items()]
    lines += ["", "| dataset | size | source |", "|---|---|---|"]
    for name, row in forecast["datasets"].items():
        lines.append(f"| {name} | {amount(row['amount']) if row['amount'] else '-'} | {row['source']} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
