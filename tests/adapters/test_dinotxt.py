"""dino.txt: its files, its texts, its sizes, and what it does where there is a background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ovbench.adapters import dinotxt as adapter
from ovbench.adapters.dinotxt import DinoTxtSegmenter, DinoTxtSettings, shorter_to
from ovbench.adapters.parts.templates import templates
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.towers.dinotxt import (
    RELEASES,
    DinoTxt,
    Sizes,
    TextNetwork,
    VisionHead,
    _tokens,
    load_dinotxt,
    read_dinotxt,
)
from ovbench.models.weights.catalogue import look_up

VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star")), Background(("floor", "wall"))
)
SMALL: dict[str, Any] = {
    "short_side": 56, "window": 44, "window_stride": 24, "prompts": "clip7",
}  # fmt: skip
IMAGE = load_dataset("toyworld").load(1).image[:80]
FEW = Sizes(width=32, heads=2, text_width=64, text_heads=1, text_blocks=1, tokens=40, longest=9)


def untrained(sizes: Sizes) -> tuple[VisionHead, TextNetwork]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = VisionHead(sizes), TextNetwork(sizes)
        for name, one in networks[0].named_parameters():
            if name.endswith("gamma"):
                nn.init.normal_(one)
    return networks


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """DINOv2's miniature with a head and a text tower that were not trained."""
    runtime = Runtime(checkpoints="toy")
    encoder = load_patch_encoder("dinov2", "dinov2_base", runtime)
    sizes = Sizes(width=encoder.width, heads=encoder.heads, text_width=64, text_heads=1,
                  text_blocks=1)  # fmt: skip
    model = DinoTxt(encoder, *untrained(sizes), encoder.checkpoints, Runtime())
    monkeypatch.setattr(adapter, "load_dinotxt", lambda *_: model)


def built(vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> DinoTxtSegmenter:
    method = DinoTxtSegmenter(DinoTxtSettings(**{**SMALL, **settings}), Runtime())
    method.prepare(vocabulary)
    return method


@pytest.mark.usefixtures("tiny")
@torch.inference_mode()
def test_a_query_is_the_mean_of_unit_prompts_in_the_second_half() -> None:
    method = built()
    texts = ["floor", "wall", "disk", "circle", "star"]
    expected = []
    for text in texts:
        (tokens,) = _tokens([one.format(text) for one in templates("clip7")])
        joint = method._model._text(tokens)
        expected.append(normalize(normalize(joint[:, joint.shape[1] // 2 :]).mean(0), dim=0))
    torch.testing.assert_close(method.text, torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("tiny")
def test_backgrounds_texts_compete_and_candidates_alone_do() -> None:
    (free,) = built().segment([IMAGE])
    assert free.shape == IMAGE.shape[:2]
    assert set(np.unique(free)) <= {0, 1, 2}
    (told,) = built().segment([IMAGE], [{2}])
    assert set(np.unique(told)) <= {0, 2}
    plain = Vocabulary((ClassQuery("floor", ("wall",)), *VOCABULARY.classes))
    (same,) = built(plain).segment([IMAGE])
    assert np.array_equal(free, same)


@pytest.mark.usefixtures("tiny")
def test_contract() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method("dinotxt", settings=SMALL, device="cpu"),
        (VOCABULARY, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (512, 682)),  # 682.67, rounded down
        ((500, 375), (682, 512)),
        ((512, 700), (512, 700)),
        ((100, 100), (512, 512)),
        ((10, 500), (512, 4096)),
    ],
)
def test_the_longer_side_is_rounded_down(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shorter_to(size, 512, 4096) == expected


def test_no_side_is_longer_than_the_limit() -> None:
    assert shorter_to((30, 60), 50, 40) == (40, 40)


def as_dinov2(head: VisionHead, text: TextNetwork, folder: Path) -> list[Path]:
    """In two files, the head's blocks under DINOv2's name."""
    files = [folder / "head.pth", folder / "text.pth"]
    named = head.state_dict().items()
    torch.save({name.replace("blocks.", "block_list."): one for name, one in named}, files[0])
    torch.save(text.state_dict(), files[1])
    return files


def as_dinov3(head: VisionHead, text: TextNetwork, folder: Path) -> list[Path]:
    """In one file, with what lies beside them."""
    whole: dict[str, Tensor] = {"logit_scale": torch.zeros(1)}
    whole["visual_model.backbone.cls_token"] = torch.zeros(1, 1, 32)
    whole |= {f"visual_model.head.{name}": one for name, one in head.state_dict().items()}
    whole |= {f"text_model.{name}": one for name, one in text.state_dict().items()}
    torch.save(whole, folder / "both.pth")
    return [folder / "both.pth"]


@pytest.mark.parametrize("written", [as_dinov2, as_dinov3])
def test_the_authors_files_are_read(written: Any, tmp_path: Path) -> None:
    networks = untrained(FEW)
    found = read_dinotxt(written(*networks, tmp_path), 32, 2)
    for one, other in zip(networks, found, strict=True):
        own = one.state_dict()
        assert own.keys() == other.state_dict().keys()
        assert all(torch.equal(own[name], w) for name, w in other.state_dict().items())


def test_names_are_the_released_ones() -> None:
    """As their classes have them, with two blocks and with one."""
    head, text = (network.state_dict() for network in untrained(FEW))
    block = {f"{norm}.{kind}" for norm in ("norm1", "norm2") for kind in ("weight", "bias")}
    block |= {f"mlp.w{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")}
    block |= {"attn.qkv.weight", "attn.proj.weight", "attn.proj.bias", "ls1.gamma", "ls2.gamma"}
    own = {f"blocks.{i}.{name}" for i in (0, 1) for name in block}
    assert head.keys() == own | {"ln_final.weight", "ln_final.bias"}
    block = {f"{norm}.{kind}" for norm in ("attention_norm", "ffn_norm", "attention.proj",
                                           "feed_forward.fc1", "feed_forward.fc2")
             for kind in ("weight", "bias")} | {"attention.qkv.weight"}  # fmt: skip
    assert text.keys() == {f"backbone.blocks.0.{name}" for name in block} | {
        "backbone.token_embedding.weight", "backbone.positional_embedding",
        "backbone.ln_final.weight", "backbone.ln_final.bias", "head.linear_projection.weight",
    }  # fmt: skip
    assert head["blocks.0.mlp.w1.weight"].shape == (128, 32)  # 85 in steps of 64
    usual = Sizes()
    with torch.device("meta"):
        large = VisionHead(usual).state_dict()
    assert large["blocks.0.mlp.w1.weight"].shape == (2752, 1024)


def test_a_file_of_another_encoder_is_told(tmp_path: Path) -> None:
    files = as_dinov2(*untrained(FEW), tmp_path)
    with pytest.raises(UsageError, match=r"head\.pth: is not what was expected: it has in other"):
        read_dinotxt(files, 48, 2)
    torch.save({"weight": torch.zeros(1)}, files[1])
    with pytest.raises(UsageError, match=r"text\.pth: is not what was expected: it lacks"):
        read_dinotxt(files, 32, 2)


def test_what_is_loaded_together_stands_in_the_catalogue() -> None:
    for name, release in RELEASES.items():
        beside = set(look_up("dinotxt", name).beside)
        own = {f"dinotxt_text/{name}"} if release.two_files else set()
        assert beside == {f"dinov2/{release.encoder}", *own}


def test_a_gated_file_says_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"form on https://ai\.meta\.com/\S+ download"):
        load_dinotxt("dinotxt_dinov3_vitl16", Runtime(checkpoints="real"))
