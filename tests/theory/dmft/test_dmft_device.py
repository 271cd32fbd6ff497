"""Everything is computed where the data is, whatever torch's default device: under a default of "meta", where nothing
can be computed, every tensor that forgot its device would come to light."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from isoscale.theory.dmft import (
    Problem,
    Sampling,
    best_rate,
    lazy_limit,
    limit_course,
    solve_deep,
    solve_limit,
    solve_linear,
    train_networks,
)  # fmt: skip
from tests.theory.dmft.problems import small

SAMPLING = Sampling(64, 2)
SOLVERS: dict[str, Callable[[Problem], Tensor]] = {
    "one pass": lambda p: solve_limit(p, 2, sampling=SAMPLING, kernels=True).value.f,
    "independent": lambda p: solve_limit(p, 2, sampling=Sampling(64, 2, "iid")).value.f,
    "deep": lambda p: solve_deep(p, depths=(2, 4, 8), sampling=SAMPLING).value.f,
    "sobol": lambda p: solve_deep(p.with_(alpha=1.0), depths=(2, 4), sampling=Sampling(64, 2, "sobol")).value.f,
    "networks": lambda p: train_networks(p.with_(norm="layer", biases=True), 2, 16, 2, centred=True).f,
    "lazy": lambda p: lazy_limit(p, float("inf")).value.f,
    "linear": lambda p: solve_linear(p.with_(activation="linear", eta0=0.1), 3).value.f,
    "rate": lambda p: torch.tensor(best_rate(p, 2, [0.1, 0.3, 0.9, 2.7], sampling=SAMPLING).value.losses, device="cpu"),
    "course": lambda p: limit_course([p.with_(probes=None)] * 2, 2, [0.1, 0.4], watch=(0, 5), width=16).value.loss,
}


@pytest.mark.parametrize("name", SOLVERS)
def test_the_default_device_does_not_matter(name: str) -> None:
    problem = small()
    expected = SOLVERS[name](problem)
    with torch.device("meta"):
        found = SOLVERS[name](problem)
    assert found.device.type == "cpu"
    assert torch.equal(found, expected)


def test_the_check_sees_a_tensor_without_a_device() -> None:
    with torch.device("meta"):
        assert torch.zeros(2).device.type == "meta"
        with pytest.raises(RuntimeError):
            torch.ones(2, 2) @ small().X[:2, :2].cpu()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("name", SOLVERS)
def test_a_gpu_gives_the_same(name: str) -> None:
    problem = small()
    moved = problem.with_(X=problem.X.cuda(), Y=problem.Y.cuda(), probes=problem.probes.cuda())
    assert torch.allclose(SOLVERS[name](moved).cpu(), SOLVERS[name](problem), rtol=1e-4, atol=1e-5)
