"""A stack's forward and backward pass: run operation by operation, or replayed from a trace of it.

On small networks most of a step is spent finding out what to compute: module calls, batching rules, the autograd tape.
A trace is the list of kernels that come out of that, and replaying it calls the same kernels in the same order, so the
numbers are the same, bit for bit, and it is free to be traced at any time or never. A trace holds for any number of
members: it is made twice, of two and of three, and every size that differs must be a multiple of that number.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from isoscale._train.kernels import Stackable
from isoscale._train.setup import LossFunction

TRACE_AFTER = 300
"""Steps of one network and shape before it is traced: about what replaying saves in as many is what tracing costs
(both grow with the operations of a step, so their ratio is a number of steps; bench/lockstep.py measures it)."""

Inputs = tuple[list[Tensor], dict[str, Tensor], Tensor, Tensor, list[Tensor]]
"""Parameters and buffers (M, *shape), examples and targets (M, batch, ...) or shared (batch, ...), masks of dropout."""
Outcome = tuple[Tensor, tuple[Tensor, ...]]
"""Every member's loss, (M,), and the gradient of each parameter, (M, *shape)."""


class TraceError(Exception):
    """What was traced does not hold for other numbers of members."""


class Pass:
    """Forward and backward pass of a network with a loss, for stacks of any number of members above one."""

    def __init__(self, skeleton: nn.Module, loss: LossFunction, names: Sequence[str], shared: bool) -> None:
        self.skeleton, self.loss, self.names, self.shared = skeleton, loss, tuple(names), shared
        self.taken = 0
        self.traced: Callable[..., Outcome] | None = None
        self.untraceable = ""  # why, where tracing failed

    def __call__(self, inputs: Inputs, coming: int, check: bool) -> Outcome:
        """One pass. `coming` steps will follow in this stack; `check`: compare a replay with the real thing."""
        self.taken += 1
        if self.traced is None and not self.untraceable and self.taken + coming >= TRACE_AFTER:
            self._trace(inputs)
        if self.traced is None:
            return self.eager(*inputs)
        if not check:
            return self.traced(*inputs)
        buffers = {name: buffer.clone() for name, buffer in inputs[1].items()}
        real = self.eager(*inputs)
        try:
            found = (self.traced(inputs[0], buffers, *inputs[2:]), buffers)
            if not _same(found, (real, inputs[1])):
                raise TraceError("a replay gives other numbers")
        except Exception as error:
            self.traced, self.untraceable = None, f"{type(error).__name__}: {error}"
        return real

    def eager(
        self, parameters: list[Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, masks: list[Tensor]
    ) -> Outcome:
        leaves = [parameter.detach().requires_grad_() for parameter in parameters]

        def one(
            parameters: list[Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, masks: list[Tensor]
        ) -> Tensor:
            drawn = iter(masks)
            with Stackable(lambda like, p: next(drawn)):
                named = dict(zip(self.names, parameters, strict=True))
                return self.loss(functional_call(self.skeleton, (named, buffers), (x,)), y)

        data = None if self.shared else 0
        losses: Tensor = vmap(one, in_dims=(0, 0, data, data, 0))(leaves, buffers, x, y, masks)
        # Members are independent, so the gradient of the sum holds each member's own.
        gradients = torch.autograd.grad(losses.sum(), leaves, materialize_grads=True)
        return losses.detach(), gradients

    def _trace(self, inputs: Inputs) -> None:
        try:
            two, three = (self._traced_for(inputs, members) for members in (2, 3))
            self.traced = _for_any(two, three)
        except Exception as error:  # whatever a user's network does that cannot be traced: it runs as it did
            self.untraceable = f"{type(error).__name__}: {error}"

    def _traced_for(self, inputs: Inputs, members: int) -> fx.GraphModule:
        parameters, buffers, x, y, masks = _of_members(inputs, members, self.shared)

        def flat(*tensors: Tensor) -> list[Tensor]:
            rest = iter(tensors)
            own = [next(rest) for _ in parameters], {name: next(rest) for name in buffers}, next(rest), next(rest)
            losses, gradients = self.eager(*own, list(rest))
            return [losses, *gradients]

        return make_fx(flat)(*parameters, *buffers.values(), x, y, *masks)


def _of_members(inputs: Inputs, members: int, shared: bool) -> Inputs:
    """Inputs of so many members, made of the first."""

    def some(tensor: Tensor) -> Tensor:
        apart = tensor.stride(0)  # rows of parameters are parts of longer ones: keep their distance
        room = tensor.new_empty(members * max(apart, 1)).as_strided((members, *tensor.shape[1:]), tensor.stride())
        return room.copy_(tensor[:1])

    parameters, buffers, x, y, masks = inputs
    examples = (x, y) if shared else (some(x), some(y))
    return [some(p) for p in parameters], {n: some(b) for n, b in buffers.items()}, *examples, [some(m) for m in masks]


def _for_any(two: fx.GraphModule, three: fx.GraphModule) -> Callable[..., Outcome]:
    """The function of (members, *inputs) that both traces are cases of, without steps that compute nothing."""
    graph = fx.Graph()
    members = graph.placeholder("members")
    products: dict[int, fx.Node] = {}
    new: dict[fx.Node, fx.Node] = {}

    def merged(a: Any, b: Any) -> Any:
        if isinstance(a, fx.Node):
            return new[a]
        if isinstance(a, list | tuple):
            if len(a) != len(b):
                raise TraceError("the number of arguments depends on the number of members")
            return type(a)(merged(x, y) for x, y in zip(a, b, strict=True))
        if type(a) is type(b) and a == b:
            return a
        if isinstance(a, int) and isinstance(b, int) and a % 2 == 0 and a // 2 * 3 == b:
            if a // 2 not in products:
                products[a // 2] = graph.call_function(operator.mul, (members, a // 2))
            return products[a // 2]
        raise TraceError(f"{a!r} for two members is {b!r} for three")

    if len(two.graph.nodes) != len(three.graph.nodes):
        raise TraceError("the operations depend on the number of members")
    for a, b in zip(two.graph.nodes, three.graph.nodes, strict=True):
        if (a.op, a.target) != (b.op, b.target) and a.op != "output":
            raise TraceError(f"{a.target} for two members is {b.target} for three")
        if a.op == "get_attr" and not _same(getattr(two, a.target), getattr(three, b.target)):
            raise TraceError("a constant depends on the number of members")
        if _does_nothing(a):
            new[a] = new[a.args[0]]
            continue
        kwargs = {name: merged(value, b.kwargs[name]) for name, value in a.kwargs.items()}
        new[a] = graph.create_node(a.op, a.target, merged(a.args, b.args), kwargs, a.name)
    graph.eliminate_dead_code()
    replay = fx.GraphModule(two, graph).forward

    def call(
        parameters: list[Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, masks: list[Tensor]
    ) -> Outcome:
        losses, *gradients = replay(len(parameters[0]), *parameters, *buffers.values(), x, y, *masks)
        return losses, tuple(gradients)

    return call


def _does_nothing(node: fx.Node) -> bool:
    """Whether the node only gives its first argument under another name."""
    if node.target in _ALIASES:
        return True
    if node.target not in _VIEWS:
        return False
    given = node.args[0]
    assert isinstance(given, fx.Node)
    before, after = given.meta["tensor_meta"], node.meta["tensor_meta"]
    return (before.shape, before.stride) == (after.shape, after.stride)


_ALIASES = {torch.ops.aten.detach.default, torch.ops.aten.alias.default}
_VIEWS = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.expand.default}


def _same(one: Any, other: Any) -> bool:
    """Equal bit for bit, with nothing but the same numbers in the same places (NaN equals NaN)."""
    first, second = tree_leaves(one), tree_leaves(other)
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second, strict=True))
