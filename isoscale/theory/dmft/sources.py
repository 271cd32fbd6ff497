"""Where randomness comes from: fields of S neurons whose neuron averages <q_i q_j> are, or tend to, the identity.

Legend: R replicas, S neurons (width), k fields; H Hadamard matrix, D_i diagonal random signs.
"""

import math
from typing import Protocol

import torch
from torch import Tensor


class Source(Protocol):
    """`draw(k)` returns k fresh fields (R, k, S) of mean 0 and variance 1, independent of all drawn before."""

    R: int
    S: int

    def draw(self, k: int) -> Tensor: ...

    def sentence(self) -> str:
        """What a reader of the result must know of the draws; empty if nothing."""
        ...


class Gaussian:
    """Independent normal entries: with it, the one-pass solver has the exact law of a network of width S."""

    def __init__(self, R: int, S: int, seed: int) -> None:
        self.R, self.S = R, S
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def draw(self, k: int) -> Tensor:
        return torch.randn(self.R, k, self.S, generator=self._generator, dtype=torch.float64, device="cpu")

    def sentence(self) -> str:
        return ""


class Frame:
    """Columns of a random orthogonal matrix H D_1 H D_2 H D_3: exactly orthonormal, nearly Gaussian entries.

    Fields from one frame have <q_i q_j> = delta_ij to rounding, so that averages of linear fields carry no sampling
    noise at all. A frame has S columns; when they are used up, the next ones come from a new, independent frame.
    """

    def __init__(self, R: int, S: int, seed: int) -> None:
        if S < 2 or S & (S - 1):
            raise ValueError(f"width {S} is no power of two: srht rotates by Hadamard matrices; use mode='iid' or 2^k")
        self.R, self.S, self.frames = R, S, 0
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._next = S
        # H_S = H_left (x) H_right: two small products instead of log2(S) passes over memory.
        half = S.bit_length() // 2
        self._left, self._right = _hadamard(1 << half), _hadamard(S >> half)

    def draw(self, k: int) -> Tensor:
        drawn: list[Tensor] = []
        while k > 0:
            if self._next == self.S:
                self.frames, self._next = self.frames + 1, 0
                bits = torch.randint(0, 2, (3, self.R, 1, self.S), generator=self._generator, device="cpu")
                self._signs = (2 * bits - 1).double()
                self._order = torch.randperm(self.S, generator=self._generator, device="cpu")
            take = min(k, self.S - self._next)
            drawn.append(self._columns(self._order[self._next : self._next + take]))
            self._next, k = self._next + take, k - take
        return torch.cat(drawn, dim=1)

    def _columns(self, index: Tensor) -> Tensor:
        x = torch.zeros(self.R, len(index), self.S, dtype=torch.float64, device="cpu")
        x[:, torch.arange(len(index), device="cpu"), index] = math.sqrt(self.S)
        for sign in self._signs:
            x = self._rotate(sign * x)
        return x

    def _rotate(self, x: Tensor) -> Tensor:
        grid = x.reshape(-1, len(self._left), len(self._right))
        return (self._left @ grid @ self._right).reshape(x.shape)

    def sentence(self) -> str:
        if self.frames <= 1:
            return ""
        return (
            f"{self.frames} orthogonal frames of {self.S} fields were used: between frames the sampling noise is that "
            "of independent draws (raise width for an exactly orthonormal set)"
        )


class Sobol:
    """Scrambled low-discrepancy normal points in `dimensions` dimensions: for limits with little randomness.

    Only the first `dimensions` fields exist; they are handed out in order. Each replica has its own scrambling.
    """

    def __init__(self, R: int, S: int, seed: int, dimensions: int) -> None:
        self.R, self.S = R, S
        points = []
        for r in range(R):
            engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed + 7919 * r)
            uniform = engine.draw(S, dtype=torch.float64).T
            points.append(torch.special.ndtri(uniform.clamp(1e-12, 1 - 1e-12)))
        fields = torch.stack(points)
        # Second moments made exact: linear fields then carry no sampling error.
        root = torch.linalg.cholesky(fields @ fields.transpose(1, 2) / S)
        self._fields = torch.linalg.solve_triangular(root, fields, upper=False)
        self._next = 0

    def draw(self, k: int) -> Tensor:
        taken = self._fields[:, self._next : self._next + k]
        if taken.shape[1] < k:
            raise ValueError(
                f"{self._fields.shape[1]} Sobol dimensions are fewer than the fields asked for: a limit with random "
                "blocks needs mode='srht' or 'iid'"
            )
        self._next += k
        return taken

    def sentence(self) -> str:
        return ""


def _hadamard(n: int) -> Tensor:
    H = torch.ones(1, 1, dtype=torch.float64, device="cpu")
    while len(H) < n:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)]) / math.sqrt(2)
    return H
