"""Training of many members (seeds times rates) of one small planned network at once, and what is read off them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from isoscale import Plan, Run, judge
from isoscale._plan import Setting
from isoscale._rules import ONE, fold, get_rule

STORE = Path("/tmp/isoscale_open_questions.json")
BETA1, BETA2 = 0.9, 0.99


@dataclass(frozen=True)
class Task:
    """Inputs and classes to train on; the final loss is the mean over the first `judged` of them."""

    x: Tensor
    y: Tensor
    batch: int = 64
    steps: int = 60
    judged: int = 512


@dataclass(frozen=True)
class Trained:
    """Members after training: parameters (members, ...) by name, before and after; `model` is their module."""

    model: nn.Module
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    losses: tuple[float, ...]

    def outputs(self, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return vmap(lambda p: functional_call(self.model, dict(p), (x,)))(dict(state))

    def seen(self, state: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
        """What the network shows of its inside, each (members, ...)."""

        def shown(p: dict[str, Tensor]) -> tuple[Tensor, ...]:
            found: list[Tensor] = []
            functional_call(self.model, p, (x, found))
            return tuple(found)

        return list(vmap(shown)(dict(state)))


def start(plan: Plan, build: Callable[..., nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return plan.init_(build(**plan.target))


def trained(
    plan: Plan,
    build: Callable[..., nn.Module],
    task: Task,
    members: Sequence[tuple[float, int]],
    *,
    decay: float = 0.0,
    eps: float = 1e-8,
    change: Callable[[nn.Module], None] = lambda model: None,
) -> Trained:
    """AdamW with a half cosine on every member (log2 learning rate, seed), each with the plan's ratios."""
    models = {seed: start(plan, build, seed) for seed in sorted({seed for _, seed in members})}
    model = next(iter(models.values()))
    change(model)
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    sizes = [p.numel() for p in model.parameters()]
    flat = {seed: torch.cat([p.detach().flatten() for p in m.parameters()]) for seed, m in models.items()}
    w = torch.stack([flat[seed] for _, seed in members])
    column = {key: _column(plan, names, sizes, key) for key in ("lr", "eps", "decay")}
    rates = torch.tensor([2.0**x for x, _ in members])[:, None] * column["lr"]
    order = {seed: torch.Generator().manual_seed(seed) for seed in models}

    def unflat(vector: Tensor) -> dict[str, Tensor]:
        parts = vector.split(sizes, dim=-1)
        return {n: p.reshape(*vector.shape[:-1], *s) for n, p, s in zip(names, parts, shapes)}

    def loss(vector: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, unflat(vector), (x,)), y)

    gradient, first = vmap(grad(loss)), w.clone()
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(task.steps):
        rows = {s: torch.randint(len(task.x), (task.batch,), generator=order[s]) for s in models}
        picked = torch.stack([rows[seed] for _, seed in members])
        g = gradient(w, task.x[picked], task.y[picked])
        m.lerp_(g, 1 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        mean, root = m / (1 - BETA1 ** (step + 1)), (v / (1 - BETA2 ** (step + 1))).sqrt()
        factor = 0.5 * (1 + math.cos(math.pi * step / task.steps))
        w = w - factor * rates * (mean / (root + eps * column["eps"]) + decay * column["decay"] * w)
    final = vmap(loss, in_dims=(0, None, None))(w, task.x[: task.judged], task.y[: task.judged])
    return Trained(model, unflat(first), unflat(w), tuple(float(each) for each in final.detach()))


def gradients(plan: Plan, build: Callable[..., nn.Module], task: Task, seed: int) -> dict[str, Tensor]:
    """The gradient of a large batch at the start, by name."""
    model = start(plan, build, seed)
    F.cross_entropy(model(task.x[: task.judged]), task.y[: task.judged]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _column(plan: Plan, names: Sequence[str], sizes: Sequence[int], key: str) -> Tensor:
    return torch.cat([torch.full((size,), getattr(plan[name], key)) for name, size in zip(names, sizes)])


# -- other choices


def altered(plan: Plan, change: Callable[[Setting], Mapping[str, float]]) -> Plan:
    """The plan with some settings multiplied: change(setting) = {"lr": factor, ...}."""
    return replace(
        plan,
        settings=tuple(replace(s, **{k: getattr(s, k) * f for k, f in change(s).items()}) for s in plan.settings),
    )


def recounted(plan: Plan, depth: Callable[[Setting], float]) -> Plan:
    """The same plan with other growths of depth inside branches, recomputed from the rule's rows."""
    rule, found = get_rule(plan.rule), []
    for s in plan.settings:
        row = rule.entry(s.role, s.stream is not None, plan.optimizer_name, tail=s.tail)  # type: ignore[arg-type]
        sizes = {"fan_in": s.fan_in, "fan_out": s.fan_out, "depth": depth(s) if s.stream is not None else 1.0}
        moved = fold(row)
        ratios = {key: getattr(moved, key).at(**sizes) for key in ("std", "lr", "eps", "decay")}
        found.append(replace(s, depth=sizes["depth"], multiplier=(row.multiplier or ONE).at(**sizes), **ratios))
    return replace(plan, settings=tuple(found))


# -- figures


def rms(tensor: Tensor) -> list[float]:
    """Root mean square of every member."""
    return [float(each) for each in tensor.detach().flatten(1).pow(2).mean(1).sqrt()]


def exponent(sizes: Sequence[float], values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Exponent p in value ~ size^p: a least-squares line for each seed, and a 95% t interval over the seeds."""
    x = torch.log2(torch.tensor(sizes, dtype=torch.float64))
    y = torch.log2(torch.tensor(values, dtype=torch.float64))  # (sizes, seeds)
    x = x - x.mean()
    slopes = (x @ y) / (x @ x)
    seeds = slopes.numel()
    half = float(student.ppf(0.975, seeds - 1)) * float(slopes.std()) / math.sqrt(seeds)
    middle = float(slopes.mean())
    return {
        "slope": round(middle, 3),
        "low": round(middle - half, 3),
        "high": round(middle + half, 3),
        "values": [float(f"{2 ** float(row.mean()):.4g}") for row in y],
        "seeds": seeds,
    }


def drift(rule: str, axis: str, losses: Mapping[int, Mapping[float, Sequence[float]]]) -> dict[str, Any]:
    """`isoscale.judge` on losses[size][log2 lr][seed], sizes along one axis."""
    other = {"width": "depth", "depth": "width"}[axis]
    runs = [
        Run(
            {"rule": rule, "optimizer": "adamw", axis: size, other: 1, "seed": seed, "lr": 2.0**x},
            {"train_loss": value if math.isfinite(value) else math.inf},
            status="finished" if math.isfinite(value) else "diverged",
        )
        for size, rows in losses.items()
        for x, seeds in rows.items()
        for seed, value in enumerate(seeds)
    ]
    found = judge(runs)[0].axis(axis)
    fit = found.drift.slope
    return {
        "outcome": found.outcome,
        "drift": None if fit is None else [round(each, 3) for each in (fit.estimate, fit.low, fit.high)],
        "above": found.drift.above,
        "below": found.drift.below,
        "best_log2_lr": {
            str(getattr(o, axis)): None if o.position is None else round(o.position, 2) for o in found.optima
        },
        "best_loss": {str(getattr(o, axis)): None if o.loss is None else round(o.loss, 4) for o in found.optima},
    }


def swept(
    key: str,
    axis: str,
    plans: Mapping[int, Plan],
    build: Callable[..., nn.Module],
    task: Task,
    grid: Sequence[float],
    *,
    seeds: int = 3,
    **how: Any,
) -> dict[str, Any]:
    """The drift of the best learning rate; every size is kept in the store and not run again."""
    losses: dict[int, dict[float, list[float]]] = {}
    change = how.pop("change", lambda size: lambda model: None)
    for size, plan in plans.items():

        def run(size: int = size, plan: Plan = plan) -> list[float]:
            members = [(x, seed) for x in grid for seed in range(seeds)]
            return list(trained(plan, build, task, members, change=change(size), **how).losses)

        flat = kept(f"{key}, {axis} {size}, {list(grid)} x {seeds}", run)
        losses[size] = {x: flat[i * seeds : (i + 1) * seeds] for i, x in enumerate(grid)}
    return drift(key, axis, losses)


def kept(key: str, make: Callable[[], Any]) -> Any:
    """make()'s answer, out of the store where it has been made before."""
    store = json.loads(STORE.read_text()) if STORE.exists() else {}
    if key not in store:
        made = make()
        store = (json.loads(STORE.read_text()) if STORE.exists() else {}) | {key: made}
        fresh = STORE.with_suffix(".new")
        fresh.write_text(json.dumps(store))
        fresh.replace(STORE)
        print("ran", key, flush=True)
    return store[key]
