"""What a reader must know before comparing a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovbench.harness.contract.supervision import Supervision
from ovbench.harness.contract.version import LABEL_FILES, PROTOCOL_VERSION

SEEN = "seen in training"
"""Begins the mark of a benchmark whose training images a method's weights were trained with."""

_PICTURES = {"archive", "bank"}
"""Roles of what is no network, but a folder of a user's."""

_UNANSWERED = {
    "miss": "predicted void on scored pixels is a miss",
    "ignore": "scored pixels with a predicted void are left out",
}
"""Of label files; what else is refused needs no word."""


def marks(result: Mapping[str, Any]) -> list[str]:
    """One short phrase for each way in which a result is not the plain benchmark."""
    run = result["run"]
    found = []
    if run["classes"] == "oracle":
        found.append("class oracle: the method was told each image's true classes")
    if run["classes"] == "predicted":
        name = result["filter"]["name"]
        found.append(f"predicted classes: the filter {name} chose each image's classes")
    if run["checkpoints"] == "toy" and _loaded_any(result):
        found.append("toy weights")
    if result.get("tuning"):
        found.append(_tuned(result["tuning"], run["num_images"]))
    if varying := (result.get("published") or {}).get("varying"):
        verb = "varies" if len(varying) == 1 else "vary"
        found.append(f"tuned per benchmark, as published: {', '.join(varying)} {verb}")
    found += [f"looks things up in {told}, without labels" for told in _looked_up(result)]
    if trained := Supervision.of(result):
        found += trained.mask_marks
        if seen := "; ".join(trained.seen(run["dataset"])):
            found.append(f"{SEEN}: {seen}")
    if (version := run["protocol_version"]) != PROTOCOL_VERSION:
        found.append(f"counted as protocol version {version} says, not {PROTOCOL_VERSION}")
    if run["limit"] is not None:
        few = run["num_images"]
        found.append("only the first image" if few == 1 else f"only the first {few} images")
    if not run["complete"]:
        bad = len(run["bad_images"])
        found.append(f"incomplete: {bad} unreadable image{'' if bad == 1 else 's'} left out")
    if run.get("method_version") == LABEL_FILES:
        rule = result["config"].get("unanswered")
        found += [_UNANSWERED[rule]] if rule in _UNANSWERED else []
    return list(dict.fromkeys([*found, *run["warnings"]]))  # older results warn of masks


def _tuned(tuning: Mapping[str, Any], num_images: int) -> str:
    """On what settings were tuned; above all, whether on what they are measured on."""
    if tuning["measured"]:
        some = "" if tuning["measured"] >= num_images else f"{tuning['measured']:,} of "
        return f"tuned on {some}the evaluated images"
    return f"tuned on {tuning['num_images']:,} images of {tuning['dataset']} {tuning['split']}"


def _looked_up(result: Mapping[str, Any]) -> list[str]:
    """The pictures that a method has beside the benchmark's, in words."""
    records = [one for one in result["checkpoints"] if one["role"] in _PICTURES]
    return [f"{one['name']} ({(one['sha256'] or 'unknown')[:8]})" for one in records]


def _loaded_any(result: Mapping[str, Any]) -> bool:
    """Whether the method or its class filter loaded weights."""
    class_filter = result.get("filter") or {}
    return bool(result["checkpoints"] or class_filter.get("checkpoints"))
