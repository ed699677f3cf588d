"""A study of two arms that take seconds."""

import jax
import numpy as np

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.eval.benchmarks import Benchmark
from relo_jax.model import RELO
from relo_jax.study import recipe, runner, studies
from relo_jax.study.held_out import SEED
from relo_jax.study.recipe import Arm

MODEL = dict(width=16, depth=1, heads=2, stem_blocks=(1, 1), head_width=8, search_size=64, template_size=32)
# Both arms are one program for XLA: only the data differs.
CHANGES = {f"model.{name}": value for name, value in MODEL.items()} | {
    "rl.path": "clip", "model.remat": False, "batch_size": 4, "rl.clip_length": 2, "eval_batches": 1,
    "data.procedural.bank_size": 32, "data.procedural.num_frames": 24,
}  # fmt: skip
STUDY = studies.Study("Near or far?", ("near", "far"), steps_to=True, also={"slow": {"fastest": 0.04}})
NAME, SCALE, SEQUENCES = "distance", 0.02, 2  # at this scale two steps


def install(replace, start):
    """Makes the study and its arms known; `replace` is `setattr` or pytest's."""
    arms = {
        "near": Arm("Near.", {"rl": recipe.rl}, {**CHANGES, "init_from": str(start), "data.max_gap": 5}),
        "far": Arm("Far.", {"rl": "near:rl"}, {"data.max_gap": 20}),
    }
    replace(studies, "all_arms", lambda: arms)
    replace(studies, "STUDIES", {NAME: STUDY})
    replace(runner, "held_out", held_out)


def write_start(path):
    """A checkpoint to start from, of random numbers; with all heads, so that none need be made (and compiled)."""
    model, rng = RELO.from_variant("tiny", **MODEL), np.random.default_rng(0)
    like = abstract_variables(model)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.01, 0.1, leaf.shape).astype(np.float32), like)
    checkpoint.save_variables(path, model, variables)


def held_out(sequences, frames, title, changes):
    """Fewer textures than `runner.held_out`."""
    options = Options(num_frames=frames, bank_size=32, **changes)
    return Benchmark(None, None, title, tuple(heldout(SEED, sequences, options)))


def run(workdir, **more):
    """The study of the two arms, with one seed."""
    fields = {"seeds": 1, "workdir": workdir, "scale": SCALE, "sequences": SEQUENCES, "frames": 4} | more
    return runner.run_study(NAME, **fields)
