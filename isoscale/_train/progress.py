"""What is kept of a run while it trains: losses, curves, and whether it still lives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isoscale._records.run import Curve
from isoscale._train.evaluation import Scores, evaluate
from isoscale._train.setup import Setup

CHECK_EVERY = 25  # steps between looks at the losses: a look waits for the numbers
DIVERGED = 1e3  # a batch loss so many times the first one (or 1) is a divergence, though still a number
CURVE_EXAMPLES = 512  # of each split, at the points of a curve
WINDOWS = 40  # points on the curve of batch losses, each a mean
SMOOTHED = 0.1  # the last part of training that smoothed_train_loss is the mean of


@dataclass
class Progress:
    """The record a run is made of; `losses` are batch losses, the first before any step."""

    setup: Setup
    losses: list[float] = field(default_factory=list)
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    diverged_at: int | None = None
    _pending: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        steps, count = self.setup.settings.steps, self.setup.settings.evaluations
        self.milestones = frozenset(round(steps * i / count) for i in range(1, count + 1))

    def follow(self, step: int, loss: Tensor) -> bool:
        """Take in a step's loss, and evaluate where a point of the curves is due; False when the run has diverged."""
        self._pending.append(loss)
        milestone = step in self.milestones
        if milestone or step % CHECK_EVERY == 0:
            self.take(torch.stack(self._pending).tolist())
            self._pending.clear()
        if milestone and self.diverged_at is None:
            self.evaluate(step)
        return self.diverged_at is None

    def evaluate(self, step: int) -> None:
        """A point of the curves."""
        self.points[step] = self._scores(CURVE_EXAMPLES)

    def metrics(self, scored: dict[str, float] | None = None) -> dict[str, float]:
        """The final figures, `scored` or found here; a run whose final losses are not finite diverged at its end."""
        if self.diverged_at is None:
            figures = dict(self._scores(self.setup.settings.final_examples) if scored is None else scored)
            last = max(1, round(SMOOTHED * len(self.losses)))
            figures["smoothed_train_loss"] = math.fsum(self.losses[-last:]) / last
            if all(map(math.isfinite, figures.values())):
                return figures
            self.diverged_at = len(self.losses)
        names = [*next(iter(self.points.values())), "smoothed_train_loss"]
        return {name: math.inf if name.endswith("loss") else 0.0 for name in names}

    def curves(self) -> dict[str, Curve]:
        """Every metric over training, where it is finite, and the means of the batch losses over windows."""
        curves = {"batch_loss": self._windows()}
        for name in next(iter(self.points.values())):
            seen = [(step, point[name]) for step, point in self.points.items() if math.isfinite(point[name])]
            curves[name] = Curve(tuple(step for step, _ in seen), tuple(value for _, value in seen))
        return curves

    def take(self, losses: Sequence[float]) -> None:
        """Take in the next batch losses, up to the first that is no number or far too large: there it diverged."""
        for loss in losses:
            self.losses.append(loss)
            if not loss <= DIVERGED * max(1.0, self.losses[0]):
                self.diverged_at = len(self.losses)
                break

    def _scores(self, most: int) -> dict[str, float]:
        data, figures = self.setup.data, {}
        for split, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
            scores: Scores = evaluate(self.setup.model, self.setup.loss, x, y, most)
            figures[f"{split}_loss"] = scores.loss
            if scores.accuracy is not None:
                figures[f"{split}_accuracy"] = scores.accuracy
        return figures

    def _windows(self) -> Curve:
        finite = self.losses if self.diverged_at is None else [loss for loss in self.losses if math.isfinite(loss)]
        size = math.ceil(len(finite) / WINDOWS) or 1
        windows = [finite[start : start + size] for start in range(0, len(finite), size)]
        steps = [min(start + size, len(finite)) for start in range(0, len(finite), size)]
        return Curve(tuple(steps), tuple(math.fsum(window) / len(window) for window in windows))
