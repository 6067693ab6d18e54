"""Pictures of classes that nobody photographed, made once and shared.

OVDiff and RIM describe a class by pictures that Stable Diffusion makes of its name. Those and
what is computed from them are kept on disk by everything that decides their content.
"""

from ovbench.support.recipe import Recipe
from ovbench.support.sets import SupportSet, SupportSets

__all__ = ["Recipe", "SupportSet", "SupportSets"]
