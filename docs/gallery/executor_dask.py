"""
An executor of your own: any pool of processes, Dask, Slurm
===========================================================

Where units run is one small Protocol: ``slots`` units in work at once, ``submit(unit)``, which returns a
``concurrent.futures.Future``, and ``close()``. Whoever waits uses the standard library's ``wait`` and
``as_completed`` on those futures. Retries, back-pressure, poison units, leases and the store are the driver's, so that
a cluster is a page of code. Runs with a process pool alone; with Dask installed, through Dask as well.
"""

import importlib.util
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from isoscale import Run, sweep
from isoscale.executors import Result, Unit, WorkerDied, run_unit


def train(configs):
    """A stand-in for a training: the loss is lowest at lr = 1/16."""
    return [Run(config, {"train_loss": (config["lr"] - 1 / 16) ** 2 + config["seed"] / 100}) for config in configs]


# %%
# Over any pool of ``concurrent.futures``
# ---------------------------------------
# A worker calls ``run_unit``, which checks what the callable returns and turns what it raises into a sentence. The one
# thing an executor must know of its pool is how it says that a process died: that is no fault of the unit, so the
# driver hands it out again. The Slurm executors that speak ``concurrent.futures`` (submitit, executorlib) fit here.


class Pool:
    """Runs units in a pool, which is made anew when a process of it died."""

    def __init__(self, train, make, slots):
        self.train, self.make, self.slots = train, make, slots
        self.pool = make()

    def submit(self, unit: Unit) -> Future:
        try:
            inner = self.pool.submit(run_unit, self.train, unit.configs)
        except BrokenProcessPool:
            self.pool = self.make()
            inner = self.pool.submit(run_unit, self.train, unit.configs)
        return explained(inner, BrokenProcessPool)

    def close(self):
        self.pool.shutdown(cancel_futures=True)


def explained(inner, *deaths) -> Future:
    """A future of ours that follows `inner`; the pool's own word for a dead worker becomes `WorkerDied`."""
    future: Future[Result] = Future()

    def settle(done):
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(WorkerDied(str(error)) if isinstance(error, deaths) else error)

    inner.add_done_callback(settle)
    return future


# %%
# Over Dask
# ---------
# The same with another pool: ``client.submit`` returns a future of Dask's, with its own exception for a worker that
# died too often. Dask runs on Slurm, PBS, Kubernetes and SSH by its own cluster classes.


class Dask:
    """Runs units on a Dask cluster."""

    def __init__(self, train, client):
        from distributed import KilledWorker

        self.train, self.client, self.deaths = train, client, KilledWorker
        self.slots = sum(client.nthreads().values())

    def submit(self, unit: Unit) -> Future:
        return explained(self.client.submit(run_unit, self.train, unit.configs, pure=False, retries=0), self.deaths)

    def close(self):
        self.client.close()


# %%
# The same sweep on both
# ----------------------
# The records are those of a sweep in this very process, bit for bit.

if __name__ == "__main__":
    configs = [
        {"rule": "mup", "optimizer": "sgd", "width": width, "depth": 2, "seed": seed, "lr": 2.0**-k}
        for width in (32, 64)
        for k in range(2, 8)
        for seed in range(3)
    ]
    with tempfile.TemporaryDirectory() as folder:
        here = sweep(train, configs, store=Path(folder) / "here.sqlite", workers=0)
        pool = Pool(train, lambda: ProcessPoolExecutor(2), slots=4)
        there = sweep(train, configs, store=Path(folder) / "pool.sqlite", batch=4, executor=pool)
        pool.close()
        print(f"process pool: {len(there)} runs, the same as in this process: {there == here}")
        if importlib.util.find_spec("distributed") is not None:
            from distributed import Client

            with Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client:
                dask = Dask(train, client)
                there = sweep(train, configs, store=Path(folder) / "dask.sqlite", batch=4, executor=dask)
            print(f"Dask: {len(there)} runs, the same as in this process: {there == here}")
