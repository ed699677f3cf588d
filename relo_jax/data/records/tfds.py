"""The TFDS side of a built dataset: its features, its description, and what every builder in `data/` derives from.

This module imports tensorflow_datasets, which takes half a second: import it where it is needed. TensorFlow is not.

Numbers that must come back as they were are stored as bytes: TFDS rounds a float64 tensor to float32 otherwise. Images
go in as encoded, so they are not decoded here and come out as they went in.
"""

from __future__ import annotations

import inspect
import re

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import dataset_info, dataset_metadata, example_serializer

from relo_jax.data.datasets import layouts, split_lists
from relo_jax.data.datasets.index import DEFAULT_CACHE, open_dataset
from relo_jax.data.records.examples import KINDS, Records
from relo_jax.data.records.read import VERSION
from relo_jax.errors import UserError

RELEASE_NOTES = {VERSION: "The first."}
DESCRIPTIONS = {
    "frames": "A record a frame: the image file as it is, and which sequence and frame it is.",
    "sequences": "A record a sequence: name, category, boxes, visibility, and which records of `frames` it has.",
}
SKIP_IMAGES = {"image": tfds.decode.SkipDecoding()}


def features(kind: str) -> tfds.features.FeaturesDict:
    """Of the config `kind`. A sequence's frames are records first_frame ... first_frame + frames - 1 of `frames`."""
    text, as_bytes = tfds.features.Text, tfds.features.Encoding.BYTES
    if kind == "frames":
        image = tfds.features.Image(shape=(None, None, 3), doc="the file: JPEG, PNG or BMP; empty: it was missing")
        return tfds.features.FeaturesDict({"image": image, "file": text(), "sequence": np.int64, "frame": np.int64})
    return tfds.features.FeaturesDict(
        {
            "name": text(),
            "category": text(doc="empty: the dataset has none"),
            "boxes_xywh": tfds.features.Tensor(
                shape=(None, 4), dtype=np.float64, encoding=as_bytes, doc="pixels, 0-based corners; NaN: no box"
            ),
            "visible": tfds.features.Tensor(
                shape=(None,), dtype=np.uint8, encoding=as_bytes, doc="1: the target; 2: not, but evaluation counts it"
            ),
            "still": tfds.features.Scalar(np.bool_, doc="one image that stands for a video"),
            "first_frame": np.int64,
            "frames": np.int64,
        }
    )


def serializer(kind: str):
    """example -> the bytes of a record, the same in every process (TFDS's own order of fields is not)."""
    spec = features(kind)
    proto = example_serializer.ExampleSerializer(spec.get_serialized_info()).get_tf_example
    return lambda example: proto(spec.encode_example(example)).SerializeToString(deterministic=True)


def parser(kind: str):
    """The bytes of a record -> example, images still encoded, text as str."""
    spec, skip = features(kind), SKIP_IMAGES if kind == "frames" else None
    texts = [key for key, feature in spec.items() if isinstance(feature, tfds.features.Text)]

    def parse(record: bytes) -> dict:
        example = spec.deserialize_example_np(record, decoders=skip)
        return {**example, **{key: example[key].decode() for key in texts}}

    return parse


def describe(name: str, kind: str) -> dict:
    """What a DatasetInfo says of the dataset: the README and the citation beside its builder."""
    known = dataset_metadata.load(epath.Path(split_lists.dataset_folder(name)))
    homepage = re.search(r"https?://[^\s>)]+", known.description)
    return {
        "homepage": homepage and homepage[0],
        "features": features(kind),
        "description": known.description,
        "citation": known.citation,
        "disable_shuffling": True,
        "metadata": tfds.core.MetadataDict(),
    }


def report(records: Records, kind: str, problems) -> dict:
    """What metadata.json keeps of a split: what was wrong, and how many sequences were left out for it."""
    if kind == "sequences":
        return {"left_out": records.dataset.left_out, "problems": rows(records.dataset.problems)}
    return {"problems": rows(problems)}


def rows(problems) -> list[list]:
    """Problems as JSON has them."""
    return [[p.kind, p.where, p.detail, p.fatal] for p in problems]


def by_hand(name: str) -> str:
    """A builder's MANUAL_DOWNLOAD_INSTRUCTIONS."""
    source = layouts.dataset_layout(name)
    return (
        f"Download {source.title} from its authors and unpack it as {source.layout}. manual_dir is the folder that has "
        f"these, or one that has {source.folders[0]}/ with these in it."
    )


def identity(name: str, kind: str, folder) -> dataset_info.DatasetIdentity:
    """Whose DatasetInfo it is, for a dataset that is written without its builder."""
    return dataset_info.DatasetIdentity(
        name=name,
        version=tfds.core.Version(VERSION),
        data_dir=str(folder),
        module_name=f"{split_lists.PACKAGE}.{name}.{name}_dataset_builder",
        config_name=kind,
        config_description=DESCRIPTIONS[kind],
        release_notes=RELEASE_NOTES,
    )


class TrackingBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset of `relo_jax.data.datasets.layouts`, read from its folders in `manual_dir`.

    `download_and_prepare` writes it whole or not at all; `relo data build` writes the same records, and goes on where
    it was stopped.
    """

    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES = RELEASE_NOTES
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=kind, description=DESCRIPTIONS[kind]) for kind in KINDS]

    @tfds.core.utils.classproperty
    @classmethod
    def code_path(cls) -> epath.Path:
        """The builder's file; TFDS's own way to it needs importlib_resources, which it does not install."""
        return epath.Path(inspect.getfile(cls))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, **describe(self.name, self.builder_config.name))

    def _split_generators(self, dl_manager) -> dict:
        """A generator a split; a split whose folders are not there is not built, as long as one is."""
        found, refusals = {}, []
        source = layouts.dataset_layout(self.name)
        for split in source.splits:
            try:
                dataset = open_dataset(source, split, dl_manager.manual_dir, DEFAULT_CACHE)
            except UserError as error:
                refusals.append(str(error))
                continue
            found[split] = self._generate_examples(Records(dataset), split)
        if not found:
            raise UserError("; ".join(refusals))
        return found

    def _generate_examples(self, records: Records, split: str):
        kind, problems = self.builder_config.name, []
        for number, (example, problem) in enumerate(records.examples(kind, range(records.counts[kind]))):
            problems += [problem] if problem else []
            yield number, example
        self.info.metadata[split] = report(records, kind, problems)
