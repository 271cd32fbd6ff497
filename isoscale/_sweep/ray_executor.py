"""Units as tasks of Ray Core, on this machine or on a cluster. The driver alone writes to the store.

A unit is one remote task that is given configurations and returns rows. Ray is told never to retry: a worker or a node
that dies is a death of the unit, which the driver counts in the store and hands out again, so that a unit that kills
its workers is set aside after a bounded number of them, across drivers too.

The callable travels as Ray sends every function: by reference where its module is a file or a package (workers search
the folder of the driver's script and the one it runs in, where they have those; elsewhere the module is installed, or
lies in `working_dir`, which is uploaded), by value where it is defined in the script itself. Nothing of this is ever
read from a store or a file of data.
"""

import math
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoscale._records.extras import load
from isoscale._records.unit import Unit
from isoscale._sweep.batches import Train, name_of
from isoscale._sweep.executor import Result, WorkerDied
from isoscale._sweep.local import THREADS, WorkerStartError
from isoscale._sweep.remote import accept, serve

OBJECT_STORE = 100 << 20  # bytes of shared memory where we start Ray ourselves: a unit's answer is a few kB
LOOK = 5.0  # seconds for which the cluster's size is believed

_DEATHS = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError", "LocalRayletDiedError")


class RayExecutor:
    """Runs units on a Ray cluster: `sweep(train, configs, store=..., executor=RayExecutor(train, address="auto"))`.

    `address` as in `ray.init`: None starts Ray on this machine (loopback only, no dashboard) for as long as the
    executor is open, "auto" joins the cluster this machine belongs to, "host:port" another. Where `ray.init` was called
    before, that connection is used and kept. A unit takes `cpus` and `gpus` (fractions share one), its arithmetic
    `threads` threads (1 gives the bits of a local sweep); `pin` keeps it on cores of its own. At most `in_flight`
    units are handed out at once: as many as the cluster has room for, and a few more, where it is None. A callable
    that takes longer than `seconds` has failed. `working_dir` is uploaded and put on the workers' path. Close it, or
    use it in a `with` block. Raises MissingPackage, and ValueError where no node could ever run a unit.
    """

    def __init__(
        self,
        train: Train,
        *,
        address: str | None = None,
        cpus: float = 1,
        gpus: float = 0,
        threads: int = 1,
        pin: bool = False,
        in_flight: int | None = None,
        seconds: float | None = None,
        working_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if cpus < 0 or gpus < 0 or cpus + gpus == 0 or threads < 1 or (in_flight is not None and in_flight < 1):
            raise ValueError(
                f"cpus={cpus}, gpus={gpus}, threads={threads}, in_flight={in_flight}: a unit takes some cpus or gpus, "
                "at least one thread, and at least one unit is in flight"
            )
        if pin and sys.platform != "linux":
            raise ValueError("pin=True: only Linux lets a process choose its cores; leave it out here")
        self._ray = load("ray", extra="ray", purpose="the executor ray")
        self._own = not self._ray.is_initialized()
        self._needs = {"CPU": cpus, "GPU": gpus}
        self._in_flight = in_flight
        self._capacity, self._next_look = 0, 0.0
        self._refs: dict[Future[Result], Any] = {}
        self._connect(address, working_dir)
        try:
            self._task = self._remote(train, threads, math.ceil(cpus) if pin else 0, seconds)
            if in_flight is None and self._room() == 0:
                raise ValueError(self._no_room())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def slots(self) -> int:
        """Units that are handed out at once. A few wait on the cluster, so that no worker waits for the driver."""
        if self._in_flight is not None:
            return self._in_flight
        room = self._room()
        return room + max(2, room // 8)

    def submit(self, unit: Unit) -> Future[Result]:
        future: Future[Result] = Future()
        reference = self._task.remote([dict(config) for config in unit.configs])
        self._refs[future] = reference
        reference.future().add_done_callback(lambda answered: self._settle(future, answered))
        return future

    def close(self) -> None:
        """Cancel what is in work, and leave the cluster if this executor joined it."""
        for reference in list(self._refs.values()):
            with suppress(Exception):  # it ended, or the cluster is gone: nothing is left to cancel
                self._ray.cancel(reference, force=True)
        self._refs.clear()
        if self._own:
            self._ray.shutdown()

    def _connect(self, address: str | None, working_dir: str | os.PathLike[str] | None) -> None:
        if not self._own:
            if address is not None or working_dir is not None:
                raise ValueError("ray.init was called before: give it the address and the working_dir, and not here")
            return
        settings: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if working_dir is not None:
            settings["runtime_env"] = {"working_dir": os.fspath(Path(working_dir).absolute())}
        if address is None and "RAY_ADDRESS" not in os.environ:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            settings |= {
                "address": "local",
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_node_ip_address": "127.0.0.1",
            }
        else:
            settings["address"] = address
        try:
            self._ray.init(**settings)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"no Ray cluster can be joined at {address or os.environ.get('RAY_ADDRESS', 'this machine')}: "
                f"{' '.join(str(error).split())[:300]}; `ray start --head` makes one, `ray status` shows it"
            ) from error

    def _remote(self, train: Train, threads: int, cores: int, seconds: float | None) -> Any:
        try:
            self._ray.cloudpickle.dumps(train)
        except Exception as error:
            raise ValueError(
                f"the callable {name_of(train)} cannot be sent to a worker ({error}): define it at the top of a "
                "module, and let it open files, locks and devices itself when it is called"
            ) from error

        def unit(configs: list[dict[str, Any]]) -> Any:
            return serve(train, configs, cores=cores, seconds=seconds)

        unit.__qualname__ = f"isoscale({name_of(train)})"
        return self._ray.remote(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            max_retries=0,
            runtime_env={"env_vars": dict.fromkeys(THREADS, str(threads))},
        )(unit)

    def _room(self) -> int:
        """Units that the living nodes can run at once; looked up anew now and then, for clusters grow and shrink."""
        if time.monotonic() >= self._next_look:
            self._capacity = sum(_fit(node["Resources"], self._needs) for node in self._ray.nodes() if node["Alive"])
            self._next_look = time.monotonic() + LOOK
        return self._capacity

    def _no_room(self) -> str:
        there = [
            ", ".join(f"{node['Resources'].get(kind, 0):g} {kind}" for kind in self._needs)
            for node in self._ray.nodes()
            if node["Alive"]
        ]
        return (
            f"a unit asks for {self._needs['CPU']:g} CPU and {self._needs['GPU']:g} GPU, which no node has "
            f"({'; '.join(there)}): ask for less, add a node, or give in_flight= where the cluster grows by itself"
        )

    def _settle(self, future: Future[Result], answered: "Future[Any]") -> None:
        """Turn Ray's answer, which comes on a thread of Ray's, into the driver's."""
        self._refs.pop(future, None)
        with suppress(Exception):  # the driver gave up on it
            try:
                future.set_result(accept(self._answer(answered)))
            except Exception as error:
                future.set_exception(error)

    def _answer(self, answered: "Future[Any]") -> Any:
        error = answered.exception()
        if error is None:
            return answered.result()
        deaths = tuple(getattr(self._ray.exceptions, name) for name in _DEATHS)
        text = " ".join(str(error).split())
        if isinstance(error, deaths):
            hint = " (out of memory)" if isinstance(error, self._ray.exceptions.OutOfMemoryError) else ""
            raise WorkerDied(f"its Ray worker or node died{hint}: {type(error).__name__}: {text[:300]}")
        raise WorkerStartError(
            f"Ray could not run a unit: {text[-600:]}; where a module is missing on the workers, install it there or "
            "give working_dir="
        )


def _fit(resources: Mapping[str, float], needs: Mapping[str, float]) -> int:
    return min(math.floor(resources.get(kind, 0) / amount + 1e-9) for kind, amount in needs.items() if amount)
