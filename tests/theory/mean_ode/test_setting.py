"""Bad input: a clear error that names the value, says why, and what to do."""

import pytest
import torch

from isoscale.theory.mean_ode.error_law import fit_rows, measure
from isoscale.theory.mean_ode.particles import draw
from isoscale.theory.mean_ode.setting import BadSetting, Setting, reduced, setting_a, setting_b, setting_f
from isoscale.theory.mean_ode.solver import mean_ode


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": 0.0}, "alpha = 0.0 must be finite and > 0"),
        ({"alpha": -1.0}, "lazy_ode"),
        ({"alpha": float("inf")}, "alpha = inf"),
        ({"sigma_v": float("nan")}, "sigma_v = nan"),
        ({"eta_u": -1.0}, "eta_u = -1.0"),
        ({"activation": "swish"}, "choose from tanh"),
        ({"law": "cauchy"}, "choose from normal"),
    ],
)
def test_bad_scales(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        setting_a(**changes)


def test_bad_data() -> None:
    good = setting_a()
    nan = good.X.clone()
    nan[0, 0] = float("nan")
    with pytest.raises(BadSetting, match=r"X of shape .* finite"):
        good.with_(X=nan)
    with pytest.raises(BadSetting, match=r"shapes .*'Y': \(4, 1\)"):
        good.with_(Y=torch.zeros(4, 1, dtype=torch.float64))
    with pytest.raises(BadSetting, match="nothing to fit"):
        reduced(Setting(0 * good.X, 0 * good.Y, good.W_E, good.W_U))


def test_bad_solver_arguments() -> None:
    with pytest.raises(BadSetting, match=r"choose 1 \* 2\*\*m"):
        mean_ode(setting_a(), 1, particles=1000)
    with pytest.raises(BadSetting, match="steps = -1"):
        mean_ode(setting_a(), -1)
    with pytest.raises(BadSetting, match="choose sobol"):
        draw(reduced(setting_a()), 64, 2, method="halton")


def test_the_error_law_says_what_it_leaves_out() -> None:
    with pytest.raises(BadSetting, match="at least two seeds"):
        measure(setting_a(), [(4, 4)], 1, [1])
    with pytest.raises(BadSetting, match=r"no limit to compare with: .*lower eta"):
        measure(setting_b(eta_u=30.0, eta_v=30.0), [(4, 4)], 2, [8], reference_particles=512)
    rows = measure(setting_b(20), [(8, 1), (8, 2), (8, 4), (16, 4), (32, 4)], 2, [1], reference_particles=1024)
    with pytest.raises(BadSetting, match=r"D = 20 > L M = 8"):
        fit_rows(rows, 1)


def test_rows_of_a_larger_embedding_extend_those_of_a_smaller_one() -> None:
    small, large = setting_f(6), setting_f(12)
    assert torch.equal(large.W_E[:6], small.W_E)
    assert torch.equal(large.W_U[:6], small.W_U)
    assert torch.equal(large.X, small.X)
