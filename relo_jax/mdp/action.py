"""Actions: a cell of the H x W grid, drawn from a categorical policy, and the box that it stands for."""

import jax
import jax.numpy as jnp


def sample(key, logits):
    """Draws one action a frame. logits `[..., N]` -> actions `[...]` int32."""
    return jax.random.categorical(key, logits, axis=-1)


def sample_many(key, logits, count):
    """Draws K actions a frame, independent of each other. logits `[..., N]` -> actions `[K, ...]` int32."""
    return jax.random.categorical(key, logits, axis=-1, shape=(count, *logits.shape[:-1]))


def greedy(logits):
    """The most probable action. logits `[..., N]` -> actions `[...]` int32."""
    return jnp.argmax(logits, axis=-1)


def log_prob(logits, action):
    """log pi(a). logits `[..., N]`, action `[...]` -> `[...]`."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), action[..., None], axis=-1)[..., 0]


def entropy(logits):
    """Entropy of the policy in nats. logits `[..., N]` -> `[...]`."""
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def decode_boxes(size, offset, action):
    """The box at a cell: `cx = (j + offset_x) / W`, `cy = (i + offset_y) / H`, `w, h = size` (spec, "Heads").

    Args:
      size: `[..., H, W, 2]`, width and height relative to the crop.
      offset: `[..., H, W, 2]`, x and y in cells.
      action: `[...]` int, `i * W + j`.

    Returns:
      box_cxcywh_norm `[..., 4]`.
    """
    height, width = size.shape[-3:-1]
    at = lambda maps: jnp.take_along_axis(
        maps.reshape(*maps.shape[:-3], height * width, 2), action[..., None, None], axis=-2
    )[..., 0, :]
    return decode_box(at(size), at(offset), action, (height, width))


def decode_all(size, offset):
    """The boxes at all N = H x W cells. size, offset `[..., H, W, 2]` -> box_cxcywh_norm `[..., N, 4]`."""
    height, width = size.shape[-3:-1]
    flat = lambda maps: maps.reshape(*maps.shape[:-3], height * width, 2)
    cells = jnp.broadcast_to(jnp.arange(height * width), (*size.shape[:-3], height * width))
    return decode_box(flat(size), flat(offset), cells, (height, width))


def decode_box(size, offset, action, grid):
    """`decode_boxes` where the maps have been read already: size and offset are `[..., 2]`, grid is (H, W)."""
    height, width = grid
    corner = jnp.stack([action % width, action // width], axis=-1).astype(size.dtype)
    center = (corner + offset) / jnp.asarray([width, height], size.dtype)
    return jnp.concatenate([center, size], axis=-1)


def center_action(box_xywh, grid):
    """The cell that holds the centre of a box; centres outside the crop go to the nearest cell.

    Args:
      box_xywh: `[..., 4]`, relative to the crop.
      grid: H = W.

    Returns:
      `[...]` int32.
    """
    center = box_xywh[..., :2] + 0.5 * box_xywh[..., 2:]
    cell = jnp.clip(jnp.floor(center * grid), 0, grid - 1).astype(jnp.int32)
    return cell[..., 1] * grid + cell[..., 0]
