"""What surrounds a recorded forward pass: module names, custom functions, no fast paths, and nothing left behind."""

import contextlib
import functools
import gc
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Watched(Protocol):
    """What these contexts tell a recorder."""

    modules: list[str]
    calls: list[tuple[str, int]]
    custom: int

    @property
    def where(self) -> str: ...
    def read(self, tensor: Tensor) -> int: ...


@contextlib.contextmanager
def named_modules(recorder: Watched, model: nn.Module) -> Iterator[None]:
    """Keep the recorder's stack of module names while submodules run."""
    names = {id(module): name for name, module in reversed(list(model.named_modules(remove_duplicate=False)))}

    def enter(module: nn.Module, args: Any) -> None:
        recorder.modules.append(names.get(id(module), recorder.where))

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        first = out[0] if isinstance(out, (tuple, list)) and out else out
        if isinstance(first, Tensor):
            recorder.calls.append((recorder.where, recorder.read(first)))
        recorder.modules.pop()

    register = torch.nn.modules.module
    before = register.register_module_forward_pre_hook(enter)
    after = register.register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()


@contextlib.contextmanager
def custom_functions(recorder: Watched) -> Iterator[None]:
    """Know when a custom autograd function runs: grad mode is off inside, though gradient flows through it."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        recorder.custom += 1
        try:
            return original.__get__(None, cls)(*args, **kwargs)
        finally:
            recorder.custom -= 1

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        setattr(torch.autograd.Function, "apply", original)  # noqa: B010 - a classmethod object, not a method


@contextlib.contextmanager
def plain_execution() -> Iterator[None]:
    """Every op in the open: no fused encoder fast path, no compiled regions."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    log = logging.getLogger("torch._subclasses.fake_tensor")  # it prints whatever fails before we can try real tensors
    silent, log.disabled = log.disabled, True
    try:
        with torch.compiler.set_stance("force_eager"), torch.jit.optimized_execution(False), torch.enable_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        log.disabled = silent


def sweep_caches() -> None:
    """Empty every `functools.lru_cache` that has kept a fake tensor: the user's next real call would be given it."""
    for cache in [item for item in gc.get_objects() if type(item) is functools._lru_cache_wrapper]:
        if holds_fake(cache, 4):
            cache.cache_clear()


def holds_fake(value: Any, levels: int) -> bool:
    if isinstance(value, torch._subclasses.FakeTensor):
        return True
    holder = isinstance(value, (dict, list, tuple)) or type(value).__name__ == "_lru_list_elem"
    inside = levels > 0 and (levels == 4 or holder)
    return inside and any(holds_fake(item, levels - 1) for item in gc.get_referents(value) if not callable(item))
