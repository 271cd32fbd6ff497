"""
Chizat 2025, figure 3: weights move, regularly in depth
===================================================================

The loss of the mean ODE and of a deep net, and the first hidden unit of several layers as it trains: started equal, the
units of neighbouring layers stay neighbours.
The facts are recorded; ``fig3.facts("cpu")`` makes them again (docs/theory/mean_ode.md says how they were set).
"""

import matplotlib.pyplot as plt

from papers.chizat2025 import fig3
from papers.chizat2025.record import from_json, golden

facts = from_json(fig3.Facts, golden("fig3", "cpu"))
fig3.draw(facts, plt.figure())
