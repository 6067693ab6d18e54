"""What MkDocs calls while it builds the site."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import Any

import commands
from mkdocs.structure.files import File
from pages import pages_of, relinked

log = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = "<!-- commands -->"
ROLE = re.compile(r":\w+:<code>(~?)([\w.]+)</code>")
"""How docstrings name what stands elsewhere."""


def on_files(files: Any, config: Any) -> Any:
    """Add what the navigation names outside ``docs/``."""
    for path in pages_of(config.nav):
        if files.get_file_from_path(path) is None and (ROOT / path).is_file():
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Let links between files hold in the site; write the commands where they belong."""
    path = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    markdown = relinked(markdown, path, ROOT, {file.src_uri for file in files})
    return markdown.replace(COMMANDS, commands.page()) if COMMANDS in markdown else markdown


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Make a link of each name in a docstring that has a place in the site.

    A public name without a docstring has none, which the strict build complains of.
    """
    for module in re.findall(r"^::: ([\w.]+)$", page.markdown, re.MULTILINE):
        for name in _public(module):
            if f'id="{module}.{name}"' not in html:
                log.warning("%s: %s.%s has no docstring", page.file.src_uri, module, name)

    def link(match: re.Match[str]) -> str:
        name = match[2].rpartition(".")[2] if match[1] else match[2]
        return f'<autoref identifier="{match[2]}" optional><code>{name}</code></autoref>'

    return ROLE.sub(link, html)


def _public(module: str) -> list[str]:
    """``__all__`` as it is written: two of the modules would import PyTorch."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"{file} has no __all__")
