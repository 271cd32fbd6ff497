"""The paper's figures: the smoke preset gives the recorded facts again, and every recorded preset can be drawn."""

import dataclasses
import json
import math
from typing import Any

import pytest

from papers.chizat2025 import FIGURES
from papers.chizat2025.record import GOLDEN, from_json, golden, to_json


def leaves(value: Any) -> list[Any]:
    return [x for item in value for x in leaves(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", FIGURES)
def test_the_facts_come_out_again(name: str) -> None:
    seen: list[tuple[int, int]] = []
    found = FIGURES[name].facts("smoke", progress=lambda done, of: seen.append((done, of)))
    assert seen
    assert seen[-1][0] == seen[-1][1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.steps = 0
    now, recorded = to_json(found), golden(name, "smoke")
    assert now.keys() == recorded.keys()
    for field, old in recorded.items():
        for a, b in zip(leaves(now[field]), leaves(old), strict=True):
            # Threads and vector units order float32 sums differently; a coefficient at its bound of 0 is noise.
            assert a == b or math.isclose(a, b, rel_tol=2e-2, abs_tol=2e-3), field


@pytest.mark.parametrize("name", FIGURES)
def test_recorded_facts_can_be_drawn(name: str) -> None:
    for preset in json.loads((GOLDEN / f"{name}.json").read_text()):
        facts = from_json(FIGURES[name].Facts, golden(name, preset))
        figure = FIGURES[name].draw(facts)
        assert figure.axes
        figure.canvas.draw()


@pytest.mark.parametrize("name", FIGURES)
def test_presets_are_named_alike(name: str) -> None:
    assert list(FIGURES[name].PRESETS) == ["smoke", "cpu", "full"]
