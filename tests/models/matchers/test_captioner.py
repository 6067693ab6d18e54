"""A captioner's words, against its decoder asked word by word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matchers import NORMALISATION, SIZE, blip_config, tokenizer
from PIL import Image as Pillow
from transformers import BlipForConditionalGeneration, BlipImageProcessor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.matchers import folder as matcher_folder
from ovbench.models.matchers.captioner import LONGEST, load_captioner
from ovbench.models.weights.checkpoints import Located

RECORD = CheckpointRecord("blip_captioner", "tiny", None, None)
BEGINNING = "a picture of cat"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved captioner, which is found for every name."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = BlipForConditionalGeneration(blip_config()).eval()
    model.save_pretrained(tmp_path)
    tokenizer(tmp_path)
    mean, std = NORMALISATION
    size = {"height": SIZE, "width": SIZE}
    BlipImageProcessor(size=size, image_mean=mean, image_std=std).save_pretrained(tmp_path)
    monkeypatch.setattr(matcher_folder, "locate", lambda *_: Located(tmp_path, (RECORD,)))
    return tmp_path


@torch.no_grad()
def test_the_likeliest_words_follow(folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    words = tokenizer(folder)
    square = Pillow.fromarray(image).resize((SIZE, SIZE), Pillow.Resampling.BICUBIC)
    pixels = (np.asarray(square) / 255 - NORMALISATION.mean) / NORMALISATION.std
    states = model.vision_model(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())
    text = model.config.text_config
    ids = [text.bos_token_id, *words(BEGINNING, add_special_tokens=False).input_ids]
    start = len(ids)
    while len(ids) < LONGEST:
        logits = model.text_decoder(
            input_ids=torch.tensor([ids]), encoder_hidden_states=states.last_hidden_state
        ).logits
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == text.sep_token_id:
            break
    expected = words.decode(ids[1:], skip_special_tokens=True)
    assert len(ids) > start + 1

    found = load_captioner("blip_captioning_large", Runtime())
    assert found.checkpoints == (RECORD,)
    picture = found.encode(image)
    assert BEGINNING + found.go_on(picture, BEGINNING) == expected
    assert BEGINNING + found.go_on(picture, BEGINNING) == expected  # the first left it as it was
    assert found.go_on(picture, "cat " * LONGEST) == ""


def test_a_matcher_is_no_captioner(folder: Path) -> None:
    from transformers import BlipForImageTextRetrieval

    BlipForImageTextRetrieval(blip_config()).save_pretrained(folder)
    with pytest.raises(UsageError, match="no text_decoder"):
        load_captioner("blip_captioning_large", Runtime())
