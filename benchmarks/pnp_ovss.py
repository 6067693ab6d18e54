"""Time PnP-OVSS against a straightforward loop over the paper's text.

    python -m benchmarks.pnp_ovss [--device cuda] [--small]

Both run the same BLIP, large by default and with random weights, whose salience is noise; it
serves for timing and agreement. The loop is what one would write from the paper with
transformers, SciPy and pydensecrf: one image at a time, a backward pass through all of BLIP in
each round, one plane at a time. Every contestant has a process of its own, one after the other and
anew at every turn, so that no more than one BLIP is in memory; it answers once before it is timed,
and no row is given unless those answers agree.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from benchmarks.comparison import ROOT, Row, show
from ovbench.adapters.pnp_ovss import PnPOVSS
from ovbench.adapters.pnp_ovss.settings import PnPOVSSSettings
from ovbench.harness.contract.runtime import CheckpointRecord, Precision, Runtime
from ovbench.harness.contract.stages import measure, peak_memory
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.matchers.blip import BLIP
from ovbench.models.matchers.matcher import Normalisation

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "table",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PREFIX = ["a", "picture", "of"]
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
DROPS, THRESHOLD, BLUR = 4, 0.15, 0.05


def main() -> None:
    """Print the rows, and where the time goes; or be a contestant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=4, help="also the batch")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a tiny BLIP, to try the script")
    parser.add_argument("--be", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.be:
        who, batch, file = asked.be
        contest(who, int(batch), asked.images, asked.device, asked.small, Path(file))
    else:
        show(rows(asked.images, asked.repeats, asked.device, small=asked.small))


def rows(
    count: int = 4, repeats: int = 1, device: str = "cpu", *, small: bool = False
) -> Iterator[Row]:
    """Seconds an image; stages go to stderr."""
    contestants = {
        "loop": ("loop", 1),
        "fp32, batch 1": ("fp32", 1),
        f"fp32, batch {count}": ("fp32", count),
        f"bf16, batch {count}": ("bf16", count),
    }
    turns: dict[str, list[Turn]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, (who, batch) in contestants.items():
            turns[name].append(turn(who, batch, count, device, small))
    loops = turns.pop("loop")
    same = {name: agreement(found[0].labels, loops[0].labels) for name, found in turns.items()}
    # The salience of random weights is noise, and the tiny model's CRF refines little else.
    if same["fp32, batch 1"] < (0.99 if small else 0.999):
        raise SystemExit(f"only {same['fp32, batch 1']:.3%} of the labels agree")
    for name, ours in turns.items():
        row = Row.of(name, "loop", "s", [t.wall for t in ours], [t.wall for t in loops])
        cores = median(t.cores for t in loops) / median(t.cores for t in ours)
        note = f"{same[name]:.3%} of the labels; by processor time {cores:.3g}"
        yield replace(row, note=note)
    for name, ours in turns.items():
        yield Row.of(name, "loop", "MiB", [t.mib for t in ours], [t.mib for t in loops])


@dataclass(frozen=True, slots=True)
class Turn:
    """What a contestant took.

    Attributes:
        labels: its answers.
        wall: seconds an image.
        cores: seconds of cores an image.
        mib: its process's peak.
    """

    labels: Sequence[Labels]
    wall: float
    cores: float
    mib: float


def turn(who: str, batch: int, count: int, device: str, small: bool) -> Turn:
    """A contestant in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.npz"
        words = ["--be", who, str(batch), str(file), "--images", str(count), "--device", device]
        command = [sys.executable, "-m", "benchmarks.pnp_ovss", *words, *["--small"] * small]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        with np.load(file) as found:
            labels = [found[name] for name in found.files]
    return Turn(labels, *json.loads(done.stdout.splitlines()[-1]))


def contest(who: str, batch: int, count: int, device: str, small: bool, file: Path) -> None:
    """Answer into a file, then print seconds an image, those of cores, and the peak as MiB."""
    model, side, layer, head = (small_blip(), 96, 2, 2) if small else (large_blip(), 336, 8, 10)
    images = [made(number) for number in range(count)]
    segment: Callable[[Sequence[Pixels]], Sequence[Labels]]
    if who == "loop":
        loop = Loop(model, side, layer, head, device)
        segment = lambda pictures: [loop.segment(picture) for picture in pictures]  # noqa: E731
    else:
        method = built(model, (side, layer, head), "bf16" if who == "bf16" else "fp32", device)
        segment = method.segment
    del model
    np.savez(file, *answers(segment, images, batch))
    if who == "fp32" and batch == count:
        Console(width=100, stderr=True).print(stages(method, images, device))
    begin = time.perf_counter(), time.process_time()
    answers(segment, images, batch)
    took = time.perf_counter() - begin[0], time.process_time() - begin[1]
    peak = (peak_memory(device).rss or 0) / 2**20
    print(json.dumps([took[0] / count, took[1] / count, peak]))


def answers(
    segment: Callable[[Sequence[Pixels]], Sequence[Labels]], images: Sequence[Pixels], batch: int
) -> list[Labels]:
    """Label maps, so many images at a time."""
    return [
        labels
        for start in range(0, len(images), batch)
        for labels in segment(images[start : start + batch])
    ]


def built(model: Any, place: tuple[int, int, int], precision: Precision, device: str) -> PnPOVSS:
    """ovbench's method around a BLIP.

    Args:
        place: the picture's side, and the text's layer and head.
    """
    side, layer, head = place
    runtime = Runtime(device, precision)
    record = CheckpointRecord("blip", "random weights", None, None)
    settings = PnPOVSSSettings(
        resolution=side, layer=layer, head=head, threshold=THRESHOLD, blur=BLUR, drops=DROPS
    )
    matcher = BLIP(model, tokenizer(), Normalisation(MEAN, STD), (record,), runtime)
    method = PnPOVSS(settings, runtime, matcher)
    method.prepare(Vocabulary.of(*NAMES, background=True))
    return method


class Loop:
    """PnP-OVSS as the paper tells it, one image at a time."""

    def __init__(self, model: Any, side: int, layer: int, head: int, device: str) -> None:
        self.model = model.to(device).requires_grad_(True)
        for weight in self.model.parameters():  # as zero_grad does, a round earlier
            weight.register_post_accumulate_grad_hook(_forget)
        self.side, self.head, self.device = side, head - 1, device
        self.patch = model.config.vision_config.patch_size
        self.grid = side // self.patch
        self.attention = self.model.text_encoder.encoder.layer[layer - 1].crossattention.self
        self.tokens = tokenizer()(" ".join([*PREFIX, *NAMES]), return_tensors="pt").to(device)
        self.tokens.input_ids[:, 0] = model.config.text_config.vocab_size - 1  # [ENC]

    def segment(self, image: Pixels) -> Labels:
        """Rounds of salience, then masks, blur and CRF."""
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in (MEAN, STD))
        pixels = torch.tensor(image, device=self.device).permute(2, 0, 1)[None].float()
        size = (self.side, self.side)
        pixels = functional.interpolate(pixels, size, mode="bicubic", antialias=True)
        pixels = pixels.clamp(0, 255) / 255
        kept = torch.ones(self.grid, self.grid, dtype=torch.bool, device=self.device)
        total: Tensor | None = None
        for _ in range(DROPS + 1):
            maps = self.salience((pixels - mean) / std) * kept
            total = maps if total is None else total + maps
            salience = maps.sum(dim=0).masked_fill(~kept, -1).flatten()
            order = salience.argsort(descending=True, stable=True)
            for index in order[: int(kept.sum()) // 2].tolist():
                row, column = divmod(index, self.grid)
                kept[row, column] = False
                rows = slice(row * self.patch, (row + 1) * self.patch)
                pixels[:, :, rows, column * self.patch : (column + 1) * self.patch] = 0
        assert total is not None
        return self.label(total, image)

    def salience(self, pixels: Tensor) -> Tensor:
        """Attention times its positive gradient, averaged over the pieces of each name."""
        seen: list[Tensor] = []

        def keep(_: Any, __: Any, output: Any) -> None:
            output[1].retain_grad()
            seen.append(output[1])

        hook = self.attention.register_forward_hook(keep)
        states = self.model.vision_model(pixels, interpolate_pos_encoding=True)
        text = self.model.text_encoder(
            input_ids=self.tokens.input_ids,
            attention_mask=self.tokens.attention_mask,
            encoder_hidden_states=states.last_hidden_state,
        )
        self.model.itm_head(text.last_hidden_state[:, 0])[:, 1].sum().backward()
        hook.remove()
        (attention,) = seen
        assert attention.grad is not None
        product = (attention * attention.grad.clamp(min=0))[0, self.head, :, 1:].detach()
        product = product.reshape(-1, self.grid, self.grid)
        maps, begin = [], 1 + len(pieces(PREFIX))
        for name in NAMES:
            end = begin + len(pieces([name]))
            maps.append(product[begin:end].mean(dim=0))
            begin = end
        return torch.stack(maps)

    def label(self, maps: Tensor, image: Pixels) -> Labels:
        """Threshold, enlarge, blur, CRF, arg-max."""
        import pydensecrf.densecrf as dcrf
        from pydensecrf.utils import unary_from_softmax
        from scipy.ndimage import gaussian_filter

        height, width = image.shape[:2]
        planes = []
        for mask in (maps / maps.max() >= THRESHOLD).float().cpu():
            plane = functional.interpolate(mask[None, None], (height, width), mode="bilinear")
            blurred = gaussian_filter(plane[0, 0].numpy(), BLUR * max(height, width))
            spread = blurred.max() - blurred.min()
            planes.append((blurred - blurred.min()) / spread if spread else blurred)
        background = np.clip(1 - np.sum(planes, axis=0), 0, None)
        unary = unary_from_softmax(np.stack([background, *planes]))
        model = dcrf.DenseCRF2D(width, height, len(NAMES) + 1)
        model.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
        model.addPairwiseGaussian(sxy=3, compat=7)
        model.addPairwiseBilateral(sxy=50, srgb=5, rgbim=image, compat=10)
        labels: Labels = np.array(model.inference(10)).argmax(axis=0).reshape(height, width)
        return labels


def _forget(weight: Tensor) -> None:
    """Nobody asks for a weight's gradient: all of them at once take as much as the weights."""
    weight.grad = None


def large_blip() -> Any:
    """The configuration of Salesforce/blip-itm-large-*, with random weights."""
    return random_blip((1024, 4096, 24, 16, 384, 16), (768, 3072, 12, 12))


def small_blip() -> Any:
    """Something that answers at once."""
    return random_blip((64, 128, 2, 4, 96, 8), (64, 128, 3, 4))


def random_blip(vision: tuple[int, ...], text: tuple[int, ...]) -> Any:
    """Widths, inner widths, layers and heads; of the image also its side and its patch."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    fields = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = BlipConfig(
        vision_config=dict(zip((*fields, "image_size", "patch_size"), vision, strict=True))
        | {"initializer_range": 0.02},
        text_config=dict(zip(fields, text, strict=True))
        | {"vocab_size": 30524, "initializer_range": 0.05},
    )
    torch.manual_seed(0)
    return BlipForImageTextRetrieval(config).eval()


def tokenizer() -> Any:
    """BERT's class and special ids; the names are words, or in two pieces where long."""
    from transformers import BertTokenizer

    words = [piece for word in (*PREFIX, *NAMES) for piece in pieces([word])]
    return BertTokenizer(vocab=SPECIAL | {w: 1000 + i for i, w in enumerate(dict.fromkeys(words))})


def pieces(words: Sequence[str]) -> list[str]:
    """As the tokenizer cuts them."""
    cut = [[word[:6], f"##{word[6:]}"] if len(word) > 6 else [word] for word in words]
    return [piece for parts in cut for piece in parts]


def made(number: int) -> Pixels:
    """Coloured patches with noise, as large as a photograph of PASCAL VOC."""
    rng = np.random.default_rng(number)
    rough = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
    image = np.array(rough.resize((500, 375), Image.Resampling.BICUBIC))
    return (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)


def agreement(one: Sequence[Labels], other: Sequence[Labels]) -> float:
    """Share of equal labels."""
    return float(np.mean([(a == b).mean() for a, b in zip(one, other, strict=True)]))


def stages(method: PnPOVSS, images: Sequence[Pixels], device: str) -> Table:
    """Shares of the time of one batch."""
    with measure(device) as spent:
        method.segment(images)
    table = Table(title=f"stages, fp32, batch {len(images)}")
    table.add_column("stage")
    table.add_column("share", justify="right")
    for name, seconds in sorted(spent.stages_s.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{seconds / spent.total_s:.1%}")
    return table


if __name__ == "__main__":
    main()
