"""What a run will need, said before it starts: memory of the one-pass solver.

Legend: R replicas, S neurons (width), L blocks, M points, P training points, C outputs, T steps.
Every matrix keeps at most n_x = min(M (T+1), S) fields and n_y = min(P C T, S) gradient fields with their images:
2 S (n_x + n_y) numbers, twice that while its arrays grow.
"""

import os
from dataclasses import dataclass

import torch

from isoscale.theory.dmft.problem import BadProblem, Problem


@dataclass(frozen=True)
class Need:
    """An upper bound of the numbers that a run keeps, and what they come to in bytes."""

    n_x: int
    n_y: int
    matrices: int
    bytes: int


def need(problem: Problem, depth: int, width: int, replicas: int, dtype: torch.dtype = torch.float64) -> Need:
    """What `solve_limit` keeps at most (no rank truncation): bytes = 4 S (n_x + n_y) (matrices) R (bytes a number)."""
    n_x = min(problem.M * (problem.steps + 1), width)
    n_y = min(problem.P * problem.C * problem.steps, width)
    matrices = depth * problem.layers_per_block
    numbers = 4 * width * (n_x + n_y) * matrices * replicas
    return Need(n_x, n_y, matrices, numbers * torch.finfo(dtype).bits // 8)


def free_memory() -> int:
    """Bytes of physical memory of this machine that are free or may be freed, as the kernel counts them."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_numbers(count: float, what: str, hint: str) -> None:
    """Raises `BadProblem` where `count` float64 numbers do not fit into nine tenths of the free memory."""
    allowed = 0.9 * free_memory()
    if 8 * count > allowed:
        raise BadProblem(f"{what} may need {8 * count / 2**30:.1f} GiB, {allowed / 2**30:.1f} GiB are free: {hint}")


def check_memory(
    problem: Problem, depth: int, width: int, replicas: int, dtype: torch.dtype, limit: float | None, truncating: bool
) -> None:
    """Raises `BadProblem` where the run may need more than `limit` bytes (default: nine tenths of what is free).

    How far truncation lowers the ranks is not known before the run: a tenth is counted then (52 of 516 were seen).
    """
    allowed = (0.9 * free_memory()) if limit is None else limit
    wanted = need(problem, depth, width, replicas, dtype)
    if wanted.bytes * (0.1 if truncating else 1) > allowed:
        raise BadProblem(
            f"steps = {problem.steps}, points = {problem.M}, depth = {depth}, width = {width}, replicas = {replicas} "
            f"may need {wanted.bytes / 2**30:.1f} GiB, {allowed / 2**30:.1f} GiB are allowed: every block keeps the "
            f"{wanted.n_x} fields and {wanted.n_y} gradients it met; lower width or replicas, or truncate ranks with "
            "drop=1e-3 or more (fine-stepped training then needs far less), or give memory_limit="
        )
