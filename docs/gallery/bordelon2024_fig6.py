"""
Bordelon 2024, figure 6: networks of infinite width converge in depth
=====================================================================

**Claim.** With branches scaled by ``1/sqrt(L)`` loss and kernels have a limit as the depth L grows, a stochastic
process in layer time ``l / L``, which finite depth approaches with an error of ``1/L`` in norm.

**Run.** Infinite width, 8 steps on 4 points. Linear networks exactly, L = 4 to 128 against the Riccati equations of L
= infinity. Kernels at initialisation exactly for tanh and relu. Outputs of tanh and relu networks after training by
the one-pass solver, L = 2 to 8 against ``2 f(32) - f(16)``, six replicas of width 8192. ``fig6.facts("cpu")`` makes
it again in a minute.

**Outcome: holds where it is exact, and nothing speaks against it where it is sampled.** Linear: the exponent between
neighbouring depths goes from -0.84 to -0.99 as L grows, for outputs and kernels. Initial kernels: -1.00 (tanh), -0.97
(relu). Sampled outputs: -1 is inside both intervals, and the one for tanh is too wide to tell it from -3/4.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig6
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig6.Facts, golden("fig6", "cpu"))
fig6.draw(facts, plt.figure())

# %%
# Exponents in L: for exact numbers the range between neighbouring depths, for sampled ones a 95% interval.
for rate in facts.rates:
    depths = f"L = {rate.depths[0]} to {rate.depths[-1]}"
    print(f"{rate.activation:7s} {rate.what:17s} {rate.slope.said():22s} {depths}, error there {rate.errors[-1]:.2g}")
