"""Masks for a grid of points: ovbench against segment-anything's own generator.

    python benchmarks/sam_grid.py [--side 8] [--pass-share 0.3]

A SAM of the official decoder (256 channels, 64x64 places, input 1024) with random weights and a
small image encoder, which is not timed. Predicted IoU of random weights means nothing: the
threshold is put where so many masks pass as are told. Masks are compared before anything is timed.
Contestants take turns; CPU seconds, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from segment_anything import SamAutomaticMaskGenerator

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.model import EncodedImage, Sam, SamConfig, build_sam
from ovbench.models.sam.proposals import ProposalSettings, point_grid, propose

SIZE = (768, 1024)


def main() -> None:
    """Print CPU seconds a prompt, of the decoder and of all proposals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--side", type=int, default=8, help="points a side")
    parser.add_argument("--pass-share", type=float, default=0.3, help="of the masks")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.manual_seed(0)
    sam = Sam(build_sam(SamConfig(32, 1, 1, (0,))), (), Runtime())
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    encoded = sam.encode(image)
    encoded = EncodedImage(torch.randn_like(encoded.features), encoded.size, encoded.input_size)
    prompts = point_prompts(sam, encoded, asked.side)
    threshold = float(sam.decode_many(encoded, **prompts).iou.quantile(1 - asked.pass_share))
    settings = ProposalSettings(asked.side, 64, threshold, 0.0, 1.0, 1.0)
    generator = SamAutomaticMaskGenerator(
        sam.model, asked.side, 64, threshold, 0.0, box_nms_thresh=1.0
    )
    generator.predictor.set_image(image)
    generator.predictor.features = encoded.features
    generator.predictor.set_image = generator.predictor.reset_image = lambda *_, **__: None
    same = agreement(propose(sam, encoded, settings).masks, generator.generate(image))
    if same < 0.9999:
        raise SystemExit(f"only {same:.3%} of the masks' pixels agree with the generator's")
    contestants: dict[str, Callable[[], Any]] = {
        "decoder, segment-anything": lambda: sam.decode(encoded, **prompts),
        "decoder, ovbench": lambda: sam.decode_many(encoded, **prompts),
        "proposals, segment-anything": lambda: generator.generate(image),
        "proposals, ovbench": lambda: propose(sam, encoded, settings),
    }
    show(interleaved(contestants, asked.repeats), asked.side**2)


def point_prompts(sam: Sam, encoded: EncodedImage, side: int) -> Mapping[str, Any]:
    """A point in the middle of every cell."""
    places = sam.to_input(point_grid(side, encoded.size).numpy(), encoded).float()[:, None]
    return {"points": places, "labels": torch.ones(places.shape[:2], dtype=torch.int)}


def agreement(ours: Any, theirs: list[dict[str, Any]]) -> float:
    """Share of equal pixels; none where the masks are not as many."""
    if len(ours) != len(theirs):
        return 0.0
    return float(np.mean([a == b["segmentation"] for a, b in zip(ours, theirs, strict=True)]))


def interleaved(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each, taken in turns, behind a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(repeats + 1):
        for name, call in contestants.items():
            start = time.process_time()
            call()
            if run:
                times[name].append(time.process_time() - start)
    return {name: median(spent) for name, spent in times.items()}


def show(times: Mapping[str, float], prompts: int) -> None:
    """A row each, and how many times less ovbench takes."""
    found = Table(title=f"{prompts} prompts, {torch.get_num_threads()} thread(s)")
    for heading in ("", "CPU ms a prompt", "ratio"):
        found.add_column(heading, justify="right" if heading else "left")
    for name, spent in times.items():
        theirs = times[f"{name.partition(',')[0]}, segment-anything"]
        found.add_row(name, f"{spent / prompts * 1000:.1f}", f"{theirs / spent:.2f}")
    Console(width=100).print(found)


if __name__ == "__main__":
    main()
