"""A planned model trains alike in one process and spread over several: DDP, FSDP1, FSDP2, checkpointed, compiled.

The processes speak gloo on this machine. Losses are compared with those of one process on the whole batch; they differ
by the order of sums alone, relative 1.2e-7 as measured over six float32 steps.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

TOLERANCE = 2e-6
WRAPS = ("ddp", "fsdp1", "fsdp2")
MORE = ("ddp, checkpointed", "fsdp1, checkpointed", "fsdp2, checkpointed", "fsdp2, compiled")


@cache
def found(processes: int) -> dict:
    """What the processes wrote; run once for all tests."""
    folder = mkdtemp()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    worker = [sys.executable, str(Path(__file__).with_name("worker.py"))]
    running = [
        subprocess.Popen(
            [*worker, str(rank), str(processes), folder], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(processes)
    ]
    errors = [process.communicate()[1] for process in running]
    assert all(process.returncode == 0 for process in running), errors[0]
    return json.loads((Path(folder) / f"{processes}.json").read_text())


@pytest.mark.parametrize("mode", ["fold", "explicit"])
@pytest.mark.parametrize("wrap", [*WRAPS, *MORE])
def test_two_processes_train_like_one(wrap: str, mode: str) -> None:
    assert found(2)[f"{mode}, {wrap}"] == pytest.approx(found(1)[mode], rel=TOLERANCE)


@pytest.mark.parametrize("mode", ["fold", "explicit"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_four_processes_train_like_one(wrap: str, mode: str) -> None:
    assert found(4)[f"{mode}, {wrap}"] == pytest.approx(found(1)[mode], rel=TOLERANCE)


def test_another_clipping_is_seen() -> None:
    """Negative control: torch's own clipping, which is the same in no two gauges, leaves the trajectory."""
    right, wrong = found(1)["fold"], found(1)["fold, torch's clipping"]
    assert max(abs(a - b) / a for a, b in zip(right, wrong)) > 10 * TOLERANCE
    fold, explicit = (found(1)[f"{mode}, torch's clipping"] for mode in ("fold", "explicit"))
    assert max(abs(a - b) / a for a, b in zip(fold, explicit)) > 10 * TOLERANCE


def test_initialisation_of_a_sharded_model() -> None:
    facts = found(2)["facts"]
    assert facts["init after fully_shard"] < 1e-7, "drawn alike everywhere, then sharded, then brought to the plan"
    assert facts["filled"], "built on meta, sharded, filled from process 0"
    assert facts["rms"] == pytest.approx([1.0] * len(facts["rms"]), rel=0.1), "drawn after sharding: the planned size"
    assert facts["keys"], "a checkpoint has the plain model's names"
    assert max(facts["summoned"]) < 1e-7


def test_what_cannot_be_served_is_refused_with_the_way_out() -> None:
    facts = found(2)["facts"]
    assert "use_orig_params=True" in facts["flat"]
    assert "before wrapping" in facts["init of fsdp1"]
    assert "meta device" in facts["meta"]
