"""The gallery's page of an executor, on Dask and on a process pool: whose workers are killed, too."""

import importlib.util
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from isoscale import Run, sweep
from isoscale._records.codec import encode
from isoscale._records.store import Store
from isoscale._sweep.events import Patience, PoisonedError

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(sys.platform == "win32", reason="kills by Unix signals"),
]
GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(GALLERY))
    try:
        yield importlib.import_module("executor_dask")
    finally:
        sys.path.remove(str(GALLERY))


def config(seed: int, model: str = "right") -> dict:
    return {"rule": "mup", "optimizer": "sgd", "width": 4, "depth": 2, "seed": seed, "model": model}


def dying(batch: list) -> list[Run]:
    """Kills its own worker the first time (a file says so), or each time."""
    for one in batch:
        mark = Path(os.environ["DYING"]) / str(one["seed"])
        if one["model"] == "deadly" or (one["model"] == "unlucky" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if one["model"] == "raising":
            raise ValueError("boom")
    return [Run(one, {"train_loss": float(one["seed"])}) for one in batch]


CONFIGS = [config(seed) for seed in range(6)] + [config(6, "unlucky"), config(7, "raising"), config(8, "deadly")]
PATIENCE = Patience(errors=2, deaths=3)


def swept(executor, path: Path) -> dict:
    """The units that were set aside, by the model that says what they do; the others' records are right."""
    with pytest.raises(PoisonedError) as raised:
        sweep(dying, CONFIGS, store=path, batch=1, executor=executor, patience=PATIENCE)
    with Store(path) as store:
        assert sorted(run["seed"] for run in store.records()) == list(range(7))
        assert [encode(run) for run in store.records()] == [
            encode(Run(run.config, {"train_loss": float(run["seed"])})) for run in store.records()
        ]
        return {store.unit(state.id).configs[0]["model"]: state for state in raised.value.units}


def test_a_process_pool_whose_workers_die(page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYING", str(tmp_path))
    pool = page.Pool(dying, lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn")), slots=1)
    aside = swept(pool, tmp_path / "a.sqlite")
    pool.close()
    assert set(aside) == {"raising", "deadly"}
    assert (aside["raising"].errors, aside["raising"].deaths) == (2, 0)
    assert "boom" in aside["raising"].error
    assert (aside["deadly"].errors, aside["deadly"].deaths) == (0, 3)


@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="needs Dask: pip install 'dask[distributed]'"
)
def test_dask_whose_workers_die(page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask
    from distributed import Client

    monkeypatch.setenv("DYING", str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.terminate": False}
    with dask.config.set(settings), Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        aside = swept(page.Dask(dying, client), tmp_path / "a.sqlite")
    assert set(aside) == {"raising", "deadly"}
    assert (aside["raising"].errors, aside["raising"].deaths) == (2, 0)
    assert (aside["deadly"].errors, aside["deadly"].deaths) == (0, 3)
