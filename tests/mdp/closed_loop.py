"""Clips for closed-loop rollouts: a box drifts over an image; the canvases keep the image's resolution."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips import read
from relo_jax.data.clips.plan import clip_rng, plan_clip
from relo_jax.data.sequence import Sequence

SIZE, FRAMES, BOX = 64, 5, 16.0  # the canvas shows 8 x 16 pixels of the frame, and has 2 x 64
OPTIONS = ClipOptions(
    templates=1, frames=FRAMES, template_size=32, search_size=SIZE, max_gap=6, grey=0.0, brightness=0.0, frame_flip=0.5
)


def drifting(image):
    """A sequence of 24 equal frames of 320 x 240; at the end the box reaches the right border."""
    corner = np.array([236.0, 90.0]) + np.arange(24)[:, None] * np.array([4.5, 2.0])
    boxes = np.concatenate([np.minimum(corner, [320 - BOX, 240 - BOX]), np.full((24, 2), BOX)], 1)
    return Sequence("drifting", boxes, np.ones(24, bool), lambda index: image)


def plans(sequence, count, **changes):
    """The plans of the first clips of a sequence; `changes` are fields of ClipOptions."""
    options = dataclasses.replace(OPTIONS, **changes)
    return [plan_clip(clip_rng(0, index), sequence, options) for index in range(count)]


def batch_of(sequence, plans):
    """A batch with one clip per plan."""
    clips = [read.read_clip(sequence, plan) for plan in plans]
    return {name: jnp.asarray(np.stack([clip[name] for clip in clips])) for name in clips[0]}
