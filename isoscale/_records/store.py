"""The store: one SQLite file with a row for every run and a queue of the units of work that make them."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isoscale._records.codec import Row
from isoscale._records.decision import Decision
from isoscale._records.progress import Progress, progress_of
from isoscale._records.records import Records
from isoscale._records.schema import StoreError, connect, damaged, explained, read_runs
from isoscale._records.unit import Holder, Unit, UnitState

_STATE = "id, train, shape, size, cost, status, errors, deaths, error, seconds"


@dataclass(frozen=True)
class _Session:
    """The one connection of one process; its threads take turns."""

    pid: int
    connection: sqlite3.Connection
    inode: tuple[int, int]
    lock: threading.RLock = field(default_factory=threading.RLock)


_INHERITED: list[_Session] = []
"""Connections that came through a fork: kept, never used nor closed, for closing one would disturb the parent's."""


class Store:
    """Runs and units of work in one SQLite file on a local disk (WAL, synchronous=FULL).

    A unit finishes in one transaction: after a crash or `kill -9` at any moment its runs are all there or none is. The
    first writer of a unit wins. Every process opens a connection of its own, also after a fork. Raises StoreError with
    a sentence where the file cannot be used. `create=False` refuses to make a new file.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self._opened: _Session | None = None
        self.path = Path(path)
        self._session(create)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's connection; the next call opens another."""
        session, self._opened = self._opened, None
        if session is None:
            return
        if session.pid != os.getpid():
            _INHERITED.append(session)
            return
        with session.lock:
            session.connection.close()

    # -- the queue -----------------------------------------------------------------------------------------------------

    def add(self, units: Sequence[Unit]) -> None:
        """Queue `units`. A unit that is there already, or that shares a configuration with another, is left out."""
        with self._write() as connection:
            for unit in units:
                if any(
                    connection.execute("SELECT 1 FROM members WHERE identity=?", (i,)).fetchone()
                    for i in unit.identities
                ):
                    continue
                connection.execute(
                    "INSERT INTO units (id, train, configs, shape, size, cost) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        unit.id,
                        unit.train,
                        json.dumps([dict(c) for c in unit.configs]),
                        unit.shape,
                        len(unit.configs),
                        unit.cost,
                    ),
                )
                connection.executemany(
                    "INSERT INTO members VALUES (?, ?, ?)",
                    [(i, unit.id, place) for place, i in enumerate(unit.identities)],
                )

    def units_of(self, identities: Sequence[str]) -> dict[str, str]:
        """The unit that holds each configuration, by the configuration's identity; unknown ones are absent."""
        rows = self._read(
            "SELECT identity, unit FROM members WHERE identity IN (SELECT value FROM json_each(?))",
            (json.dumps(identities),),
        )
        return dict(rows)

    def states(self, ids: Collection[str] | None = None) -> list[UnitState]:
        """What is known of each unit (of `ids`, or of all), in the order they were added."""
        within, arguments = _within(ids)
        return [
            UnitState(*row) for row in self._read(f"SELECT {_STATE} FROM units {within} ORDER BY position", arguments)
        ]

    def unit(self, id: str) -> Unit:
        """The unit itself, to be trained."""
        rows = self._read("SELECT train, configs, shape, cost FROM units WHERE id=?", (id,))
        if not rows:
            raise KeyError(f"the store {self.path} has no unit {id}")
        train, configs, shape, cost = rows[0]
        return Unit(train, tuple(json.loads(configs)), shape, cost)

    def claim(self, id: str, token: str) -> bool:
        """Lease a queued unit to a holder; False where another holds it, or it is done or poisoned."""
        with self._write() as connection:
            cursor = connection.execute(
                "UPDATE units SET status='leased', holder=?, started=? WHERE id=? AND status='queued'",
                (token, time.time(), id),
            )
            return cursor.rowcount == 1

    def finish(self, id: str, rows: Sequence[Row], seconds: float) -> bool:
        """Record a unit's runs and mark it done, in one transaction; False where another writer was first."""
        with self._write() as connection:
            found = connection.execute("SELECT status FROM units WHERE id=?", (id,)).fetchone()
            places = dict(connection.execute("SELECT identity, place FROM members WHERE unit=?", (id,)))
            if found is None or sorted(places) != sorted(row.identity for row in rows):
                raise StoreError(
                    f"these {len(rows)} runs are not those of unit {id[:12]} in {self.path}: nothing was written"
                )
            if found[0] == "done":
                return False
            connection.executemany(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(row.identity, id, places[row.identity], *row[1:]) for row in rows],
            )
            connection.execute(
                "UPDATE units SET status='done', holder=NULL, seconds=?, error='' WHERE id=?", (seconds, id)
            )
            return True

    def fail(self, id: str, error: str, *, death: bool, limit: int) -> bool:
        """Count a failed attempt and queue the unit again, or poison it at the `limit` of this kind; True if poisoned.

        A raised error and the death of the worker are counted apart: an innocent unit may lose its worker.
        """
        count = "deaths" if death else "errors"
        with self._write() as connection:
            connection.execute(
                f"UPDATE units SET {count}={count}+1, error=?, holder=NULL, "
                f"status=CASE WHEN {count}+1 >= ? THEN 'poisoned' ELSE 'queued' END WHERE id=? AND status!='done'",
                (error, limit, id),
            )
            row = connection.execute("SELECT status FROM units WHERE id=?", (id,)).fetchone()
            return bool(row[0] == "poisoned")

    def retry(self, ids: Collection[str] | None = None) -> int:
        """Queue poisoned units (of `ids`, or all) again with their attempts forgotten; how many."""
        within, arguments = _within(ids, "AND")
        with self._write() as connection:
            return connection.execute(
                f"UPDATE units SET status='queued', errors=0, deaths=0 WHERE status='poisoned' {within}", arguments
            ).rowcount

    # -- leases --------------------------------------------------------------------------------------------------------

    def beat(self, holder: Holder) -> None:
        """Say that `holder` lives: its count of beats grows. There is no deadline and no clock in the file."""
        with self._write() as connection:
            connection.execute(
                "INSERT INTO holders VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (token) DO UPDATE SET beats=beats+1",
                (holder.token, holder.machine, holder.pid, holder.born, holder.slots),
            )

    def holders(self) -> list[Holder]:
        """Every process that holds leases or may claim some, dead ones too until their leases are released."""
        return [Holder(*row) for row in self._read("SELECT token, machine, pid, born, beats, slots FROM holders", ())]

    def release(self, token: str) -> int:
        """Give back a holder's leases, attempts uncounted, and forget the holder; how many units it held."""
        with self._write() as connection:
            connection.execute("DELETE FROM holders WHERE token=?", (token,))
            return connection.execute(
                "UPDATE units SET status='queued', holder=NULL WHERE status='leased' AND holder=?", (token,)
            ).rowcount

    # -- decisions -----------------------------------------------------------------------------------------------------

    def decide(self, search: str, place: int, decision: Decision) -> Decision:
        """Record the decision at a place of a search, and return it; the one that was there first, if there is one."""
        with self._write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?)", (search, place, *decision.packed())
            )
        return self.decisions(search)[place]

    def decisions(self, search: str) -> tuple[Decision, ...]:
        """What a search (by its identity) decided so far, in order."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name='decisions'", ()):
            return ()  # a read-only store from before there were any
        rows = self._read("SELECT kind, reason, content FROM decisions WHERE search=? ORDER BY place", (search,))
        return tuple(Decision.unpacked(*row) for row in rows)

    # -- what is there -------------------------------------------------------------------------------------------------

    def records(self, identities: Sequence[str] | None = None) -> Records:
        """All runs in the order they were queued, or those of `identities` (absent ones left out) in that order."""
        session = self._session()
        with session.lock, explained(self.path):
            return Records(read_runs(session.connection, self.path, identities))

    def progress(self, ids: Collection[str] | None = None) -> Progress:
        """How far the units (of `ids`, or all) are, and the expected wall seconds for the rest."""
        if ids is not None and len(ids) == self._read("SELECT count(*) FROM units", ())[0][0]:
            ids = None  # asked after each unit: looking every one of them up would make large sweeps slow
        within, arguments = _within(ids)
        rows = self._read(
            "SELECT shape, status, count(*), sum(size), sum(cost), coalesce(sum(seconds), 0), "
            f"coalesce(sum(max(? - started, 0)), 0) FROM units {within} GROUP BY shape, status",
            (time.time(), *arguments),
        )
        slots = sum(holder.slots for holder in self.holders())
        return progress_of(rows, slots)

    def check(self) -> None:
        """Read the whole file's structure; a StoreError where it is damaged."""
        found = [row[0] for row in self._read("PRAGMA integrity_check(1)", ())]
        if found != ["ok"]:
            raise StoreError(f"{damaged(self.path)} ({found[0]})")

    # -- the connection ------------------------------------------------------------------------------------------------

    def _session(self, create: bool = False) -> _Session:
        session = self._opened
        if session is not None and session.pid != os.getpid():
            _INHERITED.append(session)
            session = None
        if session is None:
            connection = connect(self.path, create)
            session = self._opened = _Session(os.getpid(), connection, _inode(self.path))
        elif _inode(self.path) != session.inode:
            raise StoreError(
                f"the store {self.path} was moved or deleted while it was in use: what is written now would be lost; "
                "put it back and run the same command again"
            )
        return session

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is in the file when this returns, or nothing."""
        session = self._session()
        with session.lock, explained(self.path):
            connection = session.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _read(self, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        session = self._session()
        with session.lock, explained(self.path):
            return session.connection.execute(query, arguments).fetchall()


def _inode(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)


def _within(ids: Collection[str] | None, word: str = "WHERE") -> tuple[str, tuple[str, ...]]:
    if ids is None:
        return "", ()
    return f"{word} id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
