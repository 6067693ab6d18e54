"""A table of published settings, written once for the eight benchmarks that the field shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ovbench.harness.contract.datasets import BackgroundRule
from ovbench.harness.contract.published import Published

Values: TypeAlias = Mapping[str, Any]

# What papers call them: the registered dataset and the background rule.
EIGHT: Mapping[str, tuple[str, BackgroundRule]] = {
    "voc21": ("voc", "class"),
    "context60": ("context", "class"),
    "cocoobject": ("cocoobject", "class"),
    "voc20": ("voc", "ignore"),
    "context59": ("context", "ignore"),
    "cocostuff": ("cocostuff", "none"),
    "ade20k": ("ade20k", "none"),
    "cityscapes": ("cityscapes", "none"),
}


def eight(
    *,
    names: str | Mapping[str, str] | None,
    source: str,
    common: Values | None = None,
    voc21: Values | None,
    context60: Values | None,
    cocoobject: Values | None,
    voc20: Values | None,
    context59: Values | None,
    cocostuff: Values | None,
    ade20k: Values | None,
    cityscapes: Values | None,
) -> tuple[Published, ...]:
    """The rows of :class:`~ovbench.harness.contract.published.Published` that a source prints.

    Every benchmark has to be named, so that none is forgotten: ``{}`` has the common values,
    None is one that the source leaves out.

    Args:
        names: the set of class names, of all benchmarks or by the benchmarks' names here.
        source: where the values stand.
        common: settings of all benchmarks; those of a benchmark come before them.
    """
    given = {
        "voc21": voc21,
        "context60": context60,
        "cocoobject": cocoobject,
        "voc20": voc20,
        "context59": context59,
        "cocostuff": cocostuff,
        "ade20k": ade20k,
        "cityscapes": cityscapes,
    }
    return tuple(
        Published(
            dataset=EIGHT[name][0],
            background=EIGHT[name][1],
            settings={**(common or {}), **values},
            names=names[name] if isinstance(names, Mapping) else names,
            source=source,
        )
        for name, values in given.items()
        if values is not None
    )
