"""Checkpoints in memory and back: `load` reads whatever kind there is, `save_variables` writes a run directory.

`load` takes a run directory, one of its steps, a file of the PyTorch release, or a starter of the package.
"""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from relo_jax import config as relo_config
from relo_jax.checkpoints.model_card import write as write_card
from relo_jax.checkpoints.pytorch import convert
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
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
from relo_jax.errors import UserError
from relo_jax.files import atomic_write
from relo_jax.model import RELO

# The release's window powers where no benchmark is named (the released system, "Inference").
RELEASED_WINDOW_POWER = {"t256": 2.0, "s256": 2.0, "b256": 3.0, "l256": 2.7}  # s256: never released, as t256


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory."""

    model: RELO  # as it is to be computed; the config has it as it was made
    variables: dict  # {"params", "batch_stats"}, float32, on the default device
    config: dict  # sections "model" and "tracker" at least


def load(path="starter", model=None, dtype=None):
    """A checkpoint, whatever it is.

    Args:
      path: a run directory (its newest step), one of its `checkpoints/<step>`, a `.pth.tar` or `.pt` of the release
        (see `relo_jax.convert`), an exported `.msgpack`, or one of `STARTERS`, which come with the package.
      model: the `RELO` to load it into; None takes the one that the checkpoint was made with.
      dtype: what to compute in, "float32" or "bfloat16"; None is as that model has it. The variables are float32.

    Returns:
      Loaded.

    Raises:
      UserError: no such checkpoint, damaged, or of another variant (names the first parameter that differs); no such
        dtype.
    """
    loaded = _load(path, model)
    if dtype is None:
        return loaded
    return replace(loaded, model=RELO(replace(loaded.model.config, dtype=dtype)))


def _load(path, model):
    """`load`, in the model's own dtype."""
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"checkpoint is {path!r}: give a path, or one of {', '.join(STARTERS)}")
    path = STARTERS.get(str(path), Path(path))
    if not path.exists():
        raise UserError(
            f"{path}: no such checkpoint (run directory, its checkpoints/<step>, .pth.tar, .msgpack, or one of "
            f"{', '.join(STARTERS)})"
        )
    if path.is_dir():
        return _load_step(*run_and_step(path), model)
    if path.suffix == ".msgpack":
        return _load_exported(path, model)
    model = model or convert.model_for(path)
    return Loaded(model, convert.from_torch(path, model), describe(model))


def save_variables(path, model, variables, tracker_config=None, card=None):
    """Writes a run directory with one checkpoint, step 0: all of it, or nothing.

    Args:
      path: directory that does not exist yet, or is empty.
      model: `RELO`.
      variables: `{"params", "batch_stats"}`.
      tracker_config: the config's section "tracker"; the release's for this variant where not given.
      card: the model card, see `relo_jax.checkpoints.model_card`; None writes none.

    Raises:
      UserError: `path` is taken, or cannot be written (full disk, no permission).
    """
    path = Path(path).absolute()
    check_free(path)
    check_space(path.parent, variables)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_config(unfinished, describe(model, tracker_config))
        if card is not None:
            write_card(unfinished, card)
        with manager(unfinished) as steps:
            steps.save(0, args=ocp.args.Composite(**{VARIABLES: ocp.args.StandardSave(variables)}))
            steps.wait_until_finished()
        os.replace(unfinished, path)
    except Exception as error:  # Orbax passes on what its storage raises, which is no OSError
        raise UserError(f"{path} cannot be written, nothing is left of it ({reason(error)})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def export_starter(variables, model, path, tracker_config=None):
    """Writes one small file, `<name>.msgpack`, with params in float16, and the config beside it, `<name>.json`.

    Args:
      variables: `{"params", "batch_stats"}`.
      model: `RELO`.
      path: the `.msgpack` file; replaced when it exists.
      tracker_config: as in `save_variables`.

    Raises:
      UserError: cannot be written.
    """
    path = Path(path)
    params = jax.tree.map(lambda x: np.asarray(x).astype(np.float16), variables["params"])
    stats = jax.tree.map(lambda x: np.asarray(x, np.float32), variables["batch_stats"])
    config = json.dumps(describe(model, tracker_config), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as weights, atomic_write(path.with_suffix(".json")) as description:
        weights.write_bytes(flax.serialization.msgpack_serialize({"params": params, "batch_stats": stats}))
        description.write_text(config)


def describe(model, tracker_config=None):
    """The config that goes with bare variables: section "model", and "tracker" as given or the release's."""
    tracker = relo_config.base().tracker.to_dict()
    if model.config.variant in RELEASED_WINDOW_POWER:
        tracker["window_power"] = RELEASED_WINDOW_POWER[model.config.variant]
    return {"model": model.config.to_dict(), "tracker": dict(tracker_config or tracker)}


def _load_step(run, step, model):
    config = read_config(run)
    model = model or _model_of(config, run / CONFIG_FILE)
    where = run / CHECKPOINTS / str(step)
    check_readable(where, VARIABLES)
    # The items of training are not read here, but Orbax warns of what it has no handler for.
    handlers = {**training_handlers(), VARIABLES: ocp.PyTreeCheckpointHandler()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers)) as reader:
        try:
            metadata = reader.metadata(where.absolute()).item_metadata[VARIABLES]
        except Exception as error:  # whatever Orbax makes of what is left of it
            raise damaged(where, error) from error
        if metadata is None:
            raise damaged(where, f"no description of {VARIABLES}")
        check_fits(metadata.tree, model, where)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata.tree)
        items = ocp.args.Composite(**{VARIABLES: ocp.args.PyTreeRestore(restore_args=as_numpy)})
        variables = reader.restore(where.absolute(), args=items)[VARIABLES]
    return Loaded(model, _on_device(variables), config)


def has_policy(loaded):
    """Whether a checkpoint's policy was ever trained: it is of no warm-up, and its BatchNorm has seen a batch."""
    return loaded.config.get("stage") != "warmup" and _saw_a_batch(loaded.variables["batch_stats"]["policy"])


def _saw_a_batch(norms):
    """Whether the running statistics of a tower have moved."""
    return any(bool(norm["mean"].any()) for norm in norms.values())


def load_tracker(path, dtype=None):
    """`load`, of a checkpoint that can track; dtype as there.

    Raises:
      UserError: as `load`; or the map that its model says where by was never trained: a warm-up's policy knows nothing,
        nor does a centre map that had no focal loss.
    """
    loaded = load(path, dtype=dtype)
    if loaded.model.config.localizer == "heatmap":
        if not _saw_a_batch(loaded.variables["batch_stats"]["regression"]["center"]):
            raise UserError(f"{path} says where by its centre map, which was never trained: "
                            "train it with config.warmup.center_focal_weight=1.0")  # fmt: skip
        return loaded
    if not has_policy(loaded):
        raise UserError(f"{path} is a warm-up without a trained policy: train the RL stage from it before tracking")
    return loaded


def _load_exported(path, model):
    config = read_json(path.with_suffix(".json"))
    model = model or _model_of(config, path.with_suffix(".json"))
    try:
        variables = flax.serialization.msgpack_restore(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:  # msgpack's own exceptions, and numpy's
        raise damaged(path, error) from error
    check_fits(variables, model, path)
    return Loaded(model, _on_device(variables), config)


def _model_of(config, file):
    sections = isinstance(config, dict) and all(isinstance(config.get(name, {}), dict) for name in ("model", "tracker"))
    if not sections or "variant" not in config.get("model", {}):
        raise UserError(f"{file} has no section 'model' with a variant: it is not the config of a checkpoint")
    return RELO.from_config(config["model"])


def check_fits(variables, model, where):
    """Raises UserError, naming the first array that a model of this variant has no use for, or needs otherwise.

    Args:
      variables: tree of anything with a shape.
      model: `RELO`.
      where: the checkpoint, for the message.
    """
    found, needed = (
        {"/".join(k.key for k in path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (variables, abstract_variables(model))
    )
    for name in [*needed, *found]:
        if found.get(name) != needed.get(name):
            has, needs = (f"shape {tree[name]}" if name in tree else "nothing" for tree in (found, needed))
            variant = model.config.variant
            raise UserError(f"{where} is of another variant than {variant!r}: {name}: {has}, expected {needs}")


def _on_device(variables):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), variables)
