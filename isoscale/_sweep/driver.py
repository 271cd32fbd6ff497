"""One driver of a sweep: claims units, hands them to an executor, and alone writes what comes back to the store."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from isoscale._records.progress import Progress
from isoscale._records.schema import StoreError
from isoscale._records.store import Store
from isoscale._records.unit import Holder, UnitState
from isoscale._sweep.batches import worth_order
from isoscale._sweep.events import Event, Kind, Patience, SweepError, named
from isoscale._sweep.executor import Executor, Result, UnitFailed, WorkerDied
from isoscale._sweep.lease import Heartbeat, Watch, this_process
from isoscale._sweep.local import log_name

TICK = 1.0  # seconds between two looks at what other drivers hold, and two facts for the display
COUNTING = 20  # times as long as a count of the units took, before the next one
HOPELESS = 6  # errors in a row, with nothing finished, that stop a sweep
ERROR_TEXT = 20_000  # characters of a traceback that go into the store


class Driver:
    """One driver's work on its units: claim, hand out, record."""

    def __init__(
        self, store: Store, ids: Sequence[str], logs: Path, progress: Callable[[Event], None], patience: Patience
    ) -> None:
        self._store, self._ids, self._logs, self._progress, self._patience = store, ids, logs, progress, patience
        self._states = {state.id: state for state in store.states(ids)}
        self._queue: deque[str] = deque()
        self._elsewhere: set[str] = set()
        self._running: dict[Future[Result], str] = {}
        self._finished = self._slots = 0
        self._failures = {"failed": 0, "died": 0}
        self._watch = Watch(patience.lease)
        self._next_look = self._next_tick = self._next_count = 0.0
        self._facts: Progress | None = None

    def open_units(self) -> list[UnitState]:
        return [state for state in self._states.values() if state.status in ("queued", "leased")]

    def tell(self, kind: Kind, id: str = "", seconds: float | None = None, error: str = "") -> None:
        """Hand the facts of this moment to the display."""
        state = self._states.get(id)
        facts = self._facts_after(kind, state, seconds or 0.0)
        self._progress(Event(kind, facts, state.shape if state else "", state.size if state else 0, seconds, error))

    def _facts_after(self, kind: Kind, state: UnitState | None, seconds: float) -> Progress:
        """How far the store is. Counting its units takes longer the more there are, so that between two counts the
        last one is moved on by what this driver did; counting takes a twentieth of the time at most."""
        facts = self._facts
        if facts is not None and state is not None and time.monotonic() < self._next_count:
            left = {"queued": facts.queued - 1} if facts.queued else {"leased": facts.leased - 1}
            if kind == "finished":
                done = {"done": facts.done + 1, "runs_done": facts.runs_done + state.size}
                facts = replace(facts, **left, **done, spent=facts.spent + seconds)
            elif kind == "poisoned":
                facts = replace(facts, **left, poisoned=facts.poisoned + 1)
            if facts.queued + facts.leased > 0:
                self._facts = facts
                return facts
        start = time.monotonic()
        self._facts = facts = self._store.progress(self._ids)
        self._next_count = start + COUNTING * (time.monotonic() - start)
        return facts

    def run(self, executor: Executor) -> None:
        """Until all units are done or poisoned, by this driver or by others."""
        self._queue.extend(state.id for state in worth_order(self.open_units()))
        self._slots = executor.slots
        holder = this_process(self._slots)
        with Heartbeat(self._store, holder, self._patience.lease):
            try:
                self._look_around(holder)
                self.tell("start")
                while self._step(executor, holder):
                    self._look_around(holder)
            except BaseException:
                self._save_the_finished()
                raise

    def _look_around(self, holder: Holder) -> None:
        """About once a second: free what dead drivers hold, and see what became of units that others hold."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + TICK
        for dead in self._watch.dead(other for other in self._store.holders() if other.token != holder.token):
            self._store.release(dead.token)
        for state in self._store.states(self._elsewhere) if self._elsewhere else ():
            if state.status == "queued":
                self._queue.append(state.id)
            if state.status != "leased":
                self._elsewhere.discard(state.id)

    def _step(self, executor: Executor, holder: Holder) -> bool:
        """Hand out, wait for an answer, record it; False when nothing is left for anyone."""
        while self._queue and len(self._running) < executor.slots:
            id = self._queue.popleft()
            if self._store.claim(id, holder.token):
                self._running[executor.submit(self._store.unit(id))] = id
            else:
                self._elsewhere.add(id)
        if not self._running and not self._queue and not self._elsewhere:
            return False
        if self._running:
            answered, _ = wait(self._running, timeout=TICK, return_when=FIRST_COMPLETED)
            for future in answered:
                self._record(future, self._running[future])
                del self._running[future]
        elif not self._queue:
            time.sleep(TICK)
        if time.monotonic() > self._next_tick:
            self._next_tick = time.monotonic() + TICK
            self.tell("tick")
        return True

    def _save_the_finished(self) -> None:
        """Record what came in while the sweep was being stopped."""
        for future, id in self._running.items():
            if future.done() and future.exception() is None:
                with suppress(StoreError):  # said already, by whatever stopped the sweep
                    self._store.finish(id, *future.result())

    def _record(self, future: Future[Result], id: str) -> None:
        error = future.exception()
        if error is None:
            rows, seconds = future.result()
            self._store.finish(id, rows, seconds)
            self._finished += 1
            self.tell("finished", id, seconds)
        elif isinstance(error, UnitFailed | WorkerDied):
            self._record_failure(id, error)
        else:
            raise error

    def _record_failure(self, id: str, error: UnitFailed | WorkerDied) -> None:
        died = isinstance(error, WorkerDied)
        log = self._logs / log_name(id)
        trace = error.trace if isinstance(error, UnitFailed) else ""
        with suppress(OSError), log.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{named(self._states[id])}: {error}\n{trace}\n")
        text = f"{error} (log: {log})"
        limit = self._patience.deaths if died else self._patience.errors
        poisoned = self._store.fail(id, f"{text}\n{trace}"[:ERROR_TEXT], death=died, limit=limit)
        if not poisoned:
            self._queue.append(id)
        self.tell("poisoned" if poisoned else "died" if died else "failed", id, error=text)
        kind = "died" if died else "failed"
        self._failures[kind] += 1
        # One lost node takes all its units with it: deaths tell nothing before there are more than were in work.
        allowed = HOPELESS if not died else max(4 * self._patience.deaths, 2 * self._slots)
        if not self._finished and self._failures[kind] >= allowed and (self._queue or len(self._running) > 1):
            raise SweepError(
                f"the first {allowed} attempts all {kind} and nothing finished, so the sweep stopped. "
                f"The last was {named(self._states[id])}: {text}"
            )
