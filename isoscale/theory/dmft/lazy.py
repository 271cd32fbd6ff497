"""The lazy limit gamma0 -> 0: kernels of the initial network and training by a fixed tangent kernel, at any depth.

Legend: L blocks, tau = l / L, b branch scale, lam block rate, sig std of block weights, H^l = <h^l h^l>,
Phi^l = E[phi phi], Phid^l = E[phi' phi'] under N(0, H^l), G^l = <g^l g^l>, K tangent kernel, all (M, M); f outputs.

    H^0 = Kx, H^{l+1} = H^l + b^2 sig^2 Phi^l;   G^L = Phid^L, G^l = G^{l+1} o (1 + b^2 sig^2 Phid^l)
    K = Phi^L + lam b^2 sum_l G^{l+1} o Phi^l + G^0 o Kx;   f(t+1) = f(t) + eta0 K[:, :P] (p Delta)
    L -> infinity, alpha = 1/2: H' = beta0^2 sig^2 Phi, G' = -beta0^2 sig^2 Phid o G, G(1) = Phid(1),
    K = Phi(1) + beta0^2 int G o Phi dtau + G(0) o Kx   (alpha in (1/2, 1]: the same with sig = 0)

Source: docs/theory/dmft.md section 4; the tangent kernel is Jacot et al. 2018, its deep residual form derived here.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from isoscale.theory.dmft.expectations import gaussian_kernels
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.solution import Solution, Status


@dataclass(frozen=True, eq=False)
class LazyLimit:
    """Outputs `f` (T+1, M, C), `loss` (T+1,), tangent kernel `K`, last kernels `H`, `Phi`, first gradient kernel `G`
    (M, M each)."""

    f: Tensor
    loss: Tensor
    K: Tensor
    H: Tensor
    Phi: Tensor
    G: Tensor


def lazy_limit(problem: Problem, depth: float, *, rtol: float = 1e-10) -> Solution[LazyLimit]:
    """Training in the lazy limit at `depth` blocks, or at infinite depth with depth=math.inf.

    One layer a block, no biases, no decay (raises `BadProblem`). Exact to rounding at finite depth for linear, erf,
    relu and analytic activations; infinite depth integrated by scipy's DOP853 to `rtol`. A step size beyond
    2 / (largest eigenvalue of K p) for squared loss has status "diverged".
    """
    unsupported = {
        "layers_per_block": problem.layers_per_block == 2,
        "biases": problem.biases,
        "decay": problem.decay > 0,
        "norm": problem.norm != "none",
    }
    for name, given in unsupported.items():
        if given:
            raise BadProblem(
                f"{name}: the lazy limit is written for one layer a block, no biases, no decay, no normalisation"
            )
    infinite = math.isinf(depth)
    K, H, Phi, G = _deep(problem, rtol) if infinite else _finite(problem, int(depth))
    f = _descend(problem, K)
    loss = problem.loss_of(f)
    value = LazyLimit(f, loss, K, H, Phi, G)
    if not bool(torch.isfinite(loss).all()) or bool(loss.max() > 10 * loss[0]):
        sentence = f"the loss grew tenfold: eta0 = {problem.eta0} exceeds what the tangent kernel allows; lower it"
        return Solution(value, {}, Status("diverged", sentence))
    error = rtol if infinite else 0.0
    return Solution(value, {"f": error, "K": error}, Status("converged", "the lazy limit needs no sampling"))


def _finite(problem: Problem, L: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if L < 1:
        raise BadProblem(f"depth = {L} must be at least 1, or math.inf")
    b2 = problem.b(L) ** 2
    noise, learn = b2 * problem.sig_w**2, b2 * problem.block_rate(L)
    H, Phis, slopes = problem.Kx, [], []
    for _ in range(L):
        Phi, Phid = gaussian_kernels(problem.phi, H)
        Phis.append(Phi)
        slopes.append(Phid)
        H = H + noise * Phi
    last, G = gaussian_kernels(problem.phi, H)
    K = last.clone()
    for Phi, Phid in zip(reversed(Phis), reversed(slopes)):
        K = K + learn * G * Phi
        G = G * (1 + noise * Phid)
    return K + problem.input_lam * G * problem.Kx, H, last, G


def _deep(problem: Problem, rtol: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One integration from tau = 0: I = int Phid makes G(tau) = Phid(1) exp(beta0^2 sig^2 (I(1) - I(tau)))."""
    if not 0.5 <= problem.alpha <= 1 or (problem.lam is not None and problem.alpha != 0.5):
        raise BadProblem(
            f"alpha = {problem.alpha}, lam = {problem.lam}: infinite depth has a limit with learning blocks for alpha "
            "in [1/2, 1] and lam = L^(2 alpha - 1) only; leave lam None"
        )
    M, beta2 = problem.M, problem.beta0**2
    noise = beta2 * problem.sig_w**2 if problem.alpha == 0.5 else 0.0
    learn = beta2 * (1.0 if problem.lam is None else problem.lam)
    Kx = problem.Kx.cpu()

    def rows(tau: float, state: np.ndarray) -> np.ndarray:
        H, I, _ = torch.from_numpy(state).reshape(3, M, M)
        Phi, Phid = gaussian_kernels(problem.phi, H)
        return torch.stack([noise * Phi, Phid, torch.exp(-noise * I) * Phi]).reshape(-1).numpy()

    start = torch.stack([Kx, torch.zeros_like(Kx), torch.zeros_like(Kx)]).reshape(-1).numpy()
    found = solve_ivp(rows, (0.0, 1.0), start, method="DOP853", rtol=rtol, atol=rtol * 1e-2)
    if not found.success:
        raise BadProblem(f"kernels could not be integrated over depth: {found.message}; scale the data down")
    H, I, F = torch.from_numpy(np.ascontiguousarray(found.y[:, -1])).reshape(3, M, M)
    Phi, Phid = gaussian_kernels(problem.phi, H)
    growth = Phid * torch.exp(noise * I)
    return tuple(
        x.to(problem.X.device) for x in (Phi + learn * growth * F + problem.input_lam * growth * Kx, H, Phi, growth)
    )  # type: ignore[return-value]


def _descend(problem: Problem, K: Tensor) -> Tensor:
    """Gradient descent with the fixed kernel, heavy ball included."""
    P = problem.P
    f = torch.zeros(problem.M, problem.C, dtype=torch.float64, device=problem.X.device)
    velocity, path = torch.zeros_like(f), [f]
    for t in range(problem.steps):
        push = problem.eta0 * K[:, :P] @ (problem.weights[t, :, None] * problem.residual(f[:P]))
        velocity = problem.momentum * velocity + push
        f = f + problem.factors[t] * velocity
        path.append(f)
    return torch.stack(path)
