"""What rounding does to tracking: bfloat16 beside float32, and float32 with a little noise in its weights.

    python -m benchmarks.rounding --root otb_mini --checkpoint starter --seeds 4 --noise 1e-5

*A step*: both dtypes take every third frame from the state that float32 has reached; their boxes are compared at the
cell that float32 chooses. *AUC*: each follows its own boxes. Noise multiplies every weight by 1 + `noise` x a normal
number. What it changes says how much of a difference between two AUCs is chance.
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from benchmarks import common
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.sequence import Sequence
from relo_jax.eval import metrics
from relo_jax.model import RELO
from relo_jax.model.folding import fold
from relo_jax.model.inference import Network
from relo_jax.tracking.step import greedy
from relo_jax.tracking.tracker import Tracker


def track(tracker: Tracker, sequence: Sequence) -> np.ndarray:
    """The tracker's boxes, `[F, 4]`; the first one is the truth."""
    first = [float(value) for value in sequence.boxes_xywh[0]]
    tracker.init(sequence.read_frame(0), first)
    return np.array([first, *(tracker.update(sequence.read_frame(n)).box for n in range(1, len(sequence)))])


def steps(tracker: Tracker, sequence: Sequence) -> tuple[np.ndarray, list]:
    """As `track`; and the network's state and search crop before each frame."""
    engine, seen = tracker._engine, []
    ahead = engine.track_crops

    def remember(crops, sides, sizes):
        seen.append(jax.tree.map(np.array, (engine.state.state, crops)))  # the state is given away
        return ahead(crops, sides, sizes)

    engine.track_crops = remember
    try:
        return track(tracker, sequence), seen
    finally:
        del engine.track_crops


def boxes(model: RELO, variables: dict):
    """A function (state, crop, action or -1) -> (action, log size, offset) of this model's dtype."""
    network = Network(model.config, fold(model.config, variables))

    @jax.jit
    def run(state, crop, action):
        features, _ = network.frame(state.templates, crop, state.tokens, state.first)
        action = jnp.where(action < 0, greedy(state.window * network.policy_logits(features)), action)
        size, offset = network.box_at(features, action)
        return action, jnp.log(size), offset

    return run


def differences(exact, rounded, seen: list) -> np.ndarray:
    """Of each frame: mean of the relative error of the size, of its absolute value, of the offset's in cells."""
    errors = []
    for state, crop in seen:
        action, size, offset = exact(state, crop, jnp.array([-1]))
        _, other_size, other_offset = rounded(state, crop, action)
        size, offset = np.asarray(other_size - size), np.asarray(other_offset - offset)
        errors.append([size.mean(), np.abs(size).mean(), np.abs(offset).mean()])
    return np.array(errors)


def main() -> None:
    args = common.arguments(__doc__, root="otb_mini", checkpoint="starter", seeds=4, noise="1e-5")
    model, variables, options = Tracker._load(args.checkpoint, None, {})
    wide, narrow = (RELO(dataclasses.replace(model.config, dtype=dtype)) for dtype in common.DTYPES)
    variables = jax.tree.map(np.asarray, variables)
    found = {"float32": Tracker(wide, variables, options, device_crops=False)}
    found["bfloat16"] = Tracker(narrow, variables, options)
    for seed in range(args.seeds):
        rng = np.random.default_rng(seed)
        noisy = lambda x, rng=rng: (x * (1 + float(args.noise) * rng.standard_normal(x.shape))).astype(np.float32)
        params = jax.tree.map(noisy, variables["params"])
        found[f"noise {seed}"] = Tracker(wide, variables | {"params": params}, options)
    exact, rounded = boxes(wide, variables), boxes(narrow, variables)
    scores, errors = {name: [] for name in found}, []
    sequences = [*read_folder(Path(args.root))]
    for sequence in tqdm.tqdm(sequences, unit="sequence", file=sys.stderr):
        paths = {name: track(tracker, sequence) for name, tracker in found.items() if name != "float32"}
        paths["float32"], seen = steps(found["float32"], sequence)
        errors.append(differences(exact, rounded, seen[::3]))
        for name, path in paths.items():
            scores[name].append(metrics.measure(path, np.asarray(sequence.boxes_xywh)))
    mean = lambda name: round(float(metrics.mean(scores[name]).auc), 4)
    bias, size, offset = (float(value) for value in np.concatenate(errors).mean(0))
    row = {"checkpoint": args.checkpoint, "root": Path(args.root).name, "noise": float(args.noise)}
    row |= {"auc": {name: mean(name) for name in common.DTYPES}}
    row["auc"]["noise"] = [mean(name) for name in found if name.startswith("noise")]
    row["auc_by_sequence"] = {
        sequence.name: {name: round(float(scores[name][k].auc), 3) for name in found}
        for k, sequence in enumerate(sequences)
    }
    row["step"] = {"size_bias": round(bias, 5), "size": round(size, 5), "offset_cells": round(offset, 5)}
    common.record("rounding", row)


if __name__ == "__main__":
    main()
