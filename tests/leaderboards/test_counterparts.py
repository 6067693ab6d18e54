from __future__ import annotations

import re
from typing import Any

import pytest
from results import result

from ovbench.harness.contract.published import PUBLISHED
from ovbench.harness.contract.settings import describe
from ovbench.harness.metrics.definitions import MIOU_DEFINITIONS
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.presets import choose_preset, published_rows
from ovbench.leaderboards.reported.benchmarks import benchmarks
from ovbench.leaderboards.reported.counterparts import (
    Counterpart,
    counterpart,
    reported_on,
    rules,
)


def pnp(config: dict[str, Any], miou: float = 40.0, **run: Any) -> dict[str, Any]:
    made = result("pnp_ovss", miou, **run)
    made["config"] = {"vlm": "blip_flickr", "resolution": 768, "layer": 8, "head": 10, **config}
    return made


def dense(
    method: str, config: dict[str, Any], names: str = "own", own: str | None = "own", **run: Any
) -> dict[str, Any]:
    """As published, with the CLIP that papers begin with."""
    made = result(method, 40.0, preset="published", **run)
    made["config"] = {"architecture": "ViT-B-16", "pretrained": "openai", **config}
    made["vocabulary"] |= {"source": f"voc/{names}", "known_as": [names, "same"]}
    made["published"] = {"names": own}
    return made


def found(one: dict[str, Any]) -> tuple[str, str, float, str, float]:
    match = counterpart(one)
    assert isinstance(match, Counterpart), match
    figure = match.figure
    return figure.table, figure.dataset, figure.value, match.definition, match.measured


# Methods whose figures are here and which are still to be written.
TO_COME = {"gem", "cass"}


def test_rules_name_what_exists() -> None:
    here = {b.dataset for b in benchmarks().values() if not b.outside}
    for rule in rules():
        assert rule.figures(), rule
        assert rule.classes in ("all", "oracle", "predicted")
        assert not rule.tolerance or 0 < float(rule.tolerance) < 1
        assert {rule.definition_on(dataset) for dataset in here} <= set(MIOU_DEFINITIONS)
        named = [word.split("=")[0] for word in rule.definition.split()[1:]]
        assert set(named) <= here
        if rule.method in TO_COME - METHODS.entries.keys():
            continue
        method = METHODS.load(rule.method)
        names = {info.name for info in describe(method.Settings)}
        assert set(rule.needs()) <= names, rule
        for preset in rule.presets.split():
            if preset == PUBLISHED:
                assert published_rows(method), rule
            else:
                choose_preset(rule.method, method, None if preset == "default" else preset)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (pnp({}, background="ignore"), ("T3", "VOC20", 54.1, "union", 40.0)),
        (pnp({"resolution": 336}, background="ignore"), ("T3", "VOC20", 52.5, "union", 40.0)),
        (
            pnp({"resolution": 336}, background="none", dataset="cocostuff",
                changes={"resolution": 336}),
            ("T3", "COCO-Stuff171", 29.6, "union", 40.0),
        ),
        (
            pnp({}, preset="cvpr_code_voc", classes="oracle"),
            ("T3", "VOC20", 54.1, "void_as_background", 39.5),
        ),
        (
            pnp({}, preset="cvpr_code_coco", classes="oracle", dataset="cocostuff",
                background="none"),
            ("T3", "COCO-Stuff171", 32.5, "gt_only", 40.5),
        ),
        (
            pnp({}, preset="table5_blur", dataset="context", background="ignore"),
            ("T5", "Context59", 36.8, "union", 40.0),
        ),
        (
            pnp({"resolution": 336, "head": 4}, dataset="cocostuff", background="none",
                changes={"resolution": 336, "head": 4}),
            ("T6", "COCO-Stuff171", 20.0, "union", 40.0),
        ),
        (dense("sclip", {}, names="plain", own=None), ("README", "VOC", 59.63, "union", 40.0)),
        (dense("sclip", {}), ("README", "VOC", 59.63, "union", 40.0)),
        # A set that equals another is recorded under the other's name.
        (dense("sclip", {}, own="same"), ("README", "VOC", 59.63, "union", 40.0)),
        (dense("naclip", {"pamr_iterations": 0}), ("main results", "VOC", 58.9, "union", 40.0)),
        (
            dense("naclip", {"pamr_iterations": 10}, changes={"pamr_iterations": 10}),
            ("README", "VOC", 64.07, "union", 40.0),
        ),
        (
            dense("clearclip", {"attention": "query", "residual": False, "mlp": False},
                  background="ignore"),
            ("T2 of the appendix", "VOC20", 80.9, "union", 40.0),
        ),
        (
            dense("clearclip", {"attention": "query", "residual": False, "mlp": False}),
            ("main results", "VOC", 51.8, "union", 40.0),
        ),
        (dense("proxyclip", {"vfm": "dino_vitb8"}), ("main results", "VOC", 61.3, "union", 40.0)),
        (
            dense("proxyclip", {"vfm": "dinov2_registers_base"}),
            ("T1", "VOC", 58.6, "union", 40.0),
        ),
    ],
)  # fmt: skip
def test_the_right_row_is_found(
    one: dict[str, Any], expected: tuple[str, str, float, str, float]
) -> None:
    assert found(one) == expected


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (pnp({}, checkpoints="toy"), "miniature weights"),
        (pnp({}, limit=10), "only part of the images"),
        (pnp({}, complete=False), "only part of the images"),
        (result("constant", 3.0), "no figure of constant"),
        (pnp({}, background="ignore", classes="oracle"), "preset default and --classes oracle"),
        (pnp({}, background="ignore", changes={"blur": 0.1}), r"default, blur=0\.1 and --classes"),
        (pnp({"resolution": 500}, background="ignore"), "no figure was reported for preset"),
        (pnp({}, background="class"), "Luo et al., CVPR 2024, table 3, has no such benchmark"),
        (pnp({}, background="none", dataset="cityscapes"), "has no such benchmark"),
        (pnp({}, split="train", background="ignore"), "has no such benchmark"),
        (dense("sclip", {}, own=None), "with other class names than those it was published with"),
        (dense("sclip", {}, names="plain"), "with other class names than those it was published"),
        (dense("sclip", {"pretrained": "laion2b"}), "no figure was reported for preset published"),
        (dense("sclip", {}, changes={"area_share": 0}), "no figure was reported for preset"),
        (dense("proxyclip", {"vfm": "sam_vit_b"}), "no figure was reported for preset"),
    ],
)
def test_where_there_is_none_it_says_why(one: dict[str, Any], reason: str) -> None:
    said = counterpart(one)
    assert isinstance(said, str)
    assert re.search(reason, said), said


def test_what_papers_report_on_a_benchmark() -> None:
    on = reported_on(result("x", 1.0, background="ignore", subset="unseen5-only")["run"])
    assert {f.dataset for f in on} == {"VOC (5 unseen)"}
    assert len(on) == 16
    assert reported_on(result("x", 1.0, dataset="toyworld")["run"]) == []


def test_the_targets_of_the_dense_clips_are_held_within_0_3() -> None:
    targets = {
        (rule.method, rule.settings.partition("pamr_iterations=")[2]): len(
            [f for f in rule.figures() if not benchmarks()[f.dataset].outside]
        )
        for rule in rules()
        if rule.tolerance == "0.3"
    }
    assert targets == {
        ("sclip", ""): 8,  # and one on COCO-Stuff 10k, which is not measured here
        ("naclip", "10"): 8,
        ("naclip", "0"): 8,
        ("clearclip", ""): 5,
        ("proxyclip", ""): 8,
    }
