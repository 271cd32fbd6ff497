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
class Tag:
    """A short text above or below a point of a curve, in its name and tone: tells sizes apart without colour."""

    x: float
    y: float
    text: str
    name: str
    tone: str
    below: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure: `alt` says in words what it shows, `table` holds the same numbers. `plain_note` stands where a mark has
    no note of its own."""

    name: str
    alt: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    table: Table
    series_label: str = "size"
    plain_note: str = ""
    bands: tuple[Band, ...] = ()
    labels: tuple[Label, ...] = ()
    tags: tuple[Tag, ...] = ()
    strip: tuple[StripRow, ...] = ()
    show_y: bool = True
    height: int = 220
    width: int = 360

    @property
    def strip_height(self) -> int:
        """Pixels the strip takes at the top of the plot."""
        return len(self.strip) * STRIP_ROW + 6 if self.strip else 0
