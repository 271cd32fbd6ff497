"""`isoscale plan`, `plan diff` and `check` on a file of the user's own: what they print, write and exit with."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from isoscale.cli import app

MY = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
    def forward(self, h):
        return h + self.b(torch.relu(self.a(self.norm(h))))

def build(d_model, layers):
    blocks = [Block(d_model) for _ in range(layers)]
    return nn.Sequential(nn.Linear(6, d_model), *blocks, nn.LayerNorm(d_model), nn.Linear(d_model, 8))

def batch():
    return torch.randn(32, 6, generator=torch.Generator().manual_seed(0))

def forgetful(plan, model):
    return plan.optimizer(model, lr=1e-3)

six = 6
"""


@pytest.fixture
def my(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / f"{tmp_path.name}.py").write_text(MY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{tmp_path.name}.py"


def isoscale(*arguments: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def planned(my: str, layers: int, *more: str) -> Result:
    sizes = ("--base", "d_model=8,layers=2", "--target", f"d_model=16,layers={layers}")
    return isoscale("plan", f"{my}:build", *sizes, "--inputs", f"{my}:batch", *more)


def test_a_plan_is_printed_explained_saved_and_compared(my: str) -> None:
    shown = planned(my, 4, "--save", "a.json")
    assert shown.exit_code == 0, shown.output
    assert "1.b.weight" in shown.output
    told = planned(my, 4, "--explain", "6.weight").output
    assert "readout" in told
    planned(my, 4, "--save", "same.json")
    planned(my, 8, "--save", "deeper.json")
    same, deeper = isoscale("plan", "diff", "a.json", "same.json"), isoscale("plan-diff", "a.json", "deeper.json")
    assert (same.exit_code, deeper.exit_code) == (0, 1)
    assert "layers" in deeper.output


def test_a_role_is_told_by_glob_and_a_mistake_in_it_too(my: str) -> None:
    assert planned(my, 4, "--role", "*.norm.weight=scalar").output != planned(my, 4).output
    assert "no role" in str(planned(my, 4, "--role", "scalar").exception)
    assert "postnorm" in str(planned(my, 4, "--postnorm", "never").exception)
    assert "plan diff" in isoscale("plan", "--help").output


def test_a_check_passes_and_writes_its_record_and_picture(my: str) -> None:
    sizes = ("--base", "d_model=32,layers=4", "--depths", "layers=4,8,16")
    result = isoscale(
        "check", f"{my}:build", *sizes, "--inputs", f"{my}:batch", "--save", "check.json", "--picture", "picture.json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(Path("check.json").read_text())["outcome"] == "PASS"
    (figure,) = json.loads(Path("picture.json").read_text())
    assert figure["data"]["values"]


def test_a_check_of_forgetful_code_exits_with_1_and_names_the_cause(my: str) -> None:
    result = isoscale(
        *("check", f"{my}:build", "--base", "d_model=32,layers=4", "--depths", "layers=4,8,16", "--seeds", "3"),
        *("--inputs", f"{my}:batch", "--setup", f"{my}:forgetful", "--all"),
    )
    assert result.exit_code == 1, result.output
    assert "own init kept" in result.output
    assert "plan.init_" in result.output
    assert "*.b.weight" in result.output


def test_too_little_to_tell_exits_with_2(my: str) -> None:
    result = isoscale(
        *("check", f"{my}:build", "--base", "d_model=4,layers=1", "--widths", "d_model=4,5,6", "--inputs"),
        *(f"{my}:batch", "--seeds", "2", "--most-seeds", "2", "--steps", "1"),
    )
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("absent.py:build", "name a file"),
        ("{my}:buidl", "did you mean 'build'?; it has Block, build"),
        ("residual_mpl", "did you mean"),
    ],
)
def test_a_model_that_is_not_there_is_told(my: str, place: str, message: str) -> None:
    result = isoscale("plan", place.format(my=my), "--base", "d_model=4", "--target", "d_model=8")
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_keys_are_asked_for_as_the_command_line_writes_them(my: str) -> None:
    sizes = ("--base", "d_model=64,layers=2", "--inputs", f"{my}:batch")
    unnamed = isoscale("check", f"{my}:build", *sizes, "--widths", "64,128,256")
    assert "--widths d_model=64,128,256" in str(unnamed.exception)
    shown = isoscale("check", f"{my}:build", *sizes, "--depths", "layers=2,4,8", "--steps", "1", "--seeds", "2")
    assert "more lines: check.table(), --all" in shown.output


def test_a_builder_that_hands_an_argument_on_is_told_which_it_refuses(my: str) -> None:
    Path(my).write_text(MY + "def handed_on(**config):\n    return build(**config)\n")
    sizes = ("--base", "d_model=8,layers=2,vocab=3", "--target", "d_model=16,layers=2,vocab=3")
    told = isoscale("plan", f"{my}:handed_on", *sizes, "--inputs", f"{my}:batch")
    assert isinstance(told.exception, ValueError)
    assert "cannot be called with d_model=8, layers=2, vocab=3" in str(told.exception)
