r"""The limit of infinite width at finite depth, in one causal pass over training: no iteration, no S x S matrix.

Legend: L blocks (depth), S neurons sampled (width), R replicas, T steps, M points, C outputs; f outputs.

A network of width S is simulated in law by conditioning its Gaussian matrices on what they were asked (matrices.py).
As S grows its outputs tend to the limit's, deterministic ones, with an error ~ 1/sqrt S; independent replicas measure
it. Cost O(R S L M^2 T^2) at most (rank truncation makes it nearly linear in T), against O(R S L n^2) for every
iteration of a fixed point over all pairs of steps.
Source: the limit, Bordelon et al. 2024 (arXiv 2309.16620); equations and solver: docs/theory/dmft.md.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from isoscale.theory.dmft.march import Kernels, Progress, Trajectory, march
from isoscale.theory.dmft.matrices import Conditioned
from isoscale.theory.dmft.network import block_of, centre
from isoscale.theory.dmft.planning import check_memory
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.sources import Frame, Gaussian, Sobol, Source
from isoscale.theory.solution import Solution, Status

Mode = Literal["iid", "srht", "sobol"]


@dataclass(frozen=True, eq=False)
class Limit:
    """The limit's training: outputs `f` (T+1, M, C), training loss `loss` (T+1,).

    `spread` (T+1, M, C) is the standard error of f at each entry; `replicas` (R, T+1, M, C) the outputs of every
    replica; `kernels` the neuron averages where asked for; `ranks` how many directions the widest-probed matrix met.
    """

    f: Tensor
    loss: Tensor
    spread: Tensor
    replicas: Tensor
    kernels: Kernels | None = None
    ranks: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Sampling:
    """How the limit is sampled.

    `mode`: "iid" has the exact law of finite networks of that width (with center=False), "srht" orthonormal fields
    (less noise, exact for linear phi when width exceeds the number of fields drawn; width a power of 2), "sobol" low
    discrepancy (only for zero-initialised blocks). `center` makes f(0) = 0 by taking the readout off the initial
    features. `drop`: directions of new fields below this share of the field are ignored. `response=False` drops the
    response terms A, B: a wrong theory, for comparison.
    """

    width: int = 2048
    replicas: int = 4
    mode: Mode = "srht"
    center: bool = True
    drop: float = 1e-6
    response: bool = True
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        if self.width < 2 or self.replicas < 1:
            raise BadProblem(f"width = {self.width}, replicas = {self.replicas}: at least 2 neurons, 1 replica")
        floor = 1e-12 if self.dtype == torch.float64 else 1e-5
        if not floor <= self.drop < 0.5:
            raise BadProblem(
                f"drop = {self.drop} must lie in [{floor:g}, 0.5) for {self.dtype}: smaller directions are rounding, "
                "and their random images would be noise"
            )
        if self.mode not in ("iid", "srht", "sobol"):
            raise BadProblem(f"mode {self.mode!r} is not known; choose iid, srht or sobol")


def sample_networks(
    problem: Problem,
    depth: int,
    sampling: Sampling,
    *,
    rates: Tensor | None = None,
    kernels: bool = False,
    branch: float | None = None,
    progress: Progress | None = None,
) -> tuple[Trajectory, tuple[int, int], Source]:
    """The replicas themselves (see `solve_limit`), the ranks met, and the source of randomness."""
    if depth < 1:
        raise BadProblem(f"depth = {depth} must be at least 1")
    device = problem.X.device
    root = _root(problem.Kx.cpu())
    source = _source(sampling, root.shape[1] + problem.C, problem)
    h0 = (root @ source.draw(root.shape[1])).to(device, sampling.dtype)
    like = h0[:, :1]

    def matrix(sig: float) -> Conditioned:
        return Conditioned(
            source, sig, like, drop=sampling.drop, response=sampling.response,
            momentum=problem.momentum, decay=problem.decay,
        )  # fmt: skip

    inner = [1.0] * (problem.layers_per_block - 1)
    matrices = [[matrix(sig) for sig in (*inner, problem.sig_w)] for _ in range(depth)]
    blocks = [block_of(problem, depth, each, h0, branch) for each in matrices]

    def readout(features: Tensor) -> Tensor:
        w = source.draw(problem.C).to(features)
        return centre(w, features) if sampling.center else w

    trajectory = march(problem, h0, readout, blocks, rates=rates, kernels=kernels, progress=progress)
    met = [each.ranks for pair in matrices for each in pair]
    return trajectory, (max(x for x, _ in met), max(y for _, y in met)), source


def solve_limit(
    problem: Problem,
    depth: int,
    *,
    sampling: Sampling | None = None,
    kernels: bool = False,
    memory_limit: float | None = None,
    progress: Progress | None = None,
) -> Solution[Limit]:
    """The limit N -> infinity of a network of `depth` blocks, trained as the problem says.

    `error` has "f" (root-mean-square standard error of f over its entries, from the replicas, in units of f), "loss"
    (standard error of the final loss, jackknife) and, in float32, "precision" (rms difference of one replica from the
    same draws in float64). A diverged run's value holds the steps before. Raises `BadProblem` before running where
    memory would not suffice. For depth -> infinity see `solve_deep`; for gamma0 -> 0 `lazy_limit`; for linear
    networks `solve_linear`, which is exact.
    """
    chosen = sampling or Sampling()
    truncating = chosen.drop > 1e-4
    check_memory(problem, depth, chosen.width, chosen.replicas, chosen.dtype, memory_limit, truncating)
    trajectory, ranks, source = sample_networks(problem, depth, chosen, kernels=kernels, progress=progress)
    end = trajectory.diverged_at()
    replicas = trajectory.f[:, :end].double()
    if end == 0:
        return Solution(None, {}, Status("diverged", "the initial fields overflow: lower beta0 or the data's scale"))
    value = _value(problem, replicas, trajectory.kernels, ranks)
    error = {"f": float((value.spread**2).mean().sqrt()), "loss": _jackknife(problem, replicas)}
    if chosen.dtype == torch.float32:
        error["precision"] = _precision(problem, depth, chosen, replicas)
    return Solution(value, error, _status(problem, value, error, end, chosen, source))


def _value(problem: Problem, replicas: Tensor, kernels: Kernels | None, ranks: tuple[int, int]) -> Limit:
    f = replicas.mean(0)
    spread = replicas.std(0) / len(replicas) ** 0.5 if len(replicas) > 1 else torch.full_like(f, torch.nan)
    return Limit(f, problem.loss_of(f), spread, replicas, kernels, ranks)


def _jackknife(problem: Problem, replicas: Tensor) -> float:
    """Standard error of the final loss of the mean outputs."""
    R = len(replicas)
    if R == 1:
        return float("nan")
    last = replicas[:, -1]
    without = problem.loss_of((last.sum(0) - last) / (R - 1))
    return float(((R - 1) * without.var(correction=0)).sqrt())


def _precision(problem: Problem, depth: int, sampling: Sampling, replicas: Tensor) -> float:
    """Rms difference from the same draws in double precision (all replicas: draws come as one batch)."""
    exact = sample_networks(problem, depth, replace(sampling, dtype=torch.float64))[0].f[:, : replicas.shape[1]]
    return float(((exact - replicas) ** 2).mean().sqrt())


def _status(
    problem: Problem, value: Limit, error: dict[str, float], end: int | None, sampling: Sampling, source: Source
) -> Status:
    if end is not None:
        sentence = f"outputs left all bounds at step {end}: eta0 = {problem.eta0} is unstable here; lower it"
        return Status("diverged", sentence)
    if bool(value.loss.max() > 10 * value.loss[0] + 1e-12):
        return Status("diverged", f"the loss grew tenfold: eta0 = {problem.eta0} is unstable here; lower it")
    size = float((value.f**2).mean().sqrt())
    notes = [source.sentence()]
    if sampling.drop > 1e-4:
        notes.append(f"ranks were truncated at drop = {sampling.drop:g}, which the error bar leaves out: compare")
    if not sampling.response:
        notes.append("response terms were dropped: this is not the limit of trained networks")
    said = " ".join(note for note in notes if note)
    if error["f"] > 0.1 * size:
        sentence = f"the sampling error {error['f']:.2g} exceeds a tenth of the outputs' size {size:.2g}: raise width"
        return Status("unconverged", f"{sentence}. {said}".strip())
    relative = error["f"] / size if size else 0.0
    known = "unknown (one replica)" if relative != relative else f"{relative:.1e}"
    return Status("converged", f"relative sampling error of f: {known}. {said}".strip())


def _source(sampling: Sampling, dimensions: int, problem: Problem) -> Source:
    R, S, seed = sampling.replicas, sampling.width, sampling.seed
    if sampling.mode == "iid":
        return Gaussian(R, S, seed)
    if sampling.mode == "srht":
        return Frame(R, S, seed)
    if problem.sig_w != 0 or problem.layers_per_block == 2:
        raise BadProblem(
            f"mode 'sobol' needs blocks without initial randomness (sig_w = 0, one layer a block), not sig_w = "
            f"{problem.sig_w}, layers_per_block = {problem.layers_per_block}: use mode='srht'"
        )
    return Sobol(R, S, seed, dimensions)


def _root(Kx: Tensor, tolerance: float = 1e-12) -> Tensor:
    """F (M, r) with F F^T = Kx, r its numerical rank: repeated points cost nothing and break nothing."""
    values, vectors = torch.linalg.eigh(Kx)
    kept = values > tolerance * values[-1].clamp_min(1e-300)
    return vectors[:, kept] * values[kept].sqrt()
