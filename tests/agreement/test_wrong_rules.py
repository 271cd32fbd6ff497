"""Networks trained under a wrong rule are called `drifts` by `isoscale verify`; under the right one they are not."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoscale import Records, train_batch
from isoscale._rules import ONE, RULES, Weight, get_rule, named
from isoscale.cli import app

FORGOTTEN_READOUT = replace(get_rule("depth_mup"), name="forgotten_readout", output=Weight(ONE, ONE), width="unstable")
"""The readout keeps the base model's entries at every width: its 1/width is forgotten."""
FORGOTTEN_BRANCH = replace(get_rule("mup"), name="forgotten_branch")
"""depth_mup with the branches' l^-1/2 and their rates' powers of l left out."""


def verify(
    folder: Path,
    rule: str,
    model: str,
    sizes: Iterable[tuple[int, int]],
    base: tuple[int, int],
    log2_lr: Iterable[float],
) -> int:
    configs = [
        {
            "model": model, "data": "digits", "rule": rule, "optimizer": "adamw", "width": width, "depth": depth,
            "base_width": base[0], "base_depth": base[1], "seed": seed, "lr": 2.0**x, "steps": 50, "batch_size": 128,
            "schedule": "cosine", "beta": 0.5, "evaluations": 1,
        }
        for width, depth in sizes for x in log2_lr for seed in range(3)
    ]  # fmt: skip
    Records(tuple(train_batch(configs))).to_csv(folder / "runs.csv")
    return CliRunner().invoke(app, ["verify", str(folder / "runs.csv")]).exit_code


@pytest.fixture(autouse=True)
def _wrong_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {rule.name: rule for rule in (FORGOTTEN_READOUT, FORGOTTEN_BRANCH)}
    monkeypatch.setattr(named, "RULES", {**RULES, **wrong})


DEPTHS = [(16, depth) for depth in (2, 4, 8, 16, 32)]
WIDTHS = [(width, 2) for width in (16, 32, 64, 128)]


def halves(low: float, high: float) -> list[float]:
    return [low + step / 2 for step in range(round(2 * (high - low)) + 1)]


def test_a_forgotten_branch_scale_drifts_with_depth(tmp_path: Path) -> None:
    assert verify(tmp_path, "forgotten_branch", "residual_mlp", DEPTHS, (16, 2), halves(-10, -2)) == 1


def test_the_branch_scale_transfers_over_depth(tmp_path: Path) -> None:
    assert verify(tmp_path, "depth_mup", "residual_mlp", DEPTHS, (16, 2), halves(-8, -2)) == 0


def test_a_forgotten_readout_multiplier_drifts_with_width(tmp_path: Path) -> None:
    assert verify(tmp_path, "forgotten_readout", "residual_mlp", WIDTHS, (16, 2), halves(-10, -2)) == 1
