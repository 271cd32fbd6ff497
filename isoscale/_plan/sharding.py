"""What sharding does to a model's tensors: distributed tensors (FSDP2) and local pieces of a flat one (FSDP1).

Whoever shards has loaded torch's modules for it already; for everybody else importing them would cost a second, so
they are looked up and never imported here.
"""

import sys
from types import ModuleType
from typing import Any

from torch import Tensor, nn

_FLAT = "_flat_param"


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; a collective where it is."""
    return tensor.full_tensor() if _is_distributed(tensor) else tensor  # type: ignore[attr-defined]


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be sharded, in its memory."""
    return tensor.to_local() if _is_distributed(tensor) else tensor  # type: ignore[attr-defined]


def summed(tensor: Tensor, group: Any) -> Tensor:
    """The sum over the processes of a group, in place."""
    sys.modules["torch.distributed"].all_reduce(tensor, group=group)
    return tensor


def sharded_flat(model: nn.Module) -> set[int]:
    """Ids of the parameters that are local pieces of FSDP1's flat tensors (use_orig_params=True), unless summoned."""
    pieces = (p for module in _fsdp(model) for p in module.parameters())
    return {id(parameter) for parameter in pieces if parameter.dim() == 1}


def flattened(model: nn.Module) -> str:
    """The name of a flat parameter that stands for many (FSDP1 with use_orig_params=False); empty if there is none."""
    if not _fsdp(model):
        return ""
    return next((name for name, _ in model.named_parameters() if name.rpartition(".")[2] == _FLAT), "")


def process_group(model: nn.Module) -> Any:
    """The processes among which FSDP1 sharded the model, None where it did not."""
    return next((module.process_group for module in _fsdp(model)), None)


def _fsdp(model: nn.Module) -> list[Any]:
    loaded = _loaded("torch.distributed.fsdp")
    if loaded is None:
        return []
    return [module for module in model.modules() if isinstance(module, loaded.FullyShardedDataParallel)]


def _is_distributed(tensor: Tensor) -> bool:
    loaded = _loaded("torch.distributed.tensor")
    return loaded is not None and isinstance(tensor, loaded.DTensor)


def _loaded(name: str) -> ModuleType | None:
    return sys.modules.get(name)
