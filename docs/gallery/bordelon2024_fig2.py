"""
Bordelon et al. 2024, figure 2: BatchNorm and hundreds of layers
================================================================

The claim. With BatchNorm too the best learning rate of a shallow network is right for one of hundreds of
layers if branches are divided by the square root of the depth, deeper networks are better, and without the
division the best rate shifts.

What was run. Pre-activation convolutional networks with BatchNorm on digits, 8 channels, 2 to 128 blocks (256
convolutions; SGD with momentum 0.9, a half cosine, batch 32, 25 steps), learning rates an octave apart, three
seeds, two at 128 blocks. At the base width sp and mup are the same training: mup stands for both.

What came out, with 95% intervals in brackets:

* with BatchNorm and 1/sqrt(L) the best learning rate stays to the largest depth: **cannot tell** (depth 2 to
  32, not resolved at 128: +0.05 octaves per doubling [-0.07, +0.16]; the smallest's best costs the largest
  6.0% [0.0, 53.2] more loss)
* without 1/sqrt(L) it moves with depth: **cannot tell** (depth 2 to 32, not resolved at 128: -0.10 octaves
  per doubling [-0.22, +0.03]; the smallest's best costs the largest 115.7% [0.0, 1642.0] more loss)
* deeper is better: **cannot tell** (+1.4% [-22.7, +33.1] per doubling of depth; tuned, 2 blocks reach 0.217,
  128 reach 0.243)

With 1/sqrt(L) the optimum moves by -0.17 to +0.27 octaves from 2 to 32 blocks and the curve of 128 lies on
the others; two seeds do not bound its own optimum, so isoscale does not yet call it a transfer. Without it
BatchNorm keeps the deep networks alive, but 128 blocks have their best rate an octave lower on the grid and
there twice the loss, and at the shallow best rate five times the loss of scaled ones. Deeper is not seen to
be better here: after 25 steps on digits the tuned loss is about the same at 2 and at 128 blocks with
1/sqrt(L) (without it, it doubles). The paper's claim is for CIFAR-10 after 20 epochs, which the gpu preset
runs (--data).

The facts are recorded; ``isoscale reproduce bordelon2024 fig2`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig2
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig2.Facts, golden("fig2", "cpu"))
fig2.draw(facts, plt.figure())
