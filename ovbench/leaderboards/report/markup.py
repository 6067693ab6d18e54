"""HTML from Python values: whatever is not HTML already is escaped, and does nothing."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias, Union

from ovbench.text import visible


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content: TypeAlias = Union[str, int, Iterable["Content"], None]  # noqa: UP007 - refers to itself
"""What an element may hold: HTML, text to escape, nothing, or several of these."""

_VOID = frozenset({"br", "img", "input", "rect", "line", "image", "meta"})


def el(tag: str, *content: Content, **attributes: str | float | bool | None) -> Html:
    """An element.

    Args:
        attributes: ``class_`` is written class, other underscores are hyphens; True is an
            attribute without a value, False and None leave it out.
    """
    opening = tag + "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{opening}>" if tag in ("br", "img", "input", "meta") else f"<{opening}/>")
    return Html(f"<{opening}>{html(content)}</{tag}>")


def details(title: str, content: Content) -> Html:
    """Content that is closed at first."""
    return el("details", el("summary", title), content)


def html(content: Content) -> Html:
    """Content as HTML."""
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int):
        return Html(escape(visible(str(content))))
    return Html("".join(html(part) for part in content))


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(visible(str(value)))}"'
