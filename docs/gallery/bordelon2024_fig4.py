"""
Bordelon et al. 2024, figure 4: momentum, feature learning, weight decay
========================================================================

The claim. Under muP with branches divided by the square root of the depth, hyperparameters other than the
learning rate transfer too: momentum, the strength of feature learning gamma0, and weight decay or
regularisation.

What was run. Residual MLPs with one weight a block (digits, SGD, a half cosine, batch 64, beta 0.5), width 32
to 128, depth 3 to 24, five seeds, one hyperparameter at a time at a learning rate that is held (2^-6; 2^-4
for the weight decay). Momentum is swept as the number of steps it averages over. Weight decay is judged on
held-out loss after training on 256 digits of which four in ten got a random class, since less of it always
fits better. At the base depth mup and depth_mup are the same training, so one column shows width.

What came out, with 95% intervals in brackets:

* under depth_mup the best momentum stays over depth: **cannot tell** (depth 3 to 24: -0.01 octaves per
  doubling [-0.30, +0.29]; the smallest's best costs the largest 0.1% [0.0, 2.9] more loss)
* under depth_mup the best momentum stays over width: **cannot tell** (width 32 to 128: -0.10 octaves per
  doubling [-0.29, +0.09]; the smallest's best costs the largest 0.8% [0.0, 4.7] more loss)
* without 1/sqrt(L) the best momentum moves with depth: **holds** (depth 3 to 24: -0.47 octaves per doubling
  [-0.62, -0.31]; the smallest's best costs the largest 30.0% [13.6, 49.5] more loss)
* under depth_mup the best gamma0 stays over depth: **holds** (depth 3 to 24: -0.12 octaves per doubling
  [-0.24, -0.01]; the smallest's best costs the largest 13.2% [2.1, 34.4] more loss)
* under depth_mup the best gamma0 stays over width: **holds** (width 32 to 128: -0.02 octaves per doubling
  [-0.20, +0.17]; the smallest's best costs the largest 0.0% [0.0, 4.2] more loss)
* without 1/sqrt(L) the best gamma0 moves with depth: **holds** (depth 3 to 24: -0.58 octaves per doubling
  [-0.74, -0.43]; the smallest's best costs the largest 751.6% [439.2, 1257.1] more loss)
* under depth_mup the best weight_decay stays over depth: **holds** (depth 3 to 24: +0.05 octaves per doubling
  [-0.06, +0.15]; the smallest's best costs the largest 0.1% [0.0, 1.0] more loss)
* under depth_mup the best weight_decay stays over width: **holds** (width 32 to 128: +0.12 octaves per
  doubling [+0.01, +0.23]; the smallest's best costs the largest 0.6% [0.2, 1.1] more loss)
* without 1/sqrt(L) the best weight_decay moves with depth: **holds** (depth 3 to 24: +0.43 octaves per
  doubling [+0.29, +0.57]; the smallest's best costs the largest 11.0% [2.7, 23.5] more loss)

Each hyperparameter drifts by about half an octave a doubling where the depth is not scaled. With depth_mup
every estimate is at most 0.12 octaves a doubling; those of momentum are as small, but their intervals reach
past the 0.25 that count as no drift, so isoscale does not call it a transfer. The drift of gamma0 over depth
is small and not zero, and its bowl is steep: carrying the value of 3 blocks to 24 costs 13%.

The facts are recorded; ``isoscale reproduce bordelon2024 fig4`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig4
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig4.Facts, golden("fig4", "cpu"))
fig4.draw(facts, plt.figure())
