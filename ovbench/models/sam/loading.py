"""SAM or SAM 2 by its name, for whoever only asks it with prompts."""

from __future__ import annotations

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.model import ROLE, is_sam2, load_sam
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.models.sam.sam2 import Sam2, sam2_from_folder
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.packaged import packaged_only


def load_promptable(name: str, runtime: Runtime) -> PromptableSegmenter:
    """Load a SAM or a SAM 2.

    Args:
        name: of the catalogue, such as ``"sam_vit_b"`` or ``"sam2.1_hiera_large"``; a hub id of
            SAM 2, optionally with ``@revision``; or ``"random"``, see
            :func:`~ovbench.models.sam.model.load_sam`.
        runtime: its ``checkpoints`` decide between these and the packaged miniature, which is
            SAM's and stands for SAM 2 as well.

    Raises:
        UsageError: unknown name, or weights that cannot be had or read.
    """
    if not is_sam2(name):
        return load_sam(name, runtime)
    if packaged_only(runtime):
        return load_sam("sam_vit_b", runtime)
    located = locate(ROLE, name, runtime)
    return Sam2(sam2_from_folder(located.path), located.records, runtime)
