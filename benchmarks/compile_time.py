"""Seconds from a model's first call to its compiled one: `frame` (tracking), and the updates of both training stages;
in a first process, and in a second one that finds on the disk what the first compiled, as every command of `relo` does.

    python -m benchmarks.compile_time --variant l256 --stages 0        # `frame` alone

Nothing is allocated: the programs are lowered from shapes alone, so a model larger than the memory can be measured.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import jax

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables
from relo_jax.train import rl, warmup
from relo_jax.train.state import create_state, optimizer


def seconds_to_compile(function, *arguments):
    """Tracing and lowering, then XLA's part, of a jitted function."""
    start = time.perf_counter()
    lowered = function.lower(*arguments)
    between = time.perf_counter()
    lowered.compile()
    return {"trace": round(between - start, 2), "compile": round(time.perf_counter() - between, 2)}


def shapes(function, *arguments):
    return jax.eval_shape(function, *arguments)


def frame_program(model, variables):
    """`frame` with policy and boxes, as the tracker runs it, and the shapes of its arguments."""

    def step(variables, templates, search, tokens, first):
        features, tokens = model.apply(variables, templates, search, tokens, first, method="frame")
        logits = model.apply(variables, features, method="policy_logits")
        return logits, model.apply(variables, features, method="boxes"), tokens

    clip = common.random_clips(model, 1, 1)
    encode = lambda v, images, boxes: model.apply(v, images, boxes, method="encode_templates")
    templates = shapes(encode, variables, clip["template_images"], clip["template_boxes_xywh"])
    tokens = shapes(lambda: model.apply({}, 1, method="initial_tokens"))
    first = jax.ShapeDtypeStruct((1,), bool)
    return jax.jit(step), (variables, templates, clip["search_images"][:, 0], tokens, first)


def stage_program(stage, make_step, model, variables, clips):
    """One stage's update and the shapes of its arguments."""
    config = relo_config.paper(stage)
    config.model.variant = model.variant
    frames = config.warmup.search_frames if stage == "warmup" else config.rl.clip_length
    state = shapes(lambda v: create_state(config, v, jax.random.key(0))[0], variables)
    return make_step(model, config, optimizer(config)), (state, common.random_clips(model, clips, frames))


def measure(args):
    """Seconds of every program, in this process."""
    model = RELO.from_variant(args.variant)
    variables = shapes(lambda: init_variables(model, jax.random.key(0)))
    programs = {"frame": frame_program(model, variables)}
    if args.stages:
        programs["warmup_update"] = stage_program("warmup", warmup.make_step, model, variables, args.clips)
        programs["rl_update"] = stage_program("rl", rl.make_step, model, variables, args.clips)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return parameters, {name: seconds_to_compile(fn, *arguments) for name, (fn, arguments) in programs.items()}


def main():
    args = common.arguments(__doc__, repeats=1, clips=2, stages=1, child=0)
    if args.child:
        print(json.dumps(measure(args)))
        return
    row = {"variant": args.variant, "clips": args.clips}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for process in ("first", "second"):
            command = [sys.executable, "-m", "benchmarks.compile_time", *sys.argv[1:], "--child", "1"]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            row["parameters"], row[f"{process}_process_seconds"] = json.loads(done.stdout.splitlines()[-1])
    common.record("compile_time", row)


if __name__ == "__main__":
    main()
