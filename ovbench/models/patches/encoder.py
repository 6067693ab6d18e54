"""Vision transformers read patch by patch: DINO, DINOv2 and DINOv3, and a distilled DeiT.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (ICCV 2021); Oquab
et al., "DINOv2: Learning Robust Visual Features without Supervision" (TMLR 2024); Darcet et
al., "Vision Transformers Need Registers" (ICLR 2024). MAE's encoder (He et al., CVPR 2022) is,
with no patch masked, the same transformer as DINO's and is read in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
from ovbench.models.patches.deit_file import deit, load_deit
from ovbench.models.patches.mae_file import load_mae
from ovbench.models.patches.positions import Positions, resize_positions
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.packaged import packaged_only
from ovbench.models.weights.pretrained import reading, stock
from ovbench.models.weights.untrained import seeded

Facet: TypeAlias = Literal["token", "query", "key", "value"]
"""A block's output, or what its attention compares and mixes, with all heads concatenated.

Queries and keys of DINOv3 are those before its rotary positions turn them.
"""

_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}

_CLASSES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "vit": ("ViTModel", {"add_pooling_layer": False}),
    "vit_mae": ("ViTModel", {"add_pooling_layer": False}),
    "deit": ("DeiTModel", {"add_pooling_layer": False}),
    "dinov2": ("Dinov2Model", {}),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {}),
    "dinov3_vit": ("DINOv3ViTModel", {}),
}
"""Per ``model_type`` of a configuration, the class of transformers and its options."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read, and where.

    Attributes:
        layer: of the transformer's blocks, from 0; negative ones count from the last.
        facet: the block's output, or a projection within its attention.
        norm: apply the model's final normalisation; only to tokens.
    """

    layer: int = -1
    facet: Facet = "token"
    norm: bool = False

    def __post_init__(self) -> None:
        if self.norm and self.facet != "token":
            raise ValueError(f"the final normalisation is for tokens, not for a {self.facet}")


class PatchFeatures(NamedTuple):
    """One reading of a batch of images.

    Attributes:
        patches: ``(B, d, h, w)`` float32, not L2-normalised.
        class_token: ``(B, d)`` float32.
    """

    patches: Tensor
    class_token: Tensor


class PatchEncoder:
    """A frozen ``ViTModel``, ``Dinov2Model``, ``Dinov2WithRegistersModel`` or ``DINOv3ViTModel``.

    The blocks compute in the runtime's precision, the patch and position embeddings in
    float32: bicubic interpolation or angles in half precision would move every patch.

    Attributes:
        checkpoints: which weights these are.
        mean, std: per channel, of pixels scaled to 0..1: ImageNet's, as all of these models
            were trained with.
        patch_size: pixels per patch, along both axes.
        image_size: the side in pixels of the square images it was trained on.
        width: channels of every facet.
        layers: the number of blocks.
        heads: of every block's attention.
    """

    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def __init__(
        self,
        model: Any,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
        positions: Positions = "exact",
    ) -> None:
        """Wrap a built model, which is frozen and moved in place.

        Args:
            positions: see :func:`~ovbench.models.patches.positions.resize_positions`; DINOv3 has
                rotary ones, which need no resizing.
        """
        # Transformers has them exact, with antialiasing where a model has registers.
        if positions != "exact" and hasattr(model.embeddings, "interpolate_pos_encoding"):
            model.embeddings.interpolate_pos_encoding = partial(_positions, model, positions)
        self._model = frozen(model, runtime.device).float()
        self._dtype = DTYPES[runtime.precision]
        self._anatomy = _anatomy(model)
        self._anatomy.blocks.to(self._dtype)
        self._anatomy.last_norm.to(self._dtype)
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.patch_size: int = model.config.patch_size
        self.image_size: int = model.config.image_size
        self.width: int = model.config.hidden_size
        self.layers = len(self._anatomy.blocks)
        self.heads: int = model.config.num_attention_heads

    def features(
        self, images: Tensor, layer: int = -1, facet: Facet = "token", *, norm: bool = False
    ) -> Tensor:
        """The patches of one :class:`Reading`; ``(B, d, h, w)`` float32. See :meth:`read`."""
        return self.read(images, Reading(layer, facet, norm))[0].patches

    @torch.no_grad()
    def read(self, images: Tensor, *readings: Reading) -> list[PatchFeatures]:
        """Several readings from one forward pass, which ends where the deepest one is found.

        Position embeddings are interpolated (bicubic) to the images' grid of patches, exactly
        to its size unless asked for otherwise. The original code of DINO and DINOv2 has an offset.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`patch_size`.

        Returns:
            In the order of ``readings``, with h = H / patch_size and w = W / patch_size.
        """
        grid = self._grid(images)
        # The state before block i has the index i, so a block's output has the next one.
        places = [self._block(r.layer) + (r.facet == "token") for r in readings]
        states = self._states(images, set(places))
        facets = [self._facet(r, states[place]) for r, place in zip(readings, places, strict=True)]
        return [_on_grid(facet.float(), grid) for facet in facets]

    @torch.no_grad()
    def tokens(self, images: Tensor) -> Tensor:
        """All tokens behind the final normalisation.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`patch_size`.

        Returns:
            ``(B, tokens, d)`` float32: the class token, registers if the model has some, then the
            patches row by row.
        """
        self._grid(images)
        last = self._states(images, {self.layers})[self.layers]
        found: Tensor = self._anatomy.last_norm(last).float()
        return found

    def _grid(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"{height}x{width} is no multiple of the patch {self.patch_size}")
        return height // self.patch_size, width // self.patch_size

    def _block(self, layer: int) -> int:
        if not -self.layers <= layer < self.layers:
            raise ValueError(f"layer {layer} is not one of {-self.layers}..{self.layers - 1}")
        return layer % self.layers

    def _states(self, images: Tensor, wanted: Collection[int]) -> dict[int, Tensor]:
        """The wanted ones of the states before, between and behind the blocks."""
        images = images.to(self.device, torch.float32)
        state = self._anatomy.embed(images).to(self._dtype)
        rope = self._anatomy.rope
        turned = {} if rope is None else {"position_embeddings": _cast(rope(images), self._dtype)}
        kept = {0: state}
        for index, block in enumerate(self._anatomy.blocks[: max(wanted)], start=1):
            state = block(state, **turned)
            if index in wanted:
                kept[index] = state
        return kept

    def _facet(self, reading: Reading, state: Tensor) -> Tensor:
        """From the state before a block, or behind it for tokens; ``(B, tokens, d)``."""
        if reading.facet == "token":
            return self._anatomy.last_norm(state) if reading.norm else state
        block: Any = self._anatomy.blocks[reading.layer]
        project = getattr(block.attention, _PROJECTIONS[reading.facet])
        return project(getattr(block, self._anatomy.first_norm)(state))  # type: ignore[no-any-return]


class _Anatomy(NamedTuple):
    """Where a model's parts are.

    Attributes:
        embed: from ``(B, 3, H, W)`` to ``(B, tokens, d)``: the class token, registers if the
            model has some, then the patches row by row.
        first_norm: the name of the normalisation before a block's attention.
        last_norm: the normalisation behind all blocks.
        rope: from images to the cosines and sines that a block turns queries and keys by, in a
            model with rotary positions.
    """

    embed: Callable[[Tensor], Tensor]
    blocks: nn.ModuleList
    first_norm: str
    last_norm: nn.Module
    rope: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None


def _anatomy(model: Any) -> _Anatomy:
    from transformers import DeiTModel, DINOv3ViTModel, ViTModel

    if isinstance(model, ViTModel | DeiTModel):
        embed = partial(model.embeddings, interpolate_pos_encoding=True)
        return _Anatomy(embed, model.layers, "layernorm_before", model.layernorm)
    if isinstance(model, DINOv3ViTModel):
        blocks, rope = model.model.layer, model.rope_embeddings
        return _Anatomy(model.embeddings, blocks, "norm1", model.norm, rope)
    return _Anatomy(model.embeddings, model.encoder.layer, "norm1", model.layernorm)


def _cast(tensors: tuple[Tensor, Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return tensors[0].to(dtype), tensors[1].to(dtype)


def _positions(model: Any, positions: Positions, tokens: Tensor, height: int, width: int) -> Tensor:
    """In place of transformers' own function, which is exact; ``(1, tokens, d)``."""
    embedding, patch = model.embeddings.position_embeddings[0], model.config.patch_size
    side = math.isqrt(len(embedding) - 1)
    grid = height // patch, width // patch
    return resize_positions(embedding, (side, side), grid, positions)[None]


def _on_grid(tokens: Tensor, grid: tuple[int, int]) -> PatchFeatures:
    patches = tokens[:, -grid[0] * grid[1] :]
    return PatchFeatures(patches.mT.reshape(len(patches), -1, *grid), tokens[:, 0])


def load_patch_encoder(
    role: Literal["dino", "dinov2"],
    name: str,
    runtime: Runtime,
    positions: Positions = "exact",
) -> PatchEncoder:
    """Load a patch encoder.

    Args:
        role: which of the miniatures stands for it.
        name: in the catalogue, such as ``"dino_vitb8"`` or ``"dinov2_base"``, or a hub id,
            optionally with ``@revision``; of DINO also ``"random"`` for a ViT-B/8 and
            ``"random_deit"`` for a DeiT-S/16 of seeded random weights, which serve to measure
            speed.
        runtime: its ``checkpoints`` decide between this and the packaged miniature.
        positions: see :func:`~ovbench.models.patches.positions.resize_positions`.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    if role == "dino" and name in _RANDOM and not packaged_only(runtime):
        what, build = _RANDOM[name]
        record = CheckpointRecord(role, f"{what}, random weights", None, None)
        with seeded(runtime):
            return PatchEncoder(build(), (record,), runtime, positions)
    located = locate(role, name, runtime)
    return PatchEncoder(_load(located.path), located.records, runtime, positions)


def _dino() -> Any:
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(patch_size=8), add_pooling_layer=False)


_RANDOM: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "random": ("ViT-B/8", _dino),
    "random_deit": ("DeiT-S/16", deit),
}


def _load(path: Path) -> Any:
    """From a folder of transformers, or from the one file that the authors of MAE or DeiT have."""
    import transformers

    if path.is_file():
        weights = weights_in(path, "model")
        if "dist_token" in weights:  # which no other has
            return load_deit(weights, path)
        return load_mae(weights, path)
    with reading(path):
        name, options = _class_of(path)
    return stock(getattr(transformers, name), path, attn_implementation="sdpa", **options)


def _class_of(folder: Path) -> tuple[str, Mapping[str, Any]]:
    config = parse(regular(folder / "config.json").read_bytes())
    kind = config.get("model_type")
    if kind not in _CLASSES:
        raise ValueError(f"config.json says model type {kind!r}, not {' or '.join(_CLASSES)}")
    return _CLASSES[kind]
