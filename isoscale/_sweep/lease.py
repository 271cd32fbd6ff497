"""Leases: who holds them, the heartbeat that keeps them, and how the dead are told from the slow.

No clock is compared between processes, so a jump of the wall clock (suspend, NTP, a container's start) neither frees
a living driver's units nor keeps a dead one's. A holder's count of beats grows while it lives; whoever waits for its
units watches that count against its *own* monotonic clock, and takes them when nothing changed for a whole lease. A
holder of this very machine whose process is gone (by its pid and start time, since pids are used again) needs no wait.
"""

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from isoscale._records.schema import StoreError
from isoscale._records.store import Store
from isoscale._records.unit import Holder

BEATS = 6  # per lease

_LIVING: set[str] = set()
"""Tokens of the sweeps that run in this process now."""


def machine(proc: Path = Path("/proc")) -> str:
    """This boot of this machine, and the name space in which its pids count."""
    with suppress(OSError):
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(proc / 'self/ns/pid')}"
    return platform.node()


def born(pid: int, proc: Path = Path("/proc")) -> str:
    """When the process started, in the kernel's ticks since boot; empty where there is none, or no /proc."""
    with suppress(OSError):
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    return ""


def this_process(slots: int) -> Holder:
    pid = os.getpid()
    return Holder(token=uuid.uuid4().hex, machine=machine(), pid=pid, born=born(pid), beats=0, slots=slots)


class Heartbeat:
    """Keeps a holder's leases from a thread while the block runs; gives them back at its end."""

    def __init__(self, store: Store, holder: Holder, lease: float) -> None:
        self._store, self._holder, self._interval = store, holder, lease / BEATS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        _LIVING.add(self._holder.token)
        self._store.beat(self._holder)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        _LIVING.discard(self._holder.token)
        with suppress(StoreError):  # a full disk: the leases lapse with this process
            self._store.release(self._holder.token)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            with suppress(StoreError):  # said by the driver's own next write, where it can be shown
                self._store.beat(self._holder)


class Watch:
    """Tells which holders are dead, by watching their beats for a `lease` of seconds of our own clock."""

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease, clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._machine = machine()

    def dead(self, holders: Iterable[Holder]) -> list[Holder]:
        now, found, seen = self._clock(), [], {}
        for holder in holders:
            beats, since = self._seen.get(holder.token, (-1, now))
            seen[holder.token] = (holder.beats, since if beats == holder.beats else now)
            if self._gone(holder) or now - seen[holder.token][1] >= self._lease:
                found.append(holder)
        self._seen = seen
        return found

    def _gone(self, holder: Holder) -> bool:
        if holder.machine != self._machine or not holder.born:
            return False
        if holder.pid == os.getpid() and holder.born == born(holder.pid):
            return holder.token not in _LIVING
        return born(holder.pid) != holder.born
