"""Compiles the programs for GPUs and TPUs that are not there, and counts what a call will cost on each.

    python -m benchmarks.compiled                                          # an H100: t256, b256, l256
    python -m benchmarks.compiled --variants t256 --only frame,rl          # some of the programs
    python -m benchmarks.compiled --targets v5e:4x4,v5p:4x4x8 --only rl,warmup --fast

Each case is compiled in a process of its own with a time limit, one after the other, and its row is written at once.
A case that takes longer or is refused by the compiler leaves a row that says so. A slice with more chips than the
paper's batch can feed gets a larger batch. It needs the compilers
of `relo plan` (docs/plan.md), and none of the devices. Kernels are those of a compiler that could not try variants of
matrix products on the chip, so a real card may choose others.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

import jax
from ml_collections import ConfigDict

from benchmarks import common
from relo_jax.errors import UserError
from relo_jax.profiling.compiled import targets

# Of those of training, one update; clips of the RL stage have 8 frames.
PROGRAMS = {
    "frame": "a frame of 640 x 480",
    "lockstep": "64 videos, a frame of each",
    "rl": "RL, 16 clips, clip path",
    "rl-frame-path": "RL, 16 clips, frame path",
    "rl-1": "RL, 1 clip, clip path",
    "rl-1-frame-path": "RL, 1 clip, frame path",
    "warmup": "warm-up, 64 clips of 2",
    "warmup-remat": "warm-up with remat, 64 clips of 2",
}
ON_SLICES = ("frame", "lockstep", "rl", "warmup", "warmup-remat")  # on several chips; tracking on one of them
_VIDEOS = 64
_H200 = {"flops": 790e12, "bandwidth": 4.3e12}  # as measured on one; an H100 has less bandwidth


def compile_case(program: str, variant: str, target: targets.Target, dtype: str, effort: float) -> dict:
    """Compiles one case in this process.

    Args:
      program: of `PROGRAMS`.
      variant: of the model.
      target: the devices.
      dtype: of the computation.
      effort: see `relo_jax.profiling.compiled.compiling.compile_for`.

    Raises:
      UserError: as `relo plan`.
    """
    from relo_jax import config as relo_config
    from relo_jax.model import RELO
    from relo_jax.profiling.compiled import compiling, programs

    devices, clips = targets.devices(target), None
    with targets.tracing_for(target):
        if program in ("frame", "lockstep"):
            model, device = RELO.from_variant(variant, dtype=dtype), devices[0]
            made = programs.frame(model, device) if program == "frame" else programs.crops(model, device, _VIDEOS)
        else:
            config = relo_config.paper(program.split("-")[0])
            config.model.variant, config.model.dtype, config.model.remat = variant, dtype, program.endswith("remat")
            config.rl.path = "frame" if program.endswith("frame-path") else "clip"
            config.batch_size = clips = _clips(program, config, devices)
            made = programs.update(config, devices)
    compiled = compiling.compile_for(target, made, effort)
    row = {"chips": made.devices, "clips": clips, "model_tflop": round(made.model_flops / 1e12, 4)}
    row |= compiling.figures(compiled, target.limits, made.devices)
    if target.platform == "gpu":
        measured = dataclasses.replace(target.limits, **_H200)
        row["roofline_ms_on_h200"] = compiling.figures(compiled, measured, made.devices)["roofline_ms"]
    return row


def _clips(program: str, config: ConfigDict, devices: Sequence[jax.Device]) -> int:
    """The paper's batch, or as many times twice that as these devices need; 1 where the program says so."""
    from relo_jax.train.mesh import make_mesh

    clips, paper = 1 if program.startswith("rl-1") else config.batch_size, config.batch_size
    while True:
        config.batch_size = clips
        try:
            make_mesh(config, devices)
            return clips
        except UserError:
            if clips >= paper * len(devices):
                raise
            clips *= 2


def cases(args: argparse.Namespace) -> Iterator[tuple[targets.Target, str, str]]:
    """(target, variant, program) of everything that the command line asks for."""
    for name in args.targets.split(","):
        target = targets.parse(name)
        for variant in args.variants.split(","):
            for program in args.only.split(",") if args.only else PROGRAMS:
                if program not in PROGRAMS:
                    raise SystemExit(f"--only {program}: there is no such program; known: {', '.join(PROGRAMS)}")
                if target.shape == "1" or program in ON_SLICES:
                    yield target, variant, program


def isolated(args: argparse.Namespace, target: targets.Target, variant: str, program: str) -> dict:
    """Compiles one case in a process of its own. Returns its row, or `{"failure": ...}`."""
    command = [sys.executable, "-m", "benchmarks.compiled", "--targets", target.name, "--variants", variant, "--only"]
    command += [program, "--dtype", args.dtype, "--here", *["--fast"] * args.fast]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failure": f"not compiled within {args.limit} s"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return {"failure": last.removeprefix("relo_jax.errors.UserError: ")[-300:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="h100", help="as for relo plan --topology, with commas (default h100)")
    parser.add_argument("--variants", default="t256,b256,l256", help="with commas (default t256,b256,l256)")
    parser.add_argument("--only", default="", help=f"programs, with commas, of {', '.join(PROGRAMS)}")
    parser.add_argument("--dtype", default="bfloat16", choices=common.DTYPES)
    parser.add_argument("--fast", action="store_true", help="on TPUs: the compiler's least effort")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for each case (default 3600)")
    parser.add_argument("--here", action="store_true", help="compile a single case in this process and print its row")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")  # of this process; nothing runs on an accelerator
    effort = -1.0 if args.fast else 0.0
    if args.here:
        ((target, variant, program),) = cases(args)
        print(json.dumps(compile_case(program, variant, target, args.dtype, effort)))
        return
    wanted = list(cases(args))
    for platform in {target.platform for target, _, _ in wanted}:
        if not targets.is_installed(platform):
            print(f"no compiler for {platform}: pip install 'relo-jax[plan-{platform}]'", file=sys.stderr)
    for target, variant, program in wanted:
        if not targets.is_installed(target.platform):
            continue
        row = {"target": target.name, "variant": variant, "program": program, "dtype": args.dtype, "effort": effort}
        common.record("compiled", row | isolated(args, target, variant, program))


if __name__ == "__main__":
    main()
