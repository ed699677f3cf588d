"""Builds the website: `make docs`, in the environment of requirements-docs.txt.

Its pages are assembled in build/docs/pages, and Zensical (mkdocs.yml) makes build/docs/site of them. Anything doubtful
is a failure: a link or an anchor that leads nowhere, a docstring that describes an argument which does not exist, a
page that no other leads to, an address that a browser would load from elsewhere.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import assemble
import check

BUILD = assemble.ROOT / "build" / "docs"


def main() -> int:
    """Builds and checks; the exit status."""
    try:
        assemble.write(BUILD / "pages")
    except assemble.Broken as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    command = [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=assemble.ROOT, capture_output=True, text=True, env=environment)
    if done.returncode or "griffe:" in done.stdout + done.stderr:
        # It colours each character, and ends with a traceback that says nothing more.
        output = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr.partition("Traceback")[0])
        print(output, file=sys.stderr)
        print("docs: the build above has a warning or an error", file=sys.stderr)
        return 1
    found = check.problems(BUILD / "site")
    print("".join(f"docs: {line}\n" for line in found), end="", file=sys.stderr)
    pages = len(list((BUILD / "site").rglob("*.html")))
    print(f"{pages} pages in build/docs/site; to read them: python -m http.server -d build/docs/site")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
