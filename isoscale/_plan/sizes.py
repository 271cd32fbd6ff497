"""Models of several sizes out of one builder: built without memory, traced, and told apart into width and depth."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from isoscale._plan.branches import find_residuals
from isoscale._plan.execution import sweep_caches
from isoscale._plan.facts import StructureError
from isoscale._plan.graph import Graph
from isoscale._plan.streams import Residuals, template
from isoscale._plan.trace import Inputs, record, trace

MOST_REAL_ELEMENTS = 200_000_000
"""Parameters that a model may have for its forward pass to be traced on real tensors (under a gigabyte)."""

Size = Mapping[str, Any]


@dataclass(frozen=True)
class Traced:
    """A model at one size: its graph and residual adds."""

    size: Size
    graph: Graph
    residuals: Residuals


@dataclass
class Tracer:
    """Builds and traces the user's model at any size, once each."""

    build: Callable[..., nn.Module]
    inputs: Inputs
    known: list[Traced] = field(default_factory=list)
    mode: FakeTensorMode = field(default_factory=lambda: FakeTensorMode(allow_non_fake_inputs=True))

    def __call__(self, size: Size) -> Traced:
        for traced in self.known:
            if traced.size == size:
                return traced
        graph = trace_size(self.build, size, self.inputs, self.mode)
        traced = Traced(dict(size), graph, find_residuals(graph))
        self.known.append(traced)
        return traced


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """Parameters go to the meta device as soon as a module registers them; everything else stays real.

    A device context would also move the small tensors from which builders read numbers (`linspace(...).tolist()`).
    """
    original = nn.Module.register_parameter
    moved: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}  # the first keeps the address from being used again

    def register(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        plain = type(param) is nn.Parameter and param.device.type != "meta"
        if plain and param is not None:
            if id(param) not in moved:
                moved[id(param)] = (param, nn.Parameter(param.detach().to("meta"), param.requires_grad))
            param = moved[id(param)][1]
        original(module, name, param)

    nn.Module.register_parameter = register  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = original  # type: ignore[method-assign]


def example(model: nn.Module, inputs: Inputs) -> Inputs:
    """The user's batch, or the model's own."""
    if inputs is not None:
        return inputs
    own = getattr(model, "example_inputs", None)
    if own is None:
        raise StructureError(
            "inputs=None and the model has no method example_inputs(): one forward pass has to be traced. "
            "Pass an example batch: inputs=tensor, inputs=(tensor, ...) or inputs=dict(name=tensor)"
        )
    return own()


def build_light(build: Callable[..., nn.Module], size: Size) -> nn.Module:
    """The model with its parameters on the meta device if its builder allows that, else a real one."""
    try:
        with without_memory():
            return build(**size)
    except Exception:
        return build_real(build, size)


def build_real(build: Callable[..., nn.Module], size: Size) -> nn.Module:
    try:
        model = build(**size)
    except TypeError as error:
        raise StructureError(
            f"the builder cannot be called with {described(size)}: {error}. A size's keys are the builder's arguments, "
            "also where it hands them on to a configuration of its own"
        ) from error
    if not isinstance(model, nn.Module):
        raise StructureError(f"build({described(size)}) returned {type(model).__name__}, not a torch.nn.Module")
    return model


def described(size: Size) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in size.items())


def unused(graph: Graph) -> int:
    """How many parameters have no influence on the output."""
    return sum(not graph.live[leaf] for leaf in graph.parameters.values())


def trace_size(build: Callable[..., nn.Module], size: Size, inputs: Inputs, mode: FakeTensorMode) -> Graph:
    """Trace in evaluation mode (no dropout, no sampling); in training mode too if parameters were left out."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        graph = trace_mode(build, size, inputs, mode, training=False)
        if unused(graph):
            with contextlib.suppress(Exception):
                trained = trace_mode(build, size, inputs, mode, training=True)
                graph = min(graph, trained, key=unused)
        return graph


def trace_mode(
    build: Callable[..., nn.Module], size: Size, inputs: Inputs, mode: FakeTensorMode, training: bool
) -> Graph:
    try:
        model = build_light(build, size)
        batch = example(model, inputs)
        return trace(model.train(training), batch, mode)
    except StructureError:
        raise
    except Exception as reason:
        shapes_only = reason
    sweep_caches()
    model = build_real(build, size)
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > MOST_REAL_ELEMENTS:
        raise StructureError(
            f"the forward pass at {described(size)} can not be traced on shapes alone ({first_line(shapes_only)}), and "
            f"with {count:,} parameters it is too large to run for real. Values of tensors steer the model's code; "
            "plan for a smaller target, or make the control flow depend on shapes only"
        ) from shapes_only
    try:
        return record(model.train(training), example(model, inputs))
    except StructureError:
        raise
    except Exception as error:
        raise StructureError(
            f"the forward pass fails at {described(size)} on the example batch: {type(error).__name__}: "
            f"{first_line(error)}. Pass the inputs that the model takes: inputs=tensor, inputs=(tensor, ...) or "
            "inputs=dict(name=tensor)"
        ) from error


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shape_kinds(graph: Graph) -> set[tuple[str, tuple[int, ...]]]:
    return {(template(name), shape) for name, shape in graph.shapes.items()}


def resized(before: Graph, after: Graph) -> bool:
    """Whether most parameters that both have (by name) have other shapes, and shapes are gone that were there.

    By name alone a flat sequence of stages looks so too when it gets longer; its shapes all stay.
    """
    common = [name for name in before.shapes if name in after.shapes]
    changed = sum(before.shapes[name] != after.shapes[name] for name in common)
    gone = shape_kinds(before) - shape_kinds(after)
    return changed > len(common) // 2 and len(gone) > len(shape_kinds(before)) // 8


def depth_keys(tracer: Tracer, base: Size, target: Size) -> tuple[str, ...]:
    """The keys that change how many residual branches or parameters there are; all others are taken as width.

    Each key is changed alone. A key that can not be changed alone (heads that must divide the width) counts as width.
    So does one that changes how many adds there are, no parameter's name, and nothing any more once the keys of width
    are changed too: more key heads than heads make a model that runs and means nothing.
    """
    changed = [key for key in target if base.get(key) != target[key]]
    found, doubtful = [], []
    start = tracer(base)
    for key in changed:
        try:
            other = tracer({**base, key: target[key]})
        except Exception:
            continue
        more_branches = len(other.residuals.adds) != len(start.residuals.adds)
        if more_branches or set(other.graph.shapes) != set(start.graph.shapes):
            found.append(key)
            if set(other.graph.shapes) == set(start.graph.shapes):
                doubtful.append(key)
            new = shape_kinds(other.graph) - shape_kinds(start.graph)
            if len(new) > len(shape_kinds(other.graph)) // 2 or resized(start.graph, other.graph):
                change = f"{key}={base.get(key)!r} -> {target[key]!r}"
                if not more_branches:
                    only = sorted(set(other.graph.shapes) ^ set(start.graph.shapes))
                    raise StructureError(
                        f"{change} changes the sizes of layers and also which parameters there are: "
                        f"{', '.join(only[:4])} exist at one of the two only. Roles come from the same "
                        "parameter at two widths; choose a base in which they all exist"
                    )
                raise StructureError(
                    f"{change} changes both the layers and their sizes: width and depth can not be told apart. Give "
                    "the builder separate arguments for width and depth"
                )
    wide = {**base, **{key: target[key] for key in changed if key not in found}}
    for key in doubtful:
        with contextlib.suppress(Exception):
            counts = [len(tracer(size).residuals.adds) for size in (wide, {**wide, key: target[key]})]
            if counts[0] == counts[1]:
                found.remove(key)
    return tuple(found)
