"""What runs on which kind of device: one row a platform, with where each choice comes from.

The platform is JAX's default one, unless `compiling_for` names the one that a program is compiled for: `relo plan` and
`benchmarks/compiled.py` compile for devices that are not there.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

import jax

Implementation = Literal["plain", "xla", "cudnn"]


@dataclasses.dataclass(frozen=True)
class Choices:
    """How the network computes on a platform.

    attention: implementation for a single frame, and for many; see `layers.dot_product_attention`.
    gelu: how the stacked model's stem computes it; see `layers.gelu`.
    one_pass_variance: whether LayerNorm takes E[x^2] - E[x]^2 in one pass.
    folded: whether the tracker runs `inference.Network` instead of the stacked model.
    joined_bytes: up to which size, of input, kernel and result on one device, XLA joins products of the same input, to
      the stacked model's harm; see `layers.Attention`.
    by_head: from how many logits a head and frame `inference.Network` attends head by head, in independent products.
    """

    attention: tuple[Implementation, Implementation]
    gelu: Literal["erfc", "erf"]
    one_pass_variance: bool
    folded: bool
    joined_bytes: int = 0
    by_head: float = math.inf


BY_PLATFORM = {
    # Measured: benchmarks/attention.py, benchmarks/track.py, benchmarks/forms.py (docs/performance.md). XLA hardly
    # divides a product with a batch of heads among cores, but runs independent products beside each other; below some
    # 180 x 180 tokens (`tiny` has 82) that does not pay.
    "cpu": Choices(attention=("plain", "plain"), gelu="erfc", one_pass_variance=True, folded=True, by_head=2**15),
    # Compiled for an H100, not yet measured (docs/performance.md). cuDNN's flash attention never writes the logits,
    # which halves the bytes of a block, but it splits a single frame's CUDA graph at every layer. XLA makes one kernel
    # of a LayerNorm whose variance takes a second pass over registers, and several of the one-pass form. The stem's
    # GELU joins that kernel if it is one `erf` of float32: a block of 128 frames moves 1.9 GB instead of 3.4. Keys and
    # values of two products need no copies for cuDNN: 0.4 GB less in an RL step of 16 clips of t256. Larger products
    # XLA leaves apart by itself (its flag xla_gpu_dot_merger_threshold_mb), and a barrier costs 0.5 GB (b256).
    "gpu": Choices(
        attention=("plain", "cudnn"), gelu="erf", one_pass_variance=False, folded=True, joined_bytes=64 * 2**20
    ),
    # Compiled for a v5e, not yet measured.
    "tpu": Choices(attention=("plain", "plain"), gelu="erfc", one_pass_variance=True, folded=True),
}
_CUDNN_DTYPES = ("bfloat16", "float16")  # flash attention takes no other
_target: ContextVar[str | None] = ContextVar("platform", default=None)


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Programs that are traced inside are for this platform, whatever this machine has."""
    token = _target.set(platform)
    try:
        yield
    finally:
        _target.reset(token)


def choices() -> Choices:
    """The row of the platform that is compiled for; an unknown platform has the CPU's."""
    return BY_PLATFORM.get(_target.get() or jax.default_backend(), BY_PLATFORM["cpu"])


def attention(frames: int, dtype: str, head_width: int) -> Implementation:
    """The implementation of attention for that many frames in one call.

    Args:
      frames: F, of all videos or clips.
      dtype: of query, key and value.
      head_width: d.
    """
    one, many = choices().attention
    chosen = one if frames == 1 else many
    if chosen == "cudnn" and not (dtype in _CUDNN_DTYPES and head_width % 8 == 0 and _has_flash_attention()):
        return "plain"
    return chosen


def _has_flash_attention() -> bool:
    """Whether cuDNN's flash attention runs on this machine's cards: those since Ampere. Assumed of a named platform."""
    if _target.get() is not None:
        return True
    return all(float(getattr(device, "compute_capability", 0)) >= 8 for device in jax.local_devices())
