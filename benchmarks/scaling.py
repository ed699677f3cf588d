"""One update of the RL stage on 1, 2, 4 and 8 devices: clips a second, and the gain over one device. A row each.

    python -m benchmarks.scaling --variant tiny --clips 16 --frames 8
    python -m benchmarks.scaling --variant b256 --clips 128 --frames 8 --simulate 0        # on a machine with several

All device counts get the same batch. Without accelerators the devices are simulated (`--simulate 8`). Simulated devices
share the cores of one processor, so their rows show the cost of partitioning and no speed-up.
"""

import os
import statistics
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables
from relo_jax.train import rl
from relo_jax.train.mesh import make_mesh, place, shardings
from relo_jax.train.state import create_state, optimizer


def updater(model: RELO, config: ConfigDict, variables: dict, clips: dict, devices: int) -> Callable[[], dict]:
    """A function that makes one update on the first `devices` devices."""
    mesh = make_mesh(config, jax.devices()[:devices])
    create = lambda v: create_state(config, v, jax.random.key(1))[0]
    placement = shardings(jax.eval_shape(create, variables), mesh, config.mesh.shard_params)
    with jax.set_mesh(mesh):
        state = jax.jit(create, out_shardings=placement)(variables)
    batch = place(clips, mesh)
    step = rl.make_step(model, config, optimizer(config))

    def update():
        nonlocal state
        with jax.set_mesh(mesh):
            state, metrics = step(state, batch)
        return metrics

    return update


def main() -> None:
    args = common.arguments(__doc__, repeats=10, clips=16, frames=8, simulate=8, fsdp=0)
    if args.simulate:  # JAX reads this when it first looks for devices
        flag = f"--xla_force_host_platform_device_count={args.simulate}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    config = relo_config.paper("rl")
    config.model.variant, config.batch_size, config.rl.clip_length = args.variant, args.clips, args.frames
    config.mesh.shard_params = "fsdp" if args.fsdp else "none"
    model = RELO.from_variant(args.variant)
    variables = jax.device_get(init_variables(model, jax.random.key(0)))
    clips = common.random_clips(model, args.clips, args.frames)
    counts = [n for n in (1, 2, 4, 8) if n <= jax.device_count() and (args.clips * args.frames) % n == 0]
    seconds = common.times({n: updater(model, config, variables, clips, n) for n in counts}, args.repeats)
    rates = {n: args.clips / statistics.median(s) for n, s in seconds.items()}
    for n in counts:
        row = {"variant": args.variant, "clips": args.clips, "frames": args.frames, "repeats": args.repeats}
        row |= {"shard_params": config.mesh.shard_params, "mesh_devices": n, "simulated": bool(args.simulate)}
        row |= {"clips_per_second": round(rates[n], 2), "ms": common.spread(seconds[n])}
        common.record("scaling", {**row, "over_one_device": round(rates[n] / rates[1], 2)})


if __name__ == "__main__":
    main()
