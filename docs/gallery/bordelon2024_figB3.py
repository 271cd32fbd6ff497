"""
Bordelon et al. 2024, figure B.3: tuning small and short
========================================================

The claim. Tuning on a third of the epochs finds the same optimum, and tuning a network of depth 6 and width
128 instead of one of depth 30 and width 1024 saves some 320 times the cost of a pass, about 1000 times in
all.

What was run. Residual MLPs with one weight a block (digits, SGD with momentum 0.9, a half cosine, batch 64,
beta 0.5) under depth_mup, 8 learning rates an octave apart: the paper's ratios of width (8) and depth (5) at
width 32 and depth 6, 90 steps (4 epochs) and 30. FLOPs and seconds are those of all runs of both tunings.

What came out, with 95% intervals in brackets:

* tuned on a third of the steps the best learning rate is the same: **does not hold** (on more steps less on
  fewer: -0.53 octaves [-0.84, -0.21]; 32x6 -0.40 [-0.95, +0.16], 32x12 -0.65 [-1.46, +0.17], 32x30 -0.69
  [-1.34, -0.03], 64x6 -0.38 [-0.80, +0.05])
* tuning the proxy for 90 steps costs at most 5% of loss at the target: **cannot tell** (253 times fewer
  FLOPs, 95 times fewer seconds; price 2.7% [0.0, 9.8] more loss)
* tuning the proxy for 30 steps costs at most 5% of loss at the target: **cannot tell** (759 times fewer
  FLOPs, 137 times fewer seconds; price 13.0% [3.1, 26.8] more loss)

The saving is real. The price of the proxy is small, and known to no better than the interval says. On so few
steps a third of them is too short: warm from nothing, 30 steps want a rate half an octave higher than 90 do,
and carrying it costs the target more. The figure on longer training finds the length from which a third does
hold.

The facts are recorded; ``isoscale reproduce bordelon2024 figB3`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import figB3
from papers.bordelon2024.record import from_json, golden

facts = from_json(figB3.Facts, golden("figB3", "cpu"))
figB3.draw(facts, plt.figure())
