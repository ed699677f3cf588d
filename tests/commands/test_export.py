"""`relo export`: flags that belong together."""

import pytest

pytest.importorskip("onnx", reason="needs the extra `export`")

from relo_jax.errors import UserError
from tests.command import run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--no-webgpu"], "--node-modules and --no-webgpu are about the page: give --web as well"),
        (["--one-based"], "--data-root and --one-based are about a dataset: name it by --auc"),
        (["--format=stablehlo", "--web"], "--web is for ONNX graphs: leave out --format stablehlo"),
        (["--format=stablehlo", "--auc=otb"], "--auc is for ONNX graphs: leave out --format stablehlo"),
    ],
)
def test_a_flag_that_nothing_would_read_is_refused(flags, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run("export", "starter-tiny", tmp_path / "out", *flags)
    assert not list(tmp_path.iterdir())
