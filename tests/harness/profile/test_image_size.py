from __future__ import annotations

import numpy as np
import pytest

from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.profile.image_size import ImageSize


def test_parse() -> None:
    assert ImageSize.parse("96") == ImageSize(96, 96)
    assert ImageSize.parse("512x384") == ImageSize(width=512, height=384)
    assert str(ImageSize(512, 384)) == "512x384"
    assert ImageSize.parse("native") is None


@pytest.mark.parametrize("text", ["", "0", "-3", "9.5", "3x", "x3", "3X4", "3x4x5", "a", "1234567"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="native"):
        ImageSize.parse(text)


def test_resize_keeps_labels_and_blends_colours() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[:, 1] = 200
    label = np.array([[1, 9], [1, 9]], dtype=np.uint8)
    resized = ImageSize(8, 6).resize(Sample("a", image, label))
    assert resized.image.shape == (6, 8, 3)
    assert (resized.image[:, 0], resized.image[:, -1]) == (
        pytest.approx(np.zeros((6, 3))),
        pytest.approx(np.full((6, 3), 200)),
    )
    assert np.all(np.diff(resized.image[0, :, 0].astype(int)) >= 0)
    assert len(np.unique(resized.image)) > 2
    assert resized.label.tolist() == [[1] * 4 + [9] * 4] * 6
    assert resized.id == "a"
