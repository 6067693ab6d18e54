"""Time the dense-CLIP family over CLIP's own forward pass, and its windows over a plain loop.

    python -m benchmarks.dense_clip [METHOD ...]

ViT-B/16 with random weights; one photograph's size (375 x 500), shorter side 336, windows of 224
every 112, so that six go through the tower. The floor is these six windows through open_clip's own
forward pass, in one batch. The loop is SCLIP as one writes it down: a window at a time through the
tower's own blocks, its scores enlarged to pixels and added up, a softmax over all of them.
Answers are compared before anything is timed. Contestants take turns, and medians are shown. Peak
memory is that of a fresh process for each, less what it had before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.comparison import Row, in_turn, peak_mib, show
from ovbench.adapters.dense_clip.sclip import SCLIP
from ovbench.adapters.parts.dense_clip import DenseCLIP
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import peak_memory
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.names import METHODS
from ovbench.models.pixels.windows import Windows

SIZE, CLASSES = (375, 500), 171
SETTINGS = {"pretrained": "random", "short_side": 336, "window": 224, "window_stride": 112}
OWN: dict[str, dict[str, Any]] = {"proxyclip": {"vfm": "random"}, "cass": {"dino": "random"}}
WORDS = {"forward pass": "open_clip's forward pass", "loop": "a loop over windows"}
Contestant = Callable[[], Any]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("methods", nargs="*", default=family(), metavar="METHOD")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(own_peak(contestant(arguments.memory_of)))
        return
    show(rows(arguments.methods, arguments.repeats))


def rows(methods: Sequence[str] = (), repeats: int = 5) -> Iterator[Row]:
    """Seconds and MiB an image."""
    names = ["forward pass", "loop", *(methods or family())]
    agreement = (contestant("loop")() == contestant("sclip")()).mean()
    if agreement < 0.999:
        raise SystemExit(f"only {agreement:.3%} of the labels agree with the loop's")
    spent = in_turn({name: contestant(name) for name in names}, repeats)
    peaks = {name: peak_mib("benchmarks.dense_clip", "--memory-of", name) for name in names}
    pairs = [("sclip", "loop")] if "sclip" in names else []
    for name, against in [*pairs, *((name, "forward pass") for name in names[1:])]:
        yield Row.of(WORDS.get(name, name), WORDS[against], "s", spent[name], spent[against])
        memory = [peaks[name]], [peaks[against]]
        yield Row.of(WORDS.get(name, name), WORDS[against], "MiB", *memory)


def family() -> list[str]:
    """The registered methods that share the family's windows."""
    ours = {name: e for name, e in METHODS.entries.items() if ".dense_clip." in e.target}
    return [name for name in ours if issubclass(METHODS.load(name), DenseCLIP)]


@cache
def image() -> Image:
    """Noise: nothing here depends on what is seen."""
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@cache
def built(name: str) -> DenseCLIP:
    """A method of the family, asked for all classes."""
    method_class = METHODS.load(name)
    method: DenseCLIP = method_class(
        method_class.Settings(**SETTINGS, **OWN.get(name, {})), Runtime()
    )
    # The texts themselves do not matter here, and 80 templates of 171 names take minutes.
    method.clip.embed_queries = unit_vectors  # type: ignore[method-assign,assignment]
    method.prepare(Vocabulary.of(*(f"class {i}" for i in range(CLASSES))))
    return method


def unit_vectors(queries: Sequence[str], templates: Sequence[str], *, unit: bool = True) -> Tensor:
    """Unit vectors in place of embedded texts."""
    noise = torch.randn(len(queries), 512, generator=torch.Generator().manual_seed(0))
    return functional.normalize(noise, dim=1)


def contestant(name: str) -> Contestant:
    """What is timed."""
    if name == "forward pass":
        return forward_pass
    if name == "loop":
        return partial(looped, built("sclip"))
    method = built(name)
    return lambda: method.segment([image()])[0]


@torch.inference_mode()
def forward_pass() -> Tensor:
    """open_clip's own, of all windows in one batch."""
    method = built("sclip")
    return method.clip.encode_image(cut(method))


def cut(method: DenseCLIP) -> Tensor:
    pixels = method._input(image())
    return Windows.over((pixels.shape[1], pixels.shape[2]), 224, 112).cut(pixels)


@torch.inference_mode()
def looped(method: DenseCLIP) -> LabelMap:
    """SCLIP, a window at a time."""
    assert isinstance(method, SCLIP)
    pixels = method._input(image())[None]
    height, width = pixels.shape[2:]
    total, count = torch.zeros(1, CLASSES, height, width), torch.zeros(1, 1, height, width)
    for row in range(max(height - 224 + 111, 0) // 112 + 1):
        for column in range(max(width - 224 + 111, 0) // 112 + 1):
            bottom, right = min(row * 112 + 224, height), min(column * 112 + 224, width)
            place = (..., slice(max(bottom - 224, 0), bottom), slice(max(right - 224, 0), right))
            scores = window_scores(method, pixels[place])
            total[place] += functional.interpolate(scores, (224, 224), mode="bilinear")
            count[place] += 1
    logits = functional.interpolate(total / count, SIZE, mode="bilinear")[0]
    probability = (logits * method.settings.logit_scale).softmax(dim=0)
    label = probability.argmax(dim=0)
    label[probability.amax(dim=0) < method.settings.background_threshold] = 0
    return label.numpy().astype(np.uint8)


def window_scores(method: DenseCLIP, pixels: Tensor) -> Tensor:
    """The cosines of one window ``(1, 3, 224, 224)``, through the tower's own modules."""
    visual: Any = method.clip._model.visual
    patches = visual.conv1(pixels).flatten(2).mT
    tokens = torch.cat([visual.class_embedding.expand(1, 1, -1), patches], dim=1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    joint = functional.linear(
        last.ln_1(tokens), last.attn.in_proj_weight, last.attn.in_proj_bias
    ).chunk(3, dim=-1)
    query, key, value = (part.reshape(-1, 12, 64).transpose(0, 1) for part in joint)
    weights = sum((x @ x.mT * 64**-0.5).softmax(dim=-1) for x in (query, key))
    mixed = (weights @ value).transpose(0, 1).reshape(1, -1, 768)
    tokens = tokens + last.attn.out_proj(mixed)
    tokens = tokens + last.mlp(last.ln_2(tokens))
    found = functional.normalize(visual.ln_post(tokens)[:, 1:] @ visual.proj, dim=-1)
    return (method.text @ found.mT).reshape(1, -1, 14, 14)


def own_peak(call: Contestant) -> int:
    """Growth of this process's peak resident memory."""
    built("sclip").clip.encode_image(torch.zeros(1, 3, 224, 224))  # threads and libraries
    before = peak_memory("cpu").rss or 0
    call()
    return (peak_memory("cpu").rss or 0) - before


if __name__ == "__main__":
    main()
