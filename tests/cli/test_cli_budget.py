"""`isoscale budget`: prices and proxies printed, from a spec alone and from runs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from isoscale._records.records import Records
from isoscale._transfer.simulate import World

SPEC = """
rules = ["depth_mup"]
seeds = 2
[store]
path = "runs.sqlite"
[base]
width = 16
depth = 2
[sizes]
target = { width = 64, depth = 8 }
[optimizers.adamw]
lr = { log2 = [-9, -4], step = 1 }
[train]
steps = 20
"""


def test_a_sweep_is_priced_and_a_proxy_proposed(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    optima = {(w, d): -6.0 - 4 / w + 0.2 / d for w, d in ((16, 2), (32, 2), (64, 2), (16, 4), (16, 8))}
    Records(tuple(World("quadratic").runs(optima, rng=np.random.default_rng(1)))).to_csv(tmp_path / "runs.csv")
    command = [sys.executable, "-m", "isoscale", "budget", "spec.toml", "--runs", "runs.csv"]
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    assert "16x2" in found.stdout
    assert "together 24 runs" in found.stdout
    assert "proxies for 64x8 with 6 values and 20 steps" in found.stdout
    assert "From optima of depth_mup, adamw at 16x2, 16x4, 16x8, 32x2, 64x2" in found.stdout
    absent = subprocess.run([*command[:-1], "no.csv"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert absent.returncode == 70
    assert "no such file" in absent.stderr
    assert not (tmp_path / "runs.sqlite").exists(), "nothing was run"
