"""Which mutants do a module's own tests notice? `python -m tests.mutants.run`, or `--only mdp/action,eval/metrics`.

Each mutant of each module (`MODULES`) runs against the test file that mirrors the module, and no other. It is noticed
if a test fails, or never ends. Writes a row for each mutant (mutants.json) and for each module (modules.jsonl, and as a
table mutants.md), and prints the table and the mutants that were not noticed. Ends with status 1 if one is not
explained in known.toml, or if an entry there explains nothing. `--left` tries only those that earlier runs did not
notice or did not come to.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path

from relo_jax.bars import tqdm
from relo_jax.files import atomic_write
from relo_jax.tables import markdown, terminal
from tests.mutants import trials
from tests.mutants.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
MODULES = (
    "geometry/boxes", "geometry/crop",
    "mdp/action", "mdp/expected_gradient", "mdp/policy_gradient", "mdp/reward", "mdp/rollout",
    "model/temporal", "config/data_options", "data/clips/plan", "eval/metrics", "eval/bootstrap", "tracking/step",
)  # fmt: skip
KNOWN = Path(__file__).with_name("known.toml")
HEADS = ["module", "mutants", "equivalent", "noticed", "share"]
_PATIENCE = 5  # times the processor time of the unchanged module


def known() -> dict[tuple[str, str, str], str]:
    """Why mutants are not noticed, by module, lines before and lines after."""
    entries = tomllib.loads(KNOWN.read_text())["because"]
    return {(e["module"], *change): e["why"] for e in entries for change in e["mutants"]}


def paths(module: str) -> tuple[Path, Path]:
    """The source and the tests of a module, `mdp/action`."""
    folder, _, name = module.rpartition("/")
    return ROOT / "relo_jax" / f"{module}.py", ROOT / "tests" / folder / f"test_{name}.py"


def rows_of(module: str, chosen: list[Mutant], scratch: Path, jobs: int) -> Iterator[dict]:
    """A row for each mutant. Raises RuntimeError if the tests fail on the module as it is, or do not import it."""
    file, tests = paths(module)
    name = f"relo_jax.{module.replace('/', '.')}"
    trials.prepared(name, scratch)
    for _ in range(2):  # the first time compiles
        trial = trials.Trial(name, file.read_text(), tests, 600)
        ((_, outcome),) = trials.outcomes([trial], scratch)
    if outcome.result != "passed":
        raise RuntimeError(f"{tests.relative_to(ROOT)} on the unchanged module: {outcome.result} {outcome.test or ''}")
    limit = 10 + _PATIENCE * outcome.seconds
    by_source = {mutant.source: mutant for mutant in chosen}
    all_trials = (trials.Trial(name, source, tests, limit) for source in by_source)
    for trial, outcome in trials.outcomes(all_trials, scratch, jobs):
        mutant = by_source[trial.source]
        yield {
            "module": module, "line": mutant.line, "before": mutant.before, "after": mutant.after,
            "result": outcome.result, "test": outcome.test, "seconds": round(outcome.seconds, 2),
        }  # fmt: skip


def campaign(pairs: list[tuple[str, Mutant]], jobs: int) -> Iterator[dict]:
    """The rows of mutants, each given with its module."""
    for name in dict.fromkeys(name for name, _ in pairs):
        chosen = [mutant for owner, mutant in pairs if owner == name]
        yield from tqdm(_in_fork(name, chosen, jobs), desc=name, unit="mutant", total=len(chosen))


def _in_fork(module, chosen, jobs):
    """The rows of a module, whose process has imported what it needs and no more."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            with open(writer, "w", buffering=1) as file, tempfile.TemporaryDirectory() as scratch:
                for row in rows_of(module, chosen, Path(scratch), jobs):
                    file.write(json.dumps(row) + "\n")
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader) as file:
        yield from map(json.loads, file)
    if os.waitpid(process, 0)[1]:
        raise RuntimeError(f"{module}: the campaign ended early")


def counts(rows: list[dict]) -> list[dict]:
    """A row for each module, and one for all: mutants, those known as equivalent, and noticed."""
    reasons, lines = known(), []
    for module in [*(name for name in MODULES if any(row["module"] == name for row in rows)), "all"]:
        of_it = [row for row in rows if module in (row["module"], "all")]
        equivalent = sum(_key(row) in reasons for row in of_it)
        noticed = sum(row["result"] != "passed" for row in of_it)
        lines.append({"module": module, "mutants": len(of_it), "equivalent": equivalent, "noticed": noticed})
    return lines


def table(lines: list[dict]) -> list[list[str]]:
    """The cells of `counts`, with the share of the mutants that are not equivalent."""
    share = lambda line: line["noticed"] / max(line["mutants"] - line["equivalent"], 1)
    return [[*map(str, line.values()), f"{100 * share(line):.1f} %"] for line in lines]


def _key(row):
    return row["module"], row["before"], row["after"]


def complaints(rows: list[dict], is_complete: bool) -> list[str]:
    """What to do: mutants that nobody explained, and explanations of what is noticed or not there."""
    reasons = known()
    survivors = {_key(row): row for row in rows if row["result"] == "passed"}
    lines = [
        f"relo_jax/{module}.py:{row['line']}: not noticed\n  - {before}\n  + {after}"
        for (module, before, after), row in survivors.items()
        if (module, before, after) not in reasons
    ]
    tried = {_key(row) for row in rows}
    modules = {row["module"] for row in rows}
    for key in reasons:
        if key in tried and key not in survivors:
            lines.append(f"known.toml: {key} is noticed: remove it")
        elif is_complete and key[0] in modules and key not in tried:
            lines.append(f"known.toml: {key} is no mutant: remove it")
    return lines


def main() -> int:
    """Runs the campaign and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="modules, with commas between them")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn from all (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--left", action="store_true", help="only those that no run before noticed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"))
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(MODULES)
    if unknown := set(names) - set(MODULES):
        parser.error(f"unknown module {', '.join(unknown)}; known: {', '.join(MODULES)}")
    os.chdir(ROOT)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "mutants.json"
    pairs = [(name, mutant) for name in names for mutant in mutants(paths(name)[0].read_text())]
    there = {(name, mutant.before, mutant.after) for name, mutant in pairs}
    earlier = json.loads(file.read_text()) if args.left and file.exists() else []
    is_kept = lambda row: row["module"] not in names or (_key(row) in there and row["result"] != "passed")
    rows = {_key(row): row for row in earlier if is_kept(row)}
    pairs = [(name, mutant) for name, mutant in pairs if (name, mutant.before, mutant.after) not in rows]
    if args.sample is not None:
        pairs = random.Random(args.seed).sample(pairs, min(args.sample, len(pairs)))
    for row in campaign(pairs, args.jobs):
        rows[_key(row)] = row
        with atomic_write(file) as unfinished:
            unfinished.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    rows = list(rows.values())
    lines = counts(rows)
    (args.out / "modules.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (args.out / "mutants.md").write_text(markdown(HEADS, table(lines), "lrrrr") + "\n")
    print(terminal([HEADS, *table(lines)], "lrrrr"))
    found = complaints(rows, args.sample is None)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
