"""SegCLIP: CLIP whose patches gather around learned centres before its last blocks.

Luo et al., "SegCLIP: Patch Aggregation with Learnable Centers for Open-Vocabulary Semantic
Segmentation" (ICML 2023); released code: github.com/ArrowLuo/SegCLIP. Written from a description:
that code has no licence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import CLIP
from ovbench.models.clip.trunk import embed, run_block
from ovbench.models.grouping.groups import MOST_SHARPLY, Groups
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import Renaming, fitted, renamed, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "segclip"
ARCHITECTURE = "ViT-B-16-quickgelu"
CENTRES = 8
ROUNDS = 2
"""How often the centres look at the patches, before these are assigned."""

EARLY = 10
"""Blocks that see patches; those behind them see what gathered at the centres."""

# In turn, of a tensor's whole name.
_RENAMED: Renaming = (
    (r"^clip\.visual\.transformer\.layers0\.", "clip.visual.transformer.resblocks."),
    (r"^clip\.visual\.transformer\.semantic_layer2\.", "gathering."),
    (r"^gathering\.semantic_center$", "gathering.centres"),
    (r"^gathering\.cross_att\.(\d+)\.ln_x\.", r"gathering.rounds.\1.ln_1."),
    (r"^gathering\.cross_att\.(\d+)\.ln_k\.", r"gathering.rounds.\1.ln_1_kv."),
    (r"^gathering\.cross_att\.", "gathering.rounds."),
    (r"^gathering\.cross_ln\.", "gathering.norm_centres."),
    (r"^gathering\.k_conv\.", "gathering.key."),
    (r"^gathering\.k_ln\.", "gathering.norm_key."),
    (r"^gathering\.v_conv\.", "gathering.value."),
    (r"^gathering\.proj_o\.ln\.", "gathering.mixing.0."),
    (r"^gathering\.proj_o\.mlp\.fc1\.", "gathering.mixing.1."),
    (r"^gathering\.proj_o\.mlp\.fc2\.", "gathering.mixing.3."),
)
_LATE = re.compile(r"clip\.visual\.transformer\.layers2\.(\d+)\.(.*)")
# What painted masked patches anew, in training alone.
_TRAINING = re.compile(
    r"(vis|seq)_mae_decoder\.|clip\.visual\.transformer\.(layers_mae2|reconstruct_layer2)\."
)


class Gathering(nn.Module):
    """Learned centres, and which of them each patch belongs to."""

    def __init__(self, width: int, heads: int) -> None:
        from open_clip.transformer import QuickGELU, ResidualAttentionBlock

        super().__init__()
        looking = partial(
            ResidualAttentionBlock, width, heads, act_layer=QuickGELU, is_cross_attention=True
        )
        mapping = partial(nn.Conv1d, width, width, 1, groups=heads, bias=False)
        self.centres = nn.Parameter(torch.randn(CENTRES, width) * 0.02)
        self.rounds = nn.ModuleList(looking() for _ in range(ROUNDS))
        self.norm_centres = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)
        self.key, self.norm_key, self.value = mapping(), nn.LayerNorm(width), mapping()
        self.mixing = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            QuickGELU(),
        )

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Gather patches.

        Args:
            patches: ``(B, n, width)``.

        Returns:
            ``(B, G, width)``, what is at each centre, and ``(B, G, n)`` float32, how much each
            patch belongs to it.
        """
        centres = self.centres.expand(len(patches), -1, -1)
        for look in self.rounds:
            seen = torch.cat([centres, patches], dim=1)
            centres = look(centres, seen, seen)
        centres = self.norm_centres(centres)
        even = self.norm(patches).mT
        keys, values = self.norm_key(self.key(even).mT), self.value(even).mT
        # Not scaled by the width, so that half precision would tell too few steps apart.
        shares = (centres.float() @ keys.float().mT).softmax(dim=1)
        own = functional.one_hot(shares.argmax(dim=1), CENTRES).mT.to(values.dtype)
        gathered = own @ values / own.sum(dim=2, keepdim=True).clamp(min=1)
        return self.mixing(centres + gathered), shares


class SegCLIPNetwork(nn.Module):
    """The weights; all but the gathering are open_clip's."""

    def __init__(self, clip: Any) -> None:
        """Take a CLIP with a plain vision transformer."""
        super().__init__()
        self.clip = clip
        width = clip.visual.class_embedding.numel()
        heads = clip.visual.transformer.resblocks[0].attn.num_heads
        self.gathering = Gathering(width, heads)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """``(B, G + 1, d)`` in the joint space, the whole picture last; shares; and the grid."""
        visual = self.clip.visual
        tokens, grid = embed(visual, images)
        gathered, shares = self.group(tokens[:, 1:])
        return visual.ln_post(gathered) @ visual.proj, shares, grid

    def group(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """All blocks; from ``(B, n, width)``, without a class token, to ``(B, G + 1, width)``."""
        blocks = self.clip.visual.transformer.resblocks
        for block in blocks[:EARLY]:
            patches = run_block(block, patches)
        groups, shares = self.gathering(patches)
        for block in blocks[EARLY:]:
            groups = run_block(block, groups)
        return torch.cat([groups, groups.amax(dim=1, keepdim=True)], dim=1), shares


class SegCLIP:
    """A frozen :class:`SegCLIPNetwork`.

    The image tower computes in the runtime's precision; the text tower stays in float32.

    Attributes:
        checkpoints: which weights these are.
        patch: pixels along a side of a patch.
        image_size: side of the pictures that it was trained on.
        mean, std: per channel, of pixels scaled to 0..1, as CLIP was trained.
    """

    def __init__(
        self, network: SegCLIPNetwork, checkpoint: CheckpointRecord, runtime: Runtime
    ) -> None:
        """Take a network, which is frozen and moved in place."""
        from open_clip import tokenize

        length = network.clip.context_length
        self._clip = CLIP(
            network.clip, partial(tokenize, context_length=length), checkpoint, runtime
        )
        self._network = frozen(network, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self._network.gathering.to(self._dtype)
        self.checkpoints: tuple[CheckpointRecord, ...] = (checkpoint,)
        self.device, self.patch = self._clip.device, self._clip.stride
        self.image_size = self._clip.image_size
        self.mean, self.std = self._clip.mean, self._clip.std

    @property
    def logit_scale(self) -> float:
        """See :class:`~ovbench.models.grouping.groups.Grouper`."""
        return min(self._clip.logit_scale, MOST_SHARPLY)

    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.models.grouping.groups.Grouper`."""
        return self._clip.embed_queries(queries, templates, unit=False)

    @torch.inference_mode()
    def groups(self, images: Tensor) -> Groups:
        """See :class:`~ovbench.models.grouping.groups.Grouper`."""
        return Groups.of(*self._network(images.to(self.device, self._dtype)))


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights by the names of :class:`SegCLIPNetwork`.

    What served the training alone is left out; what has no place keeps its name.
    """
    found = {}
    for theirs, weight in weights.items():
        if _TRAINING.match(theirs):
            continue
        name = renamed(theirs, _RENAMED)
        if late := _LATE.fullmatch(name):
            number, rest = late.groups()
            name = f"clip.visual.transformer.resblocks.{EARLY + int(number)}.{rest}"
        found[name] = weight
    return found


def load_segclip(name: str, runtime: Runtime) -> SegCLIP:
    """Load a SegCLIP.

    Args:
        name: in the catalogue, such as ``"segclip_vitb16"``, or ``"random"`` for seeded random
            weights of the published size, which serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "SegCLIP, random weights", None, None)
        with seeded(runtime):
            return SegCLIP(_new(), record, runtime)
    located = locate(ROLE, name, runtime)
    return SegCLIP(_read(located.path), located.records[0], runtime)


def _new() -> SegCLIPNetwork:
    """A network of the published size."""
    import open_clip

    return SegCLIPNetwork(open_clip.create_model(ARCHITECTURE, pretrained_text=False))


def _read(file: Path) -> SegCLIPNetwork:
    return fitted(_new(), own_names(weights_in(file)), file)
