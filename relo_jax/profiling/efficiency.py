"""`relo reproduce --efficiency`: the paper's tables of cost and of edge devices, beside this machine.

    relo reproduce --efficiency       # t256, b256 and l256; needs no checkpoint and no data

Parameters and arithmetic come from shapes (`counts.py`). Frames/s are measured as by `relo profile`: one video of
noise, frame by frame, crop and copies included, with the templates' tokens kept from frame to frame.
"""

from __future__ import annotations

import json
import math
import os
import platform
import textwrap
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax

from relo_jax import tables
from relo_jax.checkpoints import provenance
from relo_jax.config import published_tables as paper
from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.files import atomic_write, make_folder
from relo_jax.model import RELO, count_parameters, init_variables
from relo_jax.profiling import counts, frame
from relo_jax.profiling.machine import processor

JSON_FILE, PAGE_FILE = "efficiency.json", "efficiency.md"

WHY = (
    "The paper's parameters and FLOPs are those of *called layers*: what a counter sees that hooks modules, such as "
    "thop. The attention of the release multiplies by the weights of its query, key and value projections without "
    "calling these layers, so that the counter misses them. It also misses the two products of attention, and "
    "parameters outside layers (position embeddings, tokens, layer scale). The paper does not say how it counted; the "
    "evidence is that this rule gives all six of its numbers, for encoder and regression head. They leave out the "
    "policy head, which tracking needs. Its \"FLOPs\" are multiply-adds. The release computes more than relo_jax: in "
    "each frame it encodes the templates again and evaluates the value head, which nothing reads."
)  # fmt: skip

Cell = Callable[[dict], str]
Section = tuple[str, list[tuple[str, Cell]]]


def measure(
    variants: Collection[str],
    dtype: str = "float32",
    frames: int = 10,
    height: int = 480,
    width: int = 640,
    *,
    out: Path,
) -> dict:
    """Counts and measures variants one after the other, prints the tables, and writes them as JSON and Markdown.

    What has been measured is written after each variant.

    Args:
      variants: names in `VARIANTS`.
      dtype: "float32" or "bfloat16", of the computation.
      frames: number of frames to measure with.
      height, width: of the frames.
      out: folder of the files; it is made.

    Returns:
      the content of the JSON file.

    Raises:
      UserError: no such variant, the folder cannot be written, or a variant does not fit into the device's memory.
    """
    about = machine()  # its load before, without ours
    models = {variant: RELO.from_variant(variant, dtype=dtype) for variant in variants}
    make_folder(out)
    content: dict[str, Any] = {
        "dtype": dtype,
        "frame": f"{width}x{height}",
        "frames": frames,
        "variants": {},
    }
    for variant, model in models.items():
        row = count(model)
        content["variants"][variant] = row
        print(f"{variant}: compiling and tracking {frames} frames", flush=True)
        row["measured"] = speed(model, frames, height, width)
        content["session"] = {**provenance.session(), "machine": about}
        _write(out, content)
    print(f"\n{table(content)}\n\nwritten to {out}: {JSON_FILE}, {PAGE_FILE}")
    return content


def count(model: RELO) -> dict[str, Any]:
    """Parameters and multiply-adds of a model by part, see `counts`; from shapes."""
    shapes = counts.variable_shapes(model)
    return {
        "release_parameters": count_parameters(shapes),
        "called_parameters": counts.called_parameters(shapes),
        "release_multiply_adds": counts.release_multiply_adds(model.config),
        "called_multiply_adds": counts.called_multiply_adds(model.config),
        "tracker_multiply_adds": counts.frame_flops(model) // 2,
    }


def speed(model: RELO, frames: int, height: int, width: int) -> dict[str, float]:
    """Seconds of compiling, and the median of the milliseconds a frame, of a model with random weights."""
    try:
        _, update, compiling = frame.online(model, init_variables(model, jax.random.key(0)), height, width)
        seconds = frame.timed(update, frames)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        variant = model.config.variant
        raise UserError(f"{variant} does not fit into the memory of {frame.device()}: give another --variant") from None
    return {
        "compile_seconds": round(compiling, 2),
        "ms_a_frame": round(1e3 * seconds, 3),
        "frames_per_second": round(1 / seconds, 2),
    }


def machine() -> dict[str, Any]:
    """System, first device, processor, the number of its cores that this process may use, and its load by others."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "system": platform.system(),
        "device": frame.device(),
        "processor": processor(),
        "cores": cores,
        "load_before": load,
    }


def table(content: Mapping) -> str:
    """The tables as text for a terminal."""
    cost: list[list[str]] = []
    for heads, body in _sections(content):
        cost += [heads, *([f"  {label}", *cells] for label, *cells in body), []]
    heads, body = _edge(content)
    lines = [tables.terminal(table, _align(heads)) for table, heads in ((cost, cost[0]), ([heads, *body], heads))]
    lines += textwrap.wrap(f"here: {_here(content)}, {_how(content)}", 100)
    lines += ["", *textwrap.wrap(WHY.replace("*", ""), 100)]
    return "\n".join(lines)


def markdown(content: Mapping) -> str:
    """The tables as a Markdown page."""
    session = content["session"]
    code = session["code"]
    lines = ["# Cost of RELO: the paper, the release and relo_jax", ""]
    for heads, body in _sections(content):
        lines += [tables.markdown(heads, body, _align(heads)), ""]
    lines += [*textwrap.wrap(f"*Here*: {_here(content)}, {_how(content)}.", 120), "", *textwrap.wrap(WHY, 120), ""]
    lines += ["## Edge devices", ""]
    lines += ["AUC in per cent (GOT-10k: AO) and frames/s, as the paper has them, and RELO-T256 on this machine.", ""]
    heads, body = _edge(content)
    lines += [tables.markdown(heads, body, _align(heads))]
    lines += ["", f"`{session['command']}`, {session['date']}, relo_jax {code['relo_jax']}, jax "
              f"{session['packages']['jax']}, Python {session['packages']['python']}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _align(heads: list[str]) -> str:
    return "l" + "r" * (len(heads) - 1)


def _sections(content: Mapping) -> list[tuple[list[str], list[list[str]]]]:
    """Headings and rows of each part of the table of cost."""
    rows = [{"name": name, **row} for name, row in content["variants"].items()]
    return [
        ([title, *content["variants"]], [[label, *map(cell, rows)] for label, cell in labels])
        for title, labels in _cells(content)
    ]


def _cells(content: Mapping) -> list[Section]:
    """The parts of the table of cost: title, and (label, cell of a variant)."""
    tracking = ("encoder", "regression", "policy")
    millions = lambda kind, *parts: lambda row: f"{sum(row[kind][part] for part in parts) / 1e6:.1f}"
    billions = lambda number: lambda row: f"{number(row) / 1e9:.1f}"
    measured = lambda name, form: lambda row: format(row["measured"][name], form) if row.get("measured") else "-"
    cost = lambda field: lambda row: str(getattr(paper.COST[row["name"]], field)) if row["name"] in paper.COST else "-"
    called = lambda row: sum(row["called_multiply_adds"][part] for part in ("encoder", "regression"))
    return [
        ("parameters (M)", [
            ("paper", cost("parameters")),
            ("called layers, encoder and regression", millions("called_parameters", "encoder", "regression")),
            ("release: encoder", millions("release_parameters", "encoder")),
            ("release: regression head", millions("release_parameters", "regression")),
            ("release: policy head", millions("release_parameters", "policy")),
            ("release: all that tracks", millions("release_parameters", *tracking)),
            ("paper: value head, for training only", lambda row: f"+{paper.VALUE_HEAD}" if row["name"] in paper.COST
             else "-"),
            ("release: value head", millions("release_parameters", "value")),
        ]),
        ("multiply-adds a frame (G)", [
            ("paper, as FLOPs", cost("flops")),
            ("called layers, encoder and regression", billions(called)),
            ("release, all that it computes", billions(lambda row: sum(row["release_multiply_adds"].values()))),
            ("relo_jax, all that it computes", billions(lambda row: row["tracker_multiply_adds"])),
        ]),
        ("frames/s", [
            (f"paper, {paper.DEVICE}", cost("frames_per_second")),
            (f"here, {content['dtype']}", measured("frames_per_second", ".1f")),
            ("here, ms a frame", measured("ms_a_frame", ".1f")),
            ("here, seconds of compiling", measured("compile_seconds", ".1f")),
        ]),
    ]  # fmt: skip


def _edge(content: Mapping) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of edge devices; the last row is this machine's if T256 was measured."""
    titles = [layouts.dataset_layout(name).title for name in paper.EDGE_DATASETS]
    body = []
    for name, row in paper.EDGE.items():
        numbers = [row.numbers.get(dataset, math.nan) for dataset in paper.EDGE_DATASETS]
        cells = ["-" if math.isnan(number) else f"{number:.1f}" for number in numbers]
        body.append([name, *cells, str(row.cpu), str(row.jetson), "-"])
    here = content["variants"].get("t256", {}).get("measured")
    if here:
        body[-1][-1] = f"{here['frames_per_second']:.1f}"
    return ["edge devices", *titles, "i9 FPS", "Jetson FPS", "FPS here"], body


def _here(content: Mapping) -> str:
    about = content["session"]["machine"]
    load = "" if about["load_before"] is None else f", load before {about['load_before']}"
    cpu = f"{about['processor']}, {about['cores']} cores{load}"
    return cpu if about["device"].startswith("cpu") else f"{about['device']} ({cpu})"


def _how(content: Mapping) -> str:
    return (
        f"{content['dtype']}, frames of {content['frame']}, median of {content['frames']}, random weights, one video, "
        "crop and copies included"
    )


def _write(out: Path, content: dict) -> None:
    with atomic_write(out / JSON_FILE) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
    with atomic_write(out / PAGE_FILE) as file:
        file.write_text(markdown(content))
