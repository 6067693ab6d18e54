"""What the tests of methods that are prompted by pictures share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Exemplar, Vocabulary


def picture(seed: int, size: tuple[int, int] = (40, 60)) -> Image:
    """Coarse colours, the same for the same seed."""
    height, width = size
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return np.ascontiguousarray(coarse[rows][:, columns])


def shown(seed: int, size: tuple[int, int] = (40, 60)) -> Exemplar:
    """A picture with a rectangle as its object, elsewhere for another seed."""
    height, width = size
    mask = np.zeros(size, dtype=np.bool_)
    left = (seed * 5) % (width // 2)
    mask[height // 4 : height * 3 // 4, left : left + width // 3] = True
    return Exemplar(picture(seed, size), mask)


def vocabulary(*names: str, background: bool = True) -> Vocabulary:
    """Classes that are each shown by a picture of their own."""
    classes = tuple(ClassQuery(n, exemplars=(shown(i),)) for i, n in enumerate(names))
    return Vocabulary(classes, Background() if background else None)


def perseg_root(sample_data: Path, root: Path, side: int = 96) -> Path:
    """The sample's files in the layout of the benchmark, reduced so that tests are quick."""
    for source in sorted((sample_data / "perseg").iterdir()):
        name, _, number = source.stem.rpartition("_")
        kind = "Images" if source.suffix == ".jpg" else "Annotations"
        target = root / "PerSeg" / kind / name / f"{number}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Pillow.open(source) as file:
            file.resize((side, side), Pillow.Resampling.NEAREST).save(target)
    return root
