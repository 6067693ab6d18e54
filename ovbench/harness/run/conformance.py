"""Does a method keep the :class:`~ovbench.Segmenter` contract?

The same checks serve ``ovbench check METHOD`` and the test suite.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from ovbench.errors import ContractError, UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.segmenters import Segmenter
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.stages import peak_memory
from ovbench.harness.contract.vocabulary import Exemplar, Vocabulary
from ovbench.harness.files.images import read_image
from ovbench.harness.metrics.scores import confusion
from ovbench.harness.registry.methods import Method
from ovbench.harness.registry.presets import published_rows
from ovbench.harness.run.asking import ask, takes_candidates
from ovbench.harness.run.seeding import seed_everything

# Matrix products over another batch size round differently, and a pixel on the border
# between two classes may then fall on the other side.
BATCH_AGREEMENT = 0.999
LEAK_LIMIT = 64 * 2**20
LEAK_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found."""

    name: str
    passed: bool
    finding: str


def conformance_checks(
    build: Callable[[], Method],
    vocabularies: tuple[Vocabulary, Vocabulary],
    images: Sequence[Image],
) -> Iterator[Outcome]:
    """Run every check, yielding each outcome as it is known.

    Args:
        build: makes a fresh, identically configured method at every call.
        vocabularies: the first with a background label; they differ. For a method with the
            attribute ``needs_exemplars``, classes that nothing shows are shown by the images.
        images: at least two that the method can be expected to handle.
    """
    kit = _Kit(build, vocabularies, images)
    for name, check in (
        ("presets are made of its settings", kit.presets),
        ("answers with one valid map per image", kit.valid_maps),
        ("leaves its input untouched", kit.input_untouched),
        ("same answer when asked again", kit.same_again),
        ("same answer when built again with the same seed", kit.same_when_rebuilt),
        ("answer does not depend on the batch", kit.batch_independent),
        ("a second vocabulary replaces the first", kit.second_vocabulary),
        ("stays within the candidates", kit.candidates),
        ("a 1-pixel image", kit.one_pixel),
        ("a very wide and a very tall image", kit.extreme_shapes),
        ("grey and RGBA files", kit.grey_and_rgba),
        ("memory", kit.memory),
    ):
        try:
            yield Outcome(name, True, check())
        except ContractError as error:
            yield Outcome(name, False, str(error))
        except (Exception, SystemExit) as error:  # a finding, and the other checks still run
            yield Outcome(name, False, f"{type(error).__name__}: {error}")


class _Kit:
    """The checks; each returns what it found or raises ContractError."""

    def __init__(
        self,
        build: Callable[[], Method],
        vocabularies: tuple[Vocabulary, Vocabulary],
        images: Sequence[Image],
    ) -> None:
        self.build = build
        self.first, self.second = vocabularies
        method = build()
        if getattr(method.segmenter, "needs_exemplars", False):
            self.first, self.second = shown(self.first, images), shown(self.second, images[::-1])
        height, width = images[1].shape[:2]
        # Sizes differ within a batch in every real benchmark.
        cropped = np.ascontiguousarray(images[1][: height * 3 // 4, : width // 2])
        self.images = [images[0], cropped, *images[2:]]
        self.device = method.subject.runtime.device
        self.method = self._prepared(method, self.first)

    def presets(self) -> str:
        """Else a wrong row would be found on its benchmark only."""
        method_class: Any = type(self.method)
        if not hasattr(method_class, "Settings"):
            return "none"
        presets, rows = getattr(method_class, "presets", {}), published_rows(method_class)
        found = [*presets.items(), *((row.benchmark, row.settings) for row in rows)]
        for name, values in found:
            try:
                override(method_class.Settings, values)
            except UsageError as error:
                raise ContractError(f"{name}: {error}") from None
        if len({row.benchmark for row in rows}) < len(rows):
            raise ContractError("two published rows are of one benchmark")
        return f"{len(presets)} by name, {len(rows)} benchmarks"

    def valid_maps(self) -> str:
        maps = self._ask(self.method, self.images, self.first)
        values = np.unique(np.concatenate([m.ravel() for m in maps]))
        return f"{maps[0].dtype}, {len(values)} of {len(self.first)} labels used"

    def input_untouched(self) -> str:
        copies = [image.copy() for image in self.images]
        self._ask(self.method, self.images, self.first)
        if any((a != b).any() for a, b in zip(copies, self.images, strict=True)):
            raise ContractError("an image was changed")
        return ""

    def same_again(self) -> str:
        first = self._ask(self.method, self.images, self.first)
        _require_equal(first, self._ask(self.method, self.images, self.first))
        return "identical"

    def same_when_rebuilt(self) -> str:
        first = self._ask(self.method, self.images, self.first)
        _require_equal(first, self._ask(self._fresh(self.first), self.images, self.first))
        return "identical"

    def batch_independent(self) -> str:
        together = self._ask(self.method, self.images, self.first)
        alone = [self._ask(self.method, [image], self.first)[0] for image in self.images]
        backwards = self._ask(self.method, self.images[::-1], self.first)[::-1]
        share = min(_agreement(together, alone), _agreement(together, backwards))
        if share < BATCH_AGREEMENT:
            raise ContractError(f"only {share:.2%} of the pixels agree with a batch of one")
        return f"{share:.3%} of the pixels agree"

    def second_vocabulary(self) -> str:
        self.method.prepare(self.second)
        try:
            used = self._ask(self.method, self.images, self.second)
        finally:
            self.method.prepare(self.first)
        _require_equal(self._ask(self._fresh(self.second), self.images, self.second), used)
        return f"{len(self.second)} labels after {len(self.first)}"

    def candidates(self) -> str:
        offset = self.first.offset
        choice = (offset, offset + len(self.first.classes) // 2)
        if not takes_candidates(self.method):
            return "segment takes images only; --classes all is all it can be asked"
        maps = ask(self.method, self.images, [choice] * len(self.images))
        strays = set(np.unique(np.concatenate([m.ravel() for m in maps])).tolist())
        strays -= {*choice, *range(offset)}
        if strays:
            raise ContractError(f"labels {sorted(strays)} are outside the candidates {choice}")
        self._ask(self.method, self.images[:1], self.first, [()])
        return "and with no candidate but the background"

    def one_pixel(self) -> str:
        self._ask(self.method, [np.full((1, 1, 3), 128, dtype=np.uint8)], self.first)
        return ""

    def extreme_shapes(self) -> str:
        rng = np.random.default_rng(0)
        wide = rng.integers(0, 256, (8, 1600, 3), dtype=np.uint8)
        self._ask(self.method, [wide, np.ascontiguousarray(wide.transpose(1, 0, 2))], self.first)
        return "8 x 1600 and 1600 x 8"

    def grey_and_rgba(self) -> str:
        picture = PillowImage.fromarray(self.images[0])
        with tempfile.TemporaryDirectory() as folder:
            for mode in ("L", "RGBA", "LA"):
                path = Path(folder) / f"{mode}.png"
                picture.convert(mode).save(path)
                same = np.asarray(picture.convert(mode).convert("RGB"))
                asked = self._ask(self.method, [read_image(path)], self.first)
                _require_equal(asked, self._ask(self.method, [same], self.first))
        return "read as RGB"

    def memory(self) -> str:
        self._ask(self.method, self.images, self.first)
        before = _resident()
        for _ in range(LEAK_ROUNDS):
            self._ask(self.method, self.images, self.first)
        grown = _resident() - before
        if grown > LEAK_LIMIT:
            raise ContractError(f"{grown / 2**20:.0f} MiB more after {LEAK_ROUNDS} repetitions")
        large = np.random.default_rng(0).integers(0, 256, (1024, 2048, 3), dtype=np.uint8)
        self._ask(self.method, [large], self.first)
        peak = peak_memory(self.device)
        gpu = f", {peak.gpu_allocated / 2**20:.0f} MiB GPU" if peak.gpu_allocated else ""
        rss = f"{peak.rss / 2**20:.0f} MiB RSS" if peak.rss else "RSS unknown"
        return f"peak with a 1024 x 2048 image: {rss}{gpu}"

    def _fresh(self, vocabulary: Vocabulary) -> Segmenter:
        return self._prepared(self.build(), vocabulary)

    @staticmethod
    def _prepared(method: Method, vocabulary: Vocabulary) -> Segmenter:
        seed_everything(method.subject.runtime.seed)
        method.segmenter.prepare(vocabulary)
        return method.segmenter

    @staticmethod
    def _ask(
        method: Segmenter,
        images: Sequence[Image],
        vocabulary: Vocabulary,
        candidates: Sequence[Sequence[int]] | None = None,
    ) -> Sequence[LabelMap]:
        """Segment, holding every map to the contract."""
        seed_everything(0)
        maps = ask(method, images, candidates)
        if len(maps) != len(images):
            raise ContractError(f"{len(images)} images were given, {len(maps)} maps came back")
        for image, label_map in zip(images, maps, strict=True):
            anything = np.zeros(image.shape[:2], dtype=np.uint8)
            confusion(anything, label_map, len(vocabulary), ignore_label=2**16 - 1)
        return maps


def shown(vocabulary: Vocabulary, images: Sequence[Image]) -> Vocabulary:
    """The vocabulary with an exemplar for every class that has none, each another one.

    The classes take the images in turn, and in each a rectangle of the middle as the object.
    """
    classes = []
    for number, query in enumerate(vocabulary.classes):
        image = np.roll(images[number % len(images)], number // len(images), axis=1)
        height, width = image.shape[:2]
        mask = np.zeros((height, width), dtype=np.bool_)
        mask[height // 4 : -(-height * 3 // 4), width // 4 : -(-width * 3 // 4)] = True
        classes.append(replace(query, exemplars=query.exemplars or (Exemplar(image, mask),)))
    return replace(vocabulary, classes=tuple(classes))


def _require_equal(a: Sequence[LabelMap], b: Sequence[LabelMap]) -> None:
    share = _agreement(a, b)
    if share < 1:
        raise ContractError(f"{1 - share:.4%} of the pixels differ")


def _agreement(a: Sequence[LabelMap], b: Sequence[LabelMap]) -> float:
    same = sum(int((x == y).sum()) for x, y in zip(a, b, strict=True))
    return same / sum(x.size for x in a)


def _resident() -> int:
    """Resident bytes now, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0
