"""Model cards, read back with the hub's own package."""

from __future__ import annotations

from pathlib import Path

import nasty
import pytest
from huggingface_hub import ModelCard
from results import result

from ovbench.errors import UsageError
from ovbench.leaderboards.sharing.card import card, write_cards

CONTEXT = {"dataset": "context", "background": "ignore", "num_images": 5104}


def test_the_hub_reads_every_number_that_is_defined(tmp_path: Path) -> None:
    results = [
        result("best", 51.234, preset="paper", seed=0),
        result("best", 30.0, preset="paper", seed=0, **CONTEXT, id="best-context"),
        result("other", 40.0, seed=0),
    ]
    best, other = write_cards([*results, results[0]], tmp_path)
    assert best.parent.name.startswith("best_paper_-")
    assert other.read_text() == card("other", results[2:])
    data = ModelCard.load(best).data
    assert data.model_name == "best (paper)"
    assert data.pipeline_tag == "image-segmentation"
    found = data.eval_results
    assert found is not None
    values = {(one.dataset_type, one.metric_type): one.metric_value for one in found}
    assert len(found) == len(values) == 6  # boundary IoU is undefined and fwIoU is not there
    assert values["voc", "mean_iou"] == 51.234
    assert values["context", "mean_iou"] == 30.0
    assert values["voc", "mean_accuracy"] == 60.126
    (miou,) = [one for one in found if (one.dataset_type, one.metric_type) == ("voc", "mean_iou")]
    assert miou.metric_args == {"ci95": [50.234, 52.234]}
    assert miou.dataset_args is not None
    assert miou.dataset_args["run"] == "best"
    assert "with background" in str(miou.dataset_config)
    assert "background ignored" in (body := best.read_text())
    assert "| 51.23 | 50.23–52.23 |" in body


def test_results_under_one_configuration_stay_apart(tmp_path: Path) -> None:
    twice = [result("m", 50.0, id="a" * 12, seed=0), result("m", 51.0, id="b" * 12, seed=0)]
    twice[1]["run"]["device"] = "cuda"
    (path,) = write_cards(twice, tmp_path)
    found = ModelCard.load(path).data.eval_results or []
    values = [(str(one.dataset_config)[-16:], one.metric_value) for one in found
              if one.metric_type == "mean_iou"]  # fmt: skip
    assert values == [("run " + "a" * 12, 50.0), ("run " + "b" * 12, 51.0)]


def test_miniatures_are_models_of_their_own(tmp_path: Path) -> None:
    both = [result("m", 50.0, seed=0), result("m", 51.0, id="toy", checkpoints="toy", seed=0)]
    names = [path.parent.name.rpartition("-")[0] for path in write_cards(both, tmp_path)]
    assert names == ["m", "m_with_toy_weights"]


def test_a_card_of_somebody_else_stays(tmp_path: Path) -> None:
    (path,) = write_cards([result("m", 50.0, seed=0)], tmp_path)
    write_cards([result("m", 50.0, seed=0)], tmp_path)
    path.write_text("mine")
    with pytest.raises(UsageError, match="not written by ovbench; give another --output"):
        write_cards([result("m", 50.0, seed=0)], tmp_path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("case", range(0, nasty.CASES, 8))
def test_names_stay_names(case: int, tmp_path: Path) -> None:
    for path in write_cards(nasty.nasty(case), tmp_path):
        assert path.parent.parent == tmp_path
        text = path.read_text()
        loaded = ModelCard(text)
        assert loaded.data.eval_results
        assert "<script" not in loaded.text.partition("## Settings")[0]
        in_settings = loaded.text.partition("## Settings")[2].partition("## Weights")[0]
        assert all("<" not in line or line.startswith("    ") for line in in_settings.splitlines())
