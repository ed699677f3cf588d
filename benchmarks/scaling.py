"""Clips per second of one update of the RL stage on 1, 2, 4, 8 devices: one row each, with what it gains over one.

    python -m benchmarks.scaling --variant tiny --clips 16 --frames 8
    python -m benchmarks.scaling --variant b256 --clips 128 --frames 8 --simulate 0        # on a machine with several

The batch is the same for all. Without accelerators the devices are simulated (`--simulate 8`): they share the cores of
one processor, so their rows show what the partitioning costs, and no speed.
"""

import os
import statistics

from benchmarks import common


def updater(model, config, variables, clips, devices):
    """A function that makes one update on the first so many devices."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    from relo_jax.train import rl
    from relo_jax.train.mesh import make_mesh, shardings
    from relo_jax.train.state import create_state, optimizer

    mesh = make_mesh(config, jax.devices()[:devices])
    create = lambda v: create_state(config, v, jax.random.key(1))[0]
    where = shardings(jax.eval_shape(create, variables), mesh, config.mesh.shard_params)
    with jax.set_mesh(mesh):
        held = [jax.jit(create, out_shardings=where)(variables)]
    batch = jax.device_put(clips, NamedSharding(mesh, PartitionSpec("data")))
    step = rl.make_step(model, config, optimizer(config))

    def update():
        with jax.set_mesh(mesh):
            held[0], metrics = step(held[0], batch)
        return metrics

    return update


def main():
    args = common.arguments(__doc__, repeats=10, clips=16, frames=8, simulate=8, fsdp=0)
    if args.simulate:  # before JAX looks for its devices
        os.environ["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={args.simulate}".strip()
        )
    import jax

    from relo_jax import config as relo_config
    from relo_jax.model import RELO, init_variables

    config = relo_config.paper("rl")
    config.model.variant, config.batch_size, config.rl.clip_length = args.variant, args.clips, args.frames
    config.mesh.shard_params = "fsdp" if args.fsdp else "none"
    model = RELO.from_variant(args.variant)
    variables = jax.device_get(init_variables(model, jax.random.key(0)))
    clips = common.random_clips(model, args.clips, args.frames)
    counts = [n for n in (1, 2, 4, 8) if n <= jax.device_count() and args.clips % n == 0]
    updates = {n: updater(model, config, variables, clips, n) for n in counts}
    seconds = common.times(updates, args.repeats)
    rates = {n: args.clips / statistics.median(s) for n, s in seconds.items()}
    for n in counts:
        row = {"variant": args.variant, "clips": args.clips, "frames": args.frames, "repeats": args.repeats}
        row |= {"shard_params": config.mesh.shard_params, "mesh_devices": n, "simulated": bool(args.simulate)}
        row |= {"clips_per_second": round(rates[n], 2), "ms": common.spread(seconds[n])}
        common.record("scaling", {**row, "over_one_device": round(rates[n] / rates[1], 2)})


if __name__ == "__main__":
    main()
