"""The miniatures that come with the package, trained on the embedded world."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime


def packaged_only(runtime: Runtime) -> bool:
    """Whether the miniature of a role stands for every name of it."""
    return runtime.checkpoints == "toy"


def weights_of(role: str) -> tuple[Path, list[Path]]:
    """A miniature's folder and the weight files in and below it.

    Raises:
        UsageError: this installation has none for the role.
    """
    folder = _root() / role
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights and roles():
        raise UsageError(
            f"ovbench has no miniature of {role}; ask for the real weights with --checkpoints real"
        )
    if not weights:
        raise UsageError(f"no packaged weights for {role}: {folder} is empty; reinstall ovbench")
    return folder, weights


def roles() -> list[str]:
    """The roles that have a miniature."""
    return sorted({path.relative_to(_root()).parts[0] for path in _root().rglob("*.safetensors")})


def instead_of(role: str) -> str:
    """What to advise where real weights cannot be had: the miniature, if there is one."""
    return ", or use --checkpoints toy" if role in roles() else ""


def _root() -> Path:
    return Path(str(files("ovbench"))) / "toyworld" / "weights"
