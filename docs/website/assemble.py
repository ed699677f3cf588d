"""Assembles the pages of the website.

The pages are those of `docs/`, which GitHub shows as they are, the changelog, and two that are made from the code: the
commands and the fields of a config. Four things differ on the website:

- A link to a file outside `docs/` leads to the repository, or to the page that is made from that file. One to
  `FILE.py#NAME`, which GitHub shows as the file, leads to NAME in the Python interface.
- A link that says only a page's file name says its title in the navigation.
- A comment `<!-- README: Heading -->` is replaced by that section of README.md, so that the home page repeats nothing.
  GitHub shows the paragraph directly below the comment, which leads to the section; the website leaves it out.
- Equations in GitHub's notation (a fence `math`, or $`...`$ in a line) become MathML, which needs no script.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from generated import commands_page, fields_page

from relo_jax.commands.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WEBSITE = DOCS / "website"
PICTURES = {".png", ".jpg", ".svg", ".gif", ".webp", ".mp4"}
MOVED = {  # pages of the website from outside docs/
    ROOT / "CHANGELOG.md": DOCS / "changelog.md",
    ROOT / "CONTRIBUTING.md": DOCS / "contributing.md",
}
GENERATED = {DOCS / "commands.md": commands_page, DOCS / "fields.md": fields_page}
SHOWN_BY = {  # links to the code that the website has a page of -> (page, anchor)
    ROOT / "relo_jax" / "config" / "fields.py": (DOCS / "fields.md", ""),
    ROOT / "relo_jax" / "commands": (DOCS / "commands.md", ""),
    **{ROOT / "relo_jax" / "commands" / f"{name}.py": (DOCS / "commands.md", f"#relo-{name}") for name in COMMANDS},
}

# The home page is as wide as the others, without their two columns of links.
FRONT_MATTER = {DOCS / "index.md": "---\nhide: [navigation, toc]\n---\n\n"}

_FENCE = re.compile(r"^( *)(`{3,})(.*?)^\1\2 *$", re.M | re.S)
_CODE = re.compile(r"(`+).+?\1", re.S)
_LINK = re.compile(r"""(\]\(|\b(?:src|href|srcset)=")([^)\s"]+)""")
_INCLUDE = re.compile(r"^<!-- README: (.+?) -->$(?:\n.+)*", re.M)  # with the paragraph that GitHub shows
_NAMED_BY_FILE = re.compile(r"\[`?[\w/-]+\.md`?\](?=\(([^)\s#]+\.md))")
_TITLE = re.compile(r"^ +- (.+): (\S+\.md)$", re.M)  # in the navigation of mkdocs.yml
_DESCRIBED = re.compile(r"^::: (\S+)$", re.M)  # in the pages of the Python interface
_MATH = re.compile(r"\$`(.+?)`\$", re.S)


class Broken(Exception):
    """A page names something that does not exist."""


def repository() -> str:
    """The address of the repository's main branch, without a slash at the end; pyproject.toml has it."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return urls["Repository"].rstrip("/")


def section(heading: str, text: str) -> str:
    """The section of a page below a heading, without the heading; "top" is what stands above all sections.

    Raises:
      Broken: there is no such heading.
    """
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    found = dict(zip(["top", *parts[1::2]], parts[0::2], strict=True))
    if heading not in found:
        raise Broken(f"README.md has no section {heading!r}, only {list(found)}")
    body = found[heading]
    return re.sub(r"\A# .+\n", "", body).strip()


def described(file: Path, name: str, by: str) -> tuple[Path, str]:
    """The page of the Python interface with a function or class of a file, and its anchor.

    Raises:
      Broken: no page has it; `by` begins the message.
    """
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for page_file in sorted((DOCS / "api").glob("*.md")):
        if {module, f"{module}.{name}"} & set(_DESCRIBED.findall(page_file.read_text())):
            return page_file, f"#{module}.{name}"
    raise Broken(f"{by}: docs/api/ describes neither {module} nor its {name}")


def target_of(link: str, written_in: Path, shown_at: Path) -> str:
    """A link as the website has it.

    Args:
      link: as the page has it; with a scheme, or a mere #anchor, it stays.
      written_in: the file that has the link.
      shown_at: where that text stands on the website, as a path in docs/.

    Raises:
      Broken: a file that does not exist, or a name in a Python file that no page describes.
    """
    if re.match(r"[a-z]+:|#", link):
        return link
    path, _, anchor = link.partition("#")
    anchor = f"#{anchor}" if anchor else ""
    file = Path(os.path.normpath(written_in.parent / path))
    file = {**MOVED, ROOT / "README.md": DOCS / "index.md"}.get(file, file)
    if file in SHOWN_BY:
        file, anchor = SHOWN_BY[file]
    elif file.suffix == ".py" and anchor:
        file, anchor = described(file, anchor[1:], f"{written_in.relative_to(ROOT)} links to {link}")
    elif file not in MOVED.values() and not file.exists():
        raise Broken(f"{written_in.relative_to(ROOT)} links to {link}: there is no {file.relative_to(ROOT)}")
    if file.is_relative_to(DOCS) and not file.is_relative_to(WEBSITE) and file.suffix in {".md", *PICTURES}:
        return os.path.relpath(file, shown_at.parent) + anchor
    kind = "tree" if file.is_dir() else "blob"
    return f"{repository()}/{kind}/main/{file.relative_to(ROOT)}{anchor}"


def titled(text: str, shown_at: Path) -> str:
    """A text whose links say titles of pages in place of file names; see `target_of`. Its links are the website's."""
    titles = {name: title for title, name in _TITLE.findall((ROOT / "mkdocs.yml").read_text())}

    def title(match: re.Match) -> str:
        name = os.path.normpath(shown_at.parent.relative_to(DOCS) / match[1])
        return f"[{titles[name]}]" if name in titles else match[0]

    return _NAMED_BY_FILE.sub(title, text)


def outside_code(text: str, change) -> str:
    """A Markdown text with everything changed that is not code, neither in a fence nor in a line."""

    def prose(part: str) -> str:
        pieces, end = [], 0
        for code in _CODE.finditer(part):
            pieces += [change(part[end : code.start()]), code[0]]
            end = code.end()
        return "".join([*pieces, change(part[end:])])

    pieces, end = [], 0
    for fence in _FENCE.finditer(text):
        pieces += [prose(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, prose(text[end:])])


def with_equations(text: str) -> str:
    """A text with its equations as MathML."""
    if "```math" not in text and "$`" not in text:
        return text
    from latex2mathml.converter import convert  # only in the website's environment

    text = re.sub(
        r"^```math\n(.+?)\n```$",
        lambda match: f'<div class="equation">{convert(match[1], display="block")}</div>',
        text, flags=re.M | re.S,
    )  # fmt: skip
    return _MATH.sub(lambda match: convert(match[1]), text)


def page(text: str, written_in: Path, shown_at: Path) -> str:
    """A page as the website has it; see the module's docstring.

    Args:
      text: Markdown.
      written_in, shown_at: see `target_of`.
    """
    readme = ROOT / "README.md"
    to_website = lambda prose: _LINK.sub(lambda m: m[1] + target_of(m[2], written_in, shown_at), prose)
    text = titled(outside_code(with_equations(text), to_website), shown_at)
    return _INCLUDE.sub(lambda m: page(section(m[1], readme.read_text()), readme, shown_at), text)


def sources() -> dict[Path, Path | None]:
    """The website's pages, as paths in docs/, and the file that each is made of; None is made from the code."""
    return (
        {path: path for path in sorted(DOCS.rglob("*.md"))}
        | {shown_at: path for path, shown_at in MOVED.items()}
        | dict.fromkeys(GENERATED)
    )


def pages() -> Iterator[tuple[Path, str]]:
    """Each page's path below `docs/`, and its text on the website."""
    for shown_at, path in sources().items():
        text = page(path.read_text(), path, shown_at) if path else GENERATED[shown_at]()
        yield shown_at.relative_to(DOCS), FRONT_MATTER.get(shown_at, "") + text


def write(out: Path) -> None:
    """Writes the pages, and the pictures that they show, into a folder; what was in it is removed.

    Raises:
      Broken: a page names something that does not exist.
    """
    shutil.rmtree(out, ignore_errors=True)
    for path, text in pages():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    shown = [path for path in DOCS.rglob("*") if path.suffix in PICTURES and not path.is_relative_to(WEBSITE)]
    for path in [*shown, WEBSITE / "style.css"]:
        copy = out / path.relative_to(WEBSITE if path.is_relative_to(WEBSITE) else DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
