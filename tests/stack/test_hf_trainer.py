"""What the Trainers do to a planned optimizer: rates and decay that arrive at its steps are the plan's."""

import pytest
import torch
from torch import nn

from isoscale import plan
from isoscale._plan import PlanError

transformers = pytest.importorskip("transformers", reason="needs the extra trainers: make stack installs it")
pytest.importorskip("accelerate", reason="needs the extra trainers: make stack installs it")
pytestmark = [pytest.mark.stack, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 4}


class Regression(nn.Module):
    """A network with the interface the Trainer wants: a loss in its output."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(4, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for _ in range(depth))
        self.head = nn.Linear(width, 1)

    def forward(self, x, labels=None):
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        out = self.head(h)
        return {"loss": (out[:, 0] - labels).square().mean()} if labels is not None else out


DATA = [{"x": torch.randn(4), "labels": torch.randn(())} for _ in range(32)]


def trained(folder, own_scheduler=None, **arguments):
    """Rates and decays of the groups at every optimizer step, with those planned."""
    made = plan(Regression, BASE, TARGET, inputs=torch.ones(2, 4))
    torch.manual_seed(0)
    model = made.init_(Regression(**TARGET))
    optimizer = made.optimizer(model, lr=1e-2, weight_decay=0.1)
    told = transformers.TrainingArguments(
        str(folder), max_steps=4, per_device_train_batch_size=8, report_to=[], save_strategy="no", use_cpu=True,
        logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, **arguments,
    )  # fmt: skip
    scheduler = own_scheduler(optimizer) if own_scheduler else None
    trainer = transformers.Trainer(model, told, train_dataset=DATA, optimizers=(optimizer, scheduler))
    before = [
        (group["initial_lr"] if own_scheduler else group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
    ]
    seen = []
    optimizer.register_step_pre_hook(
        lambda o, *_: seen.append([(group["lr"], group["weight_decay"]) for group in o.param_groups])
    )
    trainer.train()
    return made, trainer, before, seen


def test_rates_arrive_and_the_trainers_own_decay_is_not_added(tmp_path) -> None:
    """TrainingArguments' learning_rate and weight_decay do nothing to a given optimizer; the schedule multiplies."""
    made, trainer, planned, seen = trained(tmp_path, learning_rate=123.0, weight_decay=77.0, lr_scheduler_type="cosine")
    assert len(seen) == 4
    for step in seen:
        factors = {round(rate / own, 9) for (rate, _), (own, _) in zip(step, planned)}
        assert len(factors) == 1
        assert [decay for _, decay in step] == [decay for _, decay in planned]
    assert len({rate for rate, _ in seen[0]}) > 1
    made.check_optimizer(trainer.optimizer)
    made.check_scheduler(trainer.lr_scheduler)


def test_a_schedule_that_overwrites_the_rates_is_seen(tmp_path) -> None:
    """Negative control: one absolute rate for all groups, as OneCycleLR with a scalar gives."""
    one_cycle = lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=10)  # noqa: E731
    made, trainer, _, seen = trained(tmp_path, own_scheduler=one_cycle)
    assert len({rate for rate, _ in seen[0]}) == 1
    with pytest.raises(PlanError, match=r"plan\.per_group"):
        made.check_scheduler(trainer.lr_scheduler)
