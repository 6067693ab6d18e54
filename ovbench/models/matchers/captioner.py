"""BLIP as a captioner, through transformers: it goes on with a text that begins a caption.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language
Understanding and Generation" (ICML 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.matchers.folder import load_folder
from ovbench.models.matchers.matcher import Normalisation
from ovbench.models.pixels.inputs import pillow_tensor
from ovbench.models.precision import frozen

ROLE = "blip_captioner"
LONGEST = 20
"""Tokens of a caption, its beginning included: transformers' own limit where none is set."""


class Captioner:
    """A frozen ``BlipForConditionalGeneration``; it computes in float32.

    Attributes:
        checkpoints: which weights these are.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        normalisation: Normalisation,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        self._model = frozen(model.float(), runtime.device)
        self._tokenizer = tokenizer
        self._mean, self._std = normalisation
        self._side: int = model.config.vision_config.image_size
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)

    @torch.no_grad()
    def encode(self, image: Image) -> Tensor:
        """A picture for :meth:`go_on`, ``(1, n, width)`` float32 on the model's device.

        Args:
            image: ``(H, W, 3)`` uint8, which is squashed to the model's square by Pillow.
        """
        side = (self._side, self._side)
        pixels = pillow_tensor(
            image, side, mean=self._mean, std=self._std, mode="bicubic", device=self.device
        )
        states: Tensor = self._model.vision_model(pixels[None]).last_hidden_state
        return states

    @torch.no_grad()
    def go_on(self, picture: Tensor, beginning: str) -> str:
        """The likeliest next words, one after the other.

        Args:
            picture: from :meth:`encode`.
            beginning: of the caption.

        Returns:
            What follows, in lower case, with a blank before a new word; empty where the beginning
            is a caption already, or as long as one may be.
        """
        asked = self._tokenizer(beginning, return_tensors="pt").to(self.device)
        if asked.input_ids.shape[1] > LONGEST:
            return ""
        # As the whole model's own generate asks its decoder, but that it encodes the picture.
        text, start = self._model.config.text_config, asked.input_ids[:, :-1].clone()
        start[:, 0] = text.bos_token_id
        said = self._model.text_decoder.generate(
            input_ids=start,
            attention_mask=asked.attention_mask[:, :-1],
            encoder_hidden_states=picture,
            eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id,
            max_length=LONGEST,
            do_sample=False,
            num_beams=1,
        )
        before, whole = (  # without the start token, which is another one in a caption
            self._tokenizer.decode(ids[1:], skip_special_tokens=True)
            for ids in (asked.input_ids[0], said[0])
        )
        return str(whole)[len(before) :]


def load_captioner(name: str, runtime: Runtime) -> Captioner:
    """Load a captioner.

    Args:
        name: in the catalogue, such as ``"blip_captioning_large"``, or a hub id, optionally with
            ``@revision``. The folder holds what that of a matcher does.
        runtime: its ``checkpoints`` decide between this and a packaged miniature.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import BlipForConditionalGeneration

    stock = (BlipForConditionalGeneration, "text_decoder")
    return load_folder(Captioner, stock, (ROLE, name), runtime)
