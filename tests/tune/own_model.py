"""A user's file: a small residual network, its data, and everything that people get wrong."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.down(torch.relu(self.up(self.norm(h))))


class Net(nn.Module):
    def __init__(self, width: int, depth: int, inner: int | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.first(x)))


def build(width: int, depth: int) -> nn.Module:
    return Net(width, depth)


def data() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 8, generator=generator)
    y = (torch.tanh(x @ torch.randn(8, 16, generator=generator)) @ torch.randn(16, 4, generator=generator)).argmax(-1)
    return (x[:192], y[:192]), (x[192:], y[192:])


def real_data() -> dict[str, torch.Tensor]:
    (x, y), (x_test, y_test) = data()
    hot = torch.eye(4)
    return {"x_train": x, "y_train": hot[y], "x_test": x_test, "y_test": hot[y_test]}


def fixed_width(width: int, depth: int) -> nn.Module:
    return Net(16, depth)


def no_module(width: int, depth: int) -> str:
    return "a model"


def only_width(width: int) -> nn.Module:
    return Net(width, 2)


class Tuple(Net):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return super().forward(x), None


class Dict(Net):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"hidden": x, "logits": super().forward(x)}


class Text(Net):
    def forward(self, x: torch.Tensor) -> str:  # type: ignore[override]
        return "logits"


def tuple_out(width: int, depth: int) -> nn.Module:
    return Tuple(width, depth)


def dict_out(width: int, depth: int) -> nn.Module:
    return Dict(width, depth)


def text_out(width: int, depth: int) -> nn.Module:
    return Text(width, depth)


def unlike_layers(width: int, depth: int) -> nn.Module:
    """Two layers in one list that are not alike: a pattern of their names would mean both."""
    net = Net(width, depth)
    for block in net.blocks:
        block.up = nn.Sequential(nn.Linear(width, 5), nn.Linear(5, width))  # type: ignore[union-attr]
    net.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))  # type: ignore[assignment]
    return net


def noisy_loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output + torch.randn_like(output), y)


def bad_init(width: int, depth: int) -> nn.Module:
    net = Net(width, depth)
    nn.init.constant_(net.head.weight, float("nan"))
    return net


def frozen(width: int, depth: int) -> nn.Module:
    return Net(width, depth).requires_grad_(False)


def vector_loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output, y, reduction="none")


def detached_loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output.detach(), y)


def nan_loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output, y) * float("nan")


def wrong_inputs() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    (x, y), (x_test, y_test) = data()
    return (x[:, :5], y), (x_test[:, :5], y_test)


def too_many_classes() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    (x, y), held = data()
    return (x, y + 2), held


def column_targets() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    (x, y), (x_test, y_test) = data()
    return (x, y[:, None].float()), (x_test, y_test[:, None].float())


def needs_arguments(path: str) -> None:
    raise AssertionError(path)


def dict_batches() -> list[dict[str, torch.Tensor]]:
    (x, y), _ = data()
    return [{"x": x, "y": y}]
