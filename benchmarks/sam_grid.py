"""Masks for a grid of points: ovbench against segment-anything's own generator.

    python -m benchmarks.sam_grid [--side 5] [--pass-share 0.3]

A SAM of the official decoder (256 channels, 64x64 places, input 1024) with random weights and a
small image encoder, which is not timed. Predicted IoU of random weights means nothing: the
threshold is put where so many masks pass as are told. Masks are compared before anything is timed.
Contestants take turns; CPU seconds, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator

from benchmarks.comparison import Row, in_turn, show
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.model import Sam, SamConfig, build_sam
from ovbench.models.sam.promptable import EncodedImage
from ovbench.models.sam.proposals import ProposalSettings, point_grid, propose

SIZE = (768, 1024)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--side", type=int, default=5, help="points a side")
    parser.add_argument("--pass-share", type=float, default=0.3, help="of the masks")
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    show(rows(asked.side, asked.pass_share, asked.repeats))


def rows(side: int = 5, pass_share: float = 0.3, repeats: int = 2) -> Iterator[Row]:
    """Milliseconds of processor time a prompt, of the decoder and of all proposals."""
    torch.manual_seed(0)
    sam = Sam(build_sam(SamConfig(32, 1, 1, (0,))), (), Runtime())
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    encoded = sam.encode(image)
    encoded = EncodedImage(torch.randn_like(encoded.features), encoded.size, encoded.input_size)
    prompts = point_prompts(sam, encoded, side)
    threshold = float(sam.decode_many(encoded, **prompts).iou.quantile(1 - pass_share))
    settings = ProposalSettings(side, 64, threshold, 0.0, 1.0, 1.0)
    generator = SamAutomaticMaskGenerator(sam.model, side, 64, threshold, 0.0, box_nms_thresh=1.0)
    generator.predictor.set_image(image)
    generator.predictor.features = encoded.features
    generator.predictor.set_image = generator.predictor.reset_image = lambda *_, **__: None
    same = agreement(propose(sam, encoded, settings).masks, generator.generate(image))
    if same < 0.9999:
        raise SystemExit(f"only {same:.3%} of the masks' pixels agree with the generator's")
    theirs = "segment-anything"
    decoders: dict[str, Callable[[], Any]] = {
        "ovbench": lambda: sam.decode_many(encoded, **prompts),
        theirs: lambda: sam.decode(encoded, **prompts),
    }
    proposals: dict[str, Callable[[], Any]] = {
        "ovbench": lambda: propose(sam, encoded, settings),
        theirs: lambda: generator.generate(image),
    }
    for name, calls in (
        ("decoder, all masks", decoders),
        ("proposals, as of its generator without crops", proposals),
    ):
        spent = in_turn(calls, repeats, clock=time.process_time, per_second=1000 / side**2)
        yield Row.of(name, theirs, "ms", spent["ovbench"], spent[theirs])


def point_prompts(sam: Sam, encoded: EncodedImage, side: int) -> Mapping[str, Any]:
    """A point in the middle of every cell."""
    places = sam.to_input(point_grid(side, encoded.size).numpy(), encoded).float()[:, None]
    return {"points": places, "labels": torch.ones(places.shape[:2], dtype=torch.int)}


def agreement(ours: Any, theirs: list[dict[str, Any]]) -> float:
    """Share of equal pixels; none where the masks are not as many."""
    if len(ours) != len(theirs):
        return 0.0
    return float(np.mean([a == b["segmentation"] for a, b in zip(ours, theirs, strict=True)]))


if __name__ == "__main__":
    main()
