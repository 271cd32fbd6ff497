"""Stores that are torn, foreign, full, read-only or hostile: a sentence each time, never a silently wrong record."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults_job import audit, configs, run_of, train

from isoscale._records.codec import Row, encode
from isoscale._records.records import Records
from isoscale._records.schema import FORMAT, StoreError, StoreWarning, warn_network
from isoscale._records.store import Store
from isoscale._sweep.sweep import sweep

FEW = configs(lrs=4, seeds=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store, closed, so that all of it is in one file."""
    path = tmp_path_factory.mktemp("whole") / "runs.sqlite"
    sweep(train, FEW, store=path, workers=0, batch=4)
    assert not Path(f"{path}-wal").exists()
    return path


def rows_of(path: Path) -> list[Row]:
    return [encode(run) for run in Records.from_store(path)]


def outcome(path: Path, rows: list[Row]) -> str:
    """What a reader and a sweep make of a damaged file: "refused" with a sentence, or the right records."""
    answers = set()
    for use in (rows_of, lambda path: [encode(run) for run in sweep(train, FEW, store=path, workers=0, batch=4)]):
        try:
            answers.add("right" if sorted(use(path)) == sorted(rows) else "wrong")
        except StoreError as error:
            answers.add("refused" if len(str(error)) > 40 else "without a sentence")
    return next(answer for answer in ("wrong", "without a sentence", "refused", "right") if answer in answers)


@pytest.mark.parametrize("part", [0.0001, 0.003, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.9999])
def test_a_cut_store_is_refused_with_a_sentence(whole: Path, tmp_path: Path, part: float) -> None:
    path = tmp_path / "cut.sqlite"
    content = whole.read_bytes()
    path.write_bytes(content[: max(1, int(len(content) * part))])
    assert outcome(path, rows_of(whole)) == "refused"


def test_an_overwritten_page_or_byte_never_gives_a_wrong_record(whole: Path, tmp_path: Path) -> None:
    rows, content, chance = rows_of(whole), whole.read_bytes(), random.Random(30)
    seen = {"right": 0, "refused": 0, "wrong": 0, "without a sentence": 0}
    for trial in range(60):
        path, torn = tmp_path / f"{trial}.sqlite", bytearray(content)
        at = chance.randrange(len(torn))
        length = 1 if trial % 2 else 4096
        torn[at : at + length] = chance.randbytes(len(torn[at : at + length]))
        path.write_bytes(torn)
        seen[outcome(path, rows)] += 1
    assert seen["wrong"] == seen["without a sentence"] == 0
    assert seen["refused"] >= 20, seen


def test_the_check_sees_a_wrong_record(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.sqlite"
    shutil.copy(whole, path)
    rows = rows_of(whole)
    changed = rows[0]._replace(checksum="")
    assert outcome(path, [changed, *rows[1:]]) == "wrong"


def test_a_log_left_by_a_killed_writer_is_replayed(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_broken_stores import FEW, train, sweep, Store\n"
        "store = Store(sys.argv[1]); sweep(train, FEW, store=store, workers=0, batch=4)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(path), str(Path(__file__).parent)])
    assert Path(f"{path}-wal").stat().st_size > 0
    assert rows_of(path) == rows_of(whole)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that another user may enter but not write into, and which that user's Python can read from."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_nobody(code: str, *arguments: str) -> str:
    if os.getuid() != 0:
        pytest.skip("only the superuser can become another user; the permissions are tested where it runs")
    become = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    imports, rest = code.split("\n\n", 1)
    result = subprocess.run(
        [sys.executable, "-c", f"{imports}\n{become}{rest}", *arguments], text=True, capture_output=True
    )
    return result.stdout + result.stderr


def test_a_read_only_folder_is_refused_for_writing_and_read_as_it_is(whole: Path, unprivileged: Path) -> None:
    new, old = unprivileged / "new.sqlite", unprivileged / "old.sqlite"
    shutil.copy(whole, old)
    code = (
        "import sys\nfrom isoscale._records.store import Store\nfrom isoscale._records.unit import Unit\n\n"
        "try:\n    print(len(Store(sys.argv[1], create=False).records()), 'records')\n"
        "    Store(sys.argv[1]).add([Unit('m:f', ({'a': 1},), '', 1.0)])\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "try:\n    Store(sys.argv[2])\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    said = as_nobody(code, str(old), str(new)).splitlines()
    assert said[0] == f"{len(FEW)} records"
    assert said[1].startswith("StoreError")
    assert "read-only" in said[1]
    assert said[2].startswith("StoreError no store can be made at")
    assert "read-only" in said[2]


def test_a_full_disk_stops_the_sweep_with_a_sentence_and_loses_nothing_finished(tmp_path: Path) -> None:
    path, finished = tmp_path / "runs.sqlite", []
    with Store(path) as store:
        pages = store._read("PRAGMA page_count", ())[0][0]
        store._read(f"PRAGMA max_page_count={pages + 8}", ())
        with pytest.raises(StoreError, match=r"disk of .* is full: nothing finished was lost"):
            sweep(train, FEW, store=store, workers=0, batch=4, progress=lambda event: finished.append(event.kind))
    count = finished.count("finished")
    assert 0 < count < len(FEW) // 4
    assert audit(path) == []
    assert len(Records.from_store(path)) == 4 * count
    assert [encode(run) for run in sweep(train, FEW, store=path, workers=0, batch=4)] == [
        encode(run_of(config)) for config in FEW
    ]


HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE runs; --",
    '" OR 1=1',
    "../../../etc/passwd",
    "\x1b[2J\x1b]0;title\x07",
    "nul\x00byte",
    "\ud800 lone surrogate",
    "\u202eright to left",
    "[bold]rich[/bold]",
    "=cmd|' /C calc'!A0",
    "%s %n {0}",
    "new\nline\r\n",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_come_back_as_they_went_in_and_touch_nothing(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    config = {"rule": name, "optimizer": name, "width": 1, "depth": 1, "seed": 0, "model": name, name: [name, 1]}
    path, events = folder / "runs.sqlite", []
    [run] = sweep(train_hostile, [config], store=path, workers=0, progress=events.append)
    assert run.config == config
    assert run.metrics == {"train_loss": 1.0, name: 2.0}
    assert run.data == {name: name}
    assert run.curves[name].step == (1,)
    assert all(event.unit.isprintable() and len(event.unit) < 200 for event in events)
    assert {entry.name for entry in tmp_path.rglob("*")} <= {
        "inside",
        "runs.sqlite",
        "runs.sqlite-wal",
        "runs.sqlite-shm",
    }


def train_hostile(batch):
    name = batch[0]["rule"]
    curve = run_of({"lr": 0.1}).curves["train_loss"]
    short = type(curve)(curve.step[1:2], curve.value[1:2])
    short = type(curve)((1,), short.value)
    return [
        type(run_of({"lr": 0.1}))(config, {"train_loss": 1.0, name: 2.0}, curves={name: short}, data={name: name})
        for config in batch
    ]


def test_files_that_are_no_stores_are_refused(tmp_path: Path) -> None:
    text, other, folder = tmp_path / "a.csv", tmp_path / "other.sqlite", tmp_path / "folder"
    text.write_text("rule,width\n" * 100)
    folder.mkdir()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    for path, words in ((text, "not a store"), (other, "another program"), (folder, "is a folder")):
        with pytest.raises(StoreError, match=words):
            Store(path)
    assert other.read_bytes() == before, "a foreign file was changed"
    with pytest.raises(StoreError, match="there is no store at"):
        Store(tmp_path / "absent.sqlite", create=False)


@pytest.mark.parametrize(("version", "words"), [(FORMAT + 1, "a newer isoscale"), (-1, "an older isoscale")])
def test_a_store_of_another_format_is_refused(whole: Path, tmp_path: Path, version: int, words: str) -> None:
    path = tmp_path / "other.sqlite"
    shutil.copy(whole, path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    with pytest.raises(StoreError, match=words):
        Store(path)


def test_a_store_that_is_deleted_under_a_writer_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with pytest.raises(StoreError, match="moved or deleted"):
        sweep(train, FEW, store=path, workers=0, batch=4, progress=lambda event: path.unlink(missing_ok=True))


def test_many_processes_may_create_the_same_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    code = "import sys, time; from isoscale._records.store import Store; Store(sys.argv[1]).progress()"
    with ThreadPoolExecutor(20) as pool:
        ends = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", code, str(path)]).returncode, range(20)))
    assert ends == [0] * 20
    assert audit(path) == []


def test_a_network_file_system_is_warned_of(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/export {tmp_path} nfs4 rw 0 0\n")
    with pytest.warns(StoreWarning, match="network file system"):
        warn_network(tmp_path / "runs.sqlite", mounts)
    mounts.write_text(f"server:/ / nfs4 rw 0 0\n/dev/sda {tmp_path} ext4 rw 0 0\n")
    warn_network(tmp_path / "runs.sqlite", mounts)
