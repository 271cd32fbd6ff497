"""The plan: what every parameter of the target model gets, frozen and printable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isoscale._plan.errors import PlanError

__all__ = ["Plan", "PlanError"]


@dataclass(frozen=True)
class Plan:
    """What each parameter of the target model gets (skeleton: the bodies follow)."""

    def init_(self, model: nn.Module) -> nn.Module:
        """Rescale a freshly built model in place to the planned initialisation; idempotent; returns the model."""
        raise NotImplementedError

    def param_groups(
        self, model: nn.Module, *, lr: float, weight_decay: float | None = None, eps: float | None = None, **other: Any
    ) -> list[dict[str, Any]]:
        """Fresh parameter groups for a torch optimizer, merged by equal settings."""
        raise NotImplementedError

    def optimizer(self, model: nn.Module, *, lr: float, **other: Any) -> torch.optim.Optimizer:
        """The torch optimizer of the plan over `param_groups`."""
        raise NotImplementedError

    def check_scheduler(self, scheduler: Any) -> None:
        """Raise where the scheduler would overwrite the groups' learning-rate ratios."""
        raise NotImplementedError

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise where the live groups no longer have the planned ratios."""
        raise NotImplementedError

    def clip_grad_norm_(self, model: nn.Module, max_norm: float) -> torch.Tensor:
        """Clip the gauge-invariant gradient norm; returns the norm before clipping."""
        raise NotImplementedError

    @property
    def table(self) -> tuple[Mapping[str, Any], ...]:
        raise NotImplementedError

    def explain(self, name: str) -> str:
        raise NotImplementedError

    def to_json(self) -> str:
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        raise NotImplementedError

    @staticmethod
    def load(path: str | Path) -> "Plan":
        raise NotImplementedError

    def diff(self, other: "Plan") -> str:
        raise NotImplementedError

    def verify(self, build: Callable[..., nn.Module], inputs: Any = None) -> Any:
        raise NotImplementedError

    def remove_hooks(self, model: nn.Module) -> Sequence[str]:
        """Take the hooks of mode="explicit" off the model again."""
        raise NotImplementedError
