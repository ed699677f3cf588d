"""`relo plan`: what a training run, or tracking, costs on a GPU or a slice of TPUs, before anybody rents one.

    relo plan --config l256:rl --topology v5p:4x4x8

The step is compiled for the devices, as `relo train` would compile it there, and nothing runs. Times are rooflines: no
run is faster, and how near it comes is not known from here. They count neither latencies nor the host.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from relo_jax import config as config_lib
from relo_jax.model import RELO
from relo_jax.profiling.compiled import programs
from relo_jax.profiling.compiled.compiling import LIMITS, Compiled, compile_for, figures, most_expensive
from relo_jax.profiling.compiled.targets import Target, devices, tracing_for

VIDEOS = 64  # in lockstep
_FAST = -1.0  # the compiler's effort


def training(config: ConfigDict, target: Target, fast: bool = False, kernels: int = 0) -> dict[str, Any]:
    """Compiles the update of a run and says what it and the whole schedule cost.

    Args:
      config: of the run.
      target: the devices.
      fast: with the compiler's least effort, on TPUs.
      kernels: how many of the most expensive kernels to name.

    Returns:
      a JSON-able dict.

    Raises:
      UserError: bad config; the devices do not suit it; the compiler is missing or refuses the program.
    """
    config_lib.validate(config)
    found = devices(target)
    with tracing_for(target):
        program = programs.update(config, found)
    compiled = compile_for(target, program, _FAST if fast else 0.0)
    row = _row(target, RELO.from_config(config.model), compiled, program, kernels)
    seconds, hosts = row["roofline_ms"] / 1e3, len({device.process_index for device in found})
    frames = config.rl.clip_length if config.stage == "rl" else config.warmup.search_frames
    hours = config.total_steps * seconds / 3600
    return {
        "stage": config.stage,
        "clips": config.batch_size,
        "frames": frames,
        "mesh": dict(program.mesh.shape) if program.mesh is not None else None,
        **row,
        "effort": "least" if fast else "full",
        "hosts": hosts,
        "schedule": {
            "steps": config.total_steps,
            "steps_per_second": round(1 / seconds, 2),
            "clips_per_second": round(config.batch_size / seconds, 1),
            "clips_per_second_and_host": round(config.batch_size / seconds / hosts, 1),
            "hours": round(hours, 3),
            "chip_hours": round(hours * program.devices, 2),
        },
    }


def tracking(config: ConfigDict, target: Target, fast: bool = False, kernels: int = 0) -> list[dict[str, Any]]:
    """Compiles a frame of one video, and one of `VIDEOS` videos in lockstep, and says what each costs on one chip.

    Args, Raises: see `training`; of the config, only the section "model" is read.

    Returns:
      a JSON-able dict each.
    """
    config_lib.validate(config)
    model, device = RELO.from_config(config.model), devices(target)[0]
    rows = []
    for videos in (1, VIDEOS):
        with tracing_for(target):
            program = programs.frame(model, device) if videos == 1 else programs.crops(model, device, videos)
        compiled = compile_for(target, program, _FAST if fast else 0.0)
        row = _row(target, model, compiled, program, kernels)
        rows.append({"videos": videos, **row, "frames_per_second": round(1e3 * videos / row["roofline_ms"], 1)})
    return rows


def training_table(row: dict) -> str:
    """The dict of `training` as text."""
    schedule, mesh = row["schedule"], row["mesh"] or {}
    split = " x ".join(f"{name} {size}" for name, size in mesh.items())
    loader = f"{schedule['clips_per_second']:,.0f} clips/s"
    if row["hosts"] > 1:
        loader += f", {schedule['clips_per_second_and_host']:,.0f} on each of {row['hosts']} hosts"
    lines = [
        f"{row['stage']} of {row['variant']}, {row['dtype']}: {row['clips']} clips of {row['frames']} frames",
        f"on {_devices(row)}, mesh {split}, compiled in {row['compile_seconds']:.0f} s",
        "",
        *_program_lines(row),
        f"loader       {loader} at that speed",
        f"schedule     {schedule['steps']:,} steps: at least {_hours(schedule['hours'])}, "
        f"{schedule['chip_hours']:,.2f} chip-hours",
        *_kernel_lines(row),
    ]
    return "\n".join(lines)


def tracking_table(rows: Sequence[dict]) -> str:
    """The dicts of `tracking` as text."""
    parts = []
    for row in rows:
        what = "a frame of 640x480" if row["videos"] == 1 else f"a search region of each of {row['videos']} videos"
        parts.append("\n".join([
            f"tracking with {row['variant']}, {row['dtype']}: {what}",
            f"on one {row['chip']}, compiled in {row['compile_seconds']:.0f} s",
            "",
            *_program_lines(row),
            f"speed        at most {row['frames_per_second']:,.0f} frames/s",
            *_kernel_lines(row),
        ]))  # fmt: skip
    return "\n\n".join(parts)


def _row(target: Target, model: RELO, compiled: Compiled, program: programs.Program, kernels: int) -> dict[str, Any]:
    row = {
        "variant": model.config.variant,
        "dtype": model.config.dtype,
        "topology": target.name,
        "chip": target.limits.title,
        "chips": program.devices,
        "model_tflop": round(program.model_flops / 1e12, 4),
        **figures(compiled, target.limits, program.devices),
    }
    return row | {"most_expensive": most_expensive(compiled, target.limits, kernels)} if kernels else row


def _devices(row: dict) -> str:
    return f"one {row['chip']}" if row["chips"] == 1 else f"{row['chips']} x {row['chip']} ({row['topology']})"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _program_lines(row: dict) -> list[str]:
    """What is known of any program, a line each."""
    memory, limits = row["memory_gib"], row["limited_by_ms"]
    fits = "fits" if row["fits"] else "DOES NOT FIT"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in row["kernels_by_kind"].items())
    longest = max(LIMITS, key=lambda name: limits[name])
    lines = [
        f"memory       {memory['peak']:.2f} GiB a chip of {memory['chip']:.0f} GiB: {fits} (arguments "
        f"{memory['arguments']:.2f}, temporaries {memory['temporary']:.2f})",
        f"arithmetic   {row['tflop']:.3f} TFLOP a chip, {row['tflop'] * row['chips']:.3f} on all; "
        f"the model's own count is {row['model_tflop']:.3f}",
        f"traffic      {row['gb']:.2f} GB a chip",
        f"kernels      {row['kernels']:,}: {kinds}",
    ]
    if launches := row["launches"]:
        lines.append(
            f"launches     {launches['graphs']:,} of CUDA graphs, {launches['outside']:,} outside them; "
            f"loops that the host drives: {launches['loops']}"
        )
    if row["chips"] > 1:
        lines += [
            f"collectives  {one['number']:,} {kind}, {one['bytes'] / 1e6:,.2f} MB; {one['small']:,} below 8 KiB"
            for kind, one in row["collectives"].items()
        ] or ["collectives  none"]
        lines.append(f"chain        {row['longest_chain']:,} collectives that wait for each other")
    shares = ", ".join(f"{name} {limits[name]:.2f}" for name in LIMITS if limits[name])
    lines.append(f"roofline     {row['roofline_ms']:.2f} ms ({shares}): limited by {longest}")
    return lines


def _kernel_lines(row: dict) -> list[str]:
    """The most expensive kernels, if they were asked for."""
    found = row.get("most_expensive", [])
    return [""] * bool(found) + [
        f"{k['ms']:8.3f} ms  {k['times']:4d} x {k['mb']:9.1f} MB {k['gflop']:9.2f} GFLOP  {k['kind']:<12} "
        f"{k['result']:<28.28} {k['from'][-60:]}"
        for k in found
    ]
