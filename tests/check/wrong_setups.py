"""Ways in which a plan is put to use wrongly; each takes the plan and the model and returns what trains it."""

from dataclasses import replace

import torch

LR = 1e-3


def own_init(plan, model):
    """Forgets `plan.init_`."""
    return plan.optimizer(model, lr=LR)


def unmultiplied(plan, chosen):
    """The plan with the folded multiplier of the chosen parameters taken out again (Adam: std, lr and eps carry it)."""
    return replace(
        plan,
        settings=tuple(
            replace(s, multiplier=1.0, std=s.std / s.multiplier, lr=s.lr / s.multiplier, eps=s.eps * s.multiplier)
            if chosen(s)
            else s
            for s in plan.settings
        ),
    )


def no_readout_multiplier(plan, model):
    wrong = unmultiplied(plan, lambda setting: setting.readout)
    return wrong.optimizer(wrong.init_(model), lr=LR)


def no_branch_multiplier(plan, model):
    wrong = unmultiplied(plan, lambda setting: setting.tail)
    return wrong.optimizer(wrong.init_(model), lr=LR)


def large_unscaled_eps(plan, model):
    optimizer = plan.optimizer(plan.init_(model), lr=LR)
    for group in optimizer.param_groups:
        group["eps"] = 1e-2
    return optimizer


def one_rate_by_scheduler(plan, model):
    optimizer = plan.optimizer(plan.init_(model), lr=LR)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=20)


def one_rate(plan, model):
    """Standard code around the plan's initialisation: AdamW(model.parameters(), lr)."""
    return torch.optim.AdamW(plan.init_(model).parameters(), lr=LR)
