"""`relo export CHECKPOINT OUT`: the tracker as ONNX graphs with a driver, or as StableHLO."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relo_jax.commands import arguments
from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo export`."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="run directory, its checkpoints/<step>, .pth.tar, .safetensors, "
        "hf://org/name, or a starter",
    )  # fmt: skip
    parser.add_argument("output", metavar="OUT", type=Path, help="folder to write; must not exist, or be empty")
    parser.add_argument(
        "--format", choices=("onnx", "stablehlo"), default="onnx", help="onnx: for ONNX Runtime, OpenVINO, browsers; "
        "stablehlo: for JAX without relo_jax (default onnx)",
    )  # fmt: skip
    text = "besides float32: float16, int8 or float16,int8; bfloat16 of stablehlo"
    parser.add_argument("--precision", default="float32", metavar="NAMES", help=text)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="targets at a time (default 1)")
    parser.add_argument("--license", metavar="ID", help="licence of the weights by the hub's identifiers")
    text = "track a dataset, such as lasot, or a folder of sequences with the graphs, and note their AUC"
    parser.add_argument("--auc", metavar="DATASET", help=text)
    parser.add_argument("--data-root", metavar="DIR", help="folder of the datasets (or RELO_DATA_DIR)")
    parser.add_argument("--one-based", action="store_true", help="the annotations of a folder count pixels from 1")
    parser.add_argument("--web", action="store_true", help="add a page that tracks in a browser: see relo web")
    arguments.add_page(parser)


def run(args: argparse.Namespace) -> None:
    """Exports, checks and prints how far the graphs are from relo_jax.

    Raises:
      UserError: see `write.export`.
    """
    from relo_jax.export import page, write

    if (args.node_modules or args.no_webgpu) and not args.web:
        raise UserError("--node-modules and --no-webgpu are about the page: give --web as well")
    if (args.data_root or args.one_based) and not args.auc:
        raise UserError("--data-root and --one-based are about a dataset: name it by --auc")
    add_page = lambda folder, described: page.write_page(folder, described, args.node_modules, not args.no_webgpu)
    if args.format != "onnx" and (args.web or args.auc):
        raise UserError(f"{'--web' if args.web else '--auc'} is for ONNX graphs: leave out --format {args.format}")
    additions = [*([add_page] if args.web else []), *([_add_auc(args)] if args.auc else [])]
    if args.web:
        page.check_page(args.batch, args.node_modules, not args.no_webgpu)
    source = write.Source.of(args.checkpoint, args.license)
    names = args.precision.split(",")
    described = write.export(source, args.output, names, args.batch, additions, args.format)
    for name, entry in described["graphs"].items():
        differences = ", ".join(f"{output} {value:.1g}" for output, value in entry["difference"].items())
        print(f"{name}: largest difference from relo_jax: {differences}")
        for dataset, auc in entry.get("auc", {}).items():
            print(f"{name}: AUC {auc:.4f} on {dataset}")
    if "int8" in described["graphs"]:
        print(_what_int8_gains(args.output, described["graphs"]))
    print(f"written to {args.output}")
    if args.web:
        print(f"what a browser loads: {page.sizes(args.output, described)}; see it with: relo web {args.output}")


def _add_auc(args: argparse.Namespace) -> Callable[[Path, dict], None]:
    """What evaluates an exported folder in each precision, and notes the AUC. Raises UserError for a bad dataset."""
    from relo_jax.eval.benchmarks import open_benchmark
    from relo_jax.eval.runner import evaluate
    from relo_jax.export.backend import Exported

    benchmark = open_benchmark(args.auc, args.data_root, one_based=args.one_based)

    def add(folder: Path, described: dict) -> None:
        for name, entry in described["graphs"].items():
            with tempfile.TemporaryDirectory(prefix="relo-auc-") as results:
                evaluation = evaluate(benchmark, Exported(folder, precision=name), results)
            entry["auc"] = {Path(args.auc).name: round(evaluation.mean.auc, 4)}

    return add


def _what_int8_gains(folder: Path, graphs: dict[str, Any]) -> str:
    """A line on the processor time of a step, measured here."""
    import numpy as np

    from relo_jax.export import parity, precision
    from relo_jax.export.folder import PARITY_FILE

    with np.load(folder / PARITY_FILE) as recorded:
        inputs = parity.at_step(dict(recorded), 1)
    paths = {name: folder / graphs[name]["step"]["file"] for name in ("float32", "int8")}
    taken = precision.processor_ms(paths, inputs)
    line = f"int8: {taken['int8']:.1f} ms of processor time a step here, float32 {taken['float32']:.1f}"
    if taken["int8"] < 0.95 * taken["float32"]:
        return line
    return f"{line}: this processor gains nothing from int8 (those with VNNI or AMX do); use float32 on it"
