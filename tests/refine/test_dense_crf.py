"""Mean field against pydensecrf, against plain Python, and by its own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from slow_lattice import mean_field as plain_mean_field

from ovbench.refine import dense_crf, mean_field
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities

Pixels = npt.NDArray[np.uint8]
TWENTY = DenseCRF(20, bilateral_std=20.0)


@pytest.fixture(autouse=True, params=["tensors", "compiled"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the same numbers."""
    kind: str = request.param
    if kind == "compiled":
        pytest.importorskip("numba")
        assert dense_crf._loops("cpu") is not mean_field  # taken where it can be
    else:
        monkeypatch.setattr(dense_crf, "_compiled", lambda: None)
        assert dense_crf._loops("cpu") is mean_field
    return kind


@pytest.fixture(scope="session")
def pydensecrf() -> Any:
    """The authors' C++ code; it is built from source and may be missing."""
    return pytest.importorskip("pydensecrf.densecrf")


def made(height: int, width: int, classes: int, seed: int = 0) -> tuple[Pixels, torch.Tensor]:
    """Coloured rectangles with noise, and smooth probabilities."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 90.0)
    for _ in range(12):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = top + rng.integers(5, height), left + rng.integers(5, width)
        image[top:bottom, left:right] = rng.integers(0, 256, 3)
    image += rng.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8), probabilities(height, width, classes, seed)


def probabilities(height: int, width: int, classes: int, seed: int) -> torch.Tensor:
    noise = torch.randn(1, classes, 9, 11, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(2 * noise, (height, width), mode="bicubic")[0].softmax(0)


def reference(pydensecrf: Any, image: Pixels, unary: torch.Tensor, crf: DenseCRF) -> torch.Tensor:
    count, height, width = unary.shape
    model = pydensecrf.DenseCRF2D(width, height, count)
    model.setUnaryEnergy(np.ascontiguousarray(unary.reshape(count, -1).numpy()))
    model.addPairwiseGaussian(sxy=crf.spatial_std, compat=crf.spatial_weight)
    model.addPairwiseBilateral(
        sxy=crf.bilateral_std,
        srgb=crf.colour_std,
        rgbim=np.ascontiguousarray(image),
        compat=crf.bilateral_weight,
    )
    found = np.array(model.inference(crf.iterations))
    return torch.from_numpy(found.reshape(count, height, width))


def check_parity(pydensecrf: Any, image: Pixels, unary: torch.Tensor, crf: DenseCRF) -> None:
    expected, found = reference(pydensecrf, image, unary, crf), crf.posterior(image, unary)
    agreement = (found.argmax(dim=0) == expected.argmax(dim=0)).float().mean()
    assert agreement >= 0.999
    difference = (found - expected).abs()
    # A few pixels lie so near the border of two simplices that rounding decides.
    assert difference.max() < 0.05
    assert (difference.amax(dim=0) > 1e-3).float().mean() < 1e-4
    assert difference.mean() < 1e-6


@pytest.mark.parametrize("classes", [2, 21, 81])
def test_parity_with_pydensecrf_on_made_images(pydensecrf: Any, classes: int) -> None:
    image, found = made(90, 120, classes, seed=classes)
    check_parity(pydensecrf, image, unary_from_probabilities(found), DenseCRF())
    other = DenseCRF(4, 3.0, 1.5, 5.0, 20.0, 13.0)
    check_parity(pydensecrf, image, unary_from_probabilities(found), other)


@pytest.mark.parametrize(
    ("name", "classes", "pictures"),
    [("cocostuff/val2017/*.jpg", 81, 1), ("voc/VOCdevkit/VOC2012/JPEGImages/*.jpg", 21, 2)],
)
def test_parity_with_pydensecrf_on_photographs(
    pydensecrf: Any, sample_data: Path, name: str, classes: int, pictures: int
) -> None:
    for seed, path in enumerate(sorted(sample_data.glob(name))[:pictures]):
        image = np.array(Image.open(path).convert("RGB"))
        unary = unary_from_probabilities(probabilities(*image.shape[:2], classes, seed))
        check_parity(pydensecrf, image, unary, DenseCRF())


def test_the_unary_is_pydensecrfs(pydensecrf: Any) -> None:
    utils = pytest.importorskip("pydensecrf.utils")
    found = torch.rand(3, 4, 5)
    found[0, 0, 0] = 0.0
    expected = utils.unary_from_softmax(found.numpy()).reshape(3, 4, 5)
    torch.testing.assert_close(unary_from_probabilities(found), torch.from_numpy(expected))


def test_mean_field_is_the_plain_pythons() -> None:
    image, found = made(7, 9, 3)
    unary = unary_from_probabilities(found)
    # Odd widths: a pixel on the border of two simplices counts to either, by rounding.
    crf = DenseCRF(5, 3.0, 2.13, 4.0, 6.29, 31.7)
    expected = plain_mean_field(image, unary.double().numpy(), 5, (2.13, 6.29, 31.7), (3.0, 4.0))
    np.testing.assert_allclose(crf.posterior(image, unary), expected, atol=1e-4)
    assert (crf.labels(image, unary).numpy() == expected.argmax(axis=0)).all()


def test_copies_are_as_good_as_equal_planes() -> None:
    image, found = made(40, 50, 4)
    unary = unary_from_probabilities(found)
    crf = DenseCRF(iterations=5)
    planes = crf.posterior(image, torch.cat([unary, unary[3:].repeat(60, 1, 1)]))
    shared = crf.posterior(image, unary, copies=[1, 1, 1, 61])
    torch.testing.assert_close(shared, planes[:4], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(planes[4], planes[63])
    alone = crf.posterior(image, unary)
    assert (alone - shared).abs().max() > 0.01  # they do count


def with_equal_planes(order: list[int]) -> tuple[Pixels, torch.Tensor]:
    """Smooth masks of four classes, some of them more than once."""
    image, found = made(60, 80, 4)
    masks = torch.nn.functional.one_hot(found.argmax(dim=0), 4).permute(2, 0, 1).float()
    smooth = torch.nn.functional.avg_pool2d(masks[None], 15, 1, 7)[0]
    return image, unary_from_probabilities(smooth[order])


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 3], [3, 0, 1, 2, 3], [3, 3, 0, 1, 2]])
def test_equal_planes_stay_equal_wherever_they_stand(order: list[int]) -> None:
    image, unary = with_equal_planes(order)
    first, second = (i for i, plane in enumerate(order) if plane == 3)
    posterior, labels = TWENTY.posterior(image, unary), TWENTY.labels(image, unary)
    assert torch.equal(posterior[first], posterior[second])
    assert (labels == first).any()
    assert not (labels == second).any()


def test_parity_with_pydensecrf_on_equal_planes(pydensecrf: Any) -> None:
    """Among the first four, where rounding does not part them there; see docs/fidelity.md."""
    check_parity(pydensecrf, *with_equal_planes([3, 3, 0, 1, 2]), TWENTY)


@pytest.mark.parametrize("loops", ["tensors"], indirect=True)
def test_groups_of_classes_do_not_matter(loops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, found = made(40, 50, 30)
    unary = unary_from_probabilities(found)
    together = DenseCRF().posterior(image, unary)
    monkeypatch.setitem(mean_field.TABLE_BYTES, "cpu", 1)  # eight classes at a time
    monkeypatch.setitem(mean_field.MESSAGE_BYTES, "cpu", 4 * 8 * 333)  # and 333 pixels
    torch.testing.assert_close(DenseCRF().posterior(image, unary), together)
    assert (DenseCRF().labels(image, unary) == together.argmax(dim=0)).all()


def test_posteriors_are_probabilities_and_input_is_kept() -> None:
    image, found = made(33, 47, 5)
    unary = unary_from_probabilities(found)
    given, picture = unary.clone(), image.copy()
    posterior = DenseCRF().posterior(image, unary)
    assert torch.allclose(posterior.sum(dim=0), torch.tensor(1.0), atol=1e-4)
    assert (posterior >= 0).all()
    assert torch.equal(unary, given)
    assert (image == picture).all()
    assert torch.equal(posterior, DenseCRF().posterior(image, unary))


def test_no_iterations_is_a_softmax_and_constants_do_not_matter() -> None:
    image, found = made(20, 20, 3)
    unary = unary_from_probabilities(found)
    torch.testing.assert_close(DenseCRF(0).posterior(image, unary), found)
    shifted = DenseCRF().posterior(image, unary + 200 * torch.rand(20, 20))
    torch.testing.assert_close(shifted, DenseCRF().posterior(image, unary), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "classes"), [(1, 1, 1), (1, 30, 2), (30, 1, 3)])
def test_degenerate_sizes(height: int, width: int, classes: int) -> None:
    image = np.full((height, width, 3), 7, dtype=np.uint8)
    unary = torch.rand(classes, height, width)
    posterior = DenseCRF().posterior(image, unary)
    assert posterior.shape == unary.shape
    assert posterior.isfinite().all()
    assert DenseCRF().labels(image, unary).shape == (height, width)


def test_wrong_input_is_refused() -> None:
    image, found = made(8, 8, 2)
    unary = unary_from_probabilities(found)
    for bad in (unary.double(), unary[:0], unary[:, :5]):
        with pytest.raises(ValueError, match="unary must be"):
            DenseCRF().labels(image, bad)
    with pytest.raises(ValueError, match="image must be"):
        DenseCRF().labels(image.astype(np.float32), unary)
    with pytest.raises(ValueError, match="copies must be"):
        DenseCRF().labels(image, unary, copies=[1])
