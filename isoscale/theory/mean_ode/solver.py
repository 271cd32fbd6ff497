"""The Neural Mean ODE: the limit L -> infinity of a two-layer-perceptron ResNet, solved with an error and a verdict.

Legend: K gradient steps, S Gauss nodes in depth s, P particles a node, B replicates, n points, D embedding dimension,
r reduced dimension; f outputs, h stream, p = u.h/D.

    d/ds h_k = alpha E[V_k rho(U_k.h_k/D)],   -d/ds b_k = alpha E[U_k rho'(U_k.h_k/D) (V_k.b_k/D)]

Source: Chizat, arXiv 2509.10167, the mean ODE of theorems 1 and 3 in discrete training time; the reduced basis, the
scheme and the error estimate are derived in docs/theory/mean_ode.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoscale.theory.mean_ode.collocation import gauss, interpolate
from isoscale.theory.mean_ode.march import March, Progress, march
from isoscale.theory.mean_ode.particles import draw
from isoscale.theory.mean_ode.setting import BadSetting, Reduced, Setting, reduced
from isoscale.theory.solution import Solution, Status

CHECK_PARTICLES = 128
CHECK_NODES = (8, 12)
UNSURE = 0.1


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The limit over training, float64: `f` (K+1, n, dout) outputs, `h` (K+1, n, D) = h_k(1), `loss` (K+1,),
    and `H` (K+1, S, n, r) the stream at the depth nodes in the reduced coordinates of `basis` (D, r)."""

    f: Tensor
    h: Tensor
    loss: Tensor
    H: Tensor
    h0: Tensor
    basis: Tensor

    @property
    def steps(self) -> int:
        return len(self.f) - 1

    def path(self, k: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """h_k(s, x_i) at depths `at` (m,): the collocation polynomial, shape (m, n, D)."""
        nodes = np.concatenate([[0.0], gauss(self.H.shape[1]).nodes])
        values = torch.cat([self.h0[None], self.H[k]]).cpu().numpy()
        return interpolate(nodes, values, np.asarray(at, dtype=float)) @ self.basis.cpu().numpy().T


def mean_ode(
    setting: Setting,
    steps: int,
    *,
    nodes: int = 4,
    particles: int = 4096,
    replicates: int = 2,
    seed: int = 0,
    antithetic: bool = False,
    tolerance: float = 1e-4,
    depth_tolerance: float = 1e-2,
    check_depth: bool = True,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Solution[Trajectory]:
    """Solve the mean ODE of `setting` for `steps` gradient steps.

    Independent scrambled Sobol particles at every node and replicate; the value is the mean over replicates. `error`
    holds rms errors a coordinate, worst over the steps returned: "outputs" and "embeddings" (sampling, from the spread
    of replicates), "depth" (the scheme's, relative to the outputs), from a small particle law shared by all nodes, on
    which the S-node scheme is compared with 12 nodes. Where 8 and 12 nodes differ by more than `depth_tolerance` the
    profile in depth is no longer regular (chaotic or unstable training): the solution is refused from that step on; so
    it is from where replicates differ by a tenth of the outputs.
    float32 suffices down to errors of 1e-4. Raises `BadSetting` for counts that make no scheme.
    """
    if steps < 0 or replicates < 1 or nodes < 1:
        raise BadSetting(f"steps = {steps}, replicates = {replicates}, nodes = {nodes}: need >= 0, >= 1, >= 1")
    problem = reduced(setting)
    antithetic = antithetic or setting.alpha > 4  # the noise of E[v rho] at initialisation is multiplied by alpha
    U, V = draw(problem, particles, nodes, replicates, seed=seed, antithetic=antithetic, dtype=dtype)
    out = march(problem, U, V, steps, tolerance=tolerance, progress=progress)
    depth, lost = (
        depth_regularity(problem, steps, nodes, tolerance=depth_tolerance, antithetic=antithetic)
        if check_depth
        else (np.full(steps + 1, math.nan), None)
    )
    status, last = _verdict(setting, out, lost, steps, nodes, particles, depth_tolerance)
    if last < 0:
        return Solution(None, {}, status)
    return Solution(_trajectory(problem, out, last), _errors(problem, out, depth, last), status)


def depth_regularity(
    problem: Reduced, steps: int, nodes: int, *, tolerance: float = 1e-2, antithetic: bool = False
) -> tuple[NDArray[np.float64], int | None]:
    """The depth error of `nodes` Gauss nodes for every step, relative to the outputs' rms, and the first step (or
    None) at which the schemes with 8 and 12 nodes disagree by more than `tolerance`. On a law of a few particles that
    all nodes share, so that nothing but the depth scheme differs."""
    size = CHECK_PARTICLES * (problem.setting.v_law.orbit if antithetic else 1)
    outputs = []
    for S in (nodes, *CHECK_NODES):
        U, V = draw(problem, size, S, seed=1, antithetic=antithetic, tied=True)
        f = march(problem, U, V, steps, tolerance=1e-7).f[:, 0]
        outputs.append(torch.nn.functional.pad(f, (0, 0, 0, 0, 0, steps + 1 - len(f)), value=math.nan))
    ours, coarse, fine = (f.cpu() for f in outputs)
    size_of = (fine**2).mean((-1, -2)).sqrt().clamp_min(float((problem.setting.Y**2).mean().sqrt()) * 1e-3)
    error = ((ours - fine) ** 2).mean((-1, -2)).sqrt() / size_of
    gap = ((coarse - fine) ** 2).mean((-1, -2)).sqrt() / size_of
    bad = np.flatnonzero(~(gap <= tolerance).numpy())
    return error.numpy(), int(bad[0]) if len(bad) else None


def _verdict(
    setting: Setting, out: March, lost: int | None, steps: int, nodes: int, particles: int, tolerance: float
) -> tuple[Status, int]:
    """The status, and the last step to trust (-1: none)."""
    mean = setting.loss(out.f.double().mean(1))
    if out.stopped is not None:
        k, why = out.stopped
        sentence = f"stopped at k={k}: {why}; lower eta (eta_u = {setting.eta_u}, eta_v = {setting.eta_v})"
        return Status("diverged" if "finite" in why else "unconverged", sentence), k - 1
    grown = np.flatnonzero((mean > 10 * float(mean[0])).cpu().numpy())
    if len(grown):
        k = int(grown[0])
        return Status("diverged", f"the loss grew tenfold by k={k}: the step size is unstable; lower eta"), k - 1
    unsure = _unsure(setting, out)
    if unsure is not None and (lost is None or unsure < lost):
        return Status(
            "refused",
            f"replicates disagree by more than {UNSURE:.0%} of the outputs from k={unsure}: training amplifies "
            "sampling noise there (step size at the edge of stability); lower eta, or give more than "
            f"{particles} particles",
        ), unsure - 1
    if lost is not None:
        return Status(
            "refused",
            f"depth regularity lost at k={lost}: {CHECK_NODES[0]} and {CHECK_NODES[1]} depth nodes disagree by more "
            f"than {tolerance:.0e} of the outputs; the limit there is not resolved; lower eta or train fewer steps",
        ), lost - 1
    return Status("converged", f"{steps} steps with {nodes} depth nodes of {particles} particles"), steps


def _unsure(setting: Setting, out: March) -> int | None:
    """The first step at which the standard error over replicates exceeds a share `UNSURE` of the outputs."""
    if out.f.shape[1] < 2:
        return None
    f = out.f.double()
    se = (f.var(1) / f.shape[1]).mean((-1, -2)).sqrt()
    size = f.mean(1).square().mean((-1, -2)).sqrt().clamp_min(float(setting.Y.square().mean().sqrt()))
    bad = np.flatnonzero(~(se <= UNSURE * size).cpu().numpy())
    return int(bad[0]) if len(bad) else None


def _trajectory(problem: Reduced, out: March, last: int) -> Trajectory:
    kept = slice(0, last + 1)
    f, h, H = (field[kept].double().mean(1) for field in (out.f, out.h, out.H))
    return Trajectory(f, h @ problem.Q.T, problem.setting.loss(f), H, problem.h0, problem.Q)


def _errors(problem: Reduced, out: March, depth: NDArray[np.float64], last: int) -> Mapping[str, float]:
    kept, B = slice(0, last + 1), out.f.shape[1]

    def spread(field: Tensor) -> float:
        if B < 2:
            return math.nan
        return float((field[kept].double().var(1) / B).mean((-1, -2)).sqrt().max())

    return {
        "outputs": spread(out.f),
        "embeddings": spread(out.h) * math.sqrt(problem.r / problem.setting.D),
        "depth": float(np.max(depth[kept])),
    }
