"""
Bordelon et al. 2024, figure 2: BatchNorm and hundreds of layers
================================================================

The claim. With BatchNorm too the best learning rate of a shallow network is right for one of hundreds of
layers if branches are divided by the square root of the depth, deeper networks are better, and without the
division the best rate shifts.

What was run. Pre-activation convolutional networks with BatchNorm on digits, 8 channels, 2 to 128 blocks (256
convolutions; SGD with momentum 0.9, a half cosine, batch 32, 25 steps), learning rates an octave apart, three
seeds. At the base width sp and mup are the same training: mup stands for both.

What came out, with 95% intervals in brackets:

* with BatchNorm and 1/sqrt(L) the best learning rate stays to the largest depth: **holds** (depth 2 to 128:
  -0.04 octaves per doubling [-0.19, +0.11]; the smallest's best costs the largest 3.1% [0.0, 20.9] more loss)
* without 1/sqrt(L) it moves with depth: **cannot tell** (depth 2 to 32, not resolved at 128: -0.10 octaves
  per doubling [-0.22, +0.03]; the smallest's best costs the largest 101.9% [0.0, 522.4] more loss)
* deeper is better: **cannot tell** (+0.6% [-5.5, +7.2] per doubling of depth; tuned, 2 blocks reach 0.213,
  128 reach 0.218)

With 1/sqrt(L) the learning rate tuned at 2 blocks is right at 128 blocks, 257 convolutions deep. Without it
BatchNorm keeps the deep networks alive and the best rate moves less than isoscale can tell with three seeds,
but tuned 128 blocks have twice the loss of scaled ones, and five times at the shallow best rate. Deeper is
not seen to be better: after 25 steps on digits the tuned loss is the same at 2 and at 128 blocks with
1/sqrt(L); without it, it doubles. The paper's claim is for CIFAR-10 after 20 epochs, which the gpu preset
runs (--data).

The facts are recorded; ``isoscale reproduce bordelon2024 fig2`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig2
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig2.Facts, golden("fig2", "cpu"))
fig2.draw(facts, plt.figure())
