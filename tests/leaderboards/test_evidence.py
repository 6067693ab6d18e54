"""What repeats what, and who disagrees with whom."""

from __future__ import annotations

from collections import Counter

from ovbench.leaderboards.reported.evidence import (
    ROUNDING,
    conflicts,
    figure_notes,
    repeated,
    row_of,
)
from ovbench.leaderboards.reported.published import Figure, figures, sources


def one(source: str, method: str, dataset: str, value: float) -> Figure:
    return next(
        f
        for f in figures()
        if (f.source, f.method, f.dataset, f.value) == (source, method, dataset, value)
    )


def test_a_repeated_figure_is_the_same_measurement() -> None:
    for figure, origin in repeated().items():
        assert origin not in repeated()
        assert figure.source != origin.source
        assert (figure.method, figure.dataset, figure.metric) == (
            origin.method, origin.dataset, origin.metric,
        )  # fmt: skip
        assert abs(figure.value - origin.value) <= ROUNDING
        assert not figure.backbone or not origin.backbone or figure.backbone == origin.backbone
        assert sources()[figure.source].kind != "thread"
    assert len(repeated()) == 260


def test_the_origin_is_whoever_measured_it() -> None:
    # The authors, even where the first source here printed it before.
    assert repeated()[one("activesam", "LaVG", "VOC", 62.1)].source == "lavg"
    assert repeated()[one("resclip", "ClearCLIP", "VOC20", 80.9)].source == "clearclip"
    # As rounded by who repeats it.
    assert repeated()[one("ov_stitcher", "CLIPtrase", "VOC", 50.9)].value == 50.88
    # The paper's figures of SCLIP are not those of its README, but the same in three papers.
    others = [one(s, "SCLIP", "VOC", 59.1) for s in ("resclip", "ov_stitcher", "activesam")]
    assert [repeated().get(f) for f in others] == [None, others[0], others[0]]


def test_equal_by_chance_is_not_repeated() -> None:
    assert one("floss", "MaskCLIP", "Context59", 25.5) not in repeated()  # 1 of 2 shared columns
    assert one("sclip_15", "SCLIP", "COCO-Stuff171", 21.1) not in repeated()  # a user's own run


def test_conflicts_are_found_by_comparing_every_pair() -> None:
    alike: dict[object, list[Figure]] = {}
    for figure in figures():
        alike.setdefault(row_of(figure), []).append(figure)
    expected = set()
    for key, some in alike.items():
        by_source = [{f.value for f in some if f.source == s} for s in {f.source for f in some}]
        common = [
            v for v in by_source[0] if all(any(abs(v - w) < 0.051 for w in b) for b in by_source)
        ]
        if not common:
            expected.add(key)
    assert set(conflicts()) == expected
    assert len(expected) == 52


def test_known_conflicts_are_said() -> None:
    seen = {(key[0], key[1], key[4]) for key in conflicts()}
    base = "OpenAI ViT-B/16"
    assert {
        ("SFP", "VOC", base), ("SCLIP", "VOC", base), ("SCLIP", "Context59", base),
        ("MaskCLIP", "VOC", base), ("CLIP", "VOC", base), ("CLIP", "COCO-Stuff171", base),
        ("ProxyCLIP", "VOC", base), ("ClearCLIP", "ADE20K150", base), ("Trident", "VOC", base),
        ("SAM 3", "ADE20K150", ""), ("ViL-Seg", "VOC", ""),
    } <= seen  # fmt: skip
    # PAMR is a condition, not a disagreement; and so are labels that were resized.
    assert not {key for key in seen if key[0] in ("NACLIP", "CLIPtrase", "TCL")}
    assert Counter(key[0] for key in conflicts())["SFP"] == 1
    misprint = one("ov_stitcher", "SFP", "VOC", 62.9)
    assert figure_notes(misprint) == [
        "SFP on VOC is printed differently: 62.9 (Moon et al., CVPR Findings 2026), "
        "63.9 (Tien and Shen, arXiv 2026)",
        "a misprint of 63.9: the mean beside it, 44.0, fits that alone",
    ]
    assert any("32.7" in note for note in figure_notes(one("activesam", "CLIPtrase", "VOC", 50.9)))
    assert any("Context59" in note for note in figure_notes(one("resclip", "GEM", "Context", 32.6)))
