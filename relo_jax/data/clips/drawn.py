"""Batches of procedural clips drawn on the device, with the fields that the loader's have.

    drawn = drawn_clips(config, model.config)
    batch = drawn.draw(first, count, drawn.assets())

A clip is a function of the seed and its number alone, whatever the batch, the device and the number of devices. As on
the host, four consecutive clips share a family of objects, each of which is the target once, and jitter, order of
frames and augmentation are those of `relo_jax.data.clips.plan`. The random numbers are others than the host's.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from relo_jax.config.data_options import ClipOptions, Options
from relo_jax.config.model_config import ModelConfig
from relo_jax.data.clips.pipeline import clip_options
from relo_jax.data.clips.plan import CANVAS_FACTOR, MAX_REGION
from relo_jax.data.synthetic.composed import MIN_SIDE
from relo_jax.data.synthetic.device.assets import Assets, load
from relo_jax.data.synthetic.device.boxes import target_boxes
from relo_jax.data.synthetic.device.cast import Slots, draw_cast, draw_family
from relo_jax.data.synthetic.device.compose import compose
from relo_jax.data.synthetic.device.scene import Effects, Scene, View, render
from relo_jax.data.synthetic.device.supply import Supply
from relo_jax.data.synthetic.procedural import FAMILY, SPLITS
from relo_jax.geometry.crop import SEARCH_FACTOR, TEMPLATE_FACTOR, box_to_crop_norm, crop_windows

_TRIES = 2  # scenes of a clip, of which the first in which the target is visible often enough is shown
_SHARP = 2  # one clip in so many has no motion blur
_FIELDS = ("template_images", "template_boxes_xywh")
_TEACHER_FORCED = (*_FIELDS, "search_images", "search_boxes_xywh")
_CLOSED_LOOP = (
    *_FIELDS, "canvas_images", "canvas_windows", "frame_sizes", "flips", "target_boxes_xywh", "start_box_xywh",
)  # fmt: skip


@flax.struct.dataclass
class Plan:
    """What a clip shows: arrays with K + T rows, one for each crop, templates first; see `relo_jax.data.clips.plan`."""

    frames: Array
    boxes_xywh: Array
    crop_center_xywh: Array
    grey: Array  # []
    flip: Array
    brightness: Array


@dataclass(frozen=True)
class DrawnClips:
    """Endless clips of one seed.

    Attributes:
      seed: of the run's data.
      options: how hard the scenes are.
      clip: which crops a clip has, and how they vary.
    """

    seed: int
    options: Options
    clip: ClipOptions

    def assets(self) -> Assets:
        """Textures and cut-outs, as numpy arrays; made anew at each call, in seconds."""
        return load(SPLITS["train"], self.options.bank_size)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of what `draw` returns."""
        return _CLOSED_LOOP if self.clip.closed_loop else _TEACHER_FORCED

    def fingerprint(self) -> str:
        """A digest of everything that determines the clips."""
        return hashlib.blake2b(f"drawn {self}".encode(), digest_size=8).hexdigest()

    def describe(self, index: int) -> str:
        """The name of clip `index`."""
        return f"drawn-{self.seed}-{index:06d}"

    def draw(
        self, first: int | Array, count: int, assets: Assets, part: tuple[int | Array, int] = (0, 1)
    ) -> dict[str, Array]:
        """The clips from number `first` on.

        Args:
          first: number of the first clip. If `count` is a multiple of two or of four, so must it be: families of four
            are painted once, and every second clip is drawn without motion blur.
          count: of clips, static.
          assets: see `assets`, on the device.
          part: (index, number of parts) of the search frames to draw, for devices that share the frames of a clip.

        Returns:
          The fields of `relo_jax.data.clips.source.ClipSource` for the training step, with a leading axis of clips.
        """
        key, options, clip = jax.random.key(self.seed), self.options, self.clip
        numbers = first + jnp.arange(count)
        keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.fold_in(key, 1), number))(numbers)
        families = _families(jax.random.fold_in(key, 0), numbers, assets, options.limbs)
        planned = functools.partial(_planned, assets=assets, options=options, clip=clip)
        scenes, plans = jax.vmap(planned)(keys, numbers, families)
        effects = Effects.of(options)

        def pictures(which, effects):
            chosen = jax.tree.map(lambda x: x[which], (scenes, plans))
            return jax.vmap(lambda scene, plan: _pictures(scene, plan, part, assets, clip, effects))(*chosen)

        if count % _SHARP or effects.samples == 1:
            return pictures(slice(None), effects)
        sharp, exposed = slice(0, None, _SHARP), slice(1, None, _SHARP)
        both = pictures(sharp, replace(effects, samples=1)), pictures(exposed, effects)
        return jax.tree.map(lambda a, b: jnp.stack([a, b], 1).reshape(count, *a.shape[1:]), *both)


def drawn_clips(config: ConfigDict, model: ModelConfig, stage: str | None = None) -> DrawnClips:
    """The training clips of `config.data`, drawn on the device. Arguments as of `relo_jax.data.clips.pipeline`."""
    data = config.data
    return DrawnClips(data.seed, Options(**data.procedural), clip_options(config, model, stage or config.stage))


def _families(key, numbers, assets, limbs):
    """The family of each clip. Where whole families are drawn, each is painted once."""
    share = FAMILY if len(numbers) % FAMILY == 0 else 1
    paint = lambda number: draw_family(jax.random.fold_in(key, number // FAMILY), assets, limbs)
    return jax.tree.map(lambda x: jnp.repeat(x, share, 0), jax.vmap(paint)(numbers[::share]))


def _planned(key, number, family, assets, options, clip):
    """The scene and the plan of a clip."""
    keys = jax.random.split(key, 2 + _TRIES)
    cast = draw_cast(keys[0], family, number % FAMILY, assets, options)

    def attempt(key):
        scene = compose(key, cast, options)
        return scene, *target_boxes(scene, cast.outlines, Slots.of(options), assets.tables.fields)

    tries = jax.vmap(attempt)(keys[2:])
    visible = tries[2].sum(1)
    enough = visible > 2 * (clip.templates + clip.frames)
    chosen = jnp.where(enough.any(), jnp.argmax(enough), jnp.argmax(visible))
    scene, boxes, visible = jax.tree.map(lambda x: x[chosen], tries)
    layers = scene.layers.replace(pieces=cast.pieces, present=cast.present)  # the same for all tries
    exposure = jnp.where(number % _SHARP, scene.exposure, 0.0)
    scene = scene.replace(layers=layers, background=cast.background, exposure=exposure)
    return scene, _plan(keys[1], boxes, visible, clip)


def _plan(key, boxes, visible, clip):
    """Draws the plan of a clip. Grey and one flip are joint; brightness and a second flip are drawn for each crop."""
    count = clip.templates + clip.frames
    supply = Supply(key, 16 * count + 16)
    frames = _order(supply, visible, count, clip.max_gap)
    boxes = boxes[frames]
    boxes = boxes.at[:, 2:].max(MIN_SIDE)  # if the target never is visible, there is still something to crop around
    search = _jittered(supply, boxes[clip.templates :], clip)
    flips = (supply.uniform(shape=count) < clip.frame_flip) != supply.happens(clip.flip)  # two flips cancel
    return Plan(
        frames=frames, boxes_xywh=boxes, crop_center_xywh=jnp.concatenate([boxes[: clip.templates], search]),
        grey=supply.happens(clip.grey), flip=flips,
        brightness=supply.uniform(1 - clip.brightness, 1 + clip.brightness, count),
    )  # fmt: skip


def _order(supply, visible, count, max_gap):
    """int32 [count]: visible frames near one of them, in order of time or (p = 0.5) in reverse."""
    candidates = visible | ~visible.any()
    nth = lambda mask, n: (jnp.cumsum(mask) <= n[:, None]).sum(-1)
    base = nth(candidates, supply.integers(0, candidates.sum(), 1))
    near = candidates & (jnp.abs(jnp.arange(len(visible)) - base) <= max_gap)
    picked = jnp.sort(nth(near, supply.integers(0, near.sum(), count)))
    return jnp.where(supply.happens(0.5), picked[::-1], picked)


def _jittered(supply, boxes, clip):
    """Boxes [T, 4] for search crops. A crop contains the target's centre, whatever the jitter of the position."""
    size = boxes[:, 2:]
    new_size = size * jnp.exp(supply.normal(0, 1, size.shape) * clip.scale_jitter)
    side = jnp.sqrt(new_size.prod(-1, keepdims=True))
    reach = min(clip.shift_jitter, SEARCH_FACTOR)  # beyond, the host draws again
    center = boxes[:, :2] + size / 2 + side * reach * (supply.uniform(shape=size.shape) - 0.5)
    return jnp.concatenate([center - new_size / 2, new_size], -1)


def _pictures(scene, plan, part, assets, clip, effects):
    """The fields of a clip."""
    templates, frames = clip.templates, clip.frames // part[1]
    rows = lambda start, count: jax.tree.map(
        lambda x: jax.lax.dynamic_slice_in_dim(x, start, count) if x.ndim else x, plan
    )
    first = rows(0, templates)
    images, boxes, _ = _crops(scene, first, TEMPLATE_FACTOR, clip.template_size, assets, effects)
    fields = {"template_images": images, "template_boxes_xywh": boxes}
    search = rows(templates + part[0] * frames, frames)
    if clip.closed_loop:
        return fields | _canvases(scene, search, assets, clip, effects)
    images, boxes, _ = _crops(scene, search, SEARCH_FACTOR, clip.search_size, assets, effects)
    return fields | {"search_images": images, "search_boxes_xywh": boxes}


def _crops(scene, plan, factor, size, assets, effects):
    """Images uint8 [N, S, S, 3], boxes normalised to them [N, 4], and their windows int32 [N, 3]."""
    windows = crop_windows(plan.crop_center_xywh, factor)
    scales = size / windows[:, 2].astype(jnp.float32)
    corners = windows[:, :2].astype(jnp.float32)
    views = View(plan.frames, corners[:, 0], corners[:, 1], scales)
    draw_one = lambda view: _black_outside(render(scene, view, size, assets.tables, effects), scene, view)
    images = jax.vmap(draw_one)(views)
    images = jax.vmap(_augmented, (0, None, 0, 0))(images, plan.grey, plan.brightness, plan.flip)
    boxes = box_to_crop_norm(plan.boxes_xywh, plan.crop_center_xywh, scales[:, None], size)
    x, *rest = (boxes[:, k] for k in range(4))
    return images, jnp.stack([jnp.where(plan.flip, 1 - x - rest[1], x), *rest], -1), windows


def _canvases(scene, plan, assets, clip, effects):
    """The fields of search frames of a closed-loop rollout, see `relo_jax.data.clips.plan.with_canvases`."""
    start, target = plan.crop_center_xywh[0], plan.boxes_xywh[0]
    sides = jnp.sqrt(jnp.stack([start[2:].prod(), target[2:].prod()]))
    shrink = jnp.minimum(1, MAX_REGION * CANVAS_FACTOR / SEARCH_FACTOR * sides[1] / sides[0])
    middle = target[:2] + target[2:] / 2
    shrunk = jnp.concatenate([middle + shrink * (start[:2] - middle), shrink * start[2:]])
    on_target = plan.replace(crop_center_xywh=plan.boxes_xywh, flip=jnp.zeros_like(plan.flip))
    size = round(CANVAS_FACTOR / SEARCH_FACTOR) * clip.search_size
    images, _, windows = _crops(scene, on_target, CANVAS_FACTOR, size, assets, effects)
    frame_size = jnp.array([scene.height, scene.width], jnp.float32)
    return {
        "canvas_images": images,
        "canvas_windows": windows.astype(jnp.float32),
        "frame_sizes": jnp.broadcast_to(frame_size, (clip.frames, 2)),
        "flips": plan.flip,
        "target_boxes_xywh": plan.boxes_xywh,
        "start_box_xywh": jnp.where(shrink < 1, shrunk, start),
    }


def _black_outside(image, scene: Scene, view: View):
    """A crop with zeros outside the frame, by the cropper's rule: it loses a column or row at a border it crosses."""
    size = len(image)

    def inside(start, length):
        end = jnp.where(start + size / view.scale >= length, length - 1, length)
        low, high = jnp.round(-start * view.scale), jnp.round((end - start) * view.scale)
        along = jnp.arange(size)
        return (along >= low) & (along < high)

    shown = inside(view.y, scene.height)[:, None] & inside(view.x, scene.width)[None]
    return jnp.where(shown[..., None], image, jnp.uint8(0))


def _augmented(image, grey, brightness, flip):
    """A crop with the clip's grey and its own brightness and flip."""
    luminance = jnp.round((image * jnp.array([0.299, 0.587, 0.114])).sum(-1, keepdims=True))
    image = jnp.where(grey, luminance, image)
    image = jnp.minimum(jnp.round(image * brightness), 255).astype(jnp.uint8)
    return jnp.where(flip, image[:, ::-1], image)
