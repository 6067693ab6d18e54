"""CASS: DINO's graphs of objects in CLIP's last block, and texts drawn to what a picture shows.

Kim, Ju, Han, Yang and Hwang, "Distilling Spectral Graph for Object-Context Aware Open-Vocabulary
Semantic Segmentation", CVPR 2025; released code: github.com/MICV-yonsei/CASS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.parts.affinity import gaussian_neighbourhood
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.spectra import with_graphs_of
from ovbench.adapters.parts.vfm import for_imagenet, shown
from ovbench.errors import UsageError
from ovbench.harness.contract.card import RANDOM, MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, require_shares, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.last_block import own_attention
from ovbench.models.clip.trunk import Heads, on_grid
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.windows import Windows
from ovbench.models.weights.catalogue import look_up

TOP = 2  # released code, _compute_topk_similarities
WRONG_MEAN, WRONG_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.255)


@dataclass(frozen=True)
class CASSSettings(DenseCLIPSettings):
    """Settings of :class:`CASS`."""

    dino: str = setting(
        "dino_vitb8",
        "released code, dino_type",
        "which DINO gives the graphs, or random",
        picks="dino/{dino}",
    )
    picture: Literal["right", "released"] = setting(
        "right",
        "our choice; the released code, inv_normalize, takes ImageNet's statistics for CLIP's, one "
        "of them mistyped, and lets bytes overflow",
        "how DINO's picture is made from CLIP's",
    )
    pairing: Literal["right", "released"] = setting(
        "right",
        "paper; the released code, custom_attn, swaps the two heads of a pair",
        "which of DINO's heads goes with one of CLIP's",
    )
    rank: int | None = setting(
        10,
        "released code, optimal_q, whose test is always passed at its first rank; none is what it "
        "tests for: 95 % of the sum of all singular values",
        "how many singular values of DINO's graphs are kept",
        most=MANY,
    )
    stretch: bool = setting(
        True,
        "released code, _scale_singular_values: not on VOC20 and Cityscapes",
        "spread the singular values that are kept",
    )
    graph_weight: float = setting(
        10.0,
        "released code, scale_factor",
        "weight of DINO's graph, times how different a pair's spectra are; CLIP's has 1",
        least=0,
        most=FACTOR,
    )
    sigma: float = setting(
        5.0,
        "released code, gaussian_std",
        "of the Gaussian over neighbours, in patches",
        most=SIDE,
    )
    image_weight: float = setting(
        0.25,
        "released code, global_semantics_weight, on Context; another on every set",
        "share of a text's cosine with the whole image in its scores",
    )
    text_shift: float = setting(
        0.04,
        "released code, mean_vector_weight, on Context; another on every set",
        "how far a cluster's likeliest text is drawn to the patches nearest to it",
    )
    cluster_below: float = setting(
        0.09,
        "released code, h_threshold, on Context; another on every set",
        "texts are one cluster up to this Ward distance of their cosine distances",
        least=0,
        most=FACTOR,
    )
    class_token: Literal["image", "window"] = setting(
        "image",
        "released code, forward_slide: window on Cityscapes",
        "whose class token tells what the image shows",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma <= 0 or (self.rank is not None and self.rank < 1):
            raise ValueError("sigma and rank must be positive")
        require_shares(self, "image_weight", "text_shift")


def _set(image: float, shift: float, below: float, **others: Any) -> dict[str, Any]:
    return {"image_weight": image, "text_shift": shift, "cluster_below": below, **others}


class CASS(DenseCLIP):
    """Keys look at keys, in graphs that are mostly DINO's; only what they find is kept."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CASS: spectral graphs of DINO in CLIP's last block",
        kind="training-free",
        paper="Kim et al., CVPR",
        year=2025,
        backbones=("CLIP", "DINO"),
        weights=("clip/ViT-B-16 openai", "dino/dino_vitb8"),
        code_licence="none stated",
    )
    Settings = CASSSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "plus_pamr": {"pamr_iterations": 10},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="sclip",
        source="released code, configs/",
        common={"picture": "released", "pairing": "released"},
        voc21=_set(0.1, 0.03, 0.1, window=0, background_threshold=0.1),
        context60=_set(0.25, 0.04, 0.09, background_threshold=0.1),
        cocoobject=_set(0.25, 0.01, 0.1, background_threshold=0.1),
        voc20=_set(0.4, 0.02, 0.1, stretch=False),
        context59=_set(0.25, 0.04, 0.09),
        cocostuff=_set(0.2, 0.02, 0.02),
        ade20k=_set(0.3, 0.05, 0.06),
        cityscapes=_set(0.1, 0.03, 0.14, stretch=False, class_token="window", short_side=560),
    )
    settings: CASSSettings

    def __init__(self, settings: CASSSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        if settings.dino != RANDOM:
            look_up("dino", settings.dino)  # a miniature would stand for any word
        self._dino = load_patch_encoder("dino", settings.dino, runtime, "dino")
        self.checkpoints = (*self.checkpoints, *self._dino.checkpoints)
        if settings.pairing == "released" and self.clip.heads != self._dino.heads:
            raise UsageError(
                f"pairing=released needs as many heads in both: {self.clip.checkpoint.name} has "
                f"{self.clip.heads}, {settings.dino} has {self._dino.heads}"
            )

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary, and find those that mean much the same."""
        super().prepare(vocabulary)
        clusters = np.ones(len(self.text), dtype=np.intp)
        if len(clusters) > 1:
            distances = pdist(self.text.cpu().double().numpy(), "cosine").clip(min=0)
            tree = linkage(distances, "ward")
            clusters = fcluster(tree, self.settings.cluster_below, criterion="distance")
        same = torch.from_numpy(clusters - 1) == torch.arange(clusters.max())[:, None]
        self._clusters = same.to(self.text.device)  # (clusters, Q)

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        trunk = self.clip.trunk(windows, positions=self.settings.positions)
        found = self._found(trunk.heads(), self._dino_keys(windows))
        return on_grid(trunk.joint(trunk.mixed(found)), trunk.grid)

    def _maps(self, inputs: Sequence[Tensor], windows: Sequence[Windows]) -> list[Tensor]:
        features = self._by_window(inputs, windows, self.features)
        with stage("encode"):
            if self.settings.class_token == "window":
                shown = self._by_window(inputs, windows, self._class_tokens)
            else:
                shown = [self._class_tokens(image[None]) for image in inputs]
        return [self._scores(*pair) for pair in zip(features, shown, strict=True)]

    def _class_tokens(self, images: Tensor) -> Tensor:
        """CLIP's own, of pictures of any shape, ``(B, d)``."""
        positions = self.settings.positions
        return self.clip.attended_features(images, own_attention, positions=positions)[1]

    def _scores(self, features: Tensor, class_tokens: Tensor) -> Tensor:
        """``(n, Q, h, w)`` of one image's windows; class tokens ``(n, d)`` or ``(1, d)``."""
        features = normalize(features, dim=1)
        of_image = (normalize(class_tokens, dim=-1) @ self.text.T).expand(len(features), -1)
        texts = self._drawn(features.flatten(2).mT, of_image)
        cosines = torch.einsum("nqd,ndhw->nqhw", texts, features)
        share = self.settings.image_weight
        return (1 - share) * cosines + share * of_image[..., None, None]

    def _drawn(self, patches: Tensor, of_image: Tensor) -> Tensor:
        """The texts for every window, ``(n, Q, d)``: one per cluster is drawn to its patches.

        Args:
            patches: ``(n, places, d)``, normalised.
            of_image: cosines of the texts with what the image shows, ``(n, Q)``.
        """
        likeliest = of_image[:, None].masked_fill(~self._clusters, -torch.inf).argmax(-1)
        texts = self.text[likeliest]  # (n, clusters, d)
        nearest = (texts @ patches.mT).topk(min(TOP, patches.shape[1])).indices
        window = torch.arange(len(patches), device=patches.device)[:, None, None]
        towards = normalize(patches[window, nearest].mean(2), dim=-1)
        texts = normalize(texts.lerp(towards, self.settings.text_shift), dim=-1)
        drawn = self.text.repeat(len(patches), 1, 1)
        return drawn.scatter_(1, likeliest[..., None].expand_as(texts), texts)

    def _dino_keys(self, windows: Tensor) -> Tensor:
        """DINO's last keys of the windows as squares, ``(n, heads, channels, h, w)``."""
        clip, dino = self.clip, self._dino
        if self.settings.picture == "right":
            pixels = shown(windows, clip.mean, clip.std)
        else:  # to bytes, by NumPy: what is behind the point and what is above 255 are cut off
            wrong = shown(windows, WRONG_MEAN, WRONG_STD)
            pixels = (wrong * 255).trunc().remainder(256) / 255
        side = max(min(windows.shape[2:]), dino.patch_size)
        if windows.shape[2:] != (side, side):
            pixels = interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        side -= side % dino.patch_size
        keys = dino.features(for_imagenet(pixels[..., :side, :side]), facet="key")
        return keys.reshape(len(keys), dino.heads, -1, *keys.shape[2:])

    def _found(self, heads: Heads, dino_keys: Tensor) -> Tensor:
        """What patches take from patches, ``(B, heads, h * w, d)``; the class token is left out.

        Args:
            dino_keys: ``(B, heads, channels, h', w')``.
        """
        settings, grid = self.settings, heads.grid
        keys, values = heads.key[:, :, 1:].float(), heads.value[:, :, 1:]
        there = interpolate(dino_keys.flatten(1, 2), grid, mode="bilinear")
        graphs = with_graphs_of(
            there.reshape(*dino_keys.shape[:3], -1).mT,
            keys,
            weight=settings.graph_weight,
            swapped=settings.pairing == "released",
            rank=settings.rank,
            stretch=settings.stretch,
        )
        near = gaussian_neighbourhood(grid, settings.sigma).to(graphs)
        return (graphs + near).softmax(dim=-1).to(values.dtype) @ values
