"""The tracker's step, pure: a state and the next search crops in, the state and boxes out (the released system,
"Inference").

Over batches, so that it serves one video, many in lockstep, or a rollout under `lax.scan`. It knows crops only; where
they lie in the image is the caller's business.

Where the target is says the map that `model.localizer` names: "policy", the logits that reward taught; or "heatmap",
the centre map that a focal loss taught to look like a Gaussian on the target's centre, as OSTrack and its descendants
do (Ye et al., 2022). All else is the same for both.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.mdp.action import decode_box, greedy
from relo_jax.tracking import confidence


@flax.struct.dataclass
class ModelState:
    """What B videos carry from frame to frame."""

    templates: jax.Array  # [B, K * Nt, D], template tokens; slot 0 is the first frame's for ever
    tokens: jax.Array  # [L, B, n, D], temporal tokens of the last frame
    first: jax.Array  # [B] bool, no frame was seen yet
    window: jax.Array  # [B, N], what multiplies the logits
    reference: jax.Array  # [B, D], what the first search frame's answer looked like; unused where uncalibrated


@flax.struct.dataclass
class StepResult:
    """What the network says of one frame of B videos."""

    box_cxcywh_norm: jax.Array  # [B, 4], relative to the search crop
    response: jax.Array  # [B], largest of map times window; what `update_threshold` is compared with
    # [B] in [0, 1], see `relo_jax.tracking.confidence`; with a heat map its value at the chosen cell
    score: jax.Array
    evidence: jax.Array | None  # [B, 4], see `relo_jax.tracking.confidence`; None where uncalibrated


def hann_window(grid, power):
    """The prior on where the target is: `hann^k` over the cells, highest in the middle.

    Args:
      grid: H = W.
      power: k; 0 is no prior.

    Returns:
      float32 `[H * W]`.
    """
    hann = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, grid + 1) / (grid + 1)))
    return (np.outer(hann, hann) ** power).astype(np.float32).ravel()


def init_state(model, variables, template_crops, template_boxes_xywh_norm, window_power):
    """The state before the first search frame.

    Args:
      model: `RELO`.
      variables: its variables.
      template_crops: uint8 `[B, s, s, 3]`, the initial template; it is repeated to fill the slots.
      template_boxes_xywh_norm: `[B, 4]`, the target in them.
      window_power: k of `hann_window`.

    Returns:
      ModelState.
    """
    batch = template_crops.shape[0]
    template = _encode_template(model, variables, template_crops, template_boxes_xywh_norm)
    return ModelState(
        templates=jnp.tile(template, (1, model.templates, 1)),
        tokens=model.initial_tokens(batch),
        first=jnp.ones(batch, bool),
        window=jnp.broadcast_to(hann_window(model.grid, window_power), (batch, model.grid**2)),
        reference=jnp.zeros((batch, model.width)),
    )


def step(model, variables, state, crops):
    """One frame: greedy action under the window, and the box at that cell.

    Of the heads no more is computed than that takes: one map that says where, no box elsewhere, and the value only
    where the variables have the score's weights (`score.with_weights`).

    Args:
      model: `RELO`.
      variables: its variables.
      state: ModelState.
      crops: uint8 `[B, S, S, 3]`, search crops around the last boxes.

    Returns:
      (ModelState, StepResult).
    """

    def look(module):
        features, tokens = module.frame(state.templates, crops, state.tokens, state.first)
        heatmap = module.localizer == "heatmap"
        where = module.center(features).reshape(state.window.shape) if heatmap else module.policy_logits(features)
        response = state.window * where
        action = greedy(response)
        box = decode_box(*module.box_at(features, action), action, (module.grid, module.grid))
        if heatmap:
            height = jnp.take_along_axis(where, action[:, None], axis=1)[:, 0]
            return tokens, state.reference, StepResult(box, response.max(-1), height, None)
        if not confidence.is_enabled(variables):
            mass = confidence.local_probability(where, action, module.grid)
            return tokens, state.reference, StepResult(box, response.max(-1), mass, None)
        reference = jnp.where(state.first[:, None], confidence.appearance_at(features, action), state.reference)
        value = module.value(features)
        evidence = confidence.gather(where, value, features, reference, box, action, module.grid)
        probability = confidence.probability(evidence, variables)
        return tokens, reference, StepResult(box, response.max(-1), probability, evidence)

    tokens, reference, result = model.apply(variables, method=look)
    state = state.replace(tokens=tokens, first=jnp.zeros_like(state.first), reference=reference)
    return state, result


def replace_template(model, variables, state, template_crops, template_boxes_xywh_norm):
    """Puts a later view of the target into the second of two slots; arguments as in `init_state`, returns ModelState."""
    template = _encode_template(model, variables, template_crops, template_boxes_xywh_norm)
    templates = jnp.concatenate([state.templates[:, : template.shape[1]], template], axis=1)
    return state.replace(templates=templates)


def _encode_template(model, variables, crops, boxes_xywh_norm):
    return model.apply(variables, crops[:, None], boxes_xywh_norm[:, None], method="encode_templates")
