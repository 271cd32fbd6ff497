"""What drawing the base's initialisation once for all plans of a coordinate check saves, both ways in one run.

    python bench/check_speed.py

CPU seconds of a whole check and of its plans, with one `Planner` for all sizes and with a fresh one for each (as it
was); the two take turns. Prints a table and writes bench/facts/check_speed.json.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from isoscale._check import coord, coord_check
from isoscale._check.reference import reference
from isoscale._plan import Plan, Planner

FACTS = Path(__file__).parent / "facts" / "check_speed.json"
NETWORKS = {"preln_mlp": ([32, 64, 128], [4, 8, 16]), "gpt": ([32, 64, 128], [2, 4, 8])}
TURNS = 2


class Timed(Planner):
    """The planner of a check, with the CPU time of its plans."""

    spent = 0.0

    def plan(self, target: object) -> Plan:
        started = time.process_time()
        try:
            return self.planned(target)
        finally:
            Timed.spent += time.process_time() - started

    def planned(self, target: object) -> Plan:
        return super().plan(target)


class Fresh(Timed):
    """As it was: every plan measures the base for itself."""

    def planned(self, target: object) -> Plan:
        return Planner(
            self.build, self.base, self.inputs, self.rule, self.optimizer, self.mode, self.roles, self.postnorm
        ).plan(target)


def seconds(name: str, planner: Callable[..., Planner]) -> tuple[float, float]:
    """CPU seconds of a check and of its plans."""
    known = reference(name, batch=8)
    widths, depths = NETWORKS[name]
    base = {"width": widths[0], "depth": depths[0]}
    before, coord.Planner, Timed.spent = coord.Planner, planner, 0.0
    started = time.process_time()
    try:
        coord_check(
            known.build, base, widths=widths, depths=depths, inputs=known.inputs, targets=known.targets, most_seeds=5
        )
    finally:
        coord.Planner = before
    return time.process_time() - started, Timed.spent


def main() -> None:
    facts = {}
    for name in NETWORKS:
        runs = {"once": [], "each": []}
        for _ in range(TURNS):
            for way, planner in (("once", Timed), ("each", Fresh)):
                runs[way].append(seconds(name, planner))
        check, plans = ({way: min(run[i] for run in each) for way, each in runs.items()} for i in (0, 1))
        facts[name] = {
            "check_seconds": check,
            "plan_seconds": plans,
            "check_ratio": check["each"] / check["once"],
            "plan_ratio": plans["each"] / plans["once"],
        }
        print(name, json.dumps(facts[name]), flush=True)
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
