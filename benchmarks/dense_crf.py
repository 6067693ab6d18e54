"""Time the dense CRF against pydensecrf.

    python -m benchmarks.dense_crf [FOLDER]

FOLDER may hold photographs (JPEG; searched recursively), which are brought to the three sizes;
without it images are made. Labels are compared before anything is timed. Times are whole:
setting up, ten iterations and the arg-max. Repeats are interleaved, and medians are shown.
Peak memory is that of a fresh process for each contestant and size, less what it had before.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmarks.comparison import Row, in_turn, peak_mib, show
from ovbench.harness.contract.stages import peak_memory
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
SIZES = ((375, 500, 21), (480, 640, 81), (480, 640, 171))
CRF = DenseCRF()


@dataclass(frozen=True, slots=True)
class Case:
    """One image with its unaries, ``(C, H, W)``."""

    image: Pixels
    unary: torch.Tensor

    @property
    def name(self) -> str:
        """Its size."""
        classes, height, width = self.unary.shape
        return f"{height}×{width}, {classes} classes"


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="photographs, JPEG")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(own_peak(CONTESTANTS[arguments.memory_of], arguments.folder))
        return
    show(rows(arguments.folder, arguments.repeats))


def rows(folder: Path | None = None, repeats: int = 5) -> Iterator[Row]:
    """Seconds by threads, and MiB beyond the input."""
    for case in cases(folder):
        check(case)
        for threads in dict.fromkeys((torch.get_num_threads(), 1)):
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            calls = {name: partial(one, case) for name, one in CONTESTANTS.items()}
            spent = in_turn(calls, repeats)
            torch.set_num_threads(before)
            name = f"{case.name}, {threads} thread{'s' * (threads > 1)}"
            yield Row.of(name, "pydensecrf", "s", spent["ours"], spent["theirs"])
        peaks = [peak(name, case) for name in CONTESTANTS]
        yield Row.of(case.name, "pydensecrf", "MiB", [peaks[0]], [peaks[1]])


def cases(folder: Path | None) -> Iterator[Case]:
    """One for every size."""
    photographs = sorted(folder.rglob("*.jpg")) if folder else []
    for number, (height, width, classes) in enumerate(SIZES):
        if photographs:
            picture = Image.open(photographs[number % len(photographs)]).convert("RGB")
            image = np.array(picture.resize((width, height)))
        else:
            image = made(height, width)
        noise = torch.randn(1, classes, 12, 16, generator=torch.Generator().manual_seed(number))
        smooth = torch.nn.functional.interpolate(2 * noise, (height, width), mode="bicubic")[0]
        yield Case(image, unary_from_probabilities(smooth.softmax(dim=0)))


def made(height: int, width: int) -> Pixels:
    """Coloured patches with shading and noise, about as many colours as a photograph has."""
    rng = np.random.default_rng(height)
    rough = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)
    image = np.array(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))
    noisy = image + rng.normal(0, 6, image.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def ours(case: Case) -> Labels:
    """ovbench."""
    labels: Labels = CRF.labels(case.image, case.unary).numpy()
    return labels


def theirs(case: Case) -> Labels:
    """pydensecrf."""
    import pydensecrf.densecrf as dcrf

    classes, height, width = case.unary.shape
    model = dcrf.DenseCRF2D(width, height, classes)
    model.setUnaryEnergy(np.ascontiguousarray(case.unary.reshape(classes, -1).numpy()))
    model.addPairwiseGaussian(sxy=CRF.spatial_std, compat=CRF.spatial_weight)
    model.addPairwiseBilateral(
        sxy=CRF.bilateral_std, srgb=CRF.colour_std, rgbim=case.image, compat=CRF.bilateral_weight
    )
    found = np.array(model.inference(CRF.iterations)).argmax(axis=0)
    labels: Labels = found.reshape(height, width)
    return labels


CONTESTANTS = {"ours": ours, "theirs": theirs}


def check(case: Case) -> None:
    """Stop where the two do not agree."""
    agreement = (ours(case) == theirs(case)).mean()
    if agreement < 0.999:
        raise SystemExit(f"{case.name}: only {agreement:.3%} of the labels agree")


def peak(name: str, case: Case) -> float:
    """MiB that a contestant needs beyond its input, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "image.npy", case.image)
        np.save(Path(folder) / "unary.npy", case.unary.numpy())
        return peak_mib("benchmarks.dense_crf", folder, "--memory-of", name)


def own_peak(contestant: Callable[[Case], Labels], folder: Path) -> int:
    """Growth of this process's peak resident memory."""
    unary = torch.from_numpy(np.load(folder / "unary.npy"))
    case = Case(np.load(folder / "image.npy"), unary)
    small = Case(np.ascontiguousarray(case.image[:8, :8]), unary[:2, :8, :8].contiguous())
    contestant(small)  # libraries are loaded and threads started
    before = peak_memory("cpu").rss or 0
    contestant(case)
    return (peak_memory("cpu").rss or 0) - before


if __name__ == "__main__":
    main()
