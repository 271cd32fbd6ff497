"""Slow and obvious: what the fast solvers are tested against.

Legend: see setting.py. `euler_limit` is the mean ODE by explicit Euler in depth with the same particles at every layer
(a ResNet of L layers with tied initial weights and M = P: no sampling difference from layer to layer, error O(1/L)).
`autograd_net` is one finite net, trained by torch's own gradients with the raw learning rates.
"""

import torch
from torch import Tensor

from isoscale.theory.mean_ode.network import Net, Weights, train
from isoscale.theory.mean_ode.setting import Reduced, Setting


def euler_limit(problem: Reduced, U: Tensor, V: Tensor, L: int, steps: int) -> Tensor:
    """Outputs f (K+1, n, dout) of L Euler steps in depth, particles U, V (r, P) shared by all layers at the start."""
    setting = problem.setting
    alpha, D = setting.alpha, setting.D
    u, v = (x.T.repeat(L, 1, 1) for x in (U, V))  # (L, P, r)
    P, outputs = u.shape[1], []
    for _ in range(steps + 1):
        h = [problem.h0]
        for l in range(L):
            h.append(h[l] + alpha / (L * P) * setting.rho.value(h[l] @ u[l].T / D) @ v[l])
        f = h[L] @ problem.W / D
        outputs.append(f)
        b = (f - setting.Y) @ problem.W.T / (setting.n * setting.dout)
        for l in reversed(range(L)):
            p = h[l] @ u[l].T / D  # (n, P)
            a = setting.rho.value(p)
            sq = setting.rho.slope(p, a) * (b @ v[l].T / D)
            dv, du = a.T @ b, sq.T @ h[l]
            b = b + alpha / (L * P) * sq @ u[l]
            u[l] -= setting.eta_u / alpha * du
            v[l] -= setting.eta_v / alpha * dv
    return torch.stack(outputs)


def autograd_net(setting: Setting, net: Net, weights: Weights, steps: int) -> tuple[Tensor, Weights]:
    """Outputs f (K+1, n, dout) and final weights of one net whose raw gradients come from torch.autograd."""
    U, V = (x[:, 0].clone().requires_grad_(True) for x in weights)
    rate_u, rate_v = setting.raw_rates(net.L, net.M)
    outputs = []
    for k in range(steps + 1):
        h = setting.X @ setting.W_E.T
        for l in range(net.L):
            p = h @ U[l].T / setting.D
            h = h + setting.alpha / (net.L * net.M) * setting.rho.value(p) @ V[l]
        f = h @ setting.W_U / setting.D
        outputs.append(f.detach())
        if k == steps:
            break
        gradient_u, gradient_v = torch.autograd.grad(setting.loss(f), (U, V))
        with torch.no_grad():
            U -= rate_u * gradient_u
            V -= rate_v * gradient_v
    return torch.stack(outputs), Weights(U.detach()[:, None], V.detach()[:, None])


def wide_deep_net(setting: Setting, L: int, M: int, steps: int, seed: int = 0) -> Tensor:
    """Outputs f (n, dout) of one large finite net in float32: the brute-force estimate of the limit."""
    return train(setting, [Net(L, M, seed)], steps).f[-1, 0].double()
