"""Figures of Bordelon, Noci, Li, Hanin, Pehlevan, "Depthwise Hyperparameter Transfer in Residual Networks" (ICLR 2024).

arXiv 2309.16620, made again with questions of its reviewers. Each module has `PRESETS` (smoke, cpu, gpu, full), a
frozen `Facts`, `facts(preset, progress=None, ...) -> Facts` and `draw(facts)` (matplotlib). Figures that train also
take `data` (a folder of images; the cpu preset needs none), `cache` (a folder that keeps the runs, so that an
interrupted figure goes on and figures share runs) and `workers`.
"""

from collections.abc import Mapping
from types import ModuleType

from . import deeper, fig1, fig1b, fig2, fig3, fig4, fig5, fig6, fig7, figB3, figM1, longer

FIGURES: Mapping[str, ModuleType] = {
    "fig1": fig1,
    "fig1b": fig1b,
    "fig2": fig2,
    "fig3": fig3,
    "fig4": fig4,
    "fig5": fig5,
    "fig6": fig6,
    "fig7": fig7,
    "figB3": figB3,
    "figM1": figM1,
    "longer": longer,
    "deeper": deeper,
}
