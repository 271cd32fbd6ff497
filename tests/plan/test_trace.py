"""The recorder: what becomes one node, what stays one stream, what is cut."""

import functools
import warnings

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from isoscale._plan.execution import sweep_caches
from isoscale._plan.graph import MERGE, Graph
from isoscale._plan.sizes import build_light, trace_size
from isoscale._plan.structure import StructureError
from isoscale._plan.trace import overlap, record, trace


class Run(nn.Module):
    """One linear layer and any function around it."""

    def __init__(self, function) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.layer, x)


def graph_of(function, x=None) -> Graph:
    x = torch.ones(3, 4) if x is None else x
    return trace(Run(function), x, FakeTensorMode(allow_non_fake_inputs=True))


def only(graph: Graph, op: str):
    (node,) = [node for node in graph.nodes if node.op == op]
    return node


def sources(graph: Graph, node) -> set[str]:
    return {graph[index].op for _, index in node.inputs}


def test_names_modules_and_data_dependence() -> None:
    graph = graph_of(lambda layer, x: torch.relu(layer(x)))
    product = only(graph, "addmm")
    assert product.module == "layer"
    assert product.data
    assert not only(graph, "t").data
    assert only(graph, "relu").module == ""
    assert graph.names(graph.parametric[product.index]) == ("layer.weight", "layer.bias")


def test_fake_and_real_traces_agree() -> None:
    def function(layer, x):
        return torch.softmax(layer(x).view(3, 2, 2).transpose(0, 1), -1)

    real = record(Run(function), torch.ones(3, 4))
    assert [(n.op, n.shape, n.inputs) for n in graph_of(function).nodes] == [
        (n.op, n.shape, n.inputs) for n in real.nodes
    ]


def test_a_view_made_before_a_write_reads_the_write() -> None:
    def function(layer, x):
        y = layer(x)
        view = y.view(-1)
        y.add_(1.0)
        return view * 2

    graph = graph_of(function)
    assert graph.is_ancestor(only(graph, "add").index, only(graph, "mul").index)


def test_a_view_of_other_columns_does_not_read_the_write() -> None:
    def function(layer, x):
        y = torch.cat([x, x], -1)
        left, right = y[:, :4], y[:, 4:]
        left.mul_(3.0)
        return layer(right).exp() + left

    graph = graph_of(function)
    assert not graph.is_ancestor(only(graph, "mul").index, only(graph, "exp").index)
    assert graph.is_ancestor(only(graph, "mul").index, only(graph, "add").index)


def test_a_partial_write_is_merged_into_the_whole() -> None:
    def function(layer, x):
        y = x.clone()
        y[:1] = layer(x)[:1]
        return y.exp()

    graph = graph_of(function)
    assert sources(graph, only(graph, "exp")) == {MERGE}
    assert graph.is_ancestor(only(graph, "addmm").index, only(graph, "exp").index)


def test_gradient_does_not_flow_through_detach_and_no_grad() -> None:
    def function(layer, x):
        with torch.no_grad():
            quiet = layer(x).exp()
        return layer(x).detach().sin() + quiet.cos()

    graph = graph_of(function)
    weight = graph.parameters["layer.weight"]
    assert not graph.is_ancestor(weight, only(graph, "sin").index)
    assert not graph.is_ancestor(weight, only(graph, "cos").index)
    assert graph.parametric[only(graph, "sin").index] >> weight & 1


def test_detaching_does_not_cut_the_original() -> None:
    def function(layer, x):
        y = layer(x)
        y.detach().sum()
        return y.sin()

    graph = graph_of(function)
    assert graph.is_ancestor(graph.parameters["layer.weight"], only(graph, "sin").index)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_gradient_flows_through_custom_functions_and_leaves_torch_as_it_was() -> None:
    before = torch.autograd.Function.__dict__["apply"]
    graph = graph_of(lambda layer, x: Double.apply(layer(x)))
    assert graph.is_ancestor(graph.parameters["layer.weight"], only(graph, "mul").index)
    assert torch.autograd.Function.__dict__["apply"] is before


def test_fast_path_and_random_state_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.random.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    trace_size(lambda: Run(lambda layer, x: torch.dropout(layer(x), 0.5, True)), {}, torch.ones(2, 4), mode)
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_tied_weights_stay_tied_without_memory() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.two.weight = self.one.weight
            self.rates = torch.linspace(0, 1, 3).tolist()  # a number read while building

        def forward(self, x):
            return self.two(self.one(x))

    model = build_light(Tied, {})
    assert model.one.weight.device.type == "meta"
    assert model.one.weight is model.two.weight
    graph = trace(model, torch.ones(2, 4), FakeTensorMode(allow_non_fake_inputs=True))
    assert graph.aliases == {"one.weight": ("two.weight",)}


def test_values_of_tensors_in_control_flow_fall_back_to_real_tensors() -> None:
    def function(layer, x):
        return layer(x) if float(x.sum()) > 0 else x

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with pytest.raises(Exception, match=r"item|_local_scalar_dense"):
        graph_of(function)
    graph = trace_size(lambda: Run(function), {}, torch.ones(2, 4), mode)
    assert [node.op for node in graph.nodes].count("addmm") == 1


def test_no_fake_tensor_is_left_in_a_cache() -> None:
    @functools.lru_cache
    def table(length: int) -> torch.Tensor:
        return torch.arange(length).float()

    graph_of(lambda layer, x: layer(x) + table(4))
    assert isinstance(table(4), FakeTensor)
    sweep_caches()
    assert not isinstance(table(4), FakeTensor)


def test_a_model_that_ignores_its_inputs_is_refused() -> None:
    with pytest.raises(StructureError, match="depends on its inputs"):
        graph_of(lambda layer, x: layer.weight.sum())


def test_a_failing_forward_says_at_which_size() -> None:
    def function(layer, x):
        raise RuntimeError("no such thing")

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with pytest.raises(StructureError, match=r"width=7.*no such thing"):
        trace_size(lambda width: Run(function), {"width": 7}, torch.ones(2, 4), mode)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, (2, 3), (3, 1)), (0, (2, 3), (3, 1)), True),
        ((0, (2,), (6,)), (1, (2,), (6,)), False),
        ((0, (4, 2), (4, 1)), (2, (4, 2), (4, 1)), False),
        ((0, (4, 3), (4, 1)), (2, (4, 2), (4, 1)), True),
        ((0, (3,), (1,)), (3, (3,), (1,)), False),
        ((0, (6,), (1,)), (2, (2,), (2,)), True),
    ],
)
def test_overlap_is_exact_for_slices(first, second, expected) -> None:
    memory = torch.arange(64)
    shared = set(memory.as_strided(*first[1:], first[0]).flatten().tolist()) & set(
        memory.as_strided(*second[1:], second[0]).flatten().tolist()
    )
    assert bool(shared) == expected
    assert overlap(first, second) == expected


def test_scripted_functions_pass_gradient_however_often_they_ran() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(cubed)
    for _ in range(4):
        graph = graph_of(lambda layer, x: scripted(layer(x)).sin())
        assert graph.is_ancestor(graph.parameters["layer.weight"], only(graph, "sin").index)
        scripted(torch.ones(2, requires_grad=True)).sum().backward()


def cubed(x: torch.Tensor) -> torch.Tensor:
    return x * x * x
