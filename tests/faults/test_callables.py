"""What users' callables do: every failure is told in a sentence that names the unit, and costs no other unit."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import callables_job
import pytest
from callables_job import config, right, train

from isoscale._records.records import Records
from isoscale._records.store import Store
from isoscale._sweep.events import Patience, PoisonedError, SweepError
from isoscale._sweep.local import WorkerStartError
from isoscale._sweep.sweep import sweep

ONCE = Patience(errors=1, deaths=1, seconds=3.0)

FINE = ("right", "printing", "forked", "nan", "generator", "shuffled")
FAILURES = {
    "raising": "ValueError: boom",
    "breaking": "Broken: <exception str() failed>",
    "out of memory": "MemoryError",
    "leaving": "called sys.exit(3)",
    "too few": "returned 1 runs for 2 configurations",
    "nothing": "TypeError: 'NoneType' object is not iterable",
    "numbers": "returned a float as run 0",
    "doubled": "the same configuration as an earlier one",
    "other": "lr is 1 for 'absent'",
    "changing": "width is 1 for",
    "unrecordable": "metrics['train_loss'] is a str",
}
DEATHS = {
    "interrupting": "was killed by SIGTERM",
    "exiting": "ended with exit code 3",
    "crashing": "was killed by SIGSEGV",
    "hanging": "had not returned after 3 s",
}


def configs(behaviours):
    return [config(name, seed, width=4 + at) for at, name in enumerate(behaviours) for seed in (0, 1)]


def test_every_failure_is_a_sentence_and_costs_no_other_unit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.sqlite"
    with pytest.raises(PoisonedError) as caught:
        sweep(train, configs([*FINE, *FAILURES, *DEATHS]), store=path, workers=2, patience=ONCE)
    expected = {**FAILURES, **DEATHS}
    assert len(caught.value.units) == len(expected)
    for state in caught.value.units:
        behaviour = next(name for name in expected if f"model={name} " in state.shape)
        first = state.error.splitlines()[0]
        assert expected[behaviour] in first
        log = Path(first.rpartition("(log: ")[2].removesuffix(")"))
        assert f"unit {state.id[:12]}" in log.read_text()
        assert (state.errors, state.deaths) == ((1, 0) if behaviour in FAILURES or behaviour == "hanging" else (0, 1))
    assert "Traceback" in next(state.error for state in caught.value.units if "raising" in state.shape)
    assert len(Records.from_store(path)) == 2 * len(FINE)
    said = capfd.readouterr()
    assert said.out == said.err == "", "a worker wrote on the terminal"
    [log] = [log for log in (tmp_path / "runs.logs").glob("unit-*.log") if "a word" in log.read_text()]
    assert log.read_text() == "a word from the callable\nand one from below\n"


@pytest.mark.parametrize("behaviour", FAILURES)
def test_the_same_sentences_come_without_workers(tmp_path: Path, behaviour: str) -> None:
    with pytest.raises(PoisonedError) as caught:
        sweep(train, configs([behaviour]), store=tmp_path / "runs.sqlite", workers=0, patience=ONCE)
    assert FAILURES[behaviour] in str(caught.value)


def test_a_poisoned_unit_waits_for_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, both = tmp_path / "runs.sqlite", configs(["right", "raising"])
    kinds = []
    for _ in range(2):
        with pytest.raises(PoisonedError, match="boom"):
            sweep(train, both, store=path, workers=0, progress=lambda event: kinds.append(event.kind))
    assert (kinds.count("failed"), kinds.count("poisoned")) == (2, 1), "three attempts, and none in the second sweep"
    monkeypatch.setitem(callables_job.BEHAVIOURS, "raising", right)
    assert len(sweep(train, both, store=path, workers=0, retry=True)) == 4


def test_a_callable_that_always_fails_stops_the_sweep_early(tmp_path: Path) -> None:
    many = [config("raising", seed) for seed in range(100)]
    with pytest.raises(SweepError, match=r"the first 6 attempts all failed and nothing finished.*boom"):
        sweep(train, many, store=tmp_path / "runs.sqlite", workers=0, batch=1)


@pytest.mark.parametrize("make", [lambda: lambda batch: [], lambda: functools.partial(lambda batch, a: [], a=1)])
def test_what_no_worker_can_import_is_refused_at_once(tmp_path: Path, make) -> None:
    with pytest.raises(ValueError, match="workers=0"):
        sweep(make(), configs(["right"]), store=tmp_path / "runs.sqlite", workers=1)


def keyed(batch, *, key):
    return right(batch)


def test_a_partial_and_two_callables_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    assert len(sweep(functools.partial(keyed, key=1), configs(["right"]), store=path, workers=1)) == 2
    for other in (functools.partial(keyed, key=2), train):
        with pytest.raises(ValueError, match="results of two callables must not be mixed"):
            sweep(other, configs(["right"]), store=path, workers=0)


def script(*arguments: str, source: str = callables_job.__file__) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, source, *arguments], capture_output=True, text=True, timeout=60)


def test_a_callable_in_the_script_itself_works(tmp_path: Path) -> None:
    done = script(str(tmp_path / "runs.sqlite"), "right", "2")
    assert done.stdout == "12 records\n", done.stderr


def test_a_script_without_main_guard_is_told_so(tmp_path: Path) -> None:
    source = tmp_path / "unguarded.py"
    shutil.copy(callables_job.__file__, source)
    source.write_text(source.read_text().replace('if __name__ == "__main__":\n    main(*sys.argv[1:])\n', ""))
    done = script(str(tmp_path / "runs.sqlite"), "right", "2", source=str(source))
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_a_callable_typed_into_an_interpreter_is_refused(tmp_path: Path) -> None:
    code = (
        "from isoscale._sweep.sweep import sweep\ndef train(batch): return []\n"
        f"sweep(train, [dict(a=1)], store={str(tmp_path / 'a')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "typed into an interpreter" in done.stderr.splitlines()[-1]


def test_a_module_that_cannot_be_imported_in_a_worker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here_only.py").write_text(
        "import os\nfrom callables_job import right\nassert 'HERE_ONLY' not in os.environ, 'not in a worker'\n"
        "def train(batch): return right(batch)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    here_only = __import__("here_only")
    monkeypatch.setenv("HERE_ONLY", "1")
    with pytest.raises(WorkerStartError, match="could not import the callable: AssertionError: not in a worker"):
        sweep(here_only.train, configs(["right"]), store=tmp_path / "runs.sqlite", workers=1)


def finished_units(path: Path) -> int:
    if not path.exists() or not path.stat().st_size:
        return 0
    with Store(path) as store:
        return store.progress().done


@pytest.mark.parametrize("workers", ["0", "2"])
def test_control_c_leaves_a_clean_store_and_the_next_sweep_goes_on(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "runs.sqlite"
    process = subprocess.Popen(
        [sys.executable, callables_job.__file__, str(path), "slow", workers], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not finished_units(path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    with Store(path) as store:
        facts = store.progress()
        assert store.holders() == []
        assert facts.leased == facts.poisoned == 0
        assert 0 < facts.done < 12
        assert facts.queued == 12 - facts.done
        assert all(state.errors == state.deaths == 0 for state in store.states())
    assert not os.path.exists(f"{path}-wal")
