"""OWLv2: every patch of a picture is a box, and what is in the box is compared with texts.

Minderer, Gritsenko and Houlsby, "Scaling Open-Vocabulary Object Detection" (NeurIPS 2023), through
transformers' ``Owlv2ForObjectDetection``. A picture is encoded once, however many texts there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.ensembling import TextTower, ensembled
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.prompted.boxes import Boxes
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import stock
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "owlv2"
GREY = 128
"""What fills a picture up to a square (scenic, owl_vit/notebooks/inference.py); transformers'
processor would take black."""


class Seen(NamedTuple):
    """An encoded picture.

    Attributes:
        features: ``(1, p, d)`` float32, of its patches.
        boxes: ``(p, 4)``: centre, width and height, as shares of the filled square.
        size: height and width of the picture in pixels.
    """

    features: Tensor
    boxes: Tensor
    size: tuple[int, int]


class OWLv2:
    """A frozen ``Owlv2ForObjectDetection``. Precisions other than float32 are autocast.

    Attributes:
        checkpoints: which weights these are.
        side: of the squares that it sees, in pixels.
    """

    def __init__(
        self, model: Any, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        from transformers import Owlv2ImageProcessor

        self._model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.side: int = model.config.vision_config.image_size
        self._process = Owlv2ImageProcessor(size={"height": self.side, "width": self.side})

    @torch.inference_mode()
    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Queries, such as ``"cat"``: the mean over templates, ``(n, d)`` float32, of unit length.

        CLIP's words, of which a text has 16 at most.
        """
        tower = TextTower(
            self._tokens, self._embed, self._model.owlv2, ("vision_model", "visual_projection")
        )
        return ensembled(tower, queries, templates, unit=True).to(self.device)

    @torch.inference_mode()
    def see(self, image: Image) -> Seen:
        """A picture for :meth:`find`, which takes all boxes of it.

        Args:
            image: filled up with grey on the right and below, and resized as the authors do.
        """
        height, width = image.shape[:2]
        longest = max(height, width)
        square = np.full((longest, longest, 3), GREY, np.uint8)
        square[:height, :width] = image
        pixels = self._process(images=[square], return_tensors="pt")["pixel_values"]
        with autocast(self.device, self._dtype):
            grid, _ = self._model.image_embedder(pixels.to(self.device))
        features = grid.float().flatten(1, 2)
        relative = self._model.box_predictor(features, grid.float())
        return Seen(features, relative[0], (height, width))

    @torch.inference_mode()
    def find(self, picture: Seen, texts: Tensor) -> Boxes:
        """Compare all boxes of a picture with embedded texts ``(Q, d)``."""
        logits, _ = self._model.class_predictor(picture.features, texts[None])
        longest = max(picture.size)
        return Boxes.at(picture.boxes, (longest, longest), picture.size, logits[0])

    def _tokens(self, prompts: list[str]) -> Sequence[Tensor]:
        from open_clip import tokenize

        return (tokenize(prompts, self._model.config.text_config.max_position_embeddings),)

    def _embed(self, *tokens: Tensor) -> Tensor:
        (ids,) = tokens
        joint: Tensor = self._model.owlv2.get_text_features(ids.to(self.device)).pooler_output
        return joint


def load_owlv2(name: str, runtime: Runtime) -> OWLv2:
    """Load an OWLv2.

    Args:
        name: in the catalogue, such as ``"owlv2_base_patch16_ensemble"``, a hub id, optionally
            with ``@revision``, or ``"random"`` for seeded random weights of the published size,
            which serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "OWLv2, random weights", None, None)
        config = Owlv2Config(vision_config={"image_size": 960})  # owl_v2_clip_b16.py
        with seeded(runtime):
            return OWLv2(Owlv2ForObjectDetection(config), (record,), runtime)
    located = locate(ROLE, name, runtime)
    return OWLv2(stock(Owlv2ForObjectDetection, located.path), located.records, runtime)
