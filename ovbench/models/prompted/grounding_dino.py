"""Grounding DINO: told a caption, it finds boxes, and says of each how well every word fits.

Liu et al., "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection"
(ECCV 2024), through transformers' ``GroundingDinoForObjectDetection``. A caption has 256 tokens at
most; a vocabulary that does not fit is asked for in several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.prompted.boxes import Boxes
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading, stock
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "grounding_dino"
FIRST, LAST, STOP = 101, 102, 1012
"""BERT's tokens around a caption, and the full stop behind each phrase."""

Words = Callable[[str], Sequence[int]]
"""From a phrase to its tokens, without marks."""


@dataclass(frozen=True, slots=True)
class Caption:
    """Some phrases in one text, "a. b. c."

    Attributes:
        ids: its tokens.
        spans: of each phrase its first token, and the one behind its last: its full stop.
        phrases: which phrases these are, by index.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    phrases: tuple[int, ...]


def captions(phrases: Sequence[Sequence[int]], longest: int) -> list[Caption]:
    """Phrases, as tokens, in as few captions as hold them in their order.

    Args:
        longest: tokens of a caption; what a phrase alone has over it is cut off.
    """
    found: list[Caption] = []
    ids, spans, chosen = [FIRST], list[tuple[int, int]](), list[int]()
    for index, phrase in enumerate(phrases):
        tokens = list(phrase[: longest - 3])
        if spans and len(ids) + len(tokens) + 2 > longest:
            found.append(Caption((*ids, LAST), tuple(spans), tuple(chosen)))
            ids, spans, chosen = [FIRST], [], []
        spans.append((len(ids), len(ids) + len(tokens)))
        chosen.append(index)
        ids += [*tokens, STOP]
    return [*found, Caption((*ids, LAST), tuple(spans), tuple(chosen))] if spans else found


class GroundingDINO:
    """A frozen ``GroundingDinoForObjectDetection``.

    Precisions other than float32 are autocast.

    Attributes:
        checkpoints: which weights these are.
    """

    def __init__(
        self,
        model: Any,
        words: Words,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        self._model = frozen(model, runtime.device)
        self._model.model.backbone = _Once(self._model.model.backbone)
        self._words = words
        self._dtype = DTYPES[runtime.precision]
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)

    def read(self, phrases: Sequence[str]) -> list[Caption]:
        """Phrases in lower case, without full stops of their own, which would end them."""
        tokens = [self._words(phrase.lower().replace(".", " ")) for phrase in phrases]
        return captions(tokens, self._model.config.max_text_len)

    @torch.inference_mode()
    def find(self, pixels: Tensor, caption: Caption, size: tuple[int, int]) -> Boxes:
        """Boxes for a caption; the backbone sees a picture once for several of them in turn.

        Args:
            pixels: ``(1, 3, h, w)`` normalised; the same tensor for all captions of a picture.
            size: height and width of the picture, which decide the boxes' places.

        Returns:
            Logits are of the caption's phrases, each that of its best token.
        """
        ids = torch.tensor([caption.ids], device=self.device)
        with autocast(self.device, self._dtype):
            found = self._model(pixel_values=pixels, input_ids=ids)
        tokens = found.logits[0].float()
        best = [tokens[:, first:last].amax(dim=1) for first, last in caption.spans]
        return Boxes.at(found.pred_boxes[0].float(), size, size, torch.stack(best, dim=1))


class _Once(nn.Module):
    """A backbone that remembers the last picture, of which every caption needs the same."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self._backbone = backbone
        self._of: Tensor | None = None
        self._seen: tuple[Any, Any] = ((), ())

    @property
    def position_embedding(self) -> Any:
        return self._backbone.position_embedding

    def forward(self, pixels: Tensor, mask: Tensor) -> tuple[list[Any], list[Any]]:
        if self._of is not pixels:
            self._of, self._seen = pixels, self._backbone(pixels, mask)
        features, positions = self._seen
        return list(features), list(positions)  # the model appends to these


def load_grounding_dino(name: str, runtime: Runtime) -> GroundingDINO:
    """Load a Grounding DINO.

    Args:
        name: in the catalogue, such as ``"grounding_dino_tiny"``, a hub id, optionally with
            ``@revision``, or ``"random"`` for seeded random weights of the published size, which
            serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import (
        AutoTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
    )

    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "Grounding DINO, random weights", None, None)
        with seeded(runtime):
            made = GroundingDinoForObjectDetection(GroundingDinoConfig())
        return GroundingDINO(made, arbitrary_words, (record,), runtime)
    located = locate(ROLE, name, runtime)
    model = stock(GroundingDinoForObjectDetection, located.path)
    with reading(located.path):
        tokenizer = AutoTokenizer.from_pretrained(located.path)

    def words(phrase: str) -> Sequence[int]:
        ids: list[int] = tokenizer(phrase, add_special_tokens=False)["input_ids"]
        return ids

    return GroundingDINO(model, words, located.records, runtime)


def arbitrary_words(phrase: str) -> Sequence[int]:
    """One token for every word, for weights that know none; none of them ends a phrase."""
    return [2000 + crc32(word.encode()) % 20_000 for word in phrase.split()]
