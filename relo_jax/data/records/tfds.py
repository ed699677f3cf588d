"""The TFDS side of a built dataset: its features, its description, and the base class of the builders in `data/`.

This module imports tensorflow_datasets, which takes half a second, so import it only where it is needed. It does not
need TensorFlow. Float64 values are stored as bytes, since TFDS rounds a float64 tensor to float32. Images are stored
encoded and never decoded here, so they come out as they went in.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import dataset_info, dataset_metadata, example_serializer

from relo_jax.data.datasets import layouts, split_lists
from relo_jax.data.datasets.index import DEFAULT_CACHE, open_splits
from relo_jax.data.datasets.layout import Problem
from relo_jax.data.records.examples import KINDS, VERSION, SplitExamples

RELEASE_NOTES = {VERSION: "The first."}
DESCRIPTIONS = {
    "frames": "A record per frame: the original image file, and its sequence and frame number.",
    "sequences": "A record per sequence: name, category, boxes, visibility, and its record numbers in `frames`.",
}
SKIP_IMAGES = {"image": tfds.decode.SkipDecoding()}


def features(kind: str) -> tfds.features.FeaturesDict:
    """The features of a config. A sequence owns the records first_frame to first_frame + frames - 1 of `frames`."""
    text, as_bytes = tfds.features.Text, tfds.features.Encoding.BYTES
    if kind == "frames":
        image = tfds.features.Image(shape=(None, None, 3), doc="a JPEG, PNG or BMP file; empty: it was missing")
        return tfds.features.FeaturesDict({"image": image, "file": text(), "sequence": np.int64, "frame": np.int64})
    return tfds.features.FeaturesDict(
        {
            "name": text(),
            "category": text(doc="empty: the dataset has none"),
            "boxes_xywh": tfds.features.Tensor(
                shape=(None, 4), dtype=np.float64, encoding=as_bytes, doc="pixels, 0-based corners; NaN: no box"
            ),
            "visible": tfds.features.Tensor(
                shape=(None,), dtype=np.uint8, encoding=as_bytes, doc="1: visible; 2: only counted by evaluation"
            ),
            "still": tfds.features.Scalar(np.bool_, doc="one image that stands for a video"),
            "first_frame": np.int64,
            "frames": np.int64,
        }
    )


def serializer(kind: str) -> Callable[[dict], bytes]:
    """Example -> the bytes of a record, the same in every process (unlike with TFDS's own order of fields)."""
    spec = features(kind)
    proto = example_serializer.ExampleSerializer(spec.get_serialized_info()).get_tf_example
    return lambda example: proto(spec.encode_example(example)).SerializeToString(deterministic=True)


def parser(kind: str) -> Callable[[bytes], dict]:
    """The bytes of a record -> example, with images still encoded and text as str."""
    spec, skip = features(kind), SKIP_IMAGES if kind == "frames" else None
    texts = [key for key, feature in spec.items() if isinstance(feature, tfds.features.Text)]

    def parse(record: bytes) -> dict:
        example = spec.deserialize_example_np(record, decoders=skip)
        return {**example, **{key: example[key].decode() for key in texts}}

    return parse


def info_fields(name: str, kind: str) -> dict:
    """Arguments of a DatasetInfo, from the README and the citation next to the dataset's builder."""
    metadata = dataset_metadata.load(epath.Path(split_lists.dataset_folder(name)))
    homepage = re.search(r"https?://[^\s>)]+", metadata.description)
    return {
        "homepage": homepage and homepage[0],
        "features": features(kind),
        "description": metadata.description,
        "citation": metadata.citation,
        "disable_shuffling": True,
        "metadata": tfds.core.MetadataDict(),
    }


def split_metadata(examples: SplitExamples, kind: str, problems: Iterable[Problem]) -> dict:
    """The metadata.json entry of a split: its problems, and the number of sequences that they excluded."""
    if kind == "sequences":
        stored = {"left_out": examples.dataset.left_out, "problems": problem_rows(examples.dataset.problems)}
        side = examples.dataset.layout.smallest_side
        return stored if side is None else stored | {"smallest_side": side}
    return {"problems": problem_rows(problems)}


def problem_rows(problems: Iterable[Problem]) -> list[list]:
    """Problems in JSON types."""
    return [[p.kind, p.where, p.detail, p.fatal] for p in problems]


def download_instructions(name: str) -> str:
    """A builder's MANUAL_DOWNLOAD_INSTRUCTIONS."""
    layout = layouts.dataset_layout(name)
    return (
        f"Download {layout.title} from its authors and unpack it as {layout.expected_paths}. manual_dir is the folder "
        f"that has these, or one that has {layout.folders[0]}/ with these in it."
    )


def identity(name: str, kind: str, folder: epath.Path) -> dataset_info.DatasetIdentity:
    """The identity in the DatasetInfo of a dataset that is written without its builder."""
    return dataset_info.DatasetIdentity(
        name=name,
        version=tfds.core.Version(VERSION),
        data_dir=str(folder),
        module_name=f"{split_lists.PACKAGE}.{name}.{name}_dataset_builder",
        config_name=kind,
        config_description=DESCRIPTIONS[kind],
        release_notes=RELEASE_NOTES,
    )


class TrackingBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Builds a dataset of `relo_jax.data.datasets.layouts` from its folders in `manual_dir`.

    `download_and_prepare` writes the dataset whole or not at all. `relo data build` writes the same records, and can
    continue an interrupted build.
    """

    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES = RELEASE_NOTES
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=kind, description=DESCRIPTIONS[kind]) for kind in KINDS]

    @tfds.core.utils.classproperty
    @classmethod
    def code_path(cls) -> epath.Path:
        """The builder's file. TFDS's own method needs importlib_resources, which it does not install."""
        return epath.Path(inspect.getfile(cls))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, **info_fields(self.name, self.builder_config.name))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        """A generator per split. Splits that are not on disk are skipped, unless none is there."""
        layout = layouts.dataset_layout(self.name)
        datasets, _ = open_splits(layout, (), dl_manager.manual_dir, DEFAULT_CACHE)
        return {split: self._generate_examples(SplitExamples(dataset), split) for split, dataset in datasets.items()}

    def _generate_examples(self, examples: SplitExamples, split: str) -> Iterator[tuple[int, dict]]:
        kind, problems = self.builder_config.name, []
        for number, (example, problem) in enumerate(examples.examples(kind, range(examples.counts[kind]))):
            problems += [problem] if problem else []
            yield number, example
        self.info.metadata[split] = split_metadata(examples, kind, problems)
