"""One real forward pass, analysed, with each node's place in the order of execution: what measurements hang on to."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from isoscale._plan.analysis import Analysis
from isoscale._plan.branches import find_residuals
from isoscale._plan.proof import CountingRecorder
from isoscale._plan.trace import record


@dataclass(frozen=True)
class Recorded:
    """The graph of a forward pass with its outermost streams; `order[node]` counts the ops that ran before the node's.

    A `TorchDispatchMode` that counts its calls during a later pass meets the same op at the same count, as long as the
    model's code does not follow the values of tensors.
    """

    analysis: Analysis
    order: tuple[int, ...]


def recorded(model: nn.Module, inputs: Any) -> Recorded:
    """Run the model once on the batch as it is (mode, buffers and random numbers are the caller's business)."""
    recorder = CountingRecorder()
    graph = record(model, inputs, recorder)
    residuals = find_residuals(graph)
    return Recorded(Analysis(graph, residuals, residuals.outermost()), tuple(recorder.order))
