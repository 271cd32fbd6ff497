"""What it takes to run units anywhere: the Protocol, the worker's half, and the executors that are there.

An executor has `slots` (units in work at once), `submit(unit)`, which returns a `concurrent.futures.Future` of a
`Result`, and `close()`. In a worker, `run_unit(train, unit.configs)` gives the result, or raises `UnitFailed` with the
sentence and the traceback where the callable is to blame. A future that fails with `WorkerDied` says that the process
ended: the driver hands the unit out again. The gallery shows one over a pool of `concurrent.futures`, and over Dask.
"""

from isoscale._records.unit import Unit
from isoscale._sweep.executor import Executor, InProcess, Result, UnitFailed, WorkerDied, run_unit
from isoscale._sweep.local import Processes
from isoscale._sweep.ray_executor import RayExecutor

__all__ = [
    "Executor",
    "InProcess",
    "Processes",
    "RayExecutor",
    "Result",
    "Unit",
    "UnitFailed",
    "WorkerDied",
    "run_unit",
]
