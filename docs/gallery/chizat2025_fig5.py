"""
Chizat 2025, figure 5: the error law over depth, width and embedding
================================================================================

Hundreds of nets of all shapes against one law, ``a/L + b sqrt(D/(LM))``.
The facts are recorded; ``fig5.facts("cpu")`` makes them again (docs/theory/mean_ode.md says how they were set).
"""

import matplotlib.pyplot as plt

from papers.chizat2025 import fig5
from papers.chizat2025.record import from_json, golden

facts = from_json(fig5.Facts, golden("fig5", "cpu"))
fig5.draw(facts, plt.figure())
