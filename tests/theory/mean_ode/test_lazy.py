"""The lazy ODE: kernels against quadrature and sampling, depth (C9), and the mean ODE at large alpha against it."""

import math

import pytest
import torch

from isoscale.theory.mean_ode import lazy
from isoscale.theory.mean_ode.activations import ACTIVATIONS
from isoscale.theory.mean_ode.kernels import by_quadrature, kernels_of, mehler_kernels, relu_kernels
from isoscale.theory.mean_ode.lazy import lazy_ode
from isoscale.theory.mean_ode.setting import setting_b
from isoscale.theory.mean_ode.solver import mean_ode


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize("name", ["tanh", "erf", "shifted_tanh"])
@pytest.mark.parametrize(("v", "w", "c"), [(1.0, 1.0, 0.5), (0.5, 1.5, -0.8), (1.0, 1.0, 0.99)])
def test_kernels_are_the_gaussian_averages(name: str, v: float, w: float, c: float) -> None:
    rho = ACTIVATIONS[name]
    exact = by_quadrature(rho, v, w, c)
    for kernels in (kernels_of(rho), mehler_kernels(rho)):
        found = kernels(one(v), one(w), one(c))
        assert float(found[0]) == pytest.approx(exact[0], abs=1e-8)
        assert float(found[1]) == pytest.approx(exact[1], abs=1e-8)
    assert abs(by_quadrature(rho, v, w, 0.9 * c)[0] - exact[0]) > 1e-3


def test_relu_kernels_are_the_gaussian_averages_and_smooth_at_equal_points() -> None:
    x = torch.randn(400_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = x[:, 0], 0.5 * x[:, 0] + math.sqrt(0.75) * x[:, 1]
    kap0, kap1 = relu_kernels(one(1.0), one(1.0), one(0.5))
    assert float(kap0) == pytest.approx(float((a.relu() * b.relu()).mean()), abs=5e-3)
    assert float(kap1) == pytest.approx(float(((a > 0) & (b > 0)).double().mean()), abs=5e-3)
    assert float(relu_kernels(one(2.0), one(2.0), one(2.0))[0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_c9_ten_and_twelve_depth_nodes_agree(activation: str) -> None:
    solution = lazy_ode(setting_b(activation=activation), 20)
    assert solution.status.ok
    assert solution.error["outputs"] < 1e-6
    assert lazy_ode(setting_b(activation=activation), 20, nodes=1).error["outputs"] > 1e-5


def test_the_mean_ode_at_large_alpha_is_the_lazy_ode(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = setting_b(activation="erf")
    limit = lazy_ode(setting, 5, check_depth=False).require().f

    def far(alpha: float) -> float:
        near = mean_ode(setting.with_(alpha=alpha), 5, check_depth=False, replicates=1, particles=2**14).require()
        return float((near.f - limit)[1:].square().mean().sqrt())

    assert far(50.0) < 5e-3
    assert far(1.0) > 2e-2
    # Control: without the moving preactivations (kap1) it is another limit.
    monkeypatch.setattr(lazy, "kernels_of", lambda rho: lambda v, w, c: (kernels_of(rho)(v, w, c)[0], 0 * c))
    wrong = lazy_ode(setting, 5, check_depth=False).require().f
    assert float((wrong - limit).square().mean().sqrt()) > 5e-2


def test_tanh_by_mehler_is_close_to_erf_where_they_are_close() -> None:
    """tanh(x) ~ erf(x sqrt(pi)/2) near 0: with small pre-activations the two lazy limits nearly agree."""
    small = {"sigma_u": 0.2, "eta_u": 0.0}
    tanh, erf = (
        lazy_ode(setting_b(activation=name, eta_v=25.0 * scale, **small), 3, check_depth=False).require().f
        for name, scale in (("tanh", 1.0), ("erf", math.pi / 4))
    )
    assert float((tanh - erf).abs().max()) < 0.02 * float((tanh[3] - tanh[0]).abs().max())


def test_an_unstable_lazy_step_is_a_status() -> None:
    solution = lazy_ode(setting_b(activation="erf", eta_u=200.0, eta_v=200.0), 6, nodes=4, check_depth=False)
    assert solution.status.kind == "diverged"
    assert "lower eta" in solution.status.sentence
