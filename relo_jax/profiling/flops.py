"""Floating-point operations of a function, counted in its jaxpr: two for each multiplication of a matrix product or a
convolution, as model FLOPs are quoted. XLA's own cost analysis counts the body of a loop once, and the blocks of the
encoder are one.
"""

import math

import jax
from jax.extend import core


def matmul_flops(function, *args):
    """FLOPs of the matrix products and convolutions of `function(*args)`; args may be shapes (`jax.ShapeDtypeStruct`).

    Loops of known length count as often as they run, `lax.cond` as its dearest branch, a `while` loop once.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _of_jaxpr(jaxpr):
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation):
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


def _inner(values):
    """The jaxprs among an equation's parameters."""
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _inner(value)
