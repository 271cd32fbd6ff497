"""What is read is what is there: every kind of quantity against the same number computed by hand."""

import math
from dataclasses import replace

import pytest
import torch
from own_networks import FixedStd, tokens, untied, vectors
from torch import nn

from isoscale._check import CheckError, coord_check
from isoscale._check.measure import Task, measure, sites_of, trace_size
from isoscale._plan import plan
from isoscale._plan.hooks import detach

LR = 0.05


def rms(tensor: torch.Tensor) -> float:
    return math.sqrt(float(tensor.detach().double().square().mean()))


def measured(build, size, inputs, steps=1, **how):
    made = plan(build, size, size, inputs=inputs, optimizer="sgd", **how)
    task = Task(build, inputs, lambda out: out.square().mean(), lambda p, m: p.optimizer(p.init_(m), lr=LR), steps)
    traced = trace_size(task, made, size)
    (sites,) = sites_of([traced], made, made)
    found = measure(task, traced, sites, seed=3)
    return {(q.kind, q.place, q.moment): found.rms(q) for q in found.squares}, found


def trained(build, size, inputs, steps=1):
    """The model before and after the same steps, and with only some parameters taken from after."""
    torch.manual_seed(3)
    before = build(**size)
    after = build(**size)
    after.load_state_dict(before.state_dict())
    optimizer = torch.optim.SGD(after.parameters(), lr=LR)
    for _ in range(steps):
        optimizer.zero_grad()
        after(inputs).square().mean().backward()
        optimizer.step()
    return before, after


def test_stream_branch_output_and_preactivation_by_hand() -> None:
    size, x = {"width": 12, "depth": 2}, vectors()
    values, _ = measured(FixedStd, size, x)
    before, after = trained(FixedStd, size, x)

    def states(model: FixedStd) -> dict[str, torch.Tensor]:
        h = model.stem(x)
        found = {"entry": h}
        branches = []
        for norm, block in zip(model.norms, model.blocks):
            branches.append(block(norm(h)))
            h = h + branches[-1]
        return found | {"end": h, "branches": torch.stack(branches), "output": model.head(model.norm(h))}

    one, two = states(before), states(after)
    assert values["stream", "before the branches", "init"] == pytest.approx(rms(one["entry"]))
    assert values["stream", "after 1 of the branches", "init"] == pytest.approx(rms(one["end"]))
    assert values["stream", "after 1 of the branches", "change"] == pytest.approx(rms(two["end"] - one["end"]), 1e-5)
    assert values["branch", "blocks.*", "init"] == pytest.approx(rms(one["branches"]))
    assert values["branch", "blocks.*", "change"] == pytest.approx(rms(two["branches"] - one["branches"]), 1e-4)
    assert values["output", "of the model", "change"] == pytest.approx(rms(two["output"] - one["output"]), 1e-4)
    assert values["preactivation", "of stem.weight", "init"] == pytest.approx(rms(one["entry"]))


@pytest.mark.parametrize("name", ["stem.weight", "stem.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"])
def test_an_update_is_seen_alone_with_everything_else_as_at_the_start(name: str) -> None:
    size, x = {"width": 12, "depth": 2}, vectors()
    values, _ = measured(FixedStd, size, x)
    before, after = trained(FixedStd, size, x)
    h = before.stem(x)
    for norm, block in zip(before.norms, before.blocks):
        h = h + block(norm(h))
    inputs = {"stem": x, "norm": h, "head": before.norm(h)}
    module, _, parameter = name.partition(".")
    layer, moved = getattr(before, module), getattr(after, module)
    old = layer(inputs[module])
    with torch.no_grad():
        getattr(layer, parameter).copy_(getattr(moved, parameter))
    assert values["update", f"of {name}", "change"] == pytest.approx(rms(layer(inputs[module]) - old), 1e-4)


def test_attention_logits_by_hand_fused_or_not() -> None:
    size, x = {"width": 8, "depth": 1}, tokens()
    values, _ = measured(untied, size, x)
    torch.manual_seed(3)
    model = untied(**size)
    h = model.norms[0](model.embed(x))
    batch, length, _ = h.shape
    q, k = (each(h).view(batch, length, 2, -1).transpose(1, 2) for each in (model.blocks[0].q, model.blocks[0].k))
    assert values["logits", "blocks.*", "init"] == pytest.approx(rms(q @ k.transpose(-1, -2) / 2.0), 1e-5)

    class Fused(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
            self.readout = nn.Linear(width, 3)

        def forward(self, h: torch.Tensor) -> torch.Tensor:
            return self.readout(h + self.attention(h, h, h, need_weights=False)[0])

    torch.manual_seed(3)
    inner = Fused(8).attention
    fixed = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1))
    found, _ = measured(Fused, {"width": 8}, fixed)
    q, k = (torch.chunk(inner.in_proj_weight, 3)[i] @ fixed.transpose(1, 2) for i in (0, 1))
    q, k = (each.view(4, 2, 4, 5).transpose(2, 3) for each in (q, k))
    assert found["logits", "attention", "init"] == pytest.approx(rms(q @ k.transpose(-1, -2) / 2.0), 1e-5)


class Noisy(nn.Module):
    """Dropout and BatchNorm: noise and buffers that measuring must not disturb."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(6, width), nn.BatchNorm1d(width)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def test_noise_is_the_same_before_and_after_and_no_random_state_is_touched() -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    made = plan(Noisy, {"width": 8}, {"width": 8}, inputs=vectors(), optimizer="sgd")
    task = Task(Noisy, vectors(), lambda out: out.sum() * 0.0, lambda p, m: p.optimizer(p.init_(m), lr=LR), 2)
    traced = trace_size(task, made, {"width": 8})
    (sites,) = sites_of([traced], made, made)
    found = measure(task, traced, sites, seed=0)
    changes = [found.rms(quantity) for quantity in found.squares if quantity.moment == "change"]
    assert changes
    assert max(changes) == 0.0, "nothing was learned, so nothing changes"
    assert torch.equal(state, torch.get_rng_state())


def test_a_model_that_takes_another_path_after_training_is_told() -> None:
    class Branching(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, width), nn.Linear(width, 3)
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            h = self.first(x)
            return self.last(h if self.calls < 4 else torch.relu(h))

    with pytest.raises(CheckError, match="ops at initialisation and"):
        coord_check(Branching, {"width": 8}, widths=[8, 16, 32], inputs=vectors(), seeds=2, steps=4)


class Bottleneck(nn.Module):
    """width -> 3 -> width, twice: as it is, and behind a sigmoid, which starts at 1/2 whatever it is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.last = nn.Linear(6, width), nn.Linear(width, 3)
        self.down, self.up = nn.Linear(width, 3, bias=False), nn.Linear(3, width)
        self.gate_down, self.gate_up = nn.Linear(width, 3, bias=False), nn.Linear(3, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x)
        return self.last(h + self.up(torch.relu(self.down(h))) * self.gate_up(torch.sigmoid(self.gate_down(h))))


def test_what_comes_through_a_matrix_onto_few_numbers_is_known_to_fade() -> None:
    small, large = {"width": 8}, {"width": 16}
    made = plan(Bottleneck, small, large, inputs=vectors())
    task = Task(Bottleneck, vectors(), lambda out: out.square().mean(), lambda p, m: p.optimizer(p.init_(m), lr=LR), 1)
    (sites,) = sites_of([trace_size(task, made, large)], made, made)
    fades = [(r.quantity.kind, r.quantity.place) for r in sites.readings if r.quantity.fading]
    assert fades[0][0] == "branch"
    assert fades[1:] == [("preactivation", "of down.weight"), ("preactivation", "of gate_down.weight")]
    assert {swap.quantity.place for swap in sites.swaps if swap.quantity.fading} == {"of up.weight"}


def test_a_model_that_can_not_be_trained_is_told() -> None:
    class Overwriting(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(6, width), nn.LayerNorm(width), nn.Linear(width, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.first(x)
            y = self.norm(h)
            return self.last(h.add_(y))

    with pytest.raises(CheckError, match="can not be trained"):
        coord_check(Overwriting, {"width": 8}, widths=[8, 16, 32], inputs=vectors(), seeds=2, steps=1)


class Halved(nn.Module):
    """A readout whose 1/sqrt(width) the code applies after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.last, self.width = nn.Linear(6, width), nn.Linear(width, 3, bias=False), width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.stem(x))) * self.width**-0.5


def test_a_multiplier_that_the_code_applies_later_is_counted_once() -> None:
    check = coord_check(Halved, {"width": 64}, widths=[64, 128, 256], inputs=vectors(), seeds=3, most_seeds=3, steps=2)
    (update,) = (line for line in check.select(kind="update") if line.quantity.parameter == "last.weight")
    assert update.slope is not None
    assert abs(update.slope.estimate) < 0.15, str(check)


def test_hooks_of_explicit_mode_are_measured_with_their_multiplier() -> None:
    size = {"width": 12, "depth": 4}
    made = plan(FixedStd, {"width": 12, "depth": 2}, size, inputs=vectors(), mode="explicit")
    folded = plan(FixedStd, {"width": 12, "depth": 2}, size, inputs=vectors())

    def effect(used, setup) -> float:
        task = Task(FixedStd, vectors(), lambda out: out.square().mean(), setup, 2)
        traced = trace_size(task, used, size)
        (sites,) = sites_of([traced], used, used)
        found = measure(task, traced, sites, seed=0)
        return next(found.rms(q) for q in found.squares if q.kind == "update" and q.place == "of blocks.*.weight")

    def init(p, m):
        return p.optimizer(p.init_(m), lr=LR, eps=1e-12)

    def unhooked(p, m):
        optimizer = init(p, m)
        detach(m)
        return optimizer

    explicit = effect(made, init)
    assert explicit == pytest.approx(effect(folded, init), 1e-3)
    assert effect(replace(made, hooks=()), unhooked) != pytest.approx(explicit, 1e-3)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "neither widths nor depths"),
        ({"widths": [8, 16, 32], "steps": 0}, "steps=0"),
        ({"widths": [8, 16, 32], "setup": lambda plan, model: model}, "setup returned"),
    ],
)
def test_mistakes_are_told(how, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        coord_check(FixedStd, {"width": 8, "depth": 1}, inputs=vectors(), **how)
