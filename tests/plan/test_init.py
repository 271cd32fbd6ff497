"""plan.init_: measured, in place, idempotent, and the user's own model at base size."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from toys import Toy, built, facts, rms, with_parameter

from isoscale._plan import PlanError
from isoscale._plan.compose import compose
from isoscale._rules import get_rule

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 8}


def planned(base=BASE, target=TARGET, rule="depth_mup", structure=None, **more):
    structure = structure or facts(base, target)
    return compose(structure, get_rule(rule), base=base, target=target, optimizer="adamw", **more)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def pooled(model: nn.Module, template: str) -> float:
    """Root mean square over all layers of one kind."""
    return rms(torch.cat([p.flatten() for n, p in model.named_parameters() if n.endswith(template)]))


def test_every_parameter_gets_the_base_models_rms_times_its_ratio() -> None:
    plan, model = planned(), built(0, **TARGET)
    assert plan.init_(model) is model
    for template in ("expand.weight", "expand.bias", "contract.weight", "contract.bias"):
        assert pooled(model, template) == pytest.approx(plan[f"blocks.0.{template}"].rms, rel=1e-6)
    assert rms(model.stem.weight) == pytest.approx(plan["stem.weight"].rms, rel=1e-6)
    # The exact numbers: uniform in +-1/sqrt(fan-in) has rms 1/sqrt(3 fan-in); width x4 and depth x4.
    at_base = 1 / math.sqrt(3 * 16)
    assert pooled(model, "expand.weight") == pytest.approx(at_base / 2, rel=0.02)
    assert pooled(model, "contract.weight") == pytest.approx(at_base / 4, rel=0.02)
    assert pooled(model, "contract.bias") == pytest.approx(at_base / 2, rel=0.02)
    assert rms(model.head.weight) == pytest.approx(at_base / 4, rel=0.02)


def test_biases_that_the_builder_shrinks_with_width_are_brought_back() -> None:
    plan, model = planned(), built(0, **TARGET)
    before = pooled(model, "expand.bias")
    plan.init_(model)
    assert before == pytest.approx(1 / math.sqrt(3 * 64), rel=0.05)
    assert pooled(model, "expand.bias") == pytest.approx(1 / math.sqrt(3 * 16), rel=0.02)


def test_a_second_call_changes_nothing() -> None:
    plan, model = planned(), built(0, **TARGET)
    plan.init_(model)
    once = state(model)
    plan.init_(model)
    assert equal(once, state(model))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_second_call_changes_nothing_in_any_precision(dtype: torch.dtype) -> None:
    plan, model = planned(), built(0, **TARGET).to(dtype)
    plan.init_(model)
    once = state(model)
    plan.init_(model)
    assert equal(once, state(model))
    assert pooled(model, "contract.weight") == pytest.approx(plan["blocks.0.contract.weight"].rms, rel=1e-2)


def test_at_base_size_the_model_stays_bit_for_bit_the_users() -> None:
    plan, model = planned(BASE, BASE), built(3, **BASE)
    before = state(model)
    generator = torch.get_rng_state()
    plan.init_(model)
    assert equal(before, state(model))
    assert torch.equal(generator, torch.get_rng_state())


def test_constants_and_zeros_take_the_folded_multiplier_alone() -> None:
    structure = facts(BASE, TARGET)
    plan, model = planned(structure=structure), built(0, **TARGET)
    plan.init_(model)
    assert torch.equal(model.blocks[1].norm.weight, torch.ones(64))
    assert torch.equal(model.blocks[1].norm.bias, torch.zeros(64))
    tail = with_parameter(structure, "norm.weight", readout=True)  # a tied readout: the last norm carries its 1/n
    model = built(0, **TARGET)
    planned(structure=tail).init_(model)
    assert torch.equal(model.norm.weight, torch.full((64,), 0.25))


def test_an_own_std_is_kept_as_a_ratio() -> None:
    """A peer's silent failure: the own std, the same at every width, was taken for fan-in init."""

    def build(width: int, depth: int) -> nn.Module:
        model = Toy(width, depth)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        return model

    plan, model = planned(structure=facts(BASE, TARGET, build)), built(0, build, **TARGET)
    assert pooled(model, "expand.weight") == pytest.approx(0.02, rel=0.02)
    plan.init_(model)
    assert pooled(model, "expand.weight") == pytest.approx(0.01, rel=0.02)
    assert rms(model.stem.weight) == pytest.approx(0.02, rel=0.02)


def test_an_existing_depth_scaling_is_not_doubled() -> None:
    """GPT-2 draws its tails with 1/sqrt(2 depth) already: the planned rms is reached, once."""

    def build(width: int, depth: int) -> nn.Module:
        model = Toy(width, depth)
        for block in model.blocks:
            block.contract.weight.data /= math.sqrt(2 * depth)
        return model

    base, target = {"width": 16, "depth": 2}, {"width": 16, "depth": 32}
    plan, model = planned(base, target, structure=facts(base, target, build)), built(0, build, **target)
    before = pooled(model, "contract.weight")
    plan.init_(model)
    # alpha = 1/2 folded is l^-1/2 on the tail, which is what the builder did: nothing is left to do.
    assert pooled(model, "contract.weight") == before == pytest.approx(1 / math.sqrt(3 * 16 * 64), rel=0.02)


def test_growing_in_depth_alone_leaves_the_users_draws_outside_tails() -> None:
    base, target = {"width": 16, "depth": 2}, {"width": 16, "depth": 8}
    plan, model = planned(base, target), built(0, **target)
    before = state(model)
    plan.init_(model)
    after = state(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"blocks.{i}.contract.{kind}" for i in range(8) for kind in ("weight", "bias")}
    assert all(torch.equal(after[name], before[name] / 2) for name in changed)


def test_a_profile_over_layers_is_kept() -> None:
    def build(width: int, depth: int) -> nn.Module:
        model = Toy(width, depth)
        for i, block in enumerate(model.blocks):
            block.expand.weight.data *= 1 + i / depth
        return model

    model = built(0, build, **TARGET)
    profile = [rms(block.expand.weight) for block in model.blocks]
    planned(structure=facts(BASE, TARGET, build)).init_(model)
    factors = [rms(block.expand.weight) / before for block, before in zip(model.blocks, profile)]
    assert factors == pytest.approx([factors[0]] * 8, rel=1e-5)


def test_buffers_and_plain_pytorch_are_left_alone() -> None:
    class WithBuffer(Toy):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__(width, depth)
            self.register_buffer("statistics", torch.full((width,), 7.0))

    model = built(0, WithBuffer, **TARGET)
    planned().init_(model)
    assert torch.equal(model.statistics, torch.full((64,), 7.0))
    model = built(0, **TARGET)
    before = state(model)
    planned(rule="sp").init_(model)
    assert equal(before, state(model))


def test_cloned_layers_get_their_own_draws() -> None:
    """`nn.TransformerEncoder` deep-copies one layer: branches are then perfectly correlated."""

    def build(width: int, depth: int) -> nn.Module:
        model = Toy(width, depth)
        model.blocks = nn.ModuleList(copy.deepcopy(model.blocks[0]) for _ in range(depth))
        return model

    plan, model = planned(structure=facts(BASE, TARGET, build)), built(0, build, **TARGET)
    plan.init_(model)
    first, other = model.blocks[0].expand.weight, model.blocks[5].expand.weight
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), other.flatten(), dim=0)
    assert abs(cosine.item()) < 4 / 64
    # A signed permutation of the inputs: the spectrum of the draw is the builder's own.
    assert torch.allclose(torch.linalg.svdvals(first), torch.linalg.svdvals(other), rtol=1e-4)
    assert not torch.equal(model.blocks[0].expand.bias, model.blocks[5].expand.bias)
    assert torch.equal(model.blocks[5].norm.weight, torch.ones(64))
    once = state(model)
    plan.init_(model)
    assert equal(once, state(model))


def test_a_ramp_is_no_clone_and_stays() -> None:
    """Mamba starts A at log(1..n) in every layer: equal by design, and longer where the model is wider."""

    def build(width: int, depth: int) -> nn.Module:
        model = Toy(width, depth)
        for block in model.blocks:
            block.expand.bias.data = torch.arange(1.0, width + 1).log()
        return model

    structure = facts(BASE, TARGET, build)
    assert structure.clones == ()
    plan, model = planned(structure=structure), built(0, build, **TARGET)
    assert plan["blocks.3.expand.bias"].init == "fixed"
    plan.init_(model)
    assert all(torch.equal(block.expand.bias, torch.arange(1.0, 65).log()) for block in model.blocks)


@pytest.mark.parametrize("wrap", ["ddp", "compile", "both", "user"])
def test_wrappers_prefixes_are_understood(wrap: str) -> None:
    """A peer stripped prefixes with str.strip and met other names; a submodule may really be called `module`."""
    plan, model, plain = planned(), built(0, **TARGET), built(0, **TARGET)
    plan.init_(plain)
    outer: nn.Module = model
    if wrap in ("compile", "both"):
        outer = torch.compile(outer, backend="eager")
    if wrap in ("ddp", "both"):
        outer = nn.DataParallel(outer)
    if wrap == "user":
        rows = tuple(replace(s, name=f"module.{s.name}") for s in plan.settings)
        outer, plan = nn.ModuleDict({"module": model}), replace(plan, settings=rows)
    plan.init_(outer)
    assert equal(plain.state_dict(), model.state_dict())
    assert len(plan.param_groups(outer, lr=1.0)) == len(planned().param_groups(plain, lr=1.0))


def test_deepcopy_loses_nothing() -> None:
    """A peer kept shapes as attributes of tensors, which deepcopy loses; the plan keeps names."""
    plan = planned()
    model = copy.deepcopy(plan.init_(built(0, **TARGET)))
    settings = [(group["lr"], group["param_names"]) for group in plan.param_groups(model, lr=1.0)]
    assert settings == [(g["lr"], g["param_names"]) for g in plan.param_groups(built(0, **TARGET), lr=1.0)]


def test_a_model_of_another_size_is_named_and_left_alone() -> None:
    plan, model = planned(), built(0, width=32, depth=8)
    before = state(model)
    with pytest.raises(PlanError, match=r"stem\.weight is \(32, 6\) in the model and \(64, 6\) in the plan"):
        plan.init_(model)
    assert equal(before, state(model))
    with pytest.raises(PlanError, match=r"blocks\.8\.norm\.weight \(64,\) is not in the plan"):
        plan.init_(built(0, width=64, depth=9))
    with pytest.raises(PlanError, match=r"blocks\.7\.norm\.weight \(64,\) is not in the model"):
        plan.init_(built(0, width=64, depth=7))


def test_trained_loaded_or_broken_models_are_refused() -> None:
    plan = planned()
    model = built(0, **TARGET)
    model.norm.bias.data += 0.1  # trained: what starts at zero no longer is
    with pytest.raises(PlanError, match=r"norm\.bias is zero in the base model and not zero here"):
        plan.init_(model)
    model = built(0, **TARGET)
    nn.init.zeros_(model.head.weight)
    with pytest.raises(PlanError, match=r"head\.weight is not zero in the base model and zero here"):
        plan.init_(model)
    model = built(0, **TARGET)
    model.head.weight.data[0, 0] = math.nan
    with pytest.raises(PlanError, match=r"head\.weight holds inf or nan"):
        plan.init_(model)
    with torch.device("meta"):
        model = Toy(**TARGET)
    with pytest.raises(PlanError, match="meta device"):
        plan.init_(model)


@pytest.fixture
def one_rank():
    dist = torch.distributed
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs torch.distributed with gloo")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_sharded_model_is_initialised_and_grouped_like_a_whole_one(one_rank) -> None:
    """A peer kept facts on tensors, which sharding drops."""
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    plan, whole, sharded = planned(), built(0, **TARGET), built(0, **TARGET)
    for block in sharded.blocks:
        torch.distributed.fsdp.fully_shard(block, mesh=mesh)
    torch.distributed.fsdp.fully_shard(sharded, mesh=mesh)
    assert isinstance(sharded.stem.weight, torch.distributed.tensor.DTensor)
    plan.init_(whole)
    plan.init_(sharded)
    x = torch.linspace(-1, 1, 30).reshape(5, 6)
    for model in (whole, sharded):
        optimizer = plan.optimizer(model, lr=1e-2)
        plan.check_optimizer(optimizer)
        model(x).square().mean().backward()
        plan.clip_grad_norm_(model, 0.1)
        optimizer.step()
    for one, other in zip(whole.parameters(), sharded.parameters()):
        assert torch.allclose(one, other.full_tensor(), atol=1e-6)
