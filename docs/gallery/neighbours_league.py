"""
A league of neighbours: who carries the learning rate best?
===========================================================

One task and one harness for ways to carry a learning rate that a user may choose between: a pre-LN residual MLP on
digits, AdamW with a cosine schedule, 100 steps, width 32 to 128, depth 3 to 24, three seeds; tuned at width 32 and
depth 3, carried to width 64 and depth 24. Drifts are in octaves per doubling of the size, with 95% intervals.

What came out:

* ``depth_mup`` and CompleteP keep the optimum over width (+0.09 [-0.08, +0.26]) and depth (+0.10 [-0.02, +0.21] and
  +0.08 [+0.01, +0.16]); carrying costs 7% [1, 23] and 8% [0, 28] of the best loss there. In depth up to 24, with two
  layers a branch, this task does not tell alpha = 1/2 from alpha = 1.
* u-muP's rule is ``depth_mup`` in another gauge: the same training, so it has no row of its own here.
* ``mup`` scales no depth: its optimum falls by 0.44 [0.32, 0.56] octaves per doubling, and carrying costs 103%.
* Rates per layer in standard parameterization ("Scaling Exponents Across Parameterizations and Optimizers") mend the
  width (three optima that scatter, so no narrow interval; its loss at the target is that of ``mup``), not the depth.
* Rates by L^(-3/2) ("Principled Architecture-aware Scaling of Hyperparameters", derived for networks without
  residuals) are too low for a residual network: 1.06 octaves per doubling are left over, with the other sign.
* The Step Law, a power law fitted to the optima of plain PyTorch at six small sizes and extrapolated, finds the best
  rate at the target as well as the rules do (2% [0, 27]), but at ten times their tuning cost, and plain PyTorch's loss
  there is no better (0.0134 against 0.0120 and 0.0108).

So: does a fitted power law beat a parameterization that keeps the optimum still? Not here. It is as accurate, dearer to
tune by the cost of its small scales, and trains the same large network slightly worse.

The facts are recorded; ``isoscale reproduce neighbours`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.neighbours import league
from papers.neighbours.record import from_json, golden

facts = from_json(league.Facts, golden("league", "cpu"))
league.draw(facts, plt.figure())
