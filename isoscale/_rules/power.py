"""Exact monomials of growth: what a setting is multiplied by when a network gets wider and deeper."""

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import SupportsFloat

Exponent = Fraction | int | str
"""What an exponent may be given as: 1, Fraction(1, 2), "1/2". Never a float: exponents are exact."""


def exact(value: Exponent, name: str) -> Fraction:
    """`value` as a Fraction. Raises TypeError for floats, whose binary digits are not what was meant."""
    if isinstance(value, float):
        raise TypeError(f"{name}={value!r} is a float: exponents are exact; write Fraction(1, 2) or '1/2'")
    return value if isinstance(value, Fraction) else Fraction(value)


@dataclass(frozen=True)
class Power:
    """A ratio that is a monomial of growth ratios, with exact exponents.

    ratio = n_in^fan_in * n_out^fan_out * min(1, n_out / n_in)^narrowing * l^depth

    n_in, n_out (fan-in and fan-out) and l (number of residual branches) are ratios target / base, so at the base
    size every Power is exactly 1. `narrowing` is felt only where fan-out grows slower than fan-in (the spectral
    form of the initialisation). Powers form a commutative group under `*`; `power ** exponent` is exact too.

    Raises TypeError for a float exponent: 0.1 is not an exact number.
    """

    fan_in: Fraction = Fraction(0)
    fan_out: Fraction = Fraction(0)
    depth: Fraction = Fraction(0)
    narrowing: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, exact(getattr(self, item.name), item.name))

    def at(self, *, fan_in: SupportsFloat = 1, fan_out: SupportsFloat = 1, depth: SupportsFloat = 1) -> float:
        """The ratio's value at growth ratios target / base; exactly 1.0 where every ratio is 1.

        Raises ValueError for a ratio that is not positive.
        """
        sizes = {"fan_in": float(fan_in), "fan_out": float(fan_out), "depth": float(depth)}
        for name, size in sizes.items():
            if not 0 < size < float("inf"):
                raise ValueError(f"{name}={size}: a growth ratio target / base is positive and finite; give both sizes")
        narrow = min(1.0, sizes["fan_out"] / sizes["fan_in"])
        # Equal bases meet before any rounding: 49 wide in and out, n_out / n_in is 1 and not 1 - 1e-16.
        exponents: dict[float, Fraction] = {}
        for base, exponent in (*((sizes[name], getattr(self, name)) for name in sizes), (narrow, self.narrowing)):
            exponents[base] = exponents.get(base, Fraction(0)) + exponent
        above = below = 1.0
        for base, exponent in exponents.items():
            if exponent > 0:
                above *= base ** float(exponent)
            else:
                below *= base ** float(-exponent)
        return above / below

    @property
    def width(self) -> Fraction:
        """The exponent of n where fan-in and fan-out both grow as n (the narrowing is 1 there)."""
        return self.fan_in + self.fan_out

    def without(self, *names: str) -> "Power":
        """The same Power for a parameter whose named fans do not grow: those exponents act on a ratio of 1.

        A minimum is resolved where it can be: with a fixed fan-out min(1, n_out / n_in) is 1 / n_in, with a
        fixed fan-in it is 1.
        """
        kept = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in names:
            kept[name] = Fraction(0)
        if "fan_out" in names and "fan_in" not in names:
            kept["fan_in"] -= self.narrowing
        if names:
            kept["narrowing"] = Fraction(0)
        return Power(**kept)

    def __mul__(self, other: "Power") -> "Power":
        return Power(
            self.fan_in + other.fan_in,
            self.fan_out + other.fan_out,
            self.depth + other.depth,
            self.narrowing + other.narrowing,
        )

    def __truediv__(self, other: "Power") -> "Power":
        return self * other**-1

    def __pow__(self, exponent: Exponent) -> "Power":
        by = exact(exponent, "exponent")
        return Power(self.fan_in * by, self.fan_out * by, self.depth * by, self.narrowing * by)

    def __str__(self) -> str:
        """In n and l, both fans growing as n: "n^-1 l^-1/2", or "1". `spelled` keeps the fans apart."""
        return _monomial(("n", self.width), ("l", self.depth))

    @property
    def spelled(self) -> str:
        """With fan-in and fan-out apart: "n_in^-1 n_out l^-1/2"."""
        return _monomial(
            ("n_in", self.fan_in),
            ("n_out", self.fan_out),
            ("min(1, n_out/n_in)", self.narrowing),
            ("l", self.depth),
        )


ONE = Power()


def _monomial(*factors: tuple[str, Fraction]) -> str:
    written = [base if exponent == 1 else f"{base}^{exponent}" for base, exponent in factors if exponent]
    return " ".join(written) or "1"
