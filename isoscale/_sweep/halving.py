"""Successive halving with common random numbers: more seeds for fewer candidates, at a stated chance of a wrong drop.

All candidates train with the first seeds; those that the full sweep would hardly choose are dropped; the others get
twice as many seeds, and so on. The full sweep is every candidate with every seed, and chooses the least mean log loss.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from isoscale._records.codec import plain_config
from isoscale._records.decision import Decision
from isoscale._records.records import Records
from isoscale._records.run import Config, digest
from isoscale._records.store import Store
from isoscale._sweep.batches import Train
from isoscale._sweep.course import follow, hands
from isoscale._sweep.events import Event
from isoscale._sweep.executor import Executor

FIRST_SEEDS = 3


@dataclass(frozen=True)
class Halved:
    """How a halving ended: the candidate (as its index, and its settings) of least mean loss among those left, the
    indices left at the end, all runs, their number beside the full sweep's, and the decisions."""

    best: int
    settings: Mapping[str, Any]
    left: tuple[int, ...]
    runs: Records
    full: int
    decisions: tuple[Decision, ...]


def halve(
    train: Train,
    base: Config,
    candidates: Sequence[Mapping[str, Any]],
    *,
    store: Store | str | os.PathLike[str],
    seeds: int = 12,
    error: float = 0.05,
    metric: str = "train_loss",
    workers: int = 2,
    batch: int = 64,
    progress: Callable[[Event], None] | None = None,
    decided: Callable[[Decision], None] | None = None,
    executor: Executor | None = None,
) -> Halved:
    """Find the best of `candidates` (settings put over `base`) over `seeds` seeds without training all of them.

    P(the candidate that the full sweep would choose is dropped) <= `error`. The test, at each of R looks (3, 6, 12 ...
    seeds): with d the differences of log loss to the leader on the n seeds run, paired by seed, the full sweep's mean
    difference over S seeds is predicted, and candidate i is dropped where even its prediction bound is above 0,

        mean(d) > t_{1 - a}(n - 1) sd(d) sqrt((S - n) / (S n)),     a = error / (R A),

    A candidates: a one-sided paired t prediction, Bonferroni over looks and candidates. It assumes that differences
    are near to normal; measured on real runs: docs/how-a-search-decides.md. A candidate of which a seed diverged is
    dropped: its mean is infinite. Decisions are in the store before they are carried out. Raises ValueError.
    """
    plain = plain_config(base, "base")
    listed = [plain_config(each, f"candidates[{at}]") for at, each in enumerate(candidates)]
    if len({digest(each) for each in listed}) < max(2, len(listed)):
        raise ValueError(f"{len(listed)} candidates: at least two, each once")
    if any("seed" in each for each in (plain, *listed)):
        raise ValueError("base or a candidate fixes the seed, which the halving gives: leave it out")
    if seeds < FIRST_SEEDS or not 0 < error < 1:
        raise ValueError(f"seeds={seeds}, error={error}: at least {FIRST_SEEDS} seeds, and an error between 0 and 1")
    question = Halving(plain, tuple(listed), seeds, error, metric)
    with hands(train, store, workers, batch, progress, executor) as ours:
        runs, _, taken = follow(
            ours, question.identity(ours.train), lambda runs, spent: question.decide(runs), question.configs,
            lambda decision: float(len(question.configs(decision))), decided,
        )  # fmt: skip
    left = tuple(taken[-1].content["left"])
    best = int(taken[-1].content["best"])
    return Halved(best, listed[best], left, runs, len(listed) * seeds, taken)


@dataclass(frozen=True)
class Halving:
    """What is asked: the base, the candidates, the full sweep's seeds, the error and the metric."""

    base: Config
    candidates: tuple[Mapping[str, Any], ...]
    seeds: int
    error: float
    metric: str

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds run at each look before the last: 3, 6, 12, ... below all of them."""
        return tuple(FIRST_SEEDS * 2**k for k in range(32) if FIRST_SEEDS * 2**k < self.seeds)

    def identity(self, train: str) -> str:
        own = [self.seeds, self.error, self.metric]
        return digest({"halving": train, "base": dict(self.base), "of": [dict(c) for c in self.candidates], "own": own})

    def configs(self, decision: Decision) -> list[dict[str, Any]]:
        """Every candidate left with every new seed: losses are paired by seed."""
        return [
            {**self.base, **self.candidates[at], "seed": seed}
            for seed in decision.content["seeds"]
            for at in decision.content["left"]
        ]

    def decide(self, runs: Records) -> Decision:
        """The next step: a pure function of the runs."""
        losses = self._losses(runs)
        if not losses:
            everyone = list(range(len(self.candidates)))
            first = min(FIRST_SEEDS, self.seeds)
            return Decision("seeds", f"{first} seeds of all {len(everyone)} candidates", _next(everyone, 0, first))
        ran = max(map(len, losses.values()))
        left = [at for at, each in losses.items() if len(each) == ran]
        kept = keep({at: losses[at] for at in left}, self.seeds, self.alpha)
        means = {at: math.fsum(losses[at]) / ran for at in kept}
        best = min(means, key=lambda at: means[at])
        dropped = [at for at in left if at not in kept]
        said = f"{len(dropped)} of {len(left)} candidates dropped after {ran} seeds" if dropped else "none dropped"
        if ran == self.seeds or len(kept) == 1:
            reason = f"{said}; candidate {best} has the least mean loss of the {len(kept)} left"
            return Decision("stop", reason, {"left": kept, "best": best, "dropped": dropped})
        upto = min(self.seeds, 2 * ran)
        content = _next(kept, ran, upto) | {"dropped": dropped}
        return Decision("seeds", f"{said}; {upto - ran} more seeds of the {len(kept)} left", content)

    @property
    def alpha(self) -> float:
        """The level of one test."""
        return self.error / (max(1, len(self.looks)) * len(self.candidates))

    def _losses(self, runs: Records) -> dict[int, list[float]]:
        """Log losses by candidate, in the order of the seeds; inf where diverged."""
        places = {digest(dict(each)): at for at, each in enumerate(self.candidates)}
        found: dict[int, dict[int, float]] = {}
        for run in runs:
            own = {name: run.config[name] for name in self._names if name in run.config}
            value = run.loss(self.metric)
            if value <= 0:
                raise ValueError(f"{self.metric} is {value}: halving compares log losses; choose a positive metric")
            found.setdefault(places[digest(own)], {})[int(run.config["seed"])] = math.log(value)
        return {at: [by_seed[seed] for seed in sorted(by_seed)] for at, by_seed in sorted(found.items())}

    @property
    def _names(self) -> frozenset[str]:
        return frozenset(name for each in self.candidates for name in each)


def keep(losses: Mapping[int, Sequence[float]], seeds: int, alpha: float) -> list[int]:
    """The candidates that the full sweep over `seeds` seeds may still choose, from paired log losses so far."""
    finite = [at for at, each in losses.items() if all(map(math.isfinite, each))]
    if not finite:
        return list(losses)[:1]
    means = {at: math.fsum(losses[at]) / len(losses[at]) for at in finite}
    leader = min(finite, key=lambda at: means[at])
    n = len(losses[leader])
    if n >= seeds or n < 2:
        return finite
    bound = float(stats.t.ppf(1 - alpha, n - 1)) * math.sqrt((seeds - n) / (seeds * n))
    kept = []
    for at in finite:
        gaps = [mine - its for mine, its in zip(losses[at], losses[leader], strict=True)]
        mean = math.fsum(gaps) / n
        spread = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (n - 1))
        if at == leader or not mean > bound * spread:
            kept.append(at)
    return kept


def _next(left: Sequence[int], done: int, upto: int) -> dict[str, Any]:
    return {"left": list(left), "seeds": list(range(done, upto))}
