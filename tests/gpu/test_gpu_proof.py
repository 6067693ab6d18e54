"""The tests on a GPU themselves, on a CPU: that they look at every method, and can fail."""

from __future__ import annotations

from pathlib import Path

from proof import agreement, answered, lines_of

from ovbench.harness.registry.names import METHODS


def methods_of(name: str) -> set[str]:
    return {line.split()[1] for line in lines_of(name)}


def test_every_method_is_compared() -> None:
    own = {name for name, entry in METHODS.entries.items() if entry.package == "ovbench"}
    assert methods_of("cpu_gate.txt") | methods_of("gpu_smoke.txt") == own


def test_equal_maps_agree_and_others_do_not(tmp_path: Path) -> None:
    line = "--method random --dataset toyworld"
    one, same = (answered(line, tmp_path / name, "cpu", "fp32") for name in ("one", "same"))
    other = answered(line, tmp_path / "other", "cpu", "fp32", "--seed", "1")
    assert agreement(one, same) == 1
    assert agreement(one, other) < 0.5
