"""Masks of one image: ovbench against segment-anything's and transformers' own generators.

    python -m benchmarks.regions [--side 6] [--pass-share 0.3]

A SAM and a SAM 2 with their official decoders (256 channels, 64x64 places, input 1024), random
weights and small image encoders, so that the prompts are most of it. Predicted IoU of random
weights means nothing: the threshold is put where so many masks pass as are told, and boxes are all
kept. Masks are compared before anything is timed. Contestants take turns; CPU seconds, medians.
Peak memory is that of a fresh process for each, less what it had before. The second method finds
the masks in the cache that the first one left.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from benchmarks.comparison import Row, in_turn, peak_mib, show
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import peak_memory
from ovbench.models.regions.maps import MaskArray
from ovbench.models.regions.sam_grids import Sam2Grid, SamGrid
from ovbench.models.regions.store import Regions
from ovbench.models.sam.model import Sam, SamConfig, build_sam
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.models.sam.proposals import point_grid
from ovbench.models.sam.sam2 import Sam2

SIZE = 640
OTHERS = {"SAM": "segment-anything", "SAM 2": "transformers"}
Contestant = Callable[[], MaskArray]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--side", type=int, default=6, help="points a side")
    parser.add_argument("--pass-share", type=float, default=0.3, help="of the masks")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory_of:
        network, maker, threshold = asked.memory_of
        print(own_peak(contestants(grid_of(network, asked.side, float(threshold)))[maker]))
        return
    show(rows(asked.side, asked.pass_share, asked.repeats))


def rows(side: int = 6, pass_share: float = 0.3, repeats: int = 2) -> Iterator[Row]:
    """Seconds and MiB an image, made and read."""
    for network, other in OTHERS.items():
        threshold = threshold_of(network, side, pass_share)
        makers = contestants(grid_of(network, side, threshold))
        agreed = agreement(*(make() for make in makers.values()))
        if agreed < 0.999:
            raise SystemExit(f"{network}: only {agreed:.3%} of the pixels agree with {other}'s")
        spent = in_turn(makers, repeats, clock=time.process_time)
        name = f"{network}, {side}x{side} points"
        count = len(makers["ovbench"]())
        row = Row.of(name, other, "s", spent["ovbench"], spent[other])
        yield replace(row, note=f"{count} masks, {100 * agreed:.3f} % of their pixels equal")
        told = ("--side", str(side), "--memory-of", network)
        peaks = {
            maker: [peak_mib("benchmarks.regions", *told, maker, repr(threshold))]
            for maker in makers
        }
        yield Row.of(name, other, "MiB", peaks["ovbench"], peaks[other])
        yield kept(network, grid_of(network, side, threshold), repeats)


def kept(network: str, grid: SamGrid, repeats: int) -> Row:
    """What the second method pays, against making the masks anew."""
    loaded = built(network)
    times: dict[str, list[float]] = {"read": [], "made": []}
    count = size = 0
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["OVBENCH_CACHE"] = folder
            found = []
            for what in ("made", "read"):
                start = time.process_time()
                found += Regions(grid, Runtime(), grid.ready(loaded)).masks([image()])
                times[what].append(time.process_time() - start)
            first, second = found
            if not (first.masks == second.masks).all():
                raise SystemExit(f"{network}: the second method has other masks")
            files = os.scandir(os.path.join(folder, "regions"))
            count, size = len(first.masks), sum(one.stat().st_size for one in files)
    name = f"{network}, the second method"
    note = f"{count} masks in {size / 1000:.0f} kB, equal bit by bit"
    row = Row.of(name, "making them anew", "ms", *(
        [1000 * s for s in times[what][1:]] for what in ("read", "made")
    ))  # fmt: skip
    return replace(row, note=note)


def contestants(grid: SamGrid) -> dict[str, Contestant]:
    """Masks of the image, by ovbench and by the other."""
    network = "SAM 2" if isinstance(grid, Sam2Grid) else "SAM"
    loaded = built(network)
    ready = grid.ready(loaded)
    other = segment_anything if network == "SAM" else transformers
    return {"ovbench": lambda: ready.masks(image())[0], OTHERS[network]: other(loaded, grid)}


def segment_anything(loaded: Any, grid: SamGrid) -> Contestant:
    """Its own generator, without crops."""
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(
        loaded.model, grid.points_per_side, 64, grid.predicted_iou, 0.0, box_nms_thresh=1.0
    )
    return lambda: np.stack([one["segmentation"] for one in generator.generate(image())])


def transformers(loaded: Any, grid: SamGrid) -> Contestant:
    """Its pipeline, without crops."""
    from transformers import MaskGenerationPipeline, Sam2ImageProcessor

    size = {"height": loaded.image_size, "width": loaded.image_size}
    pipeline = MaskGenerationPipeline(
        model=loaded.model, image_processor=Sam2ImageProcessor(size=size)
    )
    picture, options = Pillow.fromarray(image()), {
        "points_per_crop": grid.points_per_side,
        "pred_iou_thresh": grid.predicted_iou,
        "stability_score_thresh": 0.0,
        "crops_nms_thresh": 1.0,
    }  # fmt: skip
    return lambda: np.stack(pipeline(picture, **options)["masks"])


@cache
def image() -> Image:
    """A square, since transformers' pipeline puts its points in one."""
    small = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    return np.asarray(Pillow.fromarray(small).resize((SIZE, SIZE)))


@cache
def built(network: str) -> PromptableSegmenter:
    """With random weights, so large that points matter."""
    torch.manual_seed(0)
    if network == "SAM":
        return Sam(scattered(build_sam(SamConfig(32, 1, 1, (0,)))), (), Runtime())
    from transformers import Sam2Config, Sam2Model

    hiera: dict[str, Any] = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 16, "blocks_per_stage": [1, 1, 1, 1],
        "embed_dim_per_stage": [16, 32, 64, 128], "num_attention_heads_per_stage": [1, 1, 1, 1],
        "global_attention_blocks": [],
    }  # fmt: skip
    vision = {"backbone_config": hiera, "backbone_channel_list": [128, 64, 32, 16]}
    return Sam2(scattered(Sam2Model(Sam2Config(vision_config=vision))), (), Runtime())


def scattered(model: Any) -> Any:
    """Larger weights in the decoder than a network is made with."""
    with torch.no_grad():
        for name, weight in model.mask_decoder.named_parameters():
            if weight.ndim > 1 and "norm" not in name:
                weight.mul_(2)
    return model


def grid_of(network: str, side: int, threshold: float) -> SamGrid:
    """All boxes are kept, of masks whose predicted IoU is above the threshold."""
    kind = SamGrid if network == "SAM" else Sam2Grid
    return kind("random", side, threshold, 0.0, 1.0)


def threshold_of(network: str, side: int, pass_share: float) -> float:
    """Of predicted IoU, that about so many masks pass; rounding moves none across."""
    loaded = built(network)
    encoded = loaded.encode(image())
    places = loaded.to_input(point_grid(side, encoded.size).numpy(), encoded).float()[:, None]
    labels = torch.ones(places.shape[:2], dtype=torch.int)
    iou = loaded.decode_many(encoded, points=places, labels=labels).iou.flatten().sort().values
    passes = int(len(iou) * (1 - pass_share))
    first = max(passes - 10, 0)
    widest = first + int(iou[first : passes + 10].diff().argmax())
    return float(iou[widest : widest + 2].mean())


def agreement(ours: MaskArray, theirs: MaskArray) -> float:
    """Share of equal pixels; none where the masks are not as many."""
    return float((ours == theirs).mean()) if ours.shape == theirs.shape else 0.0


def own_peak(make: Contestant) -> int:
    """Growth of this process's peak resident memory."""
    before = peak_memory("cpu").rss or 0
    make()
    return (peak_memory("cpu").rss or 0) - before


if __name__ == "__main__":
    main()
