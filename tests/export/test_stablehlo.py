"""StableHLO: programs that run without relo_jax, with any number of targets."""

import subprocess
import sys

from relo_jax.export import write
from relo_jax.model import RELO
from tests.export.weights import CALIBRATION, SMALL, random_source

# In a process that has no relo_jax: each step of the record, for one target and for three of the same.
ALONE = """
import sys; sys.modules["relo_jax"] = None
import jax, numpy as np
recorded = np.load("parity.npz")
step = jax.export.deserialize(bytearray(open("step.stablehlo", "rb").read()))
names, states = ("search", "templates", "first", "tokens", "reference"), {"tokens": 1, "reference": 0}
for count in (1, 3):
    inputs = {n: np.repeat(recorded[n][1], count, states.get(n, 0)) for n in names}
    outputs = step.call(inputs)
    for name in ("box", "response", "score", "policy"):
        np.testing.assert_allclose(outputs[name], np.repeat(recorded[name][1], count, 0), atol=1e-4)
    for name, axis in states.items():
        expected = np.repeat(recorded[name][2], count, axis)
        found = np.asarray(outputs[f"new_{name}"])
        np.testing.assert_allclose(found - found.mean(-1, keepdims=True) * (name == "tokens"), expected, atol=1e-4)
print(step.platforms)
"""


def test_a_program_runs_alone_for_any_number_of_targets(tmp_path):
    source = random_source(RELO.from_variant("tiny", **SMALL), CALIBRATION)
    described = write.export(source, tmp_path / "out", form="stablehlo")
    assert described["batch"] is None and described["state"]["reference"] == [None, 32]
    assert not (tmp_path / "out" / "relo_track.py").exists()
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cuda" in done.stdout and "tpu" in done.stdout
