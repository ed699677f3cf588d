"""Two arms of a study that take seconds: the files that they are, and the study that runs them."""

import jax
import numpy as np

from relo_jax.checkpoints import load as checkpoint
from relo_jax.data.synthetic.compose import Options
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.eval.benchmarks import Benchmark
from relo_jax.model import RELO
from relo_jax.study import runner, studies
from relo_jax.study.held_out import SEED

# Both arms are one program for XLA: what differs is the data.
ARM = """
from relo_jax.study import recipe

def get_config(stage):
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.init_from = {init_from!r}
    config.model.update({model!r})
    config.rl.path, config.model.remat = "clip", False
    config.batch_size, config.rl.clip_length, config.eval_batches = 4, 2, 1
    config.data.procedural.bank_size, config.data.procedural.num_frames = 32, 24
    config.data.max_gap = {max_gap}
    return config
"""
MODEL = dict(width=16, depth=1, heads=2, stem_blocks=(1, 1), head_width=8, search_size=64, template_size=32)
STUDY = studies.Study("Near or far?", ("near", "far"), steps_to=True)
NAME, SCALE, SEQUENCES = "distance", 0.02, 2  # at this scale two steps


def install(folder, replace, start):
    """Makes the study known, its files below a folder; `replace` is `setattr` or pytest's."""
    path = folder / "ablations"
    path.mkdir()
    for arm, max_gap in (("near", 5), ("far", 20)):
        text = ARM.format(init_from=str(start), model=MODEL, max_gap=max_gap)
        (path / f"{arm}.py").write_text(text)
    replace(studies, "FOLDER", path)
    replace(studies, "STUDIES", {NAME: STUDY})
    replace(runner, "held_out", held_out)


def write_start(path):
    """A checkpoint to start from, of random numbers; with all heads, so that none need be made (and compiled)."""
    model, rng = RELO.from_variant("tiny", **MODEL), np.random.default_rng(0)
    like = checkpoint.abstract_variables(model)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.01, 0.1, leaf.shape).astype(np.float32), like)
    checkpoint.save_variables(path, model, variables)


def held_out(sequences, frames):
    """Fewer textures than `runner.held_out`."""
    options = Options(num_frames=frames, bank_size=32)
    return Benchmark(None, None, "held-out", tuple(heldout(SEED, sequences, options)))


def run(workdir, **more):
    """The study of the two arms, with one seed."""
    fields = {"seeds": 1, "workdir": workdir, "scale": SCALE, "sequences": SEQUENCES, "frames": 4} | more
    return runner.run_study(NAME, **fields)
