"""Temporal tokens: what a frame reads of the frame before it (paper, Section 3).

`ModelConfig.propagation` has three ways. They are equal in the first frame, where P is a copy of T.

"layer_aligned" is the paper's. Each frame has n temporal tokens T. At layer l, frame t reads the tokens P_l[t] =
T_l[max(t - 1, 0)], which are those of frame t - 1 *as they entered layer l*. Tokens are exchanged only between entries
to the same layer. With all frames of a clip at hand, layer l therefore runs on all T frames at once, with the tokens
shifted by one frame: the numbers of the frame-by-frame scan in a fraction of the time.

"deep_to_shallow" is ODTrack's (Zheng et al., 2024), to compare with. The tokens that *left* the last block of frame
t - 1 enter the first block of frame t as P, and go through all its blocks as tokens of their own. The most abstract
tokens meet the least abstract features, and a frame waits for the whole network to finish the last one.

"none" passes nothing on: every frame is a first frame.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from relo_jax.config.model_config import ModelConfig
from relo_jax.model import split


def carried_rows(config: ModelConfig) -> int:
    """How many sets of n tokens go from frame to frame: one a layer, or those that left the last layer."""
    return 1 if config.propagation == "deep_to_shallow" else config.depth


def previous_tokens(
    current: Float[Array, "B T n D"], carried: Float[Array, "B n D"], first: Bool[Array | np.ndarray, " B"]
) -> Float[Array, "B T n D"]:
    """The tokens of the previous frame, for every frame of a clip; no gradient flows back in time.

    Args:
      current: temporal tokens that enter this layer.
      carried: those of the frame before the clip.
      first: there was no frame before. P of frame 0 is then a second copy of T that stays equal to T at every layer,
        gradient included, so T itself stands in for it.
    """
    if split.devices(*current.shape[:2])[1] > 1:  # frame 0 is on one device only, and is not sent to the others
        own = jnp.where(first[:, None, None, None], current, carried[:, None])
        is_first = (jnp.arange(current.shape[1]) == 0)[:, None, None]
        return jnp.where(is_first, own, split.from_previous_frame(jax.lax.stop_gradient(current)))
    before = jnp.where(first[:, None, None], current[:, 0], carried)
    return jnp.concatenate([before[:, None], jax.lax.stop_gradient(current[:, :-1])], axis=1)
