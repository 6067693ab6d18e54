"""What the method's search tries, and what each setting earns (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.parts.clip_reward import ClipReward
from ovbench.adapters.pnp_ovss.labels import blurred, enlarged, in_units, with_unit
from ovbench.adapters.pnp_ovss.pixels import squared
from ovbench.adapters.pnp_ovss.prompting import Asker
from ovbench.adapters.pnp_ovss.salience import class_maps, look, read
from ovbench.adapters.pnp_ovss.settings import PnPOVSSSettings, Settled, settle
from ovbench.adapters.pnp_ovss.vlm import load_vlm
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.tuning import Example, Phase
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.matchers.matcher import Matcher
from ovbench.refine.resample import enlarge

THRESHOLDS = (0.05, 0.15, 0.25, 0.35, 0.45)
"""Paper, table 2: 0.05 to 0.5 in steps of 0.1."""

BLURS = (0.01, 0.03, 0.05, 0.07, 0.09, 0.11)
"""Paper, table 2."""


class PnPOVSSTuner:
    """Rewards masks that show CLIP more of their class than a black image does.

    First layer, head and threshold, on GradCAM masks without dropout; then the blur, on the
    masks as they enter the dense CRF.
    """

    def __init__(
        self,
        settings: PnPOVSSSettings,
        runtime: Runtime,
        model: Matcher | None = None,
        clip: CLIP | None = None,
    ) -> None:
        """Load the weights, or take models that are loaded already."""
        self._model = model or load_vlm(settings.vlm, runtime)
        # Section 4.1: CLIP ViT-L/14 at 336 pixels.
        clip = clip or load_clip("ViT-L-14-336", "openai", runtime)
        self._reward = ClipReward(clip)
        self._given = settings
        self.checkpoints = (*self._model.checkpoints, clip.checkpoint)
        self.phases = (
            Phase(
                "maps",
                {
                    "layer": tuple(range(1, self._model.layers + 1)),
                    "head": tuple(range(1, self._model.heads + 1)),
                    "threshold": THRESHOLDS,
                },
            ),
            Phase("blur", {"blur": BLURS}),
        )

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Write the prompt with all classes, and embed their names for the reward."""
        self._vocabulary = vocabulary
        self._reward.prepare(vocabulary)
        self._asker = Asker(self._model, vocabulary, self._settled({"layer": 1, "head": 1}))
        self._seen: dict[tuple[int, str], Tensor] = {}

    @torch.no_grad()
    def rewards(self, values: Mapping[str, Any], examples: Sequence[Example]) -> Sequence[float]:
        """See :class:`~ovbench.harness.contract.tuning.Tuner`."""
        settings = self._settled(values)
        masks = self._blurred if "blur" in values else self._gradcam
        return [
            float(self._reward.rewards(example.image, mask, example.present).sum())
            for example, mask in zip(examples, masks(examples, settings), strict=True)
        ]

    def _settled(self, values: Mapping[str, Any]) -> Settled:
        return settle(replace(self._given, **values), self._model)

    def _gradcam(self, examples: Sequence[Example], settings: Settled) -> list[Tensor]:
        """Binary masks of the present classes, ``(K, H, W)``, from one round's maps.

        Every class of the vocabulary is in the prompt, as it will be when labels are asked for.
        """
        self._remember(examples, settings)
        masks = []
        for example in examples:
            maps = self._seen[settings.layer, example.id][settings.head - 1]
            small = ((maps >= settings.threshold) & (maps > 0)).float()
            masks.append(enlarge(small, _size(example), settings.upsample))
        return masks

    def _remember(self, examples: Sequence[Example], settings: Settled) -> None:
        """Per layer and image: what all heads make of the present classes, for any threshold."""
        new = [e for e in examples if (settings.layer, e.id) not in self._seen]
        if not new:
            return
        question = self._asker.everything()
        pixels = squared(self._model, [e.image for e in new], settings)
        looks = look(self._model, pixels, [question] * len(new), settings)
        for example, seen in zip(new, looks, strict=True):
            rows = np.searchsorted(question.labels, example.present)
            heads = [replace(settings, head=1 + i) for i in range(self._model.heads)]
            maps = [self._in_units(read(question, seen, one)[0], one)[rows] for one in heads]
            self._seen[settings.layer, example.id] = torch.stack(maps)

    def _in_units(self, maps: Tensor, settings: Settled) -> Tensor:
        return in_units(maps, with_unit(settings, self._vocabulary))

    def _blurred(self, examples: Sequence[Example], settings: Settled) -> list[Tensor]:
        """What the CRF would be given of the present classes, ``(K, H, W)`` in 0..1."""
        question = self._asker.everything()
        pixels = squared(self._model, [e.image for e in examples], settings)
        maps = class_maps(self._model, pixels, [question] * len(examples), settings)
        settings = with_unit(settings, self._vocabulary)
        masks = []
        for example, each in zip(examples, maps, strict=True):
            planes = blurred(enlarged(each, question.labels, _size(example), settings), settings)
            # Classes without a mask share the last plane, which is empty.
            rows = [np.flatnonzero(planes.labels == label) for label in example.present]
            last = len(planes.labels) - 1
            masks.append(planes.values[[int(row[0]) if len(row) else last for row in rows]])
        return masks


def _size(example: Example) -> tuple[int, int]:
    return example.image.shape[0], example.image.shape[1]
