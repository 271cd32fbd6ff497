r"""From a user's residual MLP under descent to the theory's problem, exactly, and back.

Legend: N_b, L_b base width and depth, D inputs, C outputs, alpha the rule's branch exponent, beta branch constant,
lr learning rate at the base size; eta0, gamma0, beta0, lam as in problem.py.

The user's network h + beta W phi(h), f = W_out phi(h) / gamma, weights N(0, 1/fan_in), under a rule that is muP over
width is the theory's, its weights read as W_in = sqrt(D) stem, W_l = sqrt(N) block, w = N / sqrt(N_b) readout, with

    gamma0 = gamma / sqrt(N_b),   eta0 = lr N_b kappa,   input_lam = D / N_b,   lam = (L / L_b)^(2 alpha - 1),
    b = beta (L / L_b)^-alpha,    decay = lr gamma^2 weight_decay

(alpha = 0, muP and mean field: lam = 1, they leave depth alone). kappa = 1 for cross entropy, 2 / C for the mean square
error over outputs (the theory's is half the sum).
Derived here from the definitions; tests/theory/dmft/test_dmft_translate.py trains both and compares every output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from isoscale._rules import get_rule
from isoscale.theory.dmft.course import Course, limit_course
from isoscale.theory.dmft.march import Progress
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.solution import Solution

WIDE = frozenset({"mup", "mean_field", "depth_mup", "completep", "umup"})
"""Rules that are muP over width, in one gauge or another, with one weight law for all layers."""
MOST = 50_000_000
"""Entries of the table of sample weights (steps x examples)."""


def why_not(config: Mapping[str, Any]) -> str | None:
    """Why the theory has no limit for this configuration, in a sentence; None where it has one."""
    model, optimizer, rule = config["model"], config["optimizer"], config["rule"]
    if model != "residual_mlp":
        return f"the theory's architecture is residual_mlp, this is {model}: no limit is drawn for it"
    if optimizer != "sgd":
        return f"under {optimizer} no limit is drawn: adaptive steps have no low-rank updates (docs/limitations.md)"
    if rule not in WIDE and not str(rule).startswith("depth_alpha("):
        return f"{rule} is not muP over width: there is no limit of its networks in which features learn by this theory"
    if config.get("nesterov") or config.get("zero_readout"):
        return "nesterov momentum and a zero readout are not in the theory's problem"
    return None


@dataclass(frozen=True, eq=False)
class Examples:
    """A user's training examples: `x` (P, ...), `y` (P,) classes or (P, C) real targets, `outputs` C, and the loss
    `asked` for (None: cross entropy for classes, mean square error for real targets)."""

    x: Tensor
    y: Tensor
    outputs: int
    asked: str | None = None

    @property
    def loss(self) -> str:
        return "mse" if self.y.is_floating_point() or self.asked == "mse" else "cross_entropy"

    @property
    def loss_factor(self) -> float:
        """kappa: the user's loss over the theory's."""
        return 2 / self.outputs if self.loss == "mse" else 1.0

    @property
    def inputs(self) -> Tensor:
        """(P, D), float64."""
        return self.x.flatten(1).double()

    @property
    def targets(self) -> Tensor:
        """(P, C), float64; one-hot for classes."""
        real = self.y.is_floating_point()
        return (self.y if real else torch.nn.functional.one_hot(self.y, self.outputs)).double()

    def on(self, device: str) -> "Examples":
        return replace(self, x=self.x.to(device), y=self.y.to(device))


def problem_of(
    config: Mapping[str, Any], examples: Examples, order: Sequence[Tensor | None], schedule: Sequence[float]
) -> Problem:
    """The theory's problem for a completed configuration (every setting present) whose `why_not` is None.

    `order` are the examples of each step's batch (None: all), `schedule` the factor on the rate of each step. lam and b
    are those at the configuration's own depth: solve it there. Raises `BadProblem` where the table of sample weights
    would be too large.
    """
    reason = why_not(config)
    if reason is not None:
        raise BadProblem(reason)
    X, T = examples.inputs, len(schedule)
    P = len(X)
    if P * T > MOST:
        raise BadProblem(f"{T} steps on {P} examples: the sample weights alone are {P * T:,} numbers, at most {MOST:,}")
    weights = torch.zeros(T, P, dtype=torch.float64, device="cpu")
    for t, batch in enumerate(order):
        weights[t] = 1 / P if batch is None else torch.bincount(batch, minlength=P).double() / len(batch)
    alpha = float(get_rule(str(config["rule"])).alpha)
    deeper = config["depth"] / config["base_depth"]
    activation = config.get("activation") or "relu"
    return Problem(
        X, examples.targets, T, eta_of(config, examples),
        gamma0=config["gamma0"] / config["base_width"] ** 0.5,
        activation=torch.nn.functional.gelu if activation == "gelu" else activation,
        loss="mse" if examples.loss == "mse" else "softmax",
        beta0=abs(config["beta"]) * config["base_depth"] ** alpha, alpha=alpha,
        lam=deeper ** (2 * alpha - 1) if alpha else 1.0,
        input_lam=X.shape[1] / config["base_width"], sig_w=0.0 if config["zero_init"] else 1.0,
        momentum=config["momentum"], decay=config["lr"] * config["gamma0"] ** 2 * config["weight_decay"],
        batches=weights.to(X.device), schedule=torch.tensor(list(schedule), dtype=torch.float64, device="cpu"),
    )  # fmt: skip


def eta_of(config: Mapping[str, Any], examples: Examples) -> float:
    """eta0 = lr N_b kappa."""
    return float(config["lr"] * config["base_width"] * examples.loss_factor)


def course_of(
    config: Mapping[str, Any],
    examples: Examples,
    orders: Sequence[Sequence[Tensor | None]],
    schedule: Sequence[float],
    rates: Sequence[float],
    *,
    watch: Sequence[int],
    width: int = 256,
    progress: Progress | None = None,
) -> Solution[Course]:
    """The limit of infinite width of the configuration's training at every learning rate lr of `rates`, averaged over
    batch orders; losses in the theory's units (times `examples.loss_factor` they are the user's)."""
    problems = [problem_of(config, examples, order, schedule) for order in orders]
    each = [{**config, "lr": rate} for rate in rates]
    decays = [one["lr"] * one["gamma0"] ** 2 * one["weight_decay"] for one in each]
    etas = [eta_of(one, examples) for one in each]
    return limit_course(problems, config["depth"], etas, watch=watch, width=width, decays=decays, progress=progress)
