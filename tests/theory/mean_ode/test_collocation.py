"""Gauss collocation against its definition, its order, and the symplectic identity behind the exact adjoint."""

import math

import numpy as np
import pytest

from isoscale.theory.mean_ode.collocation import elementary, gauss, interpolate


@pytest.mark.parametrize("S", [1, 2, 3, 4, 8, 12])
def test_the_tables_are_integrals_of_the_lagrange_polynomials(S: int) -> None:
    scheme = gauss(S)
    for j in range(S):
        integral = elementary(scheme.nodes, j).integ()
        assert np.allclose(scheme.forward[:, j], integral(scheme.nodes) - integral(0), atol=1e-9)
        assert math.isclose(scheme.weights[j], integral(1) - integral(0), abs_tol=1e-9)


@pytest.mark.parametrize("S", [1, 2, 3])
def test_the_order_at_the_end_is_2S(S: int) -> None:
    errors = []
    for steps in (2, 4):  # of dh/ds = h over [0, 1]
        H = np.linalg.solve(np.eye(S) - gauss(S).forward / steps, np.ones(S))
        errors.append(abs((1 + gauss(S).weights @ H / steps) ** steps - math.e))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2 * S, abs=0.1)


def test_the_adjoint_scheme_is_the_transpose_of_the_forward_one() -> None:
    scheme = gauss(4)
    weighted = np.diag(scheme.weights)
    assert np.allclose(weighted @ scheme.backward, (weighted @ scheme.forward).T, atol=1e-15)
    assert not np.allclose(scheme.backward, scheme.forward.T, atol=1e-3)


def test_interpolation_is_exact_for_polynomials_and_at_the_nodes() -> None:
    nodes = np.concatenate([[0.0], gauss(3).nodes])
    at = np.array([0.0, 0.3, nodes[2], 1.0])
    values = nodes[:, None] ** np.arange(4)
    assert np.allclose(interpolate(nodes, values, at), at[:, None] ** np.arange(4), atol=1e-13)


def test_too_many_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="between 1 and 32"):
        gauss(0)
