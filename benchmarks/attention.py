"""Implementations of attention at a variant's sizes. `relo_jax.model.layers.ATTENTION` picks the quickest by backend.

    python -m benchmarks.attention --variant t256 --batch 1

A CPU has its row (docs/performance.md); a GPU, where "cudnn" is added, and a TPU have none yet.
"""

import jax
import jax.numpy as jnp

from benchmarks import common
from relo_jax.model import RELO
from relo_jax.model.layers import dot_product_attention


def textbook(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Softmax, then the weighted sum, as the formula is written."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits, axis=-1).astype(value.dtype), value)


def main() -> None:
    args = common.arguments(__doc__, repeats=30, batch=1, dtype=common.DTYPES)
    config = RELO.from_variant(args.variant, dtype=args.dtype).config
    queries = config.grid**2 + config.templates * (config.template_size // 16) ** 2 + config.temporal_tokens
    shape = lambda tokens: (args.batch, tokens, config.heads, config.width // config.heads)
    query = jax.random.normal(jax.random.key(0), shape(queries), config.dtype)
    key, value = jax.random.normal(jax.random.key(1), (2, *shape(queries + config.temporal_tokens)), config.dtype)
    implementations = {"textbook": textbook}
    for name in ("plain", "xla", *(("cudnn",) if jax.default_backend() == "gpu" else ())):
        implementations[name] = lambda *x, name=name: dot_product_attention(*x, implementation=name)

    def all_layers(attend):
        """The attention of every layer in one program, which hides the cost of the dispatch."""
        run = jax.jit(lambda q, k, v: jax.lax.scan(lambda q, _: (attend(q, k, v), None), q, length=config.depth)[0])
        return lambda: run(query, key, value)

    seconds = common.times({name: all_layers(attend) for name, attend in implementations.items()}, args.repeats)
    row = {"variant": args.variant, "dtype": config.dtype, "batch": args.batch, "layers": config.depth}
    row |= {f"{name}_ms": common.spread(s) for name, s in seconds.items()}
    row["textbook_over_plain"] = round(row["textbook_ms"]["median"] / row["plain_ms"]["median"], 2)
    common.record("attention", row)


if __name__ == "__main__":
    main()
