"""One variant's runs as a CSV of isoscale's columns: python harness.py VARIANT KIND DATA.npz OUT.csv [SEEDS].

Runs in the variant's own environment, so it imports torch, numpy and the variant alone. A finished row is kept: the
same command goes on.
"""

import csv
import importlib
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

SIZES = {
    "mlp": [(32, 4), (64, 4), (128, 4), (32, 8), (32, 16), (32, 32), (128, 16)],
    "gpt": [(32, 2), (64, 2), (128, 2), (32, 4), (32, 8), (96, 6)],
}
OCTAVES = {"plain": (-9, -3), "with_mup": (-9, -3), "with_isoscale": (-9, -3), "with_unit_scaling": (-5, 1)}
STRIDE = {"mlp": 0.5, "gpt": 1.0}
STEPS = {"mlp": 100, "gpt": 60}
BATCH = {"mlp": 64, "gpt": 16}
COLUMNS = ("rule", "optimizer", "width", "depth", "seed", "lr", "train_loss", "seconds")


def run(variant, kind, data, width, depth, seed, lr):
    """Mean training loss over the last tenth of the steps, cosine schedule; infinite where it diverged."""
    torch.manual_seed(seed)
    model, optimizer = variant.prepared(kind, width, depth, lr)
    steps, batch = STEPS[kind], BATCH[kind]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(1000 + seed)
    last = []
    for step in range(steps):
        at = torch.randint(len(data[0]), (batch,), generator=order)
        x, y = data[0][at], data[1][at]
        if step >= steps - steps // 10:
            with torch.no_grad():
                last.append(float(torch.nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())))
        value = variant.loss(model(x), y)
        if not math.isfinite(value.item()):
            return math.inf
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    found = sum(last) / len(last)
    return found if math.isfinite(found) and found < 20 else math.inf


def main(name, kind, data, out, seeds="3"):
    torch.set_num_threads(1)
    variant = importlib.import_module(name)
    with np.load(data) as arrays:
        both = [torch.from_numpy(arrays[key]) for key in ("x", "y")]
    path, fresh = Path(out), not Path(out).exists()
    done = set() if fresh else {tuple(row[k] for k in COLUMNS[2:6]) for row in csv.DictReader(path.open())}
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(COLUMNS)
        for width, depth in SIZES[kind]:
            for seed in range(int(seeds)):
                low, high = OCTAVES[name]
                for place in range(int((high - low) / STRIDE[kind]) + 1):
                    lr = 2.0 ** (low + place * STRIDE[kind])
                    if (str(width), str(depth), str(seed), repr(lr)) in done:
                        continue
                    start = time.process_time()
                    value = run(variant, kind, both, width, depth, seed, lr)
                    seconds = time.process_time() - start
                    writer.writerow((name, "adamw", width, depth, seed, repr(lr), value, f"{seconds:.3f}"))
                    file.flush()
                    os.fsync(file.fileno())
            print(f"{name} {kind}: width {width} depth {depth} done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
