"""
PyTorch Lightning
=================

A LightningModule whose `configure_optimizers` returns the planned optimizer: one line of the module, and the model
inside stays plain PyTorch. Needs a second look only where Lightning clips gradients: see below.

Needs `lightning` (extra `trainers`).
"""

import logging
import warnings

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isoscale import plan

warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.expand, self.contract = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h):
        return h + self.contract(torch.relu(self.expand(self.norm(h))))


def build(width, depth):
    return nn.Sequential(nn.Linear(8, width), *(Block(width) for _ in range(depth)), nn.Linear(width, 3))


x, y = torch.randn(64, 8), torch.randn(64, 3)
recipe = plan(build, {"width": 16, "depth": 2}, {"width": 64, "depth": 6}, inputs=x[:4])


# %%
# The module
# ----------
# Clipping: `Trainer(gradient_clip_val=...)` would clip the plain norm of all gradients, whose meaning changes with the
# size. Overriding `configure_gradient_clipping` takes the plan's norm instead, and keeps the argument of the Trainer.


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = recipe.init_(build(width=64, depth=6))
        self.rates = []

    def training_step(self, batch, index):
        features, targets = batch
        return (self.model(features) - targets).square().mean()

    def configure_optimizers(self):
        optimizer = recipe.optimizer(self.model, lr=3e-3, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=8)
        recipe.check_scheduler(schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        if gradient_clip_val:
            recipe.clip_grad_norm_(self.model, gradient_clip_val)

    def on_before_optimizer_step(self, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])


# %%
# The rates really arrive
# -----------------------

torch.manual_seed(0)
module = Module()
trainer = lightning.Trainer(
    max_steps=8, accelerator="cpu", gradient_clip_val=1.0, logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=16))
recipe.check_optimizer(trainer.optimizers[0])
first, last = module.rates[0], module.rates[-1]
assert len(module.rates) == 8
assert len(set(first)) > 1, "the groups have rates of their own"
assert len({round(b / a, 6) for a, b in zip(first, last)}) == 1, "the schedule multiplies all of them alike"
print(f"{len(first)} groups, from {min(first):.2e} to {max(first):.2e}, scheduled by {last[0] / first[0]:.2f}")
