"""Worker processes on this machine: each fresh, with one thread for its arithmetic, replaced when it dies."""

import base64
import itertools
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from isoscale._records.unit import Unit
from isoscale._sweep.batches import Train, name_of
from isoscale._sweep.executor import Result, UnitFailed, WorkerDied
from isoscale._sweep.worker import COMMAND, receive, send, unpack_result

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
GRACE = 5.0  # seconds a worker that stopped answering has to end by itself, and so to say why
TICK = 0.5  # seconds between two looks at whether a silent worker lives


_NUMBERS = itertools.count()


class WorkerStartError(RuntimeError):
    """Workers cannot start; the sentence says why."""


class Processes:
    """`workers` processes, started when first needed. `seconds` bounds a unit; a worker that takes longer is killed."""

    def __init__(
        self, train: Train, workers: int, logs: Path, *, threads: int = 1, seconds: float | None = None
    ) -> None:
        self._start = _start_message(train)
        self._logs = logs
        self._threads = threads
        self._seconds = seconds
        self._tasks: queue.SimpleQueue[tuple[Unit, Future[Result]] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._slots = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for slot in self._slots:
            slot.start()

    @property
    def slots(self) -> int:
        return len(self._slots)

    def submit(self, unit: Unit) -> Future[Result]:
        future: Future[Result] = Future()
        self._tasks.put((unit, future))
        return future

    def close(self) -> None:
        self._closed.set()
        for _ in self._slots:
            self._tasks.put(None)
        for slot in self._slots:
            slot.join()

    def _serve(self) -> None:
        """One slot: hand units to one process after the other."""
        process: _Process | None = None
        while (task := self._tasks.get()) is not None and not self._closed.is_set():
            unit, future = task
            try:
                if process is None or not process.alive:
                    process = self._ready_process(process)
                future.set_result(process.run(unit, self._seconds))
            except BaseException as error:
                future.set_exception(error)
        if process is not None:
            process.end()

    def _ready_process(self, last: "_Process | None") -> "_Process":
        if last is not None:
            last.end()
        process = _Process(self._start, self._logs, self._threads, self._closed)
        if process.receive(None) is not None:
            return process
        code = process.end(GRACE)
        if self._closed.is_set() or code < 0:
            raise WorkerDied(f"its worker {_ending(code)} before it was ready")
        raise WorkerStartError(process.why(code))


class _Process:
    """One worker process and its pipes."""

    def __init__(self, start: dict[str, Any], logs: Path, threads: int, closed: threading.Event) -> None:
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        self._log = logs / f"worker-{os.getpid()}-{next(_NUMBERS)}.log"
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-c", COMMAND, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is the driver's to handle
            )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._stdin, self._stdout = self._child.stdin, self._child.stdout
        self._closed = closed
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(self._stdout, self._inbox), daemon=True).start()
        self._send({**start, "logs": str(logs.absolute()), "log": self._log.name})

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def run(self, unit: Unit, seconds: float | None) -> Result:
        self._send({"log": log_name(unit.id), "configs": [dict(config) for config in unit.configs]})
        answer = self.receive(seconds)
        if answer is None:
            code = self.end(GRACE)
            raise WorkerDied(f"its worker {_ending(code)}")
        if answer["kind"] == "late":
            self.end()
            raise UnitFailed(f"the callable had not returned after {seconds:.0f} s")
        if answer["kind"] == "failed":
            raise UnitFailed(answer["sentence"], answer["trace"])
        return unpack_result(answer)

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """The next answer; None where the process ended or the pool was closed, kind "late" after `seconds`.

        The end of the pipe is not waited for alone: a process that the callable forked may keep it open.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            lives = self.alive
            with suppress(queue.Empty):
                return self._inbox.get(timeout=TICK)
            if not lives or self._closed.is_set():
                return None
            if deadline is not None and time.monotonic() > deadline:
                return {"kind": "late"}

    def end(self, grace: float = 0.0) -> int:
        """Kill it, and what it started, unless it ends by itself in time; return its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(0.0 if self._closed.is_set() else grace)
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix" and self.alive:
                os.killpg(self._child.pid, signal.SIGKILL)
            else:
                self._child.kill()
        code = self._child.wait()
        with suppress(OSError):
            self._stdin.close()
        with suppress(OSError):
            if self._log.stat().st_size == 0:
                self._log.unlink()
        return code

    def why(self, code: int) -> str:
        """Why the process could not start: the last line it wrote."""
        with suppress(OSError):
            lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return f"a worker could not import the callable: {lines[-1]}; the traceback is in {self._log}"
        return f"a worker ended with code {code} before it was ready"

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # a worker that is gone is seen when its answer is waited for
            send(self._stdin, message)


def _listen(pipe: IO[bytes], inbox: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    with pipe:
        while (message := receive(pipe)) is not None:
            inbox.put(message)
    inbox.put(None)


def log_name(id: str) -> str:
    return f"unit-{id[:16]}.log"


def _ending(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"


def _start_message(train: Train) -> dict[str, Any]:
    """What a worker needs to find the callable. Raises ValueError where no other process can import it."""
    name = name_of(train)
    way = "define it at the top of a module, or run it in this process with workers=0"
    try:
        pickled = pickle.dumps(train)
    except Exception as error:
        reason = "a lambda or a function inside a function" if "<" in name else f"not importable ({error})"
        raise ValueError(f"the callable {name} is {reason}, which no worker process can import: {way}") from error
    main: tuple[str, str] | None = None
    if b"__main__" in pickled:
        script = sys.modules["__main__"]
        spec, path = getattr(script, "__spec__", None), getattr(script, "__file__", None)
        if spec is not None:
            main = ("module", spec.name)
        elif path is not None and Path(path).exists():
            main = ("path", str(Path(path).absolute()))
        else:
            raise ValueError(f"the callable {name} was typed into an interpreter, where no worker can import it: {way}")
    return {
        "train": base64.b64encode(pickled).decode(),
        "main": main,
        "argv": sys.argv,
    }
