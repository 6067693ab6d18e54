"""What depends on the models: the blanks that OVDiff's settings leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ovbench.adapters.ovdiff.extractors import Extractor
from ovbench.adapters.ovdiff.settings import ExtractorName, OVDiffSettings


@dataclass(frozen=True)
class Settled(OVDiffSettings):
    """Settings without blanks: what depends on the models is filled in."""

    short_side: int = 0
    max_long_side: int = 0
    windows: tuple[int, ...] = ()
    stride: int = 0


def settle(settings: OVDiffSettings, extractors: Mapping[ExtractorName, Extractor]) -> Settled:
    """Fill in sizes in proportion to what the extractors were trained on.

    Several extractors share the windows, so the finest decides; each resizes them for itself.
    """
    short = settings.short_side or max(e.natural_side for e in extractors.values())
    windows = settings.windows
    return Settled(
        **asdict(settings)
        | {
            "short_side": short,
            "max_long_side": settings.max_long_side or round(short * 2048 / 448),
            "windows": (short, round(short * 336 / 448)) if windows is None else windows,
            "stride": settings.stride or max(1, round(short * 224 / 448)),
        }
    )
