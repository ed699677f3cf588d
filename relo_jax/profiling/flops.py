"""Floating-point operations of a function, counted in its jaxpr.

A multiplication of a matrix product or a convolution counts as two, as usual for model FLOPs. XLA's own cost analysis
counts the body of a loop once, and the blocks of the encoder are a loop.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
from jax.extend import core


def matmul_flops(function: Callable, *args: Any) -> int:
    """FLOPs of the matrix products and convolutions of `function(*args)`; args may be shapes (`jax.ShapeDtypeStruct`).

    A loop of known length counts as often as it runs, `lax.cond` as its most expensive branch, a `while` loop once.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _of_jaxpr(jaxpr: core.Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[k] for k in contracted)
    if name == "conv_general_dilated":
        kernel, dims = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
        window = math.prod(kernel[k] for k in dims[2:]) * kernel[dims[1]]
        return 2 * math.prod(equation.outvars[0].aval.shape) * window
    if name == "cond":
        return max(_of_jaxpr(branch.jaxpr) for branch in params["branches"])
    times = params["length"] if name == "scan" else 1
    return times * sum(_of_jaxpr(inner) for inner in _inner(params.values()))


def _inner(values: Iterable[Any]) -> Iterator[core.Jaxpr]:
    """The jaxprs among an equation's parameters."""
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _inner(value)
