"""Reading settings files, and what is said of those that do not serve."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ovbench.errors import UsageError
from ovbench.harness.contract.settings import override, setting
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.settings_file import given_settings, read_settings_file, read_tuning
from ovbench.harness.run.runner import Options, evaluate
from ovbench.leaderboards.tables.marks import marks


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.json"
    path.write_text(text)
    return path


def test_the_settings_are_read_and_their_origin_is_optional(tmp_path: Path) -> None:
    path = write(tmp_path, '{"method": "m", "settings": {"layer": 7, "sizes": [1, 2]}}')
    assert read_settings_file(path, "m") == {"layer": 7, "sizes": [1, 2]}
    assert read_tuning(path, "m") is read_tuning(None, "m") is None


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeff{"method": "m", "settings": {"layer": 7}}')
    assert read_settings_file(path, "m") == {"layer": 7}


TUNED = {"dataset": "voc", "split": "val", "num_images": 3, "ids_sha256": "0" * 64}


@pytest.mark.parametrize(
    ("images", "measured", "mark"),
    [
        (["a", "b", "c"], 2, "tuned on the evaluated images"),
        (["b", "x"], 1, "tuned on 1 of the evaluated images"),
        (["x", "y"], 0, "tuned on 3 images of voc val"),
        (None, None, "tuned on 3 images of voc val"),  # files of older versions name none
    ],
)
def test_a_result_says_on_what_its_settings_were_tuned(
    tmp_path: Path, memory_dataset: Any, images: list[str] | None, measured: int | None, mark: str
) -> None:
    data = memory_dataset()
    ids = dict(zip("ab", data.ids, strict=False))
    listed = {} if images is None else {"images": [ids.get(name, name) for name in images]}
    text = json.dumps({"method": "constant", "settings": {}, "tuning": {**TUNED, **listed}})
    tuning = read_tuning(write(tmp_path, text), "constant")
    method = load_method("constant", tuning=tuning, device="cpu")
    result = evaluate(method, data, options=Options(limit=2))
    assert result is not None
    assert result["tuning"] == {**TUNED, "measured": measured}
    assert mark in marks(result)
    assert evaluate(load_method("constant", device="cpu"), data)["tuning"] is None  # type: ignore[index]


@pytest.mark.parametrize("tuning", ["7", '{"seed": 0}', json.dumps({**TUNED, "images": 3})])
def test_a_record_of_tuning_that_is_none_is_refused(tmp_path: Path, tuning: str) -> None:
    path = write(tmp_path, f'{{"method": "m", "settings": {{}}, "tuning": {tuning}}}')
    with pytest.raises(
        UsageError, match=r'settings\.json: "tuning" needs dataset, split'
    ) as caught:
        read_tuning(path, "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer: 7", "not readable as JSON"),
        ("[7]", "expected a JSON object"),
        ('{"method": "other", "settings": {}}', "made for the method 'other', not for 'm'"),
        ('{"layer": 7}', 'needs "method", the name of the method'),
        ('{"method": "m", "layer": 7}', 'needs "settings"'),
        ('{"method": "m", "settings": [7]}', 'needs "settings"'),
    ],
)
def test_a_file_that_does_not_serve_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        read_settings_file(path, "m")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.json: no such settings file"):
        read_settings_file(tmp_path / "gone.json", "m")


def test_what_is_set_outdoes_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '{"method": "m", "settings": {"layer": 7, "head": 1}}')
    assert given_settings(path, "m", ["head=2"]) == {"layer": 7, "head": "2"}
    assert given_settings(None, "m", ["head=2"]) == {"head": "2"}
    assert given_settings(None, "m", None) == {}


@dataclass(frozen=True)
class Settings:
    layer: int = setting(0, "our choice", "a layer")
    name: str = setting("", "our choice", "a name")
    sizes: tuple[int, ...] = setting((), "our choice", "some sizes")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"layer": [7]}', r"layer=\[7\]: expected int"),
        ('{"layer": null}', "layer=None: expected int"),
        ('{"name": {}}', r"name=\{\}: expected str"),
        ('{"sizes": 3}', "sizes=3: expected int,..."),
    ],
)
def test_a_value_of_another_type_is_said_in_one_line(
    tmp_path: Path, value: str, message: str
) -> None:
    path = write(tmp_path, f'{{"method": "m", "settings": {value}}}')
    with pytest.raises(UsageError, match=message):
        override(Settings, read_settings_file(path, "m"))
