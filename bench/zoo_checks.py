"""The coordinate check over the whole zoo: every model of tests/zoo under `sp`, `mup` and `depth_mup`.

    nice -n 15 python bench/zoo_checks.py [--again] [name or family ...]

Of each model: the residual branches found, the time of a plan, the error of the fold's proof, and for each rule the
verdict in width and in depth, the cause, the parameter to blame and the seconds. Sizes: once, twice and four times the
base of the zoo; where a verdict is not the expected one also from the zoo's target on, twice as wide and deep. Where
a branch can be multiplied by a hook alone, by `mode="explicit"`, as the plan's own sentence says.

Writes bench/facts/zoo_checks.json after each model and goes on where it stopped; --again measures the named models
anew (all without names). The zoo's extras are needed.
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from isoscale import coord_check, plan
from isoscale._check import Check, CheckError
from isoscale._plan import Plan
from tests.zoo import hf, own, timm_models
from tests.zoo.entry import Entry

FACTS = Path(__file__).parent / "facts" / "zoo_checks.json"
RULES = ("sp", "mup", "depth_mup")
EXPECTED = {
    ("sp", "width"): "FAIL",
    ("sp", "depth"): "FAIL",
    ("mup", "width"): "PASS",
    ("mup", "depth"): "FAIL",
    ("depth_mup", "width"): "PASS",
    ("depth_mup", "depth"): "PASS",
}


def zoo() -> Iterator[tuple[str, Entry]]:
    for family, entries in (("own", own.ENTRIES), ("timm", timm_models.ENTRIES), ("hf", hf.ENTRIES)):
        yield from ((family, entry) for entry in entries)


def planned(entry: Entry, base: Mapping[str, Any], target: Mapping[str, Any], rule: str, mode: str = "fold") -> Plan:
    how = {"inputs": entry.inputs, "postnorm": entry.postnorm, "roles": entry.told}
    return plan(entry.build, base, target, rule=rule, mode=mode, **how)


def axes(entry: Entry, base: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Three sizes of each key that grows, told into width and depth by whether the number of branches grows."""
    found: dict[str, dict[str, list[Any]]] = {"widths": {}, "depths": {}}
    for key, value in base.items():
        if target[key] == value:
            continue
        depths = planned(entry, base, {**base, key: target[key]}, "mup").depths.values()
        deeper = any(before != now for before, now in depths)
        found["depths" if deeper else "widths"][key] = [value, target[key], target[key] * target[key] // value]
    return found


def facts_of_the_plan(entry: Entry) -> dict[str, Any]:
    """What a plan of the zoo's two sizes says, or the sentence with which it is refused."""
    modes = ("fold", "explicit")
    for mode in modes:
        started = time.process_time()
        try:
            made = planned(entry, entry.base, entry.target, "depth_mup", mode)
        except ValueError as error:
            if mode == modes[-1] or 'mode="explicit"' not in str(error):
                return {"refused": f"{type(error).__name__}: {error}"}
            continue
        seconds = time.process_time() - started
        proof = made.verify(entry.build, entry.inputs)
        return {
            "mode": mode,
            "branches": {name: list(depths) for name, depths in made.depths.items()},
            "expected_branches": [list(depths) for depths in entry.depths],
            "plan_seconds": round(seconds, 3),
            "verification_error": proof.error,
            "verification_change": proof.change,
            "hooks": len(made.hooks),
            "warnings": list(made.warnings),
        }
    raise AssertionError("unreachable")


def facts_of(check: Check) -> dict[str, Any]:
    open_lines = [line for line in check.lines if line.outcome in ("FAIL", "CANNOT TELL")]
    return {
        "width": check.along("width"),
        "depth": check.along("depth"),
        "causes": [{"axis": c.axis, "cause": c.name, "blamed": c.blamed} for c in check.causes],
        "judged": sum(line.declared is not None for line in check.lines),
        "open": [
            [
                line.axis,
                line.outcome,
                line.quantity.label,
                None if line.slope is None else [round(v, 3) for v in (line.slope.low, line.slope.high)],
                line.declared,
                line.sentence,
            ]
            for line in sorted(open_lines, key=lambda line: (line.outcome != "FAIL", -abs(line.excess)))[:6]
        ],
    }


def checked(entry: Entry, rule: str, mode: str, base: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    started = time.process_time()
    try:
        check = coord_check(
            entry.build,
            base,
            **axes(entry, base, target),
            inputs=entry.inputs,
            rule=rule,
            mode=mode,
            roles=entry.told,
            postnorm=entry.postnorm,
            seeds=5 if rule == "depth_mup" else 3,
        )
    except (CheckError, ValueError) as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    except Exception as error:  # a bug of ours or of the model: one model must not end the campaign
        found = {"crash": f"{type(error).__name__}: {error}"}
    else:
        found = facts_of(check)
    return {**found, "base": dict(base), "seconds": round(time.process_time() - started, 1)}


def as_expected(rule: str, found: Mapping[str, Any]) -> bool:
    return all(found.get(axis) in (EXPECTED[rule, axis], None) for axis in ("width", "depth")) and "width" in found


def measured(family: str, entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {"family": family, **facts_of_the_plan(entry)}
    if "refused" in facts:
        return facts
    larger = {key: value * value // entry.base[key] for key, value in entry.target.items()}
    for rule in RULES:
        found = checked(entry, rule, facts["mode"], entry.base, entry.target)
        if not as_expected(rule, found):
            found["larger"] = checked(entry, rule, facts["mode"], entry.target, larger)
        facts[rule] = found
    return facts


def verdict(found: Mapping[str, Any]) -> str:
    last = found.get("larger", found)
    if "width" not in last:
        return last.get("error", last.get("crash", ""))[:200]
    return f"width {last['width']}, depth {last['depth']}" + (" (larger)" if "larger" in found else "")


def told(name: str, facts: Mapping[str, Any]) -> None:
    if "refused" in facts:
        print(f"{name}: refused: {facts['refused'][:160]}", flush=True)
        return
    print(f"{name}: {facts['branches']}, plan {facts['plan_seconds']} s, error {facts['verification_error']:.1e}")
    for rule in RULES:
        found = facts[rule]
        last = found.get("larger", found)
        mark = " " if as_expected(rule, last) else "!"
        print(f"  {mark} {rule}: {verdict(found)}; {found['seconds']} s", flush=True)
        if mark == "!":
            for line in last.get("open", []):
                print(f"      {line}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("names", nargs="*")
    arguments.add_argument("--again", action="store_true")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    for family, entry in zoo():
        known = json.loads(FACTS.read_text()) if FACTS.exists() else {}
        name = f"{family}/{entry.name}"
        if asked.names and not {family, entry.name, name} & set(asked.names):
            continue
        if name in known and not asked.again:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known[name] = measured(family, entry)
        FACTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        told(name, known[name])


if __name__ == "__main__":
    main()
