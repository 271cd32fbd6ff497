"""Optuna's samplers over our own store: they ask batches of points, the sweep trains each batch as units.

Optuna keeps nothing. Its study lives in memory and is made again from the store: the same sampler with the same seed
is asked the same questions and told the same answers, so the same store leads to the same next question. What it asked
is recorded before it is trained; where another version of Optuna would ask otherwise, the record goes before.
"""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from isoscale._records.codec import plain_config
from isoscale._records.decision import Decision
from isoscale._records.extras import load
from isoscale._records.records import Records
from isoscale._records.run import Config, digest
from isoscale._records.store import Store
from isoscale._records.unit import label
from isoscale._sweep.batches import Train, name_of
from isoscale._sweep.events import Event, Patience
from isoscale._sweep.executor import Executor
from isoscale._sweep.sweep import logs_folder, opened_executor, sweep

Sampler = Literal["tpe", "gp", "cmaes", "random"]


@dataclass(frozen=True)
class Span:
    """The values of a hyperparameter from `low` to `high`, on a log scale or not."""

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Span({self.low:g}, {self.high:g}): low lies below high, and both are finite")
        if self.log and self.low <= 0:
            raise ValueError(f"Span({self.low:g}, {self.high:g}): a log scale has no {self.low:g}; say log=False")


Space = Mapping[str, Span | Sequence[Any]]
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Sampled:
    """What sampling found: the point of least mean loss (None where every one diverged) and that loss, the runs of all
    points, the recorded questions, and Optuna's study, in memory, for `optuna.visualization` and the like."""

    best: Point | None
    loss: float
    runs: Records
    decisions: tuple[Decision, ...]
    study: Any


@dataclass(frozen=True)
class _Question:
    base: Config
    space: Space
    sampler: Sampler
    seed: int
    seeds: int
    ask: int
    metric: str

    def identity(self, train: str) -> str:
        space = {
            name: [values.low, values.high, values.log] if isinstance(values, Span) else {"choices": list(values)}
            for name, values in self.space.items()
        }
        own = [self.sampler, self.seed, self.seeds, self.ask, self.metric]
        return digest({"train": train, "base": dict(self.base), "space": space, "sample": own})

    def configs(self, points: Sequence[Point]) -> list[dict[str, Any]]:
        return [{**self.base, **point, "seed": seed} for point in points for seed in range(self.seeds)]

    def losses(self, points: Sequence[Point], runs: Records) -> list[float]:
        """The mean over seeds of each point, inf where a seed diverged."""
        seen = {run.identity: run.loss(self.metric) for run in runs}
        each = [seen[digest(config)] for config in self.configs(points)]
        return [sum(each[at : at + self.seeds]) / self.seeds for at in range(0, len(each), self.seeds)]


def sample(
    train: Train,
    base: Config,
    space: Space,
    *,
    store: Store | str | os.PathLike[str],
    trials: int,
    sampler: Sampler = "tpe",
    ask: int = 16,
    seeds: int = 1,
    seed: int = 0,
    metric: str = "train_loss",
    workers: int = 2,
    batch: int = 64,
    progress: Callable[[Event], None] | None = None,
    executor: Executor | None = None,
) -> Sampled:
    """Minimize `metric` over `space` by one of Optuna's samplers (TPE, a Gaussian process, CMA-ES), `trials` points.

    `base` is a configuration without the names in `space` (each a `Span` or a list of choices) and without the seed.
    `ask` points are asked at a time and trained together, each with `seeds` seeds, so that the lockstep engine has a
    batch; their mean is what the sampler is told, and for a point that diverged the highest loss seen so far. The same
    call after an interruption goes on, with more `trials` it goes further. Raises MissingPackage without Optuna (extra
    `optuna`), what `sweep` raises, and ValueError for a mistake in the arguments.
    """
    question = _question(base, space, sampler, seed, seeds, ask, metric, trials)
    optuna = load("optuna", extra="optuna", purpose="sample")
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep tells how far it is
    opened = store if isinstance(store, Store) else Store(store)
    logs = opened.path.absolute().with_suffix(".logs")
    try:
        with logs_folder(logs), opened_executor(executor, train, workers, logs, Patience()) as hands:

            def carry_out(configs: Sequence[Config]) -> Records:
                return sweep(train, configs, store=opened, batch=batch, progress=progress, executor=hands)

            return _go(optuna, question, question.identity(name_of(train)), opened, trials, carry_out)
    finally:
        optuna.logging.set_verbosity(said)
        if opened is not store:
            opened.close()


def _question(
    base: Config, space: Space, sampler: Sampler, seed: int, seeds: int, ask: int, metric: str, trials: int
) -> _Question:
    plain = plain_config(base, "base")
    given = sorted({*space, "seed"} & set(plain))
    if given:
        raise ValueError(f"base fixes {', '.join(given)}, which sampling varies: leave it out of base")
    empty = [name for name, values in space.items() if not isinstance(values, Span) and not len(values)]
    if not space or empty:
        raise ValueError(f"space has nothing to choose from{' for ' if empty else ''}{', '.join(empty)}")
    if sampler not in ("tpe", "gp", "cmaes", "random"):
        raise ValueError(f"sampler={sampler!r}: there are tpe, gp, cmaes and random")
    if min(trials, ask, seeds) < 1:
        raise ValueError(f"trials={trials}, ask={ask}, seeds={seeds}: each is at least 1")
    return _Question(plain, dict(space), sampler, seed, seeds, ask, metric)


def _go(
    optuna: Any,
    question: _Question,
    identity: str,
    store: Store,
    trials: int,
    carry_out: Callable[[Sequence[Config]], Records],
) -> Sampled:
    """Ask, record, train, tell, until so many points were asked. What is recorded goes before what would be asked."""
    study = _Study(optuna, question)
    taken: list[Decision] = []
    runs = Records()
    while (left := trials - len(study.points)) > 0:
        place, recorded = len(taken), store.decisions(identity)
        if place < len(recorded):
            decision = recorded[place]
            asked = study.ask(len(decision.content["points"]))
        else:
            asked = study.ask(min(question.ask, left))
            decision = store.decide(identity, place, Decision("ask", study.reason(), {"points": asked}))
        points = decision.content["points"]
        taken.append(decision)
        new = carry_out(question.configs(points))
        runs += new
        study.tell(asked, points, question.losses(points, new))
    loss, best = study.best()
    return Sampled(best, loss, runs, tuple(taken), study.optuna_study)


class _Study:
    """An Optuna study in memory, and the points it was told in order."""

    def __init__(self, optuna: Any, question: _Question) -> None:
        self._optuna, self._question = optuna, question
        self._space = {name: _distribution(optuna, values) for name, values in question.space.items()}
        self.points: list[Point] = []
        self._losses: list[float] = []
        self._open: list[Any] = []
        self.optuna_study = self._new()

    def _new(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            sampler = _sampler(self._optuna, self._question.sampler, self._question.seed + len(self.points))
            return self._optuna.create_study(sampler=sampler)

    def ask(self, count: int) -> list[dict[str, Any]]:
        self._open = [self.optuna_study.ask(self._space) for _ in range(count)]
        return [{name: trial.params[name] for name in self._space} for trial in self._open]

    def tell(self, asked: Sequence[Mapping[str, Any]], points: Sequence[Point], losses: list[float]) -> None:
        """The losses of `points`; where they are not the points just asked, the study is made anew from all points."""
        self.points += points
        self._losses += losses
        if list(points) == list(asked):
            for trial, value in zip(self._open, self._told(losses), strict=True):
                self.optuna_study.tell(trial, value)
            return
        self.optuna_study = self._new()
        create = self._optuna.trial.create_trial
        for point, value in zip(self.points, self._told(self._losses), strict=True):
            self.optuna_study.add_trial(create(params=dict(point), distributions=self._space, value=value))

    def _told(self, losses: Sequence[float]) -> list[float]:
        """Samplers model finite numbers: a diverged point counts as the worst that did not (1e6 where none did)."""
        worst = max((loss for loss in self._losses if math.isfinite(loss)), default=1e6)
        return [loss if math.isfinite(loss) else worst for loss in losses]

    def best(self) -> tuple[float, Point | None]:
        if not any(map(math.isfinite, self._losses)):
            return math.inf, None
        at = min(range(len(self._losses)), key=self._losses.__getitem__)
        return self._losses[at], self.points[at]

    def reason(self) -> str:
        loss, best = self.best()
        asks = f"{self._question.sampler} asks after {len(self.points)} points"
        if best is None:
            return asks
        return f"{asks}, of which the best has {self._question.metric} {loss:.6g} at {label(best)}"


def _distribution(optuna: Any, values: Span | Sequence[Any]) -> Any:
    if isinstance(values, Span):
        return optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)
    return optuna.distributions.CategoricalDistribution(list(values))


def _sampler(optuna: Any, name: Sampler, seed: int) -> Any:
    samplers = optuna.samplers
    if name == "tpe":
        return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    if name == "gp":
        return samplers.GPSampler(seed=seed)
    if name == "cmaes":
        load("cmaes", extra="optuna", purpose="the sampler cmaes")
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return samplers.RandomSampler(seed=seed)
