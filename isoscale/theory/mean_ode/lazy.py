"""The lazy ODE: the limit alpha -> infinity of the mean ODE, in closed form. No particles, no sampling.

Legend: K steps, S Gauss nodes, n points, r reduced coordinates; h, h' streams, b = D dLoss/dh, G adjoint field.

    d/ds h_k = F(h_k) = - sum_{k' < k, i} [eta_v kap0 + eta_u (sigma_v^2/D) (h.h'/D) kap1] b_{k'}(s, x_i)
                                                                              where h' = h_{k'}(s, x_i)
    -d/ds b_k = (dF/dh)^T b_k

with kap0, kap1 of the Gaussian pre-activations of covariance (sigma_u^2/D^2) Gram(h, h'). Since E[V_0] = 0 and U_0, V_0
are independent, the weights' displacements are linear and their averages exact. Source: Chizat, arXiv 2509.10167,
theorem 2 (the limit); the closed form is derived in docs/theory/mean_ode.md.
"""

import torch
from torch import Tensor

from isoscale.theory.mean_ode.collocation import gauss
from isoscale.theory.mean_ode.kernels import kernels_of
from isoscale.theory.mean_ode.march import Progress
from isoscale.theory.mean_ode.setting import Reduced, Setting, reduced
from isoscale.theory.mean_ode.solver import Trajectory
from isoscale.theory.solution import Solution, Status


def lazy_ode(
    setting: Setting,
    steps: int,
    *,
    nodes: int = 10,
    tolerance: float = 1e-9,
    max_sweeps: int = 60,
    check_depth: bool = True,
    progress: Progress | None = None,
) -> Solution[Trajectory]:
    """Solve the lazy ODE for `steps` gradient steps (`setting.alpha` plays no part), float64.

    `error["outputs"]` is the rms difference from the same computation with two more depth nodes (worst step), or NaN
    with check_depth False. erf and ReLU use closed-form kernels, other activations Mehler's series.
    """
    problem = reduced(setting)
    f, h, H, stopped = _march(problem, steps, nodes, tolerance, max_sweeps, progress)
    value = Trajectory(f, h @ problem.Q.T, setting.loss(f), H, problem.h0, problem.Q)
    if stopped is not None:
        sentence = f"the depth iteration stopped at k={stopped}: the step size is unstable; lower eta"
        return Solution(value if len(f) else None, {}, Status("diverged", sentence))
    error = float("nan")
    if check_depth:
        finer = _march(problem, steps, nodes + 2, tolerance, max_sweeps, None)[0]
        error = float(((finer[: len(f)] - f) ** 2).mean((-1, -2)).sqrt().max())
    grown = bool(value.loss.max() > 10 * value.loss[0])
    if grown:
        return Solution(value, {"outputs": error}, Status("diverged", "the loss grew tenfold: lower eta"))
    if error > 1e-2:
        sentence = f"{nodes} and {nodes + 2} depth nodes disagree by {error:.1e}: depth regularity lost; lower eta"
        return Solution(value, {"outputs": error}, Status("refused", sentence))
    return Solution(value, {"outputs": error}, Status("converged", f"{steps} steps with {nodes} depth nodes"))


def _march(
    problem: Reduced, steps: int, nodes: int, tolerance: float, limit: int, progress: Progress | None
) -> tuple[Tensor, Tensor, Tensor, int | None]:
    """f (K+1, n, dout), h_k(1) (K+1, n, r), H (K+1, S, n, r) and the step at which it stopped, or None."""
    setting, scheme = problem.setting, gauss(nodes)
    A, backward, w = (torch.from_numpy(x).to(problem.h0) for x in (scheme.forward, scheme.backward, scheme.weights))
    h0, D, n = problem.h0, setting.D, setting.n
    past_h = h0.new_empty(nodes, 0, problem.r)  # (S, k n, r): streams and adjoints of the steps so far
    past_b = torch.empty_like(past_h)
    H = h0.expand(nodes, n, -1)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for k in range(steps + 1):
        if len(history) > 1:
            H = 2 * history[-1][2] - history[-2][2]
        for _ in range(limit):
            new = h0 + _depth(A, _field(setting, H, past_h, past_b))
            moved, H = float((new - H).abs().max()), new
            if not moved > tolerance:
                break
        h = h0 + torch.einsum("s,snr->nr", w, _field(setting, H, past_h, past_b))
        f = h @ problem.W / D
        if not (bool(torch.isfinite(f).all()) and moved <= tolerance):
            return *_stacked(history, h0), k
        history.append((f, h, H))
        if k == steps:
            break
        b1 = (f - setting.Y) @ problem.W.T / (n * setting.dout)
        b = b1.expand_as(H)
        leaf = H.clone().requires_grad_(True)
        F = _field(setting, leaf, past_h, past_b)
        for _ in range(limit if k else 1):
            (G,) = torch.autograd.grad(F, leaf, b, retain_graph=True) if k else (torch.zeros_like(b),)
            new = b1 + _depth(backward, G)
            moved, b = float((new - b).abs().max()), new
            if not moved > tolerance:
                break
        past_h, past_b = torch.cat([past_h, H], 1), torch.cat([past_b, b], 1)
        if progress is not None:
            progress(k + 1, steps)
    return *_stacked(history, h0), None


def _stacked(history: list[tuple[Tensor, Tensor, Tensor]], h0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if not history:
        return h0[:0, None, None], h0[:0, None], h0[:0, None, None]
    f, h, H = (torch.stack(field) for field in zip(*history))
    return f, h, H


def _depth(matrix: Tensor, values: Tensor) -> Tensor:
    return (matrix @ values.flatten(1)).view_as(values)


def _field(setting: Setting, h: Tensor, past_h: Tensor, past_b: Tensor) -> Tensor:
    """F (S, n, r) at h (S, n, r), given the streams and adjoints of the past steps, each (S, k n, r)."""
    D, scale = setting.D, setting.std_u**2 / setting.D**2
    if past_h.shape[1] == 0:
        return torch.zeros_like(h)
    gram = h @ past_h.transpose(1, 2)
    v = scale * (h * h).sum(-1)[..., None]
    w = scale * (past_h * past_h).sum(-1)[:, None]
    kap0, kap1 = kernels_of(setting.rho)(v, w, scale * gram)
    kernel = setting.eta_v * kap0 + setting.eta_u * (setting.std_v**2 / D) * (gram / D) * kap1
    return -kernel @ past_b
