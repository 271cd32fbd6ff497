"""What is fuzzed: readers of files that come from outside, each with whole examples to start from."""

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isoscale
from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale._rules import RULES
from isoscale._sweep.spec import load_spec
from isoscale._sweep.template import TEMPLATE
from isoscale._train import vocabulary
from isoscale._train.data import BUILTIN
from isoscale._train.data.files import read_cifar10, read_idx, read_npz
from isoscale._train.data.tokens import read_tokens


@dataclass(frozen=True)
class Target:
    """A reader: `lay(folder, content)` puts the content where `read(folder)` looks; `meaning` is what must not change
    when what was read is written and read again."""

    name: str
    examples: tuple[bytes, ...]
    lay: Callable[[Path, bytes], None]
    read: Callable[[Path], Any]
    again: Callable[[Path, Any], Any] | None = None


def _file(name: str) -> Callable[[Path, bytes], None]:
    return lambda folder, content: (folder / name).write_bytes(content) and None


def _known() -> dict[str, Any]:
    return {**vocabulary(), "rule": [*RULES], "data": list(BUILTIN)}


def _spec(folder: Path) -> Any:
    spec = load_spec(folder / "spec.toml", _known())
    count = spec.count()
    if count <= 5000:
        configs = spec.configs()
        assert len(configs) == count, f"count says {count}, there are {len(configs)}"
        json.dumps(configs, allow_nan=False)
    return None


def _runs(count: int = 6) -> Records:
    return Records(
        tuple(
            Run(
                {
                    "rule": "mup",
                    "optimizer": "adamw",
                    "width": 8 * 2**i,
                    "depth": 2,
                    "seed": i % 2,
                    "lr": 2.0**-i,
                    "data": "x",
                },
                {"train_loss": 0.5 + i},
                steps=10,
                flops=1e6,
                seconds=0.5,
            )
            for i in range(count)
        )
    )


def _csv(path: Path) -> bytes:
    _runs().to_csv(path)
    content = path.read_bytes()
    path.unlink()
    return content


def _read_csv(folder: Path) -> Records:
    return Records.from_csv(folder / "runs.csv")


def _csv_again(folder: Path, records: Records) -> Any:
    records.to_csv(folder / "again.csv")
    first, second = (
        [(r.config, r.metrics, r.status) for r in each] for each in (records, Records.from_csv(folder / "again.csv"))
    )
    assert repr(first) == repr(second), "a CSV that was read, written and read again says something else"


def _build(width: int, depth: int) -> torch.nn.Module:
    layers = [torch.nn.Linear(width, width) for _ in range(depth)]
    return torch.nn.Sequential(torch.nn.Linear(4, width), *layers, torch.nn.Linear(width, 2))


def _plan(path: Path) -> bytes:
    size = {"width": 8, "depth": 2}
    made = isoscale.plan(_build, base=size, target=size | {"width": 16}, inputs=torch.zeros(2, 4), rule="mup")
    made.save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _idx(kind: int, *shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, kind, *shape) + bytes(range(int(np.prod(shape))))


def _lay_idx(folder: Path, content: bytes) -> None:
    whole = {"train-images-idx3-ubyte": content, "train-labels-idx1-ubyte": _idx(1, 2)}
    for name, each in whole.items():
        (folder / name).write_bytes(each)
        (folder / name.replace("train", "t10k")).write_bytes(each)


def _lay_cifar(folder: Path, content: bytes) -> None:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(content)


def _cifar() -> bytes:
    import pickle

    return pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, protocol=2)


def _lay_tokens(folder: Path, content: bytes) -> None:
    for name in ("train.bin", "val.bin"):
        (folder / name).write_bytes(content)


def targets(scratch: Path) -> tuple[Target, ...]:
    """Every target; `scratch` is a folder in which the examples are made."""
    small = {
        "x_train": np.ones((3, 4), "f4"),
        "y_train": np.arange(3),
        "x_test": np.ones((2, 4), "f4"),
        "y_test": np.arange(2),
    }
    plan, csv = _plan(scratch / "plan.json"), _csv(scratch / "runs.csv")
    return (
        Target("spec", (TEMPLATE.encode(),), _file("spec.toml"), _spec),
        Target(
            "csv",
            (csv, csv.replace(b",", b";")),
            _file("runs.csv"),
            lambda f: Records.from_csv(f / "runs.csv"),
            _csv_again,
        ),
        Target("plan", (plan,), _file("plan.json"), lambda f: _same_plan(isoscale.Plan.load(f / "plan.json"), plan)),
        Target("npz", (_npz(**small),), _file("data.npz"), lambda f: read_npz(f / "data.npz", 8)),
        Target("idx", (_idx(3, 2, 3, 3), gzip.compress(_idx(3, 2, 3, 3))), _lay_idx, lambda f: read_idx(f, 8)),
        Target("cifar", (_cifar(),), _lay_cifar, lambda f: read_cifar10(f, 8)),
        Target("tokens", (np.arange(100, dtype="<u2").tobytes(),), _lay_tokens, lambda f: read_tokens(f, 8)),
    )


def _same_plan(read: Any, content: bytes) -> None:
    """A plan that opens is the plan that was written: its seal holds for no other content."""
    assert json.loads(read.to_json())["plan"] == json.loads(content)["plan"], "an edited plan was read without a word"
