r"""Linear networks at infinite depth, alpha = 1/2: the Riccati equations in tau = l / L, marched row by row in time.

Legend: as in linear.py, with tau depth in [0, 1], c_h = C_h / (beta0^2 dtau), c_g likewise, K Chebyshev nodes in tau.

    R'   = beta0^2 (R c_g R + c_h)                      -Q'   = beta0^2 (Q c_h Q + c_g)
    Sig' = beta0^2 (R c_g Sig + Sig c_g^T R^T + sig^2 (R G R^T + H))
    -Gam' = beta0^2 (Q c_h Gam + Gam c_h^T Q^T + sig^2 (Q H Q^T + G))
    c_h = sig^2 J R + felt o col(H),   c_g = sig^2 J' Q + felt o rep(G) pDelta

from R(0), Sig(0) = Kx (every two steps) and Q(1), Gam(1) = 1. The rows of step t obey an ordinary differential equation
whose coefficients are rows of earlier steps: integrate them left to right, get f(t), then right to left. For alpha in
(1/2, 1] the initial blocks drop out of the limit and the same equations hold with sig = 0.
Source: docs/theory/dmft.md section 3 (derived for this project); checked by Richardson in 1/L of linear.py.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from isoscale.theory.dmft.linear import LinearLimit, Memory, check_linear, finished
from isoscale.theory.dmft.march import Progress
from isoscale.theory.dmft.planning import check_numbers
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.solution import Solution

Array = NDArray[np.float64]

EVALUATIONS = 5000
"""Slopes taken in one integration over depth before it is given up: ordinary ones need 50 to 300."""


class _Unstable(ArithmeticError):
    """Training blew up: the coefficients of the next rows are too large to integrate."""


def solve_linear_deep(
    problem: Problem, *, rtol: float = 1e-9, nodes: int = 33, response: bool = True, progress: Progress | None = None
) -> Solution[LinearLimit]:
    """The limit of infinite width and depth of a linear network, alpha in [1/2, 1].

    Integrated with scipy's DOP853 to relative tolerance `rtol` between `nodes` Chebyshev nodes in depth, which also
    hold the kernels returned (`tau`). `error["f"]` is the size of the last two Chebyshev coefficients of the kernels,
    in units of their largest, or 10 rtol if greater. Raises `BadProblem` as `solve_linear` does, and for alpha < 1/2,
    where the stream grows without bound with depth.
    """
    check_linear(problem)
    if not 0.5 <= problem.alpha <= 1:
        raise BadProblem(
            f"alpha = {problem.alpha}: infinite depth has a limit with learning blocks for alpha in [1/2, 1] only "
            "(below, the stream explodes; above, blocks need a rate that grows faster than L)"
        )
    if problem.lam is not None and problem.alpha != 0.5:
        raise BadProblem(
            "lam is L^(2 alpha - 1) at infinite depth: leave it None (a fixed one stops the blocks learning)"
        )
    n, T = problem.M * (problem.steps + 1), problem.steps
    check_numbers(
        nodes * (4.0 * n * n + 6 * n * T + 4 * T * T),
        f"steps = {T}, points = {problem.M}, nodes = {nodes}",
        "every node in depth keeps its kernels over all points and steps; lower them, or sample: solve_deep",
    )
    state = _Rows(problem, nodes, rtol, response)
    f = np.zeros((problem.steps + 1, problem.M))
    end = None
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(problem.steps + 1):
            reached = state.left(t, f)
            if not reached or not np.isfinite(f[t]).all() or np.abs(f[t]).max() > 1e12:
                end = t
                break
            if t < problem.steps and not state.right(t, f[t]):
                end = t + 1
                break
            if progress is not None and t < problem.steps:
                progress(t + 1, problem.steps)
    return state.solution(f[:end], end)


class _Rows:
    """R, Sig, Q, Gam at the Chebyshev nodes, rows of steps so far; between nodes by barycentric interpolation."""

    def __init__(self, problem: Problem, nodes: int, rtol: float, response: bool) -> None:
        M, T = problem.M, problem.steps
        n = M * (T + 1)
        self.problem, self.rtol, self.nodes = problem, rtol, nodes
        self.beta2 = problem.beta0**2
        self.noise = problem.sig_w**2 if problem.alpha == 0.5 else 0.0
        self.rate = 1.0 if problem.lam is None else problem.lam
        self.response = float(response)
        self.memory = Memory.empty(problem)
        angle = np.pi * np.arange(nodes) / (nodes - 1)
        self.tau = (1 - np.cos(angle)) / 2
        self.barycentric = (-1.0) ** np.arange(nodes)
        self.barycentric[[0, -1]] /= 2
        self.R, self.Sig = np.zeros((nodes, n, T)), np.zeros((nodes, n, n))
        self.Q, self.Gam = np.zeros((nodes, T, n)), np.zeros((nodes, T, T))
        self.Kx = problem.Kx.cpu().numpy()

    def _at(self, tau: float) -> Array:
        gap = tau - self.tau
        if (np.abs(gap) < 1e-14).any():
            return (np.abs(gap) < 1e-14).astype(float)
        weight = self.barycentric / gap
        return weight / weight.sum()

    def _mix(self, tau: float, *stacks: Array) -> list[Array]:
        weight = self._at(tau)
        return [np.tensordot(weight, stack, axes=1) for stack in stacks]

    def left(self, t: int, f: Array) -> bool:
        """Rows of step t of R and Sig over all tau; sets f[t]. False where the integration failed."""
        M, n, a = self.problem.M, (t + 1) * self.problem.M, slice(t * self.problem.M, (t + 1) * self.problem.M)
        start_R = self.problem.input_lam * self.memory.col(np.tile(self.Kx, (1, t)), t) if t else np.zeros((M, 0))
        start = np.concatenate([start_R.ravel(), np.tile(self.Kx, (1, t + 1)).ravel()])

        def rows(tau: float, state: Array) -> Array:
            R, Sig, Q, Gam = self._mix(
                tau, self.R[:, :n, :t], self.Sig[:, :n, :n], self.Q[:, :t, :n], self.Gam[:, :t, :t]
            )
            R[a], Sig[a] = state[: M * t].reshape(M, t), state[M * t :].reshape(M, n)
            Sig[:, a] = Sig[a].T
            # H and G depend on rows of Sig at steps <= t and of Gam at steps < t: all known here.
            J = np.linalg.inv(np.eye(n) - R @ Q)
            JR = J @ R
            H = J[a] @ (Sig + R @ Gam @ R.T) @ J.T
            G, cg = self._gradient(R, Sig, Q, Gam, t)
            ch = self.response * self.noise * JR[a] + self.rate * self.memory.col(H[:, : t * M], t)
            through = R @ cg
            dR = through[a] @ R + ch
            cross = through @ Sig
            dSig = cross[a] + cross.T[a] + self.noise * (R[a] @ G @ R.T + H)
            return self.beta2 * np.concatenate([dR.ravel(), dSig.ravel()])

        states = self._integrate(rows, start, forward=True)
        if states is None:
            return False
        self.R[:, a, :t] = states[:, : M * t].reshape(self.nodes, M, t)
        self.Sig[:, a, :n] = states[:, M * t :].reshape(self.nodes, M, n)
        self.Sig[:, :n, a] = self.Sig[:, a, :n].transpose(0, 2, 1)
        R, Sig, Q, Gam = self.R[-1, :n, :t], self.Sig[-1, :n, :n], self.Q[-1, :t, :n], self.Gam[-1, :t, :t]
        J = np.linalg.inv(np.eye(n) - R @ Q)
        H = J[a] @ (Sig + R @ Gam @ R.T) @ J.T
        f[t] = ((J[a] @ R).sum(-1) + self.memory.col(H[:, : t * M], t).sum(-1)) / self.problem.gamma0
        return True

    def _gradient(self, R: Array, Sig: Array, Q: Array, Gam: Array, t: int) -> tuple[Array, Array]:
        """G (t, t) and c_g (t, n) from rows of steps before t."""
        M = self.problem.M
        Jp = np.linalg.inv(np.eye(t) - Q @ R)
        G = Jp @ (Gam + Q @ Sig @ Q.T) @ Jp.T
        cg = self.response * self.noise * Jp @ Q
        for s in range(t):
            cg[s, : s * M] += self.rate * self.memory.rep(G[s], s)
        return G, cg

    def right(self, t: int, f: Array) -> bool:
        """Rows of step t of Q and Gam over all tau, once f(t) is known."""
        problem, M = self.problem, self.problem.M
        delta = problem.residual(torch.from_numpy(f[: problem.P, None]).to(problem.X.device)).cpu().numpy()[:, 0]
        self.memory.p_delta[t] = problem.weights[t].cpu().numpy() * delta
        n, e = t * M, t + 1
        start = np.concatenate([self.memory.rep(np.ones(t), t), np.ones(e)])

        def rows(tau: float, state: Array) -> Array:
            R, Sig, Q, Gam = self._mix(
                tau, self.R[:, :n, :t], self.Sig[:, :n, :n], self.Q[:, :e, :n], self.Gam[:, :e, :e]
            )
            Q[t], Gam[t] = state[:n], state[n:]
            Gam[:, t] = Gam[t]
            R = np.concatenate([R, np.zeros((n, 1))], axis=1)  # the stream before step t does not feel g(t)
            J = np.linalg.inv(np.eye(n) - R @ Q)
            H = J @ (Sig + R @ Gam @ R.T) @ J.T
            G, _ = self._gradient(R, Sig, Q, Gam, e)
            ch = self.response * self.noise * J @ R
            for s in range(t):
                ch[s * M : (s + 1) * M, :s] += self.rate * self.memory.col(H[s * M : (s + 1) * M, : s * M], s)
            Jp = np.linalg.inv(np.eye(e) - Q @ R)
            cg = self.response * self.noise * Jp[t] @ Q + self.rate * self.memory.rep(G[t], t)
            through = Q @ ch
            cross = through @ Gam
            dQ = through[t] @ Q + cg
            dGam = cross[t] + cross.T[t] + self.noise * (Q[t] @ H @ Q.T + G[t])
            return -self.beta2 * np.concatenate([dQ, dGam])

        states = self._integrate(rows, start, forward=False)
        if states is None:
            return False
        self.Q[:, t, :n] = states[:, :n]
        self.Gam[:, t, :e] = self.Gam[:, :e, t] = states[:, n:]
        return True

    def _integrate(self, rows: Callable[[float, Array], Array], start: Array, forward: bool) -> Array | None:
        span, at = ((0.0, 1.0), self.tau) if forward else ((1.0, 0.0), self.tau[::-1])
        scale = self.rtol * max(float(np.abs(start).max()), 1e-3)
        calls = 0

        def guarded(tau: float, state: Array) -> Array:
            nonlocal calls
            calls += 1
            slope = rows(tau, state)
            if calls > EVALUATIONS or not np.abs(slope).max(initial=0.0) < 1e12:
                raise _Unstable
            return slope

        try:
            found = solve_ivp(guarded, span, start, method="DOP853", t_eval=at, rtol=self.rtol, atol=scale)
        except (_Unstable, np.linalg.LinAlgError):
            return None
        return np.asarray(found.y.T if forward else found.y.T[::-1]) if found.success else None

    def solution(self, f: Array, end: int | None) -> Solution[LinearLimit]:
        problem, M = self.problem, self.problem.M
        T = len(f) - 1 if end is None else max(len(f) - 1, 0)
        n = (T + 1) * M
        kernels: list[list[Array]] = [[], [], [], []]
        for k in range(self.nodes):
            R, Sig, Q, Gam = self.R[k, :n, :T], self.Sig[k, :n, :n], self.Q[k, :T, :n], self.Gam[k, :T, :T]
            J, Jp = np.linalg.inv(np.eye(n) - R @ Q), np.linalg.inv(np.eye(T) - Q @ R)
            each = (
                J @ (Sig + R @ Gam @ R.T) @ J.T,
                Jp @ (Gam + Q @ Sig @ Q.T) @ Jp.T,
                self.noise * J @ R,
                self.noise * Jp @ Q,
            )
            for kept, kernel in zip(kernels, each):
                kept.append(kernel)
        H = np.stack(kernels[0])
        spectrum = np.abs(chebyshev.chebfit(2 * self.tau - 1, H.reshape(self.nodes, -1), self.nodes - 1)).max(1)
        error = max(float(spectrum[-2:].max() / max(spectrum.max(), 1e-300)), 10 * self.rtol)
        outputs = torch.from_numpy(f)[:, :, None]
        Ht, Gt, A, B = (torch.from_numpy(np.stack(kernel)) for kernel in kernels)
        loss = problem.loss_of(outputs.to(problem.X.device)).cpu()
        value = LinearLimit(outputs, loss, Ht, Gt, A, B, torch.from_numpy(self.tau))
        sentence = f"depth integrated to {self.rtol:g}; A, B are densities (A^l = beta0 L^-1/2 A(tau))"
        return finished(problem, value, end, {"f": error, "loss": error}, sentence)
