"""The sweep: units, order, resuming, sharing, leases, what it tells while it runs."""

import functools
import io
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from isoscale._records.codec import RunError
from isoscale._records.progress import Progress
from isoscale._records.run import Run
from isoscale._records.store import Store
from isoscale._records.unit import Holder
from isoscale._sweep.batches import MEMBERS, guess_cost, make_units, name_of, worth_order
from isoscale._sweep.display import display, duration, line
from isoscale._sweep.events import Event, Patience
from isoscale._sweep.executor import Result, run_unit
from isoscale._sweep.lease import Watch, born, machine, this_process
from isoscale._sweep.local import Processes
from isoscale._sweep.sweep import sweep


def config(width: int = 4, lr: float = 0.5, seed: int = 0, **other: object) -> dict:
    return {"rule": "mup", "optimizer": "sgd", "width": width, "depth": 2, "seed": seed, "lr": lr, **other}


def train(configs: list) -> list[Run]:
    return [Run(config, {"train_loss": config["lr"] * config["width"] + config["seed"]}) for config in configs]


def threads(configs: list) -> list[Run]:
    return [Run(config, {"train_loss": float(os.environ["OMP_NUM_THREADS"])}) for config in configs]


GRID = [config(width, lr, seed) for width in (4, 8) for lr in (0.25, 0.5, 1.0) for seed in (0, 1)]


class Counting:
    """A callable that notes what it is asked for."""

    def __init__(self) -> None:
        self.batches: list[list[dict]] = []

    def __call__(self, configs: list) -> list[Run]:
        self.batches.append(configs)
        return train(configs)


# -- units -----------------------------------------------------------------------------------------------------------


def test_a_unit_holds_one_shape_and_nearly_equal_parts() -> None:
    units = make_units("m:f", [config(width, seed=seed) for seed in range(7) for width in (4, 8)], batch=3)
    assert sorted(len(unit.configs) for unit in units) == [2, 2, 2, 2, 3, 3]
    for unit in units:
        assert len({one["width"] for one in unit.configs}) == 1
    assert (
        len(make_units("m:f", [config(lr=lr, beta=b, warmup=w) for lr in (1, 2) for b in (1, 2) for w in (0, 0.1)], 32))
        == 1
    )
    assert len(make_units("m:f", [config(steps=steps) for steps in (1, 2)], 32)) == 2
    assert "width" not in MEMBERS


def test_the_cheapest_unit_goes_first_then_the_dearest() -> None:
    assert guess_cost(config(8, steps=10)) == 4 * guess_cost(config(4, steps=10)) > 0
    assert guess_cost(config(batch_size=None)) == guess_cost(config())
    store_states = [type("State", (), {"cost": cost})() for cost in (3.0, 1.0, 5.0, 2.0)]
    assert [state.cost for state in worth_order(store_states)] == [1.0, 5.0, 3.0, 2.0]


def test_a_callable_has_a_name() -> None:
    assert name_of(train) == "test_sweep:train"
    assert name_of(Counting()) == "test_sweep:Counting"
    names = {name_of(functools.partial(train, a=value)) for value in (1, 2, object())}
    assert len(names) == 3
    assert all(name.startswith("test_sweep:train(") for name in names)


# -- the sweep -------------------------------------------------------------------------------------------------------


def test_records_come_in_the_order_of_the_configurations(tmp_path: Path) -> None:
    records = sweep(train, reversed(GRID), store=tmp_path / "a.sqlite", workers=0, batch=2)
    assert [run.config for run in records] == GRID[::-1]
    assert [run["train_loss"] for run in records] == [c["lr"] * c["width"] + c["seed"] for c in GRID[::-1]]


def test_running_again_does_nothing_and_extending_adds_only_what_is_new(tmp_path: Path) -> None:
    path, first, again, more = tmp_path / "a.sqlite", Counting(), Counting(), Counting()
    sweep(first, GRID, store=path, workers=0, batch=4)
    assert len(sweep(again, GRID, store=path, workers=0, batch=3)) == len(GRID)
    assert (len(first.batches), again.batches) == (4, [])
    new = [config(lr=2.0), config(width=16)]
    assert len(sweep(more, [*GRID, *new], store=path, workers=0)) == len(GRID) + 2
    assert sorted(one["width"] for batch in more.batches for one in batch) == [4, 16]
    assert len(sweep(again, new, store=path, workers=0)) == 2
    assert again.batches == []


def test_the_work_of_the_queue_grows_with_the_units_alone(tmp_path: Path) -> None:
    """Statements to the store: a few for a sweep, a few for each unit, none for each configuration."""
    counts = []
    for configurations in (100, 400):
        with Store(tmp_path / f"{configurations}.sqlite") as store:
            many, statements = [config(seed=seed) for seed in range(configurations)], []
            store._session().connection.set_trace_callback(lambda text, seen=statements: seen.append(text.split()[0]))
            sweep(train, many, store=store, workers=0, batch=configurations // 4)
            statements = [word for word in statements if word not in ("INSERT", "--")]
            counts.append(statements.count("SELECT") - configurations)  # one look-up of each when it is added
            store._session().connection.set_trace_callback(None)
    assert abs(counts[1] - counts[0]) <= 30  # of 300 more configurations; the store is also looked at every second
    assert counts[0] < 80


def test_workers_give_the_same_records_as_this_process(tmp_path: Path) -> None:
    alone = sweep(train, GRID, store=tmp_path / "a.sqlite", workers=0)
    assert sweep(train, GRID, store=tmp_path / "b.sqlite", workers=2, batch=2) == alone


def test_a_worker_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert sweep(threads, GRID[:1], store=tmp_path / "a.sqlite", workers=1)[0]["train_loss"] == 1.0
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_callable_cannot_change_what_it_is_judged_by(tmp_path: Path) -> None:
    def widen(configs: list) -> list[Run]:
        runs = train(configs)
        for one in configs:
            one["lr"] = 99.0
        return [Run({**run.config, "lr": 0.5}, run.metrics) for run in runs]

    given = config()
    assert sweep(widen, [given], store=tmp_path / "a.sqlite", workers=0)[0].config == config() == given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"configs": []}, "no configurations"),
        ({"configs": [{"lr": float("nan")}]}, r"configs\[0\]\['lr'\] is nan"),
        ({"configs": [config(), {"lr": object()}]}, r"configs\[1\]\['lr'\] is a object"),
        ({"configs": [3]}, r"configs\[0\] is a int"),
        ({"batch": 0}, "batch=0"),
        ({"workers": -1}, "workers=-1"),
    ],
)
def test_mistakes_in_the_arguments_are_told(tmp_path: Path, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sweep(train, **({"configs": GRID, "store": tmp_path / "a.sqlite"} | arguments))
    assert issubclass(RunError, ValueError)


class Backwards:
    """Another executor: it takes four units before it answers, and answers the last one first."""

    slots = 4

    def __init__(self) -> None:
        self.waiting: list[tuple] = []
        self.closed = False

    def submit(self, unit) -> Future[Result]:
        future: Future[Result] = Future()
        self.waiting.append((unit, future))
        if len(self.waiting) == self.slots:
            for unit, waiting in reversed(self.waiting):
                waiting.set_result(run_unit(train, unit.configs))
            self.waiting.clear()
        return future

    def close(self) -> None:
        self.closed = True


def test_an_executor_is_a_page_of_code_and_stays_its_makers(tmp_path: Path) -> None:
    executor = Backwards()
    records = sweep(train, GRID[:8], store=tmp_path / "a.sqlite", batch=1, executor=executor)
    assert [run.config for run in records] == GRID[:8]
    assert not executor.closed


def test_worker_processes_can_be_kept_for_several_sweeps(tmp_path: Path) -> None:
    executor = Processes(train, 1, tmp_path)
    try:
        for part in (GRID[:6], GRID):
            assert len(sweep(train, part, store=tmp_path / "a.sqlite", executor=executor)) == len(part)
    finally:
        executor.close()


# -- leases ----------------------------------------------------------------------------------------------------------


def test_a_holder_is_dead_when_its_beats_stand_still_for_a_lease_of_our_own_clock() -> None:
    now = [0.0]
    watch = Watch(60.0, clock=lambda: now[0])
    beats = [1]

    def holder() -> Holder:
        return Holder("token", "another machine", 1, "1", beats[0], 1)

    assert watch.dead([holder()]) == []
    now[0] = 59.0
    beats[0] = 2
    assert watch.dead([holder()]) == []
    now[0] = 118.0
    assert watch.dead([holder()]) == []
    now[0] = 119.0
    assert watch.dead([holder()]) == [holder()]


def test_a_process_of_this_machine_that_is_gone_is_dead_at_once() -> None:
    watch, ended = Watch(60.0), subprocess.Popen([sys.executable, "-c", "pass"])
    birth = born(ended.pid)
    ended.wait()
    here, me = machine(), this_process(1)
    gone = Holder("a", here, ended.pid, birth, 1, 1)
    reused = Holder("b", here, os.getpid(), "1", 1, 1)
    elsewhere = Holder("c", "another machine", ended.pid, birth, 1, 1)
    parent = Holder("d", here, os.getppid(), born(os.getppid()), 1, 1)
    finished_sweep = me
    assert watch.dead([gone, reused, elsewhere, parent, finished_sweep]) == [gone, reused, finished_sweep]


def test_a_silent_drivers_units_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.add(make_units(name_of(train), [dict(one) for one in GRID], 4))
        ghost = Holder("ghost", "another machine", 1, "1", 0, 1)
        store.beat(ghost)
        for state in store.states()[:2]:
            assert store.claim(state.id, ghost.token)
        records = sweep(train, GRID, store=store, workers=0, patience=Patience(lease=1.5))
        assert len(records) == len(GRID)
        assert store.holders() == []


# -- what it tells ---------------------------------------------------------------------------------------------------


def test_events_say_how_far_it_is(tmp_path: Path) -> None:
    events: list[Event] = []
    sweep(train, GRID, store=tmp_path / "a.sqlite", workers=0, batch=4, progress=events.append)
    kinds = [event.kind for event in events if event.kind != "tick"]
    assert kinds == ["start", *["finished"] * 4, "end"]
    finished = [event for event in events if event.kind == "finished"]
    assert [event.progress.runs_done for event in finished] == [3, 6, 9, 12]
    assert all(event.seconds is not None and event.runs == 3 for event in finished)
    assert "width=4" in finished[0].unit
    assert finished[-1].progress.remaining == 0.0
    assert finished[1].progress.remaining > 0
    assert events[-1].progress.complete


def facts(**changes: object) -> Progress:
    values = {"done": 1, "leased": 1, "queued": 2, "poisoned": 0, "runs": 40, "runs_done": 10, "slots": 2}
    return Progress(**{"units": 4, **values, "spent": 3.0, "remaining": 200.0, "rate": 1.0, **changes})


def test_without_a_terminal_there_is_a_plain_line_per_unit() -> None:
    stream = io.StringIO()
    with display(stream) as progress:
        progress(Event("tick", facts()))
        progress(Event("finished", facts(), "width=4", 10, 3.0))
        progress(Event("died", facts(remaining=None), "width=4", 10, error="its worker was killed"))
    assert stream.getvalue().splitlines() == [
        "10/40 runs, about 3 min left: width=4 (10 runs in 3.0 s)",
        "10/40 runs: width=4 lost its worker, will be tried again: its worker was killed",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with display(stream) as progress:
        progress(Event("finished", facts(poisoned=1), "width=[bold]4", 10, 3.0))
        progress(Event("poisoned", facts(poisoned=1), "width=[bold]4", 10, error="[red]boom"))
    shown = stream.getvalue()
    assert "10/40 runs, 1 units set aside, about 3 min left" in shown
    assert "width=[bold]4" in shown
    assert "[red]boom" in shown


def test_durations_are_for_readers() -> None:
    assert [duration(s) for s in (0.42, 12.3, 125, 7500)] == ["0.4 s", "12 s", "2 min", "2 h 05 min"]
    assert line(Event("start", facts())) == "10/40 runs, about 3 min left: start"
