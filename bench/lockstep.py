"""What lockstep gains: model-steps a CPU second, stacked against one network after another, by shape and members.

    python bench/lockstep.py [steps] [--device cuda]

Process CPU time, one thread, plain and stacked in turns in one run, twice; the better of each. A shape's "operations"
are those of a step per parameter matrix, what `isoscale._train.lockstep.PAYS_BELOW` is compared with. Also the
fraction of this core's matrix-product peak that either reaches, the bytes a member takes, and the width at which
lockstep of an MLP stops paying. On a device wall time counts, each time waited for. Writes bench/facts/lockstep.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from isoscale._train import prepare
from isoscale._train.lockstep import PAYS_BELOW, bytes_each, placed, room
from isoscale._train.loop import one_thread, training
from isoscale._train.schedule import batches
from isoscale._train.setup import flops_per_step
from isoscale._train.stack import stacked

FACTS = Path(__file__).parent / "facts" / "lockstep.json"
COMMON = {"rule": "depth_mup", "optimizer": "adamw", "data": "digits", "evaluations": 1, "schedule": "cosine"}
MLPS = [
    {"model": "residual_mlp", "width": width, "depth": depth, "batch_size": batch}
    for width, depth, batch in (
        (16, 3, 64), (32, 3, 64), (32, 3, 128), (32, 12, 128), (64, 3, 64), (64, 12, 64), (128, 3, 64), (128, 12, 64),
        (256, 3, 64),
    )
]  # fmt: skip
OTHERS = [
    {"model": "preln_mlp", "width": 64, "depth": 3, "batch_size": 64},
    {"model": "preln_mlp", "width": 128, "depth": 3, "batch_size": 64},
    {"model": "vit", "width": 32, "depth": 2, "batch_size": 16},
    {"model": "vit", "width": 64, "depth": 2, "batch_size": 16},
    {"model": "gpt", "data": "text", "context": 16, "width": 32, "depth": 2, "batch_size": 8},
    {"model": "gpt", "data": "text", "context": 16, "width": 64, "depth": 2, "batch_size": 8},
    {"model": "conv_resnet_bn", "width": 8, "depth": 2, "batch_size": 32},
]
MEMBERS = (4, 16, 48)
SLOW = 6e7  # operations a step, above which only the smaller stacks are measured


def seconds(work: Callable[[], object], device: str) -> float:
    """CPU seconds on the CPU; on a device wall seconds, with what it still has to do."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    wait = (lambda: None) if device == "cpu" else torch.cuda.synchronize
    wait()
    start = clock()
    work()
    wait()
    return clock() - start


def peak(device: str) -> float:
    """Operations a second of a large matrix product, in the precision of training."""
    n = 768 if device == "cpu" else 8192
    a = torch.randn(n, n, device=device)
    with one_thread():
        a @ a
        return 2 * n**3 * 6 / seconds(lambda: [a @ a for _ in range(6)], device)


def plain_step(config: dict, steps: int, device: str) -> float:
    """Seconds of a step of the plain loop, after three that warm it; nothing is scored."""
    with one_thread():
        loop = training(placed(prepare(config | {"steps": steps + 3}), device))
        for _ in range(3):
            next(loop)
        return seconds(lambda: list(loop), device) / steps


def stacked_step(config: dict, members: int, steps: int, device: str) -> float:
    """Seconds of a step of one member of a stack, each on its own batch."""
    setups = [placed(prepare(config | {"seed": seed}), device) for seed in range(members)]
    data, stack = setups[0].data, stacked(setups)
    orders = [batches(len(data.x_train), s.settings.batch_size, s.settings.seed) for s in setups]

    def take(count: int) -> None:
        for _ in range(count):
            chosen = torch.stack([next(order) for order in orders]).to(device)
            stack.step(data.x_train[chosen], data.y_train[chosen], [1.0] * members)

    with one_thread():
        take(3)
        return seconds(lambda: take(steps), device) / steps / members


def measure(shape: dict, steps: int, top: float, device: str) -> dict[str, object]:
    base = COMMON | shape | {"base_width": shape["width"], "base_depth": shape["depth"]}
    first = prepare(base | {"seed": 0, "lr": 2.0**-9, "steps": 1})
    flops = flops_per_step(first)
    tensors = sum(parameter.dim() > 1 for parameter in first.model.parameters())

    config = base | {"seed": 0, "lr": 2.0**-9}
    members = [m for m in MEMBERS if m * flops < 48 * SLOW and m <= room(first)]
    plain = [plain_step(config, 2 * steps, device)]
    rounds = [{m: stacked_step(config, m, steps, device) for m in members} for _ in range(2)]
    plain.append(plain_step(config, 2 * steps, device))
    each = {m: min(found[m] for found in rounds) for m in members}
    alone, best = min(plain), min(each.values())
    return shape | {
        "operations a matrix": flops / tensors, "plain: seconds a step": alone,
        "gain by members": {str(m): round(alone / own, 2) for m, own in each.items()},
        "fraction of peak, plain": round(flops / alone / top, 3),
        "fraction of peak, lockstep": round(flops / best / top, 3),
        "bytes a member": bytes_each(first), "members that fit": room(first),
    }  # fmt: skip


def crossover(rows: list[dict]) -> int | None:
    """The least width of a residual MLP of depth 3 and batch 64 that lockstep does not make 1.1 times as fast."""
    line = [r for r in rows if (r["model"], r["depth"], r["batch_size"]) == ("residual_mlp", 3, 64)]
    return min((r["width"] for r in line if max(r["gain by members"].values()) <= 1.1), default=None)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("steps", nargs="?", type=int, default=20)
    arguments.add_argument("--device", default="cpu")
    given = arguments.parse_args()
    top = peak(given.device)
    rows = []
    for shape in [*MLPS, *OTHERS]:
        rows.append(measure(shape, given.steps, top, given.device))
        print(json.dumps(rows[-1]), flush=True)
    gains = [(r["operations a matrix"], max(r["gain by members"].values())) for r in rows]
    facts = {
        "command": f"python bench/lockstep.py {given.steps} --device {given.device}", "device": given.device,
        "peak, operations a second": top, "PAYS_BELOW": PAYS_BELOW,
        "largest that gains": max((at for at, gain in gains if gain > 1.1), default=None),
        "smallest that does not": min((at for at, gain in gains if gain <= 1.1), default=None),
        "crossover width of a residual MLP, depth 3, batch 64": crossover(rows), "rows": rows,
    }  # fmt: skip
    print({name: value for name, value in facts.items() if name != "rows"})
    path = FACTS if given.device == "cpu" else FACTS.with_name("lockstep_device.json")
    path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
