from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from ovbench.harness.registry.names import DATASETS
from ovbench.leaderboards.reported import published as reported
from ovbench.leaderboards.reported.benchmarks import Benchmark, benchmarks
from ovbench.leaderboards.reported.published import (
    PERCENT,
    RATES,
    Figure,
    figures,
    marks,
    sources,
    systems,
)

SEEDS = {"pnp_ovss": 165, "ovdiff": 84, "rim": 56, "ipseg": 237}

# What the lists that were read call a benchmark or a metric, where the data say it otherwise.
ALIASES = {
    "VOC21": "VOC",
    "Context60": "Context",
    "COCO-Stuff": "COCO-Stuff171",
    "ADE20K": "ADE20K150",
    "Cityscapes": "Cityscapes19",
    "ADE847": "ADE20K847",
    "COCO-Object80 (no background)": "COCO-Object80",
    "COCO-Object (presumed)": "COCO-Object",
    "VOC 5 unseen": "VOC (5 unseen)",
    "Context 10 unseen": "Context (unseen)",
    "COCO-Stuff 15 unseen": "COCO-Stuff (unseen)",
    "COCO (background + 80 names, called COCO Stuff)": "COCO (background and 80 names)",
    "pAcc": "pixel accuracy",
    "mAcc": "mean accuracy",
}


def read(facts: Path, name: str) -> list[dict[str, str]]:
    with (facts / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def of_row(row: dict[str, str]) -> tuple[str, str, float]:
    dataset, metric = row["dataset"], row["metric"]
    if metric == "IoU":  # of one class, which is named behind the benchmark
        dataset, _, name = dataset.partition(" ")
        metric = f"IoU of {name}"
    return ALIASES.get(dataset, dataset), ALIASES.get(metric, metric), float(row["value"])


def of_figure(figure: Figure) -> tuple[str, str, float]:
    return figure.dataset, figure.metric, figure.value


def test_all_figures_are_here() -> None:
    counts = Counter(figure.source for figure in figures())
    assert {name: counts[name] for name in SEEDS} == SEEDS
    assert len(figures()) == 542 + 1157 + 101
    assert {figure.method for figure in figures()} == set(systems())
    assert {figure.source for figure in figures()} == set(sources())
    assert {figure.dataset for figure in figures()} == set(benchmarks())
    assert {mark for figure in figures() for mark in figure.marks} == set(marks())
    assert all(system.authors and system.venue for system in systems().values())
    for source in sources().values():
        assert all((source.title, source.authors, source.venue))
        assert source.link.startswith("https://") or source.kind in ("paper", "listing")
        assert set(source.systems) <= set(systems())
        assert {source.key} & set(SEEDS) == ({source.key} if source.kind == "paper" else set())


def test_they_are_those_that_were_read_from_the_papers(sample_data: Path) -> None:
    rows = read(sample_data.parent / "facts", "paper_numbers")
    for figure, row in zip(figures()[: len(rows)], rows, strict=True):
        assert figure.source == row["paper"]
        assert figure.value == float(row["value"])
        assert figure.std == (float(row["std"]) if row["std"] else None)
        assert not figure.backbone
        for name in ("table", "method", "variant", "setting", "dataset", "metric", "note"):
            assert getattr(figure, name) == row[name]


def test_none_of_those_that_were_read_elsewhere_is_lost(sample_data: Path) -> None:
    facts = sample_data.parent / "facts"
    later = [of_figure(figure) for figure in figures()[542:]]
    rows = [of_row(row) for row in read(facts, "successors_numbers")]
    assert later[: len(rows)] == rows
    seeds = {(f.method.partition(" (")[0], f.value) for f in figures()[:542]}
    kept = [
        of_row(row)
        for row in read(facts, "baselines_numbers")
        if "seed paper" not in row["source"] or (row["method"], float(row["value"])) not in seeds
    ]
    assert later[len(rows) :] == kept


# Looked up at the sources: the headline row of each.
@pytest.mark.parametrize(
    ("source", "method", "told", "dataset", "value"),
    [
        ("pnp_ovss", "PnP-OVSS", "BLIP COCO; 768", "VOC20", 55.7),
        ("ovdiff", "OVDiff", "synthetic support; mean of 5 seeds; with background", "VOC", 66.3),
        ("rim", "RIM", "training-free; with background", "VOC", 77.8),
        ("sclip", "SCLIP", "OpenAI ViT-B/16; released configurations", "VOC", 59.63),
        ("naclip", "NACLIP", "OpenAI ViT-B/16; PAMR, 10 steps: the default", "VOC", 64.07),
        ("clearclip", "ClearCLIP", "OpenAI ViT-B/16", "ADE20K150", 16.7),
        ("trident", "ProxyCLIP", "OpenAI ViT-B/16; DINO B/8", "VOC", 61.3),
        ("corrclip", "CorrCLIP", "MetaCLIP ViT-L/14; SAM 2, 32 points a side", "VOC", 76.7),
        ("groupvit_32", "GroupViT", "GCC+YFCC; the mean is 52.29", "VOC", 80.63),
    ],
)
def test_headline_figures(source: str, method: str, told: str, dataset: str, value: float) -> None:
    found = [
        f.value
        for f in figures()
        if (f.source, f.method, "; ".join(f.details), f.dataset) == (source, method, told, dataset)
    ]
    assert value in found


def test_the_targets_of_the_dense_clips_are_here() -> None:
    def row(source: str, method: str, *details: str) -> dict[str, float]:
        return {
            f.dataset: f.value
            for f in figures()
            if (f.source, f.method, *f.details) == (source, method, *details)
        }

    base = "OpenAI ViT-B/16"
    assert len(row("sclip", "SCLIP", base, "released configurations")) == 9
    assert len(row("naclip", "NACLIP", base, "PAMR, 10 steps: the default")) == 8
    without = row("resclip", "NACLIP", base)
    assert [without[name] for name in ("VOC", "Context", "VOC20")] == [58.9, 32.2, 79.7]
    assert len(row("clearclip", "ClearCLIP", base)) == 5
    assert len(row("trident", "ProxyCLIP", base, "DINO B/8")) == 8


def test_conditions_that_move_figures_are_marked() -> None:
    marked: dict[str, set[tuple[str, str]]] = {}
    for figure in figures():
        for mark in figure.marks:
            marked.setdefault(mark, set()).add((figure.source, figure.method))
    assert ("naclip", "NACLIP") in marked["pamr"]
    assert ("resclip", "NACLIP") not in marked["pamr"]
    assert {method for _, method in marked["gt_resized"]} == {"CLIP-DIY", "CLIPtrase", "CLIPpy"}
    assert ("rim", "DiffSegmenter (printed DiffSeg)") in marked["tuned_on_test"]
    assert {method for _, method in marked["coco_bank"]} == {"CorrCLIPv2", "ReME"}
    assert {method for _, method in marked["per_benchmark"]} == {"CASS", "ResCLIP"}
    assert {f.method for f in figures() if "SAM 3" in (f.method, f.variant)} <= {
        method for _, method in marked["mask_trained"]
    }
    assert {s.key for s in sources().values() if s.kind == "picture"} == {
        "clearclip", "resclip", "trident", "ov_stitcher", "activesam",
    }  # fmt: skip


def test_each_benchmark_is_one_of_ours_or_says_why_not() -> None:
    for benchmark in benchmarks().values():
        assert not benchmark.dataset or benchmark.dataset in DATASETS.entries
    outside = [f for f in figures() if benchmarks()[f.dataset].outside]
    assert len(outside) == 126
    with pytest.raises(ValueError, match="or why it is outside"):
        Benchmark("X", "voc", "", "", "", "")
    with pytest.raises(ValueError, match="or why it is outside"):
        Benchmark("X", "voc", "val", "class", "", "remote sensing")


def test_values_are_percentages_or_rates() -> None:
    for figure in figures():
        assert figure.metric in PERCENT | RATES or figure.metric.startswith("IoU of ")
    assert {f.source for f in figures() if f.metric in RATES} == {"activesam"}
    accuracies = [f for f in figures() if f.metric == "mean accuracy"]
    assert min(f.value for f in accuracies) > 17  # none is a fraction by mistake


ROW = {"source": "rim", "table": "T1", "method": "RIM", "backbone": "", "variant": "",
       "setting": "", "dataset": "VOC", "metric": "mIoU", "value": "50.0", "std": "",
       "marks": "", "note": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**ROW, "source": "x"}], "unknown source"),
        ([{**ROW, "method": "x"}], "unknown system"),
        ([{**ROW, "dataset": ""}], "unknown benchmark"),
        ([{**ROW, "marks": "pamr x"}], "unknown mark 'x'"),
        ([{**ROW, "metric": "MIoU"}], "unknown metric"),
        ([{**ROW, "value": "100.1"}], "not a percentage"),
        ([{**ROW, "value": "nan"}], "not a percentage"),
        ([{**ROW, "metric": "images/s", "value": "0"}], "not a rate"),
        ([{**ROW, "std": "-1"}], "not a percentage"),
        ([{**ROW, "table": ""}], "the table is missing"),
        ([ROW, ROW], "given 2 times"),
        ([{**ROW, "value": "high"}], "could not convert"),
    ],
)
def test_inconsistent_data_are_refused(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, str]], message: str
) -> None:
    sources(), systems(), marks(), benchmarks()  # read before the figures are replaced
    monkeypatch.setattr(reported, "rows", lambda name: rows)
    with pytest.raises(ValueError, match=message):
        reported.figures.__wrapped__()


def test_a_source_of_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"key": "x", "title": "", "authors": "", "venue": "", "arxiv": "", "kind": "talk",
           "link": "", "systems": ""}  # fmt: skip
    monkeypatch.setattr(reported, "rows", lambda name: [row])
    with pytest.raises(ValueError, match="x: unknown kind talk"):
        reported.sources.__wrapped__()
