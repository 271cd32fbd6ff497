"""Files that are whole or not there, and the list of what was exported before."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write a file or folder, which becomes `path` at the end of the block, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):
            draft.unlink()


class Ledger:
    """Which runs a folder holds: one identity a line, written once all of the run is there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "exported.txt"
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a line that was cut off by a crash
            self._path.write_text(whole, encoding="utf-8")
        self.identities = set(whole.split())

    def add(self, identity: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{identity}\n")
            file.flush()
            os.fsync(file.fileno())
        self.identities.add(identity)
