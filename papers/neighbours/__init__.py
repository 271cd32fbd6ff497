"""Other ways to carry hyperparameters over sizes, on one task in one harness.

`league` sweeps the learning rate of one residual network under every rule and puts the neighbours' answers side by
side. Each module has `PRESETS`, a frozen `Facts`, `facts(preset, progress=None, ...) -> Facts` and `draw(facts)`.
"""

from collections.abc import Mapping
from types import ModuleType

from . import league

FIGURES: Mapping[str, ModuleType] = {"league": league}
