"""What a worker of a cluster does with a unit, and what the driver makes of its answer: plain values in between."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import isoscale
from isoscale._records.codec import Row
from isoscale._records.run import Config
from isoscale._sweep.batches import Train
from isoscale._sweep.cores import pinned
from isoscale._sweep.executor import Result, UnitFailed, run_unit
from isoscale._sweep.local import GRACE, WorkerStartError

LATE = 124  # exit code of a worker that had to be ended because its callable could not be


def serve(train: Train, configs: Sequence[Config], *, cores: int = 0, seconds: float | None = None) -> dict[str, Any]:
    """Run a unit here, on `cores` cores of its own (0: wherever) and for at most `seconds`; the answer for `accept`."""
    pid = os.getpid()
    with ExitStack() as stack:
        stack.enter_context(_limit(seconds))
        if cores:
            stack.enter_context(pinned(cores))
        answer: dict[str, Any]
        try:
            result = run_unit(train, configs)
            answer = {"kind": "done", "rows": [tuple(row) for row in result.rows], "seconds": result.seconds}
        except UnitFailed as error:
            answer = {"kind": "failed", "sentence": error.sentence, "trace": error.trace}
    if os.getpid() != pid:
        os._exit(0)  # a child that the callable forked and forgot: only the worker answers
    return {**answer, "version": isoscale.__version__}


def accept(answer: Mapping[str, Any]) -> Result:
    """The result in an answer of `serve`; UnitFailed as raised there, WorkerStartError for another version of ours."""
    if answer["version"] != isoscale.__version__:
        raise WorkerStartError(
            f"a worker has isoscale {answer['version']}, the driver {isoscale.__version__}: their records must not be "
            "mixed; install one version on all nodes"
        )
    if answer["kind"] == "failed":
        raise UnitFailed(answer["sentence"], answer["trace"])
    return Result(tuple(Row(*row) for row in answer["rows"]), answer["seconds"])


@contextmanager
def _limit(seconds: float | None) -> Iterator[None]:
    """Interrupt a callable that takes too long; end the process where it cannot be interrupted (in native code)."""
    if seconds is None:
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the callable had not returned after {seconds:.0f} s")

    end = threading.Timer(seconds + GRACE, os._exit, (LATE,))
    end.daemon = True
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    end.start()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        end.cancel()
