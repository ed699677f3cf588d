"""Checks a built website.

- Every link and picture leads to a file of the site, and every #anchor to an element of its page.
- Nothing is loaded from elsewhere: no script, style sheet, font, picture or frame has an address with a host.
- Every page is reached from the home page.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attributes whose address a browser loads with the page, without a click.
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"),
          ("video", "poster"), ("object", "data"), ("embed", "src"), ("image", "href"), ("use", "href")}  # fmt: skip
NOT_LOADED_LINKS = {"canonical", "next", "prev", "alternate"}
_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """The anchors, links and loaded addresses of one page."""

    def __init__(self, html: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what a tag refers to."""
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        is_loaded = tag != "link" or attributes.get("rel") not in NOT_LOADED_LINKS
        for name, value in attributes.items():
            if (tag, name) in LOADED and is_loaded:
                self.loaded.add(value)
            elif name == "srcset":
                self.loaded |= {part.split()[0] for part in value.split(",")}
            elif (tag, name) == ("a", "href"):
                self.links.add(value)
            elif name == "style":
                self.loaded |= set(_CSS.findall(value))


def has_host(address: str) -> bool:
    """Whether an address leads to another machine."""
    return bool(urlsplit(address).netloc)


def problems(site: Path) -> list[str]:
    """What is wrong, a line each."""
    site = site.resolve()
    files = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found, reached = [], {site / "404.html"}
    for path, page in files.items():
        name = path.relative_to(site)
        found += [f"{name} loads {address}" for address in sorted(page.loaded) if has_host(address)]
        for address in sorted(page.links | page.loaded):
            parts = urlsplit(address)
            # The page of a missing address is shown at any depth, so its addresses begin at the site's root.
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if target != path:
                reached.add(target)
            if not target.is_file():
                found.append(f"{name} links to {address}: no such file")
            elif parts.fragment and unquote(parts.fragment) not in files[target].anchors | {"__skip", "__toc"}:
                found.append(f"{name} links to {address}: no such anchor")
    found += [f"no link leads to {path.relative_to(site)}" for path in files if path not in reached]
    for path in sorted(site.rglob("*.css")):
        found += [f"{path.relative_to(site)} loads {address}" for address in _CSS.findall(path.read_text())]
    return found
