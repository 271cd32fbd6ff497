r"""The slow oracle: kernels and responses iterated over all pairs of steps to a Monte-Carlo fixed point, with damping.

Legend: L blocks, S particles, M points, P training points, T steps; n_x = M (T+1) stream indices (t, mu), n_y = P T
gradient indices; u^l ~ GP(0, sig^2 Phi), r^l ~ GP(0, sig^2 G), A^l = <d phi / d r>, B^l = <d g / d u> responses.

    h^{l+1}_a = h^l_a + b (u_a + sum_b A_ab g^{l+1}_b) + b^2 lam eta0 gamma0 sum_{t_b<t_a} p Delta_b Phi_ab g^{l+1}_b
    g^l_a = g^{l+1}_a + phi' o { b (r_a + sum_b B_ab phi_b) + b^2 lam eta0 gamma0 sum_{t_b<t_a} p Delta_b G_ab phi_b }

With u = sig z chol(Phi)^T the responses follow from averages, A = <phi z'^T> chol(G)^-1 / sig (Stein), no derivatives
needed. This is how such equations have been solved; `solve_limit` needs no iteration. One layer a block, one output.
Source: docs/theory/dmft.md sections 1 and 7.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from isoscale.theory.dmft.march import Progress
from isoscale.theory.dmft.planning import check_numbers
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.solution import Solution, Status


@dataclass(eq=False)
class Layer:
    """Kernels and responses of one block, and the standard normal draws that stay fixed over iterations."""

    Phi: Tensor
    G: Tensor
    A: Tensor
    B: Tensor
    z: Tensor
    zp: Tensor
    phis: list[Tensor] = field(default_factory=list)
    gs: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Outputs `f` (T+1, M, 1), kernels Phi^l and G^{l+1} and how many iterations it took."""

    f: Tensor
    Phi: list[Tensor]
    G: list[Tensor]
    iterations: int


def solve_fixed_point(
    problem: Problem,
    depth: int,
    *,
    particles: int = 2048,
    damping: float = 0.5,
    tolerance: float = 2e-3,
    max_iterations: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> Solution[FixedPoint]:
    """Iterate kernels and responses until f and every Phi change by less than `tolerance` (relative, undamped).

    `damping` is the share of the new values that is taken (1: none kept back). Particles are centred as in
    `solve_limit`. Status "unconverged" when the iterations run out, "diverged" when the map overflows.
    """
    plain = not (problem.biases or problem.decay or problem.momentum or problem.schedule is not None)
    if problem.C != 1 or problem.layers_per_block != 1 or not plain or problem.norm != "none":
        raise BadProblem(
            "the fixed point is an oracle for one output, one layer a block, plain descent: use solve_limit"
        )
    if problem.X.device.type != "cpu":
        raise BadProblem(
            f"the fixed point is an oracle for the CPU, the data is on {problem.X.device}: use solve_limit"
        )
    nx, ny = problem.M * (problem.steps + 1), problem.P * problem.steps
    check_numbers(
        depth * (6.0 * (nx + ny) * particles + 2.0 * (nx + ny) ** 2),
        f"steps = {problem.steps}, points = {problem.M}, depth = {depth}, particles = {particles}",
        "every layer keeps its draws and kernels over all points and steps; lower them, or use solve_limit",
    )
    sweep = _Sweep(problem, depth, particles, seed)
    f, iteration = sweep.simulate(), 0
    for iteration in range(1, max_iterations + 1):
        change_kernels = sweep.estimate(damping, responses=iteration > 2)
        new = sweep.simulate()
        if not bool(torch.isfinite(new).all()):
            return Solution(None, {}, Status("diverged", f"overflow in iteration {iteration}: use a smaller damping"))
        change = max(float((new - f).norm() / new.norm().clamp_min(1e-300)), change_kernels)
        f = new
        if progress is not None:
            progress(iteration, max_iterations)
        if change < tolerance and iteration > 3:
            break
    value = FixedPoint(f[:, :, None], [each.Phi for each in sweep.layers], [each.G for each in sweep.layers], iteration)
    if change >= tolerance:
        return Solution(
            value, {"f": change}, Status("unconverged", f"change {change:.1e} after {iteration} iterations")
        )
    return Solution(value, {"f": change}, Status("converged", f"{iteration} iterations"))


class _Sweep:
    def __init__(self, problem: Problem, L: int, S: int, seed: int) -> None:
        M, P, T = problem.M, problem.P, problem.steps
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.problem, self.S, self.b = problem, S, problem.b(L)
        self.learn = self.b**2 * problem.block_rate(L) * problem.eta0 * problem.gamma0
        nx, ny = M * (T + 1), P * T
        values, vectors = torch.linalg.eigh(problem.Kx)
        self.h0 = vectors * values.clamp_min(0).sqrt() @ normal(M, S)
        self.w0 = normal(S)
        self.time_x, self.time_y = torch.arange(nx) // M, torch.arange(ny) // P
        zero = torch.zeros(nx, ny, dtype=torch.float64)
        Phi, G = problem.Kx.repeat(T + 1, T + 1), torch.ones(ny, ny, dtype=torch.float64)
        self.layers = [Layer(Phi, G, zero, zero.T, normal(nx, S), normal(ny, S)) for _ in range(L)]

    def simulate(self) -> Tensor:
        """One pass of all particles through training at the present kernels; returns f (T+1, M)."""
        problem, M, P, T = self.problem, self.problem.M, self.problem.P, self.problem.steps
        phi, eta = problem.phi, problem.eta0 * problem.gamma0
        sources = [
            (problem.sig_w * _root(each.Phi) @ each.z, problem.sig_w * _root(each.G) @ each.zp) for each in self.layers
        ]
        for layer in self.layers:
            layer.phis, layer.gs = [], []
        before = (self.time_y[None, :] < self.time_x[:, None]).double()
        before_y = (self.time_x[None, :] < self.time_y[:, None]).double()
        p_delta = torch.zeros(T * P, dtype=torch.float64)
        h0, w, f = self.h0.clone(), self.w0, torch.zeros(T + 1, M, dtype=torch.float64)
        train = (torch.arange(T * M).reshape(T, M)[:, :P]).reshape(-1)
        for t in range(T + 1):
            a, y = slice(t * M, (t + 1) * M), slice(t * P, (t + 1) * P)
            h, slopes = h0, []
            for layer, (u, _) in zip(self.layers, sources):
                x = phi.value(h)
                slopes.append(phi.slope(h, x))
                layer.phis.append(x)
                h = h + self.b * u[a]
                if t:
                    weight = self.b * layer.A[a, : t * P] + self.learn * (
                        before[a, : t * P] * layer.Phi[a][:, train[: t * P]] * p_delta[: t * P]
                    )
                    h = h + weight @ torch.cat(layer.gs)
            features = phi.value(h)
            if t == 0:
                rows = torch.linalg.svd(features, full_matrices=False).Vh
                w = self.w0 - (self.w0 @ rows.T) @ rows
                w = w / (w * w).mean().sqrt()
            f[t] = features @ w / (self.S * problem.gamma0)
            if t == T:
                break
            p_delta[y] = problem.weights[t] * problem.residual(f[t, :P, None])[:, 0]
            g = w * phi.slope(h, features)[:P]
            for layer, (_, r), slope in zip(reversed(self.layers), reversed(sources), reversed(slopes)):
                layer.gs.append(g)
                inner = self.b * (r[y] + layer.B[y, : (t + 1) * M] @ torch.cat(layer.phis))
                if t:
                    weight = before_y[y, : t * M][:, train[: t * P]] * layer.G[y, : t * P] * p_delta[: t * P]
                    inner = inner + self.learn * weight @ torch.cat([x[:P] for x in layer.phis[:-1]])
                g = g + slope[:P] * inner
            h0 = h0 + eta * problem.input_lam * (problem.Kx[:, :P] * p_delta[y]) @ g
            w = w + eta * p_delta[y] @ features[:P]
        return f

    def estimate(self, damping: float, responses: bool) -> float:
        """New kernels and responses from the particles; returns the largest relative change of a Phi."""
        largest = 0.0
        causal_A = (self.time_y[None, :] < self.time_x[:, None]).double()
        causal_B = (self.time_x[None, :] <= self.time_y[:, None]).double()
        sig = self.problem.sig_w
        for layer in self.layers:
            x, g = torch.cat(layer.phis), torch.cat(layer.gs)
            Phi, G = x @ x.T / self.S, g @ g.T / self.S
            if responses and sig:
                # Masked before the solve: sampling noise in acausal entries would be blown up by small pivots.
                A = _right_solve(causal_A * (x @ layer.zp.T) / self.S, _root(layer.G)) / sig
                B = _right_solve(causal_B * (g @ layer.z.T) / self.S, _root(layer.Phi)) / sig
                layer.A, layer.B = layer.A + damping * (A - layer.A), layer.B + damping * (B - layer.B)
            largest = max(largest, float((Phi - layer.Phi).norm() / Phi.norm()))
            layer.Phi, layer.G = layer.Phi + damping * (Phi - layer.Phi), layer.G + damping * (G - layer.G)
        return largest


def _root(K: Tensor, jitter: float = 1e-8) -> Tensor:
    """Lower triangular root of K + jitter: kernels of repeated or slowly moving fields are singular."""
    return torch.linalg.cholesky(K + jitter * K.diagonal().mean() * torch.eye(len(K), dtype=K.dtype))


def _right_solve(X: Tensor, root: Tensor) -> Tensor:
    """X root^-1."""
    return torch.linalg.solve_triangular(root, X, upper=False, left=False)
