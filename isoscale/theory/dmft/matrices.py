r"""A trained Gaussian matrix, twice: with all its entries, and conditioned on what was asked of it.

Legend: R replicas, S neurons (width), m fields asked at once; W the matrix, \W = W / sqrt S its action on fields with
O(1) entries, <.> neuron average, sig initial std; q_i, y_j bases (<q_i q_j> = delta_ij) of the fields the matrix and
its transpose have met, U_i = \W_0 q_i, V_j = \W_0^T y_j their images, c, d coefficients; E learned part; rho share of
W_0 that weight decay has left.

Whatever is trained by gradients of a loss is only ever probed: \W x forward, \W^T g backward, rank-one updates g x^T.
Given the images U, V so far, the Gaussian matrix at a new unit field q orthogonal to all q_i is (exactly)

    \W_0 q = sig (e - sum_j y_j <y_j e>) + sum_j y_j <V_j q>,   e ~ N(0, 1) per neuron      (innovation + response)

and with W_t = rho W_0 + learned, \W_t x = rho sum_i c_i U_i + sum_ji y_j E_ji c_i. So a network of width S is
simulated in law without any S x S matrix; the second term is what makes the backward pass's weights the transpose of
the forward pass's, the response functions A, B of the limit. Without it (`response=False`) they would be independent.
Source: docs/theory/dmft.md section 6; the idea is Bolthausen's conditioning (arXiv 1201.2891), as in AMP.
"""

from typing import Protocol

import torch
from torch import Tensor

from isoscale.theory.dmft.sources import Source

BROKEN = 1e12
"""Fields beyond this size are the work of a diverged step: later arithmetic would only make non-numbers of them."""


class Matrix(Protocol):
    """What a block asks of its weights. Fields are (R, m, S); `probed` are the coefficients for the kernels."""

    broken: Tensor

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, y: Tensor) -> Tensor: ...

    def learn(self, push: Tensor, columns: Tensor, factor: float = 1.0) -> None:
        """Descend by sum_b push_b y_b x_b^T for the last y met (m of them), each with the x of index columns_b;
        `factor` is the schedule's."""
        ...

    def kernels(self) -> tuple[Tensor, Tensor]:
        """<x x'> over all x met so far and <y y'> over all y met, (R, n, n) each."""
        ...


class Descent:
    """Heavy-ball descent with coupled decay of one quantity: v <- m v + push - decay value; value <- value + c v, c the
    schedule's factor on the learning rate."""

    def __init__(self, value: Tensor, momentum: float, decay: float) -> None:
        self.value, self._velocity = value, torch.zeros_like(value)
        self._momentum, self._decay = momentum, decay

    def push(self, push: Tensor, factor: float = 1.0) -> None:
        if self._momentum == 0 and self._decay == 0:  # large matrices: one pass over memory instead of four
            self.value = torch.add(self.value, push, alpha=factor)
            return
        self._velocity = self._momentum * self._velocity + push - self._decay * self.value
        self.value = torch.add(self.value, self._velocity, alpha=factor)

    def grow(self, *shape: int) -> None:
        """Pad with zeros to this shape."""
        if self.value.shape != shape:
            for name in ("value", "_velocity"):
                old = getattr(self, name)
                new = old.new_zeros(shape)
                new[tuple(slice(n) for n in old.shape)] = old
                setattr(self, name, new)


def sound(x: Tensor, broken: Tensor) -> Tensor:
    """x with the replicas that left all bounds set to zero and marked in `broken` (R,)."""
    lost = ~(x.abs().amax((1, 2)) < BROKEN)
    if bool(lost.any()):
        broken |= lost
        return torch.where(lost[:, None, None], torch.zeros_like(x), x)
    return x


class Dense:
    """The matrix itself, W (R, S, S): a finite network, nothing random left after its first entry. Long runs do not
    keep (`keep=False`) the fields of past steps, which only the kernels need."""

    def __init__(self, W: Tensor, momentum: float = 0.0, decay: float = 0.0, keep: bool = True) -> None:
        self._keep = keep
        self._W = Descent(W, momentum, decay)
        self._root = W.shape[-1] ** 0.5
        self.broken = torch.zeros(len(W), dtype=torch.bool, device=W.device)
        self._xs: list[Tensor] = []
        self._ys: list[Tensor] = []

    @property
    def W(self) -> Tensor:
        return self._W.value

    def forward(self, x: Tensor) -> Tensor:
        x = sound(x, self.broken)
        self._xs = _kept(self._xs, x / self._root, self._keep)
        return torch.bmm(self._xs[-1], self._W.value.transpose(1, 2))

    def backward(self, y: Tensor) -> Tensor:
        self._ys = _kept(self._ys, sound(y, self.broken) / self._root, self._keep)
        return torch.bmm(self._ys[-1], self._W.value)

    def learn(self, push: Tensor, columns: Tensor, factor: float = 1.0) -> None:
        y, x = self._ys[-1], self._xs[-1][:, columns]
        self._W.push(self._root * torch.bmm((push[:, :, None] * y).transpose(1, 2), x), factor)

    def kernels(self) -> tuple[Tensor, Tensor]:
        return _gram(self._xs, len(self.broken)), _gram(self._ys, len(self.broken))


class _Basis:
    """Growing rows: `vectors` q_i (orthonormal) and `images` of them under the matrix, (R, n, S) each."""

    def __init__(self, like: Tensor) -> None:
        self._vectors = self._images = like.new_empty(len(like), 0, like.shape[-1])
        self.n = 0

    @property
    def vectors(self) -> Tensor:
        return self._vectors[:, : self.n]

    @property
    def images(self) -> Tensor:
        return self._images[:, : self.n]

    def append(self, vectors: Tensor, images: Tensor) -> None:
        end = self.n + vectors.shape[1]
        if end > self._vectors.shape[1]:  # doubling: appending stays linear in memory traffic
            R, _, S = vectors.shape
            grown = [vectors.new_empty(R, max(end, 2 * self.n), S) for _ in range(2)]
            grown[0][:, : self.n], grown[1][:, : self.n] = self.vectors, self.images
            self._vectors, self._images = grown
        self._vectors[:, self.n : end], self._images[:, self.n : end] = vectors, images
        self.n = end


class Conditioned:
    """A Gaussian matrix known only by its images of the fields it met (the module's equation); memory 4 S n numbers.

    `drop`: directions of a new field below drop * |field| are ignored (pivots of a rank-revealing factorisation).
    """

    def __init__(
        self, source: Source, sig: float, like: Tensor, *, drop: float, response: bool = True,
        momentum: float = 0.0, decay: float = 0.0,
    ) -> None:  # fmt: skip
        self._source, self._sig, self._drop, self._response = source, sig, drop, response
        self._X, self._Y = _Basis(like), _Basis(like)
        self._E = Descent(like.new_zeros(len(like), 0, 0), momentum, decay)
        self._rho = Descent(like.new_ones(()), momentum, decay)
        self.broken = torch.zeros(len(like), dtype=torch.bool, device=like.device)
        self._cs: list[Tensor] = []
        self._ds: list[Tensor] = []

    @property
    def ranks(self) -> tuple[int, int]:
        """How many directions the matrix and its transpose have met."""
        return self._X.n, self._Y.n

    def forward(self, x: Tensor) -> Tensor:
        c, out = self._ask(self._X, self._Y, sound(x, self.broken), self._E.value.transpose(1, 2))
        self._cs.append(c)
        return out

    def backward(self, y: Tensor) -> Tensor:
        d, out = self._ask(self._Y, self._X, sound(y, self.broken), self._E.value)
        self._ds.append(d)
        return out

    def learn(self, push: Tensor, columns: Tensor, factor: float = 1.0) -> None:
        d, c = self._ds[-1], self._cs[-1][:, columns]
        self._E.grow(len(d), self._Y.n, self._X.n)
        # c was measured before the backward pass, d is the latest: both already span their whole basis.
        self._E.push(torch.bmm((push[:, :, None] * d).transpose(1, 2), c), factor)
        self._rho.push(torch.zeros_like(self._rho.value), factor)

    def _ask(self, near: _Basis, far: _Basis, x: Tensor, E: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (R, m, n) of x in `near`, enlarged by the new directions of x, and the matrix's answer."""
        S, n, m = x.shape[-1], near.n, x.shape[1]
        rest, c = x, x.new_zeros(*x.shape[:2], 0)
        if n:
            c = torch.bmm(x, near.vectors.transpose(1, 2)) / S
            rest = torch.baddbmm(x, c, near.vectors, alpha=-1)
        scale = (x * x).mean(-1).amax(-1).sqrt()
        q, new, smallest = _directions(rest, self._drop * scale)
        if n and smallest < 1e-3:  # what is left of a nearly known field is partly rounding: project once more
            q = torch.baddbmm(q, torch.bmm(q, near.vectors.transpose(1, 2)), near.vectors, alpha=-1 / S)
            q = q / (q * q).mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(q.dtype).tiny)
        e = self._sig * self._source.draw(q.shape[1]).to(q) if self._sig and q.shape[1] else torch.zeros_like(q)
        # Rows of coefficients in the other side's basis: the learned part's answer, then the new images' response.
        # One product for both, since these arrays are read from memory more slowly than they are multiplied.
        learned = torch.bmm(c[..., : E.shape[1]], E)
        rows = torch.nn.functional.pad(learned, (0, far.n - learned.shape[-1]))
        if self._sig and self._response and far.n and q.shape[1]:
            known = torch.bmm(q, far.images.transpose(1, 2)) - torch.bmm(e, far.vectors.transpose(1, 2))
            rows = torch.cat([rows, known / S], dim=1)
        answer = torch.bmm(rows, far.vectors)
        out = answer[:, :m]
        if rows.shape[1] > m:
            e += answer[:, m:]
        near.append(q, e)
        c = torch.cat([c, new], dim=-1)
        return c, out.baddbmm(self._rho.value * c, near.images) if self._sig else out

    def kernels(self) -> tuple[Tensor, Tensor]:
        return _gram(self._cs, len(self.broken)), _gram(self._ds, len(self.broken))


def _directions(rest: Tensor, floor: Tensor) -> tuple[Tensor, Tensor, float]:
    """Orthonormal fields q (R, k, S) spanning `rest` (R, m, S) down to singular values `floor` (R,), rest's
    coefficients (R, m, k) and the smallest singular value kept. Replicas of lower rank get zero fields: they stay in
    step and change nothing."""
    S = rest.shape[-1]
    orthonormal, triangle = torch.linalg.qr(rest.transpose(1, 2) / S**0.5)
    left, singular, right = torch.linalg.svd(triangle)
    # One sign for each direction, whatever the library chose: the same draw then means the same in every precision.
    sign = right.gather(-1, right.abs().argmax(-1, keepdim=True)).sign()
    left, right = left * sign.transpose(1, 2), right * sign
    kept = singular > floor[:, None]
    k = int(kept.sum(-1).max())
    mask = kept[:, :k].to(rest)
    q = torch.bmm(orthonormal, left[:, :, :k]).transpose(1, 2) * (S**0.5 * mask[:, :, None])
    smallest = float(torch.where(kept, singular, torch.inf).min())
    return q.contiguous(), right[:, :k].transpose(1, 2) * (singular[:, :k] * mask)[:, None, :], smallest


def _gram(rows: list[Tensor], R: int) -> Tensor:
    if not rows:
        return torch.zeros(R, 0, 0, device="cpu")
    width = max(row.shape[-1] for row in rows)
    every = torch.cat([torch.nn.functional.pad(row, (0, width - row.shape[-1])) for row in rows], dim=1)
    return torch.bmm(every, every.transpose(1, 2))


def _kept(past: list[Tensor], latest: Tensor, keep: bool) -> list[Tensor]:
    if not keep:
        return [latest]
    past.append(latest)
    return past
