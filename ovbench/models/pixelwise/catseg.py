"""CAT-Seg: a CLIP whose attention learned from label maps, and what makes its similarities agree.

Cho, Shin, Hong, Arnab, Seo and Kim, "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic
Segmentation" (CVPR 2024); released code: github.com/KU-CVLAB/CAT-Seg.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.last_block import leave
from ovbench.models.clip.model import CLIP
from ovbench.models.clip.trunk import Trunk, on_grid
from ovbench.models.pixelwise.aggregation import Aggregation, Sizes
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import Renaming, fitted, renamed, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "catseg"


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the released models.

    Attributes:
        clip: open_clip's name of its CLIP.
        side: of the squares that CLIP is shown, in pixels.
        blocks: of CLIP, from 0, whose tokens become the two finer maps.
        sizes: of the aggregation.
    """

    clip: str
    side: int
    blocks: tuple[int, int]
    sizes: Sizes


# cat_seg/cat_seg_model.py: clip_resolution, layer_indexes, proj_dim; configs/*.yaml: the others.
VARIANTS: Mapping[str, Variant] = {
    "catseg_base": Variant("ViT-B-16-quickgelu", 384, (3, 7), Sizes(512, 768)),
    "catseg_large": Variant("ViT-L-14-336-quickgelu", 336, (7, 15), Sizes(768, 1024)),
}
"""By the names of the catalogue."""

_HOME = r"^sem_seg_head\.predictor\.transformer\."
_LAYER = rf"{_HOME}layers\.(\d+)\."
_BLOCK = rf"{_LAYER}swin_block\.(block_\d)\."

# In turn, of a tensor's whole name.
_RENAMED: Renaming = (
    (r"^sem_seg_head\.predictor\.clip_model\.", "clip."),
    (r"^upsample1\.", "read.0."),
    (r"^upsample2\.", "read.1."),
    (rf"{_BLOCK}attn\.proj\.", r"aggregation.layers.\1.\2.proj."),
    (rf"{_BLOCK}attn\.", r"aggregation.layers.\1.\2.attention."),
    (rf"{_BLOCK}mlp\.fc1\.", r"aggregation.layers.\1.\2.mlp.0."),
    (rf"{_BLOCK}mlp\.fc2\.", r"aggregation.layers.\1.\2.mlp.2."),
    (rf"{_BLOCK}", r"aggregation.layers.\1.\2."),
    (rf"{_LAYER}swin_block\.guidance_norm\.", r"aggregation.layers.\1.guidance_norm."),
    (rf"{_LAYER}attention\.MLP\.", r"aggregation.layers.\1.among_classes.mlp."),
    (rf"{_LAYER}attention\.padding_tokens$", r"aggregation.layers.\1.among_classes.nothing"),
    (rf"{_LAYER}attention\.padding_guidance$", r"aggregation.layers.\1.among_classes.unnamed"),
    (rf"{_LAYER}attention\.", r"aggregation.layers.\1.among_classes."),
    (rf"{_HOME}conv1\.", "aggregation.embed."),
    (rf"{_HOME}guidance_projection\.0\.", "aggregation.to_places."),
    (rf"{_HOME}text_guidance_projection\.0\.", "aggregation.to_texts."),
    (rf"{_HOME}decoder_guidance_projection\.(\d)\.0\.", r"aggregation.to_shown.\1."),
    (rf"{_HOME}decoder1\.up\.", "aggregation.finer.0.up."),
    (rf"{_HOME}decoder2\.up\.", "aggregation.finer.1.up."),
    (rf"{_HOME}decoder1\.conv\.double_conv\.", "aggregation.finer.0.conv."),
    (rf"{_HOME}decoder2\.conv\.double_conv\.", "aggregation.finer.1.conv."),
    (rf"{_HOME}head\.", "aggregation.head."),
)

# Of shifted windows, which the sizes decide.
_MASK = re.compile(rf"{_BLOCK}attn_mask$")


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights by the names of :func:`network`.

    Their CLIP keeps projections of queries, keys and values apart, which open_clip has in one.
    What has no place here keeps its name.
    """
    found = {renamed(n, _RENAMED): w for n, w in weights.items() if not _MASK.match(n)}
    for name in [name for name in found if name.endswith("q_proj_weight")]:
        parts = [name.replace("q_proj_weight", f"{one}_proj_weight") for one in "qkv"]
        if all(part in found for part in parts):
            joined = torch.cat([found.pop(part) for part in parts])
            found[name.replace("q_proj_weight", "in_proj_weight")] = joined
    return found


def network(clip: nn.Module, sizes: Sizes) -> nn.ModuleDict:
    """A CLIP of open_clip's, with new layers that read it and a new aggregation."""
    read = (
        nn.ConvTranspose2d(sizes.width, made, factor, stride=factor)
        for made, factor in zip(sizes.read, (2, 4), strict=True)
    )
    return nn.ModuleDict(
        {"clip": clip, "read": nn.ModuleList(read), "aggregation": Aggregation(sizes)}
    )


class CATSeg:
    """The image tower and the aggregation compute in the runtime's precision, texts in float32.

    Attributes:
        clip: the fine-tuned one, which also embeds the texts.
        checkpoints: which weights these are.
        side: of the squares that CLIP is shown, in pixels.
        joint: how many numbers a text has.
        device: where it computes.
    """

    def __init__(
        self,
        parts: nn.ModuleDict,
        variant: Variant,
        checkpoint: CheckpointRecord,
        runtime: Runtime,
    ) -> None:
        """Take the parts of :func:`network`; they are frozen and moved in place."""
        import open_clip

        self._dtype = DTYPES[runtime.precision]
        tokenizer: Any = open_clip.get_tokenizer(variant.clip)
        self.clip = CLIP(parts["clip"], tokenizer, checkpoint, runtime)
        self.checkpoints = (checkpoint,)
        self.side, self.joint, self._blocks = variant.side, variant.sizes.joint, variant.blocks
        self.device = self.clip.device
        for name in ("read", "aggregation"):
            frozen(parts[name], self.device).to(self._dtype)
        self._read = cast(nn.ModuleList, parts["read"])
        self._aggregation = cast(Aggregation, parts["aggregation"])

    @torch.inference_mode()
    def logits(self, squares: Tensor, texts: Tensor) -> Tensor:
        """A logit of every text at every place of every square; squares are seen one by one.

        Args:
            squares: ``(B, 3, side, side)``, normalised for CLIP.
            texts: ``(n, joint)`` of unit length.

        Returns:
            ``(B, n, h, w)`` float32, of four places for each patch along both axes.
        """
        told = texts.to(self.device, self._dtype)
        return torch.stack([self._of_one(square[None], told) for square in squares])

    def _of_one(self, square: Tensor, texts: Tensor) -> Tensor:
        trunk = self.clip.trunk(square, states=self._blocks)
        coarse, fine = (
            read(on_grid(trunk.states[block][:, 1:], trunk.grid))
            for read, block in zip(self._read, self._blocks, strict=True)
        )
        found: Tensor = self._aggregation(_places(trunk).to(self._dtype), (coarse, fine), texts)
        return found.float()


def _places(trunk: Trunk) -> Tensor:
    """Every patch by its own value, to which the class token is added: the released last block.

    What entered the block is added of the class token alone, to every patch as to itself.
    """
    own = trunk.tokens[:, :1] + trunk.mixed(trunk.heads().value)
    return leave(trunk, own, residual=False, mlp=True)[0]


def load_catseg(name: str, runtime: Runtime) -> CATSeg:
    """Load a model.

    Args:
        name: one of :data:`VARIANTS`, or ``"random"`` for seeded random weights of the smaller
            one, which serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "CAT-Seg, random weights", None, None)
        variant = VARIANTS["catseg_base"]
        with seeded(runtime):
            return CATSeg(_released(variant), variant, record, runtime)
    located = locate(ROLE, name, runtime)
    variant = VARIANTS[name]
    weights = own_names(weights_in(located.path, "model"))
    with seeded(runtime):
        parts = fitted(_released(variant), weights, located.path)
    return CATSeg(parts, variant, located.records[0], runtime)


def _released(variant: Variant) -> nn.ModuleDict:
    """A new network of the size that was released."""
    import open_clip

    return network(open_clip.create_model(variant.clip), variant.sizes)
