"""Attribution, against the probabilities of diffusers' plain attention, added up by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from tiny_diffusion import LENGTH, SIDE, attention_layers, build, tokenizer, wrap
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.models.diffusion.attention import DAAM, AttributionRule
from ovbench.models.diffusion.features import find_grid
from ovbench.models.diffusion.folder import Parts
from ovbench.models.diffusion.model import Request
from ovbench.models.diffusion.prompts import name_positions
from ovbench.models.diffusion.sampling import Sampling

REQUESTS = (
    Request("a photo of a traffic light", 5, "dog", "traffic light"),
    Request("a cat", 6, name="cat"),
)
POSITIONS = ((5, 6), (2,))
SAMPLING = Sampling("ddim", steps=2, guidance=3.0)
DIFFUMASK = AttributionRule(reductions=(1, 2), peak_normalised=True, mode="bilinear")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return build(tmp_path)


class Recorder(AttnProcessor):  # type: ignore[misc]
    """Diffusers' eager attention, with all its probabilities kept."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[Tensor] = []

    def __call__(self, attn: Any, *arguments: Any, **options: Any) -> Any:
        scores = attn.get_attention_scores

        def keep(*parts: Any) -> Tensor:
            self.passes.append(scores(*parts))
            return self.passes[-1]

        attn.get_attention_scores = keep
        try:
            return super().__call__(attn, *arguments, **options)
        finally:
            del attn.get_attention_scores


def recorded(parts: Parts, sampling: Sampling) -> list[list[Tensor]]:
    """Per layer and step ``(B, heads, h, w, tokens)`` of the half with the prompts."""
    layers = [parts.unet.get_submodule(name) for name in attention_layers(parts.unet)]
    recorders = [Recorder() for _ in layers]
    for layer, recorder in zip(layers, recorders, strict=True):
        layer.set_processor(recorder)
    wrap(parts).generate(REQUESTS, sampling)
    found = []
    for layer, recorder in zip(layers, recorders, strict=True):
        side = int(recorder.passes[0].shape[1] ** 0.5)
        shape = (-1, layer.heads, side, side, LENGTH)
        found.append([probabilities.reshape(shape)[-2:] for probabilities in recorder.passes])
    return found


def enlarged(one: Tensor, mode: str) -> Tensor:
    return functional.interpolate(one[None, None], (SIDE, SIDE), mode=mode)[0, 0].clamp(min=0)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_daam_is_the_mean_over_layers_heads_steps_and_tokens(parts: Parts, guidance: float) -> None:
    sampling = Sampling("ddim", steps=2, guidance=guidance)
    found = wrap(parts).generate(REQUESTS, sampling).attribution
    assert found is not None
    layers = recorded(parts, sampling)
    assert len(layers) == 7
    for image, positions in enumerate(POSITIONS):
        by_layer = [torch.stack([step[image] for step in steps]).mean(0) for steps in layers]
        maps = [
            torch.stack([enlarged(head[..., token], "bicubic") for head in heads]).mean(0)
            for heads in by_layer
            for token in positions
        ]
        expected = torch.stack(maps).mean(0)
        assert expected.std() > 1e-3
        torch.testing.assert_close(found[image], expected, atol=1e-6, rtol=1e-4)


def test_each_step_of_each_head_can_count_by_itself(parts: Parts) -> None:
    rule = AttributionRule(each_step=True)
    found = wrap(parts).generate(REQUESTS, SAMPLING, rule=rule).attribution
    assert found is not None
    layers = recorded(parts, SAMPLING)
    for image, positions in enumerate(POSITIONS):
        maps = [
            enlarged(head[..., token], "bicubic")
            for steps in layers
            for step in steps
            for head in step[image]
            for token in positions
        ]
        torch.testing.assert_close(found[image], torch.stack(maps).mean(0), atol=1e-6, rtol=1e-4)


def test_peak_normalised_maps_of_chosen_reductions(parts: Parts) -> None:
    found = wrap(parts).generate(REQUESTS, SAMPLING, rule=DIFFUMASK).attribution
    assert found is not None
    layers = recorded(parts, SAMPLING)
    for image, positions in enumerate(POSITIONS):
        by_head = [step[image].mean(0) for steps in layers for step in steps]
        maps = [
            enlarged(one[..., token] / one[..., token].max(), "bilinear")
            for one in by_head
            for token in positions
            if one.shape[0] in {SIDE, SIDE // 2}
        ]
        assert len(maps) == 6 * 2 * len(positions)  # all layers but the middle one, both steps
        torch.testing.assert_close(found[image], torch.stack(maps).mean(0), atol=1e-6, rtol=1e-4)


def test_reductions_that_no_layer_has(parts: Parts) -> None:
    with pytest.raises(ValueError, match="no cross-attention layer is reduced by"):
        wrap(parts).generate(REQUESTS, SAMPLING, rule=AttributionRule(reductions=(16,)))


def test_pictures_are_the_same_with_and_without_attribution(parts: Parts) -> None:
    model = wrap(parts)
    unnamed = [Request(r.prompt, r.seed, r.negative) for r in REQUESTS]
    without, within = (model.generate(r, SAMPLING) for r in (unnamed, REQUESTS))
    assert without.attribution is None
    assert (without.images == within.images).all()
    hooks = [h for m in parts.unet.modules() for h in m._forward_hooks]
    assert not hooks


def test_attribution_does_not_depend_on_the_batch(parts: Parts) -> None:
    model = wrap(parts)
    together, alone = (
        model.generate(REQUESTS, SAMPLING, batch_size=size).attribution for size in (2, 1)
    )
    assert together is not None
    assert alone is not None
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-4)


def test_maps_of_pictures_that_are_not_square(parts: Parts) -> None:
    sampling = Sampling("ddim", steps=1, height=32, width=48)
    found = wrap(parts).generate(REQUESTS, sampling, rule=DAAM).attribution
    assert found is not None
    assert found.shape == (2, 16, 24)


@pytest.mark.parametrize(
    ("places", "size", "grid", "reduction"),
    [(4096, (64, 64), (64, 64), 1), (64, (64, 64), (8, 8), 8), (24, (15, 24), (4, 6), 4),
     (300, (30, 40), (15, 20), 2)],
)  # fmt: skip
def test_grids_of_layers(
    places: int, size: tuple[int, int], grid: tuple[int, int], reduction: int
) -> None:
    assert find_grid(places, size) == (grid, reduction)


def test_places_that_are_no_grid() -> None:
    with pytest.raises(ValueError, match="17 places are no reduction of 8x8"):
        find_grid(17, (8, 8))


@pytest.mark.parametrize(
    ("prompt", "name", "positions"),
    [
        ("a photo of a cat", "cat", (5,)),
        ("A photo of a Traffic  Light.", "traffic light", (5, 6)),
        ("a dog of a dog", "dog", (5,)),
        ("a ox", "ox", (2, 3)),  # unknown words are letters
        ("a photo of a catalogue", "catalogue", (5, 6, 7, 8, 9, 10)),  # cut off at the end
    ],
)
def test_where_a_name_is(
    prompt: str, name: str, positions: tuple[int, ...], tmp_path: Path
) -> None:
    words = tokenizer(tmp_path)
    assert name_positions(words, prompt, name, LENGTH) == positions
    ids = words(prompt, max_length=LENGTH, truncation=True).input_ids
    alone = words(name, add_special_tokens=False).input_ids
    assert [ids[i] for i in positions] == alone[: len(positions)]


@pytest.mark.parametrize("name", ["dog", "", "photo of cat"])
def test_a_name_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not contain"):
        name_positions(tokenizer(tmp_path), "a photo of a cat", name, LENGTH)


def test_a_name_behind_the_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long: its text encoder reads 12 tokens"):
        name_positions(tokenizer(tmp_path), "a " * 11 + "cat", "cat", LENGTH)
