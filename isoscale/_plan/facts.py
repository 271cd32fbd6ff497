"""What tracing found out about a model: facts only, no scaling. Every other part of the plan reads these records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["input", "hidden", "output", "scalar"]


class StructureError(ValueError):
    """The model's structure can not be found or does not fit the theory; the message names the module and the op."""


@dataclass(frozen=True)
class Refusal:
    """Why a place can not be folded: `module` and `op` are where the walk back from it ended."""

    place: str
    module: str
    op: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.why} (at {self.op} in {self.module or 'the model itself'})"


@dataclass(frozen=True)
class Parameter:
    """Facts of one parameter at the target size; sizes are those of the op that consumes it.

    `fan_in` is the number of numbers summed into one output (1 for vectors and embeddings), `fan_out` the rest of the
    tensor. `base_fan_in`, `base_fan_out` are the same at the base width. `stream` names the residual stream inside of
    whose branches the parameter acts, None outside. A `tail` is the homogeneous end of its branch: multiplying all
    tails of a branch multiplies the branch. A `readout` takes the readout multiplier: the output weight itself, or
    with tied embeddings the last norm's gain and bias. `existing` is the factor which the model already applies to it,
    target over base (explicit depth or width multipliers in the code): a plan divides it out. `base_rms` and
    `base_mean` are measured from the base model's own initialisation, pooled over parameters of equal signature when
    depth changes; `base_names` are the base model's parameters that were pooled. `sampled` counts the elements.
    `drawn`: two builds give it different values (a constant, or a ramp like log(1..n), is the same in every build).
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    fan_in: int
    fan_out: int
    base_fan_in: int
    base_fan_out: int
    stream: str | None
    tail: bool
    readout: bool
    evidence: str
    base_rms: float
    base_mean: float
    existing: float = 1.0
    base_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    sampled: int = 0
    drawn: bool = True


@dataclass(frozen=True)
class Branch:
    """One residual branch: `stream <- stream + branch`.

    `module` holds the add. `tails` are the parameters that fold its multiplier; with a `refusal` there are none.
    `hook` is the module whose output is the branch (a forward hook on it is the explicit mode), None if there is none.
    `constant` is the product of the numbers that the model's code multiplies the branch by, `before` the same of the
    base's branches of its kind (several numbers if they differ).
    """

    name: str
    module: str
    tails: tuple[str, ...]
    refusal: Refusal | None = None
    hook: str | None = None
    constant: float = 1.0
    before: tuple[float, ...] = ()


@dataclass(frozen=True)
class Stream:
    """A residual stream; its depth is the number of branches added to it. `postnorm`: a norm sits on the stream."""

    name: str
    base_depth: int
    depth: int
    branches: tuple[Branch, ...] = ()
    postnorm: bool = False


@dataclass(frozen=True)
class Attention:
    """An attention whose head size grows with width: its logits need `(size / base_size)^-1/2` more.

    `existing` is the ratio of the scale that the model itself applies, target over base (already `(size /
    base_size)^-1/2` for the usual scale). `fold` are the parameters that can carry the extra factor (query
    projection, or the query norm's gain and bias), empty with a `refusal`.
    """

    module: str
    base_size: int
    size: int
    existing: float
    fold: tuple[str, ...]
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Structure:
    """All facts a plan needs. `refusals` are places outside branches that can not be folded (a tied readout).

    `nested` are streams that lie in branches of another.
    `depth_keys` and `width_keys`: which keys of the size were found to change depth, and which width.
    `clones`: groups of parameters that the builder initialises identically (deep copies); re-initialise them.
    """

    parameters: Mapping[str, Parameter]
    streams: Mapping[str, Stream]
    warnings: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    attentions: tuple[Attention, ...] = ()
    clones: tuple[tuple[str, ...], ...] = ()
    depth_keys: tuple[str, ...] = ()
    width_keys: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()

    @property
    def branches(self) -> tuple[Branch, ...]:
        return tuple(branch for stream in self.streams.values() for branch in stream.branches)

    @property
    def postnorm(self) -> tuple[str, ...]:
        """Names of the streams with a norm on them."""
        return tuple(name for name, stream in self.streams.items() if stream.postnorm)
