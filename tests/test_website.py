"""The website: which pages it has, how docs/website/ makes them of the files on GitHub, and what its check finds."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import relo_jax
from relo_jax.commands import main
from relo_jax.config.fields import base, flatten

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

sys.path.insert(0, str(DOCS / "website"))
import assemble  # noqa: E402
import check  # noqa: E402
import generated  # noqa: E402

sys.path.remove(str(DOCS / "website"))


class Config(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags name."""


Config.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(), Config)
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
REPOSITORY = URLS["Repository"]


def leaves(nav):
    for entry in nav:
        for value in entry.values():
            yield from leaves(value) if isinstance(value, list) else [value]


def pins(file):
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and line[0] != "#"]
    return {Requirement(line).name.lower().replace("-", "_"): Requirement(line).specifier for line in lines}


def shown(text, page="docs/plan.md"):
    return assemble.page(text, ROOT / page, ROOT / page)


def site(folder, **pages):
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html)
    return folder


def test_every_page_is_in_the_navigation_once_and_its_links_lead_somewhere(monkeypatch):
    monkeypatch.setattr(assemble, "with_equations", lambda text: text)
    assert all(text.strip() for _, text in assemble.pages())
    pages = sorted(str(path.relative_to(DOCS)) for path in assemble.sources())
    assert sorted(leaves(SITE["nav"])) == pages and len(pages) > 30


def test_every_public_name_is_in_the_reference():
    entries = {
        line for page in (DOCS / "api").glob("*.md") for line in re.findall(r"^::: (\S+)", page.read_text(), re.M)
    }
    for name, (module, attribute) in relo_jax._HOME.items():
        # A class is listed where it is defined, below the module that gives it its public name.
        found = [e for e in entries if e.startswith(module) and e.endswith(f".{attribute or module.split('.')[-1]}")]
        assert len(found) == 1, f"relo_jax.{name} needs one `::: {module}.{attribute}` in docs/api/: {found}"


def test_the_packages_of_the_website_are_pinned_and_agree_with_those_of_the_tracker():
    pinned, tracker = pins("requirements-docs.txt"), pins("requirements.txt")
    assert all([part.operator for part in specifier] == ["=="] for specifier in pinned.values())
    assert {name: pinned[name] for name in pinned if name in tracker} == {n: tracker[n] for n in tracker if n in pinned}
    assert "zensical" in pinned and "jax" not in pinned


def test_the_website_has_the_addresses_that_pyproject_names():
    assert SITE["repo_url"] == REPOSITORY and SITE["site_url"] == URLS["Documentation"]


def test_a_link_leads_to_the_page_or_to_the_repository():
    assert shown("[a](study.md#findings) [b](../CHANGELOG.md)") == "[a](study.md#findings) [b](changelog.md)"
    assert shown("[a](../configs/ablations.py)") == f"[a]({REPOSITORY}/blob/main/configs/ablations.py)"
    assert shown("[a](../benchmarks/results)") == f"[a]({REPOSITORY}/tree/main/benchmarks/results)"
    assert shown("[a](study/estimator.json#x)") == f"[a]({REPOSITORY}/blob/main/docs/study/estimator.json#x)"
    assert shown("[a](https://jax.dev) [b](#memory)") == "[a](https://jax.dev) [b](#memory)"
    assert shown("[a](../relo_jax/config/fields.py) [b](../relo_jax/commands/track.py)") == (
        "[a](fields.md) [b](commands.md#relo-track)"
    )


def test_a_link_to_a_name_in_the_code_leads_to_the_python_interface():
    assert shown("[a](../relo_jax/mdp/reward.py#clip_reward) [b](../relo_jax/tracking/tracker.py#Tracker)") == (
        "[a](api/mdp.md#relo_jax.mdp.reward.clip_reward) [b](api/tracking.md#relo_jax.tracking.tracker.Tracker)"
    )
    with pytest.raises(assemble.Broken, match="plan.md links to .*files.py#gone: docs/api/ describes neither relo_jax"):
        shown("[a](../relo_jax/files.py#gone)")


def test_no_page_links_to_an_anchor_that_only_the_website_makes():
    pages = {page: page.read_text() for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]}
    assert {
        str(page.name): found for page, text in pages.items() if (found := re.findall(r"\bapi/\w+\.md#\S+", text))
    } == {}


def test_a_link_to_nothing_names_its_page():
    with pytest.raises(assemble.Broken, match="docs/plan.md links to gone.md: there is no docs/gone.md"):
        shown("see [there](gone.md)")


def test_a_link_that_says_a_file_name_says_the_title_of_the_page():
    assert shown("[plan.md](plan.md#x), [`docs/live.md`](live.md)").startswith(
        "[What a run costs](plan.md#x), [Cameras"
    )
    assert shown("[study.md](../study.md)", "docs/study/estimator.md") == "[Findings](../study.md)"
    assert shown("[the plan](plan.md)") == "[the plan](plan.md)"


def test_code_stays_as_it_is():
    code = "`[a](gone.md)`\n\n```python\nx[0](gone)\ny = '[a](gone.md)'\n```\n"
    assert shown(code) == code


def test_a_section_of_the_readme_is_shown_with_its_links(monkeypatch, tmp_path):
    readme = "# relo\n\nTop [plan](docs/plan.md).\n\n## Install\n\npip, see [make](Makefile)\n\n## Other\n"
    (tmp_path / "docs").mkdir()
    for file, text in {"README.md": readme, "Makefile": "", "docs/plan.md": "", "mkdocs.yml": ""}.items():
        (tmp_path / file).write_text(text)
    monkeypatch.setattr(assemble, "ROOT", tmp_path)
    monkeypatch.setattr(assemble, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(assemble, "repository", lambda: "REPO")
    index = tmp_path / "docs" / "index.md"
    assert assemble.page("<!-- README: Install -->", index, index) == "pip, see [make](REPO/blob/main/Makefile)"
    below = "<!-- README: Install -->\nSee [Install](../Makefile)\nin the README.\n\nMore.\n"
    assert assemble.page(below, index, index) == "pip, see [make](REPO/blob/main/Makefile)\n\nMore.\n"
    assert assemble.section("top", readme) == "Top [plan](docs/plan.md)."
    with pytest.raises(assemble.Broken, match="no section 'Instal'"):
        assemble.page("<!-- README: Instal -->", index, index)


def test_github_shows_something_in_place_of_each_section_of_the_readme():
    found = [match[0] for page in DOCS.rglob("*.md") for match in assemble._INCLUDE.finditer(page.read_text())]
    assert len(found) >= 3
    assert [text for text in found if not re.search(r"-->\n.*\[.+\]\(\.\./README\.md[)#]", text, re.S)] == []


def test_the_page_of_the_commands_has_every_command_and_its_arguments():
    page = generated.commands_page()
    assert [name for name in main.COMMANDS if f"## `relo {name}`" not in page] == []
    assert "### `relo data check`" in page and "| `--box X,Y,W,H` |" in page and "%(default)s" not in page


def test_the_page_of_the_fields_has_every_field_with_its_default():
    page = generated.fields_page()
    fields = [name for name in flatten(base()) if not name.startswith("benchmarks.")]
    assert [name for name in fields if f"| `{name}` | " not in page] == []
    assert (
        "| `rl.value_weight` | `0.5` |" in page
        and "| `model.depth` | the variant's | L, number of main blocks |" in page
    )


def test_the_check_finds_what_leads_nowhere(tmp_path):
    home = '<a href="two.html#here">2</a><a href="two.html#gone">2</a><a href="three.html">3</a><img src="no.png">'
    found = check.problems(site(tmp_path, index=home, two='<h1 id="here"></h1><a href="index.html">1</a>', alone=""))
    assert found == [
        "index.html links to no.png: no such file",
        "index.html links to three.html: no such file",
        "index.html links to two.html#gone: no such anchor",
        "no link leads to alone.html",
    ]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<img src="http://example.org/a.png">',
        '<img srcset="a.png 1x, https://example.org/b.png 2x">',
        '<div style="background: url(https://example.org/c.png)"></div>',
    ],
)  # fmt: skip
def test_the_check_finds_what_is_loaded_from_elsewhere(tmp_path, html):
    (tmp_path / "a.png").write_text("")
    back = '<a href="index.html">home</a><a href="https://jax.dev">a link may lead anywhere</a>'
    assert check.problems(site(tmp_path, index=back)) == ["no link leads to index.html"]
    assert len(check.problems(site(tmp_path, index=f'<a href="two.html">2</a>{html}', two=back))) == 1


def test_the_check_reads_style_sheets(tmp_path):
    site(tmp_path, index='<a href="two.html">2</a>', two='<a href="index.html">1</a>')
    (tmp_path / "a.css").write_text(
        "@import 'https://fonts.example/a.css'; .b {background: url(data:image/png;base64,x)}"
    )
    assert check.problems(tmp_path) == ["a.css loads https://fonts.example/a.css"]
