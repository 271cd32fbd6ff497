"""From runs to what the report shows of them: seeds gathered into points, and the account of what was run."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from isoscale._records.run import Run
from isoscale._report.findings import Count, Point, Ran
from isoscale._report.typeset import shown

_SIZES = ("rule", "optimizer", "width", "depth", "seed")
_MANY = 12
"""So many values of a setting are listed; beyond, their number and range are."""


def points(runs: Iterable[Run], hyperparameter: str, metric: str) -> tuple[Point, ...]:
    """Runs of one rule, optimizer and size gathered by hyperparameter value."""
    found: dict[float, list[float]] = defaultdict(list)
    for run in runs:
        found[float(run.config[hyperparameter])].append(run.loss(metric))
    return tuple(_point(at, losses) for at, losses in sorted(found.items()))


def _point(at: float, losses: Sequence[float]) -> Point:
    finite = [loss for loss in losses if math.isfinite(loss)]
    diverged = len(losses) - len(finite)
    if not finite:
        return Point(at, None, None, None, len(losses), diverged)
    return Point(at, sum(finite) / len(finite), min(finite), max(finite), len(losses), diverged)


def account(runs: Sequence[Run]) -> Ran:
    """Counts, settings (those that vary apart from those that never do), data sets, versions, compute."""
    groups = Counter(_group(run) for run in runs)
    lost = Counter(_group(run) for run in runs if run.status == "diverged")
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    for run in runs:
        for name, value in run.config.items():
            values[name][json.dumps(value, sort_keys=True)] = value
    everywhere = {name for name in values if all(name in run.config for run in runs)}
    varied = {name for name, found in values.items() if len(found) > 1 or name not in everywhere or name in _SIZES}
    return Ran(
        runs=len(runs),
        diverged=sum(lost.values()),
        counts=tuple(
            Count(rule, optimizer, n, lost[rule, optimizer]) for (rule, optimizer), n in sorted(groups.items())
        ),
        data=_distinct(
            (str(run.data.get("name", run.config.get("data", "unnamed"))), str(run.data.get("sha256", "not recorded")))
            for run in runs
        ),
        versions=_distinct((name, str(value)) for run in runs for name, value in run.versions.items()),
        shared=tuple((shown(name), _listed(values[name].values())) for name in values if name not in varied),
        varied=tuple((shown(name), _listed(values[name].values())) for name in values if name in varied),
        flops=_total(run.flops for run in runs),
        seconds=_total(run.seconds for run in runs),
    )


def _group(run: Run) -> tuple[str, str]:
    return shown(str(run.config["rule"])), shown(str(run.config["optimizer"]))


def _distinct(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(shown(name), shown(value)) for name, value in pairs}))


def _total(values: Iterable[float | None]) -> float | None:
    """The sum, or None where some run did not say."""
    known = list(values)
    return math.fsum(value for value in known if value is not None) if known and None not in known else None


def _listed(values: Iterable[Any]) -> str:
    known = list(values)
    numeric = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numeric) == len(known):
        ordered = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in sorted(numeric)]
        if len(ordered) > _MANY:
            return f"{len(ordered)} values from {ordered[0]} to {ordered[-1]}"
        return ", ".join(ordered)
    texts = sorted(shown(value if isinstance(value, str) else json.dumps(value)) for value in known)
    return ", ".join(texts[:_MANY]) + (f" and {len(texts) - _MANY} more" if len(texts) > _MANY else "")
