"""
Bordelon et al. 2024: matched at the largest depth
==================================================

The claim. In the review it was seen that shallow sp and mup networks lose to scaled ones where the branch
constant is matched at the largest depth. The authors' answer: there the rules agree, and the shallow networks
only train slower, since smaller branches act as a smaller learning rate.

What was run. The networks of figure 1 at 8 channels: sp and mup (at the base width one training) with the
constant that fits the smallest depth, and with beta smaller by the square root of 10, which fits depth 30;
depth_mup, six seeds (three at depth 30). At depth 30 the networks matched there are those of depth_mup. The
gap is compared at the rate that is best for depth_mup, and with each at its own best.

What came out, with 95% intervals in brackets:

* matched at the largest depth, sp and mup train slower at depth 3 and the same rate: **holds** (+15% [+2,
  +30])
* matched at the largest depth, sp and mup train slower at depth 6 and the same rate: **cannot tell** (-1%
  [-29, +38])
* matched at the largest depth, sp and mup train slower at depth 12 and the same rate: **holds** (+17% [+8,
  +27])
* the gap at depth 3 is one of learning rate: a higher rate closes it: **holds** (each at its own best rate
  -13% [-24, +1], theirs 1 octaves higher)
* the gap at depth 6 is one of learning rate: a higher rate closes it: **cannot tell** (each at its own best
  rate -17% [-42, +18], theirs 1 octaves higher)
* the gap at depth 12 is one of learning rate: a higher rate closes it: **holds** (each at its own best rate
  -9% [-20, +3], theirs 2 octaves higher)

The authors' answer is seen here. Matched at depth 30, the shallow networks have 15 to 17% more loss at the
rate that is best for the scaled ones at depth 3 and 12 (at depth 6 six seeds cannot tell), and with a rate
one to two octaves higher no more loss than them. What was lost is learning rate. The price is that the best
rate now falls with depth, so that the shallow one carried to depth 30 costs 124% [49, 245] more loss.

The facts are recorded; ``isoscale reproduce bordelon2024 fig1b`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import fig1b
from papers.bordelon2024.record import from_json, golden

facts = from_json(fig1b.Facts, golden("fig1b", "cpu"))
fig1b.draw(facts, plt.figure())
