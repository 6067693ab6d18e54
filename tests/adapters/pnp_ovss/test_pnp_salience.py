"""Salience and dropout against a slow computation from the formulas, which shares no code.

The reference runs BLIP's text encoder by hand, one head and one query at a time in float64,
and takes the gradient from differences: it moves one attention value after the other.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matchers import NORMALISATION, PATCH, SIZE, build, pictures, tokenizer, wrap

from ovbench.adapters.pnp_ovss.prompting import Asker
from ovbench.adapters.pnp_ovss.salience import Dropout, class_maps
from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.contract.vocabulary import Vocabulary

NAMES = ["cat", "traffic light", "sofa"]
WORD_ROWS = [[4], [5, 6], [7]]
GRID = SIZE // PATCH
STEP = 1e-5


def settled(**values: Any) -> Settled:
    base = {"resolution": SIZE, "layer": 2, "head": 3, "threshold": 0.15}
    return Settled(**{**base, **values})


class Reference:
    """BLIP's matching logit as a function of one head's attention."""

    def __init__(self, folder: Path, layer: int, head: int) -> None:
        self.model = copy.deepcopy(build("blip")).double()
        self.layer, self.head = layer - 1, head - 1
        words = " ".join(["a picture of", *NAMES])
        ids = tokenizer(folder)(words).input_ids
        ids[0] = self.model.config.text_config.vocab_size - 1
        self.ids = ids

    def image_states(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model.vision_model(pixels[None].double()).last_hidden_state[0]

    def run(
        self, image: torch.Tensor, moved: tuple[int, int, float] | None = None
    ) -> tuple[float, np.ndarray]:
        """The match logit and the head's attention; ``moved`` is added to one value of it."""
        encoder, words = self.model.text_encoder, self.model.text_encoder.embeddings
        states = torch.stack(
            [
                words.LayerNorm(
                    words.word_embeddings.weight[i] + words.position_embeddings.weight[p]
                )
                for p, i in enumerate(self.ids)
            ]
        )
        kept = np.zeros(0)
        for index, layer in enumerate(encoder.encoder.layer):
            states, _ = self.attend(layer.attention, states, states, None)
            chosen = moved if index == self.layer else None
            states, attention = self.attend(layer.crossattention, states, image, chosen)
            if index == self.layer:
                kept = attention
            inner = torch.nn.functional.gelu(layer.intermediate.dense(states))
            states = layer.output.LayerNorm(layer.output.dense(inner) + states)
        return float(self.model.itm_head(states[0])[1]), kept

    def attend(
        self, block: Any, states: torch.Tensor, others: torch.Tensor, moved: Any
    ) -> tuple[torch.Tensor, np.ndarray]:
        part = block.self
        heads, width = part.num_attention_heads, part.attention_head_size
        query, key, value = part.query(states), part.key(others), part.value(others)
        context, chosen = torch.zeros_like(query), []
        for head in range(heads):
            at = slice(head * width, (head + 1) * width)
            for token in range(len(states)):
                scores = (key[:, at] @ query[token, at]).numpy() / math.sqrt(width)
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                if head == self.head:
                    chosen.append(weights.copy())
                    if moved and moved[0] == token:
                        weights[moved[1]] += moved[2]
                context[token, at] = torch.from_numpy(weights) @ value[:, at]
        out = block.output
        return out.LayerNorm(out.dense(context) + states), np.array(chosen)

    @torch.no_grad()
    def class_maps(self, pixels: torch.Tensor) -> np.ndarray:
        """Equation 1 for every class, ``(K, h, w)``."""
        image = self.image_states(pixels)
        _, attention = self.run(image)
        maps = np.zeros((len(NAMES), GRID * GRID))
        for row, tokens in enumerate(WORD_ROWS):
            for token in tokens:
                for place in range(GRID * GRID):
                    up, _ = self.run(image, (token, place + 1, STEP))
                    down, _ = self.run(image, (token, place + 1, -STEP))
                    slope = (up - down) / (2 * STEP)
                    salience = attention[token, place + 1] * max(slope, 0)
                    maps[row, place] += salience / len(tokens)
        return maps.reshape(len(NAMES), GRID, GRID)


def blackened(pixels: torch.Tensor, kept: np.ndarray) -> torch.Tensor:
    changed = pixels.clone()
    for row in range(GRID):
        for column in range(GRID):
            if not kept[row, column]:
                for channel in range(3):
                    black = -NORMALISATION.mean[channel] / NORMALISATION.std[channel]
                    for y in range(row * PATCH, (row + 1) * PATCH):
                        changed[channel, y, column * PATCH : (column + 1) * PATCH] = black
    return changed


def slow_rounds(reference: Reference, pixels: torch.Tensor, drops: int) -> list[tuple[Any, Any]]:
    """Per round the patches that are left and their class maps (section 3.2)."""
    kept, rounds = np.ones((GRID, GRID), dtype=bool), []
    for _ in range(drops + 1):
        maps = reference.class_maps(blackened(pixels, kept))
        rounds.append((kept.copy(), maps * kept))
        total = maps.sum(axis=0)
        left = [(total[r, c], r, c) for r in range(GRID) for c in range(GRID) if kept[r, c]]
        left.sort(key=lambda item: -item[0])
        for _, r, c in left[: len(left) // 2]:
            kept[r, c] = False
    return rounds


def test_maps_and_dropped_patches_are_the_formulas(tmp_path: Path) -> None:
    reference = Reference(tmp_path, layer=2, head=3)
    pixels = pictures(2)
    matcher = wrap("blip", tmp_path)
    asker = Asker(matcher, Vocabulary.of(*NAMES), settled())
    expected = [slow_rounds(reference, picture, 2) for picture in pixels]
    for drops in (0, 2):
        questions = [asker.everything()] * 2
        found = class_maps(matcher, pixels, questions, settled(drops=drops))
        for ours, rounds in zip(found, expected, strict=True):
            total = sum(maps for _, maps in rounds[: drops + 1])
            assert total.max() > 0
            np.testing.assert_allclose(ours, total, rtol=2e-3, atol=2e-5 * total.max())


def test_dropout_drops_the_reference_patches(tmp_path: Path) -> None:
    reference = Reference(tmp_path, layer=1, head=1)
    pixels = pictures(1)
    rounds = slow_rounds(reference, pixels[0], 2)
    dropout = Dropout(wrap("blip", tmp_path), pixels, settled())
    for kept, maps in rounds:
        assert (dropout.kept[0].numpy() == kept).all()
        torch.testing.assert_close(dropout.pixels()[0], blackened(pixels[0], kept))
        dropout.drop(torch.from_numpy(maps.sum(axis=0)).float()[None])


@pytest.mark.parametrize(
    ("rule", "salience", "left"),
    [
        ("half", [4.0, 3, 2, 1], [2, 3]),
        ("half", [0.0, 0, 0, 0], [2, 3]),
        ("median", [4.0, 3, 2, 1], [2, 3]),
        ("median", [4.0, 0, 0, 0], []),
        ("count", [1.0, 3, 2, 4], [0, 1, 2]),
        ("halving", [1.0, 3, 2, 4], [0, 2]),
    ],
)
def test_drop_rules(tmp_path: Path, rule: str, salience: list[float], left: list[int]) -> None:
    matcher = wrap("blip", tmp_path)
    pixels = torch.ones(1, 3, 2 * PATCH, 2 * PATCH)
    dropout = Dropout(matcher, pixels, settled(drop_rule=rule, drop_count=1, drop_fill="mean"))
    dropout.drop(torch.tensor(salience).reshape(1, 2, 2))
    assert dropout.kept.flatten().nonzero().flatten().tolist() == left
    shown = dropout.pixels()[0, :, ::PATCH, ::PATCH].flatten(1)
    assert (shown == torch.tensor([float(i in left) for i in range(4)])).all()


def test_dropping_goes_on_among_those_left(tmp_path: Path) -> None:
    dropout = Dropout(wrap("blip", tmp_path), pictures(1), settled(drop_rule="median"))
    order = torch.arange(16.0).reshape(1, 4, 4)
    for remaining in (8, 4, 2, 1):
        dropout.drop(order)
        assert dropout.kept.sum() == remaining
        assert dropout.kept.flatten()[:remaining].all()


def test_released_code_halves_all_patches_and_rounds_down(tmp_path: Path) -> None:
    pixels = torch.zeros(1, 3, 21 * PATCH, 21 * PATCH)
    order = torch.arange(1.0, 442).reshape(1, 21, 21)
    left = {}
    for rule in ("half", "halving"):
        dropout = Dropout(wrap("blip", tmp_path), pixels, settled(drop_rule=rule))
        left[rule] = [441]
        for _ in range(4):
            dropout.drop(order)
            left[rule].append(int(dropout.kept.sum()))
    assert -np.diff(left["halving"]) == pytest.approx([220, 110, 55, 27])
    assert -np.diff(left["half"]) == pytest.approx([220, 110, 55, 28])


def test_released_code_drops_what_is_dropped_again_where_little_is_left(tmp_path: Path) -> None:
    """Only one patch has any salience, and it was dropped: what numpy sorts last is all zeros."""
    dropout = Dropout(wrap("blip", tmp_path), pictures(1), settled(drop_rule="halving"))
    salience = torch.zeros(1, 4, 4)
    salience[0, 1, 2] = 1.0
    kept = np.ones(16, dtype=bool)
    for count in (8, 4, 2, 1):
        values = np.where(kept, salience.numpy().ravel(), 0).astype(np.float32)
        kept[np.argsort(values)[-count:]] = False
        dropout.drop(salience)
        assert (dropout.kept[0].numpy().ravel() == kept).all()
    assert kept.sum() > 1  # dropping among those left alone would leave one
