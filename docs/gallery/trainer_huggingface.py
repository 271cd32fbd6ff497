"""
Hugging Face Trainer: GPT-2 and ViT
===================================

A GPT-2 and a ViT, built from their configurations (nothing is downloaded), tuned small and trained larger with
`transformers.Trainer`. The plan gives the optimizer; the Trainer's own schedule multiplies its rates, which keeps their
ratios.

Needs `transformers`, `accelerate` (extra `trainers`).
"""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from isoscale import plan


def gpt2(width, depth):
    config = GPT2Config(
        vocab_size=64, n_positions=16, n_embd=width, n_layer=depth, n_head=width // 16, attn_implementation="eager",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


tokens = torch.randint(64, (64, 16), generator=torch.Generator().manual_seed(0))
sentences = [{"input_ids": row, "labels": row} for row in tokens]

# %%
# The plan, and the five lines that use it
# ----------------------------------------
# `weight_decay` and `learning_rate` of TrainingArguments do nothing once an optimizer is given: they go into the plan.
# `max_grad_norm=0` turns the Trainer's clipping off: its threshold would mean something else at every size. Where you
# want clipping, a callback does it with the plan's norm, which is the same in every gauge.

recipe = plan(gpt2, {"width": 32, "depth": 2}, {"width": 64, "depth": 4}, inputs={"input_ids": tokens[:2]})
torch.manual_seed(0)
model = recipe.init_(gpt2(width=64, depth=4))
optimizer = recipe.optimizer(model, lr=3e-3, weight_decay=0.1)

folder = tempfile.mkdtemp()
arguments = TrainingArguments(
    folder, max_steps=6, per_device_train_batch_size=16, max_grad_norm=0.0, report_to=[], save_strategy="no",
    logging_strategy="no", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
)  # fmt: skip
trainer = Trainer(model, arguments, train_dataset=sentences, optimizers=(optimizer, None))


# %%
# The rates really arrive
# -----------------------
# At every step of the optimizer the live rates are the planned ratios times the schedule's one factor.

planned = [group["lr"] for group in optimizer.param_groups]
factors = []
optimizer.register_step_pre_hook(
    lambda opt, *_: factors.append({round(group["lr"] / lr, 9) for group, lr in zip(opt.param_groups, planned)})
)
result = trainer.train()
assert len(factors) == 6
assert all(len(each) == 1 for each in factors), "the schedule multiplies all groups alike"
recipe.check_optimizer(optimizer)
recipe.check_scheduler(trainer.lr_scheduler)
print("factors of the default linear schedule:", [each.pop() for each in factors])
print(f"loss {result.training_loss:.3f} (log 64 = {torch.tensor(64.0).log():.3f})")


# %%
# A ViT, the same way
# -------------------


def vit(width, depth):
    config = ViTConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=width // 16, intermediate_size=2 * width,
        image_size=16, patch_size=4, num_channels=1, num_labels=10, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, attn_implementation="eager",
    )  # fmt: skip
    return ViTForImageClassification(config)


pictures = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
labelled = [{"pixel_values": picture, "labels": i % 10} for i, picture in enumerate(pictures)]

recipe = plan(vit, {"width": 32, "depth": 2}, {"width": 64, "depth": 4}, inputs={"pixel_values": pictures[:2]})
torch.manual_seed(0)
model = recipe.init_(vit(width=64, depth=4))
optimizer = recipe.optimizer(model, lr=3e-3)
trainer = Trainer(model, arguments, train_dataset=labelled, optimizers=(optimizer, None))
print(f"loss {trainer.train().training_loss:.3f}")
recipe.check_optimizer(optimizer)
