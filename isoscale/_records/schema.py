"""The store's file: its tables, how it is opened, and what is said when it cannot be used."""

import json
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from isoscale import __version__
from isoscale._records.codec import Row, RunError, decode
from isoscale._records.run import Run

APPLICATION = 0x69736F73  # "isos", in the file's header: this is a store of isoscale and not another program's file
FORMAT = 2
PATIENCE = 60.0  # seconds to wait for another process's transaction

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE units (
  position INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  train TEXT NOT NULL,
  configs TEXT NOT NULL,
  shape TEXT NOT NULL,
  size INTEGER NOT NULL,
  cost REAL NOT NULL,
  status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'leased', 'done', 'poisoned')),
  holder TEXT,
  started REAL,
  seconds REAL,
  errors INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX units_status ON units (status, holder);
CREATE TABLE members (identity TEXT PRIMARY KEY, unit TEXT NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
  identity TEXT PRIMARY KEY,
  unit TEXT NOT NULL,
  place INTEGER NOT NULL,
  config TEXT NOT NULL,
  result TEXT NOT NULL,
  curves BLOB NOT NULL,
  checksum TEXT NOT NULL
);
CREATE INDEX runs_unit ON runs (unit);
CREATE TABLE holders (
  token TEXT PRIMARY KEY,
  machine TEXT NOT NULL,
  pid INTEGER NOT NULL,
  born TEXT NOT NULL,
  beats INTEGER NOT NULL,
  slots INTEGER NOT NULL
) WITHOUT ROWID;
"""

DECISIONS = """
CREATE TABLE IF NOT EXISTS decisions (
  search TEXT NOT NULL,
  place INTEGER NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (search, place)
) WITHOUT ROWID;
"""

NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "lustre", "beegfs", "gpfs", "ceph", "glusterfs"}
NETWORK |= {f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "juicefs")}


class StoreError(RuntimeError):
    """The store cannot be used; the sentence says why and what to do. Nothing finished was lost."""


class StoreWarning(UserWarning):
    """The store works, but stands where it can be damaged."""


def connect(path: Path, create: bool) -> sqlite3.Connection:
    """A connection to the store at `path` (made if `create`), checked to be one of this format."""
    if path.is_dir():
        raise StoreError(f"{path} is a folder: name a file in it, such as {path / 'runs.sqlite'}")
    fresh = not path.exists() or path.stat().st_size == 0
    if fresh and not create:
        raise StoreError(f"there is no store at {path}: check the path, or make one with a sweep")
    with explained(path):
        if fresh:
            _make_room(path)
        _refuse_torn(path)
        connection = sqlite3.connect(
            _uri(path), uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path, writable=fresh or _writable(path))
        except BaseException:
            connection.close()
            raise
    return connection


def _make_room(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder of {path} cannot be made ({error.strerror}): choose another place") from error
    if not os.access(path.parent, os.W_OK):
        raise StoreError(
            f"no store can be made at {path}: the folder {path.parent} is read-only for this user: "
            "choose another place or change its permissions"
        )


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _uri(path: Path) -> str:
    name = "file:" + quote(str(path.absolute()))
    if not path.exists() or _writable(path):
        return name
    # WAL needs two files beside the store; where they cannot be made and no writer left any, the file is all there is.
    return name + ("?mode=ro" if Path(f"{path}-wal").exists() else "?immutable=1")


def _refuse_torn(path: Path) -> None:
    """A file shorter than its own header says was cut; SQLite itself may notice only when it reads the missing part."""
    if not path.exists() or Path(f"{path}-wal").exists():
        return  # with a WAL the file may rightly be short: SQLite replays the rest
    with path.open("rb") as file:
        header = file.read(100)
    size = path.stat().st_size
    if header[:16] != b"SQLite format 3\0" or len(header) < 100:
        return  # said better by SQLite
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    if header[24:28] == header[92:96] and size < page * pages:
        raise StoreError(f"{damaged(path)} (it has {size} bytes of {page * pages})")


def damaged(path: Path) -> str:
    return (
        f"the store {path} is damaged: keep a copy of it as it is, then restore a backup, or save what is readable by "
        f"`sqlite3 {path} .recover | sqlite3 saved.sqlite`, and run the sweep again: it repeats only what is missing"
    )


def _prepare(connection: sqlite3.Connection, path: Path, writable: bool) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    if _is_empty(connection):
        if not writable:
            raise StoreError(f"{path} is empty and read-only: choose another file")
        _create(connection)
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION:
        raise StoreError(f"{path} is an SQLite file of another program, not a store of isoscale: choose another file")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 1:  # the same but for the decisions of searches; a file that cannot be written simply has none
        if writable:
            _add_decisions(connection)
    elif version != FORMAT:
        maker = dict(connection.execute("SELECT key, value FROM meta")).get("made_by", "another version")
        age, way = ("a newer", "upgrade isoscale") if version > FORMAT else ("an older", "read it with that version")
        raise StoreError(
            f"{path} has format {version}, of {age} isoscale ({maker}); this one reads format {FORMAT}: {way}, "
            "or choose another file"
        )
    if writable:
        warn_network(path)


def _is_empty(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return bool(tables == 0 and connection.execute("PRAGMA application_id").fetchone()[0] in (0, APPLICATION))


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables in one transaction; of many processes that try at once, one does and the others find them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            # Changing the journal takes the file's exclusive lock without the patience of ordinary statements.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    try:
        if _is_empty(connection):
            for statement in (TABLES + DECISIONS).split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('made_by', ?)", (f"isoscale {__version__}",))
            connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _add_decisions(connection: sqlite3.Connection) -> None:
    """From format 1 to 2, in one transaction; harmless where another process was first."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(DECISIONS)
        connection.execute("PRAGMA user_version=2")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def read_runs(connection: sqlite3.Connection, path: Path, identities: Sequence[str] | None = None) -> tuple[Run, ...]:
    """All runs in the order they were queued, or those of `identities` that are there, in that order."""
    select = "SELECT r.identity, r.config, r.result, r.curves, r.checksum FROM runs r JOIN units u ON u.id = r.unit "
    try:
        if identities is None:
            rows = connection.execute(select + "ORDER BY u.position, r.place")
            runs = tuple(decode(Row(*row)) for row in rows)
            if len(runs) != connection.execute("SELECT count(*) FROM runs").fetchone()[0]:
                raise RunError("there are runs without their unit")
            return runs
        wanted = "WHERE r.identity IN (SELECT value FROM json_each(?))"
        found = {row[0]: decode(Row(*row)) for row in connection.execute(select + wanted, (json.dumps(identities),))}
        return tuple(found[identity] for identity in identities if identity in found)
    except RunError as error:
        raise StoreError(f"{damaged(path)} ({error})") from error


def warn_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Warn where `path` lies on a network file system: SQLite's WAL needs memory shared by all who open the file."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return  # not Linux: nothing is known of the mounts
    place, best = str(path.absolute().parent.resolve()), ("", "")
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        if (place == point or place.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, fields[2])
    if best[1] in NETWORK:
        warnings.warn(
            f"{path} is on a network file system ({best[1]} at {best[0]}), where SQLite can be damaged when two "
            "machines or a lost connection meet: keep the store on a local disk and copy it when the sweep is done",
            StoreWarning,
            stacklevel=2,
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a StoreError with a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_sentence(path, error)) from error


def _sentence(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return (
            f"the disk of {path} is full: nothing finished was lost; free some space and run the same command again, "
            "it goes on where it stopped"
        )
    if code == sqlite3.SQLITE_READONLY:
        return f"{path} is read-only for this user: change its permissions, or copy it to a folder of your own"
    if code == sqlite3.SQLITE_CANTOPEN:
        return (
            f"{path} cannot be opened: its folder must exist and be writable, for the store keeps two files beside it"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path} is not a store of isoscale (not an SQLite file, or a damaged one): choose another file"
    if code == sqlite3.SQLITE_CORRUPT or "malformed" in str(error):
        return f"{damaged(path)} ({error})"
    if code == sqlite3.SQLITE_BUSY:
        return f"{path} was locked by another process for {PATIENCE:.0f} s: end that process, then run again"
    if code == sqlite3.SQLITE_IOERR:
        return f"the disk of {path} fails to read or write ({error}): check it; nothing finished was lost"
    return f"{path}: {error} ({type(error).__name__})"
