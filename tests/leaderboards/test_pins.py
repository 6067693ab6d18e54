from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from results import result

from ovbench.errors import UsageError
from ovbench.leaderboards.gates.pins import against_pins, passes, pin, read_pins


def measured(method: str = "a", miou: float = 50.0, **run: Any) -> dict[str, Any]:
    made = result(method, miou, seed=0, **run)
    made["config"] = {"layer": 2}
    made["per_class"] = [{"name": n, "iou": miou} for n in ("cat", "dog")]
    made["environment"] = {
        "cpu": "x", "gpu": None, "python": "3.11",
        "packages": dict.fromkeys(("ovbench", "torch", "transformers", "numpy"), "1.0"),
    }  # fmt: skip
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pin([measured("a"), measured("b", 30.0)], tmp_path)
    return tmp_path


def test_the_same_numbers_pass(folder: Path) -> None:
    verdicts = against_pins([measured("b", 30.0), measured("a")], read_pins(folder))
    assert [(v.finding, v.difference) for v in verdicts] == [("within", 0.0)] * 2
    assert passes(verdicts)


def test_a_moved_miou_is_off_and_says_which_row_and_classes(folder: Path) -> None:
    broken = measured("a", 41.5)
    broken["config"] = {"layer": 3}
    verdicts = against_pins([broken, measured("b", 30.2)], read_pins(folder))
    assert not passes(verdicts)
    (off,) = (v for v in verdicts if v.finding == "off")
    assert off.run == "a on voc, 1449 images"
    assert off.difference == -8.5
    assert off.details == ["cat -8.50", "dog -8.50", "setting layer: 2 → 3"]


def test_a_class_that_moves_alone_is_off(folder: Path) -> None:
    shifted = measured("a")
    shifted["per_class"][1]["iou"] = 46.9
    (verdict, _) = against_pins([shifted, measured("b", 30.0)], read_pins(folder))
    assert verdict.finding == "off"
    assert verdict.details == ["dog -3.10"]
    shifted["per_class"][1]["iou"] = 47.0
    assert against_pins([shifted, measured("b", 30.0)], read_pins(folder))[0].finding == "within"


@pytest.mark.parametrize("miou", [None, 50.6, 49.4])
def test_tolerance_holds_on_both_sides(folder: Path, miou: float | None) -> None:
    moved = measured("a")
    moved["metrics"]["miou"] = miou
    assert against_pins([moved], read_pins(folder))[0].finding == "off"


def test_nothing_passes_silently(folder: Path) -> None:
    missing = against_pins([measured("a")], read_pins(folder))
    assert [(v.run, v.source) for v in missing if v.finding == "unmatched"] == [
        ("b on voc, 1449 images", "pinned, but not measured")
    ]
    assert not passes(missing)
    stranger = measured("a", limit=5, num_images=5)
    extra = against_pins([measured("a"), measured("b", 30.0), stranger], read_pins(folder))
    assert [(v.run, v.source) for v in extra if v.finding == "unmatched"] == [
        ("a on voc, 5 images", "not pinned")
    ]
    assert not passes(extra)
    assert not passes([])


def test_pinning_again_keeps_the_file_and_its_tolerance(folder: Path) -> None:
    file = folder / "voc-a.json"
    content = json.loads(file.read_text())
    content["tolerance"] = {"miou": 2.0, "per_class": 9.0}
    file.write_text(json.dumps(content))
    assert pin([measured("a", 48.0)], folder) == [file]
    content = json.loads(file.read_text())
    assert (content["miou"], content["tolerance"]["miou"]) == (48.0, 2.0)


def test_other_conditions_get_files_of_their_own(folder: Path) -> None:
    files = pin([measured("a", limit=5), measured("a", classes="oracle"), measured("a")], folder)
    assert [file.name for file in files] == ["voc-a-2.json", "voc-a-oracle.json", "voc-a.json"]
    assert len(read_pins(folder)) == 4


def test_a_setting_longer_than_a_file_name_is_pinned(tmp_path: Path) -> None:
    one = measured("a", changes={"prompt": "x" * 300})
    pin([one], tmp_path)
    assert passes(against_pins([one], read_pins(tmp_path)))


def test_what_is_no_pin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pinned values \(\*\.json\) here"):
        read_pins(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match=r"x\.json: not a pinned value"):
        read_pins(tmp_path)


def test_other_versions_and_weights_are_told_but_pass(folder: Path) -> None:
    other = copy.deepcopy(measured("a"))
    other["environment"]["packages"]["torch"] = "2.0"
    other["checkpoints"] = [{"role": "clip", "name": "y", "revision": None, "sha256": "f"}]
    (verdict, _) = against_pins([other, measured("b", 30.0)], read_pins(folder))
    assert verdict.finding == "within"
    assert verdict.details == ["other weights", "torch 1.0 → 2.0"]


def test_what_a_user_brings_along_is_pinned_by_what_it_holds(tmp_path: Path) -> None:
    """Folders of one name, with images of the same names, are not each other's pins."""

    def on(**brought: Any) -> dict[str, Any]:
        return {**measured("a", dataset="folder", variant="mine"), **brought}

    def clip(threshold: float) -> dict[str, Any]:
        return {"name": "clip", "version": "1", "settings": {"t": threshold}, "checkpoints": []}

    def shown(source: str, shots: int | None, digest: str) -> dict[str, Any]:
        return {"source": source, "shots": shots, "pictures": {}, "sha256": digest}

    different = [
        on(files={"images": "0" * 64, "labels": "1" * 64}),
        on(files={"images": "0" * 64, "labels": "2" * 64}),
        on(prompts=shown("mine", None, "3")),
        on(prompts=shown("mine", None, "4")),
        on(prompts=shown("train", 1, "5")),
        on(prompts=shown("train", 5, "6")),
        on(filter=clip(0.1)),
        on(filter=clip(0.2)),
    ]
    assert len(set(pin(different, tmp_path))) == 8
    verdicts = against_pins(different, read_pins(tmp_path))
    assert [verdict.finding for verdict in verdicts] == ["within"] * 8
    moved = on(files=different[0]["files"])
    moved["run"] = {**moved["run"], "variant": "elsewhere"}
    found = against_pins([moved], read_pins(tmp_path))
    (within,) = (v for v in found if v.finding == "within")
    assert within.run == "a on folder, 1449 images, labels 11111111"
