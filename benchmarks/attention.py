"""Implementations of attention on this machine, at a variant's sizes: what `relo_jax.model.layers.ATTENTION` is set by.

python -m benchmarks.attention --variant t256 --batch 1
"""

import statistics

import jax
import jax.numpy as jnp

from benchmarks import common
from relo_jax.model import RELO
from relo_jax.model.layers import dot_product_attention


def textbook(query, key, value):
    """Softmax, then the sum: what is written down first."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits, axis=-1).astype(value.dtype), value)


def main():
    args = common.arguments(__doc__, repeats=30, batch=1, dtype="float32")
    model = RELO.from_variant(args.variant, dtype=args.dtype)
    queries = model.grid**2 + model.templates * (model.template_size // 16) ** 2 + model.temporal_tokens
    shape = lambda tokens: (args.batch, tokens, model.heads, model.width // model.heads)
    query = jax.random.normal(jax.random.key(0), shape(queries), model.dtype)
    key, value = jax.random.normal(jax.random.key(1), (2, *shape(queries + model.temporal_tokens)), model.dtype)
    choices = {"textbook": textbook}
    for name in ("plain", "xla", *(("cudnn",) if jax.default_backend() == "gpu" else ())):
        choices[name] = lambda *x, name=name: dot_product_attention(*x, implementation=name)

    def layers(attend):
        """As many in a row as the model has, so that what a dispatch costs does not show."""
        run = jax.jit(lambda q, k, v: jax.lax.scan(lambda q, _: (attend(q, k, v), None), q, length=model.depth)[0])
        return lambda: run(query, key, value)

    seconds = common.times({name: layers(attend) for name, attend in choices.items()}, args.repeats)
    row = {"variant": args.variant, "dtype": model.dtype, "batch": args.batch, "layers": model.depth}
    row |= {f"{name}_ms": common.spread(s) for name, s in seconds.items()}
    row["textbook_over_plain"] = round(statistics.median(seconds["textbook"]) / statistics.median(seconds["plain"]), 2)
    common.record("attention", row)


if __name__ == "__main__":
    main()
