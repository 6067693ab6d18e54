"""SAM's last attention as it is read, and what of it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.correlation import correlation, encode_attended
from ovbench.models.sam.model import Sam, load_sam


@pytest.fixture(scope="module")
def sam() -> Sam:
    return load_sam("sam_vit_b", Runtime(checkpoints="toy"))


def picture(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_weights_and_values_give_what_the_block_gives(sam: Sam) -> None:
    """Of a square image, which has no padding."""
    into: list[Tensor] = []
    block = sam.model.image_encoder.blocks[-1].attn
    handle = block.proj.register_forward_pre_hook(lambda _, args: into.append(args[0]))
    encoded, looked = encode_attended(sam, picture(50, 50))
    handle.remove()
    found = torch.stack([w @ v for w, v in zip(looked.weights(), looked.values, strict=True)])
    height, width = looked.grid
    expected = into[0][0].reshape(height * width, len(found), -1).transpose(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoded.features, sam.encode(picture(50, 50)).features)


def test_padding_is_left_out(sam: Sam) -> None:
    _, looked = encode_attended(sam, picture(40, 80))
    assert looked.grid == (looked.whole[0] // 2, looked.whole[1])
    places = looked.grid[0] * looked.grid[1]
    first = next(looked.weights())
    assert first.shape == (places, places)
    assert float(first.sum(dim=1).max()) < 1  # the padding has its share
    joined = correlation(looked.values, looked.weights(), factor=1.2, raise_negative=False)
    torch.testing.assert_close(joined.sum(dim=1), torch.ones(places))


def test_a_last_block_of_windows_is_refused(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam.model.image_encoder.blocks[-1], "window_size", 6)
    with pytest.raises(UsageError, match="attends within windows"):
        encode_attended(sam, picture(50, 50))
