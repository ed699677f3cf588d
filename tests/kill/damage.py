"""Damages every file of a run directory in turn and reads it: `python -m tests.kill.damage`.

Each file of a run with two checkpoints is removed, cut in half, and gets one other bit, in turn. Then the run is
continued and loaded. Either gives exactly what was written or one line (`UserError`): no traceback, in an exception or
printed by a library, and no other array. Prints a table, writes it as damage.json, and ends with status 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import compiler

if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = compiler.FLAGS

import jax
import numpy as np

from relo_jax import config as relo_config
from relo_jax.bars import tqdm
from relo_jax.checkpoints import load
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.tables import terminal
from relo_jax.train import checkpoints, loop
from relo_jax.train.initialise import first_state
from relo_jax.train.mesh import make_mesh

HEADS = ["damage", "cases", "read as written", "one line", "defects"]


def remove(path: Path) -> None:
    """Removes a file."""
    path.unlink()


def cut(path: Path) -> None:
    """Cuts a file in half."""
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Changes one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 1 << 4
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {"removed": remove, "cut in half": cut, "one bit flipped": flip}


def make_run(folder: Path):
    """A run with the checkpoints 2 and 4. Returns its config."""
    from tests.train.runs import make_config

    config = make_config(total_steps=4, checkpoint_every=2, batch_size=jax.device_count(), eval_every=4)
    loop.train_and_evaluate(config, folder)
    return config


def restored(config, run: Path) -> dict[str, np.ndarray]:
    """All arrays with which a run continues, and its position in the data."""
    model, mesh = RELO.from_config(config.model), make_mesh(config)
    run_config = {**relo_config.to_dict(config), "model": model.config.to_dict()}
    with jax.set_mesh(mesh), checkpoints.opened(run, run_config, config.keep_checkpoints) as manager:
        state, position = first_state(config, model, mesh, manager)
    found = _leaves((state.step, state.params, state.batch_stats, state.opt_state))
    return found | {"position": np.asarray(json.dumps(position, sort_keys=True))}


def loaded(run: Path) -> dict[str, np.ndarray]:
    """All arrays of a run's last checkpoint."""
    return _leaves(load.load(run).variables)


def _leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def outcome(read: Callable[[], dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> str:
    """What became of reading a damaged run: "as written", "one line", or what is wrong."""
    with _errors() as printed:
        try:
            found = read()
        except UserError as error:
            result = "one line" if "\n" not in str(error) else f"not one line: {error}"
        except Exception as error:
            result = f"{type(error).__name__}: {str(error)[:200]}"
        else:
            same = any(
                found.keys() == one.keys() and all(np.array_equal(found[name], one[name]) for name in one)
                for one in expected
            )
            result = "as written" if same else "other arrays, and nothing was said"
    text = printed()
    return "a printed traceback: " + text[-200:] if "Traceback" in text else result


@contextlib.contextmanager
def _errors() -> Iterator[Callable[[], str]]:
    """Catches what libraries write to standard error, in C++ too."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        text = [""]
        try:
            yield lambda: text[0]
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            text[0] = file.read().decode(errors="replace")


def cases(run: Path) -> list[tuple[str, Path]]:
    """Every damage of every file; TensorBoard's are only written."""
    files = [p.relative_to(run) for p in sorted(run.rglob("*")) if p.is_file() and "tensorboard" not in p.parts]
    return [(damage, file) for file in files for damage in DAMAGES]


def campaign(folder: Path, every: int = 1) -> Iterator[dict]:
    """The rows of all cases, or of every n-th."""
    run, scratch = folder / "run", folder / "damaged"
    config = make_run(run)
    shutil.copytree(run, folder / "older")
    shutil.rmtree(folder / "older" / "checkpoints" / "4")
    continued = [restored(config, run), restored(config, folder / "older")]
    read = [loaded(run), loaded(folder / "older")]
    for damage, file in tqdm(cases(run)[::every], unit="case"):
        row = {"damage": damage, "file": str(file)}
        for how, function, expected in (
            ("load", lambda: loaded(scratch), read),
            ("continue", lambda: restored(config, scratch), continued),
        ):
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(run, scratch)
            DAMAGES[damage](scratch / file)
            row[how] = outcome(function, expected)
        yield row


def is_defect(result: str) -> bool:
    """Whether an outcome is neither of the two that are promised."""
    return result not in ("as written", "one line")


def main() -> int:
    """Runs the campaign and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="only every n-th case")
    parser.add_argument("--out", type=Path, default=Path("runs/kill"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(campaign(Path(folder), args.every))
    (args.out / "damage.json").write_text(json.dumps(rows, indent=1) + "\n")
    cells = [HEADS]
    for damage in DAMAGES:
        results = Counter(row[how] for row in rows if row["damage"] == damage for how in ("load", "continue"))
        defects = sum(count for result, count in results.items() if is_defect(result))
        cells.append([damage, str(results.total()), str(results["as written"]), str(results["one line"]), str(defects)])
    print(terminal(cells, "lrrrr"))
    bad = [(row, how) for row in rows for how in ("load", "continue") if is_defect(row[how])]
    for row, how in bad:
        print(f"{row['file']} {row['damage']}, {how}: {row[how]}")
    print(f"{2 * len(rows)} cases, {len(bad)} defects")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
