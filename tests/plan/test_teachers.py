"""Parts of a model that no gradient reaches are said, with what to do about them."""

import pytest
import torch
from torch import nn

from isoscale import plan
from isoscale._plan.structure import describe
from tests.plan.test_patterns import BASE, TARGET, VECTORS, branches, depths


class Encoder(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, width), nn.Linear(width, 3)
        self.blocks = branches(width, depth)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class Taught(nn.Module):
    """A student, and a teacher whose output is cut off in one of three ways, or not at all (two students)."""

    def __init__(self, width: int, depth: int, cut: str) -> None:
        super().__init__()
        self.cut, self.student, self.teacher = cut, Encoder(width, depth), Encoder(width, depth)
        self.teacher.requires_grad_(cut != "frozen")

    def forward(self, x):
        if self.cut == "no_grad":
            with torch.no_grad():
                aim = self.teacher(x + 1)
        else:
            aim = self.teacher(x + 1)
        return (self.student(x) - (aim.detach() if self.cut == "detach" else aim)).square().mean()


@pytest.mark.parametrize("cut", ["no_grad", "detach", "nothing", "frozen"])
def test_a_teacher_without_gradient_is_said(cut: str) -> None:
    found = describe(lambda width, depth: Taught(width, depth, cut), BASE, TARGET, VECTORS)
    said = [warning for warning in found.warnings if "no gradient reaches" in warning]
    if cut in {"nothing", "frozen"}:  # a frozen layer still passes gradient on, and its copies count as layers
        assert (said, depths(found)) == ([], ((2, 4), (2, 4)))
        return
    assert depths(found) == (((2, 4),) if cut == "no_grad" else ((2, 4), (2, 4)))
    assert len(said) == 1
    assert "teacher.stem.weight" in said[0]
    assert "student." not in said[0]
    assert "copy the student's weights into them again" in said[0]


def test_the_plan_carries_the_sentence() -> None:
    made = plan(lambda width, depth: Taught(width, depth, "no_grad"), BASE, TARGET, inputs=VECTORS)
    assert any("no gradient reaches teacher" in warning for warning in made.warnings)
