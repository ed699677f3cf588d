"""Position tables equal those of PyTorch's `interpolate`, whose outputs are in `fixtures/bicubic.npz`."""

import numpy as np

from relo_jax.checkpoints.pytorch.position_embedding import bicubic_weights, split_positions
from relo_jax.model import RELO


def test_positions_are_cut_or_enlarged_as_by_pytorch(fixtures):
    with np.load(fixtures / "bicubic.npz") as file:
        for old, new in ((3, 5), (14, 16), (4, 4), (2, 7)):
            weights = bicubic_weights(old, new)
            enlarged = np.einsum("ip,jq,pqd->ijd", weights, weights, file[f"in_{old}_{new}"])
            np.testing.assert_allclose(enlarged, file[f"out_{old}_{new}"], atol=1e-5)
        table, expected = file["in_14_16"], file["out_14_16"]
    model = RELO.from_variant("t256")  # 16 x 16 search cells: enlarged; 8 x 8 of the template: cut
    parts = split_positions(table.reshape(1, 14 * 14, 2), model)
    assert parts.shape == (1, 256 + 64, 2)
    np.testing.assert_allclose(parts[0, :256], expected.reshape(256, 2), atol=1e-5)
    np.testing.assert_array_equal(parts[0, 256:], table[:8, :8].reshape(64, 2))
