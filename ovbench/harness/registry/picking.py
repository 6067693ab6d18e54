"""Which of a method's settings choose its weights, read from its source."""

from __future__ import annotations

import ast
from typing import Any

from ovbench.harness.contract.card import Pick, settings_in
from ovbench.harness.registry.glance import lineage_of
from ovbench.harness.registry.lineage import find, lineage, value_of


def picks_of(method: str) -> list[Pick]:
    """The settings with ``picks``, in the order in which they stand in the source.

    Raises:
        UsageError: no such method.
    """
    line = lineage_of(method)
    settings = line.inner("Settings") if line else None
    if settings is None:
        return []
    defaults: dict[str, Any] = {}
    means: dict[str, Any] = {}
    conditions: dict[str, Any] = {}
    for module, node in reversed(lineage(settings).classes):
        for one in node.body:
            if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
                continue
            name, call = one.target.id, one.value
            for told in (means, conditions):
                told.pop(name, None)  # a subclass may say it anew
            if isinstance(call, ast.Call) and call.args:
                defaults[name] = _plain(module, call.args[0])
                for word, told in (("picks", means), ("when", conditions)):
                    said = next((one.value for one in call.keywords if one.arg == word), None)
                    if said is not None:
                        told[name] = _plain(module, said)
    chosen = {name: settings_in(meaning, name) for name, meaning in means.items() if meaning}
    found = []
    for name, parts in chosen.items():
        asked = (conditions.get(name) or {}).items()
        when = {one: (value,) if isinstance(value, str) else value for one, value in asked}
        if all(part in defaults for part in (*parts, *when)):
            usual, own = ({one: str(defaults[one]) for one in names} for names in (when, parts))
            found.append(Pick(means[name], own, when, usual))
    return found


def _plain(module: str, expression: ast.expr) -> Any:
    """A literal, or what a name is bound to by one; None where it is neither."""
    if isinstance(expression, ast.Name):
        made = find(module, expression.id)
        value = value_of(made[1]) if made else None
        return None if made is None or value is None else _plain(made[0], value)
    try:
        return ast.literal_eval(expression)
    except ValueError:
        return None
