"""The devices that programs are compiled for, without any of them."""

import jax
import pytest
from jax._src.cudnn import fused_attention_stablehlo as attention

from relo_jax.errors import UserError
from relo_jax.model import platform
from relo_jax.profiling.compiled import targets


def test_names_of_targets():
    assert targets.parse("h100") == targets.Target("h100", "h100", "1")
    assert targets.parse("h100:8").shape == "8" and targets.parse("h100:8").platform == "gpu"
    assert targets.parse("v5p:4x4x8").limits.title == "TPU v5p"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v6:4x4", "there is no chip 'v6' (did you mean 'v6e'?)"),
        ("h100:2x2", "give the number of GPUs of one machine, such as h100:8"),
        ("v5e", "give the slice as well, such as v5e:4x4"),
        ("v4:0x2x4", "such as v4:2x2x4"),
    ],
)
def test_a_target_that_is_none_is_one_line(name, words):
    with pytest.raises(UserError) as raised:
        targets.parse(name)
    assert words in str(raised.value) and f"--topology {name}" in str(raised.value)


@pytest.mark.parametrize(("name", "package"), [("h100", "jax-cuda12-plugin"), ("v5e:4x4", "libtpu")])
def test_a_missing_compiler_is_named_with_its_extra(name, package, monkeypatch):
    monkeypatch.setattr(targets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"needs {package}, not the device: pip install 'relo-jax.plan-[gt]pu.'"):
        targets.devices(targets.parse(name))


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            'INVALID_ARGUMENT: layout "v5e:3x5" is not divisible by chips_per_host_bounds\nmore',
            "the compiler knows no slice 3x5 of TPU v5e: take v5e:2x2, v5e:4x4 or v5e:16x16, say",
        ),
        ("the library is in use\nmore", "the library is in use"),
    ],
)
def test_a_slice_that_the_compiler_does_not_know_is_one_line(refusal, message, monkeypatch):
    def refuse(**_):
        raise RuntimeError(refusal)

    monkeypatch.setattr(targets, "is_installed", lambda kind: True)
    monkeypatch.setattr(targets.topologies, "get_topology_desc", refuse)
    with pytest.raises(UserError, match=f"^--topology v5e:3x5: {message}$"):
        targets.devices(targets.parse("v5e:3x5"))


def test_the_slices_that_a_message_names_are_targets():
    for chip, shapes in targets.SLICES.items():
        for shape in shapes:
            assert targets.parse(f"{chip}:{shape}").chip == chip


@pytest.mark.parametrize(
    ("name", "chips"), [("h100:8", 8), ("v4:2x2x4", 16), ("v5e:4x4", 16), ("v5p:4x4x8", 128), ("v6e:16x16", 256)]
)
def test_a_slice_has_a_device_for_each_chip(name, chips):
    target = targets.parse(name)
    if not targets.is_installed(target.platform):
        pytest.skip(f"needs the extra plan-{target.platform}")
    assert len(targets.devices(target)) == chips


def test_programs_are_traced_for_the_target_and_cudnn_is_assumed_there():
    asks = attention.check_cudnn_version
    query = jax.ShapeDtypeStruct((2, 64, 4, 64), "bfloat16")
    attend = lambda q: jax.nn.dot_product_attention(q, q, q, implementation="cudnn")
    with targets.tracing_for(targets.parse("h100")):
        assert platform.choices() is platform.BY_PLATFORM["gpu"]
        assert "dot_product_attention_fwd" in str(jax.make_jaxpr(attend)(query))
    assert attention.check_cudnn_version is asks, "a card of this machine is asked again"
