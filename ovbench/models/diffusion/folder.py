"""From a checkpoint folder in the layout of ``StableDiffusionPipeline`` to its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ovbench.models.weights.pretrained import reading


class Parts(NamedTuple):
    """What a Stable Diffusion is made of, by the names that its pipeline gives them.

    Attributes:
        vae: ``AutoencoderKL``.
        text_encoder: ``CLIPTextModel``.
        tokenizer: ``CLIPTokenizer``.
        unet: ``UNet2DConditionModel``.
        scheduler: the configuration of the checkpoint's scheduler.
    """

    vae: Any
    text_encoder: Any
    tokenizer: Any
    unet: Any
    scheduler: dict[str, Any]


def load_parts(folder: Path) -> Parts:
    """Load all parts; the safety checker, if there is one, is left where it is.

    Raises:
        UsageError: files that are missing, damaged or another model's.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from diffusers.utils import is_accelerate_available
    from transformers import CLIPTextModel, CLIPTokenizer

    # Said expressly, diffusers does not warn that accelerate is not there.
    lean = {"low_cpu_mem_usage": is_accelerate_available()}
    with reading(folder):
        return Parts(
            _model(AutoencoderKL, folder / "vae", **lean),
            _model(CLIPTextModel, folder / "text_encoder"),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            _model(UNet2DConditionModel, folder / "unet", **lean),
            dict(DDIMScheduler.load_config(folder / "scheduler")),  # whichever solver it is for
        )


def _model(model_class: Any, folder: Path, **options: bool) -> Any:
    model, report = model_class.from_pretrained(folder, output_loading_info=True, **options)
    # Both libraries would replace a missing weight by random numbers.
    if report["missing_keys"]:
        raise ValueError(f"{folder.name} has no weights for {min(report['missing_keys'])}")
    return model
