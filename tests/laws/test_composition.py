"""The composition law: planning from a to b and on from b to c is planning from a to c."""

import functools

import pytest
import torch
from torch import Tensor, nn

from isoscale._plan import plan
from isoscale._plan.compose import compose
from isoscale._plan.facts import Structure
from isoscale._plan.structure import describe
from isoscale._rules import RULES, get_rule

A, B, C = {"width": 8, "depth": 2}, {"width": 24, "depth": 3}, {"width": 48, "depth": 12}


class Network(nn.Module):
    """Every weight starts at +-0.3, so that a measured rms has no sampling noise."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                for parameter in module.parameters():
                    with torch.no_grad():
                        parameter.copy_(0.3 * torch.randint(0, 2, parameter.shape).mul(2).sub(1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(self.norm(h))

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.linspace(-1, 1, 20).reshape(4, 5),)


@functools.cache
def structure_of(base: tuple[int, int], target: tuple[int, int]) -> Structure:
    return describe(Network, sized(base), sized(target))


def sized(pair: tuple[int, int]) -> dict[str, int]:
    return {"width": pair[0], "depth": pair[1]}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "adamw_independent"])
@pytest.mark.parametrize("rule", RULES)
def test_ratios_multiply(rule: str, optimizer: str) -> None:
    a, b, c = tuple(A.values()), tuple(B.values()), tuple(C.values())
    first, second, direct = (
        compose(structure_of(*pair), get_rule(rule), base=A, target=C, optimizer=optimizer)
        for pair in ((a, b), (b, c), (a, c))
    )
    for name in (setting.name for setting in direct.settings):
        # Any layer of b stands for its kind: settings do not depend on a layer's number.
        middle = name if name in {s.name for s in first.settings} else name.replace(name.split(".")[1], "0", 1)
        for what in ("multiplier", "std", "lr", "eps", "decay", "metric"):
            step_by_step = getattr(first[middle], what) * getattr(second[name], what)
            assert step_by_step == pytest.approx(getattr(direct[name], what), rel=1e-12), (name, what)


def test_init_composes() -> None:
    """From b onwards the base model is the one that the first plan made."""
    onward = plan(Network, A, B)

    def planned_from_a(width: int, depth: int) -> nn.Module:
        model = Network(width, depth)
        return onward.init_(model) if {"width": width, "depth": depth} == B else model

    torch.manual_seed(0)
    stepwise = plan(planned_from_a, B, C).init_(Network(**C))
    torch.manual_seed(0)
    direct = plan(Network, A, C).init_(Network(**C))
    torch.manual_seed(0)
    untouched = Network(**C)
    for name, parameter in direct.named_parameters():
        assert torch.allclose(stepwise.get_parameter(name), parameter, rtol=2e-6), name
    assert not torch.allclose(untouched.head.weight, direct.head.weight, rtol=0.5)


def test_a_wrong_ratio_does_not_compose() -> None:
    """Negative control: mixing rules on the way is seen."""
    first, second, direct = plan(Network, A, B, rule="mup"), plan(Network, B, C), plan(Network, A, C)
    name = "blocks.0.3.weight"
    assert first[name].std * second[name].std != pytest.approx(direct[name].std, rel=0.1)
