"""Results with the fields that leaderboards read; the numbers are made up."""

from __future__ import annotations

from typing import Any

from ovbench.harness.contract.version import PROTOCOL_VERSION


def result(method: str, miou: float | None, **run: Any) -> dict[str, Any]:
    """A result on VOC; ``run`` replaces fields of its run."""
    return {
        "schema_version": 3,
        "run": {
            "id": method.replace("|", "-"), "method": method, "method_version": "0.1.0",
            "changes": {},
            "preset": None, "dataset": "voc", "variant": None, "subset": None,
            "split": "val", "background": "class", "classes": "all", "checkpoints": "real",
            "num_images": 1449, "ids_sha256": "f" * 64, "limit": None, "complete": True,
            "bad_images": [], "warnings": [], "protocol_version": PROTOCOL_VERSION,
            "device": "cpu", "precision": "fp32", "batch_size": 1, **run,
        },
        "config": {},
        "checkpoints": [{"role": "clip", "name": "x", "revision": None, "sha256": None}],
        "vocabulary": {"source": "voc/plain", "sha256": "a" * 64, "names": ["background"]},
        "metrics": {
            "miou": miou, "miou_ci95": [None, None] if miou is None else [miou - 1, miou + 1],
            "pixel_accuracy": 80.0, "mean_accuracy": 60.126, "boundary_iou": None,
            "definitions": {
                "union": miou, "gt_only": None if miou is None else miou + 0.5,
                "void_as_background": None if miou is None else miou - 0.5,
            },
        },
        "profile": {
            "per_image_s": {"mean": 0.12345}, "images_per_s": 8.1, "prepare_s": 1.5,
            "peak_gpu_bytes": None, "peak_rss_bytes": 3 * 2**30, "parameters": 1_234_567,
        },
    }  # fmt: skip


def several() -> list[dict[str, Any]]:
    """Runs under many conditions: nine on VOC and toyworld, two on Context59."""
    renamed = result("renamed", 65.0)
    renamed["vocabulary"] = {"source": "voc/sclip", "sha256": "b" * 64, "names": ["background"]}
    context = {"dataset": "context", "background": "ignore", "num_images": 5104}
    paper = result("pnp_ovss", 42.5, **context, id="pnp-context")
    paper["config"] = {"vlm": "blip_flickr", "resolution": 768}
    return [
        result("slow|one", 40.0),
        result("best", 51.234, preset="paper"),
        result("tuned", 50.0, preset="paper", changes={"layer": 8, "blur": False}),
        result("broken", None),
        result("partial", 45.0, complete=False, bad_images=[{"image": "x", "reason": "y"}]),
        result("told", 70.0, classes="oracle"),
        result("small", 60.0, checkpoints="toy", dataset="toyworld", num_images=500),
        result("first", 55.0, limit=10, num_images=10, ids_sha256="e" * 64),
        renamed,
        paper,
        result("best", 30.0, preset="paper", **context, id="best-context"),
    ]
