"""The stages, the most telling first, and what later ones take over from earlier ones."""

import dataclasses
from collections.abc import Sequence
from typing import Any

LARGER = ("b256", "l256")
_NO_SMALL_GAIN = 0.97  # XLA flags are taken over from here on: less is noise


@dataclasses.dataclass(frozen=True)
class Stage:
    """A process with measurements.

    Attributes:
      name: in the rows.
      measures: `module:function` in this folder.
      seconds: its time limit.
      least: seconds without which it is not started.
      options: arguments of the function.
      takes_winners: whether `winners` of the rows so far are arguments too.
      environment: variables of the process.
    """

    name: str
    measures: str
    seconds: float
    least: float = 15
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    takes_winners: bool = False
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def stages(variant: str, dtype: str, quick: bool) -> list[Stage]:
    """All stages, in order. Their limits add up to more than a budget, since few stages need theirs."""
    common = {"dtype": dtype, "quick": quick}
    own = {"variant": variant, **common}
    # PyTorch has the card to itself; JAX, which checks the numbers, computes on the processor.
    without_card = {"JAX_PLATFORMS": "cpu"}
    found = [
        Stage("card", "kernels:card", 45, options=common),
        Stage("online", "tracking:online", 75, options=own),
        Stage("attention", "kernels:attention", 45, options=own),
        Stage("forms", "tracking:forms", 100, options=own),
        Stage("flags", "tracking:flags", 70, options=own),
        Stage("rl", "training:rl", 110, 25, options=own),
        Stage("warmup", "training:warmup", 60, 25, options=own),
        Stage("lockstep", "tracking:lockstep", 60, options=own, takes_winners=True),
    ]
    larger = {name: {"variant": name, **common} for name in (("mini",) if quick else LARGER)}
    for name, options in larger.items():
        found.append(Stage(f"online-{name}", "tracking:online", 80, 25, options, takes_winners=True))
        found.append(Stage(f"rl-{name}", "training:rl_of_many", 90, 40, options))
    for name, options in {"peer": own, **{f"peer-{name}": options for name, options in larger.items()}}.items():
        found.append(Stage(name, "peer:network", 90, 25, options, environment=without_card))
    return found


def winners(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """What was quickest in the rows so far: settings of `tracking.forced`, and flags of XLA."""
    ok = lambda stage: [row for row in rows if row.get("stage") == stage and "waiting_ms" in row]
    quickest = lambda found: min(found, key=lambda row: row["waiting_ms"]["median"], default=None)
    settings, flags = {}, {}
    one = quickest([row for row in ok("forms") if row["videos"] == 1])
    if one is not None:
        same = [row for row in ok("forms") if row["videos"] > 1 and row["folded"] == one["folded"]]
        many = quickest(same) or one
        settings = {"folded": one["folded"], "attention": [one["attention"], many["attention"]]}
    # A row of flags belongs to a form of the network, and the winner's form decides.
    tried = [row for row in ok("flags") if row["folded"] == settings.get("folded", row["folded"])]
    default = next((row for row in tried if not row["flags"]), None)
    best = quickest(tried)
    if best and default and best["waiting_ms"]["median"] < _NO_SMALL_GAIN * default["waiting_ms"]["median"]:
        flags = best["flags"]
    return settings, flags


def known(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The card's rate of matrix products, FLOP/s, as an argument of all later stages; None where it is not known."""
    rates = [1e12 * row["matmul_tflops"] for row in rows if "matmul_tflops" in row]
    return {"rate": rates[-1] if rates else None}
