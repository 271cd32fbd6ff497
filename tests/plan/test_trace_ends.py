"""Every trace ends: in a graph, or in a sentence."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from isoscale._plan import trace as room
from isoscale._plan.structure import StructureError
from isoscale._plan.trace import computed, flatten
from tests.plan.test_trace import graph_of

BY_HAND = """
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from isoscale._plan.trace import trace

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(1, 3, 3)
    def forward(self, x):
        x = x[:, None]
        x.requires_grad = True
        return self.layer(x)

print(len(trace(Model(), torch.ones(2, 9), FakeTensorMode(allow_non_fake_inputs=True))))
"""


def test_a_view_that_is_told_to_require_grad_does_not_wait_for_autograds_lock() -> None:
    """In a process of its own: where this fails it never returns, and nothing in the process can interrupt it."""
    done = subprocess.run([sys.executable, "-c", BY_HAND], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) > 3


def test_what_autograd_made_is_told_from_what_was_made_a_leaf() -> None:
    weight, data = torch.ones(3, requires_grad=True), torch.ones(3)
    view = data[1:]
    view.requires_grad_()
    assert [computed(t) for t in (weight * 2, weight[1:], (weight * 2)[1:])] == [True] * 3
    assert [computed(t) for t in (weight, data, data[1:], view, weight.detach().requires_grad_())] == [False] * 5


@pytest.mark.parametrize("turns", [3, None])
def test_a_loop_that_does_not_end_is_stopped_with_a_sentence(monkeypatch, turns: int | None) -> None:
    monkeypatch.setattr(room, "MOST_OPS", 200)

    def function(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        count = 0
        while turns is None or count < turns:
            x, count = layer(x), count + 1
        return x

    if turns is not None:
        assert sum(node.op == "addmm" for node in graph_of(function).nodes) == turns
        return
    with pytest.raises(StructureError, match=r"more than 200 ops and was stopped in layer: .* smaller example batch"):
        graph_of(function)


def test_a_result_that_holds_itself_is_read_once() -> None:
    class Result:
        def __init__(self) -> None:
            self.value, self.again = torch.ones(2), [self]

    result = Result()
    assert [value is result.value for value in flatten({"one": result, "two": [result]})] == [True, True]
