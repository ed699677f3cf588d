"""The devices to compile for, none of which has to be there: `h100`, `h100:8`, `v5e:4x4`, `v5p:4x4x8` ..."""

import contextlib
import dataclasses
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
from jax.experimental import topologies

from relo_jax.errors import UserError, did_you_mean, in_one_line
from relo_jax.model import platform

EXAMPLES = "h100, h100:8, v5e:4x4, v5p:4x4x8"
SLICES = {  # that exist: one machine, and more
    "v4": ("2x2x1", "2x2x4", "4x4x4"), "v5e": ("2x2", "4x4", "16x16"), "v5p": ("2x2x1", "4x4x8", "8x8x8"),
    "v6e": ("2x2", "4x4", "16x16"),
}  # fmt: skip
_CUDNN = 91000  # 9.10, as in h100.txtpb
# libtpu would ask Google's cloud which machine this is, warn that it is none, and refuse a second process.
_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_MIN_LOG_LEVEL": "3", "TPU_STDERR_LOG_LEVEL": "3",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a chip can do at most, by its maker's data sheet.

    Attributes:
      title: its name.
      platform: of JAX.
      flops: FLOP/s of bfloat16 products, without sparsity.
      float32: share of that rate in float32 products of JAX's default precision.
      bandwidth: of the memory, bytes/s.
      memory: its size, bytes.
      interconnect: bytes/s to the other chips, in one direction, over all links.
    """

    title: str
    platform: Literal["gpu", "tpu"]
    flops: float
    float32: float
    bandwidth: float
    memory: float
    interconnect: float


# NVIDIA H100 SXM data sheet: NVLink's 900 GB/s are both directions, and float32 products use TF32. TPUs: the tables of
# cloud.google.com/tpu/docs/v4, v5e, v5p and v6e; they multiply float32 in bfloat16 by default.
CHIPS = {
    "h100": Chip("NVIDIA H100 SXM", "gpu", 989e12, 0.5, 3.35e12, 79 * 2**30, 450e9),
    "v4": Chip("TPU v4", "tpu", 275e12, 1.0, 1.2e12, 32 * 2**30, 300e9),
    "v5e": Chip("TPU v5e", "tpu", 197e12, 1.0, 0.82e12, 16 * 2**30, 200e9),
    "v5p": Chip("TPU v5p", "tpu", 459e12, 1.0, 2.765e12, 95 * 2**30, 600e9),
    "v6e": Chip("TPU v6e", "tpu", 918e12, 1.0, 1.64e12, 32 * 2**30, 400e9),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A chip, and how many of them in which arrangement.

    Attributes:
      name: as the user wrote it.
      chip: the key in `CHIPS`.
      shape: of the slice, such as `4x4`; of GPUs their number.
    """

    name: str
    chip: str
    shape: str

    @property
    def limits(self) -> Chip:
        """What one of the chips can do."""
        return CHIPS[self.chip]

    @property
    def platform(self) -> str:
        """Of JAX: "gpu" or "tpu"."""
        return self.limits.platform


def parse(name: str) -> Target:
    """The target of a name such as `v5e:4x4`.

    Raises:
      UserError: unknown chip, or a shape that is none.
    """
    chip, _, shape = name.partition(":")
    if chip not in CHIPS:
        raise UserError(f"--topology {name}: there is no chip {chip!r}{did_you_mean(chip, CHIPS)}")
    if CHIPS[chip].platform == "gpu":
        shape = shape or "1"
        if not re.fullmatch(r"[1-9]\d*", shape):
            raise UserError(f"--topology {name}: give the number of GPUs of one machine, such as {chip}:8")
    elif not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", shape):
        raise UserError(f"--topology {name}: give the slice as well, such as {chip}:{SLICES[chip][1]}")
    return Target(name, chip, shape)


def devices(target: Target) -> list[jax.Device]:
    """The devices of a target, to compile for.

    Raises:
      UserError: the compiler for this platform is not installed, or does not know such a slice.
    """
    # This process computes nothing on an accelerator, and must not take one that another process uses.
    jax.config.update("jax_platforms", "cpu")
    _require_compiler(target)
    try:
        if target.platform == "gpu":
            description = (Path(__file__).parent / f"{target.chip}.txtpb").read_text()
            found = topologies.get_topology_desc(
                platform="cuda", topology_name="", target_config=description, topology=f"1x1x{target.shape}"
            )
        else:
            for name, value in _LIBTPU.items():
                os.environ.setdefault(name, value)
            # JAX on a v4 has both cores of a chip as one device; libtpu has to be told.
            options = {"chip_config_name": "megacore"} if target.chip == "v4" else {}
            found = topologies.get_topology_desc(platform="tpu", topology_name=target.name, **options)
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(f"--topology {target.name}: {_reason(target, error)}") from None
    return list(found.devices)


def _reason(target: Target, error: Exception) -> str:
    """Why there are no devices of a target."""
    if target.platform == "tpu" and "INVALID_ARGUMENT" in str(error):
        *some, last = (f"{target.chip}:{shape}" for shape in SLICES[target.chip])
        slices = f"{', '.join(some)} or {last}, say"
        return f"the compiler knows no slice {target.shape} of {target.limits.title}: take {slices}"
    return in_one_line(error)


def is_installed(kind: str) -> bool:
    """Whether the compiler for the platform "gpu" or "tpu" is installed."""
    names = {"gpu": ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13"), "tpu": ("libtpu",)}[kind]
    try:
        return any(importlib.util.find_spec(name) is not None for name in names)
    except ModuleNotFoundError:  # no package jax_plugins
        return False


@contextlib.contextmanager
def tracing_for(target: Target) -> Iterator[None]:
    """Programs that are traced inside are for the target, whatever this machine has."""
    with platform.compiling_for(target.platform), _cudnn_is_there():
        yield


def _require_compiler(target: Target) -> None:
    if not is_installed(target.platform):
        package = {"gpu": "jax-cuda12-plugin", "tpu": "libtpu"}[target.platform]
        raise UserError(
            f"--topology {target.name}: compiling for a {target.platform.upper()} needs {package}, not the device: "
            f"pip install 'relo-jax[plan-{target.platform}]'"
        )


@contextlib.contextmanager
def _cudnn_is_there() -> Iterator[None]:
    """Answers JAX's questions for the version of cuDNN and the card, which it would ask a card of this machine.

    JAX has no public way to name the target of `jax.nn.dot_product_attention(implementation="cudnn")`.
    """
    from jax._src.cudnn import fused_attention_stablehlo as attention

    answers: dict[str, Any] = {
        "check_cudnn_version": lambda: _CUDNN,
        "check_compute_capability": lambda capability: float(capability) <= 9.0,
        "is_cuda_compute_capability_equal": lambda capability: float(capability) == 9.0,
    }
    kept = {name: getattr(attention, name) for name in answers}
    for name, answer in answers.items():
        setattr(attention, name, answer)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(attention, name, function)
