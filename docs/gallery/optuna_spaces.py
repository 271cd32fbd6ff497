"""
An Optuna study over depths, with one learning rate for all
===========================================================

A study that draws the depth of a network among its hyperparameters has a trouble: the best learning rate moves with
the depth, so that what one trial teaches is wrong for the next. Here an existing objective, with a model of its own, is
given a search space in units of its base model by a few lines. The model is not rewritten: the plan is traced.

Needs `optuna` (extra `optuna`).
"""

import functools

import matplotlib.pyplot as plt
import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

import isoscale

optuna.logging.set_verbosity(optuna.logging.ERROR)
torch.set_num_threads(1)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
y = torch.tensor(digits.target)


class Net(nn.Module):
    """The user's own model, as it was."""

    def __init__(self, depth):
        super().__init__()
        self.embed = nn.Linear(64, 32)
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(depth))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        h = self.embed(x)
        for block in self.blocks:
            h = h + block(torch.relu(h))
        return self.head(h)


def fit(model, optimizer, steps=40):
    """A short training; its final loss over all the data."""
    chosen = torch.Generator().manual_seed(0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=chosen)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return nn.functional.cross_entropy(model(x), y).item()


# %%
# The objective as it was
# -----------------------

DEPTHS = [3, 12, 24]


def before(trial):
    depth = trial.suggest_categorical("depth", DEPTHS)
    lr = trial.suggest_float("lr", 2**-11, 2**-4, log=True)
    torch.manual_seed(0)
    model = Net(depth)
    return fit(model, torch.optim.AdamW(model.parameters(), lr=lr))


# %%
# The same with a plan
# --------------------
# ``lr`` is now the learning rate of the base model, depth 3. The plan says what it means at the trial's depth, for each
# parameter; its initialization is scaled in place, its groups go to the same optimizer.


@functools.cache
def plan_for(depth):
    return isoscale.plan(Net, {"depth": 3}, {"depth": depth}, inputs=x[:8], rule="depth_mup", optimizer="adamw")


def after(trial):
    depth = trial.suggest_categorical("depth", DEPTHS)
    lr = trial.suggest_float("lr", 2**-11, 2**-4, log=True)
    torch.manual_seed(0)
    model = Net(depth)
    plan = plan_for(depth)
    plan.init_(model)
    return fit(model, torch.optim.AdamW(plan.param_groups(model, lr=lr)))


# %%
# What the study sees
# -------------------
# A grid, so that every depth is seen at the same learning rates. Before, the best one falls as the network deepens.
# After, it stays, and a sampler may learn from every trial at once. (One seed and 40 steps: enough to see it, not to
# prove it; ``isoscale verify`` has intervals.)

rates = [2.0**k for k in range(-10, -3)]
figure, axes = plt.subplots(1, 2, sharey=True, figsize=(8, 3.2))
for objective, ax in zip((before, after), axes, strict=True):
    grid = optuna.samplers.GridSampler({"depth": DEPTHS, "lr": rates}, seed=0)
    study = optuna.create_study(sampler=grid)
    study.optimize(objective, n_trials=len(DEPTHS) * len(rates))
    for depth in DEPTHS:
        curve = sorted((trial.params["lr"], trial.value) for trial in study.trials if trial.params["depth"] == depth)
        lr, loss = min(curve, key=lambda point: point[1])
        print(f"{objective.__name__}: depth {depth}: best lr {lr:.4g}, loss {loss:.3f}")
        ax.plot(*zip(*curve, strict=True), marker="o", label=f"depth {depth}")
    ax.set(xscale="log", yscale="log", xlabel="lr", title=objective.__name__)
axes[0].set_ylabel("training loss")
axes[0].legend()

# %%
# A study of your own goes on as it is
# ------------------------------------
# Samplers, pruners, storage and dashboard are untouched, and a small model may now teach about a large one: search at
# depth 3 alone, then run the best trial at depth 24.


def shallow(trial):
    lr = trial.suggest_float("lr", 2**-11, 2**-4, log=True)
    return after(optuna.trial.FixedTrial({"depth": 3, "lr": lr}))


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(shallow, n_trials=10)
for objective in (before, after):
    carried = objective(optuna.trial.FixedTrial({"depth": 24, **study.best_params}))
    print(
        f"the best lr of depth 3, {study.best_params['lr']:.4g}, at depth 24, {objective.__name__}: loss {carried:.3f}"
    )
