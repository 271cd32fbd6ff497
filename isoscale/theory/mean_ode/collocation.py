"""Gauss collocation in depth: the nodes, weights and integration matrix of Gauss-Legendre on [0, 1].

For dh/ds = F(h), h(0) = h0, the collocation polynomial of degree S satisfies, at the nodes c,

    H = h0 + A F(H),   h(1) = h0 + w.F(H),     A_ij = integral_0^{c_i} l_j,   w_j = integral_0^1 l_j

and an adjoint -db/ds = G(b), b(1) = b1, satisfies B = b1 + (1 w^T - A) G(B). The pair is symplectic, so the collocated
continuous adjoint is the exact adjoint of the collocated forward map. Order 2S at s = 1.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray


@dataclass(frozen=True)
class Collocation:
    """`nodes` (S,), `weights` (S,), `forward` (S, S) = A and `backward` (S, S) = 1 w^T - A."""

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]


@lru_cache
def gauss(S: int) -> Collocation:
    """The Gauss-Legendre scheme with S nodes on [0, 1].

    >>> gauss(2).weights
    array([0.5, 0.5])
    """
    if not 1 <= S <= 32:
        raise ValueError(f"nodes = {S} must be between 1 and 32; 3 to 6 suffice while the depth profile is regular")
    x, weights = np.polynomial.legendre.leggauss(S)
    nodes = (x + 1) / 2
    # Expand l_j in Legendre polynomials by quadrature (exact: degree 2S - 2), then integrate those in closed form.
    values = np.polynomial.legendre.legvander(x, S)
    coefficients = (values[:, :S] * weights[:, None] / 2) * (2 * np.arange(S) + 1)
    integrals = np.empty((S, S))
    integrals[:, 0] = (x + 1) / 2
    for degree in range(1, S):
        integrals[:, degree] = (values[:, degree + 1] - values[:, degree - 1]) / (2 * (2 * degree + 1))
    forward = integrals @ coefficients.T
    return Collocation(nodes, weights / 2, forward, weights[None, :] / 2 - forward)


def interpolate(
    nodes: NDArray[np.float64], values: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The polynomial through (nodes, values[S, ...]), evaluated at `at` (m,): barycentric, shape (m, ...)."""
    differences = nodes[:, None] - nodes[None, :] + np.eye(len(nodes))
    barycentric = 1 / differences.prod(axis=1)
    gaps = at[:, None] - nodes[None, :]
    exact = np.isclose(gaps, 0, atol=1e-14)
    weights = barycentric / np.where(exact, 1, gaps)
    weights = np.where(exact.any(axis=1, keepdims=True), exact.astype(float), weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, values, axes=1)


def elementary(nodes: NDArray[np.float64], j: int) -> Polynomial:
    """The Lagrange polynomial l_j, slowly and obviously: the tests' oracle for `gauss`."""
    result = Polynomial([1.0])
    for i, node in enumerate(nodes):
        if i != j:
            result = result * Polynomial([-node, 1.0]) / (nodes[j] - node)
    return result
