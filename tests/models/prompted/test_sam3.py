"""SAM 3: one picture for many phrases, and what is skipped changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_sam3
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Sam3Model

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.prompted import sam3
from ovbench.models.prompted.sam3 import SAM3, load_sam3, neighbours
from ovbench.models.weights import hub

PHRASES = ("cat", "a much longer name of some animal", "road!")


@pytest.fixture(scope="module")
def model() -> SAM3:
    return tiny_sam3.sam3()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(1, 3, 112, 112, generator=torch.manual_seed(1))


def test_a_picture_that_is_kept_answers_as_the_stock_forward_pass(
    model: SAM3, pixels: Tensor
) -> None:
    """Bit by bit, all phrases together and each in a pass of its own."""
    prompts = model.read(PHRASES)
    picture = model.see(pixels)
    ids = model._tokenize(list(PHRASES), 32)
    for some in ([0, 1, 2], [1]):
        found = model.find(picture, prompts[torch.tensor(some)])
        with torch.inference_mode():
            stock = model._model(
                pixel_values=pixels.expand(len(some), -1, -1, -1),
                input_ids=ids[some],
                attention_mask=prompts.mask[some].long(),
            )
        assert torch.equal(found.scores, stock.pred_logits)
        assert torch.equal(found.masks, stock.pred_masks)
        assert torch.equal(found.semantic, stock.semantic_seg[:, 0])
        assert torch.equal(found.presence, stock.presence_logits[:, 0])
        alone = model.presence(picture, prompts[torch.tensor(some)])
        assert torch.equal(alone, found.presence)


def test_phrases_together_answer_as_one_by_one(model: SAM3, pixels: Tensor) -> None:
    """Up to rounding: sums over another batch are added in another order."""
    prompts, picture = model.read(PHRASES), model.see(pixels)
    together = model.find(picture, prompts)
    for i in range(len(PHRASES)):
        alone = model.find(picture, prompts[torch.tensor([i])])
        for part in ("scores", "masks", "semantic", "presence"):
            one, many = getattr(alone, part)[0], getattr(together, part)[i]
            torch.testing.assert_close(one, many, rtol=0, atol=1e-5)
    assert together.presence.std() > 1e-3, "the phrases differ"


def test_words_behind_a_phrase_are_not_heard(model: SAM3) -> None:
    prompts = model.read(PHRASES)
    assert prompts.mask.sum(dim=1).tolist() == [3, 9, 4]  # begin and end included
    (alone,) = model.read(PHRASES[:1]).tokens[:, :3]
    torch.testing.assert_close(alone, prompts.tokens[0, :3], rtol=0, atol=1e-6)


def test_a_smaller_picture_has_places_of_its_own(model: SAM3, pixels: Tensor) -> None:
    """Positions as a model that is built for that size has them; and the way back."""
    prompts = model.read(PHRASES)
    small = functional.interpolate(pixels, (56, 56))
    config = tiny_sam3.config()
    config.vision_config.backbone_config.image_size = 56
    built = Sam3Model(config)
    built.load_state_dict(model._model.state_dict())
    of_size = SAM3(built, (), Runtime())
    large = model.presence(model.see(pixels), prompts)
    found = model.presence(model.see(small), prompts)
    assert torch.equal(found, of_size.presence(of_size.see(small), prompts))
    assert not torch.equal(found, large)
    assert torch.equal(model.presence(model.see(pixels), prompts), large)


def test_neighbours_are_the_most_alike_weighted(model: SAM3) -> None:
    prompts = model.read(PHRASES)
    words = functional.normalize(prompts.words, dim=1)
    found = neighbours(prompts, 2)
    assert found.shape == (3, 2, prompts.words.shape[1])
    likeness = words @ words.T
    first = max((j for j in range(3) if j), key=lambda j: float(likeness[0, j]))
    second = 3 - first
    weights = torch.stack([likeness[0, first], likeness[0, second]]).softmax(0)
    torch.testing.assert_close(found[0, 0], prompts.words[first] * weights[0])
    torch.testing.assert_close(found[0, 1], prompts.words[second] * weights[1])
    assert neighbours(prompts, 9).shape[1] == 2
    more = prompts.beside(model.as_tokens(found))
    assert more.tokens.shape[1] == 34
    assert more.mask[:, 32:].all()


def test_a_folder_is_loaded_and_another_model_s_refused(
    model: SAM3, pixels: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model._model.save_pretrained(tmp_path / "sam3")
    located = sam3.locate

    def here(role: str, name: str, runtime: Runtime) -> object:
        assert (role, name) == ("sam3", "sam3")
        return type("Located", (), {"path": tmp_path / "sam3", "records": ()})

    monkeypatch.setattr(sam3, "locate", here)
    loaded, prompts = load_sam3("sam3", Runtime()), model.read(PHRASES)
    found = loaded.find(loaded.see(pixels), prompts)
    assert torch.equal(found.masks, model.find(model.see(pixels), prompts).masks)
    from safetensors.torch import load_file, save_file

    file = tmp_path / "sam3" / "model.safetensors"
    weights = load_file(file)
    del weights["text_projection.bias"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UsageError, match="has no weights for text_projection"):
        load_sam3("sam3", Runtime())
    monkeypatch.setattr(sam3, "locate", located)
    with pytest.raises(UsageError, match="no miniature of sam3; ask for the real weights"):
        load_sam3("sam3", Runtime(checkpoints="toy"))


def test_what_to_accept_and_where_the_token_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "cached", lambda repository: None)
    monkeypatch.setattr(hub, "_download", lambda repository: "401 Client Error")
    with pytest.raises(UsageError) as refused:
        load_sam3("sam3", Runtime())
    assert "\n" not in str(refused.value)
    assert (
        "weights facebook/sam3 (config.json, model.safetensors or pytorch_model.bin; size not "
        "stated)" in str(refused.value)
    )
    assert (
        "accept the licence on https://huggingface.co/facebook/sam3, put your token into HF_TOKEN "
        "or `hf auth login`, and run `hf download facebook/sam3 config.json" in str(refused.value)
    )
