"""dino.txt against its towers and the released notebook's windows, written out step by step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from oracles import require_close
from PIL import Image as Picture
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import interpolate, layer_norm, linear, normalize

from ovbench.adapters import dinotxt as adapter
from ovbench.adapters.dinotxt import DinoTxtSegmenter, DinoTxtSettings
from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.towers.dinotxt import DinoTxt, read_dinotxt

WIDTH, HEADS, TEXT_WIDTH, WORDS, LONGEST = 32, 2, 64, 40, 9
IMAGE = load_dataset("toyworld").load(2).image[:61, :83]
Weights = Mapping[str, Tensor]


def drawn(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(shapes))
    return {
        name.replace("__", "."): torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        for name, shape in shapes.items()
    }


def head_weights() -> dict[str, Tensor]:
    """Of two blocks, under the authors' names; the hidden width is 85 and rounded up to 128."""
    found = {}
    for number in range(2):
        block = drawn(
            norm1__weight=(WIDTH,), norm1__bias=(WIDTH,), attn__qkv__weight=(3 * WIDTH, WIDTH),
            attn__proj__weight=(WIDTH, WIDTH), attn__proj__bias=(WIDTH,), ls1__gamma=(WIDTH,),
            norm2__weight=(WIDTH,), norm2__bias=(WIDTH,), mlp__w1__weight=(128, WIDTH),
            mlp__w1__bias=(128,), mlp__w2__weight=(128, WIDTH), mlp__w2__bias=(128,),
            mlp__w3__weight=(WIDTH, 128), mlp__w3__bias=(WIDTH,), ls2__gamma=(WIDTH,),
        )  # fmt: skip
        found |= {f"block_list.{number}.{name}": one * (number + 1) for name, one in block.items()}
    return found | drawn(ln_final__weight=(WIDTH,), ln_final__bias=(WIDTH,))


def text_weights() -> dict[str, Tensor]:
    block = drawn(
        attention_norm__weight=(TEXT_WIDTH,), attention_norm__bias=(TEXT_WIDTH,),
        ffn_norm__weight=(TEXT_WIDTH,), ffn_norm__bias=(TEXT_WIDTH,),
        attention__qkv__weight=(3 * TEXT_WIDTH, TEXT_WIDTH),
        attention__proj__weight=(TEXT_WIDTH, TEXT_WIDTH), attention__proj__bias=(TEXT_WIDTH,),
        feed_forward__fc1__weight=(4 * TEXT_WIDTH, TEXT_WIDTH),
        feed_forward__fc1__bias=(4 * TEXT_WIDTH,),
        feed_forward__fc2__weight=(TEXT_WIDTH, 4 * TEXT_WIDTH),
        feed_forward__fc2__bias=(TEXT_WIDTH,),
    )  # fmt: skip
    others = drawn(
        backbone__token_embedding__weight=(WORDS, TEXT_WIDTH),
        backbone__positional_embedding=(LONGEST, TEXT_WIDTH),
        backbone__ln_final__weight=(TEXT_WIDTH,),
        backbone__ln_final__bias=(TEXT_WIDTH,),
        head__linear_projection__weight=(2 * WIDTH, TEXT_WIDTH),
    )
    return others | {f"backbone.blocks.0.{name}": one for name, one in block.items()}


HEAD, TEXT = head_weights(), text_weights()


def encoder() -> PatchEncoder:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=HEADS, image_size=56,
        patch_size=14, num_register_tokens=4,
    )  # fmt: skip
    torch.manual_seed(0)
    return PatchEncoder(Dinov2WithRegistersModel(config), (), Runtime(), "antialias")


@pytest.fixture
def model(tmp_path: Path) -> DinoTxt:
    """From files as DINOv2's are."""
    files = [tmp_path / f"{name}.pth" for name in ("head", "text")]
    for file, weights in zip(files, (HEAD, TEXT), strict=True):
        torch.save(weights, file)
    return DinoTxt(encoder(), *read_dinotxt(files, WIDTH, HEADS), (), Runtime())


def attended(states: Tensor, weights: Weights, name: str, heads: int, causal: bool) -> Tensor:
    """PyTorch's own attention, of ``(B, n, width)``."""
    length, width = states.shape[1:]
    hidden = torch.full((length, length), -torch.inf).triu(1) if causal else None
    found, _ = functional.multi_head_attention_forward(
        *(3 * [states.transpose(0, 1)]), width, heads, weights[f"{name}.qkv.weight"], None, None,
        None, False, 0.0, weights[f"{name}.proj.weight"], weights[f"{name}.proj.bias"],
        attn_mask=hidden, need_weights=False,
    )  # fmt: skip
    return found.transpose(0, 1)


def normed(states: Tensor, weights: Weights, name: str) -> Tensor:
    return layer_norm(states, states.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def headed(states: Tensor) -> Tensor:
    for number in range(2):
        prefix = f"block_list.{number}."
        own = {n.removeprefix(prefix): one for n, one in HEAD.items() if n.startswith(prefix)}
        mixed = attended(normed(states, own, "norm1"), own, "attn", HEADS, causal=False)
        states = states + own["ls1.gamma"] * mixed
        seen = normed(states, own, "norm2")
        gate, value = (
            linear(seen, own[f"mlp.{n}.weight"], own[f"mlp.{n}.bias"]) for n in ("w1", "w2")
        )
        gated = gate * gate.sigmoid() * value
        states = states + own["ls2.gamma"] * linear(gated, own["mlp.w3.weight"], own["mlp.w3.bias"])
    return normed(states, HEAD, "ln_final")


def embedded(tokens: Tensor) -> Tensor:
    """The state of the last word, the one of the highest number, in the joint space."""
    prefix = "backbone.blocks.0."
    own = {n.removeprefix(prefix): one for n, one in TEXT.items() if n.startswith(prefix)}
    states = TEXT["backbone.token_embedding.weight"][tokens]
    states = states + TEXT["backbone.positional_embedding"][: tokens.shape[1]]
    seen = normed(states, own, "attention_norm")
    states = states + attended(seen, own, "attention", 1, causal=True)
    hidden = normed(states, own, "ffn_norm")
    for name in ("fc1", "fc2"):
        weight, bias = (own[f"feed_forward.{name}.{kind}"] for kind in ("weight", "bias"))
        hidden = linear(functional.gelu(hidden) if name == "fc2" else hidden, weight, bias)
    states = normed(states + hidden, TEXT, "backbone.ln_final")
    ends = torch.stack([one[row.argmax()] for one, row in zip(states, tokens, strict=True)])
    return linear(ends, TEXT["head.linear_projection.weight"])


@torch.inference_mode()
def test_texts_pass_the_tower(model: DinoTxt) -> None:
    tokens = torch.randint(1, WORDS - 1, (5, LONGEST), generator=torch.Generator().manual_seed(1))
    for row, end in enumerate((8, 3, 5, 1, 6)):
        tokens[row, end], tokens[row, end + 1 :] = WORDS - 1, 0
    require_close(model._text(tokens), embedded(tokens))
    # what goes with patches is the second half
    require_close(model._embedded(tokens), embedded(tokens)[:, WIDTH:])


@torch.inference_mode()
def test_patches_pass_the_head(model: DinoTxt) -> None:
    pixels = torch.randn(2, 3, 56, 70, generator=torch.Generator().manual_seed(2))
    tokens = encoder().tokens(pixels)
    assert tokens.shape == (2, 1 + 4 + 4 * 5, WIDTH)
    for head, expected in ((True, headed(tokens)), (False, tokens)):
        found = model.places(pixels, head=head)
        require_close(found.flatten(2).mT, expected[:, 5:])


def built(model: DinoTxt, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> DinoTxtSegmenter:
    """With texts that different patches are nearest to."""
    monkeypatch.setattr(adapter, "load_dinotxt", lambda *_: model)
    sizes = {"short_side": 48, "window": 40, "window_stride": 20}
    method = DinoTxtSegmenter(DinoTxtSettings(**{**sizes, **settings}), Runtime())
    head = method.settings.patches == "head"
    places = normalize(model.places(method._input(IMAGE)[None, :, :42, :56], head=head), dim=1)
    texts = places[0].flatten(1).T[[0, 2, 4, 5, 8, 11]]
    monkeypatch.setattr(method, "embed", lambda _: texts)
    method.prepare(Vocabulary.of(*(f"class {i}" for i in range(len(texts)))))
    return method


def asked(model: DinoTxt, pixels: Tensor, text: Tensor, head: bool) -> Tensor:
    """Cosines ``(1, 6, h, w)``; the notebook stretches to whole patches, and never shrinks."""
    size = [-(-side // 14) * 14 for side in pixels.shape[1:]]
    stretched = interpolate(pixels[None], size, mode="bicubic", align_corners=False)
    places = normalize(model.places(stretched, head=head), dim=1)
    return torch.einsum("kd,ndhw->nkhw", text, places)


@pytest.mark.parametrize("patches", ["head", "encoder"])
@pytest.mark.parametrize("window", [40, 0])
@torch.inference_mode()
def test_labels_are_the_notebooks(
    model: DinoTxt, monkeypatch: pytest.MonkeyPatch, patches: str, window: int
) -> None:
    method = built(model, monkeypatch, patches=patches, window=window)
    (labels,) = method.segment([IMAGE])
    width = int(48 * IMAGE.shape[1] / IMAGE.shape[0])
    small = Picture.fromarray(IMAGE).resize((width, 48), Picture.Resampling.BICUBIC)
    scaled = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
    mean, deviation = (torch.tensor(one)[:, None, None] for one in (method.mean, method.std))
    pixels = (scaled - mean) / deviation
    expected = slid(model, pixels, method.text, patches == "head", window)
    assert len(np.unique(expected)) > 2
    assert (labels == expected).mean() >= 0.995


def slid(
    model: DinoTxt, pixels: Tensor, text: Tensor, head: bool, window: int
) -> npt.NDArray[np.int64]:
    height, width = pixels.shape[1:]
    if not window:
        total = asked(model, pixels, text, head)
    else:
        total, count = torch.zeros(1, len(text), height, width), torch.zeros(height, width)
        rows, columns = (
            sorted({min(20 * i, side - window) for i in range(side // 20 + 1)})
            for side in (height, width)
        )
        for top, left in product(rows, columns):
            place = np.s_[top : top + window, left : left + window]
            cosines = asked(model, pixels[:, *place], text, head)
            enlarged = interpolate(cosines, (window, window), mode="bilinear", align_corners=False)
            total[:, :, *place] += enlarged.softmax(dim=1)
            count[place] += 1
        total = total / count
    full = interpolate(total, IMAGE.shape[:2], mode="bilinear", align_corners=False)
    found: npt.NDArray[np.int64] = full[0].argmax(dim=0).numpy()
    return found
