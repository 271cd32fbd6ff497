"""The whole loop for a user's own model: plan, check, search on the proxy, verify on a second one, write the recipe."""

from isoscale._tune.errors import TuneError
from isoscale._tune.recipe import Recipe
from isoscale._tune.tune import Tuning, tune

__all__ = ["Recipe", "TuneError", "Tuning", "tune"]
