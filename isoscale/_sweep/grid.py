"""Grids of values, as a spec writes them: one value, a list, or a range in powers of two."""

import math
from fractions import Fraction
from typing import Any

LONGEST = 10_000


def read_grid(value: Any) -> tuple[Any, ...]:
    """The values of a grid. Raises ValueError with a sentence.

    A number, word or truth value stands for itself, a list for its items, and {log2 = [low, high], step = s} for
    2^low, 2^(low+s), ... up to 2^high; the exponents are exact (s = 0.5 or "1/3").

    >>> read_grid({"log2": [-2, 0], "step": 1})
    (0.25, 0.5, 1.0)
    """
    if isinstance(value, dict):
        return _powers(value)
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not values:
        raise ValueError("an empty list: give at least one value, or leave the line out")
    for item in values:
        if not isinstance(item, bool | int | float | str):
            raise ValueError(f"{item!r} in a grid: its items are numbers, words, or true and false")
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{item!r} in a grid: its numbers are finite")
    doubled = sorted({repr(item) for at, item in enumerate(values) if item in values[:at]})
    if doubled:
        raise ValueError(f"{', '.join(doubled)} is there twice")
    return values


def _powers(value: dict[str, Any]) -> tuple[float, ...]:
    unknown = sorted(set(value) - {"log2", "step"})
    if unknown or "log2" not in value:
        raise ValueError(
            f"a range is written {{ log2 = [low, high], step = 1 }}, not with {', '.join(value) or 'nothing'}"
        )
    try:
        low, high = (_exact(item) for item in value["log2"])
        step = _exact(value.get("step", 1))
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError("a range is written { log2 = [low, high], step = 1 }, all three of them numbers") from None
    if step <= 0 or low > high:
        raise ValueError(f"a range from 2^{low} to 2^{high} in steps of {step}: low <= high and step > 0")
    count = (high - low) / step
    if count.denominator != 1:
        raise ValueError(f"steps of {step} from {low} do not meet {high}: choose a step that divides the range")
    if count >= LONGEST:
        raise ValueError(f"a range of {int(count) + 1} values: at most {LONGEST}")
    if low < -1000 or high > 1000:
        raise ValueError(f"a range from 2^{low} to 2^{high} leaves the floating-point numbers")
    return tuple(2.0 ** float(low + step * i) for i in range(int(count) + 1))


def _exact(number: Any) -> Fraction:
    if isinstance(number, bool) or not isinstance(number, int | float | str):
        raise ValueError(number)
    return Fraction(str(number))
