from __future__ import annotations

from typing import Any

import pytest
from results import result

from ovbench.leaderboards.gates.against_papers import against_papers, passes
from ovbench.leaderboards.gates.verdicts import summary


def pnp(miou: float, **run: Any) -> dict[str, Any]:
    """On Context59, where the paper prints 42.8."""
    made = result("pnp_ovss", miou, **{"dataset": "context", "background": "ignore", **run})
    made["config"] = {"vlm": "blip_flickr", "resolution": 768}
    return made


@pytest.mark.parametrize(
    ("miou", "finding"),
    [(42.8, "within"), (41.9, "within"), (43.7, "within"), (41.7, "off"), (44.0, "off")],
)
def test_tolerance(miou: float, finding: str) -> None:
    (verdict,) = against_papers([pnp(miou)])
    assert (verdict.finding, verdict.reference, verdict.tolerance) == (finding, 42.8, 1.0)
    assert verdict.source == "Luo et al., CVPR 2024, table 3: Context59, mIoU as 'union'"
    assert passes([verdict]) == (finding == "within")


def sclip(miou: float) -> dict[str, Any]:
    """On VOC21, where its README has 59.63."""
    made = result("sclip", miou, preset="published")
    made["config"] = {"architecture": "ViT-B-16", "pretrained": "openai"}
    return made


@pytest.mark.parametrize(
    ("miou", "tolerance", "finding"),
    [(59.4, None, "within"), (59.2, None, "off"), (59.2, 0.5, "within"), (59.4, 0.1, "off")],
)
def test_a_row_may_be_held_tighter(miou: float, tolerance: float | None, finding: str) -> None:
    (verdict,) = against_papers([sclip(miou)], tolerance)
    assert (verdict.finding, verdict.reference) == (finding, 59.63)
    assert verdict.tolerance == (0.3 if tolerance is None else tolerance)


def test_what_has_no_counterpart_is_said_and_alone_does_not_pass() -> None:
    verdicts = against_papers([pnp(42.8), pnp(42.8, limit=5), result("constant", 3.0)])
    assert [v.finding for v in verdicts] == ["within", "unmatched", "unmatched"]
    assert [v.source for v in verdicts[1:]] == [
        "only part of the images",
        "no figure of constant is in the papers here",
    ]
    assert passes(verdicts)
    assert not passes(verdicts[1:])
    assert summary(verdicts) == "1 within tolerance, 0 off, 2 not compared"
