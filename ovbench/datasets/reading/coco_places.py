"""Where people keep COCO: as it is unpacked, and as the trees of well-known code have it."""

from __future__ import annotations

from pathlib import Path

# Below the root: as unpacked; mmsegmentation's, CAT-Seg's and detectron2's.
HOMES = ("", "coco_stuff164k/", "coco-stuff/", "coco/")


def picture_folders(part: str, home: str = "") -> tuple[str, ...]:
    """Folders below a root that may hold the pictures of a part such as "val2017".

    Args:
        home: to look into first.
    """
    homes = dict.fromkeys((home, *HOMES))
    return tuple(f"{place}{folder}{part}" for place in homes for folder in ("", "images/"))


def annotation_file(root: Path, name: str) -> Path:
    """An annotation file, where it is or, if it is nowhere, where it should be."""
    places = [root / home / "annotations" / name for home in HOMES]
    return next((place for place in places if place.is_file()), places[0])
