"""isoscale.tune on a small model of a user's: the verdict, the recipe, its files, and that a break changes nothing."""

import json
import tomllib
from pathlib import Path
from typing import Any

import own_model
import pytest
import torch

import isoscale
from isoscale._records.records import Records
from isoscale._tune.recipe import Tuned
from isoscale._tune.toml import dumps

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 4}


def tuned(folder: Path, **changes: Any) -> isoscale.Tuning:
    settings: dict[str, Any] = {
        "build": own_model.build, "data": own_model.real_data, "base": BASE, "target": TARGET, "steps": 30,
        "batch_size": 32, "precision": 0.4, "tolerance": 0.5, "budget": 80, "store": folder / "tune.sqlite",
        "workers": 0, "skip_check": True,
    }  # fmt: skip
    settings |= changes
    return isoscale.tune(settings.pop("build"), settings.pop("data"), **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, isoscale.Tuning, list[str]]:
    folder, lines = tmp_path_factory.mktemp("whole"), []
    return folder, tuned(folder, tell=lines.append), lines


def test_the_loop_ends_with_a_verdict_and_a_recipe_for_the_target(whole: Any) -> None:
    _, found, lines = whole
    assert found.outcome in ("transfers", "cannot tell")
    assert found.recipe is not None
    assert found.exit_code == {"transfers": 0, "cannot tell": 2}[found.outcome]
    recipe = found.recipe
    assert recipe.target == TARGET
    assert recipe.second == {"width": 32, "depth": 4}
    lr = recipe.hyperparameters["lr"]
    assert lr.low is not None
    assert lr.high is not None
    assert lr.low < lr.value < lr.high
    assert recipe.cost["times_cheaper"] > 4
    (row,) = recipe.verification
    assert row["shift_low"] < row["shift_octaves"] < row["shift_high"]
    assert any("expected loss gap at the target" in line for line in str(recipe).splitlines())
    assert [line[:5] for line in lines if line.startswith("[")] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert any("half width" in line for line in lines)


def test_the_recipe_is_applied_in_three_lines_and_says_what_the_plan_does(whole: Any, tmp_path: Path) -> None:
    _, found, _ = whole
    for name in ("recipe.toml", "recipe.json"):
        recipe = isoscale.Recipe.load(found.recipe.save(tmp_path / name))
        assert recipe.content() == found.recipe.content()
        assert isoscale.Plan.load(tmp_path / name).digest == found.recipe.plan.digest
        model = recipe.plan.init_(own_model.build(**recipe.target))
        optimizer = recipe.optimizer(model)
        rates = {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}
        decays = {name: group["weight_decay"] for group in optimizer.param_groups for name in group["param_names"]}
        for row in recipe.groups:
            name_of_one = row["pattern"].replace("*", "0")
            assert rates[name_of_one] == pytest.approx(row["lr"])
            assert decays[name_of_one] == pytest.approx(row["weight_decay"])
            parameter = dict(model.named_parameters())[name_of_one]
            if parameter.numel() >= 100:
                assert float(parameter.detach().square().mean().sqrt()) == pytest.approx(row["rms"], rel=0.2)
        assert sum(row["parameters"] for row in recipe.groups) == len(rates)
        scheduler = recipe.scheduler(optimizer, 10)
        before = [group["lr"] for group in optimizer.param_groups]
        for _ in range(9):
            optimizer.step()
            scheduler.step()
        ratios = {group["lr"] / lr for group, lr in zip(optimizer.param_groups, before)}
        assert max(ratios) == pytest.approx(min(ratios))
        assert max(ratios) < 0.1


def test_a_recipe_that_is_torn_foreign_or_edited_is_refused(whole: Any, tmp_path: Path) -> None:
    _, found, _ = whole
    text = found.recipe.save(tmp_path / "recipe.toml").read_text()
    for name, wrong in (
        ("torn", text[: len(text) // 2]),
        ("foreign", "a = 1\n"),
        ("old", text.replace("on = 1", "on = 0")),
    ):
        (tmp_path / f"{name}.toml").write_text(wrong)
        with pytest.raises(ValueError, match=name):
            isoscale.Recipe.load(tmp_path / f"{name}.toml")
    table = json.loads(found.recipe.save(tmp_path / "recipe.json").read_text())
    table["plan"]["plan"]["settings"][0]["lr"] *= 2
    (tmp_path / "edited.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="changed after it was written"):
        isoscale.Recipe.load(tmp_path / "edited.json")
    with pytest.raises(ValueError, match="not a plan"):
        isoscale.Plan.load(tmp_path / "foreign.toml")


def test_interrupted_after_any_of_its_steps_it_goes_on_as_if_nothing_was(whole: Any, tmp_path: Path) -> None:
    folder, found, lines = whole
    decisions = [line for line in lines if "half width" in line or "look for" in line]
    assert len(decisions) >= 4
    for stop_at in decisions[1::3]:

        def stop(line: str, stop_at: str = stop_at) -> None:
            if line == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tuned(tmp_path, tell=stop)
    again: list[str] = []
    resumed = tuned(tmp_path, tell=again.append)
    assert [line for line in again if "half width" in line or "look for" in line] == decisions
    ours, theirs = resumed.recipe.content(), found.recipe.content()
    assert ours["hyperparameters"] == theirs["hyperparameters"]
    assert ours["verification"] == theirs["verification"]
    one, other = (
        {run.identity: run.metrics for run in Records.from_store(each / "tune.sqlite")} for each in (folder, tmp_path)
    )
    assert one == other


def test_a_rule_that_does_not_transfer_drifts(tmp_path: Path) -> None:
    """The control of everything above: the same loop on plain PyTorch says that the rate moves."""
    found = tuned(tmp_path, rule="sp", second={"width": 64, "depth": 4}, tolerance=0.25)
    assert found.outcome == "drifts"
    assert found.exit_code == 1
    assert found.recipe is not None
    assert found.recipe.verification[0]["shift_high"] < 0


def test_a_failing_check_stops_before_the_search_and_names_the_culprit(tmp_path: Path) -> None:
    """Branches that grow with the width in a way that no shape shows."""
    found = tuned(tmp_path, build=growing, skip_check=False)
    assert (found.outcome, found.recipe, found.exit_code) == ("check failed", None, 1), str(found)
    assert "FAIL" in found.sentence
    assert "blocks" in found.sentence
    assert len(Records.from_store(tmp_path / "tune.sqlite")) == 0


class Grows(own_model.Block):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.down(torch.relu(self.up(self.norm(h)) * self.width / 16))


def growing(width: int, depth: int) -> torch.nn.Module:
    net = own_model.Net(width, depth)
    net.blocks = torch.nn.Sequential(*(Grows(width) for _ in range(depth)))
    return net


def test_several_hyperparameters_each_have_an_interval_and_a_verdict(tmp_path: Path) -> None:
    found = tuned(tmp_path, hyperparameters=("lr", "weight_decay"), budget=30, precision=0.6)
    assert found.recipe is not None
    assert list(found.recipe.hyperparameters) == ["lr", "weight_decay"]
    assert [row["hyperparameter"] for row in found.recipe.verification] == ["lr", "weight_decay"]
    model = found.recipe.plan.init_(own_model.build(**TARGET))
    assert found.recipe.optimizer(model).param_groups[0]["betas"] == (0.9, 0.999)


def test_a_changed_loss_is_another_training_in_the_same_store(whole: Any, tmp_path: Path) -> None:
    folder, found, _ = whole
    count = len(Records.from_store(folder / "tune.sqlite"))
    other = tuned(folder, data=own_model.data, budget=1, steps=5)
    assert len(Records.from_store(folder / "tune.sqlite")) > count
    assert other.recipe.data["sha256"] != found.recipe.data["sha256"]


def test_a_pattern_of_the_recipe_never_means_two_different_layers() -> None:
    plan = isoscale.plan(own_model.unlike_layers, BASE, TARGET, inputs=torch.randn(2, 8))
    recipe = isoscale.Recipe(
        plan, "transfers", "", {"lr": Tuned(0.01, None, None, "")}, {"beta1": 0.9, "beta2": 0.99}, {}
    )
    patterns = [row["pattern"] for row in recipe.groups]
    assert len(set(patterns)) == len(patterns)
    assert {"head.0.weight", "head.2.weight", "blocks.*.down.weight"} <= set(patterns)
    assert {"blocks.*.up.0.weight", "blocks.*.up.1.weight"} <= set(patterns)


@pytest.mark.parametrize("text", ["a\nb", "\n", 'x\r\n\ty """ \\ z\n', "one line \x7f", "\n\x00\x85"])
def test_a_text_of_several_lines_is_written_as_such_and_read_back(text: str) -> None:
    written = dumps({"key": text, "list": [text], text: 1})
    assert tomllib.loads(written) == {"key": text, "list": [text], text: 1}
    assert written.startswith('key = """\n') == ("\n" in text)
