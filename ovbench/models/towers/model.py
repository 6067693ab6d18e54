"""Two transformers whose places and words meet in one space, one by one.

As in SimSeg (Yi et al., CVPR 2023) and CLIPpy (Ranasinghe et al., ICCV 2023): a caption's loss is
taken of pooled places and pooled words, so that single ones can be compared afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.ensembling import TextTower, ensembled
from ovbench.models.patches.encoder import PatchEncoder, Reading
from ovbench.models.patches.positions import Positions
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.towers.words import Words


class TowersNetwork(nn.Module):
    """The weights of both.

    Attributes:
        image: a ``ViTModel`` without its pooler.
        text: a ``BertModel`` without its pooler, or a ``T5EncoderModel``.
        image_projection, text_projection: into the joint space.
    """

    def __init__(self, image: Any, text: Any, joint: int | None) -> None:
        """Take both, and project them into so many channels.

        Args:
            joint: None is the image tower's own space, so that only texts are projected.
        """
        super().__init__()
        self.image, self.text = image, text
        width: int = image.config.hidden_size
        self.image_projection: nn.Module = (
            nn.Identity() if joint is None else nn.Linear(width, joint, bias=False)
        )
        self.text_projection = nn.Linear(text.config.hidden_size, joint or width, bias=False)


class Towers:
    """Both, frozen.

    The image tower computes in the runtime's precision; the text tower stays in float32.

    Attributes:
        checkpoints: which weights these are.
        patch: pixels along a side of a patch.
    """

    def __init__(
        self,
        network: TowersNetwork,
        words: Words,
        pool: Literal["largest", "mean"],
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
        positions: Positions = "exact",
    ) -> None:
        """Take a network, which is frozen and moved in place.

        Args:
            pool: what of a text's words stands for it: in every channel the largest, or the mean.
            positions: see :func:`~ovbench.models.patches.positions.resize_positions`.
        """
        self._network = frozen(network, runtime.device)
        self._network.image_projection.to(DTYPES[runtime.precision])
        self._dtype = DTYPES[runtime.precision]
        self._image = PatchEncoder(network.image, checkpoints, runtime, positions)
        self._words, self._pool = words, pool
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.patch = self._image.patch_size

    @torch.inference_mode()
    def places(self, images: Tensor) -> Tensor:
        """Every patch in the joint space, the class token left out.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`patch`.

        Returns:
            ``(B, d, h, w)`` float32, not normalised.
        """
        (found,) = self._image.read(images, Reading(norm=True))
        last = found.patches.permute(0, 2, 3, 1).to(self._dtype)
        joint: Tensor = self._network.image_projection(last)
        return joint.permute(0, 3, 1, 2).float()

    @torch.inference_mode()
    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Embed queries: the mean over templates of texts of unit length, of unit length.

        Args:
            queries: such as ``"cat"``.
            templates: prompts with ``{}`` for the query.

        Returns:
            ``(n, d)`` float32.
        """
        without = ("image", "image_projection")
        tower = TextTower(self._words, self._embedded, self._network, without)
        return ensembled(tower, queries, templates, unit=True).to(self.device)

    def _embedded(self, tokens: Tensor, there: Tensor) -> Tensor:
        tokens, there = tokens.to(self.device), there.to(self.device)
        states = self._network.text(input_ids=tokens, attention_mask=there.long())
        # A projection without a bias may stand on either side of a mean.
        joint: Tensor = self._network.text_projection(states.last_hidden_state)
        if self._pool == "largest":
            return joint.masked_fill(~there[..., None], -torch.inf).amax(dim=1)
        weights = there.float() / there.sum(dim=1, keepdim=True)
        return torch.einsum("nt,ntd->nd", weights, joint)
