"""Cores of a machine, claimed by one process at a time: a worker pinned to its own is not moved about.

A claim is a lock of the kernel on a small file, so it ends with its process, however that ends.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def lock_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"isoscale-cores-{os.getuid()}"


@contextmanager
def pinned(count: int, folder: Path | None = None) -> Iterator[tuple[int, ...]]:
    """Run the block on `count` cores that no other block has, and yield their numbers.

    Where so many are not free (the cluster was told of more than there are) nothing is pinned: (). Linux only.
    """
    folder = folder or lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.sched_getaffinity(0)
    held: dict[int, int] = {}
    try:
        for core in sorted(before):
            if len(held) == count:
                break
            file = os.open(folder / f"{core}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held[core] = file
            except BlockingIOError:
                os.close(file)
        cores = tuple(held) if len(held) == count else ()
        if cores:
            os.sched_setaffinity(0, cores)
        yield cores
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)
        for file in held.values():
            os.close(file)
