r"""Residual blocks with one or two layers, over any representation of their matrices.

Legend: R replicas, S neurons, M points, m = (points in the batch) x C gradient fields (point-major), h stream,
g = gamma0 N df/dh backward field, phi activation, b branch scale, lam block rate, \W, \U, \V matrices acting on
fields, omega = eta0 gamma0 p Delta learning weights (R, m), columns: for each gradient field the index of its point.

    one layer:   h' = h + b (\W phi(h) + bias),    g = g' + b phi'(h) o \W^T g',    \W += lam b omega g' phi(h)^T
    two layers:  k = \U h, h' = h + b (\V phi(k) + bias), m = phi'(k) o \V^T g', g = g' + b \U^T m,
                 \V += lam b omega g' phi(k)^T,  \U += lam_in b omega m h^T

With a norm, h in the branches is n(h) (norms.py).
"""

from typing import Protocol

import torch
from torch import Tensor

from isoscale.theory.dmft.matrices import Descent, Matrix
from isoscale.theory.dmft.norms import Norm
from isoscale.theory.mean_ode.activations import Activation


class Block(Protocol):
    @property
    def matrices(self) -> tuple[Matrix, ...]: ...

    def forward(self, h: Tensor) -> Tensor: ...

    def backward(self, g: Tensor, columns: Tensor) -> Tensor: ...

    def learn(self, omega: Tensor, columns: Tensor, factor: float = 1.0) -> None: ...


class Bias:
    """A bias per neuron, (R, 1, S), or none at all: bias += lam b omega g'."""

    def __init__(self, like: Tensor | None, momentum: float, decay: float) -> None:
        self._descent = None if like is None else Descent(torch.zeros_like(like[:, :1]), momentum, decay)

    def added(self, x: Tensor) -> Tensor:
        return x if self._descent is None else x + self._descent.value

    def learn(self, push: Tensor, g: Tensor, factor: float) -> None:
        if self._descent is not None:
            self._descent.push(torch.bmm(push[:, None, :], g), factor)


class OneLayer:
    """h' = h + b (W phi(h) / sqrt S + bias)."""

    def __init__(self, matrix: Matrix, bias: Bias, norm: Norm, phi: Activation, b: float, lam: float) -> None:
        self.matrices, self._bias, self._norm, self._phi, self._b, self._lam = (matrix,), bias, norm, phi, b, lam

    def forward(self, h: Tensor) -> Tensor:
        n = self._norm.forward(h)
        a = self._phi.value(n)
        self._slope = self._phi.slope(n, a)
        return h + self._b * self._bias.added(self.matrices[0].forward(a))

    def backward(self, g: Tensor, columns: Tensor) -> Tensor:
        self._g = g
        return g + self._b * self._norm.backward(self._slope[:, columns] * self.matrices[0].backward(g), columns)

    def learn(self, omega: Tensor, columns: Tensor, factor: float = 1.0) -> None:
        push = self._lam * self._b * omega
        self.matrices[0].learn(push, columns, factor)
        self._bias.learn(push, self._g, factor)


class TwoLayer:
    """h' = h + b (V phi(k) / sqrt S + bias), k = U h / sqrt S; matrices = (U, V)."""

    def __init__(
        self, inner: Matrix, outer: Matrix, bias: Bias, norm: Norm, phi: Activation,
        b: float, lam: float, inner_lam: float,
    ) -> None:  # fmt: skip
        self.matrices, self._bias, self._norm, self._phi, self._b = (inner, outer), bias, norm, phi, b
        self._lam, self._inner_lam = lam, inner_lam

    def forward(self, h: Tensor) -> Tensor:
        k = self.matrices[0].forward(self._norm.forward(h))
        a = self._phi.value(k)
        self._slope = self._phi.slope(k, a)
        return h + self._b * self._bias.added(self.matrices[1].forward(a))

    def backward(self, g: Tensor, columns: Tensor) -> Tensor:
        self._g = g
        inner = self._slope[:, columns] * self.matrices[1].backward(g)
        return g + self._b * self._norm.backward(self.matrices[0].backward(inner), columns)

    def learn(self, omega: Tensor, columns: Tensor, factor: float = 1.0) -> None:
        self.matrices[1].learn(self._lam * self._b * omega, columns, factor)
        self.matrices[0].learn(self._inner_lam * self._b * omega, columns, factor)
        self._bias.learn(self._lam * self._b * omega, self._g, factor)
