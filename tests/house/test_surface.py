"""The surface is frozen: a name or an option that appears or goes does so by an edit of this file."""

import subprocess
import sys

import pytest
import typer.main

import isoscale
from isoscale.cli import app

NAMES = [
    "Axis", "Check", "Curve", "Plan", "Recipe", "Records", "Rule", "Run", "Span", "Store", "Tuning", "UpdateScale",
    "Verdict", "coord_check", "export", "get_rule", "judge", "plan", "report_facts", "sample", "search", "sweep",
    "train", "train_batch", "tune", "write_report",
]  # fmt: skip

COMMANDS = {
    "cite": [],
    "check": [
        "base", "depths", "everything", "inputs", "loss", "lr", "mode", "model", "most_seeds", "optimizer", "picture",
        "postnorm", "roles", "rule", "save", "seeds", "setup", "steps", "targets", "widths",
    ],
    "plan make": [
        "base", "explain", "inputs", "mode", "model", "optimizer", "postnorm", "roles", "rule", "save", "target",
    ],
    "plan diff": ["first", "second"],
    "plan-diff": ["first", "second"],
    "demo": ["folder", "output", "workers"],
    "init": ["path"],
    "budget": ["metric", "regret", "rule", "runs", "spec", "workers"],
    "tune": [
        "base", "batch_size", "budget", "data", "hold", "hp", "loss", "metric", "model", "optimizer", "output",
        "precision", "regret", "rule", "schedule", "second", "skip_check", "start", "steps", "store", "target",
        "tolerance", "warmup", "workers",
    ],
    "sweep": [
        "address", "batch", "cpus", "executor", "gpus", "in_flight", "pin", "retry", "spec", "workers", "working_dir",
    ],
    "show": ["column", "constant", "live", "port", "source"],
    "export": ["every", "follow", "metric", "online", "output", "project", "source", "to"],
    "verify": ["column", "constant", "hyperparameter", "metric", "optimizer", "rule", "source", "tolerance"],
    "report": [
        "check", "column", "constant", "hyperparameter", "metric", "optimizer", "output", "rule", "source", "title",
    ],
    "rules list": [],
    "rules show": ["depth", "folded", "optimizer", "rule", "width"],
    "rules compare": ["a", "b", "optimizer"],
    "theory predict": ["as_json", "device", "metric", "optimizer", "output", "rule", "spec", "width"],
    "theory regime": [
        "as_json", "depth", "depth_exponent", "embedding", "hidden", "input_std", "multiplier", "output_std", "proxy",
        "steps",
    ],
    "reproduce": ["cache", "data", "figure", "folder", "paper", "preset", "record", "workers"],
}  # fmt: skip


def commands() -> dict[str, list[str]]:
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        for path, each in {f"{name} {k}": v for k, v in getattr(command, "commands", {}).items()}.items() or [
            (name, command)
        ]:
            found[path] = sorted(option.name for option in each.params)
    return found


def test_public_names() -> None:
    assert sorted(isoscale.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(isoscale, name).__doc__


def test_commands_and_their_options() -> None:
    assert commands() == COMMANDS


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="it has"):
        isoscale.plam  # noqa: B018


def test_importing_the_package_and_its_command_line_loads_no_torch() -> None:
    code = "import sys, isoscale, isoscale.cli; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
    heavy = "import sys, isoscale; assert not {'torch', 'numpy', 'scipy'} & set(sys.modules), 'numerics were imported'"
    subprocess.run([sys.executable, "-c", heavy], check=True)
