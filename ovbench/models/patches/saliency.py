"""Unsupervised saliency: which pixels belong to objects, whatever their class.

FOUND (Siméoni et al., "Unsupervised Object Localization: Observing the Background to Discover
Objects", CVPR 2023; code: valeoai/FOUND): a 1x1 convolution on the keys of the last attention
of a frozen DINO ViT-S/8, and a sigmoid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.regular import regular
from ovbench.models.patches.encoder import PatchEncoder, load_patch_encoder
from ovbench.models.precision import frozen
from ovbench.models.weights.checkpoints import locate

ROLE = "saliency"
BACKBONE = "dino_vits8"
"""What the released head was trained on, by its name in the catalogue."""

_UNREADABLE = (OSError, RuntimeError, KeyError, EOFError, UnpicklingError, SafetensorError)


class Saliency:
    """A frozen patch encoder and a head that tells foreground from background.

    The encoder computes in the runtime's precision, the head in float32.

    Attributes:
        checkpoints: of the encoder and of the head.
        mean, std: per channel, of pixels scaled to 0..1, as the encoder was trained.
        patch_size: pixels per patch, along both axes.
    """

    def __init__(
        self, encoder: PatchEncoder, head: nn.Conv2d, checkpoints: tuple[CheckpointRecord, ...]
    ) -> None:
        """Put built parts together.

        Args:
            head: a 1x1 convolution from the encoder's width to one channel; it is frozen and
                moved in place.
            checkpoints: of the head.
        """
        if head.in_channels != encoder.width:
            raise ValueError(f"{head.in_channels} channels for an encoder of {encoder.width}")
        self._encoder = encoder
        self._head = frozen(head, encoder.device)
        self.checkpoints = (*encoder.checkpoints, *checkpoints)
        self.device = encoder.device
        self.mean, self.std = encoder.mean, encoder.std
        self.patch_size = encoder.patch_size

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """How probably each pixel is foreground; FOUND calls it so above 0.5.

        Sizes that are no multiple of the patch are padded at the right and at the bottom, and
        logits, not probabilities, are interpolated (bilinear): both as in the released code.

        Args:
            images: ``(B, 3, H, W)``, normalised; any size, FOUND takes the image's own.

        Returns:
            ``(B, H, W)`` float32, 0..1.
        """
        height, width = images.shape[-2:]
        # Zero is the mean colour in a normalised image.
        padded = functional.pad(images, (0, -width % self.patch_size, 0, -height % self.patch_size))
        logits = self._head(self._encoder.features(padded, facet="key"))
        logits = functional.interpolate(
            logits, padded.shape[-2:], mode="bilinear", align_corners=False
        )
        return logits[:, 0, :height, :width].sigmoid()


def load_saliency(name: str, runtime: Runtime) -> Saliency:
    """Load a saliency model: its encoder under the role "dino", its head under "saliency".

    Args:
        name: of the head, in the catalogue, such as ``"found_dino_vits8"``. It is either the
            file that FOUND released or a folder with ``model.safetensors``, which holds
            ``decoder.weight``, ``(1, width, 1, 1)``, and ``decoder.bias``, ``(1,)``.
        runtime: its ``checkpoints`` decide between this and the packaged miniature.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    encoder = load_patch_encoder("dino", BACKBONE, runtime)
    located = locate(ROLE, name, runtime)
    head = load_head(located.path)
    if head.in_channels != encoder.width:
        raise UsageError(
            f"{located.path}: this head is for an encoder with {head.in_channels} channels, "
            f"and {encoder.checkpoints[0].name} has {encoder.width}"
        )
    return Saliency(encoder, head, located.records)


def load_head(path: Path) -> nn.Conv2d:
    """Load the head alone.

    Args:
        path: FOUND's ``decoder_weights.pt``, or a folder with ``model.safetensors``.

    Raises:
        UsageError: unreadable, or not such a head.
    """
    try:
        state = _folder_state(path) if path.is_dir() else _released_state(path)
        head = nn.Conv2d(state["weight"].shape[1], 1, kernel_size=1)
        head.load_state_dict(state)
    except _UNREADABLE:
        raise UsageError(
            f"{path}: missing, damaged or another model's: the head of a saliency model has a "
            "weight of shape (1, width, 1, 1) and a bias of shape (1,); fetch it again"
        ) from None
    return head


def _folder_state(folder: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    state = load_file(regular(folder / "model.safetensors"))
    return {name.removeprefix("decoder."): weight.float() for name, weight in state.items()}


def _released_state(file: Path) -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = torch.load(regular(file), map_location="cpu", weights_only=True)[
        "decoder"
    ]
    return state
