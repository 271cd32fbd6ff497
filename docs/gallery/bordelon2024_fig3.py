"""
Bordelon et al. 2024, figure 3: vision transformers and schedules
=================================================================

The claim. In vision transformers with LayerNorm the best learning rate stays over width and depth with
1/sqrt(L), and learning-rate schedules transfer too: what is best small is best large.

What was run. Vision transformers on digits (patches of 4x4, heads of 8, AdamW, warm-up over a tenth, batch
32, 60 steps, three seeds): depth 2 to 8 at width 16, width 16 to 48 at two blocks; a constant rate, a line to
zero, a half cosine to zero, each with its own sweep of rates an octave apart. The control without 1/sqrt(L)
runs the cosine over depth.

What came out, with 95% intervals in brackets:

* constant: the best learning rate stays over width: **cannot tell** (width 16 to 48: -0.09 octaves per
  doubling [-0.37, +0.19]; the smallest's best costs the largest 0.6% [0.0, 4.2] more loss)
* constant: the best learning rate stays over depth: **does not hold** (depth 2 to 8: +0.28 octaves per
  doubling [+0.03, +0.52]; the smallest's best costs the largest 3.1% [0.9, 8.8] more loss)
* linear: the best learning rate stays over width: **holds** (width 16 to 48: -0.00 octaves per doubling
  [-0.24, +0.24]; the smallest's best costs the largest 0.0% [0.0, 1.1] more loss)
* linear: the best learning rate stays over depth: **does not hold** (depth 2 to 8: +0.30 octaves per doubling
  [+0.06, +0.54]; the smallest's best costs the largest 4.8% [0.4, 12.1] more loss)
* cosine: the best learning rate stays over width: **cannot tell** (width 16 to 48: -0.04 octaves per doubling
  [-0.27, +0.19]; the smallest's best costs the largest 0.0% [0.0, 1.7] more loss)
* cosine: the best learning rate stays over depth: **does not hold** (depth 2 to 8: +0.27 octaves per doubling
  [+0.07, +0.48]; the smallest's best costs the largest 4.3% [0.4, 11.1] more loss)
* without 1/sqrt(L) the best rate of the cosine moves with depth: **holds** (depth 2 to 8: -0.54 octaves per
  doubling [-0.80, -0.28]; the smallest's best costs the largest 10.3% [3.9, 21.8] more loss)
* the best schedule is the same at every width and depth: **cannot tell** (16x2: constant, linear +11% [-31,
  +77]; 16x4: constant, linear +7% [-45, +107]; 16x8: linear, constant +2% [-14, +20]; 32x2: constant, linear
  +6% [-13, +30]; 48x2: constant, linear +4% [+0, +7])

Without 1/sqrt(L) the best rate falls by half an octave a doubling of depth. With it, it does not fall but
rises by 0.3, a little more than what counts as no drift, over 2 to 8 blocks; what carrying costs is 3 to 5%.
Over width it stays, as far as three seeds tell. After 60 steps of AdamW the exact 1/sqrt(L) law of the rate
seems to overcorrect, or the shallow networks have not reached their limit: depth beyond 8 and longer training
were not run. Which schedule is best is a near tie between a constant rate and a line to zero, never the
cosine, at every size: on so few steps a rate that falls early costs more than it gives.

The facts are recorded; ``isoscale reproduce bordelon2024 fig3`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig3
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig3.Facts, golden("fig3", "cpu"))
fig3.draw(facts, plt.figure())
