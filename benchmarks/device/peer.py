"""The same network in plain PyTorch on the same card: eager and compiled, for one video and for many."""

import functools
import time
from collections.abc import Callable, Iterator

from benchmarks import common
from benchmarks.device.kernels import Row, attempt, share
from benchmarks.device.tracking import frame_flops
from relo_jax.model import RELO

WAYS = {
    "eager": None,
    "compiled": "default",
    "compiled, CUDA graphs": "reduce-overhead",
}


def network(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """Frames of the network as `benchmarks.torch_port` writes it, with random weights."""
    try:
        import torch
    except ImportError as error:
        yield {"failed": f"PyTorch is not installed: {error}"}
        return
    from benchmarks import torch_port

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    machine = {"device": f"gpu: {torch.cuda.get_device_name()}" if on_gpu else "cpu: cpu"}
    model = RELO.from_variant(variant, dtype=dtype)
    module = torch_port.Frame(model.config).eval().prepared(getattr(torch, dtype), device)
    flops = torch_port.flops(torch_port.Frame(model.config).eval())
    ours = frame_flops(model)
    if flops != ours:
        raise AssertionError(f"the peer has {flops} FLOPs a frame, the JAX network {ours}")
    about = {"peer": f"PyTorch {torch.__version__}", "variant": variant, "dtype": dtype, "machine": machine}
    about["gflops_a_frame"] = round(flops / 1e9, 3)
    many, graphs = 2 if quick else 64, "compiled, CUDA graphs" if on_gpu else "compiled"
    order = [(1, "eager"), (many, "eager"), (1, graphs), (many, "compiled"), (1, "compiled")]
    for videos, way in order[:2] if quick else dict.fromkeys(order):
        inputs = torch_port.random_inputs(model.config, videos, getattr(torch, dtype), device)
        compiled = torch.compile(module, mode=WAYS[way], dynamic=False) if WAYS[way] else module
        calls = 3 if quick else 200 if videos == 1 else 20

        def measure(run: Callable, inputs=inputs, videos=videos, calls=calls) -> Row:
            with torch.inference_mode():
                times = _times(functools.partial(run, *inputs), calls, torch.cuda.synchronize if on_gpu else _nothing)
            return times | {"share_of_rate": share(flops * videos, times["queued_ms"] / 1e3, rate)}

        yield attempt(about | {"what": way, "videos": videos}, functools.partial(measure, compiled))
    yield about | {"what": "check", "apart": torch_port.apart(RELO.from_variant(variant))}


def _nothing() -> None:
    """A CPU has nothing to wait for."""


def _times(run: Callable[[], object], calls: int, wait: Callable[[], object]) -> Row:
    """As `kernels.call_times`."""
    start = time.perf_counter()
    for _ in range(3):
        run()
        wait()
    warm, waiting = time.perf_counter() - start, []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        wait()
        waiting.append(time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    sent = time.perf_counter()
    wait()
    end = time.perf_counter()
    each = lambda seconds: round(1e3 * seconds / calls, 4)
    row = {"compile_seconds": round(warm, 1), "waiting_ms": common.spread(waiting)}
    return row | {"queued_ms": each(end - start), "dispatch_ms": each(sent - start)}
