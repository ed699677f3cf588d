"""The PyTorch network that the card's benchmark runs beside ours has its weights, its arithmetic and its numbers."""

import pytest

from relo_jax.model import RELO, variants

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def test_it_computes_the_same_with_the_same_arithmetic(monkeypatch):
    from benchmarks import torch_port
    from benchmarks.device.tracking import frame_flops

    small = dict(width=32, depth=2, heads=2, head_width=16, search_size=64, template_size=32)
    monkeypatch.setitem(variants.VARIANTS, "mite", variants.VARIANTS["tiny"] | small)
    model = RELO.from_variant("mite")
    assert torch_port.flops(torch_port.Frame(model.config).eval()) == frame_flops(model)
    apart = torch_port.apart(model)
    assert apart.keys() == {"box", "response", "tokens"} and max(apart.values()) < 1e-4
