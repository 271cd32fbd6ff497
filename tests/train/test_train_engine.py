"""Inside the lockstep engine: replays, dropout, the device's update, memory that runs out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isoscale._records.run import Run
from isoscale._train import lockstep, prepare
from isoscale._train.kernels import cross_entropy
from isoscale._train.lockstep import pays, train_lockstep
from isoscale._train.loop import one_thread, train_prepared
from isoscale._train.setup import Setup
from isoscale._train.stack import Stack
from isoscale._train.update import Segment, update_of

BASE = {
    "model": "residual_mlp", "data": "digits", "rule": "depth_mup", "optimizer": "adamw", "width": 16, "depth": 2,
    "base_width": 16, "base_depth": 2, "seed": 0, "lr": 2.0**-6, "steps": 20, "batch_size": 32, "evaluations": 1,
}  # fmt: skip


def config(**changes: object) -> dict[str, object]:
    return BASE | changes


def outcome(run: Run) -> tuple[object, ...]:
    return run.metrics, run.status, run.steps, run.curves


def test_narrow_cross_entropy_is_torchs_and_leaves_out_what_it_leaves_out() -> None:
    z, y = torch.randn(7, 5, dtype=torch.float64), torch.tensor([0, 4, -100, 2, 1, -100, 3])
    assert cross_entropy(z, y) == pytest.approx(F.cross_entropy(z, y).item(), rel=1e-12)
    assert cross_entropy(z, y, label_smoothing=0.1) is None
    assert cross_entropy(torch.randn(7, 50), y) is None


class Attentive(nn.Module):
    """Dropout in three places: on features, on attention weights, and after a nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.readout = nn.Linear(8, 16), nn.Linear(16, 48), nn.Linear(16, 10)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(self.stem(x.flatten(1).view(-1, 8, 8)))
        q, k, v = self.qkv(h).chunk(3, -1)
        h = h + F.scaled_dot_product_attention(q, k, v, dropout_p=0.3 if self.training else 0.0)
        return self.readout(F.dropout(F.gelu(h), 0.5, self.training).mean(1))


def dropping(seed: int, lr: float = 2.0**-6, model: type[nn.Module] = Attentive) -> Setup:
    setup = prepare(config(seed=seed, lr=lr))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = model()
    return replace(setup, model=network, optimizer=torch.optim.AdamW(network.parameters(), lr=lr, fused=True))


def test_members_with_dropout_are_what_they_are_alone() -> None:
    assert pays(dropping(0))
    state = torch.get_rng_state()
    many = train_lockstep([dropping(seed, lr) for seed in (0, 1) for lr in (2.0**-6, 2.0**-5)])
    assert torch.equal(state, torch.get_rng_state())
    (few,) = train_lockstep([dropping(1, 2.0**-5)])
    assert outcome(few) == outcome(many[3])
    for run, setup in zip(many[::2], (dropping(0), dropping(1))):
        alone = train_prepared(setup)
        assert run.metrics["smoothed_train_loss"] == pytest.approx(alone.metrics["smoothed_train_loss"], rel=1e-4)
        assert run.metrics["train_loss"] == pytest.approx(alone.metrics["train_loss"], rel=1e-4)
    assert outcome(train_prepared(dropping(1))) == outcome(train_prepared(dropping(1)))


def test_without_its_masks_a_member_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: masks of another seed change the loss by far more than rounding."""
    right = train_prepared(dropping(0)).metrics["train_loss"]
    monkeypatch.setattr("isoscale._train.noise.dropout_generator", lambda seed: torch.Generator().manual_seed(seed + 1))
    assert abs(train_prepared(dropping(0)).metrics["train_loss"] / right - 1) > 1e-3


class Jittery(Attentive):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.randn_like(x) if self.training else x)


def test_other_random_numbers_train_alone_and_come_from_the_seed() -> None:
    assert not pays(dropping(0, model=Jittery))
    torch.manual_seed(1)
    first = train_prepared(dropping(0, model=Jittery))
    torch.manual_seed(2)
    assert outcome(train_prepared(dropping(0, model=Jittery))) == outcome(first)


def test_a_stack_that_runs_out_of_memory_is_halved_and_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [config(seed=seed) for seed in range(5)]
    whole = [outcome(run) for run in train_lockstep([prepare(member) for member in members])]
    original, sizes = Stack.step, []

    def scarce(self: Stack, *inputs: object) -> Tensor:
        sizes.append(self.members)
        if sizes[-1] > 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return original(self, *inputs)

    monkeypatch.setattr(Stack, "step", scarce)
    assert [outcome(run) for run in train_lockstep([prepare(member) for member in members])] == whole
    assert sorted(set(sizes)) == [2, 3, 5]


def test_other_failures_and_a_member_that_never_fits_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        def call(*_: object, **__: object) -> None:
            raise RuntimeError(text)

        monkeypatch.setattr(Stack, "step", call)

    fail("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes"):
        train_lockstep([prepare(config(seed=seed)) for seed in (0, 1)])
    fail("can't allocate memory")
    with pytest.raises(RuntimeError, match="allocate"):
        train_lockstep([prepare(config(seed=seed)) for seed in (0, 1)])


@pytest.mark.parametrize(
    ("optimizer", "nesterov", "coefficients"),
    [("sgd", False, [(0.0,), (0.9,)]), ("sgd", True, [(0.8,), (0.9,)]), ("sgd", False, [(0.0,), (0.0,)]),
     ("adam", False, [(0.9, 0.99), (0.8, 0.999)]), ("adamw", False, [(0.9, 0.99), (0.8, 0.999)])],
)  # fmt: skip
def test_the_update_of_a_device_is_that_of_a_cpu(optimizer: str, nesterov: bool, coefficients) -> None:
    segments = [(Segment(0, 3, 0.1, 0.3, 1e-3), Segment(3, 8, 0.02, 0.0, 1e-8)), (Segment(0, 8, 0.05, 0.1, 1e-6),)]
    count = 2 if optimizer != "sgd" else int(any(c[0] for c in coefficients))
    start, gradients = torch.randn(2, 8, dtype=torch.float64), torch.randn(4, 2, 8, dtype=torch.float64)

    def trained(broadcast: bool) -> Tensor:
        values, gradient = start.clone(), torch.zeros_like(start)
        moments = [torch.zeros_like(start) for _ in range(count)]
        update = update_of(
            optimizer, nesterov, 0, values, gradient, moments, segments, coefficients, broadcast=broadcast
        )
        for at, each in enumerate(gradients):
            gradient.copy_(each)
            update([1.0 - 0.1 * at, 0.5])
        return values

    with one_thread():
        torch.testing.assert_close(trained(True), trained(False), rtol=1e-10, atol=1e-12)
        assert not torch.allclose(trained(True), start)


def test_a_device_goes_through_the_whole_engine() -> None:
    """A CPU named as a device, "cpu:0", takes the path of moved networks and data."""
    runs = lockstep.train_batch([config(seed=0), config(seed=1)], device="cpu:0")
    assert [outcome(run) for run in runs] == [
        outcome(run) for run in lockstep.train_batch([config(seed=0), config(seed=1)])
    ]
    assert {run.versions["engine"] for run in runs} == {lockstep.ENGINE}
