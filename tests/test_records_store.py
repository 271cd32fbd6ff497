"""The store and the codec: exact round trips, the queue's rules, forks, progress."""

import json
import math
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoscale._records.codec import RunError, decode, encode, plain_config
from isoscale._records.progress import Tally, expected_remaining
from isoscale._records.records import Records
from isoscale._records.run import Curve, Run, digest
from isoscale._records.schema import StoreError
from isoscale._records.store import Store
from isoscale._records.unit import Holder, Unit, label

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**20), 10**20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
RUNS = st.builds(
    Run,
    config=st.dictionaries(st.text(), SCALARS | st.lists(SCALARS, max_size=3), max_size=6),
    metrics=st.dictionaries(st.text(), NUMBERS, max_size=4),
    status=st.sampled_from(["finished", "diverged"]),
    diverged_at=st.none() | st.integers(0, 10**6),
    steps=st.integers(0, 10**9),
    flops=st.none() | NUMBERS,
    seconds=st.none() | NUMBERS,
    curves=st.dictionaries(
        st.text(),
        st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats())).map(
            lambda points: Curve(tuple(step for step, _ in points), tuple(value for _, value in points))
        ),
        max_size=3,
    ),
    data=st.dictionaries(st.text(), st.text(), max_size=2),
    versions=st.dictionaries(st.text(), st.text(), max_size=2),
)


def same(one: object, two: object) -> bool:
    """Equal in value and type, with nan equal to nan and 0.0 unequal to -0.0."""
    if isinstance(one, Run | Curve):
        return type(one) is type(two) and same(vars(one), vars(two))
    if isinstance(one, dict):
        return isinstance(two, dict) and list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and repr(one) == repr(two)


@given(RUNS)
def test_a_run_comes_back_exactly(run: Run) -> None:
    row = encode(run)
    json.loads(row.result, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert same(decode(row), run)
    assert decode(row).identity == row.identity == run.identity


def test_the_comparison_of_runs_can_fail() -> None:
    run = Run({"lr": 1.0}, {"train_loss": 0.0})
    assert not same(run, Run({"lr": 1}, {"train_loss": 0.0}))
    assert not same(run, Run({"lr": 1.0}, {"train_loss": -0.0}))


def test_numbers_of_numpy_are_recorded_as_numbers() -> None:
    run = Run({"lr": np.float64(0.5), "width": np.int64(4)}, {"loss": np.float32(0.25)}, steps=np.int32(3))
    back = decode(encode(run))
    assert same(back.config, {"lr": 0.5, "width": 4})
    assert same(back.metrics, {"loss": 0.25})


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run({"lr": math.nan}, {}), r"config\['lr'\] is nan"),
        (Run({"lr": object()}, {}), r"config\['lr'\] is a object"),
        (Run({1: 2}, {}), "has the key 1"),
        (Run({}, {"loss": "low"}), r"metrics\['loss'\] is a str"),
        (Run({}, {"loss": None}), r"metrics\['loss'\] is a NoneType"),
        (Run({}, {}, status="failed"), "status is 'failed'"),
        (Run({}, {}, steps=1.5), "steps is 1.5"),
        (Run({}, {}, data={"name": 1}), r"data\['name'\] is a int"),
        (Run({}, {}, curves={"a": Curve((1, 2), (1.0,))}), "2 steps and 1 values"),
        (Run({}, {}, curves={"a": Curve((1,), ("x",))}), "no number"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_name(run: Run, words: str) -> None:
    with pytest.raises(RunError, match=words):
        encode(run)


def test_a_changed_row_is_noticed() -> None:
    row = encode(Run({"lr": 0.5}, {"train_loss": 1.0}))
    with pytest.raises(RunError, match="checksum"):
        decode(row._replace(result=row.result.replace("1.0", "2.0")))


def test_curves_are_stored_compactly() -> None:
    steps = tuple(range(0, 10_000, 10))
    run = Run({}, {}, curves={name: Curve(steps, tuple(math.exp(-s / 3e3) for s in steps)) for name in ("a", "b")})
    row = encode(run)
    assert len(row.curves) < 0.55 * len(json.dumps([vars(curve) for curve in run.curves.values()]))


# -- the queue -------------------------------------------------------------------------------------------------------


def unit(*seeds: int, train: str = "m:train", cost: float = 1.0) -> Unit:
    return Unit(train, tuple({"width": 4, "seed": seed} for seed in seeds), "width=4", cost)


def runs_of(work: Unit, loss: float = 1.0) -> list:
    return [encode(Run(config, {"train_loss": loss})) for config in work.configs]


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "deep" / "runs.sqlite") as store:
        yield store


def test_a_units_id_is_the_hash_of_its_spec() -> None:
    assert unit(1, 2).id == unit(1, 2, cost=5.0).id == digest({"train": "m:train", "configs": list(unit(1, 2).configs)})
    assert len({unit(1, 2).id, unit(2, 1).id, unit(1).id, unit(1, 2, train="m:other").id}) == 4


def test_adding_again_is_idempotent_and_a_configuration_has_one_unit(store: Store) -> None:
    store.add([unit(1, 2), unit(1, 2)])
    store.add([unit(1, 2), unit(2, 3), unit(4)])
    assert [state.id for state in store.states()] == [unit(1, 2).id, unit(4).id]
    known = store.units_of([*unit(1, 2).identities, *unit(3, 4).identities])
    assert set(known.values()) == {unit(1, 2).id, unit(4).id}
    assert unit(3).identities[0] not in known
    assert store.unit(unit(1, 2).id) == unit(1, 2)


def test_a_unit_is_leased_once_and_finished_once_by_the_first_writer(store: Store) -> None:
    work = unit(1, 2)
    store.add([work])
    assert store.claim(work.id, "one")
    assert not store.claim(work.id, "two")
    assert store.finish(work.id, runs_of(work), 2.0)
    assert not store.finish(work.id, runs_of(work, loss=9.0), 2.0)
    assert not store.claim(work.id, "two")
    assert [run["train_loss"] for run in store.records()] == [1.0, 1.0]
    for others in (runs_of(work)[:1], runs_of(unit(1, 3)), [runs_of(work)[0]] * 2):
        with pytest.raises(StoreError, match="not those of unit"):
            store.finish(work.id, others, 2.0)


def test_a_failing_transaction_leaves_nothing(store: Store) -> None:
    work = unit(1, 2)
    store.add([work])
    first, second = runs_of(work)
    with pytest.raises(StoreError, match="NOT NULL"):
        store.finish(work.id, [first, second._replace(curves=None)], 1.0)
    assert len(store.records()) == 0
    assert store.states()[0].status == "queued"


def test_released_leases_are_queued_again_without_counting(store: Store) -> None:
    work = unit(1)
    store.add([work])
    holder = Holder("one", "here", 1, "", 0, 2)
    store.beat(holder)
    store.beat(holder)
    assert [(seen.token, seen.beats) for seen in store.holders()] == [("one", 2)]
    store.claim(work.id, "one")
    assert store.release("two") == 0
    assert store.release("one") == 1
    [state] = store.states()
    assert (state.status, state.errors, state.deaths, store.holders()) == ("queued", 0, 0, [])


def test_failures_count_by_kind_until_the_unit_is_poisoned(store: Store) -> None:
    work = unit(1)
    store.add([work])
    assert not store.fail(work.id, "died", death=True, limit=2)
    assert not store.fail(work.id, "first", death=False, limit=2)
    assert store.fail(work.id, "second", death=False, limit=2)
    [state] = store.states()
    assert (state.status, state.errors, state.deaths, state.error) == ("poisoned", 2, 1, "second")
    assert not store.claim(work.id, "one")
    assert store.retry() == 1
    assert store.claim(work.id, "one")
    store.finish(work.id, runs_of(work), 1.0)
    store.fail(work.id, "too late", death=False, limit=1)
    assert store.states()[0].status == "done"


def test_records_come_in_the_order_asked_for(store: Store) -> None:
    store.add([unit(1, 2), unit(3)])
    for work in (unit(3), unit(1, 2)):
        store.finish(work.id, runs_of(work), 1.0)
    assert [run["seed"] for run in store.records()] == [1, 2, 3]
    wanted = [unit(seed).identities[0] for seed in (3, 7, 1)]
    assert [run["seed"] for run in store.records(wanted)] == [3, 1]
    assert [run["seed"] for run in Records.from_store(store.path)] == [1, 2, 3]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 says it where threads live
def test_a_fork_opens_a_connection_of_its_own(store: Store) -> None:
    store.add([unit(1)])
    before = store._session().connection
    child = os.fork()
    if child == 0:
        answer = 1
        try:
            own = store._session().connection is not before
            store.add([unit(2)])
            answer = 0 if own and len(store.states()) == 2 else 2
        finally:
            os._exit(answer)
    assert os.waitpid(child, 0)[1] == 0
    assert store._session().connection is before
    store.add([unit(3)])
    assert len(store.states()) == 3
    assert sqlite3.connect(store.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_file_is_in_wal_and_written_through(store: Store) -> None:
    assert store._read("PRAGMA journal_mode", ()) == [("wal",)]
    assert store._read("PRAGMA synchronous", ()) == [(2,)]


def test_a_closed_store_opens_again(store: Store) -> None:
    store.add([unit(1)])
    store.close()
    store.close()
    assert len(store.states()) == 1


# -- progress --------------------------------------------------------------------------------------------------------


def test_progress_counts_units_and_runs(store: Store) -> None:
    store.add([unit(1, 2), unit(3), unit(4), unit(5)])
    store.beat(Holder("one", "here", 1, "", 0, 2))
    store.finish(unit(1, 2).id, runs_of(unit(1, 2)), 4.0)
    store.claim(unit(3).id, "one")
    store.fail(unit(4).id, "x", death=False, limit=1)
    facts = store.progress()
    assert (facts.units, facts.done, facts.leased, facts.queued, facts.poisoned) == (4, 1, 1, 1, 1)
    assert (facts.runs, facts.runs_done, facts.slots, facts.spent) == (5, 2, 2, 4.0)
    assert facts.remaining == pytest.approx(0.5, abs=0.1), "two open runs in two slots, 4 s for two less the start-up"
    assert facts.rate == pytest.approx(4.0, rel=0.2)
    assert not facts.complete
    assert store.progress([unit(1, 2).id]).complete


def test_remaining_time_believes_a_measured_shape_and_reads_others_off_the_line() -> None:
    small = Tally("small", done_runs=10, done_cost=10.0, done_seconds=10.0)
    large = Tally("large", done_runs=1, done_cost=100.0, done_seconds=10.0)
    open_small = Tally("small", 10, 10.0, 10.0, open_units=2, open_runs=4, open_cost=4.0)
    between = Tally("between", open_units=4, open_runs=4, open_cost=40.0)
    assert expected_remaining([open_small], 1) == pytest.approx(4.0)
    assert expected_remaining([small, large, between], 2) == pytest.approx(4 * 10**0.5 / 2)
    assert expected_remaining([small, Tally("one", open_units=1, open_runs=1, open_cost=4.0)], 8) == pytest.approx(2.0)
    assert expected_remaining([between], 2) is None
    assert expected_remaining([small], 2) == 0.0


@pytest.mark.parametrize("sign", [-1, 1])
def test_remaining_time_survives_a_jump_of_the_clock(store: Store, monkeypatch: pytest.MonkeyPatch, sign: int) -> None:
    store.add([unit(1), unit(2), unit(3)])
    store.finish(unit(1).id, runs_of(unit(1)), 2.0)
    store.claim(unit(2).id, "one")
    now = __import__("time").time()
    monkeypatch.setattr("isoscale._records.store.time.time", lambda: now + sign * 1e6)
    assert 0.0 <= store.progress().remaining <= 4.0


def test_labels_are_printable_and_short() -> None:
    assert label({"width": 64, "rule": "mup"}) == "width=64 rule=mup"
    shown = label({"a": "\x1b[2J\n", "b": "x" * 1000})
    assert shown.isprintable()
    assert len(shown) <= 120
    assert plain_config({"a": (1, 2)}) == {"a": [1, 2]}
