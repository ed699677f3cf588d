"""`relo reproduce`: its flags, those of `--efficiency`, and which belong to which."""

import pytest

from relo_jax.commands import main as cli
from relo_jax.profiling import efficiency


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr(efficiency, "measure", lambda *args, **more: found.append((args, more)))
    return found


def test_efficiency_measures_the_papers_variants_without_checkpoint_and_data(calls):
    assert cli.main(["reproduce", "--efficiency"]) == 0
    ((variants, dtype, frames, height, width), more) = calls[0]
    assert variants == ["t256", "b256", "l256"] and (dtype, frames, height, width) == ("float32", 10, 480, 640)
    assert str(more["out"]) == "results/efficiency"


def test_efficiency_takes_one_variant_and_its_own_flags(calls):
    flags = ["--variant=mini", "--dtype=bfloat16", "--frames=3", "--size=320x240", "--out=here"]
    assert cli.main(["reproduce", "--efficiency", *flags]) == 0
    assert calls[0][0] == (["mini"], "bfloat16", 3, 240, 320) and str(calls[0][1]["out"]) == "here"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "relo reproduce: --variant is missing, such as --variant b256"),
        (["--variant=b256"], "relo reproduce: --checkpoint is missing, such as --checkpoint relo_b256.pth.tar"),
        (["--variant=b256", "--checkpoint=b", "--frames=3"], "--frames is read with --efficiency only"),
        (["--efficiency", "--checkpoint=b"], "--checkpoint is not read with --efficiency"),
        (["--efficiency", "--data-root=/data"], "--data-root is not read with --efficiency"),
        (["--efficiency", "--dataset=lasot"], "--dataset is not read with --efficiency"),
        (["--efficiency", "--batch=2"], "--batch is not read with --efficiency"),
        (["--efficiency", "--frames=0"], "--frames is 0: give at least 1"),
        (["--efficiency", "--size=big"], "--size is 'big': give WIDTHxHEIGHT"),
    ],
)
def test_a_mistake_is_one_line(flags, message, calls, capsys):
    assert cli.main(["reproduce", *flags]) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and not calls
