"""A worker process: takes units on its standard input, trains them, answers on its standard output.

Messages are frames of JSON behind an 8-byte length. Whatever the callable prints goes to a log file. When the input
ends the driver is gone or done, and the worker ends at once, also in the middle of a unit: it holds nothing that
is finished.
"""

import base64
import faulthandler
import json
import os
import pickle
import queue
import runpy
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from isoscale._records.codec import Row
from isoscale._sweep.batches import Train
from isoscale._sweep.executor import Result, UnitFailed, run_unit

COMMAND = "import sys, json; sys.path[:] = json.loads(sys.argv.pop()); from isoscale._sweep.worker import main; main()"
MAIN = "__mp_main__"  # the name under which a script runs again in a worker, as in multiprocessing

importing_main = threading.Event()
"""Set while a worker runs the user's script to find the callable in it: a sweep that starts now has no main guard."""


def send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    content = json.dumps(message).encode()
    pipe.write(len(content).to_bytes(8, "big") + content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None at the end, also where it comes in the middle of a message."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "big")
    content = pipe.read(size)
    if len(content) < size:
        return None
    message: dict[str, Any] = json.loads(content)
    return message


def pack_result(result: Result) -> dict[str, Any]:
    rows = [[*row[:3], base64.b64encode(row.curves).decode(), row.checksum] for row in result.rows]
    return {"kind": "done", "rows": rows, "seconds": result.seconds}


def unpack_result(message: dict[str, Any]) -> Result:
    rows = (
        Row(i, config, result, base64.b64decode(curves), check) for i, config, result, curves, check in message["rows"]
    )
    return Result(tuple(rows), message["seconds"])


def main() -> None:
    """Serve until the input ends."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    start = receive(inbox)
    if start is None:
        return
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, requests), daemon=True).start()
    train = _load(start)
    faulthandler.enable()
    send(outbox, {"kind": "ready"})
    pid = os.getpid()
    while True:
        request = requests.get()
        answer = _answer(train, request, Path(start["logs"]), start["log"])
        if os.getpid() != pid:
            os._exit(0)  # a child that the callable forked and forgot: only the worker answers
        send(outbox, answer)


def _listen(inbox: IO[bytes], requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    while (request := receive(inbox)) is not None:
        requests.put(request)
    os._exit(0)


def _load(start: dict[str, Any]) -> Train:
    """The callable, by the reference that the driver pickled; its script is run first if it lives in one."""
    sys.argv[:] = start["argv"]
    if start["main"] is not None:
        kind, where = start["main"]
        importing_main.set()
        script = ModuleType(MAIN)
        if kind == "module":
            found = runpy.run_module(where, run_name=MAIN, alter_sys=True)
        else:
            found = runpy.run_path(where, run_name=MAIN)
        script.__dict__.update(found)
        sys.modules["__main__"] = sys.modules[MAIN] = script
        importing_main.clear()
    train: Train = pickle.loads(base64.b64decode(start["train"]))
    return train


def _answer(train: Train, request: dict[str, Any], logs: Path, own_log: str) -> dict[str, Any]:
    log = logs / request["log"]
    _redirect(log)
    try:
        answer = pack_result(run_unit(train, request["configs"]))
    except UnitFailed as error:
        answer = {"kind": "failed", "sentence": error.sentence, "trace": error.trace}
    sys.stdout.flush()
    sys.stderr.flush()
    _redirect(logs / own_log)
    if log.exists() and log.stat().st_size == 0:
        log.unlink(missing_ok=True)
    return answer


def _redirect(log: Path) -> None:
    """Send what is printed, by Python or below it, to `log`; to nowhere where that cannot be written."""
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
