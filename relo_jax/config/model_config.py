"""`ModelConfig`: every field of the network with its default, the choices it has, and the checks of its value."""

import dataclasses
import math
from typing import Any

from relo_jax.errors import UserError, did_you_mean

STRIDE = 16  # pixels of a crop along each side of one token
LARGEST = 1 << 16  # of any size: beyond it, shapes overflow before memory runs out


def _choice(*known: str):
    """A field that has one of these values; the first is the default."""
    return dataclasses.field(default=known[0], metadata={"choices": known})


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes and options of the network (paper, Section 3). `RELO.from_variant` makes one from the table of variants.

    Raises:
      UserError: no network can be built from a value.
    """

    variant: str  # name in the table of variants; the fields below may differ from its row
    width: int  # D, of the main blocks
    stem_blocks: tuple[int, int]  # convolutional blocks in stage 1 and in stage 2
    depth: int  # L, number of main blocks
    heads: int  # attention heads
    temporal_tokens: int  # n, tokens that go from frame to frame
    templates: int  # K, template slots
    search_size: int  # S, side of the search crop in pixels
    template_size: int  # s, side of the template crop in pixels
    head_width: int  # c, channels of the first convolution of each head
    drop_path: float = 0.1  # stochastic depth of the last block; it rises linearly from 0
    layer_scale: float = 0.1  # initial value of gamma1 and gamma2
    init_scheme: str = _choice("release", "similarity")  # the second for random weights, see `init_variables`
    remat: bool = False  # recompute each main block in the backward pass instead of storing its activations
    # What remat stores of a block all the same. "dots": outputs of linear layers, so that little but attention and
    # norms is computed twice.
    remat_policy: str = _choice("nothing", "dots")
    # Of encoder and towers; parameters, softmax, norms and outputs are float32.
    dtype: str = _choice("float32", "bfloat16", "float16")
    # How temporal tokens go from frame to frame: the paper's way and two to compare it with, see `model/temporal.py`.
    propagation: str = _choice("layer_aligned", "deep_to_shallow", "none")
    # Which map locates the target when tracking; "heatmap", the centre map, is there to compare with.
    localizer: str = _choice("policy", "heatmap")

    def __post_init__(self):
        self._check_values()
        object.__setattr__(self, "stem_blocks", tuple(self.stem_blocks))
        width, heads = self.width, self.heads
        if width % 4 or width % heads:
            raise self._error(f"width is {width}, expected a multiple of 4 and of heads={heads}")
        for name in ("search_size", "template_size"):
            if getattr(self, name) % STRIDE:
                raise self._error(f"{name} is {getattr(self, name)}, expected a multiple of {STRIDE}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise self._error(f"{name} is {getattr(self, name)!r}{did_you_mean(getattr(self, name), known)}")
        if self.remat_policy == "dots" and not self.remat:
            raise self._error("remat_policy is 'dots', and nothing reads it without remat=True")

    def _check_values(self):
        """Raises UserError unless each value has its type and range."""

        def check(name, fits, expected):
            if not fits(getattr(self, name)):
                raise self._error(f"{name} is {getattr(self, name)!r}, expected {expected}")

        is_number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool)
        is_pair = lambda x: isinstance(x, (tuple, list)) and len(x) == 2
        for field in dataclasses.fields(self):
            if field.type is int:
                check(field.name, lambda x: type(x) is int and 1 <= x <= LARGEST, f"an integer from 1 to {LARGEST}")
        are_counts = lambda x: is_pair(x) and all(type(n) is int and 0 <= n <= LARGEST for n in x)
        check("stem_blocks", are_counts, "two integers, (1, 1)")
        check("remat", lambda x: isinstance(x, bool), "True or False")
        check("layer_scale", lambda x: is_number(x) and math.isfinite(x), "a number")
        check("drop_path", lambda x: is_number(x) and 0 <= x < 1, "a share in [0, 1)")

    def _error(self, what: str) -> UserError:
        return UserError(f"variant {self.variant!r}: {what}")

    @property
    def grid(self) -> int:
        """H = W, cells along each side of the search region."""
        return self.search_size // STRIDE

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON has it; `RELO.from_config` takes it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


CHOICES = {field.name: field.metadata["choices"] for field in dataclasses.fields(ModelConfig) if field.metadata}
