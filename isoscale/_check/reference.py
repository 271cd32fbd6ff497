"""The reference networks as a check wants them: a builder of width and depth, and a batch of their data."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from isoscale._check.errors import CheckError
from isoscale._train import MODELS, load
from isoscale._train.setup import Network, builder


@dataclass(frozen=True)
class Reference:
    """A reference network on a batch: `coord_check(r.build, base, inputs=r.inputs, targets=r.targets, ...)`."""

    build: Callable[..., nn.Module]
    inputs: tuple[Tensor, ...]
    targets: Tensor


def reference(name: str, data: str = "", *, batch: int = 32, **options: Any) -> Reference:
    """The reference network `name` and the first `batch` examples of `data` (digits, or text where it reads tokens).

    options: as the network takes them, beta=0.5, zero_readout=True. Raises CheckError for an unknown name.
    """
    if name not in MODELS:
        near = get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CheckError(f"no reference network {name!r}: {hint}there are {', '.join(MODELS)}")
    tokens = "tokens" in MODELS[name].kinds
    found = load(data or ("text" if tokens else "digits"))
    build = builder(Network(name, found.inputs, found.outputs, tuple(options.items())))
    return Reference(build, (found.x_train[:batch],), found.y_train[:batch])
