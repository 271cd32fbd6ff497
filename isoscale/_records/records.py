"""Records: an immutable collection of runs."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, overload

from isoscale._records.run import Run
from isoscale._records.schema import connect, explained, read_runs
from isoscale._records.tabular import read_csv, write_csv


@dataclass(frozen=True)
class Records:
    """Runs in an order that is kept: iterate, index, select, concatenate.

    >>> runs = [Run(dict(rule="mup", width=w, lr=lr), dict(train_loss=lr * w)) for w in (1, 2) for lr in (0.5, 1.0)]
    >>> records = Records(runs)
    >>> len(records), records.values("width"), [run["lr"] for run in records.select(width=2)]
    (4, (1, 2), [0.5, 1.0])
    """

    runs: tuple[Run, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", tuple(self.runs))

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    @overload
    def __getitem__(self, at: int) -> Run: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at: int | slice) -> "Run | Records":
        return Records(self.runs[at]) if isinstance(at, slice) else self.runs[at]

    def __add__(self, other: "Records") -> "Records":
        """Both, each configuration once. Raises ValueError where they hold different results of one configuration."""
        mine = {run.identity: run for run in self}
        added = []
        for run in other:
            if run.identity not in mine:
                added.append(run)
            elif not _same_result(mine[run.identity], run):
                raise ValueError(
                    f"two different results of one configuration, {dict(run.config)}: a repeated measurement needs "
                    "a name of its own (another seed), or intervals would count it twice: select one of the two first"
                )
        return Records((*self.runs, *added))

    def select(self, **equal: Any) -> "Records":
        """The runs whose configuration has these values. A name that no run has is a ValueError."""
        for name in equal:
            if self.runs and all(name not in run.config for run in self):
                names = self.names
                near = get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]}?" if near else f"they have {', '.join(names)}"
                raise ValueError(f"no run has {name!r} in its configuration: {hint}")
        return Records(
            tuple(run for run in self if all(n in run.config and run.config[n] == v for n, v in equal.items()))
        )

    def values(self, name: str) -> tuple[Any, ...]:
        """The distinct values of `name` in the configurations, ascending (text after numbers); absent ones left out."""
        found: dict[Any, None] = {}
        for run in self:
            if name in run.config:
                value = run.config[name]
                found[tuple(value) if isinstance(value, list) else value] = None
        return tuple(sorted(found, key=_order))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a configuration has, in order of first appearance."""
        return tuple(dict.fromkeys(name for run in self for name in run.config))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric's name, in order of first appearance."""
        return tuple(dict.fromkeys(name for run in self for name in run.metrics))

    @classmethod
    def from_store(cls, path: str | PathLike[str]) -> "Records":
        """All finished runs of a store, also while a sweep writes to it. Raises StoreError."""
        place = Path(path)
        with explained(place), closing(connect(place, create=False)) as connection:
            return cls(read_runs(connection, place))

    @classmethod
    def from_csv(
        cls,
        path: str | PathLike[str],
        *,
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, Any] | None = None,
        metrics: Iterable[str] = (),
    ) -> "Records":
        """Runs of your own from a CSV file with a header: one row a run.

        Needed: rule, optimizer, width, depth, seed, and a column that ends in "loss". `columns` renames what is in the
        file ({"d_model": "width"}), `constants` gives what it lacks ({"rule": "mup"}), `metrics` names result columns
        that end in neither "loss" nor "accuracy"; every other column is a hyperparameter. A loss of inf or nan, or an
        empty one, is a diverged run. Raises CsvError, which lists every mistake of the file with its row and column.
        """
        return cls(read_csv(Path(path), columns or {}, constants or {}, frozenset(metrics)))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row a run, such that `from_csv` gives the same runs back but for their curves."""
        write_csv(Path(path), self.runs)


def _order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool | int | float):
        return (0, value)
    return (1, str(value))


def _same_result(one: Run, two: Run) -> bool:
    if one.status != two.status or one.metrics.keys() != two.metrics.keys():
        return False
    return all(
        value == two.metrics[name] or (math.isnan(value) and math.isnan(two.metrics[name]))
        for name, value in one.metrics.items()
    )
