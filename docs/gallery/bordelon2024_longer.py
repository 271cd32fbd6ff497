"""
Bordelon et al. 2024, a reviewer's question: near convergence
=============================================================

The claim. Reviewer SFFE asked whether the learning rate still transfers over depth when networks are trained
for 40 to 100 epochs rather than a few, and how the optimum depends on the length of training.

What was run. Residual MLPs with one weight a block (digits, SGD with momentum 0.9, a half cosine to zero over
each length, batch 128, beta 0.5), width 32, depth 3 to 24, after 5, 20 and 60 epochs (55 to 660 steps; the
training loss falls from 0.08 to 0.0003), three seeds. At the base width sp and mup are the same training: mup
stands for both.

What came out, with 95% intervals in brackets:

* after 5 epochs the best rate stays over depth with 1/sqrt(L): **holds** (depth 3 to 24: +0.09 octaves per
  doubling [-0.04, +0.22]; the smallest's best costs the largest 2.0% [0.0, 10.4] more loss)
* after 5 epochs the best rate moves with depth without 1/sqrt(L): **holds** (depth 3 to 24: -0.65 octaves per
  doubling [-0.79, -0.52]; the smallest's best costs the largest 253.0% [151.9, 435.2] more loss)
* after 20 epochs the best rate stays over depth with 1/sqrt(L): **holds** (depth 3 to 24: -0.02 octaves per
  doubling [-0.21, +0.18]; the smallest's best costs the largest 0.1% [0.0, 24.4] more loss)
* after 20 epochs the best rate moves with depth without 1/sqrt(L): **holds** (depth 3 to 24: the optimum
  falls by more than 0.49 octaves per doubling of depth: depth 3: best lr 0.192 (2^-2.38), 95% interval 0.128
  to 0.256 (1.00 octaves wide, 3 seeds); depth 24: the loss is still falling toward the low end of the grid at
  lr 0.0156 (2^-6.00) (the optimum is below 0.0462 (2^-4.44)): extend the grid to 0.000977 (2^-10.00); the
  smallest's best costs the largest 2892.1% [0.0, 8233.7] more loss)
* after 60 epochs the best rate stays over depth with 1/sqrt(L): **holds** (depth 3 to 24: -0.01 octaves per
  doubling [-0.16, +0.13]; the smallest's best costs the largest 1.1% [0.0, 22.8] more loss)
* after 60 epochs the best rate moves with depth without 1/sqrt(L): **holds** (depth 3 to 24: the optimum
  falls by more than 0.59 octaves per doubling of depth: depth 3: best lr 0.218 (2^-2.20), 95% interval 0.179
  to 0.281 (0.65 octaves wide, 3 seeds); depth 24: the loss is still falling toward the low end of the grid at
  lr 0.0156 (2^-6.00) (the optimum is below 0.052 (2^-4.27)): extend the grid to 0.000977 (2^-10.00))
* at depth 3 with 1/sqrt(L) the best rate stays as training grows longer: **holds** (length 5 to 60: +0.09
  octaves per doubling [-0.02, +0.20]; the smallest's best costs the largest 20.2% [1.0, 106.7] more loss)
* at depth 6 with 1/sqrt(L) the best rate stays as training grows longer: **cannot tell** (length 5 to 60:
  -0.07 octaves per doubling [-0.31, +0.17]; the smallest's best costs the largest 2.3% [0.0, 54.2] more loss)
* at depth 12 with 1/sqrt(L) the best rate stays as training grows longer: **holds** (length 5 to 60: +0.01
  octaves per doubling [-0.20, +0.21]; the smallest's best costs the largest 0.1% [0.0, 56.5] more loss)
* at depth 24 with 1/sqrt(L) the best rate stays as training grows longer: **holds** (length 5 to 60: -0.01
  octaves per doubling [-0.12, +0.11]; the smallest's best costs the largest 0.0% [0.0, 20.3] more loss)
* with 1/sqrt(L) 20 epochs find the best rate of 60: **holds** (on more steps less on fewer: +0.08 octaves
  [-0.27, +0.43]; L = 3 +0.18 [-0.41, +0.78], L = 6 -0.22 [-1.07, +0.63], L = 12 +0.23 [-0.52, +0.98], L = 24
  +0.13 [-0.44, +0.70])

The learning rate transfers over depth with 1/sqrt(L) from the first to the last length; without it the drift
is there from the start and does not go away near convergence (the best rate of 24 blocks then lies below the
grid). From 55 steps on the best rate hardly depends on the length, so tuning on a third of 60 epochs is safe
here, where a third of 90 steps was not (figure B.3). One hundred epochs were not run.

The facts are recorded; ``isoscale reproduce bordelon2024 longer`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import longer
from papers.bordelon2024.record import from_json, golden

facts = from_json(longer.Facts, golden("longer", "cpu"))
longer.draw(facts, plt.figure())
