"""Two arms of a study that take seconds: the files that they are, and the study that runs them."""

from relo_jax.study import command, studies

ARM = """
from relo_jax.study import recipe

def get_config(stage):
    config = recipe.warmup(4) if stage == "warmup" else recipe.rl()
    config.model.update(width=32, depth=1, heads=2, head_width=16, search_size=64, template_size=32)
    config.batch_size, config.rl.clip_length, config.eval_batches = 4, 2, 1
    config.data.procedural.bank_size, config.data.procedural.num_frames = 32, 24
    config.rl.estimator = {estimator!r}
    return config
"""
NAME, SEQUENCES, FRAMES, SCALE = "small", 2, 4, 0.03  # three steps of the RL stage


def install(folder, replace):
    """Writes the arms' files below a folder and makes the study known; `replace` is `setattr` or pytest's."""
    path = folder / "ablations"
    path.mkdir()
    for arm, estimator in (("sampled", "reinforce"), ("exact", "expected")):
        (path / f"{arm}.py").write_text(ARM.format(estimator=estimator))
    replace(studies, "FOLDER", path)
    replace(studies, "STUDIES", {NAME: studies.Study("Which?", ("sampled", "exact"), steps_to=True)})
    replace(studies, "STAGES", {arm: ("warmup", "rl") for arm in ("sampled", "exact")})


def run(workdir, **more):
    """The study of the two arms, with one seed."""
    fields = {"seeds": 1, "workdir": workdir, "scale": SCALE, "sequences": SEQUENCES, "frames": FRAMES} | more
    return command.study_command(NAME, **fields)
