"""Attention inside a pass, against every probability that diffusers computes, written out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from tiny_diffusion import LENGTH, SIDE, build, tokenizer, wrap
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.models.diffusion.folder import Parts
from ovbench.models.diffusion.looking import Looking
from ovbench.models.diffusion.prompts import Continued, continued

TIMESTEP = 100


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return build(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def image() -> Tensor:
    side = 2 * SIDE
    return torch.rand((3, side, side), generator=torch.Generator().manual_seed(1)) * 2 - 1


def look(
    parts: Parts, image: Tensor, names: Sequence[str], *, tokens: int = 1, **options: Any
) -> Looking:
    model = wrap(parts)
    texts = [model.continued(f"a photo of a {name}", " of a light") for name in names]
    positions = [[text.word[1] + i for i in range(tokens)] for text in texts]
    picture = model.noisy(image, timestep=TIMESTEP, seed=3)
    return model.look(picture, texts, positions, **options)


class Probabilities(AttnProcessor):
    """Diffusers' own attention, the slow one, that keeps what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[bool, Tensor]] = []

    def __call__(self, attn: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        scores = attn.get_attention_scores

        def keep(*asked: Any) -> Tensor:
            found: Tensor = scores(*asked)
            self.kept.append((attn.is_cross_attention, found))
            return found

        attn.get_attention_scores = keep
        try:
            return super().__call__(attn, hidden_states, *args, **kwargs)
        finally:
            del attn.get_attention_scores


def test_maps_are_the_means_of_diffusers_own_probabilities(parts: Parts, image: Tensor) -> None:
    before = dict(parts.unet.attn_processors)
    recorder = Probabilities()
    parts.unet.set_attn_processor(recorder)
    try:
        looking = look(parts, image, ["cat"], tokens=2)
    finally:
        parts.unet.set_attn_processor(before)
    position = wrap(parts).continued("a photo of a cat", "").word[1]
    for _, found in recorder.kept:
        np.testing.assert_allclose(found.sum(dim=-1), 1, atol=1e-5)

    sizes = {SIDE // 4: 4, SIDE // 2: 2, SIDE: 1}
    assert list(looking.words) == list(sizes.values())
    for size, reduction in sizes.items():
        expected, count = np.zeros((size, size)), 0
        for is_cross, found in recorder.kept:
            if is_cross and found.shape[1] == size**2:
                for head in found.numpy():
                    for token in (position, position + 1):
                        expected += head[:, token].reshape(size, size) / 2
                    count += 1
        np.testing.assert_allclose(looking.words[reduction][0], expected / count, atol=1e-6)

    own = [f for is_cross, f in recorder.kept if not is_cross and f.shape[1] == SIDE**2]
    mean = torch.cat(own).numpy().mean(axis=0)
    values = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    assert looking.grid == (SIDE, SIDE)
    spread = looking.spread(torch.from_numpy(values)[None])[0]
    np.testing.assert_allclose(spread, (mean @ values.ravel()).reshape(SIDE, SIDE), atol=1e-5)


def test_all_texts_see_one_noise_and_none_sees_the_others(parts: Parts, image: Tensor) -> None:
    together = look(parts, image, ["cat", "dog", "cat"])
    alone = look(parts, image, ["dog"])
    ramp = torch.linspace(0, 1, SIDE**2).reshape(1, SIDE, SIDE)
    for reduction, maps in together.words.items():
        torch.testing.assert_close(maps[0], maps[2])
        torch.testing.assert_close(maps[1], alone.words[reduction][0])
        assert not torch.allclose(maps[0], maps[1])
    torch.testing.assert_close(together.spread(ramp.expand(3, -1, -1))[1], alone.spread(ramp)[0])


def test_another_seed_is_another_noise(parts: Parts, image: Tensor) -> None:
    model = wrap(parts)
    text = model.continued("a photo of a cat", "")
    first, again, other = (
        model.look(model.noisy(image, timestep=TIMESTEP, seed=seed), [text], [[5]]).words[1]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_name_is_pushed_away_from_an_empty_text(
    parts: Parts, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = wrap(parts), []
    forward = parts.unet.forward
    monkeypatch.setattr(
        parts.unet, "forward", lambda x, t, states: seen.append(states) or forward(x, t, states)
    )
    text = model.continued("a photo of a traffic light", " of a dog")
    for emphasis in (1.0, 1.21):
        picture = model.noisy(image, timestep=TIMESTEP, seed=0)
        model.look(picture, [text], [[1]], emphasis=emphasis)
    nothing = model._encode_texts([""])[0]

    plain, pushed = (states[0].clone() for states in seen)
    first, last = text.word
    assert [parts.tokenizer.decode(text.ids[i]).strip() for i in (first, last)] == ["light"] * 2
    for token in range(LENGTH):
        factor = 1.21 if first <= token <= last else 1.0
        expected = nothing[token] + factor * (plain[token] - nothing[token])
        torch.testing.assert_close(pushed[token], expected, atol=1e-5, rtol=0)


def test_a_text_in_two_parts(tmp_path: Path) -> None:
    words = tokenizer(tmp_path)
    whole = words("a photo of a cat dog", padding="max_length", max_length=LENGTH).input_ids
    assert continued(words, "a photo of a cat", " dog", LENGTH) == Continued(
        tuple(whole), (5, 5), 6
    )
    assert continued(words, "a photo of a cat", "", LENGTH).follows is None
    letters = continued(words, "a photo of a cat", "s", LENGTH)
    assert letters.ids[:6] == tuple(whole[:6])  # no other word than the name
    assert continued(words, "a photo of a cat", " dog" * 9, 7).ids[6] == words.eos_token_id
    assert continued(words, "a photo of a cat", " dog" * 9, 7).follows is None
    with pytest.raises(UsageError, match=r"'a photo of a cat' makes 5 tokens.* reads 1 to 4:"):
        continued(words, "a photo of a cat", "", 6)
