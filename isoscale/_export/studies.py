"""Optuna: a study for each rule, optimizer and size, in a journal file that its dashboard and plots read."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoscale._export.files import replacing
from isoscale._export.flat import clean, config_of, finite, summary_of
from isoscale._records.extras import load
from isoscale._records.records import Records
from isoscale._records.run import Run

IDENTITY = "isoscale identity"
_LOG = ("lr", "eps")  # hyperparameters on a log scale
_SHAPE = ("rule", "optimizer", "width", "depth", "seed")


def to_optuna(records: Records, path: Path, metric: str) -> int:
    """Add the runs that the journal at `path` has not yet; how many. Numbers that vary are parameters, the rest are
    attributes; a diverged run is a failed trial. The journal is replaced as a whole, so that no torn line is left."""
    optuna = load("optuna", extra="optuna", purpose="an export to Optuna")
    if metric not in records.metrics:
        raise ValueError(f"no run has the metric {metric!r}: they have {', '.join(records.metrics)}")
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with replacing(path) as draft:
            if path.exists():
                shutil.copyfile(path, draft)
            journal = optuna.storages.journal
            storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(draft)))
            return sum(_add(optuna, storage, name, runs, metric) for name, runs in _studies(records).items())
    finally:
        optuna.logging.set_verbosity(said)


def _studies(records: Records) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in records:
        name = " ".join(f"{key}={run.config.get(key)}" for key in _SHAPE[:4])
        found.setdefault(clean(name), []).append(run)
    return found


def _add(optuna: Any, storage: Any, name: str, runs: Sequence[Run], metric: str) -> int:
    study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
    there = {trial.user_attrs.get(IDENTITY) for trial in study.get_trials(deepcopy=False)}
    new = [run for run in runs if run.identity not in there]
    ranges = _ranges(runs)
    states = optuna.trial.TrialState
    for run in new:
        mine = {key: float(run.config[key]) for key in ranges if key in run.config}
        value = run.loss(metric) if metric in run.metrics else math.inf
        curve = run.curves.get(metric)
        seen = {} if curve is None else dict(zip(curve.step, curve.value, strict=True))
        study.add_trial(
            optuna.trial.create_trial(
                state=states.COMPLETE if math.isfinite(value) else states.FAIL,
                value=value if math.isfinite(value) else None,
                params=mine,
                distributions={
                    key: optuna.distributions.FloatDistribution(*ranges[key], log=key in _LOG) for key in mine
                },
                user_attrs={**finite({**config_of(run), **summary_of(run)}), IDENTITY: run.identity},
                intermediate_values=seen,
            )
        )
    return len(new)


def _ranges(runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """The numbers of the configurations that differ between runs, with their range."""
    ranges = {}
    for key in dict.fromkeys(key for run in runs for key in run.config if key not in _SHAPE):
        values = {run.config[key] for run in runs if key in run.config}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers and (len(values) > 1 or key in _LOG) and (key not in _LOG or min(values) > 0):
            ranges[key] = (float(min(values)), float(max(values)))
    return ranges
