"""The code blocks of a page: what README.md and the guides tell a reader to type, and what runs it.

    python tests/readme.py               runs README.md in a new clone of this checkout (`make readme`)
    python tests/readme.py BIN           runs in an empty folder what relo-jax alone is enough for, with the programs in BIN
    python tests/readme.py BIN all       runs also what needs the extra `all`

A comment `<!-- needs: gpu -->` above a block says what it needs. What no test has is in NOT_RUN.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^(?:<!-- needs: (\w+) -->\n)?( *)```(\w*)\n(.*?)^\2``` *$", re.M | re.S)

CLONE, ALL = "clone", "all"  # needs of blocks that are run in a clone only; where the extra `all` is installed
NOT_RUN = {  # needs of blocks that no test runs, and why; tests/test_docs.py parses their `relo` commands
    "network": "fetches relo_jax from its public address; the tests install the same files from the checkout instead",
    "gpu": "installs JAX for an NVIDIA GPU",
    "tpu": "installs JAX for a TPU",
    "data": "has a video, a camera, a checkpoint of the authors or a dataset that is the reader's",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it needs or "", and its text."""

    language: str
    needs: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell's block, each in one line, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
        return [" ".join(line.split()) for line in stripped if line]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(language, needs, text) for needs, _, language, text in _FENCE.findall(page.read_text())]


def relo_commands(page: Path) -> list[list[str]]:
    """The arguments of every `relo COMMAND ...` in a page's blocks, as a shell would split them."""
    shells = [block for block in blocks(page) if block.language in ("", "sh", "bash")]
    parts = [part for block in shells for command in block.commands for part in re.split(r"\s(?:&&|\|)\s", command)]
    found = []
    for arguments in (match[1] for part in parts for match in re.finditer(r"(?:^|[\s/])relo ([a-z]+( .*|$))", part)):
        # A quotation that began before it ends behind it.
        found.append(shlex.split(arguments.removesuffix('"') if arguments.count('"') % 2 else arguments))
    return found


def run(page: Path, folder: Path, have: tuple[str, ...] = ("",), setup: str = ":") -> int:
    """Runs the blocks of a page in one folder, in order, and prints how long each took.

    Args:
      have: blocks that need one of these are run; "" stands for those that need nothing.
      setup: a shell's command before each block, such as the activation of an environment.

    Returns:
      how many ran.

    Raises:
      SystemExit: one failed; its output stands above.
    """
    # Under `make readme`, a block's own make would take that one's flags.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ran = 0
    for block in blocks(page):
        if block.language not in ("sh", "python") or block.needs not in have:
            continue
        print(f"--- {block.language}\n{block.text}---", flush=True)
        code = block.text if block.language == "sh" else f"python -c {shlex.quote(block.text)}"
        began = time.monotonic()
        if subprocess.run(["bash", "-euc", f"{setup}\n{code}"], cwd=folder, env=environment).returncode:
            raise SystemExit(f"{page.name}: the block above failed")
        ran += 1
        print(f"--- {time.monotonic() - began:.0f} s\n", flush=True)
    return ran


def main(arguments: list[str]) -> None:
    """Runs README.md, see above."""
    with tempfile.TemporaryDirectory() as scratch:
        if arguments:
            # Not resolved: the programs of an environment may be links into that of another.
            path = shlex.quote(str(Path(arguments[0]).absolute()))
            count = run(ROOT / "README.md", Path(scratch), ("", *arguments[1:]), f"export PATH={path}:$PATH")
        else:
            clone = Path(scratch) / "relo_jax"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            readme, activate = clone / "README.md", "source .venv/bin/activate"
            count = run(readme, clone, (CLONE,)) + run(readme, clone, ("", ALL), activate)
    print(f"{count} blocks of README.md ran")


if __name__ == "__main__":
    main(sys.argv[1:])
