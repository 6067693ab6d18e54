"""Regions of pictures without labels: what they look like, and what CorrCLIP says of them.

As CorrCLIPv2's released code has it, memory_bank_builder/, but for its search, which is
approximate (faiss, IVF-PQ) and here exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovbench.adapters.parts.sliding import by_window
from ovbench.adapters.parts.vfm import VFM, VFMReading
from ovbench.adapters.regional.corrclip.branches import Branches, with_regions
from ovbench.adapters.regional.corrclip.whole import region_means, whole_features
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.progress import say
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.cache import remembered_in_turn
from ovbench.harness.files.home import at_home
from ovbench.models.pictures import Archive, archive_in, packed_archive
from ovbench.models.pixels.inputs import input_tensor, kept_ratio
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.regions.maps import Painting, RegionMap
from ovbench.models.regions.store import Regions
from ovbench.models.weights.checkpoints import packaged
from ovbench.models.weights.content import surroundings

KIND = "corrclip-bank"
"""The bank's folder in the cache."""
PACKAGED = "toyworld"
"""The name of the pictures that come with the package, which are rendered."""
TOGETHER = 16
"""Pictures that are kept together: who is killed has lost those of no more."""
AT_A_TIME = 16
"""Windows through a CLIP."""
COMPARED = 1 << 12
"""Regions of the bank that are compared at a time: 16 MiB of RADIO's features, which a CPU compares
in half the time of four times as many (measured)."""
SIDES = {"short_side": 2.0, "window": 1.5, "window_stride": 0.5}
"""Of a CLIP's training size: 448, 336 and 112 pixels (generate_clip_embeddings.py)."""
LONGEST = 2048
MULTIPLE = 56

Rows = npt.NDArray[np.float16]
"""A feature a region, ``(n, d)``; what no mask covers has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Regions, by what they look like.

    Attributes:
        keys: ``(N, d)`` float16, of any length.
        values: by each CLIP, ``(N, e)`` float16.
    """

    keys: Tensor
    values: tuple[Tensor, ...]

    def support(self, queries: Tensor, count: int) -> list[Tensor]:
        """What CLIPs say of the regions most like some.

        Args:
            queries: ``(q, d)``, of any length.
            count: regions whose values are averaged.

        Returns:
            By each CLIP ``(q, e)`` float32, of unit length.
        """
        found = nearest(queries, self.keys, count)
        means = (one[found.to(one.device)].float().mean(dim=1) for one in self.values)
        return [normalize(one, dim=1).to(queries.device) for one in means]


def nearest(queries: Tensor, keys: Tensor, count: int) -> Tensor:
    """The keys of the highest cosines, by number, ``(q, min(count, N))`` int64, the best first.

    Exact; :data:`COMPARED` keys are compared at a time.

    Args:
        queries: ``(q, d)``.
        keys: ``(N, d)`` of any float type, on any device.
    """
    unit = normalize(queries.float(), dim=1)
    best: tuple[Tensor, Tensor] | None = None
    for first in range(0, len(keys), COMPARED):
        some = keys[first : first + COMPARED].to(unit.device).float()
        lengths = torch.linalg.vector_norm(some, dim=1).clamp_min(1e-12)
        cosines, places = (unit @ some.mT / lengths).topk(min(count, len(some)), dim=1)
        places = places + first
        if best is not None:
            cosines, order = torch.cat([best[0], cosines], dim=1).topk(
                min(count, best[0].shape[1] + cosines.shape[1]), dim=1
            )
            places = torch.cat([best[1], places], dim=1).gather(1, order)
        best = cosines, places
    assert best is not None  # a bank without a region is refused
    return best[1]


def pictures_of(bank: str) -> tuple[Archive, CheckpointRecord]:
    """The pictures that a setting names, turned as they were taken, and what a result says of them.

    Raises:
        UsageError: no folder, or none in it.
    """
    if bank == PACKAGED:
        located = packaged("reco")
        archive = packed_archive(located.path / "pictures.safetensors", located.records)
    else:
        archive = archive_in(at_home(bank), upright=True)
    record = archive.records[0]
    return archive, replace(record, role="bank", name=f"{archive.count} pictures")


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """Makes a bank, or takes what was made.

    Attributes:
        archive: its pictures.
        regions: what masks them.
        on_top: how masks are painted.
        runtime: whose precision and seed count.
    """

    archive: Archive
    regions: Regions
    on_top: Painting
    runtime: Runtime

    def keys(self, vfm: VFM, reading: VFMReading) -> Tensor:
        """What a model, loaded for plain pixels, sees in every region of whole pictures.

        Args:
            reading: that it was loaded for.
        """
        device = torch.device(self.runtime.device)

        def rows(image: Image, regions: RegionMap) -> Tensor:
            found = Scores.enlarged(whole_features(vfm, image, device), regions.shape)
            return _covered(found, regions, unit=True)

        return self._rows("keys", vfm.checkpoints, {"reading": reading}, rows)

    def values(self, branches: Branches, vfm: VFM) -> Tensor:
        """What a CLIP says of every region, on another model's features of windows."""
        clip, settings = branches.clip, asdict(branches.settings)
        names = (
            *("merge", "merge_distance", "scope", "temperature", "spatial_weight"),
            *("spatial_blocks", "semantic_weight", "positions"),
        )

        def rows(image: Image, regions: RegionMap) -> Tensor:
            short, window, stride = (round(clip.image_size * by) for by in SIDES.values())
            size = kept_ratio(
                regions.shape, short_side=short, max_long_side=LONGEST, least=clip.stride
            )
            pixels = input_tensor(
                image, size, mean=clip.mean, std=clip.std, mode="bilinear", device=clip.device,
                antialias=False, whole_numbers=True,
            )  # fmt: skip
            layout = Windows.over((pixels.shape[1], pixels.shape[2]), window, stride, MULTIPLE)
            cut = layout.cut(with_regions(pixels, regions))
            ((maps,),) = by_window(
                [cut], lambda w: (branches.features(w, vfm.features(w[:, :3])),), AT_A_TIME
            )
            return normalize(_covered(layout.merge(maps, regions.shape), regions), dim=1)

        models = (clip.checkpoint, *vfm.checkpoints)
        return self._rows("values", models, {name: settings[name] for name in names}, rows)

    def _rows(
        self,
        what: str,
        models: Sequence[CheckpointRecord],
        settings: Mapping[str, Any],
        rows: Callable[[Image, RegionMap], Tensor],
    ) -> Tensor:
        """A feature of every region of all pictures, in their order; kept piece by piece."""
        archive, runtime = self.archive, self.runtime
        used = [*models, *self.regions.checkpoints]
        same = {
            "what": what,
            "models": [asdict(record) for record in models],
            "masks": {**self.regions.key, "on_top": self.on_top},
            "settings": dict(settings),
            "precision": runtime.precision,
            "seed": runtime.seed if any(r.sha256 is None for r in used) else None,
            **surroundings(torch.device(runtime.device)),
        }
        count = archive.count
        pieces = [range(i, min(i + TOGETHER, count)) for i in range(0, count, TOGETHER)]
        keys = [{**same, "pictures": [archive.digests[n] for n in piece]} for piece in pieces]
        told: list[int] = []

        @torch.inference_mode()
        def build(piece: int) -> dict[str, npt.NDArray[np.float16]]:
            made = [self._of(archive.read(number), rows) for number in pieces[piece]]
            found = np.concatenate(made)
            if not told:
                told.append(found.nbytes)
                size = found.nbytes / len(made) * count
                say(f"bank: {what} of {count} pictures by {models[0].name}, about {_size(size)}")
            return {"rows": found}

        title = f"bank: {what} by {models[0].name}"
        kept = remembered_in_turn(KIND, keys, build, title=title, sizes=list(map(len, pieces)))
        parts = [one["rows"] for one in kept]
        kept.clear()  # the parts are let go of one by one
        return _joined(parts)

    def _of(self, image: Image, rows: Callable[[Image, RegionMap], Tensor]) -> Rows:
        (masks,) = self.regions.masks([image])
        found = rows(image, masks.painted(self.on_top))
        half: Rows = found.half().cpu().numpy()
        return half


def require_regions(keys: Tensor, bank: str) -> None:
    """Raise UsageError where no picture of a bank has a region."""
    if not len(keys):
        raise UsageError(f"bank={bank}: none of its pictures has a region; ask for more masks")


def _covered(found: Scores, regions: RegionMap, *, unit: bool = False) -> Tensor:
    """The means of all regions but what no mask covers, ``(n, d)``."""
    shown = torch.from_numpy(regions).long().to(found.maps.device)
    numbers, means = region_means(found, shown, unit=unit)
    return means[numbers > 0]


def _joined(parts: list[Rows]) -> Tensor:
    """One array; each part is let go of once it is copied."""
    total = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float16)
    end = len(total)
    while parts:
        part = parts.pop()
        total[end - len(part) : end] = part
        end -= len(part)
    return torch.from_numpy(total)


def _size(size: float) -> str:
    return f"{size / 10**9:.1f} GB" if size >= 10**8 else f"{size / 10**6:.1f} MB"
