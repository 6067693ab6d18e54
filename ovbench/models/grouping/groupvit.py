"""GroupViT: which patches belong together, and what each group is called.

Xu et al., "GroupViT: Semantic Segmentation Emerges from Text Supervision" (CVPR 2022), through
transformers' ``GroupViTModel``. Its image tower is called part by part: its own forward pass takes
no picture of another size than the training's, and what it calls segmentation logits is another
rule than the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.ensembling import TextTower, ensembled
from ovbench.models.grouping.authors import stock_names
from ovbench.models.grouping.groups import MOST_SHARPLY, Groups
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading, stock
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "groupvit"
CLIPS_WORDS = 49_408
"""Tokens of CLIP's vocabulary, which the published models have."""

Tokenize: TypeAlias = Callable[[list[str], int], Tensor]
"""From texts to ids, ``(n, length)``, given the length."""


class GroupViT:
    """A frozen ``GroupViTModel``.

    The image tower computes in the runtime's precision; the text tower stays in float32.

    Attributes:
        checkpoints: which weights these are.
        patch: pixels along a side of a patch.
        image_size: side of the pictures that it was trained on.
    """

    def __init__(
        self,
        model: Any,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
        tokenize: Tokenize | None = None,
    ) -> None:
        """Wrap a built model, which is frozen and moved in place; CLIP's words are the default."""
        from open_clip import tokenize as by_clip

        self._model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self._model.vision_model.to(self._dtype)
        self._model.visual_projection.to(self._dtype)
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.patch: int = model.vision_model.config.patch_size
        self.image_size: int = model.vision_model.config.image_size
        self._tokenize = tokenize or by_clip

    @property
    def logit_scale(self) -> float:
        """See :class:`~ovbench.models.grouping.groups.Grouper`."""
        return min(float(self._model.logit_scale.exp()), MOST_SHARPLY)

    @torch.inference_mode()
    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.models.grouping.groups.Grouper`."""
        without = ("vision_model", "visual_projection")
        tower = TextTower(self._tokens, self._project, self._model, without)
        return ensembled(tower, queries, templates, unit=False).to(self.device)

    @torch.inference_mode()
    def groups(self, images: Tensor) -> Groups:
        """See :class:`~ovbench.models.grouping.groups.Grouper`."""
        vision = self._model.vision_model
        grid = images.shape[-2] // self.patch, images.shape[-1] // self.patch
        pixels = images.to(self.device, self._dtype)
        patches = vision.embeddings(pixels, interpolate_pos_encoding=True)
        joint, shares = grouped(self._model, patches)
        return Groups.of(joint, shares, grid)

    def _tokens(self, prompts: list[str]) -> Sequence[Tensor]:
        """What :meth:`_project` takes."""
        length = self._model.config.text_config.max_position_embeddings
        return (self._tokenize(prompts, length),)

    def _project(self, *tokens: Tensor) -> Tensor:
        """Texts in the joint space, ``(n, d)`` float32, not normalised."""
        (ids,) = tokens
        joint: Tensor = self._model.get_text_features(ids.to(self.device)).pooler_output
        return joint


def grouped(model: Any, patches: Tensor) -> tuple[Tensor, Tensor]:
    """What a ``GroupViTModel`` makes of what enters its encoder.

    Args:
        patches: ``(B, n, width)``, positions added.

    Returns:
        ``(B, G + 1, d)``, of every group and of the whole, in the space of texts, of any length;
        and ``(B, G, n)`` float32, how much each patch belongs to each group.
    """
    vision = model.vision_model
    seen = vision.encoder(patches, output_attentions=True, return_dict=True)
    tokens = vision.layernorm(seen.last_hidden_state)
    shares = seen.attentions[0].float()
    for later in seen.attentions[1:]:
        shares = later.float() @ shares
    tokens = torch.cat([tokens, tokens.mean(dim=1, keepdim=True)], dim=1)
    joint: Tensor = model.visual_projection(tokens.flatten(0, 1))
    return joint.reshape(*tokens.shape[:2], -1), shares


def load_groupvit(name: str, runtime: Runtime) -> GroupViT:
    """Load a GroupViT.

    Args:
        name: in the catalogue, such as ``"groupvit_gcc_yfcc"``, a hub id, optionally with
            ``@revision``, or ``"random"`` for seeded random weights of the published size, which
            serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "GroupViT, random weights", None, None)
        with seeded(runtime):
            return GroupViT(_stock(), (record,), runtime)
    located = locate(ROLE, name, runtime)
    if located.path.is_file():
        return GroupViT(_of_authors(located.path), located.records, runtime)
    return load_folder(located.path, located.records, runtime)


def load_folder(
    folder: Path, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
) -> GroupViT:
    """What ``save_pretrained`` left, with the tokenizer beside it where its words are not CLIP's.

    Raises:
        UsageError: another model's folder, weights that are missing, or no tokenizer.
    """
    model = _of_hub(folder)
    return GroupViT(model, checkpoints, runtime, _tokenizer(model, folder))


def _stock() -> Any:
    """A new ``GroupViTModel`` of the published size."""
    from transformers import GroupViTConfig, GroupViTModel

    return GroupViTModel(GroupViTConfig())


def _of_hub(folder: Path) -> Any:
    from transformers import GroupViTModel

    return stock(GroupViTModel, folder)


def _tokenizer(model: Any, folder: Path) -> Tokenize | None:
    if model.config.text_config.vocab_size == CLIPS_WORDS:
        return None
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(f"{folder}: has no tokenizer.json, although its words are not CLIP's")
    from open_clip.tokenizer import HFTokenizer

    with reading(folder):
        found: Tokenize = HFTokenizer(str(folder))
    return found


def _of_authors(file: Path) -> Any:
    return fitted(_stock(), stock_names(weights_in(file, "model")), file)
