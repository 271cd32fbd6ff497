"""Where units run. An executor is one small Protocol, so that another cluster is a page of code."""

import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from isoscale._records.codec import Row, RunError, encode, plain_config
from isoscale._records.run import Config, Run, digest
from isoscale._records.unit import Unit
from isoscale._sweep.batches import Train


class Result(NamedTuple):
    """A unit's runs, ready to be recorded, and the seconds they took."""

    rows: tuple[Row, ...]
    seconds: float


class UnitFailed(Exception):
    """The callable failed at a unit: a sentence, and the traceback for the log."""

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.trace = trace


class WorkerDied(Exception):
    """The process that ran a unit ended without an answer: killed, out of memory, or crashed in native code."""


class Executor(Protocol):
    """Runs units, `slots` of them at once. The driver alone writes to the store.

    A future fails with UnitFailed where the callable is to blame, with WorkerDied where the process ended (the unit
    is tried again, by the driver), and with anything else where the executor itself is broken (the sweep stops).
    """

    @property
    def slots(self) -> int: ...

    def submit(self, unit: Unit) -> Future[Result]: ...

    def close(self) -> None:
        """End at once, dropping what is in work."""


def run_unit(train: Train, configs: Sequence[Config]) -> Result:
    """Call `train` on copies of `configs` and check what comes back. Raises UnitFailed, with a sentence."""
    start = time.perf_counter()
    try:
        returned = train([plain_config(config) for config in configs])
        runs = list(returned)
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        raise UnitFailed(f"the callable called sys.exit({error.code!r})", traceback.format_exc()) from None
    except BaseException as error:
        text = " ".join("".join(traceback.format_exception_only(error)).split())  # holds where str(error) itself fails
        raise UnitFailed(text[:300], traceback.format_exc()) from None
    seconds = time.perf_counter() - start
    return Result(_checked(runs, [digest(dict(config)) for config in configs], configs), seconds)


def _checked(runs: Sequence[object], identities: Sequence[str], configs: Sequence[Config]) -> tuple[Row, ...]:
    if len(runs) != len(configs):
        raise UnitFailed(
            f"the callable returned {len(runs)} runs for {len(configs)} configurations: return one for each"
        )
    rows: dict[str, Row] = {}
    for at, run in enumerate(runs):
        if not isinstance(run, Run):
            raise UnitFailed(
                f"the callable returned a {type(run).__name__} as run {at}: return isoscale.Run(config, metrics)"
            )
        try:
            row = encode(run)
        except RunError as error:
            raise UnitFailed(f"run {at} cannot be recorded: {error}") from None
        if row.identity not in identities:
            raise UnitFailed(
                f"run {at} has another configuration than it was asked for: {_difference(run, configs[at])}"
            )
        if row.identity in rows:
            raise UnitFailed(f"run {at} has the same configuration as an earlier one of the unit: return one for each")
        rows[row.identity] = row
    return tuple(rows[identity] for identity in identities)


def _difference(run: Run, config: Config) -> str:
    names = [
        n for n in {**run.config, **config} if n not in run.config or n not in config or run.config[n] != config[n]
    ]
    shown = ", ".join(f"{n} is {run.config.get(n, 'absent')!r} for {config.get(n, 'absent')!r}" for n in names[:4])
    return f"{shown[:300]}; return Run(config=...) with the configuration as it came"


class InProcess:
    """Runs each unit at once in this process: for debugging, notebooks, and callables that no worker can import."""

    slots = 1

    def __init__(self, train: Train) -> None:
        self._train = train

    def submit(self, unit: Unit) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            future.set_result(run_unit(self._train, unit.configs))
        except UnitFailed as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is in work between two submits."""
