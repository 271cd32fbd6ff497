"""Where the scaling rule itself was open, measured: five questions, each with the other choices beside the rule's.

    nice -n 10 python bench/open_questions.py [attention tied batchnorm vectors counting ...]

Writes bench/facts/open_questions.json (docs/theory/open-questions.md and tests/agreement/test_open_questions.py read
it); without names all are run. Sweeps are kept in a store under the temporary folder and taken up where they stopped.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.open_engine import Task, Trained, altered, exponent, gradients, recounted, rms, swept, trained
from bench.open_networks import Attention, Blocks, NextCharacter, NormAtTail, PreLN, Towers
from isoscale import Plan, plan
from isoscale._plan import Setting
from isoscale._train import MODELS, load

FACTS = Path(__file__).parent / "facts" / "open_questions.json"
DECAY = 1.5  # of batchnorm: it alone takes a gain to 0.39 in the steps there
SEEDS = 6  # of a figure at one learning rate
RUNS = 5  # of a sweep


def digits(**how: int) -> Task:
    data = load("digits")
    return Task(data.x_train, data.y_train, **how)


def fixed(x: float, seeds: int = SEEDS) -> list[tuple[float, int]]:
    """Members of one learning rate."""
    return [(x, seed) for seed in range(seeds)]


def attention() -> dict[str, Any]:
    """Growing head size: 1/d against 1/sqrt(d), both with the queries' rate and start of the gauge."""
    widths, task = (16, 32, 64, 128, 256), digits(batch=32, steps=60)
    base = {"width": 16, "depth": 1}
    sizes = {width: plan(Attention, base, base | {"width": width}, inputs=task.x[:4]) for width in widths}
    found: dict[str, Any] = {}
    for name, power in (("1/d", 0.0), ("1/sqrt(d)", 0.5)):

        def root(width: int, power: float = power) -> Callable[[Any], None]:
            return lambda model: setattr(model, "extra", (width / 16) ** power)

        rows: dict[str, list[list[float]]] = {}
        for width, made in sizes.items():
            for rate in (-6.0, -8.0):
                run = trained(made, Attention, task, fixed(rate), change=root(width))
                before, after = (run.seen(state, task.x[:128])[0] for state in (run.before, run.after))
                rows.setdefault("start", []).extend([rms(before)] if rate == -6.0 else [])
                rows.setdefault(f"change at 2^{rate:.0f}", []).append(rms(after - before))
                rows.setdefault(f"trained at 2^{rate:.0f}", []).append(rms(after))
        found[name] = {key: exponent(widths, values) for key, values in rows.items()}
        grid = [x / 2 for x in range(-17, -4, 2)]
        found[name]["lr"] = swept(f"attention {name}", "width", sizes, Attention, task, grid, seeds=RUNS, change=root)
    return found


def tied() -> dict[str, Any]:
    """One weight, embedding and readout: the readout's 1/n on the final norm's gain and bias, left out, or untied."""
    widths, data = (32, 64, 128, 256, 512), load("text")
    rows = data.x_train[::4, :2].clone()
    vocabulary = data.outputs
    task = Task(rows, data.x_train[::4, 2].clone(), batch=64, steps=60)
    found: dict[str, Any] = {"vocabulary": vocabulary}
    for name, shared, handed in (("tied", True, True), ("untied", False, True), ("tied without 1/n", True, False)):
        build = partial(NextCharacter, tied=shared, vocabulary=vocabulary)
        base = {"width": 32, "depth": 2}
        plans = {width: plan(build, base, base | {"width": width}, inputs=rows[:4]) for width in widths}
        if not handed:
            plans = {width: altered(made, without_readout) for width, made in plans.items()}
        values: dict[str, list[list[float]]] = {"start": [], "change": []}
        for made in plans.values():
            run = trained(made, build, task, fixed(-6.0))
            before, after = (run.outputs(state, rows[:256]) for state in (run.before, run.after))
            values["start"].append(rms(before))
            values["change"].append(rms(after - before))
        found[name] = {key: exponent(widths, value) for key, value in values.items()}
        grid = [x / 2 for x in range(-17, -2, 2)]
        found[name]["lr"] = swept(f"tied {name}", "width", plans, build, task, grid, seeds=RUNS)
    return found


def without_readout(s: Setting) -> dict[str, float]:
    """The readout's 1/n taken out of the final norm again (AdamW)."""
    if not s.readout or s.role == "output":
        return {}
    n = s.fan_out
    return {"std": n, "multiplier": n, "lr": n, "eps": 1 / n, "decay": 1 / n}


def shrink(run: Trained, name: str) -> list[float]:
    """How much is left of the start: <after, before> / <before, before> over all parameters called so, per member."""
    pairs = [(run.after[k], run.before[k]) for k in run.before if name in k]
    top = sum((a * b).flatten(1).sum(1) for a, b in pairs)
    return [float(each) for each in (top / sum((b * b).flatten(1).sum(1) for _, b in pairs)).detach()]


def batchnorm() -> dict[str, Any]:
    """Decay of a folded gain at a branch's end: l (the rule's), not scaled, and the half way."""
    depths, task = (2, 4, 8, 16), digits(batch=64, steps=80)
    base = {"width": 32, "depth": 2}
    sizes = {d: plan(NormAtTail, base, base | {"depth": d}, inputs=task.x[:16]) for d in depths}
    found: dict[str, Any] = {}
    for name, power in (("l^1 (the rule)", 0.0), ("l^1/2", -0.5), ("1", -1.0)):

        def other(s: Setting, power: float = power) -> dict[str, float]:
            return {"decay": s.depth**power} if "norms" in s.name else {}

        plans = {d: altered(made, other) for d, made in sizes.items()}
        rows: dict[str, list[list[float]]] = {"decay of the gain": [], "left of the gain": [], "stream": []}
        for made in plans.values():
            run, free = (trained(made, NormAtTail, task, fixed(-6.0), decay=wd) for wd in (DECAY, 0.0))
            left, kept_free = shrink(run, "norms"), shrink(free, "norms")
            rows["decay of the gain"].append([math.log(b / a) for a, b in zip(left, kept_free)])
            rows["left of the gain"].append(left)
            rows["stream"].append(rms(run.seen(run.after, task.x[:256])[0]))
        found[name] = {key: exponent(depths, values) for key, values in rows.items()}
        grid = [x / 2 for x in range(-19, -6, 2)]
        key = f"batchnorm {name}"
        found[name]["lr"] = swept(key, "depth", plans, NormAtTail, task, grid, seeds=RUNS, decay=DECAY)
    factors = (0.5 * (1 + math.cos(math.pi * step / task.steps)) for step in range(task.steps))
    found["decay alone"] = round(-sum(math.log(1 - 2**-6 * DECAY * each) for each in factors), 4)
    return found


def by_vectors(run: Trained, x: Tensor, ends: bool = True) -> list[list[float]]:
    """Change of the branches by the training of gains and biases: of one on the mean, and of their sum; per member.

    Weights are those after training in both, so the difference is the vectors' alone: what they do in their branch and
    to the stream that the next ones read. ends=False: without the biases at the branches' ends.
    """

    def back(name: str, value: Tensor) -> bool:
        vector = name.startswith(("norms.", "expands.", "contracts.")) and value.dim() == 2
        return vector and (ends or not name.startswith("contracts."))

    vectors = {k: v if back(k, v) else run.after[k] for k, v in run.before.items()}
    changes = [a - b for a, b in zip(run.seen(run.after, x), run.seen(vectors, x))]
    each = torch.stack(changes).pow(2).flatten(2).mean((0, 2)).sqrt()
    return [[float(v) for v in each.detach()], rms(torch.stack(changes).sum(0))]


SWEPT = (("completep", "rule"), ("completep", "l^-1 more"), ("completep", "end unscaled"), ("depth_mup", "rule"))


def vectors() -> dict[str, Any]:
    """Gains and biases under completep: rate, eps and decay by the size of what they do to the branches."""
    depths, task = (2, 4, 8, 16), digits(batch=64, steps=60)
    base = {"width": 32, "depth": 2}
    found: dict[str, Any] = {}
    for rule in ("completep", "depth_mup"):
        sizes = {d: plan(PreLN, base, base | {"depth": d}, inputs=task.x[:4], rule=rule) for d in depths}
        found[rule] = {"gradient": gradient_sizes(sizes, depths, task)}
        for name, inner, tail in (("rule", 0.0, 0.0), ("l^-1/2 more", -0.5, -0.5), ("l^-1 more", -1.0, -1.0),
                                  ("end unscaled", 0.0, 1.0)):  # fmt: skip

            def other(s: Setting, inner: float = inner, tail: float = tail) -> dict[str, float]:
                vector = s.stream is not None and len(s.shape) == 1
                return {"lr": s.depth ** (tail if s.tail else inner)} if vector else {}

            plans = {d: altered(made, other) for d, made in sizes.items()}
            rows: dict[str, list[list[float]]] = {"one branch": [], "all branches": []}
            for made in plans.values():
                one, every = by_vectors(trained(made, PreLN, task, fixed(-7.0)), task.x[:128])
                rows["one branch"].append(one)
                rows["all branches"].append(every)
            found[rule][name] = {key: exponent(depths, values) for key, values in rows.items()}
            if (rule, name) in SWEPT:
                grid = [x / 2 for x in range(-19, -6, 2)]
                key = f"vectors {rule} {name}"
                found[rule][name]["lr"] = swept(key, "depth", plans, PreLN, task, grid, seeds=RUNS)
    found["decay"], found["eps"] = decay_of_vectors(depths, task, base), eps_of_vectors(depths, task, base)
    return found


def gradient_sizes(sizes: dict[int, Plan], depths: tuple[int, ...], task: Task) -> dict[str, Any]:
    """Gradients of the vectors at the start, over depth, and the power of the rule's eps."""
    found = {}
    for kind in ("norms.0.weight", "expands.0.bias", "contracts.0.bias"):
        first, _, last = kind.split(".")
        values = []
        for made in sizes.values():
            drawn = [gradients(made, PreLN, task, seed) for seed in range(SEEDS)]
            alike = [[g for n, g in every.items() if n.startswith(first) and n.endswith(last)] for every in drawn]
            values.append([float(torch.stack(gs).pow(2).mean().sqrt()) for gs in alike])
        found[f"{first}.{last}"] = exponent(depths, values) | {"eps": sizes[depths[-1]][kind].exponents["eps"]}
    return found


def decay_of_vectors(depths: tuple[int, ...], task: Task, base: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    sizes = {d: plan(PreLN, base, base | {"depth": d}, inputs=task.x[:4], rule="completep") for d in depths}
    for name, power in (("rule", 0.0), ("unscaled", -1.0)):

        def other(s: Setting, power: float = power) -> dict[str, float]:
            return {"decay": s.decay**power} if s.stream is not None and len(s.shape) == 1 else {}

        rows: dict[str, list[list[float]]] = {"norms": [], "contracts.bias": []}
        for made in (altered(made, other) for made in sizes.values()):
            run = trained(made, PreLN, task, fixed(-7.0), decay=3.0)
            ends = {k: v for k, v in run.before.items() if k.startswith("contracts") and k.endswith("bias")}
            rows["norms"].append(shrink(run, "norms"))
            rows["contracts.bias"].append(shrink(Trained(run.model, ends, run.after, run.losses), "bias"))
        found[name] = {key: exponent(depths, values) for key, values in rows.items()}
    return found


def eps_of_vectors(depths: tuple[int, ...], task: Task, base: dict[str, int]) -> dict[str, Any]:
    """With an eps as large as the base's gradients: what the vectors do to the branches, eps scaled or not."""
    found: dict[str, Any] = {}
    sizes = {d: plan(PreLN, base, base | {"depth": d}, inputs=task.x[:4], rule="completep") for d in depths}
    for name, power in (("rule", 0.0), ("unscaled", -1.0)):

        def other(s: Setting, power: float = power) -> dict[str, float]:
            return {"eps": s.eps**power} if s.stream is not None and len(s.shape) == 1 else {}

        values = []
        for made in (altered(made, other) for made in sizes.values()):
            values.append(by_vectors(trained(made, PreLN, task, fixed(-7.0), eps=3e-2), task.x[:128], ends=False)[0])
        found[name] = exponent(depths, values)
    return found


def counting() -> dict[str, Any]:
    """Branches against blocks: more branches in a block, and a stream that grows beside one that does not."""
    task, grid = digits(batch=64, steps=60), [x / 2 for x in range(-19, -6, 2)]
    inside_block = (1, 2, 4, 8)
    base = {"width": 32, "blocks": 3, "each": 1}
    sizes = {each: plan(Blocks, base, base | {"each": each}, inputs=task.x[:4]) for each in inside_block}
    by_block = {each: recounted(made, lambda s: 1.0) for each, made in sizes.items()}
    found: dict[str, Any] = {"depths": {str(each): list(made.depths.values()) for each, made in sizes.items()}}
    for name, plans in (("branches", sizes), ("blocks", by_block)):
        streams = []
        for made in plans.values():
            run = trained(made, Blocks, task, fixed(-6.0))
            streams.append(rms(run.seen(run.before, task.x[:256])[-1]))
        found[name] = {"stream at the start": exponent(inside_block, streams)}
        found[name]["lr"] = swept(f"counting {name}", "depth", plans, Blocks, task, grid, seeds=2 * RUNS)
    found["towers"] = towers(task)
    found["transformer"] = transformer()
    found["one add"] = one_add(task)
    return found


def transformer() -> dict[str, Any]:
    """Two branches in a block at both sizes: the ratio of branches is the ratio of blocks."""
    build = partial(MODELS["gpt"].build, inputs=(8,), outputs=16)
    made = plan(build, {"width": 16, "depth": 2}, {"width": 16, "depth": 6})
    by_blocks = recounted(made, lambda s: 6 / 2)
    same = all(getattr(a, key) == getattr(b, key) for a, b in zip(made.settings, by_blocks.settings)
               for key in ("std", "lr", "eps", "decay"))  # fmt: skip
    return {"blocks": [2, 6], "branches": list(*made.depths.values()), "same settings": same}


def one_add(task: Task) -> dict[str, Any]:
    """The growth log(|end|^2 / |start|^2) of the stream as 4 functions become 16: two adds a block, or one of both."""
    base = {"width": 64, "blocks": 2, "each": 2, "parallel": False}
    build = partial(Blocks, scale=0.5)
    found: dict[str, Any] = {}
    for name, start, end in (
        ("two adds at both", False, False),
        ("one add at both", True, True),
        ("two adds; then one", False, True),
    ):
        ends = (base | {"parallel": start}, base | {"blocks": 8, "parallel": end})
        growth = []
        for target in ends:
            run = trained(plan(build, ends[0], target, inputs=task.x[:4]), build, replace(task, steps=0), fixed(-6.0))
            first, last = (rms(h) for h in run.seen(run.before, task.x[:256]))
            growth.append([2 * math.log(b / a) for a, b in zip(first, last)])
        made = plan(build, *ends, inputs=task.x[:4])
        found[name] = {"depth": list(*made.depths.values())} | exponent((1, 2), growth)
    return found


def towers(task: Task) -> dict[str, Any]:
    """The left stream deepens, the right one keeps its 2 branches: depth of one's own stream, or of both together."""
    lefts, base = (2, 4, 8, 16), {"width": 32, "left": 2, "right": 2}
    sizes = {left: plan(Towers, base, base | {"left": left}, inputs=task.x[:4]) for left in lefts}
    together = {left: recounted(made, lambda s, left=left: (left + 2) / 4) for left, made in sizes.items()}
    found: dict[str, Any] = {"depths": {str(left): dict(made.depths) for left, made in sizes.items()}}
    for name, plans in (("own stream", sizes), ("both together", together)):
        rows: dict[str, list[list[float]]] = {"left": [], "right": []}
        for made in plans.values():
            run = trained(made, Towers, task, fixed(-7.0))
            state = {k: run.after[k] if k.startswith(("left", "right")) else v for k, v in run.before.items()}
            for side, now, then in zip(rows, run.seen(state, task.x[:256]), run.seen(run.before, task.x[:256])):
                rows[side].append(rms(now - then))
        found[name] = {f"change of {side}": exponent(lefts, values) for side, values in rows.items()}
    return found


QUESTIONS = {"attention": attention, "tied": tied, "batchnorm": batchnorm, "vectors": vectors, "counting": counting}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or QUESTIONS:
        started = time.process_time()
        answer = QUESTIONS[name]()
        facts = json.loads(FACTS.read_text()) if FACTS.exists() else {}
        facts[name] = answer | {"cpu_seconds": round(time.process_time() - started)}
        FACTS.write_text(json.dumps({key: facts[key] for key in QUESTIONS if key in facts}, indent=1) + "\n")
        print(name, json.dumps(answer, indent=1), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
