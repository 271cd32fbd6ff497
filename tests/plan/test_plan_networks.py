"""plan() on whole networks: from a builder to a trained step, and every mistake told before any computing."""

import copy

import pytest
import torch
from torch import Tensor, nn
from toys import FEATURES, Toy, built, facts, rms

from isoscale._plan import Plan, PlanError, plan
from isoscale._plan.compose import compose
from isoscale._rules import get_rule

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 8}


class Tied(nn.Module):
    """Embedding and readout are one weight, with a norm in front of the readout."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, width)
        self.blocks = Toy(width, depth).blocks
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embedding(tokens)
        for block in self.blocks:
            h = h + block(h)
        return self.norm(h) @ self.embedding.weight.T

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.arange(10).reshape(2, 5),)


class Encoder(nn.Module):
    """torch's own encoder, which deep-copies one layer."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        layer = nn.TransformerEncoderLayer(width, width // 8, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.encoder(self.stem(x))))

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.linspace(-1, 1, 2 * 4 * FEATURES).reshape(2, 4, FEATURES),)


class ConvReadout(nn.Module):
    """The readout is a convolution: a peer's class for readouts was linear only."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h.relu())
        return self.head(h)

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.linspace(-1, 1, 72).reshape(2, 1, 6, 6),)


def test_tracing_agrees_with_the_facts_by_hand() -> None:
    """Two independent ways to the same plan: the traced one, and one from facts written down by a person."""
    traced = plan(Toy, BASE, TARGET)
    by_hand = compose(facts(BASE, TARGET), get_rule("depth_mup"), base=BASE, target=TARGET, optimizer="adamw")
    assert [setting.name for setting in traced.settings] == [setting.name for setting in by_hand.settings]
    for setting in traced.settings:
        other = by_hand[setting.name]
        for what in ("role", "tail", "multiplier", "std", "lr", "eps", "decay", "metric", "base_rms"):
            assert getattr(setting, what) == getattr(other, what), (setting.name, what)


def test_from_builder_to_trained_step_and_file(tmp_path) -> None:
    made = plan(Toy, BASE, TARGET, inputs=torch.zeros(4, FEATURES), optimizer="adamw")
    made.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json")
    model = loaded.init_(built(0, **TARGET))
    optimizer = torch.optim.AdamW(loaded.param_groups(model, lr=3e-3, weight_decay=0.1))
    loaded.check_optimizer(optimizer)
    x, y = torch.randn(64, FEATURES), torch.randn(64, 3)
    losses = []
    for _ in range(30):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert loaded.verify(Toy).holds
    assert loaded.verify(Toy, size=TARGET).branches == 8


def test_a_tied_readout_hands_its_multiplier_to_the_norm() -> None:
    """A peer let the tied embedding grow with width."""
    made = plan(Tied, BASE, TARGET)
    assert made["embedding.weight"].std == 1.0
    assert made["norm.weight"].multiplier == made["norm.bias"].multiplier == 0.25
    model = made.init_(built(0, Tied, **TARGET))
    assert torch.equal(model.norm.weight, torch.full((64,), 0.25))
    tokens = model.example_inputs()[0]
    sizes = ({"width": 16, "depth": 2}, {"width": 256, "depth": 2})
    plain = [rms(built(0, Tied, **size)(tokens)) for size in sizes]
    logits = [rms(plan(Tied, BASE, size).init_(built(0, Tied, **size))(tokens)) for size in sizes]
    assert logits[1] < 1.3 * logits[0]
    assert plain[1] > 3 * plain[0]  # negative control: plain PyTorch's logits grow


def test_a_conv_readout_is_a_readout() -> None:
    made = plan(ConvReadout, BASE, TARGET)
    assert (made["head.weight"].role, made["head.weight"].multiplier, made["head.weight"].std) == ("output", 0.25, 0.25)
    assert made["blocks.5.weight"].tail


def test_a_cloned_encoder_is_said_and_separated() -> None:
    made = plan(Encoder, BASE, TARGET)
    assert any("copies of one another" in warning for warning in made.warnings)
    model = made.init_(built(0, Encoder, **TARGET))
    weights = [layer.linear1.weight for layer in model.encoder.layers]
    assert not any(torch.equal(weights[0], other) for other in weights[1:])
    assert not plan(Toy, BASE, TARGET).warnings


@pytest.mark.parametrize("network", [Toy, Tied, Encoder, ConvReadout])
def test_explicit_and_folded_are_one_function(network: type[nn.Module]) -> None:
    outputs = []
    for mode in ("fold", "explicit"):
        made = plan(network, BASE, TARGET, mode=mode)
        model = built(0, network, **TARGET).double()
        torch.manual_seed(1)  # cloned layers are redrawn
        inputs = [x.double() if x.is_floating_point() else x for x in model.example_inputs()]
        outputs.append(made.init_(model)(*inputs))
        assert bool(made.hooks) == (mode == "explicit")
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-6, atol=1e-9)
    assert not torch.allclose(outputs[0], built(0, network, **TARGET).double()(*inputs), rtol=1e-2)


def test_a_hook_survives_deepcopy_and_renames_nothing() -> None:
    made = plan(Toy, BASE, TARGET, mode="explicit")
    model = made.init_(built(0, **TARGET))
    again = copy.deepcopy(model)
    x = torch.randn(3, FEATURES)
    assert torch.equal(model(x), again(x))
    assert list(model.state_dict()) == list(Toy(**TARGET).state_dict())
    made.init_(again)
    assert torch.equal(model(x), again(x))


class NoExample(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x))


class Restless(Toy):
    """Its parameters' names change from one call to the next."""

    calls = 0

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        Restless.calls += 1
        self.add_module(f"extra{Restless.calls}", nn.Linear(width, width))


MISTAKES = {
    "missing key": (lambda: plan(Toy, {"width": 16}, TARGET), r"only in target: \['depth'\]"),
    "smaller": (lambda: plan(Toy, TARGET, BASE), r"smaller than the base: width=16 \(base 64\); depth=2 \(base 8\)"),
    "unknown": (
        lambda: plan(Toy, {"width": 16, "dpth": 2}, {"width": 32, "dpth": 2}),
        r"Did you mean 'depth'",
    ),
    "not a module": (lambda: plan(lambda width, depth: 3, BASE, TARGET), r"returned a int"),
    "not callable": (lambda: plan(3, BASE, TARGET), "not callable"),
    "no size": (lambda: plan(Toy, {}, {}), "a size is a dict"),
    "size is a number": (lambda: plan(Toy, 16, TARGET), "a size is a dict"),
    "no inputs": (lambda: plan(NoExample, BASE, TARGET), "Pass an example batch"),
    "wrong inputs": (lambda: plan(NoExample, BASE, TARGET, inputs=torch.zeros(2, 7)), r"2x7 and 3x16"),
    "names change": (lambda: plan(Restless, BASE, TARGET), "width"),
    "rule": (lambda: plan(Toy, BASE, TARGET, rule="depth_mu"), "did you mean 'depth_mup'"),
    "optimizer": (lambda: plan(Toy, BASE, TARGET, optimizer="adan"), "unknown optimizer 'adan'"),
    "refused optimizer": (lambda: plan(Toy, BASE, TARGET, optimizer="radam"), "refused: its first steps"),
    "mode": (lambda: plan(Toy, BASE, TARGET, mode="folded"), "mode='folded'"),
    "postnorm": (lambda: plan(Toy, BASE, TARGET, postnorm="maybe"), "postnorm='maybe'"),
    "role's glob": (lambda: plan(Toy, BASE, TARGET, roles={"bloks.*": "scalar"}), r"no parameter matches 'bloks"),
    "role": (lambda: plan(Toy, BASE, TARGET, roles={"blocks.*": "scalr"}), "scalr"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_told(mistake: str) -> None:
    call, says = MISTAKES[mistake]
    with pytest.raises(ValueError, match=says):
        call()


def test_names_that_change_between_two_builds_of_the_base_are_told() -> None:
    structure = facts(BASE, TARGET)
    from_measure = r"different parameters|has no"
    with pytest.raises(PlanError, match=from_measure):
        facts(BASE, TARGET, Restless)
    assert structure.parameters


def test_roles_can_be_given() -> None:
    made = plan(Toy, BASE, TARGET, roles={"blocks.*.expand.bias": "scalar"})
    assert {made[f"blocks.{i}.expand.bias"].role for i in range(8)} == {"scalar"}
    assert made["blocks.0.contract.bias"].role == "input"


class GeluTail(nn.Module):
    """Branches that end at a nonlinearity, times a constant of the code that shrinks with depth."""

    def __init__(self, width: int, depth: int, power: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(depth))
        self.head = nn.Linear(width, 3)
        self.constant = 0.5 * depth**-power

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + self.constant * block(h)
        return self.head(h)

    def example_inputs(self) -> tuple[Tensor, ...]:
        return Toy(1, 1).example_inputs()


class OneMore(nn.Module):
    """Gemma's norm: its gain is 1 + w, which no factor on w can multiply."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, x.shape[-1:]) * (1 + self.weight)


class TiedModule(Tied):
    """The readout is a module that shares the embedding's weight, behind a norm that cannot carry its multiplier."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        self.norm = OneMore(width)
        self.head = nn.Linear(width, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embedding(tokens)
        for block in self.blocks:
            h = h + block(h)
        return self.head(self.norm(h))


@pytest.mark.parametrize(("power", "factor"), [(0.0, 0.5), (0.5, None), (1.0, 2.0)])
def test_a_refused_branch_is_hooked_by_what_its_code_lacks(power: float, factor: float | None) -> None:
    def build(width: int, depth: int) -> nn.Module:
        return GeluTail(width, depth, power)

    with pytest.raises(PlanError, match=r"gelu.*mode=\"explicit\""):
        plan(build, BASE, TARGET)
    hooks = [hook for hook in plan(build, BASE, TARGET, mode="explicit").hooks if "branch" in hook.why]
    assert [hook.factor for hook in hooks] == pytest.approx([1.0 if factor is None else factor] * 8)


def test_a_tied_readout_that_no_norm_can_carry_is_hooked() -> None:
    with pytest.raises(PlanError, match=r"readout must shrink with width"):
        plan(TiedModule, BASE, TARGET)
    made = plan(TiedModule, BASE, TARGET, mode="explicit")
    (hook,) = [hook for hook in made.hooks if hook.side == "input"]
    assert (hook.module, hook.factor) == ("head", 0.25)
    model = built(0, TiedModule, **TARGET)
    tokens = model.example_inputs()[0]
    before = model(tokens)
    made.init_(model)
    assert made["embedding.weight"].lr == 1.0
    assert rms(model(tokens)) < 0.5 * rms(before)


class PostNorm(Toy):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block, norm in zip(self.blocks, self.norms):
            h = norm(h + block.contract(block.expand(h).relu()))
        return self.head(h)


def test_a_norm_on_the_stream_is_refused_where_depth_is_scaled() -> None:
    with pytest.raises(ValueError, match="post-norm"):
        plan(PostNorm, BASE, TARGET)
    assert plan(PostNorm, BASE, TARGET, postnorm="allow")["blocks.0.contract.weight"].multiplier == 0.5
    for rule in ("sp", "mup"):
        assert plan(PostNorm, BASE, TARGET, rule=rule)["blocks.0.contract.weight"].multiplier == 1.0
