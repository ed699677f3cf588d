"""What a clip shows: which frames of a sequence, cut around which boxes, varied how (spec "Training data").

Nothing is read here. A plan is a pure function of a sequence's boxes and of one random generator, and the generator is
keyed by (seed, index of the clip, attempt), so neither threads, processes, hosts nor restarts change what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.sequence import Sequence
from relo_jax.geometry.crop import SEARCH_FACTOR, TEMPLATE_FACTOR

CANVAS_FACTOR = 2 * SEARCH_FACTOR  # of closed-loop rollouts; canvases have twice the pixels too
MIN_LENGTH = 20  # frames, of an eligible sequence
JITTER_TRIES = 10
_ON_CANVAS = 0.99  # of a canvas, the largest first region: both are rounded


@dataclass(frozen=True)
class ClosedLoopPlan:
    """What a closed-loop rollout needs beside its canvases.

    start_xywh: float64 [4], what the first region is cut around. flip: bool [T], whether the network sees a frame
    mirrored; canvases never are, so that boxes stay where they are from frame to frame.
    """

    start_xywh: np.ndarray
    flip: np.ndarray


@dataclass(frozen=True)
class Plan:
    """What a clip shows, templates first. One row for each of its K + T crops.

    frames: int64, of the sequence. boxes_xywh, crop_center_xywh: float64 [K + T, 4], the target's and those that the crops
    are cut around. factor: side of the crop over that of the box; size: of the crop, pixels. grey, flip: bool.
    brightness: factor of the pixel values. templates: K. world: of closed-loop rollouts, whose search crops are
    canvases; None where they are search regions.
    """

    frames: np.ndarray
    boxes_xywh: np.ndarray
    crop_center_xywh: np.ndarray
    factor: np.ndarray
    size: np.ndarray
    grey: bool
    flip: np.ndarray
    brightness: np.ndarray
    templates: int
    world: ClosedLoopPlan | None = None


def clip_rng(seed: int, index: int, attempt: int = 0) -> np.random.Generator:
    """The random numbers of one clip; `attempt` counts the clips that failed in its place."""
    key = (seed, index, attempt) if attempt else (seed, index)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def eligible(lengths: np.ndarray, visible: np.ndarray, stills: np.ndarray, count: int) -> np.ndarray:
    """Whether clips of `count` frames may be drawn: 20 frames and more than 2 `count` visible ones, or a still image.

    Args:
      lengths, visible, stills: of one sequence or of many: frames, visible frames, whether it is one repeated image.
    """
    return np.where(stills, visible > 0, (lengths >= MIN_LENGTH) & (visible > 2 * count))


def sample_order(rng: np.random.Generator, visible: np.ndarray, count: int, max_gap: int) -> np.ndarray:
    """`count` frame indices in order of time, or (p = 0.5) in reverse.

    A visible base frame is drawn, then frames with replacement from the visible ones within `max_gap` of it. The
    release grows its window until one is found; the base itself is always in it, so it never has to.
    """
    candidates = np.flatnonzero(visible)
    base = candidates[rng.integers(len(candidates))]
    near = candidates[(candidates >= base - max_gap) & (candidates <= base + max_gap)]
    picked = np.sort(near[rng.integers(len(near), size=count)])
    return picked[::-1] if rng.random() < 0.5 else picked


def jitter_box(rng: np.random.Generator, box_xywh: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """The box that a search crop is cut around: size * exp(N(0, scale^2)) a side, centre + sqrt(w h) shift (U - 0.5).

    Drawn again (at most 10 times) while the target's centre falls outside the crop, then held at its border; with the
    released shift of 3.5 and a crop of 4 it never does.
    """
    size = box_xywh[2:]
    for _ in range(JITTER_TRIES):
        new_size = size * np.exp(rng.normal(0, scale, 2)) if scale else size
        side = np.sqrt(np.prod(new_size))
        move, limit = side * shift * (rng.random(2) - 0.5), SEARCH_FACTOR / 2 * side
        if np.all(np.abs(move) < limit):
            break
    center = box_xywh[:2] + size / 2 + np.clip(move, -limit, limit)
    return np.concatenate([center - new_size / 2, new_size])


def plan_clip(rng: np.random.Generator, sequence: Sequence, options: ClipOptions) -> Plan:
    """Draws what a clip of the sequence shows. Grey and one flip are joint; brightness and another flip each crop's."""
    o, count = options, options.templates + options.frames
    frames = sample_order(rng, sequence.visible, count, o.max_gap)
    grey, flip = rng.random() < o.grey, rng.random() < o.flip
    boxes = sequence.boxes_xywh[frames]
    around = [jitter_box(rng, box, o.scale_jitter, o.shift_jitter) for box in boxes[o.templates :]]
    brightness, frame_flip = np.empty(count), np.empty(count, bool)
    for k in range(count):
        brightness[k] = rng.uniform(1 - o.brightness, 1 + o.brightness)
        frame_flip[k] = rng.random() < o.frame_flip
    is_template = np.arange(count) < o.templates
    plan = Plan(
        frames=frames,
        boxes_xywh=boxes,
        crop_center_xywh=np.stack([*boxes[: o.templates], *around]),
        factor=np.where(is_template, TEMPLATE_FACTOR, SEARCH_FACTOR),
        size=np.where(is_template, o.template_size, o.search_size),
        grey=grey,
        flip=flip != frame_flip,  # two flips are none
        brightness=brightness,
        templates=o.templates,
    )
    return with_canvases(plan) if o.closed_loop else plan


def with_canvases(plan: Plan) -> Plan:
    """The same clip for a closed-loop rollout: around each target a canvas, in the middle of which it is, with room for
    regions that a policy cuts elsewhere. The first region's jitter stays what it was, but for one so large that the
    region would not be on its canvas; the others come from actions."""
    search = np.arange(len(plan.frames)) >= plan.templates
    start, target = plan.crop_center_xywh[plan.templates], plan.boxes_xywh[plan.templates]
    sides = np.sqrt([start[2:].prod(), target[2:].prod()])
    shrink = min(1.0, _ON_CANVAS * CANVAS_FACTOR / SEARCH_FACTOR * sides[1] / sides[0])
    if shrink < 1:  # towards the target's centre
        middle = target[:2] + target[2:] / 2
        start = np.concatenate([middle + shrink * (start[:2] - middle), shrink * start[2:]])
    return replace(
        plan,
        crop_center_xywh=plan.boxes_xywh,
        factor=np.where(search, CANVAS_FACTOR, plan.factor),
        size=np.where(search, round(CANVAS_FACTOR / SEARCH_FACTOR) * plan.size, plan.size),
        flip=plan.flip & ~search,
        world=ClosedLoopPlan(start, plan.flip[search]),
    )
