"""The choices of a rehearsal, and whether this machine has room for it."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from relo_jax import config as relo_config
from relo_jax.checkpoints.pytorch.parameter_map import sources
from relo_jax.checkpoints.run_directory import check_free
from relo_jax.config.command_line import read_config
from relo_jax.config.named import config_file
from relo_jax.errors import UserError, did_you_mean
from relo_jax.model import RELO, VARIANTS
from relo_jax.study.rehearsal.processes import leave_accelerators

STAGES = ("warmup", "rl")
PRESETS = {"paper": "{}", "release": "{}_release"}  # -> the name of a stage in a file of configs/
STEPS = 6  # of the warm-up; the RL stage has half as many
KEEP = 2  # checkpoints
CLIPS_A_DEVICE = 8  # of the warm-up on an accelerator: the release's 64 clips on 8 GPUs
_COPIES = 3 * (KEEP + 1) + 2 * (KEEP + 1) + 4  # of the weights, on disk: see `check_space`


@dataclass(frozen=True)
class Plan:
    """What to rehearse.

    variant: name of the network. config_file: its file of `configs/`. workdir: absolute. preset: one of `PRESETS`.
    steps: of the warm-up. batch_size: clips of a step of the warm-up; None chooses it for the devices. data_root: the
    user's own datasets, which are checked and whose clips are read to measure the loader; None for none. fields: flags
    `--config.field=value` for both stages.
    """

    variant: str
    config_file: Path
    workdir: Path
    preset: str = "paper"
    steps: int = STEPS
    batch_size: int | None = None
    data_root: Path | None = None
    fields: tuple[str, ...] = ()

    @property
    def kill_after(self) -> int:
        """The step of the first checkpoint, after which the warm-up is killed."""
        return self.steps // 3

    def config_name(self, stage: str) -> str:
        """The `--config` of a stage."""
        return f"{self.config_file}:{PRESETS[self.preset].format(stage)}"

    def data_name(self, stage: str) -> str:
        """The `data.name` of a stage: the config's own if it has all of the paper's datasets, else theirs."""
        own = self.config(stage).data.name
        parts = [part.split("/")[0] for part in own.split("+")]
        return own if sorted(parts) == sorted(relo_config.PAPER_DATA.split("+")) else relo_config.PAPER_DATA

    def config(self, stage: str) -> ConfigDict:
        """The real config of a stage, as `relo train` would read it. Raises UserError for a bad field."""
        config = read_config("relo rehearse", self.config_name(stage), self.fields)
        relo_config.validate(config)
        return config

    def model(self) -> RELO:
        """The network of the real config."""
        return RELO.from_config(self.config("warmup").model)

    def model_fields(self) -> list[str]:
        """The fields of the network among the flags, as `width=16`."""
        prefix = "--config.model."
        return [flag.removeprefix(prefix) for flag in self.fields if flag.startswith(prefix)]


def make_plan(
    variant: str,
    workdir: Path | str | None = None,
    *,
    preset: str = "paper",
    steps: int = STEPS,
    batch_size: int | None = None,
    data_root: Path | str | None = None,
    fields: tuple[str, ...] = (),
) -> Plan:
    """A plan that can be carried out, with its empty workdir. From here on, this process computes on the CPU.

    Args:
      variant: such as "b256", one with a file in `configs/`.
      workdir: a new directory; None takes `runs/rehearsal-VARIANT`.
      preset, steps, batch_size, data_root, fields: see `Plan`.

    Raises:
      UserError: an unknown variant or field, a bad number, a workdir that has files in it, no room on its disk.
    """
    leave_accelerators()
    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    if steps < 3:
        raise UserError(f"--steps is {steps}: give at least 3, so that the warm-up can be killed and continued")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}: give at least 1")
    if data_root is not None and not Path(data_root).is_dir():
        raise UserError(f"--data-root {data_root}: no such folder")
    workdir = Path(workdir or f"runs/rehearsal-{variant}").absolute()
    root = None if data_root is None else Path(data_root).absolute()
    plan = Plan(variant, config_file(variant), workdir, preset, steps, batch_size, root, tuple(fields))
    for stage in STAGES:
        plan.config(stage)
    check_free(workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{workdir} cannot be made ({error.strerror}): give another --workdir") from None
    check_space(plan)
    return plan


def clips_for(plan: Plan, devices: int, platform: str) -> dict[str, int]:
    """Clips of a step, by stage: multiples of the number of devices.

    An accelerator gets the release's load a device, a CPU one clip. The RL stage has a quarter of the
    warm-up's clips, as in the paper.

    Raises:
      UserError: the devices cannot share the plan's batch.
    """
    if plan.batch_size is not None and plan.batch_size % devices:
        raise UserError(f"--batch-size is {plan.batch_size}: give a multiple of the {devices} devices")
    warmup = plan.batch_size or devices * (1 if platform == "cpu" else CLIPS_A_DEVICE)
    return {"warmup": warmup, "rl": devices * math.ceil(warmup / 4 / devices)}


def check_space(plan: Plan) -> None:
    """Raises UserError if the disk has no room for weights and checkpoints.

    A checkpoint of the warm-up has weights and two moments of each; one of the RL stage, whose moments are few, less
    than two copies. While one is written, one more than KEEP is there. Then there are the weights for both stages to
    start from, the released checkpoint, its conversion, and logs.
    """
    weights = 4 * sum(math.prod(source.shape) for source in sources(plan.model()))
    needed, free = _COPIES * weights + (64 << 20), shutil.disk_usage(plan.workdir).free
    if free < needed:
        raise UserError(
            f"no space left for a rehearsal in {plan.workdir}: it needs {needed / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} are free: give another --workdir"
        )
