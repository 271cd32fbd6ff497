"""What a long command says while it runs: its stages, each decision with its reason, and the time that is left."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from isoscale._records.decision import Decision
from isoscale._sweep.display import duration
from isoscale._sweep.events import Event

EVERY = 5.0  # seconds between two lines on the same piece of work, at least; a long one is told of less often
Tell = Callable[[str], None]


@dataclass
class Narrator:
    """Turns stages, decisions and events into lines for `tell`."""

    tell: Tell
    stages: int
    at: int = 0
    _last: float = field(default_factory=time.monotonic)
    _began: float = field(default_factory=time.monotonic)

    def stage(self, sentence: str) -> None:
        """The next stage begins."""
        self.at += 1
        self.tell(f"[{self.at}/{self.stages}] {sentence}")

    def note(self, sentence: str) -> None:
        self.tell(f"      {sentence}")

    def decided(self, decision: Decision) -> None:
        """A decision is being carried out."""
        self.note(decision.reason)
        self._last = self._began = time.monotonic()

    def progress(self, event: Event) -> None:
        """Something happened in a sweep: failures at once, progress now and then."""
        if event.kind in ("failed", "died", "poisoned"):
            self.note(f"{event.kind}: {event.error}")
        elif event.progress.runs_done and time.monotonic() - self._last > max(EVERY, 0.3 * (self._last - self._began)):
            self._last = time.monotonic()
            facts = event.progress
            left = f", about {duration(facts.remaining)} left in this step" if facts.remaining else ""
            self.note(f"{facts.runs_done} of {facts.runs} runs{left}")
