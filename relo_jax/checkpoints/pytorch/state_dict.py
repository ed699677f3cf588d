"""Finds the network in a PyTorch or safetensors file of anybody, and names its tensors as the release does.

Files differ in what is around the tensors: dicts (`net`, `model`, `state_dict`, `module` ...), and prefixes of names
that wrappers leave behind (`module.`, `_orig_mod.`, `model.`, `backbone.` ...), also several of them. A network shows
itself by its patch embedding: what stands before `patch_embed.proj.weight` is around it, whatever it is called. Two
networks in one file, such as a model and its moving average, are a question to the user, who answers it by naming the
tensors to leave out.
"""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relo_jax.checkpoints.pytorch import reader, safetensors_file
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX
from relo_jax.errors import UserError
from relo_jax.files import refuse_pipe

StateDict = Mapping[str, Any]  # arrays or PyTorch tensors by name
RELO_KIND, WARMUP, PRETRAINED = "RELO checkpoint", "warm-up checkpoint", "pretrained Fast-iTPN"

_OWN = ("policy_model.", "value_model.", "decoder.conv1_", PREFIX + "ttokens")  # of RELO, not of a pretrained encoder
_EMBEDDING = "patch_embed.proj.weight"
_BLOCK = re.compile(r"(.*?)blocks\.\d+\.(?:attn\.q_proj|mlp\.ffn_ln|reduction)\.weight")
MAX_DEPTH, MAX_NAME = 20, 1000  # of dicts within dicts; of characters
_OUTSIDE = "outside "  # begins the key of a tensor beside the network, so that it is nobody's name


@dataclass(frozen=True)
class Found:
    """The tensors of one network in a file."""

    where: str  # the file, for messages
    kind: str  # RELO_KIND, WARMUP or PRETRAINED
    tensors: dict[str, Any]  # arrays or tensors by the release's names
    names: dict[str, tuple[str, ...]]  # the release's name -> as messages have it, and as the file has it
    ignored: dict[str, str]  # of those tensors, the release's name -> the pattern that leaves it out
    others: dict[str, str]  # as messages have it -> type of a value that is no tensor
    around: str  # what stands before the network's names in the file, such as "model.module."

    @property
    def left(self) -> dict[str, Any]:
        """The tensors that no pattern leaves out."""
        return {name: tensor for name, tensor in self.tensors.items() if name not in self.ignored}

    def shown(self, name: str) -> str:
        """A tensor's name as the user knows it: without what stands around the network."""
        return self.names[name][0] if name in self.names else self.short(name)

    def short(self, name: str) -> str:
        """A name of the release as a file of this kind has it."""
        return name.removeprefix(PREFIX) if self.kind == PRETRAINED else name


def find(source: Path | str | StateDict, ignore: Iterable[str] | str = (), option: str = "ignore=") -> Found:
    """The network in a file or state dict.

    Args:
      source: a PyTorch or safetensors file, or a state dict, which may be within other dicts.
      ignore: patterns (`fnmatch`) of tensors to leave out; one string may have several with commas between them.
      option: how the user names such patterns, for messages: `option='head.*'`.

    Raises:
      UserError: there is none, or there are several; a pattern matches nothing or everything.
    """
    where, loaded = ("the state dict", source) if isinstance(source, Mapping) else (str(source), load(source))
    patterns = split_patterns(ignore, option)
    groups = _groups(where, loaded)
    if not groups:
        raise UserError(f"{where} has no tensors{_what_else(loaded)}")
    networks = [(path, prefix) for path, values in groups for prefix in _prefixes(path, values, patterns)]
    if not networks:
        if any(_prefixes(path, values, ()) for path, values in groups):
            raise UserError(
                f"{option}{','.join(patterns)!r} leaves out all of {where}: name only tensors that the network lacks"
            )
        raise UserError(
            f"{where} has neither RELO nor Fast-iTPN: expected tensors named {PREFIX}blocks... or blocks..., "
            f"found {', '.join(list(groups[0][1])[:3])}"
        )
    if len(networks) > 1:
        around = sorted("".join(f"{key}." for key in path) + prefix for path, prefix in networks)
        listed = " and ".join(repr(name.rstrip(".")) if name else "one without a prefix" for name in around)
        rest = ",".join(f"{name}*" for name in around[1:])
        raise UserError(
            f"{where} has {len(around)} networks, {listed}: leave out all but one, such as {option}{rest!r}"
        )
    (path, prefix), values = networks[0], dict(groups)[networks[0][0]]
    found = _named(where, path, prefix, values, patterns)
    _check_used(found, groups, patterns, option)
    return found


def load(path: Path | str) -> Any:
    """The content of a PyTorch or safetensors file; tensors are read on first use."""
    refuse_pipe(path)
    return safetensors_file.load(path) if safetensors_file.is_safetensors(path) else reader.load(path)


def split_patterns(ignore: Iterable[str] | str, option: str = "ignore=") -> list[str]:
    """The patterns one by one: `("a.*,b.*", "c")` has three. Raises UserError for anything but strings."""
    given = [ignore] if isinstance(ignore, str) else list(ignore)
    for pattern in given:
        if not isinstance(pattern, str):
            raise UserError(f"{option}{pattern!r}: expected patterns of names, such as 'head.*'")
    return [part.strip() for pattern in given for part in pattern.split(",") if part.strip()]


def matching(names: Iterable[str], patterns: Iterable[str]) -> str | None:
    """The first pattern that matches one of a tensor's names; None if none does."""
    names = tuple(names)
    return next((p for p in patterns if any(fnmatch.fnmatchcase(name, p) for name in names)), None)


def _groups(where: str, loaded: Any) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """(keys that lead to it, dict) once for each dict with tensors, in the order of the file."""
    groups: list[tuple[tuple[str, ...], Mapping[str, Any]]] = []
    seen = set()
    left: list[tuple[tuple[str, ...], Any]] = [((), loaded)]
    while left:
        path, values = left.pop()
        if not isinstance(values, Mapping) or id(values) in seen:  # a pickle can put a dict into itself
            continue
        if len(path) > MAX_DEPTH:
            raise UserError(f"{where}: its dicts are nested more than {MAX_DEPTH} deep")
        seen.add(id(values))
        named = {name: value for name, value in values.items() if isinstance(name, str)}
        if long := next((name for name in named if len(name) > MAX_NAME), None):
            raise UserError(f"{where}: a name in it has {len(long)} characters: {long[:40]!r}...")
        if any(hasattr(value, "shape") for value in named.values()):
            groups.append((path, named))
        left += [((*path, name), value) for name, value in reversed(named.items())]
    return groups


def _prefixes(path, values, patterns):
    """What stands before the names of each network in a dict, without those that the patterns leave out."""
    tensors = [name for name, value in values.items() if hasattr(value, "shape")]
    left = [name for name in tensors if not matching((name, ".".join((*path, name))), patterns)]
    found = [name.removesuffix(_EMBEDDING) for name in left if name.endswith(_EMBEDDING)]
    found = [prefix for prefix in found if not prefix or prefix.endswith(".")]
    if not found:  # without a patch embedding, so that a message can name what is missing
        prefixes = [
            match[1] for match in map(_BLOCK.fullmatch, left) if match and (not match[1] or match[1][-1] == ".")
        ]
        found = [max(set(prefixes), key=prefixes.count)] if prefixes else []
    return found


def _named(where, path, prefix, values, patterns):
    """A `Found` of the network with this prefix in a dict."""
    root = prefix.removesuffix(PREFIX)
    own = tuple(root + name for name in _OWN)
    is_relo = prefix.endswith(PREFIX) and any(name.startswith(own) for name in values)
    cut = root if is_relo else prefix
    tensors, names, ignored, others = {}, {}, {}, {}
    for name, value in values.items():
        inside = name.startswith(cut)
        shown = name.removeprefix(cut) if inside else name
        if isinstance(value, Mapping):
            continue
        if not hasattr(value, "shape"):
            others[shown] = value.name if isinstance(value, reader.Inert) else type(value).__name__
            continue
        key = (shown if is_relo else PREFIX + shown) if inside else _OUTSIDE + shown
        names[key] = (shown, name, ".".join((*path, name)))
        tensors[key] = value
        if pattern := matching(names[key], patterns):
            ignored[key] = pattern
    heads = any(name.startswith(("policy_model.", "value_model.")) for name in tensors.keys() - ignored.keys())
    kind = (RELO_KIND if heads else WARMUP) if is_relo else PRETRAINED
    around = "".join(f"{key}." for key in path) + cut
    return Found(where, kind, tensors, names, ignored, others, around)


def _check_used(found, groups, patterns, option):
    """Raises UserError for a pattern that matches nothing in the file."""
    everywhere = [(name, ".".join((*path, name))) for path, values in groups for name in values]
    for pattern in patterns:
        if any(matching(names, [pattern]) for names in (*found.names.values(), *everywhere)):
            continue
        names = [forms[0] for forms in found.names.values()]
        first = sorted({f"{name.partition('.')[0]}.*" if "." in name else name for name in names})
        near = difflib.get_close_matches(pattern, [*first, *names], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(first[:12])}"
        raise UserError(f"{option}{pattern!r} matches no tensor of {found.where}: {hint}")


def _what_else(loaded):
    """What a file without tensors holds, and what to do."""
    if isinstance(loaded, Mapping):
        return f": found {', '.join(map(repr, list(loaded)[:3])) or 'nothing'}"
    if isinstance(loaded, reader.Inert):
        return f": it holds a whole object ({loaded.name[:40]}); save its state_dict() in PyTorch"
    return f": it holds a {type(loaded).__name__}; save a state_dict() in PyTorch"
