"""What the limit predicts for the theory's own architecture: the best learning rate, and its training as a run.

Legend: L depth, R replicas, eta0 learning rate in the theory's units (lr = eta0 gamma0^2 N, blocks times lam).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from isoscale._records.run import Curve, Run
from isoscale.theory.dmft.planning import check_memory
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.solver import Sampling, sample_networks
from isoscale.theory.solution import Solution, Status


@dataclass(frozen=True)
class BestRate:
    """`log2` of the best eta0 (vertex of a parabola through the three lowest losses), and the final loss of every
    rate tried: `rates`, `losses` (inf where a replica diverged)."""

    log2: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def eta0(self) -> float:
        return 2.0**self.log2


def best_rate(
    problem: Problem, depth: float, rates: Sequence[float], *, sampling: Sampling | None = None
) -> Solution[BestRate]:
    """The learning rate eta0 of least final training loss in the limit, all rates sampled in one batch.

    `depth` may be math.inf: losses at 16 and 32 blocks are extrapolated in 1/L. `error["log2"]` is the standard error
    from splitting replicas. Status "refused" where the best rate is an end of `rates`: the optimum is not enclosed.
    Raises `BadProblem` for fewer than three rates, or where memory would not suffice.
    """
    grid = sorted(float(rate) for rate in rates)
    if len(grid) < 3 or grid[0] <= 0:
        raise BadProblem(f"rates = {grid}: a minimum needs three positive rates to be seen; give more")
    base = sampling or Sampling(width=1024, drop=1e-3)
    batch = replace(base, replicas=base.replicas * len(grid))
    depths = (16, 32) if math.isinf(depth) else (int(depth),)
    eta = torch.tensor(grid, dtype=torch.float64, device="cpu").repeat(base.replicas)
    found = []
    for L in depths:
        check_memory(problem, L, batch.width, batch.replicas, batch.dtype, None, base.drop > 1e-4)
        loss = sample_networks(problem, L, batch, rates=eta)[0].loss[:, -1]
        found.append(loss.reshape(base.replicas, len(grid)))
    losses = found[0] if len(found) == 1 else torch.where(torch.isfinite(found[1]), 2 * found[1] - found[0], torch.inf)
    mean = losses.mean(0)
    log2, inside = vertex(grid, mean)
    vertices = [vertex(grid, each)[0] for each in losses]
    parts = torch.tensor(vertices, dtype=torch.float64, device="cpu")
    error = float(parts.std() / base.replicas**0.5) if base.replicas > 1 else math.nan
    value = BestRate(log2, tuple(grid), tuple(float(x) for x in mean))
    if not inside:
        sentence = f"the least loss is at an end of the rates, eta0 = {2.0**log2:.4g}: extend them on that side"
        return Solution(value, {"log2": error}, Status("refused", sentence))
    return Solution(value, {"log2": error}, Status("converged", f"best eta0 = 2^{log2:.2f}"))


def vertex(grid: Sequence[float], losses: Tensor) -> tuple[float, bool]:
    """Vertex in log2 eta0, and whether the least loss is inside the grid."""
    best = int(torch.nan_to_num(losses, nan=math.inf).argmin())
    x = [math.log2(rate) for rate in grid]
    if best in (0, len(grid) - 1):
        return x[best], False
    (a, b, c), (y0, y1, y2) = x[best - 1 : best + 2], losses[best - 1 : best + 2].tolist()
    if not math.isfinite(y2 + y0):
        return b, True  # the stability edge is a neighbour: no parabola through infinity
    slope, curve = (y1 - y0) / (b - a), ((y2 - y1) / (c - b) - (y1 - y0) / (b - a)) / (c - a)
    return ((a + b) / 2 - slope / (2 * curve), True) if curve > 0 else (b, True)


def as_run(problem: Problem, loss: Tensor, config: Mapping[str, Any]) -> Run:
    """The limit's training loss (T+1,) as a run, to be laid over the runs of proxies in the same report.

    `config` names it (rule, optimizer, width, depth, seed; a limit has no finite width: give the sampled one and
    model="limit").
    """
    values = tuple(float(x) for x in loss)
    finished = len(values) == problem.steps + 1 and all(math.isfinite(x) for x in values)
    curve = Curve(tuple(range(len(values))), values)
    final = values[-1] if finished else math.inf
    return Run(
        config, {"train_loss": final}, "finished" if finished else "diverged",
        None if finished else len(values), problem.steps, curves={"train_loss": curve},
    )  # fmt: skip
