"""What is fuzzed: readers of files and of command lines. Any input is read, or refused with a UserError of one line.

A target takes the path of a file with arbitrary bytes. Whatever else it raises, prints as a traceback, hangs in or
takes a gigabyte for, is a defect.
"""

import contextlib
import io
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from relo_jax.errors import UserError

CORPUS = Path(__file__).parent / "corpus"
MOST_ELEMENTS = 1 << 22  # a tensor with more is only looked at


@dataclass(frozen=True)
class Target:
    """`run(path)` reads one input; `suffix` of the file; `modules`, whose branches a coverage-guided fuzzer follows."""

    run: Callable[[Path], object]
    suffix: str
    modules: tuple[str, ...]


def check(target: Target, path: Path) -> None:
    """Runs one input. Raises what is a defect: any exception but a UserError of one line that can be printed."""
    _one_line(lambda: target.run(path))


def _one_line(*calls):
    for call in calls:
        try:
            call()
        except UserError as error:
            message = str(error)
            if not message or "\n" in message or "Traceback" in message:
                raise AssertionError(f"not one line: {message!r}") from error
            if len(message) > 2000:
                raise AssertionError(f"a message of {len(message)} characters: {message[:200]!r}...") from error


def _tensors(loaded, depth=0):
    if hasattr(loaded, "shape"):
        yield loaded
    elif isinstance(loaded, (dict, list, tuple)) and depth < 5:
        for value in itertools.islice(loaded.values() if isinstance(loaded, dict) else loaded, 100):
            yield from _tensors(value, depth + 1)


def _torch_file(path):
    from relo_jax.checkpoints.pytorch import reader, state_dict

    for tensor in _tensors(reader.load(path)):
        if np.prod(tensor.shape, dtype=float) <= MOST_ELEMENTS:
            np.asarray(tensor)
    state_dict.find(path)


def _safetensors(path):
    from relo_jax.checkpoints.pytorch import safetensors_file

    for tensor in safetensors_file.load(path).values():
        np.asarray(tensor)
    safetensors_file.metadata(path)


@lru_cache
def _small_model():
    from relo_jax.model import RELO

    return RELO.from_variant("tiny", width=8, depth=1, heads=1, stem_blocks=(1, 1), head_width=8)


def _msgpack(path):
    from relo_jax.checkpoints import load

    path.with_suffix(".json").write_text('{"model": {"variant": "tiny"}, "tracker": {}}')
    load.load(path, _small_model())


def _config_json(path):
    from relo_jax.checkpoints import load, run_directory

    load._model_of(run_directory.read_json(path), path)


def _tracker_json(path):
    from relo_jax.export import backend, relo_track

    path.replace(path.with_name("tracker.json"))
    with backend.as_user_error():
        config = relo_track.read_config(path.parent)
        relo_track.Network(path.parent, precision=next(iter(config["graphs"]), ""))


def _boxes(path):
    from relo_jax.data.datasets.annotations import may_be_corners, read_boxes

    may_be_corners(read_boxes(path))


def _flags(path):
    from relo_jax.data.datasets.annotations import read_flags

    read_flags(path)


def _regions(path):
    from relo_jax.data.datasets.layouts.vot import read_regions

    read_regions(path)


def _list(path):
    from relo_jax.data.datasets.split_lists import read_list

    read_list(path)


def _coco(path):
    from relo_jax.data.datasets.layout import Entry
    from relo_jax.data.datasets.layouts import coco

    list(coco._read(path.parent, Entry("val2017", (path.name, "images"))))


def _results(path):
    from relo_jax.eval.results.read import read_result, read_scores, read_times

    boxes = lambda: read_result(path, 3, first=(1, 2, 3, 4))
    _one_line(boxes, lambda: read_times(path, 3), lambda: read_scores(path, 3))


def _box_file(path):
    from relo_jax.tracking.box_files.formats import FORMATS, read_boxes

    _one_line(*(lambda name=name: read_boxes(path, name) for name in FORMATS))


def _image(path):
    from relo_jax.media.images import read_image

    read_image(path)


def _film(path):
    from relo_jax.media.film import open_film
    from relo_jax.media.video import open_frames

    def check_frames(frames):
        for frame in itertools.islice(frames, 30):
            assert isinstance(frame, np.ndarray) and frame.dtype == np.uint8 or frame.message

    def both_ways():
        with open_film(path) as film:
            last = min(film.count or 2, 9) - 1
            check_frames(film.frames(last))
            check_frames(film.frames(last, 0))

    with contextlib.redirect_stderr(io.StringIO()):
        with open_frames(path) as frames:
            check_frames(frames)
        both_ways()


def _arguments(path):
    from relo_jax.commands import main

    words = path.read_bytes().decode(errors="surrogateescape").split("\n")
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            main.parse([word.replace("\0", "") for word in words])
        except SystemExit as end:
            assert end.code in (0, 2)


def _fields(path):
    from relo_jax.config.command_line import read_config
    from relo_jax.config.validation import validate

    words = path.read_bytes().decode(errors="surrogateescape").replace("\0", "").split("\n")
    with contextlib.redirect_stderr(io.StringIO()):
        validate(read_config("relo train", "tiny:rl", [f"--config.{word}" for word in words]))


TARGETS = {
    "torch_file": Target(_torch_file, ".pt", ("relo_jax.checkpoints.pytorch.",)),
    "safetensors": Target(_safetensors, ".safetensors", ("relo_jax.checkpoints.pytorch.safetensors_file",)),
    "msgpack": Target(_msgpack, ".msgpack", ("relo_jax.checkpoints.",)),
    "config_json": Target(_config_json, ".json", ("relo_jax.checkpoints.", "relo_jax.config.")),
    "tracker_json": Target(_tracker_json, ".json", ("relo_jax.export.relo_track",)),
    "boxes": Target(_boxes, ".txt", ("relo_jax.data.datasets.annotations",)),
    "flags": Target(_flags, ".txt", ("relo_jax.data.datasets.annotations",)),
    "regions": Target(_regions, ".txt", ("relo_jax.data.datasets.",)),
    "list": Target(_list, ".txt", ("relo_jax.data.datasets.split_lists",)),
    "coco": Target(_coco, ".json", ("relo_jax.data.datasets.layouts.coco",)),
    "results": Target(_results, ".txt", ("relo_jax.eval.results.",)),
    "box_file": Target(_box_file, ".txt", ("relo_jax.tracking.box_files.",)),
    "image": Target(_image, ".jpg", ("relo_jax.media.images",)),
    "film": Target(_film, ".mp4", ("relo_jax.media.",)),
    "arguments": Target(_arguments, ".args", ("relo_jax.commands.",)),
    "fields": Target(_fields, ".args", ("relo_jax.config.",)),
}

if __name__ == "__main__":  # python -m tests.fuzz.targets NAME FILE: runs one input, with the traceback of a defect
    check(TARGETS[sys.argv[1]], Path(sys.argv[2]))
