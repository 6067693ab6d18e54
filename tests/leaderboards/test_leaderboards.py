from __future__ import annotations

import copy
import csv
import io
import json
import re
from pathlib import Path

import pytest
from results import result, several

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import sealed
from ovbench.leaderboards.formats.publish import publish, unreported
from ovbench.leaderboards.formats.update import put_between_markers
from ovbench.leaderboards.reported.evidence import repeated
from ovbench.leaderboards.reported.published import figures
from ovbench.leaderboards.tables.fields import View
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.table import boards, find_results, of_datasets

GOLDEN = Path(__file__).parent / "golden"


SUFFIX = {"markdown": "md", "html": "html", "latex": "tex", "csv": "csv", "json": "json"}


@pytest.mark.parametrize("format", SUFFIX)
def test_every_format_is_stable_to_the_byte(format: str) -> None:
    text = publish(several(), format)
    assert text == (GOLDEN / f"leaderboard.{SUFFIX[format]}").read_text(encoding="utf-8")
    assert publish(several()[::-1], format) == text


def test_only_comparable_runs_are_ranked_together() -> None:
    ranked = [
        [row["run"]["method"] for row in View().ordered(board.rows)] for board in boards(several())
    ]
    assert ["best", "tuned", "partial", "slow|one", "broken"] in ranked
    assert sorted(map(len, ranked)) == [1, 1, 1, 1, 2, 5]


def test_runs_that_were_shown_other_pictures_are_not_ranked_together() -> None:
    def shown(method: str, digest: str) -> dict:
        prompts = {"source": "train", "shots": 2, "pictures": {}, "sha256": digest * 64}
        return {**result(method, 1.0), "prompts": prompts}

    older = result("d", 1.0)
    newer = {**result("e", 1.0), "prompts": None}
    found = boards([shown("a", "1"), shown("b", "1"), shown("c", "2"), older, newer])
    titles = {tuple(row["run"]["method"] for row in board.rows): board.title for board in found}
    assert set(titles) == {("a", "b"), ("c",), ("d", "e")}
    assert titles["a", "b"].endswith(", prompts train x2 (11111111)")
    assert "prompts" not in titles["d", "e"]


def test_a_run_given_twice_counts_once() -> None:
    (board,) = boards([result("a", 1.0), copy.deepcopy(result("a", 1.0))])
    assert len(board.rows) == 1


def test_marks() -> None:
    told = result("m", 1.0, classes="oracle", checkpoints="toy", limit=3, num_images=3,
                  complete=False, warnings=["odd count"])  # fmt: skip
    found = marks(told)
    assert [m.split(":")[0] for m in found] == [
        "class oracle", "toy weights", "only the first 3 images", "incomplete", "odd count"
    ]  # fmt: skip
    assert marks(result("m", 1.0)) == []
    assert "only the first image" in marks(result("m", 1.0, limit=1, num_images=1))
    (old,) = marks(result("m", 1.0, protocol_version=1))
    assert old.startswith("counted as protocol version 1 says")


def test_pictures_beside_the_benchmarks_are_marked() -> None:
    told = result("m", 1.0)
    pictures = {"name": "118287 pictures", "revision": None, "sha256": "abcdef0123" + 54 * "0"}
    for role in ("bank", "archive"):
        told["checkpoints"] = [{"role": role, **pictures}, *result("m", 1.0)["checkpoints"]]
        assert marks(told) == ["looks things up in 118287 pictures (abcdef01), without labels"]


def test_results_are_found_in_runs_folders_and_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(sealed(result(name, 1.0))))
    assert len(find_results([tmp_path])) == 2
    assert len(find_results([tmp_path / "a", tmp_path / "b" / "result.json", tmp_path])) == 2
    with pytest.raises(UsageError, match=r"nowhere: no result\.json"):
        find_results([tmp_path / "nowhere"])
    (tmp_path / "a" / "result.json").write_text("{}")
    with pytest.raises(UsageError, match="not a result"):
        find_results([tmp_path])


def test_a_result_of_another_schema_is_refused(tmp_path: Path) -> None:
    old = {**result("old", 50.0), "schema_version": 1}
    (tmp_path / "result.json").write_text(json.dumps(old))
    with pytest.raises(UsageError, match=r"written with schema 1, .* reads 3; `ovbench rescore"):
        find_results([tmp_path])


def test_a_mark_says_what_is_not_comparable_in_the_overview() -> None:
    section = publish(several(), "markdown").partition("### context")[0]
    notes = dict(re.findall(r"^<sup>(\d+)</sup> (.*?)  $", section, flags=re.M))

    def told(method: str) -> tuple[str, str]:
        line = next(li for li in section.splitlines() if li.startswith(f"| {method}"))
        value, _, numbers = line.removesuffix(" |").split(" | ")[3].partition(" <sup>")
        return value, " + ".join(notes[n] for n in re.findall(r"\d+", numbers))

    assert told("best") == ("**51.23**", "")
    assert told("tuned") == ("<u>50.00</u>", "")
    assert told("renamed") == (
        "65.00",
        "not comparable with the column: "
        "names voc/sclip (bbbbbbbb) instead of voc/plain (aaaaaaaa)",
    )
    assert told("told, class oracle") == (
        "70.00", "not comparable with the column: classes oracle instead of all"
    )  # fmt: skip
    assert told("first")[1].startswith("only the first 10 images + not comparable")
    assert "other images" in told("first")[1]


def test_of_several_runs_the_overview_does_not_take_the_best() -> None:
    worse = {**result("a", 10.0), "run": {**result("a", 10.0)["run"], "id": "z", "seed": 2}}
    other = result("b", 5.0, dataset="context", background="ignore")
    section = publish([result("a", 20.0), worse, other], "markdown").partition("### voc")[0]
    assert "10.00 <sup>" in section
    assert "20.00" not in section
    assert "one of 2 runs" in section


def test_csv_and_json_tell_the_same() -> None:
    lines = list(csv.DictReader(io.StringIO(publish(several(), "csv"))))
    rows = [
        {**board["conditions"], **row}
        for board in json.loads(publish(several(), "json"))["boards"]
        for row in board["rows"]
    ]
    for line, row in zip(lines, rows, strict=True):
        row["marks"] = "; ".join(row["marks"])
        row |= {name: json.dumps(row[name]) for name in ("changes", "settings")}
        assert line == {k: "" if v is None else str(v) for k, v in row.items()}


def test_a_delta_to_the_paper_names_its_figure() -> None:
    text = publish(several(), "markdown")
    row = next(li for li in text.splitlines() if "`pnp-context`" in li)
    assert "| −0.3 <sup>1</sup> |" in row
    assert "<sup>1</sup> against 42.8 on Context59, Luo et al., CVPR 2024, table 3" in text


def test_reported_figures_stand_beside_and_are_not_ranked() -> None:
    text = publish(several(), "markdown", with_reported=True)
    section = text.partition("### context val")[2].partition("###")[0]
    rows = [li.split(" | ") for li in section.splitlines() if li.startswith("| ")]
    reported = [row for row in rows if row[-1] == "reported |"]
    on = [f for f in figures() if (f.dataset, f.metric) == ("Context59", "mIoU")]
    assert len(reported) == sum(figure not in repeated() for figure in on) > 100
    assert {row[0] for row in reported} == {"| "}
    assert not any("**" in cell for row in reported for cell in row)
    toy = text.partition("### toyworld val")[2].partition("### voc")[0]
    assert "reported" not in toy


def test_only_some_datasets() -> None:
    chosen = of_datasets(several(), {"context": ("context", None)})
    assert {r["run"]["dataset"] for r in chosen} == {"context"}
    with pytest.raises(UsageError, match="cocostuff: no result of it; there are context, toyworld"):
        of_datasets(several(), {"cocostuff": ("cocostuff", None)})


def test_latex_compiles_no_special_character_by_accident() -> None:
    odd = result("a_b", 1.0, changes={"x": "50% & #1 {~^\\}"})
    line = next(li for li in publish([odd], "latex").splitlines() if li.startswith("1 &"))
    assert r"a\_b (x=50\% \& \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\})" in line


def test_latex_needs_no_character_that_pdflatex_lacks_but_those_of_names() -> None:
    assert publish(several(), "latex").isascii()
    assert "caf\xe9" in publish([result("cafe\u0301", 1.0)], "latex")


def test_html_escapes() -> None:
    text = publish([result("<b>&", 1.0)], "html")
    assert "<td>&lt;b&gt;&amp;</td>" in text
    assert "<b>" not in text.partition("<body>")[2]


def table_of(text: str, title: str) -> list[list[str]]:
    """The cells of the table below a title."""
    section = text.partition(f"### {title}")[2].partition("###")[0]
    return [li[2:-2].split(" | ") for li in section.splitlines() if li.startswith("| ")]


def test_columns_metric_and_order_can_be_chosen() -> None:
    results = [result("a", 50.0), result("b", 40.0), result("c", None)]
    for one, time in zip(results, (0.3, 0.1, 0.2), strict=True):
        one["profile"]["per_image_s"]["mean"] = time

    def methods(view: View) -> list[str]:
        return [row[1] for row in table_of(publish(results, "markdown", view), "voc")[2:]]

    assert methods(View()) == ["a", "b", "c"]
    assert methods(View(sort="s_per_image")) == ["b", "c", "a"]
    results[1]["metrics"]["fwiou"] = 90.0
    assert methods(View("fwiou")) == ["b", "a", "c"]
    head, _, first, *_ = table_of(publish(results, "markdown", View("gt_only")), "voc")
    assert head[:3] == ["#", "method", "mIoU, gt only"]
    assert first[2] == "**50.50**"
    shown = View(columns=("run", "s_per_image", "fwiou"), sort="run")
    head, _, first, *_ = table_of(publish(results, "markdown", shown), "voc")
    assert head == ["#", "method", "run", "s/image", "fwIoU"]
    assert first == ["1", "a", "`a`", "0.3", "–"]
    assert [r["method"] for r in json.loads(publish(results, "json", View(sort="s_per_image")))
            ["boards"][0]["rows"]] == ["b", "c", "a"]  # fmt: skip
    for wrong, message in (
        (View("fwio"), "--metric fwio: did you mean 'fwiou'"),
        (View(sort="time"), "--sort time: "),
        (View(columns=("iou",)), "--columns iou: did you mean 'miou'"),
    ):
        with pytest.raises(UsageError, match=message):
            publish(results, "markdown", wrong)


def test_the_overview_can_end_with_the_average() -> None:
    context = {"dataset": "context", "background": "ignore"}
    results = [
        result("a", 50.0), result("a", 20.0, **context, id="a2"),
        result("b", 40.0), result("b", 34.0, **context, id="b2"),
        result("only", 90.0),
    ]  # fmt: skip
    told = result("told", 99.0, classes="oracle")
    text = publish([*results, told], "markdown", View(average=True))
    head, _, *rows = table_of(text, "mIoU on all benchmarks")
    assert head == ["method", "context val, background ignored", "voc val", "average"]
    assert [(row[0], row[-1]) for row in rows] == [
        ("b", "**37.00**"), ("a", "<u>35.00</u>"), ("only", "–"), ("told, class oracle", "–")
    ]  # fmt: skip


def test_footnotes_are_numbered_as_one_reads_them() -> None:
    context = {"dataset": "context", "background": "ignore", "num_images": 5104}
    rows = [result("pnp_ovss", 42.5, **context, id=name, warnings=[name]) for name in "xy"]
    for row in rows:
        row["config"] = {"vlm": "blip_flickr", "resolution": 768}
    text = publish(rows, "markdown")
    cells = [row[1:4] for row in table_of(text, "context")[2:]]
    assert [re.findall(r"<sup>(.*?)</sup>", " ".join(row)) for row in cells] == [
        ["1", "2"], ["3", "2"]
    ]  # fmt: skip
    assert [n[1] for n in re.findall(r"^<sup>(\d)</sup> (\S+)", text, re.M)] == [
        "x", "against", "y"
    ]  # fmt: skip


def test_latex_has_labels_of_its_own_and_fits_the_page() -> None:
    shown = publish([*several(), result("x", 1.0, ids_sha256="9" * 64)], "latex")
    labels = re.findall(r"\\label\{(.*?)\}", shown)
    assert len(labels) == len(set(labels)) == shown.count(r"\begin{table}")
    assert shown.count(r"\begin{adjustbox}{max width=\linewidth}") == len(labels)


def test_reported_figures_that_are_not_there_are_told() -> None:
    assert unreported([result("a", 1.0, dataset="mine"), result("b", 1.0, dataset="other")]) == [
        "mine", "other"
    ]  # fmt: skip
    assert not unreported(several())


def test_an_update_leaves_everything_else_of_a_document(tmp_path: Path) -> None:
    """Its line ends, byte-order mark, mode and the link that leads to it."""
    text = "\ufeff# Mine\r\n<!-- leaderboard -->\r\n<!-- /leaderboard -->\r\nrest\r\nlone\n"
    page, link = tmp_path / "page.md", tmp_path / "link.md"
    page.write_bytes(text.encode())
    page.chmod(0o600)
    link.symlink_to(page.name)
    table = publish([result("<!-- /leaderboard --> <!-- leaderboard -->", 1.0)], "markdown")
    assert put_between_markers(link, table)
    assert not put_between_markers(link, table)  # no name can put a mark into it
    assert link.is_symlink()
    assert page.stat().st_mode & 0o777 == 0o600
    before, rest = text.split("<!-- leaderboard -->")
    made = page.read_bytes().decode()
    assert made.startswith(f"{before}<!-- leaderboard -->\r\n\r\n### voc")
    assert made.endswith(rest.removeprefix("\r\n"))
    assert "\n" not in made.removesuffix("lone\n").replace("\r\n", "")
    page.write_bytes(b"\xff <!-- leaderboard -->")
    with pytest.raises(UsageError, match="not UTF-8"):
        put_between_markers(page, table)


def test_the_published_table_is_made_from_the_published_results(tmp_path: Path) -> None:
    published = Path(__file__).parents[2] / "leaderboards"
    copy_of_it = tmp_path / "toyworld.md"
    copy_of_it.write_bytes((published / "toyworld.md").read_bytes())
    results = find_results([published / "toyworld"])
    assert not put_between_markers(copy_of_it, publish(results, "markdown"))
    assert all(r["run"]["limit"] == 100 and r["run"]["complete"] for r in results)
