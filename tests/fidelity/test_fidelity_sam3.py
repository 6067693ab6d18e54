"""SAM 3's masks of a class become scores and labels as SegEarth-OV3's released code has it.

The numbers begin behind the network: masks as probabilities, which are resized here as there.
"""

from __future__ import annotations

import pytest
import torch
from oracles import require_close, vectors
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.prompted.fusion import Ranking, fused

SIZE = (48, 64)


def at_full_size(masks: Tensor) -> Tensor:
    return functional.interpolate(masks[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0]


@pytest.mark.parametrize("at_a_time", [1, 8])
@pytest.mark.parametrize(
    ("instances", "semantic", "presence"), [(1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)]
)
def test_scores_and_labels_equal_the_released_ones(
    instances: int, semantic: int, presence: int, at_a_time: int
) -> None:
    given = vectors("sam3_fusion_inputs")
    name = f"instances{instances}_semantic{semantic}_presence{presence}"
    masks, wholes = at_full_size(given["instance_masks"]), at_full_size(given["semantic_masks"])
    found = []
    for query, gate in enumerate(given["presence"]):
        own = torch.nonzero(given["instance_query"] == query)[:, 0]
        parts = own.split(at_a_time) if instances and len(own) else ()
        scores = fused(
            ((masks[some], given["instance_scores"][some]) for some in parts),
            wholes[query] if semantic else None,
            gate if presence else None,
        )
        found.append(torch.zeros(SIZE) if scores is None else scores)
    expected = vectors("sam3_fusion")
    require_close(torch.stack(found)[:, ::2, ::2], expected[f"{name}.query_scores"])
    ranking = Ranking(SIZE, 0, torch.device("cpu"))
    for label in range(3):
        queries = [found[q] for q in range(5) if given["query_class"][q] == label]
        ranking.add(label, torch.stack(queries).amax(dim=0))
    labels = ranking.labels(0.4, None)
    assert torch.equal(labels, expected[f"{name}.labels_thd0.4_bg0"].int())


def test_a_query_without_instances_occurs() -> None:
    """Else nothing above would tell whether it scores 0."""
    given = vectors("sam3_fusion_inputs")
    assert 1 not in given["instance_query"]
