"""What a shell offers behind an option; methods are read from source, so that it need not wait."""

from __future__ import annotations

import typer


def presets(ctx: typer.Context, incomplete: str) -> list[str]:
    """The presets of the methods that the command line names, or of all where it names none."""
    from ovbench.errors import OvbenchError
    from ovbench.harness.registry.glance import preset_names
    from ovbench.harness.registry.names import METHODS

    # Arguments are not told apart while an option before the cursor has no value.
    words = [*(ctx.params.get("method") or "").split(","), *ctx.args]
    named = [name for name in map(str.strip, words) if name in METHODS.entries]
    try:
        found = [preset for name in named or METHODS.entries for preset in preset_names(name)]
    except OvbenchError:  # a shell shows no messages
        return []
    return [name for name in dict.fromkeys(found) if name.startswith(incomplete)]


def methods(incomplete: str) -> list[str]:
    """The methods whose names begin so."""
    from ovbench.errors import OvbenchError
    from ovbench.harness.registry.names import METHODS

    try:
        return [name for name in METHODS.entries if name.startswith(incomplete)]
    except OvbenchError:  # a shell shows no messages
        return []


def suites(incomplete: str) -> list[str]:
    """The suites that come with ovbench whose names begin so."""
    from ovbench.harness.suite.shelf import shipped

    return [name for name in shipped() if name.startswith(incomplete)]
