"""A Ray cluster of several nodes on this machine, in a process of its own, to be killed piece by piece.

python ray_cluster.py NODES CPUS serves one: it says {"address": ..., "nodes": [pids]} in a line of JSON, adds a node
and says so again for every line it reads, and ends with its input.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from faults_job import audit, kill, parent, read

MEMORY = 80 << 20  # bytes of each node's object store
QUICK = {  # a dead node is seen within seconds
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "health_check_timeout_ms": 2000,
}
HERE = Path(__file__).parent


class LocalCluster:
    """The cluster as its tormentor sees it: pids. Use it in a `with` block."""

    def __init__(self, nodes: int = 2, cpus: int = 2) -> None:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(nodes), str(cpus)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
        self._hear()

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def _hear(self) -> None:
        said = json.loads(self._server.stdout.readline())
        self.address: str = said["address"]
        self._nodes: list[int] = said["nodes"]

    def nodes(self) -> list[int]:
        """The living nodes' raylets, without the head, which runs no units."""
        return [pid for pid in self._nodes if parent(pid) is not None]

    def workers(self) -> list[int]:
        """Processes in the middle of a unit."""
        return [
            pid for node in self.nodes() for pid in family(node) if b"ray::isoscale" in read(f"/proc/{pid}/cmdline")
        ]

    def add_node(self) -> None:
        self._server.stdin.write("add\n")
        self._server.stdin.flush()
        self._hear()

    def kill_node(self, node: int) -> None:
        """The node with all that runs on it, at once, as when its power fails."""
        for pid in [node, *family(node)]:
            with suppress(ProcessLookupError):
                kill(pid)


def family(pid: int) -> list[int]:
    """The living descendants of a process."""
    children: dict[int | None, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(parent(int(entry.name)), []).append(int(entry.name))
    found = [*children.get(pid, ())]
    for each in found:
        found += children.get(each, ())
    return found


class RayDriver:
    """A driver of ray_job as a process of its own."""

    def __init__(self, store: Path, address: str, sleep: float = 0.2) -> None:
        self.log = store.with_name("driver.txt")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "ray_job.py"), str(store), address, str(sleep)], stdout=log, stderr=log
            )

    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        kill(self.process.pid)
        self.process.wait()

    def wait(self, seconds: float = 240) -> None:
        """Until it is done; an AssertionError with its last words where it failed."""
        code = self.process.wait(seconds)
        assert code == 0, self.log.read_text()[-3000:]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def torment(
    cluster: LocalCluster, store: Path, kills: Iterator[str], chance: random.Random, pause: float = 0.5
) -> tuple[dict[str, int], list[str]]:
    """Run ray_job on `store` to its end while each of `kills` ("worker", "node", "driver") falls at a random moment.

    Returns how many of each fell before the sweep was over, and the faults that the audits after them found. A node is
    replaced once it is dead, a driver at once. The records are for the caller to compare.
    """
    fallen = {"worker": 0, "node": 0, "driver": 0}
    faults: list[str] = []
    driver = RayDriver(store, cluster.address)
    for kind in kills:
        time.sleep(chance.uniform(0.0, pause))
        victims: list[int] = []
        while not victims and driver.running():  # a kill falls into a unit, or tells nothing
            victims = cluster.workers()
        if not driver.running():
            break
        if kind == "driver":
            driver.kill()
            driver = RayDriver(store, cluster.address)
        elif kind == "node":
            cluster.kill_node(chance.choice(cluster.nodes()))
            cluster.add_node()
        else:
            with suppress(ProcessLookupError):
                kill(chance.choice(victims))
        fallen[kind] += 1
        faults += audit(store)
    driver.wait()
    return fallen, faults + audit(store)


def main(nodes: int, cpus: int) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "_system_config": QUICK
        },
    )  # fmt: skip
    pids: list[int] = []

    def add() -> None:
        node = cluster.add_node(num_cpus=cpus, object_store_memory=MEMORY, include_dashboard=False)
        pids.append(node.all_processes["raylet"][0].process.pid)

    def say() -> None:
        sys.__stdout__.write(json.dumps({"address": cluster.address, "nodes": pids}) + "\n")
        sys.__stdout__.flush()

    for _ in range(nodes):
        add()
    say()
    for _ in sys.stdin:
        add()
        say()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
