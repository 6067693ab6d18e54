"""The documentation's site: what its hooks make of links, and of the commands."""

from __future__ import annotations

import tomllib
from pathlib import Path

import commands
import pytest
import yaml
from pages import pages_of, place_of, relinked
from typer.main import get_command

from ovbench.cli.app import app
from ovbench.cli.shared.command import EXAMPLES

REPOSITORY = Path(__file__).resolve().parent.parent
SITE = yaml.load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), yaml.BaseLoader)


def test_every_page_is_in_the_navigation_once() -> None:
    named = list(pages_of(SITE["nav"]))
    folders = "docs", "leaderboards", "ci", "benchmarks", "examples", "ovbench/toyworld/weights"
    written = {
        place_of(page.relative_to(REPOSITORY).as_posix())
        for folder in folders
        for page in (REPOSITORY / folder).rglob("*.md")
    }
    written |= {page.name for page in REPOSITORY.glob("*.md")}
    assert sorted(named) == sorted(written)


@pytest.mark.parametrize(
    ("link", "becomes"),
    [
        ("[it](../docs/results.md)", "[it](../results.md)"),
        ("[it](../docs/results.md#a)", "[it](../results.md#a)"),
        ("[the package](../examples/one)", "[the package](../examples/one/README.md)"),
        ("[its folder](../runs)", "its folder (`runs`)"),
        ("[runs/](../runs)", "runs/"),
        ("[gone](../gone.md)", "[gone](../gone.md)"),
        ("[it](https://example.org/a)", "[it](https://example.org/a)"),
        ("[it](#below)", "[it](#below)"),
        ("```\n[it](../docs/results.md)\n```", "```\n[it](../docs/results.md)\n```"),
    ],
)
def test_a_link_leads_where_the_page_stands_in_the_site(
    tmp_path: Path, link: str, becomes: str
) -> None:
    for path in ("docs/results.md", "examples/one/README.md", "runs/result.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    sources = {"results.md", "examples/one/README.md", "ci/README.md"}
    assert relinked(link, "ci/README.md", tmp_path, sources) == becomes


def test_the_commands_page_has_every_command_with_its_options_and_example() -> None:
    page = commands.page()
    root = get_command(app)
    for command, context in commands.walk(
        root, root.make_context("ovbench", [], resilient_parsing=True)
    ):
        start = page.index(f"## {context.command_path}\n")
        section = page[start : page.find("\n## ", start)]
        words = context.command_path.partition(" ")[2]
        assert words not in EXAMPLES or f"ovbench {words} {EXAMPLES[words]}\n" in section
        for param in command.get_params(context):
            name = param.opts[0] if param.opts[0].startswith("-") else param.metavar
            assert "--help" in param.opts or name is None or name in section
    assert page.count("\nExample:") == len(EXAMPLES)


def test_the_citation_names_this_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert [one["name"] for one in citation["authors"]] == [
        one["name"] for one in project["authors"]
    ]
