"""Clips that the device draws: what the training step takes, the same whenever they are drawn."""

import dataclasses

import jax
import numpy as np

from relo_jax.config.data_options import ClipOptions, Options
from relo_jax.data.clips.drawn import DrawnClips
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.synthetic.procedural import Procedural

OPTIONS = Options(bank_size=8, num_frames=24, width=96, height=64, bending=0, blur=0, sensor_noise=0, compression=0,
                  clutter=1, distractors=1, largest=24.0)  # fmt: skip
CLIP = ClipOptions(templates=1, frames=2, template_size=16, search_size=32, frame_flip=0.0)


def test_drawn_clips_have_the_loaders_fields_and_depend_on_their_numbers_alone():
    drawn = DrawnClips(0, OPTIONS, CLIP)
    assets = jax.device_put(drawn.assets())
    draw = jax.jit(lambda first: drawn.draw(first, 4, assets))
    batch, again, later = jax.device_get([draw(np.int32(first)) for first in (8, 8, 12)])
    loaded = ClipSource([MixturePart("procedural", Procedural(0, "train", OPTIONS))], CLIP, 0)[0]
    assert batch.keys() == set(drawn.fields) and batch.keys() < loaded.keys()
    for name, array in batch.items():
        assert (array.shape, array.dtype) == ((4, *loaded[name].shape), loaded[name].dtype), name
        assert len(np.unique(np.concatenate([array, later[name]]).reshape(8, -1), axis=0)) == 8, name
        np.testing.assert_array_equal(again[name], array)
    center = lambda name: batch[name][..., :2] + batch[name][..., 2:] / 2
    assert ((center("search_boxes_xywh") > 0) & (center("search_boxes_xywh") < 1)).all()
    np.testing.assert_allclose(center("template_boxes_xywh"), 0.5, atol=0.05)
    assert (batch["search_images"].std((2, 3, 4)) > 0).all()


def test_a_fingerprint_names_what_determines_the_clips():
    prints = {DrawnClips(*of).fingerprint() for of in ((0, OPTIONS, CLIP), (1, OPTIONS, CLIP), (0, Options(), CLIP))}
    assert len(prints) == 3


def test_drawn_clips_of_closed_loops_have_the_loaders_fields():
    clip = dataclasses.replace(CLIP, closed_loop=True)
    drawn = DrawnClips(0, OPTIONS, clip)
    batch = jax.eval_shape(lambda assets: drawn.draw(0, 4, assets), drawn.assets())
    loaded = ClipSource([MixturePart("procedural", Procedural(0, "train", OPTIONS))], clip, 0)[0]
    assert batch.keys() == set(drawn.fields) and batch.keys() < loaded.keys()
    for name, array in batch.items():
        assert (array.shape, array.dtype) == ((4, *loaded[name].shape), loaded[name].dtype), name
