"""
Bordelon 2024, branch exponents: all transfer, what differs?
============================================================

**Claim.** Branches scaled by ``L^-alpha`` with alpha = 1/2, 3/4 or 1, and branches that start at zero (as in ReZero),
all keep the best learning rate in place as depth grows. They differ in how deep networks train.

**Run.** Networks of infinite width sampled with 128 neurons (the best learning rate, relu, 8 points, 8 steps, 13
rates half an octave apart, four replicas, L = 2 to 16), with unscaled branches as control; the approach to infinite
depth exactly, linear networks, L = 8 to 128. ``figM1.facts("cpu")`` makes it again in a minute.

**Outcome: holds for 3/4 and 1; at this scale it cannot be told from a drift of 0.3 for 1/2 and zero init.** All four
drifts are below 0.15 octaves per doubling in size. The intervals of alpha = 3/4 and 1 lie within 0.2 of zero, those
of 1/2 and zero init reach to -0.30 and -0.29 (at 1/2 the best rate falls from L = 2 to 8 and is level from 8 to 16).
Unscaled branches drift by -1.8 octaves per doubling. What differs: the kernel of the last features keeps moving more
with depth at 1/2 (0.90 to 1.22) and stays level at 1 and from zero; and 3/4 approaches its limit as ``L^-1/2`` where
the others do as ``1/L``, so that at L = 128 it is still 7.5% away from it (0.5% at 1/2, 0.6% at 1, 0.01% from zero).
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import figM1
from papers.bordelon2024.record import from_json, golden

facts = from_json(figM1.Facts, golden("figM1", "cpu"))
figM1.draw(facts, plt.figure())

# %%
# Drift of the best log2 learning rate per doubling of depth with 95% intervals; how far the kernel of the last features
# moves in training, at the smallest and the largest depth; exponent of the approach to infinite depth (linear nets).
for case in facts.cases:
    moved = f"{case.moved[0]:.3f} to {case.moved[-1]:.3f}"
    drift = f"{case.drift.value:+.2f} [{case.drift.low:+.2f}, {case.drift.high:+.2f}]"
    print(f"{case.name:21s} drift {drift}; kernel moves {moved}; approach {case.approach.said()}")
