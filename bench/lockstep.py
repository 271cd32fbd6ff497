"""What lockstep gains: model-steps a CPU second, stacked against one network after another, by shape and members.

    python bench/lockstep.py [steps]

Process CPU time, one thread, plain and stacked in turns in one run, twice; the better of each. A shape's "operations"
are those of a step per parameter matrix, what `isoscale._train.lockstep.PAYS_BELOW` is compared with. Also the
fraction of this core's matrix-product peak that either reaches. Writes bench/facts/lockstep.json.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from isoscale._train import prepare
from isoscale._train.lockstep import PAYS_BELOW, room
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


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peak() -> float:
    """Operations a CPU second of a large matrix product on this thread."""
    a = torch.randn(768, 768)
    with one_thread():
        a @ a
        return 2 * 768**3 * 6 / cpu(lambda: [a @ a for _ in range(6)])


def plain_step(config: dict, steps: int) -> float:
    """CPU seconds of a step of the plain loop, after three that warm it; nothing is scored."""
    with one_thread():
        loop = training(prepare(config | {"steps": steps + 3}))
        for _ in range(3):
            next(loop)
        return cpu(lambda: list(loop)) / steps


def stacked_step(config: dict, members: int, steps: int) -> float:
    """CPU seconds of a step of one member of a stack, each on its own batch."""
    setups = [prepare(config | {"seed": seed}) for seed in range(members)]
    data, loss, stack = setups[0].data, setups[0].loss, stacked(setups)
    orders = [batches(len(data.x_train), s.settings.batch_size, s.settings.seed) for s in setups]

    def take(count: int) -> None:
        for _ in range(count):
            chosen = torch.stack([next(order) for order in orders])
            stack.step(loss, data.x_train[chosen], data.y_train[chosen], False, [1.0] * members)

    with one_thread():
        take(3)
        return cpu(lambda: take(steps)) / steps / members


def measure(shape: dict, steps: int, top: float) -> dict[str, object]:
    base = COMMON | shape | {"base_width": shape["width"], "base_depth": shape["depth"]}
    first = prepare(base | {"seed": 0, "lr": 2.0**-9, "steps": 1})
    flops = flops_per_step(first)
    tensors = sum(parameter.dim() > 1 for parameter in first.model.parameters())

    config = base | {"seed": 0, "lr": 2.0**-9}
    members = [m for m in MEMBERS if m * flops < 48 * SLOW and m <= room(first)]
    plain = [plain_step(config, 2 * steps)]
    rounds = [{m: stacked_step(config, m, steps) for m in members} for _ in range(2)]
    plain.append(plain_step(config, 2 * steps))
    each = {m: min(found[m] for found in rounds) for m in members}
    alone, best = min(plain), min(each.values())
    return shape | {
        "operations a matrix": flops / tensors, "plain: seconds a step": alone,
        "gain by members": {str(m): round(alone / own, 2) for m, own in each.items()},
        "fraction of peak, plain": round(flops / alone / top, 3),
        "fraction of peak, lockstep": round(flops / best / top, 3),
        "members that fit": room(first),
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    steps = int(arguments[0]) if arguments else 20
    top = peak()
    rows = []
    for shape in [*MLPS, *OTHERS]:
        rows.append(measure(shape, steps, top))
        print(json.dumps(rows[-1]), flush=True)
    dense = [r for r in rows if "conv" not in r["model"]]
    gains = [max(r["gain by members"].values()) for r in dense]
    wins = [r["operations a matrix"] for r, gain in zip(dense, gains) if gain > 1.1]
    losses = [r["operations a matrix"] for r, gain in zip(dense, gains) if gain <= 1.1]
    facts = {
        "command": "python bench/lockstep.py", "PAYS_BELOW": PAYS_BELOW, "largest that gains": max(wins, default=None),
        "smallest that does not": min(losses, default=None), "rows": rows,
    }  # fmt: skip
    print({name: value for name, value in facts.items() if name != "rows"})
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
