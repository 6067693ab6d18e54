"""Reading a checkpoint folder with the libraries' own loaders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from ovbench.errors import UsageError


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Say in one line what is wrong with a folder's files, and nothing where all is well.

    The progress bars of transformers are for models that take minutes to load; here they would
    stand between the harness's own.

    Raises:
        UsageError: instead of whatever the libraries raise.
    """
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{folder}: cannot be loaded: {reason}") from None
    except (EOFError, UnpicklingError):  # torch's own words advise to load it unsafely
        raise UsageError(f"{folder}: its weights are damaged; delete it and run again") from None
    finally:
        if bars:
            logging.enable_progress_bar()


def stock(model_class: Any, folder: Path, **options: Any) -> Any:
    """A model of transformers in float32, as ``save_pretrained`` leaves it.

    Args:
        model_class: such as ``GroupViTModel``.
        options: that its ``from_pretrained`` takes.

    Raises:
        UsageError: files that cannot be read, or weights that are missing: transformers would
            replace them by random ones.
    """
    with reading(folder):
        model, report = model_class.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **options
        )
    if report["missing_keys"]:
        raise UsageError(f"{folder}: has no weights for {min(report['missing_keys'])}")
    return model
