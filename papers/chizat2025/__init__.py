"""Figures 1 to 5 of Chizat, "The Hidden Width of Deep ResNets" (arXiv 2509.10167), made again.

Each module has `PRESETS`, a frozen `Facts`, `facts(preset, progress=None) -> Facts` and `draw(facts)` (matplotlib).
The paper's data, step size and reference sizes for figures 1 to 3 and 5 are not published: the settings are this
project's (docs/theory/mean_ode.md), so exponents are comparable and constants are not.
"""

from collections.abc import Mapping
from types import ModuleType

from . import fig1, fig2, fig3, fig4, fig5

FIGURES: Mapping[str, ModuleType] = {"fig1": fig1, "fig2": fig2, "fig3": fig3, "fig4": fig4, "fig5": fig5}
