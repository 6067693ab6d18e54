"""Tensors are read from a pickle, and nothing in it is run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from ovbench.errors import UsageError
from ovbench.models.weights.plain_pickle import tensors_in


class Runs:
    """Makes a folder when a common unpickler reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_tensors_come_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "vectors.pkl"
    rows = torch.arange(12.0).reshape(3, 4)
    content = OrderedDict(road=rows[1], sky=torch.randn(4).half(), sea=rows.mT)
    file.write_bytes(pickle.dumps(content))
    found = tensors_in(file)
    assert list(found) == ["road", "sky", "sea"]
    for name, tensor in content.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_what_would_run_is_named_and_does_not(tmp_path: Path) -> None:
    file, trace = tmp_path / "vectors.pkl", tmp_path / "trace"
    file.write_bytes(pickle.dumps({"road": Runs(trace)}))
    with pytest.raises(UsageError, match=r"vectors\.pkl: holds .*\.mkdir beside tensors"):
        tensors_in(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (pickle.dumps({"road": [1.0, 2.0]}), "holds no tensors by name"),
        (pickle.dumps(torch.zeros(2)), "holds no tensors by name"),
        (b"", "cannot be loaded"),
        (pickle.dumps({"road": torch.zeros(9)})[:-40], "cannot be loaded"),
    ],
)
def test_another_file_is_one_line(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "vectors.pkl"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=fault) as caught:
        tensors_in(file)
    assert "\n" not in str(caught.value)
