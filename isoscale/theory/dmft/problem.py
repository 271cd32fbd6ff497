"""The problem: data, loss, scales and training rule. Everything the limit depends on, and nothing of width or depth.

Legend: N width, D input dimension, L residual blocks, P training points, M points in all (training first, then
probes), C outputs, T gradient steps, t step, mu point; h^l stream, phi activation, f output, w readout,
Delta = -dloss/df, p_mu(t) sample weight, Kx = X X^T / D; beta0, alpha: branch scale b = beta0 L^-alpha; lam the blocks'
learning-rate multiplier; sig_w initial std of block weights; eta0, gamma0: learning rate and feature learning.

    h^0 = W_in x / sqrt(D),   h^{l+1} = h^l + (b / sqrt N) W_l phi(h^l),   f = w . phi(h^L) / (gamma0 N)
    theta <- theta + eta0 gamma0^2 N sum_mu p_mu Delta_mu df_mu/dtheta           (blocks: times lam)

With `norm` every block and the readout see n(h) instead of h: n = h / sqrt <h^2> ("rms") or that of h - <h> ("layer").
Two-layer blocks: h^{l+1} = h^l + (b / sqrt N) V_l phi(k), k = U_l h^l / sqrt N; sig_w is the std of V, U has std 1.
Source of the limit: Bordelon, Noci, Li, Hanin, Pehlevan, ICLR 2024 (arXiv 2309.16620); equations: docs/theory/dmft.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from isoscale.theory.dmft.activations import Activation, activation

Loss = Literal["mse", "logistic", "softmax"]
Normalisation = Literal["none", "rms", "layer"]


class BadProblem(ValueError):
    """The problem is outside what the theory speaks of, or too large for this machine."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, loss, scales and training rule (legend above); all dimensionless, computed in float64 on X's device.

    `X` (P, D), `Y` (P, C) (logistic: one column of +-1; softmax: one-hot rows), `probes` (M - P, D) or None.
    `lam` None means L^(2 alpha - 1), the only choice with which blocks keep learning as L grows; `inner_lam` is the
    same for the first layer of two-layer blocks, `input_lam` multiplies the rate of W_in. `batches` (T, P) are the
    sample weights p_mu(t); None: 1/P each. `schedule` (T,) multiplies the learning rate of each step; `momentum` is
    heavy-ball; `decay` the fraction of every weight that a step removes (learning rate times weight decay); `biases`
    gives each block a bias, zero at the start, trained at the block's rate.
    Raises `BadProblem` on non-finite or mismatched data and on scales out of range.
    """

    X: Tensor
    Y: Tensor
    steps: int
    eta0: float
    gamma0: float = 1.0
    activation: str | Activation | Callable[[Tensor], Tensor] = "tanh"
    loss: Loss = "mse"
    probes: Tensor | None = None
    beta0: float = 1.0
    alpha: float = 0.5
    lam: float | None = None
    inner_lam: float | None = None
    input_lam: float = 1.0
    sig_w: float = 1.0
    layers_per_block: Literal[1, 2] = 1
    biases: bool = False
    norm: Normalisation = "none"
    momentum: float = 0.0
    decay: float = 0.0
    batches: Tensor | None = None
    schedule: Tensor | None = None

    def __post_init__(self) -> None:
        self._check_data()
        self._check_scales()
        object.__setattr__(self, "activation", activation(self.activation))

    def _check_data(self) -> None:
        tensors = {"X": self.X, "Y": self.Y, "probes": self.probes, "batches": self.batches}
        for name, tensor in tensors.items():
            if tensor is not None and (tensor.ndim != 2 or not bool(torch.isfinite(tensor).all())):
                raise BadProblem(
                    f"{name} of shape {tuple(tensor.shape)} must be a finite matrix: the limit is a function of the "
                    "data's Gram matrix; drop or impute the offending rows, give targets a column"
                )
        if self.Y.shape[0] != self.X.shape[0] or (self.probes is not None and self.probes.shape[1] != self.X.shape[1]):
            shapes = {name: tuple(x.shape) for name, x in tensors.items() if x is not None}
            raise BadProblem(f"shapes {shapes} must be X (P, D), Y (P, C), probes (M - P, D)")
        if self.batches is not None and tuple(self.batches.shape) != (self.steps, self.P):
            raise BadProblem(
                f"batches of shape {tuple(self.batches.shape)} must hold the sample weights p_mu(t), one row a step: "
                f"({self.steps}, {self.P}); a batch B has p = 1/|B| on its points and 0 elsewhere"
            )
        if self.schedule is not None and (
            tuple(self.schedule.shape) != (self.steps,) or not bool((self.schedule >= 0).all())
        ):
            raise BadProblem(
                f"schedule of shape {tuple(self.schedule.shape)} must hold a factor >= 0 on the learning rate for each "
                f"of the {self.steps} steps"
            )
        if self.loss == "logistic" and not (self.C == 1 and bool((self.Y.abs() == 1).all())):
            raise BadProblem("logistic loss takes one column of targets +1 or -1: -dloss/df = y sigmoid(-y f)")
        if self.loss == "softmax" and not (self.C > 1 and bool((self.Y.sum(1) == 1).all() and (self.Y >= 0).all())):
            raise BadProblem("softmax loss takes C > 1 columns of class probabilities: give one-hot rows")
        if self.loss not in ("mse", "logistic", "softmax"):
            raise BadProblem(f"loss {self.loss!r} is not known; choose mse, logistic or softmax")

    def _check_scales(self) -> None:
        ranges = {
            "steps": (self.steps, self.steps >= 0),
            "eta0": (self.eta0, self.eta0 >= 0),
            "gamma0": (self.gamma0, self.gamma0 > 0),
            "beta0": (self.beta0, self.beta0 > 0),
            "alpha": (self.alpha, self.alpha >= 0),
            "sig_w": (self.sig_w, self.sig_w >= 0),
            "momentum": (self.momentum, 0 <= self.momentum < 1),
            "decay": (self.decay, 0 <= self.decay < 1),
            "input_lam": (self.input_lam, self.input_lam >= 0),
            "layers_per_block": (self.layers_per_block, self.layers_per_block in (1, 2)),
        }
        for name, (value, inside) in ranges.items():
            if not (math.isfinite(value) and inside):
                hint = "; for gamma0 -> 0 call lazy_limit" if name == "gamma0" else ""
                raise BadProblem(
                    f"{name} = {value} is out of range: every scale is finite, momentum and decay < 1{hint}"
                )

        if self.norm not in ("none", "rms", "layer"):
            raise BadProblem(f"norm {self.norm!r} is not known; choose none, rms or layer")

    @property
    def P(self) -> int:
        return int(self.X.shape[0])

    @property
    def M(self) -> int:
        return self.P + (0 if self.probes is None else int(self.probes.shape[0]))

    @property
    def C(self) -> int:
        return int(self.Y.shape[1])

    @property
    def phi(self) -> Activation:
        return activation(self.activation)

    @cached_property
    def points(self) -> Tensor:
        """All inputs (M, D), training points first, float64."""
        return torch.cat([self.X] if self.probes is None else [self.X, self.probes]).double()

    @cached_property
    def Kx(self) -> Tensor:
        """X X^T / D over all points, (M, M)."""
        return self.points @ self.points.T / self.points.shape[1]

    @cached_property
    def weights(self) -> Tensor:
        """Sample weights p_mu(t), (T, P)."""
        if self.batches is not None:
            return self.batches.double()
        return torch.full((self.steps, self.P), 1 / self.P, dtype=torch.float64, device=self.X.device)

    @cached_property
    def factors(self) -> list[float]:
        """The schedule's factor on the learning rate at each of T steps."""
        return [1.0] * self.steps if self.schedule is None else [float(c) for c in self.schedule]

    def b(self, L: int) -> float:
        """The branch scale beta0 L^-alpha."""
        return self.beta0 * L**-self.alpha

    def block_rate(self, L: int) -> float:
        """lam: the blocks' learning-rate multiplier, L^(2 alpha - 1) unless given."""
        return L ** (2 * self.alpha - 1) if self.lam is None else self.lam

    def inner_rate(self, L: int) -> float:
        """lam of the first layer of two-layer blocks."""
        return self.block_rate(L) if self.inner_lam is None else self.inner_lam

    def with_(self, **changes: object) -> "Problem":
        return replace(self, **changes)  # type: ignore[arg-type]

    def residual(self, f: Tensor, batch: Tensor | None = None) -> Tensor:
        """Delta = -dloss/df at the training points (those of index `batch` only) for outputs f (..., P, C)."""
        Y = (self.Y if batch is None else self.Y[batch]).to(f)
        if self.loss == "mse":
            return Y - f
        return Y * torch.sigmoid(-Y * f) if self.loss == "logistic" else Y - torch.softmax(f, -1)

    def loss_of(self, f: Tensor) -> Tensor:
        """Mean training loss for outputs f (..., M, C): shape (...). MSE is |y - f|^2 / 2."""
        f, Y = f[..., : self.P, :], self.Y.to(f)
        if self.loss == "mse":
            each = 0.5 * ((Y - f) ** 2).sum(-1)
        elif self.loss == "logistic":
            each = torch.nn.functional.softplus(-Y * f).sum(-1)
        else:
            each = -(Y * torch.log_softmax(f, -1)).sum(-1)
        return each.mean(-1)
