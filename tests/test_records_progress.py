"""The remaining time under a simulated clock: workers take units in order, the first of each after its start-up."""

import pytest

from isoscale._records.progress import Tally, expected_remaining, progress_of

SHAPES = {"small": 1.0, "middle": 8.0, "large": 64.0}  # cost of a run
RUNS, SLOTS, STARTS = 20, 2, 5.0


def seconds(cost: float) -> float:
    """Of a unit: overhead and arithmetic."""
    return RUNS * (0.05 + 0.004 * cost)


def simulated(order: list[str]) -> list[tuple[float, float | None]]:
    """(true, told) remaining wall seconds whenever a unit ends."""
    waiting, clock = list(order), [0.0] * SLOTS
    ends: list[tuple[float, str, float]] = []
    for at in range(len(order)):
        worker = clock.index(min(clock))
        took = seconds(SHAPES[waiting[at]]) + (STARTS if clock[worker] == 0 else 0)
        clock[worker] += took
        ends.append((clock[worker], waiting[at], took))
    looks = []
    for now, _, _ in sorted(ends):
        rows = []
        for shape, cost in SHAPES.items():
            done = [each for each in ends if each[1] == shape and each[0] <= now]
            leased = [each for each in ends if each[1] == shape and each[0] - each[2] <= now < each[0]]
            queued = [each for each in ends if each[1] == shape and each[0] - each[2] > now]
            for status, group in (("done", done), ("leased", leased), ("queued", queued)):
                if group:
                    count = len(group)
                    elapsed = sum(now - each[0] + each[2] for each in leased)
                    spent = sum(each[2] for each in done)
                    rows.append((shape, status, count, count * RUNS, count * RUNS * cost, spent, elapsed))
        looks.append((max(clock) - now, progress_of(rows, SLOTS).remaining))
    return looks


@pytest.mark.parametrize("first", ["small", "large"])
def test_the_remaining_time_is_believable_from_the_first_unit_on(first: str) -> None:
    names = sorted(SHAPES, key=SHAPES.__getitem__, reverse=first == "large")
    looks = simulated([name for name in names for _ in range(4)])
    assert looks[-1][1] == 0.0
    for true, told in looks[:-1]:
        assert told is not None
        assert told <= 3 * true + 1
        assert told >= true / 3 - 1


def test_in_proportion_to_cost_and_with_the_start_it_would_not_be() -> None:
    """Control: what a first unit of 5 s, most of it start-up, would say of units of 64 times the cost."""
    measured, open_ = 5.0 / RUNS, Tally("large", open_units=4, open_runs=4 * RUNS, open_cost=4 * RUNS * 64.0)
    small = Tally("small", done_units=1, done_runs=RUNS, done_cost=RUNS * 1.0, done_seconds=5.0)
    told = expected_remaining([small, open_], SLOTS)
    assert told is not None
    assert measured * 64 * 4 * RUNS / SLOTS > 10 * told
