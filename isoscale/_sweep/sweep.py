"""The sweep: configurations in, records out, through a store that any interruption leaves whole."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isoscale._records.codec import RunError, plain_config
from isoscale._records.records import Records
from isoscale._records.run import Config, digest
from isoscale._records.schema import StoreError
from isoscale._records.store import Store
from isoscale._sweep.batches import Train, guess_cost, make_units, name_of
from isoscale._sweep.driver import Driver
from isoscale._sweep.events import Event, Patience, PoisonedError, SweepError
from isoscale._sweep.executor import Executor, InProcess
from isoscale._sweep.local import Processes
from isoscale._sweep.worker import importing_main


def sweep(
    train: Train,
    configs: Iterable[Config],
    *,
    store: Store | str | os.PathLike[str],
    workers: int = 2,
    batch: int = 32,
    progress: Callable[[Event], None] | None = None,
    retry: bool = False,
    patience: Patience = Patience(),  # noqa: B008 - frozen
    cost: Callable[[Config], float] = guess_cost,
    executor: Executor | None = None,
) -> Records:
    """Train every configuration that `store` does not hold yet, and return the records of all of them, in order.

    `train` turns a list of configurations (of one shape, at most `batch`) into as many `Run`s. With `workers` > 0 it
    runs in that many processes, each with one arithmetic thread, and must be importable there; 0 runs it in this
    process. Run the same call again after any interruption: it goes on; with more configurations: it adds those.
    Several drivers may share a store. `retry` tries again what failed too often. Raises PoisonedError at the end where
    units failed too often, StoreError where the file cannot be used, ValueError for a mistake in the arguments.
    """
    if importing_main.is_set():
        raise SweepError(
            "sweep was called while a worker imports this script to find the callable: put the call under "
            '`if __name__ == "__main__":`, or the callable into a module of its own'
        )
    if batch < 1 or workers < 0:
        raise ValueError(
            f"batch={batch}, workers={workers}: a batch holds at least one run, and workers are not negative"
        )
    wanted = _wanted(configs)
    opened = store if isinstance(store, Store) else Store(store)
    try:
        opened.check()
        name = name_of(train)
        ids = _enqueue(opened, name, wanted, batch, cost)
        if retry:
            opened.retry(ids)
        logs = opened.path.absolute().with_suffix(".logs")
        driver = Driver(opened, ids, logs, progress or (lambda event: None), patience)
        if driver.open_units():
            with logs_folder(logs), opened_executor(executor, train, workers, logs, patience) as running:
                driver.run(running)
        driver.tell("end")
        poisoned = [state for state in opened.states(ids) if state.status == "poisoned"]
        if poisoned:
            raise PoisonedError(poisoned, opened.path)
        return opened.records(list(wanted))
    finally:
        if opened is not store:
            opened.close()


def _wanted(configs: Iterable[Config]) -> dict[str, Config]:
    wanted: dict[str, Config] = {}
    for at, config in enumerate(configs):
        plain = plain_config(config, f"configs[{at}]")
        try:
            wanted.setdefault(digest(plain), plain)
        except ValueError as error:
            raise RunError(f"configs[{at}] has no identity: {error}") from error
    if not wanted:
        raise ValueError("there are no configurations to sweep: give at least one")
    return wanted


def _enqueue(
    store: Store, name: str, wanted: dict[str, Config], batch: int, cost: Callable[[Config], float]
) -> tuple[str, ...]:
    """Queue what the store does not know, and return the units that hold `wanted`."""
    identities = list(wanted)
    known = store.units_of(identities)
    while missing := [identity for identity in identities if identity not in known]:
        store.add(make_units(name, (wanted[identity] for identity in missing), batch, cost))
        known = store.units_of(identities)
    ids = tuple(dict.fromkeys(known[identity] for identity in identities))
    others = sorted({state.train for state in store.states(ids)} - {name})
    if others:
        raise ValueError(
            f"{store.path} holds these configurations as trained by {', '.join(others)}, not by {name}: results of two "
            "callables must not be mixed: choose another store, or give the configurations a key that tells them apart"
        )
    return ids


@contextmanager
def opened_executor(
    given: Executor | None, train: Train, workers: int, logs: Path, patience: Patience
) -> Iterator[Executor]:
    """The caller's executor, which the caller closes, or one of our own for the length of the block."""
    if given is not None:
        yield given
        return
    own: Executor = InProcess(train) if workers == 0 else Processes(train, workers, logs, seconds=patience.seconds)
    try:
        yield own
    finally:
        own.close()


@contextmanager
def logs_folder(folder: Path) -> Iterator[None]:
    """The folder of logs; it goes again where nothing was written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder of logs {folder} cannot be made ({error.strerror}): move what is there"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
