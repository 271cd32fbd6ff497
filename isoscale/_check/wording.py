"""A check in words: the outcome of each axis, what failed and the likely cause, then every line as a table."""

from collections.abc import Sequence

from isoscale._check.causes import Cause
from isoscale._check.demands import AXES
from isoscale._check.lines import Line, worst

COLUMNS = ("", "quantity", "slope", "95 % interval", "declared", "size, smallest to largest")


ALWAYS = ("stream", "branch", "output")


def wording(head: str, lines: Sequence[Line], causes: Sequence[Cause], everything: bool = False) -> str:
    """The check as text: of the lines that pass, the stream, the branches and the output, or all."""
    parts = [head]
    for axis in AXES:
        own = [line for line in lines if line.axis == axis]
        if not own:
            continue
        parts.append(f"\n{axis}: {worst(line.outcome for line in own)} ({counted(own)}; {len(own[0].values[0])} seeds)")
        parts += [f"  {cause.name}: {cause.sentence}" for cause in causes if cause.axis == axis]
        chosen = [line for line in own if everything or line.outcome in ("FAIL", "CANNOT TELL") or told(line)]
        parts.append(table(chosen))
        if len(chosen) < len(own):
            parts.append(f"  and {len(own) - len(chosen)} more lines: check.table(), --all")
    return "\n".join(parts)


def told(line: Line) -> bool:
    return line.quantity.kind in ALWAYS and line.outcome == "PASS"


def counted(lines: Sequence[Line]) -> str:
    outcomes = [line.outcome for line in lines]
    found = [f"{outcomes.count(name)} {name}" for name in ("FAIL", "CANNOT TELL", "PASS") if name in outcomes]
    return ", ".join(found) or "nothing judged"


def table(lines: Sequence[Line]) -> str:
    """Aligned columns, failures first."""
    order = ("FAIL", "CANNOT TELL", "PASS", "SHOWN")
    rows = [COLUMNS, *(cells(line) for line in sorted(lines, key=lambda line: order.index(line.outcome)))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def cells(line: Line) -> tuple[str, ...]:
    fit = line.slope
    means = [sum(row) / len(row) for row in line.values]
    return (
        "" if line.outcome == "SHOWN" else line.outcome,
        line.quantity.label,
        line.sentence if fit is None else f"{fit.estimate:+.2f}",
        "" if fit is None else f"{fit.low:+.2f} .. {fit.high:+.2f}",
        declared(line),
        f"{means[0]:.3g} .. {means[-1]:.3g}",
    )


def declared(line: Line) -> str:
    if line.declared is None:
        return ""
    low, high = line.declared
    return f"{high:+g}" if low == high else f"{low:+g} .. {high:+g}"
