"""What parameters really had at the largest size, against their plan: initialisation, rates, eps."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from isoscale._check.measure import Live, Measured
from isoscale._plan import Setting, template

STANDARD_ERRORS = 5.0
OFF = 0.1
"""Relative difference to the plan that counts: a missing multiplier is off by more at any size worth a check."""
FELT = 0.3
"""eps over the gradient's size from which Adam's step shrinks by a quarter and more."""


@dataclass(frozen=True)
class Off:
    """A kind of parameter (numbers taken out) of which something is `factor` times what the plan says."""

    name: str
    factor: float
    tail: bool
    readout: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.factor:.3g} times the plan's)"


@dataclass(frozen=True)
class Evidence:
    """Everything that is not as planned at the largest size of an axis, strongest first.

    init: root mean square at initialisation; rates: learning rates before the first step, against the smallest size's;
    scheduled: what became of the rates, against the others'; eps: against the smallest size's; dominated: eps over the
    gradient's size; never: in no group. `scheduler`: what the plan has against the scheduler.
    """

    init: tuple[Off, ...]
    rates: tuple[Off, ...]
    scheduled: tuple[Off, ...]
    eps: tuple[Off, ...]
    dominated: tuple[Off, ...]
    never: tuple[str, ...]
    scheduler: str = ""


Pool = tuple[str, bool, bool]


def gather(smallest: Sequence[Measured], largest: Sequence[Measured], settings: Sequence[Setting]) -> Evidence:
    """Compare the largest size with its plan. A rate that the user chose otherwise for a kind of parameter at every
    size (embeddings times ten) is no difference: it has it at the smallest size too."""
    by_name = {setting.name: setting for setting in settings}
    pools: dict[Pool, list[Live]] = {}
    for one in largest:
        for live in one.live:
            setting = by_name[live.name]
            name = live.name if setting.stream is None else template(live.name)
            pools.setdefault((name, setting.tail, setting.readout), []).append(live)
    before: dict[str, list[Live]] = {}
    for one in smallest:
        for live in one.live:
            before.setdefault(template(live.name), []).append(live)
    usual = median(live.decay for lives in pools.values() for live in lives)

    def collect(measure: Callable[[list[Live], list[Live]], float | None]) -> tuple[Off, ...]:
        found = []
        for (name, tail, readout), lives in pools.items():
            factor = measure(lives, before.get(template(name), []))
            if factor is not None:
                found.append(Off(name, factor, tail, readout))
        return tuple(sorted(found, key=lambda off: -abs(math.log(max(off.factor, 1e-30)))))

    return Evidence(
        init=collect(lambda now, then: other_init(now)),
        rates=collect(lambda now, then: off(mean(one.lr for one in now), mean(one.lr for one in then))),
        scheduled=collect(lambda now, then: off(mean(one.decay for one in now), usual)),
        eps=collect(lambda now, then: off(mean(one.eps for one in now), mean(one.eps for one in then))),
        dominated=collect(lambda now, then: crowded(now)),
        never=tuple(sorted({name for (name, _, _), lives in pools.items() if all(live.lr is None for live in lives)})),
        scheduler=next((one.scheduler for one in largest if one.scheduler), ""),
    )


def other_init(lives: list[Live]) -> float | None:
    """rms over the planned one, where it differs by more than the draw explains."""
    count = sum(live.numel for live in lives)
    have = math.sqrt(sum(live.rms**2 * live.numel for live in lives) / count)
    want = math.sqrt(sum(live.planned_rms**2 * live.numel for live in lives) / count)
    if want == 0.0:
        return None if have == 0.0 else math.inf
    allowed = max(OFF, STANDARD_ERRORS / math.sqrt(2 * count))
    return have / want if have == 0.0 or abs(math.log(have / want)) > allowed else None


def crowded(lives: list[Live]) -> float | None:
    """eps over the gradient's size, where that is felt."""
    known = [live for live in lives if live.live_eps is not None and live.gradient > 0]
    share = median(live.live_eps / live.gradient for live in known if live.live_eps is not None)
    return share if share is not None and share > FELT else None


def off(value: float | None, reference: float | None) -> float | None:
    """value / reference where that is not 1."""
    if value is None or not reference:
        return None
    return value / reference if value <= 0 or abs(math.log(value / reference)) > OFF else None


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def median(values: Iterable[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else None
