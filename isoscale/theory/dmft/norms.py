r"""Normalisation of the stream where a block or the readout reads it: by averages over neurons, as in finite networks.

Legend: h stream (R, M, S), <.> average over the S neurons of one replica, n normalised stream, s scale, g backward.

    rms:    n = h / s, s^2 = <h^2>                     dn^T g = (g - n <n g>) / s
    layer:  n = (h - <h>) / s, s^2 = <(h - <h>)^2>     dn^T g = (g - <g> - n <n g>) / s

As S grows, <h>, s and <n g> are deterministic: normalisation keeps the limit closed, neuron by neuron, and the one-pass
solver needs nothing new. Without gain and bias, and without an eps in the root.
Source: Ba, Kiros, Hinton 2016 (layer), Zhang and Sennrich 2019 (rms); that such averages are numbers in the limit is
the law of large numbers behind docs/theory/dmft.md.
"""

import torch
from torch import Tensor

from isoscale.theory.dmft.problem import Normalisation


class Norm:
    """One place where the stream is normalised; `backward` belongs to the last `forward`."""

    def __init__(self, kind: Normalisation) -> None:
        self._kind = kind

    def forward(self, h: Tensor) -> Tensor:
        if self._kind == "none":
            return h
        rest = h - h.mean(-1, keepdim=True) if self._kind == "layer" else h
        tiny = torch.finfo(h.dtype).tiny ** 0.5
        self._scale = (rest * rest).mean(-1, keepdim=True).sqrt().clamp_min(tiny)
        self._n = rest / self._scale
        return self._n

    def backward(self, g: Tensor, columns: Tensor) -> Tensor:
        """The transpose of the derivative at the points `columns`, on g (R, m, S)."""
        if self._kind == "none":
            return g
        n = self._n[:, columns]
        rest = g - g.mean(-1, keepdim=True) if self._kind == "layer" else g
        return (rest - n * (n * g).mean(-1, keepdim=True)) / self._scale[:, columns]
