"""Tensors of a checkpoint that the model has no place for: counted, explained, and refused until the user names them.

The release loads a pretrained encoder with `strict=False`, which drops them without a word, and a misspelt one too.
Fast-iTPN's pre-training leaves a mask token, a feature pyramid with a decoder, and a head that predicts the teacher's
features; its fine-tuning a classifier.
"""

import fnmatch
from collections.abc import Iterable

from relo_jax.checkpoints.pytorch.state_dict import PRETRAINED, Found, matching
from relo_jax.errors import UserError

# Tensors of BatchNorm in every file, which are left out unasked.
_COUNTERS, _COUNTS = "*.num_batches_tracked", "counts batches; only read where BatchNorm has no momentum"
_DECODER = "decoder of pre-training"
_REASONS = {  # patterns of names in a pretrained file -> what the tensors are
    "head.*": "classifier",
    "lm_head.*": "prediction of masked patches",
    "mask_token": "replaces masked patches",
    "norm.*": "last norm of pre-training; RELO has fc_norm",
    **dict.fromkeys(("align_dim_*", "fpn_modules.*", "split_*to*", "block_*to*", "decoder*"), _DECODER),
    "*rel_pos_bias*": "relative positions",
    "*relative_position*": "relative positions",
    "cls_token": "class token",
}


def account(found: Found, used: set[str], option: str) -> dict[str, str]:
    """Every tensor that is not used, by name, and why.

    Args:
      found: the network.
      used: the release's names of the tensors that the model took.
      option: how the user names tensors to leave out, for messages.

    Raises:
      UserError: there are others than the user named; lists them, with the patterns that leave them out.
    """
    unused = {found.shown(name): f"left out by {pattern!r}" for name, pattern in found.ignored.items()}
    left = [name for name in found.left if name not in used]
    unused |= {found.shown(name): _COUNTS for name in left if _matches(name, _COUNTERS)}
    strays = [name for name in left if not _matches(name, _COUNTERS)]
    if strays:
        patterns = remedy(found, strays)
        it = "it" if len(strays) == 1 else "them"
        owner = "the encoder" if found.kind == PRETRAINED else "RELO"
        raise UserError(
            f"{found.where} ({found.kind}) has {_counted(len(strays), 'tensor')} that {owner} has no place for: "
            f"{', '.join(_described(found, strays, patterns))}; leave {it} out with {option}{','.join(patterns)!r}"
        )
    return unused


def remedy(found: Found, strays: Iterable[str]) -> list[str]:
    """Few patterns that match all strays and nothing that the model takes.

    Args:
      found: the network.
      strays: release's names.
    """
    strays = list(strays)
    kept = [forms for name, forms in found.names.items() if name not in set(strays) | found.ignored.keys()]
    patterns: list[str] = []
    for name in strays:
        if matching(found.names[name], patterns):
            continue
        parts = found.shown(name).split(".")
        wide = [".".join(parts[:count]) + ".*" for count in range(1, len(parts))]
        numbers = ".".join("*" if part.isdecimal() else part for part in parts)
        safe = (p for p in (*wide, numbers) if not any(matching(forms, [p]) for forms in kept))
        several = (p for p in safe if sum(matching(found.names[other], [p]) is not None for other in strays) > 1)
        patterns.append(next(several, found.shown(name)))
    return patterns


def another_network(found: Found) -> str:
    """A hint where the blocks are those of another network; "" if they look like Fast-iTPN's."""
    if any(name.endswith(".attn.qkv.weight") for name in found.tensors):
        return "; its blocks have attn.qkv, as a ViT or the first iTPN has, and are not Fast-iTPN's"
    return ""


def _described(found, strays, patterns):
    """Yields `head.* (2, classifier)` for each pattern."""
    rest = list(strays)
    for pattern in patterns:
        names = [name for name in rest if matching(found.names[name], [pattern])]
        rest = [name for name in rest if name not in names]
        reasons = (why for known, why in _REASONS.items() if _matches(found.shown(names[0]), known))
        reason = next(reasons, "") if found.kind == PRETRAINED else ""
        count = str(len(names)) if pattern != found.shown(names[0]) else ""
        notes = ", ".join(note for note in (count, reason) if note)
        yield f"{pattern} ({notes})" if notes else pattern


def _counted(count, thing):
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _matches(name, pattern):
    return fnmatch.fnmatchcase(name, pattern)
