"""RELO: encoder and heads put together (paper, Figure 2).

model = RELO.from_variant("t256")
variables = init_variables(model, jax.random.key(0))
templates = model.apply(variables, images, boxes, method="encode_templates")      # once a video
features, tokens = model.apply(variables, templates, crop, tokens, first, method="frame")
logits = model.apply(variables, features, method="policy_logits")                 # where
size, offset = model.apply(variables, features, method="boxes")                   # how large
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from relo_jax.model import variants
from relo_jax.model.fast_itpn import STRIDE, Encoder
from relo_jax.model.heads import MapHead, RegressionHead, ValueHead, as_map
from relo_jax.model.temporal import carried_rows


@flax.struct.dataclass
class ClipOutput:
    """What the model says of the T search frames of B clips."""

    features: jax.Array  # [B, T, N, D], after the last norm
    policy_logits: jax.Array  # [B, T, N]
    value: jax.Array  # [B, T]
    size: jax.Array  # [B, T, H, W, 2], of the crop
    offset: jax.Array  # [B, T, H, W, 2], in cells
    tokens: jax.Array  # [L, B, T, n, D], temporal tokens that enter each block (see `Encoder`)
    center: jax.Array | None = None  # [B, T, H, W], the release's centre map


class RELO(nn.Module):
    """The tracker's network. Build it with `RELO.from_variant`.

    Attributes:
      variant: name in the table it was built from.
      width: D, width of the main blocks.
      stem_blocks: number of convolutional blocks in stage 1 and stage 2.
      depth: L, number of main blocks.
      heads: attention heads.
      temporal_tokens: n, tokens passed from frame to frame.
      templates: K, template slots.
      search_size, template_size: sides of the crops, pixels.
      head_width: c, width of the first convolution of each head.
      drop_path: stochastic depth of the last block; it rises linearly from 0.
      layer_scale: initial value of g1 and g2.
      init_scheme: "release", or "similarity" for training from nothing; see `init_variables`.
      remat: recompute each main block in the backward pass instead of storing its activations.
      remat_policy: what of a block is stored all the same: "nothing", or with "dots" the outputs of its linear layers,
        so that little but attention and norms is computed twice.
      dtype: compute dtype of encoder and towers; parameters, softmax, norms and outputs are float32.
      propagation: how temporal tokens go from frame to frame: "layer_aligned", "deep_to_shallow" or "none"; see
        `temporal.py`.
      localizer: which map says where at test time, "policy" or "heatmap"; see `step.py`.
    """

    variant: str
    width: int
    stem_blocks: tuple[int, int]
    depth: int
    heads: int
    temporal_tokens: int
    templates: int
    search_size: int
    template_size: int
    head_width: int
    drop_path: float = 0.1
    layer_scale: float = 0.1
    init_scheme: str = "release"
    remat: bool = False
    remat_policy: str = "nothing"
    dtype: str = "float32"
    propagation: str = "layer_aligned"
    localizer: str = "policy"

    @classmethod
    def from_variant(cls, variant, **overrides):
        """The model of that name in `VARIANTS`, with fields replaced.

        Raises:
          UserError: unknown variant or field; the nearest known name is given.
        """
        return cls(variant=variant, **variants.variant_fields(variant, overrides))

    @property
    def grid(self):
        """H = W, cells along each side of the search region."""
        return self.search_size // STRIDE

    def setup(self):
        self.encoder = Encoder(
            self.width, self.stem_blocks, self.depth, self.heads, self.temporal_tokens, self.search_size,
            self.template_size, self.drop_path, self.layer_scale, self.remat, self.remat_policy, self.dtype,
            self.propagation,
        )  # fmt: skip
        self.regression = RegressionHead(self.head_width, self.dtype)
        self.policy = MapHead(self.head_width, self.dtype, 1)
        self.value_head = ValueHead(self.head_width, self.dtype, name="value")

    def encode_templates(self, template_images, template_boxes_xywh_norm, train=False):
        """`[B, K, s, s, 3]`, `[B, K, 4]` -> template tokens `[B, K * (s/16)^2, D]`; see `Encoder`."""
        return self.encoder.encode_templates(template_images, template_boxes_xywh_norm, train)

    def initial_tokens(self, batch):
        """Zeros `[L, B, n, D]` (`[1, B, n, D]`, see `Encoder`) to begin with; never looked at where `first` is true."""
        rows = carried_rows(self.propagation, self.depth)
        return jnp.zeros((rows, batch, self.temporal_tokens, self.width), self.dtype)

    def encode_clip(self, templates, search, train=False, no_gradient=False):
        """All frames of clips, each from its beginning.

        Args:
          templates, search, train: as of `clip`.
          no_gradient: nobody asks for one; the last block then computes no more than the heads read.

        Returns:
          features `[B, T, N, D]`, tokens `[L, B, T, n, D]`.
        """
        batch = search.shape[0]
        return self.encoder(templates, search, self.initial_tokens(batch), jnp.ones(batch, bool), train, no_gradient)

    def frame(self, templates, search, tokens, first, train=False):
        """One frame, given the tokens of the last: the body of a `lax.scan`, and the tracker's step. Not for gradients.

        Args:
          templates: `[B, K * Nt, D]` of `encode_templates`.
          search: `[B, S, S, 3]`, uint8 RGB or normalised float.
          tokens: `[L, B, n, D]` that entered each block in the last frame, as it returned them.
          first: `[B]` bool, true where there was no last frame.
          train: whether drop path is active.

        Returns:
          features `[B, N, D]`, tokens `[L, B, n, D]`.
        """
        features, tokens = self.encoder(templates, search[:, None], tokens, first, train, no_gradient=True)
        return features[:, 0], tokens[:, :, 0]

    def policy_logits(self, features, train=False):
        """`[..., N, D]` -> logits of the categorical policy over the cells `[..., N]`."""
        return self.policy(as_map(features), train).reshape(features.shape[:-1])

    def value(self, features, train=False):
        """`[..., N, D]` -> expected reward `[...]`."""
        return self.value_head(as_map(features), train).reshape(features.shape[:-2])

    def boxes(self, features, train=False):
        """`[..., N, D]` -> size `[..., H, W, 2]`, offset `[..., H, W, 2]`."""
        shape = (*features.shape[:-2], self.grid, self.grid, 2)
        return tuple(y.reshape(shape) for y in self.regression.boxes(as_map(features), train))

    def box_at(self, features, action):
        """`boxes` at one cell alone: features `[B, N, D]`, action `[B]` -> size `[B, 2]`, offset `[B, 2]`."""
        return self.regression.box_at(as_map(features), action)

    def center(self, features, train=False):
        """`[..., N, D]` -> the release's centre map `[..., H, W]`, in (0, 1)."""
        return self.regression.centers(as_map(features), train).reshape(*features.shape[:-2], self.grid, self.grid)

    def clip(self, templates, search, *, with_center=False, train=False, train_heads=()):
        """All frames of clips at once, with every head on the gathered features.

        Args:
          templates: `[B, K * Nt, D]` of `encode_templates`.
          search: `[B, T, S, S, 3]`, uint8 RGB or normalised float.
          with_center: whether to compute the release's centre map too.
          train: whether drop path is active in the encoder (needs the rng `drop_path`).
          train_heads: which of "regression", "policy" and "value" use batch statistics (and move the running ones:
            `batch_stats` must be mutable).

        Returns:
          ClipOutput.
        """
        features, tokens = self.encode_clip(templates, search, train)
        size, offset = self.boxes(features, "regression" in train_heads)
        return ClipOutput(
            features=features,
            policy_logits=self.policy_logits(features, "policy" in train_heads),
            value=self.value(features, "value" in train_heads),
            size=size,
            offset=offset,
            tokens=tokens,
            center=self.center(features, "regression" in train_heads) if with_center else None,
        )

    def __call__(self, template_images, template_boxes_xywh_norm, search):
        """Templates and clips through everything there is; what `init` traces."""
        templates = self.encode_templates(template_images, template_boxes_xywh_norm)
        return self.clip(templates, search, with_center=True)


def init_variables(model, key):
    """Fresh variables, `{"params", "batch_stats"}`, float32. No data is needed; compiled, since eager is slow.

    With `model.init_scheme == "similarity"` attention starts as a comparison: see `_compare_at_first`.
    """

    def init(key):
        s, t, k = model.search_size, model.template_size, model.templates
        templates, boxes = jnp.zeros((1, k, t, t, 3)), jnp.zeros((1, k, 4))
        variables = model.init(key, templates, boxes, jnp.zeros((1, 1, s, s, 3)))
        if model.init_scheme == "similarity":
            variables["params"]["encoder"] = _compare_at_first(variables["params"]["encoder"], key)
        return variables

    return jax.jit(init)(key)


def _compare_at_first(encoder, key):
    """Makes every head of every block begin as a matcher: what looks alike attends to each other.

    Trained from nothing, attention takes very long to discover that comparing template and search region pays. With
    query and key projections that start equal, and wide enough for logits of a few units, a search token begins
    by attending to template tokens that look like it; and with token types that differ from the start, what it reads
    there is whether that was target or background. Nothing is tied: training may undo all of it.
    """
    keys = jax.random.split(key, 4)
    attention = encoder["blocks"]["attn"]
    shape = attention["q_proj"]["kernel"].shape
    kernel = jax.random.normal(keys[0], shape) * shape[-1] ** -0.5
    attention["q_proj"]["kernel"] = attention["k_proj"]["kernel"] = kernel
    types = "template_foreground_token", "template_background_token", "search_token"
    for name, k in zip(types, keys[1:], strict=True):
        encoder[name] = 0.3 * jax.random.normal(k, encoder[name].shape)
    return encoder
