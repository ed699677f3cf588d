"""Loads and saves checkpoints: `load` reads every kind, `save_variables` writes a run directory.

The kinds are a run directory, one of its steps, a PyTorch or safetensors file with the release's names, and a starter
of the package.
"""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from relo_jax import config as relo_config
from relo_jax.checkpoints import hub
from relo_jax.checkpoints.checks import check_finite, check_fits
from relo_jax.checkpoints.model_card import write as write_card
from relo_jax.checkpoints.pytorch import convert, export
from relo_jax.checkpoints.run_directory import (
    CHECKPOINTS,
    CONFIG_FILE,
    STARTERS,
    VARIABLES,
    check_free,
    check_readable,
    check_space,
    damaged,
    manager,
    read_config,
    read_json,
    reason,
    run_and_step,
    training_handlers,
    write_config,
)
from relo_jax.errors import UserError, did_you_mean
from relo_jax.files import atomic_write, refuse_pipe, remove_leftovers, unfinished_name
from relo_jax.model import RELO
from relo_jax.model.batch_norm import is_trained

# The release's window powers where no benchmark is named; s256, which was never released, has that of t256.
RELEASED_WINDOW_POWER = {"t256": 2.0, "s256": 2.0, "b256": 3.0, "l256": 2.7}


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory."""

    model: RELO  # with the dtype asked for; `config` has that of training
    variables: dict  # {"params", "batch_stats"}, float32, on the default device
    config: dict  # at least the sections "model" and "tracker"


def load(path: Path | str = "starter", model: RELO | None = None, dtype: str | None = None) -> Loaded:
    """Loads a checkpoint of any kind.

    Args:
      path: a run directory (its newest step), one of its `checkpoints/<step>`, a `.pth.tar`, `.pt` or `.safetensors`
        (see `relo_jax.convert`), an exported `.msgpack`, `hf://org/name[@revision]` on the Hugging Face hub, or one
        of `STARTERS`, which come with the package.
      model: the model to load it into; None takes the one in the checkpoint's config.
      dtype: of the computation, "float32" or "bfloat16"; None takes the model's. The variables are float32.

    Raises:
      UserError: the checkpoint does not exist, is damaged, is of another variant (names the first parameter that
        differs), or has weights that are NaN or infinite; an unknown dtype.
    """
    loaded = _load(path, model)
    check_finite(loaded.variables, path)
    if dtype is None:
        return loaded
    return replace(loaded, model=RELO(replace(loaded.model.config, dtype=dtype)))


def _load(path, model):
    """`load` with the model's own dtype."""
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"checkpoint is {path!r}: give a path, or one of {', '.join(STARTERS)}")
    path = STARTERS.get(str(path), hub.local(path))
    if not path.exists():
        raise UserError(f"{path}: no such checkpoint{_hint(path)}")
    if path.is_dir():
        return _load_step(*run_and_step(path), model)
    refuse_pipe(path)
    if path.suffix == ".msgpack":
        return _load_exported(path, model)
    option = f"relo convert {path} RUN --ignore "
    model = model or convert.model_for(path, option=option)
    return Loaded(model, convert.from_torch(path, model, option=option), describe(model) | export.config_of(path))


def _hint(path):
    """The starter that a missing path may mean, or the kinds of checkpoints."""
    hint = did_you_mean(path, STARTERS) if path.name == str(path) else ""
    kinds = "run directory, its checkpoints/<step>, .pth.tar, .safetensors, .msgpack, hf://org/name, or one of"
    return hint if "did you mean" in hint else f" ({kinds} {', '.join(STARTERS)})"


def save_variables(
    path: Path | str, model: RELO, variables: dict, tracker_config: dict | None = None, card: dict | None = None
) -> None:
    """Writes a run directory with one checkpoint, step 0, atomically.

    Args:
      path: directory that does not exist yet, or is empty.
      variables: `{"params", "batch_stats"}`.
      tracker_config: the config's section "tracker"; None writes the release's for this variant.
      card: the model card, see `relo_jax.checkpoints.model_card`; None writes none.

    Raises:
      UserError: `path` exists already, or cannot be written (full disk, no permission).
    """
    path = Path(path).absolute()
    check_free(path)
    check_space(path.parent, variables)
    remove_leftovers(path)
    unfinished = unfinished_name(path)
    try:
        write_config(unfinished, describe(model, tracker_config))
        if card is not None:
            write_card(unfinished, card)
        import orbax.checkpoint as ocp

        with manager(unfinished) as steps:
            steps.save(0, args=ocp.args.Composite(**{VARIABLES: ocp.args.StandardSave(variables)}))
            steps.wait_until_finished()
        os.replace(unfinished, path)
    except Exception as error:  # Orbax raises the errors of its storage, which are no OSErrors
        raise UserError(f"{path} cannot be written, nothing is left of it ({reason(error)})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def export_starter(variables: dict, model: RELO, path: Path | str, tracker_config: dict | None = None) -> None:
    """Writes one small file, `<name>.msgpack`, with params in float16, and the config beside it, `<name>.json`.

    Args:
      variables: `{"params", "batch_stats"}`.
      path: the `.msgpack` file; an existing one is replaced.
      tracker_config: as in `save_variables`.

    Raises:
      UserError: the files cannot be written.
    """
    path = Path(path)
    params = jax.tree.map(lambda x: np.asarray(x).astype(np.float16), variables["params"])
    stats = jax.tree.map(lambda x: np.asarray(x, np.float32), variables["batch_stats"])
    config = json.dumps(describe(model, tracker_config), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as weights, atomic_write(path.with_suffix(".json")) as description:
        weights.write_bytes(flax.serialization.msgpack_serialize({"params": params, "batch_stats": stats}))
        description.write_text(config)


def describe(model: RELO, tracker_config: dict | None = None) -> dict[str, Any]:
    """A config for variables without one: the section "model", and "tracker" as given or as in the release."""
    tracker = relo_config.base().tracker.to_dict()
    if model.config.variant in RELEASED_WINDOW_POWER:
        tracker["window_power"] = RELEASED_WINDOW_POWER[model.config.variant]
    return {"model": model.config.to_dict(), "tracker": dict(tracker_config or tracker)}


def _load_step(run, step, model):
    import orbax.checkpoint as ocp

    config = read_config(run)
    model = model or _model_of(config, run / CONFIG_FILE)
    where = run / CHECKPOINTS / str(step)
    check_readable(where, VARIABLES)
    # Training's items are not read here, but Orbax warns about items without a handler.
    handlers = {**training_handlers(), VARIABLES: ocp.PyTreeCheckpointHandler()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers)) as reader:
        try:
            metadata = reader.metadata(where.absolute()).item_metadata[VARIABLES]
        except Exception as error:  # Orbax raises many kinds for a damaged checkpoint
            raise damaged(where, error) from error
        if metadata is None:
            raise damaged(where, f"no description of {VARIABLES}")
        check_fits(metadata.tree, model, where)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata.tree)
        items = ocp.args.Composite(**{VARIABLES: ocp.args.PyTreeRestore(restore_args=as_numpy)})
        variables = reader.restore(where.absolute(), args=items)[VARIABLES]
    return Loaded(model, _on_device(variables), config)


def has_policy(loaded: Loaded) -> bool:
    """Whether a checkpoint has a trained policy: it is no warm-up, and the policy's running statistics have moved."""
    return loaded.config.get("stage") != "warmup" and is_trained(loaded.variables["batch_stats"]["policy"])


def load_tracker(path: Path | str, dtype: str | None = None) -> Loaded:
    """`load` for tracking: the map that localises the target must be trained.

    Raises:
      UserError: see `load`; or the checkpoint is a warm-up, whose policy is untrained; or the model localises by a
        centre map that had no focal loss.
    """
    loaded = load(path, dtype=dtype)
    if loaded.model.config.localizer == "heatmap":
        if not is_trained(loaded.variables["batch_stats"]["regression"]["center"]):
            raise UserError(
                f"{path} localises by its centre map, which was never trained: train it with "
                "config.warmup.center_focal_weight=1.0"
            )
        return loaded
    if not has_policy(loaded):
        raise UserError(f"{path} is a warm-up without a trained policy: train the RL stage from it before tracking")
    return loaded


def _load_exported(path, model):
    config = read_json(path.with_suffix(".json"))
    ours = model is None and path in STARTERS.values()  # fits: to trace the network would take half a second
    model = model or _model_of(config, path.with_suffix(".json"))
    try:
        variables = flax.serialization.msgpack_restore(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:  # msgpack's own exceptions, and numpy's
        raise damaged(path, error) from error
    if not ours:
        check_fits(variables, model, path)
    return Loaded(model, _on_device(variables), config)


def _model_of(config, file):
    sections = isinstance(config, dict) and all(isinstance(config.get(name, {}), dict) for name in ("model", "tracker"))
    if not sections or "variant" not in config.get("model", {}):
        raise UserError(f"{file} has no section 'model' with a variant: it is not the config of a checkpoint")
    return RELO.from_config(config["model"])


def _on_device(variables):
    # Converted by NumPy: on the device each shape would be compiled by itself.
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float32)), variables)
