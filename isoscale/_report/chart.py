"""What a picture says, before any ink: axes, series, bands, and a strip of events above the plot.

One record serves every figure of the report, so that a figure added later (a coordinate check, a theory overlay)
is a new way to fill a `Chart` and inherits its drawing, its fallback and its accessibility.
"""

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["circle", "square", "diamond", "triangle"]
Event = Literal["diverged", "some diverged", "edge"]

STRIP_ROW = 9
"""Pixels of one row of the strip."""


@dataclass(frozen=True)
class Axis:
    """An axis: `domain` in data units, ticks as (position, text). `log` draws it in powers of two."""

    label: str
    domain: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` falls: 0 at the start of the domain, 1 at its end."""
        low, high = self.domain
        if self.log:
            low, high, value = math.log2(low), math.log2(high), math.log2(value)
        return (value - low) / (high - low)


@dataclass(frozen=True)
class Mark:
    """One point of a series, with whiskers where known. `note` is shown with it."""

    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """Marks of one name and tone. `size`: "small" for data, "large" for what the eye should find, "none" for a line."""

    name: str
    tone: str
    marks: tuple[Mark, ...]
    line: bool = False
    dashed: bool = False
    shape: Shape = "circle"
    size: Literal["none", "small", "large"] = "small"
    hollow: bool = False


@dataclass(frozen=True)
class Band:
    """A shaded region: between two x, between two y, or both; None reaches to the frame."""

    label: str
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None


@dataclass(frozen=True)
class StripRow:
    """One row of events above the plot: (position, event, note), in the tone of its curve."""

    name: str
    tone: str
    events: tuple[tuple[float, Event, str], ...]


@dataclass(frozen=True)
class Label:
    """A line of text at the left edge of the plot, its baseline at height `y`."""

    y: float
    text: str


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, or any table of the report: plain text cells; `note` stands below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure: `alt` says in words what it shows, `table` holds the same numbers."""

    name: str
    alt: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    table: Table
    series_label: str = "size"
    bands: tuple[Band, ...] = ()
    labels: tuple[Label, ...] = ()
    strip: tuple[StripRow, ...] = ()
    show_y: bool = True
    height: int = 220
    width: int = 360

    @property
    def strip_height(self) -> int:
        """Pixels the strip takes at the top of the plot."""
        return len(self.strip) * STRIP_ROW + 6 if self.strip else 0


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_two(value: float) -> str:
    """ "2⁻⁵" for 0.03125; one decimal of the exponent where it is no integer: "2^-5.3"."""
    exponent = math.log2(value)
    if abs(exponent - round(exponent)) < 1e-9:
        return "2" + str(round(exponent)).translate(_SUPERSCRIPTS)
    return f"2^{exponent:.1f}".replace("-", "−")


def number(value: float | None, digits: int = 3) -> str:
    """`value` to so many significant digits with a true minus sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude and (magnitude < 1e-4 or magnitude >= 1e6):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
        return power if mantissa == "1" else f"{mantissa}·{power}".replace("-", "−")
    decimals = (
        0 if magnitude >= 10 ** (digits - 1) else digits - 1 - (math.floor(math.log10(magnitude)) if magnitude else 0)
    )
    return f"{value:.{max(decimals, 0)}f}".replace("-", "−")


def signed(value: float | None, decimals: int = 2) -> str:
    """`value` with its sign, fixed decimals: "−0.52", "+0.03"; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:+.{decimals}f}".replace("-", "−")
    return text.replace("−", "").replace("+", "") if not float(f"{value:.{decimals}f}") else text


def octave_ticks(low: float, high: float, most: int = 6) -> tuple[tuple[float, str], ...]:
    """Whole powers of two inside [low, high], thinned to at most `most`."""
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    return tuple((2.0**k, power_of_two(2.0**k)) for k in range(first, last + 1) if (last - k) % step == 0)


def even_ticks(low: float, high: float, most: int = 5) -> tuple[tuple[float, str], ...]:
    """Round numbers inside [low, high], steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * m for m in (1, 2, 5, 10) if scale * m >= rough * 0.8)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple((round(k * step, 12), f"{k * step:.{decimals}f}".replace("-", "−")) for k in range(first, last + 1))


def decade_ticks(low: float, high: float, most: int = 5) -> tuple[tuple[float, str], ...]:
    """Ticks of a logarithmic axis in round decimals: even steps within a decade, else 1-2-5, else decades."""
    if high / low < 6:
        return even_ticks(low, high, most)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**k for k in range(first, last + 1) for d in digits if low <= d * 10.0**k <= high]
        if len(ticks) <= most:
            break
    step = max(1, math.ceil(len(ticks) / most))
    return tuple((tick, f"{tick:g}" if 1e-4 <= tick < 1e5 else number(tick, 1)) for tick in ticks[::step])
