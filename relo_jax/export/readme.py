"""README.md of an exported folder: what is in it, and how to run it."""

from __future__ import annotations

from typing import Any

from relo_jax.tables import markdown


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
    licence = described["licence"]
    rights = f"The weights: {licence}." if licence else "The weights: nobody said under which licence."
    states = ", ".join(f"`{name}` {shape}" for name, shape in described["state"].items())
    return f"""# {described["checkpoint"]["name"]}, exported

A single-object tracker (RELO, variant {described["variant"]}) as ONNX graphs with their driver, written by relo_jax
{described["relo_jax"]}. {rights}

{markdown(heads, rows)}
## Run it

`relo_track.py` is the whole tracker around the graphs, and needs three packages:

    pip install numpy opencv-python-headless onnxruntime

    import relo_track
    tracker = relo_track.Tracker(".")
    tracker.init(frame, (x, y, w, h))          # uint8 RGB, a box in pixels
    result = tracker.update(next_frame)        # result.box, result.score, result.found

## Run it from another language

`tracker.json` has sizes, rules and the sha256 of every graph. A step takes `search` uint8 [B, S, S, 3] (RGB, B =
{described["batch"]}, S = {described["search_size"]}), `templates`, `first`, and the states of the last step: {states}. They begin as
zeros, with `first` true; each step returns the next as `new_...`. `parity.npz` has inputs and outputs to check with.
"""


def _difference(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1g}" for name, value in found.items())


def _auc(entry: dict[str, Any]) -> str:
    return ", ".join(f"{value:.4f} ({dataset})" for dataset, value in (entry.get("auc") or {}).items()) or "-"
