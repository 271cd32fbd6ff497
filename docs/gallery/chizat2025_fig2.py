"""
Chizat 2025, figure 2: the distance to the limit
============================================================

Root-mean-square output error of finite nets against the mean ODE, over depth and hidden width, with the fitted law
``a/L + b/sqrt(LM)``.
The facts are recorded; ``fig2.facts("cpu")`` makes them again (docs/theory/mean_ode.md says how they were set).
"""

import matplotlib.pyplot as plt

from papers.chizat2025 import fig2
from papers.chizat2025.record import from_json, golden

facts = from_json(fig2.Facts, golden("fig2", "cpu"))
fig2.draw(facts, plt.figure())
