"""The base config has the fields of the model, of clips and of procedural sequences."""

import dataclasses

from relo_jax import config as relo_config
from relo_jax.config.data_options import CLIP_FIELDS, ClipOptions, Options
from relo_jax.config.model_config import ModelConfig


def test_model_fields_are_those_of_the_model():
    fields = {f.name for f in dataclasses.fields(ModelConfig)}
    assert set(relo_config.base().model) == fields


def test_procedural_fields_are_those_of_the_sequences_with_their_defaults():
    assert relo_config.base().data.procedural.to_dict() == dataclasses.asdict(Options())


def test_clip_fields_are_those_of_the_clips_with_their_defaults():
    data, options = relo_config.base().data, dataclasses.asdict(ClipOptions())
    assert {name: data[name] for name in CLIP_FIELDS} == {name: options[name] for name in CLIP_FIELDS}
    assert len(CLIP_FIELDS) == 8
