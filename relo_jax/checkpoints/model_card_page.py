"""The model card as a page: what a checkpoint is, how it was made, its metrics and its limits.

It is Markdown with a header for the Hugging Face hub. All of its content comes from `card.json` and `metrics.json` (see
`relo_jax.checkpoints.model_card`).
"""

from typing import Any

from relo_jax import tables


def page(
    card: dict[str, Any], metrics: dict[str, Any] | None = None, repo: str | None = None, license: str | None = None
) -> str:
    """The card as Markdown.

    Args:
      card, metrics: contents of `card.json` and `metrics.json`.
      repo: "org/name" on the hub, if the page is for it.
      license: of the weights, by the hub's identifiers; None names none.
    """
    variant, total = card.get("variant", "?"), sum(card.get("parameters", {}).values())
    title = f"RELO-{variant if variant in ('tiny', 'mini') else variant.upper()}"
    header = ["library_name: relo_jax", *([f"license: {license}"] if license else [])]
    lines = ["---", *header, "tags:", "- visual-object-tracking", "---", "", f"# {title}", ""]
    lines += [f"{_kind(card)} {total / 1e6:.1f} M parameters: {_counts(card.get('parameters', {}))}.", ""]
    lines += _use(f"hf://{repo}" if repo else None, card.get("stage"))
    if card.get("data"):
        lines += ["## Data", "", *_data_lines(card["data"]), ""]
    if card.get("stage"):
        steps = f"{card['total_steps']:,} steps of {card['batch_size']} clips; all fields are in `config.json`."
        lines += ["## Training", "", steps, f"Started from {_parent(card['parent'])}.", ""]
    if metrics:
        lines += ["## Numbers", "", f"After {metrics['step']:,} steps, on clips, not on a benchmark:", ""]
        held_out, train = metrics["held_out"], metrics["train"]
        cell = lambda number: "" if number is None else f"{number:.4g}"
        rows = [[name, cell(held_out.get(name)), cell(train.get(name))] for name in sorted({*held_out, *train})]
        lines += [tables.markdown(["", "held out", "training"], rows), ""]
    lines += ["## Limits", "", *_limits(card), "", "## Made with", ""]
    lines += [f"- {_session(session)}" for session in card.get("sessions", [])]
    return "\n".join(lines) + "\n"


def _use(address, stage):
    """How it is used, as code."""
    if stage == "warmup":
        return ["```", f"relo train --config CONFIG:rl --config.init_from={address}", "```", ""] if address else []
    if not address:
        return ["```", "relo track VIDEO --box x,y,w,h --checkpoint THIS_FOLDER --save out.mp4", "```", ""]
    track = f"relo track VIDEO --box x,y,w,h --checkpoint {address} --save out.mp4"
    shell = ["```", "pip install 'relo-jax[hub]'", track, "```", ""]
    return [
        *shell,
        "```python",
        "import relo_jax",
        f'tracker = relo_jax.Tracker.from_pretrained("{address}")',
        "```",
        "",
    ]


def _kind(card):
    """What the checkpoint is, in one sentence."""
    if card.get("kind") == "converted":
        source = card["source"]
        return f"Converted from `{source['name']}` ({source['kind']}; SHA-256 `{source['sha256'][:16]}...`)."
    if card.get("kind") == "file":
        return f"A single-object tracker, from `{card['name']}` (SHA-256 `{card['sha256'][:16]}...`)."
    stages = {
        "warmup": "A warm-up: encoder and regression head, without a policy.",
        "rl": "A tracker, after the RL stage.",
    }
    return stages.get(card.get("stage"), "A single-object tracker.")


def _counts(parameters):
    return ", ".join(f"{part} {count / 1e6:.2f} M" for part, count in parameters.items())


def _data_lines(data):
    weights = f", weights {', '.join(f'{w:g}' for w in data['weights'])}" if data["weights"] else ""
    return [
        f"`{data['name']}`{weights}, seed {data['seed']}. Fingerprint of the clips `{data['fingerprint']}`, of the "
        f"held-out ones `{data['held_out_fingerprint']}`. Equal clips have equal fingerprints, wherever the data are "
        "stored."
    ]


def _parent(parent):
    if not parent:
        return "fresh weights"
    digest = f", SHA-256 `{parent['sha256'][:16]}...`" if "sha256" in parent else ""
    return f"`{parent['name']}`{digest}"


def _limits(card):
    """The limits as list items."""
    lines = []
    if card.get("stage") == "warmup":
        lines.append("- It cannot track, because its policy is untrained. An RL stage starts from it.")
    if "procedural" in card.get("data", {}).get("name", ""):
        lines.append("- It was trained on procedural clips, drawn by a program. Real videos differ from them.")
    if card.get("kind") == "converted":
        lines.append("- The weights belong to their authors, under their terms.")
    lines.append(
        "- It follows one target, given by its box in the first frame. It does not name or classify the target."
    )
    lines.append("- Its score is a confidence, not a guarantee. Check the score before relying on a box.")
    return lines


def _session(session):
    code, packages = session["code"], session["packages"]
    revision = (
        f", revision {code['revision'][:10]}{' with changes' if code['changed'] else ''}" if code["revision"] else ""
    )
    start = f"from step {session['first_step']:,}: " if session.get("first_step") else ""
    versions = ", ".join(f"{name} {packages[name]}" for name in ("python", "jax", "flax") if name in packages)
    return (
        f"{start}{session['date']}, relo_jax {code['relo_jax']}{revision}; {versions}; "
        f"{session['machine']['devices']}: `{session['command']}`"
    )
