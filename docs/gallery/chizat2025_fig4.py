"""
Chizat 2025, figure 4: the phase diagram of the residual scale
==========================================================================

Exponents of the initial deviation and of local updates in ``rho = LM/D`` against the exponent g of the output layer's
scale: dots are measured, lines are read from the rules.
The facts are recorded; ``fig4.facts("cpu")`` makes them again (docs/theory/mean_ode.md says how they were set).
"""

import matplotlib.pyplot as plt

from papers.chizat2025 import fig4
from papers.chizat2025.record import from_json, golden

facts = from_json(fig4.Facts, golden("fig4", "cpu"))
fig4.draw(facts, plt.figure())
