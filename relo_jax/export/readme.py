"""README.md of an exported folder: what is in it, and how to run it."""

from __future__ import annotations

from typing import Any

from relo_jax.tables import markdown

_ONNX = """## Run it

`relo_track.py` is the whole tracker around the graphs, and needs three packages:

    pip install numpy opencv-python-headless onnxruntime
    python relo_track.py VIDEO --box X,Y,W,H --save out.mp4    # or 0, a camera; --help has the rest

In Python:

    import relo_track
    tracker = relo_track.Tracker(".")
    tracker.init(frame, (x, y, w, h))          # uint8 RGB, a box in pixels
    result = tracker.update(next_frame)        # result.box, result.score, result.found

## Run it from another language
"""
_STABLEHLO = """## Run it

The programs take any number of targets, B, and run where JAX does, without relo_jax:

    step = jax.export.deserialize(bytearray(open("step.stablehlo", "rb").read()))
    outputs = step.call({"search": search, "templates": templates, "first": first, "tokens": tokens, ...})

A TPU or a GPU rounds products of float32 as JAX does there; a CPU does not.

## Inputs and outputs
"""


def page(described: dict[str, Any]) -> str:
    """The page, in Markdown.

    Args:
      described: tracker.json.
    """
    graphs = described["graphs"]
    heads = ["precision", "step", "template", "largest difference from relo_jax", "AUC"]
    rows = [
        [name, entry["step"]["file"], entry["template"]["file"], _difference(entry["difference"]), _auc(entry)]
        for name, entry in graphs.items()
    ]
    what = "StableHLO" if described["batch"] is None else "ONNX graphs with their driver"
    licence = described["licence"]
    rights = f"The weights: {licence}." if licence else "The weights: nobody said under which licence."
    search = _shape([described["batch"], *[described["search_size"]] * 2, 3])
    states = ", ".join(f"`{name}` {_shape(shape)}" for name, shape in described["state"].items())
    return f"""# {described["checkpoint"]["name"]}, exported

A single-object tracker (RELO, variant {described["variant"]}) as {what}, written by relo_jax
{described["relo_jax"]}. {rights}

{markdown(heads, rows)}

{_STABLEHLO if described["batch"] is None else _ONNX}
`tracker.json` has sizes, rules and the sha256 of every graph. A step takes `search` uint8 {search}, RGB;
`templates`; `first`; and the states of the last step: {states}.
The states begin as zeros, with `first` true; each step returns the next as `new_...`. `parity.npz` has inputs and
outputs to check with.
"""


def _difference(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1g}" for name, value in found.items())


def _auc(entry: dict[str, Any]) -> str:
    return ", ".join(f"{value:.4f} ({dataset})" for dataset, value in (entry.get("auc") or {}).items()) or "-"


def _shape(sizes: list[int | None]) -> str:
    return str(["B" if size is None else size for size in sizes]).replace("'", "")
