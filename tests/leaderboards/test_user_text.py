"""Whatever things are named, every table, report and export holds the names and obeys none."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nasty import CASES, names, nasty
from PIL import Image as Pillow
from results import result
from rich.table import Table

from ovbench.cli.shared.console import show
from ovbench.drawing.sheet import Strip, page_of
from ovbench.leaderboards.formats.export import conditions, run_name, scalars
from ovbench.leaderboards.formats.markdown import escaped
from ovbench.leaderboards.formats.publish import publish
from ovbench.leaderboards.formats.update import END, put_between_markers
from ovbench.leaderboards.report.markup import el
from ovbench.leaderboards.tables.profile_chart import profile_chart
from ovbench.text import visible


class Tags(HTMLParser):
    """The tags, attributes and comments of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.words += data


PLAIN = Tags(publish([result("a", 1.0), result("b", 2.0, dataset="context", limit=3)], "html"))
ACTING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")


@pytest.mark.parametrize("format", ["markdown", "html", "latex", "csv", "json"])
def test_leaderboards_hold_names_and_obey_none(format: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- leaderboard -->\n<!-- /leaderboard -->\n")
    for case in range(CASES):
        results = nasty(case)
        text = publish(results, format)
        if format != "json":
            assert not ACTING.search(text), case
        methods = [one["run"]["method"] for one in results]
        if format == "html":
            found = Tags(text)
            assert found.tags <= PLAIN.tags | {"sup", "ol", "li"}
            assert found.attributes <= PLAIN.attributes
            assert found.comments == []
            assert all(visible(name) in found.words for name in methods)
        elif format == "markdown":
            assert all(visible(name) in unescaped(text) for name in methods)
            assert text.count(END) == 0
            put_between_markers(page, text)
            assert not put_between_markers(page, text)
            headings = [line for line in text.splitlines() if line.startswith("#")]
            assert len(headings) == 1 + len({one["run"]["dataset"] for one in results})
            for line in text.splitlines():
                if line.startswith("|"):
                    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) >= 4
        elif format == "latex":
            assert_balanced(text)
        elif format == "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == 2
            for row in rows:
                assert not any(re.match(r"[=+@\t\r]|-(?!\d)", cell) for cell in row.values())
            assert {re.sub("^'(?='*[=+@-])", "", row["method"]) for row in rows} == set(
                map(visible, methods)
            )
        else:
            rows = [row for board in json.loads(text)["boards"] for row in board["rows"]]
            assert {row["method"] for row in rows} == set(methods)
            assert all(isinstance(row["changes"], dict) for row in rows)


def unescaped(text: str) -> str:
    """Markdown's text as GitHub would show it."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))


def assert_balanced(text: str) -> None:
    """Every group and environment is closed, in order, and no row has an option."""
    depth = 0
    for found in re.finditer(r"\\.|[{}]", text, re.S):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        assert depth >= 0
    assert depth == 0
    stack: list[str] = []
    for kind, name in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    assert not re.search(r"\\\\\s*[\[*]|--[^ \d]{0}-", text.replace("{[}", ""))
    assert not re.search(r"(?<!\\)[$%&#_^~](?![\\&])(?<! &)", strip_own(text))


def strip_own(text: str) -> str:
    """LaTeX without the renderer's own marks: cells' separators, minus and delta signs."""
    return re.sub(r" & |\$(?:\\pm|-|\\Delta|\\times|\\sigma)\$", " ", text)


def test_reports_hold_names_and_obey_none() -> None:
    for case in range(CASES):
        for name in names(case, 3):
            found = Tags(el("td", name, title=name, class_="n"))
            assert (found.tags, found.attributes) == ({"td"}, {"title", "class"})
            assert (found.words, found.comments) == (visible(name), [])


def test_terminals_show_names_and_obey_none(capsys: pytest.CaptureFixture[str]) -> None:
    for case in range(CASES):
        given = [name.strip() or "x" for name in names(case, 4)]
        table = Table(given[0], title=given[1])
        for name in given:
            table.add_row(name)
        show(table)
        out = capsys.readouterr().out
        assert not ACTING.search(out)
        if all(len(visible(name)) < 90 for name in given):
            assert all(f" {visible(name).strip()} " in out for name in given)


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_pictures_show_names_and_obey_none() -> None:
    for case in range(0, CASES, 10):
        given = names(case, 6)
        legend = dict.fromkeys(given, (0, 0, 0))
        page_of([Strip([Pillow.new("RGB", (9, 9))], name) for name in given], legend)
    name = "_x$\\end{$\n"
    row = {"method": name, "precision": "fp32", "size": "native", "batch_size": 1, "figures": None,
           "status": "failed", "reason": name}  # fmt: skip
    grid = {"methods": [name], "batch_sizes": [1], "sizes": ["native"], "precisions": ["fp32"]}
    data = {"name": name, "split": "val", "num_images": 4}
    figure = profile_chart(
        {
            "conditions": {"grid": grid, "dataset": data, "vocabulary": {"names": []},
                           "checkpoints": "toy", "device": "cpu"},
            "environment": {"gpu": None, "cpu": "$^{", "cpu_threads": 1},
            "rows": [row],
        }
    )  # fmt: skip
    figure.savefig(io.BytesIO(), format="png", dpi=20)
    (words,) = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == f" {visible(name)}, fp32, native, batch 1: failed"


def test_exports_lose_no_name() -> None:
    for case in range(CASES):
        for one in nasty(case):
            found = scalars(one)
            classes = {k: v for k, v in found.items() if k.startswith("per_class_iou/")}
            assert sorted(classes.values()) == [c["iou"] for c in one["per_class"]]
            plain = {re.sub(r"\W", "_", name).casefold() for name in classes}
            assert len(plain) == len(classes)
            assert Path(run_name(one)).name == run_name(one)
            assert len(run_name(one).encode()) < 256
            json.dumps(conditions(one), ensure_ascii=False).encode()


def test_classes_that_a_tracker_takes_for_one_have_their_labels() -> None:
    one = nasty(0)[0]
    one["per_class"] = [
        {"index": i, "name": name, "iou": float(i)}
        for i, name in enumerate(["cat", "dog a", "dog_a", "cat", "Cat", "bird"])
    ]
    found = {k.removeprefix("per_class_iou/"): v for k, v in scalars(one).items() if "class" in k}
    assert found == {
        "cat (label 0)": 0.0, "dog a (label 1)": 1.0, "dog_a (label 2)": 2.0,
        "cat (label 3)": 3.0, "Cat (label 4)": 4.0, "bird": 5.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("snake_case and _x_", r"snake_case and \_x\_"),
        ("a|b", r"a\|b"),
        ("<b> & *c*", r"&#60;b&#62; &#38; \*c\*"),
        ("[/indoor] :cat: 1:2", r"\[/indoor\] &#58;cat: 1:2"),
        ("https://a.b, www.a.b, me@b.c", "https&#58;//a.b, www&#46;a.b, me&#64;b.c"),
        ("title ##", "title &#35;#"),
        ("$x$ ~y~ `z`", r"&#36;x&#36; \~y\~ \`z\`"),
        (
            "voc val, 3 images, names plain (0123), 95 %",
            "voc val, 3 images, names plain (0123), 95 %",
        ),
    ],
)
def test_markdown_is_written_as_text(text: str, written: str) -> None:
    assert escaped(text) == written
