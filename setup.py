"""The long description of the package: the README with absolute links, so that they work on its page in the index.

Everything else about the package is in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

# Targets of Markdown links and pictures, and of the attributes of HTML in the page.
_TARGET = re.compile(r"(?P<before>!?\[[^][]*\]\(|\]\(|\b(?:src|srcset|href)=\")(?P<target>[^)\s\"]+)")
_PICTURES = (".gif", ".jpg", ".png", ".svg", ".webp", ".mp4")


def absolute_links(text: str, repository: str, revision: str) -> str:
    """A page of the repository with its relative links made absolute.

    Args:
      text: Markdown, with HTML in it. Links inside fenced code stay as they are.
      repository: address of the repository, as in `[project.urls]`.
      revision: tag or branch that the links lead to.
    """

    def absolute(match: re.Match) -> str:
        target = match["target"]
        if target.startswith(("#", "http:", "https:", "mailto:", "data:")):
            return match[0]
        picture = target.partition("#")[0].endswith(_PICTURES)
        return f"{match['before']}{repository}/{'raw' if picture else 'blob'}/{revision}/{target}"

    fenced = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _TARGET.sub(absolute, part) for part in fenced)


def long_description(root: Path) -> str:
    """The README for the package's page; its links lead to the tag of this version."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version = re.search(r'^__version__ = "(.+)"$', (root / "relo_jax" / "__init__.py").read_text(), re.MULTILINE)
    text = (root / "README.md").read_text(encoding="utf-8")
    return absolute_links(text, project["urls"]["Repository"], f"v{version[1]}")


if __name__ == "__main__":
    setup(long_description=long_description(Path(__file__).parent), long_description_content_type="text/markdown")
