"""The page as text: everything escaped, the same for the same runs, whole with what it has."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.leaderboards.report.contents import read_contents
from ovbench.leaderboards.report.markup import Html, el, html
from ovbench.leaderboards.report.page import page
from ovbench.leaderboards.report.pictures import Pictures

HOSTILE = "<b>&\"'</script><img src=x onerror=alert(1)>"
VOID = {"meta", "img", "input", "br"}


class Outline(HTMLParser):
    """Checks that elements are closed in order; collects text and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_what_is_not_html_is_escaped() -> None:
    assert el("td", '<b>&"', None, ["x", 3], Html("<i></i>"), class_="a", title='"<', hidden=True,
              data_v=None) == (
        '<td class="a" title="&quot;&lt;" hidden>&lt;b&gt;&amp;&quot;x3<i></i></td>'
    )  # fmt: skip
    assert el("img", alt="'") == '<img alt="&#x27;">'
    assert el("rect", x=1) == '<rect x="1"/>'
    assert html([]) == ""


@pytest.mark.parametrize("count", [1, 2])
def test_names_cannot_break_out(memory_dataset: Any, made: Any, count: int) -> None:
    dataset = memory_dataset()
    dataset.vocabulary = Vocabulary.of(HOSTILE, "dog", '<b>&"', background=True)
    runs = [made(dataset, f"run-{i}", i) for i in range(count)]
    text = page(read_contents(runs, 2), Pictures(missing=f"none: {HOSTILE}"))
    found = outline(text)
    assert "b" not in found.tags
    assert "img" not in found.tags
    assert found.tags.count("script") == 1
    assert text.count("</script>") == 1
    assert HOSTILE in found.text
    assert '<b>&"' in found.text


def test_the_page_needs_nothing_else(memory_dataset: Any, made: Any) -> None:
    text = page(read_contents([made(memory_dataset())], 2), Pictures())
    policy = "default-src 'none'; img-src data:;"
    assert policy in text
    assert not re.search(r"""(?:src|href|url|import)\s*[=(]?\s*["'(]?\s*(?:https?:)?//""", text)
    found = outline(text)
    assert len(found.ids) == len(set(found.ids))
    assert {"summary", "classes", "confusions", "costs", "images", "conditions"} <= set(found.ids)


def test_the_same_runs_give_the_same_page(memory_dataset: Any, made: Any) -> None:
    runs = [made(memory_dataset(), f"run-{i}", i) for i in range(3)]
    pages = {page(read_contents(runs, 2), Pictures()) for _ in range(2)}
    assert len(pages) == 1


def test_numbers_and_conditions_are_told(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset(bad=(2,))
    run = made(dataset, limit=9, skip_bad=True)
    contents = read_contents([run], 2)
    text = outline(page(contents, Pictures(missing="No pictures: because."))).text
    result = contents.reference.result
    for value in (result["metrics"]["miou"], result["metrics"]["fwiou"]):
        assert f"{value:.2f}" in text
    for words in ("only the first 8 images", "1 unreadable image left out", "because",
                  "image-002.jpg: truncated", result["environment"]["python"],
                  result["run"]["id"], "memory val, 8 images, with background"):  # fmt: skip
        assert words in text
    for row in result["per_class"]:
        assert f"{row['iou']:.2f}" in text


def test_the_page_of_a_single_image(memory_dataset: Any, made: Any, tmp_path: Path) -> None:
    contents = read_contents([made(memory_dataset(count=1))], 2)
    assert len(contents.chosen) == 1
    outline(page(contents, Pictures()))
