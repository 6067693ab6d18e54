"""CLIPSeg: asked for a text, it marks where CLIP's picture tower has seen what the text says.

Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts" (CVPR 2022), through
transformers' ``CLIPSegForImageSegmentation``. A picture goes through CLIP once; only the small
decoder runs for every text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import stock
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "clipseg"
TEXTS_AT_A_TIME = 64
"""Texts that pass CLIP's text tower together."""


class CLIPSeg:
    """A frozen ``CLIPSegForImageSegmentation``.

    CLIP's picture tower computes in the runtime's precision. Its text tower and the decoder, which
    draws the borders, stay in float32.

    Attributes:
        checkpoints: which weights these are.
        patch: pixels along a side of a patch.
    """

    def __init__(
        self, model: Any, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        from open_clip import tokenize

        self._model = frozen(model, runtime.device)
        self._model.clip.vision_model.to(DTYPES[runtime.precision])
        self._tokenize = tokenize
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.patch: int = model.config.vision_config.patch_size

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> Tensor:
        """What the decoder is told of texts, ``(n, d)`` float32; CLIP's words, cut off at 77."""
        length = self._model.config.text_config.max_position_embeddings
        ids = self._tokenize(list(texts), length).to(self.device)
        return torch.cat(
            [
                self._model.clip.get_text_features(input_ids=some).pooler_output
                for some in ids.split(TEXTS_AT_A_TIME)
            ]
        )

    @torch.inference_mode()
    def see(self, pixels: Tensor) -> list[Tensor]:
        """A picture for :meth:`find`: the blocks' outputs that the decoder takes.

        Args:
            pixels: ``(1, 3, S, S)`` normalised; S is a multiple of :attr:`patch`.
        """
        seen = self._model.clip.vision_model(pixels.to(self.device), output_hidden_states=True)
        # The first of them is what enters the first block.
        return [seen.hidden_states[i + 1].float() for i in self._model.extract_layers]

    @torch.inference_mode()
    def find(self, picture: list[Tensor], texts: Tensor) -> Tensor:
        """Logits ``(n, S, S)`` float32, of where a picture shows texts.

        What the picture alone decides is computed once, and broadcast where a text comes in.
        """
        logits: Tensor = self._model.decoder(tuple(picture), texts).logits
        return logits


def load_clipseg(name: str, runtime: Runtime) -> CLIPSeg:
    """Load a CLIPSeg.

    Args:
        name: in the catalogue, such as ``"clipseg_rd64_refined"``, a hub id, optionally with
            ``@revision``, or ``"random"`` for seeded random weights of the published size, which
            serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import CLIPSegForImageSegmentation

    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "CLIPSeg, random weights", None, None)
        with seeded(runtime):
            return CLIPSeg(CLIPSegForImageSegmentation(_refined()), (record,), runtime)
    located = locate(ROLE, name, runtime)
    return CLIPSeg(stock(CLIPSegForImageSegmentation, located.path), located.records, runtime)


def _refined() -> Any:
    """ViT-B/16 and 64 channels behind it, drawn fine (experiments/phrasecut.yaml)."""
    from transformers import CLIPSegConfig

    return CLIPSegConfig(
        vision_config={"patch_size": 16},
        reduce_dim=64,
        extract_layers=(3, 6, 9),
        use_complex_transposed_convolution=True,
    )
