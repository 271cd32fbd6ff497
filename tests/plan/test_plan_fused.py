"""A growing head size with queries, keys and values in one weight: the same training as 1/size written in the code."""

import pytest
import torch
from torch import Tensor, nn
from toys import FEATURES

from isoscale._plan import PlanError, plan

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 3}
HEADS, BASE_SIZE = 4, 4


class Attention(nn.Module):
    """`own_scale`: the code itself divides by the head size (and is the usual scale at base size)."""

    def __init__(self, width: int, *, own_scale: bool, by_hand: bool, leaky: bool) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        size = width // HEADS
        self.scale = BASE_SIZE**0.5 / size if own_scale else size**-0.5
        self.by_hand, self.leaky = by_hand, leaky

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.qkv(x)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=-1))
        if self.by_hand:
            out = torch.softmax(q @ k.transpose(-1, -2) * self.scale, dim=-1) @ v
        else:
            out = nn.functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        out = self.proj(out.transpose(1, 2).flatten(2))
        return out + mixed.tanh().mean() if self.leaky else out


class Network(nn.Module):
    def __init__(self, width: int, depth: int, *, own_scale=False, by_hand=False, leaky=False) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.blocks = nn.ModuleList(
            Attention(width, own_scale=own_scale, by_hand=by_hand, leaky=leaky) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(self.norm(h))

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.linspace(-1, 1, 2 * 5 * FEATURES).reshape(2, 5, FEATURES),)


def builder(**options: bool):
    def build(width: int, depth: int) -> nn.Module:
        return Network(width, depth, **options)

    return build


def losses(build, optimizer: str, **hyperparameters: float) -> list[float]:
    made = plan(build, BASE, TARGET, optimizer=optimizer)
    torch.manual_seed(0)
    model = build(**TARGET).double()
    made.init_(model)
    live = made.optimizer(model, **hyperparameters)
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(10):
        x = 3 * torch.randn(8, 5, FEATURES, generator=generator, dtype=torch.float64)
        loss = (model(x) - x[..., :3]).square().mean()
        live.zero_grad()
        loss.backward()
        live.step()
        found.append(float(loss.detach()))
    return found


SETTINGS = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "adamw": {"lr": 0.03, "eps": 1e-3, "weight_decay": 0.5},
}


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("optimizer", SETTINGS)
def test_carried_by_the_weights_or_written_in_the_code_is_one_training(optimizer: str, by_hand: bool) -> None:
    carried = losses(builder(by_hand=by_hand), optimizer, **SETTINGS[optimizer])
    written = losses(builder(own_scale=True, by_hand=by_hand), optimizer, **SETTINGS[optimizer])
    assert carried == pytest.approx(written, rel=1e-5)


def test_leaving_the_usual_scale_is_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the comparison above sees a logit factor that is missing."""
    written = losses(builder(own_scale=True), "adamw", **SETTINGS["adamw"])
    monkeypatch.setattr("isoscale._plan.planning.missing_logits", lambda attention, rule: 1.0)
    monkeypatch.setattr("isoscale._plan.compose.missing_logits", lambda attention, rule: 1.0)
    usual = losses(builder(), "adamw", **SETTINGS["adamw"])
    assert max(abs(a - b) / a for a, b in zip(written, usual)) > 1e-3


def test_the_numbers() -> None:
    """Head size x4: logits lack 1/2; its root goes into the fused weight and bias, and back out of the projection."""
    made = plan(builder(), BASE, TARGET, rule="mup")
    assert made["blocks.1.qkv.weight"].multiplier == pytest.approx(0.5**0.5)
    assert made["blocks.1.qkv.bias"].multiplier == pytest.approx(0.5**0.5)
    assert made["blocks.1.proj.weight"].multiplier == pytest.approx(2**0.5)
    assert made["blocks.1.proj.bias"].multiplier == 1.0
    assert plan(builder(own_scale=True), BASE, TARGET, rule="mup")["blocks.1.qkv.weight"].multiplier == 1.0


def test_torchs_own_attention_is_served() -> None:
    class Encoder(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.stem = nn.Linear(FEATURES, width)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(width, HEADS, width, 0.0, batch_first=True, norm_first=True)
                for _ in range(depth)
            )
            self.head = nn.Linear(width, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x)
            for layer in self.layers:
                h = layer(h)
            return self.head(h)

    made = plan(Encoder, BASE, TARGET, inputs=torch.zeros(2, 5, FEATURES), rule="mup")
    assert made["layers.0.self_attn.in_proj_weight"].multiplier == pytest.approx(0.5**0.5)
    assert made["layers.0.self_attn.out_proj.weight"].multiplier == pytest.approx(2**0.5)


def test_a_fused_weight_that_is_read_elsewhere_is_refused() -> None:
    with pytest.raises(PlanError, match="keep the head size fixed"):
        plan(builder(leaky=True), BASE, TARGET, rule="mup")
    plan(builder(leaky=True), BASE, {**BASE, "depth": 6}, rule="mup")
