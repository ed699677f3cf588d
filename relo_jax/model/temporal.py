"""Temporal tokens: what a frame sees of the one before it (paper, Section 3; the released system, "Encoder", 8).

"layer_aligned" is the paper's. Each frame has n temporal tokens T. What frame t sees of frame t - 1 at layer l are that
frame's tokens *as they entered layer l*: P_l[t] = T_l[max(t - 1, 0)]. Only entries into the same layer are exchanged,
so with all frames of a clip at hand, layer l runs on all T frames at once and the tokens are shifted by one frame in
between: the numbers of the frame-by-frame scan, in a fraction of the time.

Two others are there to be compared with it. In the first frame, where P is a copy of T, all three are the same.

"deep_to_shallow" is ODTrack's way (Zheng et al., 2024): the tokens as they *left* the last block of frame t - 1 enter
the first block of frame t, as P, and go through all its blocks as tokens of their own. What is most abstract is handed
to where features are least so, and a frame waits for the whole network to be done with the last.

"none" hands on nothing: every frame is a first one.
"""

import jax
import jax.numpy as jnp

PROPAGATION = ("layer_aligned", "deep_to_shallow", "none")


def carried_rows(propagation, depth):
    """How many sets of n tokens go from frame to frame: one a layer, or what left the last layer."""
    return 1 if propagation == "deep_to_shallow" else depth


def previous_tokens(current, carried, first):
    """The tokens of the previous frame, for every frame of a clip; no gradient flows back in time.

    Args:
      current: `[B, T, n, D]`, temporal tokens that enter this layer.
      carried: `[B, n, D]`, the same of the frame before the clip.
      first: `[B]` bool: there was no frame before. Its P is a second copy of T which stays equal to T at every layer,
        gradient included, so T itself stands in for it.

    Returns:
      `[B, T, n, D]`.
    """
    before = jnp.where(first[:, None, None], current[:, 0], carried)
    return jnp.concatenate([before[:, None], jax.lax.stop_gradient(current[:, :-1])], axis=1)
