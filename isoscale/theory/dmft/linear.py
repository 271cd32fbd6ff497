r"""Deep linear networks, exactly: closed matrix equations solved in one causal march over time, nothing sampled.

Legend: L blocks (l their index), T steps, M points, P training points, n = M (T+1) stream indices (t, mu), t-major;
b branch scale, lam block rate, sig std of block weights, p_mu(t) sample weights, Delta = -dloss/df,
memory[t, s] = sum_{s<=u<t} c_u m^(u-s) for s < t, else 0 (m momentum, c the schedule: what step t feels of push s).
For linear phi the gradient g^l in R^T does not depend on the point. Each layer's (h, g) is a linear function of the
sources left of it (covariance Sig) and right of it (covariance Gam):  h = S + R g,  g = s + Q h.

    C_h = b A + b^2 lam eta0 gamma0 memory o col(H^l)          A^l = b sig^2 J^l R^l
    C_g = b B + b^2 lam eta0 gamma0 memory o rep(G^{l+1}) pDelta   B^l = b sig^2 J'^{l+1} Q^{l+1}
    left   Y = (I - R C_g)^-1:  Sig' = Y (Sig + b^2 sig^2 R G' R^T) Y^T + b^2 sig^2 H,   R' = Y R + C_h
    right  N = (I - Q' C_h)^-1: Gam = N (Gam' + b^2 sig^2 Q' H Q'^T) N^T + b^2 sig^2 G', Q = N Q' + C_g
    join   J = (I - R Q)^-1, J' = (I - Q R)^-1:  H = J (Sig + R Gam R^T) J^T,  G = J' (Gam + Q Sig Q^T) J'^T
    f(t) = [ (J R^L 1)_t + sum_{s<t} eta0 gamma0 memory pDelta(s) H^L(t, s) ] / gamma0

(primes of Sig, R, Gam, Q, G: layer l + 1). All inverses are unit lower triangular in time, so that row t of each
matrix follows from rows before it: a left sweep, f(t), a right sweep, O(L n^3) in all, O(L n^2) numbers.
Source: docs/theory/dmft.md section 3 (derived for this project; the paper's figure 7 is this case).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoscale.theory.dmft.march import Progress
from isoscale.theory.dmft.planning import check_numbers
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.solution import Solution, Status

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearLimit:
    """Outputs `f` (T+1, M, 1), `loss` (T+1,); stream kernel `H` (layers, n, n), gradient kernel `G` (layers, T, T),
    responses `A` (layers, n, T), `B` (layers, T, n), at depths `tau` = l / L in [0, 1] of `H` and `G`."""

    f: Tensor
    loss: Tensor
    H: Tensor
    G: Tensor
    A: Tensor
    B: Tensor
    tau: Tensor


@dataclass(frozen=True, eq=False)
class Memory:
    """Learning weights seen so far: which pushes the rows of step t feel."""

    problem: Problem
    p_delta: Array  # (T, P)
    felt: Array  # (T+1, T): eta0 gamma0 sum_{s<=u<t} c_u m^(u-s)

    @classmethod
    def empty(cls, problem: Problem) -> "Memory":
        T, m = problem.steps, problem.momentum
        felt = np.zeros((T + 1, T))
        for u, factor in enumerate(problem.factors):  # what is pushed at s <= u still acts at step u, by m^(u-s)
            felt[u + 1] = felt[u]
            felt[u + 1, : u + 1] += factor * m ** np.arange(u, -1, -1)
        return cls(problem, np.zeros((T, problem.P)), problem.eta0 * problem.gamma0 * felt)

    def col(self, K: Array, t: int) -> Array:
        """sum_nu felt[t, s] K[., (s, nu)] p Delta(s, nu) for s < t, shape (rows, t); K has columns of steps < t."""
        problem = self.problem
        each = K.reshape(len(K), -1, problem.M)[:, :t, : problem.P]
        return self.felt[t, :t] * np.einsum("asp,sp->as", each, self.p_delta[:t])

    def rep(self, G: Array, t: int) -> Array:
        """felt[t, s] G[s] p Delta(s, nu) for s < t, over all points, shape (t M,)."""
        problem = self.problem
        out = np.zeros((t, problem.M))
        out[:, : problem.P] = (self.felt[t, :t] * G[:t])[:, None] * self.p_delta[:t]
        return out.reshape(-1)


def check_linear(problem: Problem) -> None:
    """Raises `BadProblem` where the closed equations do not hold."""
    wanted = {
        "activation": (problem.phi.name, "linear"), "outputs": (problem.C, 1), "decay": (problem.decay, 0.0),
        "biases": (problem.biases, False), "norm": (problem.norm, "none"),
        "layers_per_block": (problem.layers_per_block, 1),
    }  # fmt: skip
    for name, (value, needed) in wanted.items():
        if value != needed:
            raise BadProblem(
                f"{name} = {value}, the closed equations hold for {needed} only (g must not depend on the point): "
                "use solve_limit"
            )


def solve_linear(
    problem: Problem,
    depth: int,
    *,
    branch: float | None = None,
    response: bool = True,
    progress: Progress | None = None,
) -> Solution[LinearLimit]:
    """The limit N -> infinity of a linear network of `depth` blocks, exact to rounding.

    `branch` replaces b = beta0 L^-alpha; `response=False` drops A and B (a wrong theory, for comparison). A run that
    overflows has status "diverged" and the steps before as its value. Raises `BadProblem` for anything but a linear
    activation, one output, one layer a block, no biases, no decay.
    """
    check_linear(problem)
    n, T = problem.M * (problem.steps + 1), problem.steps
    check_numbers(
        (depth + 1) * (4.0 * n * n + 6 * n * T + 4 * T * T),
        f"steps = {T}, points = {problem.M}, depth = {depth}",
        "every layer keeps its kernels over all points and steps; lower them, or sample: solve_limit",
    )
    state = _State(problem, depth, problem.b(depth) if branch is None else branch, response)
    f = np.zeros((problem.steps + 1, problem.M))
    end = None
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(problem.steps + 1):
            f[t] = state.left(t)
            if not np.isfinite(f[t]).all() or np.abs(f[t]).max() > 1e12:
                end = t
                break
            if t < problem.steps:
                state.right(t, f[t])
                if progress is not None:
                    progress(t + 1, problem.steps)
    return state.solution(f[:end], end)


class _State:
    """All matrices of all layers, filled row by row as time goes on (names as in the module's legend)."""

    def __init__(self, problem: Problem, L: int, b: float, response: bool) -> None:
        M, T = problem.M, problem.steps
        n = M * (T + 1)
        self.problem, self.L, self.b, self.response = problem, L, b, float(response)
        self.noise = (b * problem.sig_w) ** 2
        self.learn = b * b * problem.block_rate(L)
        self.memory = Memory.empty(problem)
        self.Kx = problem.Kx.cpu().numpy()

        def zeros(*shape: int) -> Array:
            return np.zeros((L + 1, *shape))

        self.Sig, self.R, self.Y, self.J, self.H, self.A, self.Ch = *(zeros(n, n), zeros(n, T)), *(
            zeros(n, n), zeros(n, n), zeros(n, n)), zeros(n, T), zeros(n, T)  # fmt: skip
        self.Gam, self.Q, self.N, self.Jp, self.G, self.B, self.Cg = *(zeros(T, T), zeros(T, n)), *(
            zeros(T, T), zeros(T, T), zeros(T, T)), zeros(T, n), zeros(T, n)  # fmt: skip

    def left(self, t: int) -> Array:
        """Rows of step t from layer 0 to L; returns f(t) over the points."""
        M, L = self.problem.M, self.L
        a, n = slice(t * M, (t + 1) * M), (t + 1) * M
        self.Sig[0, a, :n] = np.tile(self.Kx, (1, t + 1))
        self.Sig[0, :n, a] = self.Sig[0, a, :n].T
        start = np.tile(self.Kx, (1, t)) if t else np.zeros((M, 0))
        self.R[0, a, :t] = self.problem.input_lam * self.memory.col(start, t)
        for l in range(L + 1):
            R, Q, Sig = self.R[l, :n, :t], self.Q[l, :t, :n], self.Sig[l, :n, :n]
            self.J[l, a, :n] = _row(R[a] @ Q, self.J[l], a, n)
            self.H[l, a, :n] = self.J[l, a, :n] @ (Sig + R @ self.Gam[l, :t, :t] @ R.T) @ self.J[l, :n, :n].T
            self.H[l, :n, a] = self.H[l, a, :n].T
            if l == L:
                break
            self.A[l, a, :t] = self.b * self.problem.sig_w**2 * self.J[l, a, :n] @ R
            felt = self.memory.col(self.H[l, a, : t * M], t)
            self.Ch[l, a, :t] = self.response * self.b * self.A[l, a, :t] + self.learn * felt
            self.Y[l, a, :n] = _row(R[a] @ self.Cg[l, :t, :n], self.Y[l], a, n)
            inner = Sig + self.noise * R @ self.G[l + 1, :t, :t] @ R.T
            self.Sig[l + 1, a, :n] = self.Y[l, a, :n] @ inner @ self.Y[l, :n, :n].T + self.noise * self.H[l, a, :n]
            self.Sig[l + 1, :n, a] = self.Sig[l + 1, a, :n].T
            self.R[l + 1, a, :t] = self.Y[l, a, :n] @ R + self.Ch[l, a, :t]
        unlearned = (self.J[L, a, :n] @ self.R[L, :n, :t]).sum(-1)
        return (unlearned + self.memory.col(self.H[L, a, : t * M], t).sum(-1)) / self.problem.gamma0

    def right(self, t: int, f: Array) -> None:
        """Row t of the gradients' matrices, from layer L to 0, once f(t) is known."""
        problem, L, M = self.problem, self.L, self.problem.M
        delta = problem.residual(torch.from_numpy(f[: problem.P, None]).to(problem.X.device)).cpu().numpy()[:, 0]
        self.memory.p_delta[t] = problem.weights[t].cpu().numpy() * delta
        n = t * M  # columns of steps before t
        self.Gam[L, t, : t + 1] = self.Gam[L, : t + 1, t] = 1.0
        self.Q[L, t, :n] = self.memory.rep(np.ones(t), t)
        for l in range(L, -1, -1):
            Q, R, Gam = self.Q[l, : t + 1, :n], self.R[l, :n, : t + 1], self.Gam[l, : t + 1, : t + 1]
            self.Jp[l, t, : t + 1] = _row(Q[t:] @ R, self.Jp[l], slice(t, t + 1), t + 1)
            row = self.Jp[l, t, : t + 1]
            self.G[l, t, : t + 1] = row @ (Gam + Q @ self.Sig[l, :n, :n] @ Q.T) @ self.Jp[l, : t + 1, : t + 1].T
            self.G[l, : t + 1, t] = self.G[l, t, : t + 1]
            if l == 0:
                break
            self.B[l - 1, t, :n] = self.b * problem.sig_w**2 * row @ Q
            felt = self.memory.rep(self.G[l, t], t)
            self.Cg[l - 1, t, :n] = self.response * self.b * self.B[l - 1, t, :n] + self.learn * felt
            Ch = self.Ch[l - 1, :n, : t + 1]
            self.N[l - 1, t, : t + 1] = _row(Q[t:] @ Ch, self.N[l - 1], slice(t, t + 1), t + 1)
            N = self.N[l - 1, t, : t + 1]
            inner = Gam + self.noise * Q @ self.H[l - 1, :n, :n] @ Q.T
            new = N @ inner @ self.N[l - 1, : t + 1, : t + 1].T + self.noise * self.G[l, t, : t + 1]
            self.Gam[l - 1, t, : t + 1] = self.Gam[l - 1, : t + 1, t] = new
            self.Q[l - 1, t, :n] = N @ Q + self.Cg[l - 1, t, :n]

    def solution(self, f: Array, end: int | None) -> Solution[LinearLimit]:
        outputs = torch.from_numpy(f)[:, :, None]
        loss = self.problem.loss_of(outputs.to(self.problem.X.device)).cpu()
        H, G, A, B = (torch.from_numpy(x) for x in (self.H, self.G, self.A[:-1], self.B[:-1]))
        value = LinearLimit(
            outputs, loss, H, G, A, B, torch.linspace(0, 1, self.L + 1, dtype=torch.float64, device="cpu")
        )
        return finished(self.problem, value, end, {"f": 0.0, "loss": 0.0}, "exact to rounding")


def finished(
    problem: Problem, value: LinearLimit, end: int | None, error: dict[str, float], sentence: str
) -> Solution[LinearLimit]:
    """The solution with its status: diverged if it overflowed at step `end` or its loss grew tenfold."""
    if end is not None:
        status = Status(
            "diverged", f"outputs left all bounds at step {end}: eta0 = {problem.eta0} is unstable; lower it"
        )
    elif bool(value.loss.max() > 10 * value.loss[0]):
        status = Status("diverged", f"the loss grew tenfold: eta0 = {problem.eta0} is unstable here; lower it")
    else:
        status = Status("converged", sentence)
    return Solution(value, error, status)


def _row(product: Array, inverse: Array, a: slice, n: int) -> Array:
    """Rows `a` of (I - X)^-1 = I + X (I - X)^-1, from the rows of X at `a` (columns of earlier steps) and those before.

    X couples to earlier steps only, so the rows of the inverse at those columns are known.
    """
    rows = np.zeros((a.stop - a.start, n))
    earlier = product[:, : a.start]
    rows[:, : a.start] = earlier @ inverse[: a.start, : a.start]
    rows[:, a] = np.eye(a.stop - a.start)
    return rows
