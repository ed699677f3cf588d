"""The network of one frame on a CPU: both forms, and the same network in plain PyTorch, eager and compiled.

    python -m benchmarks.peer --variant t256 --repeats 30
    python -m benchmarks.peer --variant t256 --repeats 15 --cores 1

It needs PyTorch. Each is called twice in a row and the second call counts, as in a video: threads of the one before
spin for some milliseconds after its call.
"""

import functools
import os
from collections.abc import Callable

import jax

from benchmarks import common
from benchmarks.device.tracking import forced
from benchmarks.track import network
from relo_jax.model import RELO, init_variables
from relo_jax.model.inference import for_tracking


def peers(model: RELO, cores: int) -> dict[str, Callable[[], object]]:
    """Functions that run PyTorch's network for one frame, eager and compiled."""
    import torch

    from benchmarks import torch_port

    torch.set_num_threads(cores)
    device = torch.device("cpu")
    module = torch_port.Frame(model.config).eval().prepared(torch.float32, device)
    inputs = torch_port.random_inputs(model.config, 1, torch.float32, device)
    return {
        "eager": torch.inference_mode()(lambda: module(*inputs)),
        "compile": torch.inference_mode()(functools.partial(torch.compile(module, dynamic=False), *inputs)),
    }


def main() -> None:
    args = common.arguments(__doc__, cores=2)
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: args.cores]))  # before any thread is started
    model = RELO.from_variant(args.variant)
    variables = jax.device_get(init_variables(model, jax.random.key(0)))
    functions = {}
    for name, folded in {"stacked": False, "folded": True}.items():
        with forced(folded):
            functions[name], _ = network(model, jax.device_put(for_tracking(model, variables)))
            jax.block_until_ready(functions[name]())  # compiled as this form
    functions |= peers(model, args.cores)
    twice = {}
    for name, function in functions.items():
        twice |= {f"{name}, before": function, name: function}
    seconds = common.times(twice, args.repeats)
    row = {"variant": args.variant, "dtype": "float32", "cores": args.cores, "repeats": args.repeats}
    row |= {f"{name}_ms": common.spread(seconds[name]) for name in functions}
    ours = row["folded_ms"]["median"]
    row |= {
        f"folded_over_{name}": round(ours / row[f"{name}_ms"]["median"], 3) for name in functions if name != "folded"
    }
    common.record("peer", row)


if __name__ == "__main__":
    main()
