"""What belongs to which weights: the blanks that RIM's settings leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ovbench.adapters.rim.encoders import DenseEncoder
from ovbench.adapters.rim.settings import RIMSettings
from ovbench.errors import UsageError
from ovbench.models.sam.promptable import PromptableSegmenter

PREDICTED_IOU: Mapping[str, float] = {
    # Chosen on validation scenes for its proposals, without a class (ovbench.toyworld.quality).
    "toyworld/sam": 0.6,
}
"""By the checkpoint's name, where segment-anything's default does not suit."""

DEFAULT_PREDICTED_IOU = 0.88


@dataclass(frozen=True)
class Settled(RIMSettings):
    """Settings without blanks: what depends on the weights is filled in.

    Sides are 0 where there is no encoder.
    """

    reference_side: int = 0
    short_side: int = 0
    predicted_iou: float = 0.0

    def __post_init__(self) -> None:
        """Nothing: the values were checked before the blanks were filled in."""


def settle(
    settings: RIMSettings, encoder: DenseEncoder | None, sam: PromptableSegmenter | None
) -> Settled:
    """Fill in what depends on the weights.

    Raises:
        UsageError: a side that the encoder cannot take.
    """
    values = asdict(settings)
    trained_on = encoder.image_size if encoder else 0
    name = sam.checkpoints[0].name if sam else ""
    blanks = {
        "reference_side": trained_on,
        "short_side": trained_on,
        "predicted_iou": PREDICTED_IOU.get(name, DEFAULT_PREDICTED_IOU),
    }
    settled = Settled(**values | {k: v for k, v in blanks.items() if values[k] is None})
    if encoder and settled.reference_side % encoder.cell:
        raise UsageError(
            f"reference_side={settled.reference_side} must be a multiple of {encoder.cell}, the "
            f"patch of {encoder.checkpoints[0].name}"
        )
    return settled
