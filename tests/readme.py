"""The code blocks of a page: what README.md and the guides tell a reader to type, and what runs it.

    python tests/readme.py pip         runs README.md as a reader without a clone does: `pip install` first
    python tests/readme.py clone       runs it as one with a clone does: `git clone`, `make demo`
    python tests/readme.py BIN         runs what relo-jax alone is enough for, with the programs in BIN
    python tests/readme.py BIN all     runs also what needs the extra `all`

The first two are `make readme`. git takes this checkout's last commit in place of the repository's address. All run in
an empty folder. A comment `<!-- needs: data -->` above a block says what it needs. What no test has is in NOT_RUN.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^(?:<!-- needs: (\w+) -->\n)?( *)```(\w*)\n(.*?)^\2``` *$", re.M | re.S)

PIP, CLONE, ALL = "pip", "clone", "all"  # needs of blocks: a way to install, and the extra `all`
NOT_RUN = {  # needs of blocks that no test runs, and why; tests/test_docs.py parses their `relo` commands
    "accelerator": "installs JAX for a GPU or a TPU",
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
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    checkout = {"COUNT": "1", "KEY_0": f"url.{ROOT.as_uri()}.insteadOf", "VALUE_0": repository}
    # Under `make readme`, a block's own make would take that one's flags.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= {f"GIT_CONFIG_{name}": value for name, value in checkout.items()}
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


def main(how: str, *extras: str) -> None:
    """Runs README.md, see above."""
    page = ROOT / "README.md"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if how == PIP:
            subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
            count = run(page, folder, ("", PIP, ALL), "source environment/bin/activate")
        elif how == CLONE:
            count = run(page, folder, (CLONE,))
            (clone,) = folder.iterdir()
            count += run(page, clone, ("", ALL), "source .venv/bin/activate")
        else:
            # Not resolved: the programs of an environment may be links into that of another.
            path = shlex.quote(str(Path(how).absolute()))
            count = run(page, folder, ("", *extras), f"export PATH={path}:$PATH")
    print(f"{count} blocks of README.md ran")


if __name__ == "__main__":
    main(*sys.argv[1:])
