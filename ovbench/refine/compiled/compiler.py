"""How functions are compiled: without Python's lock, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import numba
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, rounding: Collection[str] = ()) -> Callable[[Function], Function]:
    """Compile a function at its first call, for threads that each work on a part of the points.

    Args:
        rounding: LLVM's fast-math flags: what it may do to sums that moves their last digits.
    """

    def decorate(function: Function) -> Function:
        options = {"nogil": True, "fastmath": set(rounding), "error_model": "numpy"}
        result: Function
        try:
            result = numba.njit(**options, cache=True)(function)
        except RuntimeError:  # neither the package's folder nor a home can be written to
            result = numba.njit(**options)(function)
        return result

    return decorate


def inlined(function: Function) -> Function:
    """Compile a function as a part of each one that calls it, with what is known there."""
    result: Function = register_jitable(inline="always")(function)
    return result
