"""Fuzzes a target in this process: `python -m tests.fuzz.one TARGET --seconds 60 --out DIR`, or `all --cases 200`.

With atheris, inputs are bred by the branches that they reach; without it (`--cases`), they are mutations of the corpus.
An input that fails, hangs for more than ten seconds or needs a gigabyte is written to `--out`; the process then ends
with a status other than 0. Its last line is the number of executions.
"""

import argparse
import faulthandler
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

from tests.fuzz.mutate import mutations
from tests.fuzz.targets import CORPUS, TARGETS, check

SECONDS, MEBIBYTES = 10, 1024  # that one input may take


def limit_memory() -> None:
    """From here on, this process may ask for a gigabyte more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (MEBIBYTES << 20),) * 2)


def warm_up(target, folder) -> None:
    """Imports everything that the target needs, so that it does not count as the memory of an input."""
    for path in sorted(folder.iterdir()):
        check(target, path)


def run_cases(name, count, scratch, out) -> int:
    """Mutations of the corpus, each written to `--out` before it runs, so that a crash leaves it there."""
    target = TARGETS[name]
    path, finding = scratch / f"input{target.suffix}", out / f"{name}-crash{target.suffix}"
    inputs = list(mutations(corpus(name), count, seed=0))
    for data in inputs:
        finding.write_bytes(data)
        path.write_bytes(data)
        signal.alarm(SECONDS)
        check(target, path)
        signal.alarm(0)
    finding.unlink()
    return len(inputs)


def corpus(name) -> list[bytes]:
    """The inputs in the repository."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def run_atheris(name, seconds, scratch, out) -> None:
    """libFuzzer's loop; it writes inputs that fail to `--out` and ends the process."""
    import atheris

    target = TARGETS[name]
    path = scratch / f"input{target.suffix}"

    def one(data):
        path.write_bytes(data)
        check(target, path)

    for module in [m for m in sys.modules if m.startswith(target.modules)]:
        del sys.modules[module]
    with atheris.instrument_imports(include=[module.rstrip(".") for module in target.modules]):
        warm_up(target, CORPUS / name)
    limit_memory()
    grown = out / f"{name}-corpus"
    grown.mkdir(exist_ok=True)
    flags = [
        f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={4 * MEBIBYTES}", "-print_final_stats=1",
        f"-artifact_prefix={out}/{name}-", "-max_len=65536", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags, str(grown), str(CORPUS / name)], one)
    atheris.Fuzz()


def main() -> None:
    """Parses the arguments and fuzzes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.cases is None:
            run_atheris(args.target, args.seconds, scratch, args.out)
            return
        names = list(TARGETS) if args.target == "all" else [args.target]
        for name in names:
            warm_up(TARGETS[name], CORPUS / name)
        limit_memory()
        for name in names:
            print(f"{name}: {run_cases(name, args.cases, scratch, args.out)} executions")


if __name__ == "__main__":
    main()
