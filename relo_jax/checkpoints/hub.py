"""Checkpoints on the Hugging Face hub: `hf://org/name`, `hf://org/name@revision`, `hf://org/name@revision/FILE`.

A repository that `relo push` wrote has the weights in `model.safetensors`, with the config in the header of that file.
`fetch` downloads this file and the model card's JSON, nothing else, through huggingface_hub: its cache, its token
(`hf auth login`, `HF_TOKEN`), its mirrors (`HF_ENDPOINT`), and no network with `HF_HUB_OFFLINE=1`. An address that
names a FILE gets that file, such as a `.pth.tar`. Files are compared with the digests that the hub states for them, and
no code of a repository runs: safetensors are arrays, and PyTorch files are read without unpickling objects.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relo_jax.errors import UserError

WEIGHTS, CARD = "model.safetensors", "card.json"
INSTALL = "pip install 'relo-jax[hub]'"
_READABLE = (".safetensors", ".pth.tar", ".pth", ".pt")
_ADDRESS = re.compile(
    r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/(?:pr|convert)/[\w.-]+|[^/@\s]+))?(/(?P<file>[^@\s]+))?"
)
_DIGESTS = {40: "sha1", 64: "sha256"}  # length of a name in the cache -> what it is the digest of
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Address:
    """A repository on the hub.

    Attributes:
      repo: "org/name".
      revision: branch, tag or commit; None: the default branch.
      file: a file in it; None: the checkpoint of the repository.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo}{revision}" + (f"/{self.file}" if self.file else "")


def is_address(path: object) -> bool:
    """Whether a checkpoint is named by an address of the hub; `Path` makes one slash of two."""
    return str(path).startswith("hf:/")


def parse(address: str | Path) -> Address:
    """The parts of an address. Raises UserError."""
    found = _ADDRESS.fullmatch(str(address).rstrip("/"))
    if not found or ".." in str(address):
        raise UserError(f"{address} is no address on the hub: write hf://org/name or hf://org/name@revision")
    revision = found["revision"]
    return Address(found["repo"], revision.replace("%2F", "/") if revision else None, found["file"])


@functools.cache  # one revision for all that a process reads of a checkpoint, even if somebody pushes meanwhile
def fetch(address: str | Path) -> Path:
    """Downloads a checkpoint, unless the cache has it.

    Returns:
      the file of the weights, in the cache. The card lies beside it, if the repository has one.

    Raises:
      UserError: no such repository, revision or file; no permission; no network; the repository has no checkpoint of
        relo_jax; a file differs from what the hub states.
    """
    parsed, hub = parse(address), client()
    with one_line(parsed):
        try:
            weights = _download(hub, parsed, parsed.file or WEIGHTS)
        except hub.errors.LocalEntryNotFoundError:
            raise
        except hub.errors.EntryNotFoundError:
            raise _nothing_there(hub, parsed) from None
        if parsed.file is None:
            commit = next((folder.name for folder in weights.parents if folder.parent.name == "snapshots"), None)
            with contextlib.suppress(hub.errors.EntryNotFoundError):
                _download(hub, Address(parsed.repo, commit or parsed.revision), CARD)
    return weights


def local(path: str | Path) -> Path:
    """`fetch` for an address of the hub; any other path as it is."""
    return fetch(str(path)) if is_address(path) else Path(path)


def client() -> Any:
    """The module huggingface_hub. Raises UserError if it is not installed."""
    try:
        hub = importlib.import_module("huggingface_hub")
        for part in ("constants", "errors"):  # which the package does not import by itself
            importlib.import_module(f"huggingface_hub.{part}")
    except ImportError:
        raise UserError(f"hf:// needs the package huggingface_hub, which is not installed: {INSTALL}") from None
    return hub


def _download(hub: Any, address: Address, file: str) -> Path:
    path = Path(hub.hf_hub_download(address.repo, file, revision=address.revision, library_name="relo_jax"))
    _check_digest(path, address)
    return path


def _check_digest(path: Path, address: Address) -> None:
    """Compares a file in the cache with its digest, which is its name there."""
    stored = path.resolve()
    kind = _DIGESTS.get(len(stored.name)) if re.fullmatch("[0-9a-f]+", stored.name) else None
    if kind is None:
        return
    # Small files have the digest of a Git object, which begins with a line about the file.
    digest = hashlib.new(kind, b"blob %d\0" % stored.stat().st_size if kind == "sha1" else b"", usedforsecurity=False)
    with stored.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    if digest.hexdigest() != stored.name:
        raise UserError(
            f"{address}: {path.name} is damaged, its {kind} is {digest.hexdigest()[:12]}... and the hub's "
            f"{stored.name[:12]}...: remove {stored}, so that it is downloaded again"
        )


def _nothing_there(hub: Any, address: Address) -> UserError:
    """The UserError for a repository without the file that was wanted."""
    try:
        there = hub.HfApi().list_repo_files(address.repo, revision=address.revision)
    except Exception:  # a list would be a help, no more
        there = []
    readable = [name for name in there if name.endswith(_READABLE)]
    if address.file:
        has = f"it has {_some(readable or there)}" if there else "the repository has no such file"
        return UserError(f"{address}: no such file: {has}")
    if readable:
        return UserError(
            f"{address} has no {WEIGHTS}, so that relo push did not write it; it has {_some(readable)}: name the file, "
            f"such as {Address(address.repo, address.revision, readable[0])}"
        )
    return UserError(f"{address} is not a checkpoint of relo_jax: it has no {WEIGHTS} (relo push writes one)")


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


@contextlib.contextmanager
def one_line(address: Address) -> Iterator[None]:
    """Turns what huggingface_hub raises into a UserError with the remedy."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of huggingface_hub, and of the HTTP client of its version
        raise UserError(f"{address}: {_reason(error, address)}") from error


def _reason(error: Exception, address: Address) -> str:
    hub = client()
    errors, host = hub.errors, hub.constants.ENDPOINT
    kinds = lambda *names: isinstance(error, tuple(getattr(errors, name) for name in names if hasattr(errors, name)))
    status = getattr(getattr(error, "response", None), "status_code", None)
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    if kinds("GatedRepoError"):
        return f"its owners ask who wants it: accept their terms at {host}/{address.repo}, then {_LOG_IN}"
    if kinds("RepositoryNotFoundError") or (status == 401 and not kinds("RevisionNotFoundError")):
        return f"{host} shows no such repository: check the name; if it is private, {_LOG_IN}"
    if kinds("RevisionNotFoundError"):
        return f"it has no branch, tag or commit {address.revision!r}"
    if kinds("OfflineModeIsEnabled", "LocalEntryNotFoundError") and hub.constants.HF_HUB_OFFLINE:
        return "it is not in the cache, and HF_HUB_OFFLINE=1 forbids the network: unset it, or download it before"
    if kinds("LocalEntryNotFoundError"):
        return f"it is not in the cache, and {host} does not answer: check the network and HF_ENDPOINT"
    if kinds("LocalTokenNotFoundError"):
        return f"nobody is logged in: {_LOG_IN}"
    if status == 403:
        owner = address.repo.split("/")[0]
        return f"the token may not do this: use one that may write to {owner} (`hf auth login`, HF_TOKEN)"
    if status is not None:
        return f"{host} answers with status {status}: {first}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: HF_HOME moves the cache ({hub.constants.HF_HUB_CACHE})"
    if "onsistency check failed" in str(error):
        return "the download is incomplete: try again"
    if isinstance(error, PermissionError):
        return f"the cache cannot be written ({error.filename}): HF_HOME moves it"
    if isinstance(error, OSError) or type(error).__module__.startswith(("http", "requests", "urllib3")):
        return f"{host} cannot be reached ({first}): check the network and HF_ENDPOINT"
    return f"huggingface_hub fails with {type(error).__name__}: {first}"
