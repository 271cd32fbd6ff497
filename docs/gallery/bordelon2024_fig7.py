"""
Bordelon 2024, figure 7: deep linear networks, exactly
======================================================

**Claim.** For linear networks the limit closes on matrices and is exact; kernels evolve over layer time, and the
tangent kernel moves in training the more the stronger feature learning (``gamma0``) is.

**Run.** 16 blocks, ``alpha = 1/2``, 16 steps on 4 points: the closed equations (nothing sampled), and 48 to 8 dense
networks of each width 64 to 1024; then ``gamma0`` from 0.025 to 2. ``fig7.facts("cpu")`` makes it again in minutes.

**Outcome: holds.** Outputs, stream kernel and tangent kernel of networks tend to the exact ones as ``N^(-1/2)``; the
tangent kernel at the start is the lazy limit's to rounding; its change grows as ``gamma0^2`` for small ``gamma0``.
Networks of finite width move their kernel a little even where ``gamma0`` is small: there their f(0) of order ``1 /
(gamma0 sqrt(N))`` is trained away first, which is why dots lie above the line at the left of the last panel.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig7
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig7.Facts, golden("fig7", "cpu"))
fig7.draw(facts, plt.figure())

# %%
# Exponents in N of the relative error of one network with 95% intervals, and the tangent kernel's change.
for name, slope, errors in zip(("f", "H", "K"), facts.slopes, facts.errors):
    print(f"{name}: {slope.said()}, error at N = {facts.widths[-1]}: {errors[-1]:.3f}")
print(f"change of K: gamma0^{facts.moved_slope.said()}; K at the start against the lazy limit: {facts.lazy_gap:.0e}")
for gamma0, limit, net in zip(facts.gamma0, facts.moved, facts.net_moved):
    print(f"gamma0 = {gamma0:5.3f}: |K(end) - K(0)| / |K(0)| = {limit:.4f} in the limit, {net:.4f} in networks")
