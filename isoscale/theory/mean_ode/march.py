"""One mean ODE for given particles: gradient steps k outside, collocation in depth inside, by quasi-Newton Picard.

Legend: B replicates, S nodes, n points, r coordinates, P particles; U, V (B, S, r, P); H, b at nodes (B, S, n, r);
p = U.h/D, a = rho(p), q = V.b/D; F the forward field, G the adjoint field, J = dF/dh (r, r) a node and point.

    F(h) = alpha E[V rho(U.h/D)]            dh/ds = F,   h(0) = h0
    G(b) = alpha E[U rho'(p) q] = J^T b     -db/ds = G,  b(1) = W (f - y)/(n dout),  f = W^T h(1)/D
    U <- U - (eta_u/alpha) sum_i rho'(p_i) q_i h_i,    V <- V - (eta_v/alpha) sum_i rho(p_i) b_i

The matrix J drives both solves: for the forward field it is the Jacobian, for the adjoint it is the field. A few
hundred of the particles estimate it well enough to contract the error about twentyfold a sweep, so that two sweeps
over all particles do the work of five plain Picard sweeps (measured in bench/mean_ode_solver.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isoscale.theory.mean_ode.collocation import gauss
from isoscale.theory.mean_ode.setting import Reduced

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

JACOBIAN_PARTICLES = 384  # a multiple of every law's orbit, so that E[v] = 0 holds among them too
INNER_SWEEPS = 8


@dataclass(frozen=True, eq=False)
class March:
    """The fields of every step, in reduced coordinates: f (K+1, B, n, dout), h (K+1, B, n, r) = h_k(1) and
    H (K+1, B, S, n, r) at the nodes; U, V after K steps; `sweeps` over all particles; `stopped` is (k, why) or None."""

    f: Tensor
    h: Tensor
    H: Tensor
    U: Tensor
    V: Tensor
    sweeps: int
    stopped: tuple[int, str] | None


@dataclass(frozen=True, eq=False)
class _Scheme:
    forward: Tensor
    backward: Tensor
    weights: Tensor

    @staticmethod
    def of(S: int, like: Tensor) -> "_Scheme":
        scheme = gauss(S)
        return _Scheme(*(torch.as_tensor(x).to(like) for x in (scheme.forward, scheme.backward, scheme.weights)))


def _along_depth(matrix: Tensor, values: Tensor) -> Tensor:
    """matrix (S, S) applied to the node axis of values (B, S, n, r)."""
    return (matrix @ values.flatten(2)).view_as(values)


def march(
    problem: Reduced,
    U: Tensor,
    V: Tensor,
    steps: int,
    *,
    tolerance: float = 1e-4,
    max_sweeps: int = 40,
    progress: Progress | None = None,
) -> March:
    """Gradient descent of the particles `U`, `V` (consumed: updated in place) for `steps` steps.

    `tolerance` bounds the last correction of the depth iteration, relative to the largest entry of h0. Never raises
    on blow-up: the fields up to the last trusted step come back with `stopped`.
    """
    setting, D = problem.setting, problem.setting.D
    B, S, r, P = U.shape
    u, v = U.view(B * S, r, P), V.view(B * S, r, P)
    scheme = _Scheme.of(S, U)
    h0, W, Y = problem.h0.to(U), problem.W.to(U), setting.Y.to(U)
    H, adjoint = h0.expand(B, S, *h0.shape), None
    scale = float(h0.abs().max())
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    sweeps, stopped = 0, None
    for k in range(steps + 1):
        past = [entry[2] for entry in history[-3:]]
        guess = _extrapolate(past) if past else H
        J = _jacobian(problem, u, v, guess)
        H, h, a, p, used = _forward(problem, scheme, u, v, h0, guess, J, tolerance * scale, max_sweeps)
        sweeps += used
        f = h @ W / D
        if not bool(torch.isfinite(f).all()):
            stopped = (k, "the forward fields are not finite: the step size is unstable")
            break
        history.append((f, h, H))
        if used >= max_sweeps:
            stopped = (k, f"the depth iteration did not reach its tolerance in {max_sweeps} sweeps")
            break
        if k == steps:
            break
        b1 = (f - Y) @ W.T / (setting.n * setting.dout)
        slope = setting.rho.slope(p, a)
        small = tolerance * float(b1.abs().max())
        b, sq, used = _backward(problem, scheme, u, v, b1, slope, adjoint, J, small, max_sweeps)
        sweeps += used
        adjoint = b
        flat = (B * S, setting.n, r)
        u.baddbmm_(H.reshape(flat).transpose(1, 2), sq, alpha=-setting.eta_u / setting.alpha)
        v.baddbmm_(b.reshape(flat).transpose(1, 2), a, alpha=-setting.eta_v / setting.alpha)
        if progress is not None:
            progress(k + 1, steps)
    fs, hs, Hs = (torch.stack(field) for field in zip(*history)) if history else (h0[None], h0[None], h0[None])
    return March(fs, hs, Hs, U, V, sweeps, stopped)


def _extrapolate(past: list[Tensor]) -> Tensor:
    """The fields' next value from their last ones: the polynomial through them."""
    if len(past) == 1:
        return past[0]
    if len(past) == 2:
        return 2 * past[1] - past[0]
    return 3 * (past[2] - past[1]) + past[0]


def _jacobian(problem: Reduced, u: Tensor, v: Tensor, H: Tensor) -> Tensor:
    """J (B S, n, r, r) = alpha E[V rho'(p) U^T]/D at H, from the first particles."""
    setting = problem.setting
    few = slice(0, min(u.shape[2], JACOBIAN_PARTICLES))
    uu, vv = u[:, :, few], v[:, :, few]
    count, r, P = uu.shape
    p = torch.bmm(H.reshape(count, -1, r) / setting.D, uu)
    slope = setting.rho.slope(p, setting.rho.value(p))
    outer = (vv[:, :, None] * uu[:, None]).view(count, r * r, P)
    return torch.bmm(slope, outer.transpose(1, 2)).mul_(setting.alpha / (P * setting.D)).view(count, -1, r, r)


def _inner(matrix: Tensor, J: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """delta = residual + matrix J delta along depth, by fixed point; and J delta."""
    delta = residual
    for _ in range(INNER_SWEEPS):
        moved = (J @ delta.reshape(*J.shape[:-1], 1)).view_as(residual)
        delta = residual + _along_depth(matrix, moved)
    return delta, moved


def _forward(
    problem: Reduced, scheme: _Scheme, u: Tensor, v: Tensor, h0: Tensor, H: Tensor, J: Tensor, small: float, limit: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Solve H = h0 + A F(H). Returns H, h(1), rho(p), p and the number of sweeps over all particles."""
    setting, shape = problem.setting, H.shape
    count, r, P = u.shape
    vt = v.transpose(1, 2)
    sweep = 0
    while sweep < limit:
        sweep += 1
        p = torch.bmm(H.reshape(count, -1, r) / setting.D, u)
        a = setting.rho.value(p)
        F = torch.bmm(a, vt).mul_(setting.alpha / P).view(shape)
        delta, moved = _inner(scheme.forward, J, h0 + _along_depth(scheme.forward, F) - H)
        H = H + delta
        if not float(delta.abs().max()) > small:
            break
    h = h0 + torch.einsum("s,bsnr->bnr", scheme.weights, F + moved)
    return H, h, a, p, sweep


def _backward(
    problem: Reduced,
    scheme: _Scheme,
    u: Tensor,
    v: Tensor,
    b1: Tensor,
    slope: Tensor,
    guess: Tensor | None,
    J: Tensor,
    small: float,
    limit: int,
) -> tuple[Tensor, Tensor, int]:
    """Solve b = b1 + (1 w^T - A) G(b). Returns b at the nodes, rho'(p) q, and the number of sweeps."""
    setting = problem.setting
    count, r, P = u.shape
    B, S = b1.shape[0], len(scheme.weights)
    start = b1[:, None].expand(B, S, -1, -1)
    # G(b) = J^T b up to sampling, so the estimate itself solves for the first guess.
    JT = J.transpose(-1, -2)
    b = _inner(scheme.backward, JT, start)[0]
    ut = u.transpose(1, 2)
    sweep = 0
    while sweep < limit:
        sweep += 1
        sq = torch.bmm(b.reshape(count, -1, r) / setting.D, v).mul_(slope)
        G = torch.bmm(sq, ut).mul_(setting.alpha / P).view_as(b)
        delta, _ = _inner(scheme.backward, JT, start + _along_depth(scheme.backward, G) - b)
        b = b + delta
        if not float(delta.abs().max()) > small:
            break
    return b, sq, sweep
