"""
Bordelon et al. 2024, a reviewer's question: does depth help?
=============================================================

The claim. Reviewer J7oQ asked whether deeper networks are better when they are trained longer, each at its
own best learning rate.

What was run. The runs of the page on longer training: residual MLPs of width 32 on digits, depth 3 to 24, 5,
20 and 60 epochs, three seeds; the loss of each depth at the learning rate that is best for it, and how it
changes per doubling of depth (a line a seed).

What came out, with 95% intervals in brackets:

* mup, 5 epochs: depth helps the tuned training loss: **does not hold** (+41.4% [+18.1, +69.2] per doubling of
  depth)
* mup, 20 epochs: depth helps the tuned training loss: **cannot tell** (+79.0% [-6.9, +244.0] per doubling of
  depth)
* mup, 60 epochs: depth helps the tuned training loss: **cannot tell** (+33.8% [-50.2, +259.3] per doubling of
  depth)
* depth_mup, 5 epochs: depth helps the tuned training loss: **cannot tell** (-4.5% [-21.0, +15.4] per doubling
  of depth)
* depth_mup, 20 epochs: depth helps the tuned training loss: **cannot tell** (+10.3% [-20.1, +52.1] per
  doubling of depth)
* depth_mup, 60 epochs: depth helps the tuned training loss: **cannot tell** (+13.6% [-17.3, +56.1] per
  doubling of depth)
* mup, 5 epochs: depth helps the tuned held-out loss: **cannot tell** (+19.0% [-16.7, +70.1] per doubling of
  depth)
* mup, 20 epochs: depth helps the tuned held-out loss: **cannot tell** (+1.8% [-19.0, +27.9] per doubling of
  depth)
* mup, 60 epochs: depth helps the tuned held-out loss: **cannot tell** (+17.9% [-12.5, +58.7] per doubling of
  depth)
* depth_mup, 5 epochs: depth helps the tuned held-out loss: **cannot tell** (-1.8% [-21.8, +23.4] per doubling
  of depth)
* depth_mup, 20 epochs: depth helps the tuned held-out loss: **cannot tell** (-2.5% [-16.6, +13.9] per
  doubling of depth)
* depth_mup, 60 epochs: depth helps the tuned held-out loss: **cannot tell** (+0.7% [-15.1, +19.5] per
  doubling of depth)

With 1/sqrt(L) depth neither helps nor hurts by an amount that three seeds can tell, however long the
training: digits are learned to the end by three blocks. Without it the tuned loss grows with depth. Whether
depth helps on a harder task is not answered at this scale.

The facts are recorded; ``isoscale reproduce bordelon2024 deeper`` makes them again.
"""

import matplotlib.pyplot as plt

from papers.bordelon2024 import deeper
from papers.bordelon2024.record import from_json, golden

facts = from_json(deeper.Facts, golden("deeper", "cpu"))
deeper.draw(facts, plt.figure())
