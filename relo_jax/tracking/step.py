"""The tracker's step, pure: a state and the next search crops in, the state and boxes out (the release, "Inference").

It works on batches: one video, many in lockstep, or a rollout under `lax.scan`. It knows crops only; the caller knows
where they lie in the image.

`localizer` names the map that says where the target is: "policy", the logits taught by reward; or "heatmap", the centre
map that a focal loss taught to look like a Gaussian at the target's centre, as in OSTrack (Ye et al., 2022).
"""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from relo_jax.config.model_config import ModelConfig
from relo_jax.mdp.action import decode_box, greedy
from relo_jax.model import RELO
from relo_jax.model.inference import FOLDED, Network
from relo_jax.tracking import confidence


class ModelState(flax.struct.PyTreeNode):
    """What B videos carry from frame to frame: K templates of M tokens, n temporal tokens of L layers."""

    templates: Float[Array, "B K*M D"]  # template tokens; slot 0 stays the first frame's
    tokens: Float[Array, "L B n D"]  # temporal tokens of the last frame
    first: Bool[Array, " B"]  # whether the next frame is the first one
    window: Float[Array, "B N"]  # multiplies the logits
    reference: Float[Array, "B D"]  # `appearance_at` of the first search frame; unused without score weights


class StepResult(flax.struct.PyTreeNode):
    """What the network says of one frame of B videos."""

    box_cxcywh_norm: Float[Array, "B 4"]  # relative to the search crop
    response: Float[Array, " B"]  # maximum of map times window; the option `update_threshold` compares with it
    score: Float[Array, " B"]  # in [0, 1], see `confidence`; with a heat map its value at the chosen cell
    evidence: Float[Array, "B 4"] | None  # see `confidence`; None without score weights
    scores: Float[Array, "B N"]  # logits of the policy, or the heat map, before the window


def hann_window(grid: int, power: float) -> Float[np.ndarray, " N"]:
    """The prior of the target's place: `hann^power` over the cells, highest in the middle.

    Args:
      grid: H = W; N = H * W.
      power: 0 is no prior.
    """
    hann = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, grid + 1) / (grid + 1)))
    return (np.outer(hann, hann) ** power).astype(np.float32).ravel()


def init_state(
    model: RELO,
    variables: dict,
    template_crops: UInt8[Array | np.ndarray, "B s s 3"],
    template_boxes_xywh_norm: Float[Array | np.ndarray, "B 4"],
    window_power: float,
) -> ModelState:
    """The state before the first search frame.

    Args:
      model: the network.
      variables: its variables.
      template_crops: the initial template; it is repeated to fill the slots.
      template_boxes_xywh_norm: the target in it.
      window_power: see `hann_window`.
    """
    batch = template_crops.shape[0]
    template = _encode_template(model, variables, template_crops, template_boxes_xywh_norm)
    return ModelState(
        templates=jnp.tile(template, (1, model.config.templates, 1)),
        tokens=model.initial_tokens(batch),
        first=jnp.ones(batch, bool),
        window=jnp.broadcast_to(hann_window(model.config.grid, window_power), (batch, model.config.grid**2)),
        reference=jnp.zeros((batch, model.config.width)),
    )


def step(
    model: RELO, variables: dict, state: ModelState, crops: UInt8[Array | np.ndarray, "B S S 3"]
) -> tuple[ModelState, StepResult]:
    """One frame: the greedy action under the window, and the box at that cell.

    Computes only the localisation map, the box at the chosen cell and, if calibrated, the value.

    Args:
      model: the network.
      variables: its variables, see `confidence.with_weights`.
      state: of the last frame.
      crops: search regions around the last boxes.
    """

    def localise(module: RELO | Network) -> tuple[jax.Array, jax.Array, StepResult]:
        features, tokens = module.frame(state.templates, jnp.asarray(crops), state.tokens, state.first)
        is_heatmap = module.config.localizer == "heatmap"
        scores = module.center(features).reshape(state.window.shape) if is_heatmap else module.policy_logits(features)
        response = state.window * scores
        action = greedy(response)
        box = decode_box(*module.box_at(features, action), action, (module.config.grid, module.config.grid))
        if is_heatmap:
            height = jnp.take_along_axis(scores, action[:, None], axis=1)[:, 0]
            return tokens, state.reference, StepResult(box, response.max(-1), height, None, scores)
        if not confidence.is_enabled(variables):
            local = confidence.local_probability(scores, action, module.config.grid)
            return tokens, state.reference, StepResult(box, response.max(-1), local, None, scores)
        reference = jnp.where(state.first[:, None], confidence.appearance_at(features, action), state.reference)
        value = module.value(features)
        evidence = confidence.gather(scores, value, features, reference, box, action, module.config.grid)
        probability = confidence.probability(evidence, variables)
        return tokens, reference, StepResult(box, response.max(-1), probability, evidence, scores)

    tokens, reference, result = _on_network(model, variables, localise)
    state = state.replace(tokens=tokens, first=jnp.zeros_like(state.first), reference=reference)
    return state, result


def policy_of(scores: Float[Array, "B N"], config: ModelConfig) -> Float[Array, "B H W"]:
    """What `StepResult.scores` say as probabilities: the policy, or the heat map scaled to a sum of 1."""
    is_heatmap = config.localizer == "heatmap"
    policy = scores / scores.sum(-1, keepdims=True) if is_heatmap else jax.nn.softmax(scores, axis=-1)
    return policy.reshape(-1, config.grid, config.grid)


def read_policy(
    model: RELO,
    variables: dict,
    state: ModelState,
    crops: UInt8[Array | np.ndarray, "B S S 3"],
    with_value: bool = True,
) -> tuple[Float[Array, "B N"], Float[Array, " B"] | None]:
    """What `step` sees before it chooses: the logits over all cells, and the value. The state stays as it is.

    Args:
      model, variables, state, crops: see `step`.
      with_value: whether to compute the value.

    Returns:
      logits before the window (log of the centre map, with the "heatmap" localizer); value, or None.
    """

    def read(module: RELO | Network) -> tuple[jax.Array, jax.Array | None]:
        features, _ = module.frame(state.templates, jnp.asarray(crops), state.tokens, state.first)
        if module.config.localizer == "heatmap":
            logits = jnp.log(module.center(features).reshape(state.window.shape))
        else:
            logits = module.policy_logits(features)
        return logits, module.value(features) if with_value else None

    return _on_network(model, variables, read)


def replace_template(
    model: RELO,
    variables: dict,
    state: ModelState,
    template_crops: UInt8[Array | np.ndarray, "B s s 3"],
    template_boxes_xywh_norm: Float[Array | np.ndarray, "B 4"],
) -> ModelState:
    """Puts a later view of the target into the second of two slots; arguments as in `init_state`."""
    template = _encode_template(model, variables, template_crops, template_boxes_xywh_norm)
    templates = jnp.concatenate([state.templates[:, : template.shape[1]], template], axis=1)
    return state.replace(templates=templates)


def _encode_template(
    model: RELO, variables: dict, crops: Array | np.ndarray, boxes_xywh_norm: Array | np.ndarray
) -> Array:
    encode = lambda network: network.encode_templates(crops[:, None], boxes_xywh_norm[:, None])
    return _on_network(model, variables, encode)


def _on_network(model: RELO, variables: dict, function: Callable[[Any], Any]) -> Any:
    """What a function of the network returns, with the variables in either form."""
    if FOLDED in variables:
        return function(Network(model.config, variables[FOLDED]))
    return model.apply(variables, method=function)
