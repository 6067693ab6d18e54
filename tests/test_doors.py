"""What other packages import: all of it stands behind ``ovbench`` and its two doors."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import ovbench
from ovbench import authoring, blocks
from ovbench.authoring import (
    Image,
    LabelMap,
    Runtime,
    Vocabulary,
    allowed_labels,
    setting,
    stage,
    templates,
)
from ovbench.blocks import Heads, fit_size, input_tensor, label_map, load_clip

REPOSITORY = Path(__file__).resolve().parent.parent
DOORS = {"ovbench", "ovbench.authoring", "ovbench.blocks"}


@pytest.mark.parametrize("door", [ovbench, authoring, blocks])
def test_every_name_is_there_and_says_what_it_is(door: ModuleType) -> None:
    assert len(door.__all__) == len(set(door.__all__))
    for name in door.__all__:
        thing = getattr(door, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name
            assert not name.startswith("_")


@pytest.mark.parametrize("door", [authoring, blocks])
def test_what_a_signature_names_can_be_imported_too(door: ModuleType) -> None:
    """An author who follows a type never ends up behind the door."""
    known = {id(getattr(d, name)) for d in (ovbench, authoring, blocks) for name in d.__all__}
    missing = set()
    for name in door.__all__:
        for function in _functions_of(getattr(door, name)):
            for hint in inspect.get_annotations(function, eval_str=True).values():
                missing |= {
                    f"{name}: {part.__module__}.{part.__qualname__}"
                    for part in _classes_in(hint)
                    if part.__module__.startswith("ovbench.") and id(part) not in known
                }
    assert missing == set()


def _functions_of(thing: object) -> list[Callable[..., Any]]:
    """A function, or a class's public ones."""
    if inspect.isfunction(thing):
        return [thing]
    if not inspect.isclass(thing) or not thing.__module__.startswith("ovbench."):
        return []
    own = vars(thing).items()
    return [value for name, value in own if inspect.isfunction(value) and name[0] != "_"]


def _classes_in(hint: object) -> list[type]:
    inner = getattr(hint, "__args__", ())
    here = [hint] if inspect.isclass(hint) else []
    return [*here, *(c for part in inner for c in _classes_in(part))]


def test_the_doors_open_outwards() -> None:
    """What stands behind them does not go round through them."""
    for path in (REPOSITORY / "ovbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in DOORS - {"ovbench"}, path


def _imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "ovbench"}


def test_the_example_needs_no_other_door() -> None:
    sources = list((REPOSITORY / "examples").rglob("*.py"))
    assert sources
    for path in sources:
        assert _imported(path.read_text(encoding="utf-8")) <= DOORS, path


def test_the_docs_for_authors_need_no_other_door() -> None:
    text = (REPOSITORY / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    blocks_of_code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks_of_code
    for code in blocks_of_code:
        assert _imported(code) <= DOORS
    named = {name.rpartition(".")[0] for name in re.findall(r"`(ovbench\.[\w.]+)", text)}
    assert named <= DOORS


def test_authors_of_datasets_need_no_torch() -> None:
    program = "import sys, ovbench.authoring; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@dataclass(frozen=True)
class Settings:
    """Of a method on CLIP, as its author writes it."""

    short_side: int = setting(96, "our choice: the miniature's", "shorter side in pixels")


class QueriesLookAtQueries:
    """CLIP whose last block compares queries with queries: nothing private is touched."""

    Settings: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self.settings, self.clip = settings, load_clip("ViT-B-16", "openai", runtime)
        self.checkpoints = (self.clip.checkpoint,)

    def prepare(self, vocabulary: Vocabulary) -> None:
        texts = [text for text, _ in vocabulary.queries]
        self.labels = np.array([label for _, label in vocabulary.queries])
        self.text = self.clip.embed_queries(texts, templates("single"))
        self.vocabulary = vocabulary

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        chosen = candidates or [None] * len(images)
        return [self._label(image, some) for image, some in zip(images, chosen, strict=True)]

    @torch.inference_mode()
    def _label(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        clip, (height, width) = self.clip, image.shape[:2]
        size = fit_size((height, width), short_side=self.settings.short_side,
                        max_long_side=2048, multiple=clip.stride)  # fmt: skip
        pixels = input_tensor(image, size, mean=clip.mean, std=clip.std, mode="bilinear",
                              device=clip.device)  # fmt: skip
        with stage("encode"):
            features, _ = clip.attended_features(pixels[None], alike, residual=False, mlp=False)
        kept = np.isin(self.labels, allowed_labels(self.vocabulary, candidates))
        unit = functional.normalize(features[0], dim=0)
        scores = torch.einsum("qd,dhw->qhw", self.text[torch.as_tensor(kept)], unit)
        return label_map(scores, self.labels[kept], (height, width),
                         dtype=self.vocabulary.label_dtype)  # fmt: skip


def alike(heads: Heads) -> Tensor:
    """Attention of queries to queries."""
    return functional.scaled_dot_product_attention(heads.query, heads.query, heads.value)


def test_a_method_on_clip_is_written_without_private_names() -> None:
    method = QueriesLookAtQueries(Settings(), Runtime(checkpoints="toy"))
    dataset = ovbench.load_dataset("toyworld")
    found = ovbench.evaluate(method, dataset, options=ovbench.Options(limit=4))
    chance = ovbench.load_method("random")
    floor = ovbench.evaluate(chance, dataset, options=ovbench.Options(limit=4))
    assert found["metrics"]["miou"] > 3 * floor["metrics"]["miou"]
    assert found["checkpoints"][0]["name"] == "toyworld/clip"
