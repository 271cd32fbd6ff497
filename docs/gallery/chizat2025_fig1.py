"""
Chizat 2025, figure 1: one hidden unit a layer is enough
====================================================================

With a single hidden unit a layer, the stream of a trained deep ResNet follows the Neural Mean ODE (red), and its
deviation falls as one over the square root of the depth.
The facts are recorded; ``fig1.facts("cpu")`` makes them again (docs/theory/mean_ode.md says how they were set).
"""

import matplotlib.pyplot as plt

from papers.chizat2025 import fig1
from papers.chizat2025.record import from_json, golden

facts = from_json(fig1.Facts, golden("fig1", "cpu"))
fig1.draw(facts, plt.figure())
