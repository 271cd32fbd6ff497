"""The finite nets: the learning-rate convention (C1), batching and padding that change nothing (C14)."""

import pytest
import torch

from isoscale.theory.mean_ode.network import Net, Weights, batches, forward, initial, train
from isoscale.theory.mean_ode.oracle import autograd_net
from isoscale.theory.mean_ode.setting import BadSetting, Setting, setting_a, setting_b


def tiny(**changes: float) -> Setting:
    return setting_a(4, 3, 2, 3, alpha=1.7, eta_u=0.7, eta_v=1.3, **changes)


def lone(setting: Setting, net: Net, steps: int) -> torch.Tensor:
    return train(setting, [net], steps, dtype=torch.float64).f[-1, 0]


def gap_to_autograd(setting: Setting, oracle_setting: Setting, activation_steps: int = 3) -> float:
    net = Net(3, 2, 5)
    start = initial(setting, [net], torch.float64)
    f, weights = autograd_net(oracle_setting, net, Weights(start.U.clone(), start.V.clone()), activation_steps)
    ours = train(setting, [net], activation_steps, record=range(4), dtype=torch.float64, weights=start)
    gaps = (ours.f[:, 0] - f, ours.weights.U - weights.U, ours.weights.V - weights.V)
    return max(float(gap.abs().max()) for gap in gaps)


@pytest.mark.parametrize("activation", ["tanh", "erf", "relu", "shifted_tanh"])
def test_c1_a_step_by_hand_is_autograd_with_the_raw_rates(activation: str) -> None:
    setting = tiny().with_(activation=activation)
    assert gap_to_autograd(setting, setting) < 1e-12


def test_c1_control_the_raw_rate_is_seen() -> None:
    assert gap_to_autograd(tiny(), tiny().with_(eta_u=0.7 * 1.01)) > 1e-5
    assert tiny().raw_rates(3, 2) == pytest.approx((0.7 * 24 / 1.7**2, 1.3 * 24 / 1.7**2))


def test_a_net_does_not_depend_on_its_batch() -> None:
    setting = setting_a()
    nets = [Net(8, 5, seed, eta_u=0.3 * seed, alpha=1 + seed, sigma_v=2.0) for seed in range(4)]
    together = train(setting, nets, 5, dtype=torch.float64).f[-1]
    assert max(float((lone(setting, net, 5) - together[i]).abs().max()) for i, net in enumerate(nets)) < 1e-12


def test_zero_padding_is_exact() -> None:
    setting = setting_a()
    nets = [Net(8, 5), Net(3, 7, 1), Net(1, 1, 2), Net(6, 2, 3)]
    out = train(setting, nets, 5, dtype=torch.float64)
    assert max(float((lone(setting, net, 5) - out.f[-1, i]).abs().max()) for i, net in enumerate(nets)) < 1e-13
    assert float(out.weights.U[3:, 1].abs().max()) == 0
    assert float(out.weights.V[:, 3, 2:].abs().max()) == 0


def test_padding_refuses_an_activation_that_is_not_odd() -> None:
    setting = setting_a(activation="relu")
    with pytest.raises(BadSetting, match=r"not odd.*nets of one shape"):
        train(setting, [Net(4, 2), Net(4, 3)], 1)
    assert torch.isfinite(train(setting, [Net(4, 2), Net(4, 2, 1)], 1).f).all()


def test_a_diverging_net_leaves_its_neighbours_alone() -> None:
    setting = setting_b()
    nets = [Net(5, 3, 0), Net(5, 3, 1, eta_u=1e6, eta_v=1e6)]
    out = train(setting, nets, 8, dtype=torch.float64)
    assert float((lone(setting, nets[0], 8) - out.f[-1, 0]).abs().max()) < 1e-12
    assert out.loss[-1, 1] > 1e6


def test_draws_are_the_same_in_both_precisions_and_layers_are_not_tied() -> None:
    setting, nets = setting_a(), [Net(3, 2, 7)]
    double, single = (initial(setting, nets, dtype).U for dtype in (torch.float64, torch.float32))
    assert torch.equal(double.float(), single)
    assert float((double[0] - double[1]).abs().min()) > 0


def test_forward_is_the_formula() -> None:
    setting, net = tiny(), Net(2, 3, 1)
    U, V = (x[:, 0] for x in initial(setting, [net], torch.float64))
    for i, x in enumerate(setting.X):
        h = setting.W_E @ x
        for l in range(2):
            h = h + 1.7 / (2 * 3) * sum(V[l, j] * torch.tanh(U[l, j] @ h / 4) for j in range(3))
        f = forward(setting, [net], Weights(U[:, None], V[:, None])).f[0, i]
        assert torch.allclose(f, setting.W_U.T @ h / 4, atol=1e-14)


def test_batches_cover_every_net_once_and_pad_only_odd_activations() -> None:
    nets = [Net(L, M, seed) for L in (2, 8, 32) for M in (1, 3, 100) for seed in range(4)]
    groups = batches(nets, setting_a())
    assert sorted(i for group in groups for i in group) == list(range(len(nets)))
    assert len(groups) < 9
    plain = batches(nets, setting_a(activation="relu"))
    assert all(len({(nets[i].L, nets[i].M) for i in group}) == 1 for group in plain)


def test_bad_counts_are_refused() -> None:
    with pytest.raises(BadSetting, match="at least one layer"):
        Net(0, 3)
    with pytest.raises(BadSetting, match="no nets"):
        train(setting_a(), [], 1)
    with pytest.raises(BadSetting, match="record"):
        train(setting_a(), [Net(2, 2)], 1, record=[3])
