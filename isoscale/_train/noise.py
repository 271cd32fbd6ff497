"""Random numbers that a network draws in training: dropout from the member's own generator, the rest from its seed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from isoscale._train.kernels import Dropout, bernoulli, dropout_generator
from isoscale._train.setup import Setup


@dataclass(frozen=True)
class Drawn:
    """What one forward pass in training mode draws: its dropouts in order, and whether anything else random."""

    dropouts: tuple[tuple[torch.Size, float, torch.dtype], ...]
    others: bool


def drawn(setup: Setup, examples: int | None = None) -> Drawn:
    """What the network of a set-up draws on so many examples (None: a batch); the network is left as it was."""
    seen: list[tuple[torch.Size, float, torch.dtype]] = []

    def note(like: Tensor, p: float) -> Tensor:
        seen.append((like.shape, p, like.dtype))
        return torch.ones_like(like)

    x = setup.data.x_train[: setup.settings.batch_size if examples is None else examples]
    buffers = {name: buffer.clone() for name, buffer in setup.model.named_buffers()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.get_rng_state()
        setup.model.train()
        with Dropout(note):
            setup.model(x)
        others = not torch.equal(before, torch.get_rng_state())
    for name, buffer in setup.model.named_buffers():
        buffer.copy_(buffers[name])
    return Drawn(tuple(seen), others)


class Noise:
    """The random numbers of one run, step after step. `step()` is active round a forward pass of the plain loop."""

    def __init__(self, setup: Setup) -> None:
        found = drawn(setup, 2)
        self._quiet = not found.dropouts and not found.others
        self._dropout = Dropout(_Masks(setup.settings.seed))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.settings.seed)
            self._state = torch.get_rng_state()

    def step(self) -> AbstractContextManager[None]:
        return nullcontext() if self._quiet else self._own()

    @contextmanager
    def _own(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._state)
            with self._dropout:
                yield
            self._state = torch.get_rng_state()


class _Masks:
    """Masks from a member's own generator."""

    def __init__(self, seed: int) -> None:
        self._generator = dropout_generator(seed)

    def __call__(self, like: Tensor, p: float) -> Tensor:
        return bernoulli(like.shape, p, like.dtype, self._generator).to(like.device)


class StackedMasks:
    """For every dropout of a step, the masks of all members, (M, *shape): those that each would draw alone."""

    def __init__(self, setup: Setup, seeds: dict[int, int]) -> None:
        """`seeds`: of each member, by its number."""
        found = drawn(setup)
        self._dropouts, self._device = found.dropouts, setup.data.x_train.device
        self._generators = {at: dropout_generator(seed) for at, seed in seeds.items()}

    def __call__(self, members: list[int]) -> list[Tensor]:
        """The next masks of these members; one that stands there twice is drawn once."""
        if not self._dropouts:
            return []
        own = {at: [bernoulli(*each, self._generators[at]) for each in self._dropouts] for at in dict.fromkeys(members)}
        return [torch.stack(masks).to(self._device) for masks in zip(*(own[at] for at in members), strict=True)]
