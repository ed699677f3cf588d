"""The model card as a page: what a checkpoint is, how it was made, its numbers, and what not to expect of it.

Markdown with the lines on top that the Hugging Face hub reads; everything in it comes from `card.json` and
`metrics.json` (see `relo_jax.checkpoints.model_card`).
"""


def page(card, metrics=None):
    """The card as Markdown."""
    variant, total = card.get("variant", "?"), sum(card.get("parameters", {}).values())
    title = f"RELO-{variant if variant in ('tiny', 'mini') else variant.upper()}"
    lines = ["---", "library_name: relo_jax", "tags:", "- visual-object-tracking", "---", "", f"# {title}", ""]
    lines += [f"{_what(card)} {total / 1e6:.1f} M parameters: {_counts(card.get('parameters', {}))}.", ""]
    if card.get("stage") != "warmup":
        lines += ["```", "relo track VIDEO --box x,y,w,h --checkpoint THIS_FOLDER --save out.mp4", "```", ""]
    if card.get("data"):
        lines += ["## Data", "", *_data_lines(card["data"]), ""]
    if card.get("stage"):
        steps = f"{card['total_steps']:,} steps of {card['batch_size']} clips; all fields are in `config.json`."
        lines += ["## Training", "", steps, f"Started from {_parent(card['parent'])}.", ""]
    if metrics:
        lines += ["## Numbers", "", f"After {metrics['step']:,} steps, on clips, not on a benchmark:", ""]
        lines += ["| | held out | training |", "|---|---|---|"]
        for name in sorted({*metrics["held_out"], *metrics["train"]}):
            cells = (metrics[split].get(name) for split in ("held_out", "train"))
            lines.append(f"| {name} | {' | '.join('' if c is None else f'{c:.4g}' for c in cells)} |")
        lines.append("")
    lines += ["## Limits", "", *_limits(card), "", "## Made with", ""]
    for done in card.get("sessions", []):
        lines.append(f"- {_session(done)}")
    return "\n".join(lines) + "\n"


def _what(card):
    """One or two sentences."""
    if card.get("kind") == "converted":
        source = card["source"]
        return f"Converted from `{source['name']}` ({source['kind']}; SHA-256 `{source['sha256'][:16]}...`)."
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
        f"held-out ones `{data['held_out_fingerprint']}`: the same clips have the same one, wherever the data lie."
    ]


def _parent(parent):
    if not parent:
        return "nothing: fresh weights"
    digest = f", SHA-256 `{parent['sha256'][:16]}...`" if "sha256" in parent else ""
    return f"`{parent['name']}`{digest}"


def _limits(card):
    """What not to expect, as list items."""
    lines = []
    if card.get("stage") == "warmup":
        lines.append("- It cannot track: nothing taught it where to look. It is what an RL stage starts from.")
    if "procedural" in card.get("data", {}).get("name", ""):
        lines.append("- It saw procedural clips, drawn by a program: real videos are another matter.")
    if card.get("kind") == "converted":
        lines.append("- The weights are their authors', under their terms.")
    lines.append("- It follows one target that it is shown in the first frame, and cannot say what the target is.")
    lines.append("- Its score says how sure it is, and is not a proof; look at it before anything depends on a box.")
    return lines


def _session(done):
    code, packages = done["code"], done["packages"]
    revision = (
        f", revision {code['revision'][:10]}{' with changes' if code['changed'] else ''}" if code["revision"] else ""
    )
    begun = f"from step {done['first_step']:,}: " if done.get("first_step") else ""
    versions = ", ".join(f"{name} {packages[name]}" for name in ("python", "jax", "flax") if name in packages)
    return (
        f"{begun}{done['date']}, relo_jax {code['relo_jax']}{revision}; {versions}; {done['machine']['devices']}: "
        f"`{done['command']}`"
    )
