"""Clips: templates and search crops drawn from a sequence (spec "Training data": order sampling, jitter, augmentation).

A clip is a pure function of (seed, index): the sequence, the frames, the jitter and the augmentation come from one
random generator keyed by the two, so neither threads nor restarts change what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from relo_jax.crop import box_to_crop_norm
from relo_jax.data import augment
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError

TEMPLATE_FACTOR = 2.0
SEARCH_FACTOR = 4.0
MIN_LENGTH = 20  # frames, of an eligible sequence
JITTER_TRIES = 10
SEQUENCE_TRIES = 100


class Sequences(Protocol):
    """What clips are drawn from. each_once: clip i uses sequence i; otherwise a clip draws one at random."""

    each_once: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sequence: ...


@dataclass(frozen=True)
class ClipOptions:
    """Sizes in pixels; the rest as in `config.data`."""

    templates: int = 2
    frames: int = 2  # search frames T
    template_size: int = 128
    search_size: int = 256
    max_gap: int = 400
    scale_jitter: float = 0.5
    shift_jitter: float = 3.5
    grey: float = 0.05
    flip: float = 0.5
    frame_flip: float = 0.5
    brightness: float = 0.2


def clip_rng(seed: int, index: int) -> np.random.Generator:
    """The random numbers of one clip."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, index))))


def eligible(sequence: Sequence, count: int) -> bool:
    """Whether clips of `count` frames may be drawn: 20 frames and more than 2 `count` visible ones."""
    return len(sequence) >= MIN_LENGTH and int(np.count_nonzero(sequence.visible)) > 2 * count


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


class ClipSource:
    """An indexable of clips without a batch axis: dicts of numpy arrays as the training step takes them.

    template_images uint8 [K, s, s, 3], template_boxes_xywh float32 [K, 4], search_images uint8 [T, S, S, 3],
    search_boxes_xywh float32 [T, 4] (normalised to their crops), index int64.
    """

    def __init__(self, sequences: Sequences, options: ClipOptions, seed: int, length: int = 2**31 - 1):
        if len(sequences) == 0:
            raise UserError("no sequences to draw clips from")
        self.sequences, self.options, self.seed, self._length = sequences, options, seed, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        index = int(index)
        rng = clip_rng(self.seed, index)
        return self._draw(rng, index, self._pick(rng, index)[1])

    def describe(self, index: int) -> str:
        """The name of the sequence that clip `index` is drawn from."""
        index = int(index)
        return self._pick(clip_rng(self.seed, index), index)[1].name

    def _pick(self, rng: np.random.Generator, index: int) -> tuple[int, Sequence]:
        """The first eligible sequence: the clip's own, or drawn at random until one is."""
        count = len(self.sequences)
        chosen = index % count if self.sequences.each_once else int(rng.integers(count))
        for _ in range(SEQUENCE_TRIES):
            sequence = self.sequences[chosen]
            if eligible(sequence, self.options.frames + self.options.templates):
                return chosen, sequence
            chosen = int(rng.integers(count))
        need = 2 * (self.options.frames + self.options.templates)
        raise UserError(
            f"clip {index}: {SEQUENCE_TRIES} drawn sequences have no {MIN_LENGTH} frames with more than {need} visible "
            f"boxes (the last was {sequence.name}): use longer sequences or shorter clips"
        )

    def _draw(self, rng: np.random.Generator, index: int, sequence: Sequence) -> dict[str, np.ndarray]:
        o = self.options
        frames = sample_order(rng, sequence.visible, o.templates + o.frames, o.max_gap)
        joint = rng.random() < o.grey, rng.random() < o.flip
        boxes = sequence.boxes_xywh[frames]
        around = [jitter_box(rng, box, o.scale_jitter, o.shift_jitter) for box in boxes[o.templates :]]
        around = np.stack([*boxes[: o.templates], *around])
        parts = {}
        for kind, part, factor, size in (
            ("template", slice(o.templates), TEMPLATE_FACTOR, o.template_size),
            ("search", slice(o.templates, None), SEARCH_FACTOR, o.search_size),
        ):
            images, scales = zip(
                *(sequence.crop(int(t), box, factor, size) for t, box in zip(frames[part], around[part], strict=True)),
                strict=True,
            )
            norm = box_to_crop_norm(boxes[part], around[part], np.array(scales)[:, None], size)
            images, norm = self._augment(rng, images, norm, *joint)
            parts[f"{kind}_images"], parts[f"{kind}_boxes_xywh"] = np.stack(images), norm.astype(np.float32)
        return {**parts, "index": np.int64(index)}

    def _augment(self, rng, images, boxes_xywh_norm, grey: bool, flip: bool):
        """Grey and flip of the whole clip, then brightness and another flip of each crop for itself."""
        o, done, boxes = self.options, [], boxes_xywh_norm.copy()
        for k, image in enumerate(images):
            if grey:
                image = augment.grey(image)
            image = augment.brighten(image, rng.uniform(1 - o.brightness, 1 + o.brightness))
            if flip != (rng.random() < o.frame_flip):  # two flips are none
                image, boxes[k] = augment.flip(image, boxes[k])
            done.append(image)
        return done, boxes
