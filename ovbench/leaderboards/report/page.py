"""The sections as one file that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from string import Template

from ovbench.leaderboards.report.classes import classes
from ovbench.leaderboards.report.conditions import conditions
from ovbench.leaderboards.report.confusion_section import confusion_section
from ovbench.leaderboards.report.contents import Contents
from ovbench.leaderboards.report.costs import costs
from ovbench.leaderboards.report.gallery import gallery
from ovbench.leaderboards.report.markup import Html, el, html
from ovbench.leaderboards.report.pictures import Pictures
from ovbench.leaderboards.report.summary import summary
from ovbench.leaderboards.tables.labels import labels

_NAV = {
    "summary": "Summary",
    "classes": "Classes",
    "confusions": "Confusions",
    "costs": "Time and memory",
    "images": "Images",
    "conditions": "Conditions",
}


def page(contents: Contents, pictures: Pictures, around: Html = Html()) -> str:  # noqa: B008
    """The whole page; the same contents always give the same text.

    Args:
        around: links to pages around it, above its own.
    """
    script = static("tables.js") + static("script.js")
    title = _title(contents)
    return Template(static("page.html")).substitute(
        title=html(title),
        style=static("style.css"),
        script=script,
        # Nothing is fetched, and no other script runs, whatever a name may hold.
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        around=around,
        nav=html([el("a", words, href=f"#{name}") for name, words in _NAV.items()]),
        body=_body(contents, pictures),
    )


def _title(contents: Contents) -> str:
    info = contents.reference.result["run"]
    named = labels([run.result for run in contents.runs])
    methods = " and ".join(named[run.result["run"]["id"]] for run in contents.runs)
    return f"{methods} on {info['dataset']} {info['split']}"


def _body(contents: Contents, pictures: Pictures) -> Html:
    return html(
        [
            summary(contents),
            classes(contents),
            confusion_section(contents),
            costs(contents),
            gallery(contents, pictures),
            conditions(contents),
        ]
    )


def static(name: str) -> str:
    """One of the files that a page is made of."""
    return (files("ovbench.leaderboards.report") / "static" / name).read_text(encoding="utf-8")
