"""FreeDA's collections: exact search, pictures cut where a name acts, the authors' files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import normalize

from ovbench.adapters.freeda import collection as module
from ovbench.adapters.freeda.collection import PublishedIndex, Supports, nearest, shown
from ovbench.adapters.freeda.loading import load_collection
from ovbench.adapters.freeda.settings import FreeDASettings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.patches.encoder import load_patch_encoder

RANDOM = torch.Generator().manual_seed(0)
ENCODER: Any = SimpleNamespace(width=6, device=torch.device("cpu"))


@pytest.mark.parametrize("squared", [False, True])
def test_parts_are_searched_as_the_whole(squared: bool) -> None:
    text, keys = torch.randn(3, 5, generator=RANDOM), torch.randn(40, 5, generator=RANDOM)
    keys[7] = keys[20]
    near = -torch.cdist(text, keys) if squared else text @ keys.mT
    expected = torch.argsort(near, dim=1, descending=True, stable=True)[:, :12]
    parts = torch.split(keys, 16)
    assert torch.equal(nearest(text, iter(parts), 12, squared), expected)
    assert nearest(text, iter(parts), 99).shape == (3, 40)


def test_a_picture_is_cut_where_its_name_acts() -> None:
    grid = torch.arange(4.0).reshape(1, 1, 2, 2)
    acts = torch.tensor([[[1.0, 0.6], [0.2, 0.0]]])
    assert shown(grid, acts, 0.5).item() == pytest.approx(0.5)  # of 0 and 1
    assert shown(grid, acts, 1.0).item() == 0
    assert shown(grid, torch.zeros(1, 2, 2), 0.5).item() == pytest.approx(1.5)


def test_supports_average_the_nearest_texts_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_patch_encoder("dinov2", "dinov2_base", Runtime(checkpoints="toy"))
    settings = FreeDASettings(pictures=2, side=64)
    made = {"cat": [[1.0, 0.0], [3.0, 0.0]], "dog": [[0.0, 5.0], [0.0, 7.0]]}
    monkeypatch.setattr(
        module, "SupportSets", lambda *_: SimpleNamespace(checkpoints=(), make=lambda n, _: n)
    )
    monkeypatch.setattr(Supports, "_of", lambda _, name: np.array(made[name], dtype=np.float32))
    text = normalize(torch.tensor([[1.0, 0.1], [0.1, 1.0]]), dim=1)

    def prototypes(neighbours: int | None) -> Tensor:
        chosen = FreeDASettings(pictures=2, side=64, neighbours=neighbours)
        found = Supports(chosen, encoder, lambda _: torch.zeros(0), Runtime())
        return found.prototypes(["cat", "dog"], text)

    assert settings.neighbours is None
    assert prototypes(None).tolist() == [[2.0, 0.0], [0.0, 6.0]]
    assert prototypes(1).tolist() == [[1.0, 0.0], [0.0, 5.0]]
    assert prototypes(350).tolist() == [[1.0, 3.0], [1.0, 3.0]]


def published(folder: Path, keys: Tensor, kind: str = "HNSW8") -> Path:
    """As the authors' two archives unpack, of a few entries: files count in their names' order."""
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(keys.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.add(keys.numpy())
    (folder / "faiss_index").mkdir()
    (folder / "prototype_embeddings").mkdir()
    faiss.write_index(index, str(folder / "faiss_index" / "knn.index"))
    for i in range(len(keys)):
        row = np.full(6, i, dtype=np.float32)
        if i == 3:
            row[0] = np.inf
        np.save(folder / "prototype_embeddings" / f"{i:03}.npy", row)
    return folder


def test_the_published_collection_is_searched_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_A_TIME", 7)
    keys = normalize(torch.randn(30, 5, generator=RANDOM), dim=1)
    collection = PublishedIndex(published(tmp_path, keys), 4, ENCODER)
    found = collection.prototypes(["cat", "dog"], keys[[3, 9]])
    for row, query in zip(found, (3, 9), strict=True):
        best = torch.argsort(keys @ keys[query], descending=True)[:4].tolist()
        expected = np.mean([i for i in best if i != 3])  # entry 3 is not finite
        assert row.tolist() == pytest.approx([expected] * 6)
    (record,) = collection.checkpoints
    assert record.sha256
    assert len(record.sha256) == 64


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    keys = normalize(torch.randn(6, 5, generator=RANDOM), dim=1)
    folder = published(tmp_path, keys)
    with pytest.raises(UsageError, match="keys of 5 numbers and this CLIP texts of 8"):
        PublishedIndex(folder, 2, ENCODER).prototypes(["cat"], torch.randn(1, 8))
    wide: Any = SimpleNamespace(width=9, device=torch.device("cpu"))
    with pytest.raises(UsageError, match=r"has the shape \(6,\) and should have \(9,\)"):
        PublishedIndex(folder, 2, wide).prototypes(["cat"], keys[:1])
    (folder / "prototype_embeddings" / "000.npy").unlink()
    with pytest.raises(UsageError, match="the index has 6 entries and prototype_embeddings 5"):
        PublishedIndex(folder, 2, ENCODER)
    (folder / "faiss_index" / "knn.index").write_bytes(b"IHNf")
    with pytest.raises(UsageError, match=r"knn\.index: is no index of faiss, or damaged"):
        PublishedIndex(folder, 2, ENCODER)


class Shades:
    """The mean of a picture's four quarters stands for what an encoder sees of them."""

    checkpoints = ()

    def __call__(self, images: Any) -> Tensor:
        grey = torch.from_numpy(images).float().mean(dim=3)
        return torch.nn.functional.adaptive_avg_pool2d(grey[:, None], 2).expand(-1, 3, -1, -1)


def shades(folder: Path, word: str, *values: int) -> None:
    """Pictures of one value each, but for a black half on the right."""
    (folder / word).mkdir()
    for i, value in enumerate(values):
        picture = np.full((8, 8, 3), value, dtype=np.uint8)
        picture[:, 4:] = 0
        Picture.fromarray(picture).save(folder / word / f"{i}.png")


def of_folder(folder: Path, **settings: Any) -> Tensor:
    words = {"cat": [1.0, 0.0], "dog": [0.0, 1.0]}
    chosen = FreeDASettings(collection="folder", folder=str(folder), **settings)
    encoder: Any = Shades()
    found = load_collection(
        chosen, encoder, Shades(), lambda asked: torch.tensor([words[w] for w in asked]), Runtime()
    )
    return found.prototypes(["kitten"], torch.tensor([[0.9, 0.1]]))


def test_a_folder_of_pictures_is_a_collection(tmp_path: Path) -> None:
    shades(tmp_path, "cat", 100, 200)
    shades(tmp_path, "dog", 20)
    assert of_folder(tmp_path, neighbours=1)[0, 0] == 50
    assert of_folder(tmp_path, neighbours=2)[0, 0] == 75
    assert of_folder(tmp_path)[0, 0].item() == pytest.approx((50 + 100 + 10) / 3)
    np.save(tmp_path / "cat" / "0.npy", np.array([[1.0, 0.0], [1.0, 0.2]]))
    assert of_folder(tmp_path, neighbours=1)[0, 0] == 100  # the left half, where it acts


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "holds no pictures"),
        (np.zeros(4), r"0\.npy: should be one map of numbers from 0 on"),
        (np.full((2, 2), -1.0), r"0\.npy: should be one map of numbers from 0 on"),
    ],
)
def test_a_folder_that_is_no_collection(tmp_path: Path, content: Any, said: str) -> None:
    if content is not None:
        shades(tmp_path, "cat", 100)
        np.save(tmp_path / "cat" / "0.npy", content)
    with pytest.raises(UsageError, match=said):
        of_folder(tmp_path)


def test_a_folder_has_to_be_named() -> None:
    encoder: Any = Shades()
    settings = FreeDASettings(collection="folder")
    with pytest.raises(UsageError, match="collection=folder needs --set folder=FOLDER"):
        load_collection(settings, encoder, Shades(), lambda _: torch.zeros(0), Runtime())
