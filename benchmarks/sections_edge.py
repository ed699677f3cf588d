"""docs/edge.md: exported graphs on a CPU beside relo_jax and PyTorch, and the paper's edge devices."""

from benchmarks.rows import latest, origin, rows, table, wrapped
from relo_jax.config.published_tables import EDGE

AIM = 1.3  # times the frames/s of PyTorch eager, t256 by the best backend
PEER = "PyTorch eager"
OURS = ("relo_jax", PEER)  # beginnings of the ways that run no exported graph

PAGE = """# Edge devices and CPUs

`relo export` makes graphs that other runtimes compute ([export.md](export.md)); this page has their speed on a CPU.
`python -m benchmarks.tables` writes it from [`edge.jsonl`](../benchmarks/results/edge.jsonl). Measure your machine, in
five minutes:

```
python -m benchmarks.edge
```

## How to run them

| | |
|---|---|
| `relo track VIDEO --box x,y,w,h --backend openvino` | any checkpoint, exported the first time into the user's cache |
| `relo track ... --backend onnxruntime --checkpoint out/` | a folder of `relo export`; `--precision int8` |
| `relo eval --backend onnxruntime --checkpoint out/` | evaluates it like any other tracker: results, scores, report |
| `relo_jax.open_exported("out/", backend="openvino")` | a `Tracker` on these graphs, for `relo_jax.track` too |
| `python out/relo_track.py VIDEO --box x,y,w,h` | without relo_jax: NumPy, OpenCV and ONNX Runtime |
| [`examples/cpp/`](../examples/cpp/README.md) | in C++17, on OpenVINO |

`pip install "relo-jax[openvino]"` brings OpenVINO, `"relo-jax[onnx]"` ONNX Runtime. A checkpoint that is exported first
needs `"relo-jax[export]"` too.

All of them cut the same crops and give the same boxes, to 0.05 pixels a step; the tests compare them. With a backend,
`--dtype` and another `--window-power` than that of an exported folder are refused: both are part of the graphs. On
drawn sequences (`--dataset procedural`) the exported tracker gets whole frames and relo_jax its crops drawn at their
size, so numbers there differ.
{measured}
## The paper's edge devices

{paper}
"""


def page() -> str:
    """The text of docs/edge.md."""
    found = latest(rows("edge"), "variant")
    edge = EDGE["RELO-T256"]
    paper = (
        'The paper measured on a "Jetson" and on a CPU that it calls "i9". '
        f"RELO-T256 tracks {edge.cpu} frames/s on the CPU and {edge.jetson} on the Jetson. Its machines, its code and "
        "its threads are others than those above: compare the figures of one table only."
    )
    return PAGE.format(measured=_measured(found), paper=wrapped(paper))


def _measured(found: list[dict]) -> str:
    """The tables, one a variant, and what they come to; a sentence if there are no rows."""
    if not found:
        return "\nNothing was measured yet.\n"
    text = (
        "Median milliseconds of `Tracker.update` on a frame of 640 x 480: crop, network, and the way of the box. "
        "*CPU*: the processor time of all threads, which says what a busy machine will do. One target at a time. "
        "PyTorch runs the network eagerly, with the driver's crops, and for mini and tiny without value and score."
    )
    parts = [f"\n## Measured\n\n{wrapped(text)}\n", *map(_of_variant, found)]
    return "".join([*parts, f"\n{origin(found)}\n"])


def _of_variant(row: dict) -> str:
    counts = [int(name.removeprefix("threads_")) for name in row if name.startswith("threads_")]
    heads = [row["variant"]]
    for count in counts:
        heads += [f"ms, {count} thread{'s' if count > 1 else ''}", "CPU", "frames/s"]
    cells = []
    for way in row[f"threads_{counts[0]}"]:
        line: list = [way]
        for count in counts:
            ms = row[f"threads_{count}"][way]
            wall, processor = ms["wall_ms"]["median"], ms["processor_ms"]["median"]
            line += [f"{wall:.1f}", f"{processor:.1f}", f"{1000 / wall:.0f}"]
        cells.append(line)
    weights = "random weights" if row["weights"] == "random" else f"the checkpoint {row['weights']}"
    text = wrapped(f"**{row['variant']}** ({weights}).{_beside_torch(row, counts)}")
    return f"\n{text}\n\n{table(heads, cells)}\n"


def _beside_torch(row: dict, counts: list[int]) -> str:
    """The best runtime's frames/s over PyTorch's, for each number of threads; for t256 beside the aim."""
    found = []
    for count in counts:
        wall = {way: ms["wall_ms"]["median"] for way, ms in row[f"threads_{count}"].items()}
        if PEER not in wall:
            return ""
        runtimes = [way for way in wall if not way.startswith(OURS)]
        best = min((way for way in runtimes if not way.endswith("int8")), key=wall.__getitem__)
        int8 = [f", {way} {wall[PEER] / wall[way]:.2f}" for way in runtimes if way.endswith("int8")]
        threads = f"{count} thread{'s' if count > 1 else ''}"
        found.append(f"{best} {wall[PEER] / wall[best]:.2f} times{''.join(int8)} with {threads}")
    aim = f" The aim was {AIM}." if row["variant"] == "t256" else ""
    return f" Frames/s over those of PyTorch: {'; '.join(found)}.{aim}"
