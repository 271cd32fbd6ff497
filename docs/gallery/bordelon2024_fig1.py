"""
Bordelon et al. 2024, figures 1 and B.2: the learning rate over depth and width
===============================================================================

The claim. Under muP the best learning rate moves with depth and deep networks diverge; with branches divided
by the square root of the depth it stays, across depth and width. In standard parameterization (figure B.2) it
moves with both.

What was run. Convolutional residual networks without normalisation on digits (SGD with momentum 0.9, a half
cosine, batch 32, 60 steps, six seeds, three at the three dearest sizes): depth 3 to 30 at 8 channels, width 8
to 64 at 3 blocks, learning rates an octave apart and half an octave near the bottom. The readout sees 4x4
parts of the map: with a mean over all of it 60 steps learn nothing (docs/LOG.md).

What came out, with 95% intervals in brackets:

* with 1/sqrt(L) the best learning rate stays over depth: **cannot tell** (depth 6 to 30, not resolved at 3:
  -0.17 octaves per doubling [-0.53, +0.18])
* with muP the best learning rate stays over width: **cannot tell** (width 16 to 64, not resolved at 8: -0.25
  octaves per doubling [-0.60, +0.10])
* under muP without 1/sqrt(L) it moves with depth: **cannot tell** (depth 3 to 30: 2 of 4 sizes have a
  resolved optimum, and a drift needs 3; depth 3: the curve is flat or noisy around lr 0.0846 (2^-3.56): its
  optimum lies anywhere from 0.0588 (2^-4.09) to 0.25 (2^-2.00) with 6 seeds; about 27 seeds would halve what
  is allowed (2 octaves); depth 30: the loss is still falling toward the low end of the grid at lr 0.00195
  (2^-9.00) (the optimum is below 0.0312 (2^-5.00)): extend the grid to 0.000122 (2^-13.00))
* in standard parameterization it moves with depth: **cannot tell** (depth 3 to 30: 2 of 4 sizes have a
  resolved optimum, and a drift needs 3; depth 3: the curve is flat or noisy around lr 0.0846 (2^-3.56): its
  optimum lies anywhere from 0.0588 (2^-4.09) to 0.25 (2^-2.00) with 6 seeds; about 27 seeds would halve what
  is allowed (2 octaves); depth 30: the loss is still falling toward the low end of the grid at lr 0.00195
  (2^-9.00) (the optimum is below 0.0312 (2^-5.00)): extend the grid to 0.000122 (2^-13.00))
* in standard parameterization it moves with width: **cannot tell** (width 8 to 64: 1 of 4 sizes have a
  resolved optimum, and a drift needs 3; width 8: the curve is flat or noisy around lr 0.0846 (2^-3.56): its
  optimum lies anywhere from 0.0588 (2^-4.09) to 0.25 (2^-2.00) with 6 seeds; about 27 seeds would halve what
  is allowed (2 octaves); width 16: the curve is flat or noisy around lr 0.107 (2^-3.23): its optimum lies
  anywhere from the low end of what was fitted to 0.134 (2^-2.90) with 6 seeds; more seeds, longer runs or a
  wider grid are needed; width 32: the curve is flat or noisy around lr 0.0408 (2^-4.62): its optimum lies
  anywhere from the low end of what was fitted to 0.125 (2^-3.00) with 3 seeds; more seeds, longer runs or a
  wider grid are needed)
* without 1/sqrt(L) the deepest networks train badly at every learning rate: **holds** (at its best rate the
  deepest has 16.3 times the loss of the shallowest; with 1/sqrt(L) 1.2 times)

The curves are as in the paper: with 1/sqrt(L) those of 3 to 30 blocks lie on each other, without it the
deeper lie to the left, and 30 blocks do not train at any rate (the stream grows 28-fold through them at the
start). But the bowl of the smallest network is flat over two octaves and ends in a cliff, so isoscale does
not resolve its optimum with six seeds, and a drift needs three sizes that are resolved: it cannot tell, of
either rule. Where the bowl is round the drifts are resolved: residual MLPs after 5 epochs, the page on longer
training, give -0.65 octaves [-0.79, -0.52] per doubling of depth without 1/sqrt(L) and +0.09 [-0.04, +0.22]
with it.

The facts are recorded; ``isoscale reproduce bordelon2024 fig1`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig1
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig1.Facts, golden("fig1", "cpu"))
fig1.draw(facts, plt.figure())
