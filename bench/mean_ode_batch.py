"""C14: nets trained together against one by one, as a ratio in one run; and that nothing else changes."""

import time
from collections.abc import Callable

import torch
from mean_ode_claims import Claim, save

from isoscale.theory.mean_ode.network import Net, initial, train
from isoscale.theory.mean_ode.setting import setting_a


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(L: int, M: int, R: int, steps: int = 4, rounds: int = 5) -> tuple[float, float, float]:
    """Cost a net and step: one by one, batched, and the median of their ratios, the two interleaved."""
    setting = setting_a()
    nets = [Net(L, M, seed) for seed in range(R)]
    one, many = initial(setting, nets[:1]), initial(setting, nets)
    train(setting, nets, 1, weights=many)
    alone, together = [], []
    for _ in range(rounds):
        alone.append(
            seconds(lambda: [train(setting, nets[:1], steps, weights=one) for _ in range(4)]) / (4 * (steps + 1))
        )
        together.append(seconds(lambda: train(setting, nets, steps, weights=many)) / ((steps + 1) * R))
    ratios = sorted(a / b for a, b in zip(alone, together))
    return sorted(alone)[rounds // 2], sorted(together)[rounds // 2], ratios[rounds // 2]


def exactness() -> tuple[float, float]:
    """Largest difference of a batched from a lone net: same shapes, and padded ones."""
    setting = setting_a()

    def worst(nets: list[Net]) -> float:
        f = train(setting, nets, 5, dtype=torch.float64).f[-1]
        return max(
            float((train(setting, [net], 5, dtype=torch.float64).f[-1, 0] - f[i]).abs().max())
            for i, net in enumerate(nets)
        )

    rates = [Net(8, 5, seed, eta_u=0.3 * seed, eta_v=0.2 * seed) for seed in range(6)]
    return worst(rates), worst([Net(8, 5), Net(3, 7, 1), Net(1, 1, 2), Net(6, 2, 3)])


def main() -> None:
    torch.set_num_threads(1)
    shapes = {(20, 1): 20.0, (50, 4): 25.0, (100, 1): 0.0, (20, 50): 0.0}
    rows = {shape: ratio(*shape, 128) for shape in shapes}
    same, padded = exactness()
    claims = [
        Claim("C14", f"batch of 128 over one by one, L={L} M={M} D=10", rows[L, M][2], low)
        for (L, M), low in shapes.items()
        if low
    ]
    claims += [
        Claim("C14", "batched - alone, float64, rates differ a net", same, high=1e-12),
        Claim("C14", "padded - alone, float64, shapes differ a net", padded, high=1e-13),
    ]
    save("mean_ode_batch", claims, {"cost_alone_batched_ratio": {f"L{L} M{M}": row for (L, M), row in rows.items()}})


if __name__ == "__main__":
    main()
