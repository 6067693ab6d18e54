"""The door for authors: all that a method, a class filter or a dataset of one's own is made with.

What networks, pixels and refinements there are to build on stands in :mod:`ovbench.blocks`, which
imports PyTorch; this module does not. Nothing behind these two doors has to be imported by another
package, and whatever is not behind them may move without a word.
"""

from __future__ import annotations

from ovbench.adapters.parts.candidates import allowed_labels
from ovbench.adapters.parts.exemplars import require_exemplars, require_masks
from ovbench.adapters.parts.joining import Canvas, ClassMask, ask_each
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.reading.encoding import LabelEncoding, background_encoding
from ovbench.datasets.reading.files import FileDataset, ImageFiles, LabelFiles, read_id_list
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.datasets import (
    BackgroundRule,
    Dataset,
    DatasetInfo,
    Prompt,
    PromptSource,
    Sample,
)
from ovbench.harness.contract.explaining import Evidence, Explaining, Explanation
from ovbench.harness.contract.filters import ClassFilter
from ovbench.harness.contract.progress import Advance, progress, say
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import CheckpointRecord, Precision, Runtime
from ovbench.harness.contract.segmenters import Segmenter
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.tuning import Example, Phase, Tuner
from ovbench.harness.contract.vocabulary import (
    Background,
    ClassQuery,
    Exemplar,
    Kind,
    Vocabulary,
)
from ovbench.harness.files.cache import remembered
from ovbench.harness.registry.methods import Method
from ovbench.harness.run.conformance import Outcome, conformance_checks

__all__ = [
    "Advance",
    "Background",
    "BackgroundRule",
    "Canvas",
    "CheckpointRecord",
    "Choices",
    "ClassFilter",
    "ClassMask",
    "ClassQuery",
    "DataError",
    "Dataset",
    "DatasetInfo",
    "Evidence",
    "Example",
    "Exemplar",
    "Explaining",
    "Explanation",
    "FileDataset",
    "Image",
    "ImageFiles",
    "Kind",
    "LabelEncoding",
    "LabelFiles",
    "LabelMap",
    "Method",
    "MethodCard",
    "Outcome",
    "Phase",
    "Precision",
    "Prompt",
    "PromptSource",
    "Published",
    "Runtime",
    "Sample",
    "Segmenter",
    "TemplateSet",
    "Tuner",
    "UsageError",
    "Vocabulary",
    "allowed_labels",
    "ask_each",
    "background_encoding",
    "conformance_checks",
    "progress",
    "read_id_list",
    "remembered",
    "require_exemplars",
    "require_masks",
    "say",
    "setting",
    "stage",
    "templates",
]
