r"""Long minibatch training and its limit in width: where one pass gains nothing, wide networks extrapolated in 1/N.

Legend: R networks at once, S width, P training points, C outputs, T steps, D inputs, L blocks; eta learning rates,
omega = eta gamma0 p Delta, g backward fields, f_0 the outputs at the start.

The one-pass solver keeps every field its matrices have met; real training (hundreds of steps of 64 examples) soon asks
of each matrix more than S of them, and a network of width S is then simulated best as what it is. The mean loss of such
networks, with f_0 taken off (it is 0 in the limit), differs from the limit's by c / S (docs/theory/dmft.md), so three
widths give the limit and how far the extrapolation may be off:

    loss = 2 loss(S) - loss(S/2) + O(1/S^2)      (or loss(S), where the scatter between seeds hides c)

Only the batch is propagated at each step, and outputs are combined before the backward pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isoscale.theory.dmft.blocks import Block
from isoscale.theory.dmft.march import Progress
from isoscale.theory.dmft.matrices import Dense, Descent
from isoscale.theory.dmft.network import block_of, draw
from isoscale.theory.dmft.norms import Norm
from isoscale.theory.dmft.predict import vertex
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.solution import Solution, Status

CHUNK = 512  # points a forward pass where all are looked at
DIVERGED = 1e3  # a loss so many times the first one (or 1) is a divergence


@dataclass(frozen=True, eq=False)
class Course:
    """Mean training loss over all points, (rates, steps watched), in the limit of infinite width at one depth: inf
    where training diverges; `error` its standard error (sampling and extrapolation). `widest` (orders, rates) and
    `half` are final losses at the largest width and at half of it, for the error of the best rate."""

    rates: tuple[float, ...]
    steps: tuple[int, ...]
    loss: Tensor
    error: Tensor
    widest: Tensor
    half: Tensor


def limit_course(
    problems: Sequence[Problem],
    depth: int,
    rates: Sequence[float],
    *,
    watch: Sequence[int],
    width: int = 256,
    decays: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Solution[Course]:
    """Training of a network of `depth` blocks and infinite width at every learning rate eta0 of `rates`.

    `problems` are one problem with different batch orders (at least two: their scatter is the error), averaged over;
    `decays` replaces their decay, one for each rate (weight decay times the learning rate). Networks of width S/4, S/2
    and S = `width` are trained, one of each for every rate and order; `watch` are the steps at which the loss is taken.
    Runs on the device of the problem's X, in `dtype`. Status "unconverged" where the error of the least final loss
    exceeds a tenth of it, "diverged" where no rate trains.
    """
    if len(problems) < 2 or width < 16:
        raise BadProblem(f"{len(problems)} batch orders at width {width}: the error needs two orders and width 16")
    eta = torch.tensor(list(rates), dtype=torch.float64, device="cpu")
    widths = (width // 4, width // 2, width)
    rows, done = [], 0
    for i, problem in enumerate(problems):
        each = []
        for S in widths:
            at = seed + 7919 * i + S
            if decays is None or not any(decays):
                each.append(train_course(problem, depth, S, eta, watch=watch, dtype=dtype, seed=at))
            else:  # a rate at a time: they differ in more than their rate
                own = (problem.with_(decay=decay) for decay in decays)
                alone = [
                    train_course(one, depth, S, eta[j : j + 1], watch=watch, dtype=dtype, seed=at)
                    for j, one in enumerate(own)
                ]
                each.append(torch.cat(alone))
            done += 1
            if progress is not None:
                progress(done, len(problems) * len(widths))
        rows.append(torch.stack(each))
    losses = torch.stack(rows)  # orders, widths, rates, steps
    alive = torch.isfinite(losses).all(0).all(0)
    coarse, fine = 2 * losses[:, 1] - losses[:, 0], 2 * losses[:, 2] - losses[:, 1]
    # The next term falls as S^-2: a quarter of it is left in `fine`. The widest alone still has all of its c / S.
    ends = [(fine, (fine - coarse).mean(0) / 3), (losses[:, 2], (losses[:, 2] - losses[:, 1]).mean(0))]
    values = torch.stack([each.mean(0) for each, _ in ends])
    errors = torch.stack([(each.var(0) / len(problems) + left**2).sqrt() for each, left in ends])
    errors[0] = torch.where(values[0] > 0, errors[0], torch.inf)  # no loss is negative: there 1/S is not the law yet
    better = errors.argmin(0, keepdim=True)  # where seeds scatter, extrapolation adds more noise than it takes bias
    loss = torch.where(alive, values.gather(0, better)[0], torch.inf)
    error = torch.where(alive, errors.gather(0, better)[0], torch.nan)
    value = Course(tuple(rates), tuple(watch), loss, error, losses[:, 2, :, -1], losses[:, 1, :, -1])
    return _told(value, widths)


def _told(value: Course, widths: Sequence[int]) -> Solution[Course]:
    final = torch.nan_to_num(value.loss[:, -1], nan=math.inf)
    best = int(final.argmin())
    if not math.isfinite(float(final[best])):
        return Solution(value, {}, Status("diverged", "training diverges at every rate: extend them downwards"))
    error, least = float(value.error[best, -1]), float(final[best])
    said = f"widths {', '.join(map(str, widths))} extrapolated: least final loss {least:.4g} +- {error:.1g}"
    kind = "converged" if error <= 0.1 * abs(least) else "unconverged"
    return Solution(value, {"loss": error}, Status(kind, said if kind == "converged" else f"{said}; raise the width"))  # type: ignore[arg-type]


def best_of(course: Course) -> tuple[float, float] | None:
    """log2 of the eta0 of least final loss (vertex of a parabola through the three lowest) and its standard error: a
    jackknife over batch orders, and what the last doubling of the width still moves it. None where the least is at an
    end of the rates."""
    log2, inside = vertex(course.rates, course.loss[:, -1])
    if not inside:
        return None
    n = len(course.widest)
    without = [(course.widest.sum(0) - each) / (n - 1) for each in course.widest]
    vertices = [vertex(course.rates, each)[0] for each in without]
    left_out = torch.tensor(vertices, dtype=torch.float64, device="cpu")
    moved = vertex(course.rates, course.widest.mean(0))[0] - vertex(course.rates, course.half.mean(0))[0]
    best = int(course.loss[:, -1].argmin())
    known = bool(torch.isfinite(course.loss[best - 1 : best + 2, -1]).all())
    # Beside a rate that diverges there is no parabola: the best lies anywhere within half a step of the grid.
    coarse = 0.0 if known else math.log2(course.rates[best + 1] / course.rates[best]) / 12**0.5
    return log2, float(((n - 1) * left_out.var(correction=0) + moved**2 + coarse**2).sqrt())


def at_infinite_depth(
    depths: Sequence[int], log2: Sequence[float], errors: Sequence[float]
) -> tuple[float, float] | None:
    """The best rate's log2 at infinite depth and its standard error, by weighted least squares in 1/L; None for fewer
    than two depths. With three or more, a bad fit widens the error."""
    if len(depths) < 2:
        return None
    L, y, se = (torch.tensor(list(each), dtype=torch.float64, device="cpu") for each in (depths, log2, errors))
    x, weight = 1 / L, 1 / se.clamp_min(1e-3)
    design = torch.stack([torch.ones_like(x), x], 1) * weight[:, None]
    covariance = torch.linalg.inv(design.T @ design)
    fit = covariance @ design.T @ (y * weight)
    free = len(depths) - 2
    misfit = float(((design @ fit - y * weight) ** 2).sum() / free) if free else 1.0
    return float(fit[0]), float((covariance[0, 0] * max(1.0, misfit)).sqrt())


def train_course(
    problem: Problem,
    depth: int,
    width: int,
    rates: Tensor,
    *,
    watch: Sequence[int],
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Tensor:
    """Mean training loss (R, steps watched) of one network for each rate (R,), all from one draw, f_0 taken off."""
    net = _Net(problem, depth, width, len(rates), seed, dtype)
    found = torch.full((len(rates), len(watch)), torch.inf, dtype=torch.float64, device=problem.X.device)
    if 0 in watch:
        found[:, list(watch).index(0)] = net.loss()
    eta = rates.to(net.start)
    for t in range(problem.steps):
        net.step(t, eta)
        if t + 1 in watch:
            found[:, list(watch).index(t + 1)] = torch.where(net.alive, net.loss(), torch.inf)
    return torch.where(torch.isfinite(found), found, torch.inf).cpu()


class _Net:
    """R networks of one draw, propagated on batches only."""

    def __init__(self, problem: Problem, L: int, S: int, R: int, seed: int, dtype: torch.dtype) -> None:
        drawn = draw(problem, L, S, 1, seed)
        m, decay = problem.momentum, problem.decay

        def copies(W: Tensor) -> Tensor:
            return W.to(dtype).repeat(R, 1, 1)

        self.problem, self.S, self.phi, self.norm = problem, S, problem.phi, Norm(problem.norm)
        self.x = (problem.points[: problem.P] / problem.points.shape[1] ** 0.5).to(dtype)
        self.W_in, self.w = Descent(copies(drawn.W_in), m, decay), Descent(copies(drawn.w), m, decay)
        like = self.W_in.value[:, :1, :1].expand(R, 1, S)
        self.blocks: list[Block] = [
            block_of(problem, L, [Dense(copies(W), m, decay, keep=False) for W in pair], like) for pair in drawn.blocks
        ]
        self.alive = torch.ones(R, dtype=torch.bool, device=self.x.device)
        self.start = torch.cat([self._outputs(part)[0] for part in self.x.split(CHUNK)], dim=1)
        self.first: Tensor | None = None

    def _outputs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raw outputs (R, m, C), normalised last stream and features (R, m, S)."""
        h = x @ self.W_in.value.transpose(1, 2)
        for block in self.blocks:
            h = block.forward(h)
        n = self.norm.forward(h)
        features = self.phi.value(n)
        return torch.bmm(features, self.w.value.transpose(1, 2)) / (self.S * self.problem.gamma0), n, features

    def loss(self) -> Tensor:
        raw = torch.cat([self._outputs(part)[0] for part in self.x.split(CHUNK)], dim=1)
        return self.problem.loss_of((raw - self.start).double())

    def step(self, t: int, eta: Tensor) -> None:
        problem = self.problem
        batch = problem.weights[t].nonzero()[:, 0]
        x, columns = self.x[batch], torch.arange(len(batch), device=self.x.device)
        raw, n, features = self._outputs(x)
        f = raw - self.start[:, batch]
        delta = problem.residual(f, batch)
        size = delta.abs().amax((1, 2))
        self.first = size if self.first is None else self.first
        self.alive &= (size < DIVERGED * self.first.clamp_min(1.0)) & (f.abs().amax((1, 2)) < 1e6)
        weight = problem.gamma0 * eta[:, None, None] * problem.weights[t, batch, None].to(f)
        omega = torch.where(self.alive[:, None, None], weight * delta, torch.zeros_like(delta))
        # One backward field a point: sum_c omega_c g_c, since every push is linear in it.
        g = self.norm.backward(self.phi.slope(n, features) * torch.bmm(omega, self.w.value), columns)
        for block in reversed(self.blocks):
            g = block.backward(g, columns)
        factor, ones = problem.factors[t], torch.ones_like(omega[:, :, 0])
        for block in self.blocks:
            block.learn(ones, columns, factor)
        self.W_in.push(problem.input_lam * (g.transpose(1, 2) @ x), factor)
        self.w.push(torch.bmm(omega.transpose(1, 2), features), factor)
