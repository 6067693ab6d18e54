"""Benchmark and evaluation harness for open-vocabulary semantic segmentation.

Examples:
    >>> import ovbench
    >>> method = ovbench.load_method("maskclip", checkpoints="toy")
    >>> dataset = ovbench.load_dataset("toyworld")
    >>> result = ovbench.evaluate(method, dataset)  # doctest: +SKIP
    >>> result["metrics"]["miou"]  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovbench.datasets import load_dataset
    from ovbench.harness.contract.datasets import Dataset, Prompt, Sample
    from ovbench.harness.contract.filters import ClassFilter
    from ovbench.harness.contract.runtime import Runtime
    from ovbench.harness.contract.segmenters import Segmenter
    from ovbench.harness.contract.vocabulary import Background, ClassQuery, Exemplar, Vocabulary
    from ovbench.harness.registry.filters import load_filter
    from ovbench.harness.registry.methods import load_method
    from ovbench.harness.run.runner import Options, evaluate
    from ovbench.leaderboards.formats.frames import Runs, load_runs

_HOME = {
    "Background": "ovbench.harness.contract.vocabulary",
    "ClassFilter": "ovbench.harness.contract.filters",
    "ClassQuery": "ovbench.harness.contract.vocabulary",
    "Dataset": "ovbench.harness.contract.datasets",
    "Exemplar": "ovbench.harness.contract.vocabulary",
    "Options": "ovbench.harness.run.runner",
    "Prompt": "ovbench.harness.contract.datasets",
    "Runs": "ovbench.leaderboards.formats.frames",
    "Runtime": "ovbench.harness.contract.runtime",
    "Sample": "ovbench.harness.contract.datasets",
    "Segmenter": "ovbench.harness.contract.segmenters",
    "Vocabulary": "ovbench.harness.contract.vocabulary",
    "evaluate": "ovbench.harness.run.runner",
    "load_dataset": "ovbench.datasets",
    "load_filter": "ovbench.harness.registry.filters",
    "load_method": "ovbench.harness.registry.methods",
    "load_runs": "ovbench.leaderboards.formats.frames",
}

__all__ = [
    "Background",
    "ClassFilter",
    "ClassQuery",
    "Dataset",
    "Exemplar",
    "Options",
    "Prompt",
    "Runs",
    "Runtime",
    "Sample",
    "Segmenter",
    "Vocabulary",
    "evaluate",
    "load_dataset",
    "load_filter",
    "load_method",
    "load_runs",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import ovbench`` costs nothing."""
    if name == "__version__":
        return import_module("importlib.metadata").version("ovbench")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'ovbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
