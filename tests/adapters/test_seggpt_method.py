"""SegGPT and Painter as methods: a tiny model of random weights, loaded as the real ones are."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from prompted import perseg_root, picture, shown, vocabulary
from tiny_seggpt import tiny_seggpt

from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.harness.registry.methods import Method, load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.harness.run.runner import evaluate
from ovbench.models import painter
from ovbench.models import seggpt as module
from ovbench.models.weights.checkpoints import Located


@pytest.fixture(autouse=True)
def _weights(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("seggpt")
    tiny_seggpt().save_pretrained(folder)
    records = (CheckpointRecord("seggpt", "tiny", None, None),)
    for loader in (module, painter):
        monkeypatch.setattr(loader, "locate", lambda *_: Located(folder, records))


def load(name: str = "seggpt") -> Method:
    return load_method(name, device="cpu")


@pytest.mark.parametrize("name", ["seggpt", "painter"])
def test_contract(name: str) -> None:
    images = [picture(seed, (48, 64)) for seed in range(3)]
    vocabularies = (
        Vocabulary.of("cat", "dog", "bird", "sheep", background=True),
        Vocabulary.of("sea", "sky"),
    )
    outcomes = conformance_checks(partial(load, name), vocabularies, images)
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.parametrize("size", [(50, 30), (16, 100)])
def test_what_is_painted_bright_enough_is_the_class(size: tuple[int, int]) -> None:
    made, image = load().segmenter, picture(5, size)
    made.prepare(vocabulary("thing"))
    model = made._model  # type: ignore[attr-defined]
    prompts = model.encode_prompts([shown(0)])
    bright = model.paint(model.encode(image), prompts, "instance").numpy() > 128
    rows, columns = (np.arange(side) * 32 // side for side in size)
    expected = bright[rows][:, columns]
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(made.segment([image])[0], expected)


def test_all_prompts_of_a_class_are_asked_together() -> None:
    made, image = load().segmenter, picture(5)
    two = ClassQuery("thing", exemplars=(shown(0), shown(3)))
    made.prepare(Vocabulary((two,), vocabulary("thing").background))
    model = made._model  # type: ignore[attr-defined]
    both = model.paint(model.encode(image), model.encode_prompts(two.exemplars), "instance")
    one = model.paint(model.encode(image), model.encode_prompts(two.exemplars[:1]), "instance")
    assert not torch.allclose(both, one)
    expected = (both.numpy() > 128)[np.arange(40) * 32 // 40][:, np.arange(60) * 32 // 60]
    np.testing.assert_array_equal(made.segment([image])[0], expected)


def test_wrong_input() -> None:
    made = load().segmenter
    with pytest.raises(UsageError, match=r"seggpt .* none shows cat.*perseg"):
        made.prepare(Vocabulary.of("cat", background=True))
    bare = ClassQuery("cat", exemplars=(Exemplar(picture(0)),))
    with pytest.raises(UsageError, match="seggpt needs a mask"):
        made.prepare(Vocabulary((bare,), None))


def test_perseg(sample_data: Path, tmp_path: Path) -> None:
    dataset = load_dataset("perseg", root=perseg_root(sample_data, tmp_path))
    result = evaluate(load(), dataset, output=tmp_path / "run")
    assert result is not None
    assert result["run"]["num_images"] == 6
    assert result["checkpoints"][0]["name"] == "tiny"
