"""One forward pass, recorded: every op below autograd becomes a node of a small graph.

Tensors are recognised by the storage they live in, not by their Python object: so an in-place op, a view of it and
the tensor it came from stay one and the same stream. Models run under fake tensors (shapes only, no memory).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from isoscale._plan.execution import custom_functions, named_modules, plain_execution
from isoscale._plan.facts import StructureError
from isoscale._plan.graph import CONSTANT, INPUT, MERGE, PARAMETER, Graph, Node, Ref, parts_read_back, references

Inputs = Any
"""An example batch: a tensor, a tuple of positional or a mapping of keyword arguments (nested as the model likes)."""

NO_GRADIENT = {"detach", "detach_", "argmax", "argmin", "sign", "round", "floor", "ceil", "bernoulli", "multinomial"}
ZERO_FACTORIES = {"zeros", "zeros_like", "new_zeros"}
ONE_FACTORIES = {"ones", "ones_like", "new_ones"}
FULL_FACTORIES = {"full", "full_like", "new_full", "fill"}
SHAPE_ONLY = {"zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like"} | {
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"
}  # fmt: skip
GROUPED = getattr(getattr(torch.ops.aten, "_grouped_mm", None), "default", None)
MOST_OPS = 100_000
"""Ops after which a forward pass counts as one that does not end; its masks of ancestors would fill gigabytes."""

Geometry = tuple[int, tuple[int, ...], tuple[int, ...]]


class Storage:
    """What is known of one block of memory: the node of each view, and the writes that came after it."""

    def __init__(self, keep: Any) -> None:
        self.keep = keep  # addresses are reused when a storage dies
        self.views: dict[Geometry, tuple[int, int]] = {}
        self.detached: dict[Geometry, tuple[int, int]] = {}
        self.writes: list[tuple[int, Geometry]] = []


def computed(tensor: Tensor) -> bool:
    """Whether autograd made the tensor from others that carry gradient: it requires grad and is no leaf.

    A view of what requires no grad was told to by hand. That is asked first: `is_leaf` of such a view waits for a lock
    that autograd holds while it calls us.
    """
    if not tensor.requires_grad:
        return False
    base = tensor._base
    return not tensor.is_leaf if base is None else base.requires_grad


def overlap(first: Geometry, second: Geometry) -> bool:
    """False only if two views of one storage surely share no element (slices of one axis, or separate ranges)."""
    (o1, size1, stride1), (o2, size2, stride2) = first, second
    end1 = o1 + sum((n - 1) * s for n, s in zip(size1, stride1))
    end2 = o2 + sum((n - 1) * s for n, s in zip(size2, stride2))
    if end1 < o2 or end2 < o1:
        return False
    if (o2 - o1) % (math.gcd(*stride1, *stride2) or 1):
        return False
    if stride1 != stride2 or len(stride1) == 0:
        return True
    delta, axes = o2 - o1, sorted(range(len(stride1)), key=lambda axis: -stride1[axis])
    for axis in axes:
        if stride1[axis] <= 0:
            return True
        steps = int(delta / stride1[axis])
        delta -= steps * stride1[axis]
        if steps >= size1[axis] or -steps >= size2[axis]:
            return False
    return True


class Recorder(TorchDispatchMode):
    """Turns aten calls into nodes while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.storages: dict[int, Storage] = {}
        self.modules: list[str] = []
        self.calls: list[tuple[str, int]] = []
        self.quiet: set[int] = set()  # cut from what they were made of
        self.rooted: list[bool] = []  # whether gradient flows from a node to a parameter
        self.custom = 0  # inside how many custom autograd functions (their forward runs without grad mode)

    # -- reading and writing storages
    def storage(self, tensor: Tensor) -> Storage:
        block = tensor.untyped_storage()
        if block._cdata not in self.storages:
            self.storages[block._cdata] = Storage(block)
        return self.storages[block._cdata]

    @staticmethod
    def geometry(tensor: Tensor) -> Geometry:
        return int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride())

    def read(self, tensor: Tensor) -> int:
        """The node that made what `tensor` holds now."""
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # inside of vmap
            tensor = torch._C._functorch.get_unwrapped(tensor)
        storage, place = self.storage(tensor), self.geometry(tensor)
        version = len(storage.writes)
        cut = place in storage.detached and not tensor.requires_grad and torch.is_grad_enabled()
        known = storage.detached.get(place) if cut else storage.views.get(place)
        if known is not None and not self.rooted[known[0]] and computed(tensor) and torch.is_grad_enabled():
            self.reconnect(known[0])
        if known is not None and (known[1] == version or not self._written(storage, place, known[1])):
            return known[0]
        if known is None and not storage.views:
            return self.leaf(tensor)
        parts = [] if known is None else [known[0]]
        writes = self._written(storage, place, 0 if known is None else known[1])
        for node, where in writes:
            if where[1] and tuple(sorted(where[1])) == tuple(sorted(place[1])) and where[0] == place[0]:
                parts = []  # the same elements, all written anew
            parts.append(node)
        if not parts:
            parts = [max(node for node, _ in storage.views.values())]
        node = parts[0] if len(parts) == 1 and self.nodes[parts[0]].shape == place[1] else self.merge(parts, place[1])
        storage.views[place] = (node, version)
        return node

    def reconnect(self, index: int) -> None:
        """Gradient flows after all: a tensor that requires grad with no differentiable way back to a parameter.

        Scripted functions detach their inputs and pass gradient by a node of their own.
        """
        todo = [index]
        while todo:
            node = self.nodes[todo.pop()]
            if not self.rooted[node.index]:
                self.rooted[node.index] = True
                if node.index in self.quiet:
                    self.nodes[node.index] = replace(node, differentiable=True)
                todo.extend(source for _, source in node.inputs)

    @staticmethod
    def _written(storage: Storage, place: Geometry, since: int) -> list[tuple[int, Geometry]]:
        return [write for write in storage.writes[since:] if overlap(write[1], place)]

    def leaf(self, tensor: Tensor, op: str = CONSTANT, parameter: str | None = None) -> int:
        storage, place = self.storage(tensor), self.geometry(tensor)
        value = None
        if op == CONSTANT and not isinstance(tensor, torch._subclasses.FakeTensor) and tensor.device.type != "meta":
            value = constant_value(tensor)
        module = parameter.rpartition(".")[0] if parameter else self.where
        flows = tensor.is_floating_point() or tensor.is_complex()
        node = self.add(op, {}, tensor, module, op == INPUT, flows, parameter=parameter, value=value)
        storage.views[place] = (node, len(storage.writes))
        return node

    def merge(self, parts: list[int], shape: tuple[int, ...]) -> int:
        arguments = {"tensors": [Ref(part) for part in parts]}
        inputs = tuple(("tensors", part) for part in parts)
        data = any(self.nodes[part].data for part in parts)
        node = Node(len(self.nodes), MERGE, arguments, shape, self.where, data, True, inputs=inputs)
        self.nodes.append(node)
        self.rooted.append(any(self.rooted[part] for part in parts))
        return node.index

    @property
    def where(self) -> str:
        return self.modules[-1] if self.modules else ""

    def add(
        self, op: str, arguments: Mapping[str, Any], tensor: Tensor, module: str, data: bool, flows: bool, **more: Any
    ) -> int:
        inputs = tuple((name, node) for name, value in arguments.items() for node in references(value))
        node = Node(len(self.nodes), op, arguments, tuple(tensor.shape), module, data, flows, inputs=inputs, **more)
        self.nodes.append(node)
        self.rooted.append(op == PARAMETER or (flows and any(self.rooted[source] for _, source in inputs)))
        return node.index

    # -- the dispatch
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # asks for a device; may come from inside of autograd, with its locks held
            return func(*args, **kwargs)
        if len(self.nodes) > MOST_OPS:
            raise StructureError(
                f"the forward pass runs more than {MOST_OPS:,} ops and "
                f"was stopped in {self.where or 'the model itself'}: "
                "what is wanted of it is which layers follow one another. Pass a smaller example batch (a shorter "
                "sequence, fewer steps of a loop), or see that its loop ends"
            )
        arguments, written = self.bind(func, args, kwargs)
        if func is GROUPED and isinstance(args[0], torch._subclasses.FakeTensor) and args[1].dim() == 3:
            out = args[0].new_empty(*args[0].shape[:-1], args[1].shape[-1])  # its own shape rule asks for bfloat16
        else:
            out = func(*args, **kwargs)
        name = func._schema.name.split("::")[-1]
        if name.endswith("_") and not name.endswith("__") and written:
            name = name[:-1]
        self.record(name, arguments, written, out)
        return out

    def bind(self, func: Any, args: Any, kwargs: Any) -> tuple[dict[str, Any], list[Tensor]]:
        arguments: dict[str, Any] = {}
        written: list[Tensor] = []
        for position, argument in enumerate(func._schema.arguments):
            if position < len(args):
                value = args[position]
            elif argument.name in kwargs:
                value = kwargs[argument.name]
            else:
                continue
            arguments[argument.name] = self.resolve(value)
            if argument.alias_info is not None and argument.alias_info.is_write:
                written.extend(v for v in (value if isinstance(value, (list, tuple)) else [value]) if v is not None)
        return arguments, written

    def resolve(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Ref(self.read(value))
        if isinstance(value, (list, tuple)):
            return [self.resolve(item) for item in value]
        return value

    def record(self, name: str, arguments: dict[str, Any], written: list[Tensor], out: Any) -> None:
        if name in SHAPE_ONLY:
            arguments = {key: value for key, value in arguments.items() if not isinstance(value, Ref)}
        data = any(self.nodes[node].data for value in arguments.values() for node in references(value))
        flows = name not in NO_GRADIENT and (torch.is_grad_enabled() or self.custom > 0)
        value = factory_value(name, arguments, self.nodes)
        tensors = [item for item in flatten(out) if isinstance(item, Tensor)]
        for output, tensor in enumerate(tensors):
            keeps = flows and (tensor.is_floating_point() or tensor.is_complex())
            node = self.add(name, arguments, tensor, self.where, data, keeps, output=output, value=value)
            if not flows and (name not in NO_GRADIENT or name == "detach") and tensor.is_floating_point():
                self.quiet.add(node)
            self.place(tensor, node, any(tensor is target for target in written), name)
        for target in written:
            if not any(tensor is target for tensor in tensors):  # a buffer updated on the side, an `out=`
                node = self.add(name, arguments, target, self.where, data, flows, output=-1)
                self.place(target, node, True, name)

    def place(self, tensor: Tensor, node: int, written: bool, name: str) -> None:
        storage, place = self.storage(tensor), self.geometry(tensor)
        if written:
            storage.writes.append((node, place))
        if name == "detach" and place in storage.views:
            storage.detached[place] = (node, len(storage.writes))
        else:
            storage.views[place] = (node, len(storage.writes))


def flatten(value: Any, above: tuple[int, ...] = ()) -> Iterator[Any]:
    """Leaves of what an op or a model returns: lists, tuples, mappings, dataclasses and plain result objects."""
    if isinstance(value, Tensor):
        yield value
    elif id(value) in above:
        return  # an object that holds itself
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from flatten(item, (*above, id(value)))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flatten(item, (*above, id(value)))
    elif isinstance(value, (str, bytes, int, float, bool, type(None), nn.Module)) or callable(value):
        return
    else:
        for item in vars(value).values() if isinstance(getattr(value, "__dict__", None), dict) else ():
            yield from flatten(item, (*above, id(value)))


def constant_value(tensor: Tensor) -> float | None:
    """The number a real constant holds everywhere, None if it holds several."""
    if tensor.numel() == 0 or tensor.numel() > 65536 or tensor.is_complex() or tensor.is_sparse:
        return None
    with torch.no_grad(), torch.utils._python_dispatch._disable_current_modes():
        first = tensor.reshape(-1)[0]
        return float(first) if bool((tensor == first).all()) else None


def factory_value(name: str, arguments: Mapping[str, Any], nodes: list[Node]) -> float | None:
    """The number that a freshly made constant holds; copies and views of such a constant hold it too."""
    if name in ZERO_FACTORIES or name == "zero":
        return 0.0
    if name in ONE_FACTORIES:
        return 1.0
    if name in FULL_FACTORIES:
        value = arguments.get("fill_value", arguments.get("value"))
        return float(value) if isinstance(value, (int, float)) else None
    if name == "scalar_tensor":
        return float(arguments["s"])
    if name in {"lift_fresh", "_to_copy", "clone", "view", "expand", "unsqueeze", "squeeze", "detach", "reshape"}:
        source = arguments.get("self")
        return nodes[source.node].value if isinstance(source, Ref) else None
    return None


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Run the model on an example batch of any form."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def convert(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same nested batch with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {key: convert(value, change) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        items = [convert(value, change) for value in inputs]
        return type(inputs)(*items) if getattr(inputs, "_fields", None) else type(inputs)(items)
    return inputs


def record(model: nn.Module, inputs: Inputs, recorder: Recorder | None = None) -> Graph:
    """Trace the model as it is: with fake parameters under their fake mode, or with real ones."""
    recorder = recorder or Recorder()
    first: dict[int, str] = {}
    others: dict[str, list[str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    leaves: dict[str, int] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            others.setdefault(first[id(parameter)], []).append(name)
            continue
        first[id(parameter)] = name
        shapes[name] = tuple(parameter.shape)
        leaves[name] = recorder.leaf(parameter, PARAMETER, name)
    for tensor in flatten(inputs):
        recorder.leaf(tensor, INPUT)
    with plain_execution(), named_modules(recorder, model), custom_functions(recorder), recorder:
        out = call(model, inputs)
        results = tuple(dict.fromkeys(recorder.read(t) for t in flatten(out) if isinstance(t, Tensor)))
    if not any(recorder.nodes[node].data for node in results):
        raise StructureError(
            "the model returns no tensor that depends on its inputs: nothing can be traced; "
            "pass an example batch as inputs=, and return the output (or the loss) from forward"
        )
    nodes = parts_read_back(recorder.nodes)
    aliases = {name: tuple(found) for name, found in others.items()}
    return Graph(nodes, results, leaves, shapes, aliases, model.training, tuple(recorder.calls))


def fake(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Replace the parameters (and meta buffers) of a model by fake ones on the CPU, ties kept."""
    seen: dict[int, Any] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in seen:
                    seen[id(parameter)] = nn.Parameter(blank(parameter, mode), parameter.requires_grad)
                module._parameters[name] = seen[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device.type == "meta":
                if id(buffer) not in seen:
                    seen[id(buffer)] = blank(buffer, mode)
                module._buffers[name] = seen[id(buffer)]
    return model


def blank(tensor: Tensor, mode: FakeTensorMode) -> Tensor:
    with mode:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


def trace(model: nn.Module, inputs: Inputs, mode: FakeTensorMode) -> Graph:
    """Trace a model (parameters on the meta device or real) under fake tensors. The model is used up.

    Raises whatever the model raises: torch's data-dependence errors ask for `record` on real tensors.
    """
    fake(model, mode)
    batch = convert(inputs, lambda tensor: mode.from_tensor(tensor.detach().clone()))
    with mode:
        return record(model, batch)
