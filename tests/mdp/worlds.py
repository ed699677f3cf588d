"""Clips to act in: a box that drifts over a picture, with canvases of as many pixels as they show of it."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips import read
from relo_jax.data.clips.plan import clip_rng, plan_clip
from relo_jax.data.sequence import Sequence

SIZE, FRAMES, BOX = 64, 5, 16.0  # the canvas shows 8 x 16 pixels of the picture, and has 2 x 64
OPTIONS = ClipOptions(
    templates=1, frames=FRAMES, template_size=32, search_size=SIZE, max_gap=6, grey=0.0, brightness=0.0, frame_flip=0.5
)


def drifting(picture):
    """A sequence of 24 frames, all of them the picture (320 x 240); at the end the box reaches its right border."""
    corner = np.array([236.0, 90.0]) + np.arange(24)[:, None] * np.array([4.5, 2.0])
    boxes = np.concatenate([np.minimum(corner, [320 - BOX, 240 - BOX]), np.full((24, 2), BOX)], 1)
    return Sequence("drifting", boxes, np.ones(24, bool), lambda index: picture)


def plans(sequence, count, **changes):
    """What the first clips of a sequence show; `changes` are fields of ClipOptions."""
    options = dataclasses.replace(OPTIONS, **changes)
    return [plan_clip(clip_rng(0, index), sequence, options) for index in range(count)]


def batch_of(sequence, plans):
    """A batch of one clip a plan."""
    clips = [read.draw(sequence, plan) for plan in plans]
    return {name: jnp.asarray(np.stack([clip[name] for clip in clips])) for name in clips[0]}
