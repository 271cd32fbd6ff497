"""The budget: a sweep priced by a few steps; proxies whose regret is small as the law of the optimum has it."""

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest

from isoscale._records.run import Config, Run
from isoscale._sweep.budget import price, propose
from isoscale._transfer.errors import RunsError
from isoscale._transfer.law import PRIOR, fit_law, predict
from isoscale._transfer.simulate import World


def slow(configs: Sequence[Config]) -> list[Run]:
    """Two milliseconds a step, whatever else the machine does meanwhile."""
    for config in configs:
        time.sleep(0.002 * config["steps"])
    return [
        Run(config, {"train_loss": 1.0}, steps=config["steps"], flops=100.0 * config["steps"]) for config in configs
    ]


def test_a_sweep_is_priced_by_a_few_of_its_steps() -> None:
    configs = [{"width": w, "depth": 2, "lr": 0.1, "seed": s, "steps": 1000} for w in (8, 16) for s in range(10)]
    small, large = price(slow, configs)
    assert (small.size, large.size) == ((8, 2), (16, 2))
    assert small.runs == 10
    assert small.flops == 10 * 1000 * 100.0
    assert 10 * 1000 * 0.002 <= small.seconds < 3 * 10 * 1000 * 0.002
    assert small.bytes >= 0


def runs(a: float, b: float, sizes: Sequence[tuple[int, int]], seeds: int = 6) -> list[Run]:
    optima = {(width, depth): -6.0 + a / width + b / depth for width, depth in sizes}
    return World("quadratic", 0.05, 0.01).runs(optima, seeds=seeds, rng=np.random.default_rng(1))


SIZES = ((16, 2), (32, 2), (64, 2), (16, 4), (16, 8))


@pytest.mark.parametrize(("a", "b"), [(-16.0, 0.0), (0.0, 0.8), (-8.0, -0.8)])
def test_the_law_is_found_again_and_predicts_the_regret_at_a_size_it_has_not_seen(a: float, b: float) -> None:
    law = fit_law(runs(a, b, SIZES))
    spread = [math.sqrt(law.covariance[at][at]) for at in (0, 1)]
    assert abs(law.width_term - a) < 3 * spread[0] + 0.5
    assert abs(law.depth_term - b) < 3 * spread[1] + 0.05
    assert law.curvature == pytest.approx(0.05, rel=0.3)
    target = (256, 32)
    for proxy in SIZES:
        offset = a * (1 / proxy[0] - 1 / target[0]) + b * (1 / proxy[1] - 1 / target[1])
        truth = math.expm1(0.05 * offset**2)
        assert truth <= predict(law, proxy, target, 6).high + 0.002
    with pytest.raises(RunsError, match="two"):
        fit_law(runs(a, b, SIZES[:1]))


def test_the_cheapest_proxy_that_is_good_enough_comes_first_and_a_bound_too_strict_gives_none() -> None:
    law = fit_law(runs(-16.0, 0.5, SIZES))

    def regret(size: tuple[int, int], seeds: int) -> tuple[float, float]:
        found = predict(law, size, (256, 32), seeds)
        return found.regret, found.high

    def flops(size: tuple[int, int]) -> float:
        return float(size[0] ** 2 * size[1])

    found = propose((16, 2), (256, 32), 10, flops, regret, 0.02)
    assert found == tuple(sorted(found, key=lambda each: each.flops))
    assert all(each.regret <= 0.02 for each in found)
    assert found[0].saving > 10
    strict = propose((16, 2), (256, 32), 10, flops, regret, 0.0008)
    assert strict[0].flops > found[0].flops, "a smaller regret costs more"
    assert not propose((16, 2), (256, 32), 10, flops, regret, 1e-9)


def test_without_runs_the_prior_says_so_and_more_seeds_and_width_lower_its_regret() -> None:
    assert "no runs" in PRIOR.source
    loose, tight = (predict(PRIOR, (32, 4), (1024, 48), seeds).regret for seeds in (1, 20))
    assert tight < loose
    assert predict(PRIOR, (128, 4), (1024, 48), 20).regret < tight
