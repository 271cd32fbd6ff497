"""A run: what happened when one configuration was trained. The narrow waist of the house."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Config = Mapping[str, Any]
"""A configuration: a flat mapping of names to JSON scalars (or short lists). Always there: rule, optimizer,
width, depth, seed. Everything else (lr, weight_decay, model, steps, ...) is the callable's own vocabulary."""


def digest(value: Any) -> str:
    """Sha256 of the canonical JSON of `value`: the same on every machine and in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Curve:
    """A metric over training: `value[i]` was seen after `step[i]` optimizer steps."""

    step: tuple[int, ...]
    value: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """One trained configuration and what came out.

    `config` fixes the run (its digest is its identity); `metrics` are final values by name (train_loss, test_loss,
    train_accuracy, test_accuracy; lower is better for names that end in "loss"); a diverged run has
    status "diverged", the step in `diverged_at` and inf for its losses. `data` names the data set and its sha256.
    `flops` counts the training's floating-point operations (forward and backward), `seconds` its wall time.
    """

    config: Config
    metrics: Mapping[str, float]
    status: Literal["finished", "diverged"] = "finished"
    diverged_at: int | None = None
    steps: int = 0
    flops: float | None = None
    seconds: float | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return digest(dict(self.config))

    def __getitem__(self, name: str) -> Any:
        """A field of the configuration, or a final metric."""
        if name in self.config:
            return self.config[name]
        if name in self.metrics:
            return self.metrics[name]
        raise KeyError(f"run has no {name!r}; it has {', '.join([*self.config, *self.metrics])}")

    def loss(self, metric: str) -> float:
        """The final value of `metric`, with inf for a diverged run, whose value need not have been written."""
        value = math.inf if self.status == "diverged" else float(self[metric])
        return math.inf if math.isnan(value) else value
