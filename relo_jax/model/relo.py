"""RELO: encoder and heads put together (paper, Figure 2).

model = RELO.from_variant("t256")
variables = init_variables(model, jax.random.key(0))
templates = model.apply(variables, images, boxes, method="encode_templates")      # once a video
features, tokens = model.apply(variables, templates, crop, tokens, first, method="frame")
logits = model.apply(variables, features, method="policy_logits")                 # where
size, offset = model.apply(variables, features, method="boxes")                   # how large
"""

from collections.abc import Collection, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

from relo_jax.config.model_config import ModelConfig
from relo_jax.model import variants
from relo_jax.model.fast_itpn import Encoder
from relo_jax.model.heads import MapHead, RegressionHead, ValueHead, as_map, of_frames
from relo_jax.model.temporal import carried_rows


@flax.struct.dataclass
class ClipOutput:
    """The network's outputs for the T search frames of B clips."""

    features: Float[Array, "B T N D"]  # after the last norm
    policy_logits: Float[Array, "B T N"]
    value: Float[Array, "B T"]
    size: Float[Array, "B T H W 2"]  # relative to the crop
    offset: Float[Array, "B T H W 2"]  # in cells
    tokens: Float[Array | np.ndarray, "L B T n D"]  # temporal tokens that enter each block (see `Encoder`)
    center: Float[Array, "B T H W"] | None = None  # the release's centre map


class RELO(nn.Module):
    """The tracker's network. Build it with `RELO.from_variant` or `RELO.from_config`."""

    config: ModelConfig

    @classmethod
    def from_variant(cls, variant: str, **overrides) -> "RELO":
        """The model of that name in `VARIANTS`, with fields of its `ModelConfig` replaced.

        Raises:
          UserError: unknown variant or field (names the nearest), or a value of which no network can be built.
        """
        return cls(variants.variant_config(variant, **overrides))

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> "RELO":
        """The model of a config's section "model": a variant, and values that replace its own unless they are None."""
        return cls.from_variant(**{name: value for name, value in section.items() if value is not None})

    def setup(self) -> None:
        self.encoder = Encoder(self.config)
        self.regression = RegressionHead(self.config)
        self.policy = MapHead(self.config)
        self.value_head = ValueHead(self.config, name="value")

    def encode_templates(
        self,
        template_images: Real[Array | np.ndarray, "B K s s 3"],
        template_boxes_xywh_norm: Float[Array | np.ndarray, "B K 4"],
        train: bool = False,
    ) -> Float[Array, "B M D"]:
        """The tokens of all templates; see `Encoder`."""
        return self.encoder.encode_templates(template_images, template_boxes_xywh_norm, train)

    def initial_tokens(self, batch: int) -> Float[Array, "L B n D"]:
        """Zeros in place of the tokens of a frame before the first (L is 1 with "deep_to_shallow", see `Encoder`)."""
        config = self.config
        return jnp.zeros((carried_rows(config), batch, config.temporal_tokens, config.width), config.dtype)

    def encode_clip(
        self,
        templates: Float[Array | np.ndarray, "B M D"],
        search: Real[Array | np.ndarray, "B T S S 3"],
        train: bool = False,
        no_gradient: bool = False,
    ) -> tuple[Float[Array, "B T N D"], Float[Array, "L B T n D"]]:
        """Features and temporal tokens of all frames of clips, each from its beginning.

        Args:
          templates, search, train: as of `clip`.
          no_gradient: no gradient is taken, so that the last block may compute only what the heads read.
        """
        batch = search.shape[0]
        return self.encoder(templates, search, self.initial_tokens(batch), jnp.ones(batch, bool), train, no_gradient)

    def frame(
        self,
        templates: Float[Array | np.ndarray, "B M D"],
        search: Real[Array | np.ndarray, "B S S 3"],
        tokens: Float[Array | np.ndarray, "L B n D"],
        first: Bool[Array | np.ndarray, " B"],
        train: bool = False,
    ) -> tuple[Float[Array, "B N D"], Float[Array, "L B n D"]]:
        """One frame, given the last one's tokens: the tracker's step and the body of a `lax.scan`. Has no gradient.

        Args:
          templates: from `encode_templates`.
          search: search crop, uint8 RGB or normalised float.
          tokens: those that `frame` returned for the last frame; not read where `first` is true.
          first: true where there was no last frame.
          train: whether drop path is active.

        Returns:
          The frame's features and its temporal tokens.
        """
        features, tokens = self.encoder(templates, search[:, None], tokens, first, train, no_gradient=True)
        return features[:, 0], tokens[:, :, 0]

    def policy_logits(self, features: Float[Array, "*frames N D"], train: bool = False) -> Float[Array, "*frames N"]:
        """Logits of the categorical policy over the cells."""
        return of_frames(self.policy(as_map(features), train), features).reshape(features.shape[:-1])

    def value(self, features: Float[Array, "*frames N D"], train: bool = False) -> Float[Array, "*frames"]:
        """The expected reward of each frame."""
        return of_frames(self.value_head(as_map(features), train), features)

    def boxes(
        self, features: Float[Array, "*frames N D"], train: bool = False
    ) -> tuple[Float[Array, "*frames H W 2"], Float[Array, "*frames H W 2"]]:
        """(size, offset) of a box for every cell: size relative to the crop, offset in cells."""
        size, offset = self.regression.boxes(as_map(features), train)
        return of_frames(size, features), of_frames(offset, features)

    def box_at(
        self, features: Float[Array, "B N D"], action: Int[Array, " B"]
    ) -> tuple[Float[Array, "B 2"], Float[Array, "B 2"]]:
        """`boxes` at one cell of each frame."""
        return self.regression.box_at(as_map(features), action)

    def center(self, features: Float[Array, "*frames N D"], train: bool = False) -> Float[Array, "*frames H W"]:
        """The release's centre map, in (0, 1)."""
        return of_frames(self.regression.centers(as_map(features), train), features)

    def clip(
        self,
        templates: Float[Array | np.ndarray, "B M D"],
        search: Real[Array | np.ndarray, "B T S S 3"],
        *,
        with_center: bool = False,
        train: bool = False,
        train_heads: Collection[str] = (),
    ) -> ClipOutput:
        """All frames of clips at once, with every head on the gathered features.

        Args:
          templates: from `encode_templates`.
          search: search crops, uint8 RGB or normalised float.
          with_center: whether to compute the release's centre map too.
          train: whether drop path is active in the encoder (needs the rng `drop_path`).
          train_heads: which of "regression", "policy" and "value" use batch statistics (and move the running ones:
            `batch_stats` must be mutable).
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

    def heads(
        self, features: Float[Array, "*frames N D"]
    ) -> tuple[Float[Array, "*frames N"], Float[Array, "*frames"], Any, Float[Array, "*frames H W"]]:
        """What every head says of features: policy logits, value, boxes, centre map; `init` traces it."""
        return self.policy_logits(features), self.value(features), self.boxes(features), self.center(features)

    def __call__(
        self,
        template_images: Real[Array | np.ndarray, "B K s s 3"],
        template_boxes_xywh_norm: Float[Array | np.ndarray, "B K 4"],
        search: Real[Array | np.ndarray, "B T S S 3"],
    ) -> ClipOutput:
        """Runs the whole network; `init` traces it."""
        templates = self.encode_templates(template_images, template_boxes_xywh_norm)
        return self.clip(templates, search, with_center=True)
