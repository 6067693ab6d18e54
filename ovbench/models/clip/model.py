"""CLIP through open_clip: text embeddings and dense image features in its joint space."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.dense import DenseFeatures, DenseTower, dense_tower
from ovbench.models.clip.kept import KeptTrunk
from ovbench.models.clip.last_block import Attention, attend
from ovbench.models.clip.layers import read_layer
from ovbench.models.clip.pooled import AttentionPool, has_pool
from ovbench.models.clip.region_tokens import RegionTrunk, run_with_regions
from ovbench.models.clip.trunk import Mending, Trunk, plain_transformer, run_trunk
from ovbench.models.ensembling import TEXT_BATCH, TextTower, ensembled
from ovbench.models.patches.encoder import Facet
from ovbench.models.patches.positions import Positions
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.checkpoints import locate, packaged
from ovbench.models.weights.open_clip_tags import config_of, known_architecture
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "clip"


class CLIP:
    """A frozen open_clip model.

    The image tower computes in the runtime's precision; the text tower stays in float32,
    since texts are encoded once and every comparison rests on them.

    Attributes:
        checkpoint: which weights these are.
        mean, std: per channel, of pixels scaled to 0..1, as the model was trained.
        image_size: the side in pixels of the square images it was trained on.
        interpolation: how these were brought to it, such as ``"bicubic"``.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[list[str]], Tensor],
        checkpoint: CheckpointRecord,
        runtime: Runtime,
    ) -> None:
        self._model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self._model.visual.to(self._dtype)
        self._tokenizer = tokenizer
        self.checkpoint = checkpoint
        self.device = torch.device(runtime.device)
        preprocess = self._model.visual.preprocess_cfg
        self.mean: tuple[float, ...] = tuple(preprocess["mean"])
        self.std: tuple[float, ...] = tuple(preprocess["std"])
        self.interpolation: str = preprocess.get("interpolation", "bicubic")
        size = self._model.visual.image_size
        self.image_size: int = size if isinstance(size, int) else min(size)

    @cached_property
    def _tower(self) -> DenseTower:
        return dense_tower(self._model.visual, self.checkpoint.name)

    @cached_property
    def _kept(self) -> KeptTrunk:
        return KeptTrunk(self.visual)

    @property
    def stride(self) -> int:
        """Pixels per location of :meth:`dense_features`, along both axes.

        Raises:
            UsageError: the image tower has no per-location path.
        """
        return self._tower.stride

    @property
    def visual(self) -> Any:
        """The image tower.

        Raises:
            UsageError: it is no plain vision transformer.
        """
        return plain_transformer(self._model.visual, self.checkpoint.name)

    def refuse_without_blocks(self) -> None:
        """Raise UsageError unless the image tower is a plain vision transformer."""
        plain_transformer(self._model.visual, self.checkpoint.name)

    @cached_property
    def pool(self) -> AttentionPool | None:
        """The last attention of a SigLIP's or Perception Encoder's image tower; else None."""
        visual = self._model.visual
        return AttentionPool(visual) if has_pool(visual) else None

    def forget_images(self) -> None:
        """Let go of the image tower, for whoever asks for texts alone."""
        self._model.visual = torch.nn.Identity()

    @property
    def layers(self) -> int:
        """The number of blocks of the image tower.

        Raises:
            UsageError: the image tower is no plain vision transformer.
        """
        return len(self.visual.transformer.resblocks)

    @property
    def heads(self) -> int:
        """Of the attention in the image tower's last block.

        Raises:
            UsageError: the image tower is no plain vision transformer.
        """
        return int(self.visual.transformer.resblocks[-1].attn.num_heads)

    @cached_property
    def joint_width(self) -> int:
        """Of the space that texts and images share."""
        return self.encode_text([""]).shape[1]

    @property
    def logit_scale(self) -> float:
        """The learned factor on cosines before the softmax it was trained with."""
        return float(self._model.logit_scale.exp())

    @property
    def logit_bias(self) -> float | None:
        """What a sigmoid's cosines were trained to have added; None where it was a softmax."""
        bias = getattr(self._model, "logit_bias", None)
        return None if bias is None else float(bias)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str], *, unit: bool = True) -> Tensor:
        """Embed texts; equal ones are computed once.

        Args:
            unit: L2-normalise them.

        Returns:
            ``(n, d)`` float32.
        """
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        unique = list(place)
        embedded = []
        with progress("texts embedded", len(unique)) as advance:
            for start in range(0, len(unique), TEXT_BATCH):
                batch = unique[start : start + TEXT_BATCH]
                embedded.append(self._embedded(*self._tokens(batch)))
                advance(len(batch))
        found = torch.cat(embedded)[[place[text] for text in texts]]
        return functional.normalize(found, dim=-1) if unit else found

    @torch.inference_mode()
    def embed_queries(
        self,
        queries: Sequence[str],
        templates: Sequence[str],
        *,
        unit: bool = True,
        length: bool = False,
    ) -> Tensor:
        """Embed queries by prompt ensembling, as in CLIP's own zero-shot evaluation.

        The answer is kept in the cache, see :func:`~ovbench.models.ensembling.ensembled`.

        Args:
            queries: such as ``"cat"``.
            templates: prompts with ``{}`` for the query.
            unit: normalise the embeddings of templates before their mean, as CLIP does.
            length: leave their mean as long as it is.

        Returns:
            ``(n, d)`` float32: the mean over the templates' embeddings, L2-normalised unless its
            length is asked for.
        """
        tower = TextTower(self._tokens, self._embedded, self._model, without=("visual",))
        return ensembled(tower, queries, templates, unit=unit, length=length).to(self.device)

    def _tokens(self, texts: list[str]) -> tuple[Tensor]:
        return (self._tokenizer(texts),)

    def _embedded(self, tokens: Tensor) -> Tensor:
        """``(n, d)`` float32, of any length."""
        joint: Tensor = self._model.encode_text(tokens.to(self.device))
        return joint

    @torch.inference_mode()
    def encode_image(self, images: Tensor) -> Tensor:
        """Embed whole images.

        Args:
            images: ``(B, 3, H, W)``, normalised; most towers need H = W = :attr:`image_size`.

        Returns:
            ``(B, d)`` float32, L2-normalised.
        """
        pixels = images.to(self.device, self._dtype)
        return functional.normalize(self._model.encode_image(pixels).float(), dim=-1)

    @torch.inference_mode()
    def dense_features(self, images: Tensor, *, residual: bool) -> DenseFeatures:
        """MaskCLIP's value path: a feature per location, without the last attention.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`stride`.
            residual: keep the last block's residual and its MLP, as the released code does;
                False takes the value embedding and the output layer alone, as the paper
                writes. Where the last attention is the one that pools, as in ResNets and SigLIPs,
                and where there is none, both mean the same.

        Raises:
            UsageError: the image tower has no per-location path.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"{height}x{width} is no multiple of the stride {self.stride}")
        return self._tower.encode(images.to(self.device, self._dtype), residual)

    @torch.inference_mode()
    def trunk(
        self,
        images: Tensor,
        *,
        positions: Positions = "exact",
        states: Collection[int] = (),
        attentions: Collection[int] = (),
        mending: Mending | None = None,
    ) -> Trunk:
        """All blocks but the last; see :func:`~ovbench.models.clip.trunk.run_trunk`.

        Where features are kept and nothing is asked of the earlier blocks, they are read if they
        were run before.

        Raises:
            UsageError: the image tower is no plain vision transformer.
        """
        pixels = images.to(self.device, self._dtype)
        if not (states or attentions or mending):
            return self._kept.run(pixels, positions)
        return run_trunk(
            self.visual,
            pixels,
            positions=positions,
            states=states,
            attentions=attentions,
            mending=mending,
        )

    @torch.inference_mode()
    def trunk_with_regions(
        self,
        images: Tensor,
        members: Tensor,
        *,
        average: Collection[int] = (),
        positions: Positions = "exact",
    ) -> RegionTrunk:
        """See :func:`~ovbench.models.clip.region_tokens.run_with_regions`.

        Raises:
            UsageError: the image tower is no plain vision transformer.
        """
        pixels = images.to(self.device, self._dtype)
        return run_with_regions(self.visual, pixels, members, average=average, positions=positions)

    @torch.inference_mode()
    def attended_features(
        self,
        images: Tensor,
        attention: Attention,
        *,
        residual: bool = True,
        mlp: bool = True,
        positions: Positions = "exact",
    ) -> tuple[Tensor, Tensor]:
        """A feature per patch, with another attention in the last block.

        Args:
            images: ``(B, 3, H, W)``, normalised; what a side has over a multiple of
                :attr:`stride` is not seen.
            attention: called with the last block's :class:`~ovbench.blocks.Heads`;
                :func:`~ovbench.blocks.own_attention` is CLIP's own.
            residual: add it to what entered the block, as the block itself does.
            mlp: let the block's MLP follow, with its own residual.
            positions: see :func:`~ovbench.models.patches.positions.resize_positions`.

        Returns:
            ``(B, d, h, w)`` and, of the class token, ``(B, d)``: float32 in CLIP's joint space,
            not normalised.

        Raises:
            UsageError: the image tower is no plain vision transformer.
        """
        trunk = self.trunk(images, positions=positions)
        return attend(trunk, attention, residual=residual, mlp=mlp)

    @torch.inference_mode()
    def patch_features(
        self,
        images: Tensor,
        layer: int = -1,
        facet: Facet = "token",
        positions: Positions = "exact",
    ) -> Tensor:
        """A block's tokens or a projection in its attention, for every patch.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`stride`.
            layer: of the blocks, from 0; negative ones count from the last.
            positions: see :func:`~ovbench.models.patches.positions.resize_positions`.

        Returns:
            ``(B, width, h, w)`` float32, not normalised.

        Raises:
            UsageError: the image tower is no plain vision transformer.
        """
        pixels = images.to(self.device, self._dtype)
        return read_layer(self.visual, pixels, layer, facet, positions)


def load_clip(architecture: str, pretrained: str, runtime: Runtime) -> CLIP:
    """Load a CLIP.

    Args:
        architecture: of open_clip, such as ``"ViT-B-16"``.
        pretrained: open_clip's tag of the weights, such as ``"openai"``, optionally with
            ``@revision`` of their hub repository; or ``"random"`` for seeded random weights,
            which serve to measure speed.
        runtime: its ``checkpoints`` decide between these and the packaged miniature, which
            has its own architecture.

    Raises:
        UsageError: unknown architecture or tag, or weights that cannot be had.
    """
    if runtime.checkpoints == "toy":
        return _load_packaged(runtime)
    architecture = known_architecture(architecture)
    if untrained(pretrained, runtime):
        return _load_random(architecture, runtime)
    return _load_pretrained(architecture, pretrained, runtime)


def _load_packaged(runtime: Runtime) -> CLIP:
    located = packaged(ROLE)
    return _create(f"local-dir:{located.path}", located.records[0], runtime)


def _load_random(architecture: str, runtime: Runtime) -> CLIP:
    record = CheckpointRecord(ROLE, f"{architecture}, random weights", None, None)
    with seeded(runtime):
        return _create(architecture, record, runtime, pretrained_text=False)


def _load_pretrained(architecture: str, pretrained: str, runtime: Runtime) -> CLIP:
    config = config_of(architecture, pretrained.partition("@")[0])
    located = locate(ROLE, f"{architecture} {pretrained}", runtime)
    return _create(
        architecture,
        located.records[0],
        runtime,
        pretrained=str(located.weights[0]),
        # open_clip reads these from its table only when it fetches the weights itself.
        force_quick_gelu=config.get("quick_gelu", False),
        force_preprocess_cfg={
            "mean": config["mean"],
            "std": config["std"],
            "interpolation": config.get("interpolation", "bicubic"),
        },
    )


def _create(name: str, record: CheckpointRecord, runtime: Runtime, **options: Any) -> CLIP:
    import open_clip

    try:
        model = open_clip.create_model(name, weights_only=True, **options)
        tokenizer = open_clip.get_tokenizer(name)
    except OSError as error:  # some text towers take their tokenizer from a second repository
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{record.name}: cannot be loaded: {reason}") from None
    return CLIP(model, tokenizer, record, runtime)
