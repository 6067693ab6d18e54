"""What `ovbench support show --method` asks of every method that is built on support pictures."""

from __future__ import annotations

from typing import Any

import pytest

from ovbench.harness.registry.names import METHODS
from ovbench.support import Recipe

WITH_RECIPES = [name for name in METHODS.entries if hasattr(METHODS.load(name), "recipe")]


def test_the_methods_built_on_support_pictures() -> None:
    assert WITH_RECIPES == ["ovdiff", "rim", "freeda"]


@pytest.mark.parametrize("name", WITH_RECIPES)
def test_a_recipe_follows_from_settings_and_a_seed(name: str) -> None:
    method: Any = METHODS.load(name)
    recipe = method.recipe(method.Settings(), 3)
    assert isinstance(recipe, Recipe)
    assert recipe.seed == 3
    assert "{}" in recipe.prompt
