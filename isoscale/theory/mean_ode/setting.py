"""A setting: the data, the frozen embeddings and the scales. Everything the limit depends on, and nothing of L or M.

Legend: L depth, M hidden width, D embedding dimension, n training points, X (n, din) inputs, Y (n, dout) targets,
W_E (D, din) and W_U (D, dout) frozen embedding and unembedding, U, V (L, M, D) trained, h stream (coordinates
Theta(1)), p = u.h/D pre-activation, b = D dLoss/dh, r dimension of the reduced basis Q.

    h^0 = W_E x,   h^l = h^{l-1} + (alpha / (L M)) sum_j v_j rho(u_j.h^{l-1} / D),   f = W_U^T h^L / D
    Loss = (1 / (2 n dout)) sum_i |f(x_i) - y_i|^2
    u ~ N(0, sigma_u^2 I), v ~ N(0, sigma_v^2 I);  critical: sigma_u = sigma_v = sqrt(D), alpha = 1

Gradient descent with eta_u, eta_v is plain gradient descent with the raw rates eta L M D / alpha^2 (`raw_rates`).
Source: Chizat, "The Hidden Width of Deep ResNets", arXiv 2509.10167 (model of its theorem 3); the settings A, B, E(D),
F(D) are this project's (docs/theory/mean_ode.md).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isoscale.theory.mean_ode.activations import ACTIVATIONS, LAWS, Activation, Law


class BadSetting(ValueError):
    """The setting is outside what the mean-ODE theory speaks of."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Data, frozen embeddings and scales (see the legend above). All tensors float64 on one device.

    `sigma_u`, `sigma_v` None mean the critical sqrt(D). `law` names the law of v's entries ("normal" or "skewed").
    Raises `BadSetting` on non-finite data, alpha <= 0, sigma < 0, mismatched shapes, unknown names.
    """

    X: Tensor
    Y: Tensor
    W_E: Tensor
    W_U: Tensor
    activation: str = "tanh"
    alpha: float = 1.0
    sigma_u: float | None = None
    sigma_v: float | None = None
    eta_u: float = 1.0
    eta_v: float = 1.0
    law: str = "normal"

    def __post_init__(self) -> None:
        for name in ("X", "Y", "W_E", "W_U"):
            tensor = getattr(self, name)
            if tensor.ndim != 2 or not bool(torch.isfinite(tensor).all()):
                raise BadSetting(
                    f"{name} of shape {tuple(tensor.shape)} must be a finite matrix: the limit is a map of finite "
                    "data; drop or impute the offending rows"
                )
        (n, din), (m, dout) = self.X.shape, self.Y.shape
        D = self.W_E.shape[0]
        if n != m or self.W_E.shape[1] != din or tuple(self.W_U.shape) != (D, dout):
            shapes = {name: tuple(getattr(self, name).shape) for name in ("X", "Y", "W_E", "W_U")}
            raise BadSetting(f"shapes {shapes} must be X (n, din), Y (n, dout), W_E (D, din), W_U (D, dout)")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise BadSetting(
                f"alpha = {self.alpha} must be finite and > 0: learning rates are divided by alpha^2; "
                "for the limit alpha -> infinity call lazy_ode"
            )
        for name in ("sigma_u", "sigma_v", "eta_u", "eta_v"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise BadSetting(f"{name} = {value} must be finite and >= 0")
        if self.activation not in ACTIVATIONS:
            raise BadSetting(f"activation {self.activation!r} is not known; choose from {', '.join(ACTIVATIONS)}")
        if self.law not in LAWS:
            raise BadSetting(f"law {self.law!r} is not known; choose from {', '.join(LAWS)}")

    @property
    def D(self) -> int:
        return int(self.W_E.shape[0])

    @property
    def n(self) -> int:
        return int(self.X.shape[0])

    @property
    def dout(self) -> int:
        return int(self.Y.shape[1])

    @property
    def std_u(self) -> float:
        return math.sqrt(self.D) if self.sigma_u is None else self.sigma_u

    @property
    def std_v(self) -> float:
        return math.sqrt(self.D) if self.sigma_v is None else self.sigma_v

    @property
    def rho(self) -> Activation:
        return ACTIVATIONS[self.activation]

    @property
    def v_law(self) -> Law:
        return LAWS[self.law]

    def raw_rates(self, L: int, M: int) -> tuple[float, float]:
        """The learning rates of plain gradient descent on (U, V): eta_u L M D / alpha^2, eta_v L M D / alpha^2."""
        scale = L * M * self.D / self.alpha**2
        return self.eta_u * scale, self.eta_v * scale

    def to(self, device: torch.device | str) -> "Setting":
        """The same setting with its tensors on `device`; solvers and nets compute where these are."""
        return replace(self, X=self.X.to(device), Y=self.Y.to(device), W_E=self.W_E.to(device), W_U=self.W_U.to(device))

    def with_(self, **changes: object) -> "Setting":
        """A copy with other fields, checked again."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def loss(self, f: Tensor) -> Tensor:
        """Loss of outputs f (..., n, dout): shape (...)."""
        return ((f - self.Y.to(f)) ** 2).sum((-1, -2)) / (2 * self.n * self.dout)


@dataclass(frozen=True, eq=False)
class Reduced:
    """A setting in the coordinates of the subspace in which the limit lives: h0 (n, r), W (r, dout), Q (D, r)."""

    setting: Setting
    Q: Tensor
    h0: Tensor
    W: Tensor

    @property
    def r(self) -> int:
        return int(self.Q.shape[1])


def reduced(setting: Setting, rank_tolerance: float = 1e-10) -> Reduced:
    """The smallest subspace with every h_k(s, x_i) and b_k(s, x_i) of the limit: exact for any D.

    It holds W_E x_i and W_U y_i and is closed under W_U W_U^T, since b(1) = W_U (W_U^T h / D - y) / (n dout); the
    equations of the limit do not leave it, because E[V_0 g(V_0.b, U_0.h)] lies in the span of the b's (Stein). So
    r <= min(D, min(n, din) + dout), and r <= 2 n where W_U W_U^T is a multiple of the identity. Needs a
    rotation-invariant law of v; other laws keep all D coordinates.
    """
    D = setting.D
    if setting.v_law.rotation_invariant:
        seed = torch.cat([setting.W_U @ setting.Y.T, setting.W_E @ setting.X.T], dim=1)
        Q, done = _orthonormal(seed, rank_tolerance), False
        while not done:
            grown = _orthonormal(torch.cat([Q, setting.W_U @ (setting.W_U.T @ Q)], dim=1), rank_tolerance)
            Q, done = grown, grown.shape[1] == Q.shape[1]
    else:
        Q = torch.eye(D, dtype=setting.X.dtype, device=setting.X.device)
    return Reduced(setting, Q, (setting.W_E @ setting.X.T).T @ Q, Q.T @ setting.W_U)


def _orthonormal(columns: Tensor, tolerance: float) -> Tensor:
    """An orthonormal basis of the columns' span (each column first scaled to length 1)."""
    norms = columns.norm(dim=0)
    kept = columns[:, norms > 0] / norms[norms > 0]
    if kept.shape[1] == 0:
        raise BadSetting("W_E X and W_U Y are all zero: there is nothing to fit; give non-zero data")
    left, singular, _ = torch.linalg.svd(kept, full_matrices=False)
    return left[:, singular > tolerance * singular[0]]


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def setting_a(D: int = 10, din: int = 5, dout: int = 1, n: int = 10, seed: int = 0, **changes: object) -> Setting:
    """A: frozen random embeddings W_E ~ N(0, 1/din), W_U ~ N(0, dout): h and b are Theta(1). r = din + dout."""
    X, Y = _normal(4 * seed, n, din), _normal(4 * seed + 1, n, dout)
    W_E, W_U = _normal(4 * seed + 2, D, din) / math.sqrt(din), _normal(4 * seed + 3, D, dout)
    return Setting(X, Y, W_E, W_U * math.sqrt(dout), **changes)  # type: ignore[arg-type]


def setting_b(D: int = 10, n: int = 10, seed: int = 0, **changes: object) -> Setting:
    """B, and E(D): W_E = I, W_U = D I, din = dout = D: f = h^L, the loss sees every coordinate. r = min(D, 2n)."""
    eye = torch.eye(D, dtype=torch.float64)
    return Setting(_normal(4 * seed, n, D), _normal(4 * seed + 1, n, D), eye, D * eye, **changes)  # type: ignore[arg-type]


def setting_f(D: int = 10, n: int = 10, seed: int = 0, **changes: object) -> Setting:
    """F(D): A with dout = 5 whatever D; the rows of W_E, W_U of a smaller D are the first of a larger one's.

    r = min(D, 10).
    """
    # torch draws normals in blocks of 16, with another order in a last block that is not full: draw whole blocks.
    rows = 16 * math.ceil(D / 16)
    whole = setting_a(rows, 5, 5, n, seed)
    return Setting(whole.X, whole.Y, whole.W_E[:D], whole.W_U[:D], **changes)  # type: ignore[arg-type]
