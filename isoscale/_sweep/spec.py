"""The spec of a sweep: a TOML file, checked as a whole, and the configurations it stands for."""

import itertools
import math
import tomllib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError, create_model

from isoscale._sweep.limits import HYPERPARAMETERS, foreign, read_values
from isoscale._sweep.mistakes import SpecError, cross_check, sentences

MOST = 1_000_000  # configurations of one spec; more is a slip of the pen
Whole = Annotated[StrictInt, Field(ge=1)]
Table = Mapping[str, Any]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Place(Section):
    """[store]"""

    path: StrictStr = "runs.sqlite"


class Model(Section):
    """[model]: its name, and what only some models have."""

    name: StrictStr = "residual_mlp"
    activation: StrictStr | None = None
    head_size: Whole | None = None
    patch: Whole | None = None


class Data(Section):
    """[data]: a built-in name or a path, and the window of text or tokens."""

    name: StrictStr = "digits"
    context: Whole | None = None


class Size(Section):
    """[base], and target in [sizes]"""

    width: Whole
    depth: Whole


class Sizes(Section):
    """[sizes]: widths at the base depth, depths at the base width, further [width, depth] pairs, and the target."""

    widths: tuple[Whole, ...] = ()
    depths: tuple[Whole, ...] = ()
    pairs: tuple[tuple[Whole, Whole], ...] = ()
    target: Size | None = None


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"{value} seeds: at least 1, and 3 for an interval worth having")
        return tuple(range(value))
    return value


class Train(Section):
    """[train]"""

    steps: Whole = 200
    batch_size: Annotated[Whole | None, BeforeValidator(lambda value: None if value == "full" else value)] = 64
    schedule: StrictStr = "constant"
    warmup: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0
    loss: StrictStr | None = None
    evaluations: Whole | None = None
    dtype: StrictStr | None = None


_GRIDS: dict[str, Any] = {
    name: (Annotated[tuple[Any, ...] | None, BeforeValidator(partial(read_values, name))], None)
    for name in HYPERPARAMETERS
}
Hyperparameters: type[Section] = create_model("Hyperparameters", __base__=Section, **_GRIDS)
"""[hyperparameters] and [optimizers.NAME]: a grid each."""


class Spec(Section):
    """A sweep: every rule, optimizer, size, hyperparameter and seed with every other. Made by `load_spec`."""

    rules: Annotated[tuple[StrictStr, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[StrictInt, Field(ge=0)], ...], BeforeValidator(_seeds), Field(min_length=1)] = (
        0,
        1,
        2,
    )
    store: Place = Place()
    model: Model = Model()
    data: Data = Data()
    base: Size
    sizes: Sizes = Sizes()
    optimizers: Annotated[dict[StrictStr, Hyperparameters], Field(min_length=1)]  # type: ignore[valid-type]
    hyperparameters: Hyperparameters = Hyperparameters()  # type: ignore[valid-type]
    train: Train = Train()

    def all_sizes(self) -> tuple[tuple[int, int], ...]:
        """Every (width, depth), each once: the base, along the width, along the depth, pairs, the target."""
        sizes = [(self.base.width, self.base.depth)]
        sizes += [(width, self.base.depth) for width in self.sizes.widths]
        sizes += [(self.base.width, depth) for depth in self.sizes.depths]
        sizes += self.sizes.pairs
        if self.sizes.target is not None:
            sizes.append((self.sizes.target.width, self.sizes.target.depth))
        return tuple(dict.fromkeys(sizes))

    def grids(self, optimizer: str) -> dict[str, tuple[Any, ...]]:
        """The grid of each hyperparameter of `optimizer`: its own, else the shared one that it has."""
        shared = _given(self.hyperparameters)
        return {name: grid for name, grid in shared.items() if not foreign(name, optimizer)} | _given(
            self.optimizers[optimizer]
        )

    def count(self) -> int:
        """How many configurations there are."""
        points = sum(math.prod(map(len, self.grids(optimizer).values())) for optimizer in self.optimizers)
        return points * len(set(self.rules)) * len(self.all_sizes()) * len(set(self.seeds))

    def configs(self) -> list[dict[str, Any]]:
        """One flat configuration for each run."""
        fixed = self._fixed()
        configs = []
        rules, seeds = dict.fromkeys(self.rules), dict.fromkeys(self.seeds)
        for rule, optimizer, (width, depth) in itertools.product(rules, self.optimizers, self.all_sizes()):
            grids = self.grids(optimizer)
            for values in itertools.product(*grids.values()):
                for seed in seeds:
                    config = {"rule": rule, "optimizer": optimizer, "width": width, "depth": depth, **fixed}
                    configs.append(config | dict(zip(grids, values, strict=True)) | {"seed": seed})
        return configs

    def _fixed(self) -> dict[str, Any]:
        model, data, train = self.model, self.data, self.train
        optional = {
            **{name: getattr(model, name) for name in ("activation", "head_size", "patch")},
            "context": data.context,
            **{name: getattr(train, name) for name in ("loss", "evaluations", "dtype")},
        }
        return {
            "model": model.name,
            "data": data.name,
            "base_width": self.base.width,
            "base_depth": self.base.depth,
            "steps": train.steps,
            "batch_size": train.batch_size,
            "schedule": train.schedule,
            "warmup": train.warmup,
            **{name: value for name, value in optional.items() if value is not None},
        }


def _given(section: Section) -> dict[str, tuple[Any, ...]]:
    return {name: grid for name, grid in section.model_dump().items() if grid is not None}


def load_spec(path: str | Path, known: Mapping[str, Collection[str]] | None = None) -> Spec:
    """The spec in the TOML file at `path`. `known` has the words that exist, by a configuration's key ("rule", "model",
    "optimizer", "data", "schedule", ...). Raises SpecError, which lists every mistake at once with its path."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(str(path), [f"it cannot be read ({error.strerror}); `isoscale init` writes one"]) from error
    except UnicodeDecodeError as error:
        raise SpecError(str(path), [f"byte {error.start} is not UTF-8: save the file as UTF-8"]) from error
    return parse_spec(text, known, str(path))


def parse_spec(text: str, known: Mapping[str, Collection[str]] | None = None, where: str = "the spec") -> Spec:
    """As `load_spec`, from the file's text."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError(where, [f"it is not TOML: {error}"]) from error
    mistakes: list[str] = []
    spec: Spec | None = None
    try:
        spec = Spec.model_validate(table)
    except ValidationError as error:
        mistakes = sentences(error, Spec)
    mistakes += cross_check(table, known or {})
    if spec is None or mistakes:
        raise SpecError(where, mistakes)
    if spec.count() > MOST:
        raise SpecError(where, [f"it asks for {spec.count()} runs, more than {MOST}: shorten its grids"])
    return spec
