"""The mapping from the tensors of a PyTorch checkpoint of the release to our arrays, as tables.

Names and layouts are the release's and PyTorch's on one side, ours and Flax's on the other. `sources(model)` expands
the tables for a model.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from relo_jax.model import RELO, init_variables

# (release's name under PREFIX, our path under "encoder", kind). The release numbers all blocks consecutively: {a} and
# {b} are those of stage 1 and 2, where our {i} counts within a stage; {ma} and {mb} are the merges after the stages;
# {m} are the main blocks, which we stack on a first axis.
# fmt: off
ENCODER = (
    ("patch_embed.proj",            "patch_embed",                  "conv"),
    ("blocks.{a}.norm2",            "stage1_{i}/norm",              "norm"),
    ("blocks.{a}.mlp.fc1",          "stage1_{i}/fc1",               "pointwise"),
    ("blocks.{a}.mlp.ffn_ln",       "stage1_{i}/ffn_norm",          "norm"),
    ("blocks.{a}.mlp.fc2",          "stage1_{i}/fc2",               "pointwise"),
    ("blocks.{ma}.norm",            "merge1/norm",                  "norm"),
    ("blocks.{ma}.reduction",       "merge1/reduction",             "conv"),
    ("blocks.{b}.norm2",            "stage2_{i}/norm",              "norm"),
    ("blocks.{b}.mlp.fc1",          "stage2_{i}/fc1",               "pointwise"),
    ("blocks.{b}.mlp.ffn_ln",       "stage2_{i}/ffn_norm",          "norm"),
    ("blocks.{b}.mlp.fc2",          "stage2_{i}/fc2",               "pointwise"),
    ("blocks.{mb}.norm",            "merge2/norm",                  "norm"),
    ("blocks.{mb}.reduction",       "merge2/reduction",             "conv"),
    ("blocks.{m}.norm1",            "blocks/norm1",                 "norm"),
    ("blocks.{m}.attn.q_proj",      "blocks/attn/q_proj",           "matrix"),
    ("blocks.{m}.attn.k_proj",      "blocks/attn/k_proj",           "matrix"),
    ("blocks.{m}.attn.v_proj",      "blocks/attn/v_proj",           "matrix"),
    ("blocks.{m}.attn.q_bias",      "blocks/attn/q_bias",           "vector"),
    ("blocks.{m}.attn.v_bias",      "blocks/attn/v_bias",           "vector"),
    ("blocks.{m}.attn.proj",        "blocks/attn/proj",             "dense"),
    ("blocks.{m}.gamma_1",          "blocks/gamma1",                "vector"),
    ("blocks.{m}.norm2",            "blocks/norm2",                 "norm"),
    ("blocks.{m}.mlp.w1",           "blocks/mlp/w1",                "dense"),
    ("blocks.{m}.mlp.w2",           "blocks/mlp/w2",                "dense"),
    ("blocks.{m}.mlp.ffn_ln",       "blocks/mlp/norm",              "norm"),
    ("blocks.{m}.mlp.w3",           "blocks/mlp/w3",                "dense"),
    ("blocks.{m}.gamma_2",          "blocks/gamma2",                "vector"),
    ("fc_norm",                     "fc_norm",                      "norm"),
    ("pos_embed",                   "pos_embed",                    "table"),
    ("pos_embed_ttoken",            "pos_embed_ttoken",             "table"),
    ("ttokens",                     "ttokens",                      "table"),
    ("template_background_token",   "template_background_token",    "vector"),
    ("template_foreground_token",   "template_foreground_token",    "vector"),
    ("search_token",                "search_token",                 "vector"),
)
PREFIX = "encoder.body."

# (release's module, our path, suffix of its layers, last layer, its kind). The four layers before the last are
# conv1_<suffix> to conv4_<suffix>, each a sequence of convolution (.0), batch norm (.1) and ReLU.
TOWERS = (
    ("decoder",      "regression/center", "ctr",    "conv5_ctr",    "conv"),
    ("decoder",      "regression/offset", "offset", "conv5_offset", "conv"),
    ("decoder",      "regression/size",   "size",   "conv5_size",   "conv"),
    ("policy_model", "policy",            "ctr",    "conv5_ctr",    "conv"),
    ("value_model",  "value",             "val",    "fc_val",       "dense"),
)

# kind of module -> for each of its arrays (suffix in the release, our collection, our leaf, layout)
BIAS = (".bias", "params", "/bias", "vector")
KINDS = {
    "conv":       ((".weight", "params", "/kernel", "conv"), BIAS),
    "pointwise":  ((".weight", "params", "/kernel", "pointwise"), BIAS),
    "dense":      ((".weight", "params", "/kernel", "matrix"), BIAS),
    "matrix":     ((".weight", "params", "/kernel", "matrix"),),
    "norm":       ((".weight", "params", "/scale", "vector"), BIAS),
    "batch_norm": ((".weight", "params", "/scale", "vector"), BIAS,
                   (".running_mean", "batch_stats", "/mean", "vector"),
                   (".running_var", "batch_stats", "/var", "vector")),
    "vector":     (("", "params", "", "vector"),),
    "table":      (("", "params", "", "table"),),
}
# layout -> (the release's shape from ours, permutation of the release's axes before the reshape to ours)
LAYOUTS: dict[str, tuple[Callable[..., tuple[int, ...]], tuple[int, ...]]] = {
    "conv":       (lambda h, w, i, o: (o, i, h, w), (2, 3, 1, 0)),
    "pointwise":  (lambda i, o: (o, i, 1, 1), (2, 3, 1, 0)),  # a 1x1 convolution, which is a linear layer here
    "matrix":     (lambda i, o: (o, i), (1, 0)),
    "vector":     (lambda d: (d,), (0,)),
    "table":      (lambda n, d: (1, n, d), (0, 1, 2)),
}
# fmt: on


@dataclass(frozen=True)
class Source:
    """The origin of one of our arrays: a tensor of the release, or one tensor of every main block, stacked."""

    path: tuple[str, ...]  # ours, starting with the collection
    shape: tuple[int, ...]
    names: tuple[str, ...]  # the release's
    layout: str

    @property
    def part(self) -> str:
        """The part of the model: "encoder", "regression", "policy" or "value"."""
        return self.path[1]

    @property
    def stacked(self) -> bool:
        return self.path[1:3] == ("encoder", "blocks")

    @property
    def item_shape(self) -> tuple[int, ...]:
        return self.shape[1:] if self.stacked else self.shape

    @property
    def release_shape(self) -> tuple[int, ...]:
        return LAYOUTS[self.layout][0](*self.item_shape)

    def assemble(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Our array of `shape`, from one array of `release_shape` for each name."""
        axes = LAYOUTS[self.layout][1]
        items = [array.transpose(axes).reshape(self.item_shape) for array in arrays]
        return np.stack(items) if self.stacked else items[0]

    def take_apart(self, array: np.ndarray) -> list[np.ndarray]:
        """The inverse of `assemble`: an array of `release_shape` for each name, from our array of `shape`."""
        axes = LAYOUTS[self.layout][1]
        permuted = [self.release_shape[axis] for axis in axes]
        items = list(array) if self.stacked else [array]
        return [item.reshape(permuted).transpose(np.argsort(axes)) for item in items]


def abstract_variables(model: RELO) -> dict[str, Any]:
    """Shapes and dtypes of the model's variables, without computing them."""
    return jax.eval_shape(functools.partial(init_variables, model), jax.random.key(0))


@functools.lru_cache(maxsize=4)
def sources(model: RELO) -> tuple[Source, ...]:
    """A `Source` for each array of the model's variables, in the order of the tables."""
    shapes = {
        tuple(key.key for key in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract_variables(model))
    }
    rows = []
    for names, path, kind in _modules(model):
        for suffix, collection, leaf, layout in KINDS[kind]:
            full = (collection, *f"{path}{leaf}".split("/"))
            rows.append(Source(full, shapes.pop(full), tuple(name + suffix for name in names), layout))
    assert not shapes, f"no source for {sorted(shapes)}: the tables do not cover the model"
    return tuple(rows)


def _modules(model: RELO) -> Iterator[tuple[list[str], str, str]]:
    """Yields (release's names of a module, our path, kind); stacked main blocks have several names."""
    first, second = model.config.stem_blocks
    merge1, merge2 = first, first + second + 1
    numbers = {
        "": [None],
        "a": range(first),
        "ma": [merge1],
        "b": range(merge1 + 1, merge2),
        "mb": [merge2],
        "m": range(merge2 + 1, merge2 + 1 + model.config.depth),
    }
    for name, path, kind in ENCODER:
        letter = name.partition("{")[2].partition("}")[0]
        names = [PREFIX + name.format(**{letter: number}) for number in numbers[letter]]
        if letter == "m":
            yield names, f"encoder/{path}", kind
        else:
            for i, name in enumerate(names):
                yield [name], f"encoder/{path}".format(i=i), kind
    for module, path, suffix, last, kind in TOWERS:
        for i in range(4):
            yield [f"{module}.conv{i + 1}_{suffix}.0"], f"{path}/conv{i}", "conv"
            yield [f"{module}.conv{i + 1}_{suffix}.1"], f"{path}/bn{i}", "batch_norm"
        yield [f"{module}.{last}"], f"{path}/out", kind
