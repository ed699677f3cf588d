"""Actions: a cell of the H x W grid, drawn from a categorical policy, and the box that it stands for."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Integer, PRNGKeyArray

Logits = Float[Array, "*batch N"]
Maps = Float[Array, "*batch H W 2"]


def sample(key: PRNGKeyArray, logits: Logits) -> Int32[Array, "*batch"]:
    """Draws one action a frame."""
    return jax.random.categorical(key, logits, axis=-1)


def sample_many(key: PRNGKeyArray, logits: Logits, count: int) -> Int32[Array, " K *batch"]:
    """Draws K = `count` independent actions a frame."""
    return jax.random.categorical(key, logits, axis=-1, shape=(count, *logits.shape[:-1]))


def greedy(logits: Logits) -> Int32[Array, "*batch"]:
    """The most probable action."""
    return jnp.argmax(logits, axis=-1)


def log_prob(logits: Logits, action: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """log pi(a)."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), action[..., None], axis=-1)[..., 0]


def entropy(logits: Logits) -> Float[Array, "*batch"]:
    """Entropy of the policy in nats."""
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def decode_boxes(size: Maps, offset: Maps, action: Integer[Array, "*batch"]) -> Float[Array, "*batch 4"]:
    """The box at a cell, as in the release: `cx = (j + offset_x) / W`, `cy = (i + offset_y) / H`, `w, h = size`.

    Args:
      size: width and height relative to the crop.
      offset: x and y in cells.
      action: `i * W + j`.

    Returns:
      box_cxcywh_norm.
    """
    height, width = size.shape[-3:-1]
    at = lambda maps: jnp.take_along_axis(
        maps.reshape(*maps.shape[:-3], height * width, 2), action[..., None, None], axis=-2
    )[..., 0, :]
    return decode_box(at(size), at(offset), action, (height, width))


def decode_all(size: Maps, offset: Maps) -> Float[Array, "*batch N 4"]:
    """The boxes at all N = H x W cells, box_cxcywh_norm; see `decode_boxes`."""
    height, width = size.shape[-3:-1]
    flat = lambda maps: maps.reshape(*maps.shape[:-3], height * width, 2)
    cells = jnp.broadcast_to(jnp.arange(height * width), (*size.shape[:-3], height * width))
    return decode_box(flat(size), flat(offset), cells, (height, width))


def decode_box(
    size: Float[Array, "*batch 2"], offset: Float[Array, "*batch 2"], action: Integer[Array, "*batch"],
    grid: tuple[int, int],
) -> Float[Array, "*batch 4"]:  # fmt: skip
    """`decode_boxes` where size and offset were already read from the maps at `action`; `grid` is (H, W)."""
    height, width = grid
    corner = jnp.stack([action % width, action // width], axis=-1).astype(size.dtype)
    center = (corner + offset) / jnp.asarray([width, height], size.dtype)
    return jnp.concatenate([center, size], axis=-1)


def center_action(box_xywh: Float[Array, "*batch 4"], grid: int) -> Int32[Array, "*batch"]:
    """The cell that holds the centre of a box; a centre outside the crop goes to the nearest cell.

    Args:
      box_xywh: relative to the crop.
      grid: H = W.
    """
    center = box_xywh[..., :2] + 0.5 * box_xywh[..., 2:]
    cell = jnp.clip(jnp.floor(center * grid), 0, grid - 1).astype(jnp.int32)
    return cell[..., 1] * grid + cell[..., 0]
