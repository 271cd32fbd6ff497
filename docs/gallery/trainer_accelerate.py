"""
Accelerate, and a plain loop in five lines
==========================================

Accelerate wraps model and optimizer and leaves the parameter groups alone, so the plan is used before `prepare`. The
plain loop is the same without Accelerate.

Needs `accelerate` (extra `trainers`).
"""

import torch
from accelerate import Accelerator
from torch import nn

from isoscale import plan


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.expand, self.contract = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h):
        return h + self.contract(torch.relu(self.expand(self.norm(h))))


def build(width, depth):
    return nn.Sequential(nn.Linear(8, width), *(Block(width) for _ in range(depth)), nn.Linear(width, 3))


x, y = torch.randn(64, 8), torch.randn(64, 3)
base, target = {"width": 16, "depth": 2}, {"width": 64, "depth": 6}


recipe = plan(build, base, target, inputs=x)

# %%
# A plain loop
# ------------
# Five lines of it are the plan's: plan, `init_`, `optimizer`, and a loop that knows nothing of them.

torch.manual_seed(0)
model = recipe.init_(build(**target))
optimizer = recipe.optimizer(model, lr=3e-3)
for _ in range(8):
    optimizer.zero_grad()
    plain = (model(x) - y).square().mean()
    plain.backward()
    optimizer.step()

# %%
# The same under Accelerate
# -------------------------
# `accelerator.clip_grad_norm_` takes the plain norm of all gradients, whose meaning changes with the size:
# `recipe.clip_grad_norm_(model, 1.0)` is the one that transfers.

torch.manual_seed(0)
model = recipe.init_(build(**target))
accelerator = Accelerator(cpu=True)
model, optimizer = accelerator.prepare(model, recipe.optimizer(model, lr=3e-3))
for _ in range(8):
    optimizer.zero_grad()
    loss = (model(x) - y).square().mean()
    accelerator.backward(loss)
    optimizer.step()
recipe.check_optimizer(optimizer.optimizer)
assert loss.item() == plain.item()
print(f"loss after 8 steps: {plain.item():.4f}, and {loss.item():.4f} under Accelerate")
