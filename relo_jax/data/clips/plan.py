"""What a clip shows: the frames of a sequence, the boxes that they are cropped around, and the augmentation.

No pixel is read here. A plan is a pure function of a sequence's boxes and a random generator, whose key is (seed, index
of the clip, attempt). Threads, processes, hosts and restarts therefore do not change the clips. Sampling, jitter and
augmentation follow the paper's training data, with the release's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.sequence import Sequence
from relo_jax.geometry.crop import SEARCH_FACTOR, TEMPLATE_FACTOR

CANVAS_FACTOR = 2 * SEARCH_FACTOR  # of closed-loop rollouts; a canvas has twice the pixels of a search region, too
MIN_LENGTH = 20  # frames of an eligible sequence
JITTER_TRIES = 10
MAX_REGION = 0.99  # largest first region, as a share of its canvas: leaves room for the rounding of both


@dataclass(frozen=True)
class ClosedLoopPlan:
    """What a closed-loop rollout needs in addition to its canvases.

    Attributes:
      start_box_xywh: float64 [4], the box that the first search region is cut around.
      flip: bool [T], whether the network sees the frame mirrored. Canvases are not mirrored, so that boxes keep their
        coordinates from frame to frame.
    """

    start_box_xywh: np.ndarray
    flip: np.ndarray


@dataclass(frozen=True)
class Plan:
    """The frames, crops and augmentation of a clip: arrays with K + T rows, one for each crop, templates first.

    Attributes:
      frames: int64 [K + T], indices into the sequence.
      boxes_xywh: float64 [K + T, 4], ground truth in pixels of the frame.
      crop_center_xywh: float64 [K + T, 4], the boxes that the crops are cut around.
      factor: float64 [K + T], side of the crop relative to that of the box.
      size: int64 [K + T], side of the crop in its own pixels.
      grey: whether the whole clip is grey.
      flip: bool [K + T].
      brightness: float64 [K + T], factor on the pixel values.
      templates: K.
      closed_loop: for closed-loop rollouts, whose search crops are canvases; otherwise None.
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
    closed_loop: ClosedLoopPlan | None = None


def clip_rng(seed: int, index: int, attempt: int = 0) -> np.random.Generator:
    """The random generator of a clip; `attempt` counts the failures before it at the same index."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, index, attempt))))


def eligible(lengths: np.ndarray | int, visible: np.ndarray | int, stills: np.ndarray | bool, count: int) -> np.ndarray:
    """Whether clips of `count` frames may be drawn from sequences.

    A video needs 20 frames and more than 2 `count` visible ones; a still image is repeated, and needs one.

    Args:
      lengths, visible: numbers of frames and of visible frames, of one sequence or of many.
      stills: whether a sequence is one repeated image.
      count: K + T.
    """
    return np.where(stills, visible > 0, (lengths >= MIN_LENGTH) & (visible > 2 * count))


def sample_order(rng: np.random.Generator, visible: np.ndarray, count: int, max_gap: int) -> np.ndarray:
    """Draws `count` frame indices, in order of time or (p = 0.5) in reverse.

    A visible base frame is drawn, then frames with replacement from the visible ones within `max_gap` of it. The
    release widens this window until it contains a visible frame; here it always contains the base.
    """
    candidates = np.flatnonzero(visible)
    base = candidates[rng.integers(len(candidates))]
    near = candidates[(candidates >= base - max_gap) & (candidates <= base + max_gap)]
    picked = np.sort(near[rng.integers(len(near), size=count)])
    return picked[::-1] if rng.random() < 0.5 else picked


def jitter_box(rng: np.random.Generator, box_xywh: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Jitters a box, for a search crop around it.

    Each side is multiplied by exp(N(0, scale^2)), and the centre moves by sqrt(w h) shift U(-0.5, 0.5) along each axis.
    If the target's centre falls outside the crop, the jitter is drawn again, at most 10 times, and then clipped. With
    the release's shift of 3.5 and crop factor of 4 this never happens.
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
    """Draws the plan of a clip. Grey and one flip are joint; brightness and a second flip are drawn for each crop."""
    o, count = options, options.templates + options.frames
    frames = sample_order(rng, sequence.visible, count, o.max_gap)
    grey, joint_flip = rng.random() < o.grey, rng.random() < o.flip
    boxes = sequence.boxes_xywh[frames]
    centers = [jitter_box(rng, box, o.scale_jitter, o.shift_jitter) for box in boxes[o.templates :]]
    brightness, frame_flip = np.empty(count), np.empty(count, bool)
    for k in range(count):
        brightness[k] = rng.uniform(1 - o.brightness, 1 + o.brightness)
        frame_flip[k] = rng.random() < o.frame_flip
    is_template = np.arange(count) < o.templates
    plan = Plan(
        frames=frames,
        boxes_xywh=boxes,
        crop_center_xywh=np.stack([*boxes[: o.templates], *centers]),
        factor=np.where(is_template, TEMPLATE_FACTOR, SEARCH_FACTOR),
        size=np.where(is_template, o.template_size, o.search_size),
        grey=grey,
        flip=frame_flip != joint_flip,  # two flips cancel
        brightness=brightness,
        templates=o.templates,
    )
    return with_canvases(plan) if o.closed_loop else plan


def with_canvases(plan: Plan) -> Plan:
    """The same clip for a closed-loop rollout: its search crops become canvases, from which regions are cut later.

    A canvas is centred on the target and leaves room for the regions that a policy may choose. The first region keeps
    its jitter, reduced if the region would leave its canvas; later regions come from actions.
    """
    search = np.arange(len(plan.frames)) >= plan.templates
    start, target = plan.crop_center_xywh[plan.templates], plan.boxes_xywh[plan.templates]
    sides = np.sqrt([start[2:].prod(), target[2:].prod()])
    shrink = MAX_REGION * CANVAS_FACTOR / SEARCH_FACTOR * sides[1] / sides[0]
    if shrink < 1:  # towards the target's centre
        middle = target[:2] + target[2:] / 2
        start = np.concatenate([middle + shrink * (start[:2] - middle), shrink * start[2:]])
    return replace(
        plan,
        crop_center_xywh=plan.boxes_xywh,
        factor=np.where(search, CANVAS_FACTOR, plan.factor),
        size=np.where(search, round(CANVAS_FACTOR / SEARCH_FACTOR) * plan.size, plan.size),
        flip=plan.flip & ~search,
        closed_loop=ClosedLoopPlan(start, plan.flip[search]),
    )
