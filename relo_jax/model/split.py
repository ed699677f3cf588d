"""Clips on several devices: how B x T frames are laid out, and what the devices of a clip exchange.

The mesh has two axes. `data` splits the clips of a batch, `frames` the frames of a clip. A frame needs nothing of the
others but the temporal tokens of its predecessor, so all layers work on B x T frames in a row, and a device keeps its
own. Without a mesh, or with whole clips on each device, everything here is a plain reshape.
"""

import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Shaped

DATA, FRAMES = "data", "frames"


def devices(batch: int, frames: int) -> tuple[int, int]:
    """Over how many devices B clips and their T frames are split; 1, 1 if the mesh does not divide them evenly."""
    sizes = _mesh()
    return (1, 1) if batch % sizes[0] or frames % sizes[1] else sizes


def flatten(x: Shaped[Array, "B T ..."]) -> Shaped[Array, "F ..."]:
    """All frames in a row, F = B x T. Those of a device stay together, so that no data move: see `unflatten`."""
    batch, frames = x.shape[:2]
    by_data, by_frames = devices(batch, frames)
    if by_frames > 1:
        parts = x.reshape(by_data, batch // by_data, by_frames, frames // by_frames, *x.shape[2:])
        x = parts.swapaxes(1, 2)
    return x.reshape(batch * frames, *x.shape[4 if by_frames > 1 else 2 :])


def unflatten(x: Shaped[Array, "F ..."], batch: int) -> Shaped[Array, "{batch} T ..."]:
    """The inverse of `flatten`."""
    frames = x.shape[0] // batch
    by_data, by_frames = devices(batch, frames)
    if by_frames > 1:
        parts = x.reshape(by_data, by_frames, batch // by_data, frames // by_frames, *x.shape[1:])
        x = parts.swapaxes(1, 2)
    return x.reshape(batch, frames, *x.shape[4 if by_frames > 1 else 1 :])


def from_previous_frame(x: Shaped[Array, "B T ..."]) -> Shaped[Array, "B T ..."]:
    """`x[:, t - 1]` for frame t. What frame 0 gets is not defined.

    Where the frames of a clip are split, a device sends its last frame to the next one, and nothing else.
    """
    _, by_frames = devices(*x.shape[:2])
    if by_frames == 1:
        return jnp.roll(x, 1, axis=1)

    def shift(own):
        neighbours = [(device, device + 1) for device in range(by_frames - 1)]
        received = jax.lax.ppermute(own[:, -1:], FRAMES, neighbours)
        return jnp.concatenate([received, own[:, :-1]], axis=1)

    spec = PartitionSpec(DATA, FRAMES)
    return jax.shard_map(shift, in_specs=spec, out_specs=spec)(x)


def sharing(count: int) -> int:
    """The number of devices that F frames are split over; 1 if it does not divide F."""
    size = math.prod(_mesh())
    return 1 if count % size else size


def _mesh():
    """The sizes of the axes of the mesh that is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return (1, 1) if mesh.empty else (mesh.shape.get(DATA, 1), mesh.shape.get(FRAMES, 1))
